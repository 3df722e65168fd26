"""Image by image the objective is the one that a batch has: value, gradient, lead, and the shortest success."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lib.attacks import by_row, penalized
from lib.solvers import lbfgs, rowwise

pytestmark = pytest.mark.numerical

N, CLASSES, PIXELS = 40, 7, 30


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def in_torch(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Losses, their gradients and leads, by autograd in float64."""
    logits = logits.double().requires_grad_()
    losses = F.cross_entropy(logits, targets, reduction="none")
    (weights,) = torch.autograd.grad(losses.sum(), logits)
    return losses.detach(), weights.float(), penalized.lead(logits.detach(), targets)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 300.0])
def test_losses_weights_and_leads_are_those_of_torch(scale):
    source = generator(0)
    logits = scale * torch.randn(N, CLASSES, generator=source) + 5
    targets = torch.randint(CLASSES, (100,), generator=source)
    rows = torch.randperm(100, generator=source)[:N]
    ours = map(torch.as_tensor, by_row.cross_entropies(logits.numpy(), targets.numpy(), rows.numpy()))
    for mine, theirs in zip(ours, in_torch(logits, targets[rows]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6 * scale)


def test_a_class_that_is_masked_does_not_compete_and_nan_leads_nowhere():
    logits = torch.tensor([[1.0, 3.0, -torch.inf], [1.0, torch.nan, 2.0], [torch.nan, 0.0, 0.0]])
    targets = torch.tensor([0, 0, 0])
    losses, weights, leads = by_row.cross_entropies(logits.numpy(), targets.numpy(), torch.arange(3).numpy())
    assert leads[0] == -2
    assert weights[0, 2] == 0
    torch.testing.assert_close(torch.tensor(losses[0]), in_torch(logits[:1, :2], targets[:1])[0][0])
    assert torch.tensor(leads)[1:].isnan().all()
    assert torch.tensor(losses)[1:].isnan().all()


def posed(seed: int):
    """A network, originals on and off the bounds, images of some of them, one in four where it began, and targets."""
    source = generator(seed)
    network = nn.Sequential(nn.Linear(PIXELS, 12), nn.Tanh(), nn.Linear(12, CLASSES)).requires_grad_(False)
    for weights in network.parameters():
        weights.copy_(torch.randn(weights.shape, generator=source))
    x = torch.rand(N, PIXELS, generator=source).mul(1.6).sub(0.3).clamp(0, 1)
    rows = torch.randperm(N, generator=source)[: N // 2]
    images = x[rows] + torch.randn(N // 2, PIXELS, generator=source) * (torch.arange(N // 2) % 4 > 0)[:, None] / 5
    targets = torch.randint(CLASSES, (N,), generator=source)
    prices = torch.rand(N, generator=source) * 3
    images = images.clamp(0, 1)
    targets[rows[::2]] = network(images[::2]).argmax(dim=1)  # every other one succeeds
    return network, x, targets, prices, images, rows


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_have_the_same_value_and_gradient_and_keep_the_same_images(seed):
    network, x, targets, prices, images, rows = posed(seed)
    enough, found = torch.full((N,), 0.01), []
    for how in (penalized._penalizing_together, penalized._penalizing_by_row):
        best = penalized.Shortest(x.clone(), torch.where(torch.arange(N) % 2 > 0, torch.inf, 0.5))
        value, gradient = how(network, x, targets, x.shape[1:], prices, enough, best)(images, rows)
        found.append((value.double(), gradient, best.images, best.norm))
    for together, each in zip(*found, strict=True):
        torch.testing.assert_close(each, together, rtol=1e-5, atol=1e-5)
    assert (best.images != x).any()  # some were kept
    assert (images == x[rows]).all(dim=1).any()  # and some began at r = 0


def test_images_are_left_as_they_are():
    network, x, targets, prices, images, rows = posed(3)
    before = images.clone()
    best = penalized.Shortest(x.clone(), torch.full((N,), torch.inf))
    penalized._penalizing_by_row(network, x, targets, x.shape[1:], prices, torch.zeros(N), best)(images, rows)
    assert torch.equal(images, before)
    assert not images.requires_grad


WAITING = {"aten::nonzero", "aten::_local_scalar_dense", "aten::masked_select", "aten::equal"}


class Counting(TorchDispatchMode):
    """How many operations torch is asked for, views aside, and how many make a device wait for the processor."""

    def __init__(self):
        super().__init__()
        self.num_operations = self.num_waits = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        aliases = [returned.alias_info for returned in function._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        self.num_operations += not is_view
        self.num_waits += function._schema.name in WAITING
        return function(*args, **(kwargs or {}))


def counted_iterations(penalizing) -> tuple[Counting, int]:
    """What minimising c|r| + loss took for 256 images and a network of three layers, in how many iterations."""
    source = generator(4)
    network = nn.Sequential(nn.Linear(64, 20), nn.Sigmoid(), nn.Linear(20, 20), nn.Sigmoid(), nn.Linear(20, 10))
    for weights in network.requires_grad_(False).parameters():
        weights.copy_(torch.randn(weights.shape, generator=source))
    x, targets, rows = torch.rand(256, 64, generator=source), torch.arange(256) % 10, torch.arange(256)
    best = penalized.Shortest(x.clone(), torch.full((256,), torch.inf))
    prices = torch.full((256,), 0.1)
    penalize = penalizing(network, x, targets, x.shape[1:], prices, torch.zeros(256), best)
    num_iterations = 0

    def objective(images, problem):
        nonlocal num_iterations
        num_iterations += 1
        return penalize(images, rows[problem])

    with Counting() as counted:
        lbfgs.solve(objective, x, 0.0, 1.0, 1e-3)
    assert num_iterations > 20
    return counted, num_iterations


def test_an_iteration_is_a_few_operations_and_waits_for_nothing():
    counted, num_iterations = counted_iterations(penalized._penalizing_by_row)
    assert counted.num_operations < 40 * num_iterations
    assert counted.num_waits <= 3  # of the box and its bounds, once for all iterations


def test_where_problems_are_solved_together_an_iteration_waits_twice_at_the_most(monkeypatch):
    """As on a GPU. The network's own passes, the loss and the length are 45 of them."""
    monkeypatch.setattr(rowwise, "fits", lambda vectors: False)
    counted, num_iterations = counted_iterations(penalized._penalizing_together)
    assert counted.num_operations < 220 * num_iterations
    assert counted.num_waits <= 2 * num_iterations
