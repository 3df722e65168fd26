"""Rates are counted right, noise and amplification have the size they say, controls keep what they promise to keep."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lib.measures import transfer
from lib.measures.intervals import Estimate, percent
from lib.networks import mnist
from lib.record import ledger
from lib.record.tables import Told

pytestmark = pytest.mark.numerical


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Brightness(nn.Module):
    """Class 1 where the mean pixel is above a threshold, else 0."""

    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = threshold

    def forward(self, inputs):
        above = inputs.mean(dim=1) - self.threshold
        return torch.stack([-above, above], dim=1)


@pytest.fixture
def pair():
    """Images and adversarial ones, the first of them unchanged."""
    inputs = torch.rand(30, 784, generator=generator(1))
    perturbation = 0.05 * torch.randn(30, 784, generator=generator(2)) * torch.rand(30, 1, generator=generator(3))
    perturbation[0] = 0
    return inputs, inputs + perturbation


def test_error_rates_count_what_each_network_gets_wrong():
    images = {"dark": torch.full((10, 4), 0.2), "bright": torch.full((10, 4), 0.8)}
    labels = torch.tensor([1] * 7 + [0] * 3)
    networks = {"low": Brightness(0.1), "middle": Brightness(0.5)}
    answers = transfer.answers(networks, images)
    rates = transfer.error_rates(answers, labels)
    assert {cell: round(rate.value) for cell, rate in rates.items()} == {
        ("dark", "low"): 30, ("dark", "middle"): 70, ("bright", "low"): 30, ("bright", "middle"): 30,
    }  # fmt: skip
    expected = percent(7, 10)
    assert rates["dark", "middle"] == pytest.approx(expected)
    assert rates["dark", "middle"].n == 10
    hits = transfer.rates(answers, labels)
    assert hits["dark", "middle"].value == pytest.approx(30)


def test_predictions_do_not_depend_on_the_batch(monkeypatch):
    inputs = torch.rand(25, 4, generator=generator())
    whole = transfer.predictions(Brightness(0.5), inputs)
    monkeypatch.setattr(transfer, "BATCH", 7)
    assert torch.equal(transfer.predictions(Brightness(0.5), inputs), whole)


def test_rows_are_named_as_the_papers_tables_name_them(pair):
    inputs, adversarial = pair
    table2 = transfer.table2_images(dict.fromkeys(mnist.TABLE1, adversarial), inputs, generator())
    assert list(table2) == list(dict.fromkeys(row for row, _ in ledger.digits("table2")))
    table4 = transfer.table4_images(dict.fromkeys(("M1", "M2", "M3"), adversarial), inputs, generator())
    assert list(table4)[:8] == list(dict.fromkeys(row for row, _ in ledger.digits("table4")))
    sizes = {row: estimate.value for (row, _), estimate in transfer.distortions(table4, inputs).items()}
    assert sizes["M1 amplified to 0.1"] == pytest.approx(0.1 * 29 / 30, rel=1e-3)  # one image has no perturbation
    assert sizes["Gaussian noise, stddev 0.06"] == pytest.approx(0.06, rel=0.02)
    pooled = (table4["M1 by one factor to 0.1"] - inputs).square().mean().sqrt()
    assert pooled == pytest.approx(0.1, rel=1e-5)
    assert sizes["M1 as printed"] == pytest.approx(0.1 / 28 * 29 / 30, rel=1e-3)
    assert torch.equal(table4["distorted for M2"], adversarial)


def test_range_in_samples_covers_95_percent_of_them():
    low, high = transfer.range_in_samples(8.5, size=256)
    drawn = 100 * (torch.rand(4000, 256, generator=generator()) < 0.085).double().mean(dim=1)
    inside = ((drawn >= low - 1e-9) & (drawn <= high + 1e-9)).double().mean()
    assert 0.94 <= inside <= 0.985  # rates of 256 images come in steps
    assert low < 8.5 < high
    assert transfer.range_in_samples(100, 256) == (100, 100)


def test_a_perfect_reproduction_of_many_rates_seldom_has_all_within():
    rates = (8.5, 30.0, 47.0)
    drawn = torch.rand(3, 4000, 256, generator=generator())
    shown = 100 * (drawn < torch.tensor(rates).view(3, 1, 1) / 100).double().mean(dim=2)
    ranges = torch.tensor([transfer.range_in_samples(rate, 256) for rate in rates])
    within = ((shown >= ranges[:, :1] - 1e-9) & (shown <= ranges[:, 1:] + 1e-9)).all(dim=0)
    assert transfer.chance_of_all_within(rates, 256) == pytest.approx(within.double().mean().item(), abs=0.02)
    assert transfer.chance_of_all_within([0.0, 100.0], 256) == 1


def test_agreement_of_a_table_with_itself_is_perfect():
    theirs = {("a", "b"): 1.0, ("a", "c"): 5.0, ("b", "c"): 3.0}
    same = transfer.agreement(theirs | {("other", "cell"): 7.0}, theirs)
    assert same == {"spearman": pytest.approx(1), "median_difference": 0, "num_cells": 3}
    shifted = transfer.agreement({cell: 2 - value for cell, value in theirs.items()}, theirs)
    assert shifted["spearman"] == pytest.approx(-1)
    assert shifted["median_difference"] == pytest.approx(4)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [("6.25", True), ("28.9", True), ("0.39", True), ("0.4", True), ("28.7", False), ("6.24", False)],
)
def test_multiples_of_one_256th_as_far_as_their_digits_go(printed, expected):
    assert transfer.is_share_of(printed) is expected


@pytest.mark.parametrize("digits", [1, 2])
def test_every_share_is_recognised_and_few_others_are(digits):
    shares = {f"{100 * k / 256:.{digits}f}" for k in range(257)}
    every = [f"{i / 10**digits:.{digits}f}" for i in range(100 * 10**digits + 1)]
    assert {text for text in every if transfer.is_share_of(text)} >= shares
    assert sum(map(transfer.is_share_of, every)) / len(every) == pytest.approx(256 / 100 / 10**digits, rel=0.1)


def test_the_median_of_an_even_number_of_differences_lies_between_the_two_in_the_middle():
    theirs = {("a", str(i)): 10.0 * i for i in range(4)}
    ours = {cell: value + difference for (cell, value), difference in zip(theirs.items(), (1, -2, 4, 9), strict=True)}
    assert transfer.agreement(ours, theirs)["median_difference"] == 3


# --- Numbers for sentences ------------------------------------------------------------------------

NETWORKS = ("M1", "M2", "M3")
PLAIN, LOUD = "distorted for {}", "{} amplified to 0.1"


def two_rows(ours: dict[str, float], row: str = "a") -> dict:
    return {(row, column): value for column, value in ours.items()}


def test_what_only_one_side_knows_takes_no_part():
    theirs = two_rows({"x": 1.0, "y": 2.0, "z": 3.0, "w": 9.0, "v": math.nan})
    ours = two_rows({"x": 10.0, "y": 30.0, "z": 20.0, "w": math.nan, "v": 4.0})
    assert transfer.both_known(ours, theirs) == [("a", "x"), ("a", "y"), ("a", "z")]
    assert transfer.differences(ours, theirs) == two_rows({"x": 9, "y": 28, "z": 17})
    found = transfer.agreement(ours, theirs)
    assert found == {"spearman": pytest.approx(0.5), "median_difference": 17, "num_cells": 3}


def test_nothing_in_common_is_no_number_and_no_error():
    found = transfer.agreement({}, {("a", "b"): 1.0})
    assert found["num_cells"] == 0
    assert math.isnan(found["spearman"])
    assert math.isnan(found["median_difference"])
    assert math.isnan(transfer.correlation({}, {("a", "b"): 1.0}).low)
    assert transfer.ranges_in_samples({}, {("a", "b"): 1.0}, 256) == {}
    assert transfer.farthest({}, {("a", "b"): 1.0}) not in {("a", "b")}


def test_rank_correlation_is_spearmans_with_ties():
    import scipy.stats

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (2, 40)).astype(float)
    ours, theirs = ({("a", str(i)): float(v) for i, v in enumerate(values)} for values in (a, b))
    expected = scipy.stats.spearmanr(a, b).statistic
    assert transfer.rank_correlation(ours, theirs) == pytest.approx(expected)
    found = transfer.correlation(ours, theirs)
    assert found.low < found.value < found.high
    assert found.n == 40


def test_the_same_order_has_a_correlation_of_1_without_width():
    theirs = two_rows({"x": 1.0, "y": 2.0, "z": 3.0, "w": 9.0})
    assert transfer.correlation({cell: value**3 for cell, value in theirs.items()}, theirs) == (1, 1, 1, 4)


def test_alike_numbers_have_no_rank_correlation():
    theirs = two_rows({"x": 1.0, "y": 2.0, "z": 3.0})
    assert math.isnan(transfer.rank_correlation(dict.fromkeys(theirs, 5.0), theirs))


def test_three_constants_rank_much_as_table_4_does():
    """Noise, plain and amplified: so much of a correlation is the blocks' alone."""
    table4 = ledger.printed("table4")
    cells = transfer.halves(table4, NETWORKS, [PLAIN, LOUD]) | transfer.under_noise(table4)
    assert set(transfer.by_kind(cells).values()) == {0, 1, 2}
    assert transfer.rank_correlation(transfer.by_kind(cells), cells) == pytest.approx(0.93, abs=0.01)


