"""Executes the chapters whose inputs changed, then renders the book: `python -m tools.build`, in the repository root.

Everything happens under `_build/`:

    stage/    what Sphinx reads: pages, configuration and executed notebooks, each with the key it was executed under
    html/     the book; replaced only by a complete new one
    failed/   the partial notebook of each chapter that failed
    partial/  notebooks being executed
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from lib.experiments import settings
from lib.experiments.settings import Settings
from lib.store import code
from lib.store.files import checksum
from tools import machine

BUILD = Path("_build")
STAGE, HTML, FAILED, PARTIAL = (BUILD / name for name in ("stage", "html", "failed", "partial"))
EXECUTE = Path("tools/execute.py")
STAGED_FOLDERS = ("_static", "_vendor", "_extra", "_ext")
SUMMARIES = ("verdict",)  # chapters that read what the others write into results/
DATA_FOLDERS = ("mnist", "weights", "imagenet-sample", "tiny-imagenet")


@dataclass(frozen=True)
class Build(Settings):
    """What a build was asked for, and where data is looked for first."""

    data_dir: str


# --- Which chapters there are, and what each depends on -------------------------------------------


def pages(toc: object) -> Iterator[str]:
    """Every `root:` and `file:` of the table of contents, in reading order."""
    if isinstance(toc, dict):
        for name, value in toc.items():
            yield from [value] if name in ("root", "file") else pages(value)
    elif isinstance(toc, list):
        for entry in toc:
            yield from pages(entry)


def find_chapters() -> list[Path]:
    toc = yaml.safe_load(Path("_toc.yml").read_text(encoding="utf-8"))
    chapters = [Path(page).with_suffix(".py") for page in pages(toc) if page.startswith("chapters/")]
    if missing := [str(chapter) for chapter in chapters if not chapter.exists()]:
        raise SystemExit(f"_toc.yml lists chapters that do not exist: {', '.join(missing)}")
    return chapters


def sources(chapter: Path) -> set[Path]:
    """The chapter and the modules of this project that it imports, directly or through others."""
    here = Path().resolve()
    return {path.relative_to(here) for path in code.closure([chapter], here)}


def files_under(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in Path(folder).rglob("*") if path.is_file())
    return [path for path in found if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)]


def digest(files: Iterable[Path], settings: object = None) -> str:
    content = {path.as_posix(): checksum(path.read_bytes()) for path in files}
    return checksum(json.dumps([settings, content], sort_keys=True).encode())


def data_files(data_dir: str) -> list[tuple[str, int, int]]:
    """Name, size and time of what lies in DATA_DIR, so that data which arrives or changes is noticed."""
    folders = [Path(data_dir), *(Path(data_dir) / name for name in DATA_FOLDERS)] if data_dir else []
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    return sorted((path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in found)


def chapter_key(chapter: Path, settings: Build) -> str:
    """Changes when the chapter, its modules, its settings or its data do."""
    published = [*files_under("paper"), *Path("benchmarks").glob("*.json")]
    files = {EXECUTE, Path("requirements.txt"), *sources(chapter), *published}
    # Profile paper writes results/: what a chapter reads there it has just written itself, but for the summaries.
    if settings.profile != "paper" or chapter.stem in SUMMARIES:
        files.update(files_under("results"))
    files.update(Path("results").glob("spread_*.csv"))  # which no chapter writes
    return digest(files, [asdict(settings), data_files(settings.data_dir)])


# --- Executing ------------------------------------------------------------------------------------


def prepare(settings: Build, scheduler: str) -> None:
    """Fills the store on all cores or on a cluster; chapters then find there what takes long."""
    options = [f"--{name}={value}" for name, value in settings.parameters.items()]
    command = [sys.executable, "-m", "tools.prepare", *options, f"--scheduler={scheduler}"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        if process.wait():
            raise SystemExit("The book was not built: see above. What was finished is kept.")
    finally:
        process.terminate()
        process.wait()


def notebook_of(chapter: Path) -> Path:
    return STAGE / chapter.with_suffix(".ipynb")


def stored_key(chapter: Path) -> str | None:
    """The key that a staged notebook was executed under; the notebook itself holds it, so they cannot disagree."""
    try:
        return json.loads(notebook_of(chapter).read_text(encoding="utf-8"))["metadata"]["book"]["key"]
    except (OSError, ValueError, KeyError):
        return None


def start(chapter: Path, settings: Build, jobs: int) -> subprocess.Popen:
    command = [sys.executable, EXECUTE, chapter, notebook_of(chapter), FAILED / f"{chapter.stem}.ipynb"]
    job = {"key": chapter_key(chapter, settings), "parameters": settings.parameters}
    # A session of its own: Ctrl-C reaches only this process, which then stops its children.
    return subprocess.Popen([*command, json.dumps(job)], env=machine.environment(jobs), start_new_session=True)


def execute(chapters: list[Path], settings: Build, jobs: int) -> None:
    """Executes chapters, `jobs` at once. After a failure those that run may finish, and none is started."""
    waiting, running, failed = list(chapters), {}, []
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < jobs:
                chapter = waiting.pop(0)
                print(f"executing {chapter}", flush=True)
                running[chapter] = start(chapter, settings, jobs)
            for chapter in [chapter for chapter, process in running.items() if process.poll() is not None]:
                if running.pop(chapter).returncode:
                    failed.append(str(chapter))
            time.sleep(0.05)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    if failed:
        raise SystemExit(f"The book was not built: {', '.join(failed)} failed.{last_good_page()}")


# --- Rendering ------------------------------------------------------------------------------------


def page_sources() -> list[Path]:
    patterns = ("_config.yml", "_toc.yml", "intro.md", "glossary.md", "references.md", "*.bib", "CITATION.cff")
    return [path for pattern in patterns for path in Path().glob(pattern)]


def stage(chapters: list[Path]) -> None:
    """Puts beside the executed notebooks everything else that Sphinx reads, and the sources to download."""
    for path in [*page_sources(), *chapters]:
        (STAGE / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, STAGE / path)
    for folder in STAGED_FOLDERS:
        shutil.rmtree(STAGE / folder, ignore_errors=True)
        shutil.copytree(folder, STAGE / folder, ignore=shutil.ignore_patterns("__pycache__"))


def render_key(chapters: list[Path]) -> str:
    notebooks = [notebook_of(chapter) for chapter in chapters]
    directives = {path for script in Path("_ext").glob("*.py") for path in sources(script)}
    shown = files_under(*STAGED_FOLDERS, "results")  # directives show what is recorded
    return digest([*page_sources(), Path("requirements.txt"), *shown, *directives, *chapters, *notebooks])


def rendered_key() -> str | None:
    key = HTML / ".key"
    return key.read_text(encoding="utf-8") if key.exists() else None


def render(key: str) -> None:
    """Renders to one side; the page is swapped when it is complete and without a warning."""
    print("rendering", flush=True)
    target = BUILD / "render"
    shutil.rmtree(target, ignore_errors=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", STAGE, "--path-output", target]
    # --all: a page would keep what another page's glue held before.
    options = ["-W", "-n", "--keep-going", "--all", "-q"]
    sphinx = subprocess.run([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    if sphinx.returncode:
        raise SystemExit(f"{sphinx.stdout}\nThe book was not rendered: see the warnings above.{last_good_page()}")
    (target / "_build/html/.key").write_text(key, encoding="utf-8")
    replace_folder(target / "_build/html", HTML)
    shutil.rmtree(target)


def replace_folder(new: Path, old: Path) -> None:
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def index() -> Path:
    return (HTML / "index.html").resolve()


def last_good_page() -> str:
    return f" The last good book is still at {index()}" if index().exists() else ""


# --- The command ----------------------------------------------------------------------------------


def build(settings: Build, jobs: int, scheduler: str) -> None:
    chapters = find_chapters()
    summaries = [chapter for chapter in chapters if chapter.stem in SUMMARIES]
    for group in ([chapter for chapter in chapters if chapter not in summaries], summaries):
        stale = [chapter for chapter in group if stored_key(chapter) != chapter_key(chapter, settings)]
        if stale and (settings.profile == "paper" or scheduler) and group is not summaries:
            prepare(settings, scheduler)
        execute(stale, settings, jobs)
    key = render_key(chapters)
    if rendered_key() == key:
        print(f"The book is up to date: {index()}")
    else:
        stage(chapters)
        render(key)
        print(f"The book is built: {index()}")


def data_dir() -> str:
    """DATA_DIR made absolute, since kernels may run elsewhere; exported to the chapters."""
    if not os.environ.get("DATA_DIR"):
        return ""
    path = Path(os.environ["DATA_DIR"]).expanduser().resolve()
    if not path.is_dir():
        raise SystemExit(f"DATA_DIR is not a folder: {path}")
    os.environ["DATA_DIR"] = str(path)
    return str(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    settings.add_arguments(parser, "quick")
    settings.add_scheduler(parser)
    parser.add_argument("--jobs", type=int, default=min(4, machine.available_cores()), help="chapters at once")
    return parser.parse_args()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    arguments = parse_arguments()
    if arguments.jobs < 1:
        raise SystemExit(f"JOBS must be at least 1, not {arguments.jobs}")
    jobs, scheduler = (vars(arguments).pop(name) for name in ("jobs", "scheduler"))
    signal.signal(signal.SIGTERM, interrupt)
    BUILD.mkdir(exist_ok=True)
    try:
        with FileLock(BUILD / ".lock", timeout=0):
            shutil.rmtree(PARTIAL, ignore_errors=True)
            build(Build(**vars(arguments), data_dir=data_dir()), jobs, scheduler)
    except Timeout:
        raise SystemExit("Another build is running in this folder.") from None
    except KeyboardInterrupt:
        raise SystemExit(
            "\nInterrupted. Chapters already executed are kept; the next build goes on from there."
        ) from None


if __name__ == "__main__":
    main()
