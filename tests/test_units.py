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

from lib import units
from lib.config import PROFILES

torch.set_num_threads(1)

FEW = replace(PROFILES["quick"].units, num_draws=99, num_directions=50, k=5, large_k=20)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def vectors():
    """Rectified activations (400, 12) of units that depend on each other and differ in scale."""
    mixing = torch.randn(12, 12, generator=generator(1)) * torch.logspace(-1, 1, 12)
    return (torch.randn(400, 12, generator=generator(2)) @ mixing).relu()


@pytest.fixture
def maps():
    return torch.randn(60, 5, 9, generator=generator(3)).relu()


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


def test_equal_scales_undo_any_scale(vectors):
    scale = torch.linspace(0.1, 3, 12)
    before, after = (
        units.top_activating(
            units.responses(a, units.families(a, FEW, generator(), 0)["random, equal scales"]), 5, generator()
        )
        for a in (vectors, vectors * scale)
    )
    assert (before == after).float().mean() > 0.99


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


def test_a_rotation_is_orthogonal_and_uniformly_drawn():
    bases = torch.stack([units.random_rotation(4, generator(seed)) for seed in range(2000)])
    torch.testing.assert_close(bases @ bases.mT, torch.eye(4).expand_as(bases), rtol=0, atol=1e-5)
    # Haar: the trace has mean 0 and variance 1 (Diaconis & Shahshahani); without the signs it would not.
    traces = bases.diagonal(dim1=1, dim2=2).sum(dim=1)
    assert abs(traces.mean()) < 4 / math.sqrt(2000)
    assert abs(traces.var() - 1) < 0.2
    assert (bases.diagonal(dim1=1, dim2=2) > 0).double().mean() == pytest.approx(0.5, abs=0.03)


def test_principal_axes_are_those_of_the_covariance(vectors):
    axes = units.principal_axes(vectors, num=12, seed=0)
    variance, expected = torch.linalg.eigh(torch.cov(vectors.double().T))
    torch.testing.assert_close(axes.stddev.double(), variance.flip(0).sqrt(), rtol=1e-4, atol=1e-5)
    cosine = (axes.vectors.double() * expected.T.flip(0)).sum(dim=1).abs()
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-4)
    torch.testing.assert_close(units.principal_axes(vectors, num=3, seed=0).stddev, axes.stddev[:3])


def test_axes_without_variance_are_left_out(vectors):
    flat = torch.cat([vectors, vectors[:, :3], torch.zeros(400, 2)], dim=1)
    assert len(units.principal_axes(flat, num=17, seed=0).stddev) == 12


def test_whitened_responses_are_uncorrelated_with_variance_one(vectors):
    scores = units.responses(vectors, units.principal_axes(vectors, num=12, seed=0).whitened)
    torch.testing.assert_close(torch.cov(scores), torch.eye(12), rtol=0, atol=2e-3)


def test_independent_directions_find_independent_sources():
    """Sources with long right tails, mixed: each direction's responses are one of them, and the tail gives its sign."""
    sources = -torch.rand(5000, 4, generator=generator()).log()  # exponential
    samples = sources @ torch.randn(4, 4, generator=generator(1))
    axes = units.principal_axes(samples, num=4, seed=0)
    found = units.with_longer_tail(samples, units.independent_directions(samples, axes, seed=0))
    correlation = torch.corrcoef(torch.cat([units.responses(samples, found), sources.T]))[:4, 4:]
    assert correlation.amax(dim=1).min() > 0.98
    assert correlation.argmax(dim=1).sort().values.tolist() == [0, 1, 2, 3]


def test_every_family_lives_in_the_layer_and_fitted_ones_have_the_longer_tail(vectors):
    found = units.families(vectors, FEW, generator(), seed=0)
    mixtures = ("random", "random, positive", "random, equal scales", "random, whitened axes")
    assert {name: len(v) for name, v in found.items()} == dict.fromkeys(mixtures, 50) | {"PCA": 12, "ICA": 12}
    assert {v.shape[1] for v in found.values()} == {12}
    assert (found["random, positive"] >= 0).all()
    for name in ("PCA", "ICA"):
        scores = units.responses(vectors, found[name])
        assert ((scores - scores.mean(dim=1, keepdim=True)).pow(3).mean(dim=1) >= 0).all()


