"""What it costs that adversarial images can be saved, digits and photographs alike."""

from collections.abc import Mapping

from torch import Tensor

from lib.attacks import levels
from lib.attacks.penalized import Network
from lib.measures import aftermath
from lib.measures.intervals import Estimate
from lib.store.calls import Store

Problem = tuple[Network, Tensor, Tensor, Tensor]  # a network, inputs, targets, and what an attack found


def saved(problems: Mapping[str, Problem], store: Store) -> dict[tuple[str, str], Estimate]:
    """`aftermath.saved` of every case, by the nearest images that a file can hold; these are kept in the store."""
    cells = {}
    for case, problem in problems.items():
        found = store.call(levels.to_levels, *problem).to(problem[1].device)
        lengths = aftermath.saved(*problem, found.distortion, found.success)
        cells |= {(case, column): estimate for column, estimate in lengths.items()}
    return cells
