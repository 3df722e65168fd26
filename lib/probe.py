"""A real classifier on AlexNet's frozen features: a linear layer, trained as the paper trains its softmax.

AlexNet's own fully connected layers are 240 megabytes that not everybody has. Its convolutions are small, and what they
know is enough for a classifier of other pictures: only the last layer is trained, by full-batch L-BFGS.
"""

from dataclasses import asdict, dataclass, field
from math import ceil

import torch
from torch import Tensor
from tqdm import trange

from lib import pictures, training
from lib.experiment import weights_identity
from lib.models import imagenet
from lib.models.imagenet import AlexNet, Probe
from lib.pictures import Pictures
from lib.store import Artifact, Store, code_version
from lib.training import DecayRule, TrainingConfig, TrainResult

BATCH = 50  # pictures in memory at once
PIECE = 2000  # pictures encoded between two entries in the store: what a kill can lose


@dataclass(frozen=True)
class ProbeConfig:
    """The weight decay lambda of the linear layer (lambda / 2 times the sum of squares), and when its fit has ended.

    On a tenth of Tiny ImageNet's training pictures, held out, 0.01 and 0.03 do equally well, 0.003 a little worse.
    """

    decay: float = 2e-2
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(max_iterations=300, decrease=1e-5))


def fit(
    backbone: AlexNet, examples: Pictures, config: ProbeConfig, store: Store, device: torch.device
) -> tuple[Probe, TrainResult]:
    """The classifier of the examples' classes, frozen and in evaluation mode, and how its training went.

    Features and the trained layer are kept in the store. Raises TrainingError when the loss is not finite.
    """
    probe = Probe(backbone, len(examples.wnids)).to(device)
    key = {
        "backbone": weights_identity(backbone),
        "pictures": examples.identity,
        "classes": list(examples.wnids),
        "config": config,
        "code": code_version(imagenet, pictures, training),
    }

    def make() -> Artifact:
        features = encode_all(probe, examples, store, device)
        probe.scale.copy_(features.square().mean().sqrt())
        labels = examples.labels.to(device)
        result = training.fit(
            probe.head, features / probe.scale, labels, [config.decay], DecayRule.HALF, config.training
        )
        return Artifact({"scale": probe.scale, **probe.head.state_dict()}, asdict(result))

    kept = store.get("probe", key, make)
    probe.scale.copy_(kept.tensors["scale"])
    probe.head.load_state_dict({name: kept.tensors[name] for name in ("weight", "bias")})
    return probe.eval().requires_grad_(False), TrainResult(**kept.info)


def num_pieces(examples: Pictures) -> int:
    """In how many pieces the examples are encoded."""
    return ceil(len(examples) / PIECE)


def encode_all(probe: Probe, examples: Pictures, store: Store, device: torch.device) -> Tensor:
    """The features (N, num_features) of all examples on `device`, kept in the store piece by piece."""
    pieces = trange(num_pieces(examples), desc=f"encoding {examples.name}", disable=None, leave=False)
    return torch.cat([encode_piece(probe, examples, piece, store, device) for piece in pieces])


def encode_piece(probe: Probe, examples: Pictures, piece: int, store: Store, device: torch.device) -> Tensor:
    """The features of one piece: `encode_all` then finds them in the store."""
    some = examples.subset(torch.arange(len(examples)).split(PIECE)[piece])
    key = {
        "backbone": weights_identity(probe.backbone),
        "pictures": some.identity,
        "code": code_version(imagenet, pictures),
    }

    @torch.no_grad()
    def make() -> Artifact:
        batches = [probe.encode(batch.to(device)) for batch in some.batches(BATCH)]
        return Artifact({"features": torch.cat(batches)})

    return store.get("features", key, make).tensors["features"].to(device)
