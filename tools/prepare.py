"""Makes what the chapters ask for at the paper's scale, on all cores, and says how long it will take.

    python -m tools.prepare        # called by build.py for profile paper

One chapter trains one network after the other; here they are trained side by side, the longest first, then attacked.
Every step ends in the store: a run that was killed repeats at most the steps that were under way. What a chapter needs
and does not find there, it makes itself.
"""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from math import ceil
from multiprocessing import get_context, parent_process

from lib import config, data, experiment, figure5, files, probe, subjects
from lib.experiment import Experiment
from lib.models import imagenet, mnist
from lib.training import DecayRule
from tools import machine

QUIET = 60.0  # seconds after which the time left is told again though no step has ended

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


@dataclass(frozen=True)
class Settings:
    """The parameters of the experiment that a step belongs to."""

    profile: str
    data: str
    device: str
    seed: int


@dataclass(frozen=True)
class Step:
    """One thing to make with `make(run)`; `seconds` is about how long it takes on one core."""

    name: str
    settings: Settings
    seconds: float
    make: Callable[[Experiment], object]


# --- What there is to make ------------------------------------------------------------------------


def train(run: Experiment, name: str, rule: DecayRule = DecayRule.HALF) -> None:
    run.trained(name, rule)


def train_again(run: Experiment, name: str, seed: int) -> None:
    run.with_seed(seed).trained(name)


def train_on_half(run: Experiment, name: str) -> None:
    run.trained_on_half(name)


def train_variant(run: Experiment, label: str) -> None:
    run.with_autoencoder(label).trained("AE400-10")


def attack(run: Experiment, name: str, piece: int) -> None:
    run.adversarial_piece(run.trained(name), run.train.take(run.profile.num_attacked), piece)


def attack_half(run: Experiment, name: str, piece: int) -> None:
    run.adversarial_piece(run.trained_on_half(name), run.test, piece)


def encode(run: Experiment, settings: Settings, piece: int) -> None:
    found = public_files(settings)
    train, _ = subjects.tiny_imagenet(found, subjects.SCALES[settings.profile])
    network = imagenet.Probe(found["AlexNet"], len(train.wnids)).to(run.device)
    probe.encode_piece(network, train, piece, run.store, run.device)


def attack_photographs(run: Experiment, settings: Settings, name: str, kind: int) -> None:
    subject = under_attack(settings)[name]
    targets = list(subject.goals(config.generator(run.seeds.targets)).values())[kind]
    figure5.adversarial(subject, targets, subjects.SCALES[settings.profile].attack, run.store)


def networks(settings: Settings) -> list[Step]:
    """The networks of Tables 1 and 3."""
    makers = dict.fromkeys(mnist.TABLE1, train) | dict.fromkeys(experiment.HALVES, train_on_half)
    return [Step(name, settings, SECONDS_TO_TRAIN[name], partial(make, name=name)) for name, make in makers.items()]


def convolutional(settings: Settings, num: int) -> list[Step]:
    """Conv, and the others that chapter `units` compares it with, which differ in nothing but their seed."""
    seeds = range(settings.seed, settings.seed + num)
    return [
        Step(f"Conv from seed {seed}", settings, SECONDS_TO_TRAIN["Conv"], partial(train_again, name="Conv", seed=seed))
        for seed in seeds
    ]


def variants(settings: Settings) -> list[Step]:
    """What chapter `framework` compares: other readings of the decay, other autoencoders."""
    seconds = SECONDS_TO_TRAIN["AE400-10"] / config.VARIANT_SHARE
    autoencoders = [
        Step(f"AE400-10, {label}", settings, seconds, partial(train_variant, label=label))
        for label in config.AUTOENCODER_VARIANTS
    ]
    return autoencoders + [
        Step(f"{name}, decay {rule.value}", settings, SECONDS_TO_TRAIN[name], partial(train, name=name, rule=rule))
        for rule in DecayRule
        if rule is not DecayRule.HALF
        for name in mnist.LINEAR
    ]


def attacks(settings: Settings, num_train: int, num_test: int) -> list[Step]:
    """The training images for every network of Table 1 and Conv, the test images for those of Table 3."""
    makers = dict.fromkeys(("Conv", *mnist.TABLE1), (attack, num_train))
    makers |= dict.fromkeys(experiment.HALVES, (attack_half, num_test))
    return [
        Step(f"attack {piece + 1} on {name}", settings, SECONDS_TO_ATTACK[name], partial(make, name=name, piece=piece))
        for name, (make, num_images) in makers.items()
        for piece in range(ceil(num_images / experiment.PIECE))
    ]