def test_samples_are_rows_and_on_maps_positions(vectors, maps):
    assert torch.equal(units.sampled(vectors, 400), vectors)
    assert torch.equal(units.sampled(vectors, 150), vectors[::3])
    found = units.sampled(maps, 9 * 20)
    assert found.shape == (9 * 20, 5)
    assert torch.equal(found[9 + 4], maps[3, :, 4])


def test_directions_are_reproducible(vectors):
    first, second = (units.families(vectors, FEW, generator(4), seed=0) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = units.families(vectors, FEW, generator(5), seed=0)
    assert not torch.equal(first["random"], other["random"])


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


def test_purity_and_entropy_of_known_rows():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    counts = units.label_counts(labels, torch.tensor([[0, 1, 2, 3], [0, 1, 4, 5], [0, 4, 6, 7]]))
    assert counts.tolist() == [[4, 0, 0, 0], [2, 2, 0, 0], [1, 1, 1, 1]]
    torch.testing.assert_close(units.purity(counts), torch.tensor([1, 0.5, 0.25]))
    torch.testing.assert_close(units.entropy(counts), torch.tensor([0.0, 1.0, 2.0]))


def test_a_class_is_detected_by_a_majority():
    assert units.num_detected(torch.tensor([[6.0, 4.0, 0.0], [7.0, 0.0, 3.0]]), 2) == pytest.approx(1)
    assert units.num_detected(torch.tensor([[5.0, 5.0, 0.0]]), 1) == pytest.approx(0)
    assert units.num_detected(torch.tensor([[6.0, 4.0, 0.0], [0.0, 0.0, 10.0]]), 2) == pytest.approx(2)


def test_among_fewer_directions_fewer_classes_are_detected():
    """On average over all choices, tried one by one."""
    counts = torch.tensor([[6.0, 4, 0], [7, 0, 3], [5, 5, 0], [0, 0, 10], [1, 9, 0], [5, 0, 5]])
    for num in range(1, 7):
        chosen = [units.num_detected(counts[list(rows)], num) for rows in itertools.combinations(range(6), num)]
        assert units.num_detected(counts, num) == pytest.approx(np.mean(chosen))


def test_projecting_a_unit_out_is_setting_it_to_zero():
    hidden, labels = torch.rand(50, 6, generator=generator()), torch.arange(50) % 3
    classifier = nn.Linear(6, 3).requires_grad_(False)
    found = units.importance(hidden, classifier, labels, 2 * torch.eye(6))
    before = F.cross_entropy(classifier(hidden), labels)
    for unit in range(6):
        ablated = hidden.clone()
        ablated[:, unit] = 0
        assert found[unit] == pytest.approx(float(F.cross_entropy(classifier(ablated), labels) - before), abs=1e-5)


def test_projecting_a_direction_out_leaves_nothing_along_it():
    hidden, labels = torch.rand(50, 6, generator=generator()), torch.arange(50) % 3
    classifier = nn.Linear(6, 3).requires_grad_(False)
    directions = torch.randn(4, 6, generator=generator(1))
    found = units.importance(hidden, classifier, labels, directions)
    before = F.cross_entropy(classifier(hidden), labels)
    for v, harm in zip(directions, found, strict=True):
        projected = hidden @ (torch.eye(6) - torch.outer(v, v) / (v @ v))
        assert float((projected @ v).abs().max()) < 1e-5
        assert harm == pytest.approx(float(F.cross_entropy(classifier(projected), labels) - before), abs=1e-5)


def test_a_direction_that_the_classifier_ignores_is_not_important():
    classifier = nn.Linear(4, 2).requires_grad_(False)
    classifier.weight[:, 3] = 0
    found = units.importance(torch.rand(20, 4, generator=generator()), classifier, torch.arange(20) % 2, torch.eye(4))
    assert abs(found[3]) < 1e-6
    assert found[:3].abs().max() > 1e-4


# --- Comparisons ----------------------------------------------------------------------------------


def test_a_basis_that_means_something_stands_out_from_its_rotations():
    labels = torch.arange(600) % 6
    judge = units.label_vectors(labels)
    activations = judge + 0.3 * torch.randn(600, 6, generator=generator())
    own = units.agreement(judge, units.top_activating(units.unit_responses(activations), 10, generator())).mean()
    turned = units.rotated(activations, {"labels": judge}, 10, 30, generator(1))["labels"]
    assert own > turned.max() + 0.1
    nothing = torch.randn(600, 6, generator=generator(2))
    own = units.agreement(judge, units.top_activating(units.unit_responses(nothing), 10, generator())).mean()
    turned = units.rotated(nothing, {"labels": judge}, 10, 30, generator(3))["labels"]
    assert abs(own - turned.mean()) < 4 * turned.std()


@pytest.fixture
def looked():
    """A study of 300 images in 3 classes; units 0 to 2 know a class each, 3 to 7 nothing, 8 is dead."""
    labels = torch.arange(300) % 3
    noise = torch.rand(300, 9, generator=generator())
    activations = torch.cat([units.label_vectors(labels) + 0.2 * noise[:, :3], noise[:, 3:8], 0 * noise[:, 8:]], dim=1)
    judges = {"labels": units.label_vectors(labels), "noise": units.unit_vectors(noise[:, 3:5])}
    return units.study(activations[::2], activations[1::2], {n: v[::2] for n, v in judges.items()}, FEW, generator(), 0)


def test_a_study_looks_at_live_units_and_at_what_they_know(looked):
    found = looked
    assert found.live.tolist() == 8 * [True] + [False]
    assert found.agreement["labels"]["units"][:3].tolist() == [1, 1, 1]
    assert found.agreement["labels"]["units"][3:].mean() < 0.6
    assert {name: len(v) for name, v in found.directions.items()} == {
        name: len(v) for name, v in found.agreement["noise"].items() if name not in ("units", "chance")
    }
    assert all(v.shape[1] == 8 for v in found.directions.values())
    assert found.top["random"].shape == (50, 20)
    assert not torch.equal(found.agreement["labels"]["random"], found.large_agreement["labels"]["random"])


def test_the_table_holds_every_comparison_once(looked):
    found = looked
    table = units.cells({"a layer": found}, FEW, generator())
    assert {row for row, _ in table} == {"a layer", "a layer, top 20"}
    values = found.agreement["labels"]
    assert table["a layer", "labels: units"].value == pytest.approx(float(values["units"].mean()))
    assert table["a layer", "labels: random"].n == 50
    expected = torch.sign(values["units"][:, None] - values["PCA"]).mean()
    assert table["a layer", "labels: delta, PCA"].value == pytest.approx(float(expected), abs=1e-6)
    assert 0 < table["a layer", "labels: p, random"].value <= 1
    assert table["a layer, top 20", "noise: units"].value == pytest.approx(
        float(found.large_agreement["noise"]["units"].mean())
    )
    assert ("a layer, top 20", "labels: delta, PCA") not in table


def test_chance_is_chance(looked):
    """Pairs of images drawn at random have one of three labels in common once in three."""
    found = looked
    chance = found.agreement["labels"]["chance"]
    assert chance.mean() == pytest.approx(49 / 149, abs=4 * float(chance.std()) / math.sqrt(len(chance)))
    assert all(len(row.unique()) == 20 for row in found.top["chance"])


def test_deltas_tell_units_that_know_from_units_that_do_not():
    labels = torch.arange(300) % 6
    judges = {"labels": units.label_vectors(labels)}
    knowing = units.label_vectors(labels) + 0.9 * torch.rand(300, 6, generator=generator())  # mixtures mix this up
    found = units.deltas(torch.cat([knowing, torch.zeros(300, 2)], dim=1), judges, FEW, generator())["labels"]
    assert found.n == 6  # without the dead ones
    assert found.low > 0.2
    ignorant = units.deltas(torch.rand(300, 40, generator=generator(1)), judges, FEW, generator(2))["labels"]
    assert ignorant.low < 0 < ignorant.high
