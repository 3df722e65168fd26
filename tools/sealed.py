"""Executed notebooks that say under which key they were executed, and that they are what was written."""

import json
from pathlib import Path

from lib.store import files
from lib.store.files import checksum


def write(path: Path, notebook: dict, key: str) -> None:
    """Put a notebook, in JSON's types, under the name, whole or not at all."""
    notebook["metadata"]["book"] = {"key": key, "sha256": _digest(notebook, key)}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> tuple[dict, str] | None:
    """A notebook and its key; None where it is not there or not what was written."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        book = notebook["metadata"].pop("book")
        return (notebook, book["key"]) if book["sha256"] == _digest(notebook, book["key"]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest(notebook: dict, key: str) -> str:
    return checksum(json.dumps([notebook, key], sort_keys=True).encode())
