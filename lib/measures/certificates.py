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
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from lib.measures import spectral
from lib.measures.intervals import Estimate
from lib.networks import mnist

KINDS = ("product of norms", "slope of 1/4", "pairs of classes", "averaged slopes", "enclosure")  # crude to sharp
PRODUCT, SLOPES, PAIRS, AVERAGED, ENCLOSED = KINDS
ROUNDING = 1e-9  # by which certificates are shortened, far more than float64's rounding could lengthen them
CHUNK = 250  # images at once: bounds working memory, changes nothing


def as_layers(network: nn.Module) -> nn.Sequential:
    """A network of section 2 as a chain of layers that computes the same logits, copied to float64."""
    match network:
        case mnist.AutoencoderClassifier():
            layers = [network.encoder, nn.Sigmoid(), network.classifier]
        case mnist.ConvNetwork():
            layers = [nn.Unflatten(1, (1, 28, 28)), *network.features, *network.hidden, *network.classifier]
        case _:
            layers = list(network)
    return copy.deepcopy(nn.Sequential(*layers)).double().eval()


@torch.no_grad()
def certify(
    layers: nn.Sequential, constants: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, num_enclosed: int
) -> dict[str, Tensor]:
    """For each kind of certificate, a distance within which no image has class `targets`, (N,); 0 where x has it.

    layers : as from `as_layers`; constants : as from `lipschitz_constants`; inputs : (N, 784). Networks with sigmoids
    are also certified by enclosure, for their first `num_enclosed` images; for the others that is nan.
    """
    logits = torch.cat([layers(chunk.double()) for chunk in inputs.split(CHUNK)])
    found = {kind: certified_distance(logits, targets, constant) for kind, constant in constants.items()}
    if AVERAGED in found:
        few = slice(0, num_enclosed)
        found[ENCLOSED] = torch.full_like(found[AVERAGED], torch.nan)
        found[ENCLOSED][few] = enclosed_distance(layers, inputs[few].double(), targets[few], found[AVERAGED][few])
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

    Any one class that is still ahead of l keeps it from being the answer.
    """
    ahead = logits - logits.gather(1, targets[:, None])
    return torch.where(ahead > 0, ahead / constants[targets], 0).amax(dim=1) * (1 - ROUNDING)


# --- Constants that hold everywhere ---------------------------------------------------------------


def lipschitz_constants(layers: nn.Sequential, image: Tensor) -> dict[str, Tensor]:
    """Upper bounds of the Lipschitz constant of every z_k - z_l, (K, K), from the crudest kind to the sharpest.

    - product of norms: sqrt(2) times the product of the layers' norms, section 4.3; activations do not expand
    - slope of 1/4: and sigmoids contract by 4
    - pairs of classes: |w_k - w_l| of the last layer in place of sqrt(2) times its norm
    - averaged slopes: `averaged_constants`

    Kinds that would repeat the one before (without sigmoids) are left out. image : (1, 784), tells the shapes.
    """
    *hidden, (last, norm) = spectral.layer_bounds(layers, image)
    pairs = pair_norms(last.weight.detach())
    everyone = math.sqrt(2) * norm * (1 - torch.eye(len(pairs)).to(pairs))
    below = math.prod(bound for _, bound in hidden)
    expansive = math.prod(bound for layer, bound in hidden if not isinstance(layer, nn.Sigmoid))
    constants = {PRODUCT: expansive * everyone, PAIRS: below * pairs}
    if below != expansive:
        weights = [layer.weight.detach() for layer in layers if isinstance(layer, nn.Linear)]
        constants = {
            PRODUCT: expansive * everyone,
            SLOPES: below * everyone,
            PAIRS: below * pairs,
            AVERAGED: averaged_constants(weights),
        }
    return constants


def pair_norms(weight: Tensor) -> Tensor:
    """|w_k - w_l| for every two rows of a matrix (K, n). Shape (K, K)."""
    return (weight[:, None] - weight).norm(dim=2)


def averaged_constants(weights: Sequence[Tensor]) -> Tensor:
    """Lipschitz constants of z_k - z_l, (K, K), for matrices W_1 ... W_h with sigmoids between them.

    A sigmoid's slopes lie in [0, 1/4]: they are 1/8 (I + E) with a diagonal E, |E| <= 1. Multiplied out, the Jacobian
    W_h (I + E) ... (I + E) W_1 / 8^(h-1) is a sum of products of blocks W_j ... W_i+1 that no E interrupts, and the
    norms of the blocks bound it. Never above the product of the norms with slopes of 1/4.

    Reference: Combettes & Pesquet 2020, whose theta `reached` is.
    """
    reached = [1.0]  # how far r reaches up to each E
    for j in range(1, len(weights) + 1):
        size = pair_norms if j == len(weights) else _norm
        blocks = accumulate(reversed(weights[:j]), torch.matmul)  # W_j, W_j W_j-1, ..., W_j ... W_1
        reached.append(sum(size(block) * before for block, before in zip(blocks, reversed(reached), strict=True)))
    return reached[-1] / 8 ** (len(weights) - 1)


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix, 2)


@torch.enable_grad()
def slopes(layers: nn.Sequential, inputs: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """|gradient of z_first - z_second| at x, (N,): lower bounds of its Lipschitz constant."""
    found = []
    for chunk, ahead, behind in zip(*(v.split(CHUNK) for v in (inputs.double(), first, second)), strict=True):
        x = chunk.clone().requires_grad_()
        logits = layers(x)
        difference = logits.gather(1, ahead[:, None]) - logits.gather(1, behind[:, None])
        found.append(torch.autograd.grad(difference.sum(), x)[0].norm(dim=1))
    return torch.cat(found)


def linear_estimate(layers: nn.Sequential, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The lead of the first class over the target, and its slope, both (N,): their ratio is where a network that is
    linear around x would have its boundary. It certifies nothing."""
    with torch.no_grad():
        logits = torch.cat([layers(chunk.double()) for chunk in inputs.split(CHUNK)])
    lead, first = logits.max(dim=1)
    return lead - logits.gather(1, targets[:, None])[:, 0], slopes(layers, inputs, first, targets)


