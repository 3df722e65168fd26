"""Training as the paper does it: full-batch L-BFGS until convergence, with quadratic weight decay layer by layer.

Outside the attack a well-kept solver is better than ours: SciPy's L-BFGS-B, without bounds, reports how it ended.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import scipy.optimize
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from lib.data import Dataset


class DecayRule(Enum):
    """What the paper's "lambda * sum(w^2) / k, k the number of units in the layer" divides by.

    HALF, k = 2, is the only reading that gives Table 1's errors (chapter `framework`).
    """

    HALF = "lambda / 2"
    UNITS = "lambda / units"
    FULL = "lambda"

    def divisor(self, layer: nn.Linear) -> int:
        return {DecayRule.HALF: 2, DecayRule.UNITS: layer.out_features, DecayRule.FULL: 1}[self]


@dataclass(frozen=True)
class TrainingConfig:
    """When a fit counts as converged, and how long it may take."""

    max_iterations: int = 1000
    decrease: float = 1e-7  # converged once an iteration lowers the loss by less than this times max(1, loss)
    gradient: float = 1e-6  # or once no component of the gradient exceeds this
    memory: int = 20  # curvature pairs


@dataclass(frozen=True)
class TrainResult:
    """How a fit went. `losses` are the accepted iterates', the start first."""

    losses: list[float]
    status: str  # "converged", "out of iterations" or "line search failed"
    gradient: float  # largest component at the end
    num_evaluations: int
    seconds: float

    @property
    def converged(self) -> bool:
        return self.status == "converged"


class TrainingError(RuntimeError):
    """The loss or its gradient is not finite."""


def fit(
    network: nn.Module,
    dataset: Dataset,
    decay: Sequence[float],
    rule: DecayRule = DecayRule.HALF,
    config: TrainingConfig = TrainingConfig(),
) -> TrainResult:
    """Minimise mean cross-entropy + weight decay over the network's trainable parameters, in place.

    decay : lambda of each trainable linear layer, first layer first.
    Raises ValueError when the two do not match, TrainingError when the loss is not finite.
    """

    def loss() -> Tensor:
        return F.cross_entropy(network(dataset.inputs), dataset.labels) + weight_decay(network, decay, rule)

    return minimize_loss(list(network.parameters()), loss, config, name=dataset.name)


def weight_decay(network: nn.Module, decay: Sequence[float], rule: DecayRule) -> Tensor:
    """sum over layers of lambda * sum(w^2) / k, section 4.2; biases are free."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]
    if len(layers) != len(decay):
        raise ValueError(f"{len(decay)} weight decays for {len(layers)} trainable linear layers; give one for each")
    terms = [lam * layer.weight.square().sum() / rule.divisor(layer) for lam, layer in zip(decay, layers, strict=True)]
    return torch.stack(terms).sum()


def minimize_loss(
    parameters: Sequence[nn.Parameter], loss: Callable[[], Tensor], config: TrainingConfig, name: str = ""
) -> TrainResult:
    """Minimise `loss()` by L-BFGS over the `parameters` that require a gradient, in place.

    Raises TrainingError when the loss is not finite.
    """
    parameters = [p for p in parameters if p.requires_grad]
    losses: list[float] = []
    progress = tqdm(desc=f"L-BFGS {name}", total=config.max_iterations, disable=None, leave=False)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        _assign(parameters, vector)
        value = loss()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]).double().cpu().numpy()
        if not (math.isfinite(value.item()) and np.isfinite(gradient).all()):
            raise TrainingError(
                f"{name}: the loss is {value.item()} after {len(losses)} iterations; are the inputs finite?"
            )
        return value.item(), gradient

    def after_iteration(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        losses.append(float(intermediate_result.fun))
        progress.update()
        progress.set_postfix(loss=f"{losses[-1]:.5f}")

    began = time.perf_counter()
    start = torch.cat([p.detach().flatten() for p in parameters]).double().cpu().numpy()
    with progress:
        found = scipy.optimize.minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxcor": config.memory,
                "maxiter": config.max_iterations,
                "maxfun": 20 * config.max_iterations,
                "ftol": config.decrease,
                "gtol": config.gradient,
            },
        )
    _assign(parameters, found.x)
    return TrainResult(
        losses=losses,
        status=("converged", "out of iterations", "line search failed")[found.status],
        gradient=float(np.abs(found.jac).max()),
        num_evaluations=int(found.nfev),
        seconds=time.perf_counter() - began,
    )


def _assign(parameters: Sequence[nn.Parameter], vector: np.ndarray) -> None:
    values = torch.from_numpy(vector).split([p.numel() for p in parameters])
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value.view_as(parameter))


@torch.no_grad()
def error_rate(network: nn.Module, dataset: Dataset, chunk_size: int = 10_000) -> float:
    """Fraction of `dataset` that the network gives another class than its label."""
    chunks = zip(dataset.inputs.split(chunk_size), dataset.labels.split(chunk_size), strict=True)
    return sum((network(x).argmax(dim=1) != y).sum().item() for x, y in chunks) / len(dataset)
