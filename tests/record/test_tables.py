"""The published numbers are the paper's; recorded ones are merged, ordered and never half-written."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.measures import intervals
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.record import claims, markdown, tables

REPOSITORY = Path(__file__).parent.parent

# Table 1 typed a second time, from arXiv 1312.6199: training error and test error in %, average minimum distortion.
TABLE1 = {
    "softmax 1e-4": ("6.7", "7.4", "0.062"),
    "softmax 1e-2": ("10", "9.4", "0.1"),
    "softmax 1": ("21.2", "20", "0.14"),
    "100-100-10": ("0", "1.64", "0.058"),
    "200-200-10": ("0", "1.54", "0.065"),
    "AE400-10": ("0.57", "1.9", "0.086"),
}
COLUMNS = ("training error (%)", "test error (%)", "distortion")

ONE, TWO, THREE = Estimate(1.0, 0.5, 1.5, 10), Estimate(2.0, 1.5, 2.5, 10), Estimate(3.0, 2.5, 3.5, 20)


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A folder for what is recorded; it does not exist yet."""
    folder = tmp_path / "results"
    monkeypatch.setattr(tables, "RESULTS", folder)
    return folder


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A paper of our own: two rows, two columns, and three claims."""
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "table9.csv").write_text("row,column,value\nb,error (%),10\nb,length,0.1\na,error (%),7.40\n")
    (folder / "claims.csv").write_text(
        "id,kind,claim,limit\nfirst,measurement,One,0.5\nsecond,mathematics,Two,10\nthird,measurement,Three,1\n"
    )
    monkeypatch.setattr(tables, "PUBLISHED", folder)
    return folder


def cells_of(table: pd.DataFrame) -> dict:
    return {(row, column): Estimate(*rest) for row, column, *rest in table.itertuples(index=False, name=None)}


# --- What the paper says --------------------------------------------------------------------------


def test_table1_is_the_papers_digit_by_digit():
    table = tables.published("table1")
    assert list(table.columns) == ["row", "column", "value"]
    expected = [(row, *pair) for row, values in TABLE1.items() for pair in zip(COLUMNS, values, strict=True)]
    assert list(table.itertuples(index=False, name=None)) == expected


def test_rows_are_named_as_the_networks_are():
    assert tuple(dict.fromkeys(tables.published("table1")["row"])) == mnist.TABLE1


def test_columns_are_named_alike_everywhere():
    """What experiment.errors and the chapters record must meet the paper's labels, or it would stand beside them."""
    assert set(tables.published("table1")["column"]) == set(COLUMNS)


def test_tables_2_to_4_have_every_cell():
    noise = ["Gaussian noise, stddev 0.1", "Gaussian noise, stddev 0.3"]
    table2 = tables.values("table2")
    assert list(table2) == [(r, c) for r in [*mnist.TABLE1, *noise] for c in [*mnist.TABLE1, "distortion"]]
    assert all(table2[name, name] == 100 for name in mnist.TABLE1)
    assert {name: table2[name, "distortion"] for name in mnist.TABLE1} == {
        name: value for (name, column), value in tables.values("table1").items() if column == "distortion"
    }
    assert len(tables.values("table3")) == 12
    table4 = tables.values("table4")
    assert len(table4) == 24
    assert [cell for cell, value in table4.items() if value == 100] == [
        (row.format(name), name) for row in ("distorted for {}", "{} amplified to 0.1") for name in ("M1", "M2", "M3")
    ]


def test_rates_with_decimals_look_measured_on_256_images():
    """paper.md's observation, on which the chapter cross_model builds: 28 of 31 are multiples of 1/256 as rounded."""
    cells = [*tables.published("table2").to_numpy(), *tables.published("table4").to_numpy()]
    rates = [v for r, c, v in cells if "." in v and c != "distortion" and "noise" not in r]
    near = [any(f"{100 * k / 256:.{len(v.split('.')[1])}f}" == v for k in range(257)) for v in rates]
    assert sum(near) >= 0.85 * len(rates)


def test_table5_has_the_last_versions_upper_bounds_and_what_the_scan_kept_of_the_first():
    table5 = tables.values("table5")
    layers = [*(f"conv{i}" for i in range(1, 6)), *(f"FC{i}" for i in range(1, 4))]
    assert [table5[layer, "upper (v4)"] for layer in layers] == [2.75, 10, 7, 7.5, 11, 3.12, 4, 4]
    kept = [layer for layer in layers if layer not in ("conv4", "FC2")]
    assert [table5[layer, "upper (v1)"] for layer in kept] == [20, 10, 7, 11, 3.12, 4]
    assert [table5[layer, "lower (v1)"] for layer in kept] == [0.1, 0.06, 0.01, 0.03, 0.09, 0.25]
    assert len(table5) == 8 + 6 + 6


