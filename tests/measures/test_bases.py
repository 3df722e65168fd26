"""Axes and scales are what they say, rotations are drawn uniformly, and what is projected out is gone."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from lib.experiments.profiles import PROFILES
from lib.measures import bases, units

torch.set_num_threads(1)

FEW = replace(PROFILES["quick"].units, num_draws=99, num_directions=50, k=5, large_k=20)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_scales_undo_any_scale(vectors):
    scale = torch.linspace(0.1, 3, 12)
    before, after = (
        units.top_activating(
            units.responses(a, bases.families(a, FEW, generator(), 0)["random, equal scales"]), 5, generator()
        )
        for a in (vectors, vectors * scale)
    )
    assert (before == after).float().mean() > 0.99


def test_a_rotation_is_orthogonal_and_uniformly_drawn():
    drawn = torch.stack([bases.random_rotation(4, generator(seed)) for seed in range(2000)])
    torch.testing.assert_close(drawn @ drawn.mT, torch.eye(4).expand_as(drawn), rtol=0, atol=1e-5)
    # Haar: the trace has mean 0 and variance 1 (Diaconis & Shahshahani); without the signs it would not.
    traces = drawn.diagonal(dim1=1, dim2=2).sum(dim=1)
    assert abs(traces.mean()) < 4 / math.sqrt(2000)
    assert abs(traces.var() - 1) < 0.2
    assert (drawn.diagonal(dim1=1, dim2=2) > 0).double().mean() == pytest.approx(0.5, abs=0.03)


def test_principal_axes_are_those_of_the_covariance(vectors):
    axes = bases.principal_axes(vectors, num=12, seed=0)
    variance, expected = torch.linalg.eigh(torch.cov(vectors.double().T))
    torch.testing.assert_close(axes.stddev.double(), variance.flip(0).sqrt(), rtol=1e-4, atol=1e-5)
    cosine = (axes.vectors.double() * expected.T.flip(0)).sum(dim=1).abs()
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-4)
    torch.testing.assert_close(bases.principal_axes(vectors, num=3, seed=0).stddev, axes.stddev[:3])


def test_axes_without_variance_are_left_out(vectors):
    flat = torch.cat([vectors, vectors[:, :3], torch.zeros(400, 2)], dim=1)
    assert len(bases.principal_axes(flat, num=17, seed=0).stddev) == 12


def test_whitened_responses_are_uncorrelated_with_variance_one(vectors):
    scores = units.responses(vectors, bases.principal_axes(vectors, num=12, seed=0).whitened)
    torch.testing.assert_close(torch.cov(scores), torch.eye(12), rtol=0, atol=2e-3)


def test_independent_directions_find_independent_sources():
    """Sources with long right tails, mixed: each direction's responses are one of them, and the tail gives its sign."""
    sources = -torch.rand(5000, 4, generator=generator()).log()  # exponential
    samples = sources @ torch.randn(4, 4, generator=generator(1))
    axes = bases.principal_axes(samples, num=4, seed=0)
    found = bases.with_longer_tail(samples, bases.independent_directions(samples, axes, seed=0))
    correlation = torch.corrcoef(torch.cat([units.responses(samples, found), sources.T]))[:4, 4:]
    assert correlation.amax(dim=1).min() > 0.98
    assert correlation.argmax(dim=1).sort().values.tolist() == [0, 1, 2, 3]


def test_every_family_lives_in_the_layer_and_fitted_ones_have_the_longer_tail(vectors):
    found = bases.families(vectors, FEW, generator(), seed=0)
    assert ("random", *found) == bases.FAMILIES
    mixtures = ("random, positive", "random, equal scales", "random, whitened axes")
    assert {name: len(v) for name, v in found.items()} == dict.fromkeys(mixtures, 50) | {"PCA": 12, "ICA": 12}
    assert {v.shape[1] for v in found.values()} == {12}
    assert (found["random, positive"] >= 0).all()
    for name in ("PCA", "ICA"):
        scores = units.responses(vectors, found[name])
        assert ((scores - scores.mean(dim=1, keepdim=True)).pow(3).mean(dim=1) >= 0).all()


