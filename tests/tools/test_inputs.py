"""Every "auto" is resolved once, and whatever a build would come out otherwise by is told apart."""

import subprocess
import sys
from dataclasses import replace

import pytest

from lib.data import mnist_lookup
from lib.data.downloads import DataError
from lib.data.mnist_lookup import MissingDataError
from lib.experiments.settings import Settings
from tests import faults
from tests.conftest import REPOSITORY
from tests.mnist_made import NAMES, put
from tools import inputs, machine

AUTO = Settings("quick", "auto", "auto", 0)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """No DATA_DIR, an empty cache, no network, no GPU, and one pin."""
    faults.pretend_that_made_files_are_mnist(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setattr(machine, "num_gpus", lambda: 0)
    (tmp_path / "requirements.txt").write_text("# The pins\npytest==0.0.1  # for tests\n-e .\n")
    return tmp_path


def test_a_build_starts_without_pytorch():
    """Whose import takes seconds, in which nothing is said."""
    code = "import sys, tools.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_without_mnist_auto_is_the_digits_and_the_line_says_why():
    found = inputs.resolve(AUTO)
    assert found.settings == Settings("quick", "digits", "cpu", 0)
    assert found.words.startswith("scikit-learn's digits, since MNIST was not found: DATA_DIR is not set; the cache")
    assert "\n" not in found.words


@pytest.mark.parametrize("asked", ["auto", "mnist"])
def test_with_mnist_it_is_mnist_and_the_line_says_where(places, monkeypatch, asked):
    monkeypatch.setenv("DATA_DIR", str(put(places / "data")))
    found = inputs.resolve(replace(AUTO, data=asked))
    assert found.settings.data == "mnist"
    assert found.words == f"MNIST from DATA_DIR={places / 'data'}"


def test_digits_that_are_asked_for_are_not_looked_up(places, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(put(places / "data", {NAMES[0]: b"damaged"})))
    assert inputs.resolve(replace(AUTO, data="digits")).words == "scikit-learn's digits, as asked for"


@pytest.mark.faults
def test_what_is_missing_or_damaged_is_said_before_anything_is_executed(places, monkeypatch):
    for wrong in (replace(AUTO, data="mnist"), replace(AUTO, profile="paper")):
        with pytest.raises(MissingDataError):
            inputs.resolve(wrong)
    monkeypatch.setenv("DATA_DIR", str(put(places / "data")))
    path = places / "data" / f"{NAMES[3]}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{NAMES[3]}.gz: corrupt gzip"):
        inputs.resolve(AUTO)


@pytest.mark.faults
@pytest.mark.parametrize("change", [{"profile": "paper", "data": "digits"}, {"device": "cuda"}])
def test_what_cannot_work_is_refused(change):
    with pytest.raises(ValueError, match=r"PROFILE=paper needs MNIST|there is no CUDA device"):
        inputs.resolve(replace(AUTO, **change))


@pytest.mark.parametrize(("version", "device"), [("2.13.0", "cuda"), ("2.13.0+cpu", "cpu")])
def test_auto_is_a_gpu_where_driver_and_pytorch_have_one(monkeypatch, version, device):
    monkeypatch.setattr(machine, "num_gpus", lambda: 1)
    monkeypatch.setattr(inputs.metadata, "version", lambda name: version)
    assert inputs.resolve(AUTO).settings.device == device
    assert inputs.resolve(replace(AUTO, device="cpu")).settings.device == "cpu"


def arrive(path, contents="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(contents)


CACHE = "cache/intriguing-properties"


@pytest.mark.faults
@pytest.mark.parametrize(
    "name",
    ["data/weights/net.pth", "data/net.pth", "data/tiny-imagenet/x.zip", f"{CACHE}/net.pth"],
)
def test_public_files_that_arrive_change_and_vanish_are_told_apart(places, monkeypatch, name):
    arrive(places / "data/readme")
    monkeypatch.setenv("DATA_DIR", str(places / "data"))
    found = [inputs.surroundings(AUTO)]
    for contents in ("one", "other, and longer"):
        arrive(places / name, contents)
        found.append(inputs.surroundings(AUTO))
    assert found[0] != found[1] != found[2] != found[0]
    (places / name).unlink()
    assert inputs.surroundings(AUTO) == found[0]


def test_what_no_page_depends_on_changes_nothing(places, monkeypatch):
    """Locks, halves of downloads, MNIST, which is told by its checksums, and other folders."""
    before = inputs.surroundings(AUTO)
    for name in ("net.pth.part", "download.lock", f"{NAMES[0]}.gz"):
        arrive(places / CACHE / name)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # every chapter gets its own
    monkeypatch.setenv("EDITOR", "ed")
    assert inputs.surroundings(AUTO) == before


@pytest.mark.faults
@pytest.mark.parametrize(
    "name", ["MKL_CBWR", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "PYTHONHASHSEED", "DATA_DIR"]
)
def test_variables_by_which_results_differ_are_told_apart(monkeypatch, name):
    before = inputs.surroundings(AUTO)
    monkeypatch.setenv(name, "1")
    assert inputs.surroundings(AUTO) != before


def test_versions_are_those_that_are_installed(monkeypatch):
    assert inputs.versions() == {"python": inputs.platform.python_version(), "pytest": pytest.__version__}
    before = inputs.surroundings(AUTO)
    monkeypatch.setattr(inputs.metadata, "version", lambda name: "9.9.9")
    assert inputs.surroundings(AUTO) != before


@pytest.mark.faults
def test_a_network_that_comes_back_is_noticed(places, monkeypatch):
    """What was a book on the digits is not up to date once MNIST can be had."""
    assert inputs.resolve(AUTO).settings.data == "digits"
    monkeypatch.setenv("OFFLINE", "0")
    served = put(places / "server")
    with faults.served(served) as address:
        monkeypatch.setattr(mnist_lookup, "MIRRORS", (address,))
        assert inputs.resolve(AUTO).settings.data == "mnist"
