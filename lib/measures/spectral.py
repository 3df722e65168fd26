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
    """Frame bounds of a matrix (rows, columns), from its singular values."""
    values = torch.linalg.svdvals(weight.double())
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

    @classmethod
    def of(cls, layer: nn.Conv2d, size: Pair) -> "Convolution":
        """The convolution of a layer on images of `size`. Raises ValueError unless it pads with zeros by numbers."""
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ValueError(f"{layer}: padding must be zeros, and as many of them as two numbers say")
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
        """Frame bounds of the operator; `num_steps` as in `least_singular_value`."""
        upper = largest_singular_value(self, generator)
        least = least_singular_value(self, generator, num_steps)
        wide = _is_wide(math.prod(self.output_shape), math.prod(self.input_shape))
        return FrameBounds(0.0 if wide else least, least, upper)


def largest_singular_value(
    convolution: Convolution, generator: torch.Generator, tolerance: float = 1e-5, max_steps: int = 1000
) -> float:
    """|W|, by Golub and Kahan's bidiagonalisation without reorthogonalisation.

    The value is |W v| for a unit vector v, so never above |W| but for rounding. It has converged when |W'u - value v|
    <= tolerance times value; its error is then of the order of the tolerance's SQUARE over the gap to the next value.

    generator : on the CPU, for the start; tolerance : relative.
    Raises RuntimeError if that takes more than `max_steps` applications of W and of its transpose.

    Reference: Golub & Kahan 1965; Golub & Van Loan, Matrix Computations, section 10.4.
    """
    diagonal, above = [], []
    for step, (alpha, beta) in enumerate(_bidiagonalise(convolution, generator, max_steps), start=1):
        diagonal.append(alpha)
        above.append(beta)
        if step % 5 == 0 or beta == 0:
            left, values, _ = torch.linalg.svd(_bidiagonal(diagonal, above[:-1]))
            if beta * abs(left[-1, 0]) <= tolerance * values[0]:
                return float(values[0])
    raise RuntimeError(f"the largest singular value was not found to a relative {tolerance} in {max_steps} steps")


