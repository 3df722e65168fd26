"""A curve has all its values, where they belong."""

import numpy as np
import pytest
import torch

from lib.figures import curves
from lib.measures.intervals import Estimate

torch.set_num_threads(1)


def test_spectra_are_drawn_in_full_largest_first():
    """Values of any shape, from the middle of the first share to the middle of the last."""
    values = torch.tensor([[0.5, 2.0], [1.0, 4.0]])
    ax = curves.spectra({"a": {"layer": values}}, "Title").axes[0]
    assert ax.lines[0].get_ydata().tolist() == [4, 2, 1, 0.5]
    assert ax.lines[0].get_xdata().tolist() == [12.5, 37.5, 62.5, 87.5]


def test_without_spectra_there_is_a_panel_that_says_so():
    assert curves.spectra({}, "Title").axes[0].get_title() == "not measured in this build"


def test_the_star_marks_the_largest_norm_and_dots_the_coarse_grid_within_half_a_cycle():
    norms = np.ones((8, 8))
    norms[1, 6] = 3  # vertical frequency 1/8, horizontal 6/8, which is -2/8
    ax = curves.norm_by_frequency(norms, np.array([[0.8, 0.4]]), "Title").axes[0]
    dots, star = ax.lines
    assert star.get_xydata() == pytest.approx(np.array([[-0.25, 0.125]]))
    assert dots.get_xydata() == pytest.approx(np.array([[0.4, -0.2]]))
    (picture,) = ax.images
    left, right, bottom, top = picture.get_extent()
    row, column = np.unravel_index(picture.get_array().argmax(), (8, 8))
    assert left + (column + 0.5) * (right - left) / 8 == pytest.approx(-0.25)
    assert bottom + (row + 0.5) * (top - bottom) / 8 == pytest.approx(0.125)


def test_rates_stand_where_they_belong_with_what_theory_says_beside_them():
    found = {"net": [Estimate(20, 10, 40, 9), Estimate(60, 50, 70, 9)]}
    figure = curves.rates([0.5, 8], {"a": found, "b": found}, "length", "Title", {"net": [30, 50]})
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    measured, expected = (
        line for line in figure.axes[1].lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None"
    )
    assert measured.get_xydata().tolist() == [[0.5, 20], [8, 60]]
    assert expected.get_xydata().tolist() == [[0.5, 30], [8, 50]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["net"]


def test_errors_have_a_colour_for_each_network_and_a_stroke_for_each_error():
    off = {"a": {"training error (%)": [1, 0], "test error (%)": [2, 1]}, "b": {"training error (%)": [3, 2]}}
    off["b"]["test error (%)"] = [0, -1]
    _, *lines = curves.off_by_divisor([1, 10], off, "Title").axes[0].lines
    assert [line.get_label() for line in lines] == [f"{n}, {e} error" for n in "ab" for e in ("training", "test")]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert [line.get_linestyle() for line in lines] == ["-", ":"] * 2
    assert lines[3].get_xydata().tolist() == [[1, 0], [10, -1]]
