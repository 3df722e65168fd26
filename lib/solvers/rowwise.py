"""The projected L-BFGS of `lbfgs`, problem by problem: for float32 on the CPU, compiled by numba.

The algorithm is `lbfgs`' to the letter, told for one problem instead of a batch. There every operation goes once over
the vectors of all problems and costs a call; here all that an iteration does with a problem, between two evaluations of
the objective, is one walk over vectors that the processor's cache holds. Sums are in float64, in which no square of a
float32 over- or underflows: no problem has to be counted in another unit, and none can feel its neighbours.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

CONVERGED, STALLED, OUT_OF_ITERATIONS, NON_FINITE = range(4)  # `lbfgs.Status`
EPS = float(np.finfo(np.float32).eps)


def fits(vectors: Tensor) -> bool:
    """Whether this module's functions are for such vectors."""
    return vectors.dtype == torch.float32 and vectors.device.type == "cpu"


class _Rows(NamedTuple):
    """N problems of n variables; m pairs are remembered. Views of `_State`'s arrays, in their order."""

    x: np.ndarray  # (N, n) float32
    g: np.ndarray
    d: np.ndarray
    s: np.ndarray  # (N, m, n), as y: a ring
    y: np.ndarray
    f: np.ndarray  # (N,) float64
    norm: np.ndarray
    gamma: np.ndarray
    alpha: np.ndarray
    tolerance: np.ndarray
    first_step: np.ndarray
    decrease: np.ndarray
    rejected: np.ndarray  # (N,) int64
    num_pairs: np.ndarray
    num_idle: np.ndarray
    num_evaluations: np.ndarray
    status: np.ndarray


class _State(NamedTuple):
    """What `_Rows` looks at, by kind: a function is kept on disk under the types of its arguments, no class of ours."""

    vectors: np.ndarray  # (3, N, n)
    pairs: np.ndarray  # (2, N, m, n)
    numbers: np.ndarray  # (7, N)
    counts: np.ndarray  # (5, N)


class Constants(NamedTuple):
    """`lbfgs.LBFGSConfig` and what else is the same for all, as a compiled function takes them."""

    armijo: float
    patience: int
    straight: float
    stretch: float
    longest: float


def solve(
    objective: Callable,
    start: Tensor,
    lower: float | Tensor,
    upper: float | Tensor,
    tolerance: float | Tensor,
    first_step: float | Tensor,
    decrease: float | Tensor,
    constants: Constants,
    memory: int,
    max_iterations: int,
) -> tuple[Tensor, ...]:
    """The fields of `lbfgs.MinimizeResult`, arguments as those of `lbfgs.minimize`; nothing of them is looked at.

    lower, upper : two numbers, or two Tensors (N, n).
    """
    num, n = start.shape
    low, high = (_single(bound).expand(num if isinstance(bound, Tensor) else 1, n) for bound in (lower, upper))
    trials, running = torch.clamp(start.detach(), low, high), torch.arange(num, device="cpu")
    low, high = low.contiguous().numpy(), high.contiguous().numpy()
    evaluated = _evaluate(objective, trials, running)
    tolerance, first_step, decrease = (_single(value).numpy() for value in (tolerance, first_step, decrease))
    longest = np.sqrt(np.square(high.astype(np.float64) - low).sum(axis=1))  # a longer step leads nowhere else
    state = _begin(trials.numpy(), *evaluated, tolerance, np.minimum(first_step, longest), decrease, memory)
    rows = _rows.py_func(*state)
    trials = trials[:0]
    for iteration in range(max_iterations + 1):
        following, points = torch.empty_like(running), trials.new_empty(len(running), n)
        arrays = running.numpy(), trials.numpy(), *evaluated
        is_last = iteration == max_iterations
        num_left = _advance(
            tuple(state), low, high, tuple(constants), *arrays, is_last, following.numpy(), points.numpy()
        )
        if num_left == 0:
            break
        running, trials = following[:num_left], points[:num_left]
        evaluated = _evaluate(objective, trials, running)
    value, norm = rows.f.astype(np.float32), rows.norm.astype(np.float32)
    found = rows.x.copy(), value, norm, rows.status, rows.num_evaluations  # the rest of the state may go
    return tuple(map(torch.from_numpy, found))


def _single(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32, device="cpu").detach()


def _evaluate(objective: Callable, x: Tensor, problem: Tensor) -> tuple[np.ndarray, np.ndarray]:
    value, gradient = objective(x, problem)
    return value.detach().double().numpy(), gradient.detach().float().contiguous().numpy()


