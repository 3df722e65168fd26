"""What a sentence says of a table: ranges in words, one column by row, and that nothing is there."""

import math

from lib.measures.intervals import Estimate
from lib.record import markdown
from lib.record.tables import Table

ONE, TWO = Estimate(1.0, 0.5, 1.5, 10), Estimate(2.0, 1.5, 2.5, 10)


def test_a_range_is_its_ends():
    assert markdown.span([3.14, 1.0, 2.0], ".1f") == "1.0 to 3.1"
    assert markdown.span([2.0], ".0f") == "2"
    assert markdown.span([2.01, 1.99], ".0f") == "2"
    assert markdown.span([math.nan, 2.0], ".0f") == "2"


def test_a_range_of_nothing_was_not_measured():
    assert markdown.span([], ".1f") == markdown.UNKNOWN
    assert markdown.span([math.nan], ".1f") == markdown.UNKNOWN


def test_a_column_speaks_with_the_voice_of_its_table():
    now = {("a", "length"): ONE, ("b", "length"): ONE, ("a", "error"): ONE}
    table = Table("t", now, {}, {}, {})
    assert table.column("length") == {"a": ONE, "b": ONE}
    recorded = Table("t", now, {("a", "length"): TWO}, {}, {})
    assert recorded.column("length") == {"a": TWO}  # and not "b" of this build beside it


def test_a_table_of_nothing_says_so():
    page = Table("t", {}, {}, {}, {}).show(["length", "error"], caption="Nothing.", name="tab-nothing")
    assert f"| {markdown.MISSING} | – | – |" in page
    assert "dropdown" not in page
