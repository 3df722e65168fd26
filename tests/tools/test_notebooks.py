"""tools/notebooks.py: every chapter as a notebook that a stranger's machine can run."""

from pathlib import Path

import nbformat
import pytest

from lib.store.files import ROOT
from tools import notebooks
from tools.build import find_chapters


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_chapter_becomes_a_valid_notebook_without_outputs_behind_one_cell():
    for chapter in find_chapters():
        found = notebooks.notebook(chapter)
        nbformat.validate(found)
        first, title, *_ = found.cells
        assert (first.cell_type, title.cell_type) == ("code", "markdown")
        assert title.source.startswith("# ")
        assert [cell for cell in found.cells if cell.get("outputs")] == []


def test_what_a_chapter_needs_is_what_it_and_its_modules_import(tmp_path, monkeypatch):
    files = {
        "requirements.txt": "torch==2\npooch==1.9.0  # verified\njupyter-book==1.0\nclarabel==0.1\n",
        "chapters/one.py": "import json\nimport torch\nfrom myst_nb import glue\nfrom lib import data",
        "lib/__init__.py": "",
        "lib/data.py": "def load():\n    import pooch.utils\n    from . import other",
        "lib/other.py": "from concurrent import futures",
        "lib/idle.py": "import clarabel",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert notebooks.needed(Path("chapters/one.py")) == {"pooch", "jupyter-book"}
    assert notebooks.pinned({"pooch", "jupyter-book"}) == ["jupyter-book==1.0", "pooch==1.9.0"]


def test_all_that_the_chapters_need_is_pinned():
    needed = set().union(*map(notebooks.needed, find_chapters()))
    assert {"jupyter-book", "safetensors"} <= needed
    assert len(notebooks.pinned(needed)) == len(needed)
