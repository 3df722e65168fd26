"""Every seed's tables have the paper's cells, and the spread is what it says."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from lib.experiments import digits
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.networks.training import TrainingConfig
from lib.record import ledger
from lib.store.calls import Store
from tools import spread

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An experiment whose networks are hardly trained."""
    run = digits.begin("spread", "quick", "digits", "cpu", seed=1)
    profile = replace(run.profile, training=TrainingConfig(max_iterations=8), num_attacked=20)
    return replace(
        run,
        store=Store(tmp_path_factory.mktemp("store")),
        profile=profile,
        train=run.train.take(200),
        test=run.test.take(20),
    )


@pytest.fixture(scope="module")
def found(small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "TABLE1", ("softmax 1e-4", "softmax 1"))
        return spread.tables(small)


def test_tables_have_the_papers_cells(found):
    networks = {"softmax 1e-4", "softmax 1"}
    for name in ("table1", "table2"):
        expected = {
            (row, column)
            for row, column in ledger.printed(name)
            if (row in networks or "noise" in row) and (column in networks or column not in mnist.TABLE1)
        }
        assert found[name].keys() == expected
    assert found["table3"].keys() == ledger.printed("table3").keys()
    assert ledger.printed("table4").keys() <= found["table4"].keys()


def test_what_is_made_for_a_network_fools_it(found):
    for name in ("softmax 1e-4", "softmax 1"):
        assert found["table2"][name, name].value == 100
    for name in ("M1", "M2", "M3"):  # these are hardly trained, and give some classes to no image at all
        assert found["table4"][f"distorted for {name}", name].value >= 80


def test_a_second_run_finds_everything_in_the_store(small, found):
    num_made = small.store.num_made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "TABLE1", ("softmax 1e-4", "softmax 1"))
        assert spread.tables(small) == found
    assert small.store.num_made == num_made > 0


def test_spread_is_mean_least_largest_and_number():
    assert spread.spread([2.0, 1.0, 6.0]) == (3.0, 1.0, 6.0, 3)


def test_the_spread_is_of_every_cell_over_the_seeds(found):
    other = {
        table: {cell: e._replace(value=e.value + 1) for cell, e in cells.items()} for table, cells in found.items()
    }
    values = spread.by_table({0: found, 1: other})
    spreads = spread.spreads(values)
    assert spreads.keys() == found.keys()
    for table, cells in found.items():
        assert list(spreads[table]) == list(cells)
        for cell, estimate in cells.items():
            mean, low, high, n = spreads[table][cell]
            assert (mean, low, high, n) == pytest.approx((estimate.value + 0.5, estimate.value, estimate.value + 1, 2))


# --- Written down, seed by seed -------------------------------------------------------------------


def some(seed: int, value: float) -> pd.DataFrame:
    return spread.by_table({seed: {"table1": {("softmax 1", "distortion"): Estimate(value, 0.0, 0.0, 5)}}})


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    return tmp_path


def test_seeds_that_are_measured_one_after_another_make_one_spread(results):
    for seed, value in ((2, 5.0), (0, 1.0), (4, 3.0), (1, 2.0)):
        spread.record(some(seed, value), {"commit": "abc"}, 1.0)
        assert ledger.recorded("spread_table1") == {}  # of some seeds a range says too little
    spread.record(some(3, 4.0), {"commit": "abc"}, 1.0)
    assert ledger.recorded("spread_table1") == {("softmax 1", "distortion"): (3.0, 1.0, 5.0, 5)}
    assert ledger.seeds()["seed"].tolist() == [0, 1, 2, 3, 4]
    assert set(ledger.read("run.json")) == {f"spread, seed {seed}" for seed in range(5)}


def test_a_seed_that_is_measured_again_counts_once(results):
    for value in (1.0, 2.0):
        everything = spread.record(some(0, value), {"commit": "abc"}, 1.0)
    assert everything["value"].tolist() == [2.0]


def test_seeds_of_two_commits_are_not_mixed(results):
    spread.record(some(0, 1.0), {"commit": "abc"}, 1.0)
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    with pytest.raises(ValueError, match=r"seed 0 at abc; this one is abd.*check that commit out"):
        spread.record(some(1, 2.0), {"commit": "abd"}, 1.0)
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before
    spread.record(some(0, 2.0), {"commit": "abd"}, 1.0)  # which replaces all that was measured before
    assert ledger.read("run.json")["spread, seed 0"]["commit"] == "abd"


def test_seeds_that_nobody_says_the_commit_of_are_not_added_to(results):
    ledger.record_seeds(some(3, 1.0))
    with pytest.raises(ValueError, match="seed 3 at unknown"):
        spread.check_commit([0], "abc")
    spread.check_commit([3], "abc")
