"""One step along the gradient: as long as asked for, in the box, and all that a linear network needs."""

import math

import pytest
import torch
import torch.nn.functional as F

from lib.measures import linearity
from lib.measures.linearity import FACTORS, STEP
from tests.networks_made import TwoSided, beside_a_plane

N, NUM_VALUES = 50, 60


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def plane():
    """A linear network, inputs in the middle of the box, points just beyond its plane, and the classes there."""
    network, inputs, targets, step = beside_a_plane(N, NUM_VALUES, spread=0.02)
    return network, inputs, inputs + 1.01 * step, targets


def test_in_the_middle_of_the_box_a_step_is_straight():
    inputs, directions = torch.full((3, 5), 0.5), torch.randn(3, 5, generator=generator())
    lengths = torch.tensor([0.01, 0.1, 0.4])
    found = linearity.step_in_box(inputs, directions, lengths)
    expected = inputs + lengths[:, None] * directions / directions.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_against_the_walls_a_step_is_as_long_and_stays_inside():
    inputs = torch.randint(0, 2, (40, 30), generator=generator()).float()
    directions, lengths = torch.randn(40, 30, generator=generator(1)), torch.linspace(0.01, 2, 40)
    found = linearity.step_in_box(inputs, directions, lengths)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close((found - inputs).norm(dim=1), lengths, rtol=1e-4, atol=1e-6)
    assert ((found - inputs) * directions >= 0).all()


def test_a_step_ends_in_the_corner_and_one_without_direction_stays():
    inputs = torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    found = linearity.step_in_box(inputs, torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([9.0, 9.0]))
    assert found.tolist() == [[1.0, 0.0], [0.5, 0.25]]


def test_downhill_is_minus_the_gradient_of_the_loss(plane):
    network, inputs, targets = TwoSided(NUM_VALUES).double(), plane[1].double(), plane[3]
    found = linearity.downhill(network, inputs, targets)
    way = found / found.norm(dim=1, keepdim=True)
    normal = (2 * targets[:, None] - 1) * network.weight / network.weight.norm()
    torch.testing.assert_close(way, normal)
    behind, ahead = (F.cross_entropy(network(inputs + t * way), targets, reduction="none") for t in (-1e-4, 1e-4))
    torch.testing.assert_close((behind - ahead) / 2e-4, found.norm(dim=1), rtol=1e-6, atol=0)


def test_before_a_plane_one_step_does_and_a_shorter_one_does_not(plane):
    network, inputs, adversarial, targets = plane
    found = linearity.reached(*plane)
    assert list(found) == [STEP.format(factor) for factor in FACTORS]
    assert {estimate.value for estimate in found.values()} == {100}
    short = inputs + 0.9 * (adversarial - inputs)
    assert linearity.reached(network, inputs, short, targets)[STEP.format(1)].value == 0
    assert linearity.reached(network, inputs, short, targets)[STEP.format(1.25)].value == 100


def test_where_the_way_is_curved_one_step_of_the_same_length_may_not_do():
    """A border that is a circle around a point beside the gradient's way: the straight step passes it by."""

    def bent(x):
        bump = torch.exp(-((x - torch.tensor([0.5, 0.75])) ** 2).sum(dim=1) / 0.02) + 0.1 * x[:, 0]
        return torch.stack([torch.full_like(bump, 0.5), bump], dim=1)

    inputs, adversarial = torch.tensor([[0.5, 0.25]]), torch.tensor([[0.5, 0.7]])
    assert bent(adversarial).argmax() == 1
    found = linearity.reached(bent, inputs, adversarial, torch.tensor([1]))
    assert found[STEP.format(1)].value == 0


def test_images_without_a_perturbation_do_not_count(plane):
    network, inputs, adversarial, targets = plane
    some = torch.where(torch.arange(N)[:, None] < 7, adversarial, inputs)
    assert {estimate.n for estimate in linearity.reached(network, inputs, some, targets).values()} == {7}


def test_lines_are_cells_in_order(plane):
    cells = {("net", column): estimate for column, estimate in linearity.reached(*plane).items()}
    assert linearity.lines(cells, ["net"]) == {"net": list(cells.values())}
    assert all(math.isnan(estimate.value) for estimate in linearity.lines({}, ["net"])["net"])
