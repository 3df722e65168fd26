"""Who is attacked in Figure 5: networks that classify ImageNet's pictures, and pictures that they classify correctly.

The attack knows vectors and networks of vectors; pictures are flattened here, in rows of 3 x 224 x 224 values.
"""

from collections.abc import Mapping
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
from lib.experiments import searches, seeds
from lib.experiments.profiles import PhotographsConfig
from lib.figures import wipe
from lib.measures import aftermath, effects, intervals
from lib.measures.intervals import Estimate
from lib.networks import features, imagenet
from lib.networks.imagenet import AlexNet, Probe
from lib.networks.linear_probe import ProbeConfig, fit_head
from lib.networks.training import TrainResult
from lib.store import identity
from lib.store.calls import Store

SHAPE = (3, SIDE, SIDE)
BATCH = 50  # pictures in memory at once
ATTACKED = 16  # pictures attacked between two entries in the store: what a kill can lose, and below 2 GB of memory
PIECE = 2000  # pictures encoded between two entries in the store: the same
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
    num_train: int = 0  # pictures that its last layer was trained on here, if it was

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
            network, judged, train = found[name], found["imagenet-sample"].spread(scale.num_judged), ()
        fixed = judged.wnids.index(GOLDFISH if name == PROBE else OSTRICH)
        chosen = subject(network, judged, scale.num_attacked, fixed, device)
        under_attack[name] = replace(chosen, num_train=len(train))
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
    network = network.to(device, memory_format=torch.channels_last)  # a third faster on a CPU
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


# --- The attack on them ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Attacked:
    """A subject, the classes (N,) that it was attacked to, what was found, and the seconds that it took."""

    subject: Subject
    targets: Tensor
    result: AttackResult
    seconds: float

    @property
    def plain(self) -> searches.Attacked:
        """The attack alone, without what is known of the pictures."""
        return searches.Attacked(self.subject.network, self.subject.inputs, self.targets, self.result)

    @property
    def problem(self) -> tuple[Network, Tensor, Tensor, Tensor]:
        """The network, pictures, targets, and the adversarial pictures."""
        return self.subject.network, self.subject.inputs, self.targets, self.result.adversarial

    def first(self, num: int) -> "Attacked":
        """The first `num` of the pictures, and what was found for them."""
        some = replace(self.subject, inputs=self.subject.inputs[:num], labels=self.subject.labels[:num])
        return replace(self, subject=some, targets=self.targets[:num], result=self.plain.first(num).result)


def attack(subject: Subject, targets: Tensor, config: AttackConfig, store: Store) -> Attacked:
    """The attack on each of the subject's pictures, and the seconds that it took when it was made.

    Kept in the store, ATTACKED of them at a time.
    """
    chunks = list(zip(subject.inputs.split(ATTACKED), targets.split(ATTACKED), strict=True))
    progress = tqdm(chunks, desc="attacking pictures", disable=None, leave=False)
    kept = [store.timed(penalized.find_adversarial, subject.network, *chunk, config) for chunk in progress]
    results, seconds = zip(*kept, strict=True)
    found = penalized.concatenate([result.to(targets.device) for result in results])
    return Attacked(subject, targets, found, sum(seconds))


def tightened(attacked: Attacked, config: TightConfig, store: Store) -> TightResult:
    """The tight attack, started from what the paper's has found, and from there never longer; kept in the store."""
    subject, targets, start = attacked.subject, attacked.targets, attacked.result.adversarial
    found = store.call(tight.tighten, subject.network, subject.inputs, targets, start, config)
    return found.to(targets.device)


# --- The tables of the chapter --------------------------------------------------------------------

COARSE = (10, 100)  # by how much a coarse search lowers c at a time
LOUD = 8 / aftermath.LEVELS  # the one length that perturbations are amplified to, root mean square over pixels
RANDOM = "to random classes"
SHARP, TINY = "imagenet-sample", "Tiny ImageNet"  # whose pictures SqueezeNet sees under noise
COARSENED = {side: f"{SHARP}, through {side} pixels" for side in (112, 64)}


def at_random(attacked: Mapping[str, Attacked]) -> dict[str, Attacked]:
    """Those of the cases "network, goal" whose targets were drawn, by network."""
    cases = {tuple(case.rsplit(", ", 1)): found for case, found in attacked.items()}
    return {name: found for (name, goal), found in cases.items() if goal == RANDOM}


def accuracy(under_attack: Mapping[str, Subject]) -> dict[tuple[str, str], Estimate]:
    """How often each network is right, in per cent; and the pictures that a layer of our own was trained on."""
    cells = {(name, "top-1 (%)"): subject.top1 for name, subject in under_attack.items()}
    cells |= {(name, "top-5 (%)"): subject.top5 for name, subject in under_attack.items()}
    trained = {name: subject.num_train for name, subject in under_attack.items() if subject.num_train}
    return cells | {(name, "trained on"): effects.exactly(num, num) for name, num in trained.items()}


def lengths(attacked: Mapping[str, Attacked]) -> dict[tuple[str, str], Estimate]:
    """Of every case: its distortion averaged in two ways, how often the target was reached, and the seconds it took.

    The averages are over the pictures for which it was.
    """
    cells = {}
    for case, found in attacked.items():
        success = found.result.success
        distortion = found.result.distortion[success].cpu().numpy()
        cells[case, "distortion"] = intervals.mean(distortion)
        cells[case, "root mean square"] = intervals.root_mean_square(distortion)
        cells[case, "success (%)"] = intervals.percent(int(success.sum()), len(success))
        cells[case, "attack (s)"] = effects.exactly(found.seconds, len(success))
    return cells