@pytest.mark.parametrize("path", sorted((REPOSITORY / "paper").glob("table*.csv")), ids=lambda path: path.stem)
def test_every_published_table_holds_each_cell_once_and_only_numbers(path):
    table = tables.published(path.stem)
    assert list(table.columns) == ["row", "column", "value"]
    assert not table.isna().any(axis=None)
    assert not table.duplicated(["row", "column"]).any()
    assert (table["value"].astype(float) >= 0).all()


def test_every_claim_says_where_it_stands_and_how_it_is_judged():
    claims = tables.published("claims")
    assert list(claims.columns) == ["id", "section", "kind", "claim", "criterion", "limit", "chapter"]
    assert set(claims["kind"]) == {"measurement", "mathematics"}
    assert not claims.isna().any(axis=None)
    assert claims["id"].is_unique
    assert all((REPOSITORY / "chapters" / f"{chapter}.py").exists() for chapter in claims["chapter"])


def test_a_table_that_is_not_published_is_an_error():
    with pytest.raises(FileNotFoundError, match="table77"):
        tables.published("table77")


def test_what_is_recorded_in_the_repository_can_be_read():
    for path in (REPOSITORY / "results").glob("*.csv"):
        if path.stem == "claims":
            assert set(claims.recorded_claims()["verdict"]) <= {
                "reproduced",
                "partly",
                "not reproduced",
                "contradicted",
            }
            continue
        table = tables.recorded(path.stem)
        assert not table.duplicated(["row", "column"]).any()
        assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


# --- What is recorded -----------------------------------------------------------------------------


def test_nothing_is_recorded_before_the_first_run(results):
    assert list(tables.recorded("table1").columns) == ["row", "column", "value", "low", "high", "n"]
    assert len(tables.recorded("table1")) == len(claims.recorded_claims()) == 0
    assert not results.exists()


def test_what_is_recorded_comes_back(results, published):
    cells = {("a", "length"): ONE, ("b", "error (%)"): intervals.percent(3, 256)}
    tables.record("table9", cells)
    back = cells_of(tables.recorded("table9"))
    assert back.keys() == cells.keys()
    for cell, estimate in cells.items():
        assert back[cell] == pytest.approx(estimate, rel=1e-5)
    assert tables.recorded("table9")["n"].dtype == int


def test_the_file_is_plain_to_read(results, published):
    tables.record("table9", {("b", "length"): Estimate(0.123456789, 0.1, 1 / 3, 200)})
    assert (results / "table9.csv").read_text() == "row,column,value,low,high,n\nb,length,0.123457,0.1,0.333333,200\n"


def test_cells_are_merged_and_replaced_and_stand_in_the_papers_order(results, published):
    tables.record("table9", {("ours", "length"): ONE, ("a", "error (%)"): ONE})
    tables.record("table9", {("b", "length"): ONE, ("another", "length"): ONE})
    tables.record("table9", {("a", "error (%)"): TWO, ("b", "error (%)"): THREE})
    assert list(cells_of(tables.recorded("table9")).items()) == [
        (("b", "error (%)"), THREE),
        (("b", "length"), ONE),
        (("a", "error (%)"), TWO),
        (("ours", "length"), ONE),
        (("another", "length"), ONE),
    ]


def test_the_last_digits_do_not_change_when_other_cells_are_recorded(results, published):
    tables.record("table9", {("b", "length"): Estimate(1 / 3, 1 / 7, 2 / 3, 7)})
    line = (results / "table9.csv").read_text().splitlines()[1]
    for n in range(3):
        tables.record("table9", {("a", "length"): Estimate(n, n, n, 1)})
    assert line in (results / "table9.csv").read_text().splitlines()


def test_a_table_of_our_own_keeps_the_order_it_came_in(results, published):
    tables.record("ours", {("z", "x, with a comma"): ONE, ("y", "x"): TWO})
    tables.record("ours", {("a", "x"): THREE})
    assert list(cells_of(tables.recorded("ours"))) == [("z", "x, with a comma"), ("y", "x"), ("a", "x")]


