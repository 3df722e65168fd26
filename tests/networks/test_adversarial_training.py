"""Examples of a pool lie where they should, train what is above them and nothing else, and budgets are kept."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.data import dataset, sources
from lib.networks import adversarial_training, mnist, training
from lib.networks.adversarial_training import (
    Direction,
    LayerwiseConfig,
    Pool,
    PoolsConfig,
    above,
    below,
    fit,
    make_examples,
    share_above,
)

torch.set_num_threads(1)

FEW = PoolsConfig(size=0.15, renewed=0.25)
ATTACKED = replace(FEW, direction=Direction.NEAREST, lengths=None)
FAST = LayerwiseConfig(40, batch_size=20)


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


def test_the_layers_above_hold_their_share_of_the_weights():
    weights = [784 * 12, 12 * 9, 9 * 10]
    assert [share_above(untrained(), layer) * sum(weights) for layer in range(3)] == pytest.approx(
        [sum(weights), 12 * 9 + 9 * 10, 9 * 10]
    )


# --- Examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [Direction.NEAREST, Direction.RANDOM])
@pytest.mark.parametrize("layer", range(3))
def test_what_the_attack_makes_lies_in_the_layers_box_and_fools_what_is_above(trained, digits, layer, direction):
    x, labels = digits.inputs[:60], digits.labels[:60]
    examples, spent = make_examples(trained, layer, x, labels, replace(ATTACKED, direction=direction), generator())
    assert ((examples >= 0) & (examples <= 1)).all()
    values = below(trained, layer)(x)
    right = above(trained, layer)(values).argmax(dim=1) == labels
    assert right.float().mean() > 0.9
    fooled = above(trained, layer)(examples).argmax(dim=1) != labels
    assert fooled[right].float().mean() > 0.9  # the attack on a pool is a rough one
    assert spent >= 60 * (10 if direction is Direction.NEAREST else 1)


def test_the_nearest_class_is_nearer_than_a_random_one(trained, digits):
    x, labels = digits.inputs[:60], digits.labels[:60]
    near, random = (
        (
            make_examples(trained, 1, x, labels, replace(ATTACKED, direction=direction), generator())[0]
            - below(trained, 1)(x)
        ).norm(dim=1)
        for direction in (Direction.NEAREST, Direction.RANDOM)
    )
    assert near.mean() < 0.8 * random.mean()


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("layer", range(3))
def test_a_perturbation_is_as_long_as_it_is_asked_to_be_but_for_the_box(trained, digits, layer, direction):
    x, labels = digits.inputs[:20], digits.labels[:20]
    config = replace(FEW, direction=direction, lengths=(0.3, 0.02, 0.01))
    examples, _ = make_examples(trained, layer, x, labels, config, generator())
    values = below(trained, layer)(x)
    length = (examples - values).norm(dim=1)
    assert (length <= config.lengths[layer] * (1 + 1e-4)).all()
    moved = length > 0  # the attack leaves alone what is wrong already
    inside = ((examples > 0) & (examples < 1)).all(dim=1) & moved
    asked = torch.full_like(length, config.lengths[layer])
    torch.testing.assert_close(length[inside], asked[inside], rtol=1e-3, atol=0)
    assert inside.any() or layer == 0


@pytest.mark.parametrize("layer", range(3))
def test_a_short_step_makes_the_loss_grow_by_the_gradients_length_times_its_own(trained, digits, layer):
    x, labels = digits.inputs[:30], digits.labels[:30]
    trained, length = copy.deepcopy(trained).double(), 1e-4
    values = below(trained, layer)(x.double()).clamp(1e-3, 1 - 1e-3).requires_grad_()
    rest = above(trained, layer)
    loss = F.cross_entropy(rest(values), labels, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    identity = nn.Sequential(*[nn.Identity()] * (2 * layer), *rest)  # so that the values are the images
    examples, spent = make_examples(
        identity, layer, values.detach(), labels, replace(FEW, lengths=(length,) * 3), generator()
    )
    grown = F.cross_entropy(rest(examples), labels, reduction="none") - loss
    torch.testing.assert_close(grown, length * gradient.norm(dim=1), rtol=1e-2, atol=1e-9)
    assert spent == 30


# --- Pools ----------------------------------------------------------------------------------------


def test_renewing_replaces_as_many_as_it_says_and_leaves_the_rest(trained, digits):
    pool = Pool(1, torch.full((40, 12), 2.0), torch.full((40,), -1))
    spent = pool.renew(trained, digits.inputs, digits.labels, 15, ATTACKED, generator())
    new = pool.labels >= 0
    assert new.sum() == 15
    assert (pool.examples[~new] == 2).all()
    assert (pool.examples[new] <= 1).all()
    assert spent >= 15 * 10


@pytest.mark.parametrize("layer", range(3))
def test_a_pool_trains_the_layers_above_it_and_nothing_else(trained, digits, layer):
    values = below(trained, layer)(digits.inputs[:5]).detach()
    lesson = Pool(layer, values, digits.labels[:5]).lesson(trained)
    trained.requires_grad_().zero_grad()
    F.cross_entropy(lesson.learner(lesson.examples), lesson.labels).backward()
    moved = [linear.weight.grad is not None for linear in trained if isinstance(linear, nn.Linear)]
    assert moved == [number >= layer for number in range(3)]


# --- Training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        LayerwiseConfig(8),
        LayerwiseConfig(8, dropout=(0.2, 0.5, 0.5)),
        LayerwiseConfig(12, pools=FEW),
        LayerwiseConfig(12, pools=replace(FEW, layers=(2,))),
        LayerwiseConfig(30, pools=ATTACKED),
    ],
)
def test_the_budget_is_spent_and_hardly_exceeded(digits, config):
    _, fitted = train(digits, config)
    spent, pools = fitted.curve.spent, config.pools
    shares = [share_above(untrained(), layer) for layer in pools.layers] if pools else []
    # A step is one gradient for each new example, and the pool is gone through; an attack takes more.
    epoch = 1 + sum(pools.size * (1 + pools.renewed) * share for share in shares) if pools else 1
    if not pools or pools.direction is Direction.STEP:
        torch.testing.assert_close(spent, epoch * torch.arange(1.0, len(spent) + 1), rtol=1e-2, atol=0)
    assert (spent.diff() >= epoch * 0.99).all()
    assert config.budget <= spent[-1] <= config.budget + max(spent.diff().tolist(), default=spent[-1])
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
    torch.testing.assert_close((before - after)[told], 1e-2 * gradient.sign()[told], rtol=1e-2, atol=0)


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
