"""A small network with kinks: what attacks find is never nearer than the nearest, and is counted against it."""

import pytest
import torch
from torch import nn

from lib.experiments import digits, kinks
from lib.experiments.kinks import ATTACK, TIGHT, Compared
from lib.networks import training
from lib.store.calls import Store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = digits.begin("how_near", "quick", "digits", "cpu", seed=0)
    vars(run)["store"] = Store(tmp_path_factory.mktemp("store"))
    return run


@pytest.fixture(scope="module")
def network(run):
    return run.fitted(kinks.recipe(run.seeds), run.train).network


def test_it_learns_the_digits_and_comes_out_of_the_store_as_it_was(run, network):
    assert [type(part) for part in network] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert training.error_rate(network, run.test.inputs, run.test.labels) < 0.25
    again = run.fitted(kinks.recipe(run.seeds), run.train).network
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_no_attack_comes_nearer_than_the_nearest(run, network):
    found = kinks.compare(network, run.attacked, run.targets(run.attacked), 2, 200, run.store)
    assert len(found.nearest) == 2
    assert (found.nearest <= (1 + 1e-6) * found.tight).all()
    assert (found.tight <= found.attack).all()


def test_the_table_counts_who_is_within_a_thousandth_and_how_much_longer_the_mean_is():
    nearest = torch.tensor([1.0, 2.0])
    compared = Compared(torch.tensor([1.1, 2.2]), torch.tensor([1.0005, 2.2]), nearest, torch.tensor([True, False]))
    cells = kinks.cells(compared)
    assert cells[ATTACK, "excess (%)"].value == pytest.approx(10)
    assert cells[ATTACK, "at the nearest (%)"].value == 0
    assert cells[TIGHT, "excess (%)"].value == pytest.approx(100 * (3.2005 / 3 - 1), rel=1e-4)
    assert cells[TIGHT, "at the nearest (%)"].value == 50
    assert cells[kinks.NEAREST, "known (%)"].value == 50
    assert {estimate.n for estimate in cells.values()} == {2}
