"""Every figure says what it shows, stands on any background, and is nobody's but the caller's."""

import io
from collections.abc import Callable

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures import comparisons, curves, grids, style
from lib.measures.intervals import Estimate

torch.set_num_threads(1)

IMAGES = torch.rand(16, 784, generator=torch.Generator().manual_seed(0))
PHOTO = IMAGES[:12].view(3, 56, 56)
NEAR = (IMAGES + 0.01).clamp(max=1)
LABELS = torch.arange(16) % 10
DISTORTIONS = {"softmax 1": IMAGES[:, 0], "AE400-10": IMAGES[:, 1]}
RATES = {"softmax 1": {"λ": 3.0, "λ/2": 2.0, "λ/10": 1.0}, "softmax 1e-4": {"λ": 1.0, "λ/2": 2.0, "λ/10": 1.0}}


def bowl(points: Tensor) -> Tensor:
    return (points[:, 0] - 1) ** 2 + points[:, 1] ** 2


FIGURES: dict[str, Callable[[], Figure]] = {
    "paper_and_ours": lambda: comparisons.paper_and_ours({("a", "c"): 1.0}, {("a", "c"): 2.0}, ["a"], ["c"], "Title"),
    "image_grid": lambda: grids.image_grid(IMAGES[:7], 4, "Title"),
    "image_grid, row titles": lambda: grids.image_grid(
        IMAGES[:7], 4, "Title", row_titles=["first", "a long title " * 5]
    ),
    "image_grid, symmetric": lambda: grids.image_grid(IMAGES[:7] - 0.3, 4, "Title", symmetric=True),
    "training_curves": lambda: curves.training_curves({"a": [2.0, 1.0, 0.1], "b": [3.0, 2.0]}, "Title"),
    "toy_landscape": lambda: curves.toy_landscape(bowl, IMAGES[:5, :2], torch.ones(2), "Title"),
    "search_over_c": lambda: curves.search_over_c(
        torch.tensor([0.1, 1, 10]), torch.tensor([0.3, 0.2, 0.1]), torch.tensor([True, True, False]), 1.0, "Title"
    ),
    "pairs_panels": lambda: grids.pairs_panels({"attack": (IMAGES, NEAR), "noise": (NEAR, IMAGES)}, 2, "Title"),
    "attack_strip": lambda: grids.attack_strip(IMAGES[:3], NEAR[:3], LABELS[:3], LABELS[1:4], "Title"),
    "originals_differences_adversarials": lambda: grids.originals_differences_adversarials(
        {"net": [(PHOTO, PHOTO, PHOTO, "cat", "dog")] * 2, "other": [(PHOTO, PHOTO, PHOTO, "cat", "bus")]}, "Title", "-"
    ),
    "originals_differences_adversarials, none": lambda: grids.originals_differences_adversarials(
        {}, "Title", "Nothing here"
    ),
    "estimates": lambda: comparisons.estimates(
        {"mean": {"a": Estimate(0.1, 0.05, 0.2, 9)}, "rms": {"b": Estimate(0.2, 0.1, 0.3, 9)}}, 0.1, "size", "Title"
    ),
    "estimates, none": lambda: comparisons.estimates({"mean": {}, "rms": {}}, 0.1, "size", "Title"),
    "time_against_distortion": lambda: comparisons.time_against_distortion(
        {"a": {"ours": (1.0, 0.0), "theirs": (100.0, 2.0)}, "b": {"theirs": (10.0, 1.0)}}, "Title"
    ),
    "matrices": lambda: comparisons.matrices(
        {"paper": (["a", "b"], ["a", "b"], np.array([[100, 20], [np.nan, 100]]))}, "Title"
    ),
    "rates_against_factor": lambda: curves.rates_against_factor([0, 1, 2], {"a": {"noise": [1, 2, 3]}}, "Title"),
    "distortion_histograms": lambda: comparisons.distortion_histograms(DISTORTIONS, {"softmax 1": 0.14}, "Title"),
    "picture_rows": lambda: grids.picture_rows(
        {"units": {"unit 3": IMAGES[:4], "unit 5": IMAGES[4:8]}, "random": {"direction 1": IMAGES[:4]}}, "Title"
    ),
    "picture_rows, none": lambda: grids.picture_rows({"units": {}, "random": {}}, "Title"),
    "picture_rows, in colour": lambda: grids.picture_rows({"units": {"unit 3": torch.rand(3, 3, 8, 8)}}, "Title"),
    "agreements": lambda: comparisons.agreements(
        {"labels": {"units": IMAGES[:, 400], "random": IMAGES[:, 401]}}, "Title"
    ),
    "effect_sizes": lambda: comparisons.effect_sizes(
        {"a layer": {"random": Estimate(0.1, 0.0, 0.2, 9), "PCA": Estimate(0.5, 0.4, 0.6, 9)}}, 0.147, "Title"
    ),
    "error_bars": lambda: comparisons.error_bars(RATES, {"softmax 1": 2.5, "softmax 1e-4": 1.0}, "Title"),
    "spectra": lambda: curves.spectra({"AlexNet": {"conv1": IMAGES[:3] + 0.1, "conv2": IMAGES[0] + 0.2}}, "Title"),
    "norm_by_frequency": lambda: curves.norm_by_frequency(
        IMAGES[0, :64].reshape(8, 8).numpy(), np.array([[0, 0], [0.2, 0.8]]), "Title"
    ),
    "distances": lambda: comparisons.distances(
        {"softmax 1": {"product": IMAGES[:, 0] + 0.1, "attack": IMAGES[:, 1] + 1}}, "Title"
    ),
    "bounds_beside": lambda: comparisons.bounds_beside(
        {"a": [2.0, 3.0], "b": [float("nan"), 1.0]}, ["x", "y"], "Title"
    ),
}
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