def test_samples_are_rows_and_on_maps_positions(vectors, maps):
    assert torch.equal(bases.sampled(vectors, 400), vectors)
    assert torch.equal(bases.sampled(vectors, 150), vectors[::3])
    found = bases.sampled(maps, 9 * 20)
    assert found.shape == (9 * 20, 5)
    assert torch.equal(found[9 + 4], maps[3, :, 4])


def test_directions_are_reproducible(vectors):
    first, second = (bases.families(vectors, FEW, generator(4), seed=0) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = bases.families(vectors, FEW, generator(5), seed=0)
    assert not torch.equal(first["random, positive"], other["random, positive"])


def test_a_class_is_detected_by_a_majority():
    assert bases.num_detected(torch.tensor([[6.0, 4.0, 0.0], [7.0, 0.0, 3.0]]), 2) == pytest.approx(1)
    assert bases.num_detected(torch.tensor([[5.0, 5.0, 0.0]]), 1) == pytest.approx(0)
    assert bases.num_detected(torch.tensor([[6.0, 4.0, 0.0], [0.0, 0.0, 10.0]]), 2) == pytest.approx(2)


def test_among_fewer_directions_fewer_classes_are_detected():
    """On average over all choices, tried one by one."""
    counts = torch.tensor([[6.0, 4, 0], [7, 0, 3], [5, 5, 0], [0, 0, 10], [1, 9, 0], [5, 0, 5]])
    for num in range(1, 7):
        chosen = [bases.num_detected(counts[list(rows)], num) for rows in itertools.combinations(range(6), num)]
        assert bases.num_detected(counts, num) == pytest.approx(np.mean(chosen))


def test_projecting_a_unit_out_is_setting_it_to_zero():
    hidden, labels = torch.rand(50, 6, generator=generator()), torch.arange(50) % 3
    classifier = nn.Linear(6, 3).requires_grad_(False)
    found = bases.importance(hidden, classifier, labels, 2 * torch.eye(6))
    before = F.cross_entropy(classifier(hidden), labels)
    for unit in range(6):
        ablated = hidden.clone()
        ablated[:, unit] = 0
        assert found[unit] == pytest.approx(float(F.cross_entropy(classifier(ablated), labels) - before), abs=1e-5)


def test_projecting_a_direction_out_leaves_nothing_along_it():
    hidden, labels = torch.rand(50, 6, generator=generator()), torch.arange(50) % 3
    classifier = nn.Linear(6, 3).requires_grad_(False)
    directions = torch.randn(4, 6, generator=generator(1))
    found = bases.importance(hidden, classifier, labels, directions)
    before = F.cross_entropy(classifier(hidden), labels)
    for v, harm in zip(directions, found, strict=True):
        projected = hidden @ (torch.eye(6) - torch.outer(v, v) / (v @ v))
        assert float((projected @ v).abs().max()) < 1e-5
        assert harm == pytest.approx(float(F.cross_entropy(classifier(projected), labels) - before), abs=1e-5)


def test_a_direction_that_the_classifier_ignores_is_not_important():
    classifier = nn.Linear(4, 2).requires_grad_(False)
    classifier.weight[:, 3] = 0
    found = bases.importance(torch.rand(20, 4, generator=generator()), classifier, torch.arange(20) % 2, torch.eye(4))
    assert abs(found[3]) < 1e-6
    assert found[:3].abs().max() > 1e-4


def test_a_basis_that_means_something_stands_out_from_its_rotations():
    labels = torch.arange(600) % 6
    judge = units.label_vectors(labels)
    activations = judge + 0.3 * torch.randn(600, 6, generator=generator())
    own = units.agreement(judge, units.top_activating(units.unit_responses(activations), 10, generator())).mean()
    turned = bases.rotated(activations, {"labels": judge}, 10, 30, generator(1))["labels"]
    assert own > turned.max() + 0.1
    nothing = torch.randn(600, 6, generator=generator(2))
    own = units.agreement(judge, units.top_activating(units.unit_responses(nothing), 10, generator())).mean()
    turned = bases.rotated(nothing, {"labels": judge}, 10, 30, generator(3))["labels"]
    assert abs(own - turned.mean()) < 4 * turned.std()


def test_a_unit_that_is_silent_on_the_samples_has_no_part_in_mixtures_of_equal_scales(vectors):
    silent = torch.cat([vectors, torch.zeros(400, 1)], dim=1)
    found = bases.families(silent, FEW, generator(), seed=0)["random, equal scales"]
    assert found.isfinite().all()
    assert (found[:, 12] == 0).all()


# --- Tables and what they say ---------------------------------------------------------------------


@pytest.fixture
def studies(vectors):
    """The first half of the images, with scales and axes of the second, against random directions and families."""
    judges = {"labels": units.label_vectors(torch.arange(200) % 4)}
    study = units.against_random(vectors[:200], judges, FEW, generator())
    return study, bases.against_families(study, vectors[:200], vectors[200:], judges, FEW, generator(), 0)


def test_families_meet_the_same_units(studies):
    study, against = studies
    assert torch.equal(against.agreement["labels"]["units"], study.agreement["labels"]["units"])
    assert against.agreement["labels"].keys() == {"units", *bases.FAMILIES} - {"random"}
    assert against.top["ICA"].shape == (12, 5)
    cells = units.cells("a", against, FEW, generator())
    assert {column for _, column in cells if "delta" in column} == {
        f"labels: delta, {name}" for name in bases.FAMILIES if name != "random"
    }


def test_rotations_stand_beside_the_natural_basis(studies):
    own = float(studies[0].agreement["labels"]["units"].mean())
    cells = bases.rotation_cells("a", studies[0], {"labels": own + torch.linspace(-1, 1, 99) - 0.5})
    assert cells["a", "labels: units"].value == pytest.approx(own)
    assert cells["a", "labels: rotations"].value == pytest.approx(own - 0.5)
    assert cells["a", "labels: p, rotations"].value == pytest.approx(0.51, abs=0.02)


def test_detectors_are_counted_among_as_many_of_each_family(studies):
    cells = bases.detector_cells("a", studies, torch.arange(200) % 4, 5)
    assert {column for _, column in cells} == {f"detected: {n}" for n in (*bases.FAMILIES, "units", "chance")}
    assert {estimate.n for estimate in cells.values()} == {12}
    assert all(0 <= estimate.value <= 4 for estimate in cells.values())


def test_importance_that_follows_agreement_is_foretold():
    agreement = {"units": torch.rand(40, generator=generator()), "random": torch.zeros(9)}
    harm = {"units": agreement["units"] ** 3, "random": torch.full((9,), -1.0)}
    cells = bases.importance_cells("a", harm, agreement, 99, generator())
    assert cells["a", "importance: rank correlation, units"].value == pytest.approx(1)
    assert cells["a", "importance: delta, random"].value == 1


ROTATED = {
    (row, f"another network: {column}"): value
    for row, values in {
        "Conv, hidden layer": (0.664, 0.633, 0.0533333, 0.2355),
        "AlexNet, conv5": (0.168, 0.157, 0.0333333, 0.0575),
        "SqueezeNet, fire9": (0.105, 0.1065, 0.0266667, 0.1475),
    }.items()
    for column, value in zip(("units", "rotations", "p, rotations", "p, random"), values, strict=True)
}


def test_small_p_values_of_several_networks_add_up():
    p = bases.joint_p(ROTATED, "another network")
    assert p == pytest.approx(scipy.stats.chi2(6).sf(-2 * math.log(0.0533333 * 0.0333333 * 0.0266667)))
    assert p == pytest.approx(0.003, abs=0.0005)
    assert bases.num_rotated(ROTATED, "another network") == 3
    assert bases.num_above_rotations(ROTATED) == (2, 3)


def test_all_tests_of_the_section_are_counted():
    both = ROTATED | {
        (row, column.replace("another network", "labels")): value for (row, column), value in ROTATED.items()
    }
    assert bases.num_tests(ROTATED) == 4
    assert bases.num_tests(both) == 8


def test_what_nobody_rotated_has_no_p():
    assert math.isnan(bases.joint_p({}, "labels"))
    assert (bases.num_rotated({}, "labels"), bases.num_tests({}), bases.num_above_rotations({})) == (0, 0, (0, 0))
