"""Cross-model and cross-training-set generalisation: what adversarial examples do to other networks (section 4.2)."""

from collections.abc import Mapping

import scipy.stats
import torch
from torch import Tensor

from lib import attack, intervals
from lib.attack import Network
from lib.data import Dataset
from lib.intervals import Estimate

BATCH = 1000
TABLE2_STDDEVS = (0.1, 0.3)
TABLE4_STDDEVS = (0.06, 0.1)


@torch.no_grad()
def predictions(network: Network, inputs: Tensor) -> Tensor:
    """The class that the network gives each image, (N,)."""
    return torch.cat([network(batch).argmax(dim=1) for batch in inputs.split(BATCH)])


def answers(networks: Mapping[str, Network], images: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """The classes (N,) that each network gives each set of images (N, n): {(set, network): Tensor}."""
    return {(row, column): predictions(networks[column], images[row]) for row in images for column in networks}


def rates(answers: Mapping[tuple[str, str], Tensor], classes: Tensor) -> dict:
    """How often, in per cent, the answers are the `classes` (N,): {cell: Estimate}.

    With targets as classes it tells how often the TARGET is transferred; with labels, accuracy.
    """
    return {cell: intervals.percent(int((answer == classes).sum()), len(classes)) for cell, answer in answers.items()}


def error_rates(answers: Mapping[tuple[str, str], Tensor], labels: Tensor) -> dict:
    """Tables 2 and 4: how often, in per cent, the answers are another class than `labels`: {cell: Estimate}."""
    return {cell: complement(right) for cell, right in rates(answers, labels).items()}


def distortions(images: Mapping[str, Tensor], inputs: Tensor) -> dict:
    """{(name of the set, "distortion"): Estimate}, the mean root mean square change of each set of images."""
    return {
        (row, "distortion"): intervals.mean(attack.distortion(changed, inputs).cpu().numpy())
        for row, changed in images.items()
    }


def table2_images(adversarial: Mapping[str, Tensor], inputs: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The rows of Table 2: adversarial images by the network they were made for, and the same images under noise."""
    noise = {f"Gaussian noise, stddev {stddev}": gaussian_noise(inputs, stddev, generator) for stddev in TABLE2_STDDEVS}
    return dict(adversarial) | noise


def table3(networks: Mapping[str, Network], parts: Mapping[str, Dataset]) -> dict:
    """{(network, part): Estimate}: the error in per cent of each network on each part of the data, undistorted."""
    return {
        (name, part): transferred
        for part, images in parts.items()
        for (_, name), transferred in error_rates(answers(networks, {part: images.inputs}), images.labels).items()
    }


def table4_images(adversarial: Mapping[str, Tensor], inputs: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The rows of Table 4, in its order; last, as rows of our own, amplification as the paper prints it."""
    quiet, loud = TABLE4_STDDEVS
    return (
        {f"distorted for {name}": images for name, images in adversarial.items()}
        | {f"Gaussian noise, stddev {quiet}": gaussian_noise(inputs, quiet, generator)}
        | {f"{name} amplified to {loud}": amplify(inputs, images, loud) for name, images in adversarial.items()}
        | {f"Gaussian noise, stddev {loud}": gaussian_noise(inputs, loud, generator)}
        | {f"{name} as printed": amplify_as_printed(inputs, images, loud) for name, images in adversarial.items()}
    )


def complement(percent: Estimate) -> Estimate:
    """The rest to 100 %."""
    return Estimate(100 - percent.value, 100 - percent.high, 100 - percent.low, percent.n)


def gaussian_noise(inputs: Tensor, stddev: float, generator: torch.Generator) -> Tensor:
    """inputs + N(0, stddev^2) in every pixel, not clamped to [0, 1]; `generator` lives on the CPU."""
    noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
    return inputs + stddev * noise.to(inputs.device)


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


def range_in_samples(percent: float, size: int) -> tuple[float, float]:
    """Where 95 % of the rates lie, in per cent, that samples of `size` images show if the rate of all is `percent`."""
    drawn = scipy.stats.binom(size, percent / 100)
    return tuple(100 * float(drawn.ppf(q)) / size for q in (0.025, 0.975))


def agreement(ours: Mapping[tuple[str, str], float], theirs: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Spearman's rank correlation and the median absolute difference over the cells of `theirs`."""
    cells = list(theirs)
    a, b = torch.tensor([ours[cell] for cell in cells]), torch.tensor([theirs[cell] for cell in cells])
    return {
        "spearman": float(scipy.stats.spearmanr(a, b).statistic),
        "median_difference": float((a.double() - b).abs().median()),
        "num_cells": len(cells),
    }
