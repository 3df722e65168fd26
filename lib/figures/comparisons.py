"""Numbers beside each other: estimates and the paper's, methods, matrices, distributions, effects, bounds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures import style
from lib.figures.style import BLUE, COLOURS, INK, ORANGE, SKY, VERMILION, finished
from lib.measures.intervals import Estimate

SIGNS = "osD^vP*Xh"  # as many as there are series: a colour alone would not do


def estimates(
    series: Mapping[str, Mapping[str, Estimate]], published: float, xlabel: str, title: str, xscale: str = "log"
) -> Figure:
    """Series of numbers with their intervals, one row per name and one colour per series; the paper's as a line."""
    names = list(dict.fromkeys(name for values in series.values() for name in values))
    figure, (ax,) = style.panels(1, 0.5 * len(names) + 0.8, title)
    ax.set(xscale=xscale, xlabel=xlabel)
    for i, (label, values) in enumerate(series.items()):
        place = [names.index(name) + 0.18 * (i - (len(series) - 1) / 2) for name in values]
        middle = np.array([estimate.value for estimate in values.values()])
        ends = np.abs([[e.low for e in values.values()], [e.high for e in values.values()]] - middle)
        ax.errorbar(middle, place, xerr=ends, fmt=SIGNS[i], color=COLOURS[i], capsize=3, label=label)
    ax.axvline(published, color=VERMILION, linestyle="--", label="the paper")
    ax.update_datalim([(0.9 * published, 0), (1.1 * published, 0)], updatey=False)  # one number alone has no scale
    ax.set_yticks(range(len(names)), style.broken(names, 18))
    ax.margins(y=0.25)
    ax.invert_yaxis()
    ax.grid(True, which="both", axis="x")
    if xscale == "log":
        style.plain(ax.xaxis)
    style.key(figure)
    return finished(figure)


def time_against_distortion(panels: Mapping[str, Mapping[str, tuple[float, float]]], title: str) -> Figure:
    """One panel per network: each method's (milliseconds an image, per cent longer than the tight attack's)."""
    methods = list(dict.fromkeys(name for points in panels.values() for name in points))
    styles = {name: (COLOURS[i % len(COLOURS)], SIGNS[i % len(SIGNS)]) for i, name in enumerate(methods)}
    figure, axes = style.panels(len(panels), 1.7, title)
    for ax, (network, points) in zip(axes, panels.items(), strict=True):
        ax.axhline(0, color=INK, linewidth=0.8)
        for name, (ms, longer) in points.items():
            colour, marker = styles[name]
            ax.plot(ms, longer, marker, color=colour, markersize=8, label=name)
        ax.set(xscale="log", title=network)
        ax.grid(True, which="major")
        ax.margins(0.12)
        style.plain(ax.xaxis)
    style.label(axes, "milliseconds an image", "longer by (%)")
    style.key(figure)
    return finished(figure)


def matrices(panels: Mapping[str, tuple[Sequence[str], Sequence[str], np.ndarray]], title: str) -> Figure:
    """Tables of per cents as pictures, one below the other: labels of rows, of columns, and values (rows, columns).

    nan, where a table has no such cell, stays empty.
    """
    height = 0.27 * max(len(rows) for rows, _, _ in panels.values()) + 1.5
    figure, axes = style.panels(len(panels), height, title, columns=1)
    for ax, (name, (rows, columns, values)) in zip(axes, panels.items(), strict=True):
        picture = ax.imshow(values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = style.ink_on(picture.cmap(picture.norm(value)))
                ax.text(j, i, f"{value:.0f}", ha="center", va="center", color=ink)
        ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(rows)), rows)
        ax.set(title=name, ylabel="made for")
        ax.spines[:].set_visible(False)
    axes[-1].set_xlabel("fed to")
    return finished(figure)


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
    figure, axes = style.panels(len(distortions), 0.7, title, columns=1, sharex=True)
    limit = max(float(values.max()) for values in distortions.values())
    for ax, (name, values) in zip(axes, distortions.items(), strict=True):
        ax.hist(values.cpu().numpy(), bins=np.linspace(0, limit, 60), color=SKY)
        ax.axvline(float(values.mean()), color=BLUE, label="our mean")
        if name in published:
            ax.axvline(published[name], color=VERMILION, linestyle="--", label="the paper's mean")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
    axes[-1].set_xlabel("distortion (rms over pixels)")
    style.key(figure)
    return finished(figure)


