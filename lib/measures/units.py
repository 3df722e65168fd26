"""Units and directions (section 3): which images a direction of a layer likes best, and how much those agree.

A layer gives N images activations phi(x) of d units: a vector each, (N, d), or maps, (N, d, positions), for a
convolution. A direction v scores an image by <phi(x), v>; on maps by the largest such value over the positions, as if
v were one more filter. A unit is a direction of the natural basis. Scores are compared within a direction only, so
neither its length nor the layer's mean matters.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from lib.measures import effects, intervals
from lib.measures.intervals import Estimate

CHUNK = 250  # images whose maps are held at once
FAINT = 1e-3  # axes whose standard deviation is a smaller part of the largest are left out


@dataclass(frozen=True)
class UnitsConfig:
    """How much is looked at."""

    num_images: int | None  # of the test set; None means all
    num_networks: int  # that differ in nothing but their seed
    num_classes: int  # of Tiny ImageNet
    num_per_class: int  # pictures of each
    num_sample: int  # pictures of imagenet-sample
    num_directions: int  # of each random kind
    num_samples: int  # activations that scales and axes are fitted to
    num_axes: int  # principal axes, and independent ones
    num_draws: int  # permutations and bootstrap samples
    num_rotations: int
    k: int = 10  # images in a row of Figures 1 to 4
    large_k: int = 50


# --- Images ---------------------------------------------------------------------------------------


@torch.no_grad()
def activations(layers: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """What `layers` make of the inputs (N, ...), computed piece by piece and returned on the CPU."""
    return torch.cat([layers(piece).cpu() for piece in inputs.split(CHUNK)])


def balanced(labels: Tensor, num_classes: int, num_per_class: int) -> Tensor:
    """Numbers of the first `num_per_class` images of each of `num_classes` classes, evenly spread over the labels."""
    classes = labels.unique()
    some = classes[torch.arange(num_classes) * len(classes) // num_classes]
    return torch.cat([torch.nonzero(labels == label)[:num_per_class, 0] for label in some])


def responses(activations: Tensor, directions: Tensor) -> Tensor:
    """<phi(x), v> of every direction and image, (num_directions, N); on maps its maximum over the positions.

    activations : (N, d) or (N, d, positions); directions : (num_directions, d).

    Reference: section 3, its two displayed equations.
    """
    if activations.ndim == 2:
        return directions @ activations.T
    return torch.cat([(directions @ maps).amax(dim=2) for maps in activations.split(CHUNK)]).T


def unit_responses(activations: Tensor) -> Tensor:
    """`responses` to the natural basis, (d, N), without the matrix product."""
    return (activations if activations.ndim == 2 else activations.amax(dim=2)).T


def top_activating(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """The numbers of the k images that each direction scores highest, best first, (num_directions, k).

    Ties, as among saturated pixels, are broken by lot: the images are shuffled by `generator` (on the CPU) beforehand.
    """
    order = torch.randperm(scores.shape[1], generator=generator)
    return order[scores[:, order].topk(k, dim=1).indices]


def live_units(activations: Tensor, k: int) -> Tensor:
    """Which units have k images that they like better than some others, (d,) bool.

    A rectified unit that fires on fewer than k images has not: its row would be filled from all its zeros.
    """
    scores = unit_responses(activations).contiguous()
    return scores.topk(k, dim=1).values[:, -1] > scores.amin(dim=1)


# --- Directions -----------------------------------------------------------------------------------


def random_directions(num: int, dim: int, generator: torch.Generator) -> Tensor:
    """Gaussian vectors (num, dim): every direction is as likely as every other. `generator` lives on the CPU."""
    return torch.randn(num, dim, generator=generator)


def random_rotation(dim: int, generator: torch.Generator) -> Tensor:
    """An orthonormal basis (dim, dim), a row each, drawn uniformly (Haar); `generator` lives on the CPU.

    Reference: Mezzadri 2007: QR of a Gaussian matrix, with the signs of R's diagonal taken back.
    """
    Q, R = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
    return (Q * R.diagonal().sign()).T.float()


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
    """What units are compared with: random directions of several kinds, and the activations' own axes; each (., d).

    "random": Gaussian, as in the paper. "random, equal scales": Gaussian once every unit's standard deviation is made
    1. "random, whitened axes": Gaussian mixtures of the principal axes once each has variance 1: of the leading
    `config.num_axes`, the only ones that the samples tell. "random, positive": Gaussian without signs.
    samples : activations (n, d), of other images than the directions are tried on.
    """
    num, dim = config.num_directions, samples.shape[1]
    axes = principal_axes(samples, config.num_axes, seed)
    return {
        "random": random_directions(num, dim, generator),
        "random, positive": random_directions(num, dim, generator).abs(),
        "random, equal scales": random_directions(num, dim, generator) / samples.std(dim=0),
        "random, whitened axes": random_directions(num, len(axes.stddev), generator) @ axes.whitened,
        "PCA": with_longer_tail(samples, axes.vectors),
        "ICA": with_longer_tail(samples, independent_directions(samples, axes, seed)),
    }


def sampled(activations: Tensor, num: int) -> Tensor:
    """About `num` activations, a row each, evenly spread over the images; on maps every position is a row."""
    rows = activations.shape[0] if activations.ndim == 2 else activations.shape[0] * activations.shape[2]
    some = activations[:: -(-rows // num)]
    return some if activations.ndim == 2 else some.movedim(1, 2).flatten(0, 1)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float()


# --- Agreement ------------------------------------------------------------------------------------


def unit_vectors(features: Tensor) -> Tensor:
    """Features (N, f) less their mean over the images, each row divided by its length; a row of zeros stays one."""
    return F.normalize(features - features.mean(dim=0))


def label_vectors(labels: Tensor) -> Tensor:
    """Labels (N,) as unit vectors (N, K): the cosine of two is 1 where they are equal, else 0."""
    return F.one_hot(labels).float()


def agreement(vectors: Tensor, top: Tensor) -> Tensor:
    """Mean cosine of the pairs among each direction's k images, (num_directions,).

    vectors : unit rows (N, f); top : image numbers (num_directions, k), k > 1. With `label_vectors` it is the share of
    pairs with the same label. Computed from |u_1 + ... + u_k|^2 = |u_1|^2 + ... + |u_k|^2 + the cosines of all pairs.
    """
    k = top.shape[1]
    together = F.embedding_bag(top, vectors, mode="sum").square().sum(dim=1)
    alone = F.embedding_bag(top, vectors.square().sum(dim=1, keepdim=True), mode="sum")[:, 0]
    return (together - alone) / (k * (k - 1))


def label_counts(labels: Tensor, top: Tensor) -> Tensor:
    """How many of each direction's k images have each label, (num_directions, K)."""
    return F.embedding_bag(top, label_vectors(labels), mode="sum")


