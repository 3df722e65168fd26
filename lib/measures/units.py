"""Units and directions (section 3): which images a direction of a layer likes best, and how much those agree.

A layer gives N images activations phi(x) of d units: a vector each, (N, d), or maps, (N, d, positions), for a
convolution. A direction v scores an image by <phi(x), v>; on maps by the largest such value over the positions, as if
v were one more filter. A unit is a direction of the natural basis. Scores are compared within a direction only, so
neither its length nor the layer's mean matters.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.measures import effects, intervals
from lib.measures.intervals import Estimate

CHUNK = 250  # images whose maps are held at once
JUDGES = ("labels", "another network")  # the primary ones, on which the claims rest
LAST = ("Conv, hidden layer", "AlexNet, conv5", "SqueezeNet, fire9")  # the last layer that we have of each network
UNTRAINED = {name: name.replace(",", " untrained,") for name in LAST}  # the same with their initial weights
SEED = "Conv, seed {}"  # rows: the first of LAST, from that seed
FEW_SEEDS = 3  # fewer have no interval worth the name

Cells = Mapping[tuple[str, str], Estimate]


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

    activations : (N, d) or (N, d, positions), in single or half precision; directions : (num_directions, d).

    Reference: section 3, its two displayed equations.
    """
    if activations.ndim == 2:
        return directions @ activations.T
    return torch.cat([(directions @ maps.float()).amax(dim=2) for maps in activations.split(CHUNK)]).T


def unit_responses(activations: Tensor) -> Tensor:
    """`responses` to the natural basis, (d, N), without the matrix product."""
    return (activations if activations.ndim == 2 else activations.amax(dim=2)).float().T


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


def random_directions(num: int, dim: int, generator: torch.Generator) -> Tensor:
    """Gaussian vectors (num, dim): every direction is as likely as every other. `generator` lives on the CPU."""
    return torch.randn(num, dim, generator=generator)


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


