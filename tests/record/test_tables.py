"""A table speaks with one voice; what nobody recorded says so, and nothing is ever a mixture."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.measures.effects import exactly
from lib.measures.intervals import Estimate
from lib.record import ledger, markdown, tables
from lib.record.tables import Table, one_voice

OLD, NEW = Estimate(9.876, 9.1, 10.555, 100), Estimate(7.0, 6.0, 8.0, 50)


def table(now=(), recorded=(), seeds=(), digits=None) -> Table:
    """Cells of `recorded` are 9.876, of `now` 7, of `seeds` 9 in [8, 11]."""
    return Table(
        "table9",
        dict.fromkeys(now, NEW),
        dict.fromkeys(recorded, OLD),
        dict.fromkeys(seeds, Estimate(9.0, 8.0, 11.0, 5)),
        digits or {},
    )


A, B, C = ("a", "error (%)"), ("b", "error (%)"), ("c", "error (%)")


def test_what_is_recorded_speaks():
    found = table(now=[A, B], recorded=[A, B])
    assert found.source == "At the paper's scale"
    assert found.told == {A: 9.876, B: 9.876}


def test_before_anything_is_recorded_this_build_speaks():
    found = table(now=[A, B])
    assert found.source == "In this build"
    assert found.told == {A: 7.0, B: 7.0}


def test_a_cell_that_nobody_recorded_is_missing_and_not_taken_from_this_build():
    found = table(now=[A, B], recorded=[A])
    assert found.source == "As far as recorded"
    assert found.told[A] == 9.876
    assert math.isnan(found.told[B])
    assert math.isnan(found.told["nobody's", "cell"])


def test_a_table_without_any_cell_tells_nan():
    assert math.isnan(table().told[A])
    assert table().source == "In this build"


@given(st.sets(st.sampled_from([A, B, C])), st.sets(st.sampled_from([A, B, C])))
def test_no_table_ever_tells_numbers_of_both_kinds(now, recorded):
    told = set(table(now, recorded).told.values())
    assert told <= {9.876} or told <= {7.0}


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_tables_of_one_sentence_have_one_voice(recorded):
    found = one_voice(*(table(now=[A], recorded=[A] if is_recorded else []) for is_recorded in recorded))
    assert {t.told[A] for t in found} == ({9.876} if all(recorded) else {7.0})
    assert len({t.source for t in found}) == 1


def test_a_grid_has_a_gap_where_there_is_no_cell():
    np.testing.assert_array_equal(
        table(now=[A, B]).told.grid(["a", "c"], ["error (%)", "x"]), [[7, math.nan], [math.nan] * 2]
    )


def test_the_papers_numbers_are_numbers_and_digits():
    found = table(digits={A: "7.40"})
    assert found.printed == {A: 7.4}
    assert math.isnan(found.printed[B])
    assert found.rows == ["a"]
    assert found.columns == ["error (%)"]


def test_a_table_of_the_repository_has_its_four_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    cells = {("softmax 1", "distortion"): NEW}
    before = Table.of("table1", cells)
    assert before.source == tables.IN_BUILD
    assert before.digits["softmax 1", "distortion"] == "0.14"
    ledger.record("table1", {("softmax 1", "distortion"): OLD})
    ledger.record("spread_table1", {("softmax 1", "distortion"): Estimate(9.0, 8.0, 11.0, 5)})
    after = Table.of("table1", cells)
    assert after.told["softmax 1", "distortion"] == 9.876
    assert after.seeds["softmax 1", "distortion"].n == 5
    assert after.in_build().told["softmax 1", "distortion"] == 7.0


CELLS = {("a", "x (%)"): Estimate(1.0, 0.0, 2.0, 200), ("b", "x (%)"): Estimate(3.0, 2.0, 4.0, 50)}
ONE, TWO = Estimate(1.0, 0.5, 1.5, 10), Estimate(2.0, 1.5, 2.5, 10)


def of_cells(**parts) -> Table:
    return Table(**{"name": "t", "now": {}, "recorded": {}, "seeds": {}, "digits": {}} | parts)


def test_n_is_the_fewest_images_behind_what_speaks():
    assert of_cells(now=CELLS).n == 50
    assert of_cells(now=CELLS, recorded={("a", "x (%)"): Estimate(1.0, 0.9, 1.1, 10_000)}).n == 10_000
    assert of_cells().n == 0


def test_the_number_of_seeds_is_unknown_before_they_were_measured():
    assert of_cells(seeds={("a", "x (%)"): Estimate(1.0, 0.5, 1.5, 5)}).num_seeds == 5
    assert math.isnan(of_cells().num_seeds)


def test_a_column_speaks_with_the_voice_of_its_table():
    now = {("a", "length"): ONE, ("b", "length"): ONE, ("a", "error"): ONE}
    table = Table("t", now, {}, {}, {})
    assert table.column("length") == {"a": ONE, "b": ONE}
    recorded = Table("t", now, {("a", "length"): TWO}, {}, {})
    assert recorded.column("length") == {"a": TWO}  # and not "b" of this build beside it


# --- On the page ----------------------------------------------------------------------------------


def lines_of(text: str) -> list[list[str]]:
    """The cells of the lines of the first table of a MyST text, heads first."""
    first = text.split("\n:::\n")[0]
    lines = [line for line in first.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith("| :--")]


def test_paper_ours_and_difference_stand_side_by_side_and_the_caption_says_whose_ours_are():
    found = table(now=[A, B], recorded=[A, B], digits={A: "10"})
    text = found.show(["error (%)"], caption="Errors.", name="tab-x")
    assert text.startswith(":::{table} Errors. At the paper's scale.\n:name: tab-x\n")
    assert lines_of(text) == [
        ["network", "error (%) <br>paper", "error (%) <br>ours", "error (%) <br>difference (points)"],
        ["a", "10", "9.88", "-0.1"],
        ["b", "–", "9.88", "–"],
    ]


def test_what_is_no_per_cent_differs_by_per_cent_of_the_papers():
    text = table(now=[("a", "length")], digits={("a", "length"): "5.6"}).show(caption="C.", name="tab-x")
    assert lines_of(text)[0][-1] == "length <br>difference (%)"
    assert lines_of(text)[1][-1] == "+25\u00a0%"  # 7 against 5.6


def test_where_no_row_has_both_numbers_there_is_no_difference():
    text = table(now=[B], digits={A: "10"}).show(caption="C.", name="tab-x")
    assert lines_of(text)[0] == ["network", "error (%) <br>paper", "error (%) <br>ours"]
    assert lines_of(text)[1:] == [["a", "10", "not recorded"], ["b", "–", "7.00"]]


@pytest.mark.parametrize(("printed", "is_within"), [("7.99", False), ("8", True), ("11", True), ("11.01", False)])
def test_a_printed_number_in_the_range_of_the_seeds_is_marked(printed, is_within):
    found = table(now=[A], recorded=[A], seeds=[A], digits={A: printed})
    text = found.show(caption="C.", name="tab-x")
    assert (tables.WITHIN in lines_of(text)[1][-1]) == is_within
    said = f" {tables.WITHIN}: the paper's number lies in the range of our 5 seeds." if is_within else ""
    assert f"C.{said} At the paper's scale." in text


def test_a_number_of_this_build_is_not_marked_by_seeds_of_another_run():
    assert tables.WITHIN not in table(now=[A], seeds=[A], digits={A: "9"}).show(caption="C.", name="tab-x")


def test_where_the_paper_prints_nothing_it_has_no_column():
    text = table(now=[A]).show(caption="Errors.", name="tab-x", index="layer")
    assert lines_of(text) == [["layer", "error (%)"], ["a", "7.00"]]


def test_a_row_that_nobody_recorded_says_so():
    text = table(now=[A, B], recorded=[A]).show(caption="Errors.", name="tab-x")
    assert lines_of(text)[1:] == [["a", "9.88"], ["b", "not recorded"]]
    assert "As far as recorded" in text


def test_what_would_be_too_wide_has_the_papers_number_and_the_difference_under_ours():
    cells = [("a", "x"), ("a", "y"), ("a", "z (%)")]
    found = table(now=cells, recorded=cells, seeds=cells[2:], digits={cells[0]: "12.5", cells[2]: "9.5"})
    text = found.show(["x", "y", "z (%)"], caption="C.", name="tab-x", index="made for")
    assert "C. Small: the paper's number, and how far ours is from it. " in text
    assert lines_of(text) == [
        ["made for", "x", "y", "z (%)"],
        [
            "a",
            '9.88<br><small title="paper">paper 12.5</small> <small title="difference (%)">-21\u00a0%</small>',
            "9.88",
            '9.88<br><small title="paper">paper 9.5</small> '
            f'<small title="difference (points)">+0.4 {tables.WITHIN}</small>',
        ],
    ]


@pytest.mark.parametrize("num_columns", range(1, 10))
@pytest.mark.parametrize("num_printed", range(4))
def test_no_table_is_wide_that_need_not_be(num_columns, num_printed):
    cells = [("a", f"x{i}") for i in range(num_columns)]
    text = table(now=cells, digits=dict.fromkeys(cells[:num_printed], "1")).show(caption="C.", name="tab-x")
    assert len(lines_of(text)[0]) <= max(tables.MOST_COLUMNS, 1 + num_columns)


def test_a_wide_table_without_the_paper_has_no_small_print():
    cells = [("a", f"x{i}") for i in range(7)]
    text = table(now=cells).show(caption="C.", name="tab-x")
    assert lines_of(text)[1] == ["a", *["7"] * 7]
    assert "small" not in text.lower()


def test_what_the_paper_alone_has_is_large_in_a_wide_table_too():
    cells = [("a", f"x{i}") for i in range(6)]
    text = table(now=cells, digits={("a", "v1"): "3"}).show(
        ["v1", *(c for _, c in cells)], printed=["v1"], caption="C.", name="t"
    )
    assert lines_of(text)[1] == ["a", "3", *["7"] * 6]


def test_folded_under_a_table_is_all_that_is_known_of_its_cells():
    text = table(now=[A], recorded=[A], seeds=[A]).show(caption="C.", name="tab-x")
    folded = text.split(":::{dropdown}")[1]
    for part in ("9.88 [9.10,\u00a010.55]", "9.00 [8.00,\u00a011.00]", "7.00 [6.00,\u00a08.00]", "100"):
        assert part in folded


def test_an_interval_says_whether_it_is_of_chance_or_proven():
    chance, proven = (replace(table(recorded=[A]), name=name).show(caption="C.", name="t") for name in ("x", "table5"))
    assert "recorded [95 %]" in chance
    assert "recorded [proven bounds]" in proven


@pytest.mark.parametrize("missing", ["now", "recorded", "seeds", "digits"])
def test_whatever_is_missing_the_table_can_be_shown(missing):
    parts = {"now": [A], "recorded": [A], "seeds": [A], "digits": {A: "1"}} | {missing: {}}
    assert ":name: tab-x" in table(**parts).show(["error (%)"], caption="C.", name="tab-x")


def test_rates_in_columns_of_networks_have_the_digits_of_per_cents():
    cells = {
        ("M1", "softmax 1"): Estimate(0.0633, 0.05, 0.08, 100),
        ("M1", "distortion"): Estimate(0.0633, 0.05, 0.08, 100),
    }
    text = Table("table2", cells, {}, {}, {}).show(["softmax 1", "distortion"], caption="C.", name="t", index="r")
    assert lines_of(text)[1] == ["M1", "0.06", "0.0633"]


def test_a_table_of_nothing_says_so():
    page = Table("t", {}, {}, {}, {}).show(["length", "error"], caption="Nothing.", name="tab-nothing")
    assert f"| {markdown.MISSING} | – | – |" in page
    assert "dropdown" not in page


def test_a_table_beside_numbers_printed_elsewhere():
    shown = of_cells(now=CELLS).against({("a", "x (%)"): "1.5"}).show(caption="C.", name="t")
    assert lines_of(shown)[1:] == [["a", "1.5", "1.00", "-0.5"], ["b", "–", "3.00", "–"]]


# --- Turned ----------------------------------------------------------------------------------------

TURNED = Table("t", {("a", "x"): exactly(1.5)}, {}, {}, {("a", "v1"): "20", ("b", "v1"): "0.06"})


def lines(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_transposing_turns_every_cell_and_twice_is_as_before():
    turned = TURNED.transposed()
    assert turned.now == {("x", "a"): exactly(1.5)}
    assert turned.digits == {("v1", "a"): "20", ("v1", "b"): "0.06"}
    assert turned.transposed() == TURNED


def test_a_column_that_is_the_papers_alone_has_no_column_of_ours():
    heads, _, first, second, *_ = lines(TURNED.show(["v1", "x"], printed=["v1"], caption="C.", name="tab-t"))
    assert heads == ["network", "v1 <br>paper", "x"]
    assert first == ["a", "20", "1.5"]
    assert second == ["b", "0.06", "–"]  # what nobody means to measure


def test_a_column_without_any_number_is_not_recorded():
    _, _, first, second, *_ = lines(TURNED.show(["v1", "y"], printed=["v1"], caption="C.", name="tab-t"))
    assert (first[2], second[2]) == ("not recorded", "not recorded")


def test_what_another_page_measures_speaks_only_once_it_is_recorded(tmp_path, monkeypatch):
    """Beside a table of this build alone it is silent, so that no sentence mixes the two."""
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    assert tables.kept("table3").told == {}
    ledger.record("table3", {("M1", "distortion"): OLD})
    kept, built = one_voice(tables.kept("table3"), table(now=[A]))
    assert math.isnan(kept.told["M1", "distortion"])
    assert built.told[A] == 7.0
    assert tables.kept("table3").told["M1", "distortion"] == 9.876
