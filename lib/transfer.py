"""Cross-model and cross-training-set generalisation: what adversarial examples do to other networks (section 4.2)."""

from collections.abc import Mapping

import scipy.stats
import torch
from torch import Tensor

from lib import intervals
from lib.attack import Network
from lib.intervals import Estimate

BATCH = 10_000


@torch.no_grad()
def predictions(network: Network, inputs: Tensor) -> Tensor:
    """The class that the network gives each image, (N,)."""
    return torch.cat([network(batch).argmax(dim=1) for batch in inputs.split(BATCH)])


def rates(networks: Mapping[str, Network], images: Mapping[str, Tensor], classes: Tensor) -> dict:
    """How often, in per cent, each network gives each set of images (N, n) the `classes` (N,).

    Returns {(name of the set, name of the network): Estimate}. With targets as classes it tells how often the TARGET
    is transferred; with labels, accuracy.
    """
    return {
        (row, column): intervals.percent(int((predictions(network, inputs) == classes).sum()), len(classes))
        for row, inputs in images.items()
        for column, network in networks.items()
    }


def error_rates(networks: Mapping[str, Network], images: Mapping[str, Tensor], labels: Tensor) -> dict:
    """Tables 2 and 4: how often, in per cent, each network gives each set of images another class than `labels`."""
    return {cell: complement(right) for cell, right in rates(networks, images, labels).items()}


def complement(percent: Estimate) -> Estimate:
    """The rest to 100 %."""
    return Estimate(100 - percent.value, 100 - percent.high, 100 - percent.low, percent.n)


def gaussian_noise(inputs: Tensor, stddev: float, generator: torch.Generator, clamp: bool = False) -> Tensor:
    """inputs + N(0, stddev^2) in every pixel, clamped to [0, 1] or not; `generator` lives on the CPU."""
    noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
    noisy = inputs + stddev * noise.to(inputs.device)
    return noisy.clamp(0, 1) if clamp else noisy


def amplify(inputs: Tensor, adversarial: Tensor, stddev: float) -> Tensor:
    """x + stddev sqrt(n) (x' - x) / |x' - x|: every perturbation brought to the same root mean square.

    An image without perturbation stays as it is. Not clamped, as the paper's formula is not.

    Reference: section 4.2, Table 4, whose formula lacks the factor sqrt(n).
    """
    return inputs + stddev * inputs.shape[1] ** 0.5 * directions(inputs, adversarial)


def amplify_as_printed(inputs: Tensor, adversarial: Tensor, stddev: float) -> Tensor:
    """x + stddev (x' - x) / |x' - x|, section 4.2 to the letter: its root mean square is stddev / sqrt(n)."""
    return inputs + stddev * directions(inputs, adversarial)


def directions(inputs: Tensor, adversarial: Tensor) -> Tensor:
    """(x' - x) / |x' - x| for each image (N, n), zero where there is no perturbation."""
    perturbation = adversarial - inputs
    norm = perturbation.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, perturbation / norm, 0.0)


def shuffled(inputs: Tensor, adversarial: Tensor, generator: torch.Generator) -> Tensor:
    """Every image with another image's perturbation, at that one's own length; `generator` lives on the CPU."""
    order = torch.randperm(len(inputs), generator=generator).to(inputs.device)
    return inputs + (adversarial - inputs)[order]


def random_signs(inputs: Tensor, adversarial: Tensor, generator: torch.Generator) -> Tensor:
    """Every perturbation with the sign of each pixel drawn at random: same places, same sizes, no direction."""
    signs = 2 * torch.randint(0, 2, inputs.shape, generator=generator) - 1
    return inputs + signs.to(inputs) * (adversarial - inputs)


def random_directions(inputs: Tensor, adversarial: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved as far as its perturbation moves it, in a direction drawn uniformly from the sphere."""
    drawn = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
    length = (adversarial - inputs).norm(dim=1, keepdim=True)
    return inputs + length * drawn / drawn.norm(dim=1, keepdim=True)


def subset_range(rate: Estimate, size: int = 256) -> tuple[float, float]:
    """Where 95 % of the rates lie, in per cent, that random subsets of `size` of the rate's images would show.

    Exact: the number of errors in a subset is hypergeometric.
    """
    wrong = round(rate.n * rate.value / 100)
    drawn = scipy.stats.hypergeom(rate.n, wrong, min(size, rate.n))
    return tuple(100 * float(drawn.ppf(q)) / min(size, rate.n) for q in (0.025, 0.975))


def agreement(ours: Mapping[tuple[str, str], float], theirs: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Spearman's rank correlation and the median absolute difference over the cells of `theirs`."""
    cells = list(theirs)
    a, b = torch.tensor([ours[cell] for cell in cells]), torch.tensor([theirs[cell] for cell in cells])
    return {
        "spearman": float(scipy.stats.spearmanr(a, b).statistic),
        "median_difference": float((a.double() - b).abs().median()),
        "num_cells": len(cells),
    }
