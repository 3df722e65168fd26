"""What is written down: the paper's numbers in `paper/`, and ours, measured at its scale, in `results/`.

Tables are long, one line per cell: `row,column,value` as printed in `paper/`, `row,column,value,low,high,n` in
`results/`. Row and column labels are the same strings in both.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from lib.measures.intervals import Estimate
from lib.store import files
from lib.store.files import ROOT

PUBLISHED, RESULTS = ROOT / "paper", ROOT / "results"
CELL = ["row", "column"]
ESTIMATE = list(Estimate._fields)
LABELS = ["table", *CELL]
EACH_SEED = [*LABELS, "seed", "value"]

# A verdict in a word, in results/claims.csv.
REPRODUCED, PARTLY, NOT_REPRODUCED, CONTRADICTED, NOT_TESTABLE, NOT_RECORDED = (
    "reproduced",
    "partly",
    "not reproduced",
    "contradicted",
    "not testable here",
    "not recorded",
)

Cells = Mapping[tuple[str, str], Estimate]


def published(table: str) -> pd.DataFrame:
    """Columns row, column, value; values are strings, with the digits that the paper prints.

    Raises FileNotFoundError for a table that `paper/` does not hold.
    """
    return pd.read_csv(PUBLISHED / f"{table}.csv", dtype=str)


def digits(table: str) -> dict[tuple[str, str], str]:
    """The numbers of a table of the paper by (row, column), as printed; empty for a table that it does not have."""
    if not (PUBLISHED / f"{table}.csv").exists():
        return {}
    lines = published(table)
    return {cell: value for cell, value in zip(_cells(lines), lines["value"], strict=True) if isinstance(value, str)}


def printed(table: str) -> dict[tuple[str, str], float]:
    """`digits` as numbers."""
    return {cell: float(value) for cell, value in digits(table).items()}


def recorded(table: str) -> dict[tuple[str, str], Estimate]:
    """Our numbers by (row, column), as measured at the paper's scale; empty before the first such run.

    Raises ValueError, naming the file, if it is cut off or holds what is no number within its interval.
    """
    path = RESULTS / f"{table}.csv"
    if not path.exists():
        return {}
    try:
        return _read_cells(path)
    except ValueError as error:
        raise _damaged(path, error) from None


def _read_cells(path: Path) -> dict[tuple[str, str], Estimate]:
    lines = _read_lines(path, CELL + ESTIMATE, CELL)
    estimates = lines[ESTIMATE]
    _refuse(
        lines,
        (estimates["value"] < estimates["low"]) | (estimates["value"] > estimates["high"]),
        "a value outside its interval",
    )
    _refuse(lines, ~(estimates["n"] >= 1), "no number of measurements")
    return {cell: Estimate(*line) for cell, line in zip(_cells(lines), estimates.itertuples(index=False), strict=True)}


def _read_lines(path: Path, columns: list[str], key: list[str]) -> pd.DataFrame:
    """A table with exactly these columns, whose last line is whole; labels are strings, all else are finite numbers.

    Raises ValueError for any other, and for two lines with the same key.
    """
    if not path.read_bytes().endswith(b"\n"):
        raise ValueError("its last line is cut off")
    lines = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if [*lines.columns] != columns or not isinstance(lines.index, pd.RangeIndex):  # else the first field is an index
        raise ValueError(f"its columns are not {', '.join(columns)}")
    labels = [name for name in columns if name in LABELS]
    numbers = lines.drop(columns=labels).apply(pd.to_numeric, errors="coerce").astype(float)
    _refuse(lines, ~np.isfinite(numbers).all(axis=1), "what is no number")
    _refuse(lines, lines.duplicated(key), "what another line has told already")
    return pd.concat([lines[labels], numbers], axis=1)[columns]


def _refuse(lines: pd.DataFrame, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        raise ValueError(f"line {wrong.argmax() + 2} has {what}")


def _damaged(path: Path, reason: Exception) -> ValueError:
    return ValueError(f"{path} is not what a run has written ({reason}): `git checkout` it, or record it anew")


def everything_recorded() -> dict[str, dict[tuple[str, str], Estimate]]:
    """All tables of results/ by name; files with other columns, of verdicts and of seeds, are none."""
    return {path.stem: recorded(path.stem) for path in sorted(RESULTS.glob("*.csv")) if _is_of_cells(path)}


def _is_of_cells(path: Path) -> bool:
    """By its columns, in whatever order: in another one it is damaged, and not another table."""
    head = path.read_text(encoding="utf-8-sig", errors="replace").partition("\n")[0]
    return {*head.strip().split(",")} == {*CELL, *ESTIMATE}


def record(table: str, cells: Cells) -> None:
    """Put cells into results/TABLE.csv, replacing those of the same row and column, in the paper's order.

    Chapters that run at the same time may record into one table: the file is locked, and replaced as a whole. A cell
    that nobody measures any more stays: whoever records everything anew empties results/ first.
    """
    RESULTS.mkdir(exist_ok=True)
    with FileLock(RESULTS / f".{table}.lock"):
        known = recorded(table) | dict(cells)
        order = {cell: place for place, cell in enumerate(digits(table))}  # ours alone come last, as they came
        lines = sorted(known.items(), key=lambda line: order.get(line[0], len(order)))
        frame = pd.DataFrame([(*cell, *estimate) for cell, estimate in lines], columns=CELL + ESTIMATE)
        write(f"{table}.csv", frame.to_csv(index=False, float_format="%.6g"))


def seeds() -> pd.DataFrame:
    """What each seed gave, columns table, row, column, seed, value: a line for every cell; empty where none is kept.

    Raises ValueError, naming the file, if it is cut off, tells a cell twice or holds what is no number.
    """
    path = RESULTS / "seeds.csv"
    if not path.exists():
        return pd.DataFrame(columns=EACH_SEED)
    try:
        lines = _read_lines(path, EACH_SEED, EACH_SEED[:-1])
        _refuse(lines, lines["seed"] % 1 != 0, "a seed that is no whole number")
    except ValueError as error:
        raise _damaged(path, error) from None
    return lines.astype({"seed": int})


def record_seeds(values: pd.DataFrame) -> pd.DataFrame:
    """Put what seeds gave into results/seeds.csv, replacing what the same seeds gave before. All that it then holds."""
    RESULTS.mkdir(exist_ok=True)
    with FileLock(RESULTS / ".seeds.lock"):
        known = seeds()
        kept = known[~known["seed"].isin(values["seed"].unique())]
        both = pd.concat([kept, values]) if len(kept) else values
        both = both.sort_values("seed", kind="stable", ignore_index=True)
        write("seeds.csv", both.to_csv(index=False, float_format="%.6g"))
    return seeds()


def write(name: str, text: str) -> None:
    """Replace a file of results/ as a whole: no reader ever sees half of it."""
    RESULTS.mkdir(exist_ok=True)
    files.replace(RESULTS / name, text.encode())


def update(name: str, entry: str, facts: Mapping) -> None:
    """Put `facts` under `entry` into results/NAME, a JSON file of entries in alphabetical order."""
    RESULTS.mkdir(exist_ok=True)
    with FileLock(RESULTS / f".{name}.lock"):
        entries = read(name) | {entry: dict(facts)}
        write(name, json.dumps(dict(sorted(entries.items())), indent=2) + "\n")


def read(name: str) -> dict:
    """A JSON file of results/; empty before the first run at the paper's scale. Raises ValueError for a damaged one."""
    path = RESULTS / name
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise _damaged(path, error) from None


def benchmark() -> dict:
    """The recorded run of benchmarks/attack.py: machine, versions, and the figures of every network and method."""
    return json.loads((ROOT / "benchmarks" / "attack.json").read_text(encoding="utf-8"))


def _cells(lines: pd.DataFrame) -> list[tuple[str, str]]:
    return list(lines[CELL].itertuples(index=False, name=None))
