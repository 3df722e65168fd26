"""Tables 1 to 4 exist once: they have the paper's cells, and every seed's are made as a chapter's are."""

from dataclasses import replace

import pytest
import torch

from lib.attacks import penalized, perturbations
from lib.attacks.penalized import AttackConfig
from lib.experiments import digits, generalisation, seeds
from lib.experiments.seeds import Seeds
from lib.measures import intervals, transfer
from lib.networks import mnist
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.training import MinibatchConfig, TrainingConfig
from lib.record import ledger
from lib.record.tables import Told
from lib.store.calls import Store
from tools import spread

torch.set_num_threads(1)

NUM_ATTACKED = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An experiment whose networks are trained a little, on a few digits."""
    whole = digits.begin("cross_model", "quick", "digits", "cpu", seed=0)
    profile = replace(
        whole.profile,
        num_attacked=NUM_ATTACKED,
        training=TrainingConfig(max_iterations=30),
        autoencoder=AutoencoderConfig(max_iterations=5, num_images=100),
        conv=MinibatchConfig(num_epochs=1),
        attack=AttackConfig(max_searches=10),
    )
    return replace(
        whole,
        profile=profile,
        train=whole.train.take(200),
        test=whole.test.take(50),
        store=Store(tmp_path_factory.mktemp("store")),
    )


@pytest.fixture(scope="module")
def networks(run):
    return generalisation.across_networks(run, [*mnist.TABLE1, "Conv"])


@pytest.fixture(scope="module")
def halves(run):
    return generalisation.across_training_sets(run)


@pytest.fixture(scope="module")
def cells(run, networks, halves):
    """Tables 1 to 4 as the chapters make them."""
    return {
        "table1": generalisation.table1(run, networks),
        "table2": generalisation.table2(networks),
        "table3": generalisation.table3(run, halves),
        "table4": generalisation.table4(halves),
    }


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4"])
def test_every_cell_that_the_paper_prints_is_measured(cells, name):
    assert ledger.printed(name).keys() <= cells[name].keys()


def test_what_is_ours_alone_is_conv_and_other_readings(cells):
    ours = {name: {cell for cell in cells[name] if cell not in ledger.printed(name)} for name in cells}
    assert all("Conv" in cell for cell in ours["table1"] | ours["table2"])
    assert ours["table3"] == set()
    readings = ("by one factor", "as printed")
    assert all(any(reading in row for reading in readings) for row, _ in ours["table4"])
    assert len(ours["table4"]) == 2 * 9


def test_what_is_made_for_a_network_fools_it(cells):
    for name in mnist.TABLE1:
        assert cells["table2"][name, name].value == 100, name
    for name in mnist.HALVES:
        assert cells["table4"][f"distorted for {name}", name].value == 100, name


def test_some_networks_alone_have_the_same_lines(run, networks, cells):
    alone = generalisation.table1(run, networks, ["Conv"])
    assert alone == {cell: estimate for cell, estimate in cells["table1"].items() if cell[0] == "Conv"}


def test_images_are_the_first_so_many_of_either_set(run, networks, halves, cells):
    assert torch.equal(networks.images.inputs, run.train.inputs[:NUM_ATTACKED])
    assert torch.equal(halves.images.inputs, run.test.inputs[:NUM_ATTACKED])
    assert {e.n for cell, e in cells["table4"].items()} == {NUM_ATTACKED}
    assert cells["table1"]["softmax 1", "test error (%)"].n == 50


def test_seed_0_of_the_spread_is_what_the_chapters_measure(run, cells):
    """Whoever compares the seeds' range with a recorded cell compares like with like."""
    again = replace(run, chapter="spread", seeds=Seeds.derive(0))
    for name, found in spread.tables(again).items():
        assert found == {cell: estimate for cell, estimate in cells[name].items() if cell in found}
        assert found.keys() >= ledger.printed(name).keys()


def test_another_seed_gives_other_numbers(run, cells):
    other = generalisation.across_training_sets(replace(run, seeds=Seeds.derive(1)))
    assert generalisation.table4(other).keys() == cells["table4"].keys()
    assert generalisation.table4(other) != cells["table4"]


