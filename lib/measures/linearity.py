"""How straight networks are on the way to an adversarial image: what one step along the gradient reaches.

Reference: Goodfellow, Shlens, Szegedy 2015.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lib.attacks import penalized
from lib.attacks.penalized import Network
from lib.measures import effects, intervals, transfer
from lib.measures.intervals import Estimate

FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0)  # lengths of the step in units of the attack's perturbation
STEP = "{:g} times as long (%)"  # a column
FARTHEST, HALVINGS = 1e4, 40  # of a step whose largest change of a pixel is 1; of the search for its length


@torch.enable_grad()
def downhill(network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the gradient of the cross-entropy with the targets, at the images themselves, (N, n)."""
    return -penalized.loss_gradient(network, inputs, targets)


def step_in_box(inputs: Tensor, directions: Tensor, lengths: Tensor) -> Tensor:
    """x + t d, clamped to [0, 1], with t so large that the change is as long as asked for, (N,); all else (N, n).

    The length of a clamped step grows with t, so t is found by bisection. A step that comes to an end in the box before
    it is so long ends there.
    """
    largest = directions.abs().amax(dim=1, keepdim=True)
    directions = torch.where(largest > 0, directions / largest, 0.0)
    low, high = torch.zeros_like(largest), torch.full_like(largest, FARTHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = ((inputs + middle * directions).clamp(0, 1) - inputs).norm(dim=1, keepdim=True) < lengths[:, None]
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (inputs + high * directions).clamp(0, 1)


def reached(network: Network, inputs: Tensor, adversarial: Tensor, targets: Tensor) -> dict[str, Estimate]:
    """How often, in per cent, a single step says the target, {column: Estimate}, each so many times as long as |r|.

    The step leaves the image downhill and stays in the box, as the attack does. Images without a perturbation, since
    they had their target or nothing was found, do not count.
    """
    moved = (adversarial != inputs).any(dim=1)
    x, goals, lengths = inputs[moved], targets[moved], (adversarial - inputs)[moved].norm(dim=1)
    directions = downhill(network, x, goals)
    steps = {factor: step_in_box(x, directions, factor * lengths) for factor in FACTORS}
    hits = {factor: int((transfer.predictions(network, step) == goals).sum()) for factor, step in steps.items()}
    return {STEP.format(factor): intervals.percent(num, len(goals)) for factor, num in hits.items()}


def lines(cells: Mapping[tuple[str, str], Estimate], networks: Iterable[str]) -> dict[str, list[Estimate]]:
    """A line for each network along FACTORS, of a table whose columns are `reached`'s."""
    return {name: [cells.get((name, STEP.format(x)), effects.UNMEASURED) for x in FACTORS] for name in networks}
