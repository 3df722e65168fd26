"""The nearest class is told exactly where a network is linear, and well where it nearly is."""

import pytest
import torch
from torch import Tensor, nn

from lib.attacks import penalized
from lib.attacks.nearest import linearized_distances, nearest_classes

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
