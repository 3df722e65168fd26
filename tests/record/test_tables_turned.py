"""lib/record/tables.py: rows for columns, and columns that are the paper's alone."""

from lib.measures.effects import exactly
from lib.record.tables import Table

TABLE = Table("t", {("a", "x"): exactly(1.5)}, {}, {}, {("a", "v1"): "20", ("b", "v1"): "0.06"})


def lines(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_transposing_turns_every_cell_and_twice_is_as_before():
    turned = TABLE.transposed()
    assert turned.now == {("x", "a"): exactly(1.5)}
    assert turned.digits == {("v1", "a"): "20", ("v1", "b"): "0.06"}
    assert turned.transposed() == TABLE


def test_a_column_that_is_the_papers_alone_has_no_column_of_ours():
    heads, _, first, second, *_ = lines(TABLE.show(["v1", "x"], printed=["v1"], caption="C.", name="tab-t"))
    assert heads == ["network", "v1<br>paper", "x"]
    assert first == ["a", "20", "1.5"]
    assert second == ["b", "0.06", "–"]  # what nobody means to measure


def test_a_column_without_any_number_is_not_recorded():
    _, _, first, second, *_ = lines(TABLE.show(["v1", "y"], printed=["v1"], caption="C.", name="tab-t"))
    assert (first[2], second[2]) == ("not recorded", "not recorded")
