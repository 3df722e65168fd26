"""Keyed, verified, atomic artifacts: trained weights and adversarial sets that chapters share.

An artifact is two files, `<kind>-<hash>.safetensors` and `<kind>-<hash>.json`. The JSON names the key in full and the
checksum of the tensors, carries a checksum of itself, and is renamed into place last: a half-written artifact has no
valid JSON, so it can never be read as whole. No pickle anywhere.
"""

import ast
import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.util import resolve_name
from pathlib import Path, PurePath
from types import ModuleType

import safetensors.torch
from filelock import FileLock
from torch import Tensor

DEFAULT_ROOT = Path(__file__).parent.parent / "_build" / "store"


class StoreWarning(UserWarning):
    """An artifact was damaged and is made again."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """What is kept under a key.

    Attributes
    ----------
    tensors : dict of str to Tensor
        Any shapes and dtypes; returned on the CPU.
    info : dict
        Plain values that JSON can hold; tuples come back as lists.
    """

    tensors: dict[str, Tensor]
    info: dict = field(default_factory=dict)


class Store:
    """A folder of artifacts, each made once.

    Parameters
    ----------
    root : path, optional
        Else the environment variable STORE_DIR, else `_build/store` of the repository.
    """

    def __init__(self, root: str | Path | None = None):
        self.num_made = 0  # artifacts that this object had to make
        self.root = Path(root or os.environ.get("STORE_DIR") or DEFAULT_ROOT)

    def get(self, kind: str, key: Mapping, make: Callable[[], Artifact]) -> Artifact:
        """The artifact of this kind and key, made if it is not there or is damaged.

        Processes that ask for the same artifact at once wait for the one that makes it. What is returned is always
        read back from the files, so the first call and every later one give the same bits.

        Parameters
        ----------
        kind : str
            Letters, digits, `_` and `-`: the beginning of the file names.
        key : Mapping
            All that the artifact depends on; see `canonical` for what it may hold.
        make : callable
            Called without arguments, at most once. If it raises, nothing is kept.

        Raises
        ------
        ValueError
            If `kind` cannot be part of a file name.
        TypeError
            If the key or the info holds what JSON cannot.

        Warns
        -----
        StoreWarning
            If the artifact is there but damaged, with the file and the reason.
        """
        if not re.fullmatch(r"[\w-]+", kind, re.ASCII):
            raise ValueError(f"kind {kind!r}: only letters, digits, _ and - may be used")
        entry = {"kind": kind, "key": plain(key)}
        stem = f"{kind}-{digest(entry)[:12]}"
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{stem}.lock"):
            for leftover in self.root.glob(f"{stem}.*.tmp"):  # of a process that was killed: we hold the lock
                leftover.unlink()
            try:
                return _read(self.root / stem, entry)
            except FileNotFoundError:
                pass
            except _DamagedError as damage:
                warnings.warn(f"{damage}; making it again", StoreWarning, stacklevel=2)
            _write(self.root / stem, entry, make())
            self.num_made += 1
            return _read(self.root / stem, entry)


class _DamagedError(Exception):
    """The files are there and are not what was written."""


def _read(stem: Path, entry: dict) -> Artifact:
    seal, data = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.safetensors")
    record = _unseal(seal)
    if canonical({"kind": record["kind"], "key": record["key"]}) != canonical(entry):
        raise _DamagedError(f"{seal} belongs to another key")
    try:
        contents = data.read_bytes()
    except FileNotFoundError:
        raise _DamagedError(f"{data} is missing") from None
    if hashlib.sha256(contents).hexdigest() != record["tensors"]:
        raise _DamagedError(f"{data} does not have the checksum it was written with")
    return Artifact(safetensors.torch.load(contents), record["info"])


def _unseal(path: Path) -> dict:
    contents = path.read_bytes()
    with suppress(ValueError, KeyError, TypeError):  # not JSON, or not ours: damaged all the same
        sealed = json.loads(contents)
        if sealed["sha256"] == digest(sealed["record"]):
            return sealed["record"]
    raise _DamagedError(f"{path} does not have the checksum it was written with")


def _write(stem: Path, entry: dict, artifact: Artifact) -> None:
    # Cloned, because tensors that share memory cannot be saved under two names.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in artifact.tensors.items()}
    contents = safetensors.torch.save(tensors)
    record = {**entry, "info": plain(artifact.info), "tensors": hashlib.sha256(contents).hexdigest()}
    sealed = json.dumps({"sha256": digest(record), "record": record}, indent=1)
    _replace(stem.with_name(f"{stem.name}.safetensors"), contents)
    _replace(stem.with_name(f"{stem.name}.json"), sealed.encode())  # last: without it there is nothing to read


def _replace(path: Path, contents: bytes) -> None:
    """Put the contents under the name, whole or not at all, even if the power fails."""
    temporary = path.with_name(f"{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # a rename is durable once its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def canonical(value) -> str:
    """The one JSON text of a value: sorted keys, no spaces, floats exact.

    Parameters
    ----------
    value
        None, bool, int, float, str, Path (as its text), list, tuple (as a list), Mapping with str keys, or a dataclass
        (as a mapping that also names its class), nested at will.

    Raises
    ------
    TypeError
        For anything else: a key must not depend on how an object happens to print itself.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def digest(value) -> str:
    """sha256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def plain(value):
    """The value in JSON's own types; see `canonical`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case PurePath():
            return value.as_posix()
        case list() | tuple():
            return [plain(item) for item in value]
        case Mapping() if all(isinstance(name, str) for name in value):
            return {name: plain(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        items = {item.name: plain(getattr(value, item.name)) for item in fields(value)}
        return {"__class__": type(value).__qualname__, **items}
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be part of a key: use plain values, or its hash")


def identity(tensor: Tensor) -> str:
    """sha256 of a tensor's bytes, as 64 hexadecimal digits: for keys."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy()).hexdigest()


def code_version(*modules: ModuleType) -> str:
    """sha256 of the code of the modules and of all they import from their own package, as 64 hexadecimal digits.

    It changes when the syntax tree does: not with comments, docstrings or layout, and not with other modules of the
    package that are never named in an import statement. A new Python may dump the tree differently, which costs a
    recomputation and nothing else.

    Parameters
    ----------
    modules : imported modules
        Their sources are read from the files as they are now.
    """
    trees: dict[str, str] = {}
    pending = [module.__name__ for module in modules]
    while pending:
        name = pending.pop()
        if name not in trees:
            tree = _DropStrings().visit(ast.parse(_source(name).read_bytes()))
            trees[name] = ast.dump(tree)
            pending += [imported for imported in _imports(tree, name) if _source(imported)]
    return digest(trees)


class _DropStrings(ast.NodeTransformer):
    """Remove statements that are a bare string: docstrings, of attributes too."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_string = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_string else node


def _imports(tree: ast.AST, name: str) -> Iterator[str]:
    """Dotted names that may be modules of the same package."""
    package = name if _source(name).name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            imported = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (other for other in imported if other.split(".")[0] == name.split(".")[0])


def _source(name: str) -> Path | None:
    """The file of a module, found without importing it; None for what is no module."""
    root, *rest = name.split(".")
    base = Path(sys.modules[root].__path__[0]).joinpath(*rest)
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((path for path in candidates if path.is_file()), None)
