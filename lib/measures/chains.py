"""Lipschitz constants of a chain of matrices with activations between them, for every two of its outputs.

Of an activation only this is known: its slope lies in [0, s], with s = 1/4 for a sigmoid. `averaged_constants` are made
of norms of products of the matrices, `semidefinite_constants` of what the slopes say of any two points at once.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from ..attacks import arguments
from ..attacks.arguments import KindError
from ..solvers import lbfgs, sizes
from . import known

SLACK = 1e-6  # how much more than positive a matrix has to be, of 2: far more than rounding could hide
CONFIG = lbfgs.LBFGSConfig(max_iterations=100, memory=10)


def pair_norms(weight: Tensor) -> Tensor:
    """|w_k - w_l| for every two rows of a matrix (K, n). Shape (K, K)."""
    return norms(weight[:, None] - weight)


def norms(vectors: Tensor) -> Tensor:
    """l2 norms over the last dimension, also of vectors whose squares are too small or too large for their dtype."""
    return sizes.norms(vectors.flatten(0, -2)).view(vectors.shape[:-1])


def averaged_constants(weights: Sequence[Tensor], steepest: Sequence[float]) -> Tensor:
    """Lipschitz constants of z_k - z_l, (K, K), for matrices W_1 ... W_h with activations D_1 ... D_h before them.

    Slopes in [0, s] are s/2 (I + E) with a diagonal E, |E| <= 1: a sigmoid's 1/8 (I + E), a rectifier's 1/2 (I + E).
    Multiplied out, the Jacobian W_h (I + E) ... (I + E) W_1 is a sum of products of blocks W_j ... W_i+1 that no E
    interrupts, and the norms of the blocks bound it. Never above the product of the norms with the steepest slopes.

    steepest : s before each matrix. The activations between two matrices are averaged, D_1 is a factor: 1 for none.
    Raises TypeError and ValueError unless there are as many as matrices, that fit together, all finite.

    Reference: Combettes & Pesquet 2020, whose theta `reached` is.
    """
    _check_factors(weights, steepest)
    reached = [1.0]  # how far r reaches up to each E
    for j in range(1, len(weights) + 1):
        size = pair_norms if j == len(weights) else _norm
        blocks = accumulate(reversed(weights[:j]), product)  # W_j, W_j W_j-1, ..., W_j ... W_1
        reached.append(sum(size(block) * before for block, before in zip(blocks, reversed(reached), strict=True)))
    return reached[-1] * (math.prod(steepest) / 2 ** (len(weights) - 1))


@arguments.outside_inference_mode
def semidefinite_constants(weights: Sequence[Tensor], steepest: Sequence[float]) -> Tensor:
    """Lipschitz constants of z_k - z_l, (K, K), arguments and errors as of `averaged_constants`.

    Two points differ by v before an activation of slopes in [0, 1], and by y behind it: y' T (v - y) >= 0 for every
    diagonal T > 0. Added up over the layers with v_i = W_i y_i-1, these say that |(w_k - w_l) y| <= L |r| if

        L^2 = (w_k - w_l)' X^-1 (w_k - w_l),  X_i = 2 T_i - T_i W_i X_i-1^-1 W_i' T_i > 0,  X_0 = I.

    Any such T give constants that hold. Here all pairs share those for which the sum of squares is least.

    Reference: Fazlyab et al. 2019 (the theorem); Xu & Sivaranjani 2024 (layer by layer, and where the descent begins).
    """
    _check_factors(weights, steepest)
    largest = [float(_norm(weight)) for weight in weights]
    *inner, last = [weight.detach() / (norm or 1) for weight, norm in zip(weights, largest, strict=True)]
    factor = math.prod(steepest) * math.prod(largest)
    if inner:
        gram = inner[0] @ inner[0].mT
        multipliers = _shared_multipliers(gram, inner[1:], last)
        differences = last[:, None] - last
        lengths = norms(_behind(gram, inner[1:], multipliers, differences.flatten(0, 1))).view(len(last), -1)
    else:
        lengths = pair_norms(last)
    return torch.where(lengths == 0, 0, factor * lengths)


def _shared_multipliers(gram: Tensor, inner: Sequence[Tensor], last: Tensor) -> list[Tensor]:
    """log T of each layer for which the squares of all pairs' constants add up to the least."""
    start, widths = _first_multipliers(gram, inner), [len(gram), *map(len, inner)]

    def spread(logs: Tensor) -> Tensor:
        rows = _behind(gram, inner, logs.split(widths), last)
        return (rows - rows.mean(dim=0)).square().sum()

    unit = spread(torch.cat(start)).clamp_min(torch.finfo(gram.dtype).tiny)

    def objective(logs: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        logs = logs.detach().requires_grad_()
        value = spread(logs[0])[None] / unit
        return value.detach(), torch.autograd.grad(value, logs)[0]

    found = lbfgs.minimize(objective, torch.cat(start)[None], -math.inf, math.inf, 1e-6, first_step=0.1, config=CONFIG)
    return found.minimizer[0].split(widths)


def _first_multipliers(gram: Tensor, inner: Sequence[Tensor]) -> list[Tensor]:
    """For each layer one number, 1 / |W X^-1 W'|, with which the next X is positive whatever the matrices are."""
    size = _norm(gram).clamp_min(torch.finfo(gram.dtype).tiny ** 0.5)
    first = -size.log().expand(len(gram))
    if not inner:
        return [first]
    between = _whitened(gram, first, inner[0])
    return [first, *_first_multipliers(between @ between.mT, inner[1:])]


def _behind(gram: Tensor, inner: Sequence[Tensor], logs: Sequence[Tensor], rows: Tensor) -> Tensor:
    """X^-1/2 times each of the `rows` (K, n), behind the last activation; nan where some X is not positive."""
    for following, log in zip(inner, logs[:-1], strict=True):
        between = _whitened(gram, log, following)
        gram = between @ between.mT
    return _whitened(gram, logs[-1], rows)


def _whitened(gram: Tensor, log: Tensor, rows: Tensor) -> Tensor:
    """rows X^-1/2 for X = 2 T - T gram T, less SLACK of T; nan where that is not positive."""
    root = (log / 2).exp()
    matrix = torch.diag_embed(torch.full_like(root, 2 - SLACK)) - root[:, None] * gram * root
    factor, info = torch.linalg.cholesky_ex(matrix)
    found = torch.linalg.solve_triangular(factor, (rows / root).mT, upper=False).mT
    return torch.where(info == 0, found, torch.nan)


def _check_factors(weights, steepest) -> None:
    for name, values in {"weights": weights, "steepest": steepest}.items():
        if not isinstance(values, Sequence) or not values:
            what = "an empty one" if isinstance(values, Sequence) else type(values).__name__
            raise KindError(f"{name} must be a list, of one for each layer, not {what}")
    for i, weight in enumerate(weights):
        known.check_matrix(f"weights[{i}]", weight)
        if i and weight.shape[1] != (below := weights[i - 1].shape[0]):
            raise ValueError(
                f"weights[{i}] must have as many columns as the matrix before it has rows, {below}, not "
                f"{weight.shape[1]}: hand them in from the first layer to the last"
            )
    if len(steepest) != len(weights):
        raise ValueError(
            f"steepest must be as many numbers as weights are matrices, {len(weights)}, not {len(steepest)}: the "
            "largest slope of what comes before each of them, 1 before the first if nothing does"
        )
    for i, slope in enumerate(steepest):
        arguments.check_number(f"steepest[{i}]", slope)


def product(above: Tensor, below: Tensor) -> Tensor:
    """Raises ValueError where it is too large for its precision."""
    found = above @ below
    if not found.isfinite().all():
        raise ValueError(f"weights must be such that their products stay in {found.dtype}, and they are too large")
    return found


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix, 2)
