"""Certificates: how far any adversarial example must be from its image, as a theorem and not as a search (section 4.3).

If every z_k - z_l changes by at most L_kl |r| between x and x + r, then whatever is given class l lies at least

    max over k of (z_k(x) - z_l(x)) / L_kl

away from x. There are constants L of ever sharper kinds here, and last a certificate that needs none: an enclosure of
all that the logits can be on a ball around x.

Lengths are l2 norms |r| over all pixels. The attack's distortions are root mean squares, |r| / sqrt(784).
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate, groupby

import torch
from torch import Tensor, nn

from lib.attacks import arguments
from lib.measures import spectral
from lib.measures.intervals import Estimate
from lib.networks import mnist

KINDS = ("product of norms", "slope of 1/4", "pairs of classes", "averaged slopes", "enclosure")  # crude to sharp
PRODUCT, SLOPES, PAIRS, AVERAGED, ENCLOSED = KINDS
ROUNDING = 1e-9  # by which certificates are shortened, far more than float64's rounding could lengthen them
CHUNK = 250  # images at once: bounds working memory, changes nothing


def as_layers(network: nn.Module) -> nn.Sequential:
    """A network as a chain of layers that computes the same logits, copied to float64 and in evaluation mode.

    network : of section 2, or a chain (nested ones are made flat) of layers that `spectral.lipschitz` has bounds for.
    Raises TypeError for all others, and for layers that it does not know, by name.
    """
    layers = copy.deepcopy(nn.Sequential(*_chain(network))).double().eval()
    for layer in layers:
        spectral.check_known(layer)
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # what it is given is asked for again
    return layers


def _chain(network: nn.Module) -> list[nn.Module]:
    kind = type(network)  # not a subclass, which may compute anything
    if kind not in (mnist.AutoencoderClassifier, mnist.ConvNetwork, nn.Sequential):
        return [network]
    if network._forward_hooks or network._forward_pre_hooks:
        raise TypeError(f"a {kind.__name__} with hooks may compute anything: remove them first")
    if kind is mnist.AutoencoderClassifier:
        parts = [network.encoder, nn.Sigmoid(), network.classifier]
    elif kind is mnist.ConvNetwork:
        parts = [nn.Unflatten(1, (1, 28, 28)), network.features, network.hidden, network.classifier]
    else:
        parts = network
    return [layer for part in parts for layer in _chain(part)]


@torch.no_grad()
def certify(
    layers: nn.Sequential, constants: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, num_enclosed: int
) -> dict[str, Tensor]:
    """For each kind of certificate, a distance within which no image has class `targets`, (N,); 0 where x has it.

    layers : a network that `as_layers` takes; constants : its own, as from `lipschitz_constants`; inputs : (N, ...).
    Networks that can be enclosed, dense ones with activations, are also certified by enclosure, for their first
    `num_enclosed` images; for the other images that is nan.

    Raises
    ------
    TypeError : as `as_layers` does; inputs or targets of the wrong kind.
    ValueError : inputs outside [0, 1], targets that are no classes, constants of another number of classes.
    """
    layers = as_layers(layers)
    arguments.check_images("inputs", inputs)
    arguments.check_device("inputs", inputs, layers)
    targets = arguments.check_classes("targets", targets, inputs)
    arguments.check_whole("num_enclosed", num_enclosed, 0, "images")
    logits = torch.cat([layers(chunk.double()) for chunk in inputs.split(CHUNK)])
    arguments.check_known("targets", targets, logits.shape[1])
    arguments.warn_of_targets_given(logits.argmax(dim=1) == targets)
    found = {kind: certified_distance(logits, targets, constant) for kind, constant in constants.items()}
    if _is_dense(layers, inputs) and any(isinstance(layer, spectral.ACTIVATIONS) for layer in layers):
        few = slice(0, num_enclosed)
        start = list(found.values())[-1]  # the sharpest
        found[ENCLOSED] = torch.full_like(start, torch.nan)
        found[ENCLOSED][few] = enclosed_distance(layers, inputs[few], targets[few], start[few])
    return found


def orders_short(distances: Tensor, lengths: Tensor) -> Tensor:
    """log10 of lengths / distances, both (N,), where both were measured: distances not 0 or nan, lengths not inf."""
    measured = (distances > 0) & lengths.isfinite()
    return (lengths[measured] / distances[measured]).log10()


def largest_share(distances: Tensor, lengths: Tensor) -> Estimate:
    """The largest certified distance in units of the attack's length, over the n images that were certified (not nan).

    A single value above 1 refutes the certificates: there is an adversarial example where none can be.
    """
    certified = ~distances.isnan()
    shares = torch.where(distances == 0, 0, distances / lengths)[certified]  # 0 / 0: x has the target class already
    largest = float(shares.max())
    return Estimate(largest, largest, largest, len(shares))


def certified_distance(logits: Tensor, targets: Tensor, constants: Tensor) -> Tensor:
    """max over k of (z_k - z_l) / L_kl, at least 0, for logits (N, K), targets l (N,) and constants (K, K). Shape (N,).

    Any one class that is still ahead of l keeps it from being the answer. Raises ValueError for constants of another
    number of classes.
    """
    if constants.shape != (size := (logits.shape[1], logits.shape[1])):
        raise ValueError(f"constants must be {size}, as logits are {tuple(logits.shape)}, not {tuple(constants.shape)}")
    ahead = logits - logits.gather(1, targets[:, None])
    return torch.where(ahead > 0, ahead / constants[targets], 0).amax(dim=1) * (1 - ROUNDING)


# --- Constants that hold everywhere ---------------------------------------------------------------


def lipschitz_constants(layers: nn.Sequential, image: Tensor) -> dict[str, Tensor]:
    """Upper bounds of the Lipschitz constant of every z_k - z_l, (K, K), from the crudest kind to the sharpest.

    - product of norms: sqrt(2) times the product of the layers' norms, section 4.3; activations do not expand
    - slope of 1/4: and sigmoids contract by 4
    - pairs of classes: |w_k - w_l| of the last layer in place of sqrt(2) times its norm
    - averaged slopes: `averaged_constants`, for networks that are dense throughout

    Kinds that would repeat the one before (without sigmoids, or with a single linear layer) are left out.
    layers : a network that `as_layers` takes, its last layer linear; image : (1, ...), tells the shapes.

    Raises
    ------
    TypeError : a layer without a bound, or none that is linear at the end.
    ValueError : weights that are not finite; an image that is not one; logits that are not (1, K).
    """
    layers = as_layers(layers)
    arguments.check_finite("image", image, layers)
    if len(image) != 1:
        raise ValueError(f"image must be one, (1, ...), not {tuple(image.shape)}: use inputs[:1]")
    bounds = [(layer, bound) for layer, bound in spectral.layer_bounds(layers, image.double()) if not _is_idle(layer)]
    _check_logits(layers, image, [layer for layer, _ in bounds])
    *hidden, (last, norm) = bounds
    pairs = pair_norms(last.weight.detach())
    everyone = math.sqrt(2) * norm * (1 - torch.eye(len(pairs)).to(pairs))
    below = math.prod(bound for _, bound in hidden)
    expansive = math.prod(bound for layer, bound in hidden if not isinstance(layer, nn.Sigmoid))
    constants = {PRODUCT: expansive * everyone}
    if below != expansive:
        constants[SLOPES] = below * everyone
    constants[PAIRS] = below * pairs
    if _is_dense(layers, image) and any(isinstance(layer, nn.Linear) for layer, _ in hidden):
        constants[AVERAGED] = averaged_constants(*_weights_and_slopes([layer for layer, _ in bounds]))
    return constants


@torch.no_grad()
def _check_logits(layers: nn.Sequential, image: Tensor, working: Sequence[nn.Module]) -> None:
    if not (working and isinstance(working[-1], nn.Linear)):
        raise TypeError(f"logits must come from a torch.nn.Linear, not from {working[-1] if working else 'nothing'}")
    if (shape := tuple(layers(image.double()).shape)) != (1, working[-1].out_features):
        raise ValueError(f"one image must have logits of shape (1, number of classes), not {shape}: flatten before")


def _is_idle(layer: nn.Module) -> bool:
    """Whether a layer leaves all numbers as they are, and changes no more than the shape."""
    return isinstance(layer, (nn.Dropout, nn.Identity, nn.Flatten, nn.Unflatten))


def _is_dense(layers: Sequence[nn.Module], images: Tensor) -> bool:
    """Whether a network is a product of matrices, each of them a layer's own, but for activations between them.

    Each linear layer has to take all that there is at once, as one vector. images : (N, ...), tells the shape.
    """
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    widths = [math.prod(images.shape[1:]), *(layer.out_features for layer in linear)]
    known = all(isinstance(layer, (nn.Linear, *spectral.ACTIVATIONS)) or _is_idle(layer) for layer in layers)
    return known and [layer.in_features for layer in linear] == widths[:-1]


def _weights_and_slopes(layers: Sequence[nn.Module]) -> tuple[list[Tensor], list[float]]:
    """W_1 ... W_h of a dense network, linear layers in a row multiplied out, and how steep it can be before each."""
    weights, steepest = [], [1.0]
    for is_linear, group in groupby(layers, lambda layer: isinstance(layer, nn.Linear)):
        if is_linear:
            weights.append(reduce(lambda below, above: above @ below, [layer.weight.detach() for layer in group]))
        else:  # before the first matrix, too: slopes in [0, s] make everything at most s times as steep
            steepest[len(weights) :] = [math.prod(spectral.lipschitz(layer, ()) for layer in group)]
    return weights, steepest


def pair_norms(weight: Tensor) -> Tensor:
    """|w_k - w_l| for every two rows of a matrix (K, n). Shape (K, K)."""
    return (weight[:, None] - weight).norm(dim=2)


def averaged_constants(weights: Sequence[Tensor], steepest: Sequence[float]) -> Tensor:
    """Lipschitz constants of z_k - z_l, (K, K), for matrices W_1 ... W_h with activations D_1 ... D_h before them.

    Slopes in [0, s] are s/2 (I + E) with a diagonal E, |E| <= 1: a sigmoid's 1/8 (I + E), a rectifier's 1/2 (I + E).
    Multiplied out, the Jacobian W_h (I + E) ... (I + E) W_1 is a sum of products of blocks W_j ... W_i+1 that no E
    interrupts, and the norms of the blocks bound it. Never above the product of the norms with the steepest slopes.

    steepest : s before each matrix. The activations between two matrices are averaged, D_1 is a factor: 1 for none.
    Raises ValueError unless there are as many as matrices.

    Reference: Combettes & Pesquet 2020, whose theta `reached` is.
    """
    if len(steepest) != len(weights):
        raise ValueError(f"steepest must be one number for each of {len(weights)} matrices, not {len(steepest)}")
    reached = [1.0]  # how far r reaches up to each E
    for j in range(1, len(weights) + 1):
        size = pair_norms if j == len(weights) else _norm
        blocks = accumulate(reversed(weights[:j]), torch.matmul)  # W_j, W_j W_j-1, ..., W_j ... W_1
        reached.append(sum(size(block) * before for block, before in zip(blocks, reversed(reached), strict=True)))
    return reached[-1] * (math.prod(steepest) / 2 ** (len(weights) - 1))


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix, 2)


@torch.enable_grad()
def slopes(layers: nn.Sequential, inputs: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """|gradient of z_first - z_second| at x, (N,): lower bounds of its Lipschitz constant.

    layers : a network that `as_layers` takes; inputs : (N, ...), anywhere; first, second : classes (N,).
    Raises TypeError and ValueError for what is not that.
    """
    layers, found = as_layers(layers), []
    arguments.check_finite("inputs", inputs, layers)
    first, second = (arguments.check_classes(*each, inputs) for each in (("first", first), ("second", second)))
    for chunk, ahead, behind in zip(*(v.split(CHUNK) for v in (inputs.double(), first, second)), strict=True):
        x = chunk.clone().requires_grad_()
        logits = layers(x)
        arguments.check_known("first", ahead, logits.shape[1])
        arguments.check_known("second", behind, logits.shape[1])
        difference = logits.gather(1, ahead[:, None]) - logits.gather(1, behind[:, None])
        found.append(torch.autograd.grad(difference.sum(), x)[0].flatten(1).norm(dim=1))
    return torch.cat(found)


def linear_estimate(layers: nn.Sequential, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The lead of the first class over the target, and its slope, both (N,): their ratio is where a network that is
    linear around x would have its boundary. It certifies nothing. Errors as in `certify`."""
    layers = as_layers(layers)
    arguments.check_images("inputs", inputs)
    arguments.check_device("inputs", inputs, layers)
    targets = arguments.check_classes("targets", targets, inputs)
    with torch.no_grad():
        logits = torch.cat([layers(chunk.double()) for chunk in inputs.split(CHUNK)])
    arguments.check_known("targets", targets, logits.shape[1])
    lead, first = logits.max(dim=1)
    return lead - logits.gather(1, targets[:, None])[:, 0], slopes(layers, inputs, first, targets)


