"""How every figure of the book looks: readable on white and on black, for the colour-blind, too."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

GREY = "#808080"
ORANGE, BLUE, GREEN, VERMILION, PURPLE, SKY = "#e69f00", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY)
STYLE = {
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.facecolor": "none",
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "figure.dpi": 120,
    "font.size": 10,
}
plt.rcParams.update(STYLE)


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
