"""A network in bytes is the network, up to half a level of each row's scale, and comes back as it was written."""

import json

import pytest
import torch
from torch import nn

from lib.networks import mnist, quantized
from lib.networks.quantized import LEVELS, QuantizedLayer

torch.set_num_threads(1)

BYTES_A_NETWORK = 10**6


def build(name: str) -> nn.Module:
    return mnist.build(mnist.SPECS[name], torch.Generator().manual_seed(0)).requires_grad_(False)


@pytest.mark.parametrize("name", mnist.TABLE1)
def test_no_weight_is_off_by_more_than_half_a_level(name):
    original = build(name)
    layers = [m for m in original.modules() if isinstance(m, nn.Linear)]
    for layer, kept in zip(layers, quantized.quantized(original), strict=True):
        step = layer.weight.abs().amax(dim=1, keepdim=True) / LEVELS
        assert ((kept.linear().weight - layer.weight).abs() <= step / 2 * (1 + 1e-5)).all()
        assert torch.equal(kept.linear().bias, layer.bias)


@pytest.mark.parametrize("name", mnist.TABLE1)
def test_what_is_left_is_the_same_network(name):
    original = build(name)
    inputs = torch.rand(50, 784, generator=torch.Generator().manual_seed(1))
    left = quantized.network(quantized.quantized(original))
    torch.testing.assert_close(left(inputs), original(inputs), rtol=0, atol=0.05)
    assert not left.training


@pytest.mark.parametrize("name", mnist.TABLE1)
def test_packing_and_unpacking_change_nothing(name):
    layers = quantized.quantized(build(name))
    read = [quantized.unpacked(entry) for entry in json.loads(json.dumps([layer.packed() for layer in layers]))]
    for layer, other in zip(layers, read, strict=True):
        for part in ("weights", "scale", "bias"):
            assert torch.equal(getattr(layer, part), getattr(other, part)), part


def test_all_six_are_less_than_a_megabyte():
    text = json.dumps({name: [layer.packed() for layer in quantized.quantized(build(name))] for name in mnist.TABLE1})
    assert len(text) < BYTES_A_NETWORK


def test_a_row_of_zeros_stays_one():
    layer = nn.Linear(4, 2)
    nn.init.zeros_(layer.weight)
    assert torch.equal(QuantizedLayer.of(layer).linear().weight, torch.zeros(2, 4))


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="linear layers with sigmoids"):
        quantized.quantized(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
