"""MNIST is read as it is, and the format that its files are in is read whole and right or not at all."""

import gzip
import os
from pathlib import Path

import pytest
import torch

from lib.data import mnist_lookup, sources
from lib.data.dataset import disjoint_halves
from lib.data.downloads import DataError
from lib.data.mnist_files import read_idx
from tests.mnist_made import idx, put

pytestmark = pytest.mark.usefixtures("nowhere")

REAL_DATA_DIR = os.environ.get("DATA_DIR")


# IDX


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["raw", "gzip"])
def test_read_idx_whatever_the_name(tmp_path, wrap):
    path = tmp_path / "any.name"
    path.write_bytes(wrap(idx((2, 3), [0, 1, 2, 3, 254, 255])))
    tensor = read_idx(path)
    assert tensor.dtype == torch.uint8
    assert tensor.tolist() == [[0, 1, 2], [3, 254, 255]]


BROKEN = {
    "empty": (b"", "truncated"),
    "short header": (idx((2, 3), [])[:7], "truncated"),
    "short body": (idx((2, 3), [1] * 5), "truncated, 5 bytes where .* promises 6"),
    "no body": (idx((2, 3), []), "truncated"),
    "long body": (idx((2, 3), [1] * 7), "too long"),
    "not IDX": (b"<html>Not found</html>", "magic number"),
    "floats": (idx((2,), [0] * 8, dtype=13), "magic number"),
    "no dimension": (idx((), [1]), "magic number"),
    "cut gzip": (gzip.compress(bytes(1000))[:-9], "corrupt gzip"),
    "gzip with a flipped bit": (gzip.compress(idx((2,), [1, 2]))[:-6] + b"x" * 6, "corrupt gzip"),
    "only gzip's magic": (b"\x1f\x8b", "corrupt gzip"),
    "bytes after gzip": (gzip.compress(idx((2,), [1, 2])) + b"garbage", "corrupt gzip"),
}


@pytest.mark.faults
@pytest.mark.parametrize(("contents", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_read_idx_says_what_is_broken(tmp_path, contents, message):
    path = tmp_path / "file"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.faults
def test_read_idx_of_no_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)


def test_pixels_become_0_to_1_and_labels_classes(tmp_path):
    split = sources.load("mnist", put(tmp_path / "data"))
    pattern = torch.arange(6 * 784).reshape(6, 784) % 256
    assert torch.equal(split.train.inputs, pattern.float() / 255)
    assert split.train.labels.tolist() == [0, 1, 2, 3, 4, 5]


# The real thing


@pytest.mark.skipif(not REAL_DATA_DIR, reason="DATA_DIR is not set: no MNIST to read")
def test_the_real_mnist(monkeypatch):
    monkeypatch.undo()
    if not any(mnist_lookup._find(Path(REAL_DATA_DIR).expanduser())):
        pytest.skip(f"DATA_DIR={REAL_DATA_DIR} holds no MNIST")
    train, test, source, _ = sources.load("auto")
    assert (source, len(train), len(test)) == ("mnist", 60_000, 10_000)
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert train.inputs.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert train.inputs.std().item() == pytest.approx(0.3081, abs=5e-5)
    one, two = disjoint_halves(train, torch.Generator().manual_seed(0))
    assert len(one) == len(two) == 30_000
