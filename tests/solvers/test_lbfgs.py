"""Projected L-BFGS finds the minimum of every problem in the batch, inside its box, as if it were alone."""

from collections.abc import Callable
from dataclasses import astuple, replace

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.solvers import lbfgs
from lib.solvers.lbfgs import LBFGSConfig, Status, minimize

pytestmark = pytest.mark.numerical

PATIENT = LBFGSConfig(max_iterations=3000)
SEEDS = st.integers(0, 2**31 - 1)
examples = settings(max_examples=25, deadline=None, derandomize=True)


class Recorder:
    """An objective that counts the evaluations of each problem and insists that every point lies in the box."""

    def __init__(self, objective: lbfgs.Objective, lower: torch.Tensor, upper: torch.Tensor, rows: int):
        self.objective, self.lower, self.upper = objective, lower, upper
        self.counts = torch.zeros(rows, dtype=torch.int64)

    def __call__(self, x, problem):
        assert ((x >= self.lower[problem]) & (x <= self.upper[problem])).all()
        assert len(problem.unique()) == len(problem)
        self.counts[problem] += 1
        return self.objective(x, problem)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed_or_generator, *shape: int) -> torch.Tensor:
    if isinstance(seed_or_generator, int):
        seed_or_generator = generator(seed_or_generator)
    return torch.randn(*shape, generator=seed_or_generator, dtype=torch.float64)


def uniform(source: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=source, dtype=torch.float64)


def by_autograd(value: Callable) -> lbfgs.Objective:
    """The objective of value(x (k, n), problem) -> (k,)."""

    def objective(x, problem):
        x = x.detach().requires_grad_()
        f = value(x, problem)
        (gradient,) = torch.autograd.grad(f.sum(), x)
        return f.detach(), gradient

    return objective


def quadratic(A: torch.Tensor, b: torch.Tensor) -> lbfgs.Objective:
    """x'Ax/2 - b'x for each problem."""

    def objective(x, problem):
        Ax = (A[problem] @ x[:, :, None])[:, :, 0]
        return (x * (0.5 * Ax - b[problem])).sum(dim=1), Ax - b[problem]

    return objective


def separable(center: torch.Tensor, weight: torch.Tensor) -> lbfgs.Objective:
    def objective(x, problem):
        away = x - center[problem]
        return 0.5 * (weight[problem] * away.square()).sum(dim=1), weight[problem] * away

    return objective


def spd(source: torch.Generator, rows: int, n: int, condition: float) -> torch.Tensor:
    """Random matrices (rows, n, n) with eigenvalues from 1 down to 1 / condition."""
    Q = torch.linalg.qr(normal(source, rows, n, n)).Q
    return Q * torch.logspace(0, -np.log10(condition), n, dtype=torch.float64) @ Q.mT


@by_autograd
def rosenbrock(x, problem):
    return (100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(dim=1)


def scipy_minimum(objective: lbfgs.Objective, start, lower, upper, row: int) -> float:
    problem = torch.tensor([row])

    def value_and_gradient(x):
        f, g = objective(torch.tensor(x)[None], problem)
        return f.item(), g[0].numpy()

    found = scipy.optimize.minimize(
        value_and_gradient,
        start[row].clamp(lower[row], upper[row]).numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(lower[row].numpy(), upper[row].numpy()),
        options={"ftol": 0, "gtol": 1e-9, "maxiter": 20_000, "maxfun": 20_000},
    )
    return found.fun


def random_boxes(source: torch.Generator, rows: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Finite, half infinite, infinite and degenerate bounds, mixed coordinate by coordinate."""
    ends = normal(source, 2, rows, n).sort(dim=0).values
    kind = torch.randint(0, 6, (rows, n), generator=source)
    lower = ends[0].masked_fill((kind == 0) | (kind == 2), -torch.inf)
    upper = ends[1].masked_fill((kind == 1) | (kind == 2), torch.inf)
    return lower, torch.where(kind == 3, lower, upper)


def starts_everywhere(source: torch.Generator, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Inside, outside and on the bounds, mixed coordinate by coordinate."""
    start = 2 * normal(source, *lower.shape)
    kind = torch.randint(0, 4, lower.shape, generator=source)
    start = torch.where((kind == 0) & lower.isfinite(), lower, start)
    return torch.where((kind == 1) & upper.isfinite(), upper, start)


def solve(objective, start, lower, upper, tolerance=1e-6, config=PATIENT, **options):
    """`minimize`, after which its own claims have been checked."""
    recorder = Recorder(objective, lower, upper, len(start))
    result = minimize(recorder, start, lower, upper, tolerance, config=config, **options)
    f, g = objective(result.minimizer, torch.arange(len(start)))
    pinned = (result.minimizer <= lower) & (g > 0) | (result.minimizer >= upper) & (g < 0)
    assert ((result.minimizer >= lower) & (result.minimizer <= upper)).all()
    assert torch.equal(result.num_evaluations, recorder.counts)
    torch.testing.assert_close(result.value, f)
    torch.testing.assert_close(
        result.projected_gradient_norm, torch.where(pinned, 0, g).norm(dim=1), rtol=1e-6, atol=1e-9
    )
    assert torch.equal(result.converged, result.status == Status.CONVERGED)
    assert (result.projected_gradient_norm[result.converged] <= tolerance).all()
    return result


# The minimum in the box


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 17, 400])
def test_separable_quadratic_has_its_optimum_at_the_clipped_point(n, dtype):
    source = generator(n)
    center = (2 * normal(source, 40, n)).to(dtype)
    weight = 0.2 + uniform(source, 40, n).to(dtype)
    lower, upper = -torch.ones_like(center), torch.ones_like(center)
    start = torch.sign(normal(source, 40, n)).to(dtype)  # in a corner of the box
    result = solve(separable(center, weight), start, lower, upper, tolerance=1e-5)
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, center.clamp(-1, 1), rtol=0, atol=1e-4)
    outside = center.abs() > 1.001
    assert torch.equal(result.minimizer[outside], center.sign()[outside])  # on the bound to the last bit


