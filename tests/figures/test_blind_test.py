"""The blind test holds every row once, in an order that tells nothing, with pictures that can be read back."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lib.figures import blind_test
from lib.figures.mosaic import mosaic

torch.set_num_threads(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(num: int = 6) -> list[blind_test.Row]:
    pictures = torch.rand(10, 784, generator=generator())
    return [
        blind_test.Row(pictures, ("a unit", "a direction")[i % 2], f"number {i}", f"labels {i}") for i in range(num)
    ]


def decoded(uri: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_every_row_is_there_once_with_its_answer():
    html = blind_test.element(rows(), generator())
    found = re.findall(r'<li data-kind="([^"]+)">.*?alt="labels (\d)".*?</summary>([^<]+)</details>', html)
    assert sorted(found) == sorted((row.kind, row.answer[-1], f"{row.kind}: {row.answer}") for row in rows())
    assert 'data-first="a direction" data-second="a unit"' in html


def test_the_order_is_drawn_and_reproducible():
    orders = [re.findall(r'alt="labels (\d)"', blind_test.element(rows(), generator(seed))) for seed in range(20)]
    assert orders[3] == re.findall(r'alt="labels (\d)"', blind_test.element(rows(), generator(3)))
    assert len({tuple(order) for order in orders}) > 15
    assert {order[0] for order in orders} >= {"0", "1", "2"}


@pytest.mark.parametrize("num", [0, 1])
def test_one_kind_is_no_question(num):
    with pytest.raises(ValueError, match="two kinds"):
        blind_test.element(rows(num), generator())


def test_where_there_is_nothing_to_ask_the_page_says_so():
    assert blind_test.element([], generator(), otherwise="No <pictures>.") == "<p>No &lt;pictures&gt;.</p>"
    assert "<li" in blind_test.element(rows(2), generator(), otherwise="No pictures.")
    with pytest.raises(ValueError, match="two kinds"):
        blind_test.element(rows(1), generator(), otherwise="No pictures.")


def test_what_words_may_hold_is_escaped():
    odd = blind_test.Row(torch.rand(2, 784), '<b>"', "&", '"><script>')
    html = blind_test.element([odd, *rows(2)[:1]], generator())
    assert "<script>" not in html
    assert "&lt;b&gt;" in html


def test_a_montage_shows_digits_exactly():
    pictures = (torch.rand(10, 784, generator=generator()) * 255).round() / 255
    uri = blind_test.montage(pictures)
    assert uri.startswith("data:image/png;base64,")
    np.testing.assert_array_equal(decoded(uri), (255 * mosaic(pictures)[0]).round().numpy())


def test_a_montage_of_photographs_keeps_their_colours():
    pictures = torch.zeros(3, 3, 16, 16)
    for i in range(3):
        pictures[i, i] = 1
    found = decoded(blind_test.montage(pictures)).astype(int)
    assert found.shape == (16, 5 * 17 - 1, 3)
    for i in range(3):
        middle = found[8, 17 * i + 8]
        assert middle[i] > 200
        assert np.delete(middle, i).max() < 60
