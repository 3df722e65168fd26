"""On what a result was measured: commit, date, versions, machine, device, data, profile, seeds and time."""

import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from lib.data.dataset import Split
from lib.experiments.seeds import Seeds
from lib.record import ledger
from lib.store.files import ROOT

PACKAGES = ("torch", "numpy", "numba", "scipy", "scikit-learn")


def commit() -> str:
    """The checkout's commit, with "+" where tracked files differ from it; "unknown" outside a git checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != ROOT.resolve():  # a copy inside another's checkout
            return "unknown"
        # results/ is what a run writes: it does not make the code that ran another one.
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def machine() -> dict[str, str | int]:
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "system": platform.platform(terse=True)}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(profile: str, split: Split, device: str, seeds: Seeds) -> dict:
    """Everything that a reader needs to judge or repeat a measurement, ready for JSON."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": machine(),
        "device": device,
        "data": {"name": split.source, "train": split.train.identity, "test": split.test.identity},
        "profile": profile,
        "seeds": asdict(seeds),
    }


def record_run(chapter: str, facts: dict, seconds: float) -> None:
    """Put a chapter's run into results/run.json, which holds one entry per chapter."""
    ledger.update("run.json", chapter, facts | {"seconds": round(seconds, 1)})
