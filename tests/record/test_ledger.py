"""The published numbers are the paper's; recorded ones are merged, ordered and never half-written."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from lib.measures import intervals
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.record import claims, ledger
from tests.faults import no_file_larger_than

REPOSITORY = Path(__file__).parents[2]

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
def published(tmp_path, monkeypatch) -> Path:
    """A paper of our own: two rows, two columns, and three claims."""
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "table9.csv").write_text("row,column,value\nb,error (%),10\nb,length,0.1\na,error (%),7.40\n")
    (folder / "claims.csv").write_text(
        "id,kind,claim,limit\nfirst,measurement,One,0.5\nsecond,mathematics,Two,10\nthird,measurement,Three,1\n"
    )
    monkeypatch.setattr(ledger, "PUBLISHED", folder)
    return folder


# --- What the paper says --------------------------------------------------------------------------


def test_table1_is_the_papers_digit_by_digit():
    table = ledger.published("table1")
    assert list(table.columns) == ["row", "column", "value"]
    expected = [(row, *pair) for row, values in TABLE1.items() for pair in zip(COLUMNS, values, strict=True)]
    assert list(table.itertuples(index=False, name=None)) == expected


def test_rows_are_named_as_the_networks_are():
    assert tuple(dict.fromkeys(ledger.published("table1")["row"])) == mnist.TABLE1


def test_columns_are_named_alike_everywhere():
    """What experiment.errors and the chapters record must meet the paper's labels, or it would stand beside them."""
    assert set(ledger.published("table1")["column"]) == set(COLUMNS)


def test_tables_2_to_4_have_every_cell():
    noise = ["Gaussian noise, stddev 0.1", "Gaussian noise, stddev 0.3"]
    table2 = ledger.printed("table2")
    assert list(table2) == [(r, c) for r in [*mnist.TABLE1, *noise] for c in [*mnist.TABLE1, "distortion"]]
    assert all(table2[name, name] == 100 for name in mnist.TABLE1)
    assert {name: table2[name, "distortion"] for name in mnist.TABLE1} == {
        name: value for (name, column), value in ledger.printed("table1").items() if column == "distortion"
    }
    assert len(ledger.printed("table3")) == 12
    table4 = ledger.printed("table4")
    assert len(table4) == 24
    assert [cell for cell, value in table4.items() if value == 100] == [
        (row.format(name), name) for row in ("distorted for {}", "{} amplified to 0.1") for name in ("M1", "M2", "M3")
    ]


def test_rates_with_decimals_look_measured_on_256_images():
    """paper.md's observation, on which the chapter cross_model builds: 28 of 31 are multiples of 1/256 as rounded."""
    cells = [*ledger.published("table2").to_numpy(), *ledger.published("table4").to_numpy()]
    rates = [v for r, c, v in cells if "." in v and c != "distortion" and "noise" not in r]
    near = [any(f"{100 * k / 256:.{len(v.split('.')[1])}f}" == v for k in range(257)) for v in rates]
    assert sum(near) >= 0.85 * len(rates)


def test_table5_has_the_last_versions_upper_bounds_and_what_the_scan_kept_of_the_first():
    table5 = ledger.printed("table5")
    layers = [*(f"conv{i}" for i in range(1, 6)), *(f"FC{i}" for i in range(1, 4))]
    assert [table5[layer, "upper (v4)"] for layer in layers] == [2.75, 10, 7, 7.5, 11, 3.12, 4, 4]
    kept = [layer for layer in layers if layer not in ("conv4", "FC2")]
    assert [table5[layer, "upper (v1)"] for layer in kept] == [20, 10, 7, 11, 3.12, 4]
    assert [table5[layer, "lower (v1)"] for layer in kept] == [0.1, 0.06, 0.01, 0.03, 0.09, 0.25]
    assert len(table5) == 8 + 6 + 6


@pytest.mark.parametrize("path", sorted((REPOSITORY / "paper").glob("table*.csv")), ids=lambda path: path.stem)
def test_every_published_table_holds_each_cell_once_and_only_numbers(path):
    table = ledger.published(path.stem)
    assert list(table.columns) == ["row", "column", "value"]
    assert not table.isna().any(axis=None)
    assert not table.duplicated(["row", "column"]).any()
    assert (table["value"].astype(float) >= 0).all()


def test_every_claim_says_where_it_stands_and_how_it_is_judged():
    listed = ledger.published("claims")
    former = ["former criterion", "former verdict", "changed", "reason"]
    assert list(listed.columns) == ["id", "section", "kind", "claim", "criterion", "limit", "chapter", *former]
    assert set(listed["kind"]) == {"measurement", "mathematics"}
    assert not listed.drop(columns=former).isna().any(axis=None)
    assert all(line.isna().all() or line.notna().all() for _, line in listed[former].iterrows())
    assert listed["id"].is_unique
    assert all((REPOSITORY / "chapters" / f"{chapter}.py").exists() for chapter in listed["chapter"])


