"""How each network of section 2 is made: its first weights, and what it is then trained by."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.networks import autoencoder, mnist, training
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.mnist import NetworkSpec
from lib.networks.training import DecayRule, MinibatchConfig, TrainingConfig, TrainResult


@dataclass(frozen=True)
class Recipe:
    """All that decides a trained network, but its training images.

    What a family of networks has no use for is None: a change of it then leaves the recipe what it was.
    """

    spec: NetworkSpec
    init: int  # seed of the first weights
    rule: DecayRule | None = None
    training: TrainingConfig | None = None
    autoencoder: AutoencoderConfig | None = None
    corruption: int | None = None  # seed of the noise on the autoencoder's inputs
    minibatches: MinibatchConfig | None = None
    batches: int | None = None  # seed of the minibatches' order and of dropout


@dataclass(frozen=True)
class Fitted:
    """What came of a recipe: the network's state, and how its training went (`pretraining`: the autoencoder's)."""

    state: dict[str, Tensor]
    result: TrainResult
    pretraining: TrainResult | None


def fit(recipe: Recipe, inputs: Tensor, labels: Tensor) -> Fitted:
    """The network of the recipe, trained on `inputs` (N, 784) in [0, 1] and `labels` (N,), where these lie.

    Raises TrainingError when a loss is not finite.

    Reference: section 2, and chapter `framework` for what it leaves open.
    """
    network = mnist.build(recipe.spec, torch.Generator().manual_seed(recipe.init)).to(inputs.device)
    pretraining = None
    if recipe.minibatches:
        result = training.fit_minibatches(network, inputs, labels, recipe.minibatches, recipe.batches)
    elif recipe.autoencoder:
        noise = torch.Generator().manual_seed(recipe.corruption)
        pretraining = autoencoder.fit_autoencoder(network, inputs, recipe.autoencoder, noise)
        code = network.encode(inputs)
        result = training.fit(network.classifier, code, labels, recipe.spec.decay, recipe.rule, recipe.training)
    else:
        result = training.fit(network, inputs, labels, recipe.spec.decay, recipe.rule, recipe.training)
    return Fitted(dict(network.state_dict()), result, pretraining)
