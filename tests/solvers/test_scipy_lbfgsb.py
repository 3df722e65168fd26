"""The yardstick is SciPy's L-BFGS-B, unbent: the same interface, the same facts, one problem at a time."""

import pytest
import torch

from lib.solvers import lbfgs, scipy_lbfgsb
from lib.solvers.lbfgs import Status

pytestmark = pytest.mark.numerical


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def separable(center: torch.Tensor) -> lbfgs.Objective:
    weight = torch.linspace(0.5, 3, center.shape[1], dtype=center.dtype)

    def objective(x, problem):
        away = x - center[problem]
        return 0.5 * (weight * away.square()).sum(dim=1), weight * away

    return objective


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float32, 1e-2), (torch.float64, 1e-3)])
def test_separable_quadratic_has_its_optimum_at_the_clipped_point(dtype, accuracy):
    center = 2 * normal(0, 12, 9).to(dtype)
    result = scipy_lbfgsb.minimize(separable(center), torch.ones_like(center), -1.0, 1.0, tolerance=0.0)
    assert result.converged.all()
    assert result.minimizer.dtype == result.value.dtype == dtype
    torch.testing.assert_close(result.minimizer, center.clamp(-1, 1), rtol=0, atol=accuracy)
    assert (result.projected_gradient_norm <= 10 * accuracy).all()
    torch.testing.assert_close(result.value, separable(center)(result.minimizer, torch.arange(12))[0])


def test_it_answers_in_the_shapes_and_types_of_ours():
    center = normal(1, 5, 4)
    arguments = (separable(center), torch.zeros_like(center), -1.0, 1.0, 1e-6)
    ours, scipys = lbfgs.minimize(*arguments), scipy_lbfgsb.minimize(*arguments)
    for name, value in vars(ours).items():
        assert (vars(scipys)[name].shape, vars(scipys)[name].dtype) == (value.shape, value.dtype), name
    torch.testing.assert_close(scipys.value, ours.value, rtol=1e-6, atol=1e-9)


def test_each_problem_is_solved_by_itself():
    center = normal(2, 6, 4)
    seen = []

    def objective(x, problem):
        seen.append(problem.tolist())
        return separable(center)(x, problem)

    together = scipy_lbfgsb.minimize(objective, torch.zeros_like(center), -1.0, 1.0, 0.0)
    assert all(len(problem) == 1 for problem in seen)
    assert seen == sorted(seen)
    assert together.num_evaluations.tolist() == [seen.count([row]) for row in range(6)]
    alone = scipy_lbfgsb.minimize(
        lambda x, p: separable(center)(x, p + 3), torch.zeros_like(center[3:4]), -1.0, 1.0, 0.0
    )
    assert torch.equal(alone.minimizer[0], together.minimizer[3])


def test_a_gradient_that_lies_is_a_stall():
    result = scipy_lbfgsb.minimize(
        lambda x, p: (x.sum(dim=1), -torch.ones_like(x)), torch.zeros(1, 3, dtype=torch.float64), -1.0, 1.0, 0.0
    )
    assert result.status.tolist() == [Status.STALLED]
    assert not result.converged.any()


def test_a_start_outside_the_box_is_projected_into_it():
    center = normal(3, 2, 3)
    result = scipy_lbfgsb.minimize(separable(center), torch.full_like(center, 7.0), -1.0, 1.0, 0.0)
    torch.testing.assert_close(result.minimizer, center.clamp(-1, 1), rtol=0, atol=1e-4)
