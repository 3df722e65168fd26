"""Two values have one identity exactly when no result can tell them apart."""

from dataclasses import dataclass
from enum import Enum

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.networks import imagenet, mnist
from lib.store.identity import canonical, digest, of_network, of_tensor, plain


class Rule(Enum):
    HALF = "lambda / 2"
    FULL = "lambda"


@dataclass(frozen=True)
class Config:
    rule: Rule
    start: torch.Tensor


def test_a_tensor_is_its_values_type_and_shape_and_not_how_they_lie():
    values = torch.arange(6.0).reshape(2, 3)
    same = [values.clone(), values.T.contiguous().T, values.requires_grad_(), torch.cat([values, values])[:2]]
    others = [values + 1e-6, values.double(), values.reshape(3, 2), values[:1], -values]
    assert {of_tensor(tensor) for tensor in same} == {of_tensor(values)}
    assert len({of_tensor(tensor) for tensor in [values, *others]}) == 1 + len(others)
    assert of_tensor(torch.zeros(0, 3)) != of_tensor(torch.zeros(0, 4))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 5), st.integers(0, 31))
def test_no_bit_of_a_tensor_is_overlooked(place, bit):
    values = torch.arange(6, dtype=torch.int32)
    before = of_tensor(values)
    values[place] ^= 1 << bit if bit < 31 else -(2**31)
    assert of_tensor(values) != before


def test_configurations_may_hold_tensors_and_members_of_an_enum():
    one = Config(Rule.HALF, torch.ones(2))
    assert canonical(one) == canonical(Config(Rule.HALF, torch.ones(2)))
    assert len({digest(c) for c in (one, Config(Rule.FULL, torch.ones(2)), Config(Rule.HALF, torch.zeros(2)))}) == 3


def test_a_member_of_an_enum_is_not_its_value():
    assert canonical(Rule.HALF) != canonical("lambda / 2")


def test_a_generator_is_where_it_stands():
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    assert plain(one) == plain(other)
    torch.rand(1, generator=one)
    assert plain(one) != plain(other)


def network() -> nn.Module:
    return mnist.build(mnist.SPECS["Conv"], torch.Generator().manual_seed(0))


def test_a_network_is_its_weights():
    assert of_network(network()) == of_network(network())
    changed = network()
    for parameter in changed.parameters():
        before = of_network(changed)
        with torch.no_grad():
            parameter.view(-1)[-1] += 1e-3
        assert of_network(changed) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.train(),
        lambda n: n.classifier[0].train(),
        lambda n: setattr(n.classifier[0], "p", 0.1),
        lambda n: setattr(n.features[0], "padding", (1, 1)),
        lambda n: setattr(n.features[1], "kernel_size", 3),
        lambda n: n.classifier.append(nn.Softmax(1)),
        lambda n: n.features.__setitem__(2, nn.Sigmoid()),
    ],
)
def test_a_network_is_its_layers_their_settings_and_their_mode(change):
    changed = network()
    change(changed)
    assert of_network(changed) != of_network(network())


def test_a_preprocessing_that_is_in_no_state_dict_is_part_of_the_network():
    one, other = imagenet.torchvision_normalize(), imagenet.Normalize(mean=(0.5,) * 3, std=(0.229, 0.224, 0.225))
    assert not one.state_dict()
    assert of_network(one) != of_network(other)
    assert of_network(imagenet.Normalize((0.5,) * 3, (0.2,) * 3)) != of_network(
        imagenet.Normalize((0.5,) * 3, (0.2,) * 3, bgr=True)
    )


@pytest.mark.parametrize("attribute", [torch.ones(2), {"a": 2}, "other", 3])
def test_whatever_a_network_carries_is_part_of_it(attribute):
    one, other = network(), network()
    one.extra, other.extra = torch.zeros(2), attribute
    assert of_network(one) != of_network(other)


def test_a_network_that_carries_what_has_no_identity_is_refused():
    changed = network()
    changed.activation = torch.sigmoid
    with pytest.raises(TypeError, match="sigmoid"):
        of_network(changed)
