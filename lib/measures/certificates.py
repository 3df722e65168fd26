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
from itertools import groupby

import torch
from torch import Tensor, nn

from ..attacks import arguments
from ..attacks.arguments import KindError
from ..networks import mnist
from . import chains, known, spectral
from .intervals import Estimate

KINDS = ("product of norms", "slope of 1/4", "pairs of classes", "averaged slopes", "semidefinite", "enclosure")
PRODUCT, SLOPES, PAIRS, AVERAGED, SEMIDEFINITE, ENCLOSED = KINDS  # from crude to sharp
ROUNDING = 1e-9  # by which certificates are shortened, far more than float64's rounding could lengthen them
CHUNK = 250  # images at once: bounds working memory, changes nothing


@arguments.outside_inference_mode
def as_layers(network: nn.Module) -> nn.Sequential:
    """A network as a chain of layers that computes the same logits, copied to float64 and in evaluation mode.

    network : of section 2, or a chain (nested ones are made flat) of layers that `spectral.lipschitz` has bounds for.
    Raises TypeError for all others, and for layers that it does not know, by name; ValueError for weights that are not
    finite.
    """
    found = _chain(network)
    for layer in found:
        known.check_known(layer)
    layers = _copied(found).double().eval()
    for layer in layers:
        layer.training = False  # whatever its own eval does
        known.check_weights(layer)
        _check_double(layer)
        layer._backward_hooks.clear()  # that change gradients, and nothing that a network says
        layer._backward_pre_hooks.clear()
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # what it is given is asked for again
    return layers


def _chain(network: nn.Module) -> list[nn.Module]:
    if not isinstance(network, nn.Module):
        cure = "hand in the network itself, such as torch.nn.Sequential(...)"
        if isinstance(network, (list, tuple)):
            cure = "of a list of layers use torch.nn.Sequential(*layers)"
        what = getattr(network, "__name__", type(network).__name__)
        raise KindError(f"network must be a torch.nn.Module, whose layers can be looked at, not {what}: {cure}")
    kind = type(network)  # not a subclass, which may compute anything
    if kind not in (mnist.AutoencoderClassifier, mnist.ConvNetwork, nn.Sequential):
        return [network]
    known.refuse_own_code(network, kind)
    known.refuse_hooks(network)
    if kind is mnist.AutoencoderClassifier:
        parts = [network.encoder, nn.Sigmoid(), network.classifier]
    elif kind is mnist.ConvNetwork:
        parts = [nn.Unflatten(1, (1, 28, 28)), network.features, network.hidden, network.classifier]
    else:
        parts = network
    return [layer for part in parts for layer in _chain(part)]


def _copied(layers: list[nn.Module]) -> nn.Sequential:
    try:
        return copy.deepcopy(nn.Sequential(*layers))
    except (RuntimeError, TypeError) as error:
        raise KindError(
            "network must be such that copy.deepcopy can copy it: let each weight be a torch.nn.Parameter, no result "
            "of a computation, and leave things that cannot be copied off its layers"
        ) from error


def _check_double(layer: nn.Module) -> None:
    """Raises TypeError unless the weights that a layer computes with went along to float64."""
    for name in ("weight", "bias"):
        values = getattr(layer, name, None)
        if isinstance(values, Tensor) and values.dtype != torch.float64:
            raise KindError(
                f"{layer}: its {name} must be a torch.nn.Parameter, which .double() converts, not a plain Tensor: use "
                f"layer.{name} = torch.nn.Parameter(layer.{name})"
            )


