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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from lib.experiments.settings import Settings
from tests import faults
from tests.conftest import REPOSITORY, copy_sources, run_build, surroundings
from tests.mnist_made import NAMES, put
from tools import build

ASKED = Settings(profile="quick", data="auto", device="auto", seed=0)
SETTINGS = build.Build(profile="quick", data="digits", device="cpu", seed=0, surroundings="here")
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
    copy_sources(tmp_path, "tools", "lib/store", "lib/data", "lib/experiments/settings.py")
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
    "change", [{"profile": "paper"}, {"data": "mnist"}, {"device": "cuda"}, {"seed": 1}, {"surroundings": "there"}]
)
def test_the_key_changes_with_every_setting(tree, change):
    assert build.chapter_key(CHAPTER, replace(SETTINGS, **change)) != build.chapter_key(CHAPTER, SETTINGS)


@pytest.mark.parametrize(("profile", "reads_results"), [("quick", True), ("paper", False)])
def test_results_are_read_in_profile_quick_and_written_in_profile_paper(tree, profile, reads_results):
    settings = replace(SETTINGS, profile=profile)
    before = build.chapter_key(CHAPTER, settings)
    append(tree / "results/table1.csv")
    assert (build.chapter_key(CHAPTER, settings) != before) == reads_results


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


def test_no_line_ends_between_a_number_and_its_percent_sign(specimen):
    page = (specimen / "_build/html/chapters/second.html").read_text(encoding="utf-8")
    assert re.search(r"0\.0(</span>)*\u00a0% of one, or 0\u00a0% of two", page)


@pytest.mark.faults
def test_a_hostile_home_changes_no_chapter(specimen):
    """The specimen was built with one: what its startup files and its matplotlibrc say appears nowhere."""
    assert (specimen.with_name("home") / ".ipython/profile_default/startup/00.py").exists()
    assert "hostile" not in json.dumps([staged(specimen, "first"), staged(specimen, "second")])


def test_a_second_build_does_nothing(project):
    before = os.times()
    result = run_build(project)
    assert result.stdout.startswith("The book is up to date")
    assert len(result.stdout.splitlines()) == 1
    assert os.times().children_user - before.children_user < 5  # seconds: PyTorch is not even imported


def test_editing_a_page_renders_without_executing(project):
    append(project / "intro.md", "\nA new sentence.\n")
    result = run_build(project)
    assert result.stdout.splitlines()[0] == "rendering"
    assert "A new sentence." in (project / "_build/html/intro.html").read_text()


SUMS = """

# %%
import torch

x = torch.rand(3_000_000, generator=torch.Generator().manual_seed(0))
print(float(x.sum()), float(x[:640_000].view(800, 800).mm(x[-640_000:].view(800, 800)).sum()))
"""


def test_what_is_computed_has_the_same_bits_with_any_number_of_chapters_and_threads_at_once(inside, monkeypatch):
    append(inside / "chapters/first.py", SUMS)
    said = []
    for jobs, threads in ((1, "2"), (2, "1")):
        shutil.rmtree(build.STAGE)
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        build.execute(build.find_chapters(), build.look_around(ASKED), jobs)
        outputs = [output for cell in staged(inside, "first")["cells"] for output in cell.get("outputs", [])]
        said.append(outputs[-1]["text"])
    assert len(said) == 2
    assert said[0] == said[1]


def test_a_failing_chapter_says_where_and_leaves_the_last_good_book(project):
    before = (project / "_build/html/chapters/second.html").read_text()
    append(project / "chapters/second.py", "\n# %%\nnumerator = 1\nnumerator / 0\n")
    line = (project / "chapters/second.py").read_text().splitlines().index("numerator = 1") + 1
    result = run_build(project)
    assert result.returncode == 1
    assert f"chapters/second.py failed in cell In [5], chapters/second.py:{line}" in result.stderr
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
    """A shell's background jobs, and all that they start, ignore Ctrl-C, and under nohup a closed terminal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


SLEEPS = """
# %%
import os, time
from pathlib import Path