def least_singular_value(convolution: Convolution, generator: torch.Generator, num_steps: int) -> float:
    """The least of the min(rows, columns) singular values: exact for small operators, else an upper bound of it.

    Small ones are written down. Else it comes from `num_steps` steps of the same bidiagonalisation: attained by a
    vector, hence never too small; but a convolution's small singular values are crowded, and it comes down slowly.
    """
    num_inputs, num_outputs = math.prod(convolution.input_shape), math.prod(convolution.output_shape)
    if min(num_inputs, num_outputs) <= WRITTEN_DOWN:
        return float(torch.linalg.svdvals(convolution.matrix())[-1])
    recursion = _bidiagonalise(convolution, generator, num_steps, transposed=_is_wide(num_outputs, num_inputs))
    diagonal, above = (torch.tensor(entries, dtype=torch.float64) for entries in zip(*recursion, strict=True))
    # B'B, a tridiagonal matrix, has the squares of the singular values.
    squares = diagonal.square()
    squares[1:] += above[:-1].square()
    least = scipy.linalg.eigvalsh_tridiagonal(squares, (diagonal * above)[:-1], select="i", select_range=(0, 0))
    return math.sqrt(max(float(least[0]), 0.0))


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
    if any(side % d for d in convolution.stride):
        raise ValueError(f"a torus of side {side} has no grid of stride {convolution.stride}")
    steps = (torch.arange(side // d, dtype=torch.float64) for d in convolution.stride)
    return 2 * math.pi / side * torch.cartesian_prod(*steps)


def torus_side(convolution: Convolution) -> int:
    """A torus on which nothing that the zero-padded convolution computes meets itself around the corner.

    There the zero-padded operator is a part of the circular one, hence its norm at most the torus' norm. Kernels of a
    single pixel never meet themselves.
    """
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
    return torch.linalg.eigvalsh(tall.mH @ tall).clamp_min(0).sqrt().flip(-1)


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
    weight, num_channels = convolution.weight, convolution.input_shape[0]
    reach = [d * (k - 1) for k, d in zip(weight.shape[2:], convolution.dilation, strict=True)]
    if max(reach) >= side or any(side % d for d in convolution.stride):
        raise ValueError(f"a kernel that reaches {reach} pixels by strides of {convolution.stride} on a side of {side}")
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
    large enough to hold such a pixel.
    """
    return float(math.ceil(kernel_size / stride))


def contrast_lipschitz(epsilon: float, gamma: float) -> float:
    """Lipschitz constant epsilon^-gamma of x / (epsilon + |x|^2)^gamma, attained at 0.

    At |x|^2 = t epsilon the Jacobian has the singular values epsilon^-gamma (1 + t)^-gamma, across x, and along x that
    times |1 + (1 - 2 gamma) t| / (1 + t), which is at most 1. Raises ValueError for a gamma outside [0, 1].
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], not {gamma}")
    return epsilon**-gamma


ACTIVATIONS = (nn.Sigmoid, nn.Tanh, nn.ReLU)  # of each unit by itself; never falling, and as steep as `lipschitz` says
KNOWN = (nn.Linear, nn.Conv2d, nn.MaxPool2d, *ACTIVATIONS, nn.Dropout, nn.Identity, nn.Flatten, nn.Unflatten)


def check_known(layer: nn.Module) -> None:
    """Raises TypeError unless `layer` is one of KNOWN: with hooks or a forward of its own it may do anything."""
    names = ", ".join(kind.__name__ for kind in KNOWN)
    if getattr(getattr(layer, "forward", None), "__func__", None) not in {kind.forward for kind in KNOWN}:
        raise TypeError(f"no bound is known here for {layer}; there are some for {names}")
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise TypeError(f"{layer} has hooks, with which it may compute anything: remove them first")


def lipschitz(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """An upper bound of the Lipschitz constant of one layer on inputs of `shape`, without the batch.

    Of a convolution the norm on a torus, which the zero-padded one cannot exceed: an iteration comes from below, and
    proves nothing. Exact for all others, but for pooling on very small maps.

    Raises
    ------
    TypeError : a layer that is not KNOWN, or known with other settings (pooling with dilation or oblong windows,
        reshaping that mixes images): no silent 1.
    ValueError : dropout in training mode, weights that are not finite, a convolution on what are not images.
    """
    check_known(layer)
    if not all(parameter.isfinite().all() for parameter in layer.parameters()):
        raise ValueError(f"{layer}: its weights must be finite")
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
    raise TypeError(f"no bound is known here for {layer} with these settings")


def _convolution_lipschitz(layer: nn.Conv2d, shape: tuple[int, ...]) -> float:
    if len(shape) != 3:
        raise ValueError(f"{layer} takes images (channels, height, width), not inputs of shape {shape}: unflatten them")
    convolution = Convolution.of(layer, shape[1:]).to(torch.float64)  # single precision may come out too small
    return torus_bounds(convolution, torus_side(convolution)).upper


@torch.no_grad()
def convolutions(network: nn.Module, image: Tensor) -> dict[str, Convolution]:
    """The convolutions of a network under their names, each at the size at which it meets `image` (1, ...)."""
    found: dict[str, Convolution] = {}

    def noting(name: str):
        def note(layer: nn.Conv2d, inputs: tuple[Tensor], _):
            found[name] = Convolution.of(layer, tuple(inputs[0].shape[2:]))

        return note

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(noting(name)) for name, layer in layers]
    network(image)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def layer_bounds(layers: Iterable[nn.Module], inputs: Tensor) -> list[tuple[nn.Module, float]]:
    """Each layer with its upper bound, in order; `inputs` (1, ...) is an image that tells the shapes.

    Raises TypeError and ValueError as `lipschitz` does: for every layer that it has no bound for.
    """
    inputs, bounds = inputs.clone(), []  # a rectifier may work in place
    for layer in layers:
        bounds.append((layer, lipschitz(layer, tuple(inputs.shape[1:]))))
        inputs = layer(inputs)
    return bounds