@pytest.mark.parametrize("label", ["1", "0.10", "1e-4", "true"])
def test_labels_are_words_even_where_they_look_like_something_else(results, published, label):
    for estimate in (ONE, TWO):
        tables.record("ours", {(label, label): estimate})
    assert cells_of(tables.recorded("ours")) == {(label, label): TWO}


def test_recording_nothing_changes_nothing(results, published):
    tables.record("table9", {("a", "length"): ONE})
    before = (results / "table9.csv").read_text()
    tables.record("table9", {})
    assert (results / "table9.csv").read_text() == before


@pytest.mark.faults
@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_a_write_that_fails_leaves_the_old_table(results, published, monkeypatch, step):
    tables.record("table9", {("a", "length"): ONE})

    def fail(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, fail)
        with pytest.raises(OSError, match="no space"):
            tables.record("table9", {("a", "length"): TWO})
    assert cells_of(tables.recorded("table9")) == {("a", "length"): ONE}
    tables.record("table9", {("a", "length"): TWO})  # and the lock is free
    assert cells_of(tables.recorded("table9")) == {("a", "length"): TWO}


RECORDER = """
import sys, time
from pathlib import Path
from lib.record import claims
from lib.record import markdown
from lib.record import tables
from lib.measures.intervals import Estimate
folder, me = Path(sys.argv[1]), sys.argv[2]
tables.RESULTS = folder / "results"
(folder / f"{me}.ready").touch()
while not (folder / "go").exists():
    time.sleep(0.01)
for i in range(10):
    tables.record("table1", {(me, str(i)): Estimate(i, i, i, 1)})
"""


def test_two_processes_that_record_at_once_lose_nothing(results, tmp_path):
    command = [sys.executable, "-W", "error", "-c", RECORDER, tmp_path]
    names = ("left", "right")
    processes = [subprocess.Popen([*command, name], cwd=REPOSITORY, stderr=subprocess.PIPE) for name in names]
    while any(process.poll() is None for process in processes) and len(list(tmp_path.glob("*.ready"))) < 2:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert set(cells_of(tables.recorded("table1"))) == {(name, str(i)) for name in names for i in range(10)}
    assert [path.name for path in results.iterdir() if path.suffix != ".lock"] == ["table1.csv"]


# --- Claims ---------------------------------------------------------------------------------------


def test_verdicts_stand_in_the_papers_order_and_the_last_one_counts(results, published):
    claims.record_claim("third", {"a": 3}, 'within 3 %, "nearly", and\nmore')
    claims.record_claim("first", {"a": -0.6}, "the opposite")
    claims.record_claim("third", {"a": 1}, "λ ≤ 1, at last")
    assert list(claims.recorded_claims().itertuples(index=False, name=None)) == [
        ("first", "not reproduced", "the opposite"),
        ("third", "reproduced", "λ ≤ 1, at last"),
    ]


@pytest.mark.parametrize(
    ("deviations", "verdict"),
    [
        ([0.5, -0.5, 0], "reproduced"),
        ([0.51, 0.1], "partly"),
        ([-0.51, 0.1], "partly"),
        ([0.6, 0.7, 0.1], "not reproduced"),
        ([0.6], "not reproduced"),
    ],
)
def test_the_verdict_counts_the_parts_within_the_limit(published, deviations, verdict):
    assert claims.judge("first", {str(i): d for i, d in enumerate(deviations)}) == verdict


def test_one_counterexample_contradicts_a_claim_of_mathematics(published):
    assert claims.judge("second", {"a": 1, "b": -2, "c": 11}) == "contradicted"
    assert claims.judge("second", {"a": 1, "b": -2, "c": 10}) == "reproduced"


def test_a_claim_without_parts_cannot_be_judged(published):
    with pytest.raises(ValueError, match="claim 'first' needs at least one part"):
        claims.judge("first", {})


def test_a_limit_is_the_claims(published):
    within = {"a": claims.limit("first")}
    assert claims.judge("first", within) == "reproduced"
    assert claims.judge("first", {"a": 1.001 * within["a"]}) != "reproduced"


def test_evidence_comes_back_as_it_was_written(results, published):
    evidence = 'success 100.000 %, "all", [0.1, 0.2],\nsecond line'
    claims.record_claim("second", {"a": 0}, evidence)
    assert claims.recorded_claims()["evidence"].tolist() == [evidence]


def test_a_claim_that_the_paper_does_not_make_is_refused(results, published):
    with pytest.raises(ValueError, match=r"claim 'fourth' .* lists first, second, third"):
        claims.record_claim("fourth", {"a": 0}, "")
    assert not results.exists()


