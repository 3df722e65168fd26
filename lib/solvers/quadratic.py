"""Quadratic programmes by the thousand, solved in their dual.

    min |r|^2 / 2  subject to  A r >= b,  lower <= r <= upper

has few rows in A (one for each rival class) and many columns: given multipliers >= 0 of the rows, the best r is
clip(A' multipliers, lower, upper), and what is left is to maximise a concave, piecewise quadratic function of nine
variables. A projected Newton method does that for all programmes at once.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import arguments, by_programme
from .sizes import norms as euclidean_norms
from .sizes import power_of_two

ARMIJO = 1e-4
TOLERANCE = 1e-9  # of the optimality conditions: how far r may be from where a constraint holds, relative to |r|


@dataclass(frozen=True)
class Projection:
    """The shortest r of N programmes, and the certificate of its optimality."""

    perturbation: Tensor  # (N, n), inside its box
    multipliers: Tensor  # (N, k), >= 0
    violation: Tensor  # (N,), how far r is from the constraint that it violates most, or keeps in vain, over |r|

    @property
    def distortion(self) -> Tensor:
        """Root mean square of each perturbation, (N,)."""
        return self.perturbation.square().mean(dim=1).sqrt()


def project(
    slopes: Tensor,
    bounds: Tensor,
    lower: Tensor,
    upper: Tensor,
    start: Tensor | None = None,
    tolerance: float = TOLERANCE,
    max_iterations: int = 100,
) -> Projection:
    """The shortest r with slopes @ r >= bounds and lower <= r <= upper, for N programmes at once.

    slopes : (N, k, n); bounds : (N, k), -inf for none; lower, upper : (N, n), finite, with lower <= 0 <= upper;
    start : multipliers (N, k) to begin with, zeros by default; tolerance : as a distance, relative to |r|.
    Whether a programme was solved its `violation` tells: where the constraints contradict each other it stays large.
    The lengths of rows do not matter: each is divided by its own.

    Raises
    ------
    TypeError : what is no float32 or float64 tensor.
    ValueError : slopes or bounds with nan, shapes that do not fit together, a box that does not hold 0.

    Reference: Bertsekas 1982 (projected Newton); Nocedal & Wright, section 12.9 (duality).
    """
    arguments.check_programme(slopes, bounds, lower, upper, start, tolerance, max_iterations)
    return solve(slopes, bounds, lower, upper, start, tolerance, max_iterations)


def solve(slopes, bounds, lower, upper, start, tolerance, max_iterations) -> Projection:
    """`project` for programmes that are known to be in order, and for those with nan or infinite slopes: nan."""
    norms, slopes, bounds = _normalised(slopes, bounds, lower, upper)
    unknown = (~norms.isfinite() | bounds.isnan()).any(dim=1).nonzero()[:, 0]
    if len(unknown):
        slopes, bounds = slopes.index_fill(0, unknown, 0), bounds.index_fill(0, unknown, 0)
    multipliers = torch.zeros_like(bounds) if start is None else start * norms
    unit = _unit(bounds, lower, upper)
    if unit is not None:
        bounds, lower, upper, multipliers = (values / unit for values in (bounds, lower, upper, multipliers))
    multipliers = multipliers * (bounds > 0).any(dim=1, keepdim=True)  # r = 0 is at once right where it is allowed
    _ascend(multipliers, (slopes, bounds, lower, upper), tolerance, max_iterations)
    perturbation = _primal(multipliers, slopes, lower, upper)
    violation = _violation(multipliers, bounds - apply(slopes, perturbation), perturbation.norm(dim=1))
    if unit is not None:
        perturbation, multipliers = perturbation * unit, multipliers * unit
    if len(unknown):
        perturbation[unknown], violation[unknown] = torch.nan, torch.nan
    return Projection(perturbation, multipliers / norms, violation)


def _normalised(slopes: Tensor, bounds: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lengths of rows, (N, k), and slopes and bounds divided by them, so that slack is a distance.

    No r of the box is further away than its corner: bounds beyond twice that, infinite ones, say nothing more.
    """
    tiny = torch.finfo(slopes.dtype).tiny
    norms = euclidean_norms(slopes.flatten(0, 1)).view_as(bounds).clamp_min(tiny)  # a row of zeros stays one
    limit = 2 * euclidean_norms(torch.maximum(-lower, upper))[:, None].clamp_min(tiny)
    return norms, slopes / norms[..., None], torch.clamp(bounds / norms, -limit, limit)