def test_one_dimensional_quadratic_takes_two_steps():
    """The second step has the exact curvature."""
    center, weight = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[7.0]], dtype=torch.float64)
    box = torch.full_like(center, torch.inf)
    result = solve(separable(center, weight), torch.zeros_like(center), -box, box, first_step=0.1)
    assert result.num_evaluations.item() <= 4
    assert result.minimizer.item() == pytest.approx(0.3, abs=1e-12)


@examples
@given(seed=SEEDS, n=st.integers(1, 30), exponent=st.floats(0, 4))
def test_boxed_quadratics_agree_with_scipy(seed, n, exponent):
    """f - f* <= |projected gradient|^2 / (2 smallest eigenvalue) by strong convexity, and SciPy finds no less."""
    source, rows, condition = generator(seed), 4, 10**exponent
    A, b = spd(source, rows, n, condition), normal(source, rows, n)
    lower, upper = random_boxes(source, rows, n)
    start = starts_everywhere(source, lower, upper)
    objective = quadratic(A, b)
    result = solve(objective, start, lower, upper)
    assert result.converged.all()
    bound = result.projected_gradient_norm.square() * condition / 2
    for row in range(rows):
        reference = scipy_minimum(objective, start, lower, upper, row)
        rounding = 1e-12 * (1 + abs(reference)) * condition
        assert result.value[row] - reference <= bound[row] + rounding
        assert result.value[row] == pytest.approx(reference, rel=1e-8, abs=1e-7)


@examples
@given(seed=SEEDS, n=st.integers(1, 20), num_terms=st.integers(2, 12))
def test_log_sum_exp_agrees_with_scipy(seed, n, num_terms):
    source, rows = generator(seed), 3
    M, b = normal(source, rows, num_terms, n), normal(source, rows, num_terms)
    objective = by_autograd(
        lambda x, p: torch.logsumexp((M[p] @ x[:, :, None])[:, :, 0] + b[p], dim=1) + 0.005 * x.square().sum(dim=1)
    )
    lower, upper = random_boxes(source, rows, n)
    start = starts_everywhere(source, lower, upper)
    result = solve(objective, start, lower, upper)
    assert result.converged.all()
    for row in range(rows):
        reference = scipy_minimum(objective, start, lower, upper, row)
        assert result.value[row] == pytest.approx(reference, rel=1e-9, abs=1e-9)


@examples
@given(seed=SEEDS)
def test_rosenbrock_in_boxes_goes_as_low_as_scipy(seed):
    """With x1 >= 0 the valley has one branch. SciPy finds no less (and sometimes gives up earlier)."""
    source, rows = generator(seed), 3
    ends = (2 * uniform(source, 2, rows, 2)).sort(dim=0).values
    lower, upper = ends[0], ends[1] + 0.01
    start = starts_everywhere(source, lower, upper)
    result = solve(rosenbrock, start, lower, upper)
    assert result.converged.all()
    for row in range(rows):
        reference = scipy_minimum(rosenbrock, start, lower, upper, row)
        assert result.value[row] <= reference + 1e-8 * (1 + reference)


def test_rosenbrock_is_solved_from_the_textbook_starts():
    start = torch.tensor([[-1.2, 1.0] * 5, [1.2, 1.2] * 5, [0.0, 0.0] * 5], dtype=torch.float64)
    box = torch.full_like(start, torch.inf)
    result = solve(rosenbrock, start, -box, box, tolerance=1e-8)
    assert result.converged.all()
    # (-1.2, 1, ...) may end in the other, known local minimum of the ten-dimensional function.
    torch.testing.assert_close(result.minimizer[1:], torch.ones_like(start[1:]), rtol=0, atol=1e-6)


