"""lib/measures/certified.py: a network's certificates are lib.measures.certificates', and what a trial says of them."""

import math

import pytest
import torch

from lib.attacks.penalized import AttackResult
from lib.experiments.seeds import generator
from lib.measures import certificates, certified
from lib.measures.certificates import PAIRS, PRODUCT
from lib.measures.certified import Certified, Trial
from lib.measures.effects import exactly
from lib.networks import mnist
from lib.store.calls import Store

INPUTS = torch.rand(6, 784, generator=generator(1))
TARGETS = torch.arange(6)


def network(name: str):
    return mnist.build(mnist.SPECS[name], generator(0)).requires_grad_(False)


def trial(distances: list[float], lengths: list[float]) -> Trial:
    values = torch.tensor(distances, dtype=torch.float64)
    constants = {PRODUCT: torch.tensor([[0.0, 4.0], [4.0, 0.0]]), PAIRS: torch.tensor([[0.0, 3.0], [3.0, 0.0]])}
    known = Certified(constants, {PRODUCT: values}, margin=4 * values, slope=torch.full_like(values, 2.0))
    return Trial(known, torch.tensor(lengths, dtype=torch.float64))


@pytest.mark.parametrize("name", ["softmax 1e-4", "100-100-10"])
def test_what_is_certified_is_what_certificates_say(name):
    found = certified.certify(network(name), INPUTS, TARGETS, num_enclosed=3)
    layers = certificates.as_layers(network(name))
    constants = certificates.lipschitz_constants(layers, INPUTS[:1].double())
    distances = certificates.certify(layers, constants, INPUTS, TARGETS, num_enclosed=3)
    for kept, expected in ((found.constants, constants), (found.distances, distances)):
        assert list(kept) == list(expected)
        for kind, values in expected.items():
            torch.testing.assert_close(kept[kind], values, equal_nan=True)
    margin, slope = certificates.linear_estimate(layers, INPUTS, TARGETS)
    torch.testing.assert_close(found.linear_estimate, margin / slope)


def test_it_is_computed_once_for_a_network_its_images_and_targets(tmp_path):
    store, softmax = Store(tmp_path), network("softmax 1")
    for targets in (TARGETS, TARGETS, TARGETS.flip(0)):
        kept = store.call(certified.certify, softmax, INPUTS, targets, 3)
    assert store.num_made == 2
    again = certified.certify(softmax, INPUTS, TARGETS.flip(0), 3)
    torch.testing.assert_close(kept.distances[PAIRS], again.distances[PAIRS])


def test_the_first_images_keep_the_constants():
    found = certified.certify(network("100-100-10"), INPUTS, TARGETS, num_enclosed=3).first(2)
    assert {len(values) for values in found.distances.values()} == {2}
    assert len(found.linear_estimate) == 2
    assert found.constants[PRODUCT].shape == (10, 10)


def test_an_attack_that_failed_has_reached_nothing():
    adversarial = INPUTS[:2].clone()
    adversarial[0, :2] += torch.tensor([3.0, 4.0])
    rest = torch.zeros(2)
    success = torch.tensor([True, False])
    result = AttackResult(adversarial, rest, success, rest, rest, success)
    assert certified.reached(result, INPUTS[:2]).tolist() == pytest.approx([5, math.inf])


def test_orders_are_mean_logarithms_of_what_an_attack_needs_over_what_is_certified():
    """An image that has its target already, and one that was not reached, say nothing."""
    orders = certified.orders({"a": trial([1, 0.1, 0, 1], [10, 10, 0, math.inf])})
    assert orders["a", PRODUCT].value == pytest.approx(1.5)
    assert orders["a", PRODUCT].n == 2
    assert orders["a", certified.ESTIMATE].value == pytest.approx(1.5 - math.log10(2))
    assert list(orders) == [("a", PRODUCT), ("a", certified.ESTIMATE)]


def test_a_certificate_beyond_an_attack_is_refuted():
    honest, refuted = trial([1, 2], [10, 10]), trial([1, 11], [10, 10])
    shares = certified.shares({"a": honest, "b": refuted}, " of the tight attack")
    assert shares["a", f"{PRODUCT}, largest share of the tight attack"].value == pytest.approx(0.2)
    assert shares["b", f"{PRODUCT}, largest share of the tight attack"].value > 1


def test_what_is_covered_is_a_ratio_of_means():
    assert certified.covered({"a": trial([1, 3], [4, 12])}, PRODUCT) == {("a", certified.COVERED): exactly(25.0, 2)}


def test_the_lead_needed_is_the_bound_times_the_length():
    cells = certified.steepness({"a": trial([1, 3], [10, 20])})
    assert cells["a", PRODUCT] == exactly(4.0, 2)
    assert cells["a", certified.SHARPEST] == exactly(3.0, 2)
    assert cells["a", certified.STEEPEST] == exactly(2.0, 2)
    assert cells["a", certified.LEAD].value == pytest.approx(8)
    assert cells["a", certified.NEEDED].value == pytest.approx(60)


def test_distortions_are_root_mean_squares():
    assert trial([28.0], [56.0]).distortions[certified.ATTACK].tolist() == [2.0]


def test_a_sentence_counts_every_certificate_that_stood_trial():
    cells = certified.shares({"a": trial([1, 2], [10, 10])}) | {("a", PRODUCT): exactly(7.0, 2)}
    assert certified.tried(cells) == (2, pytest.approx(0.2))
    num, closest = certified.tried({})
    assert num == 0
    assert math.isnan(closest)


def test_ranges_and_counts_of_what_is_missing_are_unknown():
    told = {("a", PRODUCT): 4.0, ("b", PRODUCT): 8.0, ("a", certified.STEEPEST): 1.0, ("b", certified.STEEPEST): 1.0}
    assert certified.range_of(told, ["a", "b"], PRODUCT) == (4, 8)
    assert all(math.isnan(end) for end in certified.range_of(told, ["a", "c"], PRODUCT))
    assert certified.real_part(told, ["a", "b"]) == 25
    assert math.isnan(certified.real_part(told, ["a", "c"]))
    assert certified.num_images({("a", PRODUCT): exactly(4.0, 9)}, ["a", "b"], PRODUCT) == 9
    assert math.isnan(certified.num_images({}, ["a"], PRODUCT))
