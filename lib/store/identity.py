"""What a value is, as far as a result can depend on it: one JSON text, and its sha256."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath

import torch
from torch import Tensor, nn

from lib.store.files import checksum


def canonical(value) -> str:
    """The one JSON text of a value: sorted keys, no spaces, floats exact; see `plain` for what it may be."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def digest(value) -> str:
    """sha256 of the canonical JSON, 64 hexadecimal digits."""
    return checksum(canonical(value).encode())


def plain(value):
    """The value in JSON's own types, nested at will.

    None, bool, int, float, str, a list, a tuple (as a list), a Mapping with str keys, a Path (as its text); a Tensor by
    `of_tensor`, a network by `of_network`, a torch.Generator by its state; a member of an Enum or a dataclass with the
    name of its class; and what has an `identity` of its own, a str, by that.

    Raises
    ------
    TypeError
        For anything else: a key must not depend on how an object happens to print itself.
    """
    match value:
        case Enum():  # before str and int, which it may also be
            return {"__class__": type(value).__qualname__, "name": value.name, "value": plain(value.value)}
        case None | bool() | int() | float() | str():
            return value
        case PurePath():
            return value.as_posix()
        case Tensor():
            return of_tensor(value)
        case nn.Module():
            return of_network(value)
        case torch.Generator():
            return {"generator": of_tensor(value.get_state()), "device": value.device.type}
        case list() | tuple():
            return [plain(item) for item in value]
        case Mapping() if all(isinstance(name, str) for name in value):
            return {name: plain(item) for name, item in value.items()}
    if isinstance(identity := getattr(value, "identity", None), str):
        return {"__class__": type(value).__qualname__, "identity": identity}
    if is_dataclass(value) and not isinstance(value, type):
        items = {item.name: plain(getattr(value, item.name)) for item in fields(value)}
        return {"__class__": type(value).__qualname__, **items}
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be part of a key: use plain values, or its hash")


def of_tensor(tensor: Tensor) -> str:
    """dtype, shape and the sha256 of the bytes, wherever they lie."""
    data = tensor.detach().cpu().contiguous()
    contents = checksum(data.flatten().view(torch.uint8).numpy().data if data.numel() else b"")
    return f"{tensor.dtype} {tuple(tensor.shape)} {contents}"


def of_network(network: nn.Module) -> str:
    """sha256 over all that decides what a network computes, but its code.

    The class, the settings and the mode of every module, every parameter and every buffer, also those that a state dict
    leaves out (a preprocessing's mean and standard deviation).
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return digest(
        {
            "modules": [
                [name, type(module).__qualname__, _settings(module)] for name, module in network.named_modules()
            ],
            "tensors": {name: of_tensor(value) for name, value in tensors},
        }
    )


def _settings(module: nn.Module) -> dict:
    """A module's public attributes: sizes, strides, paddings, rates, its mode. TypeError for what has no identity."""
    return {name: plain(value) for name, value in vars(module).items() if not name.startswith("_")}