def test_a_table_that_is_not_published_is_an_error():
    with pytest.raises(FileNotFoundError, match="table77"):
        ledger.published("table77")


def test_what_is_recorded_in_the_repository_can_be_read():
    assert set(pd.read_csv(REPOSITORY / "results" / "claims.csv")["verdict"]) <= set(claims.WORDS)
    for cells in ledger.everything_recorded().values():
        assert cells
        assert all(low <= value <= high for value, low, high, _ in cells.values())


def test_the_recorded_benchmark_can_be_read():
    recorded = ledger.benchmark()
    assert {"machine", "threads", "versions", "networks"} <= recorded.keys()
    assert all({"ours", "tight", "scipy"} <= figures["methods"].keys() for figures in recorded["networks"].values())


def test_a_number_that_was_lost_is_not_printed():
    assert ("conv4", "upper (v1)") not in ledger.digits("table5")
    assert ledger.digits("no such table") == {}


# --- What is recorded -----------------------------------------------------------------------------


def test_nothing_is_recorded_before_the_first_run(results):
    assert ledger.recorded("table1") == ledger.read("run.json") == ledger.everything_recorded() == {}
    assert not results.exists()


def test_what_is_recorded_comes_back(results, published):
    cells = {("a", "length"): ONE, ("b", "error (%)"): intervals.percent(3, 256)}
    ledger.record("table9", cells)
    back = ledger.recorded("table9")
    assert back.keys() == cells.keys()
    for cell, estimate in cells.items():
        assert back[cell] == pytest.approx(estimate, rel=1e-5)
    assert ledger.everything_recorded() == {"table9": back}


def test_the_file_is_plain_to_read(results, published):
    ledger.record("table9", {("b", "length"): Estimate(0.123456789, 0.1, 1 / 3, 200)})
    assert (results / "table9.csv").read_text() == "row,column,value,low,high,n\nb,length,0.123457,0.1,0.333333,200\n"


def test_cells_are_merged_and_replaced_and_stand_in_the_papers_order(results, published):
    ledger.record("table9", {("ours", "length"): ONE, ("a", "error (%)"): ONE})
    ledger.record("table9", {("b", "length"): ONE, ("another", "length"): ONE})
    ledger.record("table9", {("a", "error (%)"): TWO, ("b", "error (%)"): THREE})
    assert list(ledger.recorded("table9").items()) == [
        (("b", "error (%)"), THREE),
        (("b", "length"), ONE),
        (("a", "error (%)"), TWO),
        (("ours", "length"), ONE),
        (("another", "length"), ONE),
    ]


def test_the_last_digits_do_not_change_when_other_cells_are_recorded(results, published):
    ledger.record("table9", {("b", "length"): Estimate(1 / 3, 1 / 7, 2 / 3, 7)})
    line = (results / "table9.csv").read_text().splitlines()[1]
    for n in range(3):
        ledger.record("table9", {("a", "length"): Estimate(n, n, n, 1)})
    assert line in (results / "table9.csv").read_text().splitlines()


def test_a_table_of_our_own_keeps_the_order_it_came_in(results, published):
    ledger.record("ours", {("z", "x, with a comma"): ONE, ("y", "x"): TWO})
    ledger.record("ours", {("a", "x"): THREE})
    assert list(ledger.recorded("ours")) == [("z", "x, with a comma"), ("y", "x"), ("a", "x")]


@pytest.mark.parametrize("label", ["1", "0.10", "1e-4", "true"])
def test_labels_are_words_even_where_they_look_like_something_else(results, published, label):
    for estimate in (ONE, TWO):
        ledger.record("ours", {(label, label): estimate})
    assert ledger.recorded("ours") == {(label, label): TWO}


def test_recording_nothing_changes_nothing(results, published):
    ledger.record("table9", {("a", "length"): ONE})
    before = (results / "table9.csv").read_text()
    ledger.record("table9", {})
    assert (results / "table9.csv").read_text() == before


@pytest.mark.faults
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_table(results, published, monkeypatch, step):
    ledger.record("table9", {("a", "length"): ONE})

    def fail(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="no space"):
            ledger.record("table9", {("a", "length"): TWO})
    assert ledger.recorded("table9") == {("a", "length"): ONE}
    ledger.record("table9", {("a", "length"): TWO})  # and the lock is free
    assert ledger.recorded("table9") == {("a", "length"): TWO}


