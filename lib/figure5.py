"""Figure 5: the attack of section 4.1 on photographs, and what is left of its results."""

import time
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib import attack, intervals, tight, transfer
from lib.attack import AttackConfig, AttackResult, Network
from lib.experiment import weights_identity
from lib.intervals import Estimate
from lib.models import imagenet
from lib.store import Artifact, Store, code_version, identity
from lib.subjects import Subject
from lib.tight import TightConfig, TightResult

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

    def attacked(inputs: Tensor, targets: Tensor) -> tuple[AttackResult, float]:
        key = _key(subject.network, inputs, targets, attack) | {"attack": config}

        def make() -> Artifact:
            began = time.perf_counter()
            result = attack.find_adversarial(subject.network, inputs, targets, config)
            tensors = {name: tensor.cpu() for name, tensor in vars(result).items()}  # waits for the device
            return Artifact(tensors, {"seconds": time.perf_counter() - began})

        kept = store.get("picture", key, make)
        result = AttackResult(**{name: tensor.to(inputs.device) for name, tensor in kept.tensors.items()})
        return result, kept.info["seconds"]

    size = config.chunk_size
    chunks = list(zip(subject.inputs.split(size), targets.split(size), strict=True))
    progress = tqdm(chunks, desc="attacking pictures", disable=None, leave=False)
    results, seconds = zip(*(attacked(*chunk) for chunk in progress), strict=True)
    return attack.concatenate(results), sum(seconds)


def _key(network: nn.Module, inputs: Tensor, targets: Tensor, *methods: ModuleType) -> dict:
    """What everything that is kept of an attack depends on, with the code of the network (its preprocessing, too)."""
    return {
        "weights": weights_identity(network),
        "inputs": identity(inputs),
        "targets": targets.tolist(),
        "code": code_version(imagenet, *methods),
    }


def tightened(
    subject: Subject, result: AttackResult, targets: Tensor, config: TightConfig, store: Store
) -> TightResult:
    """The tight attack, started from what the paper's has found, and from there never longer; kept in the store."""
    key = _key(subject.network, subject.inputs, targets, tight) | {
        "start": identity(result.adversarial),
        "tight": config,
    }

    def make() -> Artifact:
        found = tight.tighten(subject.network, subject.inputs, targets, result.adversarial, config)
        return Artifact({name: tensor.cpu() for name, tensor in vars(found).items()})

    kept = store.get("tight", key, make)
    return TightResult(**{name: tensor.to(targets.device) for name, tensor in kept.tensors.items()})


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
    inputs, wanted, prices = subject.inputs[rows], targets[rows], (result.c * factor**-uniform)[rows]
    key = _key(subject.network, inputs, wanted, attack, transfer) | {"prices": prices.tolist(), "attack": config}

    def make() -> Artifact:
        images = attack.minimize_penalized(subject.network, inputs, wanted, prices, config).minimizer
        reached = transfer.predictions(subject.network, images) == wanted
        return Artifact({"lengths": torch.where(reached, attack.distortion(images, inputs), torch.nan).cpu()})

    lengths = torch.full_like(result.c, torch.nan)
    lengths[rows] = store.get("coarse", key, make).tensors["lengths"].to(lengths)
    return lengths


def magnified(inputs: Tensor, adversarial: Tensor) -> Tensor:
    """The difference as the paper shows it: times 10, shifted by 128 of 255 to grey, clamped to [0, 1]."""
    return (10 * (adversarial - inputs) + 128 / 255).clamp(0, 1)


def extended(inputs: Tensor, adversarial: Tensor, factor: float) -> Tensor:
    """x + factor (x' - x), clipped to [0, 1]: the same way, farther."""
    return (inputs + factor * (adversarial - inputs)).clamp(0, 1)


def to_bytes(images: Tensor) -> Tensor:
    """Each value rounded to the nearest of the 256 that a PNG can hold: what survives being saved."""
    return (255 * images).round() / 255


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
        images = extended(subject.inputs, result.adversarial, factor) if factor != 1 else result.adversarial
        for column, shown in {"as found": images, "as bytes": to_bytes(images)}.items():
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
        "noise": transfer.random_directions(inputs, adversarial, generator).clamp(0, 1),
    }


def amplified(inputs: Tensor, changed: Tensor, stddev: float) -> Tensor:
    """The same perturbations, each brought to that root mean square, then clipped to [0, 1]."""
    return transfer.amplify(inputs, changed, stddev).clamp(0, 1)


def moved(network: Network, inputs: Tensor, changed: Tensor) -> Estimate:
    """How often, in per cent, the network says another class of the changed image than of the original."""
    before, after = transfer.predictions(network, inputs), transfer.predictions(network, changed)
    return intervals.percent(int((before != after).sum()), len(inputs))
