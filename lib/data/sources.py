"""The digits a chapter gets: MNIST where it can be had, else scikit-learn's, and never one passed off as the other."""

from pathlib import Path

import torch
import torch.nn.functional as F

from lib.data import mnist_files
from lib.data.dataset import Dataset, Split
from lib.data.mnist_lookup import MissingDataError

NUM_DIGITS_TEST = 500
DIGITS_SPLIT_SEED = 2013


def load(name: str = "auto", data_dir: str | Path | None = None) -> Split:
    """The data a chapter asks for.

    Parameters
    ----------
    name : "auto", "mnist" or "digits"
        "mnist" never falls back. "auto" takes the digits where MNIST is simply not to be found, and says so in
        `provenance`; a file that is there but damaged is an error all the same.
    data_dir : path, optional
        Else the environment variable DATA_DIR: a folder with the four IDX files, or whose `mnist/` has them.

    Raises
    ------
    ValueError
        If the name is another one.
    DataError
        If a file is missing (in "auto": some of the four) or damaged.
    """
    if name not in ("auto", "mnist", "digits"):
        raise ValueError(f'data must be "auto", "mnist" or "digits", not {name!r}')
    if name == "digits":
        return embedded()
    try:
        return mnist_files.mnist(data_dir)
    except MissingDataError as missing:
        if name == "mnist":
            raise
        split = embedded()
        return split._replace(provenance=f"{split.provenance}; MNIST was not found: {missing.reason}")


def embedded() -> Split:
    """Scikit-learn's 1,797 handwritten digits, 8x8, upsampled to 28x28 and split into 1,297 and 500.

    Bicubic interpolation, clipped to [0, 1]: sharper strokes than bilinear, and the clipping keeps the background
    exactly black, as MNIST's is. The split is stratified and always the same.

    Reference
    ---------
    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    # Imported here because it takes a second that MNIST need not wait for.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    large = F.interpolate(images, size=(28, 28), mode="bicubic", align_corners=False).clamp(0, 1)
    whole = Dataset(large.flatten(1), torch.from_numpy(bunch.target).long(), "digits")
    parts = train_test_split(
        range(len(whole)), test_size=NUM_DIGITS_TEST, stratify=bunch.target, random_state=DIGITS_SPLIT_SEED
    )
    train, test = (
        Dataset(whole.inputs[part], whole.labels[part], f"digits-{role}")
        for part, role in zip(parts, ("train", "test"), strict=True)
    )
    return Split(train, test, "digits", f"scikit-learn's load_digits, 8x8 upsampled; sha256 {whole.identity[:8]}")
