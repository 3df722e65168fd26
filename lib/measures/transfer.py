"""Cross-model and cross-training-set generalisation: what adversarial examples do to other networks (section 4.2)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite, nan

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from lib.attacks import penalized, perturbations
from lib.attacks.penalized import Network
from lib.data.dataset import Dataset
from lib.measures import effects, intervals
from lib.measures.intervals import Estimate

Cell = tuple[str, str]
Told = Mapping[Cell, float]  # numbers by (row, column)

BATCH = 1000
TABLE2_STDDEVS = (0.1, 0.3)
TABLE4_STDDEVS = (0.06, 0.1)


@torch.no_grad()
def predictions(network: Network, inputs: Tensor) -> Tensor:
    """The class that the network gives each image, (N,)."""
    return torch.cat([network(batch).argmax(dim=1) for batch in inputs.split(BATCH)])


def answers(networks: Mapping[str, Network], images: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """The classes (N,) that each network gives each set of images (N, n): {(set, network): Tensor}."""
    return {(row, column): predictions(networks[column], images[row]) for row in images for column in networks}


def rates(answers: Mapping[tuple[str, str], Tensor], classes: Tensor) -> dict:
    """How often, in per cent, the answers are the `classes` (N,): {cell: Estimate}.

    With targets as classes it tells how often the TARGET is transferred; with labels, accuracy.
    """
    return {cell: intervals.percent(int((answer == classes).sum()), len(classes)) for cell, answer in answers.items()}


def error_rates(answers: Mapping[tuple[str, str], Tensor], labels: Tensor) -> dict:
    """Tables 2 and 4: how often, in per cent, the answers are another class than `labels`: {cell: Estimate}."""
    return {cell: complement(right) for cell, right in rates(answers, labels).items()}


def distortions(images: Mapping[str, Tensor], inputs: Tensor) -> dict:
    """{(name of the set, "distortion"): Estimate}, the mean root mean square change of each set of images.

    Of the sets as they are: an image for which an attack found nothing is in its set unchanged, with a change of 0.
    """
    return {
        (row, "distortion"): intervals.mean(penalized.distortion(changed, inputs).cpu().numpy())
        for row, changed in images.items()
    }


def table2_images(adversarial: Mapping[str, Tensor], inputs: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The rows of Table 2: adversarial images by the network they were made for, and the same images under noise."""
    noise = {
        f"Gaussian noise, stddev {stddev}": perturbations.gaussian_noise(inputs, stddev, generator)
        for stddev in TABLE2_STDDEVS
    }
    return dict(adversarial) | noise


def table3(networks: Mapping[str, Network], parts: Mapping[str, Dataset]) -> dict:
    """{(network, part): Estimate}: the error in per cent of each network on each part of the data, undistorted."""
    return {
        (name, part): transferred
        for part, images in parts.items()
        for (_, name), transferred in error_rates(answers(networks, {part: images.inputs}), images.labels).items()
    }


