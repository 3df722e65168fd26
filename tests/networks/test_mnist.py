"""The networks are the paper's, return logits, and are functions that can be written down."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.signal
import torch
from torch import nn

from lib.networks import mnist
from lib.networks.mnist import SPECS, NetworkSpec, build

torch.set_num_threads(1)

# Section 2 and Table 1: layer sizes, and the weight decay of each layer that is trained with labels.
PAPER = {
    "softmax 1e-4": ((784, 10), (1e-4,)),
    "softmax 1e-2": ((784, 10), (1e-2,)),
    "softmax 1": ((784, 10), (1,)),
    "100-100-10": ((784, 100, 100, 10), (1e-5, 1e-5, 1e-6)),
    "200-200-10": ((784, 200, 200, 10), (1e-5, 1e-5, 1e-6)),
    "AE400-10": ((784, 400, 10), (1e-6,)),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def weights(layer) -> tuple[np.ndarray, np.ndarray]:
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def with_biases(network: nn.Module) -> nn.Module:
    """Biases start at zero; nothing may hide there."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, generator=generator(7))
    return network


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    return torch.rand(6, 784, generator=generator(1), dtype=torch.float64)


@pytest.fixture(scope="module", params=SPECS)
def network(request):
    return build(SPECS[request.param], generator()).double()


# --- The paper's ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAPER)
def test_sizes_and_decay_are_the_papers(name):
    spec = SPECS[name]
    assert spec.name == name
    assert (spec.sizes, spec.decay) == PAPER[name]


def test_table1_has_the_papers_networks_in_its_order():
    assert list(mnist.TABLE1) == list(PAPER)


def test_table3_has_a_network_of_another_architecture_with_the_same_decay():
    assert SPECS["123-456-10"].sizes == (784, 123, 456, 10)
    assert SPECS["123-456-10"].decay == SPECS["100-100-10"].decay


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.family == "sigmoid"])
def test_a_networks_layers_have_its_specs_sizes(name):
    spec = SPECS[name]
    layers = [m for m in build(spec, generator()).modules() if isinstance(m, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == list(pairwise(spec.sizes))
    assert len(layers) == len(spec.decay)


# --- What they compute ----------------------------------------------------------------------------


def test_logits_of_ten_classes_in_evaluation_mode(network, inputs):
    assert not any(module.training for module in network.modules())
    logits = network(inputs)
    assert logits.shape == (6, 10)
    assert torch.isfinite(logits).all()
    assert (logits < 0).any()  # so they are not probabilities
    torch.testing.assert_close(network(inputs[2:3]), logits[2:3])


@pytest.mark.parametrize("name", mnist.TABLE1[:3])
def test_the_softmax_classifier_is_affine(name, inputs):
    network = with_biases(build(SPECS[name], generator()).double())
    weight, bias = weights(network[0])
    np.testing.assert_allclose(network(inputs).detach().numpy(), inputs.numpy() @ weight.T + bias, rtol=0, atol=1e-12)
    x, y = inputs[:3], inputs[3:]
    torch.testing.assert_close(network(3 * x - 2 * y), 3 * network(x) - 2 * network(y))


@pytest.mark.parametrize("name", ["100-100-10", "123-456-10"])
def test_the_sigmoid_network_by_its_formula(name, inputs):
    network = with_biases(build(SPECS[name], generator()).double())
    (w1, b1), (w2, b2), (w3, b3) = (weights(layer) for layer in network if isinstance(layer, nn.Linear))
    expected = sigmoid(sigmoid(inputs.numpy() @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    np.testing.assert_allclose(network(inputs).detach().numpy(), expected, rtol=0, atol=1e-10)


def test_the_autoencoder_classifier_by_its_formula(inputs):
    network = with_biases(build(SPECS["AE400-10"], generator()).double())
    (w, b), (v, a) = weights(network.encoder), weights(network.classifier)
    code = sigmoid(inputs.numpy() @ w.T + b)
    np.testing.assert_allclose(network.encode(inputs).detach().numpy(), code, rtol=0, atol=1e-10)
    np.testing.assert_allclose(network(inputs).detach().numpy(), code @ v.T + a, rtol=0, atol=1e-10)


def test_a_part_of_a_sigmoid_network_is_a_network(inputs):
    network = build(SPECS["100-100-10"], generator()).double()
    torch.testing.assert_close(network[2:](network[:2](inputs)), network(inputs))


def test_the_first_layer_of_conv_by_its_formula(inputs):
    """Rows of the image are rows of the vector: 28 pixels, one after the other."""
    network = with_biases(build(SPECS["Conv"], generator()).double())
    filters, bias = weights(network.features[0])
    responses = [
        scipy.signal.correlate2d(inputs[0].numpy().reshape(28, 28), kernel[0], mode="valid") + b
        for kernel, b in zip(filters, bias, strict=True)
    ]
    pooled = np.maximum(responses, 0).reshape(32, 12, 2, 12, 2).max(axis=(2, 4))
    np.testing.assert_allclose(
        network.features(inputs[:1].view(1, 1, 28, 28))[0].detach(), pooled.ravel(), rtol=0, atol=1e-10
    )


def test_shapes_through_conv(inputs):
    network = build(SPECS["Conv"], generator()).double()
    features = network.features(inputs.view(6, 1, 28, 28))
    assert features.shape == (6, 32 * 12 * 12)
    assert network.hidden(features).shape == (6, 256)
    assert (network.hidden(features) >= 0).all()


def test_dropout_is_off_in_evaluation_mode_and_on_in_training_mode(inputs):
    network = build(SPECS["Conv"], generator()).double()
    torch.testing.assert_close(network(inputs), network(inputs), rtol=0, atol=0)
    with torch.random.fork_rng([]):
        network.train()
        assert not torch.equal(network(inputs), network(inputs))


# --- How they begin -------------------------------------------------------------------------------


def test_weights_follow_the_generator_and_nothing_else(network, request):
    spec = SPECS[request.node.callspec.params["network"]]

    def built(seed: int, global_seed: int) -> dict:
        with torch.random.fork_rng([]):
            torch.manual_seed(global_seed)
            return build(spec, generator(seed)).state_dict()

    first, same, other = built(3, 0), built(3, 1), built(4, 0)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert all(torch.equal(first[name], other[name]) != name.endswith("weight") for name in first)


def test_weights_fill_glorots_interval_and_biases_are_zero(network):
    for layer in (m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)):
        area = math.prod(layer.weight.shape[2:])
        fan_out, fan_in = (num * area for num in layer.weight.shape[:2])
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert not layer.bias.any()


def test_glorot_of_a_convolution_counts_the_kernels_area():
    layer = mnist.glorot(nn.Conv2d(3, 50, kernel_size=5), generator())
    assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (25 * (3 + 50))), rel=1e-2)


def test_a_family_without_a_class_is_refused():
    with pytest.raises(ValueError, match=r"deep: no network family 'resnet'; there are sigmoid, autoencoder, conv"):
        build(NetworkSpec("deep", "resnet", (784, 10), ()), generator())