# --- Enclosures that hold on a ball ---------------------------------------------------------------


@dataclass(frozen=True)
class Enclosure:
    """All that n units can be on a ball: {centre + slope r + noise e: |r| <= radius, every |e_i| <= 1}."""

    radius: Tensor  # (N,)
    centre: Tensor  # (N, n)
    slope: Tensor  # (N, n, m); (1, n, m) on the way, as long as it is the same for all
    noise: Tensor  # (N, n, any number)

    @property
    def reach(self) -> Tensor:
        """How far each unit can be from its centre, (N, n)."""
        return self.radius[:, None] * self.slope.norm(dim=2) + self.noise.abs().sum(dim=2)


def enclosed_distance(
    layers: nn.Sequential, inputs: Tensor, targets: Tensor, start: Tensor, num_steps: int = 14
) -> Tensor:
    """A certified distance (N,), no less than the certified distance `start`, for the networks that `enclose` takes.

    Doubled as long as the enclosure of the ball shuts the target class out, then bisected.
    Raises TypeError and ValueError as `enclose` does, and for targets that are not one class for each of the inputs.
    """
    layers = as_layers(layers)
    arguments.check_finite("inputs", inputs, layers)
    targets = arguments.check_classes("targets", targets, inputs)
    arguments.check_distances("start", start, inputs)
    arguments.check_whole("num_steps", num_steps, 1, "step")
    chunks = zip(*(v.split(CHUNK) for v in (inputs, targets, start)), strict=True)
    return torch.cat([_enclosed_chunk(layers, *chunk, num_steps) for chunk in chunks])


