"""Every figure says what it shows, stands on any background, and is nobody's but the caller's."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lib.figures import comparisons, curves, grids, style
from tests.figures_made import FIGURES, IMAGES, LABELS, SMALLEST

torch.set_num_threads(1)
CHARTS = ["bounds_beside", "training_curves", "toy_landscape", "search_over_c", "distortion_histograms", "error_bars"]


def all_axes(figure: Figure) -> list:
    return [*figure.axes, *(ax for part in figure.subfigs for ax in part.axes)]


def words(figure: Figure) -> list[str]:
    """Every text in the figure that is drawn."""
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_visible() and text.get_text()]


def pixels(figure: Figure) -> np.ndarray:
    """The figure as it is saved, (height, width, RGBA)."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
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
    texts = [text for text in figure.findobj(mpl.text.Text) if text not in inside]
    assert {to_rgba(text.get_color()) for text in texts if text.get_text()} == {to_rgba(style.GREY)}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_names_its_axes_and_its_signs(name):
    axes = FIGURES[name]().axes
    assert axes[-1].get_xlabel()
    assert all(ax.get_ylabel() or [label.get_text() for label in ax.get_yticklabels()] for ax in axes)
    (legend,) = [ax.get_legend() for ax in axes if ax.get_legend()]
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(set(labels)) >= 2


@pytest.mark.parametrize("name", FIGURES)
def test_the_callers_tensors_are_left_alone(name):
    before = IMAGES.clone(), LABELS.clone()
    FIGURES[name]()
    assert torch.equal(IMAGES, before[0])
    assert torch.equal(LABELS, before[1])


@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_can_be_told_from_black_and_from_white(colour):
    """WCAG's contrast ratio; 1.9 is what Okabe and Ito's lightest colours leave on white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgba(colour)[:3]]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    assert min((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)) > 1.9


@pytest.mark.parametrize("name", SMALLEST)
def test_one_of_anything_is_enough(name):
    figure = SMALLEST[name]()
    assert "Title" in words(figure)
    assert pixels(figure)[..., 3].any()
    assert plt.get_fignums() == []
