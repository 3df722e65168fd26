"""Examples of a pool lie where they should, train what is above them and nothing else, and budgets are kept."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.data import dataset, sources
from lib.networks import adversarial_training, mnist, training
from lib.networks.adversarial_training import (
    Goal,
    LayerwiseConfig,
    Pool,
    PoolsConfig,
    above,
    below,
    fit,
    make_examples,
)

torch.set_num_threads(1)

FEW = PoolsConfig(size=40, renewed=0.25, reach=1.0)
FAST = LayerwiseConfig(40, batch_size=20, learning_rate=1e-2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def untrained(seed: int = 0) -> nn.Sequential:
    return mnist.sigmoid_network((784, 12, 9, 10), generator(seed)).eval()


@pytest.fixture(scope="module")
def digits() -> dataset.Dataset:
    return sources.embedded().train.take(300)


def train(digits, config: LayerwiseConfig, seed: int = 0) -> tuple[nn.Sequential, adversarial_training.FittedLayerwise]:
    network, judged = untrained(), digits.take(100)
    fitted = fit(network, digits.inputs, digits.labels, (judged.inputs, judged.labels), config, seed)
    network.load_state_dict(fitted.state)
    return network, fitted


@pytest.fixture(scope="module")
def trained(digits) -> nn.Sequential:
    return train(digits, FAST)[0]


# --- The two parts of a network -------------------------------------------------------------------


@pytest.mark.parametrize("layer", range(3))
def test_below_and_above_are_the_network(layer, digits):
    network = untrained()
    values = below(network, layer)(digits.inputs)
    assert values.shape[1] == (784, 12, 9)[layer]
    assert ((values >= 0) & (values <= 1)).all()
    torch.testing.assert_close(above(network, layer)(values), network(digits.inputs))


# --- Examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", Goal)
@pytest.mark.parametrize("layer", range(3))
def test_an_example_lies_in_the_layers_box_and_fools_what_is_above(trained, digits, layer, goal):
    x, labels = digits.inputs[:60], digits.labels[:60]
    examples, spent = make_examples(trained, layer, x, labels, replace(FEW, goal=goal), generator())
    assert ((examples >= 0) & (examples <= 1)).all()
    values = below(trained, layer)(x)
    right = above(trained, layer)(values).argmax(dim=1) == labels
    assert right.float().mean() > 0.9
    fooled = above(trained, layer)(examples).argmax(dim=1) != labels
    assert fooled[right].float().mean() > 0.9  # the attack on a pool is a rough one
    assert spent >= 60 * (10 if goal is Goal.NEAREST else 1)


def test_the_nearest_class_is_nearer_than_a_random_one(trained, digits):
    x, labels = digits.inputs[:60], digits.labels[:60]
    near, random = (
        (make_examples(trained, 1, x, labels, replace(FEW, goal=goal), generator())[0] - below(trained, 1)(x)).norm(
            dim=1
        )
        for goal in (Goal.NEAREST, Goal.RANDOM)
    )
    assert near.mean() < 0.8 * random.mean()


def test_half_the_reach_is_half_the_way(trained, digits):
    x, labels = digits.inputs[:20], digits.labels[:20]
    whole, half = (
        make_examples(trained, 1, x, labels, replace(FEW, reach=reach), generator())[0] for reach in (1, 0.5)
    )
    values = below(trained, 1)(x)
    torch.testing.assert_close(half, values + (whole - values) / 2)


# --- Pools ----------------------------------------------------------------------------------------


def test_renewing_replaces_as_many_as_it_says_and_leaves_the_rest(trained, digits):
    pool = Pool(1, torch.full((40, 12), 2.0), torch.full((40,), -1))
    spent = pool.renew(trained, digits.inputs, digits.labels, 15, FEW, generator())
    new = pool.labels >= 0
    assert new.sum() == 15
    assert (pool.examples[~new] == 2).all()
    assert (pool.examples[new] <= 1).all()
    assert spent >= 15 * 10


@pytest.mark.parametrize("layer", range(3))
def test_a_pool_trains_the_layers_above_it_and_nothing_else(trained, digits, layer):
    values = below(trained, layer)(digits.inputs[:5]).detach()
    lesson = Pool(layer, values, digits.labels[:5]).lesson(trained, (1e-3, 1e-3, 1e-3))
    trained.requires_grad_().zero_grad()
    loss = F.cross_entropy(lesson.learner(lesson.examples), lesson.labels)
    (loss + training.weight_decay(lesson.learner, lesson.decay, training.DecayRule.HALF)).backward()
    moved = [linear.weight.grad is not None for linear in trained if isinstance(linear, nn.Linear)]
    assert moved == [number >= layer for number in range(3)]


# --- Training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        LayerwiseConfig(8),
        LayerwiseConfig(8, dropout=(0.2, 0.5, 0.5)),
        LayerwiseConfig(30, pools=FEW),
        LayerwiseConfig(30, pools=replace(FEW, layers=(2,))),
    ],
)
def test_the_budget_is_spent_and_hardly_exceeded(digits, config):
    _, fitted = train(digits, config)
    spent = fitted.curve.spent
    epoch = 1 + (len(config.pools.layers) * config.pools.size / len(digits) if config.pools else 0)
    most = spent.diff().max() if len(spent) > 1 else epoch
    assert config.budget <= spent[-1] <= config.budget + most
    assert (spent.diff() >= epoch * (1 - 1e-6)).all()
    assert len(fitted.curve.loss) == len(fitted.curve.error) == len(spent)


def test_the_curve_ends_with_the_networks_own_error(digits):
    network, fitted = train(digits, FAST)
    judged = digits.take(100)
    assert fitted.curve.error[-1] == pytest.approx(training.error_rate(network, judged.inputs, judged.labels))
    assert fitted.curve.error[-1] < 0.2


def test_the_network_that_is_given_stays_as_it_is(digits):
    network = untrained().requires_grad_(False)
    before = network[0].weight.clone()
    judged = digits.inputs, digits.labels
    fitted = fit(network, *judged, judged, LayerwiseConfig(2), 0)
    assert torch.equal(network[0].weight, before)
    assert not torch.allclose(fitted.state["0.weight"], before)


def test_the_same_seed_trains_the_same_network_and_another_one_another(digits):
    config = LayerwiseConfig(12, dropout=(0.1, 0.2, 0.2), pools=FEW)
    first, same, other = (train(digits, config, seed)[1].state["0.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)


def test_nobody_elses_random_numbers_change(digits):
    network, images = untrained(), (digits.inputs, digits.labels)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(network, *images, images, LayerwiseConfig(2, dropout=(0.2, 0.5, 0.5)), 0)
    assert torch.equal(torch.rand(3), expected)


def test_without_pools_and_dropout_it_is_minibatch_training_with_decay(digits):
    """One batch of all images, one step: Adam's first step is the sign of the gradient, times the learning rate."""
    network = untrained()
    loss = F.cross_entropy(network(digits.inputs), digits.labels)
    loss = loss + sum(1e-2 / 2 * layer.weight.square().sum() for layer in network if isinstance(layer, nn.Linear))
    loss.backward()
    gradient, before = network[0].weight.grad.clone(), network[0].weight.detach().clone()
    config = LayerwiseConfig(1, decay=(1e-2,) * 3, batch_size=len(digits))
    after = train(digits, config)[0][0].weight.detach()
    told = gradient.abs() > 1e-5  # beyond Adam's epsilon
    torch.testing.assert_close((before - after)[told], 1e-3 * gradient.sign()[told], rtol=1e-2, atol=0)


def test_dropout_leaves_the_network_itself_without(digits):
    network, _ = train(digits, LayerwiseConfig(3, dropout=(0.2, 0.5, 0.5)))
    assert not network.training
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())


def test_rates_that_are_not_one_for_each_layer_are_refused(digits):
    with pytest.raises(ValueError, match="shorter"):
        train(digits, LayerwiseConfig(1, dropout=(0.5, 0.5)))


def test_a_loss_that_is_not_finite_is_said(digits):
    with pytest.raises(training.TrainingError, match="in epoch 1"):
        train(digits, LayerwiseConfig(2, learning_rate=torch.inf))
