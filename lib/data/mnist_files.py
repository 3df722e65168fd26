"""MNIST's four files, wherever they are, and what is in them.

They are looked for in DATA_DIR, then in the user's cache, then on the network. What counts is the checksum of the
decompressed bytes, so any gzip wrapper is accepted, and none.
"""

import gzip
import math
import os
import struct
import time
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import requests
import torch
from filelock import FileLock
from torch import Tensor

from lib.data import downloads
from lib.data.dataset import NUM_CLASSES, DataError, Dataset, Split
from lib.data.downloads import CONNECT_TIMEOUT
from lib.store.files import checksum

GZIP_MAGIC = b"\x1f\x8b"

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


class MissingDataError(DataError):
    """MNIST is nowhere: the only error after which `load("auto")` takes the digits."""

    def __init__(self, reason: str):
        self.reason = reason
        files = "\n".join(f"  {file.name}  {file.sha256}" for file in FILES)
        super().__init__(
            f"MNIST was not found: {reason}. Put these four files, gzip or not, in a folder and set DATA_DIR to it "
            f"(originals: {MIRRORS[0]}; sha256 of the decompressed bytes):\n{files}"
        )


class IdxFile(NamedTuple):
    """One of MNIST's four files: its name, shape, and the sha256 of its decompressed bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str


FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def mnist(data_dir: str | Path | None = None) -> Split:
    """MNIST, 60,000 and 10,000 images, from DATA_DIR, the cache or the network; see `load`.

    Raises
    ------
    MissingDataError
        If it is nowhere to be found.
    DataError
        If a file is damaged, or DATA_DIR has some of the four files and not the others.

    Reference
    ---------
    LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    paths, origin = _locate(data_dir or os.environ.get("DATA_DIR"))
    images, labels, test_images, test_labels = map(_read_verified, paths, FILES)
    sums = " ".join(file.sha256[:8] for file in FILES)
    return Split(
        Dataset(images.flatten(1) / 255, labels.long(), "mnist-train"),
        Dataset(test_images.flatten(1) / 255, test_labels.long(), "mnist-test"),
        "mnist",
        f"MNIST from {origin}; decompressed sha256 {sums}",
    )


def read_idx(path: str | Path) -> Tensor:
    """Read an IDX file of unsigned bytes, gzip or not (told by its content, not by its name).

    Returns
    -------
    Tensor, uint8, of the shape in the file's header

    Raises
    ------
    DataError
        If the file cannot be read, its gzip is corrupt, its magic number is another one, or it holds more or fewer
        bytes than its header says.

    Reference
    ---------
    The IDX format, http://yann.lecun.com/exdb/mnist/ (archived).
    """
    return _parse_idx(_decompressed(Path(path)), path)


def _decompressed(path: Path) -> bytes:
    try:
        contents = path.read_bytes()
        return gzip.decompress(contents) if contents[:2] == GZIP_MAGIC else contents
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: corrupt gzip ({error}); copy or download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def _parse_idx(contents: bytes, path: str | Path) -> Tensor:
    if len(contents) < 4:
        raise DataError(f"{path}: truncated, {len(contents)} bytes where 4 of magic number are expected")
    *magic, num_dims = contents[:4]
    if magic != [0, 0, 8] or num_dims == 0:
        raise DataError(f"{path}: magic number {contents[:4].hex()}, expected 000008 and the number of dimensions")
    start = 4 + 4 * num_dims
    if len(contents) < start:
        raise DataError(f"{path}: truncated, {len(contents)} bytes where {start} of header are expected")
    shape = struct.unpack_from(f">{num_dims}I", contents, 4)
    found, expected = len(contents) - start, math.prod(shape)
    if found != expected:
        reason = "truncated" if found < expected else "too long"
        raise DataError(f"{path}: {reason}, {found:,} bytes where the header {shape} promises {expected:,}")
    return torch.frombuffer(bytearray(contents), dtype=torch.uint8)[start:].reshape(shape)


def _read_verified(path: Path, file: IdxFile) -> Tensor:
    """Read one of the four files, or say how to mend it."""
    try:
        return _verify(path, file)
    except DataError as error:
        advice = f"Replace it with {MIRRORS[0]}{file.name}.gz, decompressed sha256 {file.sha256}, or delete it"
        raise DataError(f"{error}. {advice}.") from None