def error_bars(table: Mapping[str, Mapping[str, float]], published: Mapping[str, float], title: str) -> Figure:
    """Test error in % of each network (row) under each reading (series), with the paper's as a line across them."""
    figure, (ax,) = style.panels(1, 0.7 * len(table) + 0.5, title)
    for i, (name, values) in enumerate(table.items()):
        for j, (reading, error) in enumerate(values.items()):
            ax.barh(i + 0.25 * (j - 1), error, height=0.22, color=COLOURS[j], label=reading)
        ax.plot([published[name]] * 2, [i - 0.45, i + 0.45], color=INK, linewidth=2, label="the paper")
    ax.set_yticks(range(len(table)), list(table))
    ax.invert_yaxis()
    ax.set_xlabel("test error (%)")
    style.key(figure)
    return finished(figure)


def agreements(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per judge: how the images of every unit and direction agree, a box (quartiles) for each family."""
    height = 0.3 * len(next(iter(panels.values()))) + 0.6
    figure, axes = style.panels(len(panels), height, title, sharey=True)
    line = {"color": INK}
    for ax, (judge, families) in zip(axes, panels.items(), strict=True):
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
            box.set(facecolor=BLUE if name == "units" else "none", edgecolor=INK)
        ax.set_title(judge)
        ax.grid(True, axis="x")
    axes[0].invert_yaxis()
    figure.supxlabel("agreement (mean cosine of pairs of the best images)", fontsize="medium")
    return finished(figure)


def effect_sizes(effects: Mapping[str, Mapping[str, Estimate]], limit: float, title: str) -> Figure:
    """Cliff's delta with its interval: a line for every name, a colour for every series; negligible up to `limit`."""
    series = list(dict.fromkeys(name for row in effects.values() for name in row))
    figure, (ax,) = style.panels(1, (0.16 * len(series) + 0.24) * len(effects) + 0.8, title)
    ax.axvspan(-limit, limit, facecolor=to_rgba(INK, 0.2), edgecolor=INK, label="negligible")
    ax.axvline(0, color=INK, linewidth=0.8)
    for i, name in enumerate(series):
        found = {j: row[name] for j, row in enumerate(effects.values()) if name in row}
        place = [j + 0.8 * ((i + 0.5) / len(series) - 0.5) for j in found]
        spread = [[abs(e.value - e.low) for e in found.values()], [abs(e.high - e.value) for e in found.values()]]
        marks = {"fmt": SIGNS[i % len(SIGNS)], "color": COLOURS[i % len(COLOURS)], "markersize": 5, "label": name}
        ax.errorbar([e.value for e in found.values()], place, xerr=spread, **marks)
    ax.set_yticks(range(len(effects)), style.broken(effects, 16))
    ax.set(xlim=(-1.05, 1.05), xlabel="directions agree more  <  0  <  units agree more\n(Cliff's delta)")
    ax.invert_yaxis()
    style.key(figure)
    return finished(figure)


def distances(panels: Mapping[str, Mapping[str, Tensor]], title: str) -> Figure:
    """One panel per network, one line per certificate or attack: median and middle 90 % of distances, logarithmic.

    Distances (N,) are root mean squares; those that are 0, inf or nan are left out.
    """
    kinds = list(dict.fromkeys(kind for lines in panels.values() for kind in lines))
    heights = [len(lines) for lines in panels.values()]
    height = 0.24 * sum(heights) / len(panels) + 0.34
    figure, axes = style.panels(len(panels), height, title, columns=1, sharex=True, height_ratios=heights)
    for ax, (network, lines) in zip(axes, panels.items(), strict=True):
        for place, (kind, values) in enumerate(lines.items()):
            shown = values[(values > 0) & values.isfinite()].cpu().numpy()
            low, median, high = np.quantile(shown, [0.05, 0.5, 0.95])
            colour = COLOURS[kinds.index(kind) % len(COLOURS)]
            ax.plot([low, high], [place, place], color=colour, linewidth=2)
            ax.plot(median, place, "o", color=colour, markersize=7)
        ax.set_yticks(range(len(lines)), list(lines))
        ax.set_ylim(len(lines) - 0.4, -0.6)
        ax.set_title(network, loc="left")
        ax.grid(True, axis="x", which="major")
    axes[-1].set(xscale="log", xlabel="distance from the image (rms over pixels)")
    style.plain(axes[-1].xaxis)
    return finished(figure)


def bounds_beside(series: Mapping[str, Sequence[float]], rows: Sequence[str], title: str) -> Figure:
    """Upper frame bounds of each layer (row), logarithmic, one sign per source; nan where a source lacks a layer."""
    figure, (ax,) = style.panels(1, 0.36 * len(rows) + 0.6, title)
    for i, (name, values) in enumerate(series.items()):
        place = np.arange(len(rows)) + 0.12 * (i - (len(series) - 1) / 2)
        ax.plot(values, place, SIGNS[i], color=COLOURS[i], markersize=7, linestyle="none", label=name)
    ax.axvline(1, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="upper frame bound")
    ax.grid(True, axis="x", which="both")
    style.plain(ax.xaxis)
    style.key(figure)
    return finished(figure)


def candidates(ratios: Mapping[str, Mapping[str, float]], title: str, xlabel: str = "ours over the paper's") -> Figure:
    """A line for each candidate and on it a sign for each network, logarithmic; at 1 ours is what the paper prints."""
    networks = list(dict.fromkeys(name for row in ratios.values() for name in row))
    figure, (ax,) = style.panels(1, 0.55 * len(ratios) + 0.6, title)
    ax.axvline(1, color=VERMILION, linestyle="--", label="the paper")
    for i, name in enumerate(networks):
        found = {place: row[name] for place, row in enumerate(ratios.values()) if name in row}
        ax.plot([*found.values()], [*found], "osD^vP"[i], color=COLOURS[i], linestyle="none", label=name)
    for place, candidate in enumerate(ratios):  # above its line: beside it a phone has no room
        ax.text(0.01, place - 0.3, candidate, transform=ax.get_yaxis_transform(), va="center")
    ax.set(xscale="log", xlabel=xlabel, ylim=(len(ratios) - 0.6, -0.8), yticks=range(len(ratios)))
    ax.tick_params(axis="y", length=0, labelleft=False)
    ax.margins(x=0.1)
    style.plain(ax.xaxis)
    ax.grid(True, axis="y")
    style.key(figure)
    return finished(figure)


def comb(rates: Mapping[str, Sequence[str]], size: int, title: str) -> Figure:
    """A ruler of per cents whose teeth are the multiples of 1 / size, ten per cent a line, and on it printed rates.

    rates : by the kind of images that they are of, as printed; each is as wide as its digits leave it.
    """
    figure, (ax,) = style.panels(1, 4.2, title)
    teeth = 100 * np.arange(size) / size
    ax.vlines(teeth % 10, teeth // 10 - 0.25, teeth // 10 + 0.25, color=INK, linewidth=0.7)
    for i, (kind, printed) in enumerate(rates.items()):
        values = np.array([float(value) for value in printed])
        half = [0.5 * 10 ** -len(value.partition(".")[2]) for value in printed]
        marks = {"fmt": "osD^v"[i], "color": COLOURS[i], "markersize": 5, "alpha": 0.9, "label": kind}
        ax.errorbar(values % 10, values // 10 - 0.12 + 0.12 * i, xerr=half, **marks)
    ax.set_yticks(range(10), [f"{10 * line} + " for line in range(10)])
    ax.set(xlabel="per cent", xlim=(-0.2, 10.2), ylim=(9.6, -0.6))
    ax.spines["left"].set_visible(False)
    style.key(figure)
    return finished(figure)
