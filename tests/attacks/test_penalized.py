"""The attack finds the nearest image of a class: exactly where that is known, else as near as SciPy's."""

import copy
import os
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from lib.attacks import exact, penalized
from lib.attacks.arguments import AlreadyTargetsWarning
from lib.attacks.asked import ProbabilitiesWarning
from lib.attacks.penalized import (
    AttackConfig,
    distortion,
    find_adversarial,
    find_nearest_adversarial,
    lead,
    random_targets,
)
from lib.data import dataset, mnist_files, sources
from lib.networks import mnist, training
from lib.solvers import lbfgs, scipy_lbfgsb

pytestmark = pytest.mark.numerical

NUM_CLASSES = 10
TOLERANCE = AttackConfig().tolerance


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(name: str, dataset: dataset.Dataset, num_iterations: int) -> nn.Module:
    spec = mnist.SPECS[name]
    network = mnist.build(spec, generator())
    config = training.TrainingConfig(max_iterations=num_iterations)
    training.fit(network, dataset.inputs, dataset.labels, spec.decay, config=config)
    return network.eval()


@pytest.fixture(scope="session")
def digits() -> dataset.Split:
    return sources.embedded()


@pytest.fixture(scope="session")
def softmax(digits):
    return trained("softmax 1e-4", digits.train, 60)


@pytest.fixture(scope="session")
def deep(digits):
    return trained("100-100-10", digits.train.take(600), 60)


@pytest.fixture(scope="session")
def images(digits):
    """50 test images and a wrong class for each."""
    test = digits.test.take(50)
    return test.inputs, random_targets(test.labels, NUM_CLASSES, generator(1))


@pytest.fixture(scope="session")
def softmax_attack(softmax, images):
    return find_adversarial(softmax, *images)


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype).eval()
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.requires_grad_(False)


def verify(network, inputs, targets, result):
    """What every result states about itself."""
    assert result.adversarial.shape == inputs.shape
    assert result.adversarial.dtype == result.distortion.dtype == inputs.dtype
    assert not result.adversarial.requires_grad
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()
    with torch.no_grad():
        assert torch.equal(result.success, network(result.adversarial).argmax(dim=1) == targets)
    length = (result.adversarial - inputs).flatten(1).double().square().mean(dim=1).sqrt()
    length[~result.success] = torch.inf
    torch.testing.assert_close(result.distortion.double(), length, rtol=1e-5, atol=1e-9)
    assert torch.equal(result.adversarial[~result.success], inputs[~result.success])
    assert not result.converged[~result.success].any()
    assert (result.num_evaluations >= 1).all()


# The pieces


def test_distortion_is_the_root_mean_square_difference():
    inputs = torch.zeros(2, 1, 2, 2)
    adversarial = torch.tensor([[1.0, 1, 1, 1], [0.0, 0, 0, 0.5]]).view(2, 1, 2, 2)
    assert distortion(adversarial, inputs).tolist() == [1.0, 0.25]


def test_penalized_loss_is_c_times_the_norm_plus_the_cross_entropy():
    logits = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    r = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    c = torch.tensor([2.0, 7.0])
    value = penalized.penalized_loss(logits, r.flatten(1).norm(dim=1), torch.tensor([1, 1]), c)
    torch.testing.assert_close(value, torch.tensor([10 + np.log(2), np.log1p(np.exp(3))]).float())


def test_lead_is_positive_exactly_where_the_network_says_the_target():
    logits = torch.tensor([[1.0, 4.0, 2.0]] * 3)
    assert lead(logits, torch.tensor([0, 1, 2])).tolist() == [-3.0, 2.0, -2.0]
    many = torch.randn(1000, 10, generator=generator())
    targets = torch.randint(10, (1000,), generator=generator(1))
    assert torch.equal(lead(many, targets) > 0, many.argmax(dim=1) == targets)


