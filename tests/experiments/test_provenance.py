"""A recorded number can be traced to the code, the data and the machine that gave it."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from lib.data import sources
from lib.experiments import provenance
from lib.experiments.seeds import Seeds
from lib.record import ledger


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of the repository's root, and no repository around it."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr(provenance, "ROOT", folder)
    monkeypatch.setattr(ledger, "RESULTS", folder / "results")
    return folder


@pytest.fixture
def checkout(root) -> Path:
    """A git checkout with one commit of lib/code.py and results/table.csv."""
    for name in ("lib/code.py", "results/table.csv"):
        (root / name).parent.mkdir()
        (root / name).write_text("first\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "First")
    return root


# --- The commit -----------------------------------------------------------------------------------


def test_a_clean_checkout_is_its_commit(checkout):
    assert provenance.commit() == git(checkout, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", provenance.commit())


def test_changed_code_is_marked(checkout):
    (checkout / "lib/code.py").write_text("second\n")
    assert provenance.commit() == git(checkout, "rev-parse", "HEAD") + "+"
    git(checkout, "add", ".")
    assert provenance.commit().endswith("+")
    git(checkout, "commit", "--quiet", "--message", "Second")
    assert not provenance.commit().endswith("+")


def test_removed_code_is_marked(checkout):
    (checkout / "lib/code.py").unlink()
    assert provenance.commit().endswith("+")


def test_what_a_run_writes_is_not_a_change_of_the_code(checkout):
    (checkout / "results/table.csv").write_text("second\n")
    (checkout / "results/run.json").write_text("{}\n")
    assert provenance.commit() == git(checkout, "rev-parse", "HEAD")


def test_changed_code_is_marked_beside_changed_results(checkout):
    (checkout / "results/table.csv").write_text("second\n")
    (checkout / "lib/code.py").write_text("second\n")
    assert provenance.commit().endswith("+")


def test_no_checkout_no_commit_and_no_git_are_unknown(root, monkeypatch):
    assert provenance.commit() == "unknown"
    git(root, "init", "--quiet")
    assert provenance.commit() == "unknown"
    monkeypatch.setenv("PATH", str(root))
    assert provenance.commit() == "unknown"


@pytest.mark.faults
def test_a_copy_inside_somebody_elses_checkout_has_not_their_commit(checkout, monkeypatch):
    (checkout / "copy").mkdir()
    monkeypatch.setattr(provenance, "ROOT", checkout / "copy")
    assert provenance.commit() == "unknown"


# --- The facts ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facts() -> dict:
    return provenance.describe("quick", sources.embedded(), "cpu", Seeds.derive(3))


def test_the_facts_are_these(facts):
    split = sources.embedded()
    assert list(facts) == ["commit", "date", "versions", "machine", "device", "data", "profile", "seeds"]
    assert facts["data"] == {"name": "digits", "train": split.train.identity, "test": split.test.identity}
    assert (facts["device"], facts["profile"]) == ("cpu", "quick")
    assert facts["seeds"] == asdict(Seeds.derive(3))
    assert facts["versions"]["torch"] == torch.__version__
    assert set(facts["versions"]) == {"python", "torch", "numpy", "numba", "scipy", "scikit-learn"}
    assert facts["machine"]["cores"] >= 1
    assert all(facts["machine"].values())


def test_the_facts_survive_json(facts):
    assert json.loads(json.dumps(facts)) == facts


def test_the_date_is_now_in_utc(facts):
    date = datetime.fromisoformat(facts["date"])
    assert date.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - date) < timedelta(minutes=5)


def test_the_processor_is_named_even_where_there_is_no_cpuinfo(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError))
    assert provenance.machine()["processor"]


# --- The run --------------------------------------------------------------------------------------


def runs(root: Path) -> dict:
    return json.loads((root / "results/run.json").read_text())


def test_each_chapter_has_one_entry_the_last(root):
    provenance.record_run("framework", {"commit": "a"}, 1.26)
    provenance.record_run("attack", {"commit": "a"}, 2.0)
    provenance.record_run("framework", {"commit": "b"}, 3.04)
    assert runs(root) == {"attack": {"commit": "a", "seconds": 2.0}, "framework": {"commit": "b", "seconds": 3.0}}
    assert list(runs(root)) == ["attack", "framework"]


def test_chapters_that_finish_at_once_lose_nothing(root):
    names = [f"chapter-{i}" for i in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: provenance.record_run(name, {}, 1.0), names))
    assert set(runs(root)) == set(names)
    assert [path.name for path in (root / "results").iterdir() if path.suffix != ".lock"] == ["run.json"]
