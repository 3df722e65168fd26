"""What there is to make at the paper's scale, step by step: what chapters ask for, and how long it takes.

Every step ends in the store, where the chapters then find it. What a chapter needs and does not find there, it makes
itself.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from lib.data import downloads
from lib.experiments import cars, digits, kinks, photographs, pools, profiles, seeds
from lib.experiments.digits import Experiment
from lib.experiments.provenance import PACKAGES
from lib.experiments.settings import Settings
from lib.networks import mnist
from lib.networks.adversarial_training import LayerwiseConfig
from lib.networks.imagenet import Probe
from lib.networks.training import DecayRule
from lib.store import code

# About how long each takes at the paper's scale on one core: for the order, and for the first estimate.
SECONDS_TO_TRAIN = {
    "softmax 1e-4": 20,
    "softmax 1e-2": 10,
    "softmax 1": 5,
    "100-100-10": 270,
    "200-200-10": 810,
    "AE400-10": 350,
    "Conv": 120,
    "M1": 140,
    "M2": 300,
    "M3": 140,
}
SECONDS_TO_ATTACK = dict.fromkeys(SECONDS_TO_TRAIN, 12) | {"Conv": 180}  # a piece
SECONDS_TO_ENCODE, SECONDS_TO_ATTACK_PHOTOGRAPHS = 40, 450
SECONDS_TO_KNOW_NEAREST = 4  # an image of a small network
SECONDS_TO_LEARN_CARS = {"all images": 300, "all images, contrast of pixels only": 300}
SECONDS_A_UNIT_OF_BUDGET = 0.7
SOME_SECONDS = 60  # for what has not been timed


@dataclass(frozen=True)
class Step:
    """One thing to make with `make(run)`; `seconds` is about how long it takes on one core."""

    name: str
    settings: Settings
    seconds: float
    make: Callable[[Experiment], object]
    pictures: bool = False  # whether it depends on ImageNet's public files

    def carry_out(self) -> tuple[float, bool]:
        """Make it in this process; the seconds that took, and whether there was anything to make."""
        run, began = begin(self.settings), time.perf_counter()
        before = run.store.num_made
        self.make(run)
        return time.perf_counter() - began, run.store.num_made > before

    def facts(self) -> dict[str, str]:
        """What decides what this process makes of it: two that agree make the same."""
        return _facts(self.settings, self.pictures)


def _train(run: Experiment, name: str, rule: DecayRule = DecayRule.HALF) -> None:
    run.trained(name, rule)


def _train_with_decay(run: Experiment, name: str, factor: float) -> None:
    run.with_decay(name, factor)


def _train_on_part(run: Experiment, name: str, share: int) -> None:
    run.trained(name, images=run.part(share))


def _train_again(run: Experiment, name: str, seed: int) -> None:
    run.with_seed(seed).trained(name)


def _train_on_half(run: Experiment, name: str) -> None:
    run.trained_on_half(name)


def _train_variant(run: Experiment, label: str) -> None:
    run.with_autoencoder(label).trained("AE400-10")


def _attack(run: Experiment, name: str, piece: int) -> None:
    run.adversarial_piece(run.trained(name), run.attacked, piece)


def _attack_half(run: Experiment, name: str, piece: int) -> None:
    run.adversarial_piece(run.trained_on_half(name), run.attacked_test, piece)


def _encode(run: Experiment, settings: Settings, piece: int) -> None:
    found = public_files(settings)
    train, _ = photographs.tiny_imagenet(found, run.profile.photographs)
    network = Probe(found["AlexNet"], len(train.wnids)).to(run.device).eval().requires_grad_(False)
    photographs.encode_piece(network, train, piece, run.store)


def _attack_photographs(run: Experiment, settings: Settings, name: str, kind: int) -> None:
    subject = under_attack(settings)[name]
    targets = list(subject.goals(seeds.generator(run.seeds.targets)).values())[kind]
    photographs.attack(subject, targets, run.profile.photographs.attack, run.store)


def _learn_cars(run: Experiment, settings: Settings, name: str) -> None:
    material = cars.material(public_files(settings), run.train, run.profile.cars, run.seeds.split)
    cars.learned(*cars.VARIANTS[name](material, run.profile.cars), run.seeds, run.store)


def _train_in_a_way(run: Experiment, config: LayerwiseConfig, seed: int) -> None:
    pools.train(run.train, run.test, config, seed, run.store)


def _know_nearest(run: Experiment) -> None:
    network = run.fitted(kinks.recipe(run.seeds), run.train).network
    effort = run.profile.num_known, run.profile.num_relaxations
    kinks.compare(network, run.attacked, run.targets(run.attacked), *effort, run.store)


def _networks(settings: Settings) -> list[Step]:
    """The networks of Tables 1 and 3."""
    makers = dict.fromkeys(mnist.TABLE1, _train) | dict.fromkeys(mnist.HALVES, _train_on_half)
    return [
        Step(name, settings, SECONDS_TO_TRAIN.get(name, SOME_SECONDS), partial(make, name=name))
        for name, make in makers.items()
    ]


def _convolutional(settings: Settings, num: int) -> list[Step]:
    """Conv, and the others that chapter `units` judges beside it, which differ in nothing but their seed."""
    return [
        Step(
            f"Conv from seed {seed}",
            settings,
            SECONDS_TO_TRAIN.get("Conv", SOME_SECONDS),
            partial(_train_again, name="Conv", seed=seed),
        )
        for seed in range(settings.seed, settings.seed + num)
    ]


def _variants(settings: Settings) -> list[Step]:
    """What chapter `framework` compares: other readings of the decay, other autoencoders."""
    seconds = SECONDS_TO_TRAIN.get("AE400-10", SOME_SECONDS) / profiles.VARIANT_SHARE
    autoencoders = [
        Step(f"AE400-10, {label}", settings, seconds, partial(_train_variant, label=label))
        for label in profiles.AUTOENCODER_VARIANTS
    ]
    return autoencoders + [
        Step(
            f"{name}, decay {rule.value}",
            settings,
            SECONDS_TO_TRAIN.get(name, SOME_SECONDS),
            partial(_train, name=name, rule=rule),
        )
        for rule in DecayRule
        if rule is not DecayRule.HALF
        for name in mnist.LINEAR
    ]


def _unsaid(settings: Settings, name: str = "100-100-10") -> list[Step]:
    """Chapter `unsaid`: linear networks with other decays than the book's; more decay and fewer images for one."""
    scale = begin(settings).profile.unsaid
    factors = {linear: [2 / k for k in scale.divisors if k != 2] for linear in mnist.LINEAR} | {name: scale.decays}
    decayed = [
        Step(
            f"{each}, decay times {factor:g}",
            settings,
            SECONDS_TO_TRAIN.get(each, SOME_SECONDS),
            partial(_train_with_decay, name=each, factor=factor),
        )
        for each, some in factors.items()
        for factor in some
    ]
    return decayed + [
        Step(
            f"{name} on 1/{share} of the images",
            settings,
            SECONDS_TO_TRAIN.get(name, SOME_SECONDS) / share,
            partial(_train_on_part, name=name, share=share),
        )
        for share in scale.shares
    ]


