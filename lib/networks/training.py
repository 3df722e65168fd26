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


class DecayRule(Enum):
    """What the paper's "lambda * sum(w^2) / k, k the number of units in the layer" divides by.

    HALF, k = 2, comes nearest to Table 1's errors (chapter `framework`).
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
    inputs: Tensor,
    labels: Tensor,
    decay: Sequence[float],
    rule: DecayRule = DecayRule.HALF,
    config: TrainingConfig = TrainingConfig(),
) -> TrainResult:
    """Minimise mean cross-entropy + weight decay over the network's trainable parameters, in place.

    inputs : Tensor (N, ...), what `network` takes; labels : Tensor (N,), int64.
    decay : lambda of each trainable linear layer, first layer first.
    Raises ValueError when the two do not match, TrainingError when the loss is not finite.
    """

    def loss() -> Tensor:
        return F.cross_entropy(network(inputs), labels) + weight_decay(network, decay, rule)

    return minimize_loss(list(network.parameters()), loss, config)


def weight_decay(network: nn.Module, decay: Sequence[float], rule: DecayRule) -> Tensor:
    """sum over layers of lambda * sum(w^2) / k, section 4.2; biases are free."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]
    if len(layers) != len(decay):
        raise ValueError(f"{len(decay)} weight decays for {len(layers)} trainable linear layers; give one for each")
    terms = [lam * layer.weight.square().sum() / rule.divisor(layer) for lam, layer in zip(decay, layers, strict=True)]
    return torch.stack(terms).sum()


def minimize_loss(
    parameters: Sequence[nn.Parameter], loss: Callable[[], Tensor], config: TrainingConfig
) -> TrainResult:
    """Minimise `loss()` by L-BFGS over the `parameters` that require a gradient, in place.

    Raises TrainingError when the loss is not finite.
    """
    parameters = [p for p in parameters if p.requires_grad]
    losses: list[float] = []
    progress = tqdm(desc="training", total=config.max_iterations, disable=None, leave=False)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        _assign(parameters, vector)
        value = loss()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]).double().cpu().numpy()
        if not (math.isfinite(value.item()) and np.isfinite(gradient).all()):
            raise TrainingError(f"the loss is {value.item()} in iteration {len(losses)}, or its gradient not finite")
        if not losses:
            losses.append(value.item())
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


@dataclass(frozen=True)
class MinibatchConfig:
    """Conv's training: its dropout makes the loss random, which full-batch L-BFGS cannot use."""

    num_epochs: int = 10
    batch_size: int = 100
    learning_rate: float = 1e-3


def fit_minibatches(
    network: nn.Module, inputs: Tensor, labels: Tensor, config: MinibatchConfig, seed: int
) -> TrainResult:
    """Minimise mean cross-entropy by Adam, in place; the network ends in evaluation mode. `losses` are means of epochs.

    inputs : Tensor (N, 784) in [0, 1]; labels : Tensor (N,), int64.
    seed : of the batches' order and of dropout. Raises TrainingError when the loss is not finite.
    """
    began, losses = time.perf_counter(), []
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    devices = [inputs.device] if inputs.is_cuda else []
    with torch.random.fork_rng(devices):  # dropout draws from the global generator; nobody else's draws change
        torch.manual_seed(seed)
        network.train()
        for _ in tqdm(range(config.num_epochs), desc="training", disable=None, leave=False):
            losses.append(_epoch(network, optimizer, inputs, labels, config.batch_size))
            if not math.isfinite(losses[-1]):
                raise TrainingError(f"the loss is {losses[-1]} in epoch {len(losses)}")
    network.eval()
    gradient = max(p.grad.abs().max().item() for p in network.parameters())
    steps = config.num_epochs * math.ceil(len(inputs) / config.batch_size)
    return TrainResult(losses, "out of iterations", gradient, steps, time.perf_counter() - began)


def _epoch(network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor, size: int) -> float:
    total = 0.0
    for rows in torch.randperm(len(inputs)).to(inputs.device).split(size):
        loss = F.cross_entropy(network(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(inputs)


@torch.no_grad()
def error_rate(network: nn.Module, inputs: Tensor, labels: Tensor, chunk_size: int = 10_000) -> float:
    """Fraction of `inputs` that the network gives another class than their `labels`."""
    chunks = zip(inputs.split(chunk_size), labels.split(chunk_size), strict=True)
    return sum((network(x).argmax(dim=1) != y).sum().item() for x, y in chunks) / len(inputs)