def test_random_targets_are_wrong_uniform_and_reproducible():
    labels = torch.arange(10).repeat(2000)
    targets = random_targets(labels, 10, generator(5))
    assert torch.equal(targets, random_targets(labels, 10, generator(5)))
    assert not torch.equal(targets, random_targets(labels, 10, generator(6)))
    assert targets.dtype == torch.int64
    assert (targets != labels).all()
    assert 0 <= targets.min() <= targets.max() < 10
    counts = torch.zeros(10, 10).index_put_((labels, targets), torch.ones(len(labels)), accumulate=True)
    observed = counts[~torch.eye(10, dtype=torch.bool)].numpy()
    assert scipy.stats.chisquare(observed).pvalue > 0.01
    assert torch.equal(random_targets(torch.tensor([0, 1, 1, 0]), 2, generator()), torch.tensor([1, 0, 0, 1]))


# The objective


def objectives_of(network, inputs, targets) -> list:
    """The inner problems that the search poses, with their starts."""
    posed = []

    def record(objective, start, *arguments):
        posed.append((objective, start.clone()))
        return lbfgs.minimize(objective, start, *arguments)

    find_adversarial(network, inputs, targets, minimize=record)
    return posed


def test_the_objective_is_the_papers_with_its_gradient(deep, images):
    """c|r| + loss with one c for each example; its gradient agrees with central differences."""
    network, x, targets = copy.deepcopy(deep).double(), images[0][:3].double(), images[1][:3]
    objective, _ = objectives_of(network, x, targets)[0]
    rows, source = torch.arange(3), generator(2)
    points = torch.rand(3, *x.shape, generator=source, dtype=torch.float64)
    c = []
    for point in points:
        value, gradient = objective(point, rows)
        loss = F.cross_entropy(network(point), targets, reduction="none").detach()
        c.append((value - loss) / (point - x).norm(dim=1))
        for direction in F.normalize(torch.randn(4, *x.shape, generator=source, dtype=torch.float64), dim=2):
            ahead, behind = (objective(point + h * direction, rows)[0] for h in (1e-5, -1e-5))
            torch.testing.assert_close((ahead - behind) / 2e-5, (gradient * direction).sum(dim=1), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(c[0], c[1])
    torch.testing.assert_close(c[0], c[2])
    assert (c[0] > 0).all()


def test_rows_of_the_objective_are_chosen_by_index(deep, images):
    objective, start = objectives_of(deep, *(v[:6] for v in images))[0]
    every, gradients = objective(start, torch.arange(len(start)))
    some = torch.tensor([4, 1])
    value, gradient = objective(start[some], some)
    torch.testing.assert_close(value, every[some], rtol=1e-6, atol=1e-6)  # float64 sums of float32 logits
    torch.testing.assert_close(gradient, gradients[some], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.999, 1.001, 5.0])
def test_at_zero_the_subgradient_leaves_the_shortest_whole(ratio):
    """|c u + g| over |u| <= 1 and the directions that the box allows is max(0, |descent| - c)."""
    source = generator(3)
    network = linear(torch.randn(4, 9, generator=source).double(), torch.zeros(4).double())
    inputs = torch.rand(5, 9, generator=source).double().round()
    inputs[:, ::3] = 0.5
    targets = torch.tensor([0, 1, 2, 3, 0])
    zero = torch.zeros(5, dtype=torch.float64)
    value, g, *_ = penalized._penalized(network, inputs, inputs, targets, zero, inputs.shape[1:])
    torch.testing.assert_close(value, F.cross_entropy(network(inputs), targets, reduction="none"))
    allowed = ~((inputs <= 0) & (g > 0) | (inputs >= 1) & (g < 0))
    assert not allowed.all()
    descent = torch.where(allowed, g, 0)
    c = ratio * descent.norm(dim=1)
    again, whole, *_ = penalized._penalized(network, inputs, inputs, targets, c, inputs.shape[1:])
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(torch.where(allowed, whole, 0), descent * max(0.0, 1 - ratio), rtol=1e-9, atol=1e-12)
    assert ((whole - g).norm(dim=1) <= c * (1 + 1e-12)).all()
    torch.testing.assert_close(whole[~allowed], g[~allowed])


