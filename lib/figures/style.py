"""How every figure of the book looks: readable on white and on black, on a phone, and for the colour-blind, too.

Every figure is WIDTH inches wide and its text is 10 points or more. A phone shows it 342 pixels wide, where 10 points
are a little over 10 pixels: 342 / WIDTH pixels an inch, 72 points an inch. So at most two panels stand side by side.

One picture serves light and dark pages: its ground is transparent, and book.css lays white or black under it. Of all
greys only those near INK have the contrast that text needs, 4.5, on both; marks need 3. Colours have Okabe and Ito's
hues, which colour-blind readers can tell apart, at a lightness that both grounds allow.

Reference: Web Content Accessibility Guidelines 2.2, 1.4.3 and 1.4.11 (contrast).
"""

import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

WIDTH = 4.6  # inches
LINE = 50  # characters that a title has room for
INK = "#757575"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0062b0", "#c68408", "#17a267", "#a8421a", "#d14a9e", "#4596d8"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, INK)
STYLE = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.pad_inches": 0.06,
    "legend.facecolor": "none",
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "grid.color": INK,
    "grid.alpha": 0.25,
    "figure.dpi": 200,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "figure.titlesize": 12,
}
plt.rcParams.update(STYLE)


def panels(num: int, height: float, title: str, columns: int = 2, **shared) -> tuple[Figure, list[Axes]]:
    """A titled figure of `num` panels, at most `columns` side by side, each `height` inches high."""
    columns = min(num, columns)
    lines = -(-num // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(WIDTH, lines * height + 0.5), squeeze=False, **shared)
    for ax in grid.flat[num:]:
        ax.set_axis_off()
    figure.suptitle(titled(title))
    return figure, list(grid.flat[:num])


def label(axes: list[Axes], x: str, y: str) -> None:
    """Names the axes of panels in two columns once for each column and each line."""
    for ax in axes[-2:]:
        ax.set_xlabel(x)
        ax.tick_params(labelbottom=True)
    for ax in axes[::2]:
        ax.set_ylabel(y)


def titled(title: str) -> str:
    """The title in lines that a figure has room for."""
    return textwrap.fill(title, LINE)


def broken(names: Iterable[str], length: int) -> list[str]:
    """Names in lines of `length` characters, so that a panel has room beside them."""
    return [textwrap.fill(name, length, break_long_words=False, break_on_hyphens=False) for name in names]


def key(figure: Figure) -> None:
    """What the signs of all panels mean, once and below them, in lines that make the figure higher."""
    every = [ax.get_legend_handles_labels() for ax in figure.axes]
    signs = {label: handle for handles, labels in every for handle, label in zip(handles, labels, strict=True)}
    if signs:
        columns = max(1, LINE // (max(map(len, signs)) + 7))
        figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(signs) // columns))
        figure.legend(signs.values(), signs.keys(), loc="outside lower center", ncols=columns)


def plain(axis: Axis) -> None:
    """Ticks of a logarithmic axis as numbers: exponents would be smaller than the text. After what is drawn there."""
    low, high = sorted(axis.get_view_interval())
    steps = (1, 2, 5) if high < 10 * low else (1, 3) if high < 200 * low else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def ink_on(colour: str | tuple[float, ...]) -> str:
    """Black or white, whichever can be read better on a colour: the contrast is at least 4.5 on any."""
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in to_rgb(colour)]
    luminance = sum(weight * level for weight, level in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "k" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "w"


def _image(ax: Axes, pixels: Tensor, low: float = 0, high: float = 1) -> None:
    """One 784-vector as 28 x 28 pixels, white on black; or (1 or 3, height, width), grey or in colour."""
    shaped = pixels.reshape(28, 28) if pixels.ndim == 1 else pixels.movedim(0, 2)
    ax.imshow(shaped.cpu().numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def finished(figure: Figure) -> Figure:
    """The figure, no longer pyplot's: a notebook would show it twice, and pyplot would keep it for ever."""
    plt.close(figure)
    return figure
