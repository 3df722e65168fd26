"""What a build rests on beside the files of the repository: data, device, versions and the environment.

All of it is told without PyTorch, whose import takes seconds: `make book` says at once that there is nothing to do, or
what cannot work.
"""

import os
import platform
import re
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from lib.data import downloads, mnist_lookup
from lib.data.mnist_lookup import MissingDataError
from lib.experiments.settings import Settings
from tools import machine

DATA_FOLDERS = ("weights", "imagenet-sample", "tiny-imagenet")  # of DATA_DIR; MNIST is told by its checksums
TRANSIENT = (".lock", ".part")
# The beginnings of environment variables by which libraries compute or draw otherwise.
NUMERICAL = tuple(
    "ATEN_ BLIS_ CUBLAS_ CUDA CUDNN_ DNNL_ GOMP_ KMP_ MKL_ NPY_ NVIDIA_ OMP_ ONEDNN_ OPENBLAS_ PYTORCH_ TORCH_ VECLIB_ "
    "PYTHONHASHSEED PYTHONOPTIMIZE PYTHONPATH PYTHONWARNINGS".split()
)


@dataclass(frozen=True)
class Found:
    """What was asked for with every "auto" resolved, and a line for the terminal: which data, and why these."""

    settings: Settings
    words: str


def resolve(settings: Settings) -> Found:
    """Which data and device a build uses; what only the network has is downloaded, and MNIST's files are verified.

    Raises
    ------
    ValueError
        If the settings cannot work here.
    DataError
        If what they ask for is missing or damaged.
    """
    if settings.profile == "paper" and settings.data == "digits":
        raise ValueError("PROFILE=paper needs MNIST, not DATA=digits")
    if settings.device == "cuda" and not has_cuda():
        raise ValueError("DEVICE=cuda was asked for and there is no CUDA device; use auto or cpu")
    data, words = find_digits(settings)
    device = "cuda" if settings.device != "cpu" and has_cuda() else "cpu"
    return Found(replace(settings, data=data, device=device), words)


def find_digits(settings: Settings) -> tuple[str, str]:
    """ "mnist" or "digits", and where they are from."""
    if settings.data == "digits":
        return "digits", "scikit-learn's digits, as asked for"
    try:
        paths, origin = mnist_lookup.locate()
    except MissingDataError as missing:
        if settings.data == "mnist" or settings.profile == "paper":
            raise
        return "digits", f"scikit-learn's digits, since MNIST was not found: {missing.reason}"
    for path, file in zip(paths, mnist_lookup.FILES, strict=True):
        mnist_lookup.contents(path, file)
    return "mnist", f"MNIST from {origin}"


def has_cuda() -> bool:
    return machine.num_gpus() > 0 and "+cpu" not in metadata.version("torch")


def surroundings(settings: Settings) -> list:
    """All else that the same settings may come out otherwise by, in JSON's types."""
    reasons = downloads.is_offline() if settings.profile == "paper" else None  # pages name them
    return [public_files(), bool(os.environ.get("DATA_DIR")), reasons, versions(), environment()]


def public_files() -> list[tuple[str, int, int]]:
    """Name, size and time of what lies where networks and pictures are looked for, as they come, go or change."""
    data_dir = os.environ.get("DATA_DIR")
    places = [Path(data_dir), *(Path(data_dir) / name for name in DATA_FOLDERS)] if data_dir else []
    places = [place for place in (*places, downloads.cache_dir()) if place.is_dir()]
    found = [path for place in places for path in place.iterdir() if path.is_file() and path.suffix not in TRANSIENT]
    found = [path for path in found if not path.name.endswith(("ubyte", "ubyte.gz"))]
    return sorted((path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in found)


def versions() -> dict[str, str]:
    """Of Python, and of what requirements.txt pins as it is installed."""
    pinned = re.findall(r"^([\w.-]+)==", Path("requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in pinned}


def environment() -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(NUMERICAL) and name not in machine.THREAD_VARIABLES  # which every chapter gets anew
    }
