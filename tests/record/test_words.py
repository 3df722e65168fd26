"""What a sentence says of a table: ranges in words, one column by row, and that nothing is there."""

import math

from lib.measures.intervals import Estimate
from lib.record import ledger, markdown, tables
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


def test_what_another_page_measures_speaks_only_once_it_is_recorded(tmp_path, monkeypatch):
    """Beside a table of this build alone it is silent, so that no sentence mixes the two."""
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    assert tables.kept("table3").told == {}
    ledger.record("table3", {("M1", "distortion"): ONE})
    kept, built = tables.one_voice(tables.kept("table3"), Table("t", {("a", "x"): TWO}, {}, {}, {}))
    assert math.isnan(kept.told["M1", "distortion"])
    assert built.told["a", "x"] == 2
    assert tables.kept("table3").told["M1", "distortion"] == 1