Path("kernel").write_text(f"{os.getpid()} {os.getppid()}")
time.sleep(600)
"""
BUILD = [sys.executable, "-m", "tools.build"]
MAKE = ["make", "--old-file", ".venv/installed", "book"]  # nothing is installed


@pytest.mark.faults
@pytest.mark.parametrize(
    ("how", "command"),
    [
        *((how, BUILD) for how in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL)),
        *((how, MAKE) for how in (signal.SIGTERM, signal.SIGKILL)),  # make hands the first on
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value.name,
)
def test_whatever_ends_a_build_nobody_goes_on_and_nothing_is_lost(project, how, command):
    """A kernel at work, the process that feeds it, the builder and make: all end, and what was executed is kept."""
    (project / ".venv").symlink_to(sys.prefix)
    chapter, notebook = project / "chapters/second.py", project / "_build/stage/chapters/second.ipynb"
    text, before = chapter.read_text(), notebook.read_bytes()
    append(chapter, SLEEPS)
    options = {"cwd": project, "env": surroundings(), "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, preexec_fn=listen_to_interrupts, **options) as process:
        faults.wait_until(lambda: (project / "kernel").exists() and (project / "kernel").read_text())
        at_work = [process.pid, *faults.descendants(process.pid)]
        os.kill(process.pid, how)
        _, errors = process.communicate(timeout=300)
    assert len(at_work) >= 3
    faults.wait_until(lambda: not any(map(faults.is_running, at_work)))
    assert process.returncode != 0
    assert how == signal.SIGKILL or "Interrupted" in errors
    assert notebook.read_bytes() == before
    chapter.write_text(text)
    assert run_build(project).stdout.startswith("The book is up to date")


@pytest.mark.faults
def test_two_builds_in_one_folder_do_not_mix(tree):
    (tree / "_build").mkdir()
    with FileLock(tree / "_build/.lock"):
        result = run_build(tree)
    assert result.returncode == 1
    assert result.stderr == "Another build is running in this folder.\n"


# --- What is executed, with chapters that cost nothing --------------------------------------------

WORKER = """
import sys
from pathlib import Path
from tools import sealed

