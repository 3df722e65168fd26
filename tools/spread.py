"""Tables 1 to 4 from several seeds: which differences from the paper are noise.

    make spread DATA_DIR=folder                  # five seeds at the paper's scale: hours
    make spread DATA_DIR=folder SEEDS="3 4"      # some of them; what others gave stays
    make spread SCHEDULER=tcp://host:8786        # on the workers of a Dask cluster
    python -m tools.spread --seeds 1 2 --profile quick

Every seed draws first weights, halves, minibatches, targets and noise anew, and is measured on the same images as the
recorded values, so that seed 0 gives these. Networks are trained and attacked first, on all cores or on a cluster; what
was made lies in the store, so that a run which was killed repeats next to nothing.

At the paper's scale what each seed gave is put into results/seeds.csv, in the place of what the same seed gave before.
Once all the default ones are there, spread_table1.csv ... spread_table4.csv tell mean, smallest and largest value over
them. They may be measured one after another, on several machines, but by the same commit.
"""

import argparse
import time
from collections.abc import Iterable

import numpy as np
import pandas as pd
from tqdm import tqdm

from lib.data.downloads import DataError
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


def record(values: pd.DataFrame, facts: dict, seconds: float) -> pd.DataFrame:
    """Put what seeds gave into results/seeds.csv, and, once all of SEEDS are there, the spread over them beside it.

    Returns these all. Raises ValueError, and writes nothing, if the others were measured at another commit.
    """
    check_commit(values["seed"].unique(), facts["commit"])
    everything = ledger.record_seeds(values)
    if set(SEEDS) <= set(everything["seed"]):  # of fewer a range says too little, and verdicts rest on it
        for table, cells in spreads(everything).items():
            ledger.record(f"spread_{table}", cells)
    for seed in values["seed"].unique():
        provenance.record_run(entry(seed), facts, seconds)
    return everything


def entry(seed: int) -> str:
    """The name of a seed's run in results/run.json."""
    return f"spread, seed {seed}"


def check_commit(seeds: Iterable[int], commit: str) -> None:
    """Raises ValueError if results/seeds.csv holds other seeds, which were measured at another commit."""
    others = set(ledger.seeds()["seed"]) - set(seeds)
    runs = ledger.read("run.json")
    commits = {seed: runs.get(entry(seed), {}).get("commit", "unknown") for seed in others}
    if wrong := {seed: other for seed, other in commits.items() if other != commit}:
        named = ", ".join(f"seed {seed} at {other}" for seed, other in sorted(wrong.items()))
        raise ValueError(
            f"results/seeds.csv was measured at another commit ({named}; this one is {commit}), and a spread over code "
            "as well as seeds tells nothing: check that commit out, or delete the file and begin anew"
        )


def parse_arguments() -> argparse.Namespace:
    parser = settings.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=settings.whole_number, nargs="+", default=list(SEEDS))
    settings.add_arguments(parser, "paper", "seed")
    settings.add_scheduler(parser)
    return parser.parse_args()


def main() -> None:
    arguments, began = parse_arguments(), time.perf_counter()
    machine.heed_signals()
    each = [Settings(arguments.profile, arguments.data, arguments.device, seed) for seed in arguments.seeds]
    at_scale = arguments.profile == "paper"
    try:
        run = plan.begin(each[0])
        if at_scale:
            check_commit(arguments.seeds, provenance.commit())
    except (ValueError, DataError) as error:
        raise SystemExit(str(error)) from None
    prepare.carry_out([step for one in each for step in plan.seed(one)], arguments.scheduler)
    values = by_table({s.seed: tables(plan.begin(s)) for s in tqdm(each, desc="seeds", disable=None)})
    if at_scale:
        facts = provenance.describe(run.profile.name, run.split, str(run.device), run.seeds)
        facts["seeds"] = arguments.seeds  # measured together, in the seconds that are told
        values = record(values, facts, time.perf_counter() - began)
    for table, cells in spreads(values).items():
        for (row, column), (mean, low, high, n) in cells.items():
            print(f"{table}  {row}, {column}: {mean:.4g} [{low:.4g}, {high:.4g}], {n} seeds")


if __name__ == "__main__":
    main()
