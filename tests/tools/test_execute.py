"""A kernel that dies before its first cell is started again, and nothing else is."""

from pathlib import Path

import pytest

from tools import execute

PORT_TAKEN = "Kernel died before replying to kernel_info"


@pytest.fixture
def attempts(monkeypatch):
    """What papermill is made to raise, attempt by attempt; None lets it succeed."""
    outcomes = []

    def execute_notebook(*arguments, **options):
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        return "the notebook"

    monkeypatch.setattr(execute.papermill, "execute_notebook", execute_notebook)
    return outcomes


@pytest.fixture
def chapter(tmp_path) -> tuple[Path, Path]:
    path = tmp_path / "one.py"
    path.write_text("# %%\n1 + 1\n")
    return path, tmp_path / "partial" / "one.ipynb"


def test_a_kernel_that_could_not_start_is_started_again(attempts, chapter):
    attempts += [RuntimeError(PORT_TAKEN), RuntimeError(PORT_TAKEN), None]
    assert execute.run(*chapter, {}) == "the notebook"
    assert attempts == []


def test_but_not_for_ever(attempts, chapter):
    attempts += [RuntimeError(PORT_TAKEN)] * execute.START_ATTEMPTS + [None]
    with pytest.raises(RuntimeError, match="Kernel died"):
        execute.run(*chapter, {})
    assert attempts == [None]


def test_an_error_of_the_chapter_is_not_tried_again(attempts, chapter):
    attempts += [RuntimeError("in the chapter"), None]
    with pytest.raises(RuntimeError, match="in the chapter"):
        execute.run(*chapter, {})
    assert attempts == [None]
