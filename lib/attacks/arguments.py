"""The door that every attack's arguments come in by: what is wrong with them is said here, with its cure.

An attack works on a copy of the images and asks the network through `Asked`: whatever a network does to its argument,
the caller's images and the attack's own stay as they are. What is wrong for sure is an error; where an answer is right
and probably not meant, a warning.
"""

import functools
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.solvers.arguments import (
    PRECISIONS,
    KindError,
    check_config,
    check_number,
    check_whole,
    outside_inference_mode,
    refuse_autocast,
)

__all__ = ["check_config", "check_number", "check_whole", "outside_inference_mode"]  # for the attacks

SURELY = 0.1  # of the largest logit: half precision is off by a tenth of that
NEARLY = 0.9  # of all inputs
MOST_SEEN = 10_000  # objects that are looked through for modules
ROUNDED = 1e-2  # by which inputs can leave [0, 1] and still be pixels, and by which probabilities can miss a sum of 1


class ProbabilitiesWarning(UserWarning):
    """The network's outputs look like probabilities, where logits are expected."""


class AlreadyTargetsWarning(UserWarning):
    """The network gives nearly all inputs their target as they are."""


def check_margin_fraction(value) -> None:
    cure = (
        "it is a fraction of what the input's target lacks to lead, and no margin in logits, which is what other "
        "libraries call confidence or kappa"
    )
    check_number("margin_fraction", value, below=1, cure=cure)


# --- Images and classes ---------------------------------------------------------------------------


def _check_points(name: str, images) -> None:
    """Raises unless `images` is a floating Tensor (N, ...), N >= 1."""
    if not isinstance(images, Tensor):
        cure = "are the arguments in order, network first?" if callable(images) else f"use torch.as_tensor({name})"
        raise KindError(f"{name} must be a torch.Tensor, not {type(images).__name__}: {cure}")
    if images.dtype not in PRECISIONS:
        cure = f"use {name}.float()" + (" / 255" if images.dtype == torch.uint8 else "")
        if images.is_floating_point():
            cure += ", and of a network in that precision hand in lambda x: network(x.half()), or .bfloat16()"
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


def check_distances(name: str, values, inputs: Tensor) -> None:
    """Raises unless `values` is a Tensor (N,) of a distance, 0 or more, for each of the inputs."""
    if not isinstance(values, Tensor):
        raise KindError(f"{name} must be a torch.Tensor, not {type(values).__name__}: use torch.as_tensor({name})")
    if values.shape != (len(inputs),) or not (values >= 0).all():
        raise ValueError(f"{name} must be a distance of 0 or more for each of {len(inputs)} inputs, ({len(inputs)},)")


def check_prices(c, inputs: Tensor) -> None:
    """Raises unless c is a Tensor (N,), a finite number of 0 or more for each of the inputs."""
    num = len(inputs)
    if not isinstance(c, Tensor):
        raise KindError(f"c must be a torch.Tensor ({num},), not {type(c).__name__}: use inputs.new_full(({num},), c)")
    if c.shape != (num,) or c.dtype != inputs.dtype or c.device != inputs.device:
        raise ValueError(
            f"c must be ({num},), {inputs.dtype} on {inputs.device} as inputs are, "
            f"not {tuple(c.shape)}, {c.dtype} on {c.device}"
        )
    if not ((c >= 0) & c.isfinite()).all():
        raise ValueError("c must be finite and 0 or more, for each of the inputs: leave out those that have none")


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


# --- Networks -------------------------------------------------------------------------------------


def _check_network(network) -> None:
    """Raises unless `network` can be called, and every module that is seen in it is in evaluation mode."""
    if not callable(network):
        raise KindError(
            f"network must be callable, images to logits, not {type(network).__name__}: are the arguments in order, "
            "network first?"
        )
    for root in _modules_behind(network):
        direct = root is network
        for name, module in root.named_modules():
            kind = type(module).__name__
            if name:
                own = f"module {name!r}, {kind},"
                what = f"network's {own}" if direct else f"{own} of the {type(root).__name__} that network calls"
            else:
                what = "network" if direct else f"the {kind} that network calls"
            if module.training:
                raise ValueError(
                    f"{what} is in training mode, in which dropout is random and batch norm changes: "
                    f"call {'network.eval()' if direct else '.eval() on it'} first, which reaches every module"
                )
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
                raise ValueError(
                    f"{what} has no running statistics, so that an image's logits depend on its neighbours in the "
                    "batch: build it with track_running_stats=True"
                )


def _modules_behind(network) -> Iterator[nn.Module]:
    """The modules that calling `network` leads to, as far as that can be seen without calling it."""
    seen: dict[int, object] = {}  # kept, or another object might get the same id
    pending: list[Place] = [(network, frozenset())]
    while pending and len(seen) < MOST_SEEN:
        value, names = pending.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            if isinstance(value, nn.Module):
                seen |= {id(part): part for part in value.modules()}
                yield value
            pending += _behind(value, names)


