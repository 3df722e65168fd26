"""Frame bounds: how far a layer stretches, and how far it squeezes, what it is given (section 4.3, Table 5).

A linear layer W obeys lower |x| <= |W x| <= upper |x|, its least and its largest singular value; a rectifier changes
nothing about the upper bound, so a network stretches at most by the product of its layers' upper bounds. For a
convolution that matrix is far too large to write down, and there are three ways to its singular values:

1. the operator as the network applies it, zero-padded at its real size, without the matrix: `Convolution`, with
   `largest_singular_value` and `least_singular_value`;
2. on a torus Fourier's basis makes it block diagonal: `torus_spectrum`;
3. the paper's formula, which is the second with a wrong factor: `norm_as_printed`.

Devices and precisions are those of the weights.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attacks import arguments, asked
from ..attacks.arguments import PRECISIONS, KindError, refuse_autocast
from . import known

Pair = tuple[int, int]
WRITTEN_DOWN = 1024  # rows or columns up to which an operator's least singular value is that of its matrix


class FrameBounds(NamedTuple):
    """lower |x| <= |W x| <= upper |x| for all x, both attained.

    `least` is the least of the min(rows, columns) singular values, which is what Table 5 calls the lower bound. It is
    the lower frame bound where a layer has at least as many outputs as inputs. With fewer outputs some x != 0 is sent
    to 0 whatever the weights are: then `lower` is 0, and `least` bounds |W x| / |x| on the x that W can see at all.
    """

    lower: float
    least: float
    upper: float


def dense_bounds(weight: Tensor) -> FrameBounds:
    """Frame bounds of a matrix (rows, columns), from its singular values.

    Raises TypeError unless it is a real Tensor, ValueError unless it is one matrix and finite.
    """
    known.check_matrix("weight", weight)
    values = torch.linalg.svdvals(weight.detach().double())
    least, upper = float(values[-1]), float(values[0])
    return FrameBounds(0.0 if _is_wide(*weight.shape) else least, least, upper)


def _is_wide(num_outputs: int, num_inputs: int) -> bool:
    """Whether the lower frame bound is zero by shape alone: W has a kernel of at least inputs - outputs dimensions."""
    return num_outputs < num_inputs


# --- The convolution as it is applied -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Convolution:
    """W of a convolution, its bias left out: zero-padded images (C, H, W) to maps (F, H', W'), both flattened."""

    weight: Tensor  # (F, C / groups, kernel height, kernel width)
    size: Pair  # of the images: height and width
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self):
        _check_weight(self.weight)
        for name, least in {"size": 1, "stride": 1, "padding": 0, "dilation": 1}.items():
            _check_pair(name, getattr(self, name), least)
        arguments.check_whole("groups", self.groups, 1, "group")
        if len(self.weight) % self.groups:
            raise ValueError(
                f"groups must divide the number of filters, {len(self.weight)}, and {self.groups} does not"
            )
        if min(self.output_shape[1:]) < 1:
            raise ValueError(
                f"size must be at least the kernel's: images of {tuple(self.size)} pixels with padding {self.padding} "
                f"have no room for a kernel of {tuple(self.weight.shape[2:])} with dilation {self.dilation}"
            )

    @classmethod
    def of(cls, layer: nn.Conv2d, size: Pair) -> "Convolution":
        """The convolution of a layer on images of `size`.

        Raises TypeError unless it is a Conv2d that computes what Conv2d does, ValueError unless it pads with zeros by
        numbers.
        """
        if not isinstance(layer, nn.Conv2d):
            raise KindError(f"layer must be a torch.nn.Conv2d, not {known.called(layer)}")
        known.refuse_lazy(layer)
        known.refuse_own_code(layer, nn.Conv2d)
        if layer.padding_mode != "zeros":
            raise ValueError(f"{layer}: padding_mode must be 'zeros', of no other is a bound known")
        if isinstance(layer.padding, str):
            raise ValueError(f"{layer}: padding must be given as numbers: build it with {_numbers_for(layer)}")
        return cls(layer.weight.detach(), size, layer.stride, layer.padding, layer.dilation, layer.groups)

    def to(self, place: torch.device | torch.dtype) -> "Convolution":
        """The same with its weights on that device, or in that precision."""
        return replace(self, weight=self.weight.to(place))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (self.weight.shape[1] * self.groups, *self.size)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        span = [d * (k - 1) + 1 for k, d in zip(self.weight.shape[2:], self.dilation, strict=True)]
        height, width = (
            (n + 2 * p - k) // s + 1 for n, p, k, s in zip(self.size, self.padding, span, self.stride, strict=True)
        )
        return len(self.weight), height, width

    def __call__(self, images: Tensor) -> Tensor:
        """W x for x (N, C H W)."""
        x = images.view(-1, *self.input_shape)
        return F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups).flatten(1)

    def transpose(self, maps: Tensor) -> Tensor:
        """W' y for y (N, F H' W')."""
        y = maps.view(-1, *self.output_shape)
        shape = (len(y), *self.input_shape)
        arguments = (self.stride, self.padding, self.dilation, self.groups)
        return nn.grad.conv2d_input(shape, self.weight, y, *arguments).flatten(1)

    def matrix(self) -> Tensor:
        """W written down, (F H' W', C H W): for small layers."""
        num_inputs = math.prod(self.input_shape)
        return self(torch.eye(num_inputs, dtype=self.weight.dtype, device=self.weight.device)).T

    def bounds(self, generator: torch.Generator, num_steps: int) -> FrameBounds:
        """Frame bounds of the operator; `num_steps` as in `least_singular_value`.

        `upper` comes from below, to `largest_singular_value`'s tolerance. Where rows and columns both exceed
        WRITTEN_DOWN, `least`, and with it `lower`, comes from above. Neither is a proven bound then.
        """
        upper = largest_singular_value(self, generator)
        least = least_singular_value(self, generator, num_steps)
        wide = _is_wide(math.prod(self.output_shape), math.prod(self.input_shape))
        return FrameBounds(0.0 if wide else least, least, upper)


