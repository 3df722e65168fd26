"""Cross-model and cross-training-set generalisation: what adversarial examples do to other networks (section 4.2)."""

from collections.abc import Mapping

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from lib.attacks import penalized, perturbations
from lib.attacks.penalized import Network
from lib.data.dataset import Dataset
from lib.measures import intervals
from lib.measures.intervals import Estimate

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
        (row, "distortion"): intervals.mean(penalized.distortion(changed, inputs).cpu().numpy())
        for row, changed in images.items()
    }


def table2_images(adversarial: Mapping[str, Tensor], inputs: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The rows of Table 2: adversarial images by the network they were made for, and the same images under noise."""
    noise = {
        f"Gaussian noise, stddev {stddev}": perturbations.gaussian_noise(inputs, stddev, generator)
        for stddev in TABLE2_STDDEVS
    }
    return dict(adversarial) | noise


def table3(networks: Mapping[str, Network], parts: Mapping[str, Dataset]) -> dict:
    """{(network, part): Estimate}: the error in per cent of each network on each part of the data, undistorted."""
    return {
        (name, part): transferred
        for part, images in parts.items()
        for (_, name), transferred in error_rates(answers(networks, {part: images.inputs}), images.labels).items()
    }


def table4_images(adversarial: Mapping[str, Tensor], inputs: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The rows of Table 4, in its order; last, as rows of our own, the two other readings of its amplification."""
    quiet, loud = TABLE4_STDDEVS
    return (
        {f"distorted for {name}": images for name, images in adversarial.items()}
        | {f"Gaussian noise, stddev {quiet}": perturbations.gaussian_noise(inputs, quiet, generator)}
        | {
            f"{name} amplified to {loud}": perturbations.amplify(inputs, images, loud)
            for name, images in adversarial.items()
        }
        | {f"Gaussian noise, stddev {loud}": perturbations.gaussian_noise(inputs, loud, generator)}
        | {
            f"{name} by one factor to {loud}": perturbations.amplify_together(inputs, x, loud)
            for name, x in adversarial.items()
        }
        | {
            f"{name} as printed": perturbations.amplify_as_printed(inputs, images, loud)
            for name, images in adversarial.items()
        }
    )


def complement(percent: Estimate) -> Estimate:
    """The rest to 100 %."""
    return Estimate(100 - percent.value, 100 - percent.high, 100 - percent.low, percent.n)


def range_in_samples(percent: float, size: int) -> tuple[float, float]:
    """Where 95 % of the rates lie, in per cent, that samples of `size` images show if the rate of all is `percent`."""
    drawn = scipy.stats.binom(size, percent / 100)
    return tuple(100 * float(drawn.ppf(q)) / size for q in (0.025, 0.975))


def is_share_of(printed: str, size: int = 256) -> bool:
    """Whether a rate printed in per cent is a multiple of 1 / size, as far as its digits go."""
    digits = len(printed.partition(".")[2])
    nearest = 100 * round(float(printed) * size / 100) / size
    return abs(nearest - float(printed)) <= 0.5 * 10**-digits + 1e-9


def agreement(ours: Mapping[tuple[str, str], float], theirs: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Spearman's rank correlation and the median absolute difference over the cells of `theirs`."""
    cells = list(theirs)
    a, b = np.array([ours[cell] for cell in cells]), np.array([theirs[cell] for cell in cells])
    return {
        "spearman": float(scipy.stats.spearmanr(a, b).statistic),
        "median_difference": float(np.median(np.abs(a - b))),
        "num_cells": len(cells),
    }
