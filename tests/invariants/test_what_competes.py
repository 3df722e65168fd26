"""The answer depends on the logits that compete: not on masked classes, shared constants, or where others are nan."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.attacks import exact, penalized, tight
from lib.attacks.arguments import NoWayWarning
from lib.attacks.penalized import AttackConfig, find_nearest_adversarial, lead, needed_lead

pytestmark = pytest.mark.numerical

ATTACKS = {"penalized": penalized.find_adversarial, "tight": tight.find_adversarial}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Changed(nn.Module):
    """A network whose logits are `change`d, given the images, too."""

    def __init__(self, network: nn.Module, change):
        super().__init__()
        self.network, self.change = network, change
        self.eval()

    def forward(self, x):
        return self.change(self.network(x), x)


@pytest.fixture(scope="module")
def rectified() -> nn.Module:
    """Twenty inputs, four classes, logits of about 3."""
    network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4)).requires_grad_(False).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator(1))
    return network


@pytest.fixture(scope="module")
def images(rectified):
    inputs = torch.rand(40, 20, generator=generator(2))
    return inputs, (rectified(inputs).argmax(dim=1) + 1) % 4


@pytest.fixture(scope="module")
def plain(rectified, images):
    found = {name: attack(rectified, *images) for name, attack in ATTACKS.items()}
    assert all(result.success.sum() >= 30 for result in found.values())
    return found


def masked(value: float, how: str):
    """One more class, at `value`; or the last of two more, ruled out by adding a mask, or by filling one in."""
    if how == "added":
        return lambda z, x: F.pad(z, (0, 1)) + F.pad(torch.zeros_like(z), (0, 1), value=value)
    if how == "filled":
        return lambda z, x: torch.cat([z, x[:, :1]], dim=1).masked_fill(torch.arange(5) == 4, value)
    return lambda z, x: F.pad(z, (0, 1), value=value)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("how", ["padded", "added", "filled"])
@pytest.mark.parametrize("value", [-1e3, -1e5, -1e9, -math.inf])
def test_a_class_that_cannot_compete_changes_nothing(attack, how, value, rectified, images, plain):
    found = ATTACKS[attack](Changed(rectified, masked(value, how)), *images)
    assert torch.equal(found.success, plain[attack].success)
    torch.testing.assert_close(found.distortion, plain[attack].distortion, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("constant", [1e3, -1e4, 1e5])
def test_a_constant_costs_the_resolution_that_it_leaves_the_logits(attack, constant, rectified, images, plain):
    """An image has to lead by two units in the constant's last place; the search stops within a few more.

    On the kinks of rectified units a rounding can send a single descent to another place, some per cent off.
    """
    found, before = ATTACKS[attack](Changed(rectified, lambda z, x: z + constant), *images), plain[attack]
    assert torch.equal(found.success, before.success)
    resolution = torch.finfo(torch.float32).eps * abs(constant)
    lack = -lead(rectified(images[0]), images[1])
    far = before.success & (lack > 20 * resolution)
    assert far.sum() >= 25
    ratio = (found.distortion / before.distortion)[far]
    assert (ratio <= 1 + 5e-3 + 8 * resolution / lack[far]).float().mean() >= 0.9
    assert ratio.median() <= 1 + 1e-4 + (4 * resolution / lack[far]).mean()
    assert (ratio <= 1.05).all()


def test_in_double_precision_a_constant_costs_nothing(rectified, images):
    network, inputs = copy.deepcopy(rectified).double(), images[0].double()
    plain = penalized.find_adversarial(network, inputs, images[1])
    shifted = penalized.find_adversarial(Changed(network, lambda z, x: z + 1e5), inputs, images[1])
    assert torch.equal(shifted.success, plain.success)
    close = torch.isclose(shifted.distortion, plain.distortion, rtol=1e-3, atol=0)
    assert close[plain.success].float().mean() >= 0.95  # a few per cent of one length can hang on a rounding


def test_the_needed_lead_is_told_by_target_and_best_rival_alone():
    logits, targets = torch.tensor([[1.0, 3.0, 2.0, -1.0]]), torch.tensor([2])
    units = torch.tensor([160.0])
    for margin_fraction in (0.0, 1e-6, 1e-2):
        needed = needed_lead(logits, targets, margin_fraction, units)
        for other in (-1e3, -1e9, -math.inf):
            outcast = torch.tensor([[1.0, 3.0, 2.0, other]])
            assert torch.equal(needed_lead(outcast, targets, margin_fraction, units), needed)
    eps = torch.finfo(torch.float32).eps
    assert needed_lead(logits, targets, 0.0, units).item() == pytest.approx(eps * (160 + 3 / 2))
    assert needed_lead(logits + 1e5, targets, 0.0, 0 * units).item() == pytest.approx(eps * 1e5 / 2, rel=1e-4)
    assert needed_lead(1e6 * logits, targets, 1e-2, 0 * units).item() == penalized.MOST_MARGIN


def test_the_cross_entropy_loses_nothing_to_a_constant_that_the_logits_have_not_lost():
    """It takes the largest logit off first: so nothing has to be shifted before it."""
    logits = 64 * torch.randn(50, 7, generator=generator(3)).round(decimals=1).mul(8).round() / 512
    targets = torch.arange(50) % 7
    shifted = logits + 2.0**16  # exact
    assert torch.equal(shifted - 2.0**16, logits)
    for z in (logits, shifted):
        z.requires_grad_()
    losses = [F.cross_entropy(z, targets, reduction="none") for z in (logits, shifted)]
    assert torch.equal(*losses)
    assert torch.equal(
        *(torch.autograd.grad(loss.sum(), z)[0] for loss, z in zip(losses, (logits, shifted), strict=True))
    )


def test_gradients_stay_finite_beside_a_class_of_minus_infinity(rectified, images):
    network = Changed(rectified, masked(-math.inf, "padded"))
    gradient = penalized.loss_gradient(network, *images)
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(gradient, penalized.loss_gradient(rectified, *images))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_masked_target_is_never_found_and_its_neighbours_are(attack, rectified, images, plain):
    network, targets = Changed(rectified, masked(-math.inf, "padded")), images[1].clone()
    targets[::4] = 4
    found = ATTACKS[attack](network, images[0], targets)
    assert not found.success[::4].any()
    assert torch.equal(found.adversarial[::4], images[0][::4])
    others = torch.arange(40) % 4 != 0
    assert torch.equal(found.success[others], plain[attack].success[others])
    torch.testing.assert_close(found.distortion[others], plain[attack].distortion[others], rtol=1e-3, atol=1e-6)


def test_the_nearest_of_any_class_is_not_a_masked_one(rectified, images):
    inputs, labels = images[0][:8], rectified(images[0][:8]).argmax(dim=1)
    config = AttackConfig(max_searches=8)
    plain = find_nearest_adversarial(rectified, inputs, labels, config)
    found = find_nearest_adversarial(Changed(rectified, masked(-math.inf, "padded")), inputs, labels, config)
    torch.testing.assert_close(found.distortion, plain.distortion, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_nan_or_inf_at_an_input_are_an_error(bad, rectified, images):
    network = Changed(rectified, lambda z, x: F.pad(z, (0, 1), value=bad))
    for attack in ATTACKS.values():
        with pytest.raises(ValueError, match="not finite"):
            attack(network, *images)
    with pytest.raises(ValueError, match="not finite"):
        tight.tighten(network, *images, images[0])


# In any unit of logits


@pytest.mark.parametrize("exponent", [-80, -20, 20, 80])
def test_the_tight_attack_finds_the_same_in_any_unit_of_logits(exponent):
    """On a linear network, where it is the optimum: single images may be off by what the descent leaves."""
    source = generator(5)
    network = nn.Linear(30, 5).requires_grad_(False).eval()
    network.weight.copy_(torch.randn(5, 30, generator=source))
    network.bias.copy_(torch.randn(5, generator=generator(6)))  # the layer's own would be another one in every run
    inputs = torch.rand(40, 30, generator=source)
    targets = (network(inputs).argmax(dim=1) + 1) % 5
    optimum = exact.minimum_perturbation(network, inputs, targets).distortion.float()
    found = tight.find_adversarial(Changed(network, lambda z, x: z * 2.0**exponent), inputs, targets)
    assert found.success.all()
    ratio = found.distortion / optimum
    assert ratio.median() <= 1 + 3e-4
    assert (ratio <= 1.02).all()


@pytest.mark.parametrize("exponent", [-80, -40, -20, 20, 40, 80])
def test_the_papers_attack_succeeds_in_any_unit_of_logits(exponent, rectified, images, plain):
    """How long its answers are the unit decides, as the cross-entropy is no multiple of logits."""
    found = penalized.find_adversarial(Changed(rectified, lambda z, x: z * 2.0**exponent), *images)
    assert found.success[plain["penalized"].success].all()


# Where the network is nan


def shell(network: nn.Module, low: float, high: float) -> nn.Module:
    """nan where the mean pixel lies between `low` and `high`."""

    def change(z, x):
        mean = x.mean(dim=1, keepdim=True)
        return torch.where((mean > low) & (mean < high), torch.nan, z)

    return Changed(network, change)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.51), (0.52, 1.0), (0.45, 0.455), (0.0, 0.46)])
def test_in_a_network_that_is_nan_somewhere_tightening_is_never_worse_than_its_start(low, high, rectified, images):
    network = shell(rectified, low, high)
    mean = images[0].mean(dim=1)
    outside = (mean <= low) | (mean >= high)
    inputs, targets = (values[outside] for values in images)
    start = penalized.find_adversarial(network, inputs, targets)
    result = tight.tighten(network, inputs, targets, start.adversarial)
    assert start.success.sum() >= 8
    assert result.success[start.success].all()
    assert (result.distortion <= start.distortion * (1 + 1e-6))[start.success].all()
    assert torch.equal(network(result.adversarial).argmax(dim=1)[result.success], targets[result.success])
    for found in (result, start):
        assert torch.isfinite(found.adversarial).all()
        assert torch.equal(torch.isfinite(found.distortion), found.success)
    assert not result.residual.isnan().any()


def test_a_start_whose_gradient_is_nan_is_kept():
    """sqrt has no slope at 0 that a network could hand on: the image stays, and nothing is claimed of it."""
    network = Changed(
        nn.Flatten(), lambda z, x: torch.stack([0.3 + 0 * x[:, 0], x[:, 0] - (x[:, 1] - 0.5).abs().sqrt()], 1)
    )
    inputs, adversarial = torch.tensor([[0.1, 0.5]]), torch.tensor([[0.6, 0.5]])
    result = tight.tighten(network, inputs, torch.tensor([1]), adversarial)
    assert torch.equal(result.adversarial, adversarial)
    assert result.success.all()
    assert result.residual.tolist() == [math.inf]


def test_a_network_that_takes_back_its_word_does_not_cost_the_start(rectified, images, plain):
    """From the third time that it is asked for an image's class it denies everything shorter than the start."""
    start, inputs, targets = plain["penalized"], *images
    length = (start.adversarial - inputs).norm(dim=1)

    class Fickle(nn.Module):
        asked = 0

        def forward(self, x):
            self.asked += 1
            z = rectified(x)
            last = len(x) == len(inputs) and self.asked > 40
            return torch.where((last & ((x - inputs).norm(dim=1) < length - 1e-6))[:, None], -z, z) if last else z

    result = tight.tighten(Fickle().eval(), inputs, targets, start.adversarial, replace(tight.TightConfig(), gain=1e-6))
    assert result.success[start.success].all()


def test_a_gradient_that_is_nan_at_the_input_ends_the_search_at_once(images):
    network = Changed(nn.Linear(20, 4).requires_grad_(False), lambda z, x: z + (x[:, :1] - x[:, :1]).sqrt())
    with pytest.warns(NoWayWarning):
        result = penalized.find_adversarial(network, *images)
    assert not result.distortion[result.success].any()
    assert (result.num_evaluations <= 3).all()