# --- Beyond the paper's tables --------------------------------------------------------------------


def test_controls_by_hand(run, networks):
    unchanged = lambda x, adversarial, generator: x  # noqa: E731
    changes = {"undistorted (%)": unchanged, "random signs (%)": perturbations.random_signs}
    found = generalisation.controls(networks, changes, num=1000, seed=7)
    assert found.keys() == {(name, kind) for name in networks.trained for kind in changes}
    made = networks.adversarial["softmax 1"]
    signed = perturbations.random_signs(networks.images.inputs, made, seeds.generator(7))
    others = {name: network for name, network in networks.networks.items() if name != "softmax 1"}
    errors = transfer.error_rates(transfer.answers(others, {"signed": signed}), networks.images.labels)
    assert found["softmax 1", "random signs (%)"] == intervals.pooled(errors.values())


def test_once_as_loud_is_what_was_made_and_not_at_all_is_the_image(networks):
    found = generalisation.louder(networks, "100-100-10", [0, 1], num=1000, seed=3)
    others = [name for name in networks.trained if name != "100-100-10"]
    assert {column for _, column in found} == set(others)
    undisturbed = transfer.error_rates(
        transfer.answers(networks.networks, {"x": networks.images.inputs}), networks.images.labels
    )
    for name in others:
        assert found["adversarial, 1 times", name] == networks.errors["100-100-10", name]
        assert found["adversarial, 0 times", name] == found["random direction, 0 times", name]
        assert found["adversarial, 0 times", name] == undisturbed["x", name]


def test_clamping_is_asked_of_noise_alone(networks):
    found = generalisation.clamped(networks)
    rows = [row for row in networks.sets if row.startswith("Gaussian noise")]
    assert found.keys() == {(row, name) for row in rows for name in networks.trained}
    lines = generalisation.clamping(Told({(rows[0], "softmax 1"): 12.5}), Told(), rows[:1], ["softmax 1"])
    assert lines == [["softmax 1", "12.50", "not recorded"]]


def test_amplification_says_how_large_sets_are_and_what_it_makes_smaller(halves):
    found = generalisation.amplification(halves)
    for name, result in halves.results.items():
        moved = (result.distortion > 0).double().mean().item()  # some images are taken for their target as they are
        assert found[f"{name} amplified to 0.1", "distortion"].value == pytest.approx(0.1 * moved, rel=1e-4)
        assert found[f"{name} as printed", "distortion"].value == pytest.approx(0.1 * moved / 28, rel=1e-3)
        larger = 100 * (result.distortion > 0.1).double().mean().item()
        assert found[name, "made smaller (%)"].value == pytest.approx(larger)


def test_pooled_distortions_are_root_mean_squares_over_what_is_classified_correctly(halves):
    found = generalisation.pooled_distortions(halves)
    assert {row for row, _ in found} == set(digits.TABLE3.values())
    x, labels = halves.images.inputs, halves.images.labels
    right = halves.networks["M2"](x).argmax(dim=1) == labels
    pooled = (halves.adversarial["M2"] - x)[right].double().square().mean().sqrt().item()
    estimate = found[digits.TABLE3["M2"], generalisation.POOLED]
    assert estimate.value == pytest.approx(pooled, rel=1e-5)
    assert estimate.n == int(right.sum())
    assert penalized.distortion(halves.adversarial["M2"], x)[right].mean() <= pooled * (1 + 1e-6)


def test_images_for_which_nothing_was_found_are_in_no_mean_of_distortions(networks):
    name, first = "softmax 1", torch.arange(NUM_ATTACKED) < 3
    result = networks.results[name]
    failed = replace(
        result, success=result.success & ~first, distortion=result.distortion.masked_fill(first, torch.inf)
    )
    found = replace(networks, results={**networks.results, name: failed})
    kept = failed.distortion[failed.success]
    assert found.distortions[name, "distortion"] == intervals.mean(kept.numpy())
    assert generalisation.amplification(found)[name, "made smaller (%)"].n == len(kept)
