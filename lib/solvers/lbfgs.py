"""Box-constrained L-BFGS for a batch of N independent problems on one device.

This is *projected* L-BFGS, not L-BFGS-B: there is no generalised Cauchy point. Each iteration fixes the coordinates
that sit on a bound and would leave the box, takes the L-BFGS direction in the free coordinates (a two-metric
projection, Bertsekas 1982) and searches along the projected arc clip(x + alpha d). The rows of a batch share arithmetic
and nothing else: history, step length, status and convergence are each problem's own.

How much of its neighbours a row can feel is the rounding of two matrix products, `inner_products` and `combination`,
of two small triangular systems and of the objective: a BLAS may choose another kernel for another batch, or for another
place in it. All else is summed
in an order that the number of variables alone decides (up to 32 768 of them). A descent amplifies its roundings: what
does not depend on the batch is what `minimize` promises of each row (its tolerance, hence how far above the minimum it
may end), not the digits of the minimiser nor the number of evaluations.

Nor does the unit of an objective matter: every comparison is between values of one kind, and where squares of gradients
could over- or underflow, the row is counted in another power of two, which is exact (`_rescale`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from . import arguments, rowwise, sizes

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

STRAIGHT = 0.1  # a step was too short if the slope told its decrease to this fraction, and no curvature is known yet
STRETCH = 10  # how much longer the next one is
LONGEST = 1e30  # in units of the direction's own length
FEW = 8  # of so many problems one that has ended stays where it is: to drop it costs more than to take it along


class Status(IntEnum):
    """How one problem ended."""

    CONVERGED = rowwise.CONVERGED  # the projected gradient is within tolerance
    STALLED = rowwise.STALLED  # no step makes progress any more
    OUT_OF_ITERATIONS = rowwise.OUT_OF_ITERATIONS
    NON_FINITE = rowwise.NON_FINITE  # the objective or its gradient is not finite at the start


@dataclass(frozen=True)
class LBFGSConfig:
    """Constants of the algorithm."""

    memory: int = 5  # curvature pairs kept, Nocedal & Wright's m; at least 1
    max_iterations: int = 200  # trial points, accepted or not
    armijo: float = 1e-4  # c1 of the sufficient decrease condition
    patience: int = 20  # trial points in a row without progress before a fresh start; as many again: stalled

    def __post_init__(self):
        arguments.check_whole("memory", self.memory, 1, "pair")
        arguments.check_whole("max_iterations", self.max_iterations, 1, "trial point")
        arguments.check_number("armijo", self.armijo, below=1, positive=True)
        arguments.check_whole("patience", self.patience, 1, "trial point")


@dataclass(frozen=True)
class MinimizeResult:
    """`minimizer` (N, n) lies in the box; every other field is (N,) and was measured at it.

    `num_evaluations` counts all that the objective was asked about a problem: a few times after it has ended, too.
    """

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
    """The problems not yet finished, one row each, in no particular order."""

    problem: Tensor  # the row's index in the caller's batch
    x: Tensor
    f: Tensor
    g: Tensor
    lower: float | Tensor
    upper: float | Tensor
    tolerance: Tensor
    first_step: Tensor
    decrease: Tensor
    norm: Tensor  # of the projected gradient
    basis: Tensor  # (rows, 1 + 2 memory, n): g, then s and y of each slot of a ring
    num_pairs: Tensor  # pairs ever stored
    gamma: Tensor  # s'y / y'y of the newest pair with positive curvature, 0 before there is one
    d: Tensor  # search direction
    alpha: Tensor  # step along d to try next; 1 right after a step was accepted, more where it was too short
    rejected: Tensor  # whether the last trial point was: d is kept and alpha shortened
    scale: Tensor  # a power of two: f, g, y, tolerance and decrease are the caller's times it
    num_idle: Tensor  # trial points in a row without progress
    num_evaluations: Tensor
    is_scaled: bool = False  # some scale is not 1

    def clip(self, x: Tensor) -> Tensor:
        """x, projected into the box in place."""
        return x.clamp_(self.lower, self.upper)

    def drop(self, finished: Tensor, num_finished: int) -> None:
        """Forget the rows `finished`: running rows from the end move into their places, the others stay."""
        num_left = len(finished) - num_finished
        holes = finished[:num_left].nonzero()[:, 0]
        movers = num_left + (~finished[num_left:]).nonzero()[:, 0]
        for name, values in vars(self).items():
            if isinstance(values, Tensor):
                values[holes] = values[movers]
                setattr(self, name, values[:num_left])


@arguments.outside_inference_mode
@torch.enable_grad()
def minimize(
    objective: Objective,
    start: Tensor,
    lower: float | Tensor,
    upper: float | Tensor,
    tolerance: float | Tensor,
    first_step: float | Tensor = 1.0,
    decrease: float | Tensor = 0.0,
    config: LBFGSConfig = LBFGSConfig(),
) -> MinimizeResult:
    """Minimise N functions of n variables, each inside its own box, by projected L-BFGS.

    Parameters
    ----------
    objective : callable (x, problem) -> (value, gradient)
        x (k, n) holds one point for each of the k problems whose indices into the batch are `problem` (k,);
        value is (k,), gradient (k, n). Row i may depend on x[i] and problem[i] only; on its neighbours by rounding.
        x is to be left as it is. What is returned may carry a graph, which is cut off, and have another dtype.
    start : Tensor (N, n), float32 or float64, any device; a start outside the box is projected into it.
    lower, upper : float, Tensor (n,) or Tensor (N, n); equal bounds fix a coordinate, infinite ones free it.
    tolerance : float or Tensor (N,), Euclidean norm of the projected gradient at which a problem has converged.
    first_step : float or Tensor (N,), length of the first trial step, in units of x; ten times longer each time that
        it lowers the value as much as the slope promises and meets no curvature.
    decrease : float or Tensor (N,), a step that lowers the value by less makes no progress; at least rounding.

    Where value and gradient are not finite nothing is accepted, so that the minimiser of a finite start is finite.
    Multiplied by a power of two (value, gradient, tolerance and decrease, none of them rounded by it), a problem has
    the same minimiser, to the last bit, after as many evaluations.

    Raises
    ------
    TypeError : a start that is no float32 or float64 tensor, an objective that does not return two tensors.
    ValueError : a start that is not finite or not (N, n), an empty box, a tolerance or decrease below 0, a first step
        that is not above 0, an objective of another shape.

    Reference: Nocedal & Wright, Algorithm 7.4 in the free coordinates; Bertsekas 1982, section 2.
    """
    arguments.check_config(config, LBFGSConfig)
    box = {"lower": lower, "upper": upper}
    arguments.check_problem(objective, start, box, tolerance, first_step, decrease)
    return solve(arguments.Evaluated(objective), start, lower, upper, tolerance, first_step, decrease, config)


def solve(
    objective: Objective,
    start: Tensor,
    lower: float | Tensor,
    upper: float | Tensor,
    tolerance: float | Tensor,
    first_step: float | Tensor = 1.0,
    decrease: float | Tensor = 0.0,
    config: LBFGSConfig = LBFGSConfig(),
) -> MinimizeResult:
    """`minimize` for problems that are known to be in order: arguments and objective are not looked at."""
    lower, upper = _bounds(lower, upper, start)
    if rowwise.fits(start):
        constants = rowwise.Constants(config.armijo, config.patience, STRAIGHT, STRETCH, LONGEST)
        size = min(config.memory, config.max_iterations), config.max_iterations
        found = rowwise.solve(objective, start, lower, upper, tolerance, first_step, decrease, constants, *size)
        return MinimizeResult(*found)
    return _solve_together(objective, start, lower, upper, tolerance, first_step, decrease, config)


def _solve_together(objective, start, lower, upper, tolerance, first_step, decrease, config) -> MinimizeResult:
    """Every operation on all problems at once, on any device."""
    state = _start(objective, start, lower, upper, tolerance, first_step, decrease, config)
    result = MinimizeResult(
        minimizer=state.x.clone(),
        value=state.f.clone(),
        projected_gradient_norm=torch.full_like(state.f, torch.inf),
        status=torch.full_like(state.problem, Status.OUT_OF_ITERATIONS),
        num_evaluations=state.num_evaluations.clone(),
    )
    memory = state.basis.shape[1] // 2
    masked_basis = torch.empty_like(state.basis)  # used again and again: allocating it would cost as much as its use
    for iteration in range(config.max_iterations + 1):
        _restart(state, (state.num_idle == config.patience) & state.rejected)
        status, num_finished, num_uncurved = _measure(state, config)
        finished = status != Status.OUT_OF_ITERATIONS
        is_last = iteration == config.max_iterations
        if is_last or FEW * num_finished >= len(finished):
            _record(result, state, status, torch.ones_like(finished) if is_last else finished)
            if is_last or num_finished == len(finished):
                break
            state.drop(finished, num_finished)
            finished = finished.new_zeros(len(state.problem))

        reach = state.gamma.where(state.gamma > 0, state.first_step / state.norm)[:, None]
        free = _free_coordinates(state, reach)
        direction = _direction(state, reach, free, min(max(iteration, 1), memory), masked_basis)
        state.d = state.d.where(state.rejected[:, None], direction)

        trial = state.clip(torch.addcmul(state.x, state.alpha[:, None], state.d))
        trial = state.x.where(finished[:, None], trial)
        f, g = objective(trial, state.problem)
        if state.is_scaled:
            f, g = f * state.scale, g * state.scale[:, None]
        state.num_evaluations += 1

        rounding = 4 * torch.finfo(f.dtype).eps * state.f.abs()  # a decrease below it is neither seen nor asked for
        step = trial - state.x
        expected = _dot(state.g, step).clamp_max(0)  # the bounds can bend the path uphill
        accepted = (f <= state.f + config.armijo * expected + rounding) & ~finished
        accepted &= torch.maximum(f.abs(), g.sum(dim=1).abs()) < torch.inf
        _store_pair(state, step, g - state.g, accepted, expected, memory)
        longer = _longer_step(state, f, expected, rounding) if num_uncurved else 1.0
        state.alpha = torch.where(accepted, longer, _shorter_step(state, f, expected))
        state.rejected = ~accepted
        progress = accepted & (f < state.f - torch.maximum(rounding, state.decrease))
        state.num_idle = torch.where(progress, 0, state.num_idle + 1)
        state.f = f.where(accepted, state.f)
        state.x = trial.where(accepted[:, None], state.x)
        state.g = g.where(accepted[:, None], state.g)
    return result


def _start(objective, start, lower, upper, tolerance, first_step, decrease, config) -> _Running:
    rows, n = start.shape
    tolerance, first_step, decrease = (_rows(value, start) for value in (tolerance, first_step, decrease))
    diameter = sizes.norms((upper - torch.zeros_like(start)) - lower)  # a longer step leads nowhere else
    memory = min(config.memory, config.max_iterations)
    problem = torch.arange(rows, device=start.device)
    x = torch.clamp(start.detach(), lower, upper)
    f, g = objective(x, problem)
    return _Running(
        problem=problem,
        x=x.clone(),
        f=f.clone(),
        g=g.clone(),
        lower=lower,
        upper=upper,
        tolerance=tolerance,
        first_step=torch.minimum(first_step, diameter),
        decrease=decrease,
        gamma=torch.zeros_like(f),
        norm=torch.full_like(f, torch.inf),
        basis=start.new_zeros(rows, 2 * memory + 1, n),
        num_pairs=torch.zeros_like(problem),
        d=torch.zeros_like(x),
        alpha=torch.ones_like(f),
        rejected=torch.zeros_like(f, dtype=torch.bool),
        scale=torch.ones_like(f),
        num_idle=torch.zeros_like(problem),
        num_evaluations=torch.ones_like(problem),
    )


def _rows(value: float | Tensor, like: Tensor) -> Tensor:
    """`value` for each problem, (N,)."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).detach().expand(len(like)).clone()


