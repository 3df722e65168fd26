"""Lengths of many perturbations as one number: readings of "average distortion", and which fits the paper's better."""

import itertools
import math
from collections.abc import Iterable, Mapping

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from lib.attacks.penalized import AttackResult
from lib.measures import effects, intervals
from lib.measures.intervals import Estimate

Cell = tuple[str, str]

MEAN, POOLED = "mean", "pooled"
RIGHT = "images classified correctly"
SEARCHES = {f"search by {factor}": factor for factor in (1.5, 2, 4, 10)}
READINGS = (MEAN, f"{MEAN}, {RIGHT}", POOLED, f"{POOLED}, {RIGHT}")


# --- Measured on images ---------------------------------------------------------------------------


def success(results: Mapping[str, AttackResult]) -> dict[Cell, Estimate]:
    """For each attack of N images: how often it reached its target, "success (%)", and "gradients" an image."""
    return {
        cell: estimate
        for name, result in results.items()
        for cell, estimate in {
            (name, "success (%)"): intervals.percent(int(result.success.sum()), len(result.success)),
            (name, "gradients"): intervals.mean(result.num_evaluations.cpu().numpy()),
        }.items()
    }


def readings(distortion: Tensor, correct: Tensor) -> dict[str, Estimate]:
    """Four readings of the "average distortion" of N images: over which of them, and of pixels or of images.

    distortion : (N,), rms over the pixels of an image, inf where the attack found nothing, which no reading counts;
    correct : (N,) bool, whether the network is right about the images.
    The pooled one is the rms over all pixels of all images: "stddev" in the captions of section 4.2.
    """
    found = distortion.isfinite()
    everyone, right = distortion[found].cpu().numpy(), distortion[found & correct].cpu().numpy()
    averages = (intervals.mean, intervals.root_mean_square)
    return dict(zip(READINGS, [average(of) for average in averages for of in (everyone, right)], strict=True))


