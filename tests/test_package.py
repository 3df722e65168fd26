"""The attack without the book: what `pip install .` brings, and that it stands on its own feet."""

import json
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
import torch
from torch import nn

from lib.attacks import exact, penalized, tight
from lib.measures import certificates, spectral
from lib.store import code
from tests.conftest import REPOSITORY, copy_sources

# As somebody else would, in a folder where there is no lib: the same network and images as in `ours`.
PROGRAM = """
import importlib, json, pkgutil, sys
import torch
from torch import nn
import intriguing
for module in pkgutil.walk_packages(intriguing.__path__, "intriguing."):
    importlib.import_module(module.name)
from intriguing.attacks import exact, penalized, tight
from intriguing.measures import certificates, spectral
torch.manual_seed(0)
network, inputs = nn.Sequential(nn.Linear(20, 3)).eval(), torch.rand(4, 20)
targets = (network(inputs).argmax(dim=1) + 1) % 3
constants = certificates.lipschitz_constants(network, inputs[:1])
print(json.dumps({
    "attack": penalized.find_adversarial(network, inputs, targets).distortion.tolist(),
    "tight": tight.find_adversarial(network, inputs, targets).distortion.tolist(),
    "exact": exact.minimum_perturbation(network[0], inputs, targets).distortion.tolist(),
    "norm": spectral.lipschitz(network[0], (20,)),
    "constants": {kind: found.tolist() for kind, found in constants.items()},
    "borrowed": sorted(name for name in sys.modules if name.split(".")[0] in ("lib", "tests")),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without a network, from a copy: setuptools leaves its folders where it works."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    copy_sources(source, "lib", "pyproject.toml", "setup.py", "README.md", "LICENSE")
    (source / "build/lib/intriguing/attacks").mkdir(parents=True)
    (source / "build/lib/intriguing/attacks/left_by_an_earlier_build.py").write_text("")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", target, source], check=True)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel) -> Path:
    folder = wheel.with_name("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.faults
def test_what_an_earlier_build_left_is_not_in_it(installed):
    assert not list(installed.rglob("left_by*"))


def test_it_takes_one_name_and_no_data(installed):
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"intriguing"}
    assert {path.suffix for path in (installed / "intriguing").rglob("*") if path.is_file()} == {".py"}


def test_it_declares_what_its_modules_import_and_nothing_more(installed):
    requires = PathDistribution(next(installed.glob("*.dist-info"))).requires
    modules = list((installed / "intriguing").rglob("*.py"))
    assert code.packages(modules, installed) == sorted(line.split(">=")[0] for line in requires)


def test_no_module_of_it_needs_one_that_stays_behind(installed):
    """Whatever of lib a module imports, relatively, is there."""
    for path in (installed / "intriguing").rglob("*.py"):
        ours = REPOSITORY / "lib" / path.relative_to(installed / "intriguing")
        needed = {each.relative_to(REPOSITORY / "lib") for each in code.closure([ours])}
        assert {name for name in needed if not (installed / "intriguing" / name).exists()} == set(), path.name


def test_elsewhere_it_gives_what_it_gives_here(installed, tmp_path):
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{PROGRAM}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    theirs = json.loads(result.stdout)
    assert theirs.pop("borrowed") == []
    torch.manual_seed(0)
    network, inputs = nn.Sequential(nn.Linear(20, 3)).eval(), torch.rand(4, 20)
    targets = (network(inputs).argmax(dim=1) + 1) % 3
    assert theirs == {
        "attack": penalized.find_adversarial(network, inputs, targets).distortion.tolist(),
        "tight": tight.find_adversarial(network, inputs, targets).distortion.tolist(),
        "exact": exact.minimum_perturbation(network[0], inputs, targets).distortion.tolist(),
        "norm": spectral.lipschitz(network[0], (20,)),
        "constants": {
            kind: value.tolist() for kind, value in certificates.lipschitz_constants(network, inputs[:1]).items()
        },
    }


def test_installed_in_place_it_is_the_books(tmp_path):
    """As requirements.txt has it: chapters in JupyterLab, whose folder is another, import lib."""
    copy_sources(tmp_path, "lib", "pyproject.toml", "setup.py", "README.md", "LICENSE")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    target = ["--target", tmp_path / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *target, "-e", tmp_path], check=True)
    site = str(tmp_path / "site")
    program = f"import site; site.addsitedir({site!r}); import lib.store.code as code; print(code.__file__)"
    folder = tmp_path / "elsewhere"  # and -S leaves out the lib of this environment
    folder.mkdir()
    found = subprocess.run([sys.executable, "-IS", "-c", program], cwd=folder, capture_output=True, encoding="utf-8")
    assert found.stdout.strip() == str(tmp_path / "lib/store/code.py"), found.stderr
