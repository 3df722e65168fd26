"""What the layers of ImageNet's networks say of pictures, computed piece by piece."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data.photographs import Pictures
from lib.networks.imagenet import Probe

BATCH = 50  # pictures in memory at once
POOL = {"kernel_size": 3, "stride": 2}  # AlexNet's last pooling, after which both networks' maps are 6 x 6
THUMBNAIL = 32  # pixels a side


@torch.no_grad()
def maps(network: nn.Module, images: Pictures) -> Tensor:
    """The pooled maps of the network's last features, (N, channels, positions), in half precision.

    network : AlexNet, whose features end in that pooling, or SqueezeNet, after whose last module it is put.
    """
    last = network.features[-1]
    pool = nn.Identity() if isinstance(last, nn.MaxPool2d) else nn.MaxPool2d(**POOL)
    layers = nn.Sequential(network.normalize, network.features, pool, nn.Flatten(2))
    device = next(network.parameters()).device
    return torch.cat([layers(batch.to(device)).half().cpu() for batch in images.batches(BATCH)])


@torch.no_grad()
def encodings(probe: Probe, images: Pictures) -> Tensor:
    """What the linear layer of the probe is trained on, (N, num_features), before its scale."""
    device = next(probe.parameters()).device
    return torch.cat([probe.encode(batch.to(device)) for batch in images.batches(BATCH)])


def thumbnails(images: Pictures) -> Tensor:
    """The pictures averaged down to 32 x 32 pixels, (N, 3072): what a judge that knows nothing sees."""
    return torch.cat([F.adaptive_avg_pool2d(batch, THUMBNAIL).flatten(1) for batch in images.batches(BATCH)])


def untrained(network: type[nn.Module], seed: int) -> nn.Module:
    """A network of that class as PyTorch initialises it, in evaluation mode; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network().eval().requires_grad_(False)
