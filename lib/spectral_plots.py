"""Figures of section 4.3, in the manner of `lib.plots`: measured things in, a matplotlib Figure out."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lib.plots import COLOURS, GREY, ORANGE, VERMILION, finished


def spectra(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per network: all singular values of each layer, descending, against the share of them passed."""
    num_rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(num_rows, 2, figsize=(7.4, 2.6 * num_rows + 0.5), squeeze=False, layout="constrained")
    for ax, (network, layers) in zip(axes.flat, panels.items(), strict=False):
        for i, (layer, values) in enumerate(layers.items()):
            ordered = np.sort(values.cpu().numpy(), axis=None)[::-1]
            share = 100 * (np.arange(len(ordered)) + 0.5) / len(ordered)
            ax.plot(share, ordered, ["-", "--", "-.", ":"][i % 4], color=COLOURS[i % len(COLOURS)], label=layer)
        ax.axhline(1, color=GREY, linewidth=0.8)
        ax.set_yscale("log")
        ax.set_title(network, fontsize=9)
        ax.grid(True, which="major")
        ax.legend(fontsize=7, ncols=2, loc="lower left")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel("share of the singular values (%), largest first", fontsize=9)
    figure.supylabel("singular value", fontsize=9)
    figure.suptitle(title)
    return finished(figure)


def norm_by_frequency(norms: np.ndarray, coarse: np.ndarray, title: str) -> Figure:
    """|A(omega)| on the frequencies (side, side) of a torus, the largest of them, and those of a coarse grid (k, 2).

    coarse : in cycles per pixel, as the axes are.
    """
    side = len(norms)
    figure, ax = plt.subplots(figsize=(5.4, 4.6))
    edges = -0.5 + np.array([-0.5, side - 0.5]) / side
    shifted = np.fft.fftshift(norms)
    picture = ax.imshow(shifted, cmap="cividis", origin="lower", extent=(*edges, *edges), interpolation="nearest")
    row, column = np.unravel_index(shifted.argmax(), shifted.shape)
    wrapped = (coarse + 0.5) % 1 - 0.5
    ax.plot(*wrapped.T[::-1], "o", color=ORANGE, markeredgecolor="k", label="the kernel's own grid", linestyle="none")
    ax.plot(column / side - 0.5, row / side - 0.5, "*", color=VERMILION, markersize=15, label="the supremum")
    ax.set(xlabel="horizontal frequency (cycles per pixel)", ylabel="vertical frequency", title=title)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    bar = figure.colorbar(picture, ax=ax, label="norm of A")
    bar.outline.set_edgecolor(GREY)
    figure.tight_layout()
    return finished(figure)


def distances(panels: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """One panel per network, one line per certificate or attack: median and middle 90 % of distances, logarithmic."""
    kinds = list(dict.fromkeys(kind for lines in panels.values() for kind in lines))
    heights = [len(lines) for lines in panels.values()]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(7, 0.24 * sum(heights) + 0.34 * len(panels) + 0.9),
        sharex=True,
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    for ax, (network, lines) in zip(axes[:, 0], panels.items(), strict=True):
        for place, (kind, values) in enumerate(lines.items()):
            low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
            colour = COLOURS[kinds.index(kind) % len(COLOURS)]
            ax.plot([low, high], [place, place], color=colour, linewidth=4, alpha=0.5, solid_capstyle="butt")
            ax.plot(median, place, "o", color=colour, markersize=5)
        ax.set_yticks(range(len(lines)), list(lines), fontsize=7)
        ax.set_ylim(len(lines) - 0.4, -0.6)
        ax.set_title(network, fontsize=9, loc="left")
        ax.grid(True, axis="x", which="major")
    axes[-1, 0].set(xscale="log", xlabel="distance from the image (rms over pixels)")
    figure.suptitle(title)
    return finished(figure)


def bounds_beside(series: Mapping[str, Mapping[str, float]], rows: Sequence[str], title: str) -> Figure:
    """Upper frame bounds of each layer (row), logarithmic, one sign per source; sources may lack layers."""
    figure, ax = plt.subplots(figsize=(7, 0.36 * len(rows) + 1.7))
    for i, (name, values) in enumerate(series.items()):
        place = [rows.index(row) + 0.12 * (i - (len(series) - 1) / 2) for row in values]
        ax.plot(list(values.values()), place, "osD^v"[i], color=COLOURS[i], markersize=7, linestyle="none", label=name)
    ax.axvline(1, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="upper frame bound", title=title)
    ax.grid(True, axis="x", which="both")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.9 / (0.36 * len(rows) + 0.9)), ncols=4)
    figure.tight_layout()
    return finished(figure)