def encodings(settings: Settings) -> list[Step]:
    """The pictures that the linear layer on AlexNet's features is trained on; none where a file is missing."""
    found = public_files(settings)
    if subjects.PROBE not in subjects.networks(found):
        return []
    train, _ = subjects.tiny_imagenet(found, subjects.SCALES[settings.profile])
    return [
        Step(
            f"pictures {piece + 1} encoded",
            settings,
            SECONDS_TO_ENCODE,
            partial(encode, settings=settings, piece=piece),
        )
        for piece in range(probe.num_pieces(train))
    ]


def photographs(settings: Settings) -> list[Step]:
    """Figure 5's attacks, for every network that there is and either kind of target."""
    return [
        Step(
            f"attack on {name}, {('one class', 'random classes')[kind]}",
            settings,
            SECONDS_TO_ATTACK_PHOTOGRAPHS,
            partial(attack_photographs, settings=settings, name=name, kind=kind),
        )
        for name in subjects.networks(public_files(settings))
        for kind in range(2)
    ]


def book(settings: Settings) -> list[Step]:
    """All that the chapters ask for and that takes long."""
    run = begin(settings)
    attacked = run.train.take(run.profile.num_attacked)
    return [
        *longest_first(
            [
                *networks(settings),
                *convolutional(settings, run.profile.units.num_networks),
                *variants(settings),
                *encodings(settings),
            ]
        ),
        *longest_first([*attacks(settings, len(attacked), len(run.test)), *photographs(settings)]),
    ]


def longest_first(steps: Sequence[Step]) -> list[Step]:
    """The order in which a few workers end at about the same time."""
    return sorted(steps, key=lambda step: -step.seconds)


# --- Making it ------------------------------------------------------------------------------------


@cache
def begin(settings: Settings) -> Experiment:
    return experiment.begin("prepare", settings.profile, settings.data, settings.device, settings.seed)


@cache
def public_files(settings: Settings) -> dict:
    """Those of ImageNet's pictures and networks that are there; at the paper's scale they are downloaded."""
    return files.gather(subjects.WANTED, download=settings.profile == "paper")[0]


@cache
def under_attack(settings: Settings) -> dict[str, subjects.Subject]:
    run = begin(settings)
    return subjects.subjects(public_files(settings), subjects.SCALES[settings.profile], run.store, run.device)[0]


def carry_out(steps: Sequence[Step], jobs: int) -> None:
    """Make every step, `jobs` at once, in this order, and tell what is done and how long the rest will take."""
    os.environ.update(machine.environment(jobs))  # the workers inherit it
    clock = Clock(steps, jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_die_with_parent) as workers:
        waiting = {workers.submit(_make, step): step for step in steps}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=QUIET, return_when=FIRST_COMPLETED)
                for future in done:
                    clock.tick(waiting.pop(future), *future.result())
                if not done:
                    print(clock.left(), flush=True)
        except BrokenProcessPool:
            raise SystemExit("A process was killed, perhaps for want of memory: what is done is kept") from None
        finally:
            workers.shutdown(wait=False, cancel_futures=True)


def _make(step: Step) -> tuple[float, bool]:
    """Seconds, and whether there was anything to make."""
    run, began = begin(step.settings), time.perf_counter()
    before = run.store.num_made
    step.make(run)
    return time.perf_counter() - began, run.store.num_made > before


def _die_with_parent() -> None:
    """So that a killed run leaves nobody at work, and Ctrl-C no tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


class Clock:
    """How long the steps that are not done yet will take: as expected, times how far the others were off."""

    def __init__(self, steps: Sequence[Step], jobs: int):
        self.num_steps, self.num_done, self.jobs = len(steps), 0, jobs
        self.to_do = sum(step.seconds for step in steps)
        self.expected = self.measured = 0.0

    def tick(self, step: Step, seconds: float, made: bool) -> None:
        self.num_done += 1
        self.to_do -= step.seconds
        if made:
            self.expected += step.seconds
            self.measured += seconds
            print(f"{step.name}, seed {step.settings.seed}: {seconds:.0f} s; {self.left()}", flush=True)

    def left(self) -> str:
        pace = self.measured / self.expected if self.expected else 1.0
        minutes = self.to_do * pace / self.jobs / 60
        return f"{self.num_done} of {self.num_steps} steps done, about {minutes:.0f} min left"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=list(config.PROFILES), default="paper")
    parser.add_argument("--data", choices=["auto", "mnist", "digits"], default="auto")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=machine.available_cores(), help="processes at once")
    arguments = vars(parser.parse_args())
    jobs = arguments.pop("jobs")
    try:
        steps = book(Settings(**arguments))
    except (ValueError, data.DataError) as error:
        raise SystemExit(str(error)) from None
    carry_out(steps, jobs)


if __name__ == "__main__":
    main()