def shown(ax) -> np.ndarray:
    """Grey levels in [0, 1] of the image in some axes."""
    (image,) = ax.images
    return image.to_rgba(image.get_array())[..., 0]


def test_a_grid_shows_images_as_they_are():
    """Black is 0 and white is 1, whatever else the image holds, and rows of pixels are rows."""
    images = torch.full((5, 784), 0.5)
    images[0, 0], images[0, 27], images[0, 783] = 0, 1, 0.25
    axes = grids.image_grid(images, 3, "Title").axes
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 1, 1, 0]
    first = shown(axes[0])
    assert first[[0, 0, 27, 14], [0, 27, 27, 14]] == pytest.approx([0, 1, 0.25, 0.5], abs=0.01)


def test_row_titles_stand_over_their_rows_and_leave_the_images_their_size():
    figure = grids.image_grid(IMAGES[:8], 4, "Title", row_titles=["first", "a title wider than one image"])
    figure.canvas.draw()
    first, second = figure.axes[0], figure.axes[4]
    assert [ax.texts[0].get_text() for ax in (first, second)] == ["first", "a title wider than one image"]
    assert all(ax.get_window_extent().width > 0.2 * figure.bbox.width for ax in figure.axes)
    bottom_of_first, top_of_second = first.get_window_extent().y0, second.get_window_extent().y1
    title = second.texts[0].get_window_extent()
    assert top_of_second <= title.y0 < title.y1 <= bottom_of_first


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_a_symmetric_grid_leaves_zero_mid_grey(scale):
    images = torch.zeros(2, 784)
    images[0, 1], images[0, 2] = -2 * scale, scale
    first, blank = (shown(ax) for ax in grids.image_grid(images, 2, "Title", symmetric=True).axes)
    assert first[0, :3] == pytest.approx([0.5, 0, 0.75], abs=0.01)
    assert blank == pytest.approx(np.full((28, 28), 0.5), abs=0.01)


def test_a_strip_shows_original_perturbation_and_answer():
    inputs, adversarial = torch.full((2, 784), 0.5), torch.full((2, 784), 0.5)
    adversarial[0, 0], adversarial[0, 1] = 0.51, 0.48
    figure = grids.attack_strip(inputs, adversarial, LABELS[3:5], LABELS[7:9], "Title")
    rows = np.array(figure.axes).reshape(3, 2)
    assert [ax.get_title() for ax in rows[0]] == ["3", "4"]
    assert [ax.get_xlabel() for ax in rows[2]] == ["says 7", "says 8"]
    assert shown(rows[1, 0])[0, :3] == pytest.approx([0.75, 0, 0.5], abs=0.01)
    assert shown(rows[1, 1]) == pytest.approx(np.full((28, 28), 0.5), abs=0.01)
    assert shown(rows[2, 0])[0, :3] == pytest.approx([0.51, 0.48, 0.5], abs=0.01)


def test_panels_alternate_original_and_distorted():
    originals = torch.linspace(0, 0.7, 8)[:, None].expand(8, 784)
    figure = grids.pairs_panels({"left": (originals, originals + 0.05), "right": (originals, originals)}, 4, "Title")
    left, right = figure.subfigs
    assert (left.get_suptitle(), right.get_suptitle()) == ("left", "right")
    expected = torch.stack([originals[:, 0], originals[:, 0] + 0.05], dim=1).flatten().tolist()
    assert [shown(ax)[0, 0] for ax in left.axes] == pytest.approx(expected, abs=0.01)