def table4_images(adversarial: Mapping[str, Tensor], inputs: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The rows of Table 4, in its order; last, as rows of our own, the two other readings of its amplification."""
    quiet, loud = TABLE4_STDDEVS
    return (
        {f"distorted for {name}": images for name, images in adversarial.items()}
        | {f"Gaussian noise, stddev {quiet}": perturbations.gaussian_noise(inputs, quiet, generator)}
        | {
            f"{name} amplified to {loud}": perturbations.amplify(inputs, images, loud)
            for name, images in adversarial.items()
        }
        | {f"Gaussian noise, stddev {loud}": perturbations.gaussian_noise(inputs, loud, generator)}
        | {
            f"{name} by one factor to {loud}": perturbations.amplify_together(inputs, x, loud)
            for name, x in adversarial.items()
        }
        | {
            f"{name} as printed": perturbations.amplify_as_printed(inputs, images, loud)
            for name, images in adversarial.items()
        }
    )


def complement(percent: Estimate) -> Estimate:
    """The rest to 100 %."""
    return Estimate(100 - percent.value, 100 - percent.high, 100 - percent.low, percent.n)


def range_in_samples(percent: float, size: int) -> tuple[float, float]:
    """Where 95 % of the rates lie, in per cent, that samples of `size` images show if the rate of all is `percent`."""
    drawn = scipy.stats.binom(size, percent / 100)
    return tuple(100 * float(drawn.ppf(q)) / size for q in (0.025, 0.975))


def chance_of_all_within(percents: Iterable[float], size: int) -> float:
    """How often samples of `size` images show all rates within their `range_in_samples`, if these (%) are true."""
    chance = 1.0
    for percent in percents:
        low, high = (round(size * end / 100) for end in range_in_samples(percent, size))
        drawn = scipy.stats.binom(size, percent / 100)
        chance *= float(drawn.cdf(high) - drawn.cdf(low - 1))
    return chance


def is_share_of(printed: str, size: int = 256) -> bool:
    """Whether a rate printed in per cent is a multiple of 1 / size, as far as its digits go."""
    digits = len(printed.partition(".")[2])
    nearest = 100 * round(float(printed) * size / 100) / size
    return abs(nearest - float(printed)) <= 0.5 * 10**-digits + 1e-9


def both_known(ours: Told, theirs: Told) -> list[Cell]:
    """The cells of `theirs` that have a number on either side: what is nan, or missing, says nothing."""
    return [cell for cell, value in theirs.items() if isfinite(value) and isfinite(ours.get(cell, nan))]


def differences(ours: Told, theirs: Told) -> dict[Cell, float]:
    """Ours less theirs, where both are known."""
    return {cell: ours[cell] - theirs[cell] for cell in both_known(ours, theirs)}


def agreement(ours: Told, theirs: Told) -> dict[str, float]:
    """Spearman's rank correlation and the median absolute difference, over the cells that both know; their number."""
    off = np.abs(list(differences(ours, theirs).values()))
    return {
        "spearman": rank_correlation(ours, theirs),
        "median_difference": float(np.median(off)) if len(off) else np.nan,
        "num_cells": len(off),
    }


def rank_correlation(ours: Told, theirs: Told) -> float:
    """Spearman's, over the cells that both know; nan where there is nothing to correlate."""
    cells = both_known(ours, theirs)
    if len(cells) < 2:
        return np.nan
    ranks = [_ranks([side[cell] for cell in cells]) for side in (ours, theirs)]
    with np.errstate(divide="ignore", invalid="ignore"):  # where all are alike
        return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """From 1, those of equal values averaged; scipy.stats.rankdata takes ten times as long for so few."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def correlation(ours: Told, theirs: Told) -> Estimate:
    """`rank_correlation` with its 95 % interval, which is nan for fewer than four cells."""
    rho, n = rank_correlation(ours, theirs), len(both_known(ours, theirs))
    return effects.correlated(rho, n) if n > 3 else Estimate(rho, np.nan, np.nan, n)


# --- Tables 1 to 4: numbers for sentences, as functions of tables -----------------------------------


def between(printed: Told, names: Collection[str]) -> dict[Cell, float]:
    """The cells of Table 2 that are made for one network of `names` and fed to another."""
    return {cell: value for cell, value in printed.items() if set(cell) <= set(names) and cell[0] != cell[1]}


def halves(printed: Told, names: Collection[str], kinds: Sequence[str]) -> dict[Cell, float]:
    """The cells of Table 4 that are made for one network and fed to another; a kind has "{}" in a name's place."""
    rows = {kind.format(name): name for kind in kinds for name in names}
    return {cell: value for cell, value in printed.items() if cell[0] in rows and cell[1] != rows[cell[0]]}


def renamed(told: Told, old: str, new: str) -> Told:
    """The cells of rows named with `old`, with `new` in its place: another reading, put where the first one stands."""
    return type(told)({(row.replace(old, new), column): value for (row, column), value in told.items() if old in row})


def under_noise(printed: Told) -> dict[Cell, float]:
    """The rates of Tables 2 and 4 under Gaussian noise."""
    return {c: value for c, value in printed.items() if c[0].startswith("Gaussian noise") and c[1] != "distortion"}


def with_decimals(digits: Mapping[Cell, str]) -> list[str]:
    """The rates of Tables 2 and 4 that the paper prints with decimals, those under noise aside."""
    noise = under_noise(digits)
    return [value for c, value in digits.items() if "." in value and c[1] != "distortion" and c not in noise]


def ranges_in_samples(ours: Told, theirs: Told, size: int) -> dict[Cell, tuple[float, float]]:
    """`range_in_samples` of our rates, for the cells that both know."""
    return {cell: range_in_samples(ours[cell], size) for cell in both_known(ours, theirs)}


def num_beyond_seeds(seeds: Mapping[Cell, Estimate], theirs: Told) -> float:
    """How many of their numbers lie outside the range of our seeds; nan if no seeds were measured."""
    known = {cell: value for cell, value in theirs.items() if cell in seeds}
    beyond = [cell for cell, value in known.items() if not seeds[cell].low <= value <= seeds[cell].high]
    return len(beyond) if known else np.nan


def mean_where(values: Told, row: str | None = None, column: str | None = None) -> float:
    """Mean of the cells in a row, or in a column; nan if there are none."""
    chosen = [value for cell, value in values.items() if row in (None, cell[0]) and column in (None, cell[1])]
    return float(np.mean(chosen)) if chosen else np.nan


def mean_size(values: Told) -> float:
    """Mean of absolute values; nan if there are none."""
    return float(np.mean(np.abs(list(values.values())))) if values else np.nan


def largest_change(before: Told, after: Told, row: str, columns: Iterable[str]) -> float:
    """The largest difference between two tables along a row; nan if one is missing."""
    return float(np.max([abs(after[row, column] - before[row, column]) for column in columns]))


def harm(told: Told, rows: Iterable[str], kind: str, without: str = "undistorted (%)") -> dict[str, float]:
    """By how many points each row's error exceeds the error without distortion, under one kind of change."""
    return {row: told[row, kind] - told[row, without] for row in rows}


def mean_harm(told: Told, rows: Iterable[str], kind: str) -> float:
    """`harm`, on average over the rows."""
    return float(np.mean(list(harm(told, rows, kind).values())))


def shared(told: Told, rows: Iterable[str], share: float = 0.9) -> list[str]:
    """The networks for which other images' perturbations do at least that share of the harm of an image's own."""
    rows = list(rows)
    others, own = (harm(told, rows, kind) for kind in ("shuffled among images (%)", "adversarial (%)"))
    return [row for row in rows if others[row] >= share * own[row]]


def shares(part: Told, whole: Told) -> list[float]:
    """Part over whole in per cent, for each cell off the diagonal where there is a whole."""
    cells = [cell for cell in both_known(part, whole) if cell[0] != cell[1] and whole[cell] > 0]
    return [100 * part[cell] / whole[cell] for cell in cells]


def mean_of(told: Told, pairs: Iterable[tuple[str, str]], row: str = "{}") -> float:
    """Mean of the rates at which what was made for the first of each pair fools the second."""
    return float(np.mean([told[row.format(made_for), fed_to] for made_for, fed_to in pairs]))


def least_of_own(told: Told, names: Iterable[str], row: str) -> float:
    """The least rate at which what was made for a network fools itself; nan if one is missing."""
    return float(np.min([told[row.format(name), name] for name in names]))


def kind_of_row(cell: Cell) -> str:
    """What a row of Table 4 is, whichever network it is made for: its block."""
    return next(kind for kind in ("noise", "amplified", "distorted", "one factor", "printed") if kind in cell[0])


def by_kind(cells: Iterable[Cell]) -> dict[Cell, float]:
    """Cells of Table 4 with a constant for each kind of row: least under noise, most where amplified."""
    kinds = ("noise", "distorted", "amplified")
    return {cell: float(kinds.index(kind_of_row(cell))) for cell in cells}


def farthest(ours: Told, theirs: Told) -> Cell:
    """The cell in which ours and theirs differ most, of those that both know."""
    off = differences(ours, theirs)
    return max(off, key=lambda cell: abs(off[cell]), default=("no row", "any column"))


def in_column(told: Told, column: str) -> dict[Cell, float]:
    """The cells of one column."""
    return {cell: value for cell, value in told.items() if cell[1] == column}


def each_off(ours: Told, theirs: Told, column: str | None = None) -> list[float]:
    """By how many per cent ours exceed theirs, cell by cell; ours may stand in another column of the same rows."""
    return [effects.percent_off(ours[row, column or name], value) for (row, name), value in theirs.items()]


def num_nearer(off: Sequence[float], other: Sequence[float]) -> float:
    """For how many the first is off by less than the second; nan if one of them is not known."""
    known = np.isfinite([off, other]).all()
    return int(np.sum(np.abs(off) < np.abs(other))) if known else np.nan


def by_factor(told: Told, kinds: Sequence[str], factors: Sequence[float], networks: Iterable[str]) -> dict:
    """{network: {kind: [rate at each factor]}} of a table whose rows are `factor_row`s."""
    return {n: {kind: [told[factor_row(kind, f), n] for f in factors] for kind in kinds} for n in networks}


def factor_row(kind: str, factor: float) -> str:
    """The name of the row for a perturbation of that kind, so many times as large."""
    return f"{kind}, {factor:g} times"


def nearest(told: Told, rows: Iterable[str], column: str, value: float) -> str:
    """The row that comes nearest to the value in a column; rows that are not known come last."""
    return min(rows, key=lambda row: np.nan_to_num(abs(told[row, column] - value), nan=np.inf))
