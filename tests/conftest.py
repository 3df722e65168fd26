"""Shared by all tests: what this machine lacks is skipped with a reason, and a small book to try the tools on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.browser import find_browser

REPOSITORY = Path(__file__).parents[1]
BOOK_SOURCES = "_config.yml _ext _static _vendor _extra CITATION.cff requirements.txt tools lib/store".split()


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_addoption(parser):
    parser.addoption(
        "--rounding", type=int, metavar="SEED", help="products of matrices round otherwise: tests/rounding.py"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if (seed := item.config.getoption("rounding")) is None:
        return (yield)
    from tests.rounding import OtherRounding

    with OtherRounding(seed):
        return (yield)


def pytest_collection_modifyitems(items):
    if "torch" in sys.modules:  # one thread, unless asked otherwise: more only wait for each other in tests this small
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    needs = {
        "gpu": (has_gpu, "no CUDA device"),
        "browser": (find_browser, "no Chromium: apt-get install chromium"),
    }
    for marker, (is_there, reason) in needs.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and not is_there():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def run_build(project: Path, *options: str) -> subprocess.CompletedProcess:
    """tools/build.py in a project's folder, as `make book` calls it."""
    command = [sys.executable, "-m", "tools.build", *options]
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def specimen(tmp_path_factory) -> Path:
    """The small book of tests/specimen with the real book's configuration, built. For reading only."""
    project = tmp_path_factory.mktemp("book") / "specimen"
    shutil.copytree(REPOSITORY / "tests/specimen", project)
    for source in BOOK_SOURCES:
        copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy2
        copy(REPOSITORY / source, project / source)
    result = run_build(project)
    assert result.returncode == 0, result.stdout + result.stderr
    return project


@pytest.fixture
def project(specimen, tmp_path) -> Path:
    """The built specimen in a folder of its own, to be changed."""
    return shutil.copytree(specimen, tmp_path / "project")


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A folder in place of results/; it does not exist yet."""
    from lib.record import ledger

    folder = tmp_path / "results"
    monkeypatch.setattr(ledger, "RESULTS", folder)
    return folder
