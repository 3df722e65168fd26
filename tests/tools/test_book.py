"""tools/build.py: what is executed again and what is not, and what is left when something fails."""

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from tests.conftest import REPOSITORY, run_build
from tools import build

SETTINGS = build.Build(profile="quick", data="auto", device="auto", seed=0, data_dir="")
CHAPTER = Path("chapters/one.py")
TREE = {
    "requirements.txt": "",
    "intro.md": "",
    "_toc.yml": "{root: intro, chapters: [{file: chapters/one}]}",
    "paper/table1.csv": "",
    "results/table1.csv": "",
    "benchmarks/attack.json": "",
    "chapters/one.py": "from lib import attack\nfrom lib.models import net",
    "lib/__init__.py": "",
    "lib/attack.py": "from .lbfgs import minimize",
    "lib/lbfgs.py": "def minimize():\n    import lib.config as config",
    "lib/config.py": "",
    "lib/plots.py": "from lib import attack",
    "lib/models/__init__.py": "",
    "lib/models/net.py": "from .. import training",
    "lib/models/other.py": "",
    "lib/training.py": "",
}
DEPENDENCIES = ["__init__", "attack", "lbfgs", "config", "models/__init__", "models/net", "training"]


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """The current folder: a project small enough to see through."""
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copytree(REPOSITORY / "tools", tmp_path / "tools")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def append(path: Path, text: str = "\n") -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


# --- The key of a chapter -------------------------------------------------------------------------


def test_dependencies_follow_imports_through_modules(tree):
    assert build.sources(CHAPTER) == {CHAPTER, *(Path(f"lib/{name}.py") for name in DEPENDENCIES)}


@pytest.mark.parametrize(
    "name",
    [*(f"lib/{name}.py" for name in DEPENDENCIES), "chapters/one.py", "paper/table1.csv", "benchmarks/attack.json"],
)
def test_the_key_changes_with_what_the_chapter_depends_on(tree, name):
    before = build.chapter_key(CHAPTER, SETTINGS)
    append(tree / name)
    assert build.chapter_key(CHAPTER, SETTINGS) != before


@pytest.mark.parametrize("name", ["lib/plots.py", "lib/models/other.py", "intro.md", "_toc.yml"])
def test_the_key_does_not_change_with_anything_else(tree, name):
    before = build.chapter_key(CHAPTER, SETTINGS)
    append(tree / name)
    assert build.chapter_key(CHAPTER, SETTINGS) == before


@pytest.mark.parametrize(
    "change", [{"profile": "paper"}, {"data": "digits"}, {"device": "cpu"}, {"seed": 1}, {"data_dir": "/data"}]
)
def test_the_key_changes_with_every_setting(tree, change):
    assert build.chapter_key(CHAPTER, replace(SETTINGS, **change)) != build.chapter_key(CHAPTER, SETTINGS)


def test_the_key_changes_when_data_arrive_or_change(tree, tmp_path):
    """ "Put MNIST into DATA_DIR and build again" must not end in "up to date"."""
    settings = replace(SETTINGS, data_dir=str(tmp_path / "data"))
    keys = [build.chapter_key(CHAPTER, settings)]
    (tmp_path / "data/mnist").mkdir(parents=True)
    for contents in ("one", "another"):
        (tmp_path / "data/mnist/train-images-idx3-ubyte.gz").write_text(contents)
        keys.append(build.chapter_key(CHAPTER, settings))
    assert len(set(keys)) == 3


@pytest.mark.parametrize(("profile", "reads_results"), [("quick", True), ("paper", False)])
def test_results_are_read_in_profile_quick_and_written_in_profile_paper(tree, profile, reads_results):
    settings = replace(SETTINGS, profile=profile)
    before = build.chapter_key(CHAPTER, settings)
    append(tree / "results/table1.csv")
    assert (build.chapter_key(CHAPTER, settings) != before) == reads_results


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"metadata": {}}'])
def test_a_damaged_notebook_counts_as_not_executed(tree, damage):
    notebook = build.notebook_of(CHAPTER)
    notebook.parent.mkdir(parents=True)
    notebook.write_text(damage)
    assert build.stored_key(CHAPTER) is None