# Where the answer is known


def test_an_input_of_the_target_class_is_its_own_answer(softmax, digits):
    inputs = digits.test.inputs[:40]
    targets = softmax(inputs).argmax(dim=1)
    with pytest.warns(AlreadyTargetsWarning, match="40 of 40"):
        result = find_adversarial(softmax, inputs, targets)
    verify(softmax, inputs, targets, result)
    assert result.success.all()
    assert result.converged.all()
    assert torch.equal(result.adversarial, inputs)
    assert not result.distortion.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distance_to_a_plane_is_reached(dtype):
    """Two classes and no bound in the way: |w.x + b| / |w|."""
    source, n = generator(4), 30
    weight = torch.randn(2, n, generator=source).to(dtype)
    inputs = (0.4 + 0.2 * torch.rand(40, n, generator=source)).to(dtype)
    network = linear(weight, -weight @ inputs.mean(dim=0))
    targets = 1 - network(inputs).argmax(dim=1)
    result = find_adversarial(network, inputs, targets)
    verify(network, inputs, targets, result)
    w = weight[1] - weight[0]
    exact = network(inputs).diff(dim=1)[:, 0].abs() / w.norm() / n**0.5
    assert result.success.all()
    assert result.converged.all()
    assert (result.distortion >= exact * (1 - 1e-5)).all()
    assert (result.distortion / exact).mean() <= 1 + TOLERANCE
    assert (result.distortion <= exact * (1 + 5 * TOLERANCE)).all()


def beside_a_plane(seed: int, scale: float) -> tuple:
    """A network of two classes with logits of this scale, 20 inputs on both sides of the plane, the other classes."""
    source, n = generator(seed), 30
    weight = torch.randn(2, n, generator=source, dtype=torch.float64) * scale
    inputs = 0.4 + 0.2 * torch.rand(20, n, generator=source, dtype=torch.float64)
    network = linear(weight, -weight @ inputs.mean(dim=0))
    return network, inputs, 1 - network(inputs).argmax(dim=1)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_the_scale_of_the_logits_hardly_matters_on_a_plane(scale):
    """One per cent is for the direction, which the inner solver leaves off by its tolerance: 0.2 % in any rounding."""
    network, inputs, targets = beside_a_plane(4, scale)
    weight, n = network.weight, inputs.shape[1]
    result = find_adversarial(network, inputs, targets)
    exact = network(inputs).diff(dim=1)[:, 0].abs() / (weight[1] - weight[0]).norm() / n**0.5
    assert result.success.all()
    assert (result.distortion <= 1.01 * exact).all()
    assert (result.distortion / exact).median() <= 1 + TOLERANCE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-3, 1e-2])
def test_no_shorter_multiple_succeeds_where_the_price_does_not_tell_the_length(scale, seed):
    """Logits so small that the loss is straight over |r|: at one price the minimiser is near 0 or far out, by rounding.

    Without the way back along r some were too long by several per cent, and called converged.
    """
    network, inputs, targets = beside_a_plane(4 + seed, scale)
    result = find_adversarial(network, inputs, targets)
    verify(network, inputs, targets, result)
    assert result.success.all()
    shorter = inputs + (1 - 3 * TOLERANCE) * (result.adversarial - inputs)
    assert (network(shorter).argmax(dim=1) != targets).all()


def assert_close_to_the_exact_optimum(network, inputs, targets, result):
    """The margin is the paper's own: cross-entropy's level sets are not the decision boundary."""
    optimum = exact.minimum_perturbation(network[0], inputs, targets).distortion.float()
    verify(network, inputs, targets, result)
    assert result.success.all()
    assert (result.distortion >= optimum * (1 - 1e-4) - 1e-6).all()
    assert result.distortion.mean() <= 1.03 * optimum.mean()


def test_softmax_attack_is_close_to_the_exact_optimum(softmax, images, softmax_attack):
    assert_close_to_the_exact_optimum(softmax, *images, softmax_attack)


