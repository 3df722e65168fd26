"""Public files that the ImageNet networks and pictures come from: in DATA_DIR, else in the cache, else downloaded."""

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock

with warnings.catch_warnings():  # it imports tqdm for widgets, which warns wherever there are none
    warnings.simplefilter("ignore")
    import pooch
from collections.abc import Callable, Mapping, Sequence

from lib.data.dataset import DataError

CONNECT_TIMEOUT = 3.0  # seconds, for all mirrors together
READ_TIMEOUT = 20.0  # seconds without a byte


def cache_dir() -> Path:
    """Where downloads are kept, for all of the user's projects."""
    return Path(pooch.os_cache("intriguing-properties"))


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
    aliases : other names under which a DATA_DIR may hold what stands in for it, e.g. a part of it.
    """

    name: str
    folder: str
    url: str
    checksum: str
    aliases: tuple[str, ...] = ()


def find(names: Sequence[str], folder: str, data_dir: str | Path | None = None) -> Path | None:
    """The first of the files that lies in DATA_DIR/folder, in DATA_DIR or in the cache; None where none does."""
    data_dir = data_dir or os.environ.get("DATA_DIR")
    places = [Path(data_dir).expanduser() / folder, Path(data_dir).expanduser()] if data_dir else []
    places.append(cache_dir())
    return next((path for place in places for name in names if (path := place / name).is_file()), None)


def obtain(file: PublicFile, data_dir: str | Path | None = None, download: bool = True) -> Path:
    """Where the file lies, after it was downloaded if need be and `download` says so.

    Raises
    ------
    MissingFileError
        If it is nowhere, and was not or could not be downloaded.
    DataError
        If what the network served has another checksum.
    """
    if found := find((file.name, *file.aliases), file.folder, data_dir):
        return found
    if not download:
        raise _missing(file, "nothing was downloaded")
    if os.environ.get("OFFLINE", "0") not in ("", "0"):
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
        ":::{admonition} Built without all photographs and networks\n:class: warning\n\n"
        f"{there} What it lacks is not measured here; what was recorded earlier is shown.\n\n{lines}:::\n"
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
                fetch([file.url], path, lambda part: verify(part, file))
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
    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=2**16, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
    )
    part = path.with_name(f"{path.name}.part")
    unreached, damaged = [], []
    for url in urls:
        try:
            download(url, part, None)
            verify(part)
            part.replace(path)
            return
        except requests.RequestException as error:
            if error.response is not None:
                error.response.close()
            unreached.append(f"{url}: {type(error).__name__}")
        except DataError as error:
            damaged.append(f"{url}: {error}")
        finally:
            part.unlink(missing_ok=True)
    if damaged:
        raise DataError("; ".join(damaged + unreached))
    raise UnreachableError("; ".join(unreached))


def verify(path: Path, file: PublicFile) -> None:
    """Raises DataError unless the file at `path` has the checksum."""
    algorithm, _, expected = file.checksum.partition(":")
    if expected and not (found := pooch.file_hash(path, alg=algorithm)).startswith(expected):
        raise DataError(f"{file.url} served a file whose {algorithm} is {found}, not {expected}...; try again later")