{before}
sealed.write(Path(sys.argv[1]), {{"metadata": {{"papermill": {{"duration": 90}}}}, "cells": []}}, sys.argv[2])
"""


@pytest.fixture
def executed(tree, monkeypatch):
    """`executed(before)` executes a chapter that runs the Python code `before`."""

    def start(chapter, settings):
        arguments = [build.notebook_of(chapter), build.chapter_key(chapter, settings)]
        return subprocess.Popen([sys.executable, "worker.py", *arguments], env=os.environ | {"PYTHONPATH": "."})

    def execute(before):
        (tree / "worker.py").write_text(WORKER.format(before=before))
        monkeypatch.setattr(build, "start", start)
        build.execute([CHAPTER], SETTINGS, 1)

    return execute


def test_an_executed_chapter_is_told_with_its_time(executed, capsys):
    executed("")
    assert build.is_current(CHAPTER, SETTINGS)
    assert capsys.readouterr().out.splitlines() == [f"executing {CHAPTER}", f"executed  {CHAPTER} in 90 s"]


def test_how_long_is_told_from_the_last_time_and_the_chapters_at_once(executed):
    assert build.outlook([CHAPTER] * 6, SETTINGS, jobs=2) == "; about 1 min"  # 6 of the usual 20 s
    executed("")
    assert build.outlook([CHAPTER] * 6, SETTINGS, jobs=2) == "; about 4 min"  # 6 of 90 s, to the nearest even minute
    assert build.outlook([], SETTINGS, jobs=2) == ""
    assert build.outlook([CHAPTER], replace(SETTINGS, profile="paper"), jobs=2) == ""  # `prepare` tells it


@pytest.mark.faults
@pytest.mark.parametrize("what", ["chapters/one.py", "lib/lbfgs.py", "paper/table1.csv"])
def test_a_chapter_that_is_edited_while_it_is_executed_is_executed_again(executed, capsys, what):
    """JupyterLab saves it, say. Edited back afterwards, the old outputs must not pass for those of the old text."""
    executed(f"p = Path({what!r})\nif p.read_text()[-3:] != '# x': p.write_text(p.read_text() + '# x')")
    assert build.is_current(CHAPTER, SETTINGS)
    assert capsys.readouterr().out.count("executing") == 2


@pytest.mark.faults
def test_a_chapter_that_is_killed_is_named_with_the_signal(executed):
    with pytest.raises(SystemExit, match=rf"{CHAPTER} \(killed by signal 9\) failed"):
        executed("import os; os.kill(os.getpid(), 9)")


# --- What else may happen to a book ---------------------------------------------------------------


@pytest.fixture
def inside(project, monkeypatch) -> Path:
    """The current folder: the built specimen, in the environment that it was built in."""
    monkeypatch.chdir(project)
    for name in os.environ.keys() - surroundings().keys():
        monkeypatch.delenv(name)
    for name, value in surroundings().items():
        monkeypatch.setenv(name, value)
    return project


def spoil(path: Path) -> None:
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [spoil, Path.unlink, to_folder, lambda path: path.write_bytes(path.read_bytes()[:-9])]


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["intro.html", "chapters/first.html", "_static/book.css", ".key"])
def test_a_page_that_is_not_what_was_rendered_is_noticed(inside, damage, name):
    key = build.rendered_key()
    assert key == build.render_key(build.find_chapters())
    damage(inside / "_build/html" / name)
    assert build.rendered_key() is None


@pytest.mark.faults
def test_a_page_that_somebody_added_is_noticed(inside):
    (inside / "_build/html/stray.html").write_text("")
    assert build.rendered_key() is None


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_notebook_that_is_not_what_was_executed_is_noticed(inside, damage):
    chapter, settings = Path("chapters/first.py"), build.look_around(ASKED)
    assert build.is_current(chapter, settings)
    damage(build.notebook_of(chapter))
    assert not build.is_current(chapter, settings)


@pytest.mark.faults
@pytest.mark.parametrize("how", ["cache", "DATA_DIR", "OMP_PLACES", "PYTHONHASHSEED", "torch"])
def test_up_to_date_is_not_said_when_another_input_would_be_used(inside, monkeypatch, how):
    """Data that arrive anywhere in the look-up, variables by which libraries compute otherwise, other versions."""
    chapter = Path("chapters/first.py")
    assert build.is_current(chapter, build.look_around(ASKED))
    if how in ("cache", "DATA_DIR"):
        faults.pretend_that_made_files_are_mnist(monkeypatch)
        put(inside / "data/intriguing-properties")
        monkeypatch.setenv(
            *{
                "cache": ("XDG_CACHE_HOME", str(inside / "data")),
                "DATA_DIR": ("DATA_DIR", "data/intriguing-properties"),
            }[how]
        )
        assert build.look_around(ASKED).data == "mnist"
    elif how == "torch":
        monkeypatch.setattr(build.inputs.metadata, "version", lambda name: "9.9.9")
    else:
        monkeypatch.setenv(how, "1")
    assert not build.is_current(chapter, build.look_around(ASKED))


@pytest.mark.faults
@pytest.mark.parametrize("where", [".", "{project}"])
def test_jupyter_book_by_hand_is_refused_with_the_right_command(project, where):
    """It would pass over the chapters and write a book without them over the good one."""
    key = (project / "_build/html/.key").read_text()
    command = [Path(sys.executable).with_name("jupyter-book"), "build", where.format(project=project)]
    result = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8")
    assert result.returncode != 0
    assert "run `make book`" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert (project / "_build/html/.key").read_text() == key
    assert run_build(project).stdout.startswith("The book is up to date")


@pytest.mark.faults
@pytest.mark.parametrize("page", ["chapters/second.py", "intro.md"])
def test_a_full_disk_is_named_and_leaves_the_last_good_book(project, page):
    notebook, html = project / "_build/stage/chapters/second.ipynb", project / "_build/html/intro.html"
    before = notebook.read_bytes(), html.read_bytes()
    append(project / page, "\n# %% [markdown]\n# More.\n")
    result = run_build(project, preexec_fn=faults.fill_disk)
    assert result.returncode == 1
    assert "File too large" in result.stdout + result.stderr
    assert "The last good book is still at file://" in result.stderr
    assert (notebook.read_bytes(), html.read_bytes()) == before


@pytest.mark.faults
@faults.needs_permissions
def test_a_folder_that_cannot_be_written_is_named_in_one_line(project):
    append(project / "intro.md", "\nA new sentence.\n")
    (project / "_build/.lock").chmod(0o400)
    (project / "_build").chmod(0o500)
    try:
        result = run_build(project, preexec_fn=faults.heed_permissions)
    finally:
        (project / "_build").chmod(0o700)
    assert result.returncode == 1
    assert re.match(r"The book was not built: \[Errno 13\] Permission denied: '\S*_build", result.stderr)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.faults
def test_neither_the_locale_nor_a_missing_home_matter(project):
    """Python's own ways around an ASCII locale are closed."""
    environment = surroundings(LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    del environment["HOME"]
    result = run_build(project.rename(project.with_name("Où, déjà?")), env=environment)
    assert result.stdout.startswith("The book is up to date: file:///"), result.stderr


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


@pytest.mark.faults
@pytest.mark.parametrize("name", ["data", "/tmp/da$ta", '/tmp/da"ta', "/tmp/da ta", "~/data"])
@pytest.mark.parametrize("in_environment", [False, True])
def test_make_hands_on_where_the_data_are_whatever_they_are_called(name, in_environment, tmp_path):
    """With no Python to ask: what a shell could not read was dropped, and the digits were taken."""
    (tmp_path / "Makefile").write_text(f'include {REPOSITORY}/Makefile\nsaid:\n\t@echo ["$$DATA_DIR"]\n')
    given = [] if in_environment else [f"DATA_DIR={name}"]
    command = ["make", "said", "PYTHON=no-such-python", *given]
    environment = surroundings(**({"DATA_DIR": name} if in_environment else {}))
    said = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).strip()
    assert said == f"[{f'{tmp_path}/data' if name == 'data' else name}]"