def test_chapters_are_those_of_the_table_of_contents(tree):
    assert build.find_chapters() == [CHAPTER]
    (tree / "chapters/one.py").unlink()
    with pytest.raises(SystemExit, match=r"do not exist: chapters/one\.py"):
        build.find_chapters()


# --- Building -------------------------------------------------------------------------------------


def staged(project: Path, chapter: str) -> dict:
    return json.loads((project / f"_build/stage/chapters/{chapter}.ipynb").read_text())


def test_a_build_leaves_a_book(specimen):
    assert (specimen / "_build/html/index.html").exists()
    assert (specimen / "_build/html/_sources/chapters/first.py").exists()
    assert not (specimen / "_build/failed").exists()


@pytest.mark.parametrize(("chapter", "hidden"), [("first", "code of Fig. 1"), ("second", "set-up")])
def test_a_folded_cell_says_what_it_hides(specimen, chapter, hidden):
    page = (specimen / f"_build/html/chapters/{chapter}.html").read_text()
    assert re.findall(r"<summary.*?>\s*<p[^>]*>(.*?)</p>\s*<p[^>]*>(.*?)</p>", page) == [
        (f"Show the {what}", f"Hide the {what}") for what in ("parameters of this build", hidden)
    ]
    assert "<summary aria-label" not in page  # which a screen reader would read in its place


def test_a_page_brings_along_what_its_terms_mean(specimen):
    """Where glossary.js looks for it."""
    page = (specimen / "_build/html/chapters/first.html").read_text()
    term = r'<a class="reference internal" href="\.\./intro\.html#(.*?)"><span class="xref std std-term">'
    (definitions,) = re.findall(r'<script type="application/json" id="definitions">(.*?)</script>', page)
    assert json.loads(definitions) == {
        re.search(term, page)[1]: "An image that was changed on purpose, and very little."
    }
    assert 'id="definitions"' not in (specimen / "_build/html/chapters/second.html").read_text()


def test_the_kernel_is_this_interpreter(specimen):
    assert sys.executable in json.dumps(staged(specimen, "second"))


def test_figures_lose_nothing_on_their_way_to_the_page(specimen):
    notebook = json.loads((specimen / "_build/stage/chapters/first.ipynb").read_text(encoding="utf-8"))
    outputs = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "data" in output]
    (drawn,) = [data["image/png"] for data in outputs if "image/png" in data]
    (shown,) = (specimen / "_build/html/_images").glob("*.webp")
    with Image.open(io.BytesIO(base64.b64decode(drawn))) as before, Image.open(shown) as after:
        visible = [np.asarray(picture.convert("RGBa")) for picture in (before, after)]
    np.testing.assert_array_equal(*visible)
    assert shown.name in (specimen / "_build/html/chapters/first.html").read_text(encoding="utf-8")


def test_a_second_build_does_nothing(project):
    begin = time.monotonic()
    result = run_build(project)
    assert result.stdout.startswith("The book is up to date")
    assert len(result.stdout.splitlines()) == 1
    assert time.monotonic() - begin < 5


def test_editing_a_page_renders_without_executing(project):
    append(project / "intro.md", "\nA new sentence.\n")
    result = run_build(project)
    assert result.stdout.splitlines()[0] == "rendering"
    assert "A new sentence." in (project / "_build/html/intro.html").read_text()