def _check_weight(weight) -> None:
    known.check_real("weight", weight)
    if weight.dtype not in PRECISIONS:
        raise KindError(f"weight must be floating, float32 or float64, not {weight.dtype}: use weight.float()")
    if weight.ndim != 4 or weight.numel() == 0:
        cure = ": of a matrix use weight[..., None, None], of size (1, 1)" if weight.ndim == 2 else ""
        raise ValueError(
            "weight must be (filters, channels, kernel height, kernel width), each 1 or more, "
            f"not {tuple(weight.shape)}{cure}"
        )
    if not weight.is_meta:
        known.check_numbers("weight", weight)


def _check_pair(name: str, pair, least: int) -> None:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise KindError(f"{name} must be two whole numbers, (height, width), not {pair!r}")
    for value in pair:
        arguments.check_whole(f"each number in {name}", value, least, "pixel")


def _numbers_for(layer: nn.Conv2d) -> str:
    """What to write in place of padding="same" or "valid"."""
    if layer.padding == "valid":
        return "padding=0"
    around = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    if any(n % 2 for n in around):
        return "a kernel of an odd side, as of an even one 'same' pads more on one side than on the other"
    return f"padding={tuple(n // 2 for n in around)}, which pads as 'same' does"


def _check_convolution(convolution) -> None:
    if not isinstance(convolution, Convolution):
        cure = "Convolution(weight, size)" if isinstance(convolution, Tensor) else "Convolution.of(layer, size)"
        raise KindError(f"convolution must be a Convolution, not {known.called(convolution)}: use {cure}")
    refuse_autocast(convolution.weight.device)


def _check_generator(generator) -> None:
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        what = f"one on {generator.device}" if isinstance(generator, torch.Generator) else type(generator).__name__
        raise KindError(
            f"generator must be a torch.Generator on the CPU, not {what}: use torch.Generator().manual_seed(0)"
        )


