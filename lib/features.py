"""What takes long to learn about a layer, computed once and kept in the store."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib import config, pictures, units
from lib.experiment import weights_identity
from lib.models import imagenet
from lib.pictures import Pictures
from lib.store import Artifact, Store, code_version, identity

BATCH = 50
POOL = {"kernel_size": 3, "stride": 2}  # AlexNet's last pooling, after which both networks' maps are 6 x 6
THUMBNAIL = 32  # pixels a side


def maps(network: nn.Module, images: Pictures, store: Store, device: torch.device) -> Tensor:
    """The pooled maps of the network's last features, (N, channels, positions), in half precision's digits.

    network : AlexNet, whose features end in that pooling, or SqueezeNet, after whose last module it is put.
    """
    last = network.features[-1]
    pool = nn.Identity() if isinstance(last, nn.MaxPool2d) else nn.MaxPool2d(**POOL)
    layers = nn.Sequential(network.normalize, network.features, pool, nn.Flatten(2)).to(device)
    key = {
        "weights": weights_identity(network.features),
        "pictures": images.identity,
        "code": code_version(imagenet, pictures),
        "pool": POOL,
    }

    @torch.no_grad()
    def make() -> Artifact:
        found = [layers(batch.to(device)).half().cpu() for batch in images.batches(BATCH)]
        return Artifact({"maps": torch.cat(found)})

    return store.get("maps", key, make).tensors["maps"].float()


def rotations(
    activations: Tensor, judges: Mapping[str, Tensor], k: int, num: int, seed: int, store: Store
) -> dict[str, Tensor]:
    """`units.rotated`, with the generator of that seed."""
    key = {
        "activations": identity(activations),
        "judges": {name: identity(vectors) for name, vectors in judges.items()},
        "k": k,
        "num": num,
        "seed": seed,
        "code": code_version(units),
    }

    def make() -> Artifact:
        return Artifact(units.rotated(activations, judges, k, num, config.generator(seed)))

    kept = store.get("rotations", key, make).tensors
    return {name: kept[name] for name in judges}  # in this order: the file has its own


def thumbnails(images: Pictures, store: Store) -> Tensor:
    """The pictures averaged down to 32 x 32 pixels, (N, 3072): what a judge that knows nothing sees."""
    key = {"pictures": images.identity, "code": code_version(pictures), "side": THUMBNAIL}

    def make() -> Artifact:
        found = [F.adaptive_avg_pool2d(batch, THUMBNAIL).flatten(1) for batch in images.batches(BATCH)]
        return Artifact({"thumbnails": torch.cat(found)})

    return store.get("thumbnails", key, make).tensors["thumbnails"]


def untrained(network: type[nn.Module], seed: int) -> nn.Module:
    """A network of that class as PyTorch initialises it, in evaluation mode; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network().eval().requires_grad_(False)
