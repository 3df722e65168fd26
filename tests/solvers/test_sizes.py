"""Norms and powers of two are right from the least number of a precision to its largest."""

import math

import pytest
import torch

from lib.solvers import sizes

pytestmark = pytest.mark.numerical


def normal(seed: int, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [-1.0, -0.6, 0.0, 0.6, 0.99])
def test_norms_are_those_of_double_precision_whatever_their_size(dtype, exponent):
    vectors = normal(3, 4, 9, dtype=dtype)
    vectors[3] = 0
    size = 2.0 ** round(exponent * {torch.float32: 120, torch.float64: 1000}[dtype])
    torch.testing.assert_close(sizes.norms(vectors * size) / size, vectors.norm(dim=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_of_two_are_exact_and_no_larger_than_what_they_are_of(dtype):
    limits = torch.finfo(dtype)
    values = torch.cat(
        [normal(4, 500, dtype=dtype).exp(), torch.tensor([limits.max, limits.tiny, 1, 2, 0.5], dtype=dtype)]
    )
    found = sizes.power_of_two(values)
    assert ((found <= values) & (values / 2 < found)).all()
    assert (torch.frexp(found).mantissa == 0.5).all()
    assert sizes.power_of_two(torch.zeros(1, dtype=dtype)).item() == limits.tiny


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_of_what_is_infinite_or_empty(dtype):
    assert sizes.norms(torch.tensor([[math.inf, 1], [1, 0]], dtype=dtype)).tolist() == [math.inf, 1]
    assert sizes.norms(torch.zeros(2, 0, dtype=dtype)).tolist() == [0, 0]
