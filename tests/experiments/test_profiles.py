"""Profiles are values; each role of randomness has a seed of its own."""

from dataclasses import FrozenInstanceError, replace

import pytest

from lib.experiments.profiles import PROFILES
from lib.store.identity import digest


def test_profiles_carry_their_names():
    assert set(PROFILES) == {"quick", "paper"}
    assert all(profile.name == name for name, profile in PROFILES.items())


def test_paper_takes_all_images_and_quick_is_smaller_in_everything():
    quick, paper = PROFILES["quick"], PROFILES["paper"]
    assert paper.num_train is None
    assert paper.num_attacked is None
    assert 0 < quick.num_attacked <= quick.num_train
    assert quick.training.max_iterations < paper.training.max_iterations
    assert quick.training.decrease > paper.training.decrease
    assert quick.autoencoder.max_iterations < paper.autoencoder.max_iterations
    assert quick.autoencoder.num_images < paper.autoencoder.num_images
    assert quick.conv.num_epochs < paper.conv.num_epochs


def test_profiles_differ_in_scale_only():
    """What a network is trained for and how accurate the attack is are the same in both."""
    quick, paper = PROFILES["quick"], PROFILES["paper"]
    assert quick.attack == paper.attack
    scale = {"max_iterations": 1, "num_images": 1}
    assert replace(quick.autoencoder, **scale) == replace(paper.autoencoder, **scale)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_value(name):
    profile = PROFILES[name]
    assert profile == replace(profile)
    assert profile != replace(profile, num_train=1)
    assert len(digest(profile)) == 64  # so it can be part of a key
    with pytest.raises(FrozenInstanceError):
        profile.num_train = 1
