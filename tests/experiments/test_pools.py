"""Every way of training gets the same budget, every seed its own network, and means are over seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.experiments import digits, pools
from lib.experiments.pools import ALL, DECAY, DROPOUT, ERROR, Comparison
from lib.networks.adversarial_training import Curve, PoolsConfig
from lib.record import claims
from lib.store.calls import Store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = digits.begin("adversarial_training", "quick", "digits", "cpu", seed=0)
    scale = replace(run.profile.pools, budget=6, pools=PoolsConfig(size=0.15), num_asked=12)
    return replace(
        run,
        train=run.train.take(200),
        test=run.test.take(50),
        profile=replace(run.profile, pools=scale),
        store=Store(tmp_path_factory.mktemp("store")),
    )


@pytest.fixture(scope="module")
def compared(run) -> Comparison:
    configs = pools.ways(run.profile.pools)
    some = {name: configs[name] for name in (DECAY, ALL)}
    return Comparison.of(run.train, run.test, some, 2, run.store)


def test_the_claims_ways_of_training_are_the_ones_compared(run):
    assert set(pools.ways(run.profile.pools)) == set(claims.WAYS)


def test_all_get_the_same_budget_and_decay_and_differ_in_what_they_are_called_by(run):
    ways = pools.ways(run.profile.pools)
    assert {config.budget for config in ways.values()} == {6}
    assert len({config.decay for config in ways.values()}) == 1
    assert {name: config.pools.layers for name, config in ways.items() if config.pools} == {
        "pool: input": (0,),
        "pool: hidden 1": (1,),
        "pool: hidden 2": (2,),
        ALL: (0, 1, 2),
    }
    assert [name for name, config in ways.items() if config.dropout] == [DROPOUT]


def test_a_variant_is_all_pools_with_something_changed(run):
    usual = pools.ways(run.profile.pools)[ALL]
    variants = pools.variants(run.profile.pools)
    assert len(variants) >= 6
    assert usual not in variants.values()
    assert {config.budget for config in variants.values()} == {6}
    assert all(config.pools.layers == (0, 1, 2) for config in variants.values())


def test_seeds_give_networks_of_their_own_and_the_same_again(run, compared):
    first, second = (one.network[0].weight for one in compared.trained[ALL])
    assert not torch.allclose(first, second)
    num_made = run.store.num_made
    again = pools.train(run.train, run.test, pools.ways(run.profile.pools)[ALL], 1, run.store)
    assert run.store.num_made == num_made
    assert torch.equal(again.network[0].weight, second)


def test_an_error_is_the_mean_over_seeds(run, compared):
    ends = [100 * float(one.curve.error[-1]) for one in compared.trained[DECAY]]
    estimate = compared.errors[DECAY, ERROR]
    assert estimate.value == pytest.approx(np.mean(ends))
    assert estimate.n == 2
    for one in compared.trained[DECAY]:
        wrong = one.network(run.test.inputs).argmax(dim=1) != run.test.labels
        assert float(one.curve.error[-1]) == pytest.approx(float(wrong.double().mean()))


def test_a_curve_ends_at_the_error_and_is_drawn_against_the_budget(compared):
    cells = compared.curves()
    assert cells[ALL, "at 100%"].value == pytest.approx(compared.errors[ALL, ERROR].value)
    shares, errors = pools.lines({cell: e.value for cell, e in cells.items()})[ALL]
    assert shares == pytest.approx(np.arange(1, pools.NUM_POINTS + 1) / pools.NUM_POINTS)
    assert len(errors) == pools.NUM_POINTS


def test_between_two_epochs_a_curve_is_straight():
    curve = Curve(torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3), torch.tensor([0.5, 0.3, 0.1]))
    assert pools.at(curve, np.array([0.375, 1.0])) == pytest.approx([40, 10])


def test_what_is_asked_of_the_networks_is_what_is_told(run, compared):
    foreign = run.test.inputs[:12]  # undisturbed: what they err on is then their own error
    cells = compared.hardness(run.targets(run.test.take(12)), foreign)
    for name, each in compared.trained.items():
        own = [
            100 * float((one.network(foreign).argmax(dim=1) != run.test.labels[:12]).double().mean()) for one in each
        ]
        assert cells[name, pools.FOREIGN].value == pytest.approx(np.mean(own))
        assert 0 < cells[name, pools.CERTIFIED].value < cells[name, pools.DISTORTION].value
