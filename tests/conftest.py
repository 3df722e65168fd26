"""Shared by all tests: what this machine lacks is skipped with a reason, and a small book to try the tools on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tools.browser import find_browser

REPOSITORY = Path(__file__).parents[1]
BOOK_SOURCES = (
    "_config.yml", "_ext", "_static", "_vendor", "_extra", "CITATION.cff", "requirements.txt", "Makefile", "tools",
    "lib/store", "lib/data", "lib/experiments/__init__.py", "lib/experiments/settings.py",
)  # fmt: skip


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
    from tests.rounding import other_rounding

    with other_rounding(seed):
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


def copy_sources(project: Path, *names: str) -> None:
    """What the tools, or a book, need of this repository."""
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, project / name)


def surroundings(**variables: str) -> dict[str, str]:
    """The environment of a build on the embedded digits, but for the variables.

    Without what scikit-learn and Dask add to that of the process they run in: not all of pytest's workers have it.
    """
    added = ("DATA_DIR", "MAKE", "MFLAGS", "KMP_", "PYTHONHASHSEED")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(added)}
    return rest | {"OFFLINE": "1", "XDG_CACHE_HOME": "/nowhere"} | variables


def run_build(project: Path, *options: str, **settings) -> subprocess.CompletedProcess:
    """tools/build.py in a project's folder, as `make book` calls it."""
    command = [sys.executable, "-m", "tools.build", *options]
    settings = {"env": surroundings(), "encoding": "utf-8"} | settings
    return subprocess.run(command, cwd=project, capture_output=True, **settings)


def hostile_home(home: Path) -> Path:
    """A home folder whose settings would change every chapter."""
    startup, matplotlib = home / ".ipython/profile_default/startup", home / ".config/matplotlib"
    for folder in (startup, matplotlib):
        folder.mkdir(parents=True)
    (startup / "00.py").write_text("print('hostile')")
    (matplotlib / "matplotlibrc").write_text("axes.titlecolor: hostile\n")
    return home


@pytest.fixture(scope="session")
def common(tmp_path_factory, worker_id) -> Path:
    """A folder that all of pytest's workers share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def specimen(common, tmp_path_factory) -> Path:
    """The small book of tests/specimen with the real book's configuration, built once. For reading only."""
    with FileLock(common / "book.lock"):
        if not (common / "book").exists():
            build_specimen(tmp_path_factory.mktemp("unfinished")).rename(common / "book")
    return common / "book/specimen"


def build_specimen(folder: Path) -> Path:
    project = folder / "specimen"
    shutil.copytree(REPOSITORY / "tests/specimen", project)
    copy_sources(project, *BOOK_SOURCES)
    result = run_build(project, env=surroundings(HOME=str(hostile_home(folder / "home"))))
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


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
