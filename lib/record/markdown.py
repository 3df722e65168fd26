"""Numbers as words: in a cell, in a sentence, in a numbered table."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from lib.measures.intervals import Estimate

MISSING = "not recorded"
UNKNOWN = "not measured"
T = TypeVar("T")
NAME = re.compile(r"(?<![^\s>])[\w.]*\w-\d[\w-]*")  # 100-100-10, AE400-10, 1e-4
FEW = 5  # images below which an interval, which can reach far beyond what is possible, is not printed


def number(value: float, column: str = "") -> str:
    """The value with as many digits as its column's unit deserves; a column of per cents ends in "(%)"."""
    if not math.isfinite(value):
        return "–"
    if column.endswith("(%)"):
        return f"{value:.2f}"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    if exponent:
        return f"{mantissa}·10<sup>{int(exponent)}</sup>"
    return f"{value:.4f}" if 0.01 <= abs(value) < 1 else mantissa


def cell(value: float, column: str = "") -> str:
    """The value as `number` has it, or that nobody recorded it, which is what nan says."""
    return MISSING if math.isnan(value) else number(value, column)


def interval(estimate: Estimate, column: str = "") -> str:
    """The value and its interval; without one where it rests on too little, or has none."""
    value, low, high, n = estimate
    if 1 < n < FEW or low == value == high or not math.isfinite(value):
        return number(value, column)
    return f"{number(value, column)} [{number(low, column)},\u00a0{number(high, column)}]"


def signed(estimate: Estimate, digits: int = 2) -> str:
    """A difference and its interval: +0.10 [+0.04, +0.16]; the number alone if that has no width; `UNKNOWN` for nan."""
    value, low, high = (words(number, f"+.{digits}f") for number in estimate[:3])
    return value if UNKNOWN in (value, low, high) or estimate.low == estimate.high else f"{value} [{low}, {high}]"


def unit_of_difference(column: str) -> str:
    """In what two numbers of a column are compared: per cents in points, others in per cent of the printed one."""
    return "points" if column.endswith("(%)") else "%"


def difference(value: float, printed: str, column: str) -> str:
    """By how much a value exceeds a number that is printed with these digits, in the column's `unit_of_difference`.

    Points have as many decimals as the printed number, and at least one.
    """
    reference = float(printed)
    if not math.isfinite(value):
        return "–"
    if unit_of_difference(column) == "points":
        return f"{value - reference:+z.{max(1, len(printed.partition('.')[2]))}f}"
    return f"{100 * (value / reference - 1):+z.0f}\u00a0%" if reference else "–"


def listed(values: Iterable[float | str], form: str = "") -> str:
    """`words`, one after the other."""
    return ", ".join(words(value, form) for value in values)


def named(values: Mapping[str, T], say: Callable[[T], str]) -> str:
    """Names, each with what is said of its value, one after the other: "softmax 1 -16, AE400-10 +6"."""
    return listed(f"{name} {say(value)}" for name, value in values.items())


def tell(**numbers: float | str | tuple[float, str]) -> None:
    """Glue numbers for a chapter's sentences: name=value, or name=(value, format); nan is "not measured".

    tell(spearman=(0.9331, ".3f"), num_cells=30) is read in the text as {glue:text}`spearman`.
    """
    from myst_nb import glue  # takes a second that only notebooks need

    for name, value in numbers.items():
        glue(name, words(*value) if isinstance(value, tuple) else words(value), display=False)


def words(value: float | str, form: str = "") -> str:
    """The value as text in that format, integers with thousands separated; `UNKNOWN` for nan and None."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    return value if isinstance(value, str) else format(value, form or ("," if isinstance(value, int) else ".3g"))


def span(values: Iterable[float], form: str) -> str:
    """The least and the most of some numbers as text, "1.2 to 3.4"; nan is left out, and of none `UNKNOWN` is left."""
    known = [value for value in values if math.isfinite(value)]
    ends = (format(end(known), form) for end in (min, max)) if known else [UNKNOWN]
    return " to ".join(dict.fromkeys(ends))


def table(heads: Sequence[str], lines: Sequence[Sequence], caption: str, name: str, align: str = "right") -> str:
    """A numbered MyST table; the first column, and all of them if align is "left", are words."""
    return f":::{{table}} {caption}\n:name: {name}\n\n{body(heads, lines, align)}\n:::\n"


def body(heads: Sequence[str], lines: Sequence[Sequence], align: str = "right") -> str:
    """A Markdown table. A name such as 100-100-10 is not broken: half of it would read as another name."""
    rules = [":--"] + [{"left": ":--", "right": "--:"}[align]] * (len(heads) - 1)
    cells = ([_cell(text) for text in line] for line in [heads, rules, *lines])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _cell(text: object) -> str:
    return NAME.sub(r'<span class="text-nowrap">\g<0></span>', str(text).replace("|", r"\|"))