def _unit(bounds: Tensor, lower: Tensor, upper: Tensor) -> Tensor | None:
    """A power of two, (N, 1), in which no square of a length over- or underflows; None where they do not in 1, either.

    r is at least as long as its furthest constraint is away, and mostly not much longer.
    """
    furthest, widest = bounds.amax(dim=1, keepdim=True), torch.maximum(-lower, upper).amax(dim=1, keepdim=True)
    limit = 2.0 ** (math.frexp(torch.finfo(bounds.dtype).max)[1] // 4)
    far = ((furthest > 0) & (furthest < 1 / limit)) | (furthest > limit) | (widest > limit)
    if not far.any():
        return None
    return torch.where(far, power_of_two(torch.where(furthest > 0, furthest, widest)), 1)


def _ascend(multipliers: Tensor, part: tuple[Tensor, ...], tolerance: float, max_iterations: int) -> None:
    """Move the multipliers up the dual of the programmes (slopes, bounds, lower, upper), in place, to its top."""
    if multipliers.device.type == "cpu":
        y, *arrays = (values.detach().double().contiguous() for values in (multipliers, *part))
        strictly = 0.99 * tolerance  # its sums round otherwise than those of what is told
        by_programme.ascend(y.numpy(), *(values.numpy() for values in arrays), strictly, max_iterations, ARMIJO)
        multipliers.copy_(y)
    else:
        _ascend_together(multipliers, part, tolerance, max_iterations)


def _ascend_together(multipliers: Tensor, part: tuple[Tensor, ...], tolerance: float, max_iterations: int) -> None:
    """Every operation on all programmes at once, on any device."""
    rows = torch.arange(len(multipliers), device=multipliers.device)
    dual = _dual(multipliers, *part)
    for _ in range(max_iterations):
        unsolved = _violation(multipliers[rows], dual.slack, dual.length) > tolerance
        num_unsolved = int(unsolved.sum())
        if num_unsolved == 0:
            break
        if num_unsolved <= len(rows) / 2:  # copying what is left costs about as much as one more step
            rows, part = rows[unsolved], tuple(values[unsolved] for values in part)
            dual = _Dual(*(values[unsolved] for values in vars(dual).values()))
            unsolved = unsolved[unsolved]
        step, new = _newton_step(multipliers[rows], dual, *part)
        multipliers[rows] = torch.where(unsolved[:, None], step, multipliers[rows])
        dual = _Dual(
            torch.where(unsolved, new.value, dual.value),
            torch.where(unsolved, new.length, dual.length),
            torch.where(unsolved[:, None], new.slack, dual.slack),
            torch.lerp(dual.inside, new.inside, unsolved[:, None].to(dual.inside)),
        )


@dataclass(frozen=True)
class _Dual:
    """The dual function at some multipliers."""

    value: Tensor  # (N,), min over r of the Lagrangian |r|^2 / 2 - multipliers . (slopes r - bounds)
    length: Tensor  # (N,), |r|
    slack: Tensor  # (N, k), its gradient, bounds - slopes r
    inside: Tensor  # (N, n), 1 where the minimising r is not clipped


def _dual(multipliers: Tensor, slopes: Tensor, bounds: Tensor, lower: Tensor, upper: Tensor) -> _Dual:
    unclipped = (multipliers[:, None] @ slopes)[:, 0]
    r = torch.clamp(unclipped, lower, upper)
    inside = torch.eq(r, unclipped, out=torch.empty_like(r))
    slack, squares = bounds - apply(slopes, r), r.square().sum(dim=1)
    return _Dual(squares / 2 + (multipliers * slack).sum(dim=1), squares.sqrt(), slack, inside)


def _violation(multipliers: Tensor, slack: Tensor, length: Tensor) -> Tensor:
    violated = torch.where(multipliers > 0, slack.abs(), slack.clamp_min(0)).amax(dim=1)
    return violated / length.clamp_min(torch.finfo(length.dtype).tiny)


def _primal(multipliers: Tensor, slopes: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The r that minimises the Lagrangian for given multipliers."""
    return torch.clamp((multipliers[:, None] @ slopes)[:, 0], lower, upper)


def apply(slopes: Tensor, perturbation: Tensor) -> Tensor:
    """slopes @ r of N programmes, (N, k)."""
    return (slopes @ perturbation[..., None])[..., 0]


def _newton_step(multipliers: Tensor, dual: _Dual, slopes, bounds, lower, upper) -> tuple[Tensor, _Dual]:
    """Multipliers after a projected Newton step up the dual, shortened until the dual rises enough; the dual there."""
    free = ((multipliers > 0) | (dual.slack > 0)).to(slopes.dtype)
    curvature = (slopes * dual.inside[:, None]) @ slopes.mT
    curvature = curvature * free[:, :, None] * free[:, None]
    # Rows, of length 1, that are nearly dependent, or all of whose pixels are clipped, would make the system singular.
    ridge = max(by_programme.RIDGE, 8 * torch.finfo(slopes.dtype).eps)
    step = torch.linalg.solve(curvature + torch.diag_embed(1 - free + ridge), dual.slack * free)

    length = torch.ones_like(dual.value)
    for _ in range(by_programme.HALVINGS):
        trial = (multipliers + length[:, None] * step).clamp_min(0)
        new = _dual(trial, slopes, bounds, lower, upper)
        rise = ARMIJO * (dual.slack * (trial - multipliers)).sum(dim=1)
        rounding = 8 * torch.finfo(slopes.dtype).eps * dual.value.abs()
        risen = new.value >= dual.value + rise - rounding
        if risen.all():
            break
        length = torch.where(risen, length, length / 2)
    return trial, new
