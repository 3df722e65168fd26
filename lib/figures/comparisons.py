"""Figures, and nothing but figures: every function takes measured things and returns a matplotlib Figure.

Backgrounds are transparent and text is mid-grey, so that one picture serves light and dark pages; colours are Okabe and
Ito's, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from lib.figures import style
from lib.figures.style import BLUE, COLOURS, GREY, ORANGE, SKY, VERMILION, finished
from lib.measures.intervals import Estimate


def estimates(
    series: Mapping[str, Mapping[str, Estimate]], published: float, xlabel: str, title: str, xscale: str = "log"
) -> Figure:
    """Series of numbers with their intervals, one row per name and one colour per series; the paper's as a line."""
    names = list(dict.fromkeys(name for values in series.values() for name in values))
    figure, ax = plt.subplots(figsize=(7, 0.42 * len(names) + 1.6), layout="constrained")
    for i, (label, values) in enumerate(series.items()):
        place = [names.index(name) + 0.18 * (i - (len(series) - 1) / 2) for name in values]
        middle = np.array([estimate.value for estimate in values.values()])
        ends = np.abs([[e.low for e in values.values()], [e.high for e in values.values()]] - middle)
        ax.errorbar(middle, place, xerr=ends, fmt="os^D"[i], color=COLOURS[i], capsize=3, label=label)
    ax.axvline(published, color=VERMILION, linestyle="--", label="the paper")
    ax.set_yticks(range(len(names)), names)
    ax.set(xscale=xscale, xlabel=xlabel, title=title)
    ax.margins(y=0.25)
    ax.invert_yaxis()
    ax.grid(True, which="both", axis="x")
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return style.finished(figure)


