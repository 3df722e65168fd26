"""Every seed's tables have the paper's cells, and the spread is what it says."""

from dataclasses import replace

import pytest
import torch

from lib.experiments import digits
from lib.networks import mnist
from lib.networks.training import TrainingConfig
from lib.record import tables
from tools import spread

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small():
    """An experiment whose networks are hardly trained."""
    run = digits.begin("spread", "quick", "digits", "cpu", seed=1)
    profile = replace(run.profile, training=TrainingConfig(max_iterations=8))
    return replace(run, profile=profile, train=run.train.take(200))


@pytest.fixture(scope="module")
def tables(small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "TABLE1", ("softmax 1e-4", "softmax 1"))
        return spread.tables(small, num_images=20)


def test_tables_have_the_papers_cells(tables):
    networks = {"softmax 1e-4", "softmax 1"}
    for name in ("table1", "table2"):
        expected = {
            (row, column)
            for row, column in tables.values(name)
            if (row in networks or "noise" in row) and (column in networks or column not in mnist.TABLE1)
        }
        assert tables[name].keys() == expected
    assert tables["table3"].keys() == tables.values("table3").keys()
    assert tables.values("table4").keys() <= tables["table4"].keys()


def test_what_is_made_for_a_network_fools_it(tables):
    for name in ("softmax 1e-4", "softmax 1"):
        assert tables["table2"][name, name].value == 100
    for name in ("M1", "M2", "M3"):  # these are hardly trained, and give some classes to no image at all
        assert tables["table4"][f"distorted for {name}", name].value >= 80


def test_a_second_run_finds_everything_in_the_store(small, tables, monkeypatch):
    monkeypatch.setattr(mnist, "TABLE1", ("softmax 1e-4", "softmax 1"))
    monkeypatch.setattr(experiment.training, "fit", None)
    monkeypatch.setattr(experiment.attack, "find_adversarial", None)
    assert spread.tables(small, num_images=20) == tables


def test_spread_is_mean_least_largest_and_number():
    assert spread.spread([2.0, 1.0, 6.0]) == (3.0, 1.0, 6.0, 3)
