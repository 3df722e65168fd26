"""Numbers of a sentence are words before they reach it, and what was not measured says so."""

import math

from lib.measures.intervals import Estimate
from lib.record import markdown


def test_a_difference_has_its_sign_and_its_interval():
    assert markdown.signed(Estimate(0.104, 0.0441, -0.0, 5)) == "+0.10 [+0.04, -0.00]"
    assert markdown.signed(Estimate(-3.0, -4.0, -2.04, 5), digits=1) == "-3.0 [-4.0, -2.0]"


def test_a_number_without_width_stands_alone():
    assert markdown.signed(Estimate(1.89, 1.89, 1.89, 12), digits=1) == "+1.9"


def test_numbers_have_their_names_before_them():
    assert markdown.named({"a": 1.0, "b": -2.0}, lambda value: f"{value:+.0f}") == "a +1, b -2"
    assert markdown.named({}, str) == ""


def test_a_difference_that_was_not_measured_says_so_once():
    assert markdown.signed(Estimate(math.nan, math.nan, math.nan, 0)) == markdown.UNKNOWN
