"""Keyed, verified, atomic artifacts: the files behind `lib.store.calls`.

An artifact is two files, `<kind>-<hash>.safetensors` and `<kind>-<hash>.json`. The JSON names the key in full and the
checksum of the tensors, carries a checksum of itself, and is renamed into place last: a half-written artifact has no
valid JSON, so it can never be read as whole. No pickle anywhere.
"""

import errno
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
from filelock import FileLock
from torch import Tensor

from lib.store import files
from lib.store.files import ROOT, checksum
from lib.store.identity import canonical, digest, plain

DEFAULT_ROOT = ROOT / "_build" / "store"
RECORD = {"kind", "key", "info", "tensors"}


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


class Artifacts:
    """A folder of artifacts, each made once.

    Parameters
    ----------
    root : path, optional
        Else the environment variable STORE_DIR, else `_build/store` of the repository.
    """

    def __init__(self, root: str | Path | None = None):
        self.num_made = 0  # artifacts that this object had to make
        # Kernels run in chapters/, make in the repository's root: a relative STORE_DIR is of the latter.
        root = root or os.environ.get("STORE_DIR") or DEFAULT_ROOT
        try:
            self.root = ROOT / Path(root).expanduser()
        except RuntimeError as error:
            raise ValueError(f"STORE_DIR is no folder: {root} ({error})") from None

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
        stem = self.root / f"{kind}-{digest(entry)[:12]}"
        with suppress(
            FileNotFoundError, NotADirectoryError, _DamagedError
        ):  # reading needs no lock, and no right to write
            return _read(stem, entry)
        self._make_writable()
        with self._locked(stem):
            try:
                return _read(stem, entry)
            except FileNotFoundError:
                pass
            except _DamagedError as damage:
                warnings.warn(f"{damage}; making it again", StoreWarning, stacklevel=3)
            _write(stem, entry, make())
            self.num_made += 1
            return _read(stem, entry)

    @contextmanager
    def _locked(self, stem: Path) -> Iterator[None]:
        """The one process that makes this artifact; what one that was killed left behind is removed."""
        lock = FileLock(stem.with_name(f"{stem.name}.lock"))
        try:
            lock.acquire()
            for leftover in self.root.glob(f".{stem.name}.*.tmp"):
                leftover.unlink()
        except OSError as error:  # a folder in the lock's place, a lock of somebody else's
            lock.release()
            raise _unwritable(self.root, error) from error
        try:
            yield
        finally:
            lock.release()

    def _make_writable(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.root, error) from error
        if not os.access(self.root, os.W_OK):
            raise _unwritable(self.root, PermissionError("it may be read only"))


def _unwritable(root: Path, reason: OSError) -> PermissionError:
    return PermissionError(
        f"the store {root} lacks a result that has to be computed, and cannot be written ({reason}); make it writable, "
        "or set STORE_DIR to a folder that is"
    )


class _DamagedError(Exception):
    """The files are there and are not what was written."""


def _read(stem: Path, entry: dict) -> Artifact:
    seal, data = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.safetensors")
    record = _unseal(seal)
    if canonical({"kind": record["kind"], "key": record["key"]}) != canonical(entry):
        raise _DamagedError(f"{seal} belongs to another key")
    try:
        contents = _contents(data)
    except FileNotFoundError:
        raise _DamagedError(f"{data} is missing") from None
    if checksum(contents) != record["tensors"]:
        raise _DamagedError(f"{data} does not have the checksum it was written with")
    return Artifact(safetensors.torch.load(contents), record["info"])


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise _DamagedError(f"{path} is a folder") from None
    except PermissionError as error:
        raise PermissionError(
            f"the store's {path} may not be read ({error.strerror}); ask its owner, or set STORE_DIR to another folder"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _DamagedError(f"{path} is a link to itself") from None
        raise


def _unseal(path: Path) -> dict:
    contents = _contents(path)
    with suppress(ValueError, KeyError, TypeError, RecursionError):  # not JSON, or not ours: damaged all the same
        sealed = json.loads(contents)
        if sealed["sha256"] == digest(sealed["record"]) and sealed["record"].keys() >= RECORD:
            return sealed["record"]
    raise _DamagedError(f"{path} does not have the checksum it was written with")


def _write(stem: Path, entry: dict, artifact: Artifact) -> None:
    # Cloned, because tensors that share memory cannot be saved under two names.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in artifact.tensors.items()}
    contents = safetensors.torch.save(tensors)
    record = {**entry, "info": plain(artifact.info), "tensors": checksum(contents)}
    sealed = json.dumps({"sha256": digest(record), "record": record}, indent=1)
    files.replace(stem.with_name(f"{stem.name}.safetensors"), contents)
    files.replace(stem.with_name(f"{stem.name}.json"), sealed.encode())  # last: without it there is nothing to read