def _enclosed_chunk(layers: nn.Sequential, inputs: Tensor, targets: Tensor, start: Tensor, num_steps: int) -> Tensor:
    certified, failed = start.clone(), torch.full_like(start, torch.inf)
    for _ in range(num_steps):
        trial = torch.where(failed.isinf(), 2 * certified, (certified + failed) / 2)
        excluded = shuts_out(enclose(layers, inputs, trial), targets)
        certified, failed = torch.where(excluded, trial, certified), torch.where(excluded, failed, trial)
    return certified


def shuts_out(logits: Enclosure, targets: Tensor) -> Tensor:
    """Whether some class is ahead of the target on all of the ball, (N,) bool."""
    rows = torch.arange(len(targets), device=targets.device)
    parts = (logits.centre, logits.slope, logits.noise)
    ahead = Enclosure(logits.radius, *(part - part[rows, targets][:, None] for part in parts))
    return (ahead.centre > (1 + ROUNDING) * ahead.reach).any(dim=1)


@torch.no_grad()
def enclose(layers: nn.Sequential, inputs: Tensor, radius: Tensor) -> Enclosure:
    """The logits of a dense network on the balls of `radius` (N,) around inputs (N, ...).

    Each activation is replaced by its chord, and what it may stray from that becomes a noise of its own. Layers are
    kept as maps of r and noise, so that what cancels between two units is seen to cancel.

    layers : a network that `as_layers` takes. Raises TypeError unless it is dense; ValueError for inputs that are not
    finite, and for radii that are not one of 0 or more for each.

    Reference: Singh et al. 2018 (affine arithmetic for sigmoids), here with an l2 ball.
    """
    layers = as_layers(layers)
    arguments.check_finite("inputs", inputs, layers)
    arguments.check_distances("radius", radius, inputs)
    if not _is_dense(layers, inputs):
        raise TypeError(f"only linear layers on whole vectors with activations between them are enclosed, not {layers}")
    centre = inputs.double().flatten(1)
    identity = torch.eye(centre.shape[1]).to(centre)
    units = Enclosure(radius.double(), centre, identity[None], centre.new_zeros(*centre.shape, 0))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            units = _linear_of(layer, units)
        elif isinstance(layer, spectral.ACTIVATIONS):
            units = _activation_of(layer, units)
    return replace(units, slope=units.slope.expand(len(centre), -1, -1))


