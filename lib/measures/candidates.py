"""Candidates for what a paper leaves unsaid, and how near each comes to what it prints."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from lib.measures import transfer

Cell = tuple[str, str]

RANDOM, NEAREST, FARTHEST = "random wrong class", "nearest wrong class", "farthest wrong class"
MADE, STRONG, WEAK = "made for a network", "noise of 0.3", "weaker noise"  # what rates are of
FINE = np.geomspace(0.5, 784, 750)  # divisors of a weight decay, 1 % apart


# --- Which class an image is attacked to ----------------------------------------------------------


def by_target(lengths: Tensor, logits: Tensor, labels: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """Lengths (N,) under each reading of section 4.1's "target label", from those to every class, (N, K).

    logits : (N, K) of the images; labels : (N,), what they show; drawn : (N,), a wrong class at random for each.
    """
    right = torch.zeros_like(lengths, dtype=torch.bool).scatter(1, labels[:, None], True)
    chosen = {
        RANDOM: drawn,
        "the next digit": (labels + 1) % lengths.shape[1],
        "0 for all": torch.zeros_like(labels),
        "least likely class": logits.argmin(dim=1),
    }
    return {name: lengths.gather(1, classes[:, None])[:, 0] for name, classes in chosen.items()} | {
        NEAREST: lengths.masked_fill(right, torch.inf).min(dim=1).values,
        FARTHEST: lengths.masked_fill(right, -torch.inf).max(dim=1).values,
    }


# --- How near each comes --------------------------------------------------------------------------


def ratios(
    told: Mapping[Cell, float], printed: Mapping[Cell, float], names: Iterable[str], candidates: Iterable[str]
) -> dict[str, dict[str, float]]:
    """{candidate: {name: its length over the printed distortion}}; what is not known is left out."""
    names = list(names)
    return {
        candidate: {
            name: told[name, candidate] / printed[name, "distortion"]
            for name in names
            if isfinite(told[name, candidate])
        }
        for candidate in candidates
    }


def largest_misses(divisors: Sequence[float], off: Iterable[Sequence[float]]) -> np.ndarray:
    """By how much the worst of several numbers is off at each of the FINE divisors, (750,).

    off : what each is off at the `divisors`, which ascend; linear between them in the divisor's logarithm.
    """
    return np.max([np.abs(np.interp(np.log(FINE), np.log(divisors), values)) for values in off], axis=0)


def best_divisor(misses: np.ndarray, slack: float = 0.1) -> tuple[float, float, float, float]:
    """The one of FINE with the least of the `misses`, that miss, and between which two it grows by no more than slack.

    All nan where the misses are not known.
    """
    if np.isnan(misses).any():
        return (np.nan,) * 4
    near = FINE[misses <= misses.min() + slack]
    return float(FINE[misses.argmin()]), float(misses.min()), float(near.min()), float(near.max())


# --- On how many images rates were measured -------------------------------------------------------


def kinds(digits: Mapping[Cell, str]) -> dict[str, list[str]]:
    """The rates that Tables 2 and 4 print with decimals, by the kind of images that they are of."""
    noise, found = transfer.under_noise(digits), {MADE: [], STRONG: [], WEAK: []}
    for cell, value in digits.items():
        if "." in value and cell[1] != "distortion":
            kind = MADE if cell not in noise else STRONG if cell[0].endswith("0.3") else WEAK
            found[kind].append(value)
    return found


def by_chance(printed: Iterable[str], size: int) -> float:
    """How many of the rates, printed in per cent, would be multiples of 1 / size were they anything."""
    return sum(min(1.0, size / 100 * 10 ** -len(value.partition(".")[2])) for value in printed)


def beyond_chance(printed: Iterable[str], sizes: Iterable[int]) -> dict[int, float]:
    """{size: by how many the rates that are multiples of 1 / size exceed those that chance makes so}."""
    printed = list(printed)
    return {size: sum(transfer.is_share_of(p, size) for p in printed) - by_chance(printed, size) for size in sizes}


def luck_of_sharing(printed: Sequence[str], size: int) -> float:
    """The probability that as many of the rates, or more, are multiples of 1 / size by chance alone (binomial)."""
    shares = sum(transfer.is_share_of(value, size) for value in printed)
    return float(scipy.stats.binom.sf(shares - 1, len(printed), by_chance(printed, size) / len(printed)))


def on_a_comb(rates: Mapping[str, Sequence[str]], size: int) -> list[list[str]]:
    """A line for each kind of rates: how many, how many on the comb, how many by chance, and the chance of as many."""
    return [
        [
            kind,
            f"{len(printed)}",
            f"{sum(transfer.is_share_of(value, size) for value in printed)}",
            f"{by_chance(printed, size):.1f}",
            f"{luck_of_sharing(printed, size):.2g}",
        ]
        for kind, printed in rates.items()
    ]
