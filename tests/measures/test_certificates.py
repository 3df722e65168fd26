"""Certificates hold: against exact optima, brute force, random images, and every adversarial example found."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from lib.attacks import exact, penalized, tight
from lib.data import sources
from lib.measures import certificates, chains
from lib.measures.certificates import AVERAGED, ENCLOSED, PAIRS, PRODUCT, SEMIDEFINITE, SLOPES
from lib.networks import mnist, training
from lib.networks.training import DecayRule, TrainingConfig
from lib.solvers import quadratic

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


def test_a_chain_is_flat_in_evaluation_mode_and_leaves_its_network_alone():
    network = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), nn.Dropout(0.9), nn.Linear(3, 2))
    layers = certificates.as_layers(network)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert not layers.training
    assert network.training
    x = torch.randn(5, 4, generator=generator())
    torch.testing.assert_close(layers(x.double()).float(), network.eval()(x))


class Scaled(nn.Linear):
    """As a subclass may: a layer that is not what it says."""

    def forward(self, x):
        return 100 * super().forward(x)


def with_hook() -> nn.Linear:
    layer = nn.Linear(4, 2)
    layer.register_forward_hook(lambda layer, inputs, output: 100 * output)
    return layer


class Called(nn.Linear):
    """As a subclass may: what calls `forward` is replaced."""

    def __call__(self, x):
        return 5 * super().__call__(x)


class Convolved(nn.Conv2d):
    def _conv_forward(self, *arguments):
        return 5 * super()._conv_forward(*arguments)


def replaced(name: str, of_layer: bool, network: nn.Module | None = None) -> nn.Module:
    """A network, or its first layer, in which a method is replaced in it alone."""
    network = network or nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    setattr(network[0] if of_layer else network, name, lambda x: 5 * x[:, :2])
    return network


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (replaced("forward", of_layer=False), "Sequential has a forward of its own"),
        (replaced("forward", of_layer=True), "Linear.* has a forward of its own"),
        (replaced("_call_impl", of_layer=False), "_call_impl of its own"),
        (replaced("_call_impl", of_layer=True), "_call_impl of its own"),
        (nn.Sequential(replaced("forward", of_layer=False)), "Sequential has a forward of its own"),
        (replaced("encode", False, mnist.AutoencoderClassifier((4, 3, 2), generator())), "encode of its own"),
        (nn.Sequential(Called(4, 2)), "__call__ of its own"),
        (nn.Sequential(nn.Unflatten(1, (1, 2, 2)), Convolved(1, 2, 2), nn.Flatten()), "_conv_forward of its own"),
        (nn.Sequential(nn.LazyLinear(2)), r"has no weights yet: call network\(inputs"),
        (nn.Sequential(prune.l1_unstructured(nn.Linear(4, 2), "weight", 2)), r"prune\.remove"),
        (nn.Sequential(nn.Linear(4, 2, dtype=torch.complex64)), "real floating numbers"),
        (lambda x: x, r"network must be a torch\.nn\.Module, .*not <lambda>: hand in the network itself"),
        ([nn.Linear(4, 2)], r"use torch\.nn\.Sequential\(\*layers\)"),
        (None, "not NoneType"),
        (nn.DataParallel(nn.Linear(4, 2)), r"hand in its \.module"),
        (nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2)), "GELU"),
        (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)), "BatchNorm1d"),
        (nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(-9), nn.Linear(3, 2)), "LeakyReLU"),
        (nn.Sequential(Scaled(4, 2)), "Scaled"),
        (nn.Sequential(with_hook()), "hooks"),
        (nn.ModuleList([nn.Linear(4, 2)]), "ModuleList"),
        (torch.relu, "relu"),
    ],
)
def test_what_has_no_bound_is_refused_by_name(network, named):
    with pytest.raises(TypeError, match=named):
        certificates.as_layers(network)
    image, target = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)
    for call in (
        lambda: certificates.lipschitz_constants(network, image),
        lambda: certificates.certify(network, {}, image, target, 1),
        lambda: certificates.slopes(network, image, target, target),
        lambda: certificates.linear_estimate(network, image, target),
        lambda: certificates.enclose(network, image, torch.ones(1)),
        lambda: certificates.enclosed_distance(network, image, target, torch.ones(1)),
    ):
        with pytest.raises(TypeError, match=named):
            call()


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_a_hook_makes_are_refused_and_those_of_a_parametrisation_taken(name):
    with pytest.raises(TypeError, match=f"use torch.nn.utils.remove_{name}"):
        certificates.as_layers(nn.Sequential(getattr(nn.utils, name)(nn.Linear(4, 2))))
    network = nn.Sequential(getattr(parametrizations, name)(nn.Linear(4, 2))).double().eval()
    x = torch.rand(3, 4, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(certificates.as_layers(network)(x), network(x))
    assert list(certificates.lipschitz_constants(network, x[:1])) == [PRODUCT, PAIRS]


def test_weights_must_be_parameters():
    for weight, words in ((torch.ones(2, 4), "not a plain Tensor"), (nn.Linear(4, 2).weight * 2, "deepcopy")):
        layer = nn.Linear(4, 2)
        del layer.weight
        layer.weight = weight
        with pytest.raises(TypeError, match=words):
            certificates.as_layers(nn.Sequential(layer))


def test_a_layer_that_does_not_leave_training_mode_is_taken_out_of_it_in_the_copy():
    network = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 2))
    network[0].train = lambda mode=True: network[0]
    x = torch.ones(1, 4, dtype=torch.float64)
    torch.testing.assert_close(certificates.as_layers(network)(x), network[1].double()(x))
    assert network[0].training


def test_hooks_on_gradients_change_no_slope():
    network, x = sigmoid_network(4, 3, 2), torch.rand(2, 4, generator=generator())
    first, second = torch.tensor([0, 0]), torch.tensor([1, 1])
    slopes = certificates.slopes(network, x, first, second)
    network[0].register_full_backward_hook(lambda layer, given, _: (100 * given[0],))
    torch.testing.assert_close(certificates.slopes(network, x, first, second), slopes)


def test_constants_need_logits_from_a_linear_layer_one_for_each_class():
    image = torch.zeros(1, 4)
    for layers in ([], [nn.Linear(4, 2), nn.ReLU()], [nn.Dropout()]):
        with pytest.raises(TypeError, match="Linear"):
            certificates.lipschitz_constants(nn.Sequential(*layers), image)
    with pytest.raises(ValueError, match="flatten"):
        certificates.lipschitz_constants(nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3)), image)


def test_weights_that_are_not_finite_are_refused():
    network = sigmoid_network(4, 3, 2)
    network[0].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        certificates.lipschitz_constants(network, torch.zeros(1, 4))
    network[0].weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match="finite"):
        certificates.certify(network, {PAIRS: torch.ones(2, 2)}, torch.zeros(1, 4), torch.tensor([0]), 1)


BENT = sigmoid_network(12, 6, 4)
FEW = torch.rand(6, 12, generator=generator())
NOT_FIRST = BENT(FEW.double()).argsort(dim=1)[:, 1]
CONSTANTS = certificates.lipschitz_constants(BENT, FEW[:1])


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({}, r"one kind at least, and is empty: take lipschitz_constants\(network, inputs\[:1\]\)"),
        (None, "constants must be a dict"),
        ([CONSTANTS[PAIRS]], "constants must be a dict"),
        (CONSTANTS[PAIRS], "constants must be a dict"),
        ({PAIRS: CONSTANTS[PAIRS].tolist()}, r"not list in constants\['pairs of classes'\]"),
        ({PAIRS: None}, "not NoneType"),
        ({PAIRS: 3.0}, "not float"),
        ({PAIRS: CONSTANTS[PAIRS].int()}, r"not torch\.int32"),
        ({PAIRS: CONSTANTS[PAIRS] * 1j}, r"not torch\.complex128"),
        ({PAIRS: CONSTANTS[PAIRS] * torch.nan}, "a negative one or nan"),
        ({PAIRS: -CONSTANTS[PAIRS]}, "a negative one or nan"),
        ({PAIRS: CONSTANTS[PAIRS], SLOPES: CONSTANTS[PAIRS][:3]}, r"must be \(4, 4\)"),
        ({PAIRS: torch.zeros(4, 4)}, "upper bounds of this network's"),
        ({PAIRS: CONSTANTS[AVERAGED] / 1000}, "upper bounds of this network's"),
        ({PAIRS: CONSTANTS[PAIRS].to("meta")}, "constants must be on cpu"),
    ],
)
def test_constants_are_upper_bounds_of_the_network_by_kind(constants, words):
    with pytest.raises(ValueError, match=words):
        certificates.certify(BENT, constants, FEW, NOT_FIRST, 1)


def test_constants_of_single_precision_and_infinite_ones_are_taken():
    found = certificates.certify(BENT, {PAIRS: CONSTANTS[PAIRS].float()}, FEW, NOT_FIRST, 0)
    torch.testing.assert_close(found[PAIRS], certificates.certify(BENT, CONSTANTS, FEW, NOT_FIRST, 0)[PAIRS])
    nothing = certificates.certify(BENT, {PAIRS: torch.full((4, 4), torch.inf)}, FEW, NOT_FIRST, 0)
    assert (nothing[PAIRS] == 0).all()


def test_logits_that_never_change_are_certified_everywhere_and_only_they():
    network = nn.Sequential(nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 2)).requires_grad_(False)
    network[-1].weight.zero_()
    network[-1].bias.copy_(torch.tensor([1.0, 0.0]))
    targets = torch.tensor([0, 1, 1])
    distances = certificates.certify(network, certificates.lipschitz_constants(network, FEW[:1]), FEW[:3], targets, 3)
    assert list(distances) == [PRODUCT, PAIRS, AVERAGED, SEMIDEFINITE, ENCLOSED]
    for distance in distances.values():
        assert distance.tolist() == [0, torch.inf, torch.inf]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_certificates_know_no_unit_of_logits_also_where_squares_leave_the_range(scale):
    distances = certified(BENT, FEW, NOT_FIRST)
    scaled = copy.deepcopy(BENT)
    for parameter in scaled[-1].parameters():
        parameter.mul_(scale)
    for kind, distance in certified(scaled, FEW, NOT_FIRST).items():
        torch.testing.assert_close(distance, distances[kind], rtol=1e-3, atol=0)


def test_products_of_norms_beyond_float64_certify_nothing():
    network = randomised(
        [nn.Unflatten(1, (2, 6)), *(nn.Linear(6, 6) for _ in range(6)), nn.Flatten(), nn.Linear(12, 4)], 0, 1e60
    )
    constants = certificates.lipschitz_constants(network, FEW[:1])
    assert (constants[PAIRS].diagonal() == 0).all()
    assert (constants[PAIRS][0, 1:] == torch.inf).all()
    with pytest.raises(ValueError, match="logits, and some are nan or inf"):
        certificates.certify(network, constants, FEW, NOT_FIRST, 1)
    dense = nn.Sequential(*network[1:-2])
    with pytest.raises(ValueError, match=r"products stay in torch\.float64"):
        certificates.lipschitz_constants(dense, FEW[:1, :6])


def test_no_image_need_be_enclosed():
    found = certificates.certify(BENT, CONSTANTS, FEW, NOT_FIRST, 0)
    assert found[ENCLOSED].isnan().all()
    share = certificates.largest_share(found[ENCLOSED], torch.ones(6))
    assert math.isnan(share.value)
    assert share.n == 0


ASKED = {
    "constants": lambda n, x, t, e: certificates.lipschitz_constants(n, x[:1]),
    "certify": lambda n, x, t, e: certificates.certify(n, CONSTANTS, x, t, 2),
    "slopes": lambda n, x, t, e: certificates.slopes(n, x, t, t),
    "linear_estimate": lambda n, x, t, e: certificates.linear_estimate(n, x, t),
    "enclose": lambda n, x, t, e: certificates.enclose(n, x, e),
    "enclosed_distance": lambda n, x, t, e: certificates.enclosed_distance(n, x, t, e),
}


@pytest.mark.parametrize("name", ASKED)
def test_images_of_another_shape_than_the_networks_are_refused_in_words(name):
    for images in (torch.rand(6, 13), torch.rand(6, 3, 4)):
        with pytest.raises(ValueError, match=r"(image|inputs) must fit network.* takes 12 numbers"):
            ASKED[name](BENT, images, NOT_FIRST, torch.ones(6))


@pytest.mark.parametrize("name", ASKED)
def test_certificates_are_the_same_under_inference_mode(name):
    """Whether that is where they are asked, or where all that they are about was made."""
    expected = ASKED[name](BENT, FEW, NOT_FIRST, torch.full((6,), 0.1))
    with torch.inference_mode():
        made = copy.deepcopy(BENT), FEW.clone(), NOT_FIRST.clone(), torch.full((6,), 0.1)
        inside = ASKED[name](*made)
    for found in (inside, ASKED[name](*made)):
        torch.testing.assert_close(parts(found), parts(expected), equal_nan=True)


def parts(found) -> list[torch.Tensor]:
    """The tensors of an answer."""
    match found:
        case torch.Tensor():
            return [found]
        case certificates.Enclosure():
            return [found.centre, found.slope, found.noise]
        case dict():
            return list(found.values())
    return list(found)


LENGTHS = [
    (torch.ones(6) * 1j, "must hold real numbers"),
    (torch.ones(6).bool(), "must hold real numbers"),
    (1.0, r"must be a torch\.Tensor"),
    (torch.ones(()), r"\.expand\(6\)"),
    (torch.ones(5), r"not of shape \(5,\)"),
    (-torch.ones(6), "negative or nan"),
    (torch.full((6,), torch.nan), "negative or nan"),
    (torch.ones(6, device="meta"), "must be on cpu"),
]


@pytest.mark.parametrize(("lengths", "words"), [*LENGTHS, (torch.full((6,), torch.inf), "radius must be finite")])
def test_radii_are_finite_distances(lengths, words):
    with pytest.raises(ValueError, match=words):
        certificates.enclose(BENT, FEW, lengths)


@pytest.mark.parametrize(("lengths", "words"), LENGTHS)
def test_starts_are_distances(lengths, words):
    with pytest.raises(ValueError, match=words):
        certificates.enclosed_distance(BENT, FEW, NOT_FIRST, lengths)


@pytest.mark.parametrize(
    "start", [torch.ones(6, dtype=torch.int64), torch.full((6,), 10**8), torch.full((6,), torch.inf)]
)
def test_a_distance_is_no_less_than_its_start_whatever_that_is(start):
    assert (certificates.enclosed_distance(BENT, FEW, NOT_FIRST, start) >= start).all()


def test_classes_that_a_network_does_not_have_are_refused():
    with pytest.raises(ValueError, match="targets must be classes, 0 to 3"):
        certificates.enclosed_distance(BENT, FEW, NOT_FIRST + 4, torch.ones(6))
    with pytest.raises(ValueError, match="targets must be classes, 0 to 3"):
        certificates.shuts_out(certificates.enclose(BENT, FEW, torch.ones(6)), NOT_FIRST + 4)


def test_a_network_of_one_logit_has_nothing_to_certify():
    single = nn.Sequential(nn.Linear(12, 1))
    with pytest.raises(ValueError, match="at least two classes"):
        certificates.lipschitz_constants(single, FEW[:1])
    with pytest.raises(ValueError, match="at least two classes"):
        certificates.certify(single, CONSTANTS, FEW, 0 * NOT_FIRST, 1)


def test_only_dense_networks_are_enclosed():
    rows = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    pooled = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 2))
    for network in (rows, pooled):
        with pytest.raises(TypeError, match="network must be dense to be enclosed"):
            certificates.enclose(network, torch.zeros(1, 4), torch.ones(1))


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
        shortest.append(quadratic.project(slopes, bounds, -free, free).perturbation.norm(dim=1))
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


@pytest.mark.parametrize(
    ("logits", "targets", "constants", "words"),
    [
        (torch.full((1, 2), torch.inf), torch.tensor([1]), torch.ones(2, 2), "logits must be finite"),
        ([[1.0, 0.0]], torch.tensor([1]), torch.ones(2, 2), r"logits must be a torch\.Tensor"),
        (torch.ones(1, 2), torch.tensor([2]), torch.ones(2, 2), "targets must be classes, 0 to 1"),
        (torch.ones(1, 2), torch.tensor([1.0]), torch.ones(2, 2), "targets must be integers"),
        (torch.ones(1, 2), torch.tensor([1]), torch.ones(3, 3), r"constants must be \(2, 2\)"),
        (torch.ones(1, 2), torch.tensor([1]), -torch.ones(2, 2), "negative"),
        (torch.ones(1, 2), torch.tensor([1]), 1.0, "not float"),
    ],
)
def test_a_distance_comes_from_finite_logits_classes_and_constants(logits, targets, constants, words):
    with pytest.raises(ValueError, match=words):
        certificates.certified_distance(logits, targets, constants)


@pytest.mark.parametrize("compare", [certificates.orders_short, certificates.largest_share])
def test_distances_are_compared_with_one_length_each(compare):
    ones = torch.ones(3)
    for distances, lengths in (
        ([1.0], ones),
        (ones[:, None], ones),
        (ones, ones[:2]),
        (-ones, ones),
        (ones, ones * torch.nan),
    ):
        with pytest.raises(ValueError, match="distances"):
            compare(distances, lengths)


def test_orders_of_magnitude_by_hand():
    distances = torch.tensor([1.0, 0.0, torch.nan, 0.5, 0.5], dtype=torch.float64)
    lengths = torch.tensor([100.0, 1.0, 1.0, 5.0, torch.inf], dtype=torch.float64)
    orders = certificates.orders_short(distances, lengths)
    torch.testing.assert_close(orders, torch.tensor([2.0, 1.0], dtype=torch.float64))


def test_the_largest_share_by_hand():
    distances = torch.tensor([1.0, 0.0, torch.nan, 0.5, 3.0], dtype=torch.float64)
    lengths = torch.tensor([4.0, 0.0, 1.0, 0.8, torch.inf], dtype=torch.float64)
    assert certificates.largest_share(distances, lengths)[::3] == (0.625, 4)
    beyond = certificates.largest_share(torch.tensor([torch.inf, 0.4]), torch.tensor([torch.inf, 0.2]))
    assert beyond.value == 2  # where nothing was found nothing is refuted, and nothing hidden
    too_far = certificates.largest_share(torch.tensor([2.0]), torch.tensor([0.0]))
    assert too_far.value == torch.inf


# --- Constants ------------------------------------------------------------------------------------

SIZES = [(20, 7, 4), (20, 12, 9, 4), (20, 8, 8, 8, 4)]


@pytest.mark.parametrize("sizes", SIZES)
def test_kinds_come_from_crude_to_sharp(sizes):
    network = sigmoid_network(*sizes)
    constants = certificates.lipschitz_constants(network, torch.zeros(1, 20, dtype=torch.float64))
    assert list(constants) == [PRODUCT, SLOPES, PAIRS, AVERAGED, SEMIDEFINITE]
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


def met(network: nn.Module, points: torch.Tensor) -> torch.Tensor:
    """The longest gradient of each z_k - z_l at any of the points, (K, K)."""
    x = points.clone().requires_grad_()
    logits = network(x)
    jacobian = torch.stack([torch.autograd.grad(z.sum(), x, retain_graph=True)[0] for z in logits.unbind(1)], dim=1)
    return (jacobian[:, :, None] - jacobian[:, None]).norm(dim=3)


def steepest_met(network: nn.Module, num_inputs: int, seed: int) -> torch.Tensor:
    """As `met` at random points, also near where the first units are at zero, and uphill from the steepest of them."""
    source, dtype = generator(seed), torch.float64
    spread = 10 ** torch.linspace(-2, 1, 300, dtype=dtype)[:, None]
    points = spread * torch.randn(300, num_inputs, generator=source, dtype=dtype)
    first = next((layer for layer in network if isinstance(layer, nn.Linear)), None)
    if first.in_features == num_inputs:
        points[::2] -= torch.linalg.pinv(first.weight) @ first.bias
    slopes = met(network, points)
    for shrink in range(6):
        best = slopes.flatten(1).argmax(dim=0).unique()
        step = torch.randn(8, len(best), num_inputs, generator=source, dtype=dtype) / 3**shrink
        points = torch.cat([points[best], (points[best] + step).flatten(0, 1)])
        slopes = met(network, points)
    return slopes.amax(dim=0)


def randomised(layers: list[nn.Module], seed: int, scale: float) -> nn.Sequential:
    """In float64, with random weights `scale` times as large as PyTorch makes them, and not in training."""
    network = nn.Sequential(*layers).double().eval().requires_grad_(False)
    for parameter in network.parameters():
        length = scale * parameter[0].numel() ** -0.5
        parameter.copy_(length * torch.randn(parameter.shape, generator=generator(seed), dtype=torch.float64))
    return network


BETWEEN = st.lists(st.sampled_from([nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Dropout]), max_size=2)
WEIGHTS = {"seed": st.integers(0, 10**6), "scale": st.floats(0.3, 30)}


@st.composite
def dense(draw) -> nn.Sequential:
    """12 numbers in, 4 logits out; up to three hidden layers with none, one or two activations each, and one before."""
    hidden = draw(st.lists(st.tuples(st.integers(1, 9), BETWEEN), max_size=3))
    layers, width = [draw(st.sampled_from([nn.Identity, nn.Identity, nn.Tanh, nn.Sigmoid]))()], 12
    for num_units, activations in hidden:
        layers += [nn.Linear(width, num_units), *(activation() for activation in activations)]
        width = num_units
    return randomised([*layers, nn.Linear(width, 4)], draw(WEIGHTS["seed"]), draw(WEIGHTS["scale"]))


@st.composite
def convolutional(draw) -> nn.Sequential:
    """36 numbers in, 4 logits out."""
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    pool = nn.MaxPool2d(draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    activations = [activation() for activation in draw(BETWEEN)]
    features = [nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 2, 3, stride, padding), *activations, pool, nn.Flatten()]
    width = nn.Sequential(*features).eval()(torch.zeros(1, 36)).shape[1]
    layers = [*features, nn.Linear(width, 5), *activations, nn.Linear(5, 4)]
    return randomised(layers, draw(WEIGHTS["seed"]), draw(WEIGHTS["scale"]))


def assert_constants_hold(network: nn.Sequential, num_inputs: int, seed: int) -> dict[str, torch.Tensor]:
    constants = certificates.lipschitz_constants(network, torch.zeros(1, num_inputs))
    steepest = steepest_met(network, num_inputs, seed)
    for kind, constant in constants.items():
        assert (steepest <= constant * (1 + 1e-9)).all(), kind
    for cruder, sharper in itertools.pairwise(constants.values()):
        assert (sharper <= cruder * (1 + 1e-9)).all()
    return constants


@settings(max_examples=60, deadline=None)
@given(network=dense(), seed=st.integers(0, 10**6))
def test_constants_hold_for_every_dense_network(network, seed):
    constants = assert_constants_hold(network, 12, seed)
    assert (AVERAGED in constants) == (sum(isinstance(layer, nn.Linear) for layer in network) > 1)


@settings(max_examples=20, deadline=None)
@given(network=convolutional(), seed=st.integers(0, 10**6))
def test_constants_hold_for_every_convolutional_network(network, seed):
    assert AVERAGED not in assert_constants_hold(network, 36, seed)


def test_a_pixel_in_four_windows_attains_the_constant():
    """z_1 adds up the four windows that see one bright pixel: pooling expands by 2, and |w_1 - w_0| is 2."""
    network = nn.Sequential(nn.Unflatten(1, (1, 7, 7)), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(9, 2)).double()
    dot = torch.zeros(1, 49, dtype=torch.float64)
    dot[0, 2 * 7 + 2] = 1
    network[-1].weight.data = torch.stack([torch.zeros(9).double(), network[:3](dot)[0]])
    (slope,) = certificates.slopes(network, dot, torch.tensor([1]), torch.tensor([0])).tolist()
    constants = certificates.lipschitz_constants(network, dot)
    assert slope == pytest.approx(4)
    assert float(constants[PAIRS][0, 1]) == pytest.approx(4)


def mixed_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 30), nn.Sigmoid(), nn.Linear(30, 10)).double()
    for layer, factor in zip(network[::2], (8, 4, 10), strict=True):
        layer.weight.data.mul_(factor)
    return network.requires_grad_(False)


def test_a_rectifier_among_sigmoids_is_not_taken_for_a_sigmoid():
    """Constants as if all activations were sigmoids are exceeded by this network; those that know better are not."""
    network = mixed_network()
    constants = certificates.lipschitz_constants(network, torch.zeros(1, 784))
    steepest = met(network, torch.rand(200, 784, generator=generator(), dtype=torch.float64)).amax(dim=0)
    mistaken = chains.averaged_constants([layer.weight for layer in network[::2]], [1, 0.25, 0.25])
    assert (steepest > mistaken).any()
    for kind, constant in constants.items():
        assert (steepest <= constant).all(), kind


def test_linear_layers_in_a_row_are_averaged_as_the_one_that_they_are():
    deep = sigmoid_network(20, 9, 7, 5, 4)
    first, second, third, last = deep[::2]
    double = nn.Sequential(first, second, nn.Dropout(), nn.Sigmoid(), third, nn.Identity(), last)
    merged = chains.averaged_constants([second.weight @ first.weight, last.weight @ third.weight], [1, 0.25])
    found = certificates.lipschitz_constants(double, torch.zeros(1, 20))
    torch.testing.assert_close(found[AVERAGED], merged)
    linear = certificates.lipschitz_constants(nn.Sequential(*deep[::2]), torch.zeros(1, 20))
    matrix = last.weight @ third.weight @ second.weight @ first.weight
    torch.testing.assert_close(linear[AVERAGED], chains.pair_norms(matrix))


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


ACTIVATIONS = (nn.Sigmoid(), nn.Tanh(), nn.ReLU())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=200, deadline=None)
@given(low=st.floats(-40, 40), width=st.floats(0, 40))
def test_an_activation_stays_near_its_chord(activation, low, width):
    low = torch.tensor([low], dtype=torch.float64)
    slope, offset, stray = certificates.chord(low, low + width, activation)
    a = low + width * torch.linspace(0, 1, 1001, dtype=torch.float64)
    away = (activation(a) - slope * a - offset).abs()
    assert (away <= stray + 1e-13).all()
    assert float(stray) <= float(away.max()) + 2e-3 * width  # and no further than it must


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("width", [0, 1e-12, 1e-9, 1e-7])
def test_on_a_short_interval_the_chord_is_a_tangent(activation, width):
    low = torch.tensor([0.3], dtype=torch.float64).requires_grad_()
    (tangent,) = torch.autograd.grad(activation(low), low)
    slope, _, stray = certificates.chord(low.detach(), low.detach() + width, activation)
    torch.testing.assert_close(slope, tangent, rtol=1e-5, atol=0)
    assert float(stray) <= 1e-6 * width + 1e-15


def test_no_chord_is_drawn_for_an_activation_that_nobody_knows():
    with pytest.raises(TypeError, match=r"one of torch\.nn's Sigmoid, Tanh, ReLU, not GELU"):
        certificates.chord(torch.zeros(1), torch.ones(1), nn.GELU())


def test_a_chord_has_a_low_end_and_a_high_one():
    with pytest.raises(ValueError, match="low nowhere above high"):
        certificates.chord(torch.ones(1), torch.zeros(1), nn.Tanh())
    with pytest.raises(TypeError, match=r"low must be a floating torch\.Tensor"):
        certificates.chord(0.0, 1.0, nn.Tanh())


def assert_encloses(network: nn.Sequential, num_inputs: int) -> None:
    """On six balls, at random places on their surfaces and in them, and in the steepest directions."""
    source = generator(4)
    x = torch.randn(6, num_inputs, generator=source, dtype=torch.float64)
    radius = torch.logspace(-3, 1, 6, dtype=torch.float64)
    logits = certificates.enclose(network, x, radius)
    directions = torch.randn(2000, 6, num_inputs, generator=source, dtype=torch.float64)
    directions = nn.functional.normalize(directions, dim=2)
    directions[::3] *= torch.rand(directions[::3].shape[:2], generator=source, dtype=torch.float64)[..., None]
    for k in range(4):
        for j, sign in enumerate((1, -1)):
            directions[2 * k + j] = steepest_direction(network, x, radius, k, sign)
    reached = network(x + radius[:, None] * directions)
    rounding = 1e-12 * (1 + logits.centre.abs())  # of the network itself
    assert ((reached - logits.centre).abs() <= logits.reach * (1 + 1e-9) + rounding).all()
    for target in range(4):
        shut_out = certificates.shuts_out(logits, torch.full((6,), target))
        ever = (reached.argmax(dim=2) == target).any(dim=0)
        assert not (shut_out & ever).any()


def steepest_direction(network, x, radius, k: int, sign: int) -> torch.Tensor:
    """Where on its ball each logit is largest, or least, by a few steps to where the gradient points."""
    direction = torch.zeros_like(x)
    for _ in range(4):
        y = (x + radius[:, None] * direction).requires_grad_()
        direction = nn.functional.normalize(sign * torch.autograd.grad(network(y)[:, k].sum(), y)[0], dim=1)
    return direction


@pytest.mark.parametrize("sizes", SIZES)
def test_an_enclosure_holds_all_that_a_ball_can_reach(sizes):
    assert_encloses(sigmoid_network(*sizes), 20)


@settings(max_examples=30, deadline=None)
@given(network=dense())
def test_an_enclosure_holds_for_every_dense_network(network):
    assert_encloses(network, 12)


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
    images = sources.load("digits").train.take(600)
    network = mnist.sigmoid_network(sizes, generator())
    decay = (1e-5,) * (len(sizes) - 1)
    training.fit(network, images.inputs, images.labels, decay, DecayRule.HALF, TrainingConfig(max_iterations=60))
    network.requires_grad_(False).eval()
    inputs, labels = images.inputs[:50], images.labels[:50]
    assert (network(inputs).argmax(dim=1) == labels).double().mean() > 0.9
    targets = (labels + torch.randint(0, 10, (50,), generator=generator(7))) % 10

    distances = certified(network, inputs, targets)
    found = penalized.find_adversarial(network, inputs, targets)
    for result in (found, tight.tighten(network, inputs, targets, found.adversarial)):
        assert result.success.double().mean() > 0.9  # a network this small need not have an image for every class
        lengths = (result.adversarial.double() - inputs.double()).norm(dim=1)
        for kind, distance in distances.items():
            assert (distance <= lengths)[result.success].all(), (kind, type(result))
    for cruder, sharper in itertools.pairwise(distances.values()):
        assert (sharper >= cruder * (1 - 1e-9)).all()
    already = network(inputs).argmax(dim=1) == targets
    assert (distances[PAIRS][already] == 0).all()
    assert (distances[PRODUCT][~already] > 0).all()


SMALL = {
    "rectifiers": lambda: [nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)],
    "mixed": lambda: [nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 4)],
    "tanh": lambda: [nn.Linear(12, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 6), nn.Linear(6, 4)],
    "linear": lambda: [nn.Linear(12, 8), nn.Linear(8, 4)],
    "pooled": lambda: [
        *(nn.Unflatten(1, (1, 3, 4)), nn.Conv2d(1, 4, 2, padding=1), nn.MaxPool2d(2, 1), nn.ReLU(), nn.Flatten()),
        nn.Linear(48, 4),
    ],
}
KINDS_OF = {
    "rectifiers": [PRODUCT, PAIRS, AVERAGED, SEMIDEFINITE, ENCLOSED],
    "mixed": [PRODUCT, SLOPES, PAIRS, AVERAGED, SEMIDEFINITE, ENCLOSED],
    "tanh": [PRODUCT, PAIRS, AVERAGED, SEMIDEFINITE, ENCLOSED],
    "linear": [PRODUCT, PAIRS, AVERAGED],
    "pooled": [PRODUCT, PAIRS],
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_no_attack_gets_within_a_certified_distance_of_a_network_of_any_kind(name, scale):
    network = randomised(SMALL[name](), seed=3, scale=scale)
    inputs = torch.rand(20, 12, generator=generator(8), dtype=torch.float64)
    network[-1].bias -= network(inputs).mean(dim=0)  # all classes are about as likely, and boundaries near
    targets = network(inputs).topk(2).indices[:, 1]
    distances = certified(network, inputs, targets)
    assert list(distances) == KINDS_OF[name]
    result = tight.find_adversarial(network, inputs, targets)
    assert result.success.double().mean() > 0.5
    lengths = (result.adversarial - inputs).norm(dim=1)
    for kind, distance in distances.items():
        assert (distance > 0).all()
        assert (distance <= lengths)[result.success].all(), kind


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
    result = penalized.find_adversarial(network, inputs, targets)
    lengths = (result.adversarial - inputs).double().norm(dim=1)
    assert (distances[PAIRS] <= lengths)[result.success].all()
    assert result.success.any()