def crowded(kind: str, n: int, condition: float, rows: int = 1000) -> tuple:
    """Ill-conditioned quadratics whose optimum lies on, just off or just beyond many bounds."""
    source = generator(1)
    A = spd(source, rows, n, condition)
    optimum = torch.clamp(1.5 * normal(source, rows, n), -1, 1)
    tiny = 10 ** (-8 * uniform(source, rows, n))
    multiplier = torch.zeros_like(optimum)
    if kind == "just inside":
        optimum = optimum.sign() * (1 - tiny)
    if kind == "just beyond":
        optimum = optimum.sign() * (1 + tiny)
    if kind == "small multipliers":
        multiplier = torch.where(optimum.abs() == 1, optimum.sign() * tiny, 0)
    b = (A @ optimum[:, :, None])[:, :, 0] + multiplier
    start = torch.clamp(1.5 * normal(source, rows, n), -1, 1)
    return quadratic(A, b), start, -torch.ones_like(start), torch.ones_like(start)


@pytest.mark.parametrize("kind", ["just inside", "just beyond", "no multipliers", "small multipliers"])
@pytest.mark.parametrize(("n", "condition"), [(2, 1e4), (2, 1e6), (3, 1e4), (3, 1e8), (8, 1e4)])
def test_no_direction_jams_against_a_bound(kind, n, condition):
    """A direction through a bound close by could only be followed for ever shorter steps; pairs can be all rounding."""
    result = solve(*crowded(kind, n, condition))
    assert result.converged.all()
    assert result.num_evaluations.max() <= 1000


def test_many_coordinates_reach_their_bounds_at_once():
    """One pixel at its bound does not shorten the step of the others."""
    source, n = generator(0), 784
    center = 1e3 * normal(source, 5, n)
    center[:, 0] = 0.5
    start = torch.full_like(center, 1e-9)
    result = solve(separable(center, torch.ones_like(center)), start, torch.zeros_like(center), torch.ones_like(center))
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, center.clamp(0, 1), rtol=0, atol=1e-6)
    assert result.num_evaluations.max() <= 20


def test_double_precision_refines_single_precision():
    objective, start, lower, upper = crowded("small multipliers", 8, 1e2, rows=50)
    fine = solve(objective, start, lower, upper, tolerance=1e-9)
    A, b = (c.cell_contents.float() for c in objective.__closure__)
    coarse = minimize(quadratic(A, b), start.float(), -1.0, 1.0, 1e-5, config=PATIENT)
    assert coarse.minimizer.dtype == coarse.value.dtype == torch.float32
    assert (coarse.projected_gradient_norm <= 1e-4).all()
    torch.testing.assert_close(coarse.value.double(), fine.value, rtol=1e-5, atol=1e-5)


def test_a_fixed_coordinate_stays_and_an_infinite_box_is_no_box():
    A, b = spd(generator(3), 6, 5, 10.0), normal(4, 6, 5)
    inf = torch.full_like(b, torch.inf)
    free = solve(quadratic(A, b), torch.zeros_like(b), -inf, inf, tolerance=1e-9)
    assert free.converged.all()
    torch.testing.assert_close(free.minimizer, torch.linalg.solve(A, b), rtol=0, atol=1e-8)  # tolerance x condition
    fixed = torch.full_like(b, 0.25)
    result = solve(quadratic(A, b), torch.zeros_like(b), fixed, fixed)
    assert result.converged.all()
    assert torch.equal(result.minimizer, fixed)
    assert (result.num_evaluations == 1).all()


def test_bounds_may_be_numbers_rows_or_one_row_for_all():
    A, b = spd(generator(5), 3, 4, 10.0), normal(6, 3, 4)
    objective, start = quadratic(A, b), torch.zeros_like(b)
    results = [
        minimize(objective, start, lower, upper, 1e-8, config=PATIENT).minimizer
        for lower, upper in (
            (-0.1, 0.1),
            (torch.full((4,), -0.1), torch.full((4,), 0.1)),
            (torch.full((3, 4), -0.1), torch.full((3, 4), 0.1, dtype=torch.float64)),
            (-0.1, torch.full((4,), 0.1)),
            (torch.full((3, 4), -0.1), torch.tensor(0.1)),
        )
    ]
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=1e-7)


def test_the_start_is_not_written_to():
    start = torch.tensor([[3.0, 0.2]], dtype=torch.float64)
    minimize(separable(torch.zeros_like(start), torch.ones_like(start)), start, -1.0, 1.0, 1e-8)
    assert start.tolist() == [[3.0, 0.2]]


# The inverse Hessian


