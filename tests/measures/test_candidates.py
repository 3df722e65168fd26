"""Candidates are told apart: classes, divisors, and sizes of samples."""

import math

import numpy as np
import pytest
import torch

from lib.measures import candidates, transfer
from lib.record import ledger

LENGTHS = torch.tensor([[0.0, 0.2, 0.3], [0.4, 0.0, 0.1]])


def test_every_reading_of_the_target_takes_its_own_length():
    """The first image shows a 0 and is read as one; the second shows a 2 and is read as a 1."""
    logits, labels = torch.tensor([[3.0, 2.0, 1.0], [0.0, 5.0, 4.0]]), torch.tensor([0, 2])
    found = candidates.by_target(LENGTHS, logits, labels, drawn=torch.tensor([2, 0]))
    assert {name: values.tolist() for name, values in found.items()} == {
        candidates.RANDOM: pytest.approx([0.3, 0.4]),
        "the next digit": pytest.approx([0.2, 0.4]),
        "0 for all": pytest.approx([0.0, 0.4]),
        "least likely class": pytest.approx([0.3, 0.4]),
        candidates.NEAREST: pytest.approx([0.2, 0.0]),
        candidates.FARTHEST: pytest.approx([0.3, 0.4]),
    }


def test_ratios_are_over_the_printed_and_what_is_unknown_is_left_out():
    told = {("a", "mean"): 0.2, ("b", "mean"): math.nan, ("a", "rms"): 0.3, ("b", "rms"): 0.4}
    printed = {("a", "distortion"): 0.1, ("b", "distortion"): 0.4}
    found = candidates.ratios(told, printed, "ab", ["mean", "rms"])
    assert found == {"mean": {"a": pytest.approx(2)}, "rms": {"a": pytest.approx(3), "b": pytest.approx(1)}}


# --- Divisors -------------------------------------------------------------------------------------

GRID = np.array([0.5, 2, 10, 784])


def test_the_best_divisor_is_halfway_between_two_that_are_asked_for():
    """log(k) is off by nothing at 1, and log(k / 4) at 4: both are off by log 2 at 2."""
    misses = candidates.largest_misses(GRID, [np.log(GRID), np.log(GRID / 4)])
    best, least, low, high = candidates.best_divisor(misses, slack=0.1)
    assert best == pytest.approx(2, rel=0.01)
    assert least == pytest.approx(math.log(2), abs=0.01)
    assert (low, high) == (pytest.approx(2 * math.exp(-0.1), rel=0.02), pytest.approx(2 * math.exp(0.1), rel=0.02))


def test_what_is_not_known_has_no_best_divisor():
    misses = candidates.largest_misses(GRID, [np.log(GRID), np.full(4, np.nan)])
    assert all(map(math.isnan, candidates.best_divisor(misses)))


# --- Samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [61, 250])
def test_chance_makes_as_many_shares_as_there_are_among_all_rates(size):
    every = [f"{rate / 10:.1f}" for rate in range(1000)]
    shares = sum(transfer.is_share_of(rate, size) for rate in every)
    assert candidates.by_chance(every, size) == pytest.approx(shares, rel=0.02)


@pytest.mark.parametrize("size", [150, 256])
def test_the_size_of_the_sample_stands_out(size):
    rates = [f"{100 * count / size:.1f}" for count in (3, 17, 38, 59, 71, 83, 97, 101, 113, 127, 131, 139, 149)]
    beyond = candidates.beyond_chance(rates, range(20, 1001))
    assert max(beyond, key=beyond.get) == size


def test_as_many_by_chance_is_a_binomial_tail():
    """A quarter each: both of two are shares with 1/16."""
    assert candidates.luck_of_sharing(["50.0", "24.8"], 250) == pytest.approx(1 / 16)
    assert candidates.luck_of_sharing(["50.1", "25.1"], 250) == 1  # none is one


def test_the_papers_rates_are_256ths_where_they_are_of_adversarial_images_or_strong_noise():
    rates = candidates.kinds(ledger.digits("table2") | ledger.digits("table4"))
    assert [line[:3] for line in candidates.on_a_comb(rates, 256)] == [
        [candidates.MADE, "31", "28"],
        [candidates.STRONG, "5", "5"],
        [candidates.WEAK, "10", "2"],
    ]
    beyond = candidates.beyond_chance(rates[candidates.MADE], range(20, 1001))
    assert max(beyond, key=beyond.get) == 256
    assert candidates.luck_of_sharing(rates[candidates.MADE], 256) < 1e-10
