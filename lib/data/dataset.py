"""A data set of digits: images and labels that are what they say."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

NUM_PIXELS = 784
NUM_CLASSES = 10


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their classes.

    Attributes
    ----------
    inputs : Tensor (N, 784), float32, values in [0, 1]
    labels : Tensor (N,), int64, values in 0..9
    name : str
        Says what data these are, e.g. "mnist-train" or "mnist-train[:1000]".

    Raises
    ------
    ValueError
        If a shape, dtype or range is not as stated, or there is no example.
    """

    inputs: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    name: str

    def __post_init__(self):
        if self.inputs.ndim != 2 or self.inputs.shape[1] != NUM_PIXELS or self.inputs.dtype != torch.float32:
            raise ValueError(f"{self.name}: inputs must be float32 (N, {NUM_PIXELS}), not {_describe(self.inputs)}")
        if self.labels.shape != self.inputs.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError(f"{self.name}: labels must be int64 ({len(self)},), not {_describe(self.labels)}")
        if len(self) == 0:
            raise ValueError(f"{self.name}: holds no example")
        low, high = map(float, self.inputs.aminmax())
        if not (low >= 0 and high <= 1):  # so written that NaN fails
            raise ValueError(f"{self.name}: inputs must lie in [0, 1], not in [{low}, {high}]")
        first, last = map(int, self.labels.aminmax())
        if first < 0 or last >= NUM_CLASSES:
            raise ValueError(f"{self.name}: labels must lie in 0..{NUM_CLASSES - 1}, not in {first}..{last}")

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def identity(self) -> str:
        """sha256 over the bytes of inputs and labels: what a stored artifact depends on."""
        digest = hashlib.sha256(self.inputs.cpu().contiguous().numpy())
        digest.update(self.labels.cpu().contiguous().numpy())
        return digest.hexdigest()

    def take(self, num: int | None) -> "Dataset":
        """The first num examples; all of them if num is None or there are no more."""
        if num is None or num >= len(self):
            return self
        return self.subset(slice(num), f":{num}")

    def subset(self, index: Tensor | slice, label: str = "subset") -> "Dataset":
        """The examples at the index (numbers or a mask), named "name[label]"."""
        return Dataset(self.inputs[index], self.labels[index], f"{self.name}[{label}]")

    def to(self, device: torch.device | str) -> "Dataset":
        """The same examples on another device."""
        return Dataset(self.inputs.to(device), self.labels.to(device), self.name)


class Split(NamedTuple):
    """A data set as it is used.

    Attributes
    ----------
    train, test : Dataset
    source : str
        "mnist" or "digits".
    provenance : str
        Where the bytes came from, with the beginnings of their checksums, and why not from elsewhere.
    """

    train: Dataset
    test: Dataset
    source: str
    provenance: str


def disjoint_halves(dataset: Dataset, generator: torch.Generator) -> tuple[Dataset, Dataset]:
    """P1 and P2 of section 4.2: random disjoint halves of equal size.

    Of an odd number of examples the last one drawn is left out.

    Parameters
    ----------
    dataset : Dataset, N >= 2
    generator : torch.Generator on the CPU

    Raises
    ------
    ValueError
        If there are fewer than two examples.
    """
    order = torch.randperm(len(dataset), generator=generator)
    half = len(dataset) // 2
    return dataset.subset(order[:half], "P1"), dataset.subset(order[half : 2 * half], "P2")


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
