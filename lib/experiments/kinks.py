"""How near attacks come to the nearest image of a network with kinks, one so small that the nearest can be known."""

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lib.attacks import branching, penalized, tight
from lib.data.dataset import Dataset
from lib.experiments import seeds
from lib.experiments.seeds import Seeds
from lib.measures import averages, intervals
from lib.networks import mnist, training
from lib.networks.training import MinibatchConfig
from lib.record.ledger import Cells
from lib.store.calls import Store

SIZES = (784, 16, 16, 10)
TRAINING = MinibatchConfig()
ATTACK, TIGHT, NEAREST = "attack", "tight attack", "nearest"
CLOSE = 1.001  # times the nearest distance, at which an image counts as the nearest


@dataclass(frozen=True)
class _Fitted:
    """The state of `_rectified`, trained."""

    state: dict[str, Tensor]


def _rectified(seed: int) -> nn.Sequential:
    """Fully connected layers of SIZES with rectifiers between them, untrained, in evaluation mode."""
    generator, parts = seeds.generator(seed), []
    for below, above in pairwise(SIZES):
        parts += [mnist.glorot(nn.Linear(below, above), generator), nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()


def _fit(inputs: Tensor, labels: Tensor, init: int, batches: int) -> _Fitted:
    """`_rectified`, trained where inputs (N, 784) and labels (N,) lie. Raises TrainingError."""
    network = _rectified(init).to(inputs.device)
    training.fit_minibatches(network, inputs, labels, TRAINING, batches)
    return _Fitted(dict(network.state_dict()))


def trained(images: Dataset, roles: Seeds, store: Store) -> nn.Sequential:
    """The network, trained on digits; kept in the store."""
    fitted = store.call(_fit, images.inputs, images.labels, roles.init, roles.batches)
    network = _rectified(roles.init)
    network.load_state_dict(fitted.state)
    return network.to(images.inputs.device).requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Compared:
    """Euclidean distances (N,) of what either attack found, and of the nearest image that there is."""

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
    scale = inputs.shape[1] ** 0.5
    lengths = (scale * found.distortion, scale * near.distortion, least.perturbation.norm(dim=1))
    return Compared(*(length.cpu() for length in lengths), least.is_nearest.cpu())


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
