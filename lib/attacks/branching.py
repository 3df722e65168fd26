"""The nearest image of a class, exactly, for a small rectified network: branch and bound over which units are on.

Where every hidden unit is known to be on or off the network is linear, and the nearest image a quadratic programme
(`lib.solvers.quadratic`). A unit that may be either lies between two lines, and with these the programme is a
relaxation: its optimum is no further away than any image that the network itself gives the class. So take the
relaxations with the nearest optima. If the network agrees there, that image is a candidate; else decide one more unit,
both ways. What cannot come nearer than the best candidate is dropped, and when nothing is left that is the nearest.

What a unit can be is asked within the ball that is still of interest, whose radius is the best candidate's distance:
most units never change there.

Reference: Tjeng, Xiao, Tedrake 2019 (exact, as a mixed-integer programme); Zhang et al. 2018 (the two lines).
"""

import copy
import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..solvers import quadratic
from ..solvers.arguments import KindError, check_whole
from . import arguments, behind, penalized

GAP = 1e-6  # how much nearer than what is returned another image may be, relative to its distance
BATCH = 64  # relaxations solved at once
MOST_STEPS = 40  # of a relaxation's solver; the bound that a few steps give is one as well
TIE = 1e-9  # of the size of logits: what a candidate may lack, since at the optimum classes tie


@dataclass(frozen=True)
class Nearest:
    """The nearest images of N targets, and what it took to know."""

    perturbation: Tensor  # (N, n), inside the box, the shortest that was found
    bound: Tensor  # (N,), no image of the target is nearer than this (Euclidean)
    num_relaxations: Tensor  # (N,), that were solved

    @property
    def is_nearest(self) -> Tensor:
        """Whether nothing is nearer by more than 2 GAP, (N,); False where the relaxations did not suffice to know."""
        return self.bound >= (1 - 2 * GAP) * self.perturbation.norm(dim=1)

    @property
    def distortion(self) -> Tensor:
        """Root mean square of each perturbation, (N,)."""
        return self.perturbation.square().mean(dim=1).sqrt()


def minimum_perturbation(
    network: nn.Sequential, inputs: Tensor, targets: Tensor, adversarial: Tensor, max_relaxations: int = 50_000
) -> Nearest:
    """D(x, l) - x for linear layers with rectifiers between them, in float64, to a relative accuracy of GAP.

    inputs : Tensor (N, n) in [0, 1]; targets : Tensor (N,), integers; adversarial : Tensor (N, n) in [0, 1], images
    that the network gives their target, such as an attack finds: the nearer they are, the less is left to decide.
    max_relaxations : for one image; a network of more than a few dozen units may need more than anyone can wait for.
    A tie counts as being given the class.

    Raises
    ------
    TypeError : a network that is no such chain; inputs, targets or adversarial of the wrong kind.
    ValueError : inputs or adversarial that are not in [0, 1] or of another shape; targets that are no classes;
        adversarial images that the network does not give their target.

    Reference: section 4.1, the problem that D(x, l) solves.
    """
    layers, network = _layers(network), copy.deepcopy(network).double()
    arguments.check_images("inputs", inputs)
    arguments.check_rows("inputs", inputs, layers[0][0].shape[1])
    arguments.check_device("inputs", inputs, network)
    check_whole("max_relaxations", max_relaxations, 1, "relaxation")
    targets = arguments.check_classes("targets", targets, inputs)
    arguments.check_known("targets", targets, len(layers[-1][1]))
    arguments.check_start(adversarial, inputs)
    inputs, adversarial = inputs.detach().double(), adversarial.detach().double()
    missed = int((~(_lead(network, adversarial, targets) >= 0)).sum())
    if missed:
        raise ValueError(f"{missed} of {len(inputs)} adversarial images are not given their target: attack them first")
    found = [
        _Problem(network, layers, x, int(target)).solved(r, max_relaxations)
        for x, target, r in zip(inputs, targets, adversarial - inputs, strict=True)
    ]
    perturbation, bound, number = zip(*found, strict=True)
    return Nearest(torch.stack(perturbation), torch.stack(bound), torch.tensor(number))


