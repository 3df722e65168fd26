"""Another processor, emulated: every product of matrices and every convolution rounds otherwise, for every shape anew.

    python -m pytest --rounding 1 -m numerical

A BLAS sums in another order on another processor, and in another order again for a batch of another size. What a test
states must not hang on it. Each number that such an operation gives is moved by at most a unit in the last place, drawn
from the seed and the operands' shapes: the same call gives the same bits again, that with one row more does not.
"""

import functools
import zlib

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {
    getattr(torch.ops.aten, name)
    for name in "mm addmm bmm baddbmm mv addmv dot convolution convolution_backward".split()
}


@functools.lru_cache(maxsize=512)
def factors(key: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """1, or 1 minus or plus a unit in the last place."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    return 1 + torch.finfo(dtype).eps * torch.randint(-1, 2, shape, generator=generator).to(dtype)


class OtherRounding(TorchDispatchMode):
    """Inside, products round otherwise, those of backward passes included."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket not in PRODUCTS:
            return result
        key = f"{self.seed} {function} {[tuple(a.shape) for a in args if isinstance(a, Tensor)]}"
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, Tensor) and value.is_floating_point() and not value.is_cuda:
                value.mul_(factors(key, value.shape, value.dtype))
        return result
