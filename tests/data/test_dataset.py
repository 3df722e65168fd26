"""A data set is what it says, and its halves have every example once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.data.dataset import Dataset, disjoint_halves

# Dataset


def dataset(num=5, name="toy"):
    inputs = torch.rand(num, 784, generator=torch.Generator().manual_seed(0))
    return Dataset(inputs, torch.arange(num) % 10, name)


def test_take_and_subset_say_so_in_the_name():
    whole = dataset(5)
    assert len(whole) == 5
    assert whole.take(None) is whole
    assert whole.take(9) is whole
    assert whole.take(2).name == "toy[:2]"
    assert torch.equal(whole.take(2).inputs, whole.inputs[:2])
    chosen = whole.subset(torch.tensor([3, 1]))
    assert chosen.name == "toy[subset]"
    assert chosen.labels.tolist() == [3, 1]
    assert whole.subset(whole.labels > 2).labels.tolist() == [3, 4]


def test_identity_depends_on_the_bytes_and_on_nothing_else():
    whole = dataset()
    assert whole.identity == dataset(name="other").identity == whole.to("cpu").identity
    assert len({whole.identity, whole.take(4).identity, whole.subset(torch.tensor([1, 0, 2, 3, 4])).identity}) == 3
    assert Dataset(whole.inputs, whole.labels.flip(0), "toy").identity != whole.identity
    assert dataset().subset(slice(0, 5, 2)).identity == whole.subset(torch.tensor([0, 2, 4])).identity


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(2, 28, 28), torch.zeros(2).long(), "inputs must be float32"),
        (torch.zeros(2, 784).double(), torch.zeros(2).long(), "inputs must be float32"),
        (torch.zeros(2, 784), torch.zeros(3).long(), "labels must be int64"),
        (torch.zeros(2, 784), torch.zeros(2), "labels must be int64"),
        (torch.zeros(0, 784), torch.zeros(0).long(), "no example"),
        (torch.full((2, 784), 1.01), torch.zeros(2).long(), r"\[0, 1\]"),
        (torch.full((2, 784), -0.01), torch.zeros(2).long(), r"\[0, 1\]"),
        (torch.full((2, 784), float("nan")), torch.zeros(2).long(), r"\[0, 1\]"),
        (torch.zeros(2, 784), torch.tensor([0, 10]), r"0\.\.9"),
        (torch.zeros(2, 784), torch.tensor([0, -1]), r"0\.\.9"),
    ],
)
def test_dataset_refuses_what_is_not_one(inputs, labels, message):
    with pytest.raises(ValueError, match=message):
        Dataset(inputs, labels, "toy")


# P1 and P2


@settings(deadline=None, max_examples=50)
@given(num=st.integers(2, 41), seed=st.integers(0, 2**32))
def test_halves_are_disjoint_exhaustive_and_reproducible(num, seed):
    inputs = torch.arange(num).float().unsqueeze(1).expand(num, 784) / 64
    whole = Dataset(inputs, torch.arange(num) % 10, "toy")
    one, two = disjoint_halves(whole, torch.Generator().manual_seed(seed))
    members = [(part.inputs[:, 0] * 64).long() for part in (one, two)]
    assert len(one) == len(two) == num // 2
    assert len(set(torch.cat(members).tolist())) == num - num % 2
    assert all(torch.equal(part.labels, index % 10) for part, index in zip((one, two), members, strict=True))
    assert (one.name, two.name) == ("toy[P1]", "toy[P2]")
    again = disjoint_halves(whole, torch.Generator().manual_seed(seed))
    assert [part.identity for part in again] == [one.identity, two.identity]


def test_halves_differ_between_seeds_and_need_two_examples():
    seeds = (torch.Generator().manual_seed(seed) for seed in range(2))
    one, other = (disjoint_halves(dataset(40), seed)[0].identity for seed in seeds)
    assert one != other
    with pytest.raises(ValueError, match="no example"):
        disjoint_halves(dataset(1), torch.Generator())
