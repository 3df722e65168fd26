"""Activations that tests of units and of bases look at."""

import pytest
import torch


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def vectors():
    """Rectified activations (400, 12) of units that depend on each other and differ in scale."""
    mixing = torch.randn(12, 12, generator=generator(1)) * torch.logspace(-1, 1, 12)
    return (torch.randn(400, 12, generator=generator(2)) @ mixing).relu()


@pytest.fixture
def maps():
    return torch.randn(60, 5, 9, generator=generator(3)).relu()
