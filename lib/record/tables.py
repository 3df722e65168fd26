"""A measured number and its home: the paper's cell, the recorded one, the seeds' range and this build's, as one table.

A table speaks with one voice. As soon as any of its cells is recorded, all that it tells is what was recorded, and a
cell that nobody recorded is missing; before that it tells what this build measured. So no ratio, no sentence and no
figure that comes from a table mixes the two.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lib.measures.intervals import Estimate
from lib.record import ledger, markdown
from lib.record.ledger import Cells
from lib.record.markdown import MISSING

RATES = ("table2", "table4", "target_rates", "clamped", "louder")  # their columns are networks, their cells per cents
PROVEN = ("table5", "mnist_bounds", "squeezenet_bounds")  # whose intervals are proven bounds, and nothing's chance
AT_SCALE, IN_BUILD, PARTLY = "At the paper's scale", "In this build", "As far as recorded"
MOST_COLUMNS = 6  # of a table that has a column for every number
PAPER, OURS = "paper", "ours"
SMALL = " Small: the paper's number, and how far ours is from it."
WITHIN = '<abbr title="in the range of the seeds">≈</abbr>'

Parts = Mapping[str, Mapping[str, Mapping[str, str]]]  # texts by column, part (PAPER, OURS, the difference) and row


class Told(dict):
    """Numbers by (row, column); nan where there is none."""

    def __missing__(self, cell: tuple[str, str]) -> float:
        return math.nan

    def grid(self, rows: Iterable[str], columns: Iterable[str]) -> np.ndarray:
        """The cells as an array (rows, columns)."""
        columns = list(columns)
        return np.array([[self[row, column] for column in columns] for row in rows])


@dataclass(frozen=True)
class Table:
    """The cells of one name, by (row, column)."""

    name: str
    now: Cells  # what this build measured
    recorded: Cells  # results/NAME.csv
    seeds: Cells  # results/spread_NAME.csv: mean, smallest and largest over n seeds
    digits: Mapping[tuple[str, str], str]  # paper/NAME.csv, as printed

    @classmethod
    def of(cls, name: str, cells: Cells) -> "Table":
        """The table of that name, with what this build measured."""
        return cls(name, dict(cells), ledger.recorded(name), ledger.recorded(f"spread_{name}"), ledger.digits(name))

    @property
    def estimates(self) -> Cells:
        """The cells that speak, with their intervals and n."""
        return self.recorded or self.now

    @property
    def told(self) -> Told:
        """The numbers that speak: those recorded, if there are any, else this build's; nan for a missing cell."""
        return Told({cell: estimate.value for cell, estimate in self.estimates.items()})

    @property
    def printed(self) -> Told:
        """The paper's numbers; nan where it prints none."""
        return Told({cell: float(value) for cell, value in self.digits.items()})

    @property
    def source(self) -> str:
        """Who speaks, as the beginning of a sentence."""
        if not self.recorded:
            return IN_BUILD
        return AT_SCALE if self.now.keys() <= self.recorded.keys() else PARTLY

    @property
    def rows(self) -> list[str]:
        """All rows of the table: the paper's, then the recorded, then this build's own."""
        return list(dict.fromkeys(row for row, _ in [*self.digits, *self.recorded, *self.now]))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in [*self.digits, *self.recorded, *self.now]))

    def column(self, name: str) -> dict[str, Estimate]:
        """The cells of one column that speak, by row."""
        return {row: estimate for (row, column), estimate in self.estimates.items() if column == name}

    @property
    def n(self) -> int:
        """The fewest images behind a cell that speaks; 0 if there is none."""
        return int(min((estimate.n for estimate in self.estimates.values()), default=0))

    @property
    def num_seeds(self) -> float:
        """Over how many seeds the cells were measured; nan if over one."""
        return min((int(estimate.n) for estimate in self.seeds.values()), default=math.nan)

    def against(self, digits: Mapping[tuple[str, str], str]) -> "Table":
        """The table beside numbers that the paper prints under another name."""
        return replace(self, digits=dict(digits))

    def in_build(self) -> "Table":
        """The table as if nothing had been recorded."""
        return replace(self, recorded={})

    def transposed(self) -> "Table":
        """The same with rows for columns."""
        cells = (self.now, self.recorded, self.seeds, self.digits)
        turned = ({(column, row): value for (row, column), value in each.items()} for each in cells)
        return Table(self.name, *turned)

    # --- On the page ------------------------------------------------------------------------------

    def show(
        self,
        columns: Iterable[str] | None = None,
        *,
        caption: str,
        name: str,
        rows: Iterable[str] | None = None,
        index: str = "network",
        printed: Iterable[str] = (),
    ) -> str:
        """A numbered MyST table: paper | ours | difference for every column, and folded under it all that is known.

        Where the paper prints nothing it has no column, and so have we none where `printed` says that a column is the
        paper's alone. If all that made more than MOST_COLUMNS, a column of the table stands in one, the paper's number
        and the difference in small print under ours. A printed number that lies in the range of our seeds is marked
        WITHIN. A row, or a whole column, that nobody recorded says so.
        """
        columns, printed = list(columns or self.columns), set(printed)
        rows = list(rows) if rows else [row for row in self.rows if any((row, c) in self._all for c in columns)]
        parts = {column: self._parts(rows, column, column in printed) for column in columns}
        heads, lines = _spread(parts, rows)
        legend = ""
        if 1 + len(heads) > MOST_COLUMNS:
            heads, lines = columns, [[_stacked(parts[column], row) for column in columns] for row in rows]
            legend = SMALL if any(PAPER in each for each in parts.values()) else ""
        lines = [[row, *line] for row, line in zip(rows, lines, strict=True)]
        lines = lines or [[MISSING, *["–"] * len(heads)]]  # nothing recorded, and nothing measured
        legend += self._legend_of_seeds(rows, columns)
        table = markdown.table([index, *heads], lines, f"{caption}{legend} {self.source}.", name)
        return table + self._details(rows, columns, index)

    def _parts(self, rows: list[str], column: str, is_printed: bool) -> dict[str, dict[str, str]]:
        """What is said of a column, by part and row: the paper's numbers, ours, the difference; as far as there are."""
        paper = {row: self.digits[row, column] for row in rows if (row, column) in self.digits}
        if is_printed:
            return {PAPER: paper}
        unit = self._unit(column)
        parts = {
            PAPER: paper,
            OURS: {row: self._value((row, column)) for row in rows},
            f"difference ({markdown.unit_of_difference(unit)})": {
                row: markdown.difference(self.told[row, column], printed, unit) + self._mark((row, column))
                for row, printed in paper.items()
                if (row, column) in self.estimates
            },
        }
        return {part: known for part, known in parts.items() if known or part == OURS}

    def _mark(self, cell: tuple[str, str]) -> str:
        """WITHIN where the printed number lies in the range of the seeds."""
        if cell not in self._beside_seeds:
            return ""
        return f" {WITHIN}" if self.seeds[cell].low <= float(self.digits[cell]) <= self.seeds[cell].high else ""

    @property
    def _beside_seeds(self) -> set[tuple[str, str]]:
        """The printed cells of which several seeds were recorded, as the cell itself was."""
        return {*self.digits} & {*self.seeds} & {*self.recorded}

    def _legend_of_seeds(self, rows: list[str], columns: list[str]) -> str:
        if not any(self._mark((row, column)) for row in rows for column in columns):
            return ""
        return f" {WITHIN}: the paper's number lies in the range of our {self.num_seeds} seeds."

    @property
    def _all(self) -> set[tuple[str, str]]:
        return {*self.digits, *self.recorded, *self.now}

    def _value(self, cell: tuple[str, str]) -> str:
        if cell in self.estimates:
            return markdown.number(self.estimates[cell].value, self._unit(cell[1]))
        return MISSING if cell in self._all or cell[1] not in self.columns else "–"

    def _unit(self, column: str) -> str:
        """A label that ends in "(%)" where the cells of the column are per cents."""
        return f"{column} (%)" if self.name in RATES and column != "distortion" else column

    def _details(self, rows: list[str], columns: list[str], index: str) -> str:
        """All that is known of each cell, folded."""
        cells = [(row, column) for row in rows for column in columns if (row, column) in {*self.recorded, *self.now}]
        kind = "proven bounds" if self.name in PROVEN else "95 %"
        recorded, seeds, now = (
            {cell: markdown.interval(e, self._unit(cell[1])) for cell, e in each.items()}
            for each in (self.recorded, self.seeds, self.now)
        )
        parts = {
            f"recorded [{kind}]": recorded,
            "n": {cell: f"{e.n:,.0f}" for cell, e in self.estimates.items()},
            "mean of the seeds [range]": seeds,
            f"this build [{kind}]": now,
        }
        heads = [head for head, known in parts.items() if any(cell in known for cell in cells)]
        lines = [[*cell, *(parts[head].get(cell, "–") for head in heads)] for cell in cells]
        body = markdown.body([index, "column", *heads], lines)
        return f"\n:::{{dropdown}} Intervals and what they rest on\n\n{body}\n:::\n" if lines else ""


