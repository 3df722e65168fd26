"""Readings of the average are what they say, and what is missing is said to be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.attacks.penalized import AttackResult
from lib.measures import averages
from lib.measures.averages import READINGS, SEARCHES
from lib.measures.intervals import Estimate, percent
from lib.record.tables import Told

torch.set_num_threads(1)

LENGTHS = st.lists(st.floats(0.01, 1), min_size=2, max_size=30)
PRINTED = Told({("a", "distortion"): 0.1, ("b", "distortion"): 0.2})


def exactly(value: float, n: int = 5) -> Estimate:
    return Estimate(value, value, value, n)


def ten() -> torch.Generator:
    return torch.Generator().manual_seed(10)


# --- Measured on images ---------------------------------------------------------------------------


def test_success_is_counted_and_gradients_are_averaged():
    facts = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = AttackResult(facts[:, None], facts, facts < 0.35, facts, torch.tensor([10, 20, 30, 60]), facts > 0)
    cells = averages.success({"net": found})
    assert cells["net", "success (%)"] == percent(3, 4)
    assert cells["net", "gradients"].value == 30
    assert len(cells) == 2


def test_the_four_readings():
    lengths, correct = torch.tensor([0.0, 3.0, 4.0, 5.0]), torch.tensor([False, True, True, False])
    found = averages.readings(lengths, correct)
    assert tuple(found) == READINGS
    values = [estimate.value for estimate in found.values()]
    assert values == pytest.approx([3, 3.5, math.sqrt(50 / 4), math.sqrt(25 / 2)])
    assert [estimate.n for estimate in found.values()] == [4, 2, 4, 2]


def test_no_reading_counts_an_image_for_which_nothing_was_found():
    lengths, correct = torch.tensor([0.0, 3.0, 4.0, 5.0]), torch.tensor([False, True, True, False])
    more = torch.cat([lengths, torch.tensor([torch.inf, torch.inf])]), torch.cat([correct, torch.tensor([True, False])])
    assert averages.readings(*more) == averages.readings(lengths, correct)


def test_side_by_side_are_the_images_for_which_both_were_found():
    first, second = torch.tensor([2.0, 3.0, torch.inf, 5.0]), torch.tensor([1.0, 2.0, 3.0, torch.inf])
    found = averages.side_by_side({"attack": first, "tight attack": second})
    assert found == averages.side_by_side({"attack": first[:2], "tight attack": second[:2]})
    assert found["attack"].n == 2


@given(LENGTHS)
def test_pooled_is_never_less_than_the_mean(lengths):
    found = averages.readings(torch.tensor(lengths), torch.ones(len(lengths), dtype=torch.bool))
    assert found["pooled"].value >= found["mean"].value * (1 - 1e-6)


def test_pooled_is_the_root_mean_square_over_all_pixels_of_all_images():
    perturbation = torch.randn(7, 30, generator=ten()) * torch.arange(7)[:, None]
    each = perturbation.square().mean(dim=1).sqrt()
    found = averages.readings(each, torch.ones(7, dtype=torch.bool))
    assert found["pooled"].value == pytest.approx(perturbation.square().mean().sqrt().item(), rel=1e-5)


def test_excess_is_that_of_the_means_and_sure_where_lengths_are_proportional():
    least = torch.rand(50, generator=ten()) + 0.1
    assert averages.excess(1.25 * least, least)[:3] == pytest.approx([25, 25, 25], abs=1e-4)
    noisy = least + 0.1 * torch.rand(50, generator=ten())
    found = averages.excess(noisy, least)
    assert found.value == pytest.approx(100 * (noisy.mean() / least.mean() - 1).item(), rel=1e-4)
    assert found.low < found.value < found.high
    assert found.n == 50


@pytest.mark.parametrize("num", [0, 1])
def test_of_fewer_than_two_images_no_excess_is_told(num):
    *told, n = averages.excess(torch.ones(num), torch.ones(num))
    assert np.isnan(told).all()
    assert n == num


def test_the_interval_of_an_excess_holds_what_it_promises():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        least = rng.uniform(0.5, 1.5, 60)
        found = averages.excess(torch.tensor(least * rng.normal(1.1, 0.1, 60)), torch.tensor(least))
        hits += found.low <= 10 <= found.high
    assert 0.92 < hits / 400 < 0.98


def test_an_excess_is_known_better_than_two_means_that_are_not_paired():
    least = torch.rand(40, generator=ten()) + 0.1
    found = averages.side_by_side({"attack": 1.1 * least, "optimum": least})
    assert list(found) == ["attack", "optimum", "excess (%)"]
    assert found["excess (%)"].high - found["excess (%)"].low < 1e-3
    assert found["attack"].high / found["optimum"].low > 1.2


def test_rows_become_cells():
    assert averages.by_cell({"a": {"x": exactly(1), "y": exactly(2)}}) == {
        ("a", "x"): exactly(1), ("a", "y"): exactly(2),
    }  # fmt: skip


# --- Said of tables -------------------------------------------------------------------------------


def test_misses_are_counted_back_from_recorded_rates():
    rate = percent(59_999, 60_000)
    recorded = Estimate(*(float(f"{value:.6g}") for value in rate[:3]), rate.n)
    cells = {("a", "success (%)"): recorded, ("b", "success (%)"): percent(500, 500), ("b", "gradients"): exactly(9)}
    found = averages.missed(cells)
    assert (found["num_missed"], found["num_tried"]) == (1, 60_500)
    assert found["least_success"] == percent(500, 500).low
    assert all(math.isnan(value) for value in averages.missed({("b", "gradients"): exactly(9)}).values())


def test_extremes_leave_out_what_is_missing():
    told = Told({("a", "x"): 3.0, ("b", "x"): 1.0, ("c", "x"): 2.0})
    assert averages.extremes(told, "abcd", "x") == ("b", "a")
    assert averages.extremes(told, "abcd", "y") == (None, None)


def test_pairs_are_formed_within_a_kind_and_what_is_missing_is_unknown():
    lengths = {name: exactly(value) for name, value in zip("abcd", (1.0, 2.0, 3.0, 0.5), strict=True)}
    harm = dict(zip("abcd", (10.0, 20.0, 15.0, 99.0), strict=True))
    assert averages.num_longer_worse(lengths, harm, ["abc", "d"]) == (2, 3)  # c is longer than b, and does less
    assert averages.num_longer_worse(lengths, harm, ["ab", "cd"]) == (1, 2)
    assert math.isnan(averages.num_longer_worse({}, harm, ["ab"])[0])
    assert math.isnan(averages.num_longer_worse(lengths, harm | {"b": math.nan}, ["ab"])[0])


def test_percent_over_is_nan_where_a_cell_is_missing():
    told = Told({("a", "x"): 3.0, ("a", "y"): 2.0, ("b", "x"): 1.0})
    found = averages.percent_over(told, "ab", "x", "y")
    assert found["a"] == pytest.approx(50)
    assert math.isnan(found["b"])


def test_readings_over_the_printed_value():
    cells = {("a", "mean"): Estimate(0.05, 0.04, 0.06, 9), ("b", "pooled"): exactly(0.2)}
    found = averages.over_printed(cells, PRINTED, "ab")
    assert list(found) == list(READINGS)
    assert found["mean"]["a"] == pytest.approx((0.5, 0.4, 0.6, 9))
    assert found["pooled"] == {"b": exactly(1)}
    assert found["pooled, images classified correctly"] == {}


def test_off_is_the_mean_deviation_whatever_its_sign():
    told = Told({("a", "mean"): 0.11, ("b", "mean"): 0.16, ("a", "pooled"): 0.1})
    found = averages.off(told, PRINTED, "ab", ["mean", "pooled"])
    assert found["mean"] == pytest.approx(15)
    assert math.isnan(found["pooled"])


def test_the_search_that_suits_one_network_is_tried_on_another():
    told = Told({("a", search): 0.05 * factor for search, factor in SEARCHES.items()})
    told |= {("b", search): 0.1 * factor for search, factor in SEARCHES.items()}
    told = Told(told)
    search, times = averages.one_search_for_two(told, PRINTED, "a", "b")
    assert (search, times) == ("search by 2", pytest.approx(1.0))
    search, times = averages.one_search_for_two(Told(), PRINTED, "a", "b")
    assert search is None
    assert math.isnan(times)


def test_the_mean_fits_better_only_by_more_than_its_seeds_differ():
    mean = Told({("a", "distortion"): 0.11, ("b", "distortion"): 0.21})
    pooled = Told({("a", READINGS[-1]): 0.13, ("b", READINGS[-1]): 0.18})
    sure = {cell: Estimate(value, value - 0.001, value + 0.001, 5) for cell, value in mean.items()}
    wide = {cell: Estimate(value, value - 0.02, value + 0.02, 5) for cell, value in mean.items()}
    assert averages.num_mean_fits(mean, pooled, sure, PRINTED) == 2
    assert averages.num_mean_fits(mean, pooled, wide, PRINTED) == 0
    assert averages.num_mean_fits(pooled, mean, sure, PRINTED) is None  # the columns are not those
    assert averages.num_mean_fits(mean, Told(), sure, PRINTED) is None
    assert averages.num_mean_fits(mean, pooled, {}, PRINTED) is None