# Something that a call may lead to, and the names in the code that leads there: which of its attributes are followed.
Place = tuple[object, frozenset[str]]


def _behind(value, names: frozenset[str]) -> list[Place]:
    """Where it leads in one step: a function to what it holds, a collection to all, an object to what the code names."""
    match value:
        case nn.Module():
            ours = [part for part in value.modules() if not _is_torchs(type(part))]
            return [(types.MethodType(type(part).forward, part), names) for part in ours]
        case types.FunctionType():
            return [] if _is_torchs(value) else [(held, _names(value.__code__)) for held in _held(value)]
        case types.MethodType(__func__=types.FunctionType(__code__=code), __self__=owner):
            itself = [(owner, names)] if isinstance(owner, nn.Module) else []
            return [(value.__func__, names), *_attributes(owner, _names(code)), *itself]
        case functools.partial():
            return [(part, names) for part in (value.func, *value.args, *value.keywords.values())]
        case dict():
            return [(part, names) for part in value.values()]
        case list() | tuple() | set():
            return [(part, names) for part in value]
    called = vars(type(value)).get("__call__")
    of_class = [(types.MethodType(called, value), names)] if isinstance(called, types.FunctionType) else []
    return [*_attributes(value, names), *of_class]


def _is_torchs(thing) -> bool:
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "torch"


def _names(code: types.CodeType) -> frozenset[str]:
    """The globals and attributes that a function's code names, inner functions' too."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(code.co_names).union(*map(_names, inner))


def _held(function: types.FunctionType) -> list:
    """What a function's body can reach by name: what it closes over, globals, defaults."""
    named, known = _names(function.__code__), function.__globals__
    enclosed = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*enclosed, *(known[name] for name in named if name in known), *defaults]


def _attributes(owner, names: frozenset[str]) -> list[Place]:
    return [(found, names) for name in sorted(names) if (found := _attribute(owner, name)) is not None]


def _attribute(owner, name: str):
    """An attribute, without running any code of the owner's; a function of its class as the method that it is."""
    found = inspect.getattr_static(owner, name, None)
    if name in getattr(owner, "__dict__", {}):
        return found
    match found:
        case types.FunctionType():
            return types.MethodType(found, owner)
        case property(fget=types.FunctionType() as function) | functools.cached_property(func=function):
            return types.MethodType(function, owner)
        case types.MemberDescriptorType():
            return getattr(owner, name, None)
    return None


class Asked:
    """The caller's network: logits (N, K) for images (N, ...), in the images' dtype. One that works in place, as its
    first answer tells, is asked on copies."""

    def __init__(self, network: Callable[[Tensor], Tensor], num_classes: int, in_place: bool):
        self.network, self.num_classes, self.in_place = network, num_classes, in_place

    def __call__(self, images: Tensor) -> Tensor:
        version = images._version
        logits = _as_logits(self.network(images.clone() if self.in_place else images), images)
        if images._version != version:
            raise ValueError(
                "network changes its argument, and did not when first asked: hand in lambda x: network(x.clone())"
            )
        if logits.shape[1] != self.num_classes:
            raise ValueError(
                f"network must return as many logits each time: {self.num_classes} at first, then {logits.shape[1]}"
            )
        return logits.to(images.dtype)


def _as_logits(logits, images: Tensor) -> Tensor:
    expected = "network must return logits, a Tensor (N, K) for N images"
    if not isinstance(logits, Tensor):
        if hasattr(logits, "logits"):
            cure = "lambda x: network(x).logits"
        elif isinstance(logits, dict):
            cure = f"lambda x: network(x)[{next(iter(logits), 'logits')!r}]"
        else:
            cure = "lambda x: network(x)[0], if they come first"
        raise KindError(f"{expected}, not {type(logits).__name__}: hand in {cure}")
    if not logits.is_floating_point():
        raise KindError(f"{expected}, floating, not {logits.dtype}: without .argmax() or rounding at its end")
    if logits.ndim == 2 and len(logits) == len(images) and logits.shape[1] >= 2:
        if logits.device != images.device:
            raise ValueError(f"{expected}, on {images.device} as they are, not on {logits.device}")
        return logits
    if logits.shape in ((len(images),), (len(images), 1)):
        raise ValueError(
            f"{expected}, and needs at least two classes, not {tuple(logits.shape)} for {len(images)}: where one logit "
            "decides for class 1, hand in lambda x: torch.nn.functional.pad(network(x).view(-1, 1), (1, 0)), which has "
            "a 0 for class 0"
        )
    raise ValueError(f"{expected}, not {tuple(logits.shape)} for {len(images)}: a row is an image, a column a class")


