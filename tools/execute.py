"""Executes one chapter with papermill: a py:percent script becomes a notebook with outputs. Called by build.py.

    python -m tools.execute CHAPTER.py NOTEBOOK.ipynb FAILED.ipynb '{"key": ..., "parameters": {...}}'

NOTEBOOK.ipynb appears only when every cell has run; else FAILED.ipynb holds what there is and the exit status is 1.
"""

import json
import os
import sys
from pathlib import Path

os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = (
    "1"  # or the debugger, which nobody uses here, warns about frozen modules
)

import jupytext
import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import strip_color

import tools
from tools import sealed

TRACEBACK_LINES = 15
SOURCE_LINES = 6
START_ATTEMPTS, START_SECONDS = 3, 600  # a kernel on a busy machine takes its time
# Of the kernel, which glues by way of nbformat; what goes wrong in a cell the notebook tells, and its end is no error.
WITHOUT_GRAMMAR = f"import sys; sys.modules[{tools.GRAMMAR!r}] = None"
QUIETLY = "__import__('logging').getLogger('tornado.general').setLevel('CRITICAL')"  # a message that meets the end
KERNEL_ARGUMENTS = [f"--IPKernelApp.exec_lines={WITHOUT_GRAMMAR}; {QUIETLY}", "--IPKernelApp.log_level=CRITICAL"]


def run(chapter: Path, partial: Path, parameters: dict) -> NotebookNode:
    """papermill saves after each cell, so that a failure leaves what there is."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(jupytext.read(chapter), partial)
    options = {"kernel_name": "python3", "language": "python", "progress_bar": False, "start_timeout": START_SECONDS}
    options["extra_arguments"] = KERNEL_ARGUMENTS
    for attempts_left in reversed(range(START_ATTEMPTS)):
        try:
            return papermill.execute_notebook(str(partial), str(partial), parameters, **options)
        except RuntimeError as error:
            # Two kernels that start at the same moment can choose the same port; one of them then dies.
            if "Kernel died before replying" not in str(error) or not attempts_left:
                raise


def fold_parameters(notebook: NotebookNode) -> None:
    """Readers see, folded, the values that this build used, and not the defaults that they replaced."""
    shown_as = {"parameters": "remove-cell", "injected-parameters": "hide-input"}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata["tags"] = tags + [shown_as[tag] for tag in tags if tag in shown_as]


def save(notebook: NotebookNode, target: Path, chapter: Path, key: str) -> None:
    """With where it comes from; papermill has put down when, how long and with which parameters."""
    notebook.metadata.papermill.update(input_path=chapter.as_posix(), output_path=None)
    sealed.write(target, json.loads(nbformat.writes(notebook)), key)


def last_cell(partial: Path) -> NotebookNode | None:
    """The cell at which execution ended."""
    try:
        cells = [cell for cell in nbformat.read(partial, as_version=4).cells if cell.cell_type == "code"]
    except (OSError, ValueError):  # it is not there, or was cut off as on a full disk
        return None
    # Not papermill's status: after a kernel's death it calls every cell completed.
    begun = [cell for cell in cells if cell.metadata.get("papermill", {}).get("start_time")]
    return begun[-1] if begun else None


def location(chapter: Path, cell: NotebookNode) -> str:
    before, found, _ = chapter.read_text(encoding="utf-8").partition(cell.source)
    line = f", {chapter}:{before.count(chr(10)) + 1}" if found else ""
    return f"in cell In [{cell.execution_count or '?'}]{line}"


def explain(error: Exception, cell: NotebookNode | None) -> list[str]:
    """The last lines of what went wrong, from the cell's own error if it has one."""
    errors = [output for output in (cell.outputs if cell else []) if output.output_type == "error"]
    if not errors:
        return [f"{type(error).__name__}: {error}"]
    lines = strip_color("\n".join(errors[-1].traceback)).splitlines()
    return lines[-TRACEBACK_LINES:]


def failure(chapter: Path, error: Exception, partial: Path, failed: Path) -> str:
    """Chapter, cell, error, and where the partial notebook lies."""
    cell = last_cell(partial)
    where = location(chapter, cell) if cell else "before its first cell"
    source = cell.source.splitlines()[:SOURCE_LINES] if cell else []
    report = [f"\n{chapter} failed {where}", *(f"    {line}" for line in source), "", *explain(error, cell)]
    if partial.exists():
        failed.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(failed)
        report += ["", f"The partial notebook is {failed}"]
    return "\n".join(report)


def main() -> None:
    chapter, target, failed = map(Path, sys.argv[1:4])
    job = json.loads(sys.argv[4])
    partial = Path("_build/partial", f"{chapter.stem}.{os.getpid()}.ipynb")
    try:
        notebook = run(chapter, partial, job["parameters"])
        fold_parameters(notebook)
        save(notebook, target, chapter, job["key"])
    except Exception as error:
        raise SystemExit(failure(chapter, error, partial, failed)) from None
    partial.unlink()
    failed.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
