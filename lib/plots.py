"""Figures, and nothing but figures: every function takes measured things and returns a matplotlib Figure.

Backgrounds are transparent and text is mid-grey, so that one picture serves light and dark pages; colours are Okabe and
Ito's, which colour-blind readers can tell apart.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.intervals import Estimate
from lib.mosaic import mosaic

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
    return finished(figure)


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


def toy_landscape(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray], path: np.ndarray, optimum: np.ndarray, title: str
) -> Figure:
    """Level lines of a function on the unit square, and the iterates (k, 2) of a minimisation."""
    figure, ax = plt.subplots(figsize=(5, 4.6))
    side = np.linspace(-0.15, 1.15, 200)
    ax.contour(side, side, value(*np.meshgrid(side, side)), levels=25, colors=GREY, linewidths=0.6, alpha=0.7)
    ax.add_patch(plt.Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLUE, linewidth=2))
    ax.plot(*path.T, "o-", color=ORANGE, markersize=4, label="iterates, first to last")
    ax.plot(*optimum, "*", color=GREEN, markersize=14, label="optimum in the box")
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title=title, aspect="equal")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    figure.tight_layout()
    return finished(figure)


def search_over_c(c: np.ndarray, length: np.ndarray, success: np.ndarray, chosen: float, title: str) -> Figure:
    """Distortion of the minimiser of c|r| + loss against c, where it reaches the target and where it does not."""
    figure, ax = plt.subplots(figsize=(7, 3.6))
    ax.plot(c, length, color=GREY, linewidth=1, zorder=0)
    ax.scatter(c[success], length[success], color=BLUE, marker="o", label="the network says the target")
    ax.scatter(c[~success], length[~success], color=VERMILION, marker="x", label="it does not")
    ax.axvline(chosen, color=GREEN, linestyle="--", label="largest c that succeeds")
    ax.set(xscale="log", xlabel="c", ylabel="distortion of the minimiser (rms)", title=title)
    ax.legend(fontsize=8)
    figure.tight_layout()
    return finished(figure)


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
    return finished(figure)


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
    return finished(figure)


def originals_differences_adversarials(
    panels: Mapping[str, Sequence[tuple[Tensor, Tensor, Tensor, str, str]]], title: str, otherwise: str
) -> Figure:
    """Figure 5's layout: per panel rows of original, magnified difference, adversarial picture, each (3, H, W).

    Each row also has the words for what is said of the original and of the adversarial picture. Where there is no
    panel, the figure says what it would show: `otherwise`.
    """
    num_rows = max((len(rows) for rows in panels.values()), default=1)
    figure = plt.figure(figsize=(7.4, 7.4 / (3.1 * max(len(panels), 1)) * num_rows * 1.12 + 0.7), layout="constrained")
    parts = figure.subfigures(1, len(panels), squeeze=False).flat if panels else []
    for part, (name, rows) in zip(parts, panels.items(), strict=True):
        part.suptitle(name, fontsize=9)
        axes = part.subplots(num_rows, 3, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        for ax in axes.flat:
            ax.set_axis_off()
        for line, (*images, before, after) in zip(axes, rows, strict=False):
            for ax, image in zip(line, images, strict=True):
                ax.imshow(image.permute(1, 2, 0).cpu().numpy(), vmin=0, vmax=1)
            for ax, words in ((line[0], before), (line[2], after)):
                ax.set_title(words, fontsize=6.5, pad=2)
    if not panels:
        figure.add_subplot().set_axis_off()  # a notebook shows no figure that has no axes
        figure.text(0.5, 0.4, otherwise, ha="center", va="center", wrap=True)
    figure.suptitle(title, fontsize=11)
    return finished(figure)


def estimates(series: Mapping[str, Mapping[str, Estimate]], published: float, xlabel: str, title: str) -> Figure:
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
    ax.set(xscale="log", xlabel=xlabel, title=title)
    ax.margins(y=0.25)
    ax.invert_yaxis()
    ax.grid(True, which="both", axis="x")
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return finished(figure)


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
    return finished(figure)


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


def distortion_histograms(distortions: Mapping[str, Tensor], published: Mapping[str, float], title: str) -> Figure:
    """One row per network: the distribution of distortions (N,), its mean, and the paper's mean where it prints one."""
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
    return finished(figure)


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
    return finished(figure)


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
    return finished(figure)


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
    return finished(figure)


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
    return finished(figure)