def dense_inverse_hessian(pairs, gamma: float, n: int) -> torch.Tensor:
    """Nocedal & Wright (6.17), from gamma I, oldest pair first."""
    H, identity = gamma * torch.eye(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    for s, y in pairs:
        rho = 1 / (s @ y)
        V = identity - rho * torch.outer(y, s)
        H = V.T @ H @ V + rho * torch.outer(s, s)
    return H


def ring_of_pairs(seed: int, n: int, memory: int, num_pairs: int, usable) -> tuple:
    """Pairs of a positive definite Hessian (of a negative one where not usable), the basis they make in their ring."""
    source = generator(seed)
    A, S, g = spd(source, 1, n, 100.0)[0], normal(source, num_pairs, n), normal(source, n)
    pairs = [(s, A @ s if usable[i] else -A @ s) for i, s in enumerate(S)]
    basis = torch.zeros(1 + 2 * memory, n, dtype=torch.float64)
    basis[0] = g
    for i, (s, y) in enumerate(pairs):
        basis[1 + 2 * (i % memory)], basis[2 + 2 * (i % memory)] = s, y
    return pairs, basis


def inverse_hessian_times_first(basis: torch.Tensor, num_pairs: int, gamma: float) -> torch.Tensor:
    memory = len(basis) // 2
    order = lbfgs._newest_first(torch.tensor([num_pairs]), memory)
    present = torch.arange(memory)[None] < num_pairs
    gamma = torch.tensor([gamma], dtype=basis.dtype)
    return lbfgs.two_loop((basis @ basis.T)[None], order, present, gamma)[0] @ basis


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=SEEDS,
    n=st.integers(1, 12),
    memory=st.integers(1, 6),
    num_pairs=st.integers(0, 14),
    gaps=st.sets(st.integers(0, 13)),
)
def test_two_loop_equals_dense_bfgs(seed, n, memory, num_pairs, gaps):
    """With fewer pairs than memory, with the ring gone round, and with pairs of negative curvature passed over."""
    usable = [i not in gaps for i in range(num_pairs)]
    pairs, basis = ring_of_pairs(seed, n, memory, num_pairs, usable)
    kept = [pair for pair, good in list(zip(pairs, usable, strict=True))[-memory:] if good]
    expected = dense_inverse_hessian(kept, 0.7, n) @ basis[0]
    torch.testing.assert_close(
        inverse_hessian_times_first(basis, num_pairs, 0.7), expected, rtol=1e-6, atol=1e-7 * expected.norm().item()
    )


def test_two_loop_satisfies_the_secant_equation():
    """H y = s for the newest pair."""
    pairs, basis = ring_of_pairs(0, 9, 4, 11, [True] * 11)
    s, y = pairs[-1]
    basis[0] = y
    torch.testing.assert_close(inverse_hessian_times_first(basis, 11, 1.0), s, rtol=0, atol=1e-9)


def test_ring_slots_are_in_order_of_age():
    order = lbfgs._newest_first(torch.tensor([0, 2, 3, 4, 7]), 3)
    assert order.tolist() == [[2, 1, 0], [1, 0, 2], [2, 1, 0], [0, 2, 1], [0, 2, 1]]


# N problems, each as if alone


