"""How large numbers and vectors are, also where their squares over- or underflow."""

import torch
from torch import Tensor


def norms(vectors: Tensor) -> Tensor:
    """Euclidean norm of each row, (rows,), also where its square would over- or underflow."""
    norm = vectors.norm(dim=1)
    limits = torch.finfo(norm.dtype)
    far = ~((norm > 1e3 * limits.tiny**0.5) & (norm < 1e-3 * limits.max**0.5))
    if far.any() and vectors.shape[1]:
        largest = vectors[far].abs().amax(dim=1)
        unit = power_of_two(largest)
        norm[far] = torch.where(largest < torch.inf, unit * (vectors[far] / unit[:, None]).norm(dim=1), largest)
    return norm


def power_of_two(values: Tensor) -> Tensor:
    """The largest power of two that is no larger than each of `values` >= 0; the least normal one where all are."""
    limit = torch.finfo(values.dtype).tiny
    return torch.where(values > limit, values / (2 * torch.frexp(values).mantissa), limit)  # exact, as it is a number
