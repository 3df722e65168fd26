"""The exact optimum is feasible, meets the conditions of optimality, and is what other solvers and geometry give."""

import copy
import warnings

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from torch import nn

from lib.attacks.arguments import AlreadyTargetsWarning
from lib.attacks.exact import minimum_perturbation

pytestmark = pytest.mark.numerical


def linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer


def test_two_classes_are_separated_by_a_plane():
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 12, generator=source, dtype=torch.float64)
    inputs = 0.4 + 0.2 * torch.rand(5, 12, generator=source, dtype=torch.float64)
    network = linear(weight, -weight @ inputs.mean(dim=0))
    logits = network(inputs).detach()
    distance = logits.diff(dim=1)[:, 0].abs() / (weight[1] - weight[0]).norm()
    found = minimum_perturbation(network, inputs, 1 - logits.argmax(dim=1))
    torch.testing.assert_close(found.perturbation.norm(dim=1), distance)


def test_the_network_says_the_target_and_the_image_stays_an_image():
    source = torch.Generator().manual_seed(1)
    network = linear(torch.randn(10, 50, generator=source), torch.randn(10, generator=source)).double()
    inputs = torch.rand(40, 50, generator=source, dtype=torch.float64).round()
    targets = torch.randint(0, 10, (40,), generator=source)
    found = minimum_perturbation(network, inputs, targets)
    adversarial = inputs + found.perturbation
    logits = network(adversarial).detach()
    assert ((adversarial >= 0) & (adversarial <= 1)).all()
    assert (logits.gather(1, targets[:, None])[:, 0] >= logits.max(dim=1).values - 1e-7).all()
    already = network(inputs).argmax(dim=1) == targets
    assert (found.perturbation[already] == 0).all()


def test_a_class_that_no_image_has_is_an_error():
    network = linear(torch.zeros(2, 3, dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64))
    with pytest.raises(ValueError, match="no image"):
        minimum_perturbation(network, torch.rand(1, 3, dtype=torch.float64), torch.tensor([1]))


# --- Arguments, and what becomes of odd ones ------------------------------------------------------


@pytest.fixture
def problem() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """Ten classes of images of 50 pixels, all of which are in reach."""
    source = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(10, 50, generator=source).double(), torch.randn(10, generator=source).double()
    inputs = torch.rand(20, 50, generator=source, dtype=torch.float64)
    return linear(weight, bias), inputs, torch.randint(0, 10, (20,), generator=source)


def test_a_layer_without_bias_has_a_bias_of_zero(problem):
    network, inputs, targets = problem
    weight = network.weight.detach()
    found = minimum_perturbation(linear(weight, None), inputs, targets)
    expected = minimum_perturbation(linear(weight, torch.zeros(10, dtype=torch.float64)), inputs, targets)
    assert torch.equal(found.perturbation, expected.perturbation)


@pytest.mark.parametrize("unit", [1e-300, 1e-100, 1e-7, 1e30, 1e200])
def test_the_unit_of_logits_does_not_matter(problem, unit):
    network, inputs, targets = problem
    scaled = linear(network.weight.detach() * unit, network.bias.detach() * unit)
    found = minimum_perturbation(scaled, inputs, targets).perturbation
    torch.testing.assert_close(found, minimum_perturbation(network, inputs, targets).perturbation)


def test_a_bias_that_all_classes_share_does_not_matter(problem):
    network, inputs, targets = problem
    shifted = linear(network.weight.detach(), network.bias.detach() - 2.0**30)
    found = minimum_perturbation(shifted, inputs, targets).perturbation
    torch.testing.assert_close(found, minimum_perturbation(network, inputs, targets).perturbation, rtol=0, atol=1e-6)


def test_a_class_ruled_out_by_its_bias_is_no_rival_and_no_target(problem):
    network, inputs, targets = problem
    bias = network.bias.detach().clone()
    bias[3] = -1e9
    network = linear(network.weight.detach(), bias)
    others = targets != 3
    found = minimum_perturbation(network, inputs[others], targets[others])
    beyond = network(inputs[others] + (1 + 1e-6) * found.perturbation)
    assert torch.equal(beyond.argmax(dim=1), targets[others])
    assert found.distortion.max() > 0
    with pytest.raises(ValueError, match=f"^{int((~others).sum())} of 20 .*no image"):
        minimum_perturbation(network, inputs, targets)


def doubled(layer: nn.Linear) -> nn.Linear:
    layer.forward = lambda images: 2 * F.linear(images, layer.weight)
    return layer


def hooked(layer: nn.Linear) -> nn.Linear:
    layer.register_forward_hook(lambda layer, inputs, logits: -logits)
    return layer