def _begin(x, values, gradients, tolerance, first_step, decrease, memory: int) -> _State:
    """The problems before their first iteration, at x, where they have been evaluated."""
    num, n = x.shape
    state = _State(
        vectors=np.empty((3, num, n), np.float32),
        pairs=np.empty((2, num, memory, n), np.float32),
        numbers=np.zeros((7, num)),
        counts=np.zeros((5, num), np.int64),
    )
    rows = _rows.py_func(*state)
    rows.x[:], rows.g[:], rows.f[:], rows.alpha[:], rows.num_evaluations[:] = x, gradients, values, 1, 1
    rows.tolerance[:], rows.first_step[:], rows.decrease[:] = tolerance, first_step, decrease
    return state


OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}

inner = njit(**OPTIONS)


def compiled(function: Callable) -> Callable:
    """`function`, compiled; kept on disk, beside it or in the user's cache, where one of these can be written.

    What it calls may be `inner`, which is kept as a part of it.
    """
    try:
        return njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # numba's "no locator available": every process compiles it for itself
        return inner(function)


@inner
def _rows(vectors, pairs, numbers, counts):
    return _Rows(
        vectors[0], vectors[1], vectors[2], pairs[0], pairs[1], numbers[0], numbers[1], numbers[2], numbers[3],
        numbers[4], numbers[5], numbers[6], counts[0], counts[1], counts[2], counts[3], counts[4],
    )  # fmt: skip


@compiled
def _advance(state, lower, upper, constants, running, trials, values, gradients, is_last, next_running, next_trials):
    """Judge the trial points of the problems `running`, and propose the next ones. How many problems go on.

    lower, upper : (1, n) for all, or (N, n). The first time there is nothing to judge: trials is empty. is_last : every
    problem ends here.
    """
    rows, constants = _rows(*state), Constants(*constants)
    num_left = 0
    for i in range(len(running)):
        row = running[i]
        low, high = lower[row % len(lower)], upper[row % len(upper)]
        if len(trials):
            _judge(rows, constants, row, trials[i], values[i], gradients[i])
        rows.norm[row] = _projected_gradient_norm(rows.x[row], rows.g[row], low, high)
        rows.status[row] = _status(rows, constants, row)
        if rows.status[row] == OUT_OF_ITERATIONS and not is_last:
            next_running[num_left] = row
            _propose(rows, constants, row, low, high, next_trials[num_left])
            num_left += 1
    return num_left


@inner
def _status(rows, constants, row):
    if not (math.isfinite(rows.f[row]) and math.isfinite(rows.norm[row])):
        return NON_FINITE
    if rows.norm[row] <= rows.tolerance[row]:
        return CONVERGED
    return STALLED if rows.num_idle[row] >= 2 * constants.patience else OUT_OF_ITERATIONS


@inner
def _projected_gradient_norm(x, g, low, high):
    total = 0.0
    for k in range(len(x)):
        if not math.isfinite(g[k]):
            return math.inf
        blocked = (g[k] > 0 and x[k] <= low[k]) or (g[k] < 0 and x[k] >= high[k])
        total += 0.0 if blocked else np.float64(g[k]) * np.float64(g[k])
    return math.sqrt(total)


@inner
def _propose(rows, constants, row, low, high, trial):
    """The next trial point: along a new direction if the last point was accepted, else less far along the old one."""
    x, g, d = rows.x[row], rows.g[row], rows.d[row]
    if rows.num_idle[row] == constants.patience and rows.rejected[row]:  # the direction led nowhere: begin afresh
        rows.num_pairs[row], rows.gamma[row], rows.alpha[row], rows.rejected[row] = 0, 0.0, 1.0, False
    if not rows.rejected[row]:
        reach = rows.gamma[row] if rows.gamma[row] > 0 else rows.first_step[row] / rows.norm[row]
        _direction(x, g, rows.s[row], rows.y[row], rows.num_pairs[row], reach, low, high, d)
    alpha = np.float32(rows.alpha[row])
    for k in range(len(x)):
        trial[k] = _clip(x[k] + alpha * d[k], low[k], high[k])


@inner
def _clip(value, low, high):
    if value < low:
        return low
    return high if value > high else value


