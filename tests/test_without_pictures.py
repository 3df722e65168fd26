"""Every chapter runs without pictures, weights or results, all or some: it says what it lacks, and shows the rest."""

import ast
import os
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import jupytext
import pytest
import safetensors.torch
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from lib.attacks.penalized import AttackConfig
from lib.data import downloads
from lib.experiments import frame_bounds
from lib.experiments.profiles import PROFILES
from lib.networks import imagenet
from lib.record import ledger
from lib.record.markdown import MISSING
from lib.solvers.lbfgs import LBFGSConfig
from tests.test_chapters import solutions

CHAPTERS = Path(__file__).parents[1] / "chapters"
FILES = ("SqueezeNet 1.1", "AlexNet", "imagenet-sample", "Tiny ImageNet")
WEIGHTS = {"SqueezeNet 1.1": "weights/squeezenet1_1.safetensors", "AlexNet": "weights/alexnet_features.safetensors"}
FOLDERS = {"imagenet-sample": "imagenet-sample", "Tiny ImageNet": "tiny-imagenet"}
WITH_PICTURES = ["units", "bases", "imagenet", "spectral_analysis"]  # those that ask for any of FILES
OTHERS = ["framework", "formal_attack", "how_near", "cross_model", "cross_training_set", "certificates"]
OTHERS += ["since_2013", "verdict"]
UNRECORDED = ["quocnet", "adversarial_training", "unsaid"]  # of which nothing, or little, could be missing
MAX_COLUMNS, WIDE_TABLES = 6, 1
QUICK = PROFILES["quick"]
# What is there and what is not is the same of fewer images.
BRIEF = replace(
    QUICK,
    num_train=500,
    num_attacked=60,
    training=replace(QUICK.training, max_iterations=60),
    autoencoder=replace(QUICK.autoencoder, max_iterations=10, num_images=200),
    conv=replace(QUICK.conv, num_epochs=1),
    num_controls=60,
    num_louder=60,
    num_compared=40,
    num_optimal=40,
    num_exact=40,
    num_relaxations=200,
    num_lanczos=10,
    units=replace(QUICK.units, num_directions=100, num_samples=500, num_axes=32, num_draws=49, num_rotations=4),
    photographs=replace(
        QUICK.photographs,
        num_attacked=2,
        num_coarse=1,
        num_judged=10,
        num_train=60,
        attack=AttackConfig(tolerance=0.1, max_searches=3, solver=LBFGSConfig(max_iterations=8, patience=3)),
    ),
    cars=replace(QUICK.cars, num_unlabelled=100, num_few=30, num_attacked=4),
    pools=replace(QUICK.pools, budget=2, num_asked=10),
    since=replace(QUICK.since, num_around=60),
)


def execute(chapter: str, **parameters: str) -> list:
    """What the code cells of a chapter show, in order."""
    return shown_and_left(chapter, **parameters)[0]


def shown_and_left(chapter: str, **parameters: str) -> tuple[list, dict]:
    """What they show, and the names that they leave."""
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
    return [value for value in shown if value is not None], names


def texts(shown: list) -> str:
    return "\n".join(value.data for value in shown if isinstance(value, Markdown))


def num_columns(shown: list) -> list[int]:
    """The columns of every Markdown table on the page, folded ones, too."""
    rules = re.findall(r"^\|(?: :?-+:? \|)+$", texts(shown), re.MULTILINE)
    return [rule.count("|") - 1 for rule in rules]


def has_pictures(shown: list) -> bool:
    """Every figure shows something: without axes a notebook shows "Figure with 0 Axes"."""
    return all(value.axes for value in shown if isinstance(value, Figure))


def asked_for(chapter: str) -> list[str]:
    """The recorded files that a chapter names: a table by its name, JSON by its file's."""
    source = CHAPTERS / f"{chapter}.py"
    named = set(re.findall(r'"([\w.]+)"', source.read_text())) if source.exists() else set()
    files = sorted((ledger.ROOT / "results").glob("*.*"))
    return [path.name for path in files if path.name in named or (path.suffix == ".csv" and path.stem in named)]


