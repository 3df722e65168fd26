"""Local filters are what a loop over places says, and the two directions are adjoint."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib.networks.local_filters import map_shape, respond, spread

torch.set_num_threads(1)

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))


def drawn(sizes: tuple[int, ...], num: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, filters and responses that fit together, float64."""
    rows, columns, field, num_channels, num_filters = sizes
    generator = torch.Generator().manual_seed(seed)
    filters = torch.randn(
        rows, columns, field, field, num_channels, num_filters, generator=generator, dtype=torch.float64
    )
    maps = torch.randn(num, *map_shape(filters), generator=generator, dtype=torch.float64)
    responses = torch.randn(num, num_filters, rows, columns, generator=generator, dtype=torch.float64)
    return maps, filters, responses


def looped(maps: Tensor, filters: Tensor) -> Tensor:
    """What each filter sees times the filter, place by place."""
    rows, columns, field, _, _, num_filters = filters.shape
    found = maps.new_empty(len(maps), num_filters, rows, columns)
    for row in range(rows):
        for column in range(columns):
            for number in range(num_filters):
                filter_ = filters[row, column, :, :, :, number].permute(2, 0, 1)
                seen = maps[:, :, row : row + field, column : column + field]
                found[:, number, row, column] = (seen * filter_).sum(dim=(1, 2, 3))
    return found


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_a_response_is_what_a_loop_over_places_gives(sizes):
    maps, filters, _ = drawn(sizes)
    torch.testing.assert_close(respond(maps, filters), looped(maps, filters))


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_responding_and_spreading_are_adjoint(sizes):
    maps, filters, responses = drawn(sizes)
    left, right = (respond(maps, filters) * responses).sum(), (maps * spread(responses, filters)).sum()
    torch.testing.assert_close(left, right)


def test_the_same_filters_at_every_place_are_a_convolution():
    maps, filters, responses = drawn((5, 4, 3, 2, 6))
    tied = filters[:1, :1]
    kernel = tied[0, 0].permute(3, 2, 0, 1)
    torch.testing.assert_close(respond(maps, tied.expand_as(filters)), F.conv2d(maps, kernel))
    torch.testing.assert_close(spread(responses, tied.expand_as(filters)), F.conv_transpose2d(responses, kernel))


def test_the_gradients_are_the_derivatives():
    maps, filters, responses = (tensor.requires_grad_() for tensor in drawn((3, 2, 2, 2, 3)))
    assert torch.autograd.gradcheck(respond, (maps, filters))
    assert torch.autograd.gradcheck(spread, (responses, filters))


def test_a_gradient_that_nobody_wants_is_not_computed():
    maps, filters, _ = drawn((2, 2, 2, 1, 1))
    maps.requires_grad_()
    respond(maps, filters).sum().backward()
    assert maps.grad is not None
    assert filters.grad is None


def test_an_image_answers_as_if_it_were_alone():
    maps, filters, _ = drawn((3, 3, 2, 2, 2), num=7)
    alone = torch.cat([respond(image[None], filters) for image in maps])
    torch.testing.assert_close(respond(maps, filters), alone, rtol=0, atol=1e-12)


def test_what_does_not_fit_is_refused():
    maps, filters, responses = drawn((3, 2, 2, 2, 3))
    with pytest.raises(ValueError, match=r"maps of \(C, H, W\) \(2, 4, 3\), not \(2, 3, 3\)"):
        respond(maps[:, :, 1:], filters)
    with pytest.raises(ValueError, match=r"responses of \(M, rows, columns\) \(3, 3, 2\), not \(2, 3, 2\)"):
        spread(responses[:, 1:], filters)