def _quocnets(settings: Settings) -> list[Step]:
    """QuocNet and what else it could be, stage by stage."""
    return [
        Step(
            f"QuocNet, {name}",
            settings,
            SECONDS_TO_LEARN_CARS.get(name, SOME_SECONDS),
            partial(_learn_cars, settings=settings, name=name),
            pictures=True,
        )
        for name in cars.VARIANTS
    ]


def _pools(settings: Settings) -> list[Step]:
    """Chapter `adversarial_training`: every way of training, and what is changed of the pools, from every seed."""
    scale = begin(settings).profile.pools
    compared = ((scale.num_seeds, pools.ways(scale)), (scale.num_variant_seeds, pools.variants(scale)))
    return [
        Step(
            f"100-100-10, {name}, from seed {seed}",
            settings,
            SECONDS_A_UNIT_OF_BUDGET * config.budget,
            partial(_train_in_a_way, config=config, seed=seed),
        )
        for num_seeds, configs in compared
        for name, config in configs.items()
        for seed in range(num_seeds)
    ]


def _kinks(settings: Settings) -> Step:
    """The nearest images of a small network with rectifiers."""
    seconds = SECONDS_TO_KNOW_NEAREST * begin(settings).profile.num_known
    return Step("attacks on 784-16-16-10, and the nearest images", settings, seconds, _know_nearest)


