"""Numbers in words: whole ones as such, missing ones by their word, and what a table is asked for sentences."""

import math

import pytest

from lib.measures.intervals import Estimate
from lib.record import markdown
from lib.record.tables import Table

CELLS = {("a", "x (%)"): Estimate(1.0, 0.0, 2.0, 200), ("b", "x (%)"): Estimate(3.0, 2.0, 4.0, 50)}


def table(**parts) -> Table:
    return Table(**{"name": "t", "now": {}, "recorded": {}, "seeds": {}, "digits": {}} | parts)


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [(769.0, "iterations", "769"), (1234, "iterations", "1,234"), (0.0, "loss", "0"), (1.0, "error (%)", "1.00")],
)
def test_whole_numbers_are_written_out(value, column, text):
    assert markdown.number(value, column) == text


def test_a_missing_cell_says_that_nobody_recorded_it():
    assert markdown.cell(math.nan, "x (%)") == markdown.MISSING
    assert markdown.cell(2.5, "x (%)") == "2.50"


def test_several_numbers_one_after_the_other():
    assert markdown.listed([-4.6, math.nan, 2.4], "+.0f") == f"-5, {markdown.UNKNOWN}, +2"
    assert markdown.listed([]) == ""


def test_n_is_the_fewest_images_behind_what_speaks():
    assert table(now=CELLS).n == 50
    assert table(now=CELLS, recorded={("a", "x (%)"): Estimate(1.0, 0.9, 1.1, 10_000)}).n == 10_000
    assert table().n == 0


def test_the_number_of_seeds_is_unknown_before_they_were_measured():
    assert table(seeds={("a", "x (%)"): Estimate(1.0, 0.5, 1.5, 5)}).num_seeds == 5
    assert math.isnan(table().num_seeds)


def test_a_table_beside_numbers_printed_elsewhere():
    shown = table(now=CELLS).against({("a", "x (%)"): "1.5"}).show_wide(["x (%)"], caption="C.", name="t", index="i")
    assert "1.00<br>**1.5**" in shown
    assert "**Bold**: the paper." in shown
