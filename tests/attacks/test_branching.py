"""The nearest image of a rectified network: what trying every activation pattern finds, and no image is nearer."""

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from lib.attacks import branching, exact
from lib.solvers import quadratic

pytestmark = pytest.mark.numerical


def rectified(sizes: tuple[int, ...], seed: int, gain: float = 3.0) -> nn.Sequential:
    """A network whose units are on for about half of the images of the box."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for number, (below, above) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(below, above, dtype=torch.float64).requires_grad_(False)
        layer.weight.copy_(gain / below**0.5 * torch.randn(above, below, generator=generator, dtype=torch.float64))
        layer.bias.copy_(torch.randn(above, generator=generator, dtype=torch.float64))
        if number == 0:
            layer.bias.sub_(layer.weight.sum(dim=1) / 2)
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()


def images(num: int, size: int, seed: int) -> torch.Tensor:
    return torch.rand(num, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def crossed(network: nn.Module, inputs: torch.Tensor, seed: int) -> tuple[torch.Tensor, ...]:
    """Inputs, the class of an image somewhere else in the box, and that image; those of which the class is another."""
    elsewhere = images(len(inputs), inputs.shape[1], seed)
    targets = network(elsewhere).argmax(dim=1)
    other = targets != network(inputs).argmax(dim=1)
    return inputs[other], targets[other], elsewhere[other]


def by_every_pattern(network: nn.Sequential, x: torch.Tensor, target: int) -> float:
    """Distance of the nearest image of the target: the least over all 2^units networks that are linear."""
    linear = list(network)[::2]
    sizes = [len(layer.bias) for layer in linear[:-1]]
    patterns = torch.tensor(list(itertools.product((0.0, 1.0), repeat=sum(sizes))), dtype=torch.float64)
    slopes = torch.eye(len(x), dtype=torch.float64).expand(len(patterns), -1, -1)
    offsets, rows, constants = x.expand(len(patterns), -1), [], []
    for layer, on in zip(linear, patterns.split(sizes, dim=1), strict=False):
        slopes, offsets = layer.weight @ slopes, offsets @ layer.weight.T + layer.bias
        rows.append((2 * on - 1)[..., None] * slopes)
        constants.append((2 * on - 1) * offsets)
        slopes, offsets = on[..., None] * slopes, on * offsets
    logits, known = linear[-1].weight @ slopes, offsets @ linear[-1].weight.T + linear[-1].bias
    others = torch.arange(logits.shape[1]) != target
    rows.append(logits[:, [target]] - logits[:, others])
    constants.append(known[:, [target]] - known[:, others])
    box = (-x).expand(len(patterns), -1), (1 - x).expand(len(patterns), -1)
    found = quadratic.project(torch.cat(rows, 1), -torch.cat(constants, 1), *box, max_iterations=60)
    possible = found.violation < 1e-6
    return float(found.perturbation[possible].norm(dim=1).min())


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10**6))
def test_it_is_the_nearest_over_all_patterns_of_units(seed):
    network = rectified((5, 4, 3, 3), seed)
    inputs, targets, elsewhere = crossed(network, images(3, 5, seed + 1), seed + 2)
    assume(len(inputs))
    found = branching.minimum_perturbation(network, inputs, targets, elsewhere)
    for x, target, distance in zip(inputs, targets.tolist(), found.perturbation.norm(dim=1).tolist(), strict=True):
        assert distance == pytest.approx(by_every_pattern(network, x, target), rel=1e-5)


def test_where_all_units_are_on_it_is_the_optimum_of_a_linear_network():
    network = rectified((8, 5, 4), seed=0)
    network[0].bias.add_(100)
    inputs = images(10, 8, seed=1)
    network[2].bias.sub_(network(inputs).mean(dim=0))
    linear = nn.Linear(8, 4, dtype=torch.float64).requires_grad_(False)
    linear.weight.copy_(network[2].weight @ network[0].weight)
    linear.bias.copy_(network[2].weight @ network[0].bias + network[2].bias)
    inputs, targets, elsewhere = crossed(network, inputs, seed=2)
    assert len(inputs) > 3
    found = branching.minimum_perturbation(network, inputs, targets, elsewhere)
    expected = exact.minimum_perturbation(linear, inputs, targets)
    torch.testing.assert_close(found.perturbation, expected.perturbation, rtol=1e-4, atol=1e-6)
    assert (found.num_relaxations == 1).all()


def test_what_is_found_is_an_image_of_the_target_and_nearer_than_where_it_began():
    network = rectified((30, 12, 12, 6), seed=3, gain=2.0)
    inputs, targets, elsewhere = crossed(network, images(6, 30, seed=4), seed=5)
    found = branching.minimum_perturbation(network, inputs, targets, elsewhere)
    adversarial = inputs + found.perturbation
    assert ((adversarial >= -1e-12) & (adversarial <= 1 + 1e-12)).all()
    logits = network(adversarial)
    assert (logits.gather(1, targets[:, None])[:, 0] >= logits.amax(dim=1) - 1e-7).all()
    distance = found.perturbation.norm(dim=1)
    assert (distance < (elsewhere - inputs).norm(dim=1)).all()
    assert (found.bound <= distance).all()
    assert (found.bound >= (1 - 2e-6) * distance).all()
    torch.testing.assert_close(found.distortion, distance / 30**0.5)


def test_no_image_of_a_fine_grid_is_nearer():
    network = rectified((2, 6, 5, 3), seed=6)
    steps = torch.linspace(0, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(steps, steps)
    said = network(grid).argmax(dim=1)
    x = torch.tensor([[0.31, 0.72]], dtype=torch.float64)
    for target in set(said.tolist()) - {int(network(x).argmax())}:
        of_target = grid[said == target]
        distances = (of_target - x).norm(dim=1)
        start = of_target[distances.argmax()][None]
        found = branching.minimum_perturbation(network, x, torch.tensor([target]), start)
        distance = float(found.perturbation.norm())
        assert distance <= float(distances.min()) <= distance + 0.0025 * 2**0.5 * 2


class Normalised(nn.Sequential):
    def forward(self, x):
        return super().forward((x - 0.5) / 0.25)


def hooked(number: int) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    network[number].register_forward_hook(lambda module, x, y: 3 * y)
    return network


def replaced() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    network[1].forward = lambda x: x.clamp_min(0.1)
    return network


@pytest.mark.parametrize(
    "network",
    [
        Normalised(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        hooked(0),
        hooked(1),
        replaced(),
        nn.Linear(4, 3),
        nn.Sequential(nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.Linear(4, 3)),
    ],
    ids=[
        "a forward of its own",
        "a hook",
        "another hook",
        "a layer's forward replaced",
        "one layer",
        "one layer in a chain",
        "sigmoids",
        "no last layer",
        "a rectifier first",
    ],
)
def test_what_is_no_rectified_chain_is_refused(network):
    with pytest.raises(TypeError, match="ReLU"):
        branching.minimum_perturbation(network.eval(), torch.rand(1, 4), torch.tensor([1]), torch.rand(1, 4))


def test_layers_that_cannot_be_asked_are_named():
    x, targets = torch.rand(1, 4), torch.tensor([0])
    for last, words in ((nn.Linear(5, 2), "3 outputs and layer 2 takes 5"), (nn.Linear(3, 1), "two classes or more")):
        with pytest.raises(ValueError, match=words):
            branching.minimum_perturbation(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), last).eval(), x, targets, x)
    broken = rectified((4, 3, 2), seed=0)
    broken[0].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite weights"):
        branching.minimum_perturbation(broken, x.double(), targets, x.double())


def test_an_image_that_is_not_given_the_target_is_no_place_to_begin():
    network = rectified((5, 4, 3), seed=0)
    inputs = images(4, 5, seed=1)
    said = network(inputs).argmax(dim=1)
    with pytest.raises(ValueError, match="4 of 4 adversarial images are not given their target"):
        branching.minimum_perturbation(network, inputs, (said + 1) % 3, inputs)


def test_where_relaxations_do_not_suffice_the_bound_holds_and_nothing_is_called_nearest():
    network = rectified((30, 12, 12, 6), seed=3, gain=2.0)
    inputs, targets, elsewhere = crossed(network, images(6, 30, seed=4), seed=5)
    found = branching.minimum_perturbation(network, inputs, targets, elsewhere)
    assert found.is_nearest.all()
    early = branching.minimum_perturbation(network, inputs, targets, elsewhere, max_relaxations=8)
    hard = found.num_relaxations > 64 + 8
    assert hard.any()
    assert not early.is_nearest[hard].any()
    distance = found.perturbation.norm(dim=1)
    assert (early.bound <= distance).all()
    assert (early.perturbation.norm(dim=1) >= (1 - 1e-9) * distance).all()


def test_images_of_another_shape_are_named():
    network = rectified((5, 4, 3), seed=0)
    inputs = images(4, 6, seed=1)
    with pytest.raises(ValueError, match=r"inputs must be \(N, 5\), not \(4, 6\)"):
        branching.minimum_perturbation(network, inputs, torch.zeros(4, dtype=torch.long), inputs)


def test_no_effort_at_all_is_refused():
    network = rectified((5, 4, 3), seed=0)
    inputs = images(4, 5, seed=1)
    with pytest.raises(ValueError, match="max_relaxations"):
        branching.minimum_perturbation(network, inputs, network(inputs).argmax(dim=1), inputs, max_relaxations=0)
