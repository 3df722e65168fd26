"""What a file can hold: on levels, confirmed, and as near as it gets where that can be told by trying all."""

import pytest
import torch
from torch import nn

from lib.attacks import exact, levels, penalized, perturbations, tight
from tests import doors
from tests.doors import INPUTS, LABELS, NETWORK, TARGETS

pytestmark = pytest.mark.numerical


def on_levels(values: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Images whose pixels are multiples of 1/255, no brighter than `values`."""
    return torch.randint(0, values, shape, generator=doors.generator(seed)).double() / 255


@pytest.fixture
def found():
    images = perturbations.to_bytes(INPUTS)
    nearest = tight.find_adversarial(NETWORK, images, TARGETS).adversarial
    return images, nearest, levels.to_levels(NETWORK, images, TARGETS, nearest)


def test_every_pixel_lies_on_a_level_and_the_network_says_the_target(found):
    images, _, result = found
    assert result.success.all()
    assert ((255 * result.adversarial) - (255 * result.adversarial).round()).abs().max() < 1e-4
    assert (NETWORK(result.adversarial).argmax(dim=1) == TARGETS).all()
    torch.testing.assert_close(result.distortion, penalized.distortion(result.adversarial, images))
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()


def test_it_is_no_farther_than_what_rounding_leaves_of_the_attack(found):
    images, nearest, result = found
    rounded = perturbations.to_bytes(nearest)
    survive = NETWORK(rounded).argmax(dim=1) == TARGETS
    assert (result.distortion <= penalized.distortion(rounded, images) + 1e-7)[survive].all()


def test_of_two_pixels_no_pair_of_levels_is_nearer():
    """All 256^2 of them are tried, for a linear network: then one direction is all, and a pixel's level to spare."""
    network = nn.Linear(2, 3).double().requires_grad_(False).eval()
    network.weight.copy_(4 * torch.randn(3, 2, generator=doors.generator(3)))
    inputs = on_levels(256, (40, 2), seed=4)
    network.bias.sub_(network(inputs).mean(dim=0))
    targets = network(inputs).topk(2).indices[:, 1]
    grid = torch.cartesian_prod(torch.arange(256), torch.arange(256)).double() / 255
    said = network(grid).argmax(dim=1)
    least = torch.stack([(grid[said == t] - x).norm(dim=1).min() for x, t in zip(inputs, targets, strict=True)])
    attacked = inputs + exact.minimum_perturbation(network, inputs, targets).perturbation
    found = levels.to_levels(network, inputs, targets, attacked.clamp(0, 1))
    length = found.distortion * 2**0.5
    assert found.success.all()
    assert (length >= least - 1e-12).all()
    assert (length - least).max() < 1 / 255
    assert (length - least).mean() < 0.2 / 255


def test_where_a_level_is_much_few_pixels_move():
    """The attack moves every pixel by less than half a level, which rounding takes back; the ten steepest will do."""
    slopes, x = torch.linspace(1, 100, 400), on_levels(200, (1, 400), seed=5).float() + 20 / 255
    network = nn.Linear(400, 2).requires_grad_(False).eval()
    network.weight.copy_(torch.stack([torch.zeros(400), slopes]))
    network.bias.copy_(torch.stack([torch.tensor(0.0), -(slopes @ x[0]) - slopes[-10:].sum() / 255 + 1e-3]))
    target = torch.tensor([1])
    nearest = tight.find_adversarial(network, x, target).adversarial
    assert ((nearest - x).abs() * 255 < 0.5).all()
    found = levels.to_levels(network, x, target, nearest)
    moved = ((found.adversarial - x) * 255).round()[0]
    assert found.success.all()
    assert moved.abs().sum() <= 11
    assert (moved[-9:] == 1).all()


def test_an_input_that_rounds_to_its_target_needs_nothing_else():
    images = perturbations.to_bytes(INPUTS)
    with pytest.warns(penalized.arguments.AlreadyTargetsWarning):
        found = levels.to_levels(NETWORK, images, LABELS, tight.find_adversarial(NETWORK, images, LABELS).adversarial)
    assert (found.distortion == 0).all()
    assert torch.equal(found.adversarial, images)


def test_where_nothing_is_found_the_input_is_given_back_infinitely_far():
    """A class that is never said, whatever way one goes."""
    network = nn.Sequential(NETWORK, nn.Linear(4, 5)).requires_grad_(False).eval()
    network[1].weight.copy_(torch.cat([torch.eye(4), torch.zeros(1, 4)]))
    network[1].bias.copy_(torch.tensor([0.0, 0, 0, 0, -1e6]))
    found = levels.to_levels(network, INPUTS, torch.full_like(LABELS, 4), INPUTS)
    assert not found.success.any()
    assert torch.equal(found.adversarial, INPUTS)
    assert found.distortion.isinf().all()


def test_pictures_and_chunks_change_nothing(found):
    images, nearest, result = found
    network = nn.Sequential(nn.Flatten(), NETWORK).eval()
    again = levels.to_levels(network, images.view(-1, 3, 2, 2), TARGETS, nearest.view(-1, 3, 2, 2), chunk_size=3)
    assert torch.equal(again.adversarial.flatten(1), result.adversarial)
    assert torch.equal(again.distortion, result.distortion)
