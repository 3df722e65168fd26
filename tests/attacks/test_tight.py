"""The tight attack ends where the boundary is nearest: known points, exact optima, another solver's local minima."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from lib.attacks import exact, penalized
from lib.attacks.arguments import AlreadyTargetsWarning
from lib.attacks.penalized import AttackConfig, random_targets
from lib.attacks.tight import TightConfig, find_adversarial, tighten
from lib.data import dataset, sources
from lib.networks import mnist, training
from lib.solvers import quadratic

pytestmark = pytest.mark.numerical


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> dataset.Split:
    return sources.embedded()


def trained(name: str, digits: dataset.Split) -> nn.Module:
    spec = mnist.SPECS[name]
    network = mnist.build(spec, generator())
    config = training.TrainingConfig(max_iterations=60)
    training.fit(network, digits.train.inputs, digits.train.labels, spec.decay, config=config)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def softmax(digits):
    return trained("softmax 1e-2", digits)


@pytest.fixture(scope="module")
def deep(digits):
    return trained("100-100-10", digits)


@pytest.fixture(scope="module")
def images(digits):
    few = digits.test.take(40)
    return few.inputs, random_targets(few.labels, dataset.NUM_CLASSES, generator(1))


def verify(network, inputs, targets, result, start=None):
    """What the result says of itself."""
    adversarial = result.adversarial
    assert ((adversarial >= 0) & (adversarial <= 1)).all()
    assert torch.equal(result.success, network(adversarial).argmax(dim=1) == targets)
    length = penalized.distortion(adversarial, inputs).masked_fill(~result.success, torch.inf)
    torch.testing.assert_close(result.distortion, length)
    assert torch.equal(adversarial[~result.success], inputs[~result.success])
    assert torch.isfinite(result.residual[result.success]).all()
    if start is not None:
        assert (result.distortion <= start.distortion * (1 + 1e-6)).all()


class OnePlane(nn.Module):
    """Two classes whose lead is `height(x)`."""

    def __init__(self, height):
        super().__init__()
        self.height = height

    def forward(self, x):
        height = self.height(x)
        return torch.stack([torch.zeros_like(height), height], dim=1)


def test_on_a_linear_network_it_is_the_exact_optimum(softmax, images):
    inputs, targets = images
    result = find_adversarial(softmax, inputs, targets)
    verify(softmax, inputs, targets, result)
    assert result.success.all()
    optimum = exact.minimum_perturbation(softmax[0], inputs, targets).distortion.float()
    torch.testing.assert_close(result.distortion, optimum, rtol=3e-4, atol=1e-7)
    assert (result.residual <= TightConfig().tolerance).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_distance_to_a_sphere_is_reached_from_inside_and_from_outside(sign, dtype):
    """Everything is inside the box, so the nearest point of the sphere lies on the line through its centre."""
    n, radius = 30, 0.6
    centre = torch.full((n,), 0.5, dtype=dtype)
    direction = nn.functional.normalize(torch.randn(8, n, generator=generator(), dtype=dtype), dim=1)
    away = radius - sign * torch.linspace(0.05, 0.2, 8, dtype=dtype)
    inputs = centre + away[:, None] * direction
    network = OnePlane(lambda x: sign * ((x - centre).square().sum(dim=1) - radius**2)).eval()
    result = find_adversarial(network, inputs, torch.ones(8, dtype=torch.int64))
    assert result.success.all()
    assert (result.residual <= TightConfig().tolerance).all()
    torch.testing.assert_close((result.adversarial - inputs).norm(dim=1), (away - radius).abs(), rtol=3e-4, atol=0)


@pytest.fixture(scope="module")
def conv(digits):
    """A network of rectified units and max pooling."""
    network = mnist.build(mnist.SPECS["Conv"], generator())
    few = digits.train.take(600)
    training.fit_minibatches(network, few.inputs, few.labels, training.MinibatchConfig(num_epochs=4), seed=0)
    return network.eval().requires_grad_(False)


def test_the_smoothed_descent_gets_over_kinks(conv, images):
    inputs, targets = images[0][:12], images[1][:12]
    start = penalized.find_adversarial(conv, inputs, targets)
    smoothed = tighten(conv, inputs, targets, start.adversarial)
    alone = tighten(conv, inputs, targets, start.adversarial, replace(TightConfig(), num_descents=0))
    verify(conv, inputs, targets, smoothed, start)
    assert (smoothed.distortion <= alone.distortion).all()
    assert smoothed.distortion.mean() < 0.99 * alone.distortion.mean()
    once = tighten(conv, inputs, targets, start.adversarial, replace(TightConfig(), num_descents=1))
    assert (smoothed.distortion <= once.distortion).all()
    assert (smoothed.num_evaluations == once.num_evaluations + TightConfig().num_smoothed).all()
    # In other directions and from a coarser start it ends about as near.
    elsewhere = find_adversarial(conv, inputs, targets, replace(TightConfig(), seed=1))
    torch.testing.assert_close(elsewhere.distortion.mean(), smoothed.distortion.mean(), rtol=5e-3, atol=0)


def test_an_edge_between_planes_is_reached():
    """A lead that is the least of four linear functions has the known nearest point of a polyhedron."""
    source, n, k = generator(1), 30, 4
    normals = nn.functional.normalize(torch.randn(k, n, generator=source, dtype=torch.float64), dim=1)
    normals += 0.5 * nn.functional.normalize(torch.randn(n, generator=source, dtype=torch.float64), dim=0)
    inputs = 0.5 + 0.05 * torch.randn(12, n, generator=source, dtype=torch.float64)
    offset = (inputs @ normals.T).max() + 0.2
    slopes, bounds = normals.expand(12, k, n).clone(), offset - inputs @ normals.T
    nearest = quadratic.project(slopes, bounds, -inputs, 1 - inputs).distortion
    network = OnePlane(lambda x: (x @ normals.T - offset).amin(dim=1)).eval()
    result = find_adversarial(network, inputs, torch.ones(12, dtype=torch.int64))
    assert result.success.all()
    assert (result.distortion >= nearest).all()
    assert (result.distortion <= 1.004 * nearest).all()


def test_classes_that_were_no_rivals_are_met(images):
    """Where all nine other classes tie, with no more than five rivals at first; a linear network's exact optimum."""
    inputs, source = images[0][:12], generator(2)
    linear = nn.Linear(784, 10).requires_grad_(False)
    linear.weight.normal_(std=0.05, generator=source)
    linear.bias.zero_()
    linear.bias -= linear(inputs).mean(dim=0)
    targets = linear(inputs).argmin(dim=1)
    few = find_adversarial(linear.eval(), inputs, targets, replace(TightConfig(), num_rivals=5))
    optimum = exact.minimum_perturbation(linear, inputs, targets).distortion.float()
    torch.testing.assert_close(few.distortion, optimum, rtol=3e-4, atol=1e-7)
    assert (few.num_evaluations < TightConfig().num_smoothed).all()


