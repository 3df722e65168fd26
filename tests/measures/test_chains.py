"""Constants of chains of matrices hold: against every corner of the slopes, closed forms, and another solver."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch

from lib.measures import chains

pytestmark = pytest.mark.numerical

BOTH = pytest.mark.parametrize("constants", [chains.averaged_constants, chains.semidefinite_constants])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrices(*sizes: int, seed: int = 0) -> list[torch.Tensor]:
    source = generator(seed)
    return [
        torch.randn(above, below, generator=source, dtype=torch.float64) for below, above in itertools.pairwise(sizes)
    ]


def off_diagonal(constants: torch.Tensor) -> torch.Tensor:
    return constants[~torch.eye(len(constants), dtype=torch.bool)]


@BOTH
@pytest.mark.parametrize("sizes", [(20, 8, 4), (20, 4, 4, 3), (6, 3, 3, 2, 4)])
def test_constants_bound_what_trying_all_slopes_finds(constants, sizes):
    """The longest gradients are met where every slope is 0 or the steepest: 2 to the number of units."""
    first, *others = matrices(*sizes)
    steepest = [1, *(0.25 if i % 2 == 0 else 1.0 for i in range(len(others)))]
    longest = torch.zeros(len(others[-1]), len(others[-1]), dtype=torch.float64)
    for corner in itertools.product([0.0, 1.0], repeat=sum(sizes[1:-1])):
        product, left = first, torch.tensor(corner, dtype=torch.float64)
        for weight, slope in zip(others, steepest[1:], strict=True):
            here, left = left[: weight.shape[1]], left[weight.shape[1] :]
            product = weight @ (slope * here[:, None] * product)
        longest = torch.maximum(longest, chains.pair_norms(product))
    found = constants([first, *others], steepest)
    assert (longest <= found * (1 + 1e-9)).all()
    norms = math.prod(float(torch.linalg.matrix_norm(weight, 2)) for weight in [first, *others[:-1]])
    assert (off_diagonal(found) < off_diagonal(chains.pair_norms(others[-1]) * norms * math.prod(steepest))).all()


@BOTH
def test_constants_of_a_single_matrix_and_of_single_units_are_exact(constants):
    (matrix,) = matrices(7, 4)
    torch.testing.assert_close(constants([matrix], [0.25]), chains.pair_norms(matrix) / 4)
    into, between, out = matrices(7, 1, 1, 4)
    exactly = (out - out.T).abs() * between.abs() * into.norm() / 16
    torch.testing.assert_close(constants([into, between, out], [1, 0.25, 0.25]), exactly, rtol=3e-6, atol=0)


@pytest.mark.parametrize("sizes", [(12, 4, 2), (12, 2, 2, 2)])
def test_two_outputs_get_the_optimum_of_the_semidefinite_programme(sizes):
    """Another solver, which knows no gradient, of the programme as it is written for one pair."""
    weights = matrices(*sizes, seed=1)
    widths, difference = sizes[1:-1], (weights[-1][0] - weights[-1][1]).numpy()

    def constant(logs: np.ndarray) -> float:
        inverse = np.eye(sizes[0])
        for weight, part in zip(weights, np.split(logs, np.cumsum(widths)[:-1]), strict=False):
            T, W = np.diag(np.exp(part)), weight.numpy()
            X = 2 * T - T @ W @ inverse @ W.T @ T
            if np.linalg.eigvalsh(X).min() <= 0:
                return 1e9
            inverse = np.linalg.inv(X)
        return float(np.sqrt(difference @ inverse @ difference))

    start = np.concatenate([np.full(width, -4.0 - 3 * i) for i, width in enumerate(widths)])
    least = min(
        scipy.optimize.minimize(
            constant, start + offset, method="Nelder-Mead", options={"maxiter": 3000, "xatol": 1e-6, "fatol": 1e-9}
        ).fun
        for offset in (0.0, -1.0)
    )
    found = chains.semidefinite_constants(weights, [1.0] * len(weights))
    assert float(found[0, 1]) == pytest.approx(least, rel=1e-4)


def test_shared_multipliers_beat_one_number_a_layer():
    """Xu & Sivaranjani's closed form, 1 / |W X^-1 W'|, which needs no descent, pair by pair in the mean of squares."""
    weights = matrices(30, 12, 9, 5, seed=2)
    inverse = torch.eye(30, dtype=torch.float64)
    for weight in weights[:-1]:
        gram = weight @ inverse @ weight.T
        t = 1 / torch.linalg.matrix_norm(gram, 2)
        inverse = torch.linalg.inv(2 * t * torch.eye(len(weight), dtype=torch.float64) - t**2 * gram)
    differences = weights[-1][:, None] - weights[-1]
    closed = torch.einsum("kli,ij,klj->kl", differences, inverse, differences).sqrt()
    found = chains.semidefinite_constants(weights, [1.0, 1.0, 1.0])
    assert off_diagonal(found).square().mean() < 0.95 * off_diagonal(closed).square().mean()


@BOTH
@pytest.mark.parametrize("scale", [1e-100, 1e-3, 1e100])
def test_constants_do_not_mind_how_layers_share_their_scale(constants, scale):
    first, second, third = matrices(10, 6, 5, 4)
    found = constants([first * scale, second / scale, third], [1, 1, 0.25])
    torch.testing.assert_close(found, constants([first, second, third], [1, 1, 0.25]), rtol=1e-5, atol=0)


def test_what_carries_nothing_has_constants_of_zero():
    first, second = matrices(10, 6, 4)
    assert (chains.semidefinite_constants([first, 0 * second], [1, 1]) == 0).all()
    assert (chains.semidefinite_constants([0 * first, second], [1, 1]) == 0).all()
    assert (chains.semidefinite_constants([first, second], [1, 0.0]) == 0).all()
    dead = first * (torch.arange(6) != 2)[:, None]  # a unit that is always the same
    live = chains.semidefinite_constants([dead, second], [1, 1])
    without = [first[torch.arange(6) != 2], second[:, torch.arange(6) != 2]]
    torch.testing.assert_close(live, chains.semidefinite_constants(without, [1, 1]), rtol=1e-4, atol=0)
    second[1] = second[3]
    assert chains.semidefinite_constants([first, second], [1, 1])[1, 3] == 0


@BOTH
@pytest.mark.parametrize(
    ("weights", "steepest", "words"),
    [
        ([torch.eye(3), torch.eye(3)], [0.25], "steepest must be as many numbers as weights are matrices, 2, not 1"),
        ([torch.eye(3)], [-1.0], r"steepest\[0\] must be 0 or more"),
        ([torch.eye(3)], [torch.nan], r"steepest\[0\] must be 0 or more"),
        ([], [], "weights must be a list"),
        (torch.eye(3), [1.0], "weights must be a list"),
        ([torch.eye(3), torch.eye(2)], [1, 1], "from the first layer to the last"),
        ([torch.eye(3), torch.eye(3) / 0], [1, 1], r"weights\[1\] must be finite"),
    ],
)
def test_constants_want_matrices_in_order_and_a_slope_for_each(constants, weights, steepest, words):
    with pytest.raises(ValueError, match=words):
        constants(weights, steepest)
