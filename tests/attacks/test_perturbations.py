"""Noise and amplification have the size they say, and controls keep what they promise to keep."""

import io
import math

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.attacks import perturbations

pytestmark = pytest.mark.numerical

SHAPE = (3, 8, 8)
NUM_VALUES = 3 * 8 * 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pair():
    """Images and adversarial ones, the first of them unchanged."""
    inputs = torch.rand(30, 784, generator=generator(1))
    perturbation = 0.05 * torch.randn(30, 784, generator=generator(2)) * torch.rand(30, 1, generator=generator(3))
    perturbation[0] = 0
    return inputs, inputs + perturbation


@pytest.mark.parametrize("stddev", [0.1, 0.3])
def test_noise_has_the_standard_deviation_it_says(stddev):
    inputs = torch.full((200, 784), 0.5)
    noise = perturbations.gaussian_noise(inputs, stddev, generator()) - inputs
    n = noise.numel()
    assert abs(noise.std().item() - stddev) < 4 * stddev / math.sqrt(2 * n)
    assert abs(noise.mean().item()) < 4 * stddev / math.sqrt(n)


@settings(max_examples=20, deadline=None)
@given(stddev=st.floats(0.01, 1))
def test_amplified_perturbations_have_that_root_mean_square(stddev):
    inputs = torch.rand(5, 784, generator=generator(1))
    adversarial = inputs + 0.01 * torch.randn(5, 784, generator=generator(2))
    perturbation = perturbations.amplify(inputs, adversarial, stddev) - inputs
    torch.testing.assert_close(perturbation.square().mean(dim=1).sqrt(), torch.full((5,), stddev), rtol=1e-4, atol=1e-6)
    cosine = nn.functional.cosine_similarity(perturbation, adversarial - inputs)
    torch.testing.assert_close(cosine, torch.ones(5), rtol=0, atol=1e-4)
    printed = perturbations.amplify_as_printed(inputs, adversarial, stddev) - inputs
    torch.testing.assert_close(printed * 28, perturbation, rtol=1e-3, atol=1e-5)


def test_one_factor_keeps_the_order_of_sizes(pair):
    inputs, adversarial = pair
    together = perturbations.amplify_together(inputs, adversarial, 0.1) - inputs
    ratio = together[1:].norm(dim=1) / (adversarial - inputs)[1:].norm(dim=1)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def test_an_image_without_perturbation_stays(pair):
    inputs, adversarial = pair
    assert torch.equal(perturbations.amplify(inputs, adversarial, 0.1)[0], inputs[0])
    assert torch.equal(perturbations.amplify_together(inputs, adversarial, 0.1)[0], inputs[0])
    assert torch.equal(perturbations.amplify_as_printed(inputs, adversarial, 0.1)[0], inputs[0])
    assert torch.equal(perturbations.random_directions(inputs, adversarial, generator())[0], inputs[0])


def test_pictures_and_vectors_of_the_same_numbers_are_changed_alike(pair):
    pictures = [each.view(30, 1, 28, 28) for each in pair]
    for change in (
        lambda *images: perturbations.amplify(*images, 0.1),
        lambda *images: perturbations.amplify_together(*images, 0.1),
        lambda *images: perturbations.amplify_as_printed(*images, 0.1),
        perturbations.directions,
        lambda *images: perturbations.shuffled(*images, generator()),
        lambda *images: perturbations.random_signs(*images, generator()),
        lambda *images: perturbations.random_directions(*images, generator()),
    ):
        assert torch.equal(change(*pictures), change(*pair).view(30, 1, 28, 28))


def test_shuffling_keeps_the_perturbations_and_changes_their_images(pair):
    inputs, adversarial = pair
    moved = perturbations.shuffled(inputs, adversarial, generator()) - inputs
    before, after = ((v - inputs if v is adversarial else v).norm(dim=1) for v in (adversarial, moved))
    torch.testing.assert_close(after.sort().values, before.sort().values, rtol=1e-4, atol=1e-5)
    assert ((after - before).abs() > 1e-3).sum() > 20


def test_random_signs_keep_every_size(pair):
    inputs, adversarial = pair
    signed = perturbations.random_signs(inputs, adversarial, generator()) - inputs
    torch.testing.assert_close(signed.abs(), (adversarial - inputs).abs(), rtol=0, atol=1e-6)
    cosine = nn.functional.cosine_similarity(signed[1:], (adversarial - inputs)[1:])
    assert (cosine.abs() < 6 / 28).all()


def test_random_directions_keep_the_length(pair):
    inputs, adversarial = pair
    turned = perturbations.random_directions(inputs, adversarial, generator()) - inputs
    torch.testing.assert_close(turned.norm(dim=1), (adversarial - inputs).norm(dim=1), rtol=1e-4, atol=1e-5)
    cosine = nn.functional.cosine_similarity(turned[1:], (adversarial - inputs)[1:])
    assert (cosine.abs() < 6 / 28).all()


@pytest.mark.parametrize(
    "control", [perturbations.shuffled, perturbations.random_signs, perturbations.random_directions]
)
def test_controls_are_reproducible(control, pair):
    assert torch.equal(control(*pair, generator(5)), control(*pair, generator(5)))
    assert not torch.equal(control(*pair, generator(5)), control(*pair, generator(6)))


# --- Farther, as bytes, coarser -------------------------------------------------------------------


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


@pytest.mark.parametrize(("times", "levels"), [(1, [0, 2.55, -5.1, 51]), (10, [0, 25.5, -51, 127])])
def test_the_difference_is_shown_so_many_times_around_grey(times, levels):
    x = torch.full((4,), 0.5)
    changed = x + torch.tensor([0.0, 0.01, -0.02, 0.2])
    expected = (128 + torch.tensor(levels)) / 255
    torch.testing.assert_close(perturbations.magnified(x, changed, times), expected)


def test_what_a_file_holds_lies_in_the_box_and_bytes_are_refused():
    held = perturbations.to_bytes(torch.tensor([[1.2, -0.1, 0.5]]))
    torch.testing.assert_close(held, torch.tensor([[1.0, 0.0, 128 / 255]]))
    with pytest.raises(TypeError, match="divide bytes by 255"):
        perturbations.to_bytes(torch.tensor([[200, 1]], dtype=torch.uint8))


def test_without_any_perturbation_there_is_nothing_to_amplify():
    inputs = torch.rand(3, 5)
    assert torch.equal(perturbations.amplify_together(inputs, inputs, 0.1), inputs)


def test_extended_goes_the_same_way_inside_the_box():
    x, x_adv = torch.rand(2, 3, NUM_VALUES, generator=generator())
    torch.testing.assert_close(perturbations.extended(x, x_adv, 1.0), x_adv)
    assert torch.equal(perturbations.extended(x, x_adv, 0.0), x)
    far = perturbations.extended(x, x_adv, 3.0)
    assert far.min() == 0
    assert far.max() == 1
    inside = (far > 0) & (far < 1)
    torch.testing.assert_close(far[inside], (x + 3 * (x_adv - x))[inside])


def test_coarsened_keeps_what_is_smooth_and_loses_what_is_fine():
    x = torch.linspace(0, 1, 64)
    smooth = (x[:, None] + x).expand(1, 3, 64, 64) / 2
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(perturbations.coarsened(smooth, 16)[inside], smooth[inside], rtol=0, atol=0.01)
    checks = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).float().expand(1, 3, 64, 64)
    assert (perturbations.coarsened(checks, 16)[inside] - 0.5).abs().max() < 0.02
    assert perturbations.coarsened(checks, 64).equal(checks)