def _unscaled(convolution: Convolution) -> tuple[Convolution, float]:
    """The convolution divided by a power of two near its largest weight, and that power: no square leaves the range."""
    power = _power_of_two(convolution.weight)
    return replace(convolution, weight=convolution.weight / power), power


def _power_of_two(values: Tensor) -> float:
    """One near the largest of the values, dividing by which rounds nothing; 1 for zeros."""
    most = math.frexp(torch.finfo(values.dtype).max)[1] - 8
    return 2.0 ** min(max(math.frexp(float(values.detach().abs().max()))[1], -most), most)


def largest_singular_value(
    convolution: Convolution, generator: torch.Generator, tolerance: float = 1e-5, max_steps: int = 1000
) -> float:
    """|W|, by Golub and Kahan's bidiagonalisation without reorthogonalisation.

    The value is |W v| for a unit vector v, so never above |W| but for rounding. It has converged when |W'u - value v|
    <= tolerance times value; its error is then of the order of the tolerance's SQUARE over the gap to the next value.

    generator : on the CPU, for the start; tolerance : relative.
    Raises RuntimeError if that takes more than `max_steps` applications of W and of its transpose, TypeError and
    ValueError for arguments that are not that.

    Reference: Golub & Kahan 1965; Golub & Van Loan, Matrix Computations, section 10.4.
    """
    _check_convolution(convolution)
    _check_generator(generator)
    arguments.check_number("tolerance", tolerance)
    arguments.check_whole("max_steps", max_steps, 1, "step")
    convolution, scale = _unscaled(convolution)
    diagonal, above = [], []
    for step, (alpha, beta) in enumerate(_bidiagonalise(convolution, generator, max_steps), start=1):
        diagonal.append(alpha)
        above.append(beta)
        if step % 5 == 0 or beta == 0:
            left, values, _ = torch.linalg.svd(_bidiagonal(diagonal, above[:-1]))
            if beta * abs(left[-1, 0]) <= tolerance * values[0]:
                return scale * float(values[0])
    raise RuntimeError(f"the largest singular value was not found to a relative {tolerance} in {max_steps} steps")


def least_singular_value(convolution: Convolution, generator: torch.Generator, num_steps: int) -> float:
    """The least of the min(rows, columns) singular values: exact for small operators, else an upper bound of it.

    Small ones are written down. Else it comes from `num_steps` steps of the same bidiagonalisation: attained by a
    vector, hence never too small; but a convolution's small singular values are crowded, and it comes down slowly.
    Raises TypeError and ValueError for arguments that are not that.
    """
    _check_convolution(convolution)
    _check_generator(generator)
    arguments.check_whole("num_steps", num_steps, 1, "step")
    convolution, scale = _unscaled(convolution)
    num_inputs, num_outputs = math.prod(convolution.input_shape), math.prod(convolution.output_shape)
    if min(num_inputs, num_outputs) <= WRITTEN_DOWN:
        return scale * float(torch.linalg.svdvals(convolution.matrix())[-1])
    recursion = _bidiagonalise(convolution, generator, num_steps, transposed=_is_wide(num_outputs, num_inputs))
    diagonal, above = (torch.tensor(entries, dtype=torch.float64) for entries in zip(*recursion, strict=True))
    # B'B, a tridiagonal matrix, has the squares of the singular values.
    squares = diagonal.square()
    squares[1:] += above[:-1].square()
    least = scipy.linalg.eigvalsh_tridiagonal(squares, (diagonal * above)[:-1], select="i", select_range=(0, 0))
    return scale * math.sqrt(max(float(least[0]), 0.0))


