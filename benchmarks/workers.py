"""What it costs to hand the attack to workers: chunks of images in this process, by one worker, by two.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.workers --profile paper --data mnist

Images a second are counted from the end of every worker's first chunk to that of the last one: to start workers, read
the data and train the network is on nobody's account. All make the same call through a store of their own.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from lib.attacks import penalized
from lib.experiments import cluster, plan, settings
from lib.experiments.digits import Experiment
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from lib.store.calls import Store


def attack(run: Experiment, name: str, rows: slice) -> None:
    targets = run.targets(run.train)[rows]
    run.store.call(
        penalized.find_adversarial, run.trained(name).network, run.train.inputs[rows], targets, run.profile.attack
    )


def images_a_second(carry_out: Callable[[Callable], object], at_once: int, size: int) -> float:
    """`carry_out` is given what it has to call with the chunks, of `size` images, that have just ended."""
    ends = []
    carry_out(lambda ended, *_: ends.extend([time.perf_counter()] * len(ended)))
    return size * len(ends[at_once:]) / (ends[-1] - ends[at_once - 1])


def here(steps: list[Step], tell: Callable) -> None:
    run = replace(plan.begin(steps[0].settings), store=Store())
    for step in steps:
        step.make(run)
        tell([step])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    settings.add_arguments(parser, "quick", "seed")
    parser.add_argument("--network", default="100-100-10")
    parser.add_argument("--size", type=int, default=1000, help="images in a chunk")
    parser.add_argument("--chunks", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    asked = Settings(arguments.profile, arguments.data, arguments.device, 0)
    steps = [
        Step(
            str(i),
            asked,
            1,
            partial(attack, name=arguments.network, rows=slice(i * arguments.size, (i + 1) * arguments.size)),
        )
        for i in range(arguments.chunks)
    ]
    ways = {
        "in this process": (1, partial(here, steps)),
        "one worker": (1, partial(cluster.carry_out, steps, "local:1")),
        "two workers": (2, partial(cluster.carry_out, steps, "local:2")),
    }
    for name, (at_once, carry_out) in ways.items():
        with tempfile.TemporaryDirectory() as os.environ["STORE_DIR"]:
            found = images_a_second(carry_out, at_once, arguments.size)
        print(f"{name}: {found:.0f} images a second", flush=True)


if __name__ == "__main__":
    main()
