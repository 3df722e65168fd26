"""Writes the chapters as notebooks for Colab: `python -m tools.notebooks FOLDER`, in the repository root.

Colab opens notebooks, and only from a repository; on `main` there are scripts. So the workflow that publishes the book
puts these on the branch `notebooks`, where the buttons of the pages lead.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
import yaml

from lib.store import code
from tools.build import find_chapters

# What Colab has, in versions of its own: to replace what its kernel has loaded would take a restart.
THERE = {"IPython", "PIL", "matplotlib", "numpy", "pandas", "requests", "scipy", "sklearn", "torch"}
PACKAGES = {"myst_nb": "jupyter-book"}  # of a module, where the names differ
PREPARATION = """\
# For Colab: the book's code, and what it needs that is not there. PyTorch, NumPy and the like are Colab's own, and not
# the versions that the book was recorded with.
!git clone --quiet --depth 1 {repository} book
%cd book
%pip install --quiet {packages}"""


def needed(chapter: Path) -> set[str]:
    """The packages that a chapter and what it imports of this project need, and Colab lacks."""
    modules = set(code.packages([chapter], Path())) - THERE
    return {PACKAGES.get(module, module) for module in modules}


def pinned(packages: set[str]) -> list[str]:
    """These packages as requirements.txt has them. Raises KeyError for one that it has not."""
    text = Path("requirements.txt").read_text(encoding="utf-8")
    pins = {pin.partition("==")[0]: pin for pin in re.findall(r"^\S+==\S+", text, flags=re.MULTILINE)}
    return [pins[package] for package in sorted(packages)]


def notebook(chapter: Path) -> nbformat.NotebookNode:
    """A chapter that has not been executed, behind a cell that prepares Colab."""
    repository = yaml.safe_load(Path("_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    found = jupytext.read(chapter)
    first = PREPARATION.format(repository=repository, packages=" ".join(pinned(needed(chapter))))
    found.cells.insert(0, nbformat.v4.new_code_cell(first))
    found.metadata["accelerator"] = "GPU"
    return found


def main() -> None:
    for chapter in find_chapters():
        target = Path(sys.argv[1], chapter).with_suffix(".ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook(chapter), target)


if __name__ == "__main__":
    main()