def test_the_papers_tables_have_the_cells_that_sentences_speak_of():
    table2, table4 = ledger.printed("table2"), ledger.printed("table4")
    assert len(transfer.between(table2, mnist.TABLE1)) == 30
    assert len(transfer.between(table2, [*mnist.TABLE1, "Conv"])) == 30
    assert len(transfer.between(table2, set(mnist.TABLE1) - {"AE400-10"})) == 20
    assert len(transfer.under_noise(table2)) == 12
    plain, loud = (transfer.halves(table4, NETWORKS, [kind]) for kind in (PLAIN, LOUD))
    assert len(plain) == len(loud) == len(transfer.under_noise(table4)) == 6
    assert transfer.halves(table4, NETWORKS, [PLAIN, LOUD]) == plain | loud
    assert plain["distorted for M2", "M1"] == 6.25
    assert ("distorted for M2", "M2") not in plain
    kinds = {transfer.kind_of_row(cell) for cell in plain | loud | transfer.under_noise(table4)}
    assert kinds == {"distorted", "amplified", "noise"}


def test_28_of_31_rates_with_decimals_are_multiples_of_one_256th():
    rates = transfer.with_decimals(ledger.digits("table2") | ledger.digits("table4"))
    assert len(rates) == 31
    assert sum(map(transfer.is_share_of, rates)) == 28


