"""Box-constrained L-BFGS for a batch of N independent problems on one device.

This is *projected* L-BFGS, not L-BFGS-B: there is no generalised Cauchy point. Each iteration fixes the coordinates
that sit on a bound and would leave the box, takes the L-BFGS direction in the free coordinates (a two-metric projection,
Bertsekas 1982) and searches along the projected arc clip(x + alpha d). The rows of a batch share arithmetic and nothing
else: history, step length, status and convergence are each problem's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Status(IntEnum):
    """How one problem ended."""

    CONVERGED = 0  # the projected gradient is within tolerance
    STALLED = 1  # no step along the direction decreases the objective in this precision
    OUT_OF_ITERATIONS = 2
    NON_FINITE = 3  # the objective or its gradient is not finite at the start


@dataclass(frozen=True)
class LBFGSConfig:
    """Constants of the algorithm."""

    memory: int = 5  # curvature pairs kept, Nocedal & Wright's m
    max_iterations: int = 200  # trial points, accepted or not
    armijo: float = 1e-4  # c1 of the sufficient decrease condition
    max_backtracks: int = 20  # rejected trial points in a row before a problem counts as stalled


@dataclass(frozen=True)
class MinimizeResult:
    """`minimizer` (N, n) lies in the box; every other field is (N,) and was measured at it."""

    minimizer: Tensor
    value: Tensor
    projected_gradient_norm: Tensor
    status: Tensor
    num_evaluations: Tensor

    @property
    def converged(self) -> Tensor:
        return self.status == Status.CONVERGED


@dataclass
class _Running:
    """The problems not yet finished, one row each."""

    problem: Tensor  # the row's index in the caller's batch
    x: Tensor
    f: Tensor
    g: Tensor
    lower: Tensor
    upper: Tensor
    tolerance: Tensor
    first_step: Tensor
    pairs: Tensor  # (rows, 2 memory, n): slots of s, then slots of y, each a ring
    num_pairs: Tensor  # pairs ever stored
    d: Tensor  # search direction
    alpha: Tensor  # step along d to try next; 1 right after a step was accepted
    num_backtracks: Tensor
    num_evaluations: Tensor

    def select(self, rows: Tensor) -> "_Running":
        return _Running(**{name: value[rows] for name, value in vars(self).items()})


def minimize(
    objective: Objective,
    start: Tensor,
    lower: float | Tensor,
    upper: float | Tensor,
    tolerance: float | Tensor,
    first_step: float | Tensor = 1.0,
    config: LBFGSConfig = LBFGSConfig(),
) -> MinimizeResult:
    """Minimise N functions of n variables, each inside its own box, by projected L-BFGS.

    Parameters
    ----------
    objective : callable (x, problem) -> (value, gradient)
        x (k, n) holds one point for each of the k problems whose indices into the batch are `problem` (k,);
        value is (k,), gradient (k, n). Row i may depend on x[i] and problem[i] only.
    start : Tensor (N, n), float32 or float64, any device; a start outside the box is projected into it.
    lower, upper : float, Tensor (n,) or Tensor (N, n); equal bounds fix a coordinate, infinite ones free it.
    tolerance : float or Tensor (N,), Euclidean norm of the projected gradient at which a problem has converged.
    first_step : float or Tensor (N,), length of the first trial step, in units of x.

    Raises
    ------
    ValueError : a start that is not a finite (N, n) floating tensor, or an empty box.

    Reference: Nocedal & Wright, Algorithm 7.4 in the free coordinates; Bertsekas 1982, section 2.
    """
    state = _start(objective, start, lower, upper, tolerance, first_step, config)
    result = MinimizeResult(
        minimizer=state.x.clone(),
        value=state.f.clone(),
        projected_gradient_norm=torch.full_like(state.f, torch.inf),
        status=torch.full_like(state.problem, Status.OUT_OF_ITERATIONS),
        num_evaluations=state.num_evaluations.clone(),
    )
    for iteration in range(config.max_iterations + 1):
        free = _free_coordinates(state)
        norm = (state.g * free).norm(dim=1)
        status = _status(state, norm, config)
        finished = status != Status.OUT_OF_ITERATIONS
        if iteration == config.max_iterations:
            finished = torch.ones_like(finished)
        if finished.any():
            _record(result, state, norm, status, finished)
            rows = (~finished).nonzero()[:, 0]
            if len(rows) == 0:
                break
            state, free = state.select(rows), free[rows]

        fresh = (state.alpha == 1)[:, None]
        state.d = torch.where(fresh, _direction(state, free, config), state.d)

        trial = torch.clamp(state.x + state.alpha[:, None] * state.d, state.lower, state.upper)
        f, g = objective(trial, state.problem)
        state.num_evaluations += 1

        expected = (state.g * (trial - state.x)).sum(dim=1)
        accepted = f <= state.f + config.armijo * expected + _rounding(state.f)
        accepted &= torch.isfinite(f) & torch.isfinite(g).all(dim=1)
        _store_pair(state, trial - state.x, g - state.g, accepted, config.memory)
        state.alpha = torch.where(accepted, 1.0, _shorter_step(state, f, expected))
        state.num_backtracks = torch.where(accepted, 0, state.num_backtracks + 1)
        state.x = torch.where(accepted[:, None], trial, state.x)
        state.f = torch.where(accepted, f, state.f)
        state.g = torch.where(accepted[:, None], g, state.g)
    return result


def _start(objective, start, lower, upper, tolerance, first_step, config) -> _Running:
    if start.ndim != 2 or not start.is_floating_point() or not torch.isfinite(start).all():
        raise ValueError(
            f"start must be a finite floating tensor (N, n), got {start.dtype} of shape {tuple(start.shape)}"
        )
    rows, n = start.shape
    lower, upper = (_rows(bound, start, "bound") for bound in (lower, upper))
    if (lower > upper).any():
        raise ValueError("the box is empty: some lower bound exceeds its upper bound; swap or correct them")
    problem = torch.arange(rows, device=start.device)
    x = torch.clamp(start.detach(), lower, upper)
    f, g = objective(x, problem)
    return _Running(
        problem=problem,
        x=x,
        f=f,
        g=g,
        lower=lower,
        upper=upper,
        tolerance=_rows(tolerance, start, "tolerance")[:, 0],
        first_step=_rows(first_step, start, "first_step")[:, 0],
        pairs=start.new_zeros(rows, 2 * config.memory, n),
        num_pairs=torch.zeros_like(problem),
        d=torch.zeros_like(x),
        alpha=torch.ones_like(f),
        num_backtracks=torch.zeros_like(problem),
        num_evaluations=torch.ones_like(problem),
    )


def _rows(value: float | Tensor, like: Tensor, name: str) -> Tensor:
    """`value` as (N, 1) or (N, n), so that it can be selected row by row."""
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if name == "bound":
        value = value if value.ndim else value[None]
    else:
        value = value[:, None] if value.ndim else value[None]
    return value.expand(len(like), value.shape[-1])


def _free_coordinates(state: _Running) -> Tensor:
    """1 where a coordinate may move, 0 where it sits on a bound and descent would push it out of the box."""
    pinned = (state.x <= state.lower) & (state.g > 0) | (state.x >= state.upper) & (state.g < 0)
    return (~pinned).to(state.x.dtype)


def _status(state: _Running, norm: Tensor, config: LBFGSConfig) -> Tensor:
    status = torch.full_like(state.problem, Status.OUT_OF_ITERATIONS)
    status[state.num_backtracks > config.max_backtracks] = Status.STALLED
    status[norm <= state.tolerance] = Status.CONVERGED
    status[~(torch.isfinite(state.f) & torch.isfinite(norm))] = Status.NON_FINITE
    return status


def _record(result: MinimizeResult, state: _Running, norm: Tensor, status: Tensor, finished: Tensor) -> None:
    problem = state.problem[finished]
    result.minimizer[problem] = state.x[finished]
    result.value[problem] = state.f[finished]
    result.projected_gradient_norm[problem] = norm[finished]
    result.status[problem] = status[finished]
    result.num_evaluations[problem] = state.num_evaluations[finished]


def _direction(state: _Running, free: Tensor, config: LBFGSConfig) -> Tensor:
    """-H g in the free coordinates, zero elsewhere; steepest descent while there is no usable pair.

    The two-loop recursion only ever adds multiples of the s, the y and g, so it can run on their Gram matrix, in
    numbers instead of vectors (Chen et al. 2014): an iteration reads the history twice, in two matrix products.
    """
    basis = torch.cat([state.pairs, state.g[:, None]], dim=1) * free[:, None]
    gram = basis @ basis.mT
    slots = _newest_first(state.num_pairs, config.memory)
    coefficients = two_loop(gram, slots, state.num_pairs, state.first_step)
    d = -(coefficients[:, None] @ basis)[:, 0]
    slope = (state.g * d).sum(dim=1)
    steepest = -(state.first_step / gram[:, -1, -1].sqrt())[:, None] * basis[:, -1]
    return torch.where((slope < 0)[:, None], d, steepest)


def _newest_first(num_pairs: Tensor, memory: int) -> Tensor:
    """Ring slots in order of age, (rows, memory)."""
    return (num_pairs[:, None] - 1 - torch.arange(memory, device=num_pairs.device)) % memory


def two_loop(gram: Tensor, slots: Tensor, num_pairs: Tensor, first_step: Tensor) -> Tensor:
    """Coefficients of H g in the basis (s slots, y slots, g), by Nocedal & Wright's Algorithm 7.4 on the Gram matrix.

    gram : (rows, 2m + 1, 2m + 1), inner products of that basis; slots : (rows, m), ring slots from newest to oldest.
    A pair is used when it exists and has positive curvature; H_0 is gamma I with the newest usable pair's
    gamma = s'y / y'y, or a step of length `first_step` along the gradient where there is none.
    """
    memory = slots.shape[1]
    rows = torch.arange(len(gram), device=gram.device)
    sy, yy = gram[rows[:, None], slots, slots + memory], gram[rows[:, None], slots + memory, slots + memory]
    age = torch.arange(memory, device=gram.device)
    usable = (age < num_pairs[:, None]) & (sy > torch.finfo(gram.dtype).eps * yy)
    rho = torch.where(usable, 1 / sy, 0)
    gamma = first_step / gram[:, -1, -1].sqrt()
    for i in reversed(range(memory)):
        gamma = torch.where(usable[:, i], sy[:, i] / yy[:, i], gamma)

    p = torch.zeros_like(gram[:, 0])
    p[:, -1] = 1
    alpha = []
    for i in range(memory):
        s, y = slots[:, i], slots[:, i] + memory
        alpha.append(rho[:, i] * (gram[rows, s] * p).sum(dim=1))
        p[rows, y] -= alpha[i]
    p = gamma[:, None] * p
    for i in reversed(range(memory)):
        s, y = slots[:, i], slots[:, i] + memory
        beta = rho[:, i] * (gram[rows, y] * p).sum(dim=1)
        p[rows, s] += alpha[i] - beta
    return p


def _store_pair(state: _Running, s: Tensor, y: Tensor, accepted: Tensor, memory: int) -> None:
    rows = accepted.nonzero()[:, 0]
    slot = state.num_pairs[rows] % memory
    state.pairs[rows, slot] = s[rows]
    state.pairs[rows, slot + memory] = y[rows]
    state.num_pairs[rows] += 1


def _shorter_step(state: _Running, f: Tensor, expected: Tensor) -> Tensor:
    """Minimiser of the parabola through f(x), the slope and the rejected trial, kept within [0.1, 0.5] alpha."""
    ratio = -0.5 * expected / (f - state.f - expected)
    return state.alpha * torch.nan_to_num(ratio, nan=0.1).clamp(0.1, 0.5)


def _rounding(f: Tensor) -> Tensor:
    """The part of f that is rounding: a decrease below it cannot be seen, so it is not asked for."""
    return 4 * torch.finfo(f.dtype).eps * f.abs()
