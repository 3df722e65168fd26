"""What a network says around adversarial images (section 4.1): thin pockets, or the edges of regions?"""

from collections.abc import Mapping

import scipy.stats
from torch import Tensor

from lib.attacks.penalized import Network
from lib.measures import effects, intervals, transfer
from lib.measures.intervals import Estimate

FACTORS = (0.0, 1.0, 1.1, 1.5, 2.0)  # of the perturbation: the image itself, at the border, and beyond
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # lengths of noise in units of the perturbation's
WORDS = {0.0: "the image itself", 1.0: "as found"}
NOISE = "noise {:g} times as long (%)"  # a column of the table


def around(inputs: Tensor, adversarial: Tensor, noise: Tensor, factor: float, share: float) -> Tensor:
    """x + factor r + noise, with noise that is about `share` times as long as r; not clamped. All (N, n).

    noise : standard normal; it is scaled to share |r| / sqrt(n) in every pixel.
    """
    perturbation = adversarial - inputs
    stddev = share * perturbation.norm(dim=1, keepdim=True) / inputs.shape[1] ** 0.5
    return inputs + factor * perturbation + stddev * noise


def staying(
    network: Network, inputs: Tensor, adversarial: Tensor, targets: Tensor, noise: Tensor
) -> dict[tuple[float, float], Estimate]:
    """How often, in per cent, the network says the target, {(factor of r, length of noise): Estimate}.

    One draw of noise for each of the N images, the same for all factors and lengths. Images that were given their
    target as they are, or for which nothing was found, have no perturbation, and do not count.
    """
    moved = (adversarial != inputs).any(dim=1)
    few, goals = (inputs[moved], adversarial[moved], noise[moved]), targets[moved]
    cells = {}
    for factor in FACTORS:
        for share in SHARES:
            said = transfer.predictions(network, around(*few, factor, share))
            cells[factor, share] = intervals.percent(int((said == goals).sum()), len(goals))
    return cells


def half_space(factor: float, share: float, num_pixels: int) -> float:
    """What `staying` tends to, in per cent, where the target's region is a half-space and r its shortest way there.

    Noise moves the image across the border only by its component along r, which is N(0, share^2 |r|^2 / n), and
    (factor - 1) |r| is what lies between: Phi((factor - 1) sqrt(n) / share).

    Reference: Fawzi, Moosavi-Dezfooli, Frossard 2016, who bound what curvature does to it.
    """
    return 100 * float(scipy.stats.norm.cdf((factor - 1) * num_pixels**0.5 / share))


def row(network: str, factor: float) -> str:
    """A row of the table: around what is made for the network, its perturbation times the factor; "" for no network."""
    words = WORDS.get(factor, f"{factor:g} times as far")
    return f"{network}, {words}" if network else words


def lines(cells: Mapping[tuple[str, str], Estimate], network: str) -> dict[str, list[Estimate]]:
    """One network's part of the table as a line for each of FACTORS, along SHARES."""
    return {
        row("", factor): [cells.get((row(network, factor), NOISE.format(x)), effects.UNMEASURED) for x in SHARES]
        for factor in FACTORS
    }


def flat_lines(num_pixels: int) -> dict[str, list[float]]:
    """`half_space` as such lines."""
    return {row("", factor): [half_space(factor, x, num_pixels) for x in SHARES] for factor in FACTORS}
