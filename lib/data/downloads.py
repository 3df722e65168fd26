"""Public files that the ImageNet networks and pictures come from: in DATA_DIR, else in the cache, else downloaded."""

import os
import sys
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import requests
from filelock import FileLock

with warnings.catch_warnings():  # it imports tqdm for widgets, which warns wherever there are none
    warnings.simplefilter("ignore")
    import pooch
from collections.abc import Callable, Mapping, Sequence

CONNECT_TIMEOUT = 3.0  # seconds, for all mirrors together
READ_TIMEOUT = 20.0  # seconds in which at least a block must arrive
BLOCK = 2**16  # bytes


def is_offline() -> bool:
    """Whether the environment variable OFFLINE forbids downloads."""
    return os.environ.get("OFFLINE", "0") not in ("", "0")


def cache_dir() -> Path:
    """Where downloads are kept, for all of the user's projects."""
    return Path(pooch.os_cache("intriguing-properties"))


class DataError(RuntimeError):
    """A data file is damaged, or part of a data set is missing."""


class UnreachableError(RuntimeError):
    """No address served a file; the message says which, and why not."""


class MissingFileError(DataError):
    """A file is nowhere to be found; the message says which, where it can be had and where to put it."""


@dataclass(frozen=True)
class PublicFile:
    """A file that its makers offer for download.

    Attributes
    ----------
    name : its name in the cache, and in `folder` of DATA_DIR (or in DATA_DIR itself).
    checksum : "algorithm:hexadecimal digits", of which the first ones are enough; "" where the makers' server packs the
        file anew for everybody, so that no checksum lasts.
    aliases : checksums by the other names under which a DATA_DIR may hold what stands in for it, e.g. a part of it.
    """

    name: str
    folder: str
    url: str
    checksum: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def checksums(self) -> dict[str, str]:
        """By all of its names, its own first."""
        return {self.name: self.checksum, **self.aliases}


def find(file: PublicFile, data_dir: str | Path | None = None) -> Path | None:
    """Where the file lies: in DATA_DIR/folder, in DATA_DIR or in the cache; None where it does not.

    Raises DataError if it has another checksum. A zip is not looked at: it checks every member that is read.
    """
    data_dir = data_dir or os.environ.get("DATA_DIR")
    places = [Path(data_dir).expanduser() / file.folder, Path(data_dir).expanduser()] if data_dir else []
    places.append(cache_dir())
    found = next((path for place in places for name in file.checksums if (path := place / name).is_file()), None)
    if found and found.suffix != ".zip":
        verify(found, file.checksums[found.name], file.url)
    return found


def obtain(file: PublicFile, data_dir: str | Path | None = None, download: bool = True) -> Path:
    """Where the file lies, after it was downloaded if need be and `download` says so.

    Raises
    ------
    MissingFileError
        If it is nowhere, and was not or could not be downloaded.
    DataError
        If it is there, or the network serves it, with another checksum.
    """
    if found := find(file, data_dir):
        return found
    if not download:
        raise _missing(file, "nothing was downloaded")
    if is_offline():
        raise _missing(file, "OFFLINE is set")
    return _download(file, cache_dir())


def gather(loaders: Mapping[str, Callable], download: bool) -> tuple[dict, dict[str, str]]:
    """What each of the loaders (called with `download`) returns, and why it is not there for those that are missing.

    A file that is there but damaged raises DataError all the same.
    """
    found, reasons = {}, {}
    for name, load in loaders.items():
        try:
            found[name] = load(download=download)
        except MissingFileError as error:
            reasons[name] = str(error)
    return found, reasons


