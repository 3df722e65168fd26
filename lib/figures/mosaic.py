"""Several pictures as one, and pictures inside a page: nothing is asked of any host."""

import base64
import io

import torch
from PIL import Image
from torch import Tensor

NUM_COLUMNS = 5
GAP, GREY = 1, 0.5  # pixels between two pictures, and how bright they are: seen on black and on white


def mosaic(pictures: Tensor) -> Tensor:
    """Pictures (k, 784) or (k, 3, height, width) in lines of five, the first top left: one picture (channels, ., .)."""
    tiles = pictures.reshape(-1, 1, 28, 28) if pictures.ndim == 2 else pictures
    num, channels, height, width = tiles.shape
    num_lines = -(-num // NUM_COLUMNS)
    canvas = torch.full((channels, num_lines * (height + GAP) - GAP, NUM_COLUMNS * (width + GAP) - GAP), GREY)
    for i, tile in enumerate(tiles):
        line, column = divmod(i, NUM_COLUMNS)
        top, left = line * (height + GAP), column * (width + GAP)
        canvas[:, top : top + height, left : left + width] = tile
    return canvas


def data_uri(picture: Tensor, quality: int = 80) -> str:
    """A picture (1 or 3, height, width) in [0, 1] as an address: a PNG, exact, or in colour a WebP of that quality."""
    levels = (255 * picture).round().byte().movedim(0, 2).squeeze(2).cpu().numpy()
    kind = "png" if levels.ndim == 2 else "webp"
    file = io.BytesIO()
    Image.fromarray(levels).save(file, kind, quality=quality, method=6, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
