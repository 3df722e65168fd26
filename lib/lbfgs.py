"""Box-constrained L-BFGS for a batch of N independent problems on one device.

This is *projected* L-BFGS, not L-BFGS-B: there is no generalised Cauchy point. Each iteration fixes the coordinates
that sit on a bound and would leave the box, takes the L-BFGS direction in the free coordinates (a two-metric
projection, Bertsekas 1982) and searches along the projected arc clip(x + alpha d). The rows of a batch share arithmetic
and nothing else: history, step length, status and convergence are each problem's own.
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
    STALLED = 1  # no step decreases the objective visibly any more
    OUT_OF_ITERATIONS = 2
    NON_FINITE = 3  # the objective or its gradient is not finite at the start


@dataclass(frozen=True)
class LBFGSConfig:
    """Constants of the algorithm."""

    memory: int = 5  # curvature pairs kept, Nocedal & Wright's m
    max_iterations: int = 200  # trial points, accepted or not
    armijo: float = 1e-4  # c1 of the sufficient decrease condition
    decrease: float = 0.0  # relative decrease below which a step counts as none; never less than rounding
    patience: int = 20  # trial points in a row without a decrease before a fresh start; as many again: stalled


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
    basis: Tensor  # (rows, 2 memory + 1, n): slots of s, slots of y, each a ring, and the gradient
    num_pairs: Tensor  # pairs ever stored
    gamma: Tensor  # s'y / y'y of the newest pair with positive curvature, 0 before there is one
    d: Tensor  # search direction
    alpha: Tensor  # step along d to try next; 1 right after a step was accepted
    num_idle: Tensor  # trial points in a row without a visible decrease
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
    ValueError : a start that is not a finite (N, n) floating tensor, an empty box, an objective of another shape.

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
        norm = (state.g * _free_coordinates(state, reach=0)).norm(dim=1)
        status = _status(state, norm, config)
        finished = status != Status.OUT_OF_ITERATIONS
        if iteration == config.max_iterations:
            finished = torch.ones_like(finished)
        if finished.any():
            _record(result, state, norm, status, finished)
            rows = (~finished).nonzero()[:, 0]
            if len(rows) == 0:
                break
            state = state.select(rows)

        _restart(state, (state.num_idle == config.patience) & (state.alpha < 1))
        state.d = _keep(state.d, _direction(state, config), kept=state.alpha < 1)

        trial = torch.clamp(state.x + state.alpha[:, None] * state.d, state.lower, state.upper)
        f, g = objective(trial, state.problem)
        state.num_evaluations += 1

        rounding = 4 * torch.finfo(f.dtype).eps * state.f.abs()  # a decrease below it is neither seen nor asked for
        step = trial - state.x
        expected = (state.g * step).sum(dim=1).clamp_max(0)  # the bounds can bend the path uphill
        accepted = f <= state.f + config.armijo * expected + rounding
        accepted &= torch.isfinite(f) & torch.isfinite(g.sum(dim=1))
        _store_pair(state, step, g - state.g, accepted, config.memory)
        state.alpha = torch.where(accepted, 1.0, _shorter_step(state, f, expected))
        visible = torch.maximum(rounding, config.decrease * state.f.abs())
        state.num_idle = torch.where(accepted & (f < state.f - visible), 0, state.num_idle + 1)
        state.x = _keep(state.x, trial, kept=~accepted)
        state.f = torch.where(accepted, f, state.f)
        state.g = _keep(state.g, g, kept=~accepted)
    return result


def _start(objective, start, lower, upper, tolerance, first_step, config) -> _Running:
    if start.ndim != 2 or not start.is_floating_point() or not torch.isfinite(start).all():
        raise ValueError(
            f"start must be a finite floating tensor (N, n), got {start.dtype} of shape {tuple(start.shape)}"
        )
    rows, n = start.shape
    lower, upper = (_rows(bound, start, "bound") for bound in (lower, upper))
    if not (lower <= upper).all():
        raise ValueError("the box is empty: some lower bound exceeds its upper bound, or is nan; swap or correct them")
    problem = torch.arange(rows, device=start.device)
    x = torch.clamp(start.detach(), lower, upper)
    f, g = objective(x, problem)
    if f.shape != (rows,) or g.shape != x.shape:
        raise ValueError(
            f"the objective must return values ({rows},) and gradients ({rows}, {n}), "
            f"got {tuple(f.shape)} and {tuple(g.shape)}"
        )
    return _Running(
        problem=problem,
        x=x,
        f=f,
        g=g,
        lower=lower,
        upper=upper,
        tolerance=_rows(tolerance, start, "tolerance")[:, 0],
        first_step=_rows(first_step, start, "first_step")[:, 0],
        basis=start.new_zeros(rows, 2 * config.memory + 1, n),
        num_pairs=torch.zeros_like(problem),
        gamma=torch.zeros_like(f),
        d=torch.zeros_like(x),
        alpha=torch.ones_like(f),
        num_idle=torch.zeros_like(problem),
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


def _free_coordinates(state: _Running, reach: float | Tensor) -> Tensor:
    """0 where a gradient step of length `reach` ends on a bound or beyond it, 1 elsewhere.

    Without reach these are the coordinates that sit on a bound and would leave the box.
    """
    ahead = state.x - reach * state.g
    free = torch.where(state.g > 0, ahead > state.lower, ahead < state.upper)
    return free.to(state.x.dtype)


def _status(state: _Running, norm: Tensor, config: LBFGSConfig) -> Tensor:
    status = torch.full_like(state.problem, Status.OUT_OF_ITERATIONS)
    status[state.num_idle >= 2 * config.patience] = Status.STALLED
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


def _direction(state: _Running, config: LBFGSConfig) -> Tensor:
    """-H g in the free coordinates, -gamma g in those about to reach a bound.

    Were the latter free until they are on the bound, a direction through a bound close by could only be followed for
    ever shorter steps (Bertsekas' reason for his epsilon). While there is no usable pair: steepest descent.

    The two-loop recursion only ever adds multiples of the s, the y and g, so it can run on their Gram matrix, in
    numbers instead of vectors (Chen et al. 2014): an iteration reads the history twice, in two matrix products.
    """
    reach = state.gamma[:, None]
    free = _free_coordinates(state, reach)
    state.basis[:, -1] = state.g
    basis = state.basis * free[:, None]
    gram = basis @ basis.mT
    slots = _newest_first(state.num_pairs, config.memory)
    coefficients = two_loop(gram, slots, state.num_pairs, state.first_step)
    d = -(coefficients[:, None] @ basis)[:, 0]
    slope = (state.g * d).sum(dim=1)
    steepest = -_steepest(gram, state.first_step)[:, None] * basis[:, -1]
    d = _keep(steepest, d, kept=~(slope < 0))
    return d - (1 - free) * (reach * state.g)


def _keep(old: Tensor, new: Tensor, kept: Tensor) -> Tensor:
    """`new`, but `old` in the rows `kept`: few as a rule, so that copying them is cheaper than choosing everywhere."""
    rows = kept.nonzero()[:, 0]
    return new.index_copy(0, rows, old[rows])


def _newest_first(num_pairs: Tensor, memory: int) -> Tensor:
    """Ring slots in order of age, (rows, memory)."""
    return (num_pairs[:, None] - 1 - torch.arange(memory, device=num_pairs.device)) % memory


def _steepest(gram: Tensor, first_step: Tensor) -> Tensor:
    """Multiple of the gradient whose length is `first_step`."""
    return first_step / gram[:, -1, -1].sqrt().clamp_min(torch.finfo(gram.dtype).tiny)


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
    gamma = _steepest(gram, first_step)
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
    state.basis[rows, slot] = s[rows]
    state.basis[rows, slot + memory] = y[rows]
    state.num_pairs[rows] += 1
    sy, yy = (s * y).sum(dim=1), y.square().sum(dim=1)
    usable = accepted & (sy > torch.finfo(y.dtype).eps * yy)
    state.gamma = torch.where(usable, sy / yy, state.gamma)


def _restart(state: _Running, rows: Tensor) -> None:
    """Forget the pairs of `rows`, whose direction led nowhere: pairs of a few coordinates can be all rounding."""
    for values, fresh in ((state.num_pairs, 0), (state.gamma, 0), (state.alpha, 1)):
        values[rows] = fresh


def _shorter_step(state: _Running, f: Tensor, expected: Tensor) -> Tensor:
    """Minimiser of the parabola through f(x), the slope and the rejected trial, kept within [0.1, 0.5] alpha."""
    ratio = -0.5 * expected / (f - state.f - expected)
    return state.alpha * torch.nan_to_num(ratio, nan=0.1).clamp(0.1, 0.5)
