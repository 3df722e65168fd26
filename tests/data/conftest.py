"""A machine on which MNIST is nowhere to be found."""

import pytest

from lib.data import downloads, mnist_lookup
from tests import faults


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No DATA_DIR, an empty cache, no network, and four tiny files in MNIST's place."""
    faults.pretend_that_made_files_are_mnist(monkeypatch)
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("OFFLINE", "1")
    mnist_lookup._reachable.cache_clear()
    yield
    mnist_lookup._reachable.cache_clear()
