"""A notebook that was executed says so itself, and is not taken for one when it is anything else."""

import json

import pytest

from tests.faults import no_file_larger_than
from tools import sealed

NOTEBOOK = {
    "cells": [{"source": ["é = 1\n", "é"], "outputs": [{"text": "1"}]}],
    "metadata": {"papermill": {"duration": 1.5}},
}


@pytest.fixture
def path(tmp_path):
    sealed.write(tmp_path / "new" / "one.ipynb", json.loads(json.dumps(NOTEBOOK)), "the key")
    return tmp_path / "new" / "one.ipynb"


def test_what_was_written_is_read_with_its_key(path):
    assert sealed.read(path) == (NOTEBOOK, "the key")


@pytest.mark.faults
@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", "{}", '{"metadata": {}}', '{"metadata": {"book": 1}}', '{"metadata": {"book": {}}}'],
)
def test_anything_else_is_no_notebook(path, damage):
    path.write_text(damage)
    assert sealed.read(path) is None


@pytest.mark.faults
def test_no_flipped_bit_changes_what_is_read(path):
    whole = path.read_bytes()
    for position in range(len(whole)):
        contents = bytearray(whole)
        contents[position] ^= 1 << position % 8
        path.write_bytes(contents)
        assert sealed.read(path) in (None, (NOTEBOOK, "the key"))


@pytest.mark.faults
def test_a_full_disk_leaves_the_former_notebook(path):
    with no_file_larger_than(10), pytest.raises(OSError, match=r"File too large.*one\.ipynb"):
        sealed.write(path, {"metadata": {}}, "another key")
    assert sealed.read(path) == (NOTEBOOK, "the key")
    assert [entry.name for entry in path.parent.iterdir()] == ["one.ipynb"]
