"""Where randomness comes from: a seed for every role, and what draws from it; and where things are computed."""

from dataclasses import dataclass, fields
from numbers import Integral

import numpy as np
import torch


@dataclass(frozen=True)
class Seeds:
    """One seed for each role that randomness plays, so that changing one leaves the others alone."""

    init: int  # networks' first weights
    split: int  # P1 and P2
    batches: int  # minibatches and dropout of Conv
    targets: int  # wrong classes to attack to
    noise: int  # Gaussian noise that attacks are compared with
    twin: int  # first weights of the second of two networks that are alike
    corruption: int  # noise on the autoencoder's inputs
    directions: int  # random directions among a layer's activations
    rows: int  # which of their rows of pictures are shown, and in which order a blind test asks
    resampling: int  # permutations, bootstrap samples and rotations

    @classmethod
    def derive(cls, seed: int) -> "Seeds":
        """The roles' seeds of one experiment. Raises ValueError for anything but 0, 1, 2, ..."""
        if not isinstance(seed, Integral) or seed < 0:
            raise ValueError(f"the seed must be a whole number, 0 or more, not {seed!r}")
        roles = [role.name for role in fields(cls)]
        return cls(*(int(np.random.SeedSequence([seed, i]).generate_state(1)[0]) for i in range(len(roles))))


def generator(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers whatever device the experiment runs on."""
    return torch.Generator().manual_seed(seed)


def device(name: str) -> torch.device:
    """The device that a chapter's parameter names: "cpu", "cuda", or "auto" for the best there is.

    Raises ValueError for another name, or for "cuda" where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for and PyTorch finds none; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
