"""Every bound is the singular value it says: of matrices written down, by definition, and of what theory gives."""

import copy
import math
import random
import time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.data.downloads import DataError
from lib.measures import spectral
from lib.measures.spectral import Convolution
from lib.networks import imagenet

pytestmark = pytest.mark.numerical


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_convolution(seed: int, max_stride: int = 3) -> Convolution:
    """A small convolution of any kind, in float64: groups, strides, padding, dilation, kernels that are not square."""
    draw = random.Random(seed)
    pair = lambda low, high: (draw.randint(low, high), draw.randint(low, high))  # noqa: E731
    groups = draw.randint(1, 3)
    filters, channels = groups * draw.randint(1, 3), draw.randint(1, 3)
    kernel, dilation, padding = pair(1, 4), pair(1, 2), pair(0, 2)
    size = tuple(d * (k - 1) + 1 + draw.randint(0, 5) for k, d in zip(kernel, dilation, strict=True))
    weight = torch.randn(filters, channels, *kernel, generator=generator(seed), dtype=torch.float64)
    return Convolution(weight, size, pair(1, max_stride), padding, dilation, groups)


def by_definition(convolution: Convolution) -> torch.Tensor:
    """The matrix of a zero-padded convolution, entry by entry."""
    weight, (filters, height, width) = convolution.weight, convolution.output_shape
    matrix = torch.zeros(*convolution.output_shape, *convolution.input_shape, dtype=weight.dtype)
    per_group = filters // convolution.groups
    for f in range(filters):
        for c in range(weight.shape[1]):
            channel = f // per_group * weight.shape[1] + c
            for y in range(height):
                for x in range(width):
                    for i in range(weight.shape[2]):
                        for j in range(weight.shape[3]):
                            row = y * convolution.stride[0] + i * convolution.dilation[0] - convolution.padding[0]
                            column = x * convolution.stride[1] + j * convolution.dilation[1] - convolution.padding[1]
                            if 0 <= row < convolution.size[0] and 0 <= column < convolution.size[1]:
                                matrix[f, y, x, channel, row, column] += weight[f, c, i, j]
    return matrix.flatten(3).flatten(0, 2)


fifty = pytest.mark.parametrize("seed", range(50))


# --- Dense layers ---------------------------------------------------------------------------------


