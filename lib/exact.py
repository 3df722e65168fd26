"""The exact minimum distortion, where it can be computed: for a linear network it is a quadratic programme.

    min |r|^2 / 2  subject to  A r >= b,  lower <= r <= upper

has few rows in A (one for each rival class) and many columns, so it is solved in its dual: given multipliers >= 0 of
the rows, the best r is clip(A' multipliers, lower, upper), and what is left is to maximise a concave, piecewise
quadratic function of nine variables. A projected Newton method does that for thousands of programmes at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MAX_ITERATIONS = 100
ARMIJO = 1e-4


@dataclass(frozen=True)
class Projection:
    """The shortest r of N programmes, and the certificate of its optimality."""

    perturbation: Tensor  # (N, n), inside its box
    multipliers: Tensor  # (N, k), >= 0
    violation: Tensor  # (N,), largest residual of the optimality conditions, relative to the largest |b|

    @property
    def distortion(self) -> Tensor:
        """Root mean square of each perturbation, (N,)."""
        return self.perturbation.square().mean(dim=1).sqrt()


def minimum_perturbation(network: nn.Linear, inputs: Tensor, targets: Tensor) -> Projection:
    """D(x, l) - x for a linear network, in float64: the shortest r with x + r in [0, 1]^n and given class `targets`.

    inputs : Tensor (N, n) in [0, 1]; targets : Tensor (N,).
    Raises ValueError where no image at all is given the target.

    Reference: section 4.1, the problem that D(x, l) solves.
    """
    weight, bias, x = (v.detach().double() for v in (network.weight, network.bias, inputs))
    logits = x @ weight.T + bias
    rivals = _rivals(targets, len(bias))
    slopes = weight[targets][:, None] - weight[rivals]
    to_make_up = logits.gather(1, rivals) - logits.gather(1, targets[:, None])
    return project(slopes, to_make_up, -x, 1 - x)


def _rivals(targets: Tensor, num_classes: int) -> Tensor:
    """The classes that are not the target, (N, num_classes - 1)."""
    shift = torch.arange(1, num_classes, device=targets.device)
    return (targets[:, None] + shift) % num_classes


def project(slopes: Tensor, bounds: Tensor, lower: Tensor, upper: Tensor, tolerance: float = 1e-9) -> Projection:
    """The shortest r with slopes @ r >= bounds and lower <= r <= upper, for N programmes at once.

    slopes : (N, k, n); bounds : (N, k); lower, upper : (N, n) with lower <= 0 <= upper; float64.
    tolerance : of the optimality conditions, relative to each programme's largest bound.
    Raises ValueError where the constraints contradict each other.

    Reference: Bertsekas 1982 (projected Newton); Nocedal & Wright, section 12.9 (duality).
    """
    scale = bounds.abs().amax(dim=1).clamp_min(torch.finfo(bounds.dtype).tiny)
    multipliers = torch.zeros_like(bounds)
    perturbation = _primal(multipliers, slopes, lower, upper)
    for _ in range(MAX_ITERATIONS):
        slack = bounds - _apply(slopes, perturbation)  # the dual's gradient
        violation = torch.where(multipliers > 0, slack.abs(), slack.clamp_min(0)).amax(dim=1) / scale
        rows = (violation > tolerance).nonzero()[:, 0]
        if len(rows) == 0:
            return Projection(perturbation, multipliers, violation)
        part = (slopes[rows], bounds[rows], lower[rows], upper[rows])
        multipliers[rows] = _newton_step(multipliers[rows], slack[rows], *part)
        perturbation[rows] = _primal(multipliers[rows], slopes[rows], lower[rows], upper[rows])
    raise ValueError(
        f"{len(rows)} of {len(bounds)} programmes have no solution that was found in {MAX_ITERATIONS} steps; "
        "most likely their constraints contradict each other: no image in the box is given the class"
    )


def _primal(multipliers: Tensor, slopes: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The r that minimises the Lagrangian for given multipliers."""
    return torch.clamp((multipliers[:, None] @ slopes)[:, 0], lower, upper)


def _apply(slopes: Tensor, perturbation: Tensor) -> Tensor:
    return (slopes @ perturbation[..., None])[..., 0]


def _dual(multipliers: Tensor, slopes: Tensor, bounds: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """min over r of the Lagrangian |r|^2 / 2 - multipliers . (slopes r - bounds), (N,)."""
    r = _primal(multipliers, slopes, lower, upper)
    return r.square().sum(dim=1) / 2 - (multipliers * (_apply(slopes, r) - bounds)).sum(dim=1)


def _newton_step(multipliers, slack, slopes, bounds, lower, upper) -> Tensor:
    """Multipliers after one projected Newton step up the dual, shortened until the dual rises enough."""
    unclipped = (multipliers[:, None] @ slopes)[:, 0]
    inside = ((unclipped > lower) & (unclipped < upper)).to(slopes.dtype)
    free = ((multipliers > 0) | (slack > 0)).to(slopes.dtype)
    curvature = (slopes * inside[:, None]) @ slopes.mT
    curvature = curvature * free[:, :, None] * free[:, None]
    # Rows that are nearly dependent, or all of whose pixels are clipped, would make the system singular.
    ridge = (1e-9 * slopes.square().sum(dim=2).amax(dim=1, keepdim=True)).clamp_min(1e-12)
    step = torch.linalg.solve(curvature + torch.diag_embed(1 - free + ridge), slack * free)

    value = _dual(multipliers, slopes, bounds, lower, upper)
    length = torch.ones_like(value)
    for _ in range(40):
        trial = (multipliers + length[:, None] * step).clamp_min(0)
        rise = ARMIJO * (slack * (trial - multipliers)).sum(dim=1)
        risen = _dual(trial, slopes, bounds, lower, upper) >= value + rise - 1e-15 * value.abs()
        if risen.all():
            break
        length = torch.where(risen, length, length / 2)
    return trial
