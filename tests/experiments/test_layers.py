"""lib/experiments/layers.py: the numbers are those of lib.spectral and lib.certificates, and are computed once."""

import pytest
import torch

from lib.data.dataset import Dataset
from lib.experiments import layers
from lib.experiments.seeds import generator
from lib.measures import certificates, spectral
from lib.measures.spectral import Convolution
from lib.networks import mnist
from lib.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def layer() -> Convolution:
    weight = torch.randn(4, 1, 3, 3, generator=generator(0), dtype=torch.float64)
    return Convolution(weight, size=(8, 8), stride=(2, 2), padding=(1, 1), groups=2)


def test_a_layer_has_the_singular_values_of_its_matrix(layer, store):
    values = torch.linalg.svdvals(layer.matrix())
    norm, seconds = layers.norm(layer, 0, store)
    assert norm == pytest.approx(float(values[0]), rel=1e-6)
    assert seconds > 0
    assert layers.least(layer, 0, 100, store) == pytest.approx(float(values[-1]), rel=1e-6)
    torch.testing.assert_close(
        layers.spectrum(layer, store), spectral.torus_spectrum(layer, spectral.torus_side(layer))
    )


def test_they_are_computed_once_for_each_layer_and_each_way_of_applying_it(layer, store):
    for _ in range(2):
        layers.norm(layer, 0, store)
        layers.least(layer, 0, 100, store)
        layers.spectrum(layer, store)
    assert store.num_made == 3
    whole = Convolution(layer.weight, layer.size, (1, 1), layer.padding, layer.dilation, layer.groups)
    other = Convolution(layer.weight + 1, layer.size, layer.stride, layer.padding, layer.dilation, layer.groups)
    norms = {layers.norm(each, 0, store)[0] for each in (layer, whole, other)}
    assert len(norms) == 3


@pytest.mark.parametrize("name", ["softmax 1e-4", "100-100-10"])
def test_what_is_certified_is_what_certificates_say_and_is_computed_once(name, store):
    network = mnist.build(mnist.SPECS[name], generator(0)).requires_grad_(False)
    images = Dataset(torch.rand(6, 784, generator=generator(1)), torch.zeros(6, dtype=torch.long), "noise")
    targets = torch.arange(6)
    found = layers.certify(network, images, targets, num_enclosed=3, store=store)
    layers = certificates.as_layers(network)
    constants = certificates.lipschitz_constants(layers, images.inputs[:1].double())
    distances = certificates.certify(layers, constants, images.inputs, targets, num_enclosed=3)
    for kept, expected in ((found.constants, constants), (found.distances, distances)):
        assert list(kept) == list(expected)
        for kind, values in expected.items():
            torch.testing.assert_close(kept[kind], values, equal_nan=True)
    margin, slope = certificates.linear_estimate(layers, images.inputs, targets)
    torch.testing.assert_close(found.linear_estimate, margin / slope)
    layers.certify(network, images, targets, num_enclosed=3, store=store)
    assert store.num_made == 1
    layers.certify(network, images, 1 - targets.clamp(max=1), num_enclosed=3, store=store)
    assert store.num_made == 2
