"""The layers that have a known bound, and what keeps a module from being one of them: code or hooks of its own, weights
that are none, images that it does not take. And what a matrix has to be."""

import math

from torch import Tensor, nn

from ..attacks import behind
from ..attacks.arguments import KindError

ACTIVATIONS = (nn.Sigmoid, nn.Tanh, nn.ReLU)  # of each unit by itself; never falling, and as steep as `lipschitz` says
KNOWN = (nn.Linear, nn.Conv2d, nn.MaxPool2d, *ACTIVATIONS, nn.Dropout, nn.Identity, nn.Flatten, nn.Unflatten)


# On whose settings it depends whether there is a bound.
SETTINGS = {
    nn.MaxPool2d: "kernel_size and stride each one whole number, dilation=1 and return_indices=False",
    nn.Flatten: "start_dim a whole number from 1 on, as dimension 0 tells images apart",
    nn.Unflatten: "dim a whole number from 1 on, as dimension 0 tells images apart",
}
OLD_HOOKS = {  # that keep their weights up to date by a hook, which no copy survives
    "WeightNorm": "torch.nn.utils.remove_weight_norm(layer), or build it with torch.nn.utils.parametrizations",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(layer), or build it with torch.nn.utils.parametrizations",
    "BasePruningMethod": "torch.nn.utils.prune.remove(layer, 'weight')",
}
COMPUTING = ("forward", "_conv_forward", "__call__", "_call_impl", "_wrapped_call_impl", "_slow_forward")
HARMLESS = {"train", "eval", "extra_repr", "__repr__"}  # methods of a module that its results do not depend on


def check_known(layer: nn.Module) -> None:
    """Raises TypeError unless `layer` is one of KNOWN: with hooks or code of its own it may do anything."""
    kind = kind_of(layer)
    if kind is None:
        for inner in ("_orig_mod", "module"):  # torch.compile's, DataParallel's
            if isinstance(getattr(layer, inner, None), nn.Module):
                raise KindError(f"no bound is known for {called(layer)}: hand in its .{inner}, which it wraps")
        names = ", ".join(kind.__name__ for kind in KNOWN)
        raise KindError(
            f"no bound is known for {called(layer)}; there are some for {names}: build a torch.nn.Sequential of these "
            "that computes the same (torch.nn.utils.fusion puts a batch norm in evaluation mode into the layer before)"
        )
    refuse_lazy(layer)
    refuse_own_code(layer, kind)
    refuse_hooks(layer)


def kind_of(layer) -> type[nn.Module] | None:
    return next((kind for kind in KNOWN if isinstance(layer, kind)), None)


def called(thing) -> str:
    """What an error calls it: a layer with its settings, of a network no more than its class."""
    if isinstance(thing, nn.Module):
        return type(thing).__name__ if next(thing.children(), None) else repr(thing)
    return getattr(thing, "__name__", type(thing).__name__)


def refuse_lazy(layer: nn.Module) -> None:
    if behind.is_lazy(layer):
        raise KindError(f"{layer} has no weights yet: call network(inputs[:1]) once, which makes them")


def refuse_own_code(module: nn.Module, kind: type[nn.Module]) -> None:
    """Raises TypeError unless `module` computes as `kind` does: no method is replaced, in its class or in it alone.

    Parametrisations are not code in this sense: the weight that they make is the weight that is looked at.
    """
    of_class = [name for name in COMPUTING if getattr(type(module), name, None) is not getattr(kind, name, None)]
    of_itself = [name for name in vars(module) if callable(getattr(kind, name, None)) and name not in HARMLESS]
    if own := of_class + of_itself:
        raise KindError(
            f"{called(module)} has a {' and a '.join(own)} of its own, so that it may compute something else than "
            f"torch's {kind.__name__}, and no bound is known for that: take it out, or say what it does by other layers"
        )


def refuse_hooks(module: nn.Module) -> None:
    """Raises TypeError where hooks may change what `module` takes or returns."""
    hooks = behind.hooks_of(module)
    for name in (base.__name__ for hook in hooks for base in type(hook).__mro__):
        if name in OLD_HOOKS:
            raise KindError(f"{called(module)} has a weight that a hook ({name}) makes: use {OLD_HOOKS[name]}")
    if hooks:
        raise KindError(
            f"{called(module)} has hooks, with which it may compute anything: remove them first, by .remove() of what "
            "register_forward_hook or register_forward_pre_hook returned"
        )


def misfit(layer: nn.Module, shape: tuple[int, ...]) -> str:
    """Why a layer of KNOWN cannot take inputs of `shape`, without the batch, and what to do; "" if it can."""
    match layer:
        case nn.Linear(in_features=wanted) if shape[-1:] != (wanted,):
            cure = ": put a torch.nn.Flatten() before it" if math.prod(shape) == wanted else ""
            return f"{layer} takes {wanted} numbers, not inputs of shape {tuple(shape)}{cure}"
        case nn.Conv2d() if len(shape) != 3:
            return (
                f"{layer} takes images (channels, height, width), not inputs of shape {tuple(shape)}: unflatten them, "
                f"by torch.nn.Unflatten(1, ({layer.in_channels}, height, width))"
            )
        case nn.Conv2d(in_channels=wanted) if shape[0] != wanted:
            return f"{layer} takes images of {wanted} channels, (channels, height, width), not {tuple(shape)}"
        case nn.MaxPool2d() if len(shape) not in (2, 3):
            return f"{layer} takes maps (channels, height, width), not inputs of shape {tuple(shape)}"
        case nn.Unflatten(dim=int(dim), unflattened_size=tuple(sizes)) if dim >= 1 and min(sizes) > 0:
            if shape[dim - 1 : dim] != (math.prod(sizes),):
                return f"{layer} makes {sizes} of {math.prod(sizes)} numbers, not of inputs of shape {tuple(shape)}"
    return ""


def check_weights(layer: nn.Module) -> None:
    """Raises unless the weights of a layer, as it computes with them, are real and finite."""
    found = {name: getattr(layer, name, None) for name in ("weight", "bias")}
    for name, values in found.items():
        if isinstance(values, Tensor) and not values.is_meta:
            if not values.is_floating_point():
                raise KindError(f"{layer}: its {name} must be real floating numbers, not {values.dtype}")
            if not values.isfinite().all():
                raise ValueError(f"{layer}: its {name} must be finite, and holds nan or inf: did training diverge?")


def check_matrix(name: str, matrix) -> None:
    """Raises unless `matrix` is a real, finite Tensor (rows, columns)."""
    check_real(name, matrix)
    if matrix.ndim != 2 or matrix.numel() == 0:
        cures = {1: f": of a single row use {name}[None]", 4: ": of a convolution use Convolution.of(layer, size)"}
        cure = cures.get(matrix.ndim, "")
        raise ValueError(f"{name} must be one matrix, (rows, columns), not of shape {tuple(matrix.shape)}{cure}")
    check_numbers(name, matrix)


def check_real(name: str, values) -> None:
    if not isinstance(values, Tensor):
        cure = "hand in its .weight" if isinstance(values, nn.Module) else f"use torch.as_tensor({name})"
        raise KindError(f"{name} must be a torch.Tensor, not {type(values).__name__}: {cure}")
    if values.is_complex():
        raise KindError(f"{name} must hold real numbers, not {values.dtype}: of numbers that are real use {name}.real")


def check_numbers(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise ValueError(f"{name} must be finite, and some of its numbers are nan or inf: did training diverge?")
