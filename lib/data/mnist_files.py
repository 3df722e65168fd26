"""MNIST as a data set, from its four files wherever they are; and the format that they are in."""

import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from lib.data import mnist_lookup
from lib.data.dataset import Dataset, Split
from lib.data.downloads import DataError


def mnist(data_dir: str | Path | None = None) -> Split:
    """MNIST, 60,000 and 10,000 images, from DATA_DIR, the cache or the network: see `mnist_lookup.locate`.

    Raises
    ------
    MissingDataError
        If it is nowhere to be found.
    DataError
        If a file is damaged, or DATA_DIR has some of the four files and not the others.

    Reference
    ---------
    LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    paths, origin = mnist_lookup.locate(data_dir)
    files = mnist_lookup.FILES
    images, labels, test_images, test_labels = (
        _parse_idx(mnist_lookup.contents(path, file), path) for path, file in zip(paths, files, strict=True)
    )
    sums = " ".join(file.sha256[:8] for file in files)
    return Split(
        Dataset(images.flatten(1) / 255, labels.long(), "mnist-train"),
        Dataset(test_images.flatten(1) / 255, test_labels.long(), "mnist-test"),
        "mnist",
        f"MNIST from {origin}; decompressed sha256 {sums}",
    )


def read_idx(path: str | Path) -> Tensor:
    """Read an IDX file of unsigned bytes, gzip or not (told by its content, not by its name).

    Returns
    -------
    Tensor, uint8, of the shape in the file's header

    Raises
    ------
    DataError
        If the file cannot be read, its gzip is corrupt, its magic number is another one, or it holds more or fewer
        bytes than its header says.

    Reference
    ---------
    The IDX format, http://yann.lecun.com/exdb/mnist/ (archived).
    """
    return _parse_idx(mnist_lookup.decompressed(Path(path)), path)


def _parse_idx(contents: bytes, path: str | Path) -> Tensor:
    if len(contents) < 4:
        raise DataError(f"{path}: truncated, {len(contents)} bytes where 4 of magic number are expected")
    *magic, num_dims = contents[:4]
    if magic != [0, 0, 8] or num_dims == 0:
        raise DataError(f"{path}: magic number {contents[:4].hex()}, expected 000008 and the number of dimensions")
    start = 4 + 4 * num_dims
    if len(contents) < start:
        raise DataError(f"{path}: truncated, {len(contents)} bytes where {start} of header are expected")
    shape = struct.unpack_from(f">{num_dims}I", contents, 4)
    found, expected = len(contents) - start, math.prod(shape)
    if found != expected:
        reason = "truncated" if found < expected else "too long"
        raise DataError(f"{path}: {reason}, {found:,} bytes where the header {shape} promises {expected:,}")
    return torch.frombuffer(bytearray(contents), dtype=torch.uint8)[start:].reshape(shape)
