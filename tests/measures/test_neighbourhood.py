"""Around adversarial images of a plane noise does what a plane makes of it."""

import math

import pytest
import torch

from lib.measures import neighbourhood
from lib.measures.neighbourhood import FACTORS, NOISE, SHARES
from tests.networks_made import beside_a_plane

N, NUM_VALUES = 4000, 100


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def plane():
    """A linear network, inputs in the middle of the box, the nearest points of its plane, and the classes beyond."""
    network, inputs, targets, step = beside_a_plane(N, NUM_VALUES, spread=0.05)
    return network, inputs, inputs + step, targets


def test_noise_is_as_long_as_asked_for_on_average_and_lies_around_the_point_on_the_way(plane):
    _, inputs, adversarial, _ = plane
    noise = torch.randn(inputs.shape, generator=generator())
    way = adversarial - inputs
    off = neighbourhood.around(inputs, adversarial, noise, 1.5, 2.0) - (inputs + 1.5 * way)
    ratio = off.square().sum(dim=1) / way.square().sum(dim=1)
    assert float(ratio.mean()) == pytest.approx(4, rel=5 * (2 / NUM_VALUES / N) ** 0.5)
    quiet = neighbourhood.around(inputs, adversarial, noise, 1.5, 0.0)
    torch.testing.assert_close(quiet, inputs + 1.5 * way)


def test_around_the_nearest_point_of_a_plane_the_target_is_said_as_often_as_a_half_space_foretells(plane):
    cells = neighbourhood.staying(*plane, torch.randn(N, NUM_VALUES, generator=generator(3)))
    assert list(cells) == [(factor, share) for factor in FACTORS for share in SHARES]
    for (factor, share), estimate in cells.items():
        expected = neighbourhood.half_space(factor, share, NUM_VALUES)
        spread = 100 * math.sqrt(expected / 100 * (1 - expected / 100) / N)
        assert estimate.value == pytest.approx(expected, abs=4.5 * spread + 1e-9)
        assert estimate.n == N


def test_a_half_space_is_half_at_its_border_and_as_far_beyond_it_as_before_it_the_rest():
    for share in SHARES:
        assert neighbourhood.half_space(1, share, 784) == 50
        before, beyond = (neighbourhood.half_space(factor, share, 784) for factor in (0.5, 1.5))
        assert before + beyond == pytest.approx(100)
    assert neighbourhood.half_space(1.1, 2.8, 784) == pytest.approx(84.134, abs=1e-3)  # one standard deviation


def test_images_without_a_perturbation_do_not_count(plane):
    network, inputs, adversarial, targets = plane
    some = torch.where(torch.arange(N)[:, None] < 7, adversarial, inputs)
    cells = neighbourhood.staying(network, inputs, some, targets, torch.zeros(N, NUM_VALUES))
    assert {estimate.n for estimate in cells.values()} == {7}
    assert cells[2.0, 1.0].value == 100
    assert cells[0.0, 1.0].value == 0


def test_lines_are_cells_in_order_and_the_flat_ones_have_the_same_names(plane):
    cells = neighbourhood.staying(*plane, torch.randn(N, NUM_VALUES, generator=generator(3)))
    table = {(neighbourhood.row("net", f), NOISE.format(s)): estimate for (f, s), estimate in cells.items()}
    lines, flat = neighbourhood.lines(table, "net"), neighbourhood.flat_lines(NUM_VALUES)
    assert list(lines) == list(flat) == ["the image itself", "as found"] + [f"{f:g} times as far" for f in FACTORS[2:]]
    assert lines["1.5 times as far"] == [cells[1.5, share] for share in SHARES]
    assert flat["as found"] == [50] * len(SHARES)
    assert all(math.isnan(e.value) for line in neighbourhood.lines({}, "net").values() for e in line)
