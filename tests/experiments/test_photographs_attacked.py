"""Only what is classified correctly is attacked, what is found is kept, and what is said of it afterwards is so."""

import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from lib.attacks import penalized, perturbations, tight
from lib.attacks.penalized import AttackConfig
from lib.attacks.tight import TightConfig
from lib.experiments import photographs
from lib.experiments.photographs import SHAPE, Subject
from lib.measures.intervals import percent
from lib.store import Store, code_version

torch.set_num_threads(1)

CPU = torch.device("cpu")
NUM_VALUES = 3 * 224 * 224


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TwoSided(nn.Module):
    """Two classes by the sign of a linear function of rows."""

    def __init__(self):
        super().__init__()
        weight = torch.randn(NUM_VALUES, generator=generator(1)) / NUM_VALUES**0.5
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, inputs):
        z = (inputs - 0.5) @ self.weight
        return torch.stack([-z, z], dim=1)


@pytest.fixture(scope="module")
def linear() -> tuple[Subject, torch.Tensor]:
    """Pictures in the middle of the box and a linear network, and the classes that it does not give them."""
    inputs = 0.5 + 0.05 * torch.randn(6, NUM_VALUES, generator=generator(2))
    network = TwoSided().eval()
    labels = network(inputs).argmax(dim=1)
    everything = percent(6, 6)
    return Subject(network, inputs, labels, ("no", "yes"), 1, everything, everything), 1 - labels


@pytest.fixture(scope="module")
def attacked(linear, tmp_path_factory):
    subject, targets = linear
    return photographs.adversarial(
        subject, targets, AttackConfig(chunk_size=4), Store(tmp_path_factory.mktemp("store"))
    )[0]


# --- The attack -----------------------------------------------------------------------------------


def test_the_attack_is_that_of_section_4_1_and_finds_the_nearest_point_of_the_plane(linear, attacked):
    subject, targets = linear
    assert attacked.success.all()
    weight = subject.network.weight
    exact = ((subject.inputs - 0.5) @ weight).abs() / weight.norm() / NUM_VALUES**0.5
    assert ((attacked.distortion / exact - 1).abs() < 1e-2).all()
    plain = penalized.find_adversarial(subject.network, subject.inputs, targets, AttackConfig(chunk_size=6))
    torch.testing.assert_close(attacked.distortion, plain.distortion, rtol=1e-3, atol=0)


def test_it_is_kept_and_not_made_again(linear, tmp_path, monkeypatch):
    subject, targets = linear
    store, cheap = Store(tmp_path), AttackConfig(tolerance=0.5, max_searches=1, chunk_size=4)
    first, took = photographs.adversarial(subject, targets, cheap, store)

    def never(*_):
        raise AssertionError("attacked again")

    monkeypatch.setattr(penalized, "find_adversarial", never)
    again, took_then = photographs.adversarial(subject, targets, cheap, store)
    assert took == took_then > 0
    assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(again).values(), strict=True))
    with pytest.raises(AssertionError, match="attacked again"):
        photographs.adversarial(subject, 1 - targets, cheap, store)


def test_another_code_of_the_network_is_another_attack(linear, attacked, tmp_path, monkeypatch):
    """Preprocessing is code, not weights: the same state dict with another one is another network."""
    subject, targets = linear
    store, cheap = Store(tmp_path), AttackConfig(tolerance=0.5, max_searches=1, chunk_size=6)
    before = [
        photographs.adversarial(subject, targets, cheap, store),
        photographs.tightened(subject, attacked, targets, TightConfig(), store),
        photographs.stopped_early(subject, attacked, targets, 10, cheap, generator(), store),
    ]
    assert store.num_made == len(before)

    def edited(*modules):
        return "edited" if imagenet in modules else code_version(*modules)

    monkeypatch.setattr(figure5, "code_version", edited)
    photographs.adversarial(subject, targets, cheap, store)
    photographs.tightened(subject, attacked, targets, TightConfig(), store)
    photographs.stopped_early(subject, attacked, targets, 10, cheap, generator(), store)
    assert store.num_made == 2 * len(before)


def test_the_first_pictures_and_what_was_found_for_them(linear, attacked):
    some, found = photographs.first(linear[0], attacked, 2)
    assert len(some.inputs) == len(some.labels) == len(found.success) == 2
    assert torch.equal(found.adversarial, attacked.adversarial[:2])


def test_a_search_in_coarse_steps_ends_in_longer_perturbations(linear, attacked, tmp_path):
    """For a linear network r goes straight: c = 1 - p(target), so a price lower by a factor means a longer r."""
    subject, targets = linear
    solver = AttackConfig()  # its tolerance of c is 3e-5 of distortion where the classes tie
    lengths = {
        factor: photographs.stopped_early(subject, attacked, targets, factor, solver, generator(), Store(tmp_path))
        for factor in (1, 10)
    }
    searched, tied = torch.isfinite(lengths[10]), torch.isfinite(lengths[1])
    assert torch.equal(searched, torch.isfinite(attacked.c))
    assert searched.any()
    torch.testing.assert_close(lengths[1][tied], attacked.distortion[tied], rtol=0.02, atol=3e-5)
    prices = attacked.c * 10.0 ** -torch.rand(6, generator=generator())
    slope = 2 * subject.network.weight.norm()  # of the lead; the minimiser has slope (1 - p) = c
    lead = torch.logit(1 - prices / slope)
    before = (subject.inputs - 0.5) @ subject.network.weight * (2 * targets - 1) * 2
    expected = (lead - before) / slope / NUM_VALUES**0.5
    torch.testing.assert_close(lengths[10][searched], expected[searched], rtol=0.02, atol=3e-5)


