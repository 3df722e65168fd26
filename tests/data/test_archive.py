"""What was packed comes out as it went in, from either kind of archive; what is damaged is named, with a way out."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from lib.data.archive import Archive
from lib.data.downloads import DataError

MEMBERS = {"folder/one.JPEG": bytes(range(256)) * 3, "two.txt": b"words", "empty": b""}


def packed_as_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.mkdir("folder")
        for name, contents in MEMBERS.items():
            file.writestr(name, contents)
    return path


def packed_as_tar(path: Path) -> Path:
    with tarfile.open(path, "w") as file:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, contents in MEMBERS.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(contents)
            file.addfile(entry, io.BytesIO(contents))
    return path


@pytest.fixture(params=[packed_as_zip, packed_as_tar], ids=["zip", "tar"])
def path(request, tmp_path) -> Path:
    """Its name tells nothing of its kind."""
    return request.param(tmp_path / "pictures")


def test_members_come_out_as_they_went_in_and_folders_are_none(path):
    archive = Archive(path)
    assert sorted(archive.names) == sorted(MEMBERS)
    assert {name: archive.read(name) for name in archive.names} == MEMBERS


def test_identity_is_the_checksum_of_the_file(path):
    assert Archive(path).identity == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.faults
def test_a_member_that_is_not_there_is_named(path):
    with pytest.raises(DataError, match=r"pictures: three\.txt cannot be read.*download the archive again"):
        Archive(path).read("three.txt")


@pytest.mark.faults
@pytest.mark.parametrize("contents", [b"", b"<html>log in</html>" * 100])
def test_what_is_no_archive_is_named(tmp_path, contents):
    path = tmp_path / "pictures"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=r"pictures cannot be read.*download the archive again"):
        Archive(path)


@pytest.mark.faults
def test_no_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent cannot be read \(FileNotFoundError"):
        Archive(tmp_path / "absent")


@pytest.mark.faults
def test_a_file_that_was_cut_off_after_it_was_opened_is_named(tmp_path):
    path = packed_as_tar(tmp_path / "pictures")
    archive = Archive(path)
    path.write_bytes(path.read_bytes()[:1100])  # two heads of 512 bytes, and the beginning of the first member
    with pytest.raises(DataError, match=r"one\.JPEG cannot be read \(EOFError: the file ends too soon"):
        archive.read("folder/one.JPEG")


@pytest.mark.faults
def test_a_flipped_bit_in_a_zip_is_noticed(tmp_path):
    path = packed_as_zip(tmp_path / "pictures")
    contents = bytearray(path.read_bytes())
    contents[contents.index(MEMBERS["folder/one.JPEG"]) + 100] ^= 1
    path.write_bytes(contents)
    archive = Archive(path)
    with pytest.raises(DataError, match=r"one\.JPEG cannot be read .*CRC"):
        archive.read("folder/one.JPEG")
    assert archive.read("two.txt") == MEMBERS["two.txt"]