def banner(found: Mapping[str, object], reasons: Mapping[str, str]) -> str:
    """MyST text for the top of a chapter that says which of its files this build has, and why not the others."""
    there = f"This build has {', '.join(found)}." if found else "This build has none of the files."
    if not reasons:
        return f":::{{note}}\n{there}\n:::\n"
    lines = "".join(f"- **{name}** is missing: {reason}.\n" for name, reason in reasons.items())
    return (
        "::::{admonition} Built without all photographs and networks\n:class: warning\n\n"
        f"{there} What it lacks is not measured here; what was recorded earlier is shown.\n\n"
        f":::{{dropdown}} What is missing, and where to put it\n{lines}:::\n::::\n"
    )


def _missing(file: PublicFile, reason: str) -> MissingFileError:
    """The error that says which file is missing, why, and what to do about it."""
    checksum = f" ({file.checksum})" if file.checksum else ""
    is_set = "" if os.environ.get("DATA_DIR") else ", which is not set,"
    return MissingFileError(  # no folder of this machine is named: chapters print it
        f"{file.name} is neither in DATA_DIR{is_set} nor in the user's cache, and {reason}. Put {file.url}{checksum} "
        f"into DATA_DIR/{file.folder}/, or run `make pictures`, which downloads it"
    )


def _download(file: PublicFile, folder: Path) -> Path:
    """Download a file into the folder; it gets its name only once it is verified."""
    path = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{file.name}.lock"):
            if not path.exists():
                fetch([file.url], path, lambda part: _verify_download(part, file))
    except (UnreachableError, OSError) as error:
        raise _missing(file, f"the download failed ({error})") from error
    return path


def fetch(urls: Sequence[str], path: Path, verify: Callable[[Path], object]) -> None:
    """Download to `path` what the first of the addresses serves that `verify` does not object to.

    It gets its name only once it is verified; until then it is called PATH.part.

    Raises
    ------
    DataError
        If an address served something else and no other one the right file.
    UnreachableError
        If no address served anything.
    """
    part = path.with_name(f"{path.name}.part")
    unreached, damaged = [], []
    for url in urls:
        try:
            _receive(url, part)
            verify(part)
            part.replace(path)
            return
        except (requests.RequestException, TimeoutError) as error:
            if (response := getattr(error, "response", None)) is not None:
                response.close()
            unreached.append(f"{url}: {type(error).__name__}")
        except DataError as error:
            damaged.append(f"{url}: {error}")
        finally:
            part.unlink(missing_ok=True)
    if damaged:
        raise DataError("; ".join(damaged + unreached))
    raise UnreachableError("; ".join(unreached))


def _receive(url: str, part: Path) -> None:
    """Write what an address serves to a file.

    In a thread, because a resolver that hangs, and a server that sends a byte now and then, know no timeout. Raises
    TimeoutError when READ_TIMEOUT passes without a block, requests.RequestException for what else a network can do.
    """
    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=BLOCK, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
    )
    errors: list[Exception] = []

    def run() -> None:
        try:
            download(url, part, None)
        except Exception as error:
            errors.append(error)

    thread, size = Thread(target=run, daemon=True), 0
    part.touch()
    thread.start()
    while thread.is_alive():
        thread.join(READ_TIMEOUT)
        before, size = size, part.stat().st_size
        if thread.is_alive() and size == before:
            raise TimeoutError
    if errors:
        raise errors[0]


def verify(path: Path, checksum: str, url: str) -> None:
    """Raises DataError, with a cure, unless the file has the checksum: "algorithm:first digits", "" for any."""
    algorithm, _, expected = checksum.partition(":")
    if expected and not (found := pooch.file_hash(path, alg=algorithm)).startswith(expected):
        raise DataError(
            f"{path} is damaged or another file: its {algorithm} is {found}, not {expected}; replace or delete it, "
            f"the original is {url}"
        )


def _verify_download(path: Path, file: PublicFile) -> None:
    """Raises DataError unless the file has its checksum or, where none lasts, is a whole zip."""
    verify(path, file.checksum, file.url)
    if not file.checksum and not _is_whole_zip(path):
        raise DataError("what was served is no whole zip archive")


def _is_whole_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
