"""A layer has a known bound only as torch made it, with weights that are numbers, on images that it takes."""

import types

import pytest
import torch
from torch import nn

from lib.measures import known


@pytest.mark.parametrize("kind", known.KNOWN)
def test_every_known_layer_is_one_as_it_was_built(kind):
    arguments = {nn.Linear: (3, 2), nn.Conv2d: (1, 2, 3), nn.MaxPool2d: (2,), nn.Unflatten: (1, (1, 3))}
    layer = kind(*arguments.get(kind, ()))
    known.check_known(layer)
    known.check_weights(layer)
    assert known.kind_of(layer) is kind


def with_forward(layer: nn.Module) -> nn.Module:
    layer.forward = lambda images: 5 * images
    return layer


def with_hook(layer: nn.Module) -> nn.Module:
    layer.register_forward_pre_hook(lambda module, images: None)
    return layer


class Called(nn.Linear):
    def __call__(self, images):
        return 5 * images


class Forward(nn.ReLU):
    def forward(self, images):
        return 5 * images


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (with_forward(nn.Linear(3, 3)), "has a forward of its own"),
        (with_hook(nn.Linear(3, 3)), r"has hooks.*remove them first, by \.remove\(\)"),
        (Called(3, 3), "has a __call__ of its own"),
        (Forward(), "has a forward of its own"),
        (nn.LazyLinear(3), "has no weights yet"),
        (nn.GELU(), "no bound is known for GELU.*Linear, Conv2d"),
        (nn.DataParallel(nn.Linear(3, 3)), r"hand in its \.module"),
        (lambda images: images, "no bound is known for <lambda>"),
    ],
)
def test_what_may_compute_anything_is_refused_and_why(layer, words):
    with pytest.raises(TypeError, match=words):
        known.check_known(layer)


def test_a_module_may_have_its_own_way_of_changing_modes():
    layer = nn.Linear(3, 3)
    layer.train = types.MethodType(lambda self, mode=True: self, layer)
    known.check_known(layer)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_weights_are_finite(number):
    layer = nn.Linear(3, 3).requires_grad_(False)
    layer.bias[1] = number
    with pytest.raises(ValueError, match="its bias must be finite"):
        known.check_weights(layer)
    with pytest.raises(TypeError, match="its weight must be real floating numbers"):
        known.check_weights(nn.Linear(3, 3, dtype=torch.complex64))


def test_what_a_layer_takes_and_what_it_does_not():
    layer = nn.Linear(12, 2)
    assert known.misfit(layer, (12,)) == ""
    assert "takes 12 numbers" in known.misfit(layer, (13,))
    assert "put a torch.nn.Flatten() before it" in known.misfit(layer, (3, 4))