def assert_same(one: lbfgs.MinimizeResult, other: lbfgs.MinimizeResult):
    """To the last bit, NaN included."""
    for a, b in zip(astuple(one), astuple(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def rows_of(result: lbfgs.MinimizeResult, rows) -> lbfgs.MinimizeResult:
    return replace(result, **{name: values[rows] for name, values in vars(result).items()})


EASY, KINKED, WALLED, NOT_FINITE, UNBOUNDED = range(5)


def mixed_batch(rows: int = 10, n: int = 7) -> tuple:
    """Side by side problems of all five kinds, whose arithmetic is elementwise; the last two tell those that are EASY.

    Objective, start, lower, upper, kind (rows,), and the centre and weight of sum of weight (x - centre)^2.
    """
    source = generator(11)
    center = normal(source, rows, n)
    weight = 10 ** (4 * uniform(source, rows, n))
    kind = torch.arange(rows) % 5

    def value(x, p):
        away = (x - center[p]).unbind(1)  # sums in one fixed order, whatever the batch
        terms = [w * a.square() for w, a in zip(weight[p].unbind(1), away, strict=True)]
        smooth, kink = sum(terms), sum(a.abs() for a in away)
        walled = torch.where(away[0] + away[1] > 0.5, torch.nan, smooth)
        f = smooth
        for other, its_value in ((KINKED, kink), (WALLED, walled), (NOT_FINITE, torch.nan), (UNBOUNDED, away[0])):
            f = torch.where(kind[p] == other, its_value, f)
        return f

    start, lower, upper = (normal(source, rows, n) * scale + shift for scale, shift in ((2, 0), (1, -2), (1, 3)))
    return by_autograd(value), start, lower, upper, kind, center, weight


@pytest.fixture
def in_a_fixed_order(monkeypatch):
    """The two products that a BLAS computes, summed term after term instead."""

    def inner_products(a, b):
        return sum(a[:, :, None, i] * b[:, None, :, i] for i in range(a.shape[2]))

    def combination(coefficients, vectors):
        return sum(coefficients[:, i, None] * vectors[:, i] for i in range(vectors.shape[1]))

    monkeypatch.setattr(lbfgs, "inner_products", inner_products)
    monkeypatch.setattr(lbfgs, "combination", combination)


def alone(objective, start, lower, upper, row: int) -> lbfgs.MinimizeResult:
    own = slice(row, row + 1)
    return minimize(lambda x, p: objective(x, p + row), start[own], lower[own], upper[own], 1e-6)


@pytest.mark.usefixtures("in_a_fixed_order")
def test_each_problem_is_solved_as_if_it_were_alone():
    """In a fixed order of the two products' terms, and for an objective that does not round by the batch: bit for bit.

    So nothing else in the solver depends on the batch, on any processor.
    """
    objective, start, lower, upper, *_ = mixed_batch()
    together = minimize(objective, start, lower, upper, 1e-6)
    assert {*together.status.tolist()} >= {Status.CONVERGED, Status.OUT_OF_ITERATIONS, Status.NON_FINITE}
    for row in range(len(start)):
        assert_same(alone(objective, start, lower, upper, row), rows_of(together, slice(row, row + 1)))


@pytest.mark.usefixtures("in_a_fixed_order")
def test_order_does_not_matter():
    objective, start, lower, upper, *_ = mixed_batch()
    order = torch.randperm(len(start), generator=generator(2))
    straight = minimize(objective, start, lower, upper, 1e-6)
    shuffled = minimize(lambda x, p: objective(x, order[p]), start[order], lower[order], upper[order], 1e-6)
    assert_same(shuffled, rows_of(straight, order))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 15, 16, 17, 63, 100, 784, 1023, 3001, 2**15])
def test_a_rows_own_sums_have_the_same_bits_wherever_it_stands(n, dtype):
    """Neither its place, nor its neighbours, nor where its memory begins, nor the threads: up to 32,768 variables."""
    a, b = normal(n, 2, 9, n).to(dtype)
    for function in (lbfgs._dot, lambda a, b: a.norm(dim=1), lambda a, b: torch.addcmul(a, b[:, :1], b).sum(dim=1)):
        every = function(a, b)
        for first, last in ((0, 1), (4, 5), (8, 9), (1, 3), (2, 9), (0, 8)):
            moved = torch.empty(3 + (last - first) * n, dtype=dtype)[3:].view(-1, n).copy_(a[first:last])
            assert torch.equal(function(a[first:last], b[first:last]), every[first:last])
            assert torch.equal(function(moved, b[first:last]), every[first:last])


def assert_keeps_its_promises(result, start, lower, upper, kind, center, weight, objective) -> None:
    """What holds of every row whatever the last bits of the products: no word on the digits of a minimiser.

    An EASY f is strongly convex: with mu its least curvature and g its projected gradient, f - f* <= |g|^2 / (2 mu) and
    the minimiser lies within |g| / mu.
    """
    is_easy, mu = kind == EASY, 2 * weight.amin(dim=1)
    optimum = torch.clamp(center, lower, upper)
    least = (weight * (optimum - center).square()).sum(dim=1)
    norm = result.projected_gradient_norm
    assert result.converged[is_easy].all()
    assert (norm <= 1e-6)[is_easy].all()
    assert (result.value - least <= norm.square() / (2 * mu) + 1e-12 * (1 + least))[is_easy].all()
    away = (result.minimizer - optimum).norm(dim=1)
    assert (away <= norm / mu + 1e-12)[is_easy].all()
    assert result.converged[kind == UNBOUNDED].all()
    assert torch.equal(result.minimizer[:, 0][kind == UNBOUNDED], lower[:, 0][kind == UNBOUNDED])
    assert (result.status[kind == NOT_FINITE] == Status.NON_FINITE).all()
    start = torch.clamp(start, lower, upper)
    assert torch.equal(result.minimizer[kind == NOT_FINITE], start[kind == NOT_FINITE])
    began = objective(start, torch.arange(len(start)))[0]
    begins = torch.isfinite(began)  # some start behind the wall
    assert (result.status[~begins] == Status.NON_FINITE).all()
    assert (result.value <= began)[begins].all()


