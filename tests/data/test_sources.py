"""MNIST where it can be had, else the digits, and never one passed off as the other."""

import pytest
import torch

from lib.data import mnist_lookup, sources
from lib.data.mnist_lookup import MissingDataError
from tests.mnist_made import NAMES, put

pytestmark = pytest.mark.usefixtures("nowhere")


def test_auto_takes_the_digits_and_says_why(tmp_path):
    split = sources.load("auto", tmp_path / "absent")
    assert split.source == "digits"
    assert "MNIST was not found" in split.provenance
    assert "OFFLINE" in split.provenance
    assert f"DATA_DIR={tmp_path / 'absent'} holds no MNIST" in split.provenance


def test_mnist_never_falls_back():
    with pytest.raises(MissingDataError, match="set DATA_DIR") as caught:
        sources.load("mnist")
    assert all(file.name in str(caught.value) and file.sha256 in str(caught.value) for file in mnist_lookup.FILES)


def test_digits_by_name_do_not_look_for_mnist(tmp_path):
    split = sources.load("digits", put(tmp_path / "data", {NAMES[0]: b"damaged"}))
    assert split.source == "digits"
    assert "not found" not in split.provenance


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="cifar"):
        sources.load("cifar")


# The digits


@pytest.fixture(scope="module")
def digits():
    return sources.embedded()


def test_digits_are_1297_and_500(digits):
    assert (len(digits.train), len(digits.test)) == (1297, 500)
    assert (digits.train.name, digits.test.name) == ("digits-train", "digits-test")


def test_digits_split_is_stratified(digits):
    counts = torch.stack([part.labels.bincount(minlength=10) for part in (digits.train, digits.test)])
    expected = counts.sum(0) * torch.tensor([[1297], [500]]) / 1797
    assert (counts - expected).abs().max() < 1


def test_digits_split_has_every_image_once(digits):
    from sklearn.datasets import load_digits

    # Averaged down to 8x8, an image is nearest to the one it was made from, or to one that looks just like it.
    split = torch.cat([digits.train.inputs, digits.test.inputs])
    small = torch.nn.functional.adaptive_avg_pool2d(split.reshape(-1, 1, 28, 28), 8).flatten(1)
    original = torch.from_numpy(load_digits().data).float() / 16
    nearest = torch.cdist(original, small).argmin(1)
    labels = torch.cat([digits.train.labels, digits.test.labels])
    assert len(split.unique(dim=0)) == 1797
    assert labels[nearest].tolist() == load_digits().target.tolist()


def test_digits_background_is_black_and_strokes_are_bright(digits):
    assert (digits.train.inputs == 0).float().mean() > 0.25
    assert digits.train.inputs.amax(1).min() > 0.9


def test_digits_do_not_depend_on_or_touch_the_global_generator(digits):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    again = sources.embedded()
    assert torch.equal(torch.rand(3), expected)
    assert again.train.identity == digits.train.identity
    assert again.test.identity == digits.test.identity