def test_a_dense_layer_stretches_by_its_largest_and_squeezes_by_its_least_singular_value():
    tall = torch.tensor([[3.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
    assert spectral.dense_bounds(tall) == pytest.approx((0.5, 0.5, 3))


def test_a_wide_layer_has_the_lower_bound_zero_whatever_its_weights_are():
    wide = torch.randn(4, 7, generator=generator(), dtype=torch.float64)
    bounds = spectral.dense_bounds(wide)
    kernel = torch.linalg.svd(wide).Vh[-1]
    assert (wide @ kernel).norm() < 1e-12
    assert bounds.lower == 0
    assert bounds.least > 0.01
    transposed = spectral.dense_bounds(wide.T)
    assert transposed == pytest.approx((bounds.least, bounds.least, bounds.upper))


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (torch.eye(3) / 0, "weight must be finite"),
        (torch.full((3, 3), torch.nan), "weight must be finite"),
        (torch.eye(3) * 1j, r"weight must hold real numbers.*use weight\.real"),
        ([[1.0]], r"not list: use torch\.as_tensor\(weight\)"),
        (nn.Linear(2, 2), r"not Linear: hand in its \.weight"),
        (torch.ones(3), r"use weight\[None\]"),
        (torch.ones(2, 2, 2), "one matrix"),
        (torch.ones(2, 2, 2, 2), r"Convolution\.of"),
        (torch.ones(0, 3), r"not of shape \(0, 3\)"),
    ],
)
def test_what_is_no_finite_real_matrix_has_no_bounds(weight, words):
    with pytest.raises(ValueError, match=words):
        spectral.dense_bounds(weight)


def test_a_matrix_of_whole_numbers_and_one_in_training_have_bounds():
    assert spectral.dense_bounds(torch.tensor([[3, 0], [0, 2]])) == pytest.approx((2, 2, 3))
    assert spectral.dense_bounds(nn.Linear(3, 2).weight).upper > 0


# --- The convolution as it is applied -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_the_operator_is_the_convolution_by_definition(seed):
    convolution = random_convolution(seed)
    matrix = by_definition(convolution)
    torch.testing.assert_close(convolution.matrix(), matrix)
    y = torch.randn(2, len(matrix), generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(convolution.transpose(y), y @ matrix)


@fifty
def test_its_bounds_are_the_singular_values_of_its_matrix(seed):
    convolution = random_convolution(seed)
    matrix = by_definition(convolution)
    values = torch.linalg.svdvals(matrix)
    bounds = convolution.bounds(generator(), num_steps=200)
    assert bounds.upper == pytest.approx(float(values[0]), rel=1e-6)
    assert bounds.least == pytest.approx(float(values[-1]), abs=1e-9 * float(values[0]))
    kernel_dimension = matrix.shape[1] - int((values > 1e-9 * values[0]).sum())
    assert (bounds.lower > 1e-9 * bounds.upper) == (kernel_dimension == 0)
    assert bounds.lower == (0 if matrix.shape[0] < matrix.shape[1] else bounds.least)


@fifty
def test_single_precision_has_four_digits(seed):
    convolution = random_convolution(seed)
    single = convolution.to(torch.float32)
    norm = spectral.largest_singular_value(single, generator())
    assert norm == pytest.approx(float(torch.linalg.svdvals(convolution.matrix())[0]), rel=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_without_the_matrix_the_least_singular_value_comes_down_to_the_same(seed, monkeypatch):
    convolution = random_convolution(seed)
    exact = spectral.least_singular_value(convolution, generator(), 1)
    monkeypatch.setattr(spectral, "WRITTEN_DOWN", 0)
    steps = [spectral.least_singular_value(convolution, generator(), n) for n in (2, 8, 2000)]
    assert steps[0] >= steps[1] - 1e-9 >= exact - 2e-9
    # Squares of singular values are found to rounding, their roots to the root of that.
    assert steps[2] == pytest.approx(exact, abs=1e-5 * spectral.largest_singular_value(convolution, generator()))


def test_a_convolution_of_zeros_has_norm_zero():
    convolution = Convolution(torch.zeros(2, 1, 3, 3), (5, 5))
    assert convolution.bounds(generator(), 10) == (0, 0, 0)


def test_a_norm_that_is_not_found_is_an_error():
    convolution = Convolution(torch.randn(8, 8, 3, 3, generator=generator()), (12, 12))
    with pytest.raises(RuntimeError, match="not found"):
        spectral.largest_singular_value(convolution, generator(), max_steps=5)


def test_a_layer_gives_its_convolution():
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)
    images = torch.rand(2, 4, 11, 9, generator=generator())
    convolution = Convolution.of(layer, (11, 9))
    maps = convolution(images).view(2, *convolution.output_shape)
    torch.testing.assert_close(maps + layer.bias.detach()[:, None, None], layer(images).detach())


@pytest.mark.parametrize(
    ("unusual", "words"),
    [
        ({"kernel_size": 3, "padding": "same"}, r"padding must be given as numbers: build it with padding=\(1, 1\)"),
        ({"kernel_size": 4, "padding": "same"}, "kernel of an odd side"),
        ({"kernel_size": 3, "padding": "valid"}, "build it with padding=0"),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, "padding_mode must be 'zeros'"),
    ],
)
def test_other_paddings_are_refused_with_what_to_write_instead(unusual, words):
    with pytest.raises(ValueError, match=words):
        Convolution.of(nn.Conv2d(1, 1, **unusual), (8, 8))


def test_the_numbers_that_stand_for_same_pad_as_same_does():
    same, numbers = nn.Conv2d(1, 1, (3, 5), padding="same"), nn.Conv2d(1, 1, (3, 5), padding=(1, 2))
    numbers.load_state_dict(same.state_dict())
    images = torch.rand(1, 1, 6, 7, generator=generator())
    assert "padding=(1, 2)" in spectral._numbers_for(same)
    torch.testing.assert_close(same(images), numbers(images))


ONES = torch.ones(1, 1, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((ONES / 0, (8, 8)), "weight must be finite"),
        ((ONES * 1j, (8, 8)), "weight must hold real numbers"),
        ((ONES.half(), (8, 8)), r"float32 or float64.*weight\.float\(\)"),
        (([1.0], (8, 8)), r"weight must be a torch\.Tensor"),
        ((ONES[0, 0], (8, 8)), r"weight\[\.\.\., None, None\]"),
        ((ONES, 8), "size must be two whole numbers"),
        ((ONES, (8.0, 8)), "size must be a whole number"),
        ((ONES, (2, 8)), "size must be at least the kernel's"),
        ((ONES, (8, 8), (0, 1)), "stride must be at least 1"),
        ((ONES, (8, 8), (1, 1), (-1, 0)), "padding must be at least 0"),
        ((ONES, (8, 8), (1, 1), (0, 0), (1, 0)), "dilation must be at least 1"),
        ((ONES, (8, 8), (1, 1), (0, 0), (1, 1), 2), "groups must divide"),
    ],
)
def test_what_is_no_convolution_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Convolution(*arguments)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c, g: spectral.largest_singular_value(c.weight, g), "convolution must be a Convolution, not Tensor"),
        (lambda c, g: spectral.torus_side(nn.Conv2d(1, 1, 3)), r"use Convolution\.of\(layer, size\)"),
        (lambda c, g: Convolution.of(nn.Linear(1, 1), (8, 8)), r"layer must be a torch\.nn\.Conv2d, not Linear"),
        (lambda c, g: spectral.largest_singular_value(c, 0), "generator must be a torch.Generator on the CPU, not int"),
        (lambda c, g: spectral.largest_singular_value(c, g, tolerance=math.nan), "tolerance must be 0 or more"),
        (lambda c, g: spectral.largest_singular_value(c, g, max_steps=0), "max_steps must be at least 1"),
        (lambda c, g: spectral.least_singular_value(c, g, 0), "num_steps must be at least 1"),
        (lambda c, g: spectral.torus_spectrum(c, 8, batch=0), "batch must be at least 1"),
        (lambda c, g: spectral.torus_bounds(c, 0), "side must be at least 1"),
        (lambda c, g: spectral.norm_as_printed(c, 8.0), "side must be a whole number"),
    ],
)
def test_the_norms_of_a_convolution_say_what_they_need(call, words):
    with pytest.raises(ValueError, match=words):
        call(Convolution(ONES, (8, 8)), generator())


