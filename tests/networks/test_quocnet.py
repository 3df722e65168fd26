"""QuocNet has the sizes of 2012, its parts do what their equations say, and its stages learn."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lib.networks import local_filters, quocnet
from lib.networks.quocnet import LE, QuocNet, QuocNetConfig, RICAConfig, fit_stage, local_contrast, pooled, rica_cost

torch.set_num_threads(1)

SMALL = QuocNetConfig(side=16, num_channels=2, field=3, num_maps=4, pool=2, contrast=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(num: int = 6, config: QuocNetConfig = SMALL) -> Tensor:
    return torch.rand(num, config.num_channels, config.side, config.side, generator=generator(1))


# --- The sizes ------------------------------------------------------------------------------------


def test_the_network_of_2012_has_about_a_billion_connections():
    """On the meta device: 4.9 GB of weights that nobody allocates."""
    with torch.device("meta"):
        network = QuocNet(LE)
        features = network(torch.empty(2, 3, 200, 200))
    places = [200 - 17, 200 - 17 - 4 - 17, 200 - 2 * (17 + 4) - 17]  # a side, of the three stages' filters
    assert [tuple(stage.filters.shape) for stage in network.stages] == [
        (side, side, 18, 18, num_channels, 8) for side, num_channels in zip(places, (3, 8, 8), strict=True)
    ]
    assert features.shape == (2, 8 * 137 * 137)
    connections = sum(side**2 * 8 * 18 * 18 * n for side, n in zip(places, (3, 8, 8), strict=True))
    assert quocnet.num_connections(LE) == connections == sum(p.numel() for p in network.parameters())
    assert 1.0e9 < connections < 1.3e9


def test_every_stage_sees_what_the_one_before_it_gives():
    network = QuocNet(SMALL, generator())
    for number, (num_channels, side) in enumerate(SMALL.stage_shapes()):
        assert network.below(images(), number).shape == (6, num_channels, side, side)
    assert network(images()).shape == (6, SMALL.num_features)


def test_no_place_for_a_filter_is_an_error():
    with pytest.raises(ValueError, match="stage 3 sees 2 pixels a side"):
        QuocNetConfig(side=12, field=3, pool=4)


def test_the_same_seed_gives_the_same_network():
    first, same, other = (QuocNet(SMALL, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first(images()), same(images()))
    assert not torch.allclose(first(images()), other(images()))


# --- Its parts ------------------------------------------------------------------------------------


def test_filters_have_unit_length():
    filters = QuocNet(SMALL, generator()).stages[1].filters
    torch.testing.assert_close(filters.square().sum(dim=(2, 3, 4)), torch.ones(filters.shape[:2] + filters.shape[-1:]))


def test_a_pool_is_the_length_of_its_responses():
    responses = torch.randn(2, 3, 6, 5, generator=generator(), dtype=torch.float64)
    found = pooled(responses, 3, least=0.0)
    assert found.shape == (2, 3, 4, 3)
    torch.testing.assert_close(found[1, 2, 3, 1], responses[1, 2, 3:6, 1:4].norm())


def test_a_silent_pool_has_a_gradient():
    responses = torch.zeros(1, 1, 3, 3, requires_grad=True)
    pooled(responses, 3).sum().backward()
    assert torch.equal(responses.grad, torch.zeros(1, 1, 3, 3))


@pytest.mark.parametrize(("gain", "shift"), [(1.0, 0.2), (0.5, 0.0), (0.3, 0.6)])
def test_contrast_does_not_know_the_light(gain, shift):
    """Where an image has contrast enough, twice the light and a veil before it change nothing."""
    maps = images().double()
    torch.testing.assert_close(local_contrast(gain * maps + shift, 5), local_contrast(maps, 5))


def test_contrast_has_mean_zero_and_variance_one_about_every_place_of_stationary_maps():
    maps = torch.rand(1, 8, 40, 40, generator=generator(), dtype=torch.float64)
    found = local_contrast(maps, 9)
    assert found.mean().abs() < 0.01
    assert found.square().mean().sqrt() == pytest.approx(1, abs=0.05)


def test_an_even_image_has_no_contrast():
    found = local_contrast(torch.full((1, 3, 8, 8), 0.7), 5)
    assert found.abs().max() < 1e-4


def test_contrast_below_the_threshold_is_not_amplified_beyond_it():
    maps = 0.5 + 1e-4 * (images() - 0.5)
    assert local_contrast(maps, 5).abs().max() <= 1e-4 / quocnet.DARK


def test_the_contrast_of_pixels_alone_leaves_the_pools_as_they_are():
    often, once = (QuocNet(replace(SMALL, normalized=normalized), generator()) for normalized in (True, False))
    maps = once.below(images(), 0)
    torch.testing.assert_close(maps, often.below(images(), 0))
    pools = pooled(local_filters.respond(maps, once.stages[0].filters), SMALL.pool)
    torch.testing.assert_close(once.below(images(), 1), pools)
    torch.testing.assert_close(often.below(images(), 1), local_contrast(pools, SMALL.contrast))


# --- Learning -------------------------------------------------------------------------------------


def test_the_cost_is_le_s_formula():
    maps = images(3).double()
    encoder, decoder = (
        torch.randn(14, 14, 3, 3, 2, 4, generator=generator(seed), dtype=torch.float64) for seed in (1, 2)
    )
    responses = local_filters.respond(maps, encoder)
    error = (local_filters.spread(responses, decoder) - maps).square().sum()
    quiet = 0.0
    for row in range(13):
        for column in range(13):
            squares = responses[:, :, row : row + 2, column : column + 2].square().sum(dim=(2, 3))
            quiet += (1e-6 + squares).sqrt().sum()
    expected = (error + 0.1 * quiet) / 3
    torch.testing.assert_close(rica_cost(maps, encoder, decoder, pool=2, sparsity=0.1), expected)


def test_orthonormal_filters_restore_everything_at_no_price():
    """One pixel seen by as many filters as it has channels, a rotation each: W1^T W1 is the identity."""
    rotations = torch.linalg.qr(torch.randn(4, 4, 3, 3, generator=generator(), dtype=torch.float64)).Q
    filters = rotations.view(4, 4, 1, 1, 3, 3)
    maps = torch.randn(5, 3, 4, 4, generator=generator(), dtype=torch.float64)
    assert rica_cost(maps, filters, filters, pool=1, sparsity=0.0) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("number", range(3))
def test_a_stage_learns_and_leaves_the_network_as_it_was(number):
    network = QuocNet(SMALL, generator())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    some = images(40)
    fitted = fit_stage(network, number, some, RICAConfig(num_epochs=15, batch_size=10), seed=0)
    per_epoch = fitted.costs.view(15, -1).mean(dim=1)
    assert (per_epoch.diff() < 0).all()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert fitted.filters.shape == network.stages[number].filters.shape
    lengths = fitted.filters.square().sum(dim=(2, 3, 4))
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_without_a_price_reconstruction_is_all_that_is_learned():
    network = QuocNet(SMALL, generator())
    free, dear = (
        fit_stage(network, 0, images(40), RICAConfig(sparsity, num_epochs=10, batch_size=10), seed=0)
        for sparsity in (0.0, 1.0)
    )
    maps = network.below(images(40), 0)
    loud = [pooled(local_filters.respond(maps, fitted.filters), 2).mean() for fitted in (free, dear)]
    assert loud[1] < loud[0]


def test_what_is_not_finite_is_said():
    network = QuocNet(SMALL, generator())
    with pytest.raises(quocnet.TrainingError, match="stage 1"):
        fit_stage(network, 0, images() * math.nan, RICAConfig(batch_size=3), seed=0)
