"""Curves: how a loss falls, where a search ends, how rates grow, how far a layer stretches."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures.style import BLUE, COLOURS, GREEN, GREY, ORANGE, VERMILION, finished


def training_curves(curves: Mapping[str, Sequence[float]], title: str) -> Figure:
    """The loss of each iterate, one line per network, logarithmic."""
    figure, ax = plt.subplots(figsize=(7, 3.6))
    for (name, losses), style in zip(curves.items(), ["-", "--", "-.", ":"] * 3, strict=False):
        ax.plot(losses, style, label=name)
    ax.set(yscale="log", xlabel="accepted L-BFGS iterations", ylabel="cross-entropy + decay", title=title)
    ax.grid(True, which="major")
    ax.legend(ncols=2, fontsize=8)
    figure.tight_layout()
    return finished(figure)


def learning(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ylabel: str,
    title: str,
    published: float | None = None,
) -> Figure:
    """What falls while something is learned: per name (shares of the way, values); the paper's end as a line."""
    figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for (name, (shares, values)), style in zip(lines.items(), ["-", "--", "-.", ":"] * 3, strict=False):
        ax.plot(100 * np.asarray(shares), values, style, marker=".", label=name)
    if published is not None:
        ax.axhline(published, color=VERMILION, linestyle="--", linewidth=1, label="the paper")
    ax.set(xlabel="share of the training (%)", ylabel=ylabel, title=title)
    ax.grid(True, which="major")
    if ax.lines:
        figure.legend(fontsize=8, loc="outside lower center", ncols=4)
    return finished(figure)


def toy_landscape(value: Callable[[Tensor], Tensor], path: Tensor, optimum: Tensor, title: str) -> Figure:
    """Level lines of a function of points (k, 2) near the unit square, and the iterates (k, 2) of a minimisation."""
    figure, ax = plt.subplots(figsize=(5, 4.6))
    side = torch.linspace(-0.15, 1.15, 200)
    levels = value(torch.cartesian_prod(side, side)).view(200, 200).T  # contour's rows are the second coordinate
    ax.contour(side, side, levels, levels=25, colors=GREY, linewidths=0.6, alpha=0.7)
    ax.add_patch(plt.Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLUE, linewidth=2))
    ax.plot(*path.T, "o-", color=ORANGE, markersize=4, label="iterates, first to last")
    ax.plot(*optimum, "*", color=GREEN, markersize=14, label="optimum in the box")
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title=title, aspect="equal")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    figure.tight_layout()
    return finished(figure)


def search_over_c(c: Tensor, length: Tensor, success: Tensor, chosen: float, title: str) -> Figure:
    """Distortion of the minimiser of c|r| + loss against c, where it reaches the target and where not; all (k,)."""
    figure, ax = plt.subplots(figsize=(7, 3.6))
    c, length, success = (values.cpu() for values in (c, length, success))
    ax.plot(c, length, color=GREY, linewidth=1, zorder=0)
    ax.scatter(c[success], length[success], color=BLUE, marker="o", label="the network says the target")
    ax.scatter(c[~success], length[~success], color=VERMILION, marker="x", label="it does not")
    ax.axvline(chosen, color=GREEN, linestyle="--", label="largest c that succeeds")
    ax.set(xscale="log", xlabel="c", ylabel="distortion of the minimiser (rms)", title=title)
    ax.legend(fontsize=8)
    figure.tight_layout()
    return finished(figure)


def rates_against_factor(
    factors: Sequence[float],
    rates: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    ylabel: str = "error (%)",
) -> Figure:
    """One panel per network: its error (%) against how much the perturbation is scaled, one line per kind of it."""
    num_rows = -(-len(rates) // 2)
    figure, axes = plt.subplots(num_rows, 2, figsize=(7, 2.3 * num_rows + 0.8), sharex=True, sharey=True, squeeze=False)
    for ax, (network, lines) in zip(axes.flat, rates.items(), strict=False):
        for (kind, values), style in zip(lines.items(), ["-", "--", "-.", ":"] * 3, strict=False):
            ax.plot(factors, values, style, label=kind)
        ax.set_title(network, fontsize=9)
        ax.grid(True, which="major")
    for ax in axes.flat[len(rates) :]:
        ax.set_axis_off()
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("perturbation times", fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    figure.suptitle(title)
    figure.tight_layout()
    return finished(figure)


def spectra(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per network: all singular values of each layer, descending, against the share of them passed.

    Without panels, where no weights are there, one that says so.
    """
    panels = panels or {"not measured in this build": {}}
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
        if layers:
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


def off_by_divisor(divisors: Sequence[float], off: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Points by which each network's errors exceed the printed ones, against what its decay is divided by.

    off : {network: {error: values}}: a colour for each network, a stroke for each error.
    """
    figure, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
    ax.axhline(0, color=GREY, linewidth=1)
    for i, (network, errors) in enumerate(off.items()):
        for stroke, (error, values) in zip("-:", errors.items(), strict=True):
            name = f"{network}, {error.removesuffix(' (%)')}"
            ax.plot(divisors, values, stroke, color=COLOURS[i], marker="osD"[i], markersize=4, label=name)
    ax.set(xscale="log", xlabel="k", ylabel="above the printed error (points)", ylim=(-8, 8))
    ax.set_xticks(divisors, [f"{k:g}" for k in divisors])
    ax.minorticks_off()
    ax.grid(True)
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=1)
    return finished(figure)
