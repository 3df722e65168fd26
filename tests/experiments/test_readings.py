"""What the paper leaves open is named as it names it, and its readings are compared with the right cells."""

import math
from dataclasses import replace

import pytest
import torch

from lib.attacks.penalized import AttackConfig
from lib.experiments import digits, profiles, readings
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.training import TrainingConfig, TrainResult
from lib.record import ledger
from lib.record.tables import Table
from lib.store.calls import Store

torch.set_num_threads(1)

PAPER1, PAPER2 = ledger.printed("table1"), ledger.printed("table2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    whole = digits.begin("framework", "quick", "digits", "cpu", seed=0)
    profile = replace(
        whole.profile,
        num_attacked=60,
        num_compared=60,
        training=TrainingConfig(max_iterations=25),
        autoencoder=AutoencoderConfig(max_iterations=8, num_images=100),
        attack=AttackConfig(max_searches=6),
    )
    store = Store(tmp_path_factory.mktemp("store"))
    return replace(whole, profile=profile, train=whole.train.take(300), store=store)


def test_every_network_has_its_line():
    lines = readings.specs()
    assert [line[0] for line in lines] == list(mnist.SPECS)
    assert {len(line) for line in lines} == {5}
    by_name = {line[0]: line for line in lines}
    assert by_name["100-100-10"][1:] == ["N100-100-10", "FC100-100-10", "784-100-100-10", "1e-05, 1e-05, 1e-06"]
    assert by_name["Conv"][3] == "32 filters 5×5, pool 2×2, 256, 10"


def test_a_network_that_the_paper_does_not_name_has_a_line_all_the_same(monkeypatch):
    spec = mnist.NetworkSpec("new", "sigmoid", (784, 10), (1.0,))
    monkeypatch.setattr(mnist, "SPECS", {"new": spec})
    assert readings.specs() == [["new", "–", "–", "784-10", "1"]]


def test_how_fits_ended_is_told_in_numbers():
    result = TrainResult([2.0, 1.0, 0.5], "converged", 1e-6, 4, 1.5)
    other = replace(result, status="out of iterations")
    trained = {"AE400-10": digits.Trained(mnist.SPECS["AE400-10"], torch.nn.Identity(), result, other)}
    cells = {cell: estimate.value for cell, estimate in readings.fits(trained).items()}
    assert cells["AE400-10", "iterations"] == 2
    assert cells["AE400-10", "final loss"] == 0.5
    assert cells["AE400-10", "gradients"] == 4
    assert cells["AE400-10", "converged"] == 1
    assert cells["AE400-10, autoencoder", "converged"] == 0
    assert {column for _, column in cells} == {*readings.FITS, "gradients"}


def test_each_reading_stands_beside_the_papers_numbers():
    told = readings.in_columns(PAPER1, ["λ", "λ/2"])
    assert len(told) == 2 * 3 * 2
    assert told["softmax 1", "λ, test error (%)"] == 20
    assert readings.by_network(told, ["λ"], "test error (%)")["softmax 1"] == {"λ": 20}
    assert readings.farthest(told, PAPER1, "λ/2") == 0
    told["softmax 1e-2", "λ, training error (%)"] += 0.75
    told["softmax 1", "λ, training error (%)"] += 9  # it does not count
    assert readings.farthest(told, PAPER1, "λ") == pytest.approx(0.75)
    told["softmax 1e-4", "λ, test error (%)"] = math.nan
    assert math.isnan(readings.farthest(told, PAPER1, "λ"))


def test_which_reading_is_best_is_known_only_if_all_are():
    assert readings.best({"λ": 2.0, "λ/2": 0.1}) == "λ/2"
    assert readings.best({"λ": math.nan, "λ/2": 0.1}) == "not measured"


def test_the_papers_autoencoder_by_hand():
    found = readings.judged_in_paper(PAPER1, PAPER2)
    assert found["fools others (%)"] == pytest.approx((23.4 + 16 + 24.8 + 9.4 + 6.6) / 5)
    assert found["fooled by others (%)"] == pytest.approx((2.7 + 9.8 + 34.4 + 2 + 2.7) / 5)
    assert list(found) == readings.JUDGED


def test_a_variant_is_judged_by_what_it_does_to_the_others(run):
    trained = {name: run.trained(name) for name in ("softmax 1", "100-100-10", "AE400-10")}
    compared = readings.bench(run, trained)
    assert list(compared.others) == list(compared.results) == ["softmax 1", "100-100-10"]
    assert len(compared.images) == 60 // profiles.VARIANT_SHARE
    found = readings.judged(run, trained["AE400-10"], compared)
    assert set(readings.JUDGED) <= set(found)
    made = run.adversarial(trained["AE400-10"], compared.images).adversarial
    wrong = [(t.network(made).argmax(dim=1) != compared.images.labels).double() for t in compared.others.values()]
    assert found["fools others (%)"].value == pytest.approx(100 * torch.cat(wrong).mean().item())
    for_others = torch.cat([result.adversarial for result in compared.results.values()])
    said = trained["AE400-10"].network(for_others).argmax(dim=1)
    assert found["fooled by others (%)"].value == pytest.approx(
        100 * (said != compared.images.labels.repeat(2)).double().mean().item()
    )


def test_a_variant_that_nobody_recorded_says_so(run):
    recorded = {("sparse", column): Estimate(1.5, 1, 2, 500) for column in readings.JUDGED}
    table = Table("autoencoder", {}, recorded, {}, {})
    heads, lines = readings.variants(table, run, readings.judged_in_paper(PAPER1, PAPER2))
    assert {len(line) for line in lines} == {len(heads)}
    lines = {line[0]: line[1:] for line in lines}
    assert list(lines) == ["**the paper's**", *profiles.AUTOENCODER_VARIANTS]
    assert lines["**the paper's**"][1] == "**1.90**"
    assert lines["sparse"] == ["ρ\u00a00.06, β\u00a00.5", "1.50", "1.5", "1.50", "1.50"]
    assert lines["contractive"][1:] == ["not recorded"] * 4


def test_weights_that_are_zero_are_not_named():
    plain = AutoencoderConfig(sparsity=0.05, sparsity_weight=0, contraction=0)
    assert readings.weights(plain) == "ρ\u00a00.05"
    assert readings.weights(replace(plain, decay=0.003)) == "ρ\u00a00.05, decay\u00a00.003"
