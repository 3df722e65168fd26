"""The exact minimum distortion, where it can be computed: for a linear network it is a quadratic programme.

    min |r|^2 / 2  subject to  A r >= b,  lower <= r <= upper

has few rows in A (one for each rival class) and many columns, so it is solved in its dual: given multipliers >= 0 of
the rows, the best r is clip(A' multipliers, lower, upper), and what is left is to maximise a concave, piecewise
quadratic function of nine variables. A projected Newton method does that for thousands of programmes at once.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


def minimum_perturbation(network: nn.Linear, inputs: Tensor, targets: Tensor) -> Projection:
    """D(x, l) - x for a linear network, in float64: the shortest r with x + r in [0, 1]^n and given class `targets`.

    inputs : Tensor (N, n) in [0, 1]; targets : Tensor (N,), integers. A tie counts as being given the class.

    Raises
    ------
    TypeError : a network that is not one linear layer; targets that are not integers.
    ValueError : inputs that are not finite, not in [0, 1] or of another shape; targets that are no classes; weights
        that are not finite; and where no image that was found is given the target, which mostly means that none is.

    Reference: section 4.1, the problem that D(x, l) solves.
    """
    _check_arguments(network, inputs, targets)
    weight, x = network.weight.detach().double(), inputs.detach().double()
    bias = torch.zeros_like(weight[:, 0]) if network.bias is None else network.bias.detach().double()
    rivals = _rivals(targets, len(bias))
    slopes = weight[targets][:, None] - weight[rivals]
    # Differences first: next to a large bias the logits themselves would be rounded.
    to_make_up = bias[rivals] - bias[targets][:, None] - _apply(slopes, x)
    found = project(slopes, to_make_up, -x, 1 - x)
    with torch.no_grad():
        logits = copy.deepcopy(network).double()(x + found.perturbation)
    # A tie may be missed by as much as the programme misses it, and by the rounding of logits.
    behind = logits.gather(1, rivals) - logits.gather(1, targets[:, None])
    allowed = TOLERANCE * found.perturbation.norm(dim=1, keepdim=True) * slopes.norm(dim=2)
    size = bias.abs().amax() + weight.norm(dim=1).amax() * x.norm(dim=1, keepdim=True)
    given = (behind <= allowed + 32 * torch.finfo(size.dtype).eps * size).all(dim=1)
    unsolved = int((~given | (found.violation > TOLERANCE)).sum())
    if unsolved:
        raise ValueError(
            f"{unsolved} of {len(x)} programmes have no solution that was found; most likely their constraints "
            "contradict each other: no image in the box is given the class"
        )
    return found


def _check_arguments(network: nn.Linear, inputs: Tensor, targets: Tensor) -> None:
    if not isinstance(network, nn.Linear) or type(network).forward is not nn.Linear.forward:
        raise TypeError(
            f"network must be one torch.nn.Linear, not {type(network).__name__}: of a chain that is linear pass its "
            "layer, network[0]; for all others there is a search, lib.tight"
        )
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise ValueError("network must have finite weights and biases, not nan or inf: was its training stable?")
    num_classes, num_inputs = network.weight.shape
    if num_classes < 2:
        raise ValueError(f"network must have two classes or more to tell apart, not {num_classes}")
    if inputs.ndim != 2 or inputs.shape[1] != num_inputs:
        raise ValueError(f"inputs must be (N, {num_inputs}), not {tuple(inputs.shape)}: use inputs.flatten(1)")
    if not ((inputs >= 0) & (inputs <= 1)).all():  # nan is neither
        raise ValueError(
            f"inputs must lie in [0, 1], not in [{float(inputs.min()):g}, {float(inputs.max()):g}]: divide pixels by "
            "255, and put a normalisation into the network's weights"
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(f"targets must be integers, not {targets.dtype}: use targets.long()")
    if targets.shape != inputs.shape[:1]:
        raise ValueError(f"targets must be one class for each of {len(inputs)} inputs, not {tuple(targets.shape)}")
    if not ((targets >= 0) & (targets < num_classes)).all():
        low, high = int(targets.min()), int(targets.max())
        raise ValueError(f"targets must be classes, 0 to {num_classes - 1}, not {low} to {high}")


def _rivals(targets: Tensor, num_classes: int) -> Tensor:
    """The classes that are not the target, (N, num_classes - 1)."""
    shift = torch.arange(1, num_classes, device=targets.device)
    return (targets[:, None] + shift) % num_classes


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

    Reference: Bertsekas 1982 (projected Newton); Nocedal & Wright, section 12.9 (duality).
    """
    norms, slopes, bounds = _normalised(slopes, bounds, lower, upper)
    multipliers = torch.zeros_like(bounds) if start is None else start * norms
    multipliers = multipliers * (bounds > 0).any(dim=1, keepdim=True)  # r = 0 is at once right where it is allowed
    rows, part = torch.arange(len(bounds), device=bounds.device), (slopes, bounds, lower, upper)
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
    perturbation = _primal(multipliers, slopes, lower, upper)
    slack = bounds - _apply(slopes, perturbation)
    return Projection(perturbation, multipliers / norms, _violation(multipliers, slack, perturbation.norm(dim=1)))


