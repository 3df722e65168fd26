"""The chapters on ImageNet run where its files are missing, all or some: they say which, and show what was recorded."""

import ast
import os
import re
import shutil
from pathlib import Path

import jupytext
import pytest
import safetensors.torch
from IPython.display import Markdown
from matplotlib.figure import Figure

from lib.data import downloads
from lib.networks import imagenet
from lib.record import ledger, tables

CHAPTERS = Path(__file__).parents[1] / "chapters"
FILES = ("SqueezeNet 1.1", "AlexNet", "imagenet-sample", "Tiny ImageNet")
WEIGHTS = {"SqueezeNet 1.1": "weights/squeezenet1_1.safetensors", "AlexNet": "weights/alexnet_features.safetensors"}
FOLDERS = {"imagenet-sample": "imagenet-sample", "Tiny ImageNet": "tiny-imagenet"}


def execute(chapter: str, **parameters: str) -> list:
    """What the code cells of a chapter show, in order."""
    source = CHAPTERS / f"{chapter}.py"
    names, shown = {"__name__": "__main__"}, []
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, source, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= parameters
            if last:
                shown.append(eval(compile(ast.Expression(last.value), source, "eval"), names))
    return [value for value in shown if value is not None]


def texts(shown: list) -> str:
    return "\n".join(value.data for value in shown if isinstance(value, Markdown))


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """No DATA_DIR, an empty cache, no network."""
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.setenv("STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")


@pytest.fixture
def real_pictures() -> Path:
    place = Path(os.environ.get("DATA_DIR", "nowhere"))
    for path in (WEIGHTS | FOLDERS).values():
        if not (place / path).exists():
            pytest.skip(f"DATA_DIR has no {path}")
    return place.resolve()


@pytest.mark.parametrize("recorded", [True, False])
def test_without_data_it_says_what_is_missing_and_shows_what_was_recorded(nothing, tmp_path, monkeypatch, recorded):
    if not recorded:
        monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    banner, *others = execute("imagenet", data="digits", device="cpu")
    for name in FILES:
        assert f"**{name}** is missing" in banner.data
    for address in ("download.pytorch.org/models/squeezenet1_1", "cs231n.stanford.edu", "github.com/EliSchwartz"):
        assert address in banner.data
    figures = [value for value in others if isinstance(value, Figure)]
    assert len(figures) == 3
    assert all(figure.axes for figure in figures)  # without, a notebook shows "Figure with 0 Axes"
    for name in ("SqueezeNet 1.1, to ostrich", "AlexNet features, to goldfish"):
        assert (f"| {name}" in texts(others)) == recorded
    assert ("Nothing has been recorded" in texts(others)) != (recorded and bool(tables.recorded_values("figure5")))


@pytest.mark.parametrize("chapter", ["units", "spectral_analysis"])
def test_the_other_chapters_do_without_imagenet(nothing, tmp_path, monkeypatch, chapter):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    shown = execute(chapter, data="digits", device="cpu")
    assert "**AlexNet** is missing" in texts(shown)
    figures = [value for value in shown if isinstance(value, Figure)]
    assert len(figures) >= 5
    assert all(figure.axes for figure in figures)


def test_with_the_whole_of_alexnet_its_dense_layers_have_bounds(nothing, tmp_path, monkeypatch):
    weights = {name: value.contiguous() for name, value in imagenet.AlexNet().state_dict().items()}
    (tmp_path / "data" / "weights").mkdir(parents=True)
    safetensors.torch.save_file(weights, tmp_path / "data" / "weights" / "alexnet.safetensors")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    shown = texts(execute("spectral_analysis", data="digits", device="cpu"))
    lines = [line for line in shown.splitlines() if line.startswith("| FC2 | – | 4 |")]
    assert re.search(r"\| 1\.\d+ \|$", lines[0])  # about 2 / sqrt(3) for entries uniform in 1 / sqrt(n)
    assert "AlexNet.classifier" not in shown


@pytest.mark.parametrize(("chapter", "column"), [("units", "rotations"), ("imagenet", "tight attack")])
def test_what_can_be_measured_but_was_not_recorded_stops_nothing(
    real_pictures, nothing, tmp_path, monkeypatch, chapter, column
):
    """As after a change that measures more, before the next run at the paper's scale."""
    shutil.copytree(tables.RESULTS, tmp_path / "results")
    table = tmp_path / "results" / {"units": "units.csv", "imagenet": "photographs_coarse.csv"}[chapter]
    lines = table.read_text().splitlines(keepends=True)
    fewer = [line for line in lines if not ("SqueezeNet" in line and column in line)]
    assert len(fewer) < len(lines)
    table.write_text("".join(fewer))
    monkeypatch.setenv("DATA_DIR", str(real_pictures))
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    assert "SqueezeNet" in texts(execute(chapter, data="digits", device="cpu"))


@pytest.mark.parametrize("lacking", FILES)
def test_with_some_of_the_files_it_measures_what_these_allow(real_pictures, nothing, tmp_path, monkeypatch, lacking):
    """Each of the four is left out once, of links to the real ones."""
    place = tmp_path / "data"
    (place / "weights").mkdir(parents=True)
    for name, path in (WEIGHTS | FOLDERS).items():
        if name != lacking:
            (place / path).symlink_to(real_pictures / path)
    monkeypatch.setenv("DATA_DIR", str(place))
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    banner, *others = execute("imagenet", data="digits", device="cpu")
    assert f"**{lacking}** is missing" in banner.data
    if lacking != "AlexNet":
        assert "**AlexNet.classifier** is missing: put https://" in banner.data
    measured = texts(others)
    assert ("| SqueezeNet 1.1, to ostrich" in measured) == (lacking not in ("SqueezeNet 1.1", "imagenet-sample"))
    assert ("| AlexNet features, to goldfish" in measured) == (lacking not in ("AlexNet", "Tiny ImageNet"))
