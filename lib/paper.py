"""The paper's numbers, the numbers recorded at its scale, and this build's, side by side.

Tables are long, one line per cell: `row,column,value` as printed in `paper/`, `row,column,value,low,high,n` in
`results/`. Row and column labels are the same strings in both.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from lib.intervals import Estimate

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED, RESULTS = ROOT / "paper", ROOT / "results"
CELL = ["row", "column"]
ESTIMATE = list(Estimate._fields)
FEW = 5  # images below which an interval, which can reach far beyond what is possible, is not printed

Cells = Mapping[tuple[str, str], Estimate]


def published(table: str) -> pd.DataFrame:
    """Columns row, column, value; values are strings, with the digits that the paper prints.

    Raises FileNotFoundError for a table that `paper/` does not hold.
    """
    return pd.read_csv(PUBLISHED / f"{table}.csv", dtype=str)


def recorded(table: str) -> pd.DataFrame:
    """Columns row, column, value, low, high, n as measured at the paper's scale; empty before the first such run."""
    path = RESULTS / f"{table}.csv"
    labels = dict.fromkeys(CELL, str)  # also where they look like numbers
    return pd.read_csv(path, converters=labels) if path.exists() else pd.DataFrame(columns=CELL + ESTIMATE)


def measured(cells: Cells) -> pd.DataFrame:
    """This build's cells in the columns of `recorded`."""
    return pd.DataFrame([(*cell, *estimate) for cell, estimate in cells.items()], columns=CELL + ESTIMATE)


def record(table: str, cells: Cells) -> None:
    """Put cells into results/TABLE.csv, replacing those of the same row and column, in the paper's order.

    Chapters that run at the same time may record into one table: the file is locked, and replaced as a whole.
    """
    RESULTS.mkdir(exist_ok=True)
    with FileLock(RESULTS / f".{table}.lock"):
        kept, new = recorded(table), measured(cells)
        lines = pd.concat([kept, new]) if len(kept) else new
        lines = lines.drop_duplicates(CELL, keep="last")
        order = {cell: i for i, cell in enumerate(_cells(published(table)))} if _is_published(table) else {}
        place = [order.get(cell, len(order)) for cell in _cells(lines)]  # ours alone come last, as they came
        lines = lines.iloc[sorted(range(len(lines)), key=place.__getitem__)]
        write_atomically(RESULTS / f"{table}.csv", lines.to_csv(index=False, float_format="%.6g"))


def _is_published(table: str) -> bool:
    return (PUBLISHED / f"{table}.csv").exists()


def _cells(lines: pd.DataFrame) -> list[tuple[str, str]]:
    return list(lines[CELL].itertuples(index=False, name=None))


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by `text` as a whole: no reader ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def limit(identity: str) -> float:
    """How far what a claim says may be off, in its own unit: the limit that paper/claims.csv sets.

    Raises ValueError for a claim that is not listed there.
    """
    claims = published("claims").set_index("id")
    if identity not in claims.index:
        raise ValueError(f"claim {identity!r} is unknown; paper/claims.csv lists {', '.join(claims.index)}")
    return float(claims.loc[identity, "limit"])


def judge(identity: str, deviations: Mapping[str, float]) -> str:
    """The verdict on a claim: how many of its parts lie within the limit that paper/claims.csv sets.

    deviations : of each part from what is claimed, in the limit's unit. All within: reproduced; at least half: partly.
    A claim of mathematics is contradicted by a single part beyond the limit.
    Raises ValueError for a claim that paper/claims.csv does not list, or one without parts.
    """
    allowed = limit(identity)
    if not deviations:
        raise ValueError(f"claim {identity!r} needs at least one part")
    within = sum(abs(deviation) <= allowed for deviation in deviations.values())
    if within == len(deviations):
        return "reproduced"
    if published("claims").set_index("id").loc[identity, "kind"] == "mathematics":
        return "contradicted"
    return "partly" if 2 * within >= len(deviations) else "not reproduced"


