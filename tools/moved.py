"""Which recorded cells have moved by more than their intervals since a commit: `python -m tools.moved COMMIT`.

A cell has moved if either value lies outside the other's interval. Printed are the cells, table by table, and how many.
"""

import io
import subprocess
import sys

import pandas as pd

from lib.measures.intervals import Estimate
from lib.record import ledger
from lib.record.ledger import CELL, ESTIMATE, Cells


def at(commit: str, table: str) -> Cells:
    """The cells of results/TABLE.csv at a commit; empty where it had none."""
    shown = subprocess.run(["git", "show", f"{commit}:results/{table}.csv"], capture_output=True, encoding="utf-8")
    if shown.returncode or not shown.stdout.startswith(",".join(CELL + ESTIMATE)):
        return {}
    lines = pd.read_csv(io.StringIO(shown.stdout), converters=dict.fromkeys(CELL, str))
    return {(line.row, line.column): Estimate(*line[3:]) for line in lines.itertuples()}


def moved(before: Cells, now: Cells) -> dict[tuple[str, str], tuple[Estimate, Estimate]]:
    """The cells that both have, and whose values lie outside each other's intervals."""
    both = {cell: (before[cell], now[cell]) for cell in before if cell in now}
    return {cell: pair for cell, pair in both.items() if _apart(*pair)}


def _apart(one: Estimate, other: Estimate) -> bool:
    return not (one.low <= other.value <= one.high and other.low <= one.value <= other.high)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("which commit? python -m tools.moved COMMIT")
    asked = ["git", "rev-parse", "--quiet", "--verify", f"{sys.argv[1]}^{{commit}}"]
    if subprocess.run(asked, capture_output=True).returncode:
        raise SystemExit(f"there is no commit {sys.argv[1]} in this repository: `git log -- results` lists some")
    for table, now in ledger.everything_recorded().items():
        found = moved(before := at(sys.argv[1], table), now)
        print(f"{table}: {len(found)} of {len(before.keys() & now.keys())}")
        for (row, column), (was, is_now) in found.items():
            print(f"    {row}, {column}: {was.value:.6g} [{was.low:.6g}, {was.high:.6g}] -> {is_now.value:.6g}")


if __name__ == "__main__":
    main()
