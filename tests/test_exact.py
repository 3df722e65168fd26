"""The exact optimum is feasible, meets the conditions of optimality, and is what other solvers and geometry give."""

import clarabel
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.exact import minimum_perturbation, project

pytestmark = pytest.mark.numerical


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


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
    slack = (slopes @ r[..., None])[..., 0] - bounds
    scale = bounds.abs().max()
    assert (slack >= -1e-8 * scale).all()
    assert ((r >= lower) & (r <= upper)).all()
    assert (multipliers >= 0).all()
    assert ((multipliers == 0) | (slack.abs() <= 1e-8 * scale)).all()
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


def test_two_classes_are_separated_by_a_plane():
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 12, generator=source, dtype=torch.float64)
    inputs = 0.4 + 0.2 * torch.rand(5, 12, generator=source, dtype=torch.float64)
    network = linear(weight, -weight @ inputs.mean(dim=0))
    logits = network(inputs).detach()
    distance = logits.diff(dim=1)[:, 0].abs() / (weight[1] - weight[0]).norm()
    found = minimum_perturbation(network, inputs, 1 - logits.argmax(dim=1))
    torch.testing.assert_close(found.perturbation.norm(dim=1), distance)


def test_the_network_says_the_target_and_the_image_stays_an_image():
    source = torch.Generator().manual_seed(1)
    network = linear(torch.randn(10, 50, generator=source), torch.randn(10, generator=source)).double()
    inputs = torch.rand(40, 50, generator=source, dtype=torch.float64).round()
    targets = torch.randint(0, 10, (40,), generator=source)
    found = minimum_perturbation(network, inputs, targets)
    adversarial = inputs + found.perturbation
    logits = network(adversarial).detach()
    assert ((adversarial >= 0) & (adversarial <= 1)).all()
    assert (logits.gather(1, targets[:, None])[:, 0] >= logits.max(dim=1).values - 1e-7).all()
    already = network(inputs).argmax(dim=1) == targets
    assert (found.perturbation[already] == 0).all()


def test_a_class_that_no_image_has_is_an_error():
    network = linear(torch.zeros(2, 3, dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64))
    with pytest.raises(ValueError, match="no image"):
        minimum_perturbation(network, torch.rand(1, 3, dtype=torch.float64), torch.tensor([1]))