def test_no_further_than_another_solvers_local_minimum():
    """SLSQP from the same start on small sigmoid networks, in float64."""
    source = generator(3)
    network = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3)).double().eval()
    for weight in network.parameters():
        nn.init.normal_(weight, std=3, generator=source)
    network.requires_grad_(False)
    inputs = torch.rand(12, 6, generator=source, dtype=torch.float64)
    network[-1].bias -= network(inputs).mean(dim=0)  # all classes are about as likely, and boundaries near
    targets = network(inputs).topk(2).indices[:, 1]
    start = penalized.find_adversarial(network, inputs, targets, AttackConfig())
    assert (start.distortion > 0).all()
    result = tighten(network, inputs, targets, start.adversarial)
    verify(network, inputs, targets, result, start)
    assert start.success.sum() >= 6
    for i in start.success.nonzero()[:, 0].tolist():
        x, t = inputs[i].numpy(), int(targets[i])

        def margins(y, t=t):
            z = network(torch.tensor(y)[None])[0].numpy()
            return np.delete(z[t] - z, t)

        found = scipy.optimize.minimize(
            lambda y, x=x: (y - x) @ (y - x), start.adversarial[i].numpy(), jac=lambda y, x=x: 2 * (y - x),
            bounds=[(0, 1)] * 6, constraints={"type": "ineq", "fun": margins}, method="SLSQP", tol=1e-12,
        )  # fmt: skip
        assert found.success
        assert (result.adversarial[i] - inputs[i]).norm() <= 1.001 * found.fun**0.5


def test_shorter_than_the_papers_attack_and_nearly_always_stationary(deep, images):
    inputs, targets = images
    start = penalized.find_adversarial(deep, inputs, targets)
    result = tighten(deep, inputs, targets, start.adversarial)
    verify(deep, inputs, targets, result, start)
    assert result.success.all()
    assert result.distortion.mean() < start.distortion.mean()
    assert (result.residual <= TightConfig().tolerance).double().mean() >= 0.8
    both = find_adversarial(deep, inputs, targets)
    assert both.distortion.mean() <= 1.002 * result.distortion.mean()  # from a coarser start
    assert both.num_evaluations.double().mean() > result.num_evaluations.double().mean()


