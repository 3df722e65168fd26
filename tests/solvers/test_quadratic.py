"""What `quadratic.project` refuses, and rows and programmes that keep to themselves whatever their neighbours are."""

import math

import pytest
import torch

from lib.solvers.quadratic import project

pytestmark = pytest.mark.numerical


def programme(slopes, bounds, lower=(-1.0, -1.0), upper=(1.0, 1.0), dtype=torch.float64) -> tuple:
    return tuple(torch.tensor([values], dtype=dtype) for values in (slopes, bounds, lower, upper))


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ((0.1, -1.0), (1.0, 1.0)),
        ((-1.0, -1.0), (1.0, -0.1)),
        ((1.0, -1.0), (-1.0, 1.0)),
        ((math.nan, -1.0), (1.0, 1.0)),
        ((-1.0, -1.0), (1.0, math.inf)),
    ],
)
def test_a_box_without_zero_is_refused(lower, upper):
    with pytest.raises(ValueError, match="lower <= 0 <= upper"):
        project(*programme([[1, 0]], [0.5], lower, upper))


@pytest.mark.parametrize(
    ("slopes", "bounds"), [([[1, math.nan]], [0.5]), ([[1, math.inf]], [0.5]), ([[1, 0]], [math.nan])]
)
def test_a_constraint_that_is_nan_is_refused(slopes, bounds):
    with pytest.raises(ValueError, match="slopes must be finite and bounds not nan"):
        project(*programme(slopes, bounds))


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_in_single_precision_the_lengths_of_rows_do_not_matter_either(length):
    """Their squares over- and underflow."""
    found = project(*programme([[3 * length, 4 * length]], [2.5 * length], dtype=torch.float32), tolerance=1e-6)
    assert found.violation <= 1e-6
    assert found.perturbation[0].tolist() == pytest.approx([0.3, 0.4], rel=1e-5)


def test_void_and_contradicting_programmes_leave_their_neighbours_alone():
    rows = [
        programme([[1, 0], [0, 1]], [0.5, -math.inf]),
        programme([[1, 0], [-1, 0]], [0.5, 0.5]),
        programme([[0, 0], [0, 0]], [-1, 0]),
        programme([[1, 0], [0, 1e-8]], [0.1, 0.5e-8]),
        programme([[1, 0], [0, 1]], [math.inf, 0.1]),
    ]
    found = project(*(torch.cat(part) for part in zip(*rows, strict=True)))
    assert (found.violation > 1e-9).tolist() == [False, True, False, False, True]
    torch.testing.assert_close(
        found.perturbation[[0, 2, 3]], torch.tensor([[0.5, 0], [0, 0], [0.1, 0.5]], dtype=torch.float64)
    )