def _attacks(settings: Settings, names: Sequence[str]) -> list[Step]:
    """The training images for every network of these, the test images for those of Table 3."""
    run = begin(settings)
    makers = dict.fromkeys(names, (_attack, run.attacked))
    makers |= dict.fromkeys(mnist.HALVES, (_attack_half, run.attacked_test))
    return [
        Step(
            f"attack {piece + 1} on {name}",
            settings,
            SECONDS_TO_ATTACK.get(name, SOME_SECONDS),
            partial(make, name=name, piece=piece),
        )
        for name, (make, images) in makers.items()
        for piece in range(digits.num_pieces(images))
    ]


def _encodings(settings: Settings) -> list[Step]:
    """The pictures that the linear layer on AlexNet's features is trained on; none where a file is missing."""
    found = public_files(settings)
    if photographs.PROBE not in photographs.networks(found):
        return []
    train, _ = photographs.tiny_imagenet(found, begin(settings).profile.photographs)
    return [
        Step(
            f"pictures {piece + 1} encoded",
            settings,
            SECONDS_TO_ENCODE,
            partial(_encode, settings=settings, piece=piece),
            pictures=True,
        )
        for piece in range(photographs.num_pieces(train))
    ]


def _figure5(settings: Settings) -> list[Step]:
    """Figure 5's attacks, for every network that there is and either kind of target."""
    return [
        Step(
            f"attack on {name}, {('one class', 'random classes')[kind]}",
            settings,
            SECONDS_TO_ATTACK_PHOTOGRAPHS,
            partial(_attack_photographs, settings=settings, name=name, kind=kind),
            pictures=True,
        )
        for name in photographs.networks(public_files(settings))
        for kind in range(2)
    ]


def book(settings: Settings) -> list[Step]:
    """The networks, the attacks on training and test images and on photographs: what several chapters ask for."""
    run = begin(settings)
    return [
        *_longest_first(
            [
                *_networks(settings),
                *_convolutional(settings, run.profile.units.num_networks),
                *_variants(settings),
                *_unsaid(settings),
                *_encodings(settings),
                *_quocnets(settings),
                *_pools(settings),
            ]
        ),
        *_longest_first([*_attacks(settings, (*mnist.TABLE1, "Conv")), *_figure5(settings), _kinks(settings)]),
    ]


def seed(settings: Settings) -> list[Step]:
    """All that Tables 1 to 4 ask for from one seed."""
    return [*_longest_first(_networks(settings)), *_attacks(settings, mnist.TABLE1)]


def _longest_first(steps: Sequence[Step]) -> list[Step]:
    """The order in which a few workers end at about the same time."""
    return sorted(steps, key=lambda step: -step.seconds)


@cache
def begin(settings: Settings) -> Experiment:
    return digits.begin("prepare", settings.profile, settings.data, settings.device, settings.seed)


@cache
def _facts(settings: Settings, pictures: bool) -> dict[str, str]:
    run = begin(settings)
    files = sorted(public_files(settings)) if pictures else []
    return {
        "versions": ", ".join([f"python {python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]),
        "code": code.version([Path(__file__)])[:12],
        "device": str(run.device),
        "data": ", ".join([run.split.source, run.train.identity[:12], run.test.identity[:12], *files]),
    }


@cache
def public_files(settings: Settings) -> dict:
    """Those of ImageNet's pictures and networks that are there; at the paper's scale they are downloaded."""
    return downloads.gather(photographs.WANTED, download=settings.profile == "paper")[0]


@cache
def under_attack(settings: Settings) -> dict[str, photographs.Subject]:
    run = begin(settings)
    return photographs.subjects(public_files(settings), run.profile.photographs, run.store, run.device)[0]
