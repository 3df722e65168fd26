"""Pictures in a grid: digits, pairs, originals beside what was made of them, what a unit likes best."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from lib.figures import style
from lib.figures.mosaic import mosaic
from lib.figures.style import _image


def image_grid(
    images: Tensor, num_columns: int, title: str, symmetric: bool = False, row_titles: Sequence[str] = ()
) -> Figure:
    """Images (N, 784) in rows of `num_columns`; `symmetric` scales each one to its own largest absolute value."""
    num_rows, title = -(-len(images) // num_columns), style.titled(title)
    side, gap = style.WIDTH / num_columns, 0.25 if row_titles else 0.05  # inches
    head = 0.2 * (1 + title.count("\n")) + 0.2 + 0.2 * bool(row_titles)
    height, shape = num_rows * side + (num_rows - 1) * gap + head, (num_rows, num_columns)
    figure, axes = plt.subplots(*shape, figsize=(style.WIDTH, height), squeeze=False, layout="none")
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - head / height, wspace=0.05, hspace=gap / side)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, pixels in zip(axes.flat, images, strict=False):
        limit = (float(pixels.abs().max()) or 1.0) if symmetric else 1.0
        _image(ax, pixels, low=-limit if symmetric else 0.0, high=limit)
    for ax, row_title in zip(axes[:, 0], row_titles, strict=False):
        ax.annotate(row_title, (0, 1), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points")
    figure.suptitle(title, y=1 - 0.04 / height)
    return style.finished(figure)


def pairs_panels(panels: Mapping[str, tuple[Tensor, Tensor]], num_rows: int, title: str) -> Figure:
    """Figure 7's layout: per panel (originals, distorted), each (N, 784), in columns original, distorted, original, ...

    Each panel shows 2 num_rows pairs, in lines of two.
    """
    figure, parts = _parts(len(panels), style.WIDTH / (4 * min(len(panels), 2)) * num_rows + 0.35, title)
    for part, (name, (originals, distorted)) in zip(parts, panels.items(), strict=True):
        part.suptitle(name, fontsize="medium")
        axes = part.subplots(num_rows, 4, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
        for i in range(2 * num_rows):
            row, pair = divmod(i, 2)
            _image(axes[row, 2 * pair], originals[i])
            _image(axes[row, 2 * pair + 1], distorted[i])
    return style.finished(figure)


def attack_strip(inputs: Tensor, adversarial: Tensor, labels: Tensor, said: Tensor, title: str) -> Figure:
    """Three rows: originals with their labels, perturbations at full contrast, adversarial images with what is said."""
    shape, height = (3, len(inputs)), 3 * style.WIDTH / len(inputs) + 1.1
    figure, axes = plt.subplots(*shape, figsize=(style.WIDTH, height), squeeze=False)
    for column, (x, x_adv, label, word) in enumerate(zip(inputs, adversarial, labels, said, strict=True)):
        difference = x_adv - x
        limit = float(difference.abs().max()) or 1.0
        _image(axes[0, column], x)
        _image(axes[1, column], difference, low=-limit, high=limit)
        _image(axes[2, column], x_adv)
        axes[0, column].set_title(f"{int(label)}")
        axes[2, column].set_xlabel(f"→ {int(word)}")
    figure.get_layout_engine().set(w_pad=0, h_pad=0.02, wspace=0, hspace=0)
    figure.suptitle(style.titled(title))
    return style.finished(figure)


def triples(panels: Mapping[str, Sequence[Sequence[tuple[Tensor, str]]]], title: str) -> Figure:
    """Figure 6's layout: per panel rows of three pictures (1 or 3, H, W), each with the words over it."""
    num_rows = max(map(len, panels.values()))
    figure, parts = _parts(len(panels), num_rows * (style.WIDTH / 3 + 0.25) + 0.3, title, columns=1)
    for part, (name, rows) in zip(parts, panels.items(), strict=True):
        part.suptitle(name, fontsize="medium")
        axes = part.subplots(num_rows, 3, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        for ax in axes.flat:
            ax.set_axis_off()
        for line, row in zip(axes, rows, strict=False):
            for ax, (picture, words) in zip(line, row, strict=True):
                _image(ax, picture)
                ax.set_title("\n".join(style.broken([words], 18)), pad=2)
    return style.finished(figure)


def picture_rows(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """Figures 1 and 2, or 3 and 4, side by side: per panel a row of pictures for every name, each in lines of five.

    A row is (k, 784) or (k, 3, height, width), all rows alike. Where a panel has none, it says so.
    """
    tallest = max(panels.values(), key=len)
    shapes = [mosaic(pictures).shape[1:] for pictures in tallest.values()]
    width = style.WIDTH / min(len(panels), 2)  # inches
    height = sum(width * tall / wide + 0.3 for tall, wide in shapes) or 0.4
    figure, parts = _parts(len(panels), height + 0.3, title)
    for part, (name, rows) in zip(parts, panels.items(), strict=True):
        part.suptitle(name, fontsize="medium")
        axes = part.subplots(max(len(tallest), 1), 1, squeeze=False)[:, 0]
        for ax in axes:
            ax.set_axis_off()
        for ax, (label, pictures) in zip(axes, rows.items(), strict=False):
            _image(ax, mosaic(pictures))
            ax.set_title("\n".join(style.broken([label], 28)), loc="left", pad=3)
        if not rows:  # a notebook shows no figure that has no axes
            axes[0].text(0.5, 0.5, "no pictures on this machine", ha="center", va="center")
    return style.finished(figure)


def _parts(num: int, height: float, title: str, columns: int = 2) -> tuple[Figure, list[SubFigure]]:
    """A titled figure in `num` parts, at most `columns` side by side, each `height` inches high."""
    columns = min(num, columns)
    lines = -(-num // columns)
    figure = plt.figure(figsize=(style.WIDTH, lines * height + 0.5))
    figure.suptitle(style.titled(title))
    return figure, list(figure.subfigures(lines, columns, squeeze=False, wspace=0.04).flat)[:num]