RECORDER = """
import sys, time
from pathlib import Path
from lib.record import ledger
from lib.measures.intervals import Estimate
folder, me = Path(sys.argv[1]), sys.argv[2]
ledger.RESULTS = folder / "results"
(folder / f"{me}.ready").touch()
while not (folder / "go").exists():
    time.sleep(0.01)
for i in range(10):
    ledger.record("table1", {(me, str(i)): Estimate(i, i, i, 1)})
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
    assert set(ledger.recorded("table1")) == {(name, str(i)) for name in names for i in range(10)}
    assert [path.name for path in results.iterdir() if path.suffix != ".lock"] == ["table1.csv"]


def test_entries_of_a_json_file_are_replaced_one_by_one(results):
    ledger.update("run.json", "units", {"seconds": 1})
    ledger.update("run.json", "framework", {"seconds": 2})
    ledger.update("run.json", "units", {"seconds": 3})
    assert list(ledger.read("run.json").items()) == [("framework", {"seconds": 2}), ("units", {"seconds": 3})]


def test_files_of_other_columns_are_no_tables(results):
    ledger.record("ours", {("a", "x"): ONE})
    ledger.write("seeds.csv", "table,row,column,seed,value\ntable1,a,x,0,1\n")
    ledger.write("claims.csv", "id,verdict,evidence,luck\n")
    assert list(ledger.everything_recorded()) == ["ours"]


DAMAGES = {
    "cut off": lambda text: text[:-3],
    "a letter for a digit": lambda text: text.replace("0.5", "0.x"),
    "a letter in the head": lambda text: text.replace("value", "valve"),
    "another digit": lambda text: text.replace("1,0.5", "9,0.5"),
    "no text": lambda text: "\x00" + text,
    "empty": lambda text: "",
    "columns in another order": lambda text: text.replace("row,column", "column,row"),
    "a cell twice": lambda text: text + text.splitlines(keepends=True)[1],
    "what a merge leaves": lambda text: text + "=======\n",
    "infinite": lambda text: text.replace("1,0.5", "inf,0.5"),
    "no images": lambda text: text.replace(",10\n", ",0\n"),
    "a field too few": lambda text: text.replace(",10\n", "\n"),
    "a field too many": lambda text: text.replace(",10\n", ",10,10\n"),
    "decimal commas": lambda text: text.replace("0.5", "0,5"),
    "semicolons": lambda text: text.replace(",", ";"),
    "not in UTF-8": lambda text: text.replace("length", "L\xe4nge"),
}


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_table_is_named(results, published, damage):
    ledger.record("table9", {("a", "length"): ONE})
    path = results / "table9.csv"
    path.write_text(damage(path.read_text()), encoding="latin-1")
    with pytest.raises(ValueError, match=r"table9\.csv is not what a run has written .*git checkout"):
        ledger.recorded("table9")


@pytest.mark.faults
def test_a_spreadsheets_mark_of_utf_8_and_columns_in_another_order_lose_no_table(results):
    """A verdict would say that nothing is recorded."""
    ledger.record("table9", {("a", "length"): ONE})
    path = results / "table9.csv"
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    assert ledger.everything_recorded() == {"table9": {("a", "length"): ONE}}
    path.write_text(text.replace("row,column", "column,row"))
    with pytest.raises(ValueError, match=r"table9\.csv is not what a run has written"):
        ledger.everything_recorded()


SEEDS = "table,row,column,seed,value\ntable1,a,x,0,1.5\ntable1,a,x,1,2.5\n"


@pytest.mark.faults
@pytest.mark.parametrize(
    "text",
    [
        SEEDS[:-3],
        SEEDS + "table1,a,x,1,2.5\n",
        SEEDS + "table1,a,x,2,\n",
        SEEDS + "table1,a,x,half,2.5\n",
        SEEDS + "table1,a,x,0.5,2.5\n",
        SEEDS + "=======\n",
        SEEDS.replace(",", ";"),
        "\x00" + SEEDS,
        "",
    ],
)
def test_damaged_seeds_are_named_and_make_no_spread(results, text):
    ledger.write("seeds.csv", SEEDS)
    assert ledger.seeds()["value"].tolist() == [1.5, 2.5]
    ledger.write("seeds.csv", text)
    with pytest.raises(ValueError, match=r"seeds\.csv is not what a run has written .*git checkout"):
        ledger.seeds()


@pytest.mark.faults
def test_a_damaged_json_file_is_named(results):
    ledger.update("run.json", "one", {"commit": "abc"})
    path = results / "run.json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r"run\.json is not what a run has written"):
        ledger.read("run.json")


@pytest.mark.faults
def test_a_full_disk_leaves_the_table_as_it_was(results, published):
    ledger.record("table9", {("a", "length"): ONE})
    with no_file_larger_than(20), pytest.raises(OSError, match=r"File too large.*table9\.csv"):
        ledger.record("table9", {("a", "length"): TWO})
    assert ledger.recorded("table9") == {("a", "length"): ONE}