def test_another_reading_takes_the_first_ones_place():
    told = {("M1 by one factor to 0.1", "M2"): 98.0, ("M1 amplified to 0.1", "M2"): 88.0}
    assert transfer.renamed(told, "by one factor", "amplified") == {("M1 amplified to 0.1", "M2"): 98.0}
    assert math.isnan(transfer.renamed(Told(told), "by one factor", "amplified")["M3 amplified to 0.1", "M2"])


def test_numbers_beyond_the_range_of_seeds_are_counted():
    seeds = {("a", "x"): Estimate(5, 4, 6, 5), ("a", "y"): Estimate(5, 4, 6, 5)}
    theirs = {("a", "x"): 6.0, ("a", "y"): 6.1, ("a", "z"): 99.0}
    assert transfer.num_beyond_seeds(seeds, theirs) == 1
    assert math.isnan(transfer.num_beyond_seeds({}, theirs))


def test_means_along_a_row_or_a_column():
    values = {("a", "x"): 1.0, ("a", "y"): 3.0, ("b", "x"): -7.0}
    assert transfer.mean_where(values, row="a") == 2
    assert transfer.mean_where(values, column="x") == -3
    assert math.isnan(transfer.mean_where(values, row="c"))
    assert transfer.mean_size(values) == pytest.approx(11 / 3)
    assert math.isnan(transfer.mean_size({}))


