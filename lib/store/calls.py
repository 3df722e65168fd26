"""A call that is kept: the same function of the same arguments is computed once, on any number of processes.

What a result depends on is found, not typed: the code of the function's module and of all it imports from this
repository, that of the classes of its arguments, the arguments themselves, the kind of device that they lie on, and the
versions of Python and of every package that this code imports.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.store import code
from lib.store.artifacts import Artifact, Artifacts
from lib.store.files import ROOT
from lib.store.identity import plain


class Store:
    """Results of calls, in a folder.

    Parameters
    ----------
    root : path, optional
        Else the environment variable STORE_DIR, else `_build/store` of the repository.
    """

    def __init__(self, root: str | Path | None = None):
        self.artifacts = Artifacts(root)

    @property
    def num_made(self) -> int:
        """How many results this object had to compute."""
        return self.artifacts.num_made

    def call(self, function: Callable, *arguments):
        """function(*arguments), computed if it is not in the store yet or is damaged there.

        Parameters
        ----------
        function : a function of a module of this repository that returns tensors, plain values (None, bool, int, float,
            str), and lists, tuples, dicts with str keys, dataclasses and named tuples of these.
        arguments : what `identity.plain` takes. Of a torch.Generator the function gets a copy: whether the result was
            there or not, the caller's own draws go on as if it had not been lent.

        Returns
        -------
        The result; tensors lie on the CPU and need no gradient. It is always read back from the files, so the first
        call and every later one give the same bits.

        Raises
        ------
        TypeError
            If an argument or the result is of another kind, or the function depends on more than its arguments: a
            method, a closure. Whatever the function raises; then nothing is kept.

        Warns
        -----
        StoreWarning
            If the result is there but damaged, with the file and the reason.
        """
        return self.timed(function, *arguments)[0]

    def timed(self, function: Callable, *arguments) -> tuple:
        """What `call` returns, and the seconds that computing it took when it was computed."""

        def make() -> Artifact:
            lent = [a.clone_state() if isinstance(a, torch.Generator) else a for a in arguments]
            began = time.perf_counter()
            result = function(*lent)
            tensors: dict[str, Tensor] = {}
            packed = pack(result, tensors)  # copying to the CPU waits for the device
            return Artifact(tensors, {"result": packed, "seconds": time.perf_counter() - began})

        kept = self.artifacts.get(function.__name__.strip("_"), key(function, arguments), make)
        return unpack(kept.info["result"], kept.tensors), kept.info["seconds"]


def key(function: Callable, arguments: tuple) -> dict:
    """All that the result depends on."""
    _check(function, arguments)
    involved = list(_parts(arguments))
    sources = {source for source in map(_source, [function, *(type(part) for part in involved)]) if source}
    return {
        "function": f"{function.__module__}.{function.__qualname__}",
        "code": code.version(sources),
        "arguments": [plain(argument) for argument in arguments],
        "devices": sorted({part.device.type for part in involved if isinstance(part, Tensor)}),
        "versions": {"python": list(sys.version_info[:2])} | _versions(code.packages(sources)),
    }


def _check(function: Callable, arguments: tuple) -> None:
    """Raises TypeError for a function whose result depends on what no key can tell."""
    if not _source(function):
        raise TypeError(f"{function!r} is in no module of this repository: what its result depends on is unknown")
    plainest = inspect.unwrap(function)
    if inspect.ismethod(plainest) or plainest.__closure__ or "<locals>" in plainest.__qualname__:
        raise TypeError(f"{function!r} carries values of its own: define it in a module, and pass them as arguments")
    nested = (part for argument in arguments for part in list(_parts(argument))[1:])
    if any(isinstance(part, torch.Generator) for part in nested):
        raise TypeError("a torch.Generator must be an argument itself, not part of one, so that it can be copied")


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Those that are installed packages, and their versions."""
    return {name: found for name in packages if (found := _version(name))}


@functools.cache
def _version(package: str) -> str:
    """Of the distribution of that name or, which takes longer to find, of one that brings it; "" if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(_installed()[package][0]) if package in _installed() else ""


@functools.cache
def _installed() -> Mapping[str, list[str]]:
    """Distributions by the names that they are imported by."""
    return importlib.metadata.packages_distributions()


def _source(thing) -> Path | None:
    """The file in this repository that defines a function or class, by its module; else None."""
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    path = Path(file).resolve() if file else None
    return path if path and path.is_relative_to(ROOT) and "site-packages" not in path.parts else None


def _parts(value) -> Iterator:
    """The value and all that it consists of."""
    yield value
    match value:
        case nn.Module():
            yield from value.modules()
            yield from [*value.parameters(), *value.buffers()]
        case list() | tuple():
            yield from (part for item in value for part in _parts(item))
        case Mapping():
            yield from (part for item in value.values() for part in _parts(item))
        case _ if dataclasses.is_dataclass(value):
            yield from (part for field in dataclasses.fields(value) for part in _parts(getattr(value, field.name)))


# --- Results as JSON and tensors ------------------------------------------------------------------


def pack(value, tensors: dict[str, Tensor]):
    """The value in JSON's types; its tensors are put into `tensors` and referred to by name."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            name = str(len(tensors))
            tensors[name] = value.detach().cpu()
            return {"tensor": name}
        case list():
            return {"list": [pack(item, tensors) for item in value]}
        case Mapping() if all(isinstance(name, str) for name in value):
            return {"dict": {name: pack(item, tensors) for name, item in value.items()}}
        case tuple() if not hasattr(value, "_fields"):
            return {"tuple": [pack(item, tensors) for item in value]}
    names = getattr(value, "_fields", None) or [item.name for item in _fields_of(value)]
    where = {"module": type(value).__module__, "class": type(value).__qualname__}
    return where | {"fields": {name: pack(getattr(value, name), tensors) for name in names}}


def _fields_of(value) -> tuple:
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and _source(type(value)):
        return dataclasses.fields(value)
    raise TypeError(
        f"a result of type {type(value).__name__} cannot be kept: return tensors, plain values, dataclasses"
    )


def unpack(packed, tensors: Mapping[str, Tensor]):
    """What `pack` was given. Classes are looked up in this repository's modules; nothing else is ever imported."""
    match packed:
        case {"tensor": name}:
            return tensors[name]
        case {"list": items}:
            return [unpack(item, tensors) for item in items]
        case {"tuple": items}:
            return tuple(unpack(item, tensors) for item in items)
        case {"dict": items}:
            return {name: unpack(item, tensors) for name, item in items.items()}
        case {"module": module, "class": name, "fields": items}:
            made = getattr(importlib.import_module(module), name)
            if not _source(made):
                raise TypeError(f"{module}.{name} is no class of this repository")
            return made(**{field: unpack(item, tensors) for field, item in items.items()})
    return packed
