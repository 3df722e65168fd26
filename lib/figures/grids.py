"""Pictures in a grid: digits, pairs, originals beside what was made of them, what a unit likes best."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures import style
from lib.figures.mosaic import mosaic
from lib.figures.style import _image

NO_PHOTOGRAPHS = (
    "No network or no photographs in this build (see the top of the page):\n"
    "nothing can be shown, since pictures of a data set are not kept with the book."
)


def image_grid(
    images: Tensor, num_columns: int, title: str, symmetric: bool = False, row_titles: Sequence[str] = ()
) -> Figure:
    """Images (N, 784) in rows of `num_columns`; `symmetric` scales each one to its own largest absolute value."""
    num_rows = -(-len(images) // num_columns)
    side, gap, head = 7 / num_columns, 0.25 if row_titles else 0.05, 0.4 + 0.2 * bool(row_titles)  # inches
    height = num_rows * side + (num_rows - 1) * gap + head
    figure, axes = plt.subplots(num_rows, num_columns, figsize=(7, height), squeeze=False)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - head / height, wspace=0.05, hspace=gap / side)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, pixels in zip(axes.flat, images, strict=False):
        limit = (float(pixels.abs().max()) or 1.0) if symmetric else 1.0
        _image(ax, pixels, low=-limit if symmetric else 0.0, high=limit)
    for ax, row_title in zip(axes[:, 0], row_titles, strict=False):
        ax.annotate(row_title, (0, 1), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", fontsize=8)
    figure.suptitle(title)
    return style.finished(figure)


def pairs_panels(panels: Mapping[str, tuple[Tensor, Tensor]], num_rows: int, title: str) -> Figure:
    """Figure 7's layout: per panel (originals, distorted), each (N, 784), in columns original, distorted, original, ...

    Each panel shows 2 num_rows pairs, four columns wide.
    """
    figure = plt.figure(figsize=(8.4, 8.4 / (4 * len(panels)) * num_rows + 0.6), layout="constrained")
    for part, (name, (originals, distorted)) in zip(
        figure.subfigures(1, len(panels), squeeze=False, wspace=0.04).flat, panels.items(), strict=True
    ):
        part.suptitle(name, fontsize=9)
        axes = part.subplots(num_rows, 4, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
        for i in range(2 * num_rows):
            row, pair = divmod(i, 2)
            _image(axes[row, 2 * pair], originals[i])
            _image(axes[row, 2 * pair + 1], distorted[i])
    figure.suptitle(title, fontsize=11)
    return style.finished(figure)


def attack_strip(inputs: Tensor, adversarial: Tensor, labels: Tensor, said: Tensor, title: str) -> Figure:
    """Three rows: originals with their labels, perturbations at full contrast, adversarial images with what is said."""
    figure, axes = plt.subplots(3, len(inputs), figsize=(0.85 * len(inputs), 3.2), squeeze=False)
    for column, (x, x_adv, label, word) in enumerate(zip(inputs, adversarial, labels, said, strict=True)):
        difference = x_adv - x
        limit = float(difference.abs().max()) or 1.0
        _image(axes[0, column], x)
        _image(axes[1, column], difference, low=-limit, high=limit)
        _image(axes[2, column], x_adv)
        axes[0, column].set_title(f"{int(label)}", fontsize=9)
        axes[2, column].set_xlabel(f"says {int(word)}", fontsize=8)
    figure.suptitle(title)
    figure.tight_layout(pad=0.3)
    return style.finished(figure)


def triples(panels: Mapping[str, Sequence[Sequence[tuple[Tensor, str]]]], title: str) -> Figure:
    """The layout of Figures 5 and 6: per panel rows of three pictures (1 or 3, H, W), each with the words over it.

    Where there is no panel, the figure says why it shows nothing.
    """
    num_rows = max((len(rows) for rows in panels.values()), default=1)
    figure = plt.figure(figsize=(7.4, 7.4 / (3.1 * max(len(panels), 1)) * num_rows * 1.12 + 0.7), layout="constrained")
    parts = figure.subfigures(1, len(panels), squeeze=False).flat if panels else []
    for part, (name, rows) in zip(parts, panels.items(), strict=True):
        part.suptitle(name, fontsize=9)
        axes = part.subplots(num_rows, 3, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        for ax in axes.flat:
            ax.set_axis_off()
        for line, row in zip(axes, rows, strict=False):
            for ax, (picture, words) in zip(line, row, strict=True):
                _image(ax, picture)
                ax.set_title(words, fontsize=6.5, pad=2)
    if not panels:
        figure.add_subplot().set_axis_off()  # a notebook shows no figure that has no axes
        figure.text(0.5, 0.4, NO_PHOTOGRAPHS, ha="center", va="center", wrap=True)
    figure.suptitle(title, fontsize=11)
    return style.finished(figure)


def picture_rows(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """Figures 1 and 2, or 3 and 4, side by side: per panel a row of pictures for every name, each in lines of five.

    A row is (k, 784) or (k, 3, height, width), all rows alike. Where a panel has none, it says so.
    """
    tallest = max(panels.values(), key=len)
    shapes = [mosaic(pictures).shape[1:] for pictures in tallest.values()]
    width = 8.4 / len(panels)  # inches
    height = sum(width * tall / wide + 0.25 for tall, wide in shapes) or 0.4
    figure = plt.figure(figsize=(8.4, height + 0.7), layout="constrained")
    for part, (name, rows) in zip(figure.subfigures(1, len(panels), squeeze=False).flat, panels.items(), strict=True):
        part.suptitle(name, fontsize=10)
        axes = part.subplots(max(len(tallest), 1), 1, squeeze=False)[:, 0]
        for ax in axes:
            ax.set_axis_off()
        for ax, (label, pictures) in zip(axes, rows.items(), strict=False):
            _image(ax, mosaic(pictures))
            ax.set_title(label, fontsize=8, loc="left", pad=3)
        if not rows:  # a notebook shows no figure that has no axes
            axes[0].text(0.5, 0.5, "no pictures on this machine", ha="center", va="center")
    figure.suptitle(title, fontsize=11)
    return style.finished(figure)