@arguments.outside_inference_mode
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
    TypeError : as `as_layers` does; inputs, targets or constants of the wrong kind.
    ValueError : inputs outside [0, 1] or of another shape than the network's, targets that are no classes; constants
        of another number of classes, below 0 or nan, or less than a slope that the network has at the first image.
    """
    layers, inputs, targets = _checked(layers, inputs, targets)
    arguments.check_whole("num_enclosed", num_enclosed, 0, "images")
    logits = _logits(layers, inputs)
    arguments.check_known("targets", targets, logits.shape[1])
    _check_constants(constants, layers, inputs[:1], logits)
    arguments.warn_of_targets_given(logits.argmax(dim=1) == targets)
    found = {kind: certified_distance(logits, targets, constant) for kind, constant in constants.items()}
    if _is_dense(layers, inputs) and any(isinstance(layer, known.ACTIVATIONS) for layer in layers):
        few = slice(0, num_enclosed)
        start = list(found.values())[-1]  # the sharpest
        found[ENCLOSED] = torch.full_like(start, torch.nan)
        if num_enclosed:
            found[ENCLOSED][few] = enclosed_distance(layers, inputs[few], targets[few], start[few])
    return found


def _checked(network: nn.Module, inputs, targets) -> tuple[nn.Sequential, Tensor, Tensor]:
    """The network's layers, inputs in [0, 1] that they take, and one target for each, int64."""
    layers = as_layers(network)
    arguments.check_images("inputs", inputs, "make it a first torch.nn.Linear, or torch.nn.Conv2d, of the network")
    arguments.check_device("inputs", inputs, layers)
    _check_fits("inputs", inputs, layers)
    return layers, inputs, arguments.check_classes("targets", targets, inputs)


@torch.no_grad()
def _check_fits(name: str, inputs: Tensor, layers: nn.Sequential) -> None:
    """Raises ValueError unless the network takes `inputs`, (N, ...)."""
    x = inputs[:1].double()
    for layer in layers:
        x = spectral.after(name, layer, x)


def _logits(layers: nn.Sequential, inputs: Tensor) -> Tensor:
    """Logits (N, K) in float64. Raises ValueError unless they are that, K >= 2, and finite."""
    logits = torch.cat([layers(chunk.double()) for chunk in inputs.split(CHUNK)])
    _check_shape_of_logits(logits)
    if not logits.isfinite().all():
        raise ValueError(
            "network must have finite logits, and some are nan or inf: its weights are too large for float64"
        )
    return logits


def _check_shape_of_logits(logits: Tensor) -> None:
    if logits.ndim != 2:
        raise ValueError(
            f"network must have logits of shape (N, number of classes), not {tuple(logits.shape)}: flatten before its "
            "last layer, by torch.nn.Flatten()"
        )
    if logits.shape[1] < 2:
        raise ValueError(
            "network must have at least two classes, not one logit: of a single logit z for 'yes' make two, 0 and z, "
            "by a last torch.nn.Linear with a first row of zeros"
        )


def _check_constants(constants, layers: nn.Sequential, image: Tensor, logits: Tensor) -> None:
    """Raises unless `constants` holds one (K, K) or more, none of them refuted by what the network does at `image`."""
    cure = "take lipschitz_constants(network, inputs[:1])"
    if not isinstance(constants, Mapping):
        raise KindError(f"constants must be a dict of Tensors (K, K) by kind, not {type(constants).__name__}: {cure}")
    if not constants:
        raise ValueError(f"constants must hold those of one kind at least, and is empty: {cure}")
    met = _slopes_met(layers, image)
    for kind, constant in constants.items():
        _check_constant(constant, logits, f" in constants[{kind!r}]: {cure}")
        if (constant < met - 1e-6 * met.max()).any():
            raise ValueError(
                "constants must be upper bounds of this network's, and at inputs[0] two logits change faster than is "
                f"said in constants[{kind!r}]: {cure}"
            )


