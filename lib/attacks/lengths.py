"""How long perturbations are where section 4.1 is read otherwise: to every class, and with other searches over c.

Lengths only, as distortions; the images are not kept. c is the price of |r| (`power` 1) or of |r|^2 (`power` 2).
"""

import torch
from torch import Tensor

from ..solvers import lbfgs
from . import penalized
from .penalized import AttackConfig, Network

FIRST_PRICE = 8.0  # where searches from above begin
LEAST_PRICE = 1e-5  # where they give up
NUM_BISECTIONS = 5  # of a factor of 2: to 2 %


@torch.enable_grad()
def to_every_class(network: Network, inputs: Tensor, num_classes: int, config: AttackConfig) -> Tensor:
    """Distortions (N, num_classes) of the paper's attack to each class: 0 where it is given already, inf where none is
    found. Errors as in `penalized.find_adversarial`."""
    first = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    network, inputs, first = penalized.checked(network, inputs, first)
    found = [penalized.search(network, inputs, first + k, config) for k in range(num_classes)]
    return torch.stack([result.distortion for result in found], dim=1)


@torch.enable_grad()
def at_price(
    network: Network, inputs: Tensor, targets: Tensor, price: float, power: int, config: AttackConfig
) -> Tensor:
    """Distortions (N,) of the minimisers of price |r|^power + loss_f(x + r, l); nan where one fails. inputs (N, n).

    Errors as in `penalized.minimize_penalized`.
    """
    c = torch.full_like(inputs[:, 0], price)
    if power == 1:
        return penalized.lengths_at(network, inputs, targets, c, config)
    network, inputs, targets = penalized.checked(network, inputs, targets)

    def objective(images: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        images = images.detach().requires_grad_()
        squared = (images - inputs[problem]).square().sum(dim=1)
        value = penalized.penalized_loss(network(images), squared, targets[problem], c[problem])
        (gradient,) = torch.autograd.grad(value.sum(), images)
        return value.detach(), gradient

    first_step = 1e-2 * inputs.shape[1] ** 0.5  # rms 0.01, as on |r|
    tolerance = config.inner_tolerance * 2 * c * first_step  # of the price's gradient, 2 c |r|, at a short r
    images = lbfgs.minimize(objective, inputs, 0.0, 1.0, tolerance, first_step, config=config.solver).minimizer
    with torch.no_grad():
        reached = penalized.says(network(images), targets)
    return torch.where(reached, penalized.distortion(images, inputs), torch.nan)


def searched_down(
    network: Network, inputs: Tensor, targets: Tensor, factor: float, power: int, config: AttackConfig
) -> Tensor:
    """Distortions (N,) of a search that begins at FIRST_PRICE and divides c by `factor` until the minimiser succeeds.

    nan where that is not before LEAST_PRICE.
    """
    lengths, price = torch.full_like(inputs[:, 0], torch.nan), FIRST_PRICE
    while price >= LEAST_PRICE and len(rows := lengths.isnan().nonzero()[:, 0]):
        lengths[rows] = at_price(network, inputs[rows], targets[rows], price, power, config)
        price /= factor
    return lengths


def with_one_price(network: Network, inputs: Tensor, targets: Tensor, power: int, config: AttackConfig) -> Tensor:
    """Distortions (N,) at one c for all: the largest, to 2 %, with which every minimiser succeeds, up to FIRST_PRICE.

    All nan where there is none above LEAST_PRICE.
    """
    fails = price = FIRST_PRICE
    while (lengths := at_price(network, inputs, targets, price, power, config)).isnan().any():
        fails, price = price, price / 2
        if price < LEAST_PRICE:
            return torch.full_like(lengths, torch.nan)
    for _ in range(NUM_BISECTIONS if fails > price else 0):
        between = (fails * price) ** 0.5
        tried = at_price(network, inputs, targets, between, power, config)
        if tried.isnan().any():
            fails = between
        else:
            price, lengths = between, tried
    return lengths