def test_a_failing_chapter_says_where_and_leaves_the_last_good_book(project):
    before = (project / "_build/html/chapters/second.html").read_text()
    append(project / "chapters/second.py", "\n# %%\nnumerator = 1\nnumerator / 0\n")
    line = (project / "chapters/second.py").read_text().splitlines().index("numerator = 1") + 1
    result = run_build(project)
    assert result.returncode == 1
    assert f"chapters/second.py failed in cell In [4], chapters/second.py:{line}" in result.stderr
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "_build/failed/second.ipynb" in result.stderr
    assert "The last good book is still at" in result.stderr
    assert (project / "_build/failed/second.ipynb").exists()
    assert (project / "_build/html/chapters/second.html").read_text() == before
    assert "executing chapters/first.py" not in result.stdout


@pytest.mark.faults
def test_a_warning_leaves_the_last_good_book(project):
    before = (project / "_build/html/intro.html").read_text()
    append(project / "intro.md", "\n{doc}`nowhere`\n")
    result = run_build(project)
    assert result.returncode == 1
    assert "nowhere" in result.stderr
    assert (project / "_build/html/intro.html").read_text() == before


@pytest.mark.faults
def test_a_dead_kernel_is_reported_at_its_cell(project):
    append(project / "chapters/second.py", '\n# %%\nimport os\nos.kill(os.getpid(), 9)\n\n# %%\nprint("never")\n')
    result = run_build(project)
    assert result.returncode == 1
    assert "os.kill(os.getpid(), 9)" in result.stderr
    assert "never" not in result.stderr


def listen_to_interrupts() -> None:
    """A shell's background jobs, and all that they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing_half_written(project, how):
    notebook = project / "_build/stage/chapters/second.ipynb"
    before = notebook.read_bytes()
    append(project / "chapters/second.py", "\n# %%\nimport time\ntime.sleep(600)\n")
    command = [sys.executable, "-m", "tools.build"]
    options = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": listen_to_interrupts}
    with subprocess.Popen(command, cwd=project, **options) as process:
        while not list(project.glob("_build/partial/*.ipynb")):
            time.sleep(0.05)
        os.kill(process.pid, how)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Interrupted" in errors
    assert notebook.read_bytes() == before


def test_two_builds_in_one_folder_do_not_mix(tree):
    (tree / "_build").mkdir()
    with FileLock(tree / "_build/.lock"):
        result = run_build(tree)
    assert result.returncode == 1
    assert "Another build is running" in result.stderr


# --- The commands ---------------------------------------------------------------------------------


def make(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.check_output(["make", *arguments], cwd=REPOSITORY, env=environment, text=True)


@pytest.mark.parametrize("target", "help setup book pdf test lint lab bench spread pictures clean distclean".split())
def test_make_alone_prints_every_target(target):
    assert f"\n  {target} " in make()


def test_make_hands_its_variables_on():
    command = make("--dry-run", "book", "PROFILE=paper", "DATA=digits", "DEVICE=cpu", "SEED=3", "JOBS=1", "DATA_DIR=.")
    assert '--profile "paper" --data "digits" --device "cpu" --seed "3" --jobs "1"' in command
    assert "--scheduler" not in command
    for target in ("book", "spread"):
        assert '--scheduler "tcp://host:8786"' in make("--dry-run", target, "SCHEDULER=tcp://host:8786")


@pytest.mark.parametrize("name", "profile data data_dir device seed seeds jobs scheduler".split())
def test_a_variable_in_small_letters_is_refused_with_its_name_in_capitals(name):
    """To make they are two variables, and the quick book would be built without a word."""
    command = ["make", "--dry-run", "book", f"{name}=paper"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8")
    assert result.returncode != 0
    assert f"{name.upper()}=paper, not {name}=paper" in result.stderr


@pytest.mark.parametrize(
    "option", ["--profile=fast", "--data=cifar", "--device=tpu", "--seed=many", "--jobs=0", "--scheduler=dask"]
)
def test_a_wrong_setting_is_refused(tree, option):
    result = run_build(tree, option)
    assert result.returncode != 0
    assert option[2:].split("=")[0] in result.stderr.lower()
