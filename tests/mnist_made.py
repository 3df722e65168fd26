"""Four tiny files in the format and the shapes of MNIST's, for tests."""

import gzip
import math
import struct

from lib.data import mnist_lookup

SHAPES = ((6, 28, 28), (6,), (4, 28, 28), (4,))
NAMES = tuple(file.name for file in mnist_lookup.FILES)


def idx(shape, values, dtype=8):
    return bytes([0, 0, dtype, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


def tiny(shape):
    """An IDX file of this shape whose bytes are a fixed pattern: pixels 0..255, labels 0..9."""
    return idx(shape, [value % (256 if len(shape) == 3 else 10) for value in range(math.prod(shape))])


CONTENTS = {name: tiny(shape) for name, shape in zip(NAMES, SHAPES, strict=True)}


def put(folder, contents=CONTENTS, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    return folder
