"""The chapter on photographs runs where there are none: it says what is missing and shows what was recorded."""

import ast
from pathlib import Path

import jupytext
import pytest
from IPython.display import Markdown
from matplotlib.figure import Figure

from lib import data, paper

CHAPTER = Path(__file__).parents[1] / "chapters" / "imagenet.py"


def execute(source: Path, **parameters: str) -> list:
    """What the code cells of a chapter show, in order."""
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


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """No DATA_DIR, an empty cache, no network."""
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.setenv("STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setattr(data, "cache_dir", lambda: tmp_path / "cache")


@pytest.mark.parametrize("recorded", [True, False])
def test_without_data_it_says_what_is_missing_and_shows_what_was_recorded(nothing, tmp_path, monkeypatch, recorded):
    if not recorded:
        monkeypatch.setattr(paper, "RESULTS", tmp_path / "results")
    banner, *others = execute(CHAPTER, data="digits", device="cpu")
    for name in ("SqueezeNet 1.1", "AlexNet", "imagenet-sample", "Tiny ImageNet"):
        assert f"**{name}** is missing" in banner.data
    for address in ("download.pytorch.org/models/squeezenet1_1", "cs231n.stanford.edu", "github.com/EliSchwartz"):
        assert address in banner.data
    assert sum(isinstance(value, Figure) for value in others) == 3
    texts = "\n".join(value.data for value in others if isinstance(value, Markdown))
    assert ("Nothing has been recorded" in texts) != (recorded and bool(paper.recorded_values("figure5")))
