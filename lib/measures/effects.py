"""Two samples: how far apart they are, and whether chance would do it."""

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from lib.measures import intervals
from lib.measures.intervals import Estimate

PERMUTATIONS_AT_ONCE = 500
TWO_SIDED = float(scipy.stats.norm.ppf(0.975))  # standard deviations on either side of a 95 % interval
UNMEASURED = Estimate(np.nan, np.nan, np.nan, 0)  # of what was not measured


def delta(a: Tensor, b: Tensor, generator: torch.Generator, num_draws: int) -> Estimate:
    """Cliff's delta of two samples of values, (n,) and (m,), with the interval of `num_draws` bootstrap samples.

    P(a > b) - P(a < b) for a value drawn from each: -1 to 1, and 0 where neither tends to be larger.

    Reference: Cliff 1993.
    """
    signs = torch.sign(a[:, None] - b).double()
    times_a, times_b = (_bootstrap(len(sample), num_draws, generator) for sample in (a, b))
    draws = ((times_a @ signs) * times_b).sum(dim=1) / signs.numel()
    return _estimate(float(signs.mean()), draws, len(a))


def _bootstrap(n: int, num_draws: int, generator: torch.Generator) -> Tensor:
    """How often each of n values is drawn in n drawings with replacement, (num_draws, n), float64."""
    drawn = torch.randint(n, (num_draws, n), generator=generator)
    ones = torch.ones(drawn.shape, dtype=torch.float64)
    return torch.zeros_like(ones).scatter_add_(1, drawn, ones)


def _estimate(value: float, draws: Tensor, n: int) -> Estimate:
    low, high = draws.quantile(draws.new_tensor([0.025, 0.975])).tolist()
    return Estimate(value, low, high, n)


def permutation_test(a: Tensor, b: Tensor, generator: torch.Generator, num_draws: int) -> Estimate:
    """How often two samples dealt at random from all values have as large a Cliff's delta as these do.

    Deltas are differences of mean ranks. The samples as they are count as one of the deals, so p is never 0 (Phipson &
    Smyth 2010).
    """
    pool = torch.from_numpy(scipy.stats.rankdata(torch.cat([a, b]).numpy()))
    observed = abs(float(pool[: len(a)].mean() - pool[len(a) :].mean()))
    rounding = 1e-9 * len(pool)
    as_far = 1
    for start in range(0, num_draws, PERMUTATIONS_AT_ONCE):
        num = min(PERMUTATIONS_AT_ONCE, num_draws - start)
        dealt = pool[torch.rand(num, len(pool), generator=generator).argsort(dim=1)]
        differences = dealt[:, : len(a)].mean(dim=1) - dealt[:, len(a) :].mean(dim=1)
        as_far += int((differences.abs() >= observed - rounding).sum())
    return intervals.rate(as_far, num_draws + 1)


def randomisation_test(observed: float, draws: Tensor) -> Estimate:
    """How often a draw under the null hypothesis, (R,), is as far from the mean of all as what was observed.

    That one counts among the draws, so p is at least 1 / (R + 1); the interval is the error of the drawing.
    """
    pool = torch.cat([draws.double(), torch.tensor([observed], dtype=torch.float64)])
    far = (pool - pool.mean()).abs()
    return intervals.rate(int((far >= far[-1] - 1e-9 * float(pool.abs().max())).sum()), len(pool))


def bonferroni(p: float, num_tests: int) -> float:
    """The p-value of one of several tests; nan stays nan."""
    return min(num_tests * p, 1.0)


def can_be_told(p: float, level: float = 0.05) -> str | float:
    """ "can" or "cannot", for a sentence on what differs at that level; nan stays nan."""
    return p if np.isnan(p) else "can" if p <= level else "cannot"


def best_guess(a: Tensor, b: Tensor) -> float:
    """How often a threshold tells which of two equally likely samples a value is from: about 1/2 to 1.

    Each half of the values is guessed by the threshold that is best for the other half: the best for the values
    themselves would do better than chance where there is nothing to tell.
    """
    halves = (a[::2], b[::2]), (a[1::2], b[1::2])
    return sum(_share_right(*there, *_threshold(*here)) for here, there in (halves, halves[::-1])) / 2


def _threshold(a: Tensor, b: Tensor) -> tuple[float, int]:
    """Where the samples' distribution functions are farthest apart, and the sign of the side on which `a` lies."""
    found = scipy.stats.ks_2samp(a.numpy(), b.numpy())
    return float(found.statistic_location), -int(found.statistic_sign)


def _share_right(a: Tensor, b: Tensor, threshold: float, side: int) -> float:
    above_a, above_b = (float((sample > threshold).double().mean()) for sample in (a, b))
    return (1 + side * (above_a - above_b)) / 2


def spread(draws: Tensor) -> Estimate:
    """Mean of values (R,) and the range of the middle 95 % of them."""
    return _estimate(float(draws.mean()), draws, len(draws))


def percent_off(value: float, reference: float) -> float:
    """By how many per cent a number exceeds another."""
    return 100 * (value / reference - 1)


def exactly(value: float, n: int = 1) -> Estimate:
    """A number without sampling error, from n images or the like."""
    return Estimate(float(value), float(value), float(value), n)


def correlated(rank_correlation: float, n: int) -> Estimate:
    """Spearman's correlation of n pairs with its interval.

    Reference: Fisher's transformation with the variance 1.06 / (n - 3) of Fieller, Hartley & Pearson 1957.
    """
    half = TWO_SIDED * np.sqrt(1.06 / (n - 3))
    with np.errstate(divide="ignore"):  # a correlation of 1 has no width
        low, high = np.tanh(np.arctanh(rank_correlation) + np.array([-half, half]))
    return Estimate(rank_correlation, float(low), float(high), n)
