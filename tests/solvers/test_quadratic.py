"""The shortest vector is feasible, meets the conditions of optimality, and is what another solver finds."""

import math

import clarabel
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib.solvers.quadratic import project

pytestmark = pytest.mark.numerical


def solved(slopes, bounds, **options):
    """A programme in the box +-1, from lists of rows."""
    slopes, bounds = (torch.tensor([values], dtype=torch.float64) for values in (slopes, bounds))
    box = torch.ones(1, slopes.shape[2], dtype=torch.float64)
    return project(slopes, bounds, -box, box, **options)


def interior_point(slopes, bounds, lower, upper) -> np.ndarray | None:
    """The same programme, solved by Clarabel; None where it is infeasible."""
    n = len(lower)
    identity = scipy.sparse.identity(n)
    constraints = scipy.sparse.vstack([scipy.sparse.csc_matrix(-slopes), identity, -identity], format="csc")
    limits = np.concatenate([-bounds, upper, -lower])
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-10
    cones = [clarabel.NonnegativeConeT(len(limits))]
    quadratic = scipy.sparse.identity(n, format="csc")
    solution = clarabel.DefaultSolver(quadratic, np.zeros(n), constraints, limits, cones, options).solve()
    return np.array(solution.x) if solution.status == clarabel.SolverStatus.Solved else None


def random_programme(seed: int, k: int, n: int, correlation: float):
    """A feasible programme: its bounds are met, some of them barely, by a random point of the box."""
    source = torch.Generator().manual_seed(seed)
    common = torch.randn(n, generator=source, dtype=torch.float64)
    slopes = torch.randn(k, n, generator=source, dtype=torch.float64) + correlation * common
    upper = torch.rand(n, generator=source, dtype=torch.float64).round(decimals=1)
    lower = upper - 1  # an image's box: -x <= r <= 1 - x
    inner = lower + torch.rand(n, generator=source, dtype=torch.float64)
    bounds = slopes @ inner - torch.rand(k, generator=source, dtype=torch.float64).round()
    return slopes, bounds, lower, upper


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), k=st.integers(1, 9), n=st.integers(1, 30), correlation=st.sampled_from([0.0, 3.0, 30.0])
)
@example(seed=179, k=8, n=8, correlation=3.0)  # ends at the tolerance itself
def test_projection_agrees_with_an_interior_point_method(seed, k, n, correlation):
    programme = random_programme(seed, k, n, correlation)
    found = project(*(v[None] for v in programme))
    expected = interior_point(*(v.numpy() for v in programme))
    assert found.violation.max() <= 1e-9
    if expected is not None:
        ours = found.perturbation[0].numpy()
        assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(expected), rel=1e-5, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), n=st.integers(1, 30))
def test_projection_satisfies_the_conditions_of_optimality(seed, k, n):
    slopes, bounds, lower, upper = (v[None] for v in random_programme(seed, k, n, 1.0))
    found = project(slopes, bounds, lower, upper)
    r, multipliers = found.perturbation, found.multipliers
    slack = ((slopes @ r[..., None])[..., 0] - bounds) / slopes.norm(dim=2)
    length = r.norm()
    assert (slack >= -1e-8 * length).all()
    assert ((r >= lower) & (r <= upper)).all()
    assert (multipliers >= 0).all()
    assert ((multipliers == 0) | (slack.abs() <= 1e-8 * length)).all()
    stationary = torch.clamp((multipliers[:, None] @ slopes)[:, 0], lower, upper)
    torch.testing.assert_close(r, stationary)


def test_a_batch_is_independent_programmes():
    programmes = [random_programme(seed, 9, 40, 1.0) for seed in range(12)]
    together = project(*(torch.stack(part) for part in zip(*programmes, strict=True)))
    for row, programme in enumerate(programmes):
        alone = project(*(v[None] for v in programme))
        torch.testing.assert_close(together.perturbation[row], alone.perturbation[0], rtol=1e-7, atol=1e-9)


def test_contradicting_constraints_are_told_from_the_rest():
    slopes = torch.tensor([[[1.0], [-1.0]], [[1.0], [-1.0]]], dtype=torch.float64)
    bounds = torch.tensor([[0.5, 0.5], [0.5, -0.7]], dtype=torch.float64)
    box = torch.ones(2, 1, dtype=torch.float64)
    found = project(slopes, bounds, -box, box)
    assert (found.violation > 1e-9).tolist() == [True, False]
    assert found.perturbation[1].item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("slopes", "bounds", "shortest"),
    [
        ([[1, 0], [0, 1]], [0.5, -torch.inf], [0.5, 0]),  # a constraint that says nothing
        ([[1, 0], [0, 1]], [0.5, -1e9], [0.5, 0]),
        ([[1, 0], [0, 1e-8]], [0.1, 0.5e-8], [0.1, 0.5]),
        ([[1, 0], [0, 1e-200]], [0.1, 0.5e-200], [0.1, 0.5]),
        ([[1e6, 0], [0, 1]], [-1e9, 0.1], [0, 0.1]),
        ([[1, 0], [0, 0]], [0.1, -1], [0.1, 0]),  # a row of zeros, always met
        ([[1, 0], [0, 0]], [0.1, 0], [0.1, 0]),
        ([[1, 1], [0, 1]], [-1, 0], [0, 0]),
    ],
)
def test_each_row_counts_by_itself(slopes, bounds, shortest):
    found = solved(slopes, bounds)
    assert found.perturbation[0].tolist() == pytest.approx(shortest, abs=1e-8)
    assert found.violation <= 1e-9


