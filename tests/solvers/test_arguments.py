"""What solvers are handed: refused with its cure, or solved whatever dtype or graph it carries."""

import math

import pytest
import torch

from lib.solvers import lbfgs, quadratic
from lib.solvers.lbfgs import LBFGSConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", 0),
        ("max_iterations", 0),
        ("armijo", math.nan),
        ("armijo", -1e-4),
        ("armijo", 0.0),
        ("armijo", 1.0),
        ("patience", 0),
        ("patience", 1.5),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_its_name_and_what_was_given(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*{value}"):
        LBFGSConfig(**{name: value})


def test_another_classs_settings_are_refused():
    with pytest.raises(TypeError, match="config must be of the class LBFGSConfig, not int"):
        lbfgs.minimize(bowl, torch.zeros(2, 3), 0, 1, 1e-3, config=3)


def bowl(x, problem):
    return (x - 0.5).square().sum(dim=1), 2 * (x - 0.5)


WEIGHT = torch.ones(3, requires_grad=True)


def with_graph(x, problem):
    value = (WEIGHT * x - 0.5).square()
    return value.sum(dim=1), 2 * (WEIGHT * x - 0.5) * WEIGHT


def by_autograd(x, problem):
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = (x - 0.5).square().sum(dim=1)
        (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return value, gradient


@pytest.mark.parametrize(
    "objective", [with_graph, by_autograd, lambda x, p: bowl(x.double(), p), lambda x, p: list(bowl(x, p))]
)
def test_an_objectives_graph_and_dtype_do_not_matter(objective):
    start = torch.zeros(2, 3)
    result = lbfgs.minimize(objective, start, -1.0, 1.0, 1e-5)
    assert result.converged.all()
    assert not result.minimizer.requires_grad
    assert not result.value.requires_grad
    torch.testing.assert_close(result.minimizer, torch.full((2, 3), 0.5))
    with torch.inference_mode():
        inside = lbfgs.minimize(objective, start * 1, -1.0, 1.0, 1e-5)
    assert torch.equal(inside.minimizer, result.minimizer)


def shifting(x, problem):
    x.sub_(0.5)
    return x.square().sum(dim=1), 2 * x


def shifting_by_numpy(x, problem):
    values = x.numpy()
    values -= 0.5
    return x.square().sum(dim=1), 2 * x


def with_a_leaf(x, problem):
    value = (x.requires_grad_() - 0.5).square().sum(dim=1)
    return value, torch.autograd.grad(value.sum(), x)[0]


def shifting_later(x, problem):
    return (x.data.sub_(0.5).square().sum(dim=1), 2 * x) if x.any() else bowl(x, problem)


@pytest.mark.parametrize("objective", [shifting, shifting_by_numpy, shifting_later, with_a_leaf])
def test_an_objective_may_do_with_its_argument_what_it_likes(objective):
    start = torch.zeros(2, 3)
    result = lbfgs.minimize(objective, start, -1.0, 1.0, 1e-5)
    assert result.converged.all()
    torch.testing.assert_close(result.minimizer, torch.full((2, 3), 0.5))
    assert not start.any()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (3, "objective must be callable"),
        (lambda x, p: x.sum(), r"objective must return two Tensors, \(value, gradient\), not Tensor"),
        (lambda x, p: (0.0, x), r"two Tensors, \(value, gradient\), not tuple of float, Tensor"),
        (lambda x, p: (x, x, x), "two Tensors"),
        (lambda x, p: (x.sum(dim=1, keepdim=True), x), r"values \(2,\) and gradients \(2, 3\), not \(2, 1\)"),
    ],
)
def test_an_objective_that_is_none_is_refused(objective, message):
    with pytest.raises(ValueError, match=message):
        lbfgs.minimize(objective, torch.zeros(2, 3), -1.0, 1.0, 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": [[0.0]]}, "start must be a torch.Tensor, not list"),
        ({"start": torch.zeros(2, 3).half()}, "start must be a floating tensor, float32 or float64, not torch.float16"),
        ({"start": torch.zeros(3)}, r"start must be a floating tensor \(N, n\).*start\[None\]"),
        ({"start": torch.full((2, 3), torch.nan)}, "start must be finite"),
        ({"lower": "0"}, "lower must be a number or a Tensor, not str"),
        ({"upper": torch.ones(2)}, r"upper must be a number, a Tensor \(3,\) or \(2, 3\), not of shape \(2,\)"),
        ({"tolerance": math.nan}, "tolerance must be 0 or more, and finite, not nan"),
        ({"tolerance": -1e-3}, "tolerance must be 0 or more, and finite, not -0.001"),
        ({"tolerance": torch.tensor([1e-3, math.nan])}, "tolerance must be 0 or more, and finite, not nan"),
        ({"tolerance": torch.ones(3)}, r"tolerance must be a number or a Tensor \(2,\), not of shape \(3,\)"),
        ({"tolerance": None}, "tolerance must be a number or a Tensor"),
        ({"first_step": 0.0}, "first_step must be above 0, and finite, not 0"),
        ({"first_step": float("inf")}, "first_step must be above 0, and finite, not inf"),
        ({"first_step": 1e-60}, "first_step must be above 0, and finite, not 0 \\(in torch.float32\\)"),
        ({"first_step": torch.tensor([1.0, 0.0])}, "first_step must be above 0, and finite, not 0"),
        ({"lower": math.inf, "upper": math.inf}, "box is empty"),
        ({"lower": -math.inf, "upper": -math.inf}, "box is empty"),
        ({"upper": math.nan}, "box is empty"),
        ({"lower": torch.full((3,), math.inf)}, "box is empty"),
        ({"decrease": -1.0}, "decrease must be 0 or more, and finite, not -1"),
    ],
)
def test_a_problem_that_is_none_is_refused(change, message):
    problem = {"start": torch.zeros(2, 3), "lower": -1.0, "upper": 1.0, "tolerance": 1e-5}
    with pytest.raises(ValueError, match=message):
        lbfgs.minimize(bowl, **problem | change)


