"""Another processor, emulated: every product of matrices and every convolution rounds otherwise, for every shape anew.

    python -m pytest --rounding 1 -m numerical

A BLAS sums in another order on another processor, and in another order again for a batch of another size. What a test
states must not hang on it. Each number that such an operation gives is moved by at most a unit in the last place, drawn
from the seed and the operands' shapes: the same call gives the same bits again, that with one row more does not.

Only these operations pass through Python, below autograd: a mode that sees all of them makes every test three times as
slow.
"""

import functools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

PRODUCTS = "mm addmm bmm baddbmm mv addmv dot convolution convolution_backward".split()
CPU, CUDA = (torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name)) for name in ("CPU", "CUDA"))


@functools.lru_cache(maxsize=512)
def factors(key: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """1, or 1 minus or plus a unit in the last place."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    return 1 + torch.finfo(dtype).eps * torch.randint(-1, 2, shape, generator=generator).to(dtype)


def rounded(operation: torch._ops.OpOverload, seed: int) -> Callable:
    """What the operation gives, rounded otherwise where a CPU computes it."""

    def compute(*args, **kwargs):
        if args[0].is_cuda:
            return operation.redispatch(CUDA, *args, **kwargs)
        result = operation.redispatch(CPU, *args, **kwargs)
        key = f"{seed} {operation} {[tuple(a.shape) for a in args if isinstance(a, Tensor)]}"
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, Tensor) and value.is_floating_point():
                value.mul_(factors(key, value.shape, value.dtype))
        return result

    return compute


@contextmanager
def other_rounding(seed: int) -> Iterator[None]:
    """Inside, products round otherwise, those of backward passes included."""
    with torch.library._scoped_library("aten", "IMPL") as library:
        for name in PRODUCTS:
            operation = getattr(torch.ops.aten, name).default
            library.impl(operation, rounded(operation, seed), "BackendSelect")
        yield
