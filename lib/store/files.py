"""Files that are there as a whole or not at all."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository


def checksum(contents: bytes) -> str:
    """sha256, 64 hexadecimal digits."""
    return hashlib.sha256(contents).hexdigest()


def replace(path: Path, contents: bytes) -> None:
    """Put the contents under the name, whole or not at all, even if the power fails.

    Raises OSError, naming it, where it cannot be written; then what it held stays. A folder of the name is refused.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder where a file is to be written; remove or rename it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and not error.filename:  # a full disk does not say whose file it was
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # a rename is durable once its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
