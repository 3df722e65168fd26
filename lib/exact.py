"""The exact minimum distortion, where it can be computed: for a linear network it is a quadratic programme."""

import clarabel
import numpy as np
import scipy.sparse
from torch import Tensor, nn


def minimum_perturbation(network: nn.Linear, inputs: Tensor, targets: Tensor) -> np.ndarray:
    """D(x, l) - x for a linear network, (N, n) in float64, one interior-point solve (Clarabel) per image.

    min |r|^2  subject to  (w_k - w_l) . (x + r) + b_k - b_l <= 0 for every class k != l,  0 <= x + r <= 1.

    inputs : Tensor (N, n) in [0, 1]; targets : Tensor (N,).
    Raises ValueError where no image at all is given the target, or the solver fails.

    Reference: section 4.1, equation for D(x, l).
    """
    weight, bias = (parameter.detach().cpu().double().numpy() for parameter in (network.weight, network.bias))
    images = inputs.detach().cpu().double().numpy()
    return np.stack([_solve(weight, bias, x, int(t)) for x, t in zip(images, targets, strict=True)])


def _solve(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, target: int) -> np.ndarray:
    slopes, offsets = np.delete(weight - weight[target], target, 0), np.delete(bias - bias[target], target)
    identity = scipy.sparse.identity(len(x))
    constraints = scipy.sparse.vstack([scipy.sparse.csc_matrix(slopes), identity, -identity], format="csc")
    limits = np.concatenate([-(slopes @ x + offsets), 1 - x, x])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    cones = [clarabel.NonnegativeConeT(len(limits))]
    quadratic = (2 * identity).tocsc()
    solution = clarabel.DefaultSolver(quadratic, np.zeros(len(x)), constraints, limits, cones, settings).solve()
    if solution.status != clarabel.SolverStatus.Solved:
        raise ValueError(f"no minimum perturbation to class {target}: the solver ended with {solution.status}")
    return np.array(solution.x)