def _normalised(slopes: Tensor, bounds: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lengths of rows, (N, k), and slopes and bounds divided by them, so that slack is a distance.

    No r of the box is further away than its corner: bounds beyond twice that, infinite ones, say nothing more.
    """
    tiny = torch.finfo(slopes.dtype).tiny
    norms = slopes.norm(dim=2)
    if (norms < 1e3 * math.sqrt(tiny)).any():  # their squares underflow
        largest = slopes.abs().amax(dim=2).clamp_min(tiny)
        norms = largest * (slopes / largest[..., None]).norm(dim=2).clamp_min(1)  # a row of zeros stays one
    limit = 2 * torch.maximum(-lower, upper).norm(dim=1, keepdim=True).clamp_min(tiny)
    return norms, slopes / norms[..., None], torch.clamp(bounds / norms, -limit, limit)


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
    slack, squares = bounds - _apply(slopes, r), r.square().sum(dim=1)
    return _Dual(squares / 2 + (multipliers * slack).sum(dim=1), squares.sqrt(), slack, inside)


def _violation(multipliers: Tensor, slack: Tensor, length: Tensor) -> Tensor:
    violated = torch.where(multipliers > 0, slack.abs(), slack.clamp_min(0)).amax(dim=1)
    return violated / length.clamp_min(torch.finfo(length.dtype).tiny)


def _primal(multipliers: Tensor, slopes: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The r that minimises the Lagrangian for given multipliers."""
    return torch.clamp((multipliers[:, None] @ slopes)[:, 0], lower, upper)


def _apply(slopes: Tensor, perturbation: Tensor) -> Tensor:
    return (slopes @ perturbation[..., None])[..., 0]


def _newton_step(multipliers: Tensor, dual: _Dual, slopes, bounds, lower, upper) -> tuple[Tensor, _Dual]:
    """Multipliers after a projected Newton step up the dual, shortened until the dual rises enough; the dual there."""
    free = ((multipliers > 0) | (dual.slack > 0)).to(slopes.dtype)
    curvature = (slopes * dual.inside[:, None]) @ slopes.mT
    curvature = curvature * free[:, :, None] * free[:, None]
    # Rows, of length 1, that are nearly dependent, or all of whose pixels are clipped, would make the system singular.
    ridge = max(1e-9, 8 * torch.finfo(slopes.dtype).eps)
    step = torch.linalg.solve(curvature + torch.diag_embed(1 - free + ridge), dual.slack * free)

    length = torch.ones_like(dual.value)
    for _ in range(40):
        trial = (multipliers + length[:, None] * step).clamp_min(0)
        new = _dual(trial, slopes, bounds, lower, upper)
        rise = ARMIJO * (dual.slack * (trial - multipliers)).sum(dim=1)
        rounding = 8 * torch.finfo(slopes.dtype).eps * dual.value.abs()
        risen = new.value >= dual.value + rise - rounding
        if risen.all():
            break
        length = torch.where(risen, length, length / 2)
    return trial, new