# --- Side by side ---------------------------------------------------------------------------------


def test_compare_sets_three_columns_side_by_side(results, published):
    tables.record("table9", {("b", "error (%)"): Estimate(9.876, 9.1, 10.555, 100)})
    cells = {("a", "error (%)"): Estimate(7.0, 6.0, 8.0, 50), ("b", "length"): Estimate(0.12345, 0.1, 0.2, 50)}
    table = markdown.compare("table9", cells, ["error (%)", "length"])
    assert table.index.name == "network"
    assert table.index.tolist() == ["b", "a"]
    assert {column: table[column].tolist() for column in table.columns} == {
        ("error (%)", "Paper"): ["10", "7.40"],
        ("error (%)", "Recorded"): ["9.88<br>[9.10,\u00a010.55]", "–"],
        ("error (%)", "This build"): ["–", "7.00<br>[6.00,\u00a08.00]"],
        ("length", "Paper"): ["0.1", "–"],
        ("length", "Recorded"): ["–", "–"],
        ("length", "This build"): ["0.1235<br>[0.1000,\u00a00.2000]", "–"],
    }


def test_compare_adds_rows_of_ours_and_leaves_out_columns_not_asked_for(results, published):
    table = markdown.compare("table9", {("ours", "length"): ONE, ("a", "length"): TWO}, ["length"], index="layer")
    assert table.index.tolist() == ["b", "a", "ours"]
    assert table.index.name == "layer"
    assert list(table.columns) == [("length", name) for name in ("Paper", "Recorded", "This build")]
    unprinted = markdown.compare("table9", {("a", "time (s)"): TWO}, ["time (s)"])
    assert list(unprinted.columns) == [("time (s)", name) for name in ("Recorded", "This build")]


def test_compare_shows_recorded_rows_that_this_build_lacks(results, published):
    tables.record("ours", {("x", "length"): ONE})
    assert markdown.compare("ours", {("y", "length"): TWO}, ["length"]).index.tolist() == ["x", "y"]
    assert markdown.compare("ours", {("y", "other"): TWO}, ["other"]).index.tolist() == ["y"]
    table = markdown.compare("ours", {("y", "length"): TWO}, ["length"], rows=["y", "x"])
    assert table["length", "Recorded"].tolist() == ["–", "1.0000<br>[0.5000,\u00a01.5000]"]
    assert table["length", "This build"].tolist() == ["2.0000<br>[1.5000,\u00a02.5000]", "–"]


def test_an_interval_of_hardly_any_images_is_not_printed(results, published):
    """From two values Student's reaches below zero for lengths, and above one for probabilities."""
    table = markdown.compare("ours", {("x", "length"): Estimate(0.5, -2.7, 3.7, 2)}, ["length"])
    assert table.loc["x"].tolist() == ["–", "0.5000<br>(n = 2)"]


def test_recorded_estimates_come_back_whole(results, published):
    assert tables.recorded_estimates("ours") == {}
    tables.record("ours", {("x", "length"): ONE, ("y", "length"): TWO})
    assert tables.recorded_estimates("ours") == {("x", "length"): ONE, ("y", "length"): TWO}


def test_compare_without_a_published_table_has_no_column_for_it(results, published):
    tables.record("ours", {("x", "length"): ONE})
    table = markdown.compare("ours", {("x", "length"): TWO}, ["length"])
    assert list(table.columns) == [("length", "Recorded"), ("length", "This build")]
    assert table.loc["x"].tolist() == ["1.0000<br>[0.5000,\u00a01.5000]", "2.0000<br>[1.5000,\u00a02.5000]"]


def test_stacked_shows_the_papers_number_the_recorded_one_and_this_builds(results, published):
    tables.record("table9", {("b", "error (%)"): Estimate(9.876, 9.1, 10.555, 100), ("c", "distortion"): ONE})
    cells = {("a", "error (%)"): Estimate(7.0, 6.0, 8.0, 50), ("c", "distortion"): TWO}
    table = markdown.stacked("table9", cells, ["a", "b", "c"], ["error (%)", "distortion"], "made for")
    assert table.index.name == "made for"
    assert table["error (%)"].tolist() == [
        "**7.40**<br>–<br>7.0",
        "**10**<br>9.9<br>±0.8<br>–",
        "–<br>–<br>–",
    ]
    assert table.loc["c", "distortion"] == "–<br>1.000<br>±0.500<br>2.000"


