"""All else that changes an image: noise, louder or quieter perturbations, other ones of equal size, bytes.

Images are (N, ...); adversarial ones have the shape of theirs. Lengths are over all axes but the first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .arguments import KindError


def gaussian_noise(inputs: Tensor, stddev: float, generator: torch.Generator) -> Tensor:
    """inputs + N(0, stddev^2) in every pixel, not clamped to [0, 1]; `generator` lives on the CPU."""
    noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
    return inputs + stddev * noise.to(inputs.device)


def amplify(inputs: Tensor, adversarial: Tensor, stddev: float) -> Tensor:
    """x + stddev sqrt(n) (x' - x) / |x' - x|: every perturbation brought to the same root mean square.

    An image without perturbation stays as it is. Not clamped, as the paper's formula is not.

    Reference: section 4.2, Table 4, whose formula lacks the factor sqrt(n).
    """
    return inputs + stddev * inputs[0].numel() ** 0.5 * directions(inputs, adversarial)


def amplify_together(inputs: Tensor, adversarial: Tensor, stddev: float) -> Tensor:
    """Every perturbation times the one factor that gives all pixels of all images a root mean square of stddev.

    Images without any perturbation stay as they are.

    Reference: another reading of section 4.2, Table 4, in which large perturbations stay larger than small ones.
    """
    perturbation = adversarial - inputs
    size = perturbation.double().square().mean().sqrt().item()
    return inputs + (stddev / size if size else 0.0) * perturbation


def amplify_as_printed(inputs: Tensor, adversarial: Tensor, stddev: float) -> Tensor:
    """x + stddev (x' - x) / |x' - x|, section 4.2 to the letter: its root mean square is stddev / sqrt(n)."""
    return inputs + stddev * directions(inputs, adversarial)


def directions(inputs: Tensor, adversarial: Tensor) -> Tensor:
    """(x' - x) / |x' - x| for each image, zero where there is no perturbation."""
    perturbation = adversarial - inputs
    length = _lengths(perturbation)
    return torch.where(length > 0, perturbation / length, 0.0)


def _lengths(perturbations: Tensor) -> Tensor:
    """Of each, to be multiplied with it: (N, 1, ...)."""
    return perturbations.flatten(1).norm(dim=1).view(-1, *[1] * (perturbations.dim() - 1))


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
    return inputs + _lengths(adversarial - inputs) * drawn / _lengths(drawn)


def magnified(inputs: Tensor, adversarial: Tensor, times: float) -> Tensor:
    """The difference as the paper shows it, which takes it ten times: shifted by 128 of 255 to grey, in [0, 1]."""
    return (times * (adversarial - inputs) + 128 / 255).clamp(0, 1)


def extended(inputs: Tensor, adversarial: Tensor, factor: float) -> Tensor:
    """x + factor (x' - x), clipped to [0, 1]: the same way, farther."""
    return (inputs + factor * (adversarial - inputs)).clamp(0, 1)


def to_bytes(images: Tensor) -> Tensor:
    """Each value rounded to the nearest of the 256 that a PNG can hold: what survives being saved.

    Raises TypeError for images that are bytes already.
    """
    if not images.is_floating_point():
        raise KindError(f"images must be numbers from 0 to 1, not {images.dtype}: divide bytes by 255")
    return (255 * images).round().clamp(0, 255) / 255


def coarsened(pictures: Tensor, side: int) -> Tensor:
    """Pictures (N, 3, H, W) averaged down to `side` pixels and enlarged again (bilinear): their fine detail is gone."""
    small = F.interpolate(pictures, size=side, mode="bilinear", antialias=True)
    return F.interpolate(small, size=pictures.shape[-2:], mode="bilinear").clamp(0, 1)
