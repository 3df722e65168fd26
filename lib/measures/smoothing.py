"""A network smoothed by noise: what the majority says under it, and within which radius that is certain.

Reference: Cohen, Rosenfeld, Kolter 2019, theorem 1 and section 3.2.
"""

import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from lib.attacks.penalized import Network

AT_ONCE = 1000  # draws of noise
ALPHA = 0.001  # how often a radius may be too large


@torch.no_grad()
def votes(network: Network, inputs: Tensor, stddev: float, num: int, generator: torch.Generator) -> Tensor:
    """How often the network says each class of x + N(0, stddev^2), of `num` draws for each image: (N, K), integers.

    The noisy images are not clamped to [0, 1]: the theorem is about noise as it is.
    """
    counts = []
    for image in inputs:
        drawn = 0
        for start in range(0, num, AT_ONCE):
            shape = min(AT_ONCE, num - start), *image.shape
            logits = network(image + stddev * torch.randn(shape, generator=generator).to(image))
            drawn = drawn + F.one_hot(logits.argmax(dim=1), logits.shape[1]).sum(dim=0)
        counts.append(drawn)
    return torch.stack(counts)


def least_share(hits: Tensor, num: int, alpha: float = ALPHA) -> Tensor:
    """What a share is at least, with confidence 1 - alpha, of which `hits` (N,) of `num` draws were seen: float64.

    Reference: Clopper & Pearson 1934, the one-sided bound.
    """
    bound = scipy.stats.beta.ppf(alpha, hits.numpy(), num - hits.numpy() + 1)
    return torch.nan_to_num(torch.from_numpy(bound))  # without a hit it is 0


def radius(least: Tensor, stddev: float) -> Tensor:
    """Within which l2 distance of each image the majority stays, stddev Phi^-1(p), where its share is p (N,) at least.

    0 where it is not sure that there is a majority. For two classes and a linear network the radius of the true share
    is the distance from the boundary.
    """
    return stddev * torch.special.ndtri(least.clamp_min(0.5))


def certified_radius(
    network: Network, inputs: Tensor, labels: Tensor, stddev: float, num: int, generator: torch.Generator
) -> Tensor:
    """Within which distance of each image the smoothed network says its label, (N,), float64; 0 where that is not sure.

    A tenth as many draws of their own tell which class has the majority, `num` others its share.
    """
    guess = votes(network, inputs, stddev, max(num // 10, 1), generator).argmax(dim=1, keepdim=True)
    hits = votes(network, inputs, stddev, num, generator).gather(1, guess)[:, 0]
    return torch.where((guess[:, 0] == labels).cpu(), radius(least_share(hits.cpu(), num), stddev), 0.0)


def surely_lost(
    network: Network, inputs: Tensor, labels: Tensor, stddev: float, num: int, generator: torch.Generator
) -> Tensor:
    """Whether the smoothed network says another class than the label, with the same confidence, (N,) bool."""
    hits = votes(network, inputs, stddev, num, generator).gather(1, labels[:, None])[:, 0]
    return 1 - least_share(num - hits.cpu(), num) < 0.5
