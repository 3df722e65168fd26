"""The door that every attack's arguments come in by: what is wrong with them is said here, with its cure.

An attack works on a copy of the images and asks the network through `asked.Asked`: whatever a network does to its
argument, the caller's images and the attack's own stay as they are. What is wrong for sure is an error; where an answer
is right and probably not meant, a warning.
"""

import functools

import torch
from torch import Tensor, nn

from ..solvers.arguments import (
    PRECISIONS,
    KindError,
    check_config,
    check_number,
    check_whole,
    outside_inference_mode,
    refuse_autocast,
    warn,
)

__all__ = ["check_config", "check_number", "check_whole", "outside_inference_mode"]  # for the attacks

NEARLY = 0.9  # of all inputs
ROUNDED = 1e-2  # by which inputs can leave [0, 1] and still be pixels
BRIGHTEST = 2.0  # inputs up to here are pixels of some other scale than bytes'


class NoWayWarning(UserWarning):
    """The network's gradient at an input is not finite."""


class AlreadyTargetsWarning(UserWarning):
    """The network gives nearly all inputs their target as they are."""


NO_MARGIN = (
    "it is a fraction of what the input's target lacks to lead, and no margin in logits, which is what other libraries "
    "call confidence or kappa"
)


def check_margin_fraction(value) -> None:
    check_number("margin_fraction", value, below=1, cure=NO_MARGIN)


def refusing_confidence(config: type) -> type:
    """The class of settings, which tells whoever comes from another library what stands in confidence's place."""
    plain = config.__init__

    @functools.wraps(plain)
    def init(self, *arguments, **named):
        for name in ("confidence", "kappa"):
            if name in named:
                raise KindError(f"{config.__name__} has no {name}, but a margin_fraction: {NO_MARGIN}")
        plain(self, *arguments, **named)

    config.__init__ = init
    return config


# --- Images and classes ---------------------------------------------------------------------------


def _check_points(name: str, images) -> None:
    """Raises unless `images` is a floating Tensor (N, ...), N >= 1."""
    if not isinstance(images, Tensor):
        cure = f"use torch.as_tensor({name})"
        if images is None or callable(images):
            cure = "are the arguments in order, network first?"
        raise KindError(f"{name} must be a torch.Tensor, not {type(images).__name__}: {cure}")
    if images.layout != torch.strided:
        raise KindError(f"{name} must be dense, not {images.layout}: use {name}.to_dense()")
    if images.ndim == 1 and images.dtype == torch.int64:
        raise KindError(f"{name} must be images (N, ...), not {len(images)} integers: are inputs and classes in order?")
    if images.dtype not in PRECISIONS:
        cure = f"use {name}.float()" + (" / 255" if images.dtype == torch.uint8 else "")
        if images.is_floating_point():
            cure += ", and of a network in that precision its .float(), or lambda x: network(x.half())"
        raise KindError(f"{name} must be floating, torch.float32 or torch.float64, not {images.dtype}: {cure}")
    if images.ndim < 2 or images.numel() == 0:
        cure = f": of one image use {name}[None]" if images.ndim == 1 and len(images) else ""
        raise ValueError(f"{name} must be N >= 1 images, (N, ...), not of shape {tuple(images.shape)}{cure}")


def check_finite(name: str, points, network: nn.Module) -> None:
    """Raises unless `points` is a finite floating Tensor (N, ...), N >= 1, on the network's device."""
    _check_points(name, points)
    if not points.isfinite().all():
        raise ValueError(f"{name} must be finite, and some of them hold nan or inf: leave those out")
    check_device(name, points, network)


def check_rows(name: str, points: Tensor, size: int) -> None:
    if points.ndim != 2 or points.shape[1] != size:
        raise ValueError(f"{name} must be (N, {size}), not {tuple(points.shape)}: use {name}.flatten(1)")


def check_device(name: str, points: Tensor, network: nn.Module) -> None:
    devices = {parameter.device for parameter in network.parameters()}
    if devices and points.device not in devices:
        device = devices.pop()
        raise ValueError(f"{name} must be on {device} as network is, not on {points.device}: use {name}.to('{device}')")


def check_images(name: str, images, normalise: str = "hand in lambda x: network((x - mean) / std)") -> None:
    """Raises unless `images` is a floating Tensor (N, ...), N >= 1, with values in [0, 1].

    normalise : how a network takes its normalisation in.
    """
    _check_points(name, images)
    refuse_autocast(images.device)
    if ((images >= 0) & (images <= 1)).all():  # nan is neither
        return
    if (bad := (~images.isfinite()).flatten(1).any(dim=1)).any():
        raise ValueError(
            f"{name} must lie in [0, 1], and {int(bad.sum())} of {len(images)} hold nan or inf: leave them out"
        )
    low, high = float(images.min()), float(images.max())
    if low >= -ROUNDED and high <= 1 + ROUNDED:
        cure = f"if that is rounding, use {name}.clamp(0, 1)"
    elif low >= 0 and high <= BRIGHTEST:
        cure = "of pixels 0 is black and 1 is white: rescale them"
    elif low >= 0:
        cure = f"divide pixels by the largest value that one can have, {name} / 255 for bytes"
    else:
        cure = f"undo the normalisation by mean and standard deviation, and put it into the network: {normalise}"
    raise ValueError(f"{name} must lie in [0, 1], not in [{low:.7g}, {high:.7g}]: {cure}")


def check_flat(inputs: Tensor) -> None:
    if inputs.ndim != 2:
        raise ValueError(
            f"inputs must be flat here, (N, n), not {tuple(inputs.shape)}: use inputs.flatten(1), and hand in "
            f"lambda x: network(x.unflatten(1, {tuple(inputs.shape[1:])}))"
        )


