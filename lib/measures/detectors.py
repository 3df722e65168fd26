"""A single unit as a detector of a class: how well a threshold on its response tells the class from the rest."""

from typing import NamedTuple

import torch
from torch import Tensor


class Detector(NamedTuple):
    """A unit that says yes where its response is above a threshold."""

    unit: int
    threshold: float
    accuracy: float  # on the responses that it was chosen by: those it is judged by must be others


def accuracies(responses: Tensor, is_it: Tensor) -> tuple[Tensor, Tensor]:
    """The best that a threshold on each unit can do, and where it lies: (num_units,) each.

    responses : Tensor (N, num_units); is_it : Tensor (N,), bool. A unit says yes above its threshold, which lies
    halfway between two responses, or below or above them all.
    """
    ordered, order = responses.sort(dim=0)
    gain = torch.where(is_it, -1, 1)[order].cumsum(dim=0)  # the threshold above the n-th: n more said no
    right = torch.cat([torch.zeros_like(gain[:1]), gain]) + is_it.sum()
    halfway = (ordered[1:] + ordered[:-1]) / 2
    places = torch.cat([ordered[:1] - 1, halfway, ordered[-1:] + 1])
    tied = torch.zeros_like(right, dtype=torch.bool)
    tied[1:-1] = ordered[1:] == ordered[:-1]  # no threshold lies between equal responses
    best = right.masked_fill(tied, -1).max(dim=0)
    return best.values.double() / len(is_it), places.gather(0, best.indices[None])[0]


def best(responses: Tensor, is_it: Tensor) -> Detector:
    """The unit that a threshold serves best, and that threshold."""
    rates, thresholds = accuracies(responses, is_it)
    unit = int(rates.argmax())
    return Detector(unit, float(thresholds[unit]), float(rates[unit]))
