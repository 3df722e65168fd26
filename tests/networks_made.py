"""Networks so small that what they do is known, for tests."""

import torch
from torch import Tensor, nn


def smooth(num_images: int) -> tuple[nn.Module, Tensor]:
    """A network of 20 pixels and four classes with sigmoids, and images in its box."""
    generator = torch.Generator().manual_seed(10)
    layers = [nn.Linear(20, 8), nn.Linear(8, 4)]
    for layer in layers:
        layer.weight = nn.Parameter(torch.randn(layer.weight.shape, generator=generator))
        nn.init.zeros_(layer.bias)
    network = nn.Sequential(layers[0], nn.Sigmoid(), layers[1]).eval().requires_grad_(False)
    return network, torch.rand(num_images, 20, generator=generator)


class TwoSided(nn.Module):
    """Two classes by the sign of a linear function of rows of `num_values`."""

    def __init__(self, num_values: int):
        super().__init__()
        weight = torch.randn(num_values, generator=torch.Generator().manual_seed(1)) / num_values**0.5
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        z = (inputs - 0.5) @ self.weight
        return torch.stack([-z, z], dim=1)


def beside_a_plane(num_images: int, num_values: int, spread: float) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A `TwoSided`, images around the middle of the box, the class that each is not, and its way to the plane."""
    network, generator = TwoSided(num_values).eval(), torch.Generator().manual_seed(2)
    inputs = 0.5 + spread * torch.randn(num_images, num_values, generator=generator)
    targets = 1 - network(inputs).argmax(dim=1)
    step = -((inputs - 0.5) @ network.weight / network.weight.square().sum())[:, None] * network.weight
    return network, inputs, targets, step
