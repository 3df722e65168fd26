"""The element holds every pair with its differences and its words; the paper's still picture is what scripts find."""

import re

import torch

from lib.figures import wipe

torch.set_num_threads(1)
GREY = torch.full((3, 8, 8), 0.5)
TAGS = re.compile(r'<img (?:data-times="(\d+)" )?src="data:image/webp;base64,[^"]+" alt="([^"]+)"( hidden)?>')


def pair(said: str = "school bus", says: str = "ostrich") -> wipe.Pair:
    return wipe.Pair(GREY, GREY, {1: GREY, 10: GREY, 50: GREY}, said, says)


def test_without_scripts_it_is_the_papers_figure():
    """Original, ten times the difference, adversarial; the other differences are hidden."""
    tags = TAGS.findall(wipe.element({"a network": [pair()]}, ""))
    assert [times for times, _, _ in tags] == ["", "1", "10", "50", ""]
    shown = [words for _, words, hidden in tags if not hidden]
    assert shown == [
        "The original: school bus",
        "10 times the difference, around grey",
        "Looks the same; the network says: ostrich",
    ]


def test_every_pair_is_there_with_its_words_and_its_network():
    html = wipe.element({"A": [pair("one", "x"), pair("two", "y")], "B": [pair("three", "z")]}, "")
    order = re.findall(r"<figcaption><small>(.*?) says</small><span>(.*?)</span><span>(.*?)</span>", html)
    assert order == [("A", "one", "x"), ("A", "two", "y"), ("B", "three", "z")]


def test_where_there_are_none_the_page_says_so_and_words_are_escaped():
    assert wipe.element({}, "No <pictures>.") == "<p>No &lt;pictures&gt;.</p>"
    html = wipe.element({"<b>": [pair('"><script>', "&")]}, "")
    assert "<script>" not in html
    assert "<b>" not in html
