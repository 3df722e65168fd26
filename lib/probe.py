"""A real classifier on AlexNet's frozen features: a linear layer, trained as the paper trains its softmax.

AlexNet's own fully connected layers are 240 megabytes that not everybody has. Its convolutions are small, and what they
know is enough for a classifier of other pictures: only the last layer is trained, by full-batch L-BFGS.
"""

import sys
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from lib import training
from lib.experiment import weights_identity
from lib.models import imagenet
from lib.models.imagenet import AlexNet
from lib.pictures import Pictures
from lib.store import Artifact, Store, code_version
from lib.training import DecayRule, TrainingConfig, TrainResult

NUM_CHANNELS, SIDE = 256, 3
NUM_FEATURES = NUM_CHANNELS * SIDE**2
BATCH = 50  # pictures in memory at once
PIECE = 2000  # pictures encoded between two entries in the store: what a kill can lose


@dataclass(frozen=True)
class ProbeConfig:
    """The weight decay lambda of the linear layer (lambda / 2 times the sum of squares), and when its fit has ended."""

    decay: float = 1e-2
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(max_iterations=300, decrease=1e-5))


class Probe(nn.Module):
    """AlexNet's features, averaged over 2 x 2 places and divided by one number, and a linear layer on them."""

    def __init__(self, backbone: AlexNet, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("scale", torch.ones(()))
        self.head = nn.Linear(NUM_FEATURES, num_classes)
        nn.init.zeros_(self.head.weight)  # the loss is convex
        nn.init.zeros_(self.head.bias)

    def encode(self, inputs: Tensor) -> Tensor:
        """Features (N, NUM_FEATURES), non-negative, not yet divided by the scale."""
        maps = self.backbone.encode(inputs).unflatten(1, (NUM_CHANNELS, 2 * SIDE, 2 * SIDE))
        return F.avg_pool2d(maps, 2).flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encode(inputs) / self.scale)


def fit(
    backbone: AlexNet, pictures: Pictures, config: ProbeConfig, store: Store, device: torch.device
) -> tuple[Probe, TrainResult]:
    """The classifier of the pictures' classes, frozen and in evaluation mode, and how its training went.

    Features and the trained layer are kept in the store. Raises TrainingError when the loss is not finite.
    """
    probe = Probe(backbone, len(pictures.wnids)).to(device)
    key = {
        "backbone": weights_identity(backbone),
        "pictures": pictures.identity,
        "classes": list(pictures.wnids),
        "config": config,
        "code": code_version(sys.modules[__name__]),
    }

    def make() -> Artifact:
        features = encode_all(probe, pictures, store, device)
        scale = features.square().mean().sqrt()
        labels = pictures.labels.to(device)
        result = training.fit(probe.head, features / scale, labels, [config.decay], DecayRule.HALF, config.training)
        return Artifact({"scale": scale, **probe.head.state_dict()}, asdict(result))

    kept = store.get("probe", key, make)
    probe.scale.copy_(kept.tensors["scale"])
    probe.head.load_state_dict({name: kept.tensors[name] for name in ("weight", "bias")})
    return probe.eval().requires_grad_(False), TrainResult(**kept.info)


def encode_all(probe: Probe, pictures: Pictures, store: Store, device: torch.device) -> Tensor:
    """The features (N, NUM_FEATURES) of all pictures on `device`, kept in the store piece by piece."""
    pieces = torch.arange(len(pictures)).split(PIECE)
    progress = tqdm(pieces, desc=f"encoding {pictures.name}", disable=None, leave=False)
    return torch.cat([_encoded(probe, pictures.subset(rows), store, device) for rows in progress])


def _encoded(probe: Probe, pictures: Pictures, store: Store, device: torch.device) -> Tensor:
    key = {
        "backbone": weights_identity(probe.backbone),
        "pictures": pictures.identity,
        "code": code_version(imagenet, sys.modules[__name__]),
    }

    @torch.no_grad()
    def make() -> Artifact:
        batches = [probe.encode(batch.to(device)) for batch in pictures.batches(BATCH)]
        return Artifact({"features": torch.cat(batches)})

    return store.get("features", key, make).tensors["features"].to(device)
