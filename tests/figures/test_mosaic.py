"""A mosaic holds every picture, exactly, where one reads it; and a page can hold it."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from lib.figures.mosaic import GAP, GREY, data_uri, mosaic


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


def decoded(uri: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_digits_are_in_the_page_exactly():
    picture = mosaic((torch.rand(10, 784, generator=torch.Generator().manual_seed(0)) * 255).round() / 255)
    uri = data_uri(picture)
    assert uri.startswith("data:image/png;base64,")
    np.testing.assert_array_equal(decoded(uri), (255 * picture[0]).round().numpy())


def test_photographs_keep_their_colours():
    pictures = torch.zeros(3, 3, 16, 16)
    for i in range(3):
        pictures[i, i] = 1
    uri = data_uri(mosaic(pictures))
    assert uri.startswith("data:image/webp;base64,")
    found = decoded(uri).astype(int)
    assert found.shape == (16, 5 * 17 - 1, 3)
    for i in range(3):
        middle = found[8, 17 * i + 8]
        assert middle[i] > 200
        assert np.delete(middle, i).max() < 60