def check_classes(name: str, classes, inputs: Tensor) -> Tensor:
    """`classes` as int64. Raises unless it is a Tensor (N,) of integers, one for each of the inputs."""
    num = len(inputs)
    if isinstance(classes, int):
        raise KindError(f"{name} must be a torch.Tensor ({num},), not int: use torch.full(({num},), {classes})")
    if not isinstance(classes, Tensor):
        raise KindError(
            f"{name} must be a torch.Tensor ({num},), not {type(classes).__name__}: use torch.as_tensor({name})"
        )
    if classes.shape != (num,):
        cure = ""
        if classes.ndim == 2 and len(classes) == num:
            cure = f": use {name}[:, 0]" if classes.shape[1] == 1 else f": of one-hot rows use {name}.argmax(dim=1)"
        raise ValueError(
            f"{name} must be one class for each of {num} inputs, ({num},), not of shape {tuple(classes.shape)}{cure}"
        )
    _check_integers(name, classes)
    if classes.device != inputs.device:
        raise ValueError(
            f"{name} must be where the inputs are, on {inputs.device}, not on {classes.device}: "
            f"use {name}.to(inputs.device)"
        )
    return classes.long()


def _check_integers(name: str, classes: Tensor) -> None:
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise KindError(f"{name} must be integers, not {classes.dtype}: use {name}.long(), which is torch.int64")


def check_known(name: str, classes: Tensor, num_classes: int) -> None:
    """Raises unless all of `classes` are from 0 to num_classes - 1."""
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= num_classes:
        cure = f", use {name} - 1" if low == 1 and high == num_classes else ""
        raise ValueError(
            f"{name} must be classes, 0 to {num_classes - 1}, not {low} to {high}: counted from 0, {num_classes} are "
            f"classes 0 to {num_classes - 1}{cure}"
        )


def check_prices(c, inputs: Tensor) -> None:
    """Raises unless c is a Tensor (N,), a finite number of 0 or more for each of the inputs."""
    num = len(inputs)
    if not isinstance(c, Tensor):
        raise KindError(f"c must be a torch.Tensor ({num},), not {type(c).__name__}: use inputs.new_full(({num},), c)")
    if c.shape != (num,) or c.dtype != inputs.dtype or c.device != inputs.device:
        raise ValueError(
            f"c, a price of |r| for each input, must be ({num},), {inputs.dtype} on {inputs.device} as inputs are, "
            f"not {tuple(c.shape)}, {c.dtype} on {c.device}"
        )
    if not ((c >= 0) & c.isfinite()).all():
        raise ValueError("c, the price of |r|, must be finite and 0 or more: leave out the inputs that have none")


def check_random_targets(labels, num_classes, generator) -> None:
    """What `penalized.random_targets` is given."""
    if not isinstance(labels, Tensor):
        raise KindError(f"labels must be a torch.Tensor (N,), not {type(labels).__name__}: use torch.as_tensor(labels)")
    check_whole("num_classes", num_classes, 2, "classes")
    if labels.ndim != 1:
        cure = ": of one-hot rows use labels.argmax(dim=1)" if labels.ndim == 2 else ""
        raise ValueError(f"labels must be one class for each input, (N,), not of shape {tuple(labels.shape)}{cure}")
    _check_integers("labels", labels)
    if len(labels):
        check_known("labels", labels, num_classes)
    if not isinstance(generator, torch.Generator):
        raise KindError(
            f"generator must be a torch.Generator, not {type(generator).__name__}: use torch.Generator().manual_seed(0)"
        )


def check_start(adversarial, inputs: Tensor) -> None:
    """Raises unless `adversarial` is one image in [0, 1] for each of the inputs."""
    _check_points("adversarial", adversarial)
    if not ((adversarial >= 0) & (adversarial <= 1)).all():
        raise ValueError("adversarial must lie in [0, 1] as inputs do: use adversarial.clamp(0, 1)")
    if adversarial.shape != inputs.shape:
        raise ValueError(
            f"adversarial must have the inputs' shape {tuple(inputs.shape)}, not {tuple(adversarial.shape)}"
        )
    if adversarial.dtype != inputs.dtype or adversarial.device != inputs.device:
        raise ValueError(
            f"adversarial must be {inputs.dtype} on {inputs.device} as inputs are, not {adversarial.dtype} on "
            f"{adversarial.device}: use adversarial.to(inputs)"
        )


def check_weights(network: nn.Module, num_classes: int) -> None:
    """Raises ValueError for weights that are nan or inf, and for fewer than two classes."""
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise ValueError("network must have finite weights and biases, not nan or inf: was its training stable?")
    if num_classes < 2:
        raise ValueError(f"network must have two classes or more to tell apart, not {num_classes}")


def warn_of_no_way(lost: Tensor) -> None:
    """A warning where there are inputs, lost : (N,) bool, at which the gradient is not finite."""
    if num := int(lost.sum()):
        warn(
            f"the gradient at {num} of {len(lost)} inputs is not finite, so that nothing can be found from there: is a "
            "root taken of a pixel that is 0? Take it of x + 1e-4",
            NoWayWarning,
        )


def warn_of_targets_given(given: Tensor) -> None:
    """A warning where nearly all inputs, given : (N,) bool, have their target already."""
    num = int(given.sum())
    if num >= NEARLY * len(given):
        warn(
            f"the network gives {num} of {len(given)} inputs their target as they are, so that nothing is left to find "
            "(distortion 0): targets are the classes to be reached, not the labels. See random_targets, or for any "
            "wrong class find_nearest_adversarial",
            AlreadyTargetsWarning,
        )
