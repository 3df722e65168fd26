"""The yardstick: SciPy's L-BFGS-B behind the interface of `lbfgs.minimize`, one problem at a time."""

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from .lbfgs import LBFGSConfig, MinimizeResult, Objective, Status


def minimize(
    objective: Objective,
    start: Tensor,
    lower: float,
    upper: float,
    tolerance: float | Tensor,
    first_step: float | Tensor = 1.0,
    decrease: float | Tensor = 0.0,
    config: LBFGSConfig | None = None,
) -> MinimizeResult:
    """`lbfgs.minimize` with SciPy's own stopping rules: `tolerance` and what follows are not used.

    SciPy works in float64: give it a float64 objective, or it spends most of its evaluations on rounding noise.
    CONVERGED means by SciPy's own tests, of the gradient or of the decrease.
    """
    found = [_minimize_one(objective, start, lower, upper, row) for row in range(len(start))]
    return MinimizeResult(
        minimizer=torch.stack([start.new_tensor(f.x) for f in found]),
        value=start.new_tensor([f.fun for f in found]),
        projected_gradient_norm=start.new_tensor([_projected_norm(f, lower, upper) for f in found]),
        status=torch.tensor([_STATUS[f.status] for f in found], device=start.device),
        num_evaluations=torch.tensor([f.nfev for f in found], device=start.device),
    )


_STATUS = (Status.CONVERGED, Status.OUT_OF_ITERATIONS, Status.STALLED)


def _minimize_one(
    objective: Objective, start: Tensor, lower: float, upper: float, row: int
) -> scipy.optimize.OptimizeResult:
    problem = torch.tensor([row], device=start.device)

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(start.new_tensor(x)[None], problem)
        return value.item(), gradient[0].double().cpu().numpy()

    bounds = [(lower, upper)] * start.shape[1]
    x0 = start[row].double().cpu().numpy()
    return scipy.optimize.minimize(value_and_gradient, x0, jac=True, bounds=bounds, method="L-BFGS-B")


def _projected_norm(found: scipy.optimize.OptimizeResult, lower: float, upper: float) -> float:
    pinned = (found.x <= lower) & (found.jac > 0) | (found.x >= upper) & (found.jac < 0)
    return float(np.linalg.norm(np.where(pinned, 0, found.jac)))