def test_histograms_leave_out_what_was_not_found():
    some = {"softmax 1": torch.tensor([0.1, 0.2, torch.inf])}
    (ax,) = comparisons.distortion_histograms(some, {}, "Title").axes
    assert sum(bar.get_height() for bar in ax.patches) == 2


def test_histograms_mark_our_mean_and_the_papers_where_there_is_one():
    top, bottom = comparisons.distortion_histograms(DISTORTIONS, {"softmax 1": 0.14}, "Title").axes
    assert [line.get_xdata()[0] for line in top.lines] == pytest.approx([float(IMAGES[:, 0].mean()), 0.14])
    assert [line.get_xdata()[0] for line in bottom.lines] == pytest.approx([float(IMAGES[:, 1].mean())])
    counts = [sum(patch.get_height() for patch in ax.patches) for ax in (top, bottom)]
    assert counts == [16, 16]


def test_every_cell_of_a_matrix_is_written_where_it_has_a_number():
    values = np.array([[100, 20], [np.nan, 3]])
    (ax,) = comparisons.matrices({"paper": (["a", "b"], ["c", "d"], values)}, "Title").axes
    assert [text.get_text() for text in ax.texts] == ["100", "20", "3"]
    assert [text.get_position() for text in ax.texts] == [(0, 0), (1, 0), (1, 1)]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["c", "d"]


def test_the_papers_cells_stand_beside_ours_and_what_is_missing_stays_empty():
    figure = comparisons.paper_and_ours(
        {("a", "c"): 1.0}, {("a", "c"): 2.0, ("b", "d"): 3.0}, ["a", "b"], "cd", "Title"
    )
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("the paper", "ours")
    assert [text.get_text() for text in left.texts] == ["1"]
    assert [text.get_text() for text in right.texts] == ["2", "3"]


def test_every_method_has_one_sign_in_all_panels():
    panels = {"a": {"ours": (1.0, 0.0), "theirs": (100.0, 2.0)}, "b": {"theirs": (10.0, 1.0)}}
    figure = comparisons.time_against_distortion(panels, "Title")
    signs = [(line.get_label(), line.get_marker(), line.get_color()) for ax in figure.axes for line in ax.lines]
    theirs = {sign for sign in signs if sign[0] == "theirs"}
    assert len(theirs) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs"]


@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_can_be_told_from_black_and_from_white(colour):
    """WCAG's contrast ratio; 1.9 is what Okabe and Ito's lightest colours leave on white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgba(colour)[:3]]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    assert min((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)) > 1.9


# --- The smallest of each -------------------------------------------------------------------------

SMALLEST: dict[str, Callable[[], Figure]] = {
    "one image": lambda: grids.image_grid(IMAGES[:1], 1, "Title"),
    "one curve": lambda: curves.training_curves({"a": [1.0]}, "Title"),
    "one attack": lambda: grids.attack_strip(IMAGES[:1], NEAR[:1], LABELS[:1], LABELS[1:2], "Title"),
    "one panel": lambda: grids.pairs_panels({"attack": (IMAGES, NEAR)}, 2, "Title"),
    "one row of panels": lambda: grids.pairs_panels({"attack": (IMAGES, NEAR), "noise": (NEAR, IMAGES)}, 1, "Title"),
    "one histogram": lambda: comparisons.distortion_histograms({"a": IMAGES[:, 0]}, {}, "Title"),
    "all prices succeed": lambda: curves.search_over_c(
        torch.ones(1), torch.ones(1), torch.tensor([True]), 1.0, "Title"
    ),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_one_of_anything_is_enough(name):
    figure = SMALLEST[name]()
    assert "Title" in words(figure)
    assert pixels(figure)[..., 3].any()
    assert plt.get_fignums() == []


# --- Section 4.3 ----------------------------------------------------------------------------------


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


def test_distances_show_the_middle_ninety_per_cent_and_the_median():
    """Of the distances that say something: not 0, of images of the target class already, and not unknown or endless."""
    values = torch.cat([torch.linspace(1, 3, 101), torch.tensor([0, torch.nan, torch.inf])])
    (ax,) = comparisons.distances({"a": {"attack": values}}, "Title").axes
    bar, dot = ax.lines
    assert bar.get_xdata() == pytest.approx([1.1, 2.9])
    assert dot.get_xdata() == pytest.approx([2])
