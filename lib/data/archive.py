"""An archive of pictures that stays packed: members are read where they lie."""

import hashlib
import tarfile
import zipfile
import zlib
from functools import cached_property
from pathlib import Path

from lib.data.downloads import DataError


class Archive:
    """A zip or an uncompressed tar file as a mapping from names to bytes. Raises DataError for a damaged one."""

    def __init__(self, path: Path):
        self.path = path
        try:
            if zipfile.is_zipfile(path):
                self._zip = zipfile.ZipFile(path)
                self.names = [name for name in self._zip.namelist() if not name.endswith("/")]
            else:
                with tarfile.open(path, "r:") as file:
                    self._places = {m.name: (m.offset_data, m.size) for m in file if m.isfile()}
                self.names, self._zip = list(self._places), None
        except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise self.damaged(error) from None

    def read(self, name: str) -> bytes:
        """The contents of a member. Raises DataError for one that is not there or damaged."""
        try:
            return self._zip.read(name) if self._zip else self._read_tar(*self._places[name])
        except (KeyError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise self.damaged(error, name) from None

    def _read_tar(self, offset: int, size: int) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(offset)
            contents = file.read(size)
        if len(contents) != size:
            raise EOFError("the file ends too soon")
        return contents

    @cached_property
    def identity(self) -> str:
        """sha256 of the file."""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def damaged(self, error: Exception, name: str = "") -> DataError:
        """The error that says what cannot be read."""
        where = f"{self.path}: {name}" if name else str(self.path)
        return DataError(
            f"{where} cannot be read ({type(error).__name__}: {error}); copy or download the archive again"
        )
