"""Bases of a layer (section 3): is the one that its units make special among all there are?

Other axes and scales to draw directions from, rotations of a whole basis, and what becomes of the network's loss when a
direction is taken away. Shapes are those of `units`.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from lib.measures import effects, intervals, units
from lib.measures.intervals import Estimate
from lib.measures.units import Study, UnitsConfig

FAMILIES = ("random", "random, positive", "random, equal scales", "random, whitened axes", "PCA", "ICA")
FAINT = 1e-3  # axes whose standard deviation is a smaller part of the largest are left out


# --- Axes and scales ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """The principal axes of a layer's activations: vectors (r, d), a row each, and standard deviations (r,) along."""

    vectors: Tensor
    stddev: Tensor

    @property
    def whitened(self) -> Tensor:
        """(r, d): directions along which the activations are uncorrelated, each with variance 1."""
        return self.vectors / self.stddev[:, None]


def principal_axes(samples: Tensor, num: int, seed: int) -> Axes:
    """The `num` axes of largest variance of samples (n, d), without those along which there is hardly any.

    seed : of the randomised singular value decomposition that wide layers need.
    """
    from sklearn.decomposition import PCA  # takes a second that other chapters need not wait for

    found = PCA(min(num, *samples.shape), random_state=seed).fit(samples.double().numpy())
    stddev = np.sqrt(found.explained_variance_)
    kept = stddev > FAINT * stddev.max()
    return Axes(_tensor(found.components_[kept]), _tensor(stddev[kept]))


def independent_directions(samples: Tensor, axes: Axes, seed: int, max_iterations: int = 200) -> Tensor:
    """The rotation (r, d) of the whitened axes along which samples (n, d) are least Gaussian.

    Where FastICA has not settled after `max_iterations`, the rotation is the one it has reached.

    Reference: Hyvarinen & Oja 2000: FastICA, symmetric, with log cosh.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    white = ((samples - samples.mean(dim=0)) @ axes.whitened.T).double().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any rotation is a basis; this one is nearly independent
        found = FastICA(whiten=False, max_iter=max_iterations, tol=1e-3, random_state=seed).fit(white)
    return _tensor(found.components_) @ axes.whitened


def with_longer_tail(samples: Tensor, directions: Tensor) -> Tensor:
    """Every direction with the sign that skews its responses to the right, as a rectified unit's are."""
    skewness = scipy.stats.skew((samples @ directions.T).double().numpy(), axis=0)
    return directions * _tensor(np.where(skewness < 0, -1, 1))[:, None]


def families(samples: Tensor, config: UnitsConfig, generator: torch.Generator, seed: int) -> dict[str, Tensor]:
    """Rivals of Gaussian directions: other random ones, and the activations' own axes; each (., d).

    "random, positive": Gaussian without signs. "random, equal scales": Gaussian once every unit's standard deviation is
    made 1. "random, whitened axes": Gaussian mixtures of the principal axes once each has variance 1: of the leading
    `config.num_axes`, the only ones that the samples tell. "PCA" and "ICA": these axes, and the independent ones.
    samples : activations (n, d), of other images than the directions are tried on. A unit silent on all has weight 0
    where scales are equal.
    """
    num, dim = config.num_directions, samples.shape[1]
    axes, scale = principal_axes(samples, config.num_axes, seed), samples.std(dim=0)
    return {
        "random, positive": units.random_directions(num, dim, generator).abs(),
        "random, equal scales": units.random_directions(num, dim, generator) * torch.where(scale > 0, 1 / scale, 0),
        "random, whitened axes": units.random_directions(num, len(axes.stddev), generator) @ axes.whitened,
        "PCA": with_longer_tail(samples, axes.vectors),
        "ICA": with_longer_tail(samples, independent_directions(samples, axes, seed)),
    }


def against_families(
    study: Study,
    activations: Tensor,
    samples: Tensor,
    judges: Mapping[str, Tensor],
    config: UnitsConfig,
    generator: torch.Generator,
    seed: int,
) -> Study:
    """The units of a layer that was looked at, beside `families` fitted to samples (n, d) of it on other images."""
    directions = families(samples[:, study.live], config, generator, seed)
    live = activations[:, study.live]
    top = {
        name: units.top_activating(units.responses(live, vectors), config.k, generator)
        for name, vectors in directions.items()
    }
    top = {"units": study.top["units"][:, : config.k]} | top
    return Study(study.live, directions, top, units.agreements(judges, top), {})


