"""The exact optimum is feasible, optimal, and the one that geometry gives where geometry can."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from lib.exact import minimum_perturbation


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


@pytest.fixture
def plane():
    """Two classes whose boundary no box comes near."""
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 12, generator=source, dtype=torch.float64)
    inputs = 0.4 + 0.2 * torch.rand(5, 12, generator=source, dtype=torch.float64)
    return linear(weight, -weight @ inputs.mean(dim=0)), inputs


def test_two_classes_are_separated_by_a_plane(plane):
    network, inputs = plane
    logits = network(inputs).detach()
    targets = 1 - logits.argmax(dim=1)
    distance = logits.diff(dim=1)[:, 0].abs() / (network.weight[1] - network.weight[0]).norm().detach()
    lengths = np.linalg.norm(minimum_perturbation(network, inputs, targets), axis=1)
    np.testing.assert_allclose(lengths, distance.numpy(), rtol=1e-6)


def test_an_image_of_the_target_class_needs_no_change(plane):
    network, inputs = plane
    targets = network(inputs).argmax(dim=1)
    assert np.abs(minimum_perturbation(network, inputs, targets)).max() < 1e-4


def test_it_agrees_with_a_solver_of_another_kind():
    source = torch.Generator().manual_seed(5)
    weight, bias = (torch.randn(*shape, generator=source, dtype=torch.float64) for shape in ((4, 6), (4,)))
    x, target = torch.rand(1, 6, generator=source, dtype=torch.float64).round(), torch.tensor([0])
    W, b, start = weight.numpy(), bias.numpy(), x[0].numpy()
    others = [1, 2, 3]
    reached = {"type": "ineq", "fun": lambda r: ((W[0] - W[others]) @ (start + r)) + b[0] - b[others]}
    bounds = list(zip(-start, 1 - start, strict=True))
    slsqp = scipy.optimize.minimize(lambda r: r @ r, np.full(6, 0.1), bounds=bounds, constraints=[reached])
    found = minimum_perturbation(linear(weight, bias), x, target)[0]
    assert slsqp.success
    assert found @ found == pytest.approx(slsqp.fun, rel=1e-5)
    assert ((found >= -start - 1e-7) & (found <= 1 - start + 1e-7)).all()


def test_a_class_that_no_image_has_is_an_error():
    network = linear(torch.zeros(2, 3, dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64))
    with pytest.raises(ValueError, match="class 1"):
        minimum_perturbation(network, torch.rand(1, 3, dtype=torch.float64), torch.tensor([1]))
