"""Tables 1 to 4 from several seeds: which differences from the paper are noise.

    make spread DATA_DIR=folder                  # at the paper's scale: hours; interrupted, it goes on where it was
    python -m tools.spread --seeds 1 2 --profile quick

Every seed draws first weights, halves, minibatches, targets and noise anew, and is measured on the same images as the
recorded values, so that seed 0 gives these. Networks are trained and attacked first, on all cores; what was made lies
in the store, so that a run which was killed repeats next to nothing. When all is done, and only at the paper's scale
with the seeds that are the defaults here, results/ gets spread_table1.csv ... spread_table4.csv (mean, smallest and
largest value, n seeds) and seeds.csv (each seed's value).
"""

import argparse
import time

import numpy as np
import pandas as pd
from tqdm import tqdm

from lib.data.dataset import DataError
from lib.experiments import generalisation, plan, provenance, settings
from lib.experiments.digits import Experiment
from lib.experiments.settings import Settings
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.record import ledger
from lib.record.ledger import Cells
from tools import machine, prepare

SEEDS = (0, 1, 2, 3, 4)


def tables(run: Experiment) -> dict[str, Cells]:
    """Tables 1 to 4 for one seed, on the same images as in the chapters."""
    models = generalisation.across_networks(run, mnist.TABLE1)
    halves = generalisation.across_training_sets(run)
    return {
        "table1": generalisation.table1(run, models),
        "table2": generalisation.table2(models),
        "table3": generalisation.table3(run, halves),
        "table4": generalisation.table4(halves),
    }


def spread(values: list[float]) -> Estimate:
    """Mean, smallest, largest and number of what the seeds gave."""
    return Estimate(float(np.mean(values)), min(values), max(values), len(values))


def by_table(each: dict[int, dict[str, Cells]]) -> pd.DataFrame:
    """Columns table, row, column, seed, value: a line for every cell that a seed gave."""
    lines = [
        (table, *cell, seed, estimate.value)
        for seed, found in each.items()
        for table, cells in found.items()
        for cell, estimate in cells.items()
    ]
    return pd.DataFrame(lines, columns=["table", "row", "column", "seed", "value"])


def spreads(values: pd.DataFrame) -> dict[str, Cells]:
    """{table: {cell: spread over the seeds}}, in the order in which they were measured."""
    found: dict[str, dict] = {}
    for (table, row, column), group in values.groupby(["table", "row", "column"], sort=False):
        found.setdefault(table, {})[row, column] = spread(group["value"].to_list())
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    settings.add_arguments(parser, "paper", "seed")
    parser.add_argument("--jobs", type=int, default=machine.available_cores(), help="steps at once")
    return parser.parse_args()


def main() -> None:
    arguments, began = parse_arguments(), time.perf_counter()
    each = [Settings(arguments.profile, arguments.data, arguments.device, seed) for seed in arguments.seeds]
    try:
        run = plan.begin(each[0])
    except (ValueError, DataError) as error:
        raise SystemExit(str(error)) from None
    prepare.carry_out([step for one in each for step in plan.seed(one)], arguments.jobs)
    values = by_table({s.seed: tables(plan.begin(s)) for s in tqdm(each, desc="seeds", disable=None)})
    found = spreads(values)
    for table, cells in found.items():
        for (row, column), (mean, low, high, n) in cells.items():
            print(f"{table}  {row}, {column}: {mean:.4g} [{low:.4g}, {high:.4g}], {n} seeds")
    if arguments.profile == "paper" and tuple(arguments.seeds) == SEEDS:
        for table, cells in found.items():
            ledger.record(f"spread_{table}", cells)
        ledger.write("seeds.csv", values.to_csv(index=False, float_format="%.6g"))
        facts = provenance.describe(run.profile.name, run.split, str(run.device), run.seeds)
        provenance.record_run("spread", facts | {"seeds": arguments.seeds}, time.perf_counter() - began)


if __name__ == "__main__":
    main()