@inner
def _direction(x, g, s, y, num_pairs, reach, low, high, d):
    """-H g in the free coordinates, -reach g in those that this would take to a bound; Nocedal & Wright, Algorithm 7.4.

    Into d, (n,). The free part of every inner product alone counts: `free` is 1 there and 0 elsewhere.
    """
    n, memory = len(x), len(s)
    length = np.float32(reach)
    free, q = np.empty_like(x), np.empty_like(x)
    for k in range(n):
        ahead = x[k] - length * g[k]
        free[k] = np.float32(ahead == _clip(ahead, low[k], high[k]))
        q[k] = free[k] * g[k]
    num = min(num_pairs, memory)
    rho, alpha = np.zeros(num), np.zeros(num)
    for i in range(num):  # from the newest pair to the oldest
        slot = (num_pairs - 1 - i) % memory
        rho[i] = _inverse_curvature(s[slot], y[slot], free)
        alpha[i] = rho[i] * _dot(s[slot], q)
        _add(q, -alpha[i], y[slot], free)
    for k in range(n):
        q[k] *= length
    for i in range(num - 1, -1, -1):
        slot = (num_pairs - 1 - i) % memory
        _add(q, alpha[i] - rho[i] * _dot(y[slot], q), s[slot], free)
    ascent = _dot(g, q)
    steepest = not (ascent > 0 and ascent < math.inf)
    for k in range(n):
        d[k] = -length * g[k] if steepest or free[k] == 0 else -q[k]


@inner
def _inverse_curvature(s, y, free):
    """1 / s'y in the free coordinates; 0 if they are not at less than a right angle by more than rounding."""
    ss = sy = yy = 0.0
    for k in range(len(s)):
        a, b = np.float64(free[k] * s[k]), np.float64(y[k])
        ss, sy, yy = ss + a * a, sy + a * b, yy + np.float64(free[k]) * b * b
    return 1 / sy if sy > EPS * math.sqrt(ss) * math.sqrt(yy) else 0.0


@inner
def _dot(a, b):
    total = 0.0
    for k in range(len(a)):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@inner
def _add(q, weight, vector, free):
    """q += weight times the free part of the vector."""
    weight = np.float32(weight)
    for k in range(len(q)):
        q[k] += weight * (free[k] * vector[k])


@inner
def _judge(rows, constants, row, trial, value, gradient):
    """Accept the trial point or shorten the step, and remember what it told of the curvature."""
    x, g, f = rows.x[row], rows.g[row], rows.f[row]
    slope = total = 0.0
    for k in range(len(x)):
        slope += np.float64(g[k]) * np.float64(trial[k] - x[k])
        total += np.float64(gradient[k])
    expected = min(slope, 0.0)  # the bounds can bend the path uphill
    rounding = 4 * EPS * abs(f)  # a decrease below it is neither seen nor asked for
    accepted = value <= f + constants.armijo * expected + rounding
    accepted = accepted and math.isfinite(value) and math.isfinite(total)
    if accepted:
        _store_pair(rows, row, trial, gradient, expected)
        rows.alpha[row] = _longer_step(rows, constants, row, value - f, expected, rounding)
    else:
        rows.alpha[row] *= _shorter(value - f, expected)
    progress = accepted and value < f - max(rounding, rows.decrease[row])
    rows.num_idle[row] = 0 if progress else rows.num_idle[row] + 1
    rows.num_evaluations[row] += 1
    rows.rejected[row] = not accepted
    if accepted:
        rows.f[row] = value
        for k in range(len(x)):
            x[k], g[k] = trial[k], gradient[k]


@inner
def _store_pair(rows, row, trial, gradient, expected):
    slot = rows.num_pairs[row] % rows.s.shape[1]
    x, g, s, y = rows.x[row], rows.g[row], rows.s[row, slot], rows.y[row, slot]
    sy = yy = 0.0
    for k in range(len(x)):
        s[k], y[k] = trial[k] - x[k], gradient[k] - g[k]
        sy, yy = sy + np.float64(s[k]) * np.float64(y[k]), yy + np.float64(y[k]) * np.float64(y[k])
    rows.num_pairs[row] += 1
    if sy > EPS * abs(expected):
        rows.gamma[row] = sy / yy


@inner
def _longer_step(rows, constants, row, change, expected, rounding):
    straight = abs(change - expected) <= constants.straight * abs(expected) + rounding
    downhill = change < expected - rounding and rows.num_pairs[row] >= 2
    if rows.gamma[row] == 0 and (straight or downhill):
        return min(constants.stretch * rows.alpha[row], constants.longest)
    return 1.0


@inner
def _shorter(change, expected):
    """By what the step is multiplied: to the minimiser of the parabola that slope and rejected value tell."""
    curvature = change - expected
    ratio = -0.5 * expected / curvature if curvature != 0 else 0.1
    if not math.isfinite(ratio):
        ratio = 0.1
    return min(max(ratio, 0.1), 0.5)