def sampled(activations: Tensor, num: int) -> Tensor:
    """About `num` activations, a row each, evenly spread over the images; on maps every position is a row."""
    rows = activations.shape[0] if activations.ndim == 2 else activations.shape[0] * activations.shape[2]
    some = activations[:: -(-rows // num)].float()
    return some if activations.ndim == 2 else some.movedim(1, 2).flatten(0, 1)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float()


# --- The whole basis ------------------------------------------------------------------------------


def label_counts(labels: Tensor, top: Tensor) -> Tensor:
    """How many of each direction's k images have each label, (num_directions, K)."""
    return F.embedding_bag(top, units.label_vectors(labels), mode="sum")


def num_detected(counts: Tensor, num: int) -> float:
    """How many classes have a detector among `num` of the directions, on average over all ways to choose these.

    A detector is a direction most of whose k images are of that class: in the spirit of the unique detectors of Bau et
    al. 2017, which are counted on segmented images. A class with D detectors among n directions has none among `num`
    with the probability (n - D choose num) / (n choose num).
    """
    detectors = (2 * counts > counts.sum(dim=1, keepdim=True)).sum(dim=0)
    none = scipy.stats.hypergeom(len(counts), detectors.numpy(), num).pmf(0)
    return float((1 - none).sum())


def importance(hidden: Tensor, classifier: nn.Linear, labels: Tensor, directions: Tensor) -> Tensor:
    """By how much the mean cross-entropy rises when a direction is projected out of a hidden layer, (num_directions,).

    hidden : (N, d), the classifier's inputs; for a unit it is the ablation of Morcos et al. 2018.
    """
    logits, before = classifier(hidden), F.cross_entropy(classifier(hidden), labels)
    steps = F.normalize(directions)
    return torch.stack(
        [F.cross_entropy(logits - torch.outer(hidden @ v, classifier.weight @ v), labels) - before for v in steps]
    )


def random_rotation(dim: int, generator: torch.Generator) -> Tensor:
    """An orthonormal basis (dim, dim), a row each, drawn uniformly (Haar); `generator` lives on the CPU.

    Reference: Mezzadri 2007: QR of a Gaussian matrix, with the signs of R's diagonal taken back.
    """
    Q, R = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
    return (Q * R.diagonal().sign()).T.float()


def rotated(
    activations: Tensor, judges: Mapping[str, Tensor], k: int, num: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Mean agreement over the whole basis after each of `num` random rotations of it, (num,), by judge."""
    means: dict[str, list[Tensor]] = {judge: [] for judge in judges}
    for _ in trange(num, desc="rotations", disable=None, leave=False):
        basis = random_rotation(activations.shape[1], generator)
        top = units.top_activating(units.responses(activations, basis), k, generator)
        for judge, vectors in judges.items():
            means[judge].append(units.agreement(vectors, top).mean())
    return {judge: torch.stack(values) for judge, values in means.items()}


# --- Tables and what they say ---------------------------------------------------------------------


def rotation_cells(layer: str, study: Study, drawn: Mapping[str, Tensor]) -> dict[tuple[str, str], Estimate]:
    """Of the means that rotations gave (num,), by judge: mean and middle 95 %, and how often one is as far out as ours.

    Our own mean stands beside them, as "judge: units".
    """
    found: dict[tuple[str, str], Estimate] = {}
    for judge, means in drawn.items():
        own = study.agreement[judge]["units"]
        found[layer, f"{judge}: units"] = intervals.mean(own.numpy())
        found[layer, f"{judge}: rotations"] = effects.spread(means)
        found[layer, f"{judge}: p, rotations"] = effects.randomisation_test(float(own.mean()), means)
    return found


def detector_cells(layer: str, studies: Sequence[Study], labels: Tensor, k: int) -> dict[tuple[str, str], Estimate]:
    """How many classes have a detector among as many directions as the smallest family has, by family."""
    top = {name: best[:, :k] for study in studies for name, best in study.top.items()}
    smallest = min(map(len, top.values()))
    return {
        (layer, f"detected: {name}"): effects.exactly(num_detected(label_counts(labels, best), smallest), smallest)
        for name, best in top.items()
    }


def importance_cells(
    layer: str, harm: Mapping[str, Tensor], agreement: Mapping[str, Tensor], num_draws: int, generator: torch.Generator
) -> dict[tuple[str, str], Estimate]:
    """Whether agreement foretells `importance`, by Spearman's correlation, and whether units matter more: delta."""
    correlation = float(scipy.stats.spearmanr(harm["units"], agreement["units"]).statistic)
    return {
        (layer, "importance: rank correlation, units"): effects.correlated(correlation, len(harm["units"])),
        (layer, "importance: delta, random"): effects.delta(harm["units"], harm["random"], generator, num_draws),
    }


def num_above_rotations(told: Mapping[tuple[str, str], float]) -> tuple[int, int]:
    """In how many cases the natural basis agrees more than its rotations do on average, and of how many."""
    ahead = [
        told[row, f"{judge}: units"] > told[row, f"{judge}: rotations"]
        for row in units.LAST
        for judge in units.JUDGES
        if {(row, f"{judge}: units"), (row, f"{judge}: rotations")} <= told.keys()
    ]
    return sum(ahead), len(ahead)


def joint_p(told: Mapping[tuple[str, str], float], judge: str) -> float:
    """How probable such p-values are if every natural basis is one of its rotations; nan if none was measured.

    Reference: Fisher's method; networks are rotated independently.
    """
    cells = [(row, f"{judge}: p, rotations") for row in units.LAST]
    values = [told[cell] for cell in cells if cell in told]
    return float(scipy.stats.combine_pvalues(values).pvalue) if values else math.nan


def num_rotated(told: Mapping[tuple[str, str], float], judge: str) -> int:
    """How many networks `joint_p` takes together."""
    return sum((row, f"{judge}: p, rotations") in told for row in units.LAST)


def num_tests(told: Mapping[tuple[str, str], float]) -> int:
    """How many tests section 3 makes of the primary judges: units against directions, layer by layer, and rotations."""
    layers = [(row, f"{judge}: p, random") for row in units.LAST for judge in units.JUDGES]
    return sum(cell in told for cell in layers) + sum(math.isfinite(joint_p(told, judge)) for judge in units.JUDGES)