def missing_files() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every recorded file, in every chapter that asks for it: every other one at once, so that neighbours are there."""
    for chapter in [*WITH_PICTURES, *OTHERS]:
        files = asked_for(chapter)
        yield from ((chapter, tuple(half)) for half in (files[::2], files[1::2]) if half)


@pytest.fixture(scope="module")
def store(common) -> Path:
    """One for all, as in a build: chapters share networks, whichever process executes them."""
    return common / "store"


@pytest.fixture
def nothing(store, tmp_path, monkeypatch):
    """No DATA_DIR, an empty cache, no network."""
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.setenv("STORE_DIR", str(store))
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setitem(PROFILES, "quick", BRIEF)


@pytest.fixture
def real_pictures() -> Path:
    place = Path(os.environ.get("DATA_DIR", "nowhere"))
    for path in (WEIGHTS | FOLDERS).values():
        if not (place / path).exists():
            pytest.skip(f"DATA_DIR has no {path}")
    return place.resolve()


@pytest.fixture
def emptied(tmp_path, monkeypatch) -> Path:
    """A folder of results in which nothing is recorded."""
    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def copied(emptied) -> Path:
    """A copy of what is recorded, from which a test may take something away."""
    return shutil.copytree(ledger.ROOT / "results", emptied)


def linked(real: Path, place: Path, lacking: Collection[str]) -> Path:
    """A folder of links to the real files, without some."""
    (place / "weights").mkdir(parents=True)
    for name, path in (WEIGHTS | FOLDERS).items():
        if name not in lacking:
            (place / path).symlink_to(real / path)
    return place


# --- Nothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", [*WITH_PICTURES, *OTHERS, *UNRECORDED])
def test_without_data_and_results_every_chapter_measures_what_it_can_and_says_what_it_lacks(nothing, emptied, chapter):
    """And what the solutions of its exercises assert is true there."""
    shown, left = shown_and_left(chapter, data="digits", device="cpu")
    assert "Traceback" not in texts(shown)
    assert not re.search(r"\bnan\b", texts(shown))
    assert has_pictures(shown)
    assert sum(num > MAX_COLUMNS for num in num_columns(shown)) <= WIDE_TABLES, num_columns(shown)
    assert ("**AlexNet** is missing" in texts(shown)) == (chapter in WITH_PICTURES)
    if chapter in ("imagenet", "verdict"):  # which measure nothing here
        assert MISSING in texts(shown)
    for solution in solutions(chapter):
        exec(solution, left)


def test_without_pictures_it_says_what_is_missing_and_shows_what_was_recorded(nothing):
    banner, *others = execute("imagenet", data="digits", device="cpu")
    for name in FILES:
        assert f"**{name}** is missing" in banner.data
    for address in ("download.pytorch.org/models/squeezenet1_1", "cs231n.stanford.edu", "github.com/EliSchwartz"):
        assert address in banner.data
    assert sum(isinstance(value, Figure) for value in others) == 2
    assert "no photographs to show" in next(value.data for value in others if isinstance(value, HTML))
    assert has_pictures(others)
    for name in ("SqueezeNet 1.1, to ostrich", "AlexNet features, to goldfish"):
        assert f"| {name}" in texts(others)


@pytest.mark.parametrize(("chapter", "files"), list(missing_files()), ids=str)
def test_with_any_file_of_results_missing_nothing_raises(nothing, copied, chapter, files):
    """And nothing that is recorded is divided by what is not. With a table goes the spread of it over seeds."""
    for file in files:
        (copied / file).unlink()
        (copied / f"spread_{file}").unlink(missing_ok=True)
    shown = execute(chapter, data="digits", device="cpu")
    assert not re.search(r"\bnan\b", texts(shown))
    assert has_pictures(shown)
    if chapter == "imagenet":  # which measures nothing here
        assert MISSING in texts(shown)


# --- Some of it -----------------------------------------------------------------------------------


def dense_ones(layers: dict) -> dict:
    """Without the convolutions, whose bounds take half a minute."""
    return {name: layer for name, layer in layers.items() if layer.size == (1, 1)}


def test_with_the_whole_of_alexnet_its_dense_layers_have_bounds(nothing, emptied, tmp_path, monkeypatch):
    weights = {name: value.contiguous() for name, value in imagenet.AlexNet().state_dict().items()}
    (tmp_path / "data" / "weights").mkdir(parents=True)
    safetensors.torch.save_file(weights, tmp_path / "data" / "weights" / "alexnet.safetensors")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    everything = frame_bounds.public_layers
    monkeypatch.setattr(frame_bounds, "public_layers", lambda *asked: dense_ones(everything(*asked)))
    shown = texts(execute("spectral_analysis", data="digits", device="cpu"))
    lines = [line for line in shown.splitlines() if line.startswith("| FC2 | – | 4 |")]
    assert re.search(r"\| 1\.\d+ \|$", lines[0])  # about 2 / sqrt(3) for entries uniform in 1 / sqrt(n)
    assert "AlexNet.classifier" not in shown


@pytest.mark.parametrize(
    ("chapter", "table", "column"),
    [("bases", "units", "rotations"), ("imagenet", "photographs_coarse", "tight attack")],
)
def test_what_can_be_measured_but_was_not_recorded_stops_nothing(
    real_pictures, nothing, copied, tmp_path, monkeypatch, chapter, table, column
):
    """As after a change that measures more, before the next recorded run. Of one network where that will do."""
    path = copied / f"{table}.csv"
    lines = path.read_text().splitlines(keepends=True)
    fewer = [line for line in lines if not ("SqueezeNet" in line and column in line)]
    assert len(fewer) < len(lines)
    path.write_text("".join(fewer))
    lacking = ["AlexNet"] if chapter == "imagenet" else []
    monkeypatch.setenv("DATA_DIR", str(linked(real_pictures, tmp_path / "data", lacking)))
    assert "SqueezeNet" in texts(execute(chapter, data="digits", device="cpu"))


@pytest.mark.parametrize("lacking", FILES)
def test_with_some_of_the_files_it_measures_what_these_allow(
    real_pictures, nothing, emptied, tmp_path, monkeypatch, lacking
):
    """Each of the four is left out once."""
    monkeypatch.setenv("DATA_DIR", str(linked(real_pictures, tmp_path / "data", [lacking])))
    banner, *others = execute("imagenet", data="digits", device="cpu")
    assert f"**{lacking}** is missing" in banner.data
    if lacking != "AlexNet":
        assert "**AlexNet.classifier** is missing: put https://" in banner.data
    measured = texts(others)
    assert ("| SqueezeNet 1.1, to ostrich" in measured) == (lacking not in ("SqueezeNet 1.1", "imagenet-sample"))
    assert ("| AlexNet features, to goldfish" in measured) == (lacking not in ("AlexNet", "Tiny ImageNet"))
