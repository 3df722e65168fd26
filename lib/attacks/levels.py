"""Adversarial images that a file can hold: every pixel on one of 256 levels of brightness, confirmed by the network.

What an attack finds lies between the levels, and rounding undoes it: most of it for photographs, whose perturbations
are smaller than a level, and for half of all digits. Here the problem is

    min |z - x|^2  subject to  the network giving z the target,  and every pixel of z on a level.

Where the target's lead is linear, with gradient g, the pixels decide independently of each other at a price m of the
lead: each takes the level next to x + m g (complete the square). So the least m for which x + m g, rounded, is given
the target is as good as it gets, but for what a single pixel could do better. The first way that is tried is the
attack's own perturbation, longer or shorter; the next ones are the gradients at the images reached.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import arguments, penalized, perturbations
from .penalized import Network

# Factors of the way that is tried, in units of its own length: the first, and each over the one before.
FROM_INPUT, FROM_ATTACK, LONGEST = (0.5, 2**0.25), (1 / 256, 2.0), 64.0
NUM_BISECTIONS, NUM_WAYS = 10, 5


@dataclass(frozen=True)
class LevelsResult:
    """Verified facts about N images. All fields but `adversarial` are (N,).

    Where nothing was found, success is False, `adversarial` is the input itself and `distortion` is inf.
    """

    adversarial: Tensor  # multiples of 1/255
    distortion: Tensor  # sqrt(mean((adversarial - inputs)^2))
    success: Tensor  # the network, asked once more, gives the target
    num_evaluations: Tensor  # gradients

    def to(self, device: torch.device | str) -> "LevelsResult":
        """The same facts on another device."""
        return LevelsResult(**{name: values.to(device) for name, values in vars(self).items()})


@arguments.outside_inference_mode
@torch.enable_grad()
def to_levels(
    network: Network, inputs: Tensor, targets: Tensor, adversarial: Tensor, chunk_size: int = 256
) -> LevelsResult:
    """For each adversarial image, such as an attack finds, one near it on the levels of a file with 8 bits a channel.

    inputs, adversarial : (N, ...) in [0, 1]; the inputs' distance to the levels is part of the distortion.
    An input whose rounded values are given the target is answered with these.

    Errors and warnings as in `penalized.find_adversarial`; also for adversarial images that are outside [0, 1], or of
    another shape, dtype or device than the inputs.
    """
    arguments.check_whole("chunk_size", chunk_size, 1, "example")
    network, inputs, targets = penalized.checked(network, inputs, targets)
    arguments.check_start(adversarial, inputs)
    chunks = zip(*(values.split(int(chunk_size)) for values in (inputs, targets, adversarial.detach())), strict=True)
    results = [_Chunk(network, *chunk).search() for chunk in chunks]
    result = LevelsResult(**{name: torch.cat([getattr(r, name) for r in results]) for name in vars(results[0])})
    rounded = perturbations.to_bytes(inputs)
    arguments.warn_of_targets_given(result.success & (result.adversarial == rounded).flatten(1).all(dim=1))
    return result


class _Chunk:
    """The shortest images on the levels so far, and along what the next ones are looked for."""

    def __init__(self, network: Network, inputs: Tensor, targets: Tensor, adversarial: Tensor):
        self.network, self.shape, self.targets = network, inputs.shape, targets
        self.x, self.attacked = inputs.flatten(1), adversarial.flatten(1)
        self.shortest = penalized.Shortest(self.x.clone(), torch.full_like(self.x[:, 0], torch.inf))
        self.num_evaluations = torch.zeros_like(targets)

    def search(self) -> LevelsResult:
        self.offer(torch.arange(len(self.x), device=self.x.device), self.x)
        self.follow(self.x, self.attacked - self.x, *FROM_INPUT)
        # From the attack's image away from all rivals at once, which may meet in a corner.
        inside = self.gradient(self.attacked, (self.attacked - self.x).norm(dim=1), _log_probability)
        self.follow(self.attacked, inside, *FROM_ATTACK)
        for _ in range(NUM_WAYS):
            before = self.shortest.norm.clone()
            self.follow(self.x, self.gradient(self.shortest.images, self.shortest.norm), *FROM_INPUT)
            if not (self.shortest.norm < before).any():
                break
        inputs, images = self.x.view(self.shape), self.shortest.images.view(self.shape)
        return LevelsResult(*penalized.verified(self.network, inputs, images, self.targets), self.num_evaluations)

    def offer(self, rows: Tensor, images: Tensor) -> Tensor:
        """Where the network gives images of `rows`, rounded to levels, the target, bool; kept are the shortest."""
        rounded = perturbations.to_bytes(images.clamp(0, 1))
        with torch.no_grad():
            logits = self.network(rounded.view(-1, *self.shape[1:]))
        said = penalized.lead(logits, self.targets[rows]) > 0
        self.shortest.offer(rows, rounded, (rounded - self.x[rows]).norm(dim=1), said)
        return said

    def follow(self, origin: Tensor, way: Tensor, first: float, step: float) -> None:
        """The least factor of a way at which the network gives the target, by steps and then by bisection."""
        low, high = torch.zeros_like(self.x[:, 0]), torch.full_like(self.x[:, 0], torch.inf)
        rows, factor = (way != 0).any(dim=1).nonzero()[:, 0], first
        while len(rows) and factor <= LONGEST:
            said = self.offer(rows, origin[rows] + factor * way[rows])
            high[rows[said]], low[rows[~said]] = factor, factor
            rows, factor = rows[~said], factor * step
        rows = high.isfinite().nonzero()[:, 0]
        for _ in range(NUM_BISECTIONS if len(rows) else 0):
            middle = (low[rows] + high[rows]) / 2
            said = self.offer(rows, origin[rows] + middle[:, None] * way[rows])
            low[rows], high[rows] = torch.where(said, low[rows], middle), torch.where(said, middle, high[rows])

    def gradient(self, images: Tensor, length: Tensor, of: Callable = penalized.lead) -> Tensor:
        """Of the lead at images (k, n), brought to a length (k,); 0 where that, or the gradient, is 0 or not finite."""
        images = images.view(self.shape).clone().requires_grad_()
        slope = torch.autograd.grad(of(self.network(images), self.targets).sum(), images)[0].flatten(1)
        self.num_evaluations += 1
        steep = slope.norm(dim=1)
        known = length.isfinite() & (length > 0) & steep.isfinite() & (steep > 0)
        return torch.where(known[:, None], slope / steep[:, None] * length[:, None], 0.0)


def _log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Its gradient leads away from every rival that is near."""
    return -F.cross_entropy(logits, targets, reduction="none")