def _layers(network: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each linear layer in float64. Raises KindError for what is no such chain."""
    chain = list(network) if type(network) is nn.Sequential else []
    right = len(chain) % 2 and all(type(part) is (nn.Linear, nn.ReLU)[i % 2] for i, part in enumerate(chain))
    if (
        not right
        or len(chain) == 1
        or any("forward" in vars(part) or behind.hooks_of(part) for part in network.modules())
    ):
        raise KindError(
            "network must be a torch.nn.Sequential of Linear layers with ReLU between them, two or more, without hooks "
            "and with no forward of its own (normalisation is a part of the first weights): for one linear layer there "
            "is attacks.exact, for all others a search, attacks.tight"
        )
    _check_widths(chain[::2])
    arguments.check_weights(network, len(chain[-1].weight))
    pairs = [(layer.weight.detach().double(), layer.bias) for layer in chain[::2]]
    return [(weight, weight.new_zeros(len(weight)) if b is None else b.detach().double()) for weight, b in pairs]


def _check_widths(layers: list[nn.Linear]) -> None:
    """Raises ValueError for linear layers that do not take what the one before gives."""
    for i, (layer, following) in enumerate(itertools.pairwise(layers)):
        if len(layer.weight) != following.weight.shape[1]:
            raise ValueError(
                f"network's layer {2 * i} has {len(layer.weight)} outputs and layer {2 * i + 2} takes "
                f"{following.weight.shape[1]}: they must be as many"
            )


@torch.no_grad()
def _lead(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """How far the target leads, (N,), and a little more: what a tie may lack through rounding."""
    logits = network(images)
    return penalized.lead(logits, targets) + TIE * logits.abs().amax(dim=1)


@dataclass(frozen=True)
class _Lines:
    """Affine functions of r between which units' values lie: slopes (B, units, n) and offsets (B, units) of each."""

    lower: tuple[Tensor, Tensor]
    upper: tuple[Tensor, Tensor]

    def through(self, weight: Tensor, bias: Tensor) -> "_Lines":
        """Those between which weight @ values + bias lies."""
        positive, negative = weight.clamp_min(0), weight.clamp_max(0)

        def mixed(plus: tuple[Tensor, Tensor], minus: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            slopes = positive @ plus[0] + negative @ minus[0]
            return slopes, plus[1] @ positive.T + minus[1] @ negative.T + bias

        return _Lines(mixed(self.lower, self.upper), mixed(self.upper, self.lower))

    def rectified(self, low: Tensor, high: Tensor, on: Tensor, off: Tensor) -> "_Lines":
        """Those between which max(0, values) lies, for values between `low` and `high`, or known to be on or off."""
        rise = high / (high - low).clamp_min(torch.finfo(high.dtype).tiny)
        steep = torch.where(on, 1.0, torch.where(off, 0.0, rise))
        flat = torch.where(on, 1.0, torch.where(off, 0.0, (high > -low).to(high)))
        shift = torch.where(on | off, 0.0, -rise * low)
        (slopes, offsets), (steeper, higher) = self.lower, self.upper
        return _Lines((flat[..., None] * slopes, flat * offsets), (steep[..., None] * steeper, steep * higher + shift))

    def width(self, r: Tensor) -> Tensor:
        """How far apart they are at r (B, n), (B, units)."""
        (slopes, offsets), (steeper, higher) = self.lower, self.upper
        return quadratic.apply(steeper - slopes, r) + higher - offsets


@dataclass(frozen=True)
class _Relaxation:
    """Programmes rows r + offsets >= 0, and what is open in them."""

    rows: Tensor  # (B, k, n)
    offsets: Tensor  # (B, k), inf for none
    hidden: list[_Lines]  # between which the units of each hidden layer lie
    is_open: Tensor  # (B, units), whether a unit may be either on or off

    def undecided(self, r: Tensor) -> Tensor:
        """How far apart the lines of open units are at r (B, n), (B, units); -1 for the others."""
        return torch.where(self.is_open, torch.cat([lines.width(r) for lines in self.hidden], dim=1), -1.0)


@dataclass(frozen=True, eq=False)
class _Problem:
    """One image and its target."""

    network: nn.Sequential
    layers: list[tuple[Tensor, Tensor]]  # its weights and biases
    x: Tensor
    target: int

    def solved(self, best: Tensor, max_relaxations: int) -> tuple[Tensor, Tensor, int]:
        """The shortest perturbation, given one that succeeds, a bound of its length, and the number of relaxations."""
        num_units, number = sum(len(bias) for _, bias in self.layers[:-1]), 0
        nodes = _Nodes(self.x.new_zeros(1, num_units), self.x.new_zeros(1), torch.zeros_like(self.x)[None])
        while len(nodes.bounds) and number < max_relaxations:
            number += len(nodes.bounds[:BATCH])
            best, halves = self._branched(nodes.at(slice(BATCH)), best)
            nodes = nodes.at(slice(BATCH, None)).and_also(halves)
            order = nodes.bounds.argsort()
            nodes = nodes.at(order[nodes.bounds[order] < (1 - GAP) * best.norm()])
        return best, nodes.bounds[0] if len(nodes.bounds) else (1 - GAP) * best.norm(), number

    def _branched(self, nodes: "_Nodes", best: Tensor) -> tuple[Tensor, "_Nodes"]:
        """The best perturbation once the nodes' relaxations are solved, and the halves of those not decided by that."""
        relaxation = self._relaxed(nodes, best.norm())
        lower, upper = (-self.x).expand(len(nodes.bounds), -1), (1 - self.x).expand(len(nodes.bounds), -1)
        found = quadratic.project(relaxation.rows, -relaxation.offsets, lower, upper, None, 1e-10, MOST_STEPS)
        best, bounds = self._shortest(best, found.perturbation), _bounds(found, relaxation)
        left = (bounds < (1 - GAP) * best.norm()) & relaxation.is_open.any(dim=1)
        weight = relaxation.undecided(found.perturbation) * self._influence
        unit = weight[left].argmax(dim=1, keepdim=True)
        signs = torch.cat([nodes.signs[left].scatter(1, unit, sign) for sign in (1.0, -1.0)])
        return best, _Nodes(signs, bounds[left].repeat(2), found.perturbation[left].repeat(2, 1))

    def _shortest(self, best: Tensor, perturbations: Tensor) -> Tensor:
        """The shortest of `best` and those perturbations (B, n) that the network confirms."""
        targets = torch.full((len(perturbations),), self.target, device=self.x.device)
        succeeds = _lead(self.network, self.x + perturbations, targets) >= 0
        candidates = torch.cat([best[None], perturbations[succeeds]])
        return candidates[candidates.norm(dim=1).argmin()]

    @cached_property
    def _influence(self) -> Tensor:
        """How much each hidden unit, (units,), can move a lead at the most."""
        following = [weight.abs() for weight, _ in self._after]
        found = [following[-1].amax(dim=0)]
        for weight in reversed(following[:-1]):
            found.insert(0, found[0] @ weight)
        return torch.cat(found)

    def _relaxed(self, nodes: "_Nodes", most: Tensor) -> _Relaxation:
        """The network between lines, where nodes may hide something no longer than `most`."""
        rows, offsets, hidden, is_open = [], [], [], []
        weight, bias = self.layers[0]
        plain = weight.expand(len(nodes.bounds), -1, -1), (weight @ self.x + bias).expand(len(nodes.bounds), -1)
        values, sizes = _Lines(plain, plain), [len(bias) for _, bias in self.layers[:-1]]
        for sign, following in zip(nodes.signs.split(sizes, dim=1), self._after, strict=True):
            (slopes, offset), (steeper, higher) = values.lower, values.upper
            low, high = -self._most(-slopes, -offset, nodes, most), self._most(steeper, higher, nodes, most)
            on, off = (sign > 0) | ((low >= 0) & (sign == 0)), (sign < 0) | ((high <= 0) & (sign == 0))
            rows.append(torch.where((sign > 0)[..., None], steeper, -slopes))  # on: may be above 0; off: below
            offsets.append(torch.where(sign == 0, torch.inf, torch.where(sign > 0, higher, -offset)))
            hidden.append(values.rectified(low, high, on, off))
            is_open.append(~(on | off))
            values = hidden[-1].through(*following)
        rows.append(values.upper[0])
        offsets.append(values.upper[1])
        return _Relaxation(torch.cat(rows, 1), torch.cat(offsets, 1), hidden, torch.cat(is_open, 1))

    @cached_property
    def _after(self) -> list[tuple[Tensor, Tensor]]:
        """The layer behind each hidden one; the last gives by how much the target leads each other class."""
        weight, bias = self.layers[-1]
        others = torch.arange(len(bias), device=bias.device) != self.target
        return [*self.layers[1:-1], (weight[self.target] - weight[others], bias[self.target] - bias[others])]

    def _most(self, slopes: Tensor, offsets: Tensor, nodes: "_Nodes", most: Tensor) -> Tensor:
        """No less than slopes r + offsets can be for x + r in the box and r in what is left of the ball.

        The Lagrangian of a relaxation is strongly convex: what is feasible has |r|^2 >= 2 dual + |r - r'|^2, where r'
        minimises it, whether the multipliers are the best ones or not.
        """
        radius = (most.square() - nodes.bounds.square()).clamp_min(0).sqrt()[:, None]
        in_ball = quadratic.apply(slopes, nodes.centres) + slopes.norm(dim=2) * radius
        in_box = slopes.clamp_min(0) @ (1 - self.x) + slopes.clamp_max(0) @ (-self.x)
        return offsets + torch.minimum(in_ball, in_box)


@dataclass(frozen=True)
class _Nodes:
    """What is left to look at: for B nodes what is decided, and the relaxation that each is one half of."""

    signs: Tensor  # (B, units), 1 on, -1 off, 0 not decided
    bounds: Tensor  # (B,), nothing in the node is nearer, by that relaxation
    centres: Tensor  # (B, n), where its solver ended

    def at(self, rows: Tensor | slice) -> "_Nodes":
        return _Nodes(self.signs[rows], self.bounds[rows], self.centres[rows])

    def and_also(self, others: "_Nodes") -> "_Nodes":
        return _Nodes(*(torch.cat(pair) for pair in zip(vars(self).values(), vars(others).values(), strict=True)))


def _bounds(found: quadratic.Projection, relaxation: _Relaxation) -> Tensor:
    """How near the optima of relaxations can be at the least, (B,): by duality, so also of those not quite solved."""
    weights, r = found.multipliers, found.perturbation
    lacking = -relaxation.offsets - quadratic.apply(relaxation.rows, r)
    dual = r.square().sum(dim=1) / 2 + torch.where(weights > 0, weights * lacking, 0.0).sum(dim=1)
    return (2 * dual.clamp_min(0)).sqrt()