def test_under_autocast_no_norm_is_rounded_to_half_precision():
    with torch.autocast("cpu"), pytest.raises(ValueError, match="autocast is on"):
        spectral.torus_bounds(Convolution(ONES, (8, 8)), 8)


@pytest.mark.parametrize(
    ("dtype", "exponent"), [(torch.float32, -90), (torch.float32, 90), (torch.float64, -700), (torch.float64, 700)]
)
def test_norms_grow_with_their_weights_also_where_squares_leave_the_range(dtype, exponent):
    weight, scale = torch.randn(2, 2, 3, 3, generator=generator(), dtype=dtype), 2.0**exponent
    here, there = Convolution(weight, (6, 6)), Convolution(weight * scale, (6, 6))
    for norm in (
        lambda c: spectral.largest_singular_value(c, generator()),
        lambda c: spectral.least_singular_value(c, generator(), 5),
        lambda c: spectral.torus_bounds(c, 8).upper,
        spectral.norm_on_kernel_grid,
    ):
        assert norm(there) / scale == pytest.approx(norm(here), rel=1e-5)


@pytest.mark.gpu
def test_a_gpu_finds_the_same_bounds():
    convolution = random_convolution(3)
    there = convolution.to(torch.device("cuda"))
    assert there.bounds(generator(), 100) == pytest.approx(convolution.bounds(generator(), 100), rel=1e-6)
    torch.testing.assert_close(
        spectral.torus_spectrum(there, 12).cpu(), spectral.torus_spectrum(convolution, 12), rtol=1e-6, atol=1e-8
    )


# --- The convolution on a torus -------------------------------------------------------------------


