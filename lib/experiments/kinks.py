"""How near attacks come to the nearest image of a network with kinks, one so small that the nearest can be known."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.attacks import branching, penalized, tight
from lib.data.dataset import Dataset
from lib.experiments.seeds import Seeds
from lib.measures import averages, intervals
from lib.networks.mnist import NetworkSpec
from lib.networks.recipes import Recipe
from lib.networks.training import MinibatchConfig
from lib.record.ledger import Cells
from lib.store.calls import Store

SPEC = NetworkSpec("784-16-16-10", "rectified", (784, 16, 16, 10), ())
ATTACK, TIGHT, NEAREST = "attack", "tight attack", "nearest"
CLOSE = 1.001  # times the nearest distance, at which an image counts as the nearest


def recipe(roles: Seeds) -> Recipe:
    """How the network is made; it learns as long in every profile, since a second is enough."""
    return Recipe(SPEC, roles.init, minibatches=MinibatchConfig(), batches=roles.batches)


@dataclass(frozen=True, eq=False)
class Compared:
    """Distortions (N,) of what either attack found, and of the nearest image that there is."""

    attack: Tensor
    tight: Tensor
    nearest: Tensor
    is_nearest: Tensor  # (N,), whether it is known that nothing is nearer


def compare(
    network: nn.Sequential, images: Dataset, targets: Tensor, num: int, max_relaxations: int, store: Store
) -> Compared:
    """Both attacks and the nearest image, for the first `num` images that are not given their target (N,)."""
    with torch.no_grad():
        rows = (network(images.inputs).argmax(dim=1) != targets).nonzero()[:num, 0]
    exactly, inputs, targets = copy.deepcopy(network).double(), images.inputs[rows].double(), targets[rows]
    found = store.call(penalized.find_adversarial, exactly, inputs, targets)
    near = store.call(tight.tighten, exactly, inputs, targets, found.adversarial)
    least = store.call(branching.minimum_perturbation, exactly, inputs, targets, near.adversarial, max_relaxations)
    facts = found.distortion, near.distortion, least.distortion, least.is_nearest
    return Compared(*(values.cpu() for values in facts))


def cells(compared: Compared) -> Cells:
    """For either attack the excess of its mean over the nearest's and how often it is at the nearest, in per cent;
    and for how many images the nearest is known to be it."""
    known = intervals.percent(int(compared.is_nearest.sum()), len(compared.nearest))
    found = {(NEAREST, "known (%)"): known}
    for name, lengths in {ATTACK: compared.attack, TIGHT: compared.tight}.items():
        beside = averages.side_by_side({"length": lengths, "least": compared.nearest})
        found[name, "excess (%)"] = beside["excess (%)"]
        close = int((lengths <= CLOSE * compared.nearest).sum())
        found[name, "at the nearest (%)"] = intervals.percent(close, len(lengths))
    return found