# --- Enclosures that hold on a ball ---------------------------------------------------------------


@dataclass(frozen=True)
class Enclosure:
    """All that n units can be on a ball: {centre + slope r + noise e: |r| <= radius, every |e_i| <= 1}."""

    radius: Tensor  # (N,)
    centre: Tensor  # (N, n)
    slope: Tensor  # (N, n, m)
    noise: Tensor  # (N, n, any number)

    @property
    def reach(self) -> Tensor:
        """How far each unit can be from its centre, (N, n)."""
        return self.radius[:, None] * self.slope.norm(dim=2) + self.noise.abs().sum(dim=2)


def enclosed_distance(
    layers: nn.Sequential, inputs: Tensor, targets: Tensor, start: Tensor, num_steps: int = 14
) -> Tensor:
    """A certified distance (N,), no less than the certified distance `start`, for sigmoid networks.

    Doubled as long as the enclosure of the ball shuts the target class out, then bisected.
    """
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


def enclose(layers: nn.Sequential, inputs: Tensor, radius: Tensor) -> Enclosure:
    """The logits of a sigmoid network on the balls of `radius` (N,) around inputs (N, n).

    Each sigmoid is replaced by its chord, and what it may stray from that becomes a noise of its own. Layers are kept
    as maps of r and noise, so that what cancels between two units is seen to cancel.

    Reference: Singh et al. 2018 (affine arithmetic for sigmoids), here with an l2 ball.
    """
    first, *rest = layers
    slope = torch.linalg.qr(first.weight.T).R.T  # r matters by its projection on the rows of W_1 only
    units = Enclosure(
        radius, first(inputs), slope.expand(len(inputs), -1, -1), slope.new_zeros(len(inputs), len(slope), 0)
    )
    for layer in rest:
        units = _sigmoid_of(units) if isinstance(layer, nn.Sigmoid) else _linear_of(layer, units)
    return units


def _linear_of(layer: nn.Linear, units: Enclosure) -> Enclosure:
    return Enclosure(units.radius, layer(units.centre), layer.weight @ units.slope, layer.weight @ units.noise)


def _sigmoid_of(units: Enclosure) -> Enclosure:
    slope, offset, stray = chord(units.centre - units.reach, units.centre + units.reach)
    noise = torch.cat([slope[..., None] * units.noise, torch.diag_embed(stray)], dim=2)
    return Enclosure(units.radius, slope * units.centre + offset, slope[..., None] * units.slope, noise)


def chord(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """slope, offset, stray with |sigmoid(a) - slope a - offset| <= stray for all a in [low, high]."""
    width = high - low
    at_low = torch.sigmoid(low)
    slope = torch.where(width > 1e-6, (torch.sigmoid(high) - at_low) / width, at_low * (1 - at_low)).clamp(0, 0.25)
    # What is left, sigmoid(a) - slope a, is extremal at the ends or where the sigmoid's own slope s (1 - s) is `slope`.
    turn = 2 * torch.atanh((1 - 4 * slope).sqrt())
    places = torch.stack([low, high, torch.clamp(-turn, low, high), torch.clamp(turn, low, high)])
    left = torch.sigmoid(places) - slope * places
    highest, lowest = left.amax(dim=0), left.amin(dim=0)
    return slope, (highest + lowest) / 2, (highest - lowest) / 2