@pytest.mark.parametrize(("name", "rtol"), [("softmax", 1e-6), ("deep", 1e-6), ("conv", 0.05)])
def test_chunks_neighbours_and_order_do_not_matter(name, rtol, images, request):
    """On kinks a rounding, where a processor's products hang on the batch, may lead into another pit, as near."""
    network, (inputs, targets) = copy.deepcopy(request.getfixturevalue(name)).double(), images
    inputs = inputs[:12].double()
    start = penalized.find_adversarial(network, inputs, targets[:12]).adversarial
    config = TightConfig(num_smoothed=30)
    whole = tighten(network, inputs, targets[:12], start, config)
    pieces = tighten(network, inputs, targets[:12], start, replace(config, chunk_size=5))
    back = tighten(network, inputs.flip(0), targets[:12].flip(0), start.flip(0), config)
    torch.testing.assert_close(pieces.distortion, whole.distortion, rtol=rtol, atol=0)
    torch.testing.assert_close(back.distortion.flip(0), whole.distortion, rtol=rtol, atol=0)


def test_images_keep_their_shape(softmax, images):
    inputs, targets = images
    network = nn.Sequential(nn.Flatten(), softmax).eval()
    result = find_adversarial(network, inputs[:4].view(-1, 1, 28, 28), targets[:4])
    assert result.adversarial.shape == (4, 1, 28, 28)
    flat = find_adversarial(softmax, inputs[:4], targets[:4])
    torch.testing.assert_close(result.distortion, flat.distortion, rtol=1e-5, atol=0)


def test_what_needs_no_change_or_never_succeeded_is_left_alone(softmax, images):
    inputs, targets = images[0][:6], images[1][:6].clone()
    targets[:3] = softmax(inputs[:3]).argmax(dim=1)
    result = tighten(softmax, inputs, targets, inputs)
    assert torch.equal(result.adversarial, inputs)
    assert result.success.tolist() == [True] * 3 + [False] * 3
    assert result.residual.tolist() == [0.0] * 3 + [torch.inf] * 3
    assert (result.num_evaluations == 0).all()


def test_an_input_of_the_target_class_is_its_own_nearest_image(softmax, images):
    inputs = images[0][:4]
    targets = softmax(inputs).argmax(dim=1)
    start = (inputs + 1e-3).clamp(0, 1)
    with pytest.warns(AlreadyTargetsWarning, match="4 of 4"):
        result = tighten(softmax, inputs, targets, start)
    assert torch.equal(result.adversarial, inputs)
    assert result.residual.tolist() == result.distortion.tolist() == [0.0] * 4


def test_gradients_are_taken_also_where_the_caller_has_switched_them_off(deep, images):
    inputs, targets = images[0][:3], images[1][:3]
    with torch.no_grad():
        result = find_adversarial(deep, inputs, targets)
        assert torch.equal(result.adversarial, find_adversarial(deep, inputs, targets).adversarial)
    assert result.success.all()


def test_arguments_and_parameters_are_left_alone(deep, images):
    inputs, targets = images[0][:5].clone(), images[1][:5]
    start = penalized.find_adversarial(deep, inputs, targets).adversarial
    kept, before = start.clone(), [p.clone() for p in deep.parameters()]
    tighten(deep, inputs, targets, start)
    assert torch.equal(start, kept)
    assert torch.equal(inputs, images[0][:5])
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(deep.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("adversarial", "message"), [(torch.full((2, 784), 1.5), r"\[0, 1\]"), (torch.zeros(1, 784), "shape")]
)
def test_bad_starts_are_refused(softmax, adversarial, message):
    with pytest.raises(ValueError, match=message):
        tighten(softmax, torch.zeros(2, 784), torch.tensor([1, 2]), adversarial)


def test_bad_arguments_are_refused_as_by_the_papers_attack(softmax):
    with pytest.raises(ValueError, match="targets must be classes"):
        tighten(softmax, torch.zeros(2, 784), torch.tensor([1, 10]), torch.zeros(2, 784))


@pytest.mark.gpu
def test_gpu_equals_cpu(deep, images):
    inputs, targets = images
    start = penalized.find_adversarial(deep, inputs, targets).adversarial
    cpu = tighten(deep, inputs, targets, start)
    gpu = tighten(deep.cuda(), inputs.cuda(), targets.cuda(), start.cuda())
    deep.cpu()
    assert gpu.adversarial.is_cuda
    torch.testing.assert_close(gpu.distortion.cpu(), cpu.distortion, rtol=1e-3, atol=0)
