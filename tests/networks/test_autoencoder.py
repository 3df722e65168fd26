"""The autoencoder's loss is made of the parts that it says, and only the encoder is trained."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lib.data import dataset, sources
from lib.networks import mnist
from lib.networks.autoencoder import AutoencoderConfig, Decoder, autoencoder_loss, fit_autoencoder

pytestmark = pytest.mark.numerical


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, seed: int = 0) -> nn.Module:
    return mnist.build(mnist.SPECS[name], generator(seed))


def state(network: nn.Module) -> torch.Tensor:
    """All weights as one vector, copied."""
    return torch.cat([value.flatten() for value in network.state_dict().values()])


@pytest.fixture(scope="module")
def digits() -> dataset.Dataset:
    return sources.embedded().train.take(200)


@pytest.fixture
def autoencoder():
    return mnist.AutoencoderClassifier((7, 4, 3), generator(1)).double()


@pytest.fixture
def patterns():
    return torch.rand(30, 7, generator=generator(2), dtype=torch.float64)


def loss_of(network, inputs, noisy=None, **settings) -> torch.Tensor:
    config = AutoencoderConfig(**({"sparsity_weight": 0.0, "contraction": 0.0} | settings))
    decoder = Decoder(network.encoder, config.tied)
    return autoencoder_loss(network, decoder, inputs if noisy is None else noisy, inputs, config)


def term(network, inputs, **weights) -> float:
    """What one regulariser adds to the loss."""
    return (loss_of(network, inputs, **weights) - loss_of(network, inputs)).item()


def reconstruction(network, noisy) -> np.ndarray:
    """With tied weights and no mean image."""
    weight, bias = network.encoder.weight.detach().numpy(), network.encoder.bias.detach().numpy()
    return 1 / (1 + np.exp(-(noisy.numpy() @ weight.T + bias))) @ weight


def test_squared_error_by_hand(autoencoder, patterns):
    """Of the clean inputs, from the noisy ones."""
    noisy = patterns + 0.1
    expected = np.mean(np.sum((reconstruction(autoencoder, noisy) - patterns.numpy()) ** 2, axis=1)) / 2
    assert loss_of(autoencoder, patterns, noisy).item() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_by_hand(autoencoder, patterns):
    x, p = patterns.numpy(), 1 / (1 + np.exp(-reconstruction(autoencoder, patterns)))
    expected = -np.mean(np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=1))
    assert loss_of(autoencoder, patterns, sigmoid_output=True).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("tied", [True, False])
def test_decay_counts_encoder_and_decoder(autoencoder, patterns, tied):
    expected = 0.3 * autoencoder.encoder.weight.square().sum().item()  # the untied decoder starts as a copy
    assert term(autoencoder, patterns, decay=0.3, tied=tied) == pytest.approx(expected, rel=1e-10)


def test_a_tied_decoder_is_the_encoders_weight_and_an_untied_one_a_copy(autoencoder):
    tied, untied = (Decoder(autoencoder.encoder, tied) for tied in (True, False))
    assert tied.weight is autoencoder.encoder.weight
    assert untied.weight is not autoencoder.encoder.weight
    assert torch.equal(untied.weight, tied.weight)
    code = torch.rand(5, 4, dtype=torch.float64)
    untied.mean_image.data.fill_(2.0)
    torch.testing.assert_close(untied(code), tied(code) + 2)


def test_the_gradient_of_tied_weights_has_both_parts(autoencoder, patterns):
    """That through the code, and that through the decoder: together those of untied weights."""
    (both,) = torch.autograd.grad(loss_of(autoencoder, patterns), autoencoder.encoder.weight)
    decoder = Decoder(autoencoder.encoder, tied=False)
    config = AutoencoderConfig(sparsity_weight=0.0, contraction=0.0)
    loss = autoencoder_loss(autoencoder, decoder, patterns, patterns, config)
    parts = torch.autograd.grad(loss, [autoencoder.encoder.weight, decoder.weight])
    assert all(part.abs().max() > 1e-3 for part in parts)
    torch.testing.assert_close(both, sum(parts))


def test_contraction_is_the_mean_squared_norm_of_the_jacobian(autoencoder, patterns):
    jacobians = torch.func.vmap(torch.func.jacrev(autoencoder.encode))(patterns)
    assert jacobians.shape == (30, 4, 7)
    expected = jacobians.square().sum(dim=(1, 2)).mean().item()
    assert term(autoencoder, patterns, contraction=1.0) == pytest.approx(expected, rel=1e-10)
    assert term(autoencoder, patterns, contraction=2.5) == pytest.approx(2.5 * expected, rel=1e-10)


def test_divergence_is_zero_exactly_where_the_mean_activation_is_the_target(autoencoder, patterns):
    config = {"sparsity": 0.06, "sparsity_weight": 1.0}
    with torch.no_grad():
        autoencoder.encoder.weight.zero_()
        autoencoder.encoder.bias.fill_(math.log(0.06 / 0.94))
    assert term(autoencoder, patterns, **config) == pytest.approx(0, abs=1e-12)
    for shift in (-0.5, 0.5):
        with torch.no_grad():
            autoencoder.encoder.bias[2] = math.log(0.06 / 0.94) + shift
        assert term(autoencoder, patterns, **config) > 1e-3


def test_divergence_by_hand(autoencoder, patterns):
    activation = autoencoder.encode(patterns).mean(dim=0).detach().numpy()
    expected = np.sum(0.2 * np.log(0.2 / activation) + 0.8 * np.log(0.8 / (1 - activation)))
    found = term(autoencoder, patterns, sparsity=0.2, sparsity_weight=3.0)
    assert found == pytest.approx(3 * expected, rel=1e-10)


@pytest.mark.parametrize("settings", [{}, {"tied": False, "decay": 0.01}, {"sigmoid_output": True}])
def test_fit_autoencoder_lowers_the_loss_and_freezes_all_but_the_classifier(digits, settings):
    network, config = build("AE400-10"), AutoencoderConfig(max_iterations=4, num_images=100, **settings)
    classifier = state(network.classifier)
    inputs = digits.inputs.clone()
    inputs[100:] = torch.nan  # more than num_images are never looked at
    few = inputs[:100]
    before = autoencoder_loss(network, Decoder(network.encoder, config.tied), few, few, config).item()
    result = fit_autoencoder(network, inputs, config, generator(2))
    assert result.losses[0] == pytest.approx(before, rel=1e-6)
    assert result.losses[-1] < 0.9 * before
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {"classifier.weight", "classifier.bias"}
    assert torch.equal(state(network.classifier), classifier)


def test_noise_is_drawn_once_from_its_generator(digits):
    config = AutoencoderConfig(max_iterations=3, num_images=50, noise=0.4)
    found = []
    for seed in (2, 2, 3):
        network = build("AE400-10")
        result = fit_autoencoder(network, digits.inputs, config, generator(seed))
        assert result.losses == sorted(result.losses, reverse=True)  # one and the same loss throughout
        found.append(state(network))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
