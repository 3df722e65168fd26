"""Who is asked about cars, by what they are judged, and what is counted when they no longer see one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.attacks import penalized
from lib.experiments import cars, digits
from lib.experiments.cars import NO, ONCE, PIXELS, QUOCNET, UNTRAINED, YES, Material
from lib.networks import quocnet
from lib.networks.quocnet import QuocNetConfig, RICAConfig
from lib.store.calls import Store

torch.set_num_threads(1)

TINY = QuocNetConfig(side=28, num_channels=1, field=7, num_maps=2, pool=2, contrast=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Digits, one of them in the car's place, at a scale of seconds."""
    run = digits.begin("quocnet", "quick", "digits", "cpu", seed=0)
    scale = replace(
        run.profile.cars, digits=TINY, rica=RICAConfig(batch_size=20), num_unlabelled=60, num_few=20, num_train=40,
        num_test=30, num_attacked=5,
    )  # fmt: skip
    profile = replace(run.profile, cars=scale)
    return replace(run, profile=profile, store=Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def material(run) -> Material:
    return cars.material({}, run.train, run.profile.cars, run.seeds.split)


@pytest.fixture(scope="module")
def learned(run, material):
    return cars.learned(material, run.profile.cars, run.seeds, run.store)


@pytest.fixture(scope="module")
def answering(run, material, learned):
    once, _ = cars.learned(cars.normalized_once(material), run.profile.cars, run.seeds, run.store)
    networks = {QUOCNET: learned[0], ONCE: once}
    return cars.judges(material, networks, {}, run.profile.cars, run.seeds, run.store)


@pytest.fixture(scope="module")
def under_attack(run, material, answering):
    return cars.turned(material, answering, run.profile.cars, run.store)


# --- The question ---------------------------------------------------------------------------------


def test_what_is_judged_by_was_seen_by_nobody_before(material):
    seen = {tuple(row) for row in torch.cat([material.unlabelled, material.train]).tolist()}
    assert not seen & {tuple(row) for row in material.test.tolist()}


def test_as_many_images_show_it_as_do_not(material):
    assert material.train_labels.bincount().tolist() == [40, 40]
    assert material.test_labels.bincount().tolist() == [30, 30]
    assert len(material.unlabelled) == 60


def test_a_label_says_what_the_image_shows(run, material):
    shown = {tuple(x): int(y) for x, y in zip(run.train.inputs.tolist(), run.train.labels, strict=True)}
    for images, labels in ((material.train, material.train_labels), (material.test, material.test_labels)):
        assert [shown[tuple(x)] == cars.DIGIT for x in images.tolist()] == (labels == YES).tolist()


def test_few_images_are_shared_out_in_proportion():
    scale = replace(digits.profiles.PROFILES["quick"].cars, num_train=100, num_test=50)
    is_it = torch.arange(300) < 30
    _, train, test = cars._drawn(is_it, scale, seed=0)
    assert (len(train), len(test)) == (40, 20)
    assert is_it[test].sum() == 10


# --- Who answers ----------------------------------------------------------------------------------


def test_the_untrained_network_is_the_one_that_learning_began_with(run, material, learned):
    network, costs = learned
    first = cars.untrained(material, run.seeds.init)
    assert set(costs) == {1, 2, 3}
    for stage, other in zip(network.stages, first.stages, strict=True):
        assert not torch.allclose(stage.filters, other.filters)


def test_a_stage_is_learned_on_top_of_those_that_have_learned(run, material, learned):
    """From the store every stage comes again, and with it the same network."""
    half = cars.untrained(material, run.seeds.init)
    half.stages[0].filters.copy_(learned[0].stages[0].filters)
    images = material.unlabelled.unflatten(1, material.shape)
    expected = quocnet.fit_stage(half, 1, images, run.profile.cars.rica, run.seeds.batches)
    torch.testing.assert_close(learned[0].stages[1].filters.detach(), expected.filters)
    num_made = run.store.num_made
    again, _ = cars.learned(material, run.profile.cars, run.seeds, run.store)
    assert run.store.num_made == num_made
    assert torch.equal(again(material.test[:2].unflatten(1, material.shape)), learned[0](
        material.test[:2].unflatten(1, material.shape)
    ))  # fmt: skip


def test_all_classifiers_have_two_answers_and_as_many_features_as_they_say(material, answering):
    assert list(answering) == [QUOCNET, ONCE, UNTRAINED, PIXELS, cars.PROJECTED]
    sizes = {name: base(material.test[:2]).shape[1] for name, base in cars.bases(answering).items()}
    assert sizes == dict.fromkeys(sizes, TINY.num_features) | {PIXELS: 784}
    for network in answering.values():
        assert network(material.test[:2]).shape == (2, 2)
        assert not network.training


def test_pixels_tell_a_digit_from_the_others(material, answering):
    cells = cars.accuracy(material, answering)
    right = cars.answers(answering[PIXELS], material.test) == material.test_labels
    assert cells[PIXELS, "accuracy (%)"].value == pytest.approx(100 * right.double().mean().item())
    assert cells[PIXELS, "accuracy (%)"].value > 80
    ahead = cells[QUOCNET, "ahead of pixels (points)"]
    expected = cells[QUOCNET, "accuracy (%)"].value - cells[PIXELS, "accuracy (%)"].value
    assert ahead.value == pytest.approx(expected)
    assert ahead.n == 60


def test_the_best_unit_is_judged_on_other_images_than_it_was_chosen_by(material, answering):
    cells, best = cars.single_units(material, cars.bases(answering))
    for name, unit in best.items():
        shown = cars.favourites(material, answering[name].base, unit, 4)
        assert shown.shape == (4, 1, 28, 28)
        assert 0 <= cells[name, "best unit (%)"].value <= 100
        assert cells[name, "best unit (%)"].n == 60
    flipped = replace(material, test_labels=1 - material.test_labels)
    again, same = cars.single_units(flipped, cars.bases(answering))
    assert same == best
    assert all(again[cell].value == pytest.approx(100 - cells[cell].value) for cell in cells)


def test_what_else_quocnet_could_be_differs_in_one_thing(run, material):
    usual, scale = material.config, run.profile.cars
    every = cars.variants(material, scale)
    assert every.pop("all images") == (material, scale)
    once, same = every.pop("all images, contrast of pixels only")
    assert (once.config, same) == (replace(usual, normalized=False), scale)
    assert once.unlabelled is material.unlabelled
    assert all(torch.equal(few.unlabelled, material.unlabelled[:20]) for few, _ in every.values())
    few = every.pop(cars.FEWER)
    assert (few[0].config, few[1]) == (usual, scale)
    for other, its_scale in every.values():
        fields = ((vars(other.config), vars(usual)), (vars(its_scale), vars(scale)))
        assert sum(changed[name] != known[name] for changed, known in fields for name in known) == 1


def test_behind_the_last_stage_a_linear_layer_is_the_classifier(run, material, answering):
    learners = {"all": (material, run.profile.cars)}
    cells = cars.by_depth(learners, run.seeds, run.store)
    assert [column for _, column in cells] == [f"behind stage {number} (%)" for number in (1, 2, 3)]
    assert cells["all", "behind stage 3 (%)"] == cars.accuracy(material, answering)[QUOCNET, "accuracy (%)"]


# --- Figure 6 -------------------------------------------------------------------------------------


def test_only_what_was_recognised_is_turned_and_then_it_is_no_longer(material, answering, under_attack):
    for name, made in under_attack.items():
        network = answering[name]
        assert 2 <= len(made.inputs) <= 5
        assert (cars.answers(network, made.inputs) == YES).all()
        assert (cars.answers(network, made.found.adversarial[made.found.success]) == NO).all()
        assert (made.tight.distortion <= made.found.distortion * (1 + 1e-5)).all()


def test_who_recognises_nothing_is_not_attacked(run, material):
    class Blind(nn.Module):
        def forward(self, images):
            return torch.tensor([1.0, 0.0]).expand(len(images), 2)

    assert cars.turned(material, {"blind": Blind()}, run.profile.cars, run.store) == {}


def test_noise_is_as_long_before_it_is_clipped(under_attack):
    made = under_attack[PIXELS]
    grey = replace(made, inputs=torch.full_like(made.inputs, 0.5))
    away = made.found.adversarial - made.inputs
    moved = replace(made.found, adversarial=grey.inputs + away)
    noisy = cars.with_noise(replace(grey, found=moved), 0)
    torch.testing.assert_close(penalized.distortion(noisy, grey.inputs), made.found.distortion, rtol=1e-3, atol=0)


def test_what_was_made_for_a_classifier_always_turns_it(answering, under_attack):
    cells = cars.transfers(answering, under_attack, noise=0)
    assert all(cells[name, f"{name} (%)"].value == 100 for name in answering)
    told = {cell: estimate.value for cell, estimate in cells.items()}
    panels = cars.beside_noise(told, list(answering))
    assert panels["made for it"][2].diagonal().tolist() == [100] * 5
    assert panels["noise as long"][2].shape == (5, 5)


def test_lengths_are_those_that_were_found(answering, under_attack):
    cells = cars.lengths(answering, under_attack, noise=0)
    for name, made in under_attack.items():
        assert cells[name, "distortion"].value == pytest.approx(float(made.found.distortion.mean()))
        assert cells[name, "tight distortion"].value <= cells[name, "distortion"].value * (1 + 1e-5)


# --- For the figures ------------------------------------------------------------------------------


def test_a_row_of_figure_6_is_recognised_not_recognised_and_the_difference(material, under_attack):
    (before, car), (after, none), (size, silent) = cars.panel(material, under_attack[PIXELS], 2)[0]
    assert (car, none, silent) == ("3", "no 3", "")
    assert before.shape == after.shape == size.shape == material.shape
    assert size.max() == 1
    torch.testing.assert_close(size, (after - before).abs() / (after - before).abs().max())


def test_filters_are_shown_with_zero_at_mid_grey(material, learned):
    shown = cars.first_filters(learned[0], 6)
    assert shown.shape == (6, 1, 7, 7)
    assert ((shown - 0.5).abs().amax(dim=(1, 2, 3)) - 0.5).abs().max() < 1e-6


def test_costs_are_told_in_tenths_and_drawn_from_the_first(learned):
    cells = cars.costs_told(learned[1], num_parts=3)
    assert list(cells)[:3] == [("stage 1", "part 1"), ("stage 1", "part 2"), ("stage 1", "part 3")]
    assert cells["stage 1", "part 1"].value == pytest.approx(float(learned[1][1][0]))  # one batch, a part each
    shares, costs = cars.relative_costs({cell: e.value for cell, e in cells.items()})["stage 2"]
    assert shares == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert costs[0] == 1


# --- SqueezeNet's classes -------------------------------------------------------------------------


def test_any_of_some_classes_has_their_probability_together():
    from lib.networks.imagenet import AnyOf

    class Ten(nn.Module):
        def forward(self, pictures):
            return pictures.mean(dim=(2, 3)) @ torch.arange(30.0).view(3, 10) / 10

    pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    probabilities = Ten()(pictures).softmax(dim=1)
    found = AnyOf(Ten(), (2, 7))(pictures).softmax(dim=1)
    torch.testing.assert_close(found[:, 1], probabilities[:, [2, 7]].sum(dim=1), rtol=1e-4, atol=1e-5)


# --- On the way through the network ---------------------------------------------------------------


def test_growth_is_length_behind_a_stage_over_length_of_pixels(run, material, learned, under_attack):
    network, made = learned[0], under_attack[QUOCNET]
    grown = cars.growth(network, under_attack, noise=0)
    assert list(dict.fromkeys(row for row, _ in grown)) == ["contrast of pixels", "stage 1", "stage 2", "stage 3"]
    x, x_adv = (rows.unflatten(1, material.shape) for rows in (made.inputs, made.found.adversarial))
    features = (network(x_adv) - network(x)).norm(dim=1) / (x_adv - x).flatten(1).norm(dim=1)
    assert grown["stage 3", "adversarial"].value == pytest.approx(float(features.mean()), rel=1e-4)
    assert grown["stage 3", "adversarial"].n == len(x)


def test_what_does_not_change_the_contrast_does_not_grow(learned, under_attack):
    """Where a picture becomes lighter as a whole its contrast stays: local means take the constant away."""
    made = under_attack[QUOCNET]
    lighter = replace(made, found=replace(made.found, adversarial=made.inputs + 0.1))
    grown = cars.growth(learned[0], {QUOCNET: lighter}, noise=0)
    assert grown["contrast of pixels", "adversarial"].value < 1e-3


def test_nothing_grows_where_nothing_was_attacked(learned):
    assert cars.growth(learned[0], {}, noise=0) == {}
