"""The live attack on a page: this module writes the element, `_extra/live/page.js` makes it move.

Without scripts the element is a still picture with the same message. The digits are embedded in the page; the networks,
a byte a weight, are a file of the book's own (`networks.js`), loaded when the element comes into sight.
"""

import base64
from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

FOLDER = "live/"  # of the book, in which engine.js, page.js and networks.js lie


def element(digits: Tensor, labels: Sequence[int], root: str, still: str, words: str) -> str:
    """The HTML of the live attack on digits (k, 784) in [0, 1] and their classes.

    root : from the page to the first folder of the book, "" or "../"; still : address of the picture that stands there
    where no script runs, and `words` for those who cannot see it.
    """
    levels = (255 * digits).round().to(torch.uint8).numpy().tobytes()
    pixels, folder = base64.b64encode(levels).decode(), f"{root}{FOLDER}"
    scripts = "".join(f'<script src="{folder}{name}" defer></script>' for name in ("engine.js", "page.js"))
    return (
        f'<div class="live" data-folder="{folder}" data-digits="{pixels}" data-labels="{"".join(map(str, labels))}">'
        f'<img src="{escape(still)}" alt="{escape(words)}"></div>{scripts}'
    )


def script(networks: str) -> str:
    """networks.js of networks as JSON: a script and no data file, for pages that are opened from a disk."""
    return f"globalThis.LIVE_NETWORKS = {networks.strip()};\n"
