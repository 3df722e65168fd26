"""Tables 1 to 4 from several seeds: which differences from the paper are noise.

    make spread DATA_DIR=folder                  # at the paper's scale: hours; interrupted, it goes on where it was
    python tools/spread.py --seeds 1 2 --profile quick

Every seed draws first weights, halves, minibatches, targets and noise anew; 2,000 images a cell suffice. What was
trained and attacked lies in the store, so that a run which was killed repeats next to nothing. After each seed of
profile paper results/spread_table1.csv ... spread_table4.csv are replaced: mean, smallest and largest value, n seeds.
"""

import argparse
import time
from collections import defaultdict

import numpy as np
from tqdm import tqdm

from lib import config, experiment, paper, transfer
from lib.experiment import Experiment
from lib.intervals import Estimate
from lib.models import mnist

NUM_IMAGES = 2000
SEEDS = (1, 2, 3, 4, 5)


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
        "table2": transfer.error_rates(networks, rows, images.labels) | transfer.distortions(rows, images.inputs),
    }

    trained, P1, P2 = run.trained_on_halves()
    test = run.test.take(num_images)
    adversarial = {name: run.adversarial(network, test).adversarial for name, network in trained.items()}
    networks = {name: network.network for name, network in trained.items()}
    parts = {"error on P1 (%)": P1, "error on P2 (%)": P2, "test error (%)": run.test}
    rows = transfer.table4_images(adversarial, test.inputs, config.generator(run.seeds.noise))
    return found | {
        "table3": transfer.table3(networks, parts) | transfer.distortions(adversarial, test.inputs),
        "table4": transfer.error_rates(networks, rows, test.labels),
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
    arguments = parser.parse_args()

    values = defaultdict(lambda: defaultdict(list))
    for seed in tqdm(arguments.seeds, desc="seeds", disable=None):
        began = time.perf_counter()
        run = experiment.begin("spread", arguments.profile, arguments.data, arguments.device, seed)
        for table, cells in tables(run, arguments.num_images).items():
            for cell, estimate in cells.items():
                values[table][cell].append(estimate.value)
        print(f"seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
        if arguments.profile == "paper":
            for table, cells in values.items():
                paper.record(f"spread_{table}", {cell: spread(found) for cell, found in cells.items()})
    for table, cells in values.items():
        for (row, column), found in cells.items():
            mean, low, high, n = spread(found)
            print(f"{table}  {row}, {column}: {mean:.4g} [{low:.4g}, {high:.4g}], {n} seeds")


if __name__ == "__main__":
    main()