def test_neighbours_and_order_change_nothing_that_is_promised():
    """With the BLAS' own products, which may round by the batch: a row alone, in the batch, in another order."""
    objective, start, lower, upper, *known = mixed_batch()
    order = torch.randperm(len(start), generator=generator(2))
    together = minimize(objective, start, lower, upper, 1e-6)
    shuffled = minimize(lambda x, p: objective(x, order[p]), start[order], lower[order], upper[order], 1e-6)
    each = [alone(objective, start, lower, upper, row) for row in range(len(start))]
    single = replace(together, **{name: torch.cat([vars(one)[name] for one in each]) for name in vars(together)})
    for result in (together, single, rows_of(shuffled, order.argsort())):
        assert_keeps_its_promises(result, start, lower, upper, *known, objective)


@pytest.mark.parametrize("seed", range(5))
def test_no_rounding_of_the_products_breaks_a_promise(seed, monkeypatch):
    """Every product is off by up to its error bound for sums in any order, a rounding unit of the terms' moduli."""
    source, exact = generator(seed), (lbfgs.inner_products, lbfgs.combination)

    def off(product):
        def disturbed(a, b):
            value = product(a, b)
            unit = torch.finfo(value.dtype).eps * product(a.abs(), b.abs())
            return value + unit * (2 * uniform(source, *value.shape) - 1)

        return disturbed

    for product in exact:
        monkeypatch.setattr(lbfgs, product.__name__, off(product))
    objective, start, lower, upper, *known = mixed_batch()
    assert_keeps_its_promises(minimize(objective, start, lower, upper, 1e-6), start, lower, upper, *known, objective)
    objective, start, lower, upper = crowded("small multipliers", 8, 1e4, rows=100)
    assert solve(objective, start, lower, upper).converged.all()


def test_tolerance_and_first_step_may_differ_by_problem():
    objective, start, lower, upper = crowded("no multipliers", 8, 1e2, rows=20)
    tolerance = torch.logspace(-1, -8, 20, dtype=torch.float64)
    first_step = torch.logspace(-3, 1, 20, dtype=torch.float64)
    together = minimize(objective, start, lower, upper, tolerance, first_step, config=PATIENT)
    assert together.converged.all()
    assert (together.projected_gradient_norm <= tolerance).all()
    assert (together.projected_gradient_norm[:5] > 1e-8).any()
    for row in (0, 7, 19):
        own = slice(row, row + 1)
        by_itself = minimize(
            lambda x, p, row=row: objective(x, p + row),
            start[own], lower[own], upper[own], tolerance[row].item(), first_step[row].item(), config=PATIENT,
        )  # fmt: skip
        # Of condition 100, so that few steps are taken: they amplify a rounding of 1e-16 by far less than a million.
        torch.testing.assert_close(by_itself.value, together.value[own], rtol=1e-10, atol=1e-10)


def test_a_batch_of_none_has_no_results():
    result = minimize(rosenbrock, torch.zeros(0, 4), 0.0, 1.0, 1e-6)
    assert result.minimizer.shape == (0, 4)
    assert result.status.shape == (0,)


# How it can end


def test_stalls_at_a_kink():
    """|x - 0.3| has no point with a small gradient; the search ends there and says so."""
    start = torch.tensor([[0.9], [-0.8], [0.31]], dtype=torch.float64)

    def kink(x, problem):
        return (x[:, 0] - 0.3).abs(), torch.where(x >= 0.3, 1.0, -1.0).to(x)

    result = solve(kink, start, -torch.ones_like(start), torch.ones_like(start))
    assert (result.status == Status.STALLED).all()
    assert not result.converged.any()
    torch.testing.assert_close(result.minimizer, torch.full_like(start, 0.3), rtol=0, atol=1e-9)
    assert (result.num_evaluations < 300).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stalls_where_rounding_hides_the_decrease(dtype):
    """A tolerance that this precision cannot reach costs no more than a few tens of evaluations."""
    offset = 1e3 / torch.finfo(dtype).eps ** 0.5
    start = torch.full((4, 30), 0.3, dtype=dtype)
    center = normal(1, 4, 30).to(dtype)

    def objective(x, problem):
        f, g = separable(center, torch.ones_like(center))(x, problem)
        return f + offset, g + torch.finfo(dtype).eps ** 0.5 * torch.where(g >= 0, 1, -1)

    result = minimize(objective, start, -5.0, 5.0, 1e-12, config=LBFGSConfig(max_iterations=5000))
    assert (result.status == Status.STALLED).all()
    assert (result.num_evaluations < 300).all()
    assert (result.minimizer - center).norm(dim=1).max() < 0.1


def test_stalls_where_the_gradient_lies():
    start = torch.zeros(2, 3, dtype=torch.float64)
    result = minimize(lambda x, p: (x.sum(dim=1), -torch.ones_like(x)), start, -1.0, 1.0, 1e-6)
    assert (result.status == Status.STALLED).all()
    assert torch.equal(result.minimizer, start)