def test_a_coarse_search_that_misses_its_target_has_no_length(linear, attacked, tmp_path):
    subject, targets = linear
    too_dear = replace(attacked, c=attacked.c * 1e6)  # at such a price nothing moves
    lengths = photographs.stopped_early(subject, too_dear, targets, 1, AttackConfig(), generator(), Store(tmp_path))
    assert lengths.isnan().all()


def test_a_coarse_search_is_kept_and_another_price_is_another_search(linear, attacked, tmp_path, monkeypatch):
    subject, targets = linear
    store = Store(tmp_path)
    first = photographs.stopped_early(subject, attacked, targets, 10, AttackConfig(), generator(), store)

    def never(*_):
        raise AssertionError("searched again")

    monkeypatch.setattr(penalized, "minimize_penalized", never)
    again = photographs.stopped_early(subject, attacked, targets, 10, AttackConfig(), generator(), store)
    torch.testing.assert_close(again, first, rtol=0, atol=0, equal_nan=True)
    with pytest.raises(AssertionError, match="searched again"):
        photographs.stopped_early(subject, attacked, targets, 100, AttackConfig(), generator(), store)


def test_the_tight_attack_ends_on_the_plane_and_is_kept(linear, attacked, tmp_path, monkeypatch):
    subject, targets = linear
    store = Store(tmp_path)
    found = photographs.tightened(subject, attacked, targets, TightConfig(), store)
    weight = subject.network.weight
    exact = ((subject.inputs - 0.5) @ weight).abs() / weight.norm() / NUM_VALUES**0.5
    assert found.success.all()
    torch.testing.assert_close(found.distortion, exact, rtol=1e-3, atol=0)
    monkeypatch.setattr(tight, "tighten", None)
    again = photographs.tightened(subject, attacked, targets, TightConfig(), store)
    assert all(torch.equal(a, b) for a, b in zip(vars(found).values(), vars(again).values(), strict=True))


# --- What is left of it ---------------------------------------------------------------------------


def test_to_bytes_is_what_a_png_file_keeps():
    images = torch.rand(2, NUM_VALUES, generator=generator())
    for image in images:
        pixels = (255 * image).round().byte().unflatten(0, SHAPE).permute(1, 2, 0).numpy()
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, "PNG")
        back = torch.from_numpy(np.array(PIL.Image.open(buffer))).permute(2, 0, 1).flatten().float() / 255
        assert torch.equal(perturbations.to_bytes(image), back)
    assert torch.equal(perturbations.to_bytes(perturbations.to_bytes(images)), perturbations.to_bytes(images))
    assert (perturbations.to_bytes(images) - images).abs().max() <= 0.5001 / 255


def test_the_difference_is_shown_ten_times_around_grey():
    x = torch.full((4,), 0.5)
    changed = x + torch.tensor([0.0, 0.01, -0.02, 0.2])
    expected = torch.tensor([128, 128 + 25.5, 128 - 51, 255]) / 255
    torch.testing.assert_close(perturbations.magnified(x, changed), expected)


def test_extended_goes_the_same_way_inside_the_box():
    x, x_adv = torch.rand(2, 3, NUM_VALUES, generator=generator())
    torch.testing.assert_close(perturbations.extended(x, x_adv, 1.0), x_adv)
    assert torch.equal(perturbations.extended(x, x_adv, 0.0), x)
    far = perturbations.extended(x, x_adv, 3.0)
    assert far.min() == 0
    assert far.max() == 1
    inside = (far > 0) & (far < 1)
    torch.testing.assert_close(far[inside], (x + 3 * (x_adv - x))[inside])


def test_twice_the_perturbation_mirrors_the_probability_of_a_linear_network(linear, attacked):
    """At the plane both classes have 1/2, and as far beyond it as the picture was before, the two have swapped."""
    subject, targets = linear
    cells = photographs.aftermath(subject, attacked, targets, factors=(1.0, 2.0))
    assert cells["probability, times 1"].value == pytest.approx(0.5, abs=0.01)
    before = photographs.probability(subject.network, subject.inputs, targets)
    torch.testing.assert_close(before, subject.network(subject.inputs).softmax(dim=1)[range(6), targets])
    assert cells["probability, times 2"].value == pytest.approx(float(1 - before.mean()), abs=0.01)
    for column in ("as found, times 1 (%)", "as found, times 2 (%)", "as bytes, times 2 (%)"):
        assert cells[column] == pytest.approx(percent(6, 6))


def test_controls_are_as_far_away_as_what_they_are_compared_with(linear, attacked):
    subject, _ = linear
    sets = photographs.controls(subject.inputs, attacked.adversarial, generator())
    sizes = {name: penalized.distortion(images, subject.inputs).sort().values for name, images in sets.items()}
    assert list(sets) == ["its own", "that of another", "noise"]
    others = sets["that of another"] - subject.inputs
    torch.testing.assert_close(others[1:], (attacked.adversarial - subject.inputs)[:-1], rtol=0, atol=1e-6)
    for size in sizes.values():
        torch.testing.assert_close(size, sizes["its own"], rtol=1e-3, atol=1e-7)
    loud = photographs.amplified(subject.inputs, attacked.adversarial, 0.03)
    torch.testing.assert_close(penalized.distortion(loud, subject.inputs), torch.full((6,), 0.03), rtol=1e-3, atol=0)


def test_moved_counts_changes_of_mind(linear, attacked):
    subject, _ = linear
    assert photographs.moved(subject.network, subject.inputs, attacked.adversarial) == percent(6, 6)
    assert photographs.moved(subject.network, subject.inputs, subject.inputs) == percent(0, 6)
    half = torch.cat([attacked.adversarial[:3], subject.inputs[3:]])
    assert photographs.moved(subject.network, subject.inputs, half) == percent(3, 6)