def side_by_side(lengths: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """Means of two distortions of the same images, (N,) each, and the first one's "excess (%)" over the second.

    Over the images for which both were found: where one was not, it is inf.
    """
    both = torch.stack([values.isfinite().cpu() for values in lengths.values()]).all(dim=0)
    found = {column: values.cpu()[both] for column, values in lengths.items()}
    means = {column: intervals.mean(values.numpy()) for column, values in found.items()}
    return means | {"excess (%)": excess(*found.values())}


def by_cell(rows: Mapping[str, Mapping[str, Estimate]]) -> dict[Cell, Estimate]:
    """{row: {column: estimate}} as the cells of a table."""
    return {(row, column): estimate for row, found in rows.items() for column, estimate in found.items()}


def excess(lengths: Tensor, least: Tensor) -> Estimate:
    """By how many per cent the mean of lengths (N,) exceeds that of others of the same N images.

    The interval is that of a ratio of paired means, to first order (the delta method); fewer than two images have none,
    and all of it is nan.
    """
    a, b = (v.detach().double().cpu().numpy() for v in (lengths, least))
    if len(a) < 2:
        return Estimate(np.nan, np.nan, np.nan, len(a))
    ratio = a.mean() / b.mean()
    half = scipy.stats.t.ppf(0.975, len(a) - 1) * scipy.stats.sem(a - ratio * b) / b.mean()
    return Estimate(*(float(100 * (r - 1)) for r in (ratio, ratio - half, ratio + half)), len(a))


# --- Said of tables: told numbers by (row, column), nan where there is none -----------------------


def missed(cells: Mapping[Cell, Estimate]) -> dict[str, float]:
    """Of the cells "success (%)": attacks that missed their target, attacks, and the least lower end of an interval."""
    rates = [estimate for (_, column), estimate in cells.items() if column == "success (%)"]
    if not rates:
        return dict.fromkeys(("num_missed", "num_tried", "least_success"), math.nan)
    return {
        "num_missed": sum(round((100 - rate.value) * rate.n / 100) for rate in rates),
        "num_tried": int(sum(rate.n for rate in rates)),
        "least_success": min(rate.low for rate in rates),
    }


def extremes(told: Mapping[Cell, float], names: Iterable[str], column: str) -> tuple[str | None, str | None]:
    """The names with the smallest and the largest number of a column; None twice where no name has one."""
    known = {name: told[name, column] for name in names if math.isfinite(told[name, column])}
    return (min(known, key=known.get), max(known, key=known.get)) if known else (None, None)


def num_longer_worse(
    lengths: Mapping[str, Estimate], harm: Mapping[str, float], kinds: Iterable[Iterable[str]]
) -> tuple[float, int]:
    """In how many pairs of names of one kind the one with the larger length does more harm, and of how many pairs.

    lengths : mean distortions; harm : what is made for each name does to others. nan where one is missing.
    """
    pairs = [pair for names in kinds for pair in itertools.combinations(names, 2)]
    if not all(name in lengths and math.isfinite(harm[name]) for pair in pairs for name in pair):
        return math.nan, len(pairs)
    return sum((lengths[a].value > lengths[b].value) == (harm[a] > harm[b]) for a, b in pairs), len(pairs)


def percent_over(told: Mapping[Cell, float], names: Iterable[str], above: str, below: str) -> dict[str, float]:
    """{name: by how many per cent one column exceeds another}; nan where either is missing."""
    return {name: effects.percent_off(told[name, above], told[name, below]) for name in names}


def over_printed(
    cells: Mapping[Cell, Estimate], printed: Mapping[Cell, float], names: Iterable[str]
) -> dict[str, dict[str, Estimate]]:
    """{reading: {name: estimate}}: each of the READINGS over the distortion that the paper prints."""
    names = list(names)
    return {
        reading: {
            name: _scaled(cells[name, reading], printed[name, "distortion"])
            for name in names
            if (name, reading) in cells
        }
        for reading in READINGS
    }


def _scaled(estimate: Estimate, unit: float) -> Estimate:
    return Estimate(*(v / unit for v in estimate[:3]), estimate.n)


def off(
    told: Mapping[Cell, float], printed: Mapping[Cell, float], names: Iterable[str], columns: Iterable[str]
) -> dict[str, float]:
    """{column: by how many per cent it is off the paper's distortions}: mean over the networks, nan if one lacks."""
    lengths = {name: printed[name, "distortion"] for name in names}
    ratios = {column: np.array([told[name, column] / lengths[name] for name in lengths]) for column in columns}
    return {column: float(100 * np.abs(ratio - 1).mean()) for column, ratio in ratios.items()}


def one_search_for_two(
    told: Mapping[Cell, float], printed: Mapping[Cell, float], first: str, second: str
) -> tuple[str | None, float]:
    """The one of SEARCHES that brings the first network nearest to its printed distortion, and how many times the
    printed distortion of the second it leads to; (None, nan) where a number is missing."""
    distance = {search: abs(told[first, search] - printed[first, "distortion"]) for search in SEARCHES}
    if not np.isfinite(list(distance.values())).all():
        return None, math.nan
    nearest = min(distance, key=distance.get)
    return nearest, told[second, nearest] / printed[second, "distortion"]


def num_mean_fits(
    mean: Mapping[Cell, float],
    pooled: Mapping[Cell, float],
    seeds: Mapping[Cell, Estimate],
    printed: Mapping[Cell, float],
) -> int | None:
    """For how many of the printed distortions the mean fits better, by more than its seeds differ; None if unknown.

    mean, seeds, printed : by (name, "distortion"), seeds from smallest to largest; pooled : by (name, READINGS[-1]).
    """
    better = []
    for cell in (cell for cell in printed if cell[1] == "distortion"):
        ours, theirs = mean[cell], pooled[cell[0], READINGS[-1]]
        if cell not in seeds or not math.isfinite(ours + theirs):
            return None
        spread = seeds[cell].high - seeds[cell].low
        better.append(abs(ours - printed[cell]) + spread < abs(theirs - printed[cell]))
    return sum(better)
