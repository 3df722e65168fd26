"""Several pictures as one, for figures and for the blind test."""

import torch
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
