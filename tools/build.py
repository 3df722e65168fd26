"""Executes the chapters whose inputs changed, then renders the book: `python -m tools.build`, in the repository root.

Everything happens under `_build/`:

    stage/    what Sphinx reads: pages, configuration and executed notebooks, each with the key it was executed under
    html/     the book; replaced only by a complete new one
    failed/   the partial notebook of each chapter that failed
    partial/  notebooks being executed
    home/     the settings of IPython and matplotlib in which chapters run, in place of the user's own
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from lib.data.downloads import DataError
from lib.experiments import settings
from lib.experiments.settings import Settings
from lib.store import code
from lib.store.files import checksum
from tools import inputs, machine, owned, sealed

BUILD = Path("_build")
STAGE, HTML, FAILED, PARTIAL, HOME = (BUILD / name for name in ("stage", "html", "failed", "partial", "home"))
EXECUTE, PREPARE, FETCH = (Path("tools", name) for name in ("execute.py", "prepare.py", "fetch.py"))
STAGED_FOLDERS = ("_static", "_vendor", "_extra", "_ext")
SUMMARIES = ("verdict",)  # chapters that read what the others write into results/
USUAL_SECONDS = 20  # that a chapter of profile quick takes, until it has been executed once


@dataclass(frozen=True)
class Build(Settings):
    """What a build was asked for, every "auto" resolved; what else it rests on; and in words, which data and why."""

    surroundings: str
    data_words: str = ""


# --- Which chapters there are, and what each depends on -------------------------------------------


def pages(toc: object) -> Iterator[str]:
    """Every `root:` and `file:` of the table of contents, in reading order."""
    if isinstance(toc, dict):
        for name, value in toc.items():
            yield from [value] if name in ("root", "file") else pages(value)
    elif isinstance(toc, list):
        for entry in toc:
            yield from pages(entry)


def listed_pages() -> list[str]:
    try:
        return list(pages(yaml.safe_load(Path("_toc.yml").read_text(encoding="utf-8"))))
    except yaml.YAMLError as error:
        raise SystemExit(f"_toc.yml is no YAML, put it right or `git checkout` it: {error}") from None


def find_chapters() -> list[Path]:
    chapters = [Path(page).with_suffix(".py") for page in listed_pages() if page.startswith("chapters/")]
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


def digest(files: Iterable[Path], settings: object = None, root: Path = Path()) -> str:
    content = {path.relative_to(root).as_posix(): checksum(path.read_bytes()) for path in files}
    return checksum(json.dumps([settings, content], sort_keys=True).encode())


def chapter_key(chapter: Path, settings: Build) -> str:
    """Changes when the chapter, its modules, its settings or what these find outside the repository do."""
    published = [*files_under("paper"), *Path("benchmarks").glob("*.json")]
    files = {*sources(EXECUTE), *sources(chapter), *published}
    # Profile paper writes results/: what a chapter reads there it has just written itself, but for the summaries.
    if settings.profile != "paper" or chapter.stem in SUMMARIES:
        files.update(files_under("results"))
    files.update(Path("results").glob("spread_*.csv"))  # which no chapter writes
    return digest(files, [settings.parameters, settings.surroundings])


# --- Executing ------------------------------------------------------------------------------------


def prepare(settings: Build, scheduler: str) -> None:
    """Fills the store on all cores or on a cluster; chapters then find there what takes long."""
    options = [f"--{name}={value}" for name, value in settings.parameters.items()]
    if run(PREPARE, *options, f"--scheduler={scheduler}").returncode:
        raise SystemExit("The book was not built: see above. What was finished is kept.")


def run(*command: object, **options) -> subprocess.CompletedProcess:
    """A script of this build, to its end. In a session of its own: Ctrl-C reaches only this process, which stops it."""
    with subprocess.Popen(owned.command(*command), start_new_session=True, encoding="utf-8", **options) as process:
        try:
            output, _ = process.communicate()
        finally:
            stop([process])
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def stop(processes: Iterable[subprocess.Popen]) -> None:
    """Those that still run, and nothing interrupts it."""
    with machine.undisturbed():
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def notebook_of(chapter: Path) -> Path:
    return STAGE / chapter.with_suffix(".ipynb")


def stored_key(chapter: Path) -> str | None:
    """The key that a staged notebook was executed under; the notebook itself holds it, so they cannot disagree."""
    found = sealed.read(notebook_of(chapter))
    return found and found[1]


def usual_seconds(chapter: Path) -> float:
    """How long it took the last time."""
    found = sealed.read(notebook_of(chapter))
    return found[0]["metadata"]["papermill"]["duration"] if found else USUAL_SECONDS


def outlook(chapters: Iterable[Path], settings: Build, jobs: int) -> str:
    """How long they will take, in words. At the paper's scale `prepare` tells it."""
    seconds = sum(map(usual_seconds, chapters)) / jobs
    return f"; about {max(1, round(seconds / 60))} min" if seconds and settings.profile == "quick" else ""


