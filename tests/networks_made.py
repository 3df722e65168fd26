"""Networks so small that what they do is known, for tests."""

import torch
from torch import Tensor, nn


class TwoSided(nn.Module):
    """Two classes by the sign of a linear function of rows of `num_values`."""

    def __init__(self, num_values: int):
        super().__init__()
        weight = torch.randn(num_values, generator=torch.Generator().manual_seed(1)) / num_values**0.5
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        z = (inputs - 0.5) @ self.weight
        return torch.stack([-z, z], dim=1)
