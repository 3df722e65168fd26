"""Intervals are the textbook's, and hold what they promise."""

import math

import numpy as np
import pytest
import scipy.stats

from lib.measures import intervals
from lib.measures.intervals import Estimate


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson 1927, with the 97.5 % quantile of the normal distribution."""
    z = scipy.stats.norm.ppf(0.975)
    centre = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(k * (n - k) / n + z**2 / 4)
    return centre - half, centre + half


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 10), (164, 10_000), (59_999, 60_000)])
def test_rate_is_wilsons_interval(k, n):
    estimate = intervals.rate(k, n)
    assert estimate == (k / n, pytest.approx(wilson(k, n)[0], abs=1e-12), pytest.approx(wilson(k, n)[1], abs=1e-12), n)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high  # also where nothing or everything succeeded


def test_success_and_failure_mirror_each_other():
    success, failure = intervals.rate(7, 40), intervals.rate(33, 40)
    assert success[:3] == pytest.approx([1 - failure.value, 1 - failure.high, 1 - failure.low])


def test_percent_is_a_hundred_times_the_rate():
    assert intervals.percent(3, 256) == (*(100 * np.array(intervals.rate(3, 256)[:3])), 256)


def test_an_error_of_two_per_cent_on_ten_thousand_images_is_known_to_a_quarter_point():
    _, low, high, _ = intervals.percent(200, 10_000)
    assert (high - low) / 2 == pytest.approx(0.28, abs=0.01)


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, 0), (1, 0), (0, -1)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(ValueError, match=r".+"):
        intervals.rate(successes, n)


@pytest.mark.parametrize("count", [2.5, np.float64(0.1)])
def test_counts_are_whole(count):
    with pytest.raises(TypeError, match="integer"):
        intervals.rate(count, 10)


def test_mean_is_students_interval():
    values = np.random.default_rng(0).normal(3, 2, size=17)
    low, high = scipy.stats.t.interval(0.95, df=16, loc=values.mean(), scale=scipy.stats.sem(values))
    assert intervals.mean(values) == (pytest.approx(values.mean()), pytest.approx(low), pytest.approx(high), 17)


def test_the_mean_of_two_values_by_hand():
    """t = 12.706 with one degree of freedom, and the standard error of 0 and 2 is 1."""
    assert intervals.mean(np.array([0, 2])) == (
        1,
        pytest.approx(1 - 12.706, abs=1e-3),
        pytest.approx(13.706, abs=1e-3),
        2,
    )


def test_equal_values_leave_no_doubt():
    assert intervals.mean(np.full(9, 0.25, dtype=np.float32)) == Estimate(0.25, 0.25, 0.25, 9)


@pytest.mark.parametrize("values", [[[1.0, 2.0]], 3.0])
def test_a_mean_needs_a_vector(values):
    with pytest.raises(ValueError, match="needs a vector"):
        intervals.mean(np.array(values))


@pytest.mark.parametrize("values", [[], [1.0]])
@pytest.mark.parametrize("average", [intervals.mean, intervals.root_mean_square])
def test_fewer_than_two_values_have_no_mean_with_an_interval(average, values):
    found = average(values)
    assert np.isnan(found[:3]).all()
    assert found.n == len(values)


@pytest.mark.parametrize("estimate", [intervals.rate(3, 9), intervals.percent(np.int64(3), 9), intervals.mean([1, 2])])
def test_estimates_are_plain_numbers(estimate):
    """They go into CSV and JSON."""
    assert isinstance(estimate, Estimate)
    assert all(isinstance(number, float) for number in estimate[:3])
    assert type(estimate.n) is int


def test_rates_are_covered_in_95_per_cent_of_all_experiments():
    """Not by chance but exactly: the binomial probability of the outcomes whose interval holds p, averaged over p."""
    n = 60
    low, high = np.array([intervals.rate(k, n)[1:3] for k in range(n + 1)]).T
    grid = np.linspace(0.02, 0.98, 193)
    probability = scipy.stats.binom.pmf(np.arange(n + 1), n, grid[:, None])
    coverage = (probability * ((low <= grid[:, None]) & (grid[:, None] <= high))).sum(axis=1)
    assert coverage.mean() == pytest.approx(0.95, abs=0.01)
    assert coverage.min() > 0.85


def test_means_are_covered_in_95_per_cent_of_all_experiments():
    samples = np.random.default_rng(0).normal(0.06, 0.02, size=(2000, 8))
    covered = [low <= 0.06 <= high for _, low, high, _ in map(intervals.mean, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


def test_root_mean_square_is_the_pooled_standard_deviation():
    """Of several samples around zero: the root of the mean of their variances."""
    source = np.random.default_rng(0)
    samples = source.normal(size=(50, 20)) * source.uniform(1, 3, size=(50, 1))
    each = np.sqrt(np.mean(samples**2, axis=1))
    found = intervals.root_mean_square(each)
    assert found.value == pytest.approx(np.sqrt(np.mean(samples**2)))
    assert found.low < found.value < found.high
    assert found.n == 50
    constant = intervals.root_mean_square(np.full(4, 0.3))
    assert constant == pytest.approx((0.3, 0.3, 0.3, 4))


def test_pooled_is_the_mean_with_the_interval_of_one_measurement():
    pooled = intervals.pooled([intervals.percent(10, 100), intervals.percent(21, 100)])
    assert pooled.value == 15.5
    assert pooled.n == 100
    one = intervals.percent(16, 100)
    assert (pooled.low, pooled.high) == (one.low, one.high)
    same = intervals.percent(7, 50)
    assert intervals.pooled([same, same, same]) == pytest.approx(same)