def environment() -> dict[str, str]:
    """No startup file or matplotlibrc of the user's changes what a chapter shows, and no locale how files are read."""
    home = HOME.resolve()
    return machine.environment() | {
        "IPYTHONDIR": f"{home}/ipython",
        "MATPLOTLIBRC": os.devnull,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "PYTHONSTARTUP": "",
        "PYTHONUTF8": "1",
    }


def start(chapter: Path, settings: Build) -> subprocess.Popen:
    job = {"key": chapter_key(chapter, settings), "parameters": settings.parameters}
    command = owned.command(EXECUTE, chapter, notebook_of(chapter), FAILED / f"{chapter.stem}.ipynb", json.dumps(job))
    return subprocess.Popen(command, env=environment(), start_new_session=True)


def find_fonts() -> None:
    """Beforehand, or the first chapter says that it does so."""
    if not HOME.exists():
        subprocess.run(
            [sys.executable, "-c", "import matplotlib.font_manager"], env=environment(), stderr=subprocess.DEVNULL
        )


def is_current(chapter: Path, settings: Build) -> bool:
    return stored_key(chapter) == chapter_key(chapter, settings)


def execute(chapters: Sequence[Path], settings: Build, jobs: int) -> None:
    """Executes chapters, `jobs` at once. After a failure those that run may finish, and none is started."""
    waiting, running, failed = list(chapters), {}, []
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < jobs:
                chapter = waiting.pop(0)
                print(f"executing {chapter}", flush=True)
                running[chapter] = start(chapter, settings)
            for chapter in [chapter for chapter, process in running.items() if process.poll() is not None]:
                if status := running.pop(chapter).returncode:
                    failed.append(f"{chapter} (killed by signal {-status})" if status < 0 else str(chapter))
                elif not is_current(chapter, settings):  # edited meanwhile; edited back it would pass for executed
                    notebook_of(chapter).unlink(missing_ok=True)
                    waiting.append(chapter)
                else:
                    rest = outlook((*running, *waiting), settings, jobs)
                    print(f"executed  {chapter} in {usual_seconds(chapter):.0f} s{rest and rest + ' left'}", flush=True)
            time.sleep(0.05)
    finally:
        stop(running.values())
    if failed:
        raise SystemExit(f"The book was not built: {', '.join(failed)} failed.{last_good_page()}")


# --- Rendering ------------------------------------------------------------------------------------


def page_sources() -> list[Path]:
    texts = [Path(f"{page}.md") for page in listed_pages()]
    return [
        Path("_config.yml"),
        Path("_toc.yml"),
        *filter(Path.exists, texts),
        *Path().glob("*.bib"),
        Path("CITATION.cff"),
    ]


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
    return digest([*page_sources(), *shown, *directives, *chapters, *notebooks], inputs.versions())


