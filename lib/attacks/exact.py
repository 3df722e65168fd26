"""The exact minimum distortion, where it can be computed: for a linear network it is a quadratic programme.

"The network says l" is then one linear inequality for each other class; `lib.solvers.quadratic` does the rest.
"""

import torch
from torch import Tensor, nn

from lib.solvers import quadratic
from lib.solvers.quadratic import TOLERANCE, Projection


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
    found = quadratic.project(slopes, to_make_up, -x, 1 - x)
    unsolved = int((found.violation > TOLERANCE).sum())
    if unsolved:
        raise ValueError(
            f"{unsolved} of {len(x)} programmes have no solution that was found; most likely their constraints "
            "contradict each other: no image in the box is given the class"
        )
    return found


def _rivals(targets: Tensor, num_classes: int) -> Tensor:
    """The classes that are not the target, (N, num_classes - 1)."""
    shift = torch.arange(1, num_classes, device=targets.device)
    return (targets[:, None] + shift) % num_classes