def extended(attacked: Mapping[str, Attacked]) -> dict[tuple[str, str], Estimate]:
    """`aftermath.farther` of every case."""
    return {
        (case, column): estimate
        for case, found in attacked.items()
        for column, estimate in aftermath.farther(
            found.subject.network, found.subject.inputs, found.result.adversarial, found.targets
        ).items()
    }


def searched(
    attacked: Mapping[str, Attacked], scale: PhotographsConfig, noise: int, store: Store
) -> dict[tuple[str, str], Estimate]:
    """Mean distortions of the first pictures of every network: by the tight attack, as found, and by coarse searches.

    Over those pictures for which each of them finds one; no cells where these are fewer than two.
    """
    cells = {}
    for name, everything in attacked.items():
        some = everything.first(scale.num_coarse)
        ways = {"tight attack": tightened(some, scale.tight, store).distortion, "as found": some.result.distortion}
        uniform = torch.rand(len(some.targets), generator=seeds.generator(noise)).to(some.subject.inputs)
        for factor in COARSE:
            ways[f"q = {factor}"] = searches.stopped_early(some.plain, factor, uniform, scale.attack, store)
        by_all = torch.stack(list(ways.values())).isfinite().all(dim=0)
        if by_all.sum() > 1:
            cells |= {(name, way): intervals.mean(values[by_all].cpu().numpy()) for way, values in ways.items()}
    return cells


def transfers(attacked: Mapping[str, Attacked], noise: int) -> dict[tuple[str, str], Estimate]:
    """How often each network (column) changes its mind of what was made for each (row), and of controls."""
    cells = {}
    for name, found in attacked.items():
        inputs, generator = found.subject.inputs, seeds.generator(noise)
        for kind, images in aftermath.controls(inputs, found.result.adversarial, generator).items():
            for size, changed in {"as found": images, "amplified": aftermath.amplified(inputs, images, LOUD)}.items():
                for other, judge in attacked.items():
                    moved = aftermath.moved(judge.subject.network, inputs, changed)
                    cells[f"{name}: {kind}, {size}", f"{other} (%)"] = moved
    return cells


def resolution(under_attack: Mapping[str, Subject], noise: int) -> dict[tuple[str, str], Estimate]:
    """What noise does to SqueezeNet on its own pictures, on the same with fewer pixels, and on Tiny ImageNet's.

    Noise of root mean square LOUD, clipped; rows are sets of pictures. No cells without SqueezeNet.
    """
    if (name := "SqueezeNet 1.1") not in under_attack:
        return {}
    network, inputs = under_attack[name].network, under_attack[name].inputs
    sets = {SHARP: inputs}
    for side, row in COARSENED.items():
        sets[row] = perturbations.coarsened(inputs.unflatten(1, SHAPE), side).flatten(1)
    if PROBE in under_attack:
        sets[TINY] = under_attack[PROBE].inputs
    cells = {}
    for row, images in sets.items():
        drawn = perturbations.gaussian_noise(images, 1.0, seeds.generator(noise))
        noisy = aftermath.amplified(images, drawn, LOUD)
        cells |= {(row, column): e for column, e in aftermath.beside_noise(network, images, noisy).items()}
    return cells


def amplified_moves(told: Mapping[tuple[str, str], float], made_for: str, judge: str) -> dict[str, float]:
    """How often (%) a network changes its mind of what was made for another one and of the controls, all amplified."""
    kinds = ("its own", "that of another", "noise")
    return {kind: told[f"{made_for}: {kind}, amplified", f"{judge} (%)"] for kind in kinds}


def provenance(under_attack: Mapping[str, Subject]) -> dict[str, dict]:
    """On what the tables rest, for results/photographs.json: checksums of weights and pictures, and how many."""
    return {
        name: {
            "weights": identity.of_network(subject.network),
            "inputs": identity.of_tensor(subject.inputs),
            "num_attacked": len(subject.inputs),
            "num_judged": subject.top1.n,
            "num_train": subject.num_train,
        }
        for name, subject in under_attack.items()
    }


# --- For its figures ------------------------------------------------------------------------------


TIMES = (1, 10, 50)  # the paper shows ten times the difference


def pairs(attacked: Mapping[str, Attacked], num: int) -> dict[str, list[wipe.Pair]]:
    """Figure 5's pictures: of every network with one target for all, by its name, the first `num`."""
    fixed = {case: found.first(num) for case, found in attacked.items() if not case.endswith(RANDOM)}
    return {case.rsplit(", ", 1)[0]: _pairs(found) for case, found in fixed.items()}


def _pairs(found: Attacked) -> list[wipe.Pair]:
    x, x_adv = (rows.unflatten(1, SHAPE) for rows in (found.subject.inputs, found.result.adversarial))
    said, says = ([found.subject.words[i] for i in classes] for classes in (found.subject.labels, found.targets))
    magnified = [perturbations.magnified(x, x_adv, times) for times in TIMES]
    differences = [dict(zip(TIMES, shown, strict=True)) for shown in zip(*magnified, strict=True)]
    return [wipe.Pair(*pair) for pair in zip(x, x_adv, differences, said, says, strict=True)]
