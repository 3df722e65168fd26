"""Which class is nearest, for the price of one gradient a class: by the network's linearisation."""

import torch
from torch import Tensor

from ..solvers import lbfgs


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
    steepness = lbfgs.norms((slopes[rows, labels][:, None] - slopes).flatten(0, 1)).view_as(lead)
    distances = lead / steepness
    distances[rows, labels] = torch.inf
    return torch.where(steepness > 0, distances, torch.inf)


def nearest_classes(network, inputs: Tensor, labels: Tensor) -> Tensor:
    """The class but the label that is nearest by `linearized_distances`, (N,)."""
    return linearized_distances(network, inputs, labels).argmin(dim=1)
