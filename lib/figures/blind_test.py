"""A blind test on a page: rows of pictures, each liked best by one of two kinds of thing; the reader guesses which.

This module writes the element; `_static/blind.js` draws ten of the rows on every visit, asks, and keeps the score.
Without scripts the element is a list of all rows whose answers are folded away. The pictures are embedded in the page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from lib.figures.mosaic import data_uri, mosaic


@dataclass(frozen=True)
class Row:
    """One question: pictures (k, 784) or (k, 3, height, width) in [0, 1]."""

    pictures: Tensor
    kind: str
    answer: str  # which one of its kind it is
    words: str  # what the pictures show, for those who cannot see them; it must not give the answer away


def element(rows: Sequence[Row], generator: torch.Generator, otherwise: str = "", best: float = math.nan) -> str:
    """The HTML of a blind test, its rows in random order. Raises ValueError unless they are of two kinds.

    generator : on the CPU; otherwise : what the page says, if anything, where there are no rows at all.
    best : how often (%) the best measure that we know is right; nan where none was tried.
    """
    if otherwise and not rows:
        return f"<p>{escape(otherwise)}</p>"
    kinds = sorted({row.kind for row in rows})
    if len(kinds) != 2:
        raise ValueError(f"a blind test needs rows of two kinds, not {', '.join(kinds) or 'none'}")
    order = torch.randperm(len(rows), generator=generator).tolist()
    items = "\n".join(_item(rows[i]) for i in order)
    first, second = map(escape, kinds)
    measured = f' data-best="{best:.0f}"' if math.isfinite(best) else ""
    return f'<div class="blind" data-first="{first}" data-second="{second}"{measured}>\n<ol>\n{items}\n</ol>\n</div>'


def _item(row: Row) -> str:
    pictures = data_uri(mosaic(row.pictures), quality=50)
    return (
        f'<li data-kind="{escape(row.kind)}"><img src="{pictures}" alt="{escape(row.words)}">'
        f"<details><summary>What is it?</summary>{escape(f'{row.kind}: {row.answer}')}</details></li>"
    )
