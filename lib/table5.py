"""The numbers of section 4.3, each computed once and kept in the store: norms and spectra of layers, certificates."""

import time
from dataclasses import dataclass

from torch import Tensor, nn

from lib import certificates, config, spectral
from lib.data import Dataset
from lib.experiment import weights_identity
from lib.spectral import Convolution
from lib.store import Artifact, Store, code_version, identity


def norm(layer: Convolution, seed: int, store: Store) -> tuple[float, float]:
    """The layer's largest singular value, zero-padded, and the seconds that finding it took when it was found.

    seed : of the vector that the iteration starts from.
    """

    def make() -> Artifact:
        began = time.perf_counter()
        found = spectral.largest_singular_value(layer, config.generator(seed))
        return Artifact({}, {"norm": found, "seconds": time.perf_counter() - began})

    info = store.get("norm", _key(layer) | {"seed": seed}, make).info
    return info["norm"], info["seconds"]


def least(layer: Convolution, seed: int, num_steps: int, store: Store) -> float:
    """Its least singular value, or what `num_steps` steps towards it have reached: see `least_singular_value`."""

    def make() -> Artifact:
        return Artifact({}, {"least": spectral.least_singular_value(layer, config.generator(seed), num_steps)})

    return store.get("least", _key(layer) | {"seed": seed, "steps": num_steps}, make).info["least"]


def spectrum(layer: Convolution, store: Store) -> Tensor:
    """All its singular values on the smallest torus that it fits on; the shape is `spectral.torus_spectrum`'s."""

    def make() -> Artifact:
        return Artifact({"values": spectral.torus_spectrum(layer, spectral.torus_side(layer)).contiguous()})

    return store.get("spectrum", _key(layer), make).tensors["values"]


def _key(layer: Convolution) -> dict:
    return {
        "weight": [*layer.weight.shape, identity(layer.weight)],
        "applied": [layer.size, layer.stride, layer.padding, layer.dilation, layer.groups],
        "code": code_version(spectral),
    }


@dataclass(frozen=True, eq=False)
class Certified:
    """What is known of a network on some images without attacking it."""

    constants: dict[str, Tensor]  # (K, K) Lipschitz constants of z_k - z_l, by kind of certificate
    distances: dict[str, Tensor]  # (N,) within which no image has the target class, by kind
    margin: Tensor  # (N,) lead of the first class over the target
    slope: Tensor  # (N,) of that lead

    @property
    def linear_estimate(self) -> Tensor:
        """(N,) where a network that is linear around the image would have its boundary; it certifies nothing."""
        return self.margin / self.slope


def certify(network: nn.Module, images: Dataset, targets: Tensor, num_enclosed: int, store: Store) -> Certified:
    """Every certificate of a network of section 2 for the images and their targets.

    num_enclosed : as for `certificates.certify`.
    """
    key = {
        "weights": weights_identity(network),
        "images": images.identity,
        "targets": identity(targets),
        "num_enclosed": num_enclosed,
        "code": code_version(certificates),
    }

    def make() -> Artifact:
        layers = certificates.as_layers(network)
        constants = certificates.lipschitz_constants(layers, images.inputs[:1].double())
        distances = certificates.certify(layers, constants, images.inputs, targets, num_enclosed)
        margin, slope = certificates.linear_estimate(layers, images.inputs, targets)
        named = {f"constants/{kind}": value for kind, value in constants.items()}
        named |= {f"distances/{kind}": value for kind, value in distances.items()}
        return Artifact(
            {name: t.cpu().contiguous() for name, t in (named | {"margin": margin, "slope": slope}).items()}
        )

    kept = {name: t.to(images.inputs.device) for name, t in store.get("certified", key, make).tensors.items()}
    parts = {
        part: {kind: kept[f"{part}/{kind}"] for kind in certificates.KINDS if f"{part}/{kind}" in kept}
        for part in ("constants", "distances")
    }
    return Certified(**parts, margin=kept["margin"], slope=kept["slope"])
