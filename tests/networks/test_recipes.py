"""A recipe is what training gives: the same weights as by hand, step by step, and what it leaves out plays no part."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lib.data import sources
from lib.data.dataset import Dataset
from lib.networks import autoencoder, mnist, recipes, training
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.recipes import Fitted, Recipe
from lib.networks.training import DecayRule, MinibatchConfig, TrainingConfig, TrainingError

pytestmark = pytest.mark.numerical

LIMITS = TrainingConfig(max_iterations=4)
SIGMOID = Recipe(mnist.SPECS["100-100-10"], init=1, rule=DecayRule.HALF, training=LIMITS)
CODE = Recipe(
    mnist.SPECS["AE400-10"],
    init=2,
    rule=DecayRule.HALF,
    training=LIMITS,
    autoencoder=AutoencoderConfig(max_iterations=2, num_images=50, noise=0.2),
    corruption=3,
)
CONV = Recipe(mnist.SPECS["Conv"], init=4, minibatches=MinibatchConfig(num_epochs=1), batches=5)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(found: Fitted, state: dict[str, Tensor]) -> bool:
    return found.state.keys() == state.keys() and all(torch.equal(found.state[name], state[name]) for name in state)


@pytest.fixture(scope="module")
def images() -> Dataset:
    return sources.embedded().train.take(100)


def fit(recipe: Recipe, images: Dataset) -> Fitted:
    return recipes.fit(recipe, images.inputs, images.labels)


def test_a_sigmoid_network_is_fitted_from_its_first_weights(images):
    network = mnist.build(SIGMOID.spec, generator(1))
    by_hand = training.fit(network, images.inputs, images.labels, SIGMOID.spec.decay, DecayRule.HALF, LIMITS)
    found = fit(SIGMOID, images)
    assert same(found, network.state_dict())
    assert found.result.losses == by_hand.losses
    assert found.pretraining is None


def test_of_an_autoencoder_the_code_comes_first_and_the_classifier_is_fitted_on_it(images):
    network = mnist.build(CODE.spec, generator(2))
    first = autoencoder.fit_autoencoder(network, images.inputs, CODE.autoencoder, generator(3))
    code = network.encode(images.inputs)
    then = training.fit(network.classifier, code, images.labels, CODE.spec.decay, DecayRule.HALF, LIMITS)
    found = fit(CODE, images)
    assert same(found, network.state_dict())
    assert found.pretraining.losses == first.losses
    assert found.result.losses == then.losses


def test_conv_is_trained_in_minibatches(images):
    network = mnist.build(CONV.spec, generator(4))
    by_hand = training.fit_minibatches(network, images.inputs, images.labels, CONV.minibatches, 5)
    found = fit(CONV, images)
    assert same(found, network.state_dict())
    assert found.result.losses == by_hand.losses
    assert found.pretraining is None


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        (SIGMOID, {"init": 9}),
        (SIGMOID, {"rule": DecayRule.FULL}),
        (SIGMOID, {"training": TrainingConfig(max_iterations=3)}),
        (CODE, {"corruption": 9}),
        (CONV, {"batches": 9}),
    ],
)
def test_whatever_a_recipe_says_counts(images, recipe, change):
    assert not same(fit(replace(recipe, **change), images), fit(recipe, images).state)


def test_the_global_generator_decides_nothing(images):
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        found = [fit(recipe, images) for recipe in (SIGMOID, CODE, CONV)]
        torch.manual_seed(8)
        assert all(
            same(fit(recipe, images), one.state) for recipe, one in zip((SIGMOID, CODE, CONV), found, strict=True)
        )


def test_a_loss_that_is_not_finite_is_an_error(images):
    with pytest.raises(TrainingError):
        recipes.fit(SIGMOID, torch.full((100, 784), torch.nan), images.labels)
