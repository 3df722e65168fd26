"""The exact minimum distortion, where it can be computed: for a linear network it is a quadratic programme.

"The network says l" is then one linear inequality for each other class; `lib.solvers.quadratic` does the rest.
"""

import torch
from torch import Tensor, nn

from ..solvers import quadratic, sizes
from ..solvers.arguments import KindError
from ..solvers.quadratic import TOLERANCE, Projection
from . import arguments, behind

MOST_STEPS = 2000  # mostly a dozen; rows of very different lengths that nearly contradict each other take longest


def minimum_perturbation(network: nn.Linear, inputs: Tensor, targets: Tensor) -> Projection:
    """D(x, l) - x for a linear network, in float64: the shortest r with x + r in [0, 1]^n and given class `targets`.

    inputs : Tensor (N, n) in [0, 1]; targets : Tensor (N,), integers. A tie counts as being given the class.

    Raises
    ------
    TypeError : a network that is not one linear layer; inputs or targets of the wrong kind.
    ValueError : inputs that are not finite, not in [0, 1] or of another shape; targets that are no classes; weights
        that are not finite; and where no image that was found is given the target, which mostly means that none is.

    Reference: section 4.1, the problem that D(x, l) solves.
    """
    targets = _checked(network, inputs, targets)
    weight, x = network.weight.detach().double(), inputs.detach().double()
    bias = torch.zeros_like(weight[:, 0]) if network.bias is None else network.bias.detach().double()
    rivals = _rivals(targets, len(bias))
    slopes = weight[targets][:, None] - weight[rivals]
    # Differences first: next to a large bias the logits themselves would be rounded.
    to_make_up = bias[rivals] - bias[targets][:, None] - quadratic.apply(slopes, x)
    # A tenth: what is stated of a solution may be a rounding more than what the last step aimed at.
    found = quadratic.project(slopes, to_make_up, -x, 1 - x, tolerance=TOLERANCE / 10, max_iterations=MOST_STEPS)
    logits = (x + found.perturbation) @ weight.T + bias
    # A tie may be missed by as much as the programme misses it, and by the rounding of logits.
    lacking = logits.gather(1, rivals) - logits.gather(1, targets[:, None])
    steepness = sizes.norms(slopes.flatten(0, 1)).view_as(lacking)
    allowed = TOLERANCE * found.perturbation.norm(dim=1, keepdim=True) * steepness
    reach, length = sizes.norms(weight), x.norm(dim=1, keepdim=True)
    size = sum(bias[k].abs() + reach[k] * length for k in (rivals, targets[:, None]))
    given = (lacking <= allowed + 32 * torch.finfo(size.dtype).eps * size).all(dim=1)
    unsolved = int((~(given & (found.violation <= TOLERANCE))).sum())  # nan is no solution, either
    if unsolved:
        raise ValueError(
            f"{unsolved} of {len(x)} inputs have no solution that was found in {MOST_STEPS} steps: most likely there "
            "is no image in [0, 1] that the network gives their target"
        )
    arguments.warn_of_targets_given((found.perturbation == 0).all(dim=1))
    return found


def _checked(network: nn.Linear, inputs: Tensor, targets: Tensor) -> Tensor:
    """The targets as int64, once all that `minimum_perturbation` was given fits together."""
    plain = isinstance(network, nn.Linear) and type(network).forward is nn.Linear.forward
    if not plain or type(network).__call__ is not nn.Linear.__call__ or "forward" in vars(network):
        raise KindError(
            f"network must be one torch.nn.Linear, not {type(network).__name__}: of a chain that is linear pass its "
            "layer, network[0]; for all others there is a search, attacks.tight"
        )
    if behind.is_lazy(network):
        raise ValueError("network is lazy and has no weights yet: call it on an image first")
    if behind.hooks_of(network):
        raise KindError("network has hooks, with which it may compute anything: remove them first")
    if nn.utils.parametrize.is_parametrized(network) and network.training:
        raise ValueError("network makes its weights anew each time in training mode: call network.eval() first")
    if not network.weight.is_floating_point():
        raise KindError(f"network must have real weights, not {network.weight.dtype}")
    num_classes, num_inputs = network.weight.shape
    arguments.check_weights(network, num_classes)
    arguments.check_images("inputs", inputs, normalise="x -> (x - mean) / std is linear, part of weight and bias")
    arguments.check_rows("inputs", inputs, num_inputs)
    arguments.check_device("inputs", inputs, network)
    targets = arguments.check_classes("targets", targets, inputs)
    arguments.check_known("targets", targets, num_classes)
    return targets


def _rivals(targets: Tensor, num_classes: int) -> Tensor:
    """The classes that are not the target, (N, num_classes - 1)."""
    shift = torch.arange(1, num_classes, device=targets.device)
    return (targets[:, None] + shift) % num_classes
