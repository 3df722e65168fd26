"""The compiled ascent ends where the plain one does, and both at the top of the dual."""

import pytest
import torch

from lib.solvers import quadratic

pytestmark = pytest.mark.numerical


def programmes(num: int, k: int, n: int, dtype: torch.dtype, seed: int) -> tuple[torch.Tensor, ...]:
    """Rows of length 1, most bounds not met at 0, and images' boxes."""
    source = torch.Generator().manual_seed(seed)
    slopes = torch.randn(num, k, n, generator=source, dtype=torch.float64) + 1.0
    slopes = slopes / slopes.norm(dim=2, keepdim=True)
    upper = torch.rand(num, n, generator=source, dtype=torch.float64)
    upper[upper < 0.3] = 0.0
    inner = upper - torch.rand(num, n, generator=source, dtype=torch.float64)
    bounds = (slopes @ inner[..., None])[..., 0] - 0.1 * torch.rand(num, k, generator=source, dtype=torch.float64)
    return tuple(values.to(dtype) for values in (slopes, bounds, upper - 1, upper))


def top(ascend, part: tuple[torch.Tensor, ...], tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The dual's value where it ends, (N,), and r (N, n), both in float64."""
    multipliers = torch.zeros_like(part[1])
    ascend(multipliers, part, tolerance, 100)
    part = tuple(values.double() for values in part)
    dual = quadratic._dual(multipliers.double(), *part)
    return dual.value, quadratic._primal(multipliers.double(), part[0], *part[2:])


@pytest.mark.parametrize(("dtype", "tolerance", "digits"), [(torch.float64, 1e-9, 1e-8), (torch.float32, 1e-5, 1e-4)])
@pytest.mark.parametrize(("k", "n"), [(1, 5), (9, 60), (41, 30)])
def test_both_ascents_end_at_the_same_top(dtype, tolerance, digits, k, n):
    part = programmes(64, k, n, dtype, seed=k)
    value, r = top(quadratic._ascend, part, tolerance)
    together, r_together = top(quadratic._ascend_together, part, tolerance)
    torch.testing.assert_close(value, together, rtol=digits, atol=1e-12)
    torch.testing.assert_close(r, r_together, rtol=0, atol=digits * float(r.norm(dim=1).max()))


def test_a_programme_cannot_feel_its_neighbours():
    part = programmes(20, 9, 60, torch.float64, seed=3)
    together = torch.zeros(20, 9, dtype=torch.float64)
    quadratic._ascend(together, part, 1e-9, 100)
    for i in range(20):
        alone = torch.zeros(1, 9, dtype=torch.float64)
        quadratic._ascend(alone, tuple(values[i : i + 1] for values in part), 1e-9, 100)
        assert torch.equal(alone[0], together[i])


def test_no_more_steps_are_taken_than_asked_for():
    part = programmes(20, 9, 60, torch.float64, seed=4)
    few, many = (torch.zeros(20, 9, dtype=torch.float64) for _ in range(2))
    quadratic._ascend(few, part, 1e-9, 1)
    quadratic._ascend(many, part, 1e-9, 100)
    below, above = (quadratic._dual(y, *part).value for y in (few, many))
    assert (below < above - 1e-6).any()
    assert (below <= above * (1 + 1e-12)).all()
    still = torch.zeros(20, 9, dtype=torch.float64)
    quadratic._ascend(still, part, 1e-9, 0)
    assert (still == 0).all()