def _bidiagonalise(convolution: Convolution, generator: torch.Generator, num_steps: int, transposed: bool = False):
    """alpha and beta of each step: W V = U B with alpha on B's diagonal and beta above it, V and U orthonormal.

    No vector is kept. Rounding makes copies of singular values that were found already, and changes none of them.
    Ends early, after a beta of zero, when all singular values have been found that the start has a part in.
    """
    apply, transpose = convolution, convolution.transpose
    shape = convolution.input_shape
    if transposed:
        apply, transpose, shape = transpose, apply, convolution.output_shape
    v = torch.randn(1, math.prod(shape), generator=generator).to(convolution.weight)
    v /= v.norm()
    u = apply(v)
    scale = u.norm()
    for _ in range(num_steps):
        alpha = u.norm()
        u /= alpha.clamp_min(torch.finfo(u.dtype).tiny)
        following = transpose(u) - alpha * v
        beta = following.norm()
        scale = torch.maximum(scale, alpha + beta)
        if beta <= 8 * torch.finfo(u.dtype).eps * scale:
            yield float(alpha), 0.0
            return
        yield float(alpha), float(beta)
        v = following / beta
        u = apply(v) - beta * u


def _bidiagonal(diagonal: list[float], above: list[float]) -> Tensor:
    entries = (torch.tensor(values, dtype=torch.float64) for values in (diagonal, above))
    return torch.diag(next(entries)) + torch.diag(next(entries), 1)


# --- The convolution on a torus -------------------------------------------------------------------


def _transfer_matrices(convolution: Convolution, frequencies: Tensor) -> Tensor:
    """A(omega) of a strided convolution, for frequencies (M, 2) in radians per pixel: (M, groups, F / g, C / g * D D).

    A row for each filter; a column for each input channel and each of the D x D frequencies omega + 2 pi l / D that a
    stride of D cannot tell apart; entries w^(omega + 2 pi l / D) / D. The padding only turns phases.

    Reference: section 4.3, whose last version prints 1/D^2. With unitary transforms of images and maps, keeping one
    pixel in D^2 averages D^2 aliases (1/D^2) and leaves a signal on D^2 times fewer points (D): 1/D.
    """
    weight, stride = convolution.weight, convolution.stride
    real, device = weight.dtype, weight.device
    aliases = torch.cartesian_prod(*(2 * math.pi * torch.arange(d, dtype=real, device=device) / d for d in stride))
    offsets = [
        torch.arange(k, dtype=real, device=device) * d
        for k, d in zip(weight.shape[2:], convolution.dilation, strict=True)
    ]
    angles = (frequencies.to(weight)[:, None] + aliases) @ torch.cartesian_prod(*offsets).T  # (M, D D, kernel)
    waves = torch.polar(torch.ones_like(angles), -angles)
    transformed = torch.einsum("fck,mlk->mfcl", weight.flatten(2).to(waves), waves) / math.sqrt(math.prod(stride))
    return transformed.flatten(2).unflatten(1, (convolution.groups, -1))