def test_under_autocast_solvers_are_refused():
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ValueError, match="autocast is on"):
            lbfgs.minimize(bowl, torch.zeros(2, 3), -1.0, 1.0, 1e-5)
        with pytest.raises(ValueError, match="autocast is on"):
            quadratic.project(**programme())


def programme() -> dict:
    box = torch.ones(1, 2, dtype=torch.float64)
    return {"slopes": torch.eye(2, dtype=torch.float64)[None], "bounds": box / 2, "lower": -box, "upper": box}


BOX = torch.ones(1, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": BOX / 4}, "lower <= 0 <= upper: the box is that of r"),
        ({"upper": BOX * torch.inf}, "lower and upper must be finite"),
        ({"lower": BOX * torch.nan}, "lower and upper must be finite"),
        ({"slopes": torch.full((1, 2, 2), torch.nan).double()}, "slopes must be finite"),
        ({"bounds": BOX * torch.nan}, "bounds no nan"),
        ({"bounds": (BOX / 2).float()}, r"bounds must be torch.float64 on cpu.*use bounds.to\(slopes\)"),
        ({"bounds": BOX[:, :1]}, r"bounds must be \(1, 2\), as slopes are \(1, 2, 2\), not \(1, 1\)"),
        ({"slopes": torch.eye(2).double()}, r"slopes must be \(N, k, n\)"),
        ({"slopes": [[1.0]]}, "slopes must be a torch.Tensor, not list"),
        ({"start": -BOX}, "start, multipliers of the rows of slopes, must be 0 or more"),
        ({"tolerance": math.nan}, "tolerance must be 0 or more"),
        ({"max_iterations": 0}, "max_iterations must be at least 1 step, not 0"),
    ],
)
def test_a_programme_that_is_none_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        quadratic.project(**programme() | change)
