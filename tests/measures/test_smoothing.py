"""Votes under noise: exact binomial bounds, and for a half-space the radius that it has."""

import pytest
import scipy.stats
import torch

from lib.measures import smoothing
from tests.networks_made import TwoSided

NUM_VALUES, STDDEV = 50, 0.3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def plane():
    """A linear network of two classes, inputs, the classes that it gives them, and their distances from its plane."""
    network, inputs = TwoSided(NUM_VALUES).eval(), torch.rand(12, NUM_VALUES, generator=generator(2))
    lead = (inputs - 0.5) @ network.weight
    return network, inputs, network(inputs).argmax(dim=1), (lead / network.weight.norm()).abs()


def test_votes_are_one_for_each_draw_and_those_of_a_half_space_are_binomial(plane, monkeypatch):
    network, inputs, labels, distance = plane
    monkeypatch.setattr(smoothing, "AT_ONCE", 300)  # the last batch is a smaller one
    found = smoothing.votes(network, inputs, STDDEV, 2000, generator())
    assert found.sum(dim=1).tolist() == [2000] * len(inputs)
    share = torch.special.ndtr(distance / STDDEV)
    spread = (share * (1 - share) / 2000).sqrt()
    assert ((found.gather(1, labels[:, None])[:, 0] / 2000 - share).abs() <= 4.5 * spread).all()


@pytest.mark.parametrize("num", [10, 1000])
def test_so_many_hits_are_as_unlikely_as_stated_where_the_share_is_the_least(num):
    """The definition of Clopper and Pearson's bound: P(X >= hits) = alpha for X binomial with that share."""
    hits = torch.tensor([0, 1, num // 2, num - 1, num])
    least = smoothing.least_share(hits, num)
    assert least[0] == 0
    tail = scipy.stats.binom.sf(hits[1:].numpy() - 1, num, least[1:].numpy())
    assert tail == pytest.approx([smoothing.ALPHA] * 4, rel=1e-6)
    assert float(least[-1]) == pytest.approx(smoothing.ALPHA ** (1 / num))


def test_from_the_true_share_the_radius_of_a_half_space_is_the_distance_of_its_plane(plane):
    distance = plane[3].double()
    share = torch.special.ndtr(distance / STDDEV)
    torch.testing.assert_close(smoothing.radius(share, STDDEV), distance)
    assert smoothing.radius(torch.tensor([0.0, 0.3, 0.5]), STDDEV).tolist() == [0, 0, 0]


def test_a_certified_radius_of_a_half_space_is_a_little_less_than_the_distance(plane):
    network, inputs, labels, distance = plane
    found = smoothing.certified_radius(network, inputs, labels, STDDEV, 4000, generator())
    assert (found <= distance).all()
    near = (distance > 0.3 * STDDEV) & (distance < 2 * STDDEV)
    assert near.any()
    assert (found[near] > 0.6 * distance[near]).all()


def test_nothing_is_certified_for_another_label_than_the_majoritys(plane):
    network, inputs, labels, _ = plane
    assert (smoothing.certified_radius(network, inputs, 1 - labels, STDDEV, 200, generator()) == 0).all()


def test_a_majority_is_surely_lost_beyond_the_plane_and_kept_within_the_radius(plane):
    network, inputs, labels, distance = plane
    radius = smoothing.certified_radius(network, inputs, labels, STDDEV, 1000, generator(1))
    outwards = -network.weight / network.weight.norm() * (2 * labels[:, None] - 1)
    for length, lost in ((radius.float(), False), (distance + STDDEV, True)):
        moved = inputs + length[:, None] * outwards
        assert (smoothing.surely_lost(network, moved, labels, STDDEV, 1000, generator(3)) == lost).all()