@pytest.mark.faults
def test_clean_goes_through_a_link_and_leaves_the_store_and_a_running_builds_lock(tmp_path):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    kept = {tmp_path / "elsewhere" / name for name in ("store", ".lock")}
    for path in (*kept, tmp_path / "elsewhere" / "html"):
        path.mkdir(parents=True)
    (tmp_path / "_build").symlink_to("elsewhere")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, env=surroundings())
    assert {*(tmp_path / "elsewhere").iterdir()} == kept


@pytest.mark.faults
def test_a_startup_file_of_pythons_changes_no_chapter(project):
    startup = project / "startup.py"
    startup.write_text("min = max\n")
    before = glued(project)
    append(project / "chapters/first.py", "\n# changed\n")
    result = run_build(project, env=surroundings(PYTHONSTARTUP=str(startup)))
    assert result.returncode == 0, result.stderr
    assert len(before) == 2
    assert glued(project) == before


def glued(project: Path) -> list[str]:
    """What the first chapter pastes into others, as it was executed."""
    outputs = (output for cell in staged(project, "first")["cells"] for output in cell.get("outputs", []))
    return [json.dumps(output["data"]) for output in outputs if "scrapbook" in output.get("metadata", {})]


@pytest.mark.faults
@pytest.mark.parametrize("aside", [True, False])
def test_a_link_where_pages_are_put_is_replaced_and_stops_no_later_build(tmp_path, aside):
    new, old, elsewhere = (tmp_path / name for name in ("new", "html", "elsewhere"))
    for folder in (new, elsewhere):
        folder.mkdir()
    (new / "page").write_text("new")
    (tmp_path / "html.old" if aside else old).symlink_to(elsewhere)
    build.replace_folder(new, old)
    assert (old / "page").read_text() == "new"
    assert not (tmp_path / "html.old").is_symlink()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.faults
@pytest.mark.parametrize("name", "profile data_dir Seed Jobs PROFIL DATADIR SEEDS_ CUDA".split())
def test_a_misspelt_variable_is_refused_with_those_there_are(name):
    """To make every name is a variable, and the quick book would be built without a word."""
    command = ["make", "--dry-run", "book", f"{name}=paper"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8")
    assert result.returncode != 0
    assert f"There is no variable {name}; there are PYTHON PROFILE" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_variable_of_the_environment_counts():
    environment = os.environ | {"PROFILE": "paper", "SEED": "3"}
    command = ["make", "--dry-run", "book", "SEED=4"]
    text = subprocess.check_output(command, cwd=REPOSITORY, env=environment, encoding="utf-8")
    assert '--profile "paper"' in text
    assert '--seed "4"' in text


def two_of_the_four(folder: Path) -> None:
    put(folder, dict.fromkeys(NAMES[:2], b"anything"))


WRONG = {
    "--profile=fast": "--profile: invalid choice: 'fast'",
    "--profile=": "--profile: invalid choice: ''",
    "--data=cifar": "--data: invalid choice: 'cifar'",
    "--device=tpu": "--device: invalid choice: 'tpu'",
    "--device=cuda": "DEVICE=cuda was asked for and there is no CUDA device",
    "--seed=many": "--seed: must be a whole number, 0 or more, not 'many'",
    "--seed=-1": "--seed: must be a whole number, 0 or more, not '-1'",
    "--seed=1.5": "--seed: must be a whole number, 0 or more, not '1.5'",
    "--jobs=0": "--jobs: must be 1 or more, not 0",
    "--scheduler=dask": "--scheduler: must be local:N, tcp://host:port or empty, not 'dask'",
    "--jobs=-2": "--jobs: must be a whole number",
    "--profile=paper --data=digits": "PROFILE=paper needs MNIST",
    "--speed=9": "unrecognized arguments: --speed=9",
    "DATA_DIR=nowhere": "DATA_DIR is not a folder",
    "DATA_DIR=some": f"has some files of MNIST but lacks {NAMES[2]}",
}


@pytest.mark.faults
@pytest.mark.parametrize(("words", "message"), WRONG.items())
def test_what_cannot_work_is_refused_at_the_start_in_one_line(tree, words, message):
    two_of_the_four(tree / "some")
    options = [word for word in words.split() if word.startswith("--")]
    variables = dict(word.split("=") for word in words.split() if word not in options)
    result = run_build(tree, *options, env=surroundings(CUDA_VISIBLE_DEVICES="", **variables))
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.faults
def test_missing_data_are_named_at_the_start_and_nothing_is_executed(tree):
    result = run_build(tree, "--data=mnist")
    assert result.returncode == 1
    assert result.stderr.startswith("The book was not built: MNIST was not found: DATA_DIR is not set; the cache")
    assert result.stdout == ""
