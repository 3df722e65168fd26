"""A mosaic holds every picture, exactly, where one reads it."""

import pytest
import torch

from lib.figures.mosaic import GAP, GREY, mosaic


@pytest.mark.parametrize(("shape", "tile"), [((784,), (1, 28, 28)), ((3, 16, 20), (3, 16, 20))])
@pytest.mark.parametrize("num", [1, 5, 7, 10])
def test_every_picture_is_where_one_reads_it(shape, tile, num):
    pictures = torch.rand(num, *shape, generator=torch.Generator().manual_seed(0))
    found = mosaic(pictures)
    channels, height, width = tile
    num_lines = -(-num // 5)
    assert found.shape == (channels, num_lines * height + (num_lines - 1) * GAP, 5 * width + 4 * GAP)
    for i, picture in enumerate(pictures):
        top, left = i // 5 * (height + GAP), i % 5 * (width + GAP)
        assert torch.equal(found[:, top : top + height, left : left + width], picture.reshape(tile))
        found[:, top : top + height, left : left + width] = GREY
    assert (found == GREY).all(), "between the pictures, and where there are fewer than five in a line"
