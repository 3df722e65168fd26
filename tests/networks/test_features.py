"""Maps are what the layers make of the pictures, pooled alike for both networks; what is made once is kept."""

import io
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lib.data.archive import Archive
from lib.data.photographs import Pictures
from lib.networks import features, imagenet
from lib.store.calls import Store

torch.set_num_threads(1)


@pytest.fixture
def images(tmp_path) -> Pictures:
    """Three pictures of noise in an archive."""
    draws, path = np.random.default_rng(0), tmp_path / "noise.zip"
    names = tuple(f"{i}.png" for i in range(3))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            file = io.BytesIO()
            Image.fromarray(draws.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save(file, "png")
            archive.writestr(name, file.getvalue())
    return Pictures(Archive(path), names, torch.arange(3), ("a", "b", "c"), ("a", "b", "c"), "noise", 224)


@pytest.mark.parametrize(("network", "channels"), [(imagenet.AlexNet, 256), (imagenet.SqueezeNet, 512)])
def test_maps_are_the_pooled_features(images, network, channels, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 2)
    network = features.untrained(network, seed=1)
    found = features.maps(network, images).float()
    assert found.shape == (3, channels, 36)
    with torch.no_grad():
        expected = network.features(network.normalize(images.inputs()))
    if expected.shape[2] > 6:
        expected = F.max_pool2d(expected, 3, 2)
    torch.testing.assert_close(found, expected.flatten(2), rtol=1e-3, atol=1e-4)


def test_maps_are_made_once_for_each_network_and_picture(images, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    networks = [features.untrained(imagenet.AlexNet, seed) for seed in (1, 2)]
    first, second = (store.call(features.maps, network, images) for network in networks)
    assert not torch.equal(first, second)
    monkeypatch.setattr(Pictures, "batches", lambda *_: pytest.fail("the pictures were read again"))
    assert torch.equal(store.call(features.maps, networks[0], images), first)


def test_thumbnails_are_means_of_squares(images):
    found = features.thumbnails(images).unflatten(1, (3, 32, 32))
    whole = images.inputs()
    torch.testing.assert_close(found[1, 2, 3, 5], whole[1, 2, 21:28, 35:42].mean())


def test_untrained_networks_are_reproducible_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again = (features.untrained(imagenet.SqueezeNet, 7).features[0].weight for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.rand(1), expected)