@pytest.mark.skipif("DATA_DIR" not in os.environ, reason="no DATA_DIR with MNIST")
def test_softmax_attack_on_mnist_is_close_to_the_exact_optimum():
    split = mnist_files.mnist()
    network = trained("softmax 1e-4", split.train.take(5000), 60)
    test = split.test.take(50)
    targets = random_targets(test.labels, NUM_CLASSES, generator(1))
    result = find_adversarial(network, test.inputs, targets)
    assert_close_to_the_exact_optimum(network, test.inputs, targets, result)


@pytest.mark.parametrize(("name", "rows"), [("softmax", 25), ("deep", 15)])
def test_as_near_as_with_scipys_solver(name, rows, images, request):
    """The same search with L-BFGS-B, one image at a time."""
    network, (inputs, targets) = request.getfixturevalue(name), (v[:rows] for v in images)
    ours = find_adversarial(network, inputs, targets)
    scipys = find_adversarial(network, inputs, targets, minimize=scipy_lbfgsb.minimize)
    for result in (ours, scipys):
        verify(network, inputs, targets, result)
        assert result.success.all()
    assert ours.distortion.mean() <= 1.002 * scipys.distortion.mean()


def test_the_search_over_c_takes_few_gradients(softmax_attack):
    """Sixteen, where a search that aims badly finds the same and takes a third more."""
    assert softmax_attack.num_evaluations.double().mean() < 18


def test_deep_attack_succeeds_everywhere(deep, images):
    result = find_adversarial(deep, *images)
    verify(deep, *images, result)
    assert result.success.all()
    assert result.converged.float().mean() >= 0.95


def test_no_shorter_multiple_of_the_perturbation_succeeds_on_a_linear_network(softmax, images, softmax_attack):
    """The segment to the answer crosses the boundary at its end: one per cent less fails."""
    inputs, targets = images
    attacked = softmax(inputs).argmax(dim=1) != targets
    shorter = inputs + 0.99 * (softmax_attack.adversarial - inputs)
    assert (softmax(shorter).argmax(dim=1) != targets)[attacked].all()


def test_a_tighter_tolerance_is_never_much_longer(softmax, images):
    """On the mean not at all; one image by its own tolerance, where the looser search was lucky on its way."""
    tolerances = (1e-1, 1e-2, 1e-3, 1e-4)
    results = [find_adversarial(softmax, *images, AttackConfig(tolerance=t)) for t in tolerances]
    for (loose, tight), tolerance in zip(pairwise(results), tolerances[1:], strict=True):
        assert (tight.distortion <= loose.distortion * (1 + max(tolerance, 1e-3))).all()
        assert tight.distortion.mean() <= loose.distortion.mean() * (1 + 1e-4)
        assert tight.num_evaluations.sum() >= loose.num_evaluations.sum()


# Every example by itself


@pytest.mark.parametrize("name", ["softmax", "deep"])
def test_chunks_neighbours_and_order_do_not_matter(name, images, request):
    """In float64; a batch of another size rounds differently, and the search stops at a relative tolerance."""
    network = copy.deepcopy(request.getfixturevalue(name)).double()
    inputs, targets = images[0][:16].double(), images[1][:16]
    whole = find_adversarial(network, inputs, targets)
    order = torch.randperm(16, generator=generator(9))
    permuted = find_adversarial(network, inputs[order], targets[order])
    chunked = find_adversarial(network, inputs, targets, AttackConfig(chunk_size=7))
    alone = find_adversarial(network, inputs[5:6], targets[5:6])
    for rows, other in ((order, permuted), (slice(None), chunked), (slice(5, 6), alone)):
        change = (other.distortion / whole.distortion[rows] - 1).abs()
        assert (change[other.converged & whole.converged[rows]] <= TOLERANCE).all()
        assert (change <= 0.02).all()  # a search out of budget returns the shortest success that its path came across
        assert torch.equal(other.success, whole.success[rows])
    assert whole.converged.float().mean() >= 0.9
    close = torch.isclose(chunked.distortion, whole.distortion, rtol=1e-6, atol=0)
    assert close.float().mean() >= 0.9  # the rest stopped one step of the search earlier or later