def _check_constant(constants, logits: Tensor, where: str = "") -> None:
    """Raises unless `constants` is a real Tensor (K, K), all 0 or more (inf says nothing), where the logits are."""
    size = (logits.shape[1], logits.shape[1])
    if not isinstance(constants, Tensor) or not constants.is_floating_point():
        what = constants.dtype if isinstance(constants, Tensor) else type(constants).__name__
        raise KindError(f"constants must be floating Tensors {size}, not {what}{where}")
    if constants.shape != size:
        raise ValueError(
            f"constants must be {size}, one for every two of {size[0]} logits, not {tuple(constants.shape)}{where}"
        )
    if constants.device != logits.device:
        raise ValueError(f"constants must be on {logits.device} as inputs are, not on {constants.device}{where}")
    if not (constants >= 0).all():
        raise ValueError(f"constants must be 0 or more, and there is a negative one or nan{where}")


@torch.enable_grad()
def _slopes_met(layers: nn.Sequential, image: Tensor) -> Tensor:
    """|gradient of z_k - z_l| at an image (1, ...), (K, K)."""
    x = image.detach().double().clone().requires_grad_()
    rows = [torch.autograd.grad(z, x, retain_graph=True, allow_unused=True)[0] for z in layers(x)[0]]
    return chains.pair_norms(torch.stack([torch.zeros_like(x) if row is None else row for row in rows]).flatten(1))


def orders_short(distances: Tensor, lengths: Tensor) -> Tensor:
    """log10 of lengths / distances, both (N,), where both were measured: distances not 0 or nan, lengths not inf.

    Raises TypeError and ValueError for what is not two such Tensors.
    """
    _check_measured(distances, lengths)
    measured = (distances > 0) & lengths.isfinite()
    return (lengths[measured] / distances[measured]).log10()


def largest_share(distances: Tensor, lengths: Tensor) -> Estimate:
    """The largest certified distance in units of the attack's length, over the n images that were certified (not nan).

    A single value above 1 refutes the certificates: there is an adversarial example where none can be. nan of no image.
    Raises TypeError and ValueError as `orders_short` does.
    """
    _check_measured(distances, lengths)
    certified = ~distances.isnan()
    nothing = (distances == 0) | lengths.isinf()  # x has the target class already; or no image was found that has
    shares = torch.where(nothing, 0, distances / lengths)[certified]
    largest = float(shares.max()) if len(shares) else math.nan
    return Estimate(largest, largest, largest, len(shares))


def _check_measured(distances, lengths) -> None:
    for name, values in {"distances": distances, "lengths": lengths}.items():
        if not isinstance(values, Tensor):
            raise KindError(f"{name} must be a torch.Tensor (N,), not {type(values).__name__}")
    if distances.ndim != 1 or distances.shape != lengths.shape:
        raise ValueError(
            f"distances and lengths must be (N,), one of each for each image, not {tuple(distances.shape)} and "
            f"{tuple(lengths.shape)}"
        )
    if (distances < 0).any() or not (lengths >= 0).all():
        raise ValueError("distances and lengths must be 0 or more; of lengths that were not found use inf, not nan")


def certified_distance(logits: Tensor, targets: Tensor, constants: Tensor) -> Tensor:
    """max over k of (z_k - z_l) / L_kl, at least 0, for logits (N, K), targets l (N,) and constants (K, K). Shape (N,).

    Any one class that is still ahead of l keeps it from being the answer. inf where one is ahead with L_kl = 0,
    for it is so everywhere. Raises TypeError and ValueError for what is not that: constants of another number of
    classes, below 0 or nan, logits that are not finite.
    """
    known.check_matrix("logits", logits)
    targets = arguments.check_classes("targets", targets, logits)
    arguments.check_known("targets", targets, logits.shape[1])
    _check_constant(constants, logits)
    ahead = logits - logits.gather(1, targets[:, None])
    return torch.where(ahead > 0, ahead / constants[targets], 0).amax(dim=1) * (1 - ROUNDING)


# --- Constants that hold everywhere ---------------------------------------------------------------


