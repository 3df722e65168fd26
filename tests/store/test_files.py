"""A file has its old contents or its new ones, whatever happens in between, and nothing is left lying about."""

import hashlib
import os

import pytest

from lib.store import files


def test_the_root_is_this_repository():
    assert (files.ROOT / "lib/store/files.py").samefile(files.__file__)


@pytest.mark.parametrize("contents", [b"", b"abc", bytes(range(256)) * 4096])
def test_a_checksum_is_sha256_in_hexadecimal(contents):
    assert files.checksum(contents) == hashlib.sha256(contents).hexdigest()


def test_a_file_is_written_and_written_over(tmp_path):
    path = tmp_path / "name"
    for contents in (b"old", b"", b"new" * 10**5):
        files.replace(path, contents)
        assert path.read_bytes() == contents
    assert os.listdir(tmp_path) == ["name"]


def test_until_it_is_whole_the_old_file_has_the_name(tmp_path, monkeypatch):
    path, seen, rename = tmp_path / "name", [], os.replace
    files.replace(path, b"old")

    def look_and_rename(source, target):
        seen.append((path.read_bytes(), source.read_bytes()))
        rename(source, target)

    monkeypatch.setattr(os, "replace", look_and_rename)
    files.replace(path, b"new")
    assert seen == [(b"old", b"new")]
    assert path.read_bytes() == b"new"


@pytest.mark.faults
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "name"
    files.replace(path, b"old")

    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        files.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.faults
def test_a_folder_of_that_name_is_named_and_kept(tmp_path):
    (tmp_path / "name" / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"name is a folder .*remove or rename it"):
        files.replace(tmp_path / "name", b"new")
    assert os.listdir(tmp_path / "name") == ["inside"]
