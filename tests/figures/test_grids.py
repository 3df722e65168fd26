"""A grid shows pictures as they are, in the order in which one reads."""

import numpy as np
import pytest
import torch

from lib.figures import grids
from tests.figures_made import IMAGES, LABELS

torch.set_num_threads(1)


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
    assert [ax.get_xlabel() for ax in rows[2]] == ["→ 7", "→ 8"]
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
