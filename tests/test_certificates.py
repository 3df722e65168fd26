"""Certificates hold: against exact optima, brute force, random images, and every adversarial example found."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib import attack, certificates, data, exact, tight, training
from lib.certificates import AVERAGED, ENCLOSED, PAIRS, PRODUCT, SLOPES
from lib.models import mnist
from lib.training import DecayRule, TrainingConfig

pytestmark = pytest.mark.numerical


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sigmoid_network(*sizes: int, scale: float = 3.0, seed: int = 0) -> nn.Sequential:
    """In float64, with weights large enough that its sigmoids bend."""
    network = mnist.sigmoid_network(sizes, generator(seed)).double()
    for parameter in network.parameters():
        parameter.data.mul_(scale).add_(0.1 * torch.randn(parameter.shape, generator=generator(seed + 1)))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    return torch.rand(40, 784, generator=generator(5))


@pytest.fixture(scope="module")
def targets() -> torch.Tensor:
    return torch.randint(0, 10, (40,), generator=generator(6))


# --- Chains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", mnist.SPECS)
@torch.no_grad()
def test_a_chain_computes_what_its_network_computes(name, inputs):
    network = mnist.build(mnist.SPECS[name], generator())
    layers = certificates.as_layers(network)
    torch.testing.assert_close(layers(inputs.double()), network(inputs).double(), rtol=1e-4, atol=1e-5)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


# --- Linear networks: the certificate is exact ----------------------------------------------------


@pytest.fixture(scope="module")
def linear() -> nn.Linear:
    return sigmoid_network(784, 10, scale=1.0)[0]


def certified(network: nn.Module, inputs, targets, num_enclosed: int = 100) -> dict[str, torch.Tensor]:
    layers = certificates.as_layers(network if isinstance(network, nn.Sequential) else nn.Sequential(network))
    constants = certificates.lipschitz_constants(layers, inputs[:1].double())
    return certificates.certify(layers, constants, inputs, targets, num_enclosed)


def test_without_a_box_the_nearest_boundary_of_a_linear_network_is_where_its_certificate_ends(linear, inputs):
    """Over all wrong classes: the shortest exact perturbation, free to leave [0, 1], is as long as the certificate."""
    x, weight = inputs.double(), linear.weight
    logits = linear(x)
    ends, shortest = [], []
    for shift in range(1, 10):
        targets = (logits.argmax(dim=1) + shift) % 10
        ends.append(certified(linear, inputs, targets)[PAIRS])
        rivals = (targets[:, None] + torch.arange(1, 10)) % 10
        slopes = weight[targets][:, None] - weight[rivals]
        bounds = logits.gather(1, rivals) - logits.gather(1, targets[:, None])
        free = torch.full_like(x, 1e6)
        shortest.append(exact.project(slopes, bounds, -free, free).perturbation.norm(dim=1))
    ends, shortest = torch.stack(ends), torch.stack(shortest)
    assert (ends <= shortest * (1 + 1e-7)).all()
    torch.testing.assert_close(ends.amin(dim=0), shortest.amin(dim=0), rtol=1e-7, atol=1e-9)


def test_in_the_box_the_exact_optimum_of_a_linear_network_lies_beyond_its_certificate(linear, inputs, targets):
    optimum = exact.minimum_perturbation(linear, inputs, targets).perturbation.norm(dim=1)
    for kind, distance in certified(linear, inputs, targets).items():
        assert (distance <= optimum * (1 + 1e-9)).all(), kind


def test_a_certificate_by_hand():
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 5.0]])
    constants = torch.tensor([[0.0, 1.0, 8.0], [1.0, 0.0, 2.0], [8.0, 2.0, 0.0]])
    assert certificates.certified_distance(logits, torch.tensor([1, 2]), constants).tolist() == pytest.approx([2, 0])
    assert certificates.certified_distance(logits, torch.tensor([2, 0]), constants).tolist() == pytest.approx([0.5, 1])


def test_rounding_makes_certificates_shorter_and_never_longer():
    logits, constants = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)
    (distance,) = certificates.certified_distance(logits, torch.tensor([1]), constants).tolist()
    assert 1 - 1e-8 < distance < 1 - 1e-10


def test_orders_of_magnitude_by_hand():
    distances = torch.tensor([1.0, 0.0, torch.nan, 0.5, 0.5], dtype=torch.float64)
    lengths = torch.tensor([100.0, 1.0, 1.0, 5.0, torch.inf], dtype=torch.float64)
    orders = certificates.orders_short(distances, lengths)
    torch.testing.assert_close(orders, torch.tensor([2.0, 1.0], dtype=torch.float64))


def test_the_largest_share_by_hand():
    distances = torch.tensor([1.0, 0.0, torch.nan, 0.5, 3.0], dtype=torch.float64)
    lengths = torch.tensor([4.0, 0.0, 1.0, 0.8, torch.inf], dtype=torch.float64)
    assert certificates.largest_share(distances, lengths)[::3] == (0.625, 4)
    too_far = certificates.largest_share(torch.tensor([2.0]), torch.tensor([0.0]))
    assert too_far.value == torch.inf


# --- Constants ------------------------------------------------------------------------------------

SIZES = [(20, 7, 4), (20, 12, 9, 4), (20, 8, 8, 8, 4)]


@pytest.mark.parametrize("sizes", SIZES)
def test_kinds_come_from_crude_to_sharp(sizes):
    network = sigmoid_network(*sizes)
    constants = certificates.lipschitz_constants(network, torch.zeros(1, 20, dtype=torch.float64))
    assert list(constants) == [PRODUCT, SLOPES, PAIRS, AVERAGED]
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    for cruder, sharper in itertools.pairwise(constants.values()):
        assert (sharper[off_diagonal] <= cruder[off_diagonal] * (1 + 1e-9)).all()
        torch.testing.assert_close(sharper, sharper.T)


@pytest.mark.parametrize("sizes", SIZES)
def test_no_difference_of_logits_changes_faster_than_its_constant(sizes):
    network, source = sigmoid_network(*sizes), generator(3)
    constants = certificates.lipschitz_constants(network, torch.zeros(1, 20, dtype=torch.float64))
    x = torch.randn(500, 20, generator=source, dtype=torch.float64)
    y = x + torch.randn(500, 20, generator=source, dtype=torch.float64) * 10 ** torch.linspace(-3, 1, 500)[:, None]
    change = network(x) - network(y)
    stretch = (change[:, :, None] - change[:, None]).abs() / (x - y).norm(dim=1)[:, None, None]
    first, second = torch.randint(0, 4, (2, 500), generator=source)
    slopes = certificates.slopes(network, x, first, second)
    for kind, constant in constants.items():
        assert (stretch.amax(dim=0) <= constant * (1 + 1e-9)).all(), kind
        assert (slopes <= constant[first, second] * (1 + 1e-9)).all(), kind


def test_averaged_slopes_bound_what_trying_all_slopes_finds():
    """One hidden layer of 8: the gradient is longest for slopes at 0 or 1/4, and there are 2^8 of these."""
    network = sigmoid_network(20, 8, 4)
    into, out = network[0].weight, network[2].weight
    corners = torch.tensor(list(itertools.product([0, 0.25], repeat=8)), dtype=torch.float64)
    differences = out[:, None] - out
    longest = torch.stack([(differences * corner @ into).norm(dim=2) for corner in corners]).amax(dim=0)
    averaged = certificates.averaged_constants([into, out])
    assert (longest <= averaged * (1 + 1e-9)).all()
    product = certificates.pair_norms(out) * torch.linalg.matrix_norm(into, 2) / 4
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    assert (averaged < product)[off_diagonal].all()


def test_slopes_are_those_of_small_steps(inputs):
    network = sigmoid_network(784, 15, 10)
    first, second = torch.full((40,), 2), torch.full((40,), 7)
    slopes = certificates.slopes(network, inputs, first, second)
    x = inputs.double().requires_grad_()
    logits = network(x)
    gradient = torch.autograd.grad((logits[:, 2] - logits[:, 7]).sum(), x)[0]
    step = 1e-6 * gradient / gradient.norm(dim=1, keepdim=True)
    change = (network(x + step) - network(x - step))[:, [2, 7]].diff(dim=1)[:, 0]
    torch.testing.assert_close(slopes, -change.detach() / 2e-6, rtol=1e-5, atol=0)


def test_the_linear_estimate_of_a_linear_network_is_its_distance_to_the_half_space(linear, inputs):
    logits = linear(inputs.double())
    first, second = logits.topk(2).indices.unbind(1)
    margin, slope = certificates.linear_estimate(nn.Sequential(linear), inputs, second)
    rows = torch.arange(len(inputs))
    torch.testing.assert_close(margin, logits[rows, first] - logits[rows, second])
    torch.testing.assert_close(slope, (linear.weight[first] - linear.weight[second]).norm(dim=1))


# --- Enclosures -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(low=st.floats(-40, 40), width=st.floats(0, 40))
def test_the_sigmoid_stays_near_its_chord(low, width):
    low = torch.tensor([low], dtype=torch.float64)
    slope, offset, stray = certificates.chord(low, low + width)
    a = low + width * torch.linspace(0, 1, 1001, dtype=torch.float64)
    away = (torch.sigmoid(a) - slope * a - offset).abs()
    assert (away <= stray + 1e-13).all()
    assert float(stray) <= float(away.max()) + 1e-4  # and no further than it must


@pytest.mark.parametrize("sizes", SIZES)
def test_an_enclosure_holds_all_that_a_ball_can_reach(sizes):
    network, source = sigmoid_network(*sizes), generator(4)
    x = torch.randn(6, 20, generator=source, dtype=torch.float64)
    radius = torch.logspace(-3, 1, 6, dtype=torch.float64)
    logits = certificates.enclose(network, x, radius)
    directions = nn.functional.normalize(torch.randn(2000, 6, 20, generator=source, dtype=torch.float64), dim=2)
    for k in range(4):  # random directions, and the steepest ones
        y = x.clone().requires_grad_()
        steepest = nn.functional.normalize(torch.autograd.grad(network(y)[:, k].sum(), y)[0], dim=1)
        directions[2 * k], directions[2 * k + 1] = steepest, -steepest
    reached = network(x + radius[:, None] * directions)
    assert ((reached - logits.centre).abs() <= logits.reach * (1 + 1e-9)).all()
    for target in range(4):
        shut_out = certificates.shuts_out(logits, torch.full((6,), target))
        ever = (reached.argmax(dim=2) == target).any(dim=0)
        assert not (shut_out & ever).any()


def test_on_a_small_ball_a_network_is_enclosed_as_the_linear_one_it_is_there():
    """Where the boundary is near, the certificate ends at the distance that margin over slope says."""
    network = sigmoid_network(784, 30, 20, 10)
    x = torch.rand(1, 784, generator=generator(), dtype=torch.float64)
    order = network(x).argsort(dim=1, descending=True)[0]
    network[-1].bias[order[1]] += (network(x)[0, order[0]] - network(x)[0, order[1]]) - 1e-4
    target = order[1:2]
    slope = certificates.slopes(network, x, order[:1], target)
    distance = certified(network, x, target)[ENCLOSED]
    torch.testing.assert_close(distance, 1e-4 / slope, rtol=1e-3, atol=0)


# --- Attacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(784, 10), (784, 20, 10), (784, 16, 16, 10)])
def test_no_attack_gets_within_any_certified_distance(sizes):
    """On networks trained to read handwritten digits, to random wrong classes and some right ones."""
    images = data.load("digits").train.take(600)
    network = mnist.sigmoid_network(sizes, generator())
    decay = (1e-5,) * (len(sizes) - 1)
    training.fit(network, images.inputs, images.labels, decay, DecayRule.HALF, TrainingConfig(max_iterations=60))
    network.requires_grad_(False).eval()
    inputs, labels = images.inputs[:50], images.labels[:50]
    assert (network(inputs).argmax(dim=1) == labels).double().mean() > 0.9
    targets = (labels + torch.randint(0, 10, (50,), generator=generator(7))) % 10

    distances = certified(network, inputs, targets)
    for find in (attack.find_adversarial, tight.find_adversarial):
        result = find(network, inputs, targets)
        assert result.success.double().mean() > 0.9  # a network this small need not have an image for every class
        lengths = (result.adversarial.double() - inputs.double()).norm(dim=1)
        for kind, distance in distances.items():
            assert (distance <= lengths)[result.success].all(), (kind, find)
    for cruder, sharper in itertools.pairwise(distances.values()):
        assert (sharper >= cruder * (1 - 1e-9)).all()
    already = network(inputs).argmax(dim=1) == targets
    assert (distances[PAIRS][already] == 0).all()
    assert (distances[PRODUCT][~already] > 0).all()


def test_certificates_do_not_depend_on_the_chunk(inputs, targets, monkeypatch):
    network = sigmoid_network(784, 16, 10)
    whole = certified(network, inputs, targets)
    monkeypatch.setattr(certificates, "CHUNK", 7)
    for kind, distance in certified(network, inputs, targets).items():
        torch.testing.assert_close(distance, whole[kind], rtol=1e-9, atol=0)


def test_only_the_first_images_are_enclosed(inputs, targets):
    found = certified(sigmoid_network(784, 16, 10), inputs, targets, num_enclosed=5)
    assert found[ENCLOSED].isnan().tolist() == [False] * 5 + [True] * 35


def test_a_convolutional_network_is_certified_by_the_product_of_its_layers(inputs, targets):
    network = mnist.build(mnist.SPECS["Conv"], generator()).requires_grad_(False)
    distances = certified(nn.Sequential(*certificates.as_layers(network)), inputs, targets)
    assert list(distances) == [PRODUCT, PAIRS]
    result = attack.find_adversarial(network, inputs, targets)
    lengths = (result.adversarial - inputs).double().norm(dim=1)
    assert (distances[PAIRS] <= lengths)[result.success].all()
    assert result.success.any()
