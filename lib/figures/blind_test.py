"""A blind test on a page: rows of pictures, each liked best by one of two kinds of thing; the reader guesses which.

This module writes the element; `_static/blind.js` asks the questions and keeps the score. Without scripts the element
is a list of rows whose answers are folded away. The pictures are embedded in the page: nothing is asked of any host.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from PIL import Image
from torch import Tensor

from lib.figures.mosaic import mosaic


@dataclass(frozen=True)
class Row:
    """One question: pictures (k, 784) or (k, 3, height, width) in [0, 1]."""

    pictures: Tensor
    kind: str
    answer: str  # which one of its kind it is
    words: str  # what the pictures show, for those who cannot see them; it must not give the answer away


def element(rows: Sequence[Row], generator: torch.Generator, otherwise: str = "") -> str:
    """The HTML of a blind test, its rows in random order. Raises ValueError unless they are of two kinds.

    generator : on the CPU; otherwise : what the page says, if anything, where there are no rows at all.
    """
    if otherwise and not rows:
        return f"<p>{escape(otherwise)}</p>"
    kinds = sorted({row.kind for row in rows})
    if len(kinds) != 2:
        raise ValueError(f"a blind test needs rows of two kinds, not {', '.join(kinds) or 'none'}")
    order = torch.randperm(len(rows), generator=generator).tolist()
    items = "\n".join(_item(rows[i]) for i in order)
    first, second = map(escape, kinds)
    return f'<div class="blind" data-first="{first}" data-second="{second}">\n<ol>\n{items}\n</ol>\n</div>'


def _item(row: Row) -> str:
    return (
        f'<li data-kind="{escape(row.kind)}"><img src="{montage(row.pictures)}" alt="{escape(row.words)}">'
        f"<details><summary>What is it?</summary>{escape(f'{row.kind}: {row.answer}')}</details></li>"
    )


def montage(pictures: Tensor) -> str:
    """Pictures (k, 784) or (k, 3, height, width) as a mosaic: the data URI of a PNG or, in colour, of a WebP."""
    levels = (255 * mosaic(pictures)).round().byte().movedim(0, 2).squeeze(2).numpy()
    kind = "png" if levels.ndim == 2 else "webp"  # digits without loss
    file = io.BytesIO()
    Image.fromarray(levels).save(file, kind, quality=80, method=6, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
