"""What is left of the networks in bytes answers as they do, and what it costs is counted."""

import json

import pytest
import torch

from lib.experiments import digits, live
from lib.measures.intervals import percent
from lib.store.calls import Store

torch.set_num_threads(1)

NAMES = ("softmax 1e-2", "AE400-10")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = digits.begin("framework", "quick", "digits", "cpu", seed=0)
    vars(run)["store"] = Store(tmp_path_factory.mktemp("store"))
    return run


@pytest.fixture(scope="module")
def trained(run):
    return {name: run.trained(name) for name in NAMES}


def test_what_is_kept_answers_as_the_networks_do(run, trained):
    found = live.networks(live.packed(trained))
    assert list(found) == list(NAMES)
    for name, network in found.items():
        same = network(run.test.inputs).argmax(dim=1) == trained[name].network(run.test.inputs).argmax(dim=1)
        assert same.double().mean() > 0.98


def test_the_loss_is_the_difference_of_two_counts(run, trained):
    cells = live.lost(trained, live.networks(live.packed(trained)), run)
    for name in NAMES:
        whole = run.errors(trained[name])[live.ERROR].value
        assert cells[name, live.ERROR].value == pytest.approx(whole + cells[name, live.LOSS].value)
        assert cells[name, live.ERROR] == percent(
            round(cells[name, live.ERROR].value * len(run.test) / 100), len(run.test)
        )


def test_a_megabyte_is_enough(trained):
    assert len(live.packed(trained)) < 10**6
    assert set(json.loads(live.packed(trained))) == set(NAMES)
