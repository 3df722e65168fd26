"""Problem by problem the algorithm is the one that the batch follows, and no problem can feel its neighbours."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.solvers import lbfgs, rowwise
from lib.solvers.lbfgs import LBFGSConfig

pytestmark = pytest.mark.numerical

LOWER, UPPER = -0.4, 0.7
SEEDS = st.integers(0, 2**31 - 1)
FIRST_STEP, DECREASE = 0.1, 0.0


def spread(seed: int, rows: int, n: int, condition: float) -> tuple[lbfgs.Objective, torch.Tensor, torch.Tensor]:
    """Convex quadratics with minima inside the box, beyond it and between; starts; minimisers in the box."""
    source = torch.Generator().manual_seed(seed)
    center = torch.randn(rows, n, generator=source) / 2
    weight = condition ** -torch.rand(rows, n, generator=source)

    def objective(x, problem):
        away = x - center[problem]
        return 0.5 * (weight[problem] * away.square()).sum(dim=1), weight[problem] * away

    start = LOWER + (UPPER - LOWER) * torch.rand(rows, n, generator=source)
    return objective, start, center.clamp(LOWER, UPPER)


def coupled(seed: int, rows: int, n: int) -> tuple[lbfgs.Objective, torch.Tensor]:
    """log-sum-exp of linear functions: curved, and no coordinate is alone."""
    source = torch.Generator().manual_seed(seed)
    slopes, heights = torch.randn(rows, 4, n, generator=source), torch.randn(rows, 4, generator=source)

    def objective(x, problem):
        x = x.detach().requires_grad_()
        value = torch.logsumexp((slopes[problem] @ x[..., None])[..., 0] + heights[problem], dim=1)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    return objective, torch.zeros(rows, n)


def path(solve, objective, start, config: LBFGSConfig) -> tuple[lbfgs.MinimizeResult, list[torch.Tensor]]:
    """The result, and the points at which each problem was evaluated, nan where it had ended."""
    points = []

    def recording(x, problem):
        points.append(torch.full_like(start, torch.nan))
        points[-1][problem] = x
        return objective(x, problem)

    return solve(recording, start, LOWER, UPPER, 1e-5, FIRST_STEP, DECREASE, config), points


@pytest.mark.parametrize("memory", [1, 2, 5])
@pytest.mark.parametrize("made", [lambda: spread(0, 12, 30, 30.0)[:2], lambda: coupled(1, 12, 30)])
def test_the_points_are_those_of_the_batch(made, memory):
    """Trial by trial, while rounding is not amplified: steps, bounds met, rejected trials, the ring gone round."""
    config = LBFGSConfig(memory=memory, max_iterations=8)
    (_, ours), (_, batchs) = (path(solve, *made(), config) for solve in (lbfgs.solve, lbfgs._solve_together))
    assert len(ours) == len(batchs) == 9
    for ours_at, batchs_at in zip(ours, batchs, strict=True):
        torch.testing.assert_close(ours_at, batchs_at, rtol=1e-3, atol=1e-4, equal_nan=True)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=SEEDS, n=st.integers(1, 40), exponent=st.floats(0, 2))
def test_separable_quadratics_end_at_the_clipped_point(seed, n, exponent):
    objective, start, minimizer = spread(seed, 4, n, 10**exponent)
    result = lbfgs.minimize(objective, start, LOWER, UPPER, 1e-5, config=LBFGSConfig(max_iterations=500))
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, minimizer, rtol=0, atol=1.1e-5 * 10**exponent)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=SEEDS, n=st.integers(1, 20))
def test_curved_functions_go_as_low_as_in_the_batch(seed, n):
    """A convex f is above its minimum by no more than |projected gradient| times the diameter of the box."""
    objective, start = coupled(seed, 4, n)
    config = LBFGSConfig(max_iterations=500)
    ours, batchs = (path(solve, objective, start, config)[0] for solve in (lbfgs.solve, lbfgs._solve_together))
    slack = (ours.projected_gradient_norm + batchs.projected_gradient_norm) * (UPPER - LOWER) * n**0.5
    assert ((ours.value - batchs.value).abs() <= slack + 1e-5 * (1 + batchs.value.abs())).all()


def test_a_problem_has_the_same_bits_alone_and_in_any_batch():
    objective, start, _ = spread(3, 9, 783, 100.0)
    together = lbfgs.minimize(objective, start, LOWER, UPPER, 1e-5)
    assert len(together.num_evaluations.unique()) > 1  # they end one after the other
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = lbfgs.minimize(lambda x, p: objective(x, order[p]), start[order], LOWER, UPPER, 1e-5)
    for row, place in enumerate(order.argsort().tolist()):
        at = torch.tensor([row])
        alone = lbfgs.minimize(lambda x, p, at=at: objective(x, at), start[at], LOWER, UPPER, 1e-5)
        for whole, moved, single in zip(astuple(together), astuple(shuffled), astuple(alone), strict=True):
            assert torch.equal(whole[row], moved[place])
            assert torch.equal(whole[row], single[0])


def test_torchs_default_dtype_decides_nothing():
    objective, start, _ = spread(5, 4, 20, 10.0)
    seen = set()

    def noticing(x, problem):
        seen.add(x.dtype)
        return objective(x, problem)

    plain = lbfgs.minimize(objective, start, LOWER, UPPER, 1e-5)
    torch.set_default_dtype(torch.float64)
    try:
        result = lbfgs.minimize(noticing, start, LOWER, UPPER, 1e-5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == {torch.float32}
    assert torch.equal(result.minimizer, plain.minimizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_infinite_gradient_is_not_finite_though_it_would_leave_the_box(dtype):
    """Of the root of a pixel that is 0, in either way of solving."""
    result = lbfgs.minimize(
        lambda x, problem: (x.sqrt().sum(dim=1), 0.5 / x.sqrt()), torch.zeros(1, 2, dtype=dtype), 0.0, 1.0, 1e-3
    )
    assert result.status == lbfgs.Status.NON_FINITE


@pytest.mark.parametrize("exponent", [-100, 80])
def test_the_unit_of_the_objective_does_not_matter(exponent):
    """Also where squares of the gradient are beyond float32."""
    objective, start, _ = spread(4, 5, 50, 10.0)
    unit = 2.0**exponent

    def scaled(x, problem):
        value, gradient = objective(x, problem)
        return unit * value, unit * gradient

    plain = lbfgs.minimize(objective, start, LOWER, UPPER, 1e-4)
    other = lbfgs.minimize(scaled, start, LOWER, UPPER, torch.full((5,), unit * 1e-4))
    assert plain.converged.all()
    assert torch.equal(other.minimizer, plain.minimizer)
    assert torch.equal(other.num_evaluations, plain.num_evaluations)


def test_the_direction_satisfies_the_secant_equation_in_the_free_coordinates():
    """H y = s for the newest pair; a coordinate on its way to a bound takes a gradient step, pair or no pair."""
    source = np.random.default_rng(0)
    n, memory = 9, 3
    s = source.normal(size=(memory, n)).astype(np.float32)
    y = s + 0.1 * source.normal(size=(memory, n)).astype(np.float32)
    low, high = np.full((2, n), np.float32(50)) * np.array([[-1], [1]], np.float32)
    x, d = np.zeros(n, np.float32), np.empty(n, np.float32)
    newest = 7  # pairs stored: the newest lies in slot (7 - 1) % 3
    rowwise._direction(x, y[0], s, y, newest, 0.5, low, high, d)
    np.testing.assert_allclose(d, -s[0], atol=1e-5)

    x[:2], y[:, :2] = -50, 0.0
    gradient = y[0].copy()
    gradient[:2] = 4.0
    rowwise._direction(x, gradient, s, y, newest, 0.5, low, high, d)
    np.testing.assert_allclose(d[:2], -2.0)
    np.testing.assert_allclose(d[2:], -s[0, 2:], atol=1e-5)


def test_a_trial_point_is_the_objectives_to_keep():
    """What an objective returns or keeps may share memory with the point that it was given."""
    seen = []

    def objective(x, problem):
        seen.append((x, x.clone()))
        return x.square().sum(dim=1) / 2, x

    result = lbfgs.minimize(objective, torch.full((3, 5), 0.5), LOWER, UPPER, 1e-6)
    assert result.converged.all()
    assert all(torch.equal(kept, then) for kept, then in seen)


def test_where_nothing_can_be_written_the_functions_are_compiled_all_the_same(monkeypatch):
    njit = rowwise.njit

    def nowhere(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(function, **options)

    monkeypatch.setattr(rowwise, "njit", nowhere)
    assert rowwise.compiled(lambda a: a + 1)(2) == 3


def test_it_is_for_float32_on_the_cpu():
    assert rowwise.fits(torch.zeros(1))
    assert not rowwise.fits(torch.zeros(1, dtype=torch.float64))
    assert not rowwise.fits(torch.zeros(1, device="meta"))
