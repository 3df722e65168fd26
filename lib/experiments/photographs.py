"""Who is attacked in Figure 5: networks that classify ImageNet's pictures, and pictures that they classify correctly.

The attack knows vectors and networks of vectors; pictures are flattened here, in rows of 3 x 224 x 224 values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor, nn
from tqdm import tqdm, trange

from lib.attacks import penalized, perturbations, tight
from lib.attacks.penalized import AttackConfig, AttackResult, Network
from lib.attacks.tight import TightConfig, TightResult
from lib.data.photographs import SIDE, Pictures, imagenet_sample
from lib.data.photographs import tiny_imagenet as whole_tiny_imagenet
from lib.experiments.profiles import PhotographsConfig
from lib.measures import intervals, transfer
from lib.measures.intervals import Estimate
from lib.networks import features, imagenet
from lib.networks.imagenet import AlexNet, Probe
from lib.networks.linear_probe import ProbeConfig, fit_head
from lib.networks.training import TrainResult
from lib.store.calls import Store

SHAPE = (3, SIDE, SIDE)
BATCH = 50  # pictures in memory at once
PIECE = 2000  # pictures encoded between two entries in the store: what a kill can lose
OSTRICH, GOLDFISH = "n01518878", "n01443537"  # there are no ostriches in Tiny ImageNet
PROBE = "AlexNet features"
# What all of this is made of, and who reads it.
WANTED = {
    "SqueezeNet 1.1": imagenet.squeezenet,
    "AlexNet": imagenet.alexnet,
    "imagenet-sample": imagenet_sample,
    "Tiny ImageNet": whole_tiny_imagenet,
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
        drawn = penalized.random_targets(self.labels.cpu(), len(self.words), generator)
        return {
            f"to {self.words[self.fixed]}": torch.full_like(self.labels, self.fixed),
            "to random classes": drawn.to(self.labels.device),
        }


def networks(found: Mapping[str, object]) -> list[str]:
    """Those that what was found of WANTED suffices for: whole ones, and AlexNet's features with a linear layer."""
    whole = [name for name in ("SqueezeNet 1.1", "AlexNet") if name in found and not imagenet.absent(found[name])]
    return (whole if "imagenet-sample" in found else []) + [PROBE] * ({"AlexNet", "Tiny ImageNet"} <= found.keys())


def tiny_imagenet(found: Mapping[str, object], scale: PhotographsConfig) -> tuple[Pictures, Pictures]:
    """What the linear layer on AlexNet's features is trained on, and what it is judged on."""
    train, validation = (part.of_classes(scale.num_classes) for part in found["Tiny ImageNet"])
    return train.spread(scale.num_train), validation.spread(scale.num_judged)


def subjects(
    found: Mapping[str, object], scale: PhotographsConfig, store: Store, device: torch.device
) -> tuple[dict[str, Subject], dict[str, TrainResult]]:
    """All `networks` of what was found; and where a layer is our own, how its training went.

    Whole networks are judged on imagenet-sample, and pictures turned into ostriches. AlexNet's features, whose linear
    layer is trained on Tiny ImageNet, are judged on its validation pictures, and these turned into goldfish.
    """
    under_attack, trained = {}, {}
    for name in networks(found):
        if name == PROBE:
            train, judged = tiny_imagenet(found, scale)
            network, trained[name] = probe(found["AlexNet"], train, store, device)
        else:
            network, judged = found[name], found["imagenet-sample"].spread(scale.num_judged)
        fixed = judged.wnids.index(GOLDFISH if name == PROBE else OSTRICH)
        under_attack[name] = subject(network, judged, scale.num_attacked, fixed, device)
    return under_attack, trained


def probe(backbone: AlexNet, train: Pictures, store: Store, device: torch.device) -> tuple[Probe, TrainResult]:
    """AlexNet's features with a linear layer for the classes of `train`, frozen; and how its training went."""
    network = Probe(backbone, len(train.wnids)).to(device).eval().requires_grad_(False)
    pieces = trange(num_pieces(train), desc=f"encoding {train.name}", disable=None, leave=False)
    encoded = torch.cat([encode_piece(network, train, piece, store) for piece in pieces]).to(device)
    head = store.call(fit_head, encoded, train.labels.to(device), len(train.wnids), ProbeConfig())
    network.scale.copy_(head.scale)
    network.head.load_state_dict({"weight": head.weight, "bias": head.bias})
    return network, head.result


def num_pieces(examples: Pictures) -> int:
    """In how many pieces the examples are encoded."""
    return ceil(len(examples) / PIECE)