def record_claim(identity: str, deviations: Mapping[str, float], evidence: str) -> None:
    """Put the verdict on one of the paper's claims into results/claims.csv, replacing an earlier one.

    Parameters and errors as in `judge`; evidence is the sentence that the verdict rests on.
    """
    verdict = judge(identity, deviations)
    RESULTS.mkdir(exist_ok=True)
    with FileLock(RESULTS / ".claims.lock"):
        lines = {line.id: line for line in recorded_claims().itertuples(index=False)}
        lines[identity] = (identity, verdict, evidence)
        listed = published("claims")["id"]
        ordered = pd.DataFrame([lines[i] for i in listed if i in lines], columns=["id", "verdict", "evidence"])
        write_atomically(RESULTS / "claims.csv", ordered.to_csv(index=False))


def recorded_claims() -> pd.DataFrame:
    """Columns id, verdict, evidence; empty before the first run at the paper's scale."""
    path = RESULTS / "claims.csv"
    return pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=["id", "verdict", "evidence"])


def benchmark() -> dict:
    """The recorded run of benchmarks/attack.py: machine, versions, and the figures of every network and method."""
    return json.loads((ROOT / "benchmarks" / "attack.json").read_text())


def compare(
    table: str, cells: Cells, columns: list[str], index: str = "network", rows: list[str] | None = None
) -> pd.DataFrame:
    """Paper | Recorded at paper scale | Seeds | This build, for some columns of a table; one line for each of `rows`.

    These are by default the paper's, then those that are recorded in these columns, then this build's own.
    Values are strings ready to print: the paper's digits, ours with their 95 % interval, the mean over seeds with its
    range. Where the paper prints nothing its column is left out, and so are seeds where there are none.
    """
    paper, ours, now = published(table) if _is_published(table) else None, recorded(table), measured(cells)
    seeds = recorded(f"spread_{table}")
    if rows is None:
        kept = ours[ours["column"].isin(columns)]
        rows = list(dict.fromkeys([*([] if paper is None else paper["row"]), *kept["row"], *now["row"]]))
    lines = {}
    for column in columns:
        if paper is not None and column in set(paper["column"]):
            lines[column, "Paper"] = [_printed(paper, row, column) for row in rows]
        lines[column, "Recorded"] = [_estimated(ours, row, column) for row in rows]
        if column in set(seeds["column"]):
            lines[column, f"{int(seeds['n'].max())} seeds"] = [_estimated(seeds, row, column) for row in rows]
        lines[column, "This build"] = [_estimated(now, row, column) for row in rows]
    return pd.DataFrame(lines, index=pd.Index(rows, name=index))


def values(table: str) -> dict[tuple[str, str], float]:
    """The printed numbers of a table of the paper by (row, column)."""
    lines = published(table)
    return dict(zip(_cells(lines), lines["value"].astype(float), strict=True))


def recorded_values(table: str) -> dict[tuple[str, str], float]:
    """The recorded numbers by (row, column); empty before the first run at the paper's scale."""
    lines = recorded(table)
    return dict(zip(_cells(lines), lines["value"].astype(float), strict=True))


def recorded_estimates(table: str) -> dict[tuple[str, str], Estimate]:
    """The recorded numbers with their intervals by (row, column); empty before the first run at the paper's scale."""
    lines = recorded(table)
    return {
        cell: Estimate(*line) for cell, line in zip(_cells(lines), lines[ESTIMATE].itertuples(index=False), strict=True)
    }


def grid(values: Mapping[tuple[str, str], float], rows: list[str], columns: list[str]) -> np.ndarray:
    """The cells as an array (rows, columns), nan where there is none."""
    return np.array([[values.get((row, column), np.nan) for column in columns] for row in rows])