def _bounds(lower: float | Tensor, upper: float | Tensor, like: Tensor) -> tuple:
    """Two numbers stay numbers, to clip to which is faster; else both (N, n). ValueError if the box is empty."""
    lower, upper = (torch.as_tensor(bound).detach().to(like) for bound in (lower, upper))
    if not ((lower <= upper) & (lower < torch.inf) & (upper > -torch.inf)).all():
        raise ValueError(
            "the box is empty: some lower bound exceeds its upper bound, is inf or nan, or an upper bound is -inf; "
            "swap or correct them"
        )
    if not (lower.ndim or upper.ndim):
        return float(lower), float(upper)
    return lower.expand_as(like).clone(), upper.expand_as(like).clone()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each row, (rows,), the same bits in any batch: no BLAS, which may choose by the batch's size."""
    return (a * b).sum(dim=1)


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """Of each row's vectors a (rows, i, n) with its b (rows, j, n): (rows, i, j), to the rounding of n terms.

    The sums of `_dot` would not depend on the batch, and take about three times as long.
    """
    return torch.bmm(a, b.mT)


def combination(coefficients: Tensor, vectors: Tensor) -> Tensor:
    """The sum of each row's vectors (rows, i, n), weighted (rows, i): (rows, n), to the rounding of i terms."""
    return torch.bmm(coefficients[:, None], vectors)[:, 0]


