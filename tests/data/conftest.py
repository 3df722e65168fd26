"""A machine on which MNIST is nowhere to be found."""

import hashlib

import pytest

from lib.data import downloads, mnist_files
from lib.data.mnist_files import IdxFile
from tests.mnist_made import CONTENTS, NAMES, SHAPES


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No DATA_DIR, an empty cache, no network, and four tiny files in MNIST's place."""
    files = tuple(
        IdxFile(name, shape, hashlib.sha256(CONTENTS[name]).hexdigest())
        for name, shape in zip(NAMES, SHAPES, strict=True)
    )
    monkeypatch.setattr(mnist_files, "FILES", files)
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("OFFLINE", "1")
    mnist_files._reachable.cache_clear()
    yield
    mnist_files._reachable.cache_clear()