def torus(convolution: Convolution) -> int:
    """A small torus that the stride divides and the kernel fits on."""
    grid = math.lcm(*convolution.stride)
    reach = max(d * (k - 1) + 1 for k, d in zip(convolution.weight.shape[2:], convolution.dilation, strict=True))
    return -(-reach // grid) * grid


@fifty
def test_on_a_torus_fouriers_blocks_hold_every_singular_value(seed):
    convolution = random_convolution(seed)
    side = torus(convolution)
    expected = torch.linalg.svdvals(spectral.torus_matrix(convolution, side))
    found = spectral.torus_spectrum(convolution, side).flatten().sort(descending=True).values
    torch.testing.assert_close(found[: len(expected)], expected[: len(found)], rtol=1e-6, atol=1e-6)
    assert (expected[len(found) :] < 1e-6).all()
    assert spectral.torus_bounds(convolution, side).upper == pytest.approx(float(expected[0]), rel=1e-6)


@fifty
def test_zero_padding_never_has_a_larger_norm_than_a_torus_it_fits_on(seed):
    convolution = random_convolution(seed)
    upper = spectral.torus_bounds(convolution, spectral.torus_side(convolution)).upper
    assert spectral.largest_singular_value(convolution, generator()) <= upper * (1 + 1e-9)


def test_a_kernel_of_one_pixel_fits_on_the_smallest_torus():
    weight = torch.randn(5, 3, 1, 1, generator=generator(), dtype=torch.float64)
    for stride in (1, 2):
        convolution = Convolution(weight, size=(6, 6), stride=(stride, stride))
        side = spectral.torus_side(convolution)
        assert side == stride
        expected = torch.linalg.svdvals(weight[:, :, 0, 0])
        (found,) = spectral.torus_spectrum(convolution, side)
        torch.testing.assert_close(found[:3], expected)
        assert (found[3:] < 1e-6).all()  # with a stride of 2 more pixels than maps: three columns stand for twelve
        assert spectral.largest_singular_value(convolution, generator()) == pytest.approx(float(expected[0]))


def test_a_torus_has_a_grid_of_its_strides_only():
    convolution = Convolution(torch.ones(1, 1, 3, 3), (8, 8), stride=(2, 2))
    with pytest.raises(ValueError, match="a multiple of the stride, 2, not 7: use 8"):
        spectral.torus_spectrum(convolution, 7)
    with pytest.raises(ValueError, match="at least 3, which the kernel reaches over"):
        spectral.torus_matrix(convolution, 2)


# --- The formula as printed -----------------------------------------------------------------------


def test_the_printed_factor_is_wrong_for_the_simplest_strided_convolution():
    """Keeping every second pixel is an orthogonal projection: norm 1, and 1/2 by the formula."""
    every_second = Convolution(torch.ones(1, 1, 1, 1, dtype=torch.float64), (8, 8), stride=(2, 2))
    assert spectral.largest_singular_value(every_second, generator()) == pytest.approx(1)
    assert spectral.torus_bounds(every_second, 8).upper == pytest.approx(1)
    assert spectral.norm_as_printed(every_second, 8) == pytest.approx(1 / 2)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_the_printed_factor_is_too_small_by_the_stride(stride):
    weight = torch.randn(3, 2, 5, 5, generator=generator(stride), dtype=torch.float64)
    convolution = Convolution(weight, (12, 12), stride=(stride, stride))
    true = float(torch.linalg.svdvals(spectral.torus_matrix(convolution, 12))[0])
    assert spectral.norm_as_printed(convolution, 12) == pytest.approx(true / stride)


def test_a_grid_as_coarse_as_the_kernel_misses_the_supremum():
    """An edge, (1, -1, 0) along both axes: |1 - e^-iw| is 2 at w = pi, and 2 sin(pi / 3) on the grid of three."""
    edge = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    convolution = Convolution(torch.outer(edge, edge)[None, None], (20, 20))
    assert spectral.torus_bounds(convolution, 20).upper == pytest.approx(4)
    assert spectral.norm_on_kernel_grid(convolution) == pytest.approx(3)
    assert spectral.largest_singular_value(convolution, generator()) > 3.8


@fifty
def test_a_coarse_grid_is_never_too_large(seed):
    convolution = random_convolution(seed)
    fine = spectral.torus_bounds(convolution, 24 * math.lcm(*convolution.stride)).upper
    assert spectral.norm_on_kernel_grid(convolution) <= fine * 1.05


# --- The ImageNet networks ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alexnet_convolutions() -> list[Convolution]:
    try:
        features = imagenet.alexnet(download=False).features
    except DataError as error:
        pytest.skip(f"AlexNet's weights are not here: {error}")
    sides = [224, 27, 13, 13, 13]
    layers = [layer for layer in features if isinstance(layer, nn.Conv2d)]
    return [Convolution.of(layer, (side, side)) for layer, side in zip(layers, sides, strict=True)]


@pytest.fixture(scope="module")
def alexnet_norms(alexnet_convolutions) -> tuple[list[float], float]:
    """And the seconds of processor time that they took."""
    began = time.process_time()
    norms = [spectral.largest_singular_value(convolution, generator()) for convolution in alexnet_convolutions]
    return norms, time.process_time() - began


def test_alexnets_five_norms_have_four_digits_within_two_minutes_of_processor_time(alexnet_convolutions, alexnet_norms):
    """That is a minute on two cores, however busy the machine is."""
    norms, seconds = alexnet_norms
    assert seconds < 120
    for convolution, norm in zip(alexnet_convolutions, norms, strict=True):
        double = convolution.to(torch.float64)
        precise = spectral.largest_singular_value(double, generator(1), tolerance=1e-8)
        assert norm == pytest.approx(precise, rel=2e-5)


@pytest.mark.parametrize("number", range(5))
def test_alexnets_norms_lie_closely_below_their_toruses(alexnet_convolutions, alexnet_norms, number):
    """A computation that knows nothing of the other: a start that has missed the top would show here."""
    convolution = alexnet_convolutions[number]
    upper = spectral.torus_bounds(convolution, spectral.torus_side(convolution)).upper
    assert 0.97 * upper < alexnet_norms[0][number] < upper


# --- Layers that are not linear -------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 3), (3, 1), (5, 2), (2, 3)])
def test_one_pixel_shows_how_far_max_pooling_expands(kernel, stride):
    """A single pixel of 1 in a black image: as many outputs change by 1 as windows see it."""
    side = 3 * kernel * stride
    pixels = torch.eye(side**2).view(-1, 1, side, side)
    expansion = F.max_pool2d(pixels, kernel, stride).flatten(1).norm(dim=1)
    assert float(expansion.max()) == pytest.approx(spectral.max_pool_lipschitz(kernel, stride))


def test_overlapping_max_pooling_is_not_contractive():
    assert spectral.max_pool_lipschitz(kernel_size=2, stride=2) == 1
    assert spectral.max_pool_lipschitz(kernel_size=3, stride=2) == 2


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), kernel=st.integers(1, 4), stride=st.integers(1, 4))
def test_max_pooling_expands_no_further(seed, kernel, stride):
    x, y = torch.randn(2, 1, 2, 9, 9, generator=generator(seed), dtype=torch.float64)
    change = (F.max_pool2d(x, kernel, stride) - F.max_pool2d(y, kernel, stride)).norm()
    assert change <= spectral.max_pool_lipschitz(kernel, stride) * (x - y).norm() * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), epsilon=st.floats(0.1, 10), gamma=st.floats(0, 1), scale=st.floats(-3, 3))