def lipschitz_constants(layers: nn.Sequential, image: Tensor) -> dict[str, Tensor]:
    """Upper bounds of the Lipschitz constant of every z_k - z_l, (K, K), from the crudest kind to the sharpest.

    - product of norms: sqrt(2) times the product of the layers' norms, section 4.3; activations do not expand
    - slope of 1/4: and sigmoids contract by 4
    - pairs of classes: |w_k - w_l| of the last layer in place of sqrt(2) times its norm
    - averaged slopes, semidefinite: `chains.averaged_constants` and `chains.semidefinite_constants`, for networks that
      are dense throughout; of two that both hold the smaller one

    Kinds that would repeat the one before (without sigmoids, or with a single linear layer) are left out.
    layers : a network that `as_layers` takes, its last layer linear; image : (1, ...), tells the shapes.

    Raises
    ------
    TypeError : a layer without a bound, or none that is linear at the end.
    ValueError : weights that are not finite; an image that is not one, or not of the network's shape; logits that are
        not (1, K), K >= 2.
    """
    layers = as_layers(layers)
    arguments.check_finite("image", image, layers)
    if len(image) != 1:
        raise ValueError(f"image must be one, (1, ...), not {tuple(image.shape)}: use inputs[:1]")
    _check_fits("image", image, layers)
    bounds = [(layer, bound) for layer, bound in spectral.layer_bounds(layers, image.double()) if not _is_idle(layer)]
    _check_logits(layers, image, [layer for layer, _ in bounds])
    *hidden, (last, norm) = bounds
    pairs = chains.pair_norms(last.weight.detach())
    everyone = math.sqrt(2) * norm * (1 - torch.eye(len(pairs)).to(pairs))  # 0 from a class to itself
    below = math.prod(bound for _, bound in hidden)
    expansive = math.prod(bound for layer, bound in hidden if not isinstance(layer, nn.Sigmoid))
    constants = {PRODUCT: _times(expansive, everyone)}
    if below != expansive:
        constants[SLOPES] = _times(below, everyone)
    constants[PAIRS] = _times(below, pairs)
    if _is_dense(layers, image) and any(isinstance(layer, nn.Linear) for layer, _ in hidden):
        weights, steepest = _weights_and_slopes([layer for layer, _ in bounds])
        averaged = constants[AVERAGED] = chains.averaged_constants(weights, steepest)
        if len(weights) > 1:
            constants[SEMIDEFINITE] = torch.minimum(averaged, chains.semidefinite_constants(weights, steepest))
    return constants


def _times(factor: float, constants: Tensor) -> Tensor:
    """Their product; of a factor too large for float64 inf, which says nothing, but 0 for two logits that are one."""
    return torch.where(constants == 0, 0, factor * constants)


@torch.no_grad()
def _check_logits(layers: nn.Sequential, image: Tensor, working: Sequence[nn.Module]) -> None:
    if not (working and isinstance(working[-1], nn.Linear)):
        raise KindError(
            "network must end with a torch.nn.Linear, which the logits come from, not with "
            f"{working[-1] if working else 'nothing'}"
        )
    _check_shape_of_logits(layers(image.double()))


def _is_idle(layer: nn.Module) -> bool:
    """Whether a layer leaves all numbers as they are, and changes no more than the shape."""
    return isinstance(layer, (nn.Dropout, nn.Identity, nn.Flatten, nn.Unflatten))


def _is_dense(layers: Sequence[nn.Module], images: Tensor) -> bool:
    """Whether a network is a product of matrices, each of them a layer's own, but for activations between them.

    Each linear layer has to take all that there is at once, as one vector. images : (N, ...), tells the shape.
    """
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    widths = [math.prod(images.shape[1:]), *(layer.out_features for layer in linear)]
    dense = all(isinstance(layer, (nn.Linear, *known.ACTIVATIONS)) or _is_idle(layer) for layer in layers)
    return dense and [layer.in_features for layer in linear] == widths[:-1]