def test_a_neighbour_without_answer_changes_nothing(images):
    """Rows for which the target is never reached, in the same batch."""
    source = generator(12)
    weight = torch.randn(3, 784, generator=source, dtype=torch.float64)
    weight[2] = weight[0]
    network = linear(weight, torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64))
    inputs = images[0][:12].double()
    targets = 1 - network(inputs).argmax(dim=1)
    mixed = targets.clone()
    mixed[::2] = 2
    result, without = find_adversarial(network, inputs, mixed), find_adversarial(network, inputs, targets)
    verify(network, inputs, mixed, result)
    assert without.success.all()
    assert result.success.tolist() == [False, True] * 6
    torch.testing.assert_close(result.distortion[1::2], without.distortion[1::2], rtol=TOLERANCE, atol=0)


def test_images_keep_their_shape(softmax, images):
    """(N, 1, 28, 28) gives what (N, 784) gives, and in the same bits: the network multiplies the same matrices."""
    inputs, targets = images[0][:12], images[1][:12]
    flat = find_adversarial(softmax, inputs, targets)
    square = inputs.view(-1, 1, 28, 28)
    network = nn.Sequential(nn.Flatten(), softmax).eval()
    shaped = find_adversarial(network, square, targets)
    verify(network, square, targets, shaped)
    assert torch.equal(shaped.adversarial.flatten(1), flat.adversarial)
    assert torch.equal(shaped.distortion, flat.distortion)


def test_inputs_parameters_and_their_gradients_are_left_alone(images):
    network = mnist.build(mnist.SPECS["softmax 1e-4"], generator(3))
    before = copy.deepcopy(network.state_dict())
    inputs, targets = images[0][:5].clone(), images[1][:5].clone()
    find_adversarial(network, inputs, targets)
    assert torch.equal(inputs, images[0][:5])
    assert torch.equal(targets, images[1][:5])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


# Untargeted and fixed targets


def test_untargeted_is_the_minimum_of_all_targeted(softmax, digits):
    inputs, labels = digits.test.inputs[:8], digits.test.labels[:8]
    nearest = find_nearest_adversarial(softmax, inputs, labels)
    targeted = torch.full((8, NUM_CLASSES), torch.inf)
    for k in range(NUM_CLASSES):
        rows = labels != k
        found = find_adversarial(softmax, inputs[rows], torch.full((int(rows.sum()),), k))
        targeted[rows, k] = torch.where(found.success, found.distortion, torch.inf)
    torch.testing.assert_close(nearest.distortion, targeted.min(dim=1).values, rtol=TOLERANCE, atol=1e-7)
    assert nearest.success.all()
    assert (softmax(nearest.adversarial).argmax(dim=1) != labels).all()


def test_untargeted_on_a_misclassified_image_is_that_image(softmax, digits):
    inputs = digits.test.inputs[:5]
    wrong = (softmax(inputs).argmax(dim=1) + 1) % NUM_CLASSES
    result = find_nearest_adversarial(softmax, inputs, wrong)
    assert torch.equal(result.adversarial, inputs)
    assert result.success.all()
    assert not result.distortion.any()


def test_one_fixed_target_for_all(softmax, digits):
    inputs, targets = digits.test.inputs[:20], torch.full((20,), 8)
    result = find_adversarial(softmax, inputs, targets)
    verify(softmax, inputs, targets, result)
    assert result.success.all()
    assert (softmax(result.adversarial).argmax(dim=1) == 8).all()


# Failure, said so


def assert_reported_as_failure(result, inputs):
    assert not result.success.any()
    assert not result.converged.any()
    assert torch.equal(result.adversarial, inputs)
    assert result.distortion.isinf().all()
    assert torch.isnan(result.c).all()


