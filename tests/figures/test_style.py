"""Every figure says what it shows, stands on any background, and is nobody's but the caller's."""

import io
import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lib.figures import comparisons, curves, grids, style
from tests.conftest import REPOSITORY
from tests.figures_made import FIGURES, IMAGES, LABELS, PHONE, SMALLEST, smallest_text, texts

torch.set_num_threads(1)
CHARTS = ["bounds_beside", "training_curves", "toy_landscape", "search_over_c", "distortion_histograms", "error_bars"]


def all_axes(figure: Figure) -> list:
    return [*figure.axes, *(ax for part in figure.subfigs for ax in part.axes)]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def pixels(figure: Figure) -> np.ndarray:
    """The figure as it is saved, (height, width, RGBA)."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    file.seek(0)
    return plt.imread(file)


def test_all_of_them_are_tried_here():
    public = {
        name
        for module in (comparisons, curves, grids)
        for name, value in vars(module).items()
        if callable(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public == {name.split(",")[0] for name in FIGURES}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_titled_transparent_and_no_longer_pyplots(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
    assert "Title" in words(figure)
    image = pixels(figure)
    assert image[[0, 0, -1, -1], [0, -1, 0, -1], 3].tolist() == [0] * 4
    assert image[..., 3].max() == 1
    assert all(to_rgba(part.get_facecolor())[3] == 0 for part in [figure, *all_axes(figure)])


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_grey_so_that_it_can_be_read_on_black_and_on_white(name):
    figure = FIGURES[name]()
    with_colours = figure.axes if name in ("matrices", "paper_and_ours") else []
    inside = [text for ax in with_colours for text in ax.texts]  # on colours of their own
    outside = [text for text in texts(figure) if text not in inside]
    assert {to_rgba(text.get_color()) for text in outside} == {to_rgba(style.INK)}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_names_its_axes_and_its_signs(name):
    figure = FIGURES[name]()
    axes = figure.axes
    assert axes[-1].get_xlabel()
    assert all(ax.get_ylabel() or [label.get_text() for label in ax.get_yticklabels()] for ax in axes)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(set(labels)) >= 2


@pytest.mark.parametrize("name", FIGURES)
def test_the_callers_tensors_are_left_alone(name):
    before = IMAGES.clone(), LABELS.clone()
    FIGURES[name]()
    assert torch.equal(IMAGES, before[0])
    assert torch.equal(LABELS, before[1])


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_at_least_ten_pixels_high_on_a_phone(name):
    assert smallest_text(FIGURES[name]()) >= 10


def test_small_text_would_be_noticed():
    figure = FIGURES["training_curves"]()
    assert smallest_text(figure, width=2 * PHONE) == pytest.approx(2 * smallest_text(figure))
    figure.axes[0].set_title("small", fontsize=7)
    assert smallest_text(figure) < 8


# --- Colours --------------------------------------------------------------------------------------


def grounds() -> dict[str, str]:
    """What lies under a figure: the page, which is white, and what book.css puts there in the dark."""
    rule = r'html\[data-theme="dark"\] \.bd-content div\.cell_output img,[^{]+\{\s+background: (#\w+);'
    (dark,) = re.findall(rule, (REPOSITORY / "_static/book.css").read_text())
    return {"light": "#fff", "dark": dark}


def linear(colour) -> np.ndarray:
    """Red, green and blue as light, not as levels."""
    return np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgba(colour)[:3]])


def contrast(colour, ground) -> float:
    """WCAG's ratio, 1 to 21."""
    low, high = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (colour, ground))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", grounds())
def test_text_and_marks_have_the_contrast_they_need_on_both_grounds(theme):
    """WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for marks."""
    ground = grounds()[theme]
    assert contrast(style.INK, ground) >= 4.5
    assert {colour: contrast(colour, ground) for colour in style.COLOURS if contrast(colour, ground) < 3} == {}


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_ink_can_be_read_on_any_colour(colour):
    assert contrast(style.ink_on(colour), colour) >= 4.5


# What is left of red, green and blue without the long, or the middle, wavelengths: Machado, Oliveira & Fernandes 2009.
SIGHT = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colour_blind_can_tell_colours_apart(sight):
    """By five times the difference in CIE L*a*b* that one just notices, which is about 2.3."""
    to_xyz = np.array([[0.434, 0.376, 0.190], [0.2126, 0.7152, 0.0722], [0.018, 0.109, 0.873]])  # white is 1, 1, 1

    def lab(colour: str) -> np.ndarray:
        x, y, z = np.cbrt(to_xyz @ np.clip(np.array(SIGHT[sight]) @ linear(colour), 0, 1))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for one, other in itertools.combinations(style.COLOURS, 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 11.5, (one, other)


# --- The smallest ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALLEST)
def test_one_of_anything_is_enough(name):
    figure = SMALLEST[name]()
    assert "Title" in words(figure)
    assert pixels(figure)[..., 3].any()
    assert plt.get_fignums() == []
