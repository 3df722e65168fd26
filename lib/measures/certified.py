"""What is known of a network without attacking it, and what an attack then says of that (section 4.3).

Certificates come from `lib.measures.certificates`; here those of a whole network are put together, and stand trial: a
certified distance beyond the length of a successful attack would refute the theorem, or its code.

Lengths are l2 norms |r| over all pixels; the attack's distortions are root mean squares, |r| / sqrt(784).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from lib.attacks.penalized import AttackResult
from lib.attacks.tight import TightResult
from lib.measures import certificates, effects, intervals
from lib.measures.certificates import PRODUCT
from lib.measures.intervals import Estimate
from lib.networks import mnist

ESTIMATE, ATTACK = "linear estimate", "attack"
SHARPEST, STEEPEST = "sharpest constant", "steepest slope met"
LEAD, NEEDED = "lead", "lead needed"
SHARE, COVERED = "largest share", "of the optimum (%)"

Cell = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Certified:
    """What is known of a network on N images without attacking it, in float64."""

    constants: dict[str, Tensor]  # (K, K) Lipschitz constants of z_k - z_l, by kind of certificate
    distances: dict[str, Tensor]  # (N,) within which no image has the target class, by kind
    margin: Tensor  # (N,) lead of the first class over the target
    slope: Tensor  # (N,) of that lead

    @property
    def linear_estimate(self) -> Tensor:
        """(N,) where a network that is linear around the image would have its boundary; it certifies nothing."""
        return self.margin / self.slope

    def first(self, num: int) -> "Certified":
        """The same for the first images only."""
        distances = {kind: values[:num] for kind, values in self.distances.items()}
        return replace(self, distances=distances, margin=self.margin[:num], slope=self.slope[:num])


def certify(network: nn.Module, inputs: Tensor, targets: Tensor, num_enclosed: int) -> Certified:
    """Every certificate of a network for inputs (N, ...) and their targets (N,).

    num_enclosed : of the first how many images the logits are enclosed, as for `certificates.certify`.
    """
    layers = certificates.as_layers(network)
    constants = certificates.lipschitz_constants(layers, inputs[:1].double())
    distances = certificates.certify(layers, constants, inputs, targets, num_enclosed)
    return Certified(constants, distances, *certificates.linear_estimate(layers, inputs, targets))


def reached(result: AttackResult | TightResult, inputs: Tensor) -> Tensor:
    """The length at which an attack reached its targets, (N,), float64 on the CPU; inf where it did not."""
    lengths = (result.adversarial.double() - inputs.double()).flatten(1).norm(dim=1)
    return torch.where(result.success, lengths, torch.inf).cpu()


@dataclass(frozen=True, eq=False)
class Trial:
    """Certificates on the CPU, and lengths (N,) of what an attack found for the same images and targets."""

    certified: Certified
    lengths: Tensor

    @property
    def distances(self) -> dict[str, Tensor]:
        """(N,) by certificate, from the crudest to the sharpest, then the estimate and the attack's lengths."""
        return self.certified.distances | {ESTIMATE: self.certified.linear_estimate, ATTACK: self.lengths}

    @property
    def distortions(self) -> dict[str, Tensor]:
        """The same distances in the paper's unit, root mean squares over the pixels."""
        return {kind: values / mnist.NUM_PIXELS**0.5 for kind, values in self.distances.items()}


# --- Cells of tables ------------------------------------------------------------------------------


def orders(trials: Mapping[str, Trial]) -> dict[tuple[str, str], Estimate]:
    """Orders of magnitude that certificates, and the estimate, fall short of the attack: mean log10 of their ratio."""
    return {
        (name, kind): intervals.mean(certificates.orders_short(distances, trial.lengths).numpy())
        for name, trial in trials.items()
        for kind, distances in trial.distances.items()
        if kind != ATTACK
    }


def shares(trials: Mapping[str, Trial], attack: str = "") -> dict[tuple[str, str], Estimate]:
    """The largest certificate of each kind in units of the attack's length: above 1 it would be refuted.

    attack : which one it was, at the end of the column's name.
    """
    return {
        (name, f"{kind}, {SHARE}{attack}"): certificates.largest_share(distances, trial.lengths)
        for name, trial in trials.items()
        for kind, distances in trial.certified.distances.items()
    }


def covered(trials: Mapping[str, Trial], kind: str) -> dict[tuple[str, str], Estimate]:
    """The mean certificate of a kind in per cent of the mean length: of what the attack had to go, how much is shut."""
    return {
        (name, COVERED): effects.exactly(
            100 * float(trial.certified.distances[kind].mean() / trial.lengths.mean()), len(trial.lengths)
        )
        for name, trial in trials.items()
    }


def steepness(trials: Mapping[str, Trial]) -> dict[tuple[str, str], Estimate]:
    """How fast the difference of two logits can change, and how large it is: the bounds beside what is to be lost.

    Two constants that hold everywhere, each the largest over all pairs of classes; the steepest slope at any of the
    images, which no constant can be below; the lead of the first class over the target, mean over the images; and the
    lead that the product of norms would need to exclude what the attack found, mean over the targets reached.
    """
    cells = {}
    for name, trial in trials.items():
        known, num = trial.certified, len(trial.lengths)
        largest = {kind: float(constant.max()) for kind, constant in known.constants.items()}
        steep = {PRODUCT: largest[PRODUCT], SHARPEST: [*largest.values()][-1], STEEPEST: float(known.slope.max())}
        cells |= {(name, column): effects.exactly(value, num) for column, value in steep.items()}
        lengths = trial.lengths[trial.lengths.isfinite()].numpy()
        cells[name, LEAD] = intervals.mean(known.margin.numpy())
        cells[name, NEEDED] = intervals.mean(largest[PRODUCT] * lengths)
    return cells


# --- Numbers for sentences ------------------------------------------------------------------------


def tried(estimates: Mapping[tuple[str, str], Estimate]) -> tuple[int, float]:
    """How many certificates stood trial, and the largest of them in units of its attack's length; 0, nan for none."""
    judged = [estimate for (_, column), estimate in estimates.items() if SHARE in column]
    return sum(int(e.n) for e in judged), max((e.value for e in judged), default=math.nan)


def range_of(told: Mapping[Cell, float], names: Sequence[str], kind: str) -> tuple[float, float]:
    """The smallest and the largest number of a column over some networks; nan if one of them is missing."""
    values = [told.get((name, kind), math.nan) for name in names]
    return float(np.min(values)), float(np.max(values))


def num_images(estimates: Mapping[tuple[str, str], Estimate], names: Sequence[str], kind: str) -> float:
    """On how many images a column rests, at the most over some networks; nan where it is missing."""
    return max((int(estimates[name, kind].n) for name in names if (name, kind) in estimates), default=math.nan)


def real_part(told: Mapping[Cell, float], names: Sequence[str]) -> float:
    """The steepest slope met in per cent of what the product of norms allows, at the most over some networks."""
    steepest, allowed = (np.array([told.get((n, kind), math.nan) for n in names]) for kind in (STEEPEST, PRODUCT))
    return 100 * float((steepest / allowed).max())
