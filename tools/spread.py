"""Tables 1 to 4 from several seeds: which differences from the paper are noise.

    make spread DATA_DIR=folder                  # at the paper's scale: hours; interrupted, it goes on where it was
    python -m tools.spread --seeds 1 2 --profile quick

Every seed draws first weights, halves, minibatches, targets and noise anew; 2,000 images a cell suffice. The networks
are trained first, on all cores. What was trained and attacked lies in the store, so that a run which was killed repeats
next to nothing. With profile paper results/spread_table1.csv ... spread_table4.csv are replaced when all is done: mean,
smallest and largest value, n seeds.
"""

import argparse
from collections import defaultdict

import numpy as np
from tqdm import tqdm

from lib import config, experiment, paper, transfer
from lib.experiment import Experiment
from lib.intervals import Estimate
from lib.models import mnist
from tools import machine, prepare
from tools.prepare import Settings

NUM_IMAGES = 2000
SEEDS = (0, 1, 2, 3, 4)


def tables(run: Experiment, num_images: int) -> dict[str, dict]:
    """The cells of Tables 1 to 4 for one seed: {table: {(row, column): Estimate}}."""
    images = run.train.take(num_images)
    trained = {name: run.trained(name) for name in mnist.TABLE1}
    adversarial = {name: run.adversarial(network, images).adversarial for name, network in trained.items()}
    networks = {name: network.network for name, network in trained.items()}
    distortions = transfer.distortions(adversarial, images.inputs)
    errors = {(name, column): e for name, t in trained.items() for column, e in run.errors(t).items()}
    rows = transfer.table2_images(adversarial, images.inputs, config.generator(run.seeds.noise))
    found = {
        "table1": errors | distortions,
        "table2": transfer.error_rates(transfer.answers(networks, rows), images.labels)
        | transfer.distortions(rows, images.inputs),
    }

    trained = {name: run.trained_on_half(name) for name in experiment.HALVES}
    test = run.test.take(num_images)
    adversarial = {name: run.adversarial(network, test).adversarial for name, network in trained.items()}
    networks = {name: network.network for name, network in trained.items()}
    rows = transfer.table4_images(adversarial, test.inputs, config.generator(run.seeds.noise))
    return found | {
        "table3": transfer.table3(networks, run.parts) | transfer.distortions(adversarial, test.inputs),
        "table4": transfer.error_rates(transfer.answers(networks, rows), test.labels),
    }


def spread(values: list[float]) -> Estimate:
    """Mean, smallest, largest and number of what the seeds gave."""
    return Estimate(float(np.mean(values)), min(values), max(values), len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--profile", default="paper", choices=["quick", "paper"])
    parser.add_argument("--data", default="auto", choices=["auto", "mnist", "digits"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--num-images", type=int, default=NUM_IMAGES, help="attacked for each cell")
    parser.add_argument("--jobs", type=int, default=machine.available_cores(), help="networks trained at once")
    arguments = parser.parse_args()

    each = [Settings(arguments.profile, arguments.data, arguments.device, seed) for seed in arguments.seeds]
    prepare.carry_out(prepare.longest_first([step for s in each for step in prepare.networks(s)]), arguments.jobs)
    values = defaultdict(lambda: defaultdict(list))
    for settings in tqdm(each, desc="seeds", disable=None):
        for table, cells in tables(prepare.begin(settings), arguments.num_images).items():
            for cell, estimate in cells.items():
                values[table][cell].append(estimate.value)
    spreads = {table: {cell: spread(found) for cell, found in cells.items()} for table, cells in values.items()}
    for table, cells in spreads.items():
        if arguments.profile == "paper":
            paper.record(f"spread_{table}", cells)
        for (row, column), (mean, low, high, n) in cells.items():
            print(f"{table}  {row}, {column}: {mean:.4g} [{low:.4g}, {high:.4g}], {n} seeds")


if __name__ == "__main__":
    main()