def _projected_gradient(state: _Running) -> Tensor:
    """The gradient, zero at coordinates that sit on a bound and would leave the box: an endless step moves them not.

    Where the gradient is zero such a step is nan, which is not x, and the product with the gradient zero all the same.
    """
    ahead = state.clip(torch.sub(state.x, state.g, alpha=math.inf))
    return torch.ne(ahead, state.x, out=torch.empty_like(ahead)).mul_(state.g)


def _measure(state: _Running, config: LBFGSConfig) -> tuple[Tensor, int, int]:
    """The length of the projected gradient; how each problem stands, how many have ended, how many know no curvature.

    Rows in which the square of the gradient could over- or underflow are rescaled first. What there is to know of all
    rows is asked for at once: a device is waited for.
    """
    gradient = _projected_gradient(state)
    state.norm = gradient.norm(dim=1)
    limit = 2.0 ** (math.frexp(torch.finfo(state.f.dtype).max)[1] // 4)
    far = (state.norm > limit) | (state.norm < 1 / limit)
    status = _status(state, config)
    finished, uncurved = status != Status.OUT_OF_ITERATIONS, state.gamma <= 0
    num_far, num_finished, num_uncurved = torch.stack([far, finished, uncurved]).sum(dim=1).tolist()
    if num_far:
        largest = gradient.abs().amax(dim=1)
        far &= (largest > 0) & (largest < torch.inf) & torch.isfinite(state.f)
        _rescale(state, far.nonzero()[:, 0], largest, limit)
        status = _status(state, config)
        num_finished = int((status != Status.OUT_OF_ITERATIONS).sum())
    return status, num_finished, num_uncurved


def _rescale(state: _Running, rows: Tensor, largest: Tensor, limit: float) -> None:
    """Count `rows` in another power of two, in which the `largest` entry of the gradient is about 1."""
    least = sizes.power_of_two(state.f[rows].abs()) / limit**2  # f stays finite
    size = torch.maximum(sizes.power_of_two(largest[rows]), least)
    factor = 1 / size
    for values in (state.f, state.tolerance, state.decrease, state.scale):
        values[rows] *= factor
    state.gamma[rows] /= factor
    state.g[rows] *= factor[:, None]
    state.basis[rows, 2::2] *= factor[:, None, None]  # each y
    state.norm[rows] = _projected_gradient(state)[rows].norm(dim=1)
    state.is_scaled = True


def _free_coordinates(state: _Running, reach: Tensor) -> Tensor:
    """1 where a gradient step of length `reach` stays inside the box, 0 elsewhere.

    Were coordinates free until they are on the bound, a direction through a bound close by could only be followed for
    ever shorter steps (Bertsekas' reason for his epsilon).
    """
    ahead = torch.addcmul(state.x, -reach, state.g)
    return torch.eq(ahead, ahead.clamp(state.lower, state.upper), out=torch.empty_like(ahead))


def _status(state: _Running, config: LBFGSConfig) -> Tensor:
    status = torch.full_like(state.problem, Status.OUT_OF_ITERATIONS)
    status.masked_fill_(state.num_idle >= 2 * config.patience, Status.STALLED)
    status.masked_fill_(state.norm <= state.tolerance, Status.CONVERGED)
    return status.masked_fill_(~(torch.maximum(state.f.abs(), state.norm) < torch.inf), Status.NON_FINITE)


def _record(result: MinimizeResult, state: _Running, status: Tensor, finished: Tensor) -> None:
    rows = finished.nonzero()[:, 0]
    problem, scale = state.problem[rows], state.scale[rows]
    result.minimizer[problem] = state.x[rows]
    result.value[problem] = state.f[rows] / scale
    result.projected_gradient_norm[problem] = state.norm[rows] / scale
    result.status[problem] = status[rows]
    result.num_evaluations[problem] = state.num_evaluations[rows]


def _direction(state: _Running, reach: Tensor, free: Tensor, num_slots: int, masked_basis: Tensor) -> Tensor:
    """-H g in the free coordinates, -reach g in those about to reach a bound.

    H g is a combination of the s, the y and g whose coefficients follow from their inner products alone (Chen et al.
    2014): an iteration reads the history twice, in two matrix products, and recurs on numbers instead of vectors.
    """
    state.basis[:, 0] = state.g
    basis, masked = (b[: len(free), : 1 + 2 * num_slots] for b in (state.basis, masked_basis))
    gram = inner_products(torch.mul(basis, free[:, None], out=masked), basis)
    order = _newest_first(state.num_pairs, num_slots)
    age = torch.arange(num_slots, device=gram.device)
    coefficients = two_loop(gram, order, age < state.num_pairs[:, None], reach[:, 0])
    return torch.lerp(-reach * state.g, combination(-coefficients, basis), free)


def _newest_first(num_pairs: Tensor, num_slots: int) -> Tensor:
    """The slots of a ring in order of age, those not yet filled last, (rows, num_slots)."""
    return (num_pairs[:, None] - 1 - torch.arange(num_slots, device=num_pairs.device)) % num_slots


def two_loop(gram: Tensor, order: Tensor, present: Tensor, gamma: Tensor) -> Tensor:
    """Coefficients of H g in the basis (g, s_0, y_0, s_1, y_1, ...), by Nocedal & Wright's Algorithm 7.4.

    gram : (rows, 2m + 1, 2m + 1), inner products of that basis; order : (rows, m), its pairs from newest to oldest;
    present : (rows, m), whether there is such a pair; gamma : (rows,), H_0 = gamma I.
    A pair without positive curvature is passed over; where H g is no ascent, by rounding, steepest descent remains.
    Curvature is positive if s and y are at less than a right angle by more than rounding, in any units of x and f.
    """
    m = order.shape[1]
    order = torch.cat([order.new_zeros(len(order), 1), 1 + 2 * order, 2 + 2 * order], dim=1)  # g, the s, the y
    gram = gram.gather(1, order[:, :, None].expand_as(gram)).gather(2, order[:, None].expand_as(gram))
    to_g, sy, yy = gram[:, 0], gram[:, 1 : m + 1, m + 1 :], gram[:, m + 1 :, m + 1 :]
    s_size, y_size = gram.diagonal(dim1=1, dim2=2)[:, 1:].sqrt().split(m, dim=1)
    curvature = sy.diagonal(dim1=1, dim2=2)
    curved = present & (curvature > torch.finfo(gram.dtype).eps * s_size * y_size)
    rho, gamma = (1 / curvature).where(curved, 0), gamma[:, None]

    # alpha_i = rho_i s_i'q, q = g less the alpha_j y_j of newer pairs: below the diagonal of a triangular system.
    alpha = _solve_unit_triangular(rho[..., None] * sy, rho * to_g[:, 1 : m + 1], upper=False)
    # alpha_i - beta_i, beta_i = rho_i y_i'q, q = gamma (g less all alpha_j y_j) and the steps along older s: above it.
    beta = rho * gamma * (to_g[:, m + 1 :] - (yy * alpha[:, None]).sum(dim=2))
    change = _solve_unit_triangular(rho[..., None] * sy.mT, alpha - beta, upper=True)
    p = torch.cat([gamma, change, -gamma * alpha], dim=1)

    ascent = _dot(to_g, p)[:, None]
    steepest = F.pad(gamma, (0, 2 * m))
    p = p.where((ascent > 0) & (ascent < torch.inf), steepest)
    return torch.empty_like(p).scatter_(1, order, p)


def _solve_unit_triangular(matrix: Tensor, right: Tensor, upper: bool) -> Tensor:
    """x of (I + T) x = right (rows, m), T the part of `matrix` (rows, m, m) above its diagonal, or below it."""
    return torch.linalg.solve_triangular(matrix, right[..., None], upper=upper, unitriangular=True)[..., 0]


def _store_pair(state: _Running, s: Tensor, y: Tensor, accepted: Tensor, expected: Tensor, memory: int) -> None:
    """Keep the pair; it tells gamma where it met positive curvature, more than the rounding of its slope `expected`."""
    first = 1 + 2 * (state.num_pairs % memory)
    place = torch.stack([first, first + 1], dim=1)[:, :, None].expand(-1, -1, s.shape[1])
    pair = torch.stack([s, y], dim=1).where(accepted[:, None, None], state.basis.gather(1, place))
    state.basis.scatter_(1, place, pair)
    state.num_pairs += accepted
    sy, yy = _dot(s, y), _dot(y, y)
    curved = accepted & (sy > torch.finfo(y.dtype).eps * expected.abs())
    state.gamma = torch.where(curved, sy / yy, state.gamma)


def _restart(state: _Running, rows: Tensor) -> None:
    """Forget the pairs of `rows`, whose direction led nowhere: pairs of a few coordinates can be all rounding."""
    for values, fresh in ((state.num_pairs, 0), (state.gamma, 0), (state.alpha, 1), (state.rejected, False)):
        values.masked_fill_(rows, fresh)


def _longer_step(state: _Running, f: Tensor, expected: Tensor, rounding: Tensor) -> Tensor:
    """More than 1 where no curvature is known, which would tell how far to go, and f went straight down the slope or
    bent down twice."""
    change = f - state.f
    straight = (change - expected).abs() <= STRAIGHT * expected.abs() + rounding  # also what is too little to be seen
    downhill = (change < expected - rounding) & (state.num_pairs >= 2)
    too_short = (state.gamma == 0) & (straight | downhill)
    return torch.where(too_short, (STRETCH * state.alpha).clamp_max(LONGEST), 1.0)


def _shorter_step(state: _Running, f: Tensor, expected: Tensor) -> Tensor:
    """Minimiser of the parabola through f(x), the slope and the rejected trial, kept within [0.1, 0.5] alpha."""
    ratio = -0.5 * expected / (f - state.f - expected)
    return state.alpha * torch.nan_to_num(ratio, nan=0.1).clamp(0.1, 0.5)
