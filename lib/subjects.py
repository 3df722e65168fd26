"""Who is attacked in Figure 5: networks that classify ImageNet's pictures, and pictures that they classify correctly.

The attack knows vectors and networks of vectors; pictures are flattened here, in rows of 3 x 224 x 224 values.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib import attack, intervals, pictures, probe
from lib.attack import AttackConfig
from lib.intervals import Estimate
from lib.lbfgs import LBFGSConfig
from lib.models import imagenet
from lib.models.imagenet import SIDE
from lib.pictures import Pictures
from lib.probe import ProbeConfig
from lib.store import Store
from lib.tight import TightConfig
from lib.training import TrainResult

SHAPE = (3, SIDE, SIDE)
BATCH = 50  # pictures in memory at once
OSTRICH, GOLDFISH = "n01518878", "n01443537"  # there are no ostriches in Tiny ImageNet
PROBE = "AlexNet features"
# What all of this is made of, and who reads it.
WANTED = {
    "SqueezeNet 1.1": imagenet.squeezenet,
    "AlexNet": imagenet.alexnet,
    "imagenet-sample": pictures.imagenet_sample,
    "Tiny ImageNet": pictures.tiny_imagenet,
}


@dataclass(frozen=True)
class Scale:
    """How much of everything. None means all there is."""

    num_attacked: int  # pictures, for every network and kind of target
    num_coarse: int  # of them, to see what a coarse search over c and the tight attack would have found
    num_judged: int | None  # pictures that accuracy is measured on, and that the attacked ones are taken from
    num_classes: int | None  # of Tiny ImageNet
    num_train: int | None  # pictures that the linear layer on AlexNet's features is trained on
    attack: AttackConfig
    tight: TightConfig


# 16 pictures at once stay below 2 GB of memory. An accuracy beyond 3e-3 would cost more gradients than it is worth.
SCALES = {
    "quick": Scale(
        num_attacked=2,
        num_coarse=2,
        num_judged=20,
        num_classes=10,
        num_train=150,
        attack=AttackConfig(
            tolerance=0.1, max_searches=4, chunk_size=16, solver=LBFGSConfig(max_iterations=15, patience=3)
        ),
        tight=TightConfig(max_iterations=1, max_averages=1),
    ),
    "paper": Scale(
        num_attacked=64,
        num_coarse=16,
        num_judged=None,
        num_classes=None,
        num_train=None,
        attack=AttackConfig(tolerance=3e-3, chunk_size=16),
        tight=TightConfig(),
    ),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """A network under attack, and pictures that it classifies correctly."""

    network: nn.Module  # takes rows (N, 3 * SIDE * SIDE)
    inputs: Tensor  # (N, 3 * SIDE * SIDE), values in [0, 1]
    labels: Tensor  # (N,)
    words: tuple[str, ...]  # what the classes are called
    fixed: int  # the class that all pictures are turned into, which none of them is of
    top1: Estimate  # accuracy in per cent on all the pictures that were judged
    top5: Estimate

    def goals(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Target classes (N,), by what they are called: one for all, and for each a wrong one, drawn uniformly."""
        drawn = attack.random_targets(self.labels.cpu(), len(self.words), generator)
        return {
            f"to {self.words[self.fixed]}": torch.full_like(self.labels, self.fixed),
            "to random classes": drawn.to(self.labels.device),
        }


def networks(found: Mapping[str, object]) -> list[str]:
    """Those that what was found of WANTED suffices for: whole ones, and AlexNet's features with a linear layer."""
    whole = [name for name in ("SqueezeNet 1.1", "AlexNet") if name in found and not imagenet.absent(found[name])]
    return (whole if "imagenet-sample" in found else []) + [PROBE] * ({"AlexNet", "Tiny ImageNet"} <= found.keys())


def tiny_imagenet(found: Mapping[str, object], scale: Scale) -> tuple[Pictures, Pictures]:
    """What the linear layer on AlexNet's features is trained on, and what it is judged on."""
    train, validation = (part.of_classes(scale.num_classes) for part in found["Tiny ImageNet"])
    return train.spread(scale.num_train), validation.spread(scale.num_judged)


def subjects(
    found: Mapping[str, object], scale: Scale, store: Store, device: torch.device
) -> tuple[dict[str, Subject], dict[str, tuple[Pictures, TrainResult]]]:
    """All `networks` of what was found; and where a layer is our own, what it was trained on, and how that went.

    Whole networks are judged on imagenet-sample, and pictures turned into ostriches. AlexNet's features, whose linear
    layer is trained on Tiny ImageNet, are judged on its validation pictures, and these turned into goldfish.
    """
    under_attack, trained = {}, {}
    for name in networks(found):
        if name == PROBE:
            train, judged = tiny_imagenet(found, scale)
            network, result = probe.fit(found["AlexNet"], train, ProbeConfig(), store, device)
            trained[name] = train, result
        else:
            network, judged = found[name], found["imagenet-sample"].spread(scale.num_judged)
        fixed = judged.wnids.index(GOLDFISH if name == PROBE else OSTRICH)
        under_attack[name] = subject(network, judged, scale.num_attacked, fixed, device)
    return under_attack, trained


def subject(network: nn.Module, judged: Pictures, num_attacked: int, fixed: int, device: torch.device) -> Subject:
    """The network judged on all the pictures; it will be attacked on the first of those that it classifies correctly.

    They are taken at equal distances, to be of many classes, and none of class `fixed`, into which the others are to be
    turned. Raises ValueError if fewer than two are classified correctly.
    """
    network = network.to(device)
    right = ranks(network, judged, device)
    eligible = ((right == 0) & (judged.labels != fixed)).nonzero()[:, 0]
    if len(eligible) < 2:
        raise ValueError(f"of {len(judged)} pictures of {judged.name} only {len(eligible)} are classified correctly")
    taken = judged.subset(eligible).spread(num_attacked)
    return Subject(
        network=nn.Sequential(nn.Unflatten(1, SHAPE), network).eval(),
        inputs=taken.inputs().flatten(1).to(device),
        labels=taken.labels.to(device),
        words=judged.words,
        fixed=fixed,
        top1=intervals.percent(int((right < 1).sum()), len(judged)),
        top5=intervals.percent(int((right < 5).sum()), len(judged)),
    )


@torch.no_grad()
def ranks(network: nn.Module, judged: Pictures, device: torch.device) -> Tensor:
    """How many classes the network puts before the right one, for each picture, (N,): 0 is correct."""
    found = []
    for batch, labels in zip(judged.batches(BATCH), judged.labels.split(BATCH), strict=True):
        logits = network(batch.to(device)).cpu()
        found.append((logits > logits.gather(1, labels[:, None])).sum(dim=1))
    return torch.cat(found)
