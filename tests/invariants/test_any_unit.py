"""The unit of an objective does not matter, nor how flat or steep it is; what is nan is never accepted."""

import math

import pytest
import scipy.optimize
import torch

from lib.solvers import lbfgs
from lib.solvers.lbfgs import LBFGSConfig, Status, minimize

pytestmark = pytest.mark.numerical

ROWS, N = 6, 12
# Exponents by which values of about 1 may be multiplied, digits of gradients a billion times smaller included.
RANGE = {torch.float32: (-90, 100), torch.float64: (-900, 1000)}


def normal(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def bowl(dtype, factor: float = 1.0) -> lbfgs.Objective:
    """A quadratic of condition 100 and some ripples on it, times `factor`."""
    center, weight = normal(1, ROWS, N, dtype=dtype), torch.logspace(-2, 0, N, dtype=dtype)

    def objective(x, problem):
        away = x - center[problem]
        value = (weight * away.square() / 2 + 1e-2 * torch.cos(3 * away)).sum(dim=1)
        return factor * value, factor * (weight * away - 3e-2 * torch.sin(3 * away))

    return objective


def bowls_minimum(dtype, factor: float = 1.0, tolerance: float = 1e-3, **options) -> lbfgs.MinimizeResult:
    start = 3 * normal(2, ROWS, N, dtype=dtype)
    return minimize(bowl(dtype, factor), start, -2.0, 2.0, factor * tolerance, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("place", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
def test_a_power_of_two_changes_no_bit(dtype, place):
    low, high = RANGE[dtype]
    factor = 2.0 ** round(low + place * (high - low))
    plain, scaled = bowls_minimum(dtype), bowls_minimum(dtype, factor)
    assert plain.converged.all()
    assert plain.num_evaluations.min() > 5
    for name in ("minimizer", "status", "num_evaluations"):
        assert torch.equal(getattr(scaled, name), getattr(plain, name)), name
    assert torch.equal(scaled.value, factor * plain.value)
    torch.testing.assert_close(scaled.projected_gradient_norm / factor, plain.projected_gradient_norm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_power_of_two_changes_no_bit_of_a_least_decrease(dtype):
    config = LBFGSConfig(patience=2)
    plain = bowls_minimum(dtype, decrease=0.5, config=config)
    assert (plain.status == Status.STALLED).any()
    for factor in (2.0**-80, 2.0**80):
        scaled = bowls_minimum(dtype, factor, decrease=0.5 * factor, config=config)
        assert torch.equal(scaled.minimizer, plain.minimizer)
        assert torch.equal(scaled.status, plain.status)


@pytest.mark.parametrize("factor", [2e19, 1e-25])
def test_convergence_is_not_told_from_a_square_that_over_or_underflows(factor):
    """Of gradients of 1e19 or 1e-25 in float32."""
    result = bowls_minimum(torch.float32, factor)
    assert result.converged.all()
    assert (result.num_evaluations > 5).all()
    gradient = bowl(torch.float32, factor)(result.minimizer, torch.arange(ROWS))[1].double() / factor
    pinned = result.minimizer.abs() == 2
    assert (torch.where(pinned, 0, gradient).norm(dim=1) <= 1.001e-3).all()
    torch.testing.assert_close(result.minimizer, bowls_minimum(torch.float32).minimizer, rtol=0, atol=0.05)


def test_each_problem_has_its_own_unit():
    factors = 2.0 ** torch.tensor([-90.0, 0, 100, -40, 70, 3])

    def objective(x, problem):
        value, gradient = bowl(torch.float32)(x, problem)
        return factors[problem] * value, factors[problem, None] * gradient

    start = 3 * normal(2, ROWS, N, dtype=torch.float32)
    result = minimize(objective, start, -2.0, 2.0, 1e-3 * factors)
    assert result.converged.all()
    torch.testing.assert_close(result.value / factors, bowls_minimum(torch.float32).value, rtol=1e-4, atol=1e-4)


def test_a_gradient_may_shrink_and_grow_beyond_its_squares_on_the_way():
    """-exp(-30 x^2) in float32, from where its slope is 1e-24 over where it is 10 to where it is 0."""

    def objective(x, problem):
        return -torch.exp(-30 * x.square()).sum(dim=1), (60 * x * torch.exp(-30 * x.square()))

    start = torch.tensor([[1.4], [-1.35]])
    result = minimize(objective, start, -2.0, 2.0, 0.0, config=LBFGSConfig(max_iterations=400))
    assert result.minimizer.abs().max() < 1e-3


# Flat and steep


def linear(x, problem):
    return x.sum(dim=1), torch.ones_like(x)


def oblique(x, problem):
    slope = torch.linspace(-1, 3, N, dtype=x.dtype)
    return (x * slope).sum(dim=1), slope.expand_as(x).clone()


def downhill_ever_steeper(x, problem):
    return -(x + 0.1).square().sum(dim=1), -2 * (x + 0.1)


def far_valley(x, problem):
    """The distance from a point, rounded off near it: straight from afar."""
    away = x - 300
    length = torch.sqrt(1 + away.square())
    return length.sum(dim=1), away / length


def scipy_evaluations(objective, half_width: float) -> tuple[int, float]:
    def value_and_gradient(x):
        value, gradient = objective(torch.tensor(x)[None], torch.tensor([0]))
        return value.item(), gradient[0].numpy()

    found = scipy.optimize.minimize(
        value_and_gradient, torch.zeros(N, dtype=torch.float64).numpy(), jac=True, method="L-BFGS-B",
        bounds=[(-half_width, half_width)] * N, options={"ftol": 0, "gtol": 1e-6, "maxfun": 1000},
    )  # fmt: skip
    return found.nfev, found.fun


@pytest.mark.parametrize("half_width", [10.0, 1e3, 1e6, 1e10])
@pytest.mark.parametrize("objective", [linear, oblique, downhill_ever_steeper, far_valley])
def test_a_wide_box_takes_about_as_many_evaluations_as_scipy_needs(objective, half_width):
    start = torch.zeros(1, N, dtype=torch.float64)
    result = minimize(objective, start, -half_width, half_width, 1e-6)
    evaluations, value = scipy_evaluations(objective, half_width)
    assert result.converged.all()
    assert result.value.item() == pytest.approx(value, rel=1e-9)
    assert result.num_evaluations.item() <= (2 if objective is far_valley else 1) * evaluations


@pytest.mark.parametrize("first_step", [1e-6, 1.0, 1e6])
def test_how_long_the_first_step_is_costs_a_few_evaluations_at_most(first_step):
    result = minimize(linear, torch.zeros(1, N, dtype=torch.float64), -1e3, 1e3, 1e-9, first_step)
    assert result.minimizer.tolist() == [[-1e3] * N]
    assert result.num_evaluations <= 13


def test_a_step_that_was_too_long_is_taken_back():
    """|x - 300| is straight up to its kink."""

    def kink(x, problem):
        return (x[:, 0] - 300).abs(), torch.where(x >= 300, 1.0, -1.0).to(x)

    result = minimize(kink, torch.zeros(1, 1, dtype=torch.float64), -torch.inf, torch.inf, 1e-9)
    assert result.minimizer.item() == pytest.approx(300, rel=1e-6)


# What is nan


def with_holes(x, problem):
    """A bowl around 0.2 that is nan in a shell around it, and whose gradient alone is nan in another."""
    radius = (x - 0.2).norm(dim=1)
    value, gradient = (x - 0.2).square().sum(dim=1), 2 * (x - 0.2)
    value = torch.where((radius > 1.0) & (radius < 1.1), torch.nan, value)
    return value, gradient.masked_fill(((radius > 0.5) & (radius < 0.6))[:, None], torch.nan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("first_step", [0.01, 0.3, 30.0])
def test_from_a_finite_start_nothing_is_nan(dtype, first_step):
    start = 2 * normal(5, 40, 4, dtype=dtype)
    result = minimize(with_holes, start, -5.0, 5.0, 1e-6, first_step)
    begins = torch.isfinite(with_holes(start, None)[0]) & torch.isfinite(with_holes(start, None)[1]).all(dim=1)
    assert begins.sum() >= 30
    assert torch.isfinite(result.minimizer).all()
    assert torch.isfinite(result.value[begins]).all()
    assert torch.isfinite(result.projected_gradient_norm[begins]).all()
    assert (result.status[~begins] == Status.NON_FINITE).all()
    assert (result.value <= with_holes(start, None)[0])[begins].all()


def test_a_value_that_is_finite_at_nan_is_never_asked_for_there():
    def careless(x, problem):
        assert not x.isnan().any()
        return (x > 0.5).to(x).sum(dim=1) + x.sum(dim=1), torch.ones_like(x)

    result = minimize(careless, torch.zeros(2, 3), -torch.inf, torch.inf, 0.0, config=LBFGSConfig(max_iterations=150))
    assert torch.isfinite(result.minimizer).all()


# What people hand in


def square(x, problem):
    return (x - 0.3).square().sum(dim=1) / 2, x - 0.3


ZERO = torch.zeros(1, 3)


@pytest.mark.parametrize("constant", [0.0, 1e6, -1e6])
def test_a_slope_next_to_a_constant_that_hides_it_leads_to_its_corner(constant):
    """A step of 1 changes 1e6 by less than single precision can tell: longer ones are tried until it shows."""
    result = minimize(lambda x, p: (x.sum(dim=1) + constant, torch.ones_like(x)), ZERO, -1e3, 1e3, 1e-5)
    assert result.minimizer.eq(-1e3).all()
    assert result.num_evaluations.item() < 15


def test_a_box_as_wide_as_single_precision_is_crossed():
    result = minimize(lambda x, p: (x.sum(dim=1), torch.ones_like(x)), ZERO, -1e20, 1e20, 1e-5)
    assert result.minimizer.eq(-1e20).all()


@pytest.mark.parametrize("first_step", [1e-6, 1.0, 1e10])
@pytest.mark.parametrize("half_width", [1e-10, 1.0, 1e10, 1e300])
def test_any_first_step_will_do_in_any_box(first_step, half_width):
    """Of one that is longer than the box only what fits into it is tried; 1e300 is no bound in single precision."""
    result = minimize(square, ZERO, -half_width, half_width, 1e-5, first_step)
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, torch.full((1, 3), min(0.3, half_width)), rtol=1e-4, atol=1e-12)


def test_a_minimum_ten_billion_away_is_found():
    width = 1e10
    far = lambda x, p: tuple(v / scale for v, scale in zip(square(x / width, p), (1, width), strict=True))  # noqa: E731
    result = minimize(far, ZERO, -width, width, 1e-5 / width)
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, torch.full((1, 3), 3e9), rtol=1e-3, atol=0)


def test_a_value_beyond_the_dtype_is_inf_and_said_to_be():
    result = minimize(lambda x, p: (x.exp().sum(dim=1), x.exp()), ZERO + 89, -100.0, 100.0, 1e-5)
    assert result.status.item() == Status.NON_FINITE
    assert result.value.item() == math.inf


def test_bounds_may_carry_a_graph_and_the_caller_may_switch_gradients_off():
    def by_autograd(x, problem):
        x = x.requires_grad_()
        value = (x - 0.3).square().sum(dim=1)
        return value, torch.autograd.grad(value.sum(), x)[0]

    with torch.no_grad():
        result = minimize(by_autograd, ZERO, torch.full((3,), -1.0, requires_grad=True), 1.0, 1e-5)
    torch.testing.assert_close(result.minimizer, torch.full((1, 3), 0.3))
    assert not result.minimizer.requires_grad
