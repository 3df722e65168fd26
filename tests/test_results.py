"""What was recorded, held against what must be true of it."""

import pytest

from lib.experiments import digits
from lib.measures import certificates
from lib.networks import mnist
from lib.record import ledger


@pytest.mark.parametrize("name", [*mnist.TABLE1, "Conv"])
def test_no_certificate_was_refuted_by_any_recorded_attack(name):
    """A certified distance is a theorem: an adversarial example that lies nearer refutes the proof, or the code."""
    share = {
        column: estimate
        for (row, column), estimate in ledger.recorded("certificates").items()
        if row == name and column.endswith("largest share")
    }
    assert len(share) >= 2
    assert all(0 < estimate.value <= 1 for estimate in share.values())
    attacked = ledger.recorded("table1")[name, "distortion"].n
    assert {column: estimate.n for column, estimate in share.items() if "enclosure" not in column} == {
        column: attacked for column in share if "enclosure" not in column
    }


@pytest.mark.parametrize("name", digits.TABLE3.values())
def test_nor_by_the_attacks_of_table_3(name):
    share = {cell: e for cell, e in ledger.recorded("certificates").items() if cell[0] == name}
    assert len(share) == len(certificates.KINDS)
    assert all(0 < estimate.value <= 1 for estimate in share.values())
    assert max(estimate.n for estimate in share.values()) == 10_000


def test_nor_by_the_tight_attack():
    share = {cell: e for cell, e in ledger.recorded("certificates").items() if cell[1].endswith("the tight attack")}
    assert {row for row, _ in share} == {*mnist.TABLE1, "Conv"}
    assert all(0 < estimate.value <= 1 and estimate.n >= 500 for estimate in share.values())


def test_no_slope_that_was_met_is_steeper_than_a_constant_that_holds_everywhere():
    constants = {cell: estimate.value for cell, estimate in ledger.recorded("lipschitz").items()}
    for name in (*mnist.TABLE1, "Conv"):
        product, sharpest, met = (
            constants[name, column] for column in ("product of norms", "sharpest constant", "steepest slope met")
        )
        assert met <= sharpest * (1 + 1e-5) <= product * (1 + 2e-5)


def test_zero_padding_was_never_found_to_stretch_further_than_a_torus():
    bounds = {cell: estimate.value for cell, estimate in ledger.recorded("table5").items()}
    on_torus = {row: value for (row, column), value in bounds.items() if column == "upper on a torus"}
    assert len(on_torus) >= 7
    assert all(bounds[row, "upper"] <= value * (1 + 1e-5) for row, value in on_torus.items())


def test_squeezenet_was_loaded_and_fed_as_its_makers_did():
    """62.9 % of these pictures are what its published weights get right."""
    top1 = ledger.recorded("imagenet_accuracy")["SqueezeNet 1.1", "top-1 (%)"]
    assert top1.value == pytest.approx(62.9, abs=1)
    assert top1.n == 1000


def test_every_photograph_was_turned_into_its_target():
    success = {cell: e for cell, e in ledger.recorded("figure5").items() if cell[1] == "success (%)"}
    assert len(success) >= 4
    assert all(estimate.value == 100 and estimate.n == 64 for estimate in success.values())


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4"])
def test_seed_0_of_the_spread_is_the_recorded_value(name):
    """Both are measured on the same images: the recorded run is one of the five."""
    seeds = ledger.seeds()
    if 0 not in seeds["seed"].to_list():
        pytest.skip("seed 0 of the spread has not been recorded on the same images yet")
    first = seeds[(seeds["table"] == name) & (seeds["seed"] == 0)]
    recorded = ledger.recorded(name)
    assert len(first) >= 12
    for line in first.itertuples():
        assert line.value == pytest.approx(recorded[line.row, line.column].value, rel=1e-5), (line.row, line.column)


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4"])
def test_the_spread_is_mean_least_and_most_of_what_the_seeds_gave(name):
    seeds = ledger.seeds()
    each = {cell: group["value"] for cell, group in seeds[seeds["table"] == name].groupby(["row", "column"])}
    spread = ledger.recorded(f"spread_{name}")
    assert spread.keys() == each.keys()
    for cell, (mean, low, high, n) in spread.items():
        values = each[cell]
        assert (mean, low, high, n) == pytest.approx((values.mean(), values.min(), values.max(), len(values)), rel=1e-5)


def test_all_seeds_were_measured_by_one_commit():
    runs = ledger.read("run.json")
    commits = {runs[f"spread, seed {seed}"]["commit"] for seed in ledger.seeds()["seed"].unique()}
    assert len(commits) == 1
    assert not any(commit.endswith("+") for commit in commits)