def time_against_distortion(panels: Mapping[str, Mapping[str, tuple[float, float]]], title: str) -> Figure:
    """One panel per network: each method's (milliseconds an image, per cent longer than the tight attack's)."""
    methods = list(dict.fromkeys(name for points in panels.values() for name in points))
    styles = {name: (COLOURS[i % len(COLOURS)], "osD^vP*Xh"[i % 9]) for i, name in enumerate(methods)}
    num_rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(num_rows, 2, figsize=(7, 2.5 * num_rows + 0.9), squeeze=False)
    for ax, (network, points) in zip(axes.flat, panels.items(), strict=False):
        ax.axhline(0, color=GREY, linewidth=0.8)
        for name, (ms, longer) in points.items():
            colour, marker = styles[name]
            ax.plot(ms, longer, marker, color=colour, markersize=8, label=name, alpha=0.9)
        ax.set(xscale="log", title=network, xlabel="ms an image", ylabel="longer by (%)")
        ax.grid(True, which="major")
        ax.margins(0.12)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    handles = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=3, fontsize=8)
    figure.suptitle(title)
    figure.tight_layout(rect=(0, 0.06 + 0.035 * -(-len(methods) // 3) / num_rows, 1, 1))
    return style.finished(figure)


def matrices(panels: Mapping[str, tuple[Sequence[str], Sequence[str], np.ndarray]], title: str) -> Figure:
    """Tables of per cents as pictures side by side: per panel labels of rows, of columns, and values (rows, columns).

    nan, where a table has no such cell, stays empty.
    """
    height = 0.38 * max(len(rows) for rows, _, _ in panels.values()) + 1.6
    figure, axes = plt.subplots(1, len(panels), figsize=(7.4, height), sharey=True, squeeze=False, layout="constrained")
    for ax, (name, (rows, columns, values)) in zip(axes.flat, panels.items(), strict=True):
        ax.imshow(values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                ax.text(j, i, f"{value:.0f}", ha="center", va="center", color="w" if value < 60 else "k", fontsize=7)
        ax.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=7)
        ax.set_yticks(range(len(rows)), rows, fontsize=7)
        ax.set_title(name, fontsize=9)
        ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel("made for")
    figure.supxlabel("fed to", fontsize=9)
    figure.suptitle(title)
    return style.finished(figure)


def paper_and_ours(theirs: Mapping, ours: Mapping, rows: Sequence[str], columns: Sequence[str], title: str) -> Figure:
    """`matrices` of per cents by (row, column): the paper's, and beside them ours."""
    panels = {"the paper": theirs, "ours": ours}
    grids = {who: [[told.get((row, c), np.nan) for c in columns] for row in rows] for who, told in panels.items()}
    return matrices({who: (rows, columns, np.array(grid)) for who, grid in grids.items()}, title)


def distortion_histograms(distortions: Mapping[str, Tensor], published: Mapping[str, float], title: str) -> Figure:
    """One row per network: the distribution of distortions (N,), its mean, and the paper's mean where it prints one.

    Distortions of inf, where an attack found nothing, are left out.
    """
    distortions = {name: values[values.isfinite()] for name, values in distortions.items()}
    num_rows = len(distortions)
    figure, axes = plt.subplots(num_rows, 1, figsize=(7, 0.75 * num_rows + 0.8), sharex=True, squeeze=False)
    axes = axes[:, 0]
    limit = max(float(values.max()) for values in distortions.values())
    for ax, (name, values) in zip(axes, distortions.items(), strict=True):
        ax.hist(values.cpu().numpy(), bins=np.linspace(0, limit, 60), color=SKY, alpha=0.8)
        ax.axvline(float(values.mean()), color=BLUE, label="our mean")
        if name in published:
            ax.axvline(published[name], color=VERMILION, linestyle="--", label="the paper's mean")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
    axes[0].legend(fontsize=8, ncols=2, loc="upper right")
    axes[0].set_title(title)
    axes[-1].set_xlabel("distortion (rms over pixels)")
    figure.tight_layout(h_pad=0.1)
    return style.finished(figure)


def error_bars(table: Mapping[str, Mapping[str, float]], published: Mapping[str, float], title: str) -> Figure:
    """Test error in % of each network (row) under each reading (series), with the paper's as a cross."""
    figure, ax = plt.subplots(figsize=(7, 3))
    series = list(next(iter(table.values())))
    for i, (name, values) in enumerate(table.items()):
        for j, reading in enumerate(series):
            ax.barh(
                i + 0.25 * (1 - j), values[reading], height=0.22, color=COLOURS[j], label=reading if i == 0 else None
            )
        ax.plot(
            [published[name]] * 2, [i - 0.45, i + 0.45], color=GREY, linewidth=2, label="the paper" if i == 0 else None
        )
    ax.set_yticks(range(len(table)), list(table))
    ax.invert_yaxis()
    ax.set(xlabel="test error (%)", title=title)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=4)
    figure.tight_layout()
    return style.finished(figure)


def agreements(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per judge: how the images of every unit and direction agree, a box (quartiles) for each family."""
    height = 0.3 * len(next(iter(panels.values()))) + 1.3
    figure, axes = plt.subplots(1, len(panels), figsize=(8.4, height), sharey=True, squeeze=False, layout="constrained")
    line = {"color": GREY}
    for ax, (judge, families) in zip(axes.flat, panels.items(), strict=True):
        boxes = ax.boxplot(
            [values.numpy() for values in families.values()],
            orientation="horizontal",
            tick_labels=list(families),
            showmeans=True,
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": VERMILION},
            meanprops={"marker": "D", "markerfacecolor": ORANGE, "markeredgecolor": ORANGE, "markersize": 4},
            whiskerprops=line,
            capprops=line,
        )
        for box, name in zip(boxes["boxes"], families, strict=True):
            box.set(facecolor=BLUE if name == "units" else SKY, edgecolor=GREY, alpha=0.7)
        ax.set_title(judge, fontsize=9)
        ax.grid(True, axis="x")
    axes[0, 0].invert_yaxis()
    figure.supxlabel("agreement of the best images (mean cosine of their pairs)", fontsize=9)
    figure.suptitle(title)
    return style.finished(figure)


def effect_sizes(effects: Mapping[str, Mapping[str, Estimate]], limit: float, title: str) -> Figure:
    """Cliff's delta with its interval: a line for every name, a colour for every series; negligible up to `limit`."""
    series = list(dict.fromkeys(name for row in effects.values() for name in row))
    figure, ax = plt.subplots(figsize=(7.4, (0.16 * len(series) + 0.16) * len(effects) + 1.5), layout="constrained")
    ax.axvspan(-limit, limit, color=GREY, alpha=0.2, linewidth=0, label="negligible")
    ax.axvline(0, color=GREY, linewidth=0.8)
    for i, name in enumerate(series):
        found = {j: row[name] for j, row in enumerate(effects.values()) if name in row}
        place = [j + 0.8 * ((i + 0.5) / len(series) - 0.5) for j in found]
        spread = [[abs(e.value - e.low) for e in found.values()], [abs(e.high - e.value) for e in found.values()]]
        marks = {"fmt": "osD^vP*"[i % 7], "color": COLOURS[i % len(COLOURS)], "markersize": 5, "label": name}
        ax.errorbar([e.value for e in found.values()], place, xerr=spread, **marks)
    ax.set_yticks(range(len(effects)), list(effects))
    ax.set(xlim=(-1.05, 1.05), xlabel="Cliff's delta: directions agree more  <  0  <  units agree more", title=title)
    ax.invert_yaxis()
    figure.legend(fontsize=8, loc="outside lower center", ncols=4)
    return style.finished(figure)


def distances(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per network, one line per certificate or attack: median and middle 90 % of distances, logarithmic.

    Distances (N,) are root mean squares; those that are 0, inf or nan are left out.
    """
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
            shown = values[(values > 0) & values.isfinite()].cpu().numpy()
            low, median, high = np.quantile(shown, [0.05, 0.5, 0.95])
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


def bounds_beside(series: Mapping[str, Sequence[float]], rows: Sequence[str], title: str) -> Figure:
    """Upper frame bounds of each layer (row), logarithmic, one sign per source; nan where a source lacks a layer."""
    figure, ax = plt.subplots(figsize=(7, 0.36 * len(rows) + 1.7))
    for i, (name, values) in enumerate(series.items()):
        place = np.arange(len(rows)) + 0.12 * (i - (len(series) - 1) / 2)
        ax.plot(values, place, "osD^v"[i], color=COLOURS[i], markersize=7, linestyle="none", label=name)
    ax.axvline(1, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="upper frame bound", title=title)
    ax.grid(True, axis="x", which="both")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.9 / (0.36 * len(rows) + 0.9)), ncols=4)
    figure.tight_layout()
    return finished(figure)


def candidates(ratios: Mapping[str, Mapping[str, float]], title: str, xlabel: str = "ours over the paper's") -> Figure:
    """A line for each candidate and on it a sign for each network, logarithmic; at 1 ours is what the paper prints."""
    networks = list(dict.fromkeys(name for row in ratios.values() for name in row))
    figure, ax = plt.subplots(figsize=(4.8, 0.55 * len(ratios) + 1.9), layout="constrained")
    ax.axvline(1, color=VERMILION, linestyle="--", label="the paper")
    for i, name in enumerate(networks):
        found = {place: row[name] for place, row in enumerate(ratios.values()) if name in row}
        ax.plot([*found.values()], [*found], "osD^vP"[i], color=COLOURS[i], linestyle="none", label=name)
    for place, candidate in enumerate(ratios):  # above its line: beside it a phone has no room
        ax.text(0.01, place - 0.3, candidate, transform=ax.get_yaxis_transform(), va="center")
    ax.set(xscale="log", xlabel=xlabel, ylim=(len(ratios) - 0.6, -0.8), yticks=range(len(ratios)))
    ax.tick_params(axis="y", length=0, labelleft=False)
    ax.margins(x=0.1)
    _plain(ax.xaxis)
    ax.grid(True, axis="y")
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=2)
    return finished(figure)


def _plain(axis: Axis) -> None:
    """Ticks of a logarithmic axis as numbers: exponents would be smaller than the text."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def comb(rates: Mapping[str, Sequence[str]], size: int, title: str) -> Figure:
    """A ruler of per cents whose teeth are the multiples of 1 / size, ten per cent a line, and on it printed rates.

    rates : by the kind of images that they are of, as printed; each is as wide as its digits leave it.
    """
    figure, ax = plt.subplots(figsize=(4.8, 4.9), layout="constrained")
    teeth = 100 * np.arange(size) / size
    ax.vlines(teeth % 10, teeth // 10 - 0.25, teeth // 10 + 0.25, color=GREY, linewidth=0.7)
    for i, (kind, printed) in enumerate(rates.items()):
        values = np.array([float(value) for value in printed])
        half = [0.5 * 10 ** -len(value.partition(".")[2]) for value in printed]
        marks = {"fmt": "osD^v"[i], "color": COLOURS[i], "markersize": 5, "alpha": 0.9, "label": kind}
        ax.errorbar(values % 10, values // 10 - 0.12 + 0.12 * i, xerr=half, **marks)
    ax.set_yticks(range(10), [f"{10 * line} + " for line in range(10)])
    ax.set(xlabel="per cent", xlim=(-0.2, 10.2), ylim=(9.6, -0.6))
    ax.spines["left"].set_visible(False)
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=1)
    return finished(figure)