def purity(counts: Tensor) -> Tensor:
    """The share of the most frequent label, (num_directions,)."""
    return counts.amax(dim=1) / counts.sum(dim=1)


def entropy(counts: Tensor) -> Tensor:
    """Entropy of the labels in bits, (num_directions,)."""
    return torch.special.entr(counts / counts.sum(dim=1, keepdim=True)).sum(dim=1) / np.log(2)


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


# --- Comparisons ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """A layer that was looked at: whom its units and its directions like best, and how much these images agree."""

    live: Tensor  # (d,) bool, for k; all below is of live units, and of directions among them
    directions: dict[str, Tensor]  # by family
    top: dict[str, Tensor]  # by family, under "units", and under "chance" images drawn at random; (., large_k)
    agreement: dict[str, dict[str, Tensor]]  # of the first k, by judge and then by family
    large_agreement: dict[str, dict[str, Tensor]]  # of all large_k, without the units that are not live for so many


def study(
    activations: Tensor,
    reference: Tensor,
    judges: Mapping[str, Tensor],
    config: UnitsConfig,
    generator: torch.Generator,
    seed: int,
) -> Study:
    """Look at a layer whose activations on N images are given, and at directions of every family.

    reference : activations of other images, to which scales and axes are fitted; judges : unit rows (N, f) each.
    """
    samples = sampled(reference, config.num_samples)
    live = live_units(activations, config.k) & (samples.std(dim=0) > 0)
    activations = activations[:, live]
    directions = families(samples[:, live], config, generator, seed)
    scores = {"units": unit_responses(activations)} | {n: responses(activations, v) for n, v in directions.items()}
    scores["chance"] = torch.rand(config.num_directions, len(activations), generator=generator)
    top = {name: top_activating(values, config.large_k, generator) for name, values in scores.items()}
    few = _agreements(judges, {name: best[:, : config.k] for name, best in top.items()})
    many = _agreements(judges, top | {"units": top["units"][live_units(activations, config.large_k)]})
    return Study(live, directions, top, few, many)


