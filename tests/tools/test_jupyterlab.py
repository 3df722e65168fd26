"""Chapters opened and saved in the real JupyterLab's server stay what they were, byte by byte."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests import faults
from tests.conftest import REPOSITORY, surroundings

OUTPUTS = [{"output_type": "stream", "name": "stdout", "text": "1\n"}]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """What JupyterLab sees of the repository."""
    shutil.copytree(REPOSITORY / "chapters", tmp_path / "chapters", ignore=shutil.ignore_patterns("*.ipynb"))
    shutil.copy2(REPOSITORY / "jupytext.toml", tmp_path)
    return tmp_path


@pytest.fixture
def ask(checkout) -> Callable:
    """`ask(method, path, **options)` asks a JupyterLab, as `make lab` starts it, for JSON."""
    runtime = checkout / "runtime"
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", f"--ServerApp.root_dir={checkout}"]
    private = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_DATA_DIR": "data"}
    command = [Path(sys.executable).with_name("jupyter-lab"), *options]
    with subprocess.Popen(command, cwd=checkout, env=surroundings(**private), stderr=subprocess.DEVNULL) as process:
        try:
            faults.wait_until(lambda: list(runtime.glob("jpserver-*.json")), seconds=600)
            server = json.loads(next(runtime.glob("jpserver-*.json")).read_text())

            def request(method: str, path: str, **options) -> dict:
                headers = {"Authorization": f"token {server['token']}"}
                response = requests.request(method, f"{server['url']}api/{path}", headers=headers, **options)
                response.raise_for_status()
                return response.json()

            yield request
        finally:
            process.kill()


def as_the_browser_leaves_it(notebook: dict, kernel: dict, executed: bool) -> dict:
    """What JupyterLab's page puts into a notebook that nobody edited, when it was opened, and when it was executed."""
    notebook["metadata"]["kernelspec"] = {
        "name": kernel["name"],
        "display_name": kernel["spec"]["display_name"],
        "language": kernel["spec"]["language"],
    }
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.11.7", "file_extension": ".py"}
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"]["trusted"] = True
        cell["metadata"] |= {"editable": True, "slideshow": {"slide_type": ""}, "jp-MarkdownHeadingCollapsed": True}
        if cell["cell_type"] == "code" and executed:
            cell |= {"execution_count": number, "outputs": OUTPUTS}
            cell["metadata"]["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    return notebook


@pytest.mark.faults
def test_a_chapter_that_is_opened_and_saved_stays_the_same_to_the_byte(checkout, ask):
    """Saved as it was opened, and once more after it was executed, when its outputs lie in a notebook beside it."""
    before = {path: path.read_bytes() for path in sorted((checkout / "chapters").glob("*.py"))}
    assert before
    kernels = ask("GET", "kernelspecs")
    kernel = kernels["kernelspecs"][kernels["default"]]
    for path, contents in before.items():
        for executed in (False, True):
            opened = ask("GET", f"contents/chapters/{path.name}", params={"type": "notebook"})
            saved = as_the_browser_leaves_it(opened["content"], kernel, executed)
            ask("PUT", f"contents/chapters/{path.name}", json={"type": "notebook", "format": "json", "content": saved})
            assert path.read_bytes() == contents, path.name
        beside = json.loads(path.with_suffix(".ipynb").read_text())
        assert all(cell["outputs"] for cell in beside["cells"] if cell["cell_type"] == "code")
