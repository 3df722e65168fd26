"""Which class is nearest, for the price of a gradient a class: by the network's linearisation, or a step beyond it."""

import torch
from torch import Tensor

from ..solvers import sizes

FURTHER = 5.0  # how much further, or less far, than to where the network is linear a secant may lead


@torch.enable_grad()
def linearized_distances(network, inputs: Tensor, labels: Tensor) -> Tensor:
    """How far each class is from inputs (N, ...) where the network is linear: Euclidean, (N, K), inf for the label.

    (z_label - z_k) / |gradient of z_label - z_k|, the box left out; below 0 where the class leads the label already.

    Reference: Moosavi-Dezfooli, Fawzi, Frossard 2016 (DeepFool), equation 8.
    """
    points = inputs.detach().clone().requires_grad_()
    logits = network(points)
    slopes = [torch.autograd.grad(z.sum(), points, retain_graph=True)[0].flatten(1) for z in logits.unbind(1)]
    slopes, rows = torch.stack(slopes, dim=1), torch.arange(len(labels), device=labels.device)
    lead = logits.detach().gather(1, labels[:, None]) - logits.detach()
    steepness = sizes.norms((slopes[rows, labels][:, None] - slopes).flatten(0, 1)).view_as(lead)
    distances = lead / steepness
    distances[rows, labels] = torch.inf
    return torch.where(steepness > 0, distances, torch.inf)


def nearest_classes(network, inputs: Tensor, labels: Tensor) -> Tensor:
    """The class but the label that is nearest by `linearized_distances`, (N,)."""
    return linearized_distances(network, inputs, labels).argmin(dim=1)


@torch.enable_grad()
def secant_distances(network, inputs: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """How far each class is in the direction of its linearisation: Euclidean, (N, K), inf for the label.

    To where the network is linear, as `linearized_distances`, and from there by the secant to where its margin over the
    label vanishes: a gradient and one more answer a class. nan where the network's answers are.
    """
    x = inputs.detach().flatten(1)
    points = inputs.detach().clone().requires_grad_()
    logits = network(points)
    distances = torch.full_like(logits.detach(), torch.inf)
    for shift in range(1, num_classes):
        classes = (labels + shift) % num_classes
        margin = _margin(logits, labels, classes)
        (slope,) = torch.autograd.grad(margin.sum(), points, retain_graph=True)
        first, steepness = margin.detach(), sizes.norms(slope.flatten(1))
        direction = slope.flatten(1) / steepness[:, None]
        length = -first / steepness
        with torch.no_grad():
            there = _margin(network(_moved(x, length, direction).view_as(inputs)), labels, classes)
        length = length * (first / (first - there)).clamp(1 / FURTHER, FURTHER)
        distances.scatter_(1, classes[:, None], sizes.norms(_moved(x, length, direction) - x)[:, None])
    return distances


def _margin(logits: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    return (logits.gather(1, classes[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def _moved(x: Tensor, length: Tensor, direction: Tensor) -> Tensor:
    return (x + length[:, None] * direction).clamp(0, 1)