def _agreements(judges: Mapping[str, Tensor], top: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    return {judge: {name: agreement(vectors, best) for name, best in top.items()} for judge, vectors in judges.items()}


def cells(
    studies: Mapping[str, Study], config: UnitsConfig, generator: torch.Generator
) -> dict[tuple[str, str], Estimate]:
    """What results/units.csv holds: {(layer, measure): Estimate}; for large_k its own rows, against "random" only."""
    table: dict[tuple[str, str], Estimate] = {}
    for layer, looked in studies.items():
        for judge, values in looked.agreement.items():
            table |= _compared(layer, judge, values, config, generator)
        row = f"{layer}, top {config.large_k}"
        for judge, values in looked.large_agreement.items():
            few = {name: values[name] for name in ("units", "random", "chance")}
            table |= _compared(row, judge, few, config, generator)
    return table


def _compared(
    row: str, judge: str, values: Mapping[str, Tensor], config: UnitsConfig, generator: torch.Generator
) -> dict:
    """Means, Cliff's delta of units against every family, and against "random", the paper's, a permutation test."""
    own, found = values["units"], {(row, f"{judge}: {name}"): intervals.mean(v.numpy()) for name, v in values.items()}
    for name in [name for name in values if name != "units"]:
        found[row, f"{judge}: delta, {name}"] = effects.delta(own, values[name], generator, config.num_draws)
    found[row, f"{judge}: p, random"] = effects.permutation_test(own, values["random"], generator, config.num_draws)
    return found


def deltas(
    activations: Tensor, judges: Mapping[str, Tensor], config: UnitsConfig, generator: torch.Generator
) -> dict[str, Estimate]:
    """Cliff's delta between a layer's live units and random directions alone, by judge."""
    activations = activations[:, live_units(activations, config.k)]
    directions = random_directions(config.num_directions, activations.shape[1], generator)
    own, mixed = (
        top_activating(scores, config.k, generator)
        for scores in (unit_responses(activations), responses(activations, directions))
    )
    return {
        judge: effects.delta(agreement(v, own), agreement(v, mixed), generator, config.num_draws)
        for judge, v in judges.items()
    }


def rotated(
    activations: Tensor, judges: Mapping[str, Tensor], k: int, num: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Mean agreement over the whole basis after each of `num` random rotations of it, (num,), by judge."""
    means: dict[str, list[Tensor]] = {judge: [] for judge in judges}
    for _ in trange(num, desc="rotations", disable=None, leave=False):
        basis = random_rotation(activations.shape[1], generator)
        top = top_activating(responses(activations, basis), k, generator)
        for judge, vectors in judges.items():
            means[judge].append(agreement(vectors, top).mean())
    return {judge: torch.stack(values) for judge, values in means.items()}


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's."""
    return float(scipy.stats.spearmanr(a, b).statistic)
