"""Every figure that there is, of made-up numbers and pictures, for tests; and how large its text is on a phone."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures import comparisons, curves, grids
from lib.measures.intervals import Estimate

torch.set_num_threads(1)

IMAGES = torch.rand(16, 784, generator=torch.Generator().manual_seed(0))
PHOTO = IMAGES[:12].view(3, 56, 56)
TRIPLE = [(PHOTO, "cat"), (PHOTO, ""), (PHOTO, "dog")]
NEAR = (IMAGES + 0.01).clamp(max=1)
LABELS = torch.arange(16) % 10
PHONE = 342  # pixels of the text's width on a screen of 390
DISTORTIONS = {"softmax 1": IMAGES[:, 0], "AE400-10": IMAGES[:, 1]}
RATES = {"softmax 1": {"λ": 3.0, "λ/2": 2.0, "λ/10": 1.0}, "softmax 1e-4": {"λ": 1.0, "λ/2": 2.0, "λ/10": 1.0}}


def bowl(points: Tensor) -> Tensor:
    return (points[:, 0] - 1) ** 2 + points[:, 1] ** 2


def texts(figure: Figure) -> list[mpl.text.Text]:
    """Every text in the figure that is drawn."""
    return [text for text in figure.findobj(mpl.text.Text) if text.get_visible() and text.get_text()]


def smallest_text(figure: Figure, width: float = PHONE) -> float:
    """The font size of its smallest text in pixels, where a page shows it `width` pixels wide.

    A notebook saves a figure with bbox_inches="tight", so that it is as wide as what is drawn, be it more or less than
    figsize, and a margin; the page brings that to its own width. Points are 72 an inch. Exponents and indices are
    smaller than they are said to be: there shall be none.
    """
    figure.draw_without_rendering()
    inches = figure.get_tightbbox().width + 2 * mpl.rcParams["savefig.pad_inches"]
    assert not [text.get_text() for text in texts(figure) if "$" in text.get_text()]
    return min(text.get_size() for text in texts(figure)) / 72 * width / inches


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
    "triples": lambda: grids.triples({"net": [TRIPLE] * 2, "other": [TRIPLE]}, "Title"),
    "learning": lambda: curves.learning(
        {"plain": ([0.5, 1.0], [3.0, 2.0]), "pools": ([0.5, 1.0], [2.5, 1.5])}, "test error (%)", "Title", published=1.2
    ),
    "learning, none": lambda: curves.learning({}, "cost", "Title"),
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
    "rates": lambda: curves.rates(
        [1, 2], {"a": {"net": [Estimate(50, 40, 60, 9)] * 2}}, "length", "Title", expected={"net": [50, 40]}
    ),
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
    "candidates": lambda: comparisons.candidates(
        {"mean": {"softmax 1": 0.9, "AE400-10": 1.1}, "pooled": {"softmax 1": 1.0}}, "Title"
    ),
    "candidates, none": lambda: comparisons.candidates({"mean": {}}, "Title"),
    "comb": lambda: comparisons.comb({"adversarial": ["0.4", "98.05"], "noise": ["5.1"]}, 256, "Title"),
    "off_by_divisor": lambda: curves.off_by_divisor(
        [1, 2, 10], {"softmax 1": {"training error (%)": [1, 0, -1], "test error (%)": [2, 1, 0]}}, "Title"
    ),
    "bounds_beside": lambda: comparisons.bounds_beside(
        {"a": [2.0, 3.0], "b": [float("nan"), 1.0]}, ["x", "y"], "Title"
    ),
}


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