def _spread(parts: Parts, rows: list[str]) -> tuple[list[str], list[list[str]]]:
    """Heads, and a line for each row: every part of every column has a column of its own."""
    heads = [column if [*each] == [OURS] else f"{column} <br>{part}" for column, each in parts.items() for part in each]
    return heads, [[known.get(row, "–") for each in parts.values() for known in each.values()] for row in rows]


def _stacked(parts: Mapping[str, Mapping[str, str]], row: str) -> str:
    """A cell: our number, and under it in small print, each with its name, the paper's and the difference."""
    known = {part: texts[row] for part, texts in parts.items() if row in texts}
    if OURS not in known:
        return known.get(PAPER, "–")
    ours = known.pop(OURS)
    known |= {PAPER: f"{PAPER} {known[PAPER]}"} if PAPER in known else {}
    small = " ".join(f'<small title="{part}">{text}</small>' for part, text in known.items())
    return f"{ours}<br>{small}" if small else ours


def kept(name: str) -> Table:
    """A table that another page measures: what is recorded of it, and nothing of this build."""
    return Table.of(name, {})


def one_voice(*tables: Table) -> tuple[Table, ...]:
    """The tables, all of them recorded or all of them this build's: for a ratio or a sentence that needs several."""
    return tables if all(table.recorded for table in tables) else tuple(table.in_build() for table in tables)