def agreements(judges: Mapping[str, Tensor], top: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`agreement` of every family's rows of images in the eyes of every judge, {judge: {family: (num_directions,)}}."""
    return {judge: {name: agreement(vectors, best) for name, best in top.items()} for judge, vectors in judges.items()}


# --- A layer that is looked at --------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """Whom a layer's units and its directions like best, and how much these images agree."""

    live: Tensor  # (d,) bool, for k; all below is of live units, and of directions among them
    directions: dict[str, Tensor]  # by family
    top: dict[str, Tensor]  # by family, under "units", and under "chance" images drawn at random; (., large_k)
    agreement: dict[str, dict[str, Tensor]]  # of the first k, by judge and then by family
    large_agreement: dict[str, dict[str, Tensor]]  # of all large_k, without the units that are not live for so many


def against_random(
    activations: Tensor, judges: Mapping[str, Tensor], config: UnitsConfig, generator: torch.Generator
) -> Study:
    """Look at the live units of a layer, and at as many random directions among them as `config` says.

    activations : on N images; judges : unit rows (N, f) each. What units like is drawn first: it does not depend on
    what they are compared with.
    """
    live = live_units(activations, config.k)
    activations = activations[:, live]
    top = {"units": top_activating(unit_responses(activations), config.large_k, generator)}
    directions = random_directions(config.num_directions, activations.shape[1], generator)
    top["random"] = top_activating(responses(activations, directions), config.large_k, generator)
    lots = torch.rand(config.num_directions, len(activations), generator=generator)
    top["chance"] = top_activating(lots, config.large_k, generator)
    few = {name: best[:, : config.k] for name, best in top.items()}
    many = top | {"units": top["units"][live_units(activations, config.large_k)]}
    return Study(live, {"random": directions}, top, agreements(judges, few), agreements(judges, many))


def by_lot(study: Study, num: int, k: int, generator: torch.Generator, skip: int = 0) -> dict[str, dict[str, Tensor]]:
    """Rows of image numbers (k,) of `num` units and of `num` random directions, drawn after `skip` others.

    {"single units": {"unit 17": ...}, "random directions": {"direction 4": ...}}: units carry their numbers in the
    layer.
    """
    names = {"units": torch.nonzero(study.live)[:, 0], "random": torch.arange(len(study.top["random"]))}
    drawn = {
        family: torch.randperm(len(numbers), generator=generator)[skip : skip + num]
        for family, numbers in names.items()
    }
    return {
        title: {f"{kind} {int(names[family][i])}": study.top[family][i, :k] for i in drawn[family]}
        for title, kind, family in (
            ("single units", "unit", "units"),
            ("random directions", "direction", "random"),
        )
    }


# --- Comparisons ----------------------------------------------------------------------------------


def cells(layer: str, study: Study, config: UnitsConfig, generator: torch.Generator) -> dict:
    """What results/units.csv holds of a layer: {(layer, measure): Estimate}; for large_k there is a row of its own."""
    table = _compared(layer, study.agreement, config, generator)
    return table | _compared(f"{layer}, top {config.large_k}", study.large_agreement, config, generator)


def deltas(layer: str, study: Study, config: UnitsConfig, generator: torch.Generator) -> dict:
    """Of these cells, the delta of units against random directions alone, by judge."""
    return {
        (layer, f"{judge}: delta, random"): effects.delta(
            values["units"], values["random"], generator, config.num_draws
        )
        for judge, values in study.agreement.items()
    }


def _compared(
    row: str, agreement: Mapping[str, Mapping[str, Tensor]], config: UnitsConfig, generator: torch.Generator
) -> dict:
    """Means, and Cliff's delta of units against every family of directions."""
    found: dict[tuple[str, str], Estimate] = {}
    for judge, values in agreement.items():
        found |= {(row, f"{judge}: {name}"): intervals.mean(v.numpy()) for name, v in values.items()}
        for name in [name for name in values if name not in ("units", "chance")]:
            delta = effects.delta(values["units"], values[name], generator, config.num_draws)
            found[row, f"{judge}: delta, {name}"] = delta
        if "random" in values:
            p = effects.permutation_test(values["units"], values["random"], generator, config.num_draws)
            found[row, f"{judge}: p, random"] = p
    return found


def by_seed(cells: Cells, judge: str) -> list[float]:
    """Cliff's delta of units against random directions in Conv's hidden layer, for every seed that it has."""
    column, of_seed = f"{judge}: delta, random", SEED.format("")
    found = [estimate.value for (row, name), estimate in cells.items() if name == column and row.startswith(of_seed)]
    return [value for value in found if math.isfinite(value)]


def last_deltas(cells: Cells) -> dict[tuple[str, str], Estimate]:
    """What the claim "no distinction" is judged by: delta in the last layer of every network, by primary judge.

    Of Conv it is the mean over seeds with Student's interval, where there are enough of them. Missing cells are left
    out.
    """
    of_one = {(row, judge): (row, f"{judge}: delta, random") for row in LAST for judge in JUDGES}
    parts = {part: cells[cell] for part, cell in of_one.items() if cell in cells}
    seeds = {(LAST[0], judge): by_seed(cells, judge) for judge in JUDGES}
    return parts | {part: intervals.mean(found) for part, found in seeds.items() if len(found) >= FEW_SEEDS}


def num_within(parts: Mapping[object, Estimate], limit: float) -> tuple[int, int]:
    """How many of the estimates are at most `limit` in size, and how many with their whole interval."""
    estimates = sum(abs(e.value) <= limit for e in parts.values())
    return estimates, sum(max(-e.low, e.high) <= limit for e in parts.values())


def arranged(cells: Cells, rows: Iterable[str], columns: Mapping[str, str]) -> dict[str, dict[str, Estimate]]:
    """{row: {label: estimate}} of the columns {label: column}, for `comparisons.effect_sizes`: those that are there."""
    found = {
        row: {label: cells[row, column] for label, column in columns.items() if (row, column) in cells} for row in rows
    }
    return {row: values for row, values in found.items() if values}


def num_above_chance(cells: Cells) -> tuple[int, int]:
    """In how many comparisons random directions' images agree more than images drawn at random, and of how many.

    More: the 95 % intervals of the means are apart. The pixels' own layer, which is no layer, does not count.
    """
    pairs = [
        (estimate, cells[row, column.replace("random", "chance")])
        for (row, column), estimate in cells.items()
        if column.endswith(": random") and (row, column.replace("random", "chance")) in cells and "pixels" not in row
    ]
    return sum(mixed.low > chance.high for mixed, chance in pairs), len(pairs)