@pytest.mark.parametrize(
    ("slopes", "bounds"),
    [([[1, 0]], [2]), ([[1, 0]], [torch.inf]), ([[1, 0], [0, 0]], [0.5, 1e-12]), ([[1, 0], [-1e-8, 0]], [0.5, 1e-12])],
)
def test_what_the_box_does_not_hold_is_violated(slopes, bounds):
    assert solved(slopes, bounds).violation > 1e-9


def test_a_box_without_room_holds_nothing_but_zero():
    slopes, none = torch.ones(2, 1, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    found = project(slopes, torch.tensor([[0.0], [1e-3]], dtype=torch.float64), none, none)
    assert (found.violation > 1e-9).tolist() == [False, True]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), exponents=st.tuples(*[st.integers(-12, 12)] * 9))
def test_the_lengths_of_rows_do_not_matter(seed, k, exponents):
    slopes, bounds, lower, upper = (v[None] for v in random_programme(seed, k, 20, 1.0))
    lengths = 10.0 ** torch.tensor([exponents[:k]], dtype=torch.float64)
    found = project(slopes, bounds, lower, upper)
    scaled = project(slopes * lengths[..., None], bounds * lengths, lower, upper)
    torch.testing.assert_close(scaled.perturbation, found.perturbation, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(scaled.multipliers * lengths, found.multipliers, rtol=1e-6, atol=1e-7)


def test_where_r_may_be_zero_it_is_wherever_the_search_starts():
    found = solved([[1, 0], [1, 1]], [-0.1, 0], start=torch.ones(1, 2, dtype=torch.float64))
    assert found.perturbation.tolist() == [[0, 0]]
    assert found.violation == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9))
def test_where_the_search_for_multipliers_starts_does_not_matter(seed, k):
    programme = [v[None] for v in random_programme(seed, k, 30, 1.0)]
    start = torch.rand(1, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found, other = project(*programme), project(*programme, start=start)
    torch.testing.assert_close(other.perturbation, found.perturbation, rtol=1e-6, atol=1e-6)


def test_single_precision_comes_close():
    programmes = [random_programme(seed, 4, 100, 1.0) for seed in range(20)]
    precise = [torch.stack(part) for part in zip(*programmes, strict=True)]
    found = project(*(v.float() for v in precise), tolerance=1e-5)
    torch.testing.assert_close(found.distortion.double(), project(*precise).distortion, rtol=1e-4, atol=1e-4)


def programme(slopes, bounds, dtype=torch.float64) -> tuple:
    """Of two variables, in the box +-1."""
    return tuple(torch.tensor([values], dtype=dtype) for values in (slopes, bounds, (-1.0, -1.0), (1.0, 1.0)))


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_in_single_precision_the_lengths_of_rows_do_not_matter_either(length):
    """Their squares over- and underflow."""
    found = project(*programme([[3 * length, 4 * length]], [2.5 * length], dtype=torch.float32), tolerance=1e-6)
    assert found.violation <= 1e-6
    assert found.perturbation[0].tolist() == pytest.approx([0.3, 0.4], rel=1e-5)


def test_void_and_contradicting_programmes_leave_their_neighbours_alone():
    rows = [
        programme([[1, 0], [0, 1]], [0.5, -math.inf]),
        programme([[1, 0], [-1, 0]], [0.5, 0.5]),
        programme([[0, 0], [0, 0]], [-1, 0]),
        programme([[1, 0], [0, 1e-8]], [0.1, 0.5e-8]),
        programme([[1, 0], [0, 1]], [math.inf, 0.1]),
    ]
    found = project(*(torch.cat(part) for part in zip(*rows, strict=True)))
    assert (found.violation > 1e-9).tolist() == [False, True, False, False, True]
    torch.testing.assert_close(
        found.perturbation[[0, 2, 3]], torch.tensor([[0.5, 0], [0, 0], [0.1, 0.5]], dtype=torch.float64)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [-0.9, -0.6, -0.3, 0.3, 0.6, 0.9])
def test_the_unit_of_length_does_not_matter(dtype, share):
    """Bit for bit, box and bounds scaled together, also where squares of lengths over- or underflow."""
    unit = 2.0 ** round(share * {torch.float32: 120, torch.float64: 1000}[dtype])
    source = torch.Generator().manual_seed(0)
    slopes = torch.randn(3, 4, 6, generator=source, dtype=dtype)
    inside = 2 * torch.rand(3, 6, generator=source, dtype=dtype) - 1
    bounds, box = 0.9 * (slopes @ inside[..., None])[..., 0], torch.ones(3, 6, dtype=dtype)
    plain = project(slopes, bounds, -box, box, tolerance=1e-5)
    scaled = project(slopes, bounds * unit, -box * unit, box * unit, tolerance=1e-5)
    assert (plain.violation <= 1e-5).all()
    assert torch.equal(scaled.perturbation, plain.perturbation * unit)
    assert torch.equal(scaled.multipliers, plain.multipliers * unit)
    assert torch.equal(scaled.violation, plain.violation)


def test_a_bound_far_closer_than_the_box_is_met():
    found = project(*programme([[3, 4], [1, 0]], [5e-30, -1.0], dtype=torch.float32), tolerance=1e-6)
    assert found.violation <= 1e-6
    assert found.perturbation[0].tolist() == pytest.approx([0.6e-30, 0.8e-30], rel=1e-5)