def _linear_of(layer: nn.Linear, units: Enclosure) -> Enclosure:
    slope = layer.weight @ units.slope
    if len(slope) == 1:  # r matters by its projection on the rows only
        slope = torch.linalg.qr(slope.mT).R.mT
    return Enclosure(units.radius, layer(units.centre), slope, layer.weight @ units.noise)


def _activation_of(layer: nn.Module, units: Enclosure) -> Enclosure:
    slope, offset, stray = chord(units.centre - units.reach, units.centre + units.reach, layer)
    noise = torch.cat([slope[..., None] * units.noise, torch.diag_embed(stray)], dim=2)
    return Enclosure(units.radius, slope * units.centre + offset, slope[..., None] * units.slope, noise)


def chord(low: Tensor, high: Tensor, activation: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """slope, offset, stray with |f(a) - slope a - offset| <= stray for all a in [low, high], f one of ACTIVATIONS."""
    beyond = torch.maximum(high, low + 1e-6 * (1 + low.abs()))  # rounding would swamp the slope of a shorter one
    slope = (activation(beyond) - activation(low)) / (beyond - low)
    slope = slope.clamp(0, spectral.lipschitz(activation, ()))
    # What is left, f(a) - slope a, is extremal at the ends or at +-turn, where f's own slope is `slope`, or has a kink.
    turn = _turn(activation, slope)
    places = torch.stack([low, high, torch.clamp(-turn, low, high), torch.clamp(turn, low, high)])
    left = activation(places) - slope * places
    highest, lowest = left.amax(dim=0), left.amin(dim=0)
    return slope, (highest + lowest) / 2, (highest - lowest) / 2


def _turn(activation: nn.Module, slope: Tensor) -> Tensor:
    """The a >= 0 at which an activation has that slope, (...); of a rectifier its kink."""
    match activation:
        case nn.Sigmoid():  # slope s (1 - s), and s = (1 + tanh(a / 2)) / 2
            return 2 * torch.atanh((1 - 4 * slope).sqrt())
        case nn.Tanh():  # slope 1 - tanh^2
            return torch.atanh((1 - slope).sqrt())
        case nn.ReLU():
            return torch.zeros_like(slope)
    raise TypeError(f"no chord is known here for {activation}")
