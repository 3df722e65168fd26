"""How many images fit into memory at once: as many as the network's own use of it leaves room for."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

ROOM = (
    2 << 30
)  # bytes that an attack may fill on the CPU: a fixed number, so that the same images share a chunk anywhere
SHARE = 0.5  # of what a GPU has free
ON_GPU = 16  # times as many images as are fastest on the CPU, whose caches hold the vectors of few


@contextmanager
def counted(num_images: int) -> Iterator[list[int]]:
    """Counts, into the list's only number, the bytes that autograd keeps of what has a row for each of the images."""
    kept, seen = [0], set()

    def pack(values: Tensor) -> Tensor:
        place = values.data_ptr(), values.numel()
        if values.shape[:1] == (num_images,) and place not in seen:  # not the weights, which are there once
            seen.add(place)
            kept[0] += values.numel() * values.element_size()
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        yield kept


def at_once(inputs: Tensor, bytes_an_image: int, num_vectors: int, fastest: int) -> int:
    """How many of the inputs (N, ...) are attacked at once, at least one.

    bytes_an_image : what the network keeps of one for its gradient, which passes through as many on the way back.
    num_vectors : as long as an image, that the attack itself keeps of one. fastest : how many, were there room, on the
    CPU.
    """
    needed = 2 * bytes_an_image + num_vectors * inputs[:1].numel() * inputs.element_size()
    if inputs.is_cuda:
        room, fastest = SHARE * torch.cuda.mem_get_info(inputs.device)[0], ON_GPU * fastest
    else:
        room = ROOM
    return max(1, min(fastest, int(room // max(needed, 1))))
