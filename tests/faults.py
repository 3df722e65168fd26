"""What goes wrong, made to happen for tests."""

import ctypes
import functools
import hashlib
import http.server
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.data import mnist_lookup
from lib.data.mnist_lookup import IdxFile
from tests.mnist_made import CONTENTS, NAMES, SHAPES

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return children + [other for child in children for other in descendants(child)]


@contextmanager
def no_file_larger_than(num_bytes: int) -> Iterator[None]:
    """The system refuses to write more into any one file, as where no space is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill_disk() -> None:
    """For a process that is about to start."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def heed_permissions() -> None:
    """For a process that is about to start: even root may then write only where the permissions say so."""
    if os.getuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability cannot be dropped")


def _can_heed_permissions() -> bool:
    try:
        return subprocess.run(["true"], preexec_fn=heed_permissions).returncode == 0
    except subprocess.SubprocessError:
        return False


needs_permissions = pytest.mark.skipif(not _can_heed_permissions(), reason="root cannot give up its rights here")


def pretend_that_made_files_are_mnist(monkeypatch) -> None:
    """The four tiny files of tests/mnist_made.py."""
    made = zip(NAMES, SHAPES, strict=True)
    files = tuple(IdxFile(name, shape, hashlib.sha256(CONTENTS[name]).hexdigest()) for name, shape in made)
    monkeypatch.setattr(mnist_lookup, "FILES", files)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address under which a server on this machine offers the files of a folder."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
