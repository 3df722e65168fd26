"""Curves: how a loss falls, where a search ends, how rates grow, how far a layer stretches."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures import style
from lib.figures.style import BLUE, COLOURS, GREEN, INK, ORANGE, VERMILION, finished
from lib.measures.intervals import Estimate

STROKES = ("-", "--", "-.", ":")


def training_curves(curves: Mapping[str, Sequence[float]], title: str) -> Figure:
    """The loss of each iterate, one line per network, logarithmic."""
    figure, (ax,) = style.panels(1, 2.8, title)
    for i, (name, losses) in enumerate(curves.items()):
        ax.plot(losses, STROKES[i % len(STROKES)], label=name)
    ax.set(yscale="log", xlabel="accepted L-BFGS iterations", ylabel="cross-entropy + decay")
    ax.grid(True, which="major")
    style.plain(ax.yaxis)
    style.key(figure)
    return finished(figure)


def learning(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ylabel: str,
    title: str,
    published: float | None = None,
) -> Figure:
    """What falls while something is learned: per name (shares of the way, values); the paper's end as a line."""
    figure, (ax,) = style.panels(1, 2.8, title)
    for i, (name, (shares, values)) in enumerate(lines.items()):
        ax.plot(100 * np.asarray(shares), values, STROKES[i % len(STROKES)], marker=".", label=name)
    if published is not None:
        ax.axhline(published, color=INK, linewidth=2, label="the paper")
    ax.set(xlabel="share of the training (%)", ylabel=ylabel)
    ax.grid(True, which="major")
    style.key(figure)
    return finished(figure)


def toy_landscape(value: Callable[[Tensor], Tensor], path: Tensor, optimum: Tensor, title: str) -> Figure:
    """Level lines of a function of points (k, 2) near the unit square, and the iterates (k, 2) of a minimisation."""
    figure, (ax,) = style.panels(1, 4, title)
    side = torch.linspace(-0.15, 1.15, 200)
    levels = value(torch.cartesian_prod(side, side)).view(200, 200).T  # contour's rows are the second coordinate
    ax.contour(side, side, levels, levels=20, colors=INK, linewidths=0.6)
    ax.add_patch(plt.Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLUE, linewidth=2, label="box"))
    ax.plot(*path.T, "o-", color=ORANGE, markersize=4, label="iterates")
    ax.plot(*optimum, "*", color=GREEN, markersize=14, label="optimum in the box")
    ax.set(xlabel="first pixel", ylabel="second pixel", aspect="equal")
    style.key(figure)
    return finished(figure)


def search_over_c(c: Tensor, length: Tensor, success: Tensor, chosen: float, title: str) -> Figure:
    """Distortion of the minimiser of c|r| + loss against c, where it reaches the target and where not; all (k,)."""
    figure, (ax,) = style.panels(1, 2.8, title)
    c, length, success = (values.cpu() for values in (c, length, success))
    ax.plot(c, length, color=INK, linewidth=1, zorder=0)
    ax.scatter(c[success], length[success], color=BLUE, marker="o", label="the network says the target")
    ax.scatter(c[~success], length[~success], color=VERMILION, marker="x", label="it does not")
    ax.axvline(chosen, color=GREEN, linestyle="--", label="largest c that succeeds")
    ax.set(xscale="log", xlabel="c", ylabel="distortion (rms over pixels)")
    style.plain(ax.xaxis)
    style.key(figure)
    return finished(figure)


def rates_against_factor(
    factors: Sequence[float],
    rates: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    ylabel: str = "error (%)",
) -> Figure:
    """One panel per network: its error (%) against how much the perturbation is scaled, one line per kind of it."""
    figure, axes = style.panels(len(rates), 1.7, title, sharex=True, sharey=True)
    for ax, (network, lines) in zip(axes, rates.items(), strict=True):
        for i, (kind, values) in enumerate(lines.items()):
            ax.plot(factors, values, STROKES[i % len(STROKES)], label=kind)
        ax.set_title("\n".join(style.broken([network], 24)))
        ax.grid(True, which="major")
    style.label(axes, "perturbation times", ylabel)
    style.key(figure)
    return finished(figure)