def test_a_class_that_is_never_given_is_reported():
    weight = torch.randn(3, 20, generator=generator(1))
    weight[2] = weight[0]
    network = linear(weight, torch.tensor([0.0, 0.0, -1.0]))
    inputs = torch.rand(6, 20, generator=generator(2))
    result = find_adversarial(network, inputs, torch.full((6,), 2))
    verify(network, inputs, torch.full((6,), 2), result)
    assert_reported_as_failure(result, inputs)


def test_a_saturated_network_is_reported():
    """No gradient to follow, anywhere: neither a crash nor a nan nor an endless search."""

    class Saturated(nn.Module):
        def forward(self, x):
            return torch.stack([torch.sigmoid(200 + x.sum(dim=1)), torch.sigmoid(-200 - x.sum(dim=1))], dim=1)

    network, inputs = Saturated().eval(), torch.rand(4, 10, generator=generator())
    targets = torch.ones(4, dtype=torch.int64)
    with pytest.warns(ProbabilitiesWarning):  # 1 and 0, to the last bit
        result = find_adversarial(network, inputs, targets)
    verify(network, inputs, targets, result)
    assert_reported_as_failure(result, inputs)
    assert result.num_evaluations.max() <= 100


def test_a_search_cut_short_keeps_what_it_found(softmax, images):
    result = find_adversarial(softmax, *images, AttackConfig(max_searches=1))
    verify(softmax, *images, result)
    assert not result.converged.all()
    assert result.success[result.converged].all()


def test_an_inner_solver_that_fails_is_survived(softmax, images):
    """One trial point for each c: worse answers, but verified ones."""
    config = AttackConfig(solver=lbfgs.LBFGSConfig(max_iterations=1))
    result = find_adversarial(softmax, *images, config)
    verify(softmax, *images, result)


# What it refuses


class NotFinite(nn.Module):
    def forward(self, x):
        return torch.stack([x[:, 0], x[:, 0] / 0], dim=1)


@pytest.mark.parametrize("target", [0, 1])
def test_logits_that_all_tie_are_survived_and_neighbours_with_them(target):
    """A black image before a network without biases: no lead, no rounding to allow for."""
    source = generator(6)
    network = nn.Linear(20, 3, bias=False).requires_grad_(False).eval()
    network.weight.copy_(torch.randn(3, 20, generator=source))
    inputs = torch.rand(5, 20, generator=source)
    inputs[0] = 0
    targets = torch.tensor([target, *(network(inputs[1:]).argmax(dim=1) + 1) % 3])
    result = find_adversarial(network, inputs, targets)
    verify(network, inputs, targets, result)
    alone = find_adversarial(network, inputs[1:], targets[1:])
    torch.testing.assert_close(result.distortion[1:], alone.distortion, rtol=TOLERANCE, atol=1e-7)
    assert result.distortion[0] < 1e-3


def test_gradients_are_taken_also_where_the_caller_has_switched_them_off(softmax, images):
    inputs, targets = images[0][:3], images[1][:3]
    with torch.no_grad():
        result = find_adversarial(softmax, inputs, targets)
    assert torch.equal(result.adversarial, find_adversarial(softmax, inputs, targets).adversarial)