def test_contrast_normalisation_has_its_constant_and_attains_it_at_zero(seed, epsilon, gamma, scale):
    def normalise(x):
        return x / (epsilon + x.square().sum()) ** gamma

    x = 10**scale * torch.randn(5, generator=generator(seed), dtype=torch.float64)
    bound = spectral.contrast_lipschitz(epsilon, gamma)
    slope, at_zero = (
        torch.linalg.matrix_norm(torch.autograd.functional.jacobian(normalise, place), 2) for place in (x, 0 * x)
    )
    assert float(slope) <= bound * (1 + 1e-9)
    assert float(at_zero) == pytest.approx(bound)


@pytest.mark.parametrize("gamma", [1.5, -0.1, math.nan, "1", 0.5j])
def test_the_constant_is_claimed_for_no_other_power(gamma):
    with pytest.raises(ValueError, match="gamma"):
        spectral.contrast_lipschitz(1.0, gamma)


@pytest.mark.parametrize("epsilon", [-1.0, 0.0, math.inf, math.nan, None])
def test_the_constant_needs_an_epsilon_above_0(epsilon):
    with pytest.raises(ValueError, match="epsilon must be"):
        spectral.contrast_lipschitz(epsilon, 0.5)


@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(3, -1), (3, 0), (0, 1), (-3, 1), (3.0, 1), ((3, 3), 1), (True, 1)]
)
def test_windows_and_strides_are_whole_numbers_from_1_on(kernel_size, stride):
    with pytest.raises(ValueError, match=r"must be (a whole number|at least 1 pixel)"):
        spectral.max_pool_lipschitz(kernel_size, stride)


