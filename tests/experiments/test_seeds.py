"""Each role of randomness has a seed of its own, and a device is one that there is."""

from dataclasses import astuple, fields

import pytest
import torch

from lib.experiments.seeds import Seeds, device, generator


def test_seeds_are_the_same_in_every_process_and_version():
    """Recorded results depend on these numbers."""
    assert Seeds.derive(0) == Seeds(
        init=2968811710,
        split=3964924996,
        batches=3141116543,
        targets=2613022947,
        noise=1874364848,
        twin=161328693,
        corruption=2617721224,
        directions=1369798745,
        rows=3026431988,
        resampling=2214077229,
    )


def test_no_two_roles_of_any_experiments_share_a_seed():
    seeds = [seed for base in range(500) for seed in astuple(Seeds.derive(base))]
    assert len(set(seeds)) == len(seeds) == 500 * len(fields(Seeds))
    assert all(type(seed) is int and seed >= 0 for seed in seeds)


@pytest.mark.parametrize("seed", [-1, -(2**40)])
def test_negative_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"0 or more, not {seed}"):
        Seeds.derive(seed)


def test_a_generator_is_its_seeds_and_not_the_global_one():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.rand(5, generator=generator(3))
    torch.manual_seed(2)
    assert torch.equal(torch.rand(5, generator=generator(3)), first)
    assert not torch.equal(torch.rand(5, generator=generator(4)), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert generator(3).device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "has_gpu", "expected"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_devices(monkeypatch, name, has_gpu, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert device(name) == torch.device(expected)


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="finds none; use auto or cpu"):
        device("cuda")


@pytest.mark.parametrize("name", ["", "gpu", "mps", "CPU", "cuda:1"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match=f"auto, cpu or cuda, not {name!r}"):
        device(name)