def test_budget_spent_is_reported():
    start = torch.tensor([[-1.2, 1.0]], dtype=torch.float64)
    box = torch.full_like(start, 5.0)
    result = solve(rosenbrock, start, -box, box, config=LBFGSConfig(max_iterations=3))
    assert result.status.tolist() == [Status.OUT_OF_ITERATIONS]
    assert result.num_evaluations.tolist() == [4]  # the start and three trial points
    assert result.value < rosenbrock(start, None)[0]


def test_a_start_at_the_minimum_is_measured_and_left():
    start = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    result = minimize(rosenbrock, start, -5.0, 5.0, 1e-6, config=LBFGSConfig(max_iterations=1))
    assert result.status.tolist() == [Status.CONVERGED]
    assert result.num_evaluations.tolist() == [1]
    assert torch.equal(result.minimizer, start)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_non_finite_start_is_reported(bad, where):
    def objective(x, problem):
        f, g = x.square().sum(dim=1), 2 * x
        (f if where == "value" else g)[problem == 1] = bad
        return f, g

    start = torch.full((3, 2), 0.5, dtype=torch.float64)
    result = minimize(objective, start, -1.0, 1.0, 1e-9)
    assert result.status.tolist() == [Status.CONVERGED, Status.NON_FINITE, Status.CONVERGED]
    assert torch.equal(result.minimizer[1], start[1])
    assert result.num_evaluations[1] == 1


@pytest.mark.parametrize("wall", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_trial_points_are_backed_away_from(wall):
    """x - log x with a first step far into x < 0, where there is only `wall`: its minimum is at 1."""

    def objective(x, problem):
        inside = x[:, 0] > 0
        f = torch.where(inside, x[:, 0] - x[:, 0].clamp_min(1e-300).log(), wall)
        return f, torch.where(inside[:, None], 1 - 1 / x, torch.nan)

    start = torch.tensor([[3.0], [0.01], [50.0]], dtype=torch.float64)
    result = minimize(objective, start, -torch.inf, torch.inf, 1e-8, first_step=100.0)
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, torch.ones_like(start), rtol=0, atol=1e-7)


def test_unbounded_below_runs_to_the_bounds():
    start = torch.zeros(1, 4, dtype=torch.float64)
    slope = torch.tensor([1.0, -1.0, 1e-3, -1e3], dtype=torch.float64)
    result = minimize(lambda x, p: (x @ slope, slope.expand_as(x)), start, -1.0, 1.0, 1e-9)
    assert result.converged.all()
    assert result.minimizer.tolist() == [[-1.0, 1.0, -1.0, 1.0]]


def test_a_vanishing_gradient_ends_the_search():
    """Exactly zero, or so small that its square underflows."""
    for slope in (0.0, 1e-200):
        result = minimize(
            lambda x, p, slope=slope: (x.sum(dim=1) * slope, torch.full_like(x, slope)),
            torch.zeros(2, 3, dtype=torch.float64), -1.0, 1.0, 0.0,
        )  # fmt: skip
        assert torch.isfinite(result.minimizer).all()
        assert torch.isfinite(result.projected_gradient_norm).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_never_rise_beyond_rounding(dtype):
    """The value after k trial points does not increase with k, on a function with valleys and bumps."""
    source = generator(7)
    phase = (6 * uniform(source, 25, 6)).to(dtype)
    bumpy = by_autograd(lambda x, p: (x.square() + 2 * torch.sin(5 * x * x.roll(1, dims=1) + phase[p])).sum(dim=1))
    start = torch.clamp(2 * normal(source, 25, 6), -1.5, 1.5).to(dtype)
    values = torch.stack(
        [minimize(bumpy, start, -1.5, 1.5, 1e-7, config=LBFGSConfig(max_iterations=k)).value for k in range(1, 40)]
    )
    rise = values.diff(dim=0)
    assert (rise <= 5 * torch.finfo(dtype).eps * values[:-1].abs()).all()
    assert (values[-1] < values[0]).all()


# What it refuses


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.zeros(3), "floating tensor"),
        (torch.zeros(1, 2, 3), "floating tensor"),
        (torch.zeros(2, 3, dtype=torch.int64), "floating tensor"),
        (torch.tensor([[0.0, torch.nan]]), "finite"),
        (torch.tensor([[0.0, torch.inf]]), "finite"),
    ],
)
def test_bad_starts_are_refused(start, message):
    with pytest.raises(ValueError, match=message):
        minimize(rosenbrock, start, -1.0, 1.0, 1e-6)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (1.0, -1.0),
        (torch.tensor([0.0, 0.0, 2.0]), 1.0),
        (torch.nan, 1.0),
        (0.0, torch.tensor([1.0, torch.nan, 1.0])),
    ],
)
def test_empty_boxes_are_refused(lower, upper):
    with pytest.raises(ValueError, match="box is empty"):
        minimize(rosenbrock, torch.zeros(2, 3), lower, upper, 1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        lambda x, p: (x.sum(dim=1, keepdim=True), x),
        lambda x, p: (x.sum(), x),
        lambda x, p: (x.sum(dim=1), x[:, :1]),
        lambda x, p: (x.sum(dim=1), x.sum(dim=1)),
    ],
)
def test_objectives_of_the_wrong_shape_are_refused(objective):
    with pytest.raises(ValueError, match="objective"):
        minimize(objective, torch.zeros(4, 3), -1.0, 1.0, 1e-6)