def test_compare_shows_the_seeds_where_they_are_recorded(results, published):
    cells = {("b", "error (%)"): ONE}
    assert ("error (%)", "5 seeds") not in markdown.compare("table9", cells, ["error (%)"]).columns
    tables.record("spread_table9", {("b", "error (%)"): Estimate(9.0, 8.0, 11.0, 5)})
    seeds = markdown.compare("table9", cells, ["error (%)", "distortion"])
    assert seeds.loc["b", ("error (%)", "5 seeds")] == "9.00<br>[8.00,\u00a011.00]"
    assert ("distortion", "5 seeds") not in seeds.columns


def test_stacked_shows_the_range_over_seeds_where_it_is_recorded(results, published):
    tables.record("spread_table9", {("b", "error (%)"): Estimate(9.0, 8.0, 11.0, 5)})
    table = markdown.stacked("table9", {("b", "error (%)"): ONE}, ["b"], ["error (%)"], "made for")
    assert table["error (%)"].tolist() == ["**10**<br>–<br>9.0<br>8.0–<br>11.0<br>1.0"]


def test_two_lines_show_the_recorded_number_above_this_builds(results, published):
    tables.record("own", {("a", "x"): Estimate(0.012345, 0, 1, 5), ("b", "x"): Estimate(123456.0, 0, 1, 5)})
    now = {("a", "x"): Estimate(2.0, 1, 3, 5), ("c", "x"): Estimate(float("nan"), 0, 1, 5)}
    table = markdown.two_lines("own", now, ["a", "b", "c"], ["x"], "layer")
    assert table["x"].to_list() == ["0.0123<br>2", "1.23·10<sup>5</sup><br>–", "–<br>–"]
    assert table.index.name == "layer"


def test_a_grid_has_a_gap_where_there_is_no_cell():
    found = tables.grid({("a", "x"): 1.0, ("b", "y"): 2.0, ("c", "x"): 3.0}, ["a", "b"], ["x", "y"])
    np.testing.assert_array_equal(found, [[1, np.nan], [np.nan, 2]])


def test_values_are_the_printed_and_the_recorded_numbers(results, published):
    assert tables.values("table9") == {("b", "error (%)"): 10, ("b", "length"): 0.1, ("a", "error (%)"): 7.4}
    assert tables.recorded_values("table9") == {}
    tables.record("table9", {("b", "length"): ONE})
    assert tables.recorded_values("table9") == {("b", "length"): 1.0}


def test_the_recorded_benchmark_can_be_read():
    recorded = tables.benchmark()
    assert {"machine", "threads", "versions", "networks"} <= recorded.keys()
    assert all({"ours", "tight", "scipy"} <= figures["methods"].keys() for figures in recorded["networks"].values())


def test_measured_has_the_columns_of_recorded(results, published):
    cells = {("a", "length"): ONE, ("b", "length"): TWO}
    assert list(tables.measured(cells).columns) == list(tables.recorded("table9").columns)
    assert cells_of(tables.measured(cells)) == cells


def test_markdown_of_words():
    table = pd.DataFrame({"layers": ["784-10", "–"], "decay": [1, 2]}, index=pd.Index(["x", "y"], name="network"))
    assert markdown.to_markdown(table, "Two networks, $x$.", "tab-two", align="left") == (
        ":::{table} Two networks, $x$.\n"
        ":name: tab-two\n"
        "\n"
        "| network | layers | decay |\n"
        "| :-- | :-- | :-- |\n"
        "| x | 784-10 | 1 |\n"
        "| y | – | 2 |\n"
        ":::\n"
    )


def test_markdown_of_numbers_joins_two_levels_of_heads():
    columns = {("error (%)", "Paper"): ["7.4"], ("error (%)", "This build"): ["7.1"], ("success", ""): ["100 %"]}
    assert markdown.to_markdown(pd.DataFrame(columns, index=["x"]), "One.", "tab-one") == (
        ":::{table} One.\n"
        ":name: tab-one\n"
        "\n"
        "|  | error (%)<br>Paper | error (%)<br>This build | success |\n"
        "| :-- | --: | --: | --: |\n"
        "| x | 7.4 | 7.1 | 100 % |\n"
        ":::\n"
    )


def test_markdown_keeps_a_bar_inside_its_cell():
    table = pd.DataFrame({"minimises": ["c|r| + loss"]}, index=pd.Index(["x"], name="|"))
    assert r"| x | c\|r\| + loss |" in markdown.to_markdown(table, "One.", "tab-one").splitlines()
    assert r"| \| | minimises |" in markdown.to_markdown(table, "One.", "tab-one").splitlines()