def refusals():
    inputs, targets = torch.full((3, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    network = linear(torch.eye(4), torch.zeros(4))
    outside, missing = inputs.clone(), inputs.clone()
    outside[1, 2], missing[1, 2] = 1.001, torch.nan
    return {
        "training mode": (copy.deepcopy(network).train(), inputs, targets, "training mode"),
        "above 1": (network, outside, targets, r"\[0, 1\]"),
        "below 0": (network, inputs - 0.6, targets, r"\[0, 1\]"),
        "nan": (network, missing, targets, r"\[0, 1\]"),
        "bytes": (network, torch.ones(3, 4, dtype=torch.uint8), targets, "floating"),
        "no class": (network, inputs, targets + 4, "classes 0 to 3"),
        "negative class": (network, inputs, targets - 1, "classes 0 to 3"),
        "fractional class": (network, inputs, targets.float(), "int64"),
        "too few targets": (network, inputs, targets[:2], "targets"),
        "one-hot targets": (network, inputs, F.one_hot(targets, 4), "targets"),
        "nothing": (network, inputs[:0], targets[:0], "N >= 1"),
        "not finite": (NotFinite().eval(), inputs, targets, "not finite"),
    }


@pytest.mark.parametrize("case", refusals())
def test_bad_arguments_are_refused(case):
    network, inputs, targets, message = refusals()[case]
    with pytest.raises(ValueError, match=message):
        find_adversarial(network, inputs, targets)


@pytest.mark.parametrize("label", [-1, 4])
def test_untargeted_refuses_labels_that_are_no_classes(label):
    network = linear(torch.eye(4), torch.zeros(4))
    with pytest.raises(ValueError, match="classes 0 to 3"):
        find_nearest_adversarial(network, torch.full((2, 4), 0.5), torch.tensor([0, label]))


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["softmax", "deep"])
def test_gpu_equals_cpu(name, images, request):
    network, (inputs, targets) = request.getfixturevalue(name), images
    cpu = find_adversarial(network, inputs, targets)
    on_gpu = copy.deepcopy(network).cuda()
    gpu = find_adversarial(on_gpu, inputs.cuda(), targets.cuda())
    assert gpu.adversarial.is_cuda
    verify(on_gpu, inputs.cuda(), targets.cuda(), gpu)
    assert torch.equal(gpu.success.cpu(), cpu.success)
    torch.testing.assert_close(gpu.distortion.mean().cpu(), cpu.distortion.mean(), rtol=TOLERANCE, atol=0)


def test_a_distortion_whose_square_is_no_number_is_one_all_the_same():
    inputs = torch.zeros(2, 4)
    adversarial = torch.tensor([[1e-30, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(penalized.distortion(adversarial, inputs), torch.tensor([0.5e-30, 0]), rtol=1e-5, atol=0)


# --- Another batch --------------------------------------------------------------------------------


class RoundedByBatch(nn.Module):
    """A network whose logits for targets fall by `step` in batches of other than `usual` images: large terms cancel."""

    def __init__(self, network: nn.Module, targets: torch.Tensor, usual: int, step: float):
        super().__init__()
        self.network, self.targets, self.usual, self.step = network, targets, usual, step

    def forward(self, images):
        logits = self.network(images)
        if len(images) == self.usual:
            return logits
        return logits - self.step * F.one_hot(self.targets[: len(images)], logits.shape[1])


@pytest.mark.parametrize("step", [1e-5, 1e-4])
def test_what_another_batch_takes_back_goes_a_little_further(step):
    source = generator(3)
    plane = nn.Linear(20, 3).eval().requires_grad_(False)
    plane.weight.copy_(torch.randn(3, 20, generator=source))
    inputs = torch.rand(6, 20, generator=source)
    plane.bias -= plane(inputs).mean(dim=0)
    targets = plane(inputs).topk(2).indices[:, 1]
    shortest = exact.minimum_perturbation(plane, inputs, targets).perturbation.float()
    images = (inputs + (1 + 1e-6) * shortest).clamp(0, 1)
    rounded = RoundedByBatch(plane, targets, usual=len(images) + 1, step=step)
    assert not penalized.verified(rounded, inputs, images, targets)[2].any()
    adversarial, length, success = penalized.confirmed(rounded, inputs, images, targets)
    assert success.all()
    assert (length <= 1.02 * penalized.distortion(images, inputs)).all()
    assert penalized.says(rounded(adversarial), targets).all()
    assert penalized.says(rounded(adversarial[:1]), targets[:1]).all()  # in a third batch, too


def test_what_no_step_brings_back_is_given_up():
    plane = nn.Linear(20, 3).eval().requires_grad_(False)
    inputs, targets = torch.rand(4, 20, generator=generator()), torch.zeros(4, dtype=torch.long)
    never = RoundedByBatch(plane, targets, usual=0, step=1e3)
    adversarial, length, success = penalized.confirmed(never, inputs, inputs.flip(0), targets)
    assert not success.any()
    assert torch.equal(adversarial, inputs)
    assert length.isinf().all()