def rates(
    at: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[Estimate]]],
    xlabel: str,
    title: str,
    expected: Mapping[str, Sequence[float]] | None = None,
    ylabel: str = "says the target (%)",
) -> Figure:
    """Panels under each other: rates in per cent with their intervals at values from left to right, logarithmic.

    expected : per line's name what theory says, dashed in every panel.
    """
    figure, axes = style.panels(len(panels), 2.1, title, columns=1, sharex=True)
    for ax, (name, lines) in zip(axes, panels.items(), strict=True):
        for i, (label, found) in enumerate(lines.items()):
            low, value, high = (np.array([getattr(e, end) for e in found]) for end in ("low", "value", "high"))
            ax.errorbar(at, value, [value - low, high - value], fmt="os^Dv"[i] + "-", color=COLOURS[i], label=label)
            if expected:
                ax.plot(at, expected[label], "--", color=COLOURS[i], linewidth=1)
        ax.set(xscale="log", xticks=at, xticklabels=[f"{x:g}" for x in at], ylim=(-5, 105))
        ax.minorticks_off()
        ax.set_title("\n".join(style.broken([name], 40)))
        ax.grid(True, which="major")
    style.label(axes, xlabel, ylabel)
    style.key(figure)
    return finished(figure)


def spectra(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per network: all singular values of each layer, descending, against the share of them passed.

    Without panels, where no weights are there, one that says so.
    """
    panels = panels or {"not measured in this build": {}}
    figure, axes = style.panels(len(panels), 1.9, title, columns=1)
    for ax, (network, layers) in zip(axes, panels.items(), strict=True):
        for i, (layer, values) in enumerate(layers.items()):
            ordered = np.sort(values.cpu().numpy(), axis=None)[::-1]
            share = 100 * (np.arange(len(ordered)) + 0.5) / len(ordered)
            ax.plot(share, ordered, STROKES[i % len(STROKES)], color=COLOURS[i % len(COLOURS)], label=layer)
        ax.axhline(1, color=INK, linewidth=0.8)
        ax.set(yscale="log", title=network, ylabel="singular value")
        ax.grid(True, which="major")
        style.plain(ax.yaxis)
        if layers:
            ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes[-1].set_xlabel("share of the singular values (%), largest first")
    return finished(figure)


def norm_by_frequency(norms: np.ndarray, coarse: np.ndarray, title: str) -> Figure:
    """|A(omega)| on the frequencies (side, side) of a torus, the largest of them, and those of a coarse grid (k, 2).

    coarse : in cycles per pixel, as the axes are.
    """
    side = len(norms)
    figure, (ax,) = style.panels(1, 4, title)
    edges = -0.5 + np.array([-0.5, side - 0.5]) / side
    shifted = np.fft.fftshift(norms)
    picture = ax.imshow(shifted, cmap="cividis", origin="lower", extent=(*edges, *edges), interpolation="nearest")
    row, column = np.unravel_index(shifted.argmax(), shifted.shape)
    wrapped = (coarse + 0.5) % 1 - 0.5
    ax.plot(*wrapped.T[::-1], "o", color="w", markeredgecolor="k", label="the kernel's own grid", linestyle="none")
    star = {"color": VERMILION, "markeredgecolor": "w", "markersize": 17}
    ax.plot(column / side - 0.5, row / side - 0.5, "*", **star, label="the supremum", linestyle="none")
    ax.set(xlabel="horizontal frequency (cycles per pixel)", ylabel="vertical frequency")
    bar = figure.colorbar(picture, ax=ax, label="norm of A", shrink=0.8)
    bar.outline.set_edgecolor(INK)
    style.key(figure)
    return finished(figure)


def off_by_divisor(divisors: Sequence[float], off: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Points by which each network's errors exceed the printed ones, against what its decay is divided by.

    off : {network: {error: values}}: a colour for each network, a stroke for each error.
    """
    figure, (ax,) = style.panels(1, 3.2, title)
    ax.axhline(0, color=INK, linewidth=1)
    for i, (network, errors) in enumerate(off.items()):
        for stroke, (error, values) in zip("-:", errors.items(), strict=True):
            name = f"{network}, {error.removesuffix(' (%)')}"
            ax.plot(divisors, values, stroke, color=COLOURS[i], marker="osD"[i], markersize=4, label=name)
    ax.set(xscale="log", xlabel="k", ylabel="above the printed error (points)", ylim=(-8, 8))
    ax.set_xticks(divisors, [f"{k:g}" for k in divisors])
    ax.minorticks_off()
    ax.grid(True)
    style.key(figure)
    return finished(figure)