def _weights_and_slopes(layers: Sequence[nn.Module]) -> tuple[list[Tensor], list[float]]:
    """W_1 ... W_h of a dense network, linear layers in a row multiplied out, and how steep it can be before each."""
    weights, steepest = [], [1.0]
    for is_linear, group in groupby(layers, lambda layer: isinstance(layer, nn.Linear)):
        if is_linear:
            weights.append(
                reduce(lambda below, above: chains.product(above, below), [layer.weight.detach() for layer in group])
            )
        else:  # before the first matrix, too: slopes in [0, s] make everything at most s times as steep
            steepest[len(weights) :] = [math.prod(spectral.lipschitz(layer, ()) for layer in group)]
    return weights, steepest


@arguments.outside_inference_mode
@torch.enable_grad()
def slopes(layers: nn.Sequential, inputs: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """|gradient of z_first - z_second| at x, (N,): lower bounds of its Lipschitz constant.

    layers : a network that `as_layers` takes; inputs : (N, ...), anywhere; first, second : classes (N,).
    Raises TypeError and ValueError for what is not that.
    """
    layers, found = as_layers(layers), []
    arguments.check_finite("inputs", inputs, layers)
    _check_fits("inputs", inputs, layers)
    first, second = (arguments.check_classes(*each, inputs) for each in (("first", first), ("second", second)))
    inputs, first, second = (v.detach().clone() for v in (inputs, first, second))  # made under inference_mode, maybe
    for chunk, ahead, behind in zip(*(v.split(CHUNK) for v in (inputs, first, second)), strict=True):
        x = chunk.double().detach().requires_grad_()
        logits = layers(x)
        _check_shape_of_logits(logits)
        arguments.check_known("first", ahead, logits.shape[1])
        arguments.check_known("second", behind, logits.shape[1])
        difference = logits.gather(1, ahead[:, None]) - logits.gather(1, behind[:, None])
        found.append(chains.norms(torch.autograd.grad(difference.sum(), x)[0].flatten(1)))
    return torch.cat(found)


@arguments.outside_inference_mode
def linear_estimate(layers: nn.Sequential, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The lead of the first class over the target, and its slope, both (N,): their ratio is where a network that is
    linear around x would have its boundary. It certifies nothing. Errors as in `certify`."""
    layers, inputs, targets = _checked(layers, inputs, targets)
    with torch.no_grad():
        logits = _logits(layers, inputs)
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
        return self.radius[:, None] * chains.norms(self.slope) + self.noise.abs().sum(dim=2)


@torch.no_grad()
def enclosed_distance(
    layers: nn.Sequential, inputs: Tensor, targets: Tensor, start: Tensor, num_steps: int = 14
) -> Tensor:
    """A certified distance (N,), no less than the certified distance `start`, for the networks that `enclose` takes.

    Doubled as long as the enclosure of the ball shuts the target class out, then bisected. In float64.
    Raises TypeError and ValueError as `enclose` does, and for targets that are not one class for each of the inputs.
    """
    layers = _checked_dense(layers, inputs)
    targets = arguments.check_classes("targets", targets, inputs)
    arguments.check_known("targets", targets, _logits(layers, inputs[:1]).shape[1])
    start = _checked_lengths("start", start, inputs)
    arguments.check_whole("num_steps", num_steps, 1, "step")
    chunks = zip(*(v.split(CHUNK) for v in (inputs, targets, start)), strict=True)
    return torch.cat([_enclosed_chunk(layers, *chunk, num_steps) for chunk in chunks])


def _checked_dense(network: nn.Module, inputs) -> nn.Sequential:
    """The network's layers. Raises unless it is dense, and takes the inputs."""
    layers = as_layers(network)
    arguments.check_finite("inputs", inputs, layers)
    _check_fits("inputs", inputs, layers)
    if not _is_dense(layers, inputs):
        raise KindError(
            "network must be dense to be enclosed: torch.nn.Linear layers, each of which takes all numbers at once, "
            f"with {', '.join(kind.__name__ for kind in known.ACTIVATIONS)} between them. For inputs of shape "
            f"{tuple(inputs.shape)} that is not so of {layers}: its constants are certificates all the same"
        )
    return layers


def _checked_lengths(name: str, values, inputs: Tensor) -> Tensor:
    """`values` in float64. Raises unless it is a real Tensor (N,), 0 or more for each input, on its device."""
    if not isinstance(values, Tensor):
        raise KindError(f"{name} must be a torch.Tensor, not {type(values).__name__}: use torch.as_tensor({name})")
    if values.is_complex() or values.dtype == torch.bool:
        raise KindError(f"{name} must hold real numbers, distances, not {values.dtype}")
    if values.shape != (len(inputs),):
        cure = f": of one number for all use {name}.expand({len(inputs)})" if values.numel() == 1 else ""
        raise ValueError(
            f"{name} must be a distance of 0 or more for each of {len(inputs)} inputs, ({len(inputs)},), not of shape "
            f"{tuple(values.shape)}{cure}"
        )
    if values.device != inputs.device:
        raise ValueError(
            f"{name} must be on {inputs.device} as inputs are, not on {values.device}: use {name}.to(inputs.device)"
        )
    if not (values >= 0).all():
        raise ValueError(f"{name} must be a distance of 0 or more for each of the inputs, and one is negative or nan")
    return values.detach().double()


def _enclosed_chunk(layers: nn.Sequential, inputs: Tensor, targets: Tensor, start: Tensor, num_steps: int) -> Tensor:
    certified, failed = start.clone(), torch.full_like(start, torch.inf)
    for _ in range(num_steps):
        trial = torch.where(failed.isinf(), 2 * certified, (certified + failed) / 2)
        trial = trial.clamp_max(torch.finfo(trial.dtype).max)  # of a start of inf
        excluded = shuts_out(enclose(layers, inputs, trial), targets)
        certified = torch.where(excluded, torch.maximum(trial, certified), certified)
        failed = torch.where(excluded, failed, trial)
    return certified


def shuts_out(logits: Enclosure, targets: Tensor) -> Tensor:
    """Whether some class is ahead of the target on all of the ball, (N,) bool.

    Raises TypeError and ValueError unless targets are one class for each ball.
    """
    if not isinstance(logits, Enclosure):
        raise KindError(f"logits must be an Enclosure, as from enclose, not {type(logits).__name__}")
    targets = arguments.check_classes("targets", targets, logits.centre)
    arguments.check_known("targets", targets, logits.centre.shape[1])
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
    finite or not of its shape, and for radii that are not one, finite and 0 or more, for each.

    Reference: Singh et al. 2018 (affine arithmetic for sigmoids), here with an l2 ball.
    """
    layers = _checked_dense(layers, inputs)
    radius = _checked_lengths("radius", radius, inputs)
    if not radius.isfinite().all():
        raise ValueError(
            "radius must be finite: on a ball of radius inf logits can be anything, which needs no enclosure"
        )
    centre = inputs.double().flatten(1)
    identity = torch.eye(centre.shape[1]).to(centre)
    units = Enclosure(radius, centre, identity[None], centre.new_zeros(*centre.shape, 0))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            units = _linear_of(layer, units)
        elif isinstance(layer, known.ACTIVATIONS):
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
    """slope, offset, stray with |f(a) - slope a - offset| <= stray for all a in [low, high], f one of ACTIVATIONS.

    Raises TypeError for another activation or what is no Tensor, ValueError where low is above high.
    """
    if not isinstance(activation, known.ACTIVATIONS):
        names = ", ".join(kind.__name__ for kind in known.ACTIVATIONS)
        raise KindError(f"activation must be one of torch.nn's {names}, not {activation}")
    for name, values in {"low": low, "high": high}.items():
        if not isinstance(values, Tensor) or not values.is_floating_point():
            what = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise KindError(f"{name} must be a floating torch.Tensor, not {what}")
    if low.shape != high.shape or (low > high).any():
        raise ValueError("low and high must be of one shape, low nowhere above high: the ends of intervals")
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