def stacked(table: str, cells: Cells, rows: list[str], columns: list[str], index: str) -> pd.DataFrame:
    """A table of many columns; in every cell stand, one below the other, as far as they exist:

    the paper's number (bold), the recorded one, ± its 95 % interval, mean and range over seeds, this build's. "–" is a
    number that is not there.
    """
    parts = [published(table), recorded(table), recorded(f"spread_{table}"), measured(cells)]
    return pd.DataFrame(
        {column: [_stacked(column, *(_cell(p, row, column) for p in parts)) for row in rows] for column in columns},
        index=pd.Index(rows, name=index),
    )


def _stacked(column: str, printed: pd.DataFrame, kept: pd.DataFrame, seeds: pd.DataFrame, now: pd.DataFrame) -> str:
    digits = 3 if column == "distortion" else 1

    def numbers(lines: pd.DataFrame) -> list[str]:
        return [f"{value:.{digits}f}" for value in lines[ESTIMATE[:3]].astype(float).to_numpy()[0]]

    def half_width(lines: pd.DataFrame) -> str:
        value, low, high = lines[ESTIMATE[:3]].astype(float).to_numpy()[0]
        return f"{max(value - low, high - value):.{digits}f}"  # the longer side

    stack = [f"**{printed['value'].iloc[0]}**" if len(printed) else "–"]
    stack += [numbers(kept)[0] + "<br>±" + half_width(kept)] if len(kept) else ["–"]
    stack += ["{}<br>{}–<br>{}".format(*numbers(seeds))] if len(seeds) else []
    return "<br>".join([*stack, numbers(now)[0] if len(now) else "–"])


def two_lines(table: str, cells: Cells, rows: list[str], columns: list[str], index: str) -> pd.DataFrame:
    """In every cell the recorded number above this build's, to three significant digits; "–" where there is none.

    For numbers of all sizes that have no printed counterpart, or one that stands in a column of its own.
    """
    recorded_, now = recorded_values(table), {cell: estimate.value for cell, estimate in cells.items()}
    return pd.DataFrame(
        {
            column: ["<br>".join(_significant(part.get((row, column))) for part in (recorded_, now)) for row in rows]
            for column in columns
        },
        index=pd.Index(rows, name=index),
    )


def _significant(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    return f"{mantissa}·10<sup>{int(exponent)}</sup>" if exponent else mantissa


def _cell(lines: pd.DataFrame, row: str, column: str) -> pd.DataFrame:
    return lines[(lines["row"] == row) & (lines["column"] == column)]


def _printed(lines: pd.DataFrame, row: str, column: str) -> str:
    found = _cell(lines, row, column)
    return found["value"].iloc[0] if len(found) else "–"


def _estimated(lines: pd.DataFrame, row: str, column: str) -> str:
    found = _cell(lines, row, column)
    if not len(found):
        return "–"
    value, low, high, n = (float(found[name].iloc[0]) for name in ESTIMATE)
    digits = 2 if column.endswith("(%)") else 6 if 0 < abs(value) < 0.01 else 4
    if 1 < n < FEW:
        return f"{value:.{digits}f}<br>(n = {n:.0f})"
    return f"{value:.{digits}f}<br>[{low:.{digits}f},\u00a0{high:.{digits}f}]"


def to_markdown(table: pd.DataFrame, caption: str, name: str, align: str = "right") -> str:
    """A numbered MyST table of strings; the two header levels of `compare` are joined by a line break.

    align : "left" for columns of words, "right" for columns of numbers.
    """
    heads = [
        str(table.index.name or ""),
        *("<br>".join(filter(None, c)) if isinstance(c, tuple) else str(c) for c in table.columns),
    ]
    rules = [":--"] + [{"left": ":--", "right": "--:"}[align]] * len(table.columns)
    lines = [heads, rules, *([str(value) for value in row] for row in table.itertuples())]
    body = "\n".join("| " + " | ".join(word.replace("|", r"\|") for word in line) + " |" for line in lines)
    return f":::{{table}} {caption}\n:name: {name}\n\n{body}\n:::\n"
