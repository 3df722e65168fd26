"""A search over c that ends too early: how long its perturbations are, and how many it finds."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.attacks import penalized
from lib.attacks.penalized import AttackConfig
from lib.experiments import searches
from lib.experiments.searches import Attacked
from lib.store.calls import Store
from tests.networks_made import smooth

CONFIG, SHARES = AttackConfig(), torch.linspace(0, 0.9, 12)


@pytest.fixture(scope="module")
def attacked() -> Attacked:
    """Twelve images of a smooth network of 20 pixels; the first has its target already."""
    network, inputs = smooth(12)
    shift = torch.tensor([0] + [1] * 11)
    targets = (network(inputs).argmax(dim=1) + shift) % 4
    return Attacked(network, inputs, targets, penalized.find_adversarial(network, inputs, targets))


def test_a_search_that_ends_at_the_largest_price_ends_where_the_attack_does(attacked, tmp_path):
    lengths = searches.stopped_early(attacked, 10, torch.full((12,), 1e-4), CONFIG, Store(tmp_path))
    found = lengths.isfinite()
    assert found.sum() > 6
    torch.testing.assert_close(lengths[found], attacked.result.distortion[found], rtol=0.05, atol=1e-6)


def test_the_earlier_a_search_ends_the_longer_is_what_it_finds(attacked, tmp_path):
    """At 0.7 and at 0.2 times the largest price."""
    once = torch.ones(12)
    near, far = (searches.stopped_early(attacked, q, once, CONFIG, Store(tmp_path)) for q in (1 / 0.7, 5))
    assert (near[1:] > attacked.result.distortion[1:]).all()
    assert (far[1:] > near[1:]).all()


def test_what_has_its_target_needs_no_search_and_no_length(attacked, tmp_path):
    assert attacked.result.c[0].isnan()
    assert searches.stopped_early(attacked, 10, SHARES, CONFIG, Store(tmp_path))[0] == 0


def test_a_search_that_fails_has_no_length_and_does_not_count(attacked, tmp_path):
    """Where the price is too high nothing moves; where no minimiser ever succeeded there is no price."""
    c = attacked.result.c.clone()
    c[1:3], c[3] = 1e6, torch.nan
    hopeless = replace(attacked, result=replace(attacked.result, c=c))
    lengths = searches.stopped_early(hopeless, 2, SHARES, CONFIG, Store(tmp_path))
    assert lengths.isfinite().tolist() == [True] + 3 * [False] + 8 * [True]
    cells = searches.coarse(hopeless, {"by 2": 2}, SHARES, CONFIG, Store(tmp_path))
    assert cells["by 2"].n == 9
    assert cells["by 2"].value == pytest.approx(lengths[lengths.isfinite()].mean().item(), rel=1e-5)
    alone = searches.coarse(hopeless, {"by 2": 2}, SHARES[:4], CONFIG, Store(tmp_path))
    assert alone == {}  # one image has no interval


def test_coarse_searches_are_of_the_first_images_and_lengthen_with_the_factor(attacked, tmp_path):
    factors = {"by 1.5": 1.5, "by 4": 4, "by 10": 10}
    cells = searches.coarse(attacked, factors, SHARES[1:9] + 0.1, CONFIG, Store(tmp_path))
    assert list(cells) == list(factors)
    assert {estimate.n for estimate in cells.values()} == {8}
    means = [estimate.value for estimate in cells.values()]
    assert means == sorted(means)


def test_for_a_linear_network_the_length_follows_from_the_price(tmp_path):
    """r goes straight: at the minimiser the lead has slope (1 - p) = c / |w|, so a lower price means a longer r."""
    weight = torch.tensor([[4.0, 8.0, -4.0, 2.0]])
    network = nn.Linear(4, 2)
    network.weight, network.bias = nn.Parameter(torch.cat([-weight, weight])), nn.Parameter(torch.zeros(2))
    network.eval().requires_grad_(False)
    inputs, targets = torch.tensor([[0.3, 0.4, 0.7, 0.5]]), torch.tensor([0])
    found = penalized.find_adversarial(network, inputs, targets)
    attacked = Attacked(network, inputs, targets, found)
    length = searches.stopped_early(attacked, 3, torch.ones(1), CONFIG, Store(tmp_path))
    slope = 2 * weight.norm()
    lead = torch.logit(1 - found.c / 3 / slope)
    before = -2 * (weight @ inputs[0])
    torch.testing.assert_close(length, (lead - before) / slope / 2, rtol=0.02, atol=3e-5)


def test_a_search_is_kept_and_another_price_is_another_search(attacked, tmp_path):
    store = Store(tmp_path)
    first, again = (searches.stopped_early(attacked, 10, SHARES, CONFIG, store) for _ in range(2))
    torch.testing.assert_close(again, first, rtol=0, atol=0, equal_nan=True)
    assert store.num_made == 1
    searches.stopped_early(attacked, 100, SHARES, CONFIG, store)
    assert store.num_made == 2
