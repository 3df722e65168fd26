"""Orthogonal directions are orthogonal and as steep as can be, and before a plane their number is what it must be."""

import pytest
import torch
from torch import nn

from lib.measures import subspaces
from lib.measures.subspaces import TRIED
from tests.networks_made import TwoSided

NUM_VALUES = 200


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def plane():
    """A linear network of two classes, inputs, and the classes that it gives them."""
    network = TwoSided(NUM_VALUES).eval()
    inputs = 0.5 + 0.05 * torch.randn(6, NUM_VALUES, generator=generator(2))
    return network, inputs, network(inputs).argmax(dim=1)


@pytest.mark.parametrize("num", [1, 2, 5, 32])
def test_directions_are_orthonormal_and_share_the_slope_equally(num):
    slopes = torch.randn(3, 40, generator=generator(), dtype=torch.float64)
    found = subspaces.aligned(slopes, num, generator(1))
    torch.testing.assert_close(found @ found.mT, torch.eye(num, dtype=torch.float64).expand(3, -1, -1))
    along = (found @ slopes[:, :, None])[:, :, 0]
    torch.testing.assert_close(along, (slopes.norm(dim=1, keepdim=True) / num**0.5).expand(-1, num))


def test_no_orthonormal_directions_are_all_steeper():
    """Of any, the least steep is at most as steep as the aligned ones are: Bessel's inequality."""
    slope = torch.randn(40, generator=generator(), dtype=torch.float64)
    for seed in range(20):
        others = torch.linalg.qr(torch.randn(40, 8, generator=generator(seed), dtype=torch.float64)).Q.T
        assert float((others @ slope).min()) < float(slope.norm()) / 8**0.5


@pytest.mark.parametrize("num", [1, 2, 7])
def test_the_reflection_takes_the_first_axis_to_the_diagonal(num):
    found = subspaces.reflection(num)
    torch.testing.assert_close(found @ found, torch.eye(num, dtype=torch.float64))
    torch.testing.assert_close(found, found.T)
    torch.testing.assert_close(found[0], torch.full((num,), num**-0.5, dtype=torch.float64))


def test_the_nearest_plane_of_a_linear_network_is_found_with_its_distance():
    """Stepping so far along the slope makes the two classes tie, and no other class is nearer."""
    layer = nn.Linear(20, 4).requires_grad_(False).eval()
    inputs = torch.rand(30, 20, generator=generator())
    labels = layer(inputs).argmax(dim=1)
    slopes, distance = subspaces.steepest(layer, inputs, labels)
    there = layer(inputs + distance[:, None] * slopes / slopes.norm(dim=1, keepdim=True)).topk(2).values
    torch.testing.assert_close(there[:, 0], there[:, 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("reach", [0.9, 1.05, 2.6, 5.5])  # lengths over the distance
def test_before_a_plane_all_directions_fool_up_to_the_square_of_length_over_distance_and_none_beyond(plane, reach):
    network, inputs, labels = plane
    slopes, distance = subspaces.steepest(network, inputs, labels)
    for image in range(len(inputs)):
        one = slice(image, image + 1)
        length = reach * float(distance[image])
        counts = subspaces.fooled({"net": network}, inputs[one], labels[one], slopes[one], length, 0)["net"][:, 0]
        assert counts.tolist() == [num if num <= reach**2 else 0 for num in TRIED]
        assert subspaces.flat(distance[one], length).tolist() == [int(counts.max())]


def test_what_fools_another_network_counts_only_where_it_fools_the_first(plane):
    network, inputs, labels = plane
    slopes, distance = subspaces.steepest(network, inputs, labels)
    length = 3 * float(distance.max())

    def always_wrong(images):
        return 1 - never_wrong(images)

    def never_wrong(images):
        return nn.functional.one_hot(labels.repeat_interleave(len(images) // len(labels)), 2).float()

    networks = {"net": network, "same": network, "never": never_wrong}
    found = subspaces.fooled(networks, inputs, labels, slopes, length, 0)
    assert torch.equal(found["same"], found["net"])
    assert (found["never"] == 0).all()
    none = subspaces.fooled({"never": never_wrong, "always": always_wrong}, inputs, labels, slopes, length, 0)
    assert (none["always"] == 0).all()


def test_images_do_not_depend_on_their_neighbours(plane, monkeypatch):
    network, inputs, labels = plane
    slopes, distance = subspaces.steepest(network, inputs, labels)
    arguments = {"net": network}, inputs, labels, slopes, 4 * float(distance.median()), 0
    together = subspaces.fooled(*arguments)["net"]
    monkeypatch.setattr(subspaces, "AT_ONCE", 2)
    assert torch.equal(subspaces.fooled(*arguments)["net"], together)
    assert together.shape == (len(TRIED), len(inputs))