def test_the_largest_change_along_a_row_is_unknown_if_one_of_them_is():
    before, after = two_rows({"x": 1.0, "y": 5.0}), two_rows({"x": 2.0, "y": 1.0})
    assert transfer.largest_change(before, after, "a", ["x", "y"]) == 4
    assert math.isnan(transfer.largest_change(before, after | {("a", "x"): math.nan}, "a", ["x", "y"]))


def test_harm_is_what_is_added_to_the_error_without_distortion():
    told = {
        ("one", "undistorted (%)"): 2.0,
        ("one", "adversarial (%)"): 12.0,
        ("one", "shuffled among images (%)"): 11.0,
        ("two", "undistorted (%)"): 1.0,
        ("two", "adversarial (%)"): 21.0,
        ("two", "shuffled among images (%)"): 11.0,
    }
    assert transfer.harm(told, ["one", "two"], "adversarial (%)") == {"one": 10, "two": 20}
    assert transfer.mean_harm(told, ["one", "two"], "adversarial (%)") == 15
    assert transfer.shared(told, ["one", "two"]) == ["one"]
    assert transfer.shared(told, ["one", "two"], share=0.5) == ["one", "two"]


def test_shares_leave_the_diagonal_and_empty_wholes_out():
    part = {("a", "b"): 2.0, ("b", "a"): 0.0, ("a", "a"): 100.0}
    whole = {("a", "b"): 8.0, ("b", "a"): 0.0, ("a", "a"): 100.0}
    assert transfer.shares(part, whole) == [25]


def test_means_of_pairs_and_rates_by_factor():
    told = {("distorted for M1", "M2"): 20.0, ("distorted for M2", "M1"): 30.0, ("worse, 1.5 times", "M1"): 7.0}
    own = {("distorted for M1", "M1"): 99.0, ("distorted for M2", "M2"): 97.0}
    assert transfer.least_of_own(own, ["M1", "M2"], PLAIN) == 97
    assert transfer.mean_of(told, [("M1", "M2"), ("M2", "M1")], PLAIN) == 25
    assert transfer.factor_row("worse", 1.5) == "worse, 1.5 times"
    assert transfer.by_factor(told, ["worse"], [1.5], ["M1"]) == {"M1": {"worse": [7.0]}}


def test_which_cell_is_off_most_and_which_row_least():
    theirs = {("a", "x"): 1.0, ("b", "x"): 5.0}
    ours = {("a", "x"): 4.0, ("b", "x"): 3.0}
    assert transfer.farthest(ours, theirs) == ("a", "x")
    assert transfer.nearest(ours, ["a", "b"], "x", 3.4) == "b"
    assert transfer.nearest(ours | {("b", "x"): math.nan}, ["b", "a"], "x", 3.4) == "a"
    assert transfer.each_off(ours, {("a", "x"): 5.0, ("b", "x"): 2.0}) == pytest.approx([-20, 50])
    assert transfer.each_off(ours, {("a", "y"): 5.0}, "x") == pytest.approx([-20])
    assert transfer.num_nearer([-1.0, 5.0, 0.0], [2.0, -4.0, 1.0]) == 2
    assert math.isnan(transfer.num_nearer([math.nan, 5.0], [2.0, -4.0]))
    assert transfer.in_column(ours | {("a", "y"): 1.0}, "x") == ours