def _asked(network, inputs: Tensor) -> Asked:
    """`network`, after it was asked about the first two inputs and has been found to give logits with a gradient."""
    if isinstance(network, Asked):
        return network
    _check_network(network)
    roots = list(_modules_behind(network))
    buffers = {name: buffer for root in roots for name, buffer in root.named_buffers()}
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    images = inputs[:2].detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            handed = images.clone()
            logits = _as_logits(network(handed), images)
    except (KindError, ValueError):
        raise
    except Exception as error:
        _explain(error, roots, images)
        raise
    for name, buffer in buffers.items():
        if not torch.equal(buffer, before[name]):
            with torch.no_grad():
                buffer.copy_(before[name])
            raise ValueError(
                f"network changes its own buffer {name!r} when it is asked, so that an answer depends on the questions "
                "before: an attack needs one that stays as it is"
            )
    _refuse_neighbours(network, images.detach(), logits.detach())
    if logits.grad_fn is None or not _leads_to(logits.grad_fn, images):
        raise ValueError(
            "network's logits have no gradient with respect to the images: take torch.no_grad, torch.inference_mode, "
            ".detach() and .data out of its forward"
        )
    sums, least = logits.detach().sum(dim=1), logits.detach().min()
    if least >= 0 and ((sums - 1).abs() <= ROUNDED).all():
        _warn(
            "network's outputs look like probabilities: none is below 0, and they sum to 1. The attack needs logits: "
            "take the softmax off the network's end, or hand in lambda x: network(x).log()",
            ProbabilitiesWarning,
        )
    return Asked(network, logits.shape[1], in_place=handed._version > 0 or not torch.equal(handed, images))


@torch.no_grad()
def _refuse_neighbours(network, images: Tensor, logits: Tensor) -> None:
    """An image by itself must get the logits that it gets beside another; random ones, which differ anyway, pass."""
    if _differ(network(images[:1].clone()), logits[:1]) and not _differ(network(images.clone()), logits):
        raise ValueError(
            "network gives an image other logits beside another image than alone, as batch norm in training does: an "
            "attack needs one that looks at each image by itself, network.eval() or F.batch_norm(..., training=False)"
        )


def _differ(logits, others: Tensor) -> bool:
    """By more than any rounding."""
    finite = others.isfinite()
    close = (logits - others).abs() <= SURELY * others[finite].abs().amax() if finite.any() else finite
    return not (close | ~finite).all()


def _explain(error: Exception, roots: list[nn.Module], images: Tensor) -> None:
    """Raises what `error` comes of, where that is the device or the dtype; else notes on it what was asked."""
    tensors = [t for root in roots for t in (*root.parameters(), *root.buffers()) if t.is_floating_point()]
    if tensors and images.device not in {t.device for t in tensors}:
        raise ValueError(
            f"network is on {tensors[0].device} and inputs are on {images.device}: use "
            f"inputs.to({str(tensors[0].device)!r}), and the same for targets"
        ) from error
    if tensors and images.dtype not in {t.dtype for t in tensors}:
        raise ValueError(
            f"network computes in {tensors[0].dtype} and inputs are {images.dtype}: use network.to({images.dtype}), or "
            f"hand in lambda x: network(x.to({tensors[0].dtype}))"
        ) from error
    if any(t.is_inference() for t in tensors):
        raise ValueError(
            "network was built under torch.inference_mode, and nothing has a gradient through it: build it outside"
        ) from error
    asked_about = f"inputs {tuple(images.shape)}, {images.dtype} on {images.device}"
    error.add_note(f"Raised by network, asked about {asked_about}.")


def _leads_to(node, images: Tensor) -> bool:
    """Whether the graph of a result goes back to `images`."""
    seen, pending = set(), [node]
    while pending:
        node = pending.pop()
        if getattr(node, "variable", None) is images:
            return True
        if node not in seen:
            seen.add(node)
            pending += [earlier for earlier, _ in node.next_functions if earlier is not None]
    return False


# --- The door -------------------------------------------------------------------------------------


def checked(network, inputs, classes, name: str = "targets") -> tuple[Asked, Tensor, Tensor]:
    """What every attack is given, once it has been found to fit together: the network as it is to be asked, a copy of
    the inputs, and one class for each, int64, called `name`."""
    check_images("inputs", inputs)
    classes = check_classes(name, classes, inputs)
    network = _asked(network, inputs)
    check_known(name, classes, network.num_classes)
    return network, inputs.detach().clone(), classes.clone()  # what was made under inference_mode fits in no graph


def warn_of_targets_given(given: Tensor) -> None:
    """A warning where nearly all inputs, given : (N,) bool, have their target already."""
    num = int(given.sum())
    if num >= NEARLY * len(given):
        _warn(
            f"the network gives {num} of {len(given)} inputs their target as they are, so that nothing is left to find "
            "(distortion 0): targets are the classes to be reached, not the labels. See random_targets, or for any "
            "wrong class find_nearest_adversarial",
            AlreadyTargetsWarning,
        )


def _warn(text: str, category: type[UserWarning]) -> None:
    """A warning at the line outside this library that led here."""
    ours = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))
    depth, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(ours):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, category, stacklevel=depth)