def encode_piece(untrained: Probe, examples: Pictures, piece: int, store: Store) -> Tensor:
    """The features of one piece of the examples, on the CPU. What the linear layer weighs has no part in it."""
    rows = torch.arange(len(examples)).split(PIECE)[piece]
    return store.call(features.encodings, untrained, examples.subset(rows))


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


# By how much a perturbation found is extended to see what it then takes: as found, and beyond.
FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)


def first(subject: Subject, result: AttackResult, num: int) -> tuple[Subject, AttackResult]:
    """The first `num` of a subject's pictures, and what was found for them."""
    some = replace(subject, inputs=subject.inputs[:num], labels=subject.labels[:num])
    return some, AttackResult(**{name: values[:num] for name, values in vars(result).items()})


def adversarial(subject: Subject, targets: Tensor, config: AttackConfig, store: Store) -> tuple[AttackResult, float]:
    """The attack on each of the subject's pictures, and the seconds that it took when it was made.

    Kept in the store chunk by chunk: what a kill loses is one.
    """
    size = config.chunk_size
    chunks = list(zip(subject.inputs.split(size), targets.split(size), strict=True))
    progress = tqdm(chunks, desc="attacking pictures", disable=None, leave=False)
    kept = [store.timed(penalized.find_adversarial, subject.network, *chunk, config) for chunk in progress]
    results, seconds = zip(*kept, strict=True)
    return penalized.concatenate([result.to(targets.device) for result in results]), sum(seconds)


def tightened(
    subject: Subject, result: AttackResult, targets: Tensor, config: TightConfig, store: Store
) -> TightResult:
    """The tight attack, started from what the paper's has found, and from there never longer; kept in the store."""
    found = store.call(tight.tighten, subject.network, subject.inputs, targets, result.adversarial, config)
    return found.to(targets.device)


def stopped_early(
    subject: Subject,
    result: AttackResult,
    targets: Tensor,
    factor: float,
    config: AttackConfig,
    generator: torch.Generator,
    store: Store,
) -> Tensor:
    """Distortions (N,) of an attack that lowers c by `factor` at a time until it succeeds; kept in the store.

    Such a search stops anywhere between the largest successful c and c / factor: at c factor^-u, u uniform in [0, 1).
    nan for pictures whose search met no successful minimiser, so that there is no such c, or where that c has none.
    """
    uniform = torch.rand(len(targets), generator=generator).to(result.c)
    rows = torch.isfinite(result.c)
    prices = (result.c * factor**-uniform)[rows]
    lengths = torch.full_like(result.c, torch.nan)
    found = store.call(penalized.lengths_at, subject.network, subject.inputs[rows], targets[rows], prices, config)
    lengths[rows] = found.to(lengths)
    return lengths


@torch.no_grad()
def probability(network: Network, images: Tensor, classes: Tensor) -> Tensor:
    """The probability that the network gives each image's class, (N,)."""
    return network(images).softmax(dim=1).gather(1, classes[:, None])[:, 0]


def aftermath(subject: Subject, result: AttackResult, targets: Tensor, factors: Sequence[float] = FACTORS) -> dict:
    """What becomes of adversarial images that are extended by each factor, {column: Estimate}.

    How often, in per cent, the network says the target: of the image as it is, and rounded to bytes; and the mean
    probability that it gives the target.
    """
    cells = {}
    for factor in factors:
        images = (
            perturbations.extended(subject.inputs, result.adversarial, factor) if factor != 1 else result.adversarial
        )
        for column, shown in {"as found": images, "as bytes": perturbations.to_bytes(images)}.items():
            hits = int((transfer.predictions(subject.network, shown) == targets).sum())
            cells[f"{column}, times {factor:g} (%)"] = intervals.percent(hits, len(targets))
        given = probability(subject.network, images, targets)
        cells[f"probability, times {factor:g}"] = intervals.mean(given.cpu().numpy())
    return cells


def controls(inputs: Tensor, adversarial: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Adversarial images, and others as far from the originals: with another one's perturbation, and with noise."""
    return {
        "its own": adversarial,
        "that of another": (inputs + (adversarial - inputs).roll(1, dims=0)).clamp(0, 1),
        "noise": perturbations.random_directions(inputs, adversarial, generator).clamp(0, 1),
    }


def amplified(inputs: Tensor, changed: Tensor, stddev: float) -> Tensor:
    """The same perturbations, each brought to that root mean square, then clipped to [0, 1]."""
    return perturbations.amplify(inputs, changed, stddev).clamp(0, 1)


def moved(network: Network, inputs: Tensor, changed: Tensor) -> Estimate:
    """How often, in per cent, the network says another class of the changed image than of the original."""
    before, after = transfer.predictions(network, inputs), transfer.predictions(network, changed)
    return intervals.percent(int((before != after).sum()), len(inputs))
