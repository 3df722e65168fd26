"""Effect sizes, tests and intervals are SciPy's, and keep what a 5 % level and a 95 % interval promise."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.measures import effects

torch.set_num_threads(1)

SAMPLES = st.lists(st.integers(-5, 5), min_size=2, max_size=20)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=50, deadline=None)
@given(a=SAMPLES, b=SAMPLES)
def test_cliffs_delta_is_mann_and_whitneys_u(a, b):
    expected = 2 * scipy.stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) - 1
    found = effects.delta(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32), generator(), 99)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.n == len(a)


def cliff(a, b) -> float:
    """By definition."""
    return np.sign(a[:, None] - b).mean()


def test_where_all_of_one_exceed_all_of_the_other_the_interval_is_a_point():
    found = effects.delta(
        2 + torch.rand(253, generator=generator()), torch.rand(999, generator=generator()), generator(), 99
    )
    assert found[:3] == (1, 1, 1)


def test_a_small_permutation_test_is_the_exact_one():
    a, b = torch.tensor([1.0, 4.0, 6.0, 7.0]), torch.tensor([0.0, 2.0, 3.0, 3.0, 5.0])
    exact = scipy.stats.permutation_test(
        (a.numpy(), b.numpy()), lambda x, y: abs(cliff(x, y)), alternative="greater", n_resamples=np.inf
    ).pvalue
    p = effects.permutation_test(a, b, generator(), 20_000)
    assert p.low <= exact <= p.high
    assert p.n == 20_001


def test_p_is_never_zero_and_one_where_nothing_differs():
    far = effects.permutation_test(torch.zeros(30), torch.ones(40), generator(), 99)
    assert far.value == pytest.approx(1 / 100)
    assert effects.permutation_test(torch.ones(30), torch.ones(40), generator(), 99).value == 1


def test_under_the_null_hypothesis_p_is_uniform():
    drawn = torch.randn(300, 50, generator=generator(1))
    p = [effects.permutation_test(row[:20], row[20:], generator(i), 99).value for i, row in enumerate(drawn)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_bootstrap_intervals_cover_what_they_estimate():
    """About 95 % of them: Cliff's delta of two Gaussians a standard deviation apart."""
    true, covered = 2 * scipy.stats.norm.cdf(1 / np.sqrt(2)) - 1, []
    for seed in range(200):
        a, b = 1 + torch.randn(60, generator=generator(seed)), torch.randn(80, generator=generator(1000 + seed))
        found = effects.delta(a, b, generator(seed), 299)
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.05)


def test_a_randomisation_counts_both_sides_and_itself():
    draws = torch.arange(-9.0, 10.0)
    for observed, as_far in ((100.0, 1), (-9.0, 3), (0.0, 20)):
        found = effects.randomisation_test(observed, draws)
        assert (found.value, found.n) == (pytest.approx(as_far / 20), 20)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 2.0])
def test_a_guesser_tells_two_gaussians_as_often_as_the_best_threshold_does(shift):
    """Half way between them: Phi(|shift| / 2), and half the time where there is nothing to tell."""
    a, b = shift + torch.randn(4000, generator=generator(1)), torch.randn(3000, generator=generator(2))
    assert effects.best_guess(a, b) == pytest.approx(scipy.stats.norm.cdf(abs(shift) / 2), abs=0.02)


def test_a_guesser_does_not_profit_from_chance():
    drawn = torch.randn(200, 50, generator=generator(3))
    right = [effects.best_guess(row[:20], row[20:]) for row in drawn]
    assert np.mean(right) == pytest.approx(0.5, abs=0.02)


def test_one_of_several_tests_needs_a_smaller_p():
    assert effects.bonferroni(0.003, 8) == pytest.approx(0.024)
    assert effects.bonferroni(0.3, 8) == 1
    assert [effects.can_be_told(p) for p in (0.02, 0.05, 0.06)] == ["can", "can", "cannot"]


def test_what_has_no_p_is_neither_told_nor_not():
    assert np.isnan(effects.bonferroni(np.nan, 8))
    assert np.isnan(effects.can_be_told(np.nan))


def test_the_spread_of_draws_is_their_middle_95_percent():
    draws = torch.arange(1001.0)
    found = effects.spread(draws)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((500, 25, 975, 1001))


def test_the_interval_of_a_rank_correlation_covers_it():
    """Of Gaussian pairs with correlation r, Spearman's is 6 / pi arcsin(r / 2)."""
    r, draws = 0.5, np.random.default_rng(0)
    true, covered = 6 / np.pi * np.arcsin(r / 2), []
    for _ in range(400):
        a = draws.normal(size=60)
        b = r * a + np.sqrt(1 - r**2) * draws.normal(size=60)
        found = effects.correlated(float(scipy.stats.spearmanr(a, b).statistic), 60)
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.035)


def test_percent_off_is_0_where_both_are_the_same():
    assert effects.percent_off(3.0, 3.0) == 0
    assert effects.percent_off(3.0, 2.0) == 50
