"""How long the attack's perturbations would be, had its search over c been coarser (section 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.attacks import penalized
from lib.attacks.penalized import AttackConfig, AttackResult, Network
from lib.measures import intervals
from lib.measures.intervals import Estimate
from lib.store.calls import Store


@dataclass(frozen=True, eq=False)
class Attacked:
    """A network, inputs (N, n), the classes (N,) that they were attacked to, and what was found."""

    network: Network
    inputs: Tensor
    targets: Tensor
    result: AttackResult

    def first(self, num: int) -> "Attacked":
        """The first `num` of the inputs, and what was found for them."""
        found = AttackResult(**{name: values[:num] for name, values in vars(self.result).items()})
        return Attacked(self.network, self.inputs[:num], self.targets[:num], found)


def stopped_early(attacked: Attacked, factor: float, uniform: Tensor, config: AttackConfig, store: Store) -> Tensor:
    """Distortions (N,) of an attack that lowers c by `factor` at a time until it succeeds; kept in the store.

    Such a search stops anywhere between the largest successful c and c / factor: at c factor^-u, u uniform in [0, 1),
    given as `uniform` (N,). nan where there is no such c, since no minimiser succeeded, or where the minimiser at that
    price fails; 0 where the network gave the target already, and nothing was searched.

    Reference: section 4.1, "line-search over c > 0".
    """
    found = attacked.result
    rows = torch.isfinite(found.c)
    prices = (found.c * factor**-uniform)[rows]
    lengths = torch.where(found.success & (found.distortion == 0), 0.0, torch.nan).to(found.c)
    if not rows.any():
        return lengths
    arguments = attacked.network, attacked.inputs[rows], attacked.targets[rows], prices, config
    lengths[rows] = store.call(penalized.lengths_at, *arguments).to(lengths)
    return lengths


def coarse(
    attacked: Attacked, factors: Mapping[str, float], uniform: Tensor, config: AttackConfig, store: Store
) -> dict[str, Estimate]:
    """Mean distortion after each of the coarser searches {name: factor}, over the inputs for which it succeeds.

    Their number is the estimate's n; there is none for fewer than two. The first inputs are searched, as many as
    `uniform` (N,) has numbers.
    """
    some = attacked.first(len(uniform))
    lengths = {name: stopped_early(some, factor, uniform, config, store) for name, factor in factors.items()}
    reached = {name: each[each.isfinite()] for name, each in lengths.items()}
    return {name: intervals.mean(each.cpu().numpy()) for name, each in reached.items() if len(each) > 1}
