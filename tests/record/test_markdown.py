"""Numbers read as what they are, and a missing one never as a number."""

import math
import re

import pytest

from lib.measures.intervals import Estimate
from lib.record import markdown


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (9.876, "error (%)", "9.88"),
        (0.0523328, "distortion", "0.0523"),
        (0.0014858, "distortion", "0.00149"),
        (14.9753, "upper", "15"),
        (123456.0, "x", "123,456"),
        (123456.7, "x", "1.23·10<sup>5</sup>"),
        (1e-7, "x", "1·10<sup>-7</sup>"),
        (0.0, "x", "0"),
        (math.nan, "x", "–"),
    ],
)
def test_a_number_has_the_digits_that_it_deserves(value, column, text):
    assert markdown.number(value, column) == text


def test_an_interval_stands_beside_its_value():
    assert markdown.interval(Estimate(7.0, 6.0, 8.0, 50), "(%)") == "7.00 [6.00,\u00a08.00]"


def test_an_interval_of_hardly_any_images_is_not_printed():
    """From two values Student's reaches below zero for lengths, and above one for probabilities."""
    assert markdown.interval(Estimate(0.5, -2.7, 3.7, 2)) == "0.5000"
    assert markdown.interval(Estimate(0.5, 0.5, 0.5, 100)) == "0.5000"


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.93312, ".3f", "0.933"),
        (30, "", "30"),
        (60000, "", "60,000"),
        ("AE400-10", "", "AE400-10"),
        (2.5, "+.1f", "+2.5"),
    ],
)
def test_words_of_numbers(value, form, text):
    assert markdown.words(value, form) == text


@pytest.mark.parametrize("value", [math.nan, None, math.inf])
def test_what_was_not_measured_says_so(value):
    assert markdown.words(value, ".1f") == "not measured"


def test_what_is_told_is_glued_as_text(monkeypatch):
    import myst_nb

    glued = {}
    monkeypatch.setattr(myst_nb, "glue", lambda name, value, display: glued.update({name: value}))
    markdown.tell(spearman=(0.93312, ".3f"), num_cells=30, missing=(math.nan, ".1f"), name="Conv")
    assert glued == {"spearman": "0.933", "num_cells": "30", "missing": "not measured", "name": "Conv"}


def test_a_table_of_words_and_one_of_numbers():
    lines = [["x", "784-10"], ["y", "c|r| + loss"]]
    assert markdown.table(["network", "layers"], lines, "Two networks, $x$.", "tab-two", align="left") == (
        ":::{table} Two networks, $x$.\n"
        ":name: tab-two\n"
        "\n"
        "| network | layers |\n"
        "| :-- | :-- |\n"
        '| x | <span class="text-nowrap">784-10</span> |\n'
        "| y | c\\|r\\| + loss |\n"
        ":::\n"
    )
    assert "| :-- | --: |" in markdown.body(["network", "n"], [["x", 1]])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("100-100-10", ["100-100-10"]),
        ("M1: 100-100-10 on P1", ["100-100-10"]),
        ("AE400-10, layer 1", ["AE400-10"]),
        ("distortion<br>1e-4", ["1e-4"]),
        ("-4 and 10 - 3, imagenet-sample, [a](b-1), $x-1$, 3·10<sup>-5</sup>", []),
    ],
)
def test_names_are_not_broken_and_nothing_else_is_touched(text, names):
    (line,) = re.findall(r"^\| (.*) \|$", markdown.body([text], []).splitlines()[0])
    assert re.findall('<span class="text-nowrap">(.*?)</span>', line) == names
    assert re.sub('<span class="text-nowrap">(.*?)</span>', r"\1", line) == text


@pytest.mark.parametrize(
    ("value", "printed", "column", "text"),
    [
        (6.57, "6.7", "error (%)", "-0.1"),
        (1.66, "1.64", "error (%)", "+0.02"),
        (20.4, "20", "error (%)", "+0.4"),
        (0.0, "0", "error (%)", "+0.0"),
        (99.99, "100", "error (%)", "+0.0"),
        (0.0557, "0.058", "distortion", "-4\u00a0%"),
        (0.0579, "0.058", "distortion", "+0\u00a0%"),
        (1.0, "0", "upper", "–"),
        (math.nan, "1.5", "error (%)", "–"),
    ],
)
def test_per_cents_differ_by_points_and_others_by_per_cent(value, printed, column, text):
    assert markdown.difference(value, printed, column) == text


# --- In sentences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [(769.0, "iterations", "769"), (1234, "iterations", "1,234"), (0.0, "loss", "0"), (1.0, "error (%)", "1.00")],
)
def test_whole_numbers_are_written_out(value, column, text):
    assert markdown.number(value, column) == text


def test_a_missing_cell_says_that_nobody_recorded_it():
    assert markdown.cell(math.nan, "x (%)") == markdown.MISSING
    assert markdown.cell(2.5, "x (%)") == "2.50"


def test_several_numbers_one_after_the_other():
    assert markdown.listed([-4.6, math.nan, 2.4], "+.0f") == f"-5, {markdown.UNKNOWN}, +2"
    assert markdown.listed([]) == ""


def test_a_range_is_its_ends():
    assert markdown.span([3.14, 1.0, 2.0], ".1f") == "1.0 to 3.1"
    assert markdown.span([2.0], ".0f") == "2"
    assert markdown.span([2.01, 1.99], ".0f") == "2"
    assert markdown.span([math.nan, 2.0], ".0f") == "2"


def test_a_range_of_nothing_was_not_measured():
    assert markdown.span([], ".1f") == markdown.UNKNOWN
    assert markdown.span([math.nan], ".1f") == markdown.UNKNOWN


def test_a_difference_has_its_sign_and_its_interval():
    assert markdown.signed(Estimate(0.104, 0.0441, -0.0, 5)) == "+0.10 [+0.04, -0.00]"
    assert markdown.signed(Estimate(-3.0, -4.0, -2.04, 5), digits=1) == "-3.0 [-4.0, -2.0]"


def test_a_difference_that_was_not_measured_says_so_once():
    assert markdown.signed(Estimate(math.nan, math.nan, math.nan, 0)) == markdown.UNKNOWN


def test_a_number_without_width_stands_alone():
    assert markdown.signed(Estimate(1.89, 1.89, 1.89, 12), digits=1) == "+1.9"


def test_numbers_have_their_names_before_them():
    assert markdown.named({"a": 1.0, "b": -2.0}, lambda value: f"{value:+.0f}") == "a +1, b -2"
    assert markdown.named({}, str) == ""
