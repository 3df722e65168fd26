"""95 % intervals of rates and means."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.stats


class Estimate(NamedTuple):
    """A measured number with its 95 % interval and the number of images (or seeds) behind it."""

    value: float
    low: float
    high: float
    n: int


def rate(successes: int, n: int) -> Estimate:
    """Share of n trials with its Wilson interval. Raises ValueError unless 0 <= successes <= n and n > 0."""
    interval = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), int(n))


def percent(successes: int, n: int) -> Estimate:
    """`rate` in per cent."""
    value, low, high, n = rate(successes, n)
    return Estimate(100 * value, 100 * low, 100 * high, n)


def root_mean_square(values: np.ndarray) -> Estimate:
    """Root of the mean square of values (n,), with the interval of the mean square. Errors as in `mean`."""
    squared = mean(np.square(np.asarray(values, dtype=float)))
    return Estimate(*(float(np.maximum(v, 0)) ** 0.5 for v in squared[:3]), squared.n)


def pooled(percents: Iterable[Estimate]) -> Estimate:
    """Mean of several rates in per cent that were measured on the same n images.

    Its interval is that of n trials: too wide, unless the networks whose rates these are err together.
    """
    percents = list(percents)
    value, n = sum(p.value for p in percents) / len(percents), percents[0].n
    return percent(round(value * n / 100), n)._replace(value=value)


def mean(values: np.ndarray) -> Estimate:
    """Mean of values (n,) with Student's t interval; fewer than two have none, and all of it is nan.

    Raises ValueError for what is no vector.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"a mean needs a vector of values, got shape {values.shape}")
    if len(values) < 2:
        return Estimate(np.nan, np.nan, np.nan, len(values))
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))
