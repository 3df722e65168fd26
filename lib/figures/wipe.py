"""Figure 5 on a page: a picture and its adversarial twin, one upon the other, and a line between them to be moved.

This module writes the element; `_static/wipe.js` lays the pictures upon each other and shows their difference when
asked. Without scripts it is the paper's Figure 5: original, ten times the difference, adversarial, side by side. The
pictures are embedded in the page, compressed; the differences were taken before that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor

from lib.figures.mosaic import data_uri

STILL = 10  # times the difference, as the paper prints it


@dataclass(frozen=True)
class Pair:
    """A picture (3, height, width) in [0, 1] and its adversarial twin, with what the network says of them."""

    original: Tensor
    adversarial: Tensor
    differences: Mapping[int, Tensor]  # by how many times they are magnified, (3, height, width), around grey
    said: str
    says: str


def element(pairs: Mapping[str, Sequence[Pair]], otherwise: str) -> str:
    """The HTML of the pairs of every network, by its name. otherwise : what the page says where there are none."""
    if not pairs:
        return f"<p>{escape(otherwise)}</p>"
    figures = (_figure(name, pair) for name, several in pairs.items() for pair in several)
    return f'<div class="wipe">\n{"".join(figures)}</div>'


def _figure(network: str, pair: Pair) -> str:
    said, says = escape(pair.said), escape(pair.says)
    differences = "".join(
        f'<img data-times="{times}" src="{data_uri(picture)}" alt="{times} times the difference, around grey"'
        f"{'' if times == STILL else ' hidden'}>"
        for times, picture in pair.differences.items()
    )
    return (
        f'<figure><div><img src="{data_uri(pair.original)}" alt="The original: {said}">{differences}'
        f'<img src="{data_uri(pair.adversarial)}" alt="Looks the same; the network says: {says}"></div>'
        f"<figcaption><small>{escape(network)} says</small><span>{said}</span><span>{says}</span></figcaption>"
        "</figure>\n"
    )