def test_normalisation_over_windows_of_channels_is_no_steeper_as_far_as_climbing_finds():
    """AlexNet's own layer is not the paper's formula: each channel has a sum of its own. No proof, a search."""
    layer = nn.LocalResponseNorm(size=5, alpha=5.0, beta=0.75, k=2.0)  # alpha is divided by the size: a change of units
    steepest = []
    for seed in range(4):
        x = torch.randn(9, generator=generator(seed), dtype=torch.float64).mul(10 ** (seed / 2 - 1)).requires_grad_()
        optimizer = torch.optim.Adam([x], lr=0.05)
        for _ in range(80):
            jacobian = torch.autograd.functional.jacobian(
                lambda x: layer(x[None, :, None])[0, :, 0], x, create_graph=True
            )
            slope = torch.linalg.matrix_norm(jacobian, 2)
            optimizer.zero_grad()
            (-slope).backward()
            optimizer.step()
        steepest.append(float(slope.detach()))
    assert max(steepest) <= spectral.contrast_lipschitz(2.0, 0.75) * (1 + 1e-9)
    assert max(steepest) > 0.9 * spectral.contrast_lipschitz(2.0, 0.75)


LAYERS = {
    "linear": (nn.Linear(12, 5), (12,)),
    "convolution": (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 9, 9)),
    "pooling": (nn.MaxPool2d(3, 2), (2, 9, 9)),
    "sigmoid": (nn.Sigmoid(), (12,)),
    "hyperbolic tangent": (nn.Tanh(), (12,)),
    "rectifier": (nn.ReLU(), (12,)),
    "flatten": (nn.Flatten(), (2, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_no_layer_stretches_a_difference_by_more_than_its_constant(name):
    layer, shape = LAYERS[name]
    layer, source = layer.double(), generator()
    bound = spectral.lipschitz(layer, shape)
    x = torch.randn(200, *shape, generator=source, dtype=torch.float64)
    y = x + 10 ** torch.empty(200, *[1] * len(shape)).uniform_(-4, 1, generator=source) * torch.randn(
        200, *shape, generator=source, dtype=torch.float64
    )
    stretch = (layer(x) - layer(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert float(stretch.max()) <= bound * (1 + 1e-9)
    assert float(stretch.max()) > bound / 4


def test_a_layer_it_does_not_know_is_an_error():
    with pytest.raises(TypeError, match=r"GELU.*Linear, Conv2d, .*Unflatten"):
        spectral.lipschitz(nn.GELU(), (3,))
    for pool in (nn.MaxPool2d(3, stride=2, dilation=2), nn.MaxPool2d((3, 2), stride=2)):
        with pytest.raises(
            TypeError, match=r"MaxPool2d.*there is one with kernel_size and stride each one whole number"
        ):
            spectral.lipschitz(pool, (1, 9, 9))


@pytest.mark.parametrize("layer", [nn.Flatten(0), nn.Unflatten(0, (-1, 2))])
def test_reshaping_that_mixes_images_is_an_error(layer):
    with pytest.raises(TypeError, match=type(layer).__name__):
        spectral.layer_bounds([layer], torch.zeros(2, 6))


def test_dropout_has_a_bound_only_once_it_does_nothing():
    with pytest.raises(ValueError, match=r"network.eval\(\)"):
        spectral.lipschitz(nn.Dropout(0.9), (3,))
    assert spectral.lipschitz(nn.Dropout(0.9).eval(), (3,)) == 1


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nn.Conv2d(1, 2, 3), (28, 28), "unflatten"),
        (nn.Conv2d(2, 3, 3), (3, 5, 5), "takes images of 2 channels"),
        (nn.Conv2d(2, 3, 3), (2, 2, 2), "size must be at least the kernel's"),
        (nn.Conv2d(2, 3, 3), (2, -5, 5), "size must be at least 1"),
        (nn.Linear(12, 2), (13,), "takes 12 numbers"),
        (nn.Linear(12, 2), (3, 4), r"put a torch\.nn\.Flatten\(\) before it"),
        (nn.Linear(12, 2), (), "takes 12 numbers"),
        (nn.MaxPool2d(2), (12,), "takes maps"),
        (nn.Unflatten(1, (3, 4)), (13,), "of 12 numbers"),
        (nn.Linear(12, 2), 12, "shape must be a tuple"),
    ],
)
def test_a_layer_has_no_bound_on_what_it_cannot_take(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        spectral.lipschitz(layer, shape)


def test_what_does_not_fit_a_chain_is_named_with_the_layer():
    with pytest.raises(ValueError, match=r"inputs must fit network.*Linear\(in_features=12"):
        spectral.layer_bounds([nn.Identity(), nn.Linear(12, 2)], torch.zeros(1, 13))
    with pytest.raises(ValueError, match=r"inputs must fit network.*float64"):
        spectral.layer_bounds([nn.Linear(12, 2)], torch.zeros(1, 12, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"inputs must be a torch\.Tensor"):
        spectral.layer_bounds([nn.Linear(12, 2)], [[0.0] * 12])


class Counting(nn.Module):
    """Counts how often it was asked."""

    def __init__(self):
        super().__init__()
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, x):
        self.asked += 1
        return x


class Standardised(nn.Conv2d):
    """A convolution by other weights than its own."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean(), bias)


IMAGE = torch.rand(1, 1, 9, 9)


@pytest.mark.parametrize(
    ("network", "image", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), IMAGE, r"module '1', BatchNorm2d, is in training mode"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), Counting()), IMAGE, r"changes its own buffer '1\.asked'"),
        (nn.Sequential(nn.LazyConv2d(2, 3)), IMAGE, "has no weights yet"),
        (nn.Sequential(Standardised(1, 2, 3)), IMAGE, "_conv_forward of its own"),
        (nn.Sequential(nn.Conv2d(1, 2, 3)), IMAGE.expand(2, -1, -1, -1), "image must be one"),
        (nn.Sequential(nn.Conv2d(1, 2, 3)), IMAGE / 0, "image must be finite"),
        (nn.Sequential(nn.Conv2d(1, 2, 3)), [0], r"image must be a torch\.Tensor"),
        (torch.relu, IMAGE, r"network must be a torch\.nn\.Module"),
    ],
)
def test_convolutions_are_read_off_what_can_be_asked_without_a_change(network, image, words):
    kept = copy.deepcopy(network)
    with pytest.raises(ValueError, match=words):
        spectral.convolutions(network, image)
    if isinstance(network, nn.Module):
        assert all(map(torch.equal, network.buffers(), kept.buffers()))


def test_reading_convolutions_off_leaves_no_hooks_and_draws_no_numbers():
    broken = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(), nn.Conv2d(3, 2, 3))
    with pytest.raises(RuntimeError, match="channels"):
        spectral.convolutions(broken, IMAGE)
    assert not any(layer._forward_hooks for layer in broken.modules())
    state = torch.get_rng_state()
    assert list(spectral.convolutions(broken[:2], IMAGE)) == ["0"]
    assert torch.equal(state, torch.get_rng_state())


def test_convolutions_of_a_network_in_evaluation_mode_are_those_that_it_has():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3)).eval()
    assert [c.input_shape for c in spectral.convolutions(network, IMAGE).values()] == [(1, 9, 9), (2, 7, 7)]


def test_a_convolution_in_single_precision_is_bounded_in_double():
    layer = nn.Conv2d(1, 3, 3)
    assert spectral.lipschitz(layer, (1, 9, 9)) == spectral.lipschitz(layer.double(), (1, 9, 9))


@torch.no_grad()
def test_a_network_stretches_by_no_more_than_the_product():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(36, 8), nn.Sigmoid(), nn.Linear(8, 3)
    ).double()
    x = torch.rand(100, 1, 9, 9, generator=generator(), dtype=torch.float64)
    bounds = spectral.layer_bounds(network, x[:1])
    assert [layer for layer, _ in bounds] == list(network)
    product = math.prod(bound for _, bound in bounds)
    stretch = (network(x[:50]) - network(x[50:])).norm(dim=1) / (x[:50] - x[50:]).flatten(1).norm(dim=1)
    assert 0 < float(stretch.max()) <= product