def test_a_solver_without_memory_is_refused():
    with pytest.raises(ValueError, match="at least 1 pair, not 0"):
        LBFGSConfig(memory=0)


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gpu_equals_cpu(dtype):
    objective, start, *_ = crowded("small multipliers", 30, 1e2, rows=200)
    A, b = (c.cell_contents.to(dtype) for c in objective.__closure__)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-8
    cpu = minimize(quadratic(A, b), start.to(dtype), -1.0, 1.0, tolerance, config=PATIENT)
    gpu = minimize(quadratic(A.cuda(), b.cuda()), start.to(dtype).cuda(), -1.0, 1.0, tolerance, config=PATIENT)
    assert gpu.minimizer.is_cuda
    assert gpu.status.is_cuda
    assert torch.equal(gpu.converged.cpu(), cpu.converged)
    torch.testing.assert_close(gpu.minimizer.cpu(), cpu.minimizer, rtol=0, atol=300 * tolerance)
    torch.testing.assert_close(gpu.value.cpu(), cpu.value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("center", "third"), [(0.3, 0.3), (0.11, 0.11), (0.02, 0.1), (0.45, 0.45)])
def test_after_a_step_too_long_it_tries_the_minimum_of_the_parabola_if_that_is_no_extreme(center, third):
    """Of a parabola that is the minimum itself; never less than a tenth of the step, nor more than a half."""
    asked = []

    def parabola(x, problem):
        asked.append(float(x[0, 0]))
        return (x[:, 0] - center) ** 2, 2 * (x - center)

    found = minimize(parabola, torch.zeros(1, 1, dtype=torch.float64), -1, 1, tolerance=1e-9, first_step=1.0)
    assert asked[:3] == pytest.approx([0, 1, third], abs=1e-12)
    assert found.minimizer.item() == pytest.approx(center, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_that_carry_a_graph_are_cut_off(dtype):
    one = torch.ones(3, dtype=dtype, requires_grad=True)
    start = torch.zeros(3, 2, dtype=dtype)
    result = minimize(
        lambda x, p: ((x - 0.3).square().sum(dim=1), 2 * (x - 0.3)), start, 0.0, 1.0, 1e-5 * one, one, 0 * one
    )
    assert result.converged.all()
    assert not result.minimizer.requires_grad


# --- One after the other, and together -------------------------------------------------------------

SLOPE = torch.tensor([[1.0, -2.0, 0.5]])
ODD = {  # of one problem of three variables, in numbers that every order of summing gives exactly
    "nothing is ever lower": lambda x, problem: (torch.ones(1), SLOPE),
    "a slope without end": lambda x, problem: ((SLOPE * x).sum(dim=1), SLOPE),
    "bent down": lambda x, problem: ((SLOPE * x - x.square()).sum(dim=1), SLOPE - 2 * x),
    "bent down at last": lambda x, problem: (
        (SLOPE * x - x.abs().sub(2).clamp_min(0).square()).sum(dim=1),
        SLOPE - 2 * x.sign() * x.abs().sub(2).clamp_min(0),
    ),
}


@pytest.mark.parametrize("objective", ODD.values(), ids=ODD)
@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("first_step", [2.0**-10, 1.0])
def test_they_give_up_restart_and_lengthen_their_steps_alike(objective, patience, first_step):
    config = LBFGSConfig(patience=patience, max_iterations=60)
    arguments = objective, torch.zeros(1, 3), -(2.0**20), 2.0**20, 1e-5, first_step, 0.0, config
    ours, batchs = lbfgs.solve(*arguments), lbfgs._solve_together(*arguments)
    assert ours.status == batchs.status
    assert ours.num_evaluations == batchs.num_evaluations
    torch.testing.assert_close(ours.minimizer, batchs.minimizer, rtol=1e-6, atol=0)


def test_a_problem_that_never_gets_lower_is_given_up_after_twice_the_patience():
    config = LBFGSConfig(patience=7, max_iterations=60)
    for solve in (lbfgs.solve, lbfgs._solve_together):
        result = solve(ODD["nothing is ever lower"], torch.zeros(1, 3), -1.0, 1.0, 1e-5, 1.0, 0.0, config)
        assert result.status == lbfgs.Status.STALLED
        assert result.num_evaluations == 1 + 2 * 7
        assert torch.equal(result.minimizer, torch.zeros(1, 3))