def rendered_key() -> str | None:
    """The key that the pages were rendered under; None if they are not what was rendered."""
    try:
        key, contents = json.loads((HTML / ".key").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return None
    return key if contents == contents_of(HTML) else None


def contents_of(html: Path) -> str:
    return digest(files_under(str(html)), root=html)


def render(key: str) -> None:
    """Renders to one side; the page is swapped when it is complete and without a warning."""
    print("rendering", flush=True)
    target = BUILD / "render"
    shutil.rmtree(target, ignore_errors=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", STAGE, "--path-output", target]
    # --all: a page would keep what another page's glue held before.
    options = ["-W", "-n", "--keep-going", "--all", "-q"]
    sphinx = run(*command, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())
    if sphinx.returncode:
        raise SystemExit(f"{sphinx.stdout}\nThe book was not rendered: see the warnings above.{last_good_page()}")
    html = target / "_build/html"
    (html / ".key").write_text(json.dumps([key, contents_of(html)]), encoding="utf-8")
    replace_folder(html, HTML)
    shutil.rmtree(target)


def replace_folder(new: Path, old: Path) -> None:
    aside = old.with_name(f"{old.name}.old")
    remove(aside)
    if old.is_symlink() or old.exists():
        old.rename(aside)
    new.rename(old)
    remove(aside)


def remove(path: Path) -> None:
    """A folder, or whatever a person has put in its place; of a link, the link."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def address() -> str:
    """What a browser opens."""
    return (HTML / "index.html").resolve().as_uri()


def last_good_page() -> str:
    return f" The last good book is still at {address()}" if (HTML / "index.html").exists() else ""


# --- The command ----------------------------------------------------------------------------------


def build(settings: Build, jobs: int, scheduler: str) -> None:
    chapters = find_chapters()
    summaries = [chapter for chapter in chapters if chapter.stem in SUMMARIES]
    if stale := [chapter for chapter in chapters if not is_current(chapter, settings)]:
        words = f"{len(stale)} of {len(chapters)} chapters to execute, on {settings.data_words}"
        print(f"{words}{outlook(stale, settings, jobs)}", flush=True)
        find_fonts()
    for group in ([chapter for chapter in chapters if chapter not in summaries], summaries):
        stale = [chapter for chapter in group if not is_current(chapter, settings)]
        if stale and (settings.profile == "paper" or scheduler) and group is not summaries:
            prepare(settings, scheduler)
        execute(stale, settings, jobs)
    key = render_key(chapters)
    if rendered_key() == key:
        print(f"The book is up to date: {address()}")
    else:
        stage(chapters)
        render(key)
        print(f"The book is built: {address()}")


def look_around(asked: Settings) -> Build:
    """What a build that is asked for will rest on. At the paper's scale what is missing is downloaded first."""
    found = inputs.resolve(asked)
    if asked.profile == "paper":
        run(FETCH, stdout=subprocess.DEVNULL)  # without networks and pictures chapters say so, and show the rest
    around = checksum(json.dumps(inputs.surroundings(found.settings)).encode())
    return Build(**found.settings.parameters, surroundings=around, data_words=found.words)


def settle_data_dir() -> None:
    """DATA_DIR made absolute, since kernels may run elsewhere."""
    if os.environ.get("DATA_DIR"):
        try:
            path = Path(os.environ["DATA_DIR"]).expanduser().resolve()
        except RuntimeError as error:  # nobody of that name, or a link to itself
            raise SystemExit(f"DATA_DIR is not a folder: {os.environ['DATA_DIR']} ({error})") from None
        if not path.is_dir():
            raise SystemExit(f"DATA_DIR is not a folder: {path}")
        os.environ["DATA_DIR"] = str(path)


def parse_arguments() -> argparse.Namespace:
    parser = settings.Parser(description=__doc__.splitlines()[0])
    settings.add_arguments(parser, "quick")
    settings.add_scheduler(parser)
    settings.add_jobs(parser, min(4, machine.available_cores()), "chapters at once")
    return parser.parse_args()


def main() -> None:
    arguments = vars(parse_arguments())
    jobs, scheduler = (arguments.pop(name) for name in ("jobs", "scheduler"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a folder's name that the locale lacks letters for
    machine.heed_signals()
    try:
        settle_data_dir()
        BUILD.mkdir(exist_ok=True)
        with FileLock(BUILD / ".lock", timeout=0):
            shutil.rmtree(PARTIAL, ignore_errors=True)
            build(look_around(Settings(**arguments)), jobs, scheduler)
    except Timeout:
        raise SystemExit("Another build is running in this folder.") from None
    except (DataError, ValueError) as error:
        raise SystemExit(f"The book was not built: {error}") from None
    except OSError as error:  # a disk that is full, a folder that cannot be written
        raise SystemExit(f"The book was not built: {error}.{last_good_page()}") from None
    except KeyboardInterrupt:
        raise SystemExit(
            "\nInterrupted. Chapters already executed are kept; the next build goes on from there."
        ) from None


if __name__ == "__main__":
    main()
