"""Other searches over c, and every class: each ends where its own rule says."""

import pytest
import torch
from torch import Tensor, nn

from lib.attacks import lengths, penalized
from lib.attacks.penalized import AttackConfig
from tests.networks_made import smooth

torch.set_num_threads(1)
CONFIG = AttackConfig()
WEIGHT = torch.tensor([[4.0, 8.0, -4.0, 2.0]])


@pytest.fixture(scope="module")
def problem() -> tuple[nn.Module, Tensor, Tensor]:
    """Eight images of a smooth network of 20 pixels, and for each the class after the one that it is given."""
    network, inputs = smooth(8)
    return network, inputs, (network(inputs).argmax(dim=1) + 1) % 4


@pytest.fixture
def line() -> tuple[nn.Module, Tensor, Tensor]:
    """One image and a linear network of two classes, of which it is given the second: r goes straight along WEIGHT."""
    network = nn.Linear(4, 2)
    network.weight, network.bias = nn.Parameter(torch.cat([-WEIGHT, WEIGHT])), nn.Parameter(torch.zeros(2))
    return network.eval().requires_grad_(False), torch.tensor([[0.3, 0.4, 0.7, 0.5]]), torch.tensor([0])


def test_every_class_is_attacked_and_the_nearest_is_the_untargeted_attacks(problem):
    network, inputs, targets = problem
    found = lengths.to_every_class(network, inputs, 4, CONFIG)
    given = network(inputs).argmax(dim=1)
    assert found.shape == (8, 4)
    assert (found.gather(1, given[:, None]) == 0).all()
    to_targets = penalized.find_adversarial(network, inputs, targets).distortion
    torch.testing.assert_close(found.gather(1, targets[:, None])[:, 0], to_targets, rtol=0.02, atol=0)
    nearest = found.scatter(1, given[:, None], torch.inf).min(dim=1).values
    untargeted = penalized.find_nearest_adversarial(network, inputs, given).distortion
    torch.testing.assert_close(nearest, untargeted, rtol=0.02, atol=0)


@pytest.mark.parametrize("price", [0.5, 2.0])
def test_at_a_price_on_the_square_length_and_slope_are_in_balance(line, price):
    """2 c |r| = |w| (1 - p) on a line of slope |w|, where p is the target's probability."""
    network, inputs, targets = line
    length = float(lengths.at_price(network, inputs, targets, price, 2, CONFIG)) * 2
    slope = 2 * float(WEIGHT.norm())
    lead = slope * length - 2 * float(WEIGHT @ inputs[0])
    assert 2 * price * length == pytest.approx(slope / (1 + torch.tensor(lead).exp().item()), rel=0.02)


def test_a_price_on_the_square_is_a_price_on_the_length_times_twice_the_length(line):
    network, inputs, targets = line
    squared = float(lengths.at_price(network, inputs, targets, 0.5, 2, CONFIG))
    plain = float(lengths.at_price(network, inputs, targets, 2 * 0.5 * squared * 2, 1, CONFIG))
    assert plain == pytest.approx(squared, rel=0.01)


@pytest.mark.parametrize("power", [1, 2])
def test_a_search_from_above_ends_at_the_first_price_that_succeeds(problem, power):
    found = lengths.searched_down(*problem, 4, power, CONFIG)
    grid = [lengths.at_price(*problem, lengths.FIRST_PRICE / 4**i, power, CONFIG) for i in range(12)]
    first = torch.stack([torch.stack(values)[~torch.stack(values).isnan()][0] for values in zip(*grid, strict=True)])
    torch.testing.assert_close(found, first, rtol=0.02, atol=0)
    assert (grid[0].isnan() & ~found.isnan()).any(), "nothing was searched"


def test_one_price_for_all_is_that_of_the_hardest_image(problem):
    alone = penalized.find_adversarial(*problem)
    found = lengths.with_one_price(*problem, 1, CONFIG)
    assert found.isfinite().all()
    hardest = alone.c.argmin()
    assert float(found[hardest]) == pytest.approx(float(alone.distortion[hardest]), rel=0.05)
    assert (found >= 0.98 * alone.distortion).all()
    assert found.mean() > 1.02 * alone.distortion.mean()


def test_of_one_image_the_one_price_is_its_own(problem):
    network, inputs, targets = problem
    for power in (1, 2):
        found = lengths.with_one_price(network, inputs[:1], targets[:1], power, CONFIG)
        alone = penalized.find_adversarial(network, inputs[:1], targets[:1]).distortion
        torch.testing.assert_close(found, alone, rtol=0.05, atol=0)


def test_where_no_price_succeeds_there_is_no_length(line):
    """The target is behind everywhere in the box."""
    network, inputs, targets = line
    network.bias = nn.Parameter(torch.tensor([-50.0, 50.0]), requires_grad=False)
    assert lengths.searched_down(network, inputs, targets, 10, 2, CONFIG).isnan().all()
    assert lengths.with_one_price(network, inputs, targets, 2, CONFIG).isnan().all()
