"""What becomes of adversarial pictures: taken farther, saved as bytes, shown to another network; and beside noise.

Rows of pixels (N, n) with values in [0, 1], networks of rows; rates in per cent.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lib.attacks import penalized, perturbations
from lib.attacks.penalized import Network
from lib.measures import intervals, transfer
from lib.measures.intervals import Estimate

# By how much a perturbation found is extended to see what it then takes: as found, and beyond.
FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)
SAVED = ("rounded (%)", "on levels (%)", "farther by (%)")  # the columns of `saved`
LEVELS = 255  # steps between the levels of brightness that a byte holds
CURVES = {"exact": ("as found, times {} (%)", 1), "as bytes": ("as bytes, times {} (%)", 1)}
CURVES["probability"] = ("probability, times {}", 100)  # by what is drawn: the columns of `farther`, and their unit


# --- Farther the same way, and as bytes -----------------------------------------------------------


@torch.no_grad()
def probability(network: Network, images: Tensor, classes: Tensor) -> Tensor:
    """The probability that the network gives each image's class, (N,)."""
    return network(images).softmax(dim=1).gather(1, classes[:, None])[:, 0]


def farther(
    network: Network, inputs: Tensor, adversarial: Tensor, targets: Tensor, factors: Sequence[float] = FACTORS
) -> dict[str, Estimate]:
    """What becomes of adversarial images that are extended by each factor, {column: Estimate}.

    How often, in per cent, the network says the target: of the image as it is, and rounded to bytes; and the mean
    probability that it gives the target.
    """
    cells = {}
    for factor in factors:
        images = perturbations.extended(inputs, adversarial, factor) if factor != 1 else adversarial
        for column, shown in {"as found": images, "as bytes": perturbations.to_bytes(images)}.items():
            hits = int((transfer.predictions(network, shown) == targets).sum())
            cells[f"{column}, times {factor:g} (%)"] = intervals.percent(hits, len(targets))
        given = probability(network, images, targets)
        cells[f"probability, times {factor:g}"] = intervals.mean(given.cpu().numpy())
    return cells


def by_factor(told: Mapping[tuple[str, str], float]) -> dict[str, dict[str, np.ndarray]]:
    """The cells of `farther`, (row, column), as curves in per cent over FACTORS: {row: {name of the curve: (7,)}}.

    nan where a cell is missing; one row of nothing but nan where there is none.
    """
    rows = list(dict.fromkeys(row for row, _ in told)) or ["no photographs"]
    return {
        row: {
            name: np.array([unit * told.get((row, column.format(f"{factor:g}")), np.nan) for factor in FACTORS])
            for name, (column, unit) in CURVES.items()
        }
        for row in rows
    }


def at_length(factors: Mapping[str, float], told: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """The target's mean probability (%) when each row's perturbation is extended by its own factor.

    Between the cells of `farther` it is interpolated; beyond the largest of FACTORS it is that of the largest.
    """
    curves = by_factor(told)
    known = {row: factor for row, factor in factors.items() if row in curves}
    return {row: float(np.interp(factor, FACTORS, curves[row]["probability"])) for row, factor in known.items()}


def saved(
    network: Network, inputs: Tensor, targets: Tensor, adversarial: Tensor, distortion: Tensor, success: Tensor
) -> dict[str, Estimate]:
    """What it costs that adversarial images can be saved, by SAVED: how often the network says the target of them when
    they are rounded, and of others on levels, in per cent; and by how many per cent these are farther, image by image.

    distortion, success : (N,), of the images on levels.
    """
    hits = int((transfer.predictions(network, perturbations.to_bytes(adversarial)) == targets).sum())
    before = penalized.distortion(adversarial, inputs)
    rows = success & (before > 0)
    farther = 100 * (distortion[rows] / before[rows] - 1)
    rates = (intervals.percent(number, len(targets)) for number in (hits, int(success.sum())))
    return dict(zip(SAVED, (*rates, intervals.mean(farther.cpu().numpy())), strict=True))


# --- Before other networks, and beside noise ------------------------------------------------------


def controls(inputs: Tensor, adversarial: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Adversarial images, and others as far from the originals: with another one's perturbation, and with noise."""
    return {
        "its own": adversarial,
        "that of another": (inputs + (adversarial - inputs).roll(1, dims=0)).clamp(0, 1),
        "noise": perturbations.random_directions(inputs, adversarial, generator).clamp(0, 1),
    }


def amplified(inputs: Tensor, changed: Tensor, stddev: float) -> Tensor:
    """The same perturbations, each brought to that root mean square, then clipped to [0, 1]."""
    return perturbations.amplify(inputs, changed, stddev).clamp(0, 1)


def moved(network: Network, inputs: Tensor, changed: Tensor) -> Estimate:
    """How often, in per cent, the network says another class of the changed image than of the original."""
    before, after = transfer.predictions(network, inputs), transfer.predictions(network, changed)
    return intervals.percent(int((before != after).sum()), len(inputs))


@torch.no_grad()
def beside_noise(network: Network, inputs: Tensor, noisy: Tensor) -> dict[str, Estimate]:
    """What noise does to the first guess, {column: Estimate}: its lead, the loss of it, and how often it changes."""
    classes = transfer.predictions(network, inputs)
    before, after = (penalized.lead(network(images), classes) for images in (inputs, noisy))
    return {
        "lead": intervals.mean(before.cpu().numpy()),
        "lost to noise": intervals.mean((before - after).cpu().numpy()),
        "moved by noise (%)": moved(network, inputs, noisy),
    }


# --- Numbers for sentences ------------------------------------------------------------------------


def ratios(told: Mapping[tuple[str, str], float], above: str, below: str) -> dict[str, float]:
    """One column over another, by row; rows that lack either are left out."""
    return {
        row: told[row, above] / told[row, below] for row, column in told if column == above and (row, below) in told
    }