def _torus_frequencies(convolution: Convolution, side: int) -> Tensor:
    """The (side / D)^2 frequencies of a torus of side^2 pixels that a stride of D tells apart, in radians per pixel.

    Raises ValueError where the stride does not divide the side.
    """
    _check_side(convolution, side)
    steps = (torch.arange(side // d, dtype=torch.float64) for d in convolution.stride)
    return 2 * math.pi / side * torch.cartesian_prod(*steps)


def _check_side(convolution: Convolution, side: int, least: int = 1) -> None:
    """Raises unless `side` is a whole number from `least` on that all strides divide."""
    _check_convolution(convolution)
    arguments.check_whole("side", side, 1, "pixel")
    grid = math.lcm(*convolution.stride)
    if side % grid or side < least:
        larger = -(-max(side, least) // grid) * grid
        why = f"at least {least}, which the kernel reaches over, and " if side < least else ""
        raise ValueError(
            f"side must be {why}a multiple of the stride, {grid}, not {side}: use {larger}, or torus_side(convolution) "
            "for a torus that is large enough for the image"
        )


def torus_side(convolution: Convolution) -> int:
    """A torus on which nothing that the zero-padded convolution computes meets itself around the corner.

    There the zero-padded operator is a part of the circular one, hence its norm at most the torus' norm. Kernels of a
    single pixel never meet themselves.
    """
    _check_convolution(convolution)
    kernel, grid = convolution.weight.shape[2:], math.lcm(*convolution.stride)
    if max(kernel) == 1:
        return grid
    reach = [n + d * (k - 1) for n, k, d in zip(convolution.size, kernel, convolution.dilation, strict=True)]
    return -(-max(reach) // grid) * grid


def torus_spectrum(convolution: Convolution, side: int, batch: int = 256) -> Tensor:
    """Singular values on a torus of side^2 pixels, (frequencies, groups * min(F / g, C / g * D D)), descending rows.

    These are all but zeros that shape alone brings. Reference: Sedghi, Gupta and Long 2019 for stride 1.
    """
    frequencies = _torus_frequencies(convolution, side)
    arguments.check_whole("batch", batch, 1, "frequency")
    # Weights are real: the frequencies -omega, all but the first half of the rows, give what omega gives.
    height, width = (side // d for d in convolution.stride)
    half = frequencies[: (height // 2 + 1) * width]
    values = [_singular_values(_transfer_matrices(convolution, block)) for block in half.split(batch)]
    values = torch.cat(values).flatten(1).sort(dim=1, descending=True).values.unflatten(0, (-1, width))
    mirrored = values[1 : (height + 1) // 2].flip(0)[:, -torch.arange(width) % width]
    return torch.cat([values, mirrored]).flatten(0, 1)


def _singular_values(matrices: Tensor) -> Tensor:
    """As torch.linalg.svdvals, by way of the smaller Gram matrix, which is several times faster; in float64."""
    if not matrices.imag.any():  # at frequency zero, which is all that a dense layer has: four times faster again
        matrices = matrices.real
    wide = matrices.shape[-2] < matrices.shape[-1]
    tall = (matrices.mH if wide else matrices).to(torch.complex128 if matrices.is_complex() else torch.float64)
    scale = _power_of_two(tall)
    tall = tall / scale  # whose squares stay in range
    return scale * torch.linalg.eigvalsh(tall.mH @ tall).clamp_min(0).sqrt().flip(-1)


def torus_bounds(convolution: Convolution, side: int) -> FrameBounds:
    """Frame bounds of the circular convolution on a torus of side^2 pixels."""
    spectrum = torus_spectrum(convolution, side)
    num_filters, num_channels, *_ = convolution.weight.shape
    wide = _is_wide(num_filters // convolution.groups, num_channels * math.prod(convolution.stride))
    least, upper = float(spectrum.min()), float(spectrum.max())
    return FrameBounds(0.0 if wide else least, least, upper)


def torus_matrix(convolution: Convolution, side: int) -> Tensor:
    """The circular convolution on a torus of side^2 pixels written down: for small layers, to check the above with.

    Raises ValueError where the stride does not divide the side, or the kernel is longer than it.
    """
    _check_convolution(convolution)
    weight, num_channels = convolution.weight, convolution.input_shape[0]
    reach = [d * (k - 1) for k, d in zip(weight.shape[2:], convolution.dilation, strict=True)]
    _check_side(convolution, side, least=1 + max(reach))
    images = torch.eye(num_channels * side**2, dtype=weight.dtype, device=weight.device)
    wrapped = F.pad(images.view(-1, num_channels, side, side), (0, reach[1], 0, reach[0]), mode="circular")
    maps = F.conv2d(wrapped, weight, None, convolution.stride, 0, convolution.dilation, convolution.groups)
    return maps.flatten(1).T


def norm_as_printed(convolution: Convolution, side: int) -> float:
    """The last version's formula to the letter, for square strides: factor 1/D^2 instead of 1/D; side as above."""
    return torus_bounds(convolution, side).upper / math.sqrt(math.prod(convolution.stride))


def norm_on_kernel_grid(convolution: Convolution) -> float:
    """sup |A| where xi runs over the integers of [0, N / D) only, N the kernel's side: the formula's letters again.

    The supremum is over a continuum; on so coarse a grid it comes out too small, unless it lies at frequency zero.
    """
    _check_convolution(convolution)
    steps = (
        torch.arange(math.ceil(k / s), dtype=torch.float64) * 2 * math.pi / (k * d)
        for k, s, d in zip(convolution.weight.shape[2:], convolution.stride, convolution.dilation, strict=True)
    )
    return float(_singular_values(_transfer_matrices(convolution, torch.cartesian_prod(*steps))).max())


# --- Layers that are not linear -------------------------------------------------------------------


def max_pool_lipschitz(kernel_size: int, stride: int) -> float:
    """Lipschitz constant of max pooling: the root of the number of windows that a pixel can be in.

    1, "contractive" as the paper says, for windows that do not overlap. Krizhevsky's do, 3 pixels wide every 2: a
    pixel in four of them can be the maximum of each, and a change of it by 1 changes four outputs by 1. Exact for maps
    large enough to hold such a pixel. Raises TypeError and ValueError unless both are whole numbers, 1 or more.
    """
    arguments.check_whole("kernel_size", kernel_size, 1, "pixel")
    arguments.check_whole("stride", stride, 1, "pixel")
    return float(math.ceil(kernel_size / stride))


def contrast_lipschitz(epsilon: float, gamma: float) -> float:
    """Lipschitz constant epsilon^-gamma of x / (epsilon + |x|^2)^gamma, attained at 0.

    At |x|^2 = t epsilon the Jacobian has the singular values epsilon^-gamma (1 + t)^-gamma, across x, and along x that
    times |1 + (1 - 2 gamma) t| / (1 + t), which is at most 1. Raises TypeError for what are no numbers, ValueError for
    an epsilon that is not above 0 and a gamma outside [0, 1].
    """
    arguments.check_number("epsilon", epsilon, positive=True)
    arguments.check_number("gamma", gamma)
    if gamma > 1:
        raise ValueError(f"gamma must be in [0, 1], not {gamma}: above 1 the constant is another one")
    return epsilon**-gamma


def lipschitz(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """An upper bound of the Lipschitz constant of one layer on inputs of `shape`, without the batch.

    Of a convolution the norm on a torus, which the zero-padded one cannot exceed: an iteration comes from below, and
    proves nothing. Exact for all others, but for pooling on very small maps.

    Raises
    ------
    TypeError : a layer that is not known.KNOWN, or known with other settings (pooling with dilation or oblong windows,
        reshaping that mixes images): no silent 1.
    ValueError : dropout in training mode, weights that are not finite, a shape that the layer does not take.
    """
    known.check_known(layer)
    known.check_weights(layer)
    if not isinstance(shape, (tuple, list)):
        raise KindError(f"shape must be a tuple of whole numbers, such as tuple(images.shape[1:]), not {shape!r}")
    if words := known.misfit(layer, tuple(shape)):
        raise ValueError(f"shape must be one that layer takes, without the batch: {words}")
    match layer:
        case nn.Linear():
            return dense_bounds(layer.weight.detach()).upper
        case nn.Conv2d():
            return _convolution_lipschitz(layer, shape)
        case nn.MaxPool2d(kernel_size=int(), stride=int(), dilation=1, return_indices=False):
            return max_pool_lipschitz(layer.kernel_size, layer.stride)
        case nn.Sigmoid():
            return 0.25
        case nn.Dropout(training=True, p=p) if p > 0:
            raise ValueError(f"{layer} is in training mode and random: call network.eval() first")
        case nn.Tanh() | nn.ReLU() | nn.Dropout() | nn.Identity():  # dropout as evaluation has it: nothing
            return 1.0
        case nn.Flatten(start_dim=dim) | nn.Unflatten(dim=dim) if isinstance(dim, int) and dim >= 1:
            return 1.0
    raise KindError(
        f"no bound is known for {layer} with these settings; there is one with {known.SETTINGS[known.kind_of(layer)]}"
    )


def _convolution_lipschitz(layer: nn.Conv2d, shape: tuple[int, ...]) -> float:
    convolution = Convolution.of(layer, shape[1:]).to(torch.float64)  # single precision may come out too small
    return torus_bounds(convolution, torus_side(convolution)).upper


@torch.no_grad()
def convolutions(network: nn.Module, image: Tensor) -> dict[str, Convolution]:
    """The convolutions of a network under their names, each at the size at which it meets `image` (1, ...).

    The network is left as it was, whatever happens: without hooks, its buffers and the random numbers as they were.

    Raises
    ------
    TypeError : a network that is no Module, an image that is no Tensor, a convolution with code of its own.
    ValueError : batch norm in training mode, other modules that change a buffer when they are asked; an image that is
        not one, or not finite.
    """
    if not isinstance(network, nn.Module):
        raise KindError(f"network must be a torch.nn.Module, whose layers can be seen, not {known.called(network)}")
    _refuse_training(network)
    arguments.check_finite("image", image, network)
    if len(image) != 1:
        raise ValueError(
            f"image must be one, (1, ...), not {tuple(image.shape)}: use images[:1], or of one image [None]"
        )
    found: dict[str, Convolution] = {}

    def noting(name: str):
        def note(layer: nn.Conv2d, inputs: tuple[Tensor], _):
            found[name] = Convolution.of(layer, tuple(inputs[0].shape[-2:]))

        return note

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    before = asked.kept_buffers([network])
    hooks = [layer.register_forward_hook(noting(name)) for name, layer in layers]
    try:
        with torch.random.fork_rng([image.device] if image.is_cuda else []):  # dropout may draw, and changes no size
            network(image.clone())  # a rectifier may work in place
    except Exception as error:
        error.add_note(f"Raised by network, asked about image {tuple(image.shape)}, {image.dtype} on {image.device}.")
        raise
    finally:
        for hook in hooks:
            hook.remove()
        changed = asked.put_back(before)
    if changed:
        raise ValueError(f"network changes its own buffer {changed[0]!r} when it is asked: call network.eval() first")
    return found


def _refuse_training(network: nn.Module) -> None:
    """Raises for what asking would change: batch norm in training mode, and lazy layers."""
    for name, module in network.named_modules():
        known.refuse_lazy(module)
        if module.training and getattr(module, "running_mean", None) is not None:
            raise ValueError(
                f"network's module {name!r}, {type(module).__name__}, is in training mode, in which asking it changes "
                "its running mean: call network.eval() first, which reaches every module"
            )


@torch.no_grad()
def layer_bounds(layers: Iterable[nn.Module], inputs: Tensor) -> list[tuple[nn.Module, float]]:
    """Each layer with its upper bound, in order; `inputs` (1, ...) is an image that tells the shapes.

    Raises TypeError and ValueError as `lipschitz` does: for every layer that it has no bound for.
    """
    known.check_real("inputs", inputs)
    inputs, bounds = inputs.clone(), []  # a rectifier may work in place
    for layer in layers:
        known.check_known(layer)
        _refuse_misfit("inputs", layer, inputs)
        bounds.append((layer, lipschitz(layer, tuple(inputs.shape[1:]))))
        inputs = after("inputs", layer, inputs)
    return bounds


def after(name: str, layer: nn.Module, inputs: Tensor) -> Tensor:
    """What a layer of known.KNOWN makes of `inputs`. Raises ValueError, of the argument `name`, where it cannot."""
    _refuse_misfit(name, layer, inputs)
    try:
        return layer(inputs)
    except RuntimeError as error:
        given = f"{tuple(inputs.shape)}, {inputs.dtype} on {inputs.device}"
        raise ValueError(
            f"{name} must fit network, and {layer} cannot take what it is given, {given}: {error}"
        ) from error


def _refuse_misfit(name: str, layer: nn.Module, inputs: Tensor) -> None:
    if words := known.misfit(layer, tuple(inputs.shape[1:])):
        raise ValueError(f"{name} must fit network: {words}")