class Called(nn.Linear):
    def __call__(self, images):
        return -super().__call__(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hooked, "hooks"),
        (doubled, "must be one torch.nn.Linear"),
        (lambda layer: Called(50, 10).double(), "must be one torch.nn.Linear"),
        (lambda layer: nn.LazyLinear(10).double(), "lazy"),
        (nn.utils.parametrizations.spectral_norm, "training mode"),
    ],
)
def test_what_computes_something_else_than_its_weights_say_is_refused(problem, change, message):
    network, inputs, targets = problem
    network = change(network.train())
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=message):
        minimum_perturbation(network, inputs, targets)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items() if message != "lazy")


def test_weights_that_are_made_of_others_are_read_once(problem):
    network, inputs, targets = problem
    expected = minimum_perturbation(network, inputs, targets)
    normed = nn.utils.parametrizations.weight_norm(copy.deepcopy(network).float()).eval()
    found = minimum_perturbation(normed, inputs, targets)
    torch.testing.assert_close(found.distortion, expected.distortion, rtol=1e-4, atol=1e-6)


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x).square()


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (
            TypeError,
            r"network must be one torch.nn.Linear, not Sequential.*attacks.tight",
            {"network": nn.Sequential()},
        ),
        (TypeError, "network must be one torch.nn.Linear, not Scaled", {"network": Scaled(50, 10)}),
        (ValueError, "two classes", {"network": nn.Linear(50, 1)}),
        (ValueError, r"inputs must be \(N, 50\), not \(20, 49\)", {"inputs": torch.rand(20, 49)}),
        (ValueError, r"inputs must be \(N, 50\).*flatten\(1\)", {"inputs": torch.rand(20, 5, 10)}),
        (ValueError, r"inputs must lie in \[0, 1\], not in \[0, 255\]: divide", {"inputs": 255 * torch.eye(20, 50)}),
        (ValueError, r"inputs must lie in \[0, 1\].*normalisation", {"inputs": -torch.eye(20, 50)}),
        (ValueError, r"inputs must lie in \[0, 1\].*nan", {"inputs": torch.full((20, 50), torch.nan)}),
        (TypeError, r"targets must be integers, not torch.float32: use targets.long", {"targets": torch.zeros(20)}),
        (ValueError, r"targets must be one class for each of 20", {"targets": torch.zeros(19, dtype=torch.int64)}),
        (ValueError, r"targets must be classes, 0 to 9, not 10 to 10", {"targets": torch.full((20,), 10)}),
        (ValueError, r"targets must be classes, 0 to 9, not -1 to -1", {"targets": torch.full((20,), -1)}),
    ],
)
def test_an_argument_that_will_not_do_is_named_with_its_cure(problem, error, message, change):
    arguments = dict(zip(("network", "inputs", "targets"), problem, strict=True)) | change
    with pytest.raises(error, match=message):
        minimum_perturbation(**arguments)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_network_that_is_not_finite_is_refused(problem, value):
    network, inputs, targets = problem
    network.bias.data[0] = value
    with pytest.raises(ValueError, match="network must have finite"):
        minimum_perturbation(network, inputs, targets)


@pytest.mark.parametrize("seed", range(8))
def test_rows_of_very_different_lengths_are_solved_wherever_an_image_exists(seed):
    """Margins as a linear programme finds them: where one is clear there is an image, and the optimum is found."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(20, 30, generator=source, dtype=torch.float64)
    weight *= 10 ** (6 * torch.rand(20, 1, generator=source, dtype=torch.float64) - 3)
    inputs, network = torch.rand(20, 30, generator=source, dtype=torch.float64), linear(weight, None)
    for target in range(20):
        others = torch.arange(20) != target
        slopes = (weight[target] - weight[others]).numpy()
        slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
        best = scipy.optimize.linprog(
            [0] * 30 + [-1], np.hstack([-slopes, np.ones((19, 1))]), np.zeros(19), bounds=[(0, 1)] * 30 + [(None, None)]
        )
        if best.x[-1] > 0.05:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AlreadyTargetsWarning)
                found = minimum_perturbation(network, inputs[[target]], torch.tensor([target]))
            image = inputs[[target]] + found.perturbation
            assert (slopes @ image[0].numpy()).min() >= -1e-6


def test_complex_weights_are_refused():
    with pytest.raises(TypeError, match=r"real weights, not torch[.]complex64"):
        minimum_perturbation(nn.Linear(2, 2, dtype=torch.complex64).eval(), torch.rand(1, 2), torch.tensor([1]))