def _verify(path: Path, file: IdxFile) -> Tensor:
    """Read one of the four files and check all that is known about it."""
    contents = _decompressed(path)
    tensor = _parse_idx(contents, path)
    if tensor.shape != file.shape:
        raise DataError(f"{path}: shape {tuple(tensor.shape)}, expected {file.shape}")
    if tensor.ndim == 1 and tensor.max() >= NUM_CLASSES:
        raise DataError(f"{path}: label {tensor.max()}, expected 0..{NUM_CLASSES - 1}")
    if (found := checksum(contents)) != file.sha256:
        raise DataError(f"{path}: wrong checksum, decompressed sha256 {found}")
    return tensor


def _locate(data_dir: str | Path | None) -> tuple[list[Path], str]:
    """Paths of the four files, in the order of FILES, and words for where they were found."""
    note = "DATA_DIR is not set"
    if data_dir:
        paths = _find(Path(data_dir).expanduser())
        if all(paths):
            return paths, f"DATA_DIR={data_dir}"
        if any(paths):
            missing = ", ".join(f"{file.name} (decompressed sha256 {file.sha256})" for file in _without(paths))
            raise DataError(f"DATA_DIR={data_dir} has some files of MNIST but lacks {missing}. Put the rest there.")
        note = f"DATA_DIR={data_dir} holds no MNIST"
    folder = downloads.cache_dir()
    try:
        if not all(_find(folder)):
            _download(folder)
    except MissingDataError as missing:
        raise MissingDataError(f"{note}; {missing.reason}") from None
    return _find(folder), f"the cache {folder} ({note})"


def _find(folder: Path) -> list[Path | None]:
    """For each of the four files its path in the folder or in its mnist/, gzip or not, or None."""

    def candidates(file: IdxFile) -> Iterator[Path]:
        return (place / f"{file.name}{suffix}" for place in (folder, folder / "mnist") for suffix in ("", ".gz"))

    return [next((path for path in candidates(file) if path.exists()), None) for file in FILES]


def _without(paths: list[Path | None]) -> list[IdxFile]:
    return [file for file, path in zip(FILES, paths, strict=True) if path is None]


def _download(folder: Path) -> None:
    """Fetch the files that the folder lacks."""
    names = [file.name for file in _without(_find(folder))]
    lacking = f"the cache {folder} lacks {'them all' if len(names) == len(FILES) else ', '.join(names)}"
    if os.environ.get("OFFLINE", "0") not in ("", "0"):
        raise MissingDataError(f"{lacking}; OFFLINE is set")
    if not (mirrors := _reachable(MIRRORS)):
        raise MissingDataError(f"{lacking}; no mirror could be reached")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "download.lock"):  # two chapters that start at once download once
            for file in _without(_find(folder)):
                _fetch(file, mirrors, folder)
    except OSError as error:
        raise MissingDataError(f"the cache {folder} cannot be written ({error.strerror})") from error


@cache
def _reachable(mirrors: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the mirrors that answer in time, asked all at once, and once in a process.

    In threads, because a resolver that does not answer knows no timeout.
    """
    answers: dict[str, bool] = {}

    def ask(mirror: str) -> None:
        try:
            url = f"{mirror}{FILES[0].name}.gz"
            answers[mirror] = requests.head(url, timeout=CONNECT_TIMEOUT, allow_redirects=True).ok
        except requests.RequestException:
            answers[mirror] = False

    threads = [Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    deadline = time.monotonic() + CONNECT_TIMEOUT
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return tuple(mirror for mirror in mirrors if answers.get(mirror))


def _fetch(file: IdxFile, mirrors: tuple[str, ...], folder: Path) -> None:
    """Download a file from the first mirror that serves it right. Some servers unpack what they send."""
    path = folder / f"{file.name}.gz"
    try:
        downloads.fetch([f"{mirror}{path.name}" for mirror in mirrors], path, lambda part: _verify(part, file))
    except downloads.UnreachableError as error:
        raise MissingDataError(f"the download failed ({error})") from None
    except DataError as error:
        raise DataError(
            f"No mirror served {file.name} with the decompressed sha256 {file.sha256} ({error}). "
            "Try again, set DATA_DIR to a folder that has it, or set OFFLINE=1 to do without."
        ) from None
    if path.read_bytes()[:2] != GZIP_MAGIC:
        path.replace(folder / file.name)
