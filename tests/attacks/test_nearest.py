"""The nearest class is told exactly where a network is linear, and well where it nearly is."""

import pytest
import torch
from torch import Tensor, nn

from lib.attacks import penalized
from lib.attacks.nearest import linearized_distances, nearest_classes, secant_distances

torch.set_num_threads(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def plane() -> nn.Linear:
    network = nn.Linear(6, 4).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator())
    return network.requires_grad_(False)


def inputs(num: int = 30) -> Tensor:
    return torch.rand(num, 6, generator=generator(1), dtype=torch.float64)


def test_on_a_plane_the_distance_is_the_one_to_the_plane(plane):
    x = inputs()
    labels = plane(x).argmax(dim=1)
    found = linearized_distances(plane, x, labels)
    for image, label, distances in zip(x, labels, found, strict=True):
        for other in set(range(4)) - {int(label)}:
            normal = (plane.weight[other] - plane.weight[label]).detach()
            foot = image + distances[other] * normal / normal.norm()
            logits = plane(foot)
            assert logits[other] == pytest.approx(logits[label].item(), abs=1e-10)
        assert distances[label] == torch.inf
        assert distances.min() >= 0


def test_a_class_that_leads_already_is_at_a_distance_below_zero(plane):
    x = inputs()
    ranked = plane(x).argsort(dim=1, descending=True)
    found = linearized_distances(plane, x, ranked[:, 1])
    assert (found.gather(1, ranked[:, :1]) < 0).all()


def test_the_nearest_class_is_nearly_always_the_one_that_the_attack_reaches_first():
    """Of a network that is nearly linear there, and images whose nearest two classes are not a tie."""
    network = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 4)).double().eval()
    for number, parameter in enumerate(network.parameters()):
        nn.init.normal_(parameter, std=0.2, generator=generator(number))
    network[2].bias.data -= network(torch.full((1, 6), 0.5, dtype=torch.float64))[0]  # all classes tie in the middle
    x = 0.5 + 0.1 * (inputs(200) - 0.5)
    labels = network(x).argmax(dim=1)
    distances = linearized_distances(network, x, labels)
    first, second = distances.topk(2, largest=False).values.T
    inside = (second > 1.5 * first) & (first < 0.3)  # well inside the box, which the linearisation leaves out
    assert inside.sum() >= 50
    found = penalized.find_nearest_adversarial(network, x, labels)
    reached = network(found.adversarial).argmax(dim=1)
    assert (reached == nearest_classes(network, x, labels))[inside].double().mean() >= 0.9


def test_logits_that_do_not_move_are_infinitely_far():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum(dim=1), x.sum(dim=1) - 1, 0 * x.sum(dim=1)], dim=1)

    x = inputs(5)
    found = linearized_distances(Constant(), x, torch.zeros(5, dtype=torch.int64))
    assert (found[:, 1] == torch.inf).all()
    assert nearest_classes(Constant(), x, torch.zeros(5, dtype=torch.int64)).tolist() == [2] * 5


def test_on_a_plane_the_secant_ends_where_the_linearisation_does(plane):
    x = 0.5 + 0.01 * (inputs() - 0.5)
    labels = plane(x).argmax(dim=1)
    linear = linearized_distances(plane, x, labels)
    inside = linear < 0.4  # no pixel of the way is clipped
    assert inside.double().mean() > 0.2
    torch.testing.assert_close(secant_distances(plane, x, labels, 4)[inside], linear[inside])


def test_beyond_a_bend_the_secant_leads_on():
    """One pixel at 0.1, margin pixel^2 - 1/4: its tangent vanishes at 1.3, beyond the box, and from 1 the secant leads
    back by 0.24 / 0.99."""
    network = nn.Sequential()
    network.forward = lambda x: torch.cat([torch.zeros_like(x), x.square() - 0.25], dim=1)
    found = secant_distances(network, torch.tensor([[0.1]], dtype=torch.float64), torch.tensor([0]), 2)
    assert found[0, 0] == torch.inf
    assert found[0, 1] == pytest.approx(1.2 * 0.24 / 0.99)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_the_nearest_of_some_classes_is_nearly_always_the_nearest_of_all(scale):
    """For less than half of the gradients that attacks to all classes take; never nearer, but for the tolerance."""
    network = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 8)).double().eval().requires_grad_(False)
    for number, parameter in enumerate(network.parameters()):
        nn.init.normal_(parameter, std=scale * len(parameter) ** -0.5, generator=generator(number))
    x = torch.rand(100, 30, generator=generator(5), dtype=torch.float64)
    labels = network(x).argmax(dim=1)
    found = penalized.find_nearest_adversarial(network, x, labels)
    each = [penalized.find_adversarial(network, x, (labels + shift) % 8) for shift in range(1, 8)]
    nearest = torch.stack([result.distortion for result in each]).min(dim=0).values
    assert (found.distortion >= nearest * (1 - 1e-3)).all()
    assert (found.distortion <= nearest * (1 + 1e-3)).double().mean() >= 0.98
    assert found.distortion.mean() <= nearest.mean() * (1 + 1e-3)
    spent = sum(result.num_evaluations for result in each)
    assert found.num_evaluations.sum() < 0.5 * spent.sum()


def test_where_the_near_classes_cannot_be_reached_the_others_are_attacked():
    """A class that leads nowhere in the box, though its tangent promises it: the next one is found all the same."""

    class Promising(nn.Module):
        def forward(self, x):
            pixel = x[:, :1]
            never = -0.01 - 0.1 * torch.relu(0.3 - pixel)  # rises to -0.01, and stays there
            return torch.cat([torch.zeros_like(pixel), never, 4 * (pixel - 0.9)], dim=1)

    x = torch.tensor([[0.25]], dtype=torch.float64)
    found = penalized.find_nearest_adversarial(Promising().eval(), x, torch.tensor([0]))
    assert found.success.all()
    assert found.adversarial.item() == pytest.approx(0.9, abs=1e-3)
