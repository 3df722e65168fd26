"""Directions are what they say, the right images come out on top, and agreement is the mean over all pairs."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.experiments.profiles import PROFILES
from lib.measures import units
from lib.measures.intervals import Estimate

torch.set_num_threads(1)

FEW = replace(PROFILES["quick"].units, num_draws=99, num_directions=50, k=5, large_k=20)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- Images ---------------------------------------------------------------------------------------


def test_activations_do_not_depend_on_the_pieces(monkeypatch):
    layers, inputs = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.rand(25, 4, generator=generator())
    monkeypatch.setattr(units, "CHUNK", 7)
    found = units.activations(layers, inputs)
    torch.testing.assert_close(found, layers(inputs).detach())
    assert not found.requires_grad


def test_a_balanced_choice_has_as_many_of_each_class():
    labels = torch.tensor([0] * 9 + [1] * 4 + [2] * 4 + [3] * 4)
    found = units.balanced(labels, 2, 3)
    assert labels[found].tolist() == [0, 0, 0, 2, 2, 2]
    assert found.tolist() == [0, 1, 2, 13, 14, 15]
    assert labels[units.balanced(labels, 4, 2)].bincount().tolist() == [2] * 4


def test_a_response_is_the_inner_product(vectors):
    directions = units.random_directions(7, 12, generator())
    expected = np.einsum("nd,vd->vn", vectors.numpy(), directions.numpy())
    np.testing.assert_allclose(units.responses(vectors, directions), expected, rtol=1e-4, atol=1e-4)


def test_on_maps_a_response_is_the_largest_of_one_more_filter(maps, monkeypatch):
    monkeypatch.setattr(units, "CHUNK", 7)
    directions = units.random_directions(4, 5, generator())
    filtered = F.conv2d(maps.unflatten(2, (3, 3)), directions[..., None, None])
    expected = F.adaptive_max_pool2d(filtered, 1)[..., 0, 0].T
    torch.testing.assert_close(units.responses(maps, directions), expected)


def test_the_natural_basis_is_the_identity_matrix(vectors, maps):
    for activations in (vectors, maps):
        expected = units.responses(activations, torch.eye(activations.shape[1]))
        torch.testing.assert_close(units.unit_responses(activations), expected)


def test_the_best_images_are_the_first_of_a_sort(vectors):
    scores = units.unit_responses(vectors)[:3]
    expected = np.argsort(-scores.numpy(), axis=1)[:, :5]
    assert np.array_equal(units.top_activating(scores, 5, generator()), expected)


def test_ties_are_broken_by_lot():
    scores = torch.tensor([[0.0, 1, 1, 1, 1, 2]])
    chosen = torch.cat([units.top_activating(scores, 3, generator(seed)) for seed in range(400)])
    assert (chosen[:, 0] == 5).all()
    counts = chosen[:, 1:].flatten().bincount(minlength=6)[1:5]
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 0.001


@settings(max_examples=20, deadline=None)
@given(length=st.floats(0.01, 100), shift=st.floats(-5, 5))
def test_neither_length_nor_mean_matters(length, shift):
    """So centring the activations, which the paper does not speak of, changes no figure."""
    activations = torch.randn(50, 6, generator=generator(), dtype=torch.float64)
    directions = torch.randn(9, 6, generator=generator(1), dtype=torch.float64)
    before = units.top_activating(units.responses(activations, directions), 8, generator())
    after = units.top_activating(units.responses(activations + shift, length * directions), 8, generator())
    assert torch.equal(before, after)


def test_scale_matters_to_mixtures_and_not_to_units(vectors):
    """A rectified unit times s, its outgoing weights over s: the same network, other random directions."""
    scale = torch.linspace(0.1, 3, 12)
    directions = units.random_directions(50, 12, generator())
    own = [units.top_activating(units.unit_responses(a), 5, generator()) for a in (vectors, vectors * scale)]
    mixed = [units.top_activating(units.responses(a, directions), 5, generator()) for a in (vectors, vectors * scale)]
    assert torch.equal(*own)
    assert not torch.equal(*mixed)


def test_a_unit_that_fires_on_fewer_than_k_images_has_no_k_best():
    activations = torch.zeros(20, 4)
    activations[:3, 1], activations[:5, 2] = torch.arange(1.0, 4), torch.arange(1.0, 6)
    activations[:, 3] = torch.arange(20.0)
    assert units.live_units(activations, 3).tolist() == [False, True, True, True]
    assert units.live_units(activations, 5).tolist() == [False, False, True, True]
    as_maps = activations[..., None].expand(-1, -1, 4)
    assert units.live_units(as_maps, 5).tolist() == [False, False, True, True]


# --- Directions -----------------------------------------------------------------------------------


def test_random_directions_have_no_preferred_one():
    directions = F.normalize(units.random_directions(20_000, 8, generator()))
    torch.testing.assert_close(directions.T @ directions / 20_000, torch.eye(8) / 8, rtol=0, atol=0.005)
    torch.testing.assert_close(directions.mean(dim=0), torch.zeros(8), rtol=0, atol=0.015)


# --- Agreement ------------------------------------------------------------------------------------


def test_agreement_is_the_mean_cosine_over_all_pairs():
    features = torch.randn(30, 6, generator=generator())
    vectors, top = units.unit_vectors(features), torch.stack([torch.randperm(30)[:5] for _ in range(8)])
    centred = (features - features.mean(dim=0)).numpy()
    for row, value in zip(top, units.agreement(vectors, top), strict=True):
        cosines = [
            centred[i] @ centred[j] / np.linalg.norm(centred[i]) / np.linalg.norm(centred[j])
            for i, j in itertools.combinations(row.tolist(), 2)
        ]
        assert value == pytest.approx(np.mean(cosines), abs=1e-5)


def test_agreement_of_labels_is_the_share_of_equal_pairs():
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    top = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 2, 3]])
    vectors = units.label_vectors(labels)
    torch.testing.assert_close(units.agreement(vectors, top), torch.tensor([1 / 3, 1.0, 0.0]))


def test_an_image_without_features_agrees_with_none():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(units.agreement(vectors, torch.tensor([[0, 1, 2]])), torch.tensor([1 / 3]))


# --- A layer that is looked at --------------------------------------------------------------------


@pytest.fixture
def layer():
    """Activations on 150 images in 3 classes; units 0 to 2 know a class each, 3 to 7 nothing, 8 is dead; and judges."""
    labels = torch.arange(150) % 3
    noise = torch.rand(150, 9, generator=generator())
    activations = torch.cat([units.label_vectors(labels) + 0.2 * noise[:, :3], noise[:, 3:8], 0 * noise[:, 8:]], dim=1)
    return activations, {"labels": units.label_vectors(labels), "noise": units.unit_vectors(noise[:, 3:5])}


@pytest.fixture
def looked(layer):
    return units.against_random(*layer, FEW, generator())


def test_a_study_looks_at_live_units_and_at_what_they_know(looked):
    assert looked.live.tolist() == 8 * [True] + [False]
    assert looked.agreement["labels"]["units"][:3].tolist() == [1, 1, 1]
    assert looked.agreement["labels"]["units"][3:].mean() < 0.6
    assert looked.directions["random"].shape == (50, 8)
    assert {name: best.shape for name, best in looked.top.items()} == {
        "units": (8, 20),
        "random": (50, 20),
        "chance": (50, 20),
    }
    assert not torch.equal(looked.agreement["labels"]["random"], looked.large_agreement["labels"]["random"])


def test_what_units_like_does_not_depend_on_how_many_directions_there_are(layer, looked):
    fewer = units.against_random(*layer, replace(FEW, num_directions=3), generator())
    assert torch.equal(fewer.top["units"], looked.top["units"])


def test_half_precision_is_looked_at_in_single_precision(maps):
    directions = units.random_directions(4, 5, generator())
    for found in (units.responses(maps.half(), directions), units.unit_responses(maps.half())):
        assert found.dtype == torch.float32
    torch.testing.assert_close(
        units.responses(maps.half(), directions), units.responses(maps, directions), rtol=0.01, atol=0.01
    )


def test_chance_is_chance(looked):
    """Pairs of images drawn at random have one of three labels in common once in three."""
    chance = looked.agreement["labels"]["chance"]
    assert chance.mean() == pytest.approx(49 / 149, abs=4 * float(chance.std()) / math.sqrt(len(chance)))
    assert all(len(row.unique()) == 20 for row in looked.top["chance"])


def test_rows_are_drawn_by_lot_and_no_row_twice(looked):
    first, then = (units.by_lot(looked, 4, 5, generator(7), skip) for skip in (0, 4))
    for kind, family in (("single units", "units"), ("random directions", "random")):
        assert len(first[kind]) == len(then[kind]) == 4
        assert not first[kind].keys() & then[kind].keys()
        for name, images in first[kind].items():
            assert torch.equal(images, looked.top[family][int(name.split()[1]), :5])
    assert units.by_lot(looked, 4, 5, generator(8)).keys() == first.keys()
    assert units.by_lot(looked, 4, 5, generator(8))["single units"].keys() != first["single units"].keys()


def test_rows_are_called_by_the_numbers_that_units_have_in_the_layer():
    activations = torch.zeros(30, 3)
    activations[:, 2] = torch.arange(30.0)
    study = units.against_random(activations, {"labels": torch.ones(30, 1)}, FEW, generator())
    (name, images), *others = units.by_lot(study, 1, 5, generator())["single units"].items()
    assert (name, images.tolist(), others) == ("unit 2", [29, 28, 27, 26, 25], [])


# --- Comparisons ----------------------------------------------------------------------------------


def test_the_table_holds_every_comparison_once(looked):
    table = units.cells("a layer", looked, FEW, generator())
    assert {row for row, _ in table} == {"a layer", "a layer, top 20"}
    values = looked.agreement["labels"]
    assert table["a layer", "labels: units"].value == pytest.approx(float(values["units"].mean()))
    assert table["a layer", "labels: random"].n == 50
    expected = torch.sign(values["units"][:, None] - values["random"]).mean()
    assert table["a layer", "labels: delta, random"].value == pytest.approx(float(expected), abs=1e-6)
    assert 0 < table["a layer", "labels: p, random"].value <= 1
    assert table["a layer, top 20", "noise: units"].value == pytest.approx(
        float(looked.large_agreement["noise"]["units"].mean())
    )
    assert ("a layer", "labels: delta, chance") not in table


def test_deltas_alone_are_those_of_the_table(looked):
    table, alone = units.cells("a", looked, FEW, generator()), units.deltas("a", looked, FEW, generator())
    assert {cell: e.value for cell, e in alone.items()} == {
        ("a", f"{judge}: delta, random"): table["a", f"{judge}: delta, random"].value for judge in ("labels", "noise")
    }


def test_deltas_tell_units_that_know_from_units_that_do_not():
    labels = torch.arange(300) % 6
    judges = {"labels": units.label_vectors(labels)}
    knowing = units.label_vectors(labels) + 0.9 * torch.rand(300, 6, generator=generator())  # mixtures mix this up
    knowing = torch.cat([knowing, torch.zeros(300, 2)], dim=1)
    ignorant = torch.rand(300, 40, generator=generator(1))
    found, other = (
        units.deltas("a", units.against_random(activations, judges, FEW, generator(2)), FEW, generator())[
            "a", "labels: delta, random"
        ]
        for activations in (knowing, ignorant)
    )
    assert found.n == 6  # without the dead ones
    assert found.low > 0.2
    assert other.low < 0 < other.high


def delta(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, value - half, value + half, 100)


def with_seeds(*values: float) -> dict:
    """The last layer of one network, and of the same network from several seeds."""
    seeds = {f"Conv, seed {i}": value for i, value in enumerate(values)}
    rows = {"Conv, hidden layer": values[0], "AlexNet, conv5": 0.14} | seeds
    return {(row, "another network: delta, random"): delta(value) for row, value in rows.items()}


def test_conv_is_judged_by_the_mean_over_its_seeds():
    cells = with_seeds(0.05, 0.06, 0.10, 0.14, 0.16)
    assert units.by_seed(cells, "another network") == [0.05, 0.06, 0.10, 0.14, 0.16]
    assert units.by_seed(cells, "labels") == []
    more = {("Conv, seed 5", column): delta(math.nan) for _, column in cells}
    more |= {(f"AlexNet, seed {i}", column): delta(0.9) for i in range(3) for _, column in cells}
    assert units.by_seed(cells | more, "another network") == units.by_seed(cells, "another network")
    parts = units.last_deltas(cells)
    assert parts["AlexNet, conv5", "another network"] == delta(0.14)
    found = parts["Conv, hidden layer", "another network"]
    expected = scipy.stats.ttest_1samp([0.05, 0.06, 0.10, 0.14, 0.16], 0).confidence_interval()
    assert found == pytest.approx((0.102, expected.low, expected.high, 5))
    assert len(parts) == 2


def test_two_seeds_are_too_few_for_a_mean():
    parts = units.last_deltas(with_seeds(0.05, 0.16))
    assert parts["Conv, hidden layer", "another network"] == delta(0.05)


def test_an_estimate_within_the_limit_is_not_yet_an_interval_within():
    parts = {"inside": delta(-0.1), "crossing": delta(0.14), "beyond": delta(-0.2)}
    assert units.num_within(parts, 0.147) == (2, 1)
    assert units.num_within({}, 0.147) == (0, 0)


def test_directions_are_above_chance_where_intervals_are_apart():
    cells = {
        ("a", "labels: random"): delta(0.3),
        ("a", "labels: chance"): delta(0.1),
        ("a", "noise: random"): delta(0.12),
        ("a", "noise: chance"): delta(0.1),
        ("b", "labels: random"): delta(0.3),  # nobody measured its chance
        ("pixels", "labels: random"): delta(0.3),
        ("pixels", "labels: chance"): delta(0.1),
        ("a", "labels: delta, random"): delta(0.5),
    }
    assert units.num_above_chance(cells) == (1, 2)


def test_what_is_missing_is_left_out_of_a_figure():
    cells = {("a", "x"): delta(0.1), ("c", "y"): delta(0.2)}
    assert units.arranged(cells, ["c", "b", "a"], {"X": "x", "Y": "y"}) == {
        "c": {"Y": delta(0.2)},
        "a": {"X": delta(0.1)},
    }
