"""Where MNIST's four files are: in DATA_DIR, in the user's cache, else on the network; and whether they are whole.

What counts is the checksum of the decompressed bytes, so any gzip wrapper is accepted, and none. PyTorch is not needed
here, so that a build can tell at once which data it will use.
"""

import gzip
import math
import os
import time
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import requests
from filelock import FileLock

from lib.data import downloads
from lib.data.downloads import CONNECT_TIMEOUT, DataError
from lib.store.files import checksum

GZIP_MAGIC = b"\x1f\x8b"
PLACES = (".", "mnist", "MNIST/raw", "raw", "MNIST")  # in DATA_DIR; torchvision keeps its files in MNIST/raw

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


class MissingDataError(DataError):
    """MNIST is nowhere: the only error after which data "auto" means the digits."""

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

    @property
    def num_bytes(self) -> int:
        """Decompressed: a magic number and the sizes, four bytes each, then a byte for every value."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


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


def locate(data_dir: str | Path | None = None) -> tuple[list[Path], str]:
    """Paths of the four files, in the order of FILES, and words for where they were found; downloaded if need be.

    Parameters
    ----------
    data_dir : path, optional
        Else the environment variable DATA_DIR. The files may lie there as torchvision, Kaggle or their makers leave
        them.

    Raises
    ------
    MissingDataError
        If MNIST is nowhere to be found.
    DataError
        If DATA_DIR has some of the four files and not the others, or no mirror serves the right ones.
    """
    data_dir, note = data_dir or os.environ.get("DATA_DIR"), "DATA_DIR is not set"
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


def contents(path: Path, file: IdxFile) -> bytes:
    """The decompressed bytes of one of the four files. Raises DataError, with a cure, unless they are MNIST's."""
    try:
        return _verified(path, file)
    except DataError as error:
        advice = f"Replace it with {MIRRORS[0]}{file.name}.gz, decompressed sha256 {file.sha256}, or delete it"
        raise DataError(f"{error}. {advice}.") from None


def decompressed(path: Path) -> bytes:
    """The bytes of a file, gzip or not, which its content tells, not its name. Raises DataError if it is unreadable."""
    try:
        found = path.read_bytes()
        return gzip.decompress(found) if found[:2] == GZIP_MAGIC else found
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: corrupt gzip ({error}); copy or download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def _verified(path: Path, file: IdxFile) -> bytes:
    found = decompressed(path)
    if len(found) != file.num_bytes:
        reason = "truncated" if len(found) < file.num_bytes else "too long"
        raise DataError(f"{path}: {reason}, {len(found):,} bytes where {file.num_bytes:,} are expected")
    if (sha256 := checksum(found)) != file.sha256:
        raise DataError(f"{path}: wrong checksum, decompressed sha256 {sha256}")
    return found


def _find(folder: Path) -> list[Path | None]:
    """For each of the four files its path in one of the PLACES, or None."""
    return [next((path for path in _candidates(folder, file) if path.is_file()), None) for file in FILES]


def _candidates(folder: Path, file: IdxFile) -> Iterator[Path]:
    """Kaggle writes a dot for the second hyphen, and puts each file into a folder of its own name."""
    for place in PLACES:
        for name in (file.name, file.name.replace("-idx", ".idx")):
            yield from (folder / place / form for form in (name, f"{name}.gz", f"{name}/{name}"))


def _without(paths: list[Path | None]) -> list[IdxFile]:
    return [file for file, path in zip(FILES, paths, strict=True) if path is None]


def _download(folder: Path) -> None:
    """Fetch the files that the folder lacks."""
    names = [file.name for file in _without(_find(folder))]
    lacking = f"the cache {folder} lacks {'them all' if len(names) == len(FILES) else ', '.join(names)}"
    if downloads.is_offline():
        raise MissingDataError(f"{lacking}; OFFLINE is set")
    if not (mirrors := _reachable(MIRRORS)):
        raise MissingDataError(f"{lacking}; no mirror could be reached")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "download.lock"):  # two processes that start at once download once
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
        downloads.fetch([f"{mirror}{path.name}" for mirror in mirrors], path, lambda part: _verified(part, file))
    except downloads.UnreachableError as error:
        raise MissingDataError(f"the download failed ({error})") from None
    except DataError as error:
        raise DataError(
            f"No mirror served {file.name} with the decompressed sha256 {file.sha256} ({error}). "
            "Try again, set DATA_DIR to a folder that has it, or set OFFLINE=1 to do without."
        ) from None
    if path.read_bytes()[:2] != GZIP_MAGIC:
        path.replace(folder / file.name)
