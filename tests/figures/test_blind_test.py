"""The blind test holds every row once, in an order that tells nothing, and says how well a measure does, if any."""

import math
import re

import pytest
import torch

from lib.figures import blind_test

torch.set_num_threads(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(num: int = 6) -> list[blind_test.Row]:
    pictures = torch.rand(10, 784, generator=generator())
    return [
        blind_test.Row(pictures, ("a unit", "a direction")[i % 2], f"number {i}", f"labels {i}") for i in range(num)
    ]


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


@pytest.mark.parametrize(("best", "told"), [(61.6, ' data-best="62"'), (math.nan, "")])
def test_the_best_measures_share_is_told_where_there_is_one(best, told):
    head, _, _ = blind_test.element(rows(), generator(), best=best).partition(">")
    assert head == f'<div class="blind" data-first="a direction" data-second="a unit"{told}'
