"""The linear layer on frozen features is the optimum of its loss, is made once, and changes nothing below it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lib.networks import imagenet, linear_probe, training
from lib.networks.linear_probe import ProbeConfig
from lib.networks.training import TrainingConfig
from lib.store import Store
from tests.pictures_made import tiny_imagenet

torch.set_num_threads(1)

CPU = torch.device("cpu")
PRECISE = ProbeConfig(decay=1e-2, training=TrainingConfig(max_iterations=500, decrease=1e-12))


@pytest.fixture(scope="module")
def backbone():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return imagenet.AlexNet().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return tiny_imagenet(tmp_path_factory.mktemp("data"), per_class=4).train


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def fitted(backbone, train, store):
    return linear_probe.fit(backbone, train, PRECISE, store, CPU)


def test_features_are_means_over_four_places(backbone, train):
    inputs = train.spread(2).inputs()
    maps = backbone.encode(inputs).view(2, 256, 6, 6)
    expected = maps.unflatten(3, (3, 2)).unflatten(2, (3, 2)).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(imagenet.Probe(backbone, 3).encode(inputs), expected)


def test_logits_are_the_layer_on_features_of_unit_size(fitted, train, store):
    network, _ = fitted
    features = linear_probe.encode_all(network, train, store, CPU) / network.scale
    assert features.square().mean() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(network(train.inputs()), network.head(features), rtol=1e-4, atol=1e-5)


def test_the_fit_is_the_optimum_that_scikit_learn_finds(fitted, train, store):
    """Mean cross-entropy + decay / 2 |w|^2 is scikit-learn's loss with C = 1 / (N decay); biases are free in both."""
    network, result = fitted
    assert result.converged
    features = (linear_probe.encode_all(network, train, store, CPU) / network.scale).double().numpy()
    theirs = LogisticRegression(C=1 / (len(train) * PRECISE.decay), tol=1e-8, max_iter=5000)
    theirs.fit(features, train.labels.numpy())
    ours = network.head(torch.from_numpy(features).float()).softmax(dim=1)
    np.testing.assert_allclose(ours.numpy(), theirs.predict_proba(features), rtol=0, atol=2e-3)
    weights = network.head.weight.double().numpy()  # in float32 the loss is flat before they are as near as that
    assert np.abs(weights - theirs.coef_).max() < 0.05 * np.abs(theirs.coef_).max()


def test_it_tells_the_colours_apart_that_it_was_trained_on(fitted, train):
    network, _ = fitted
    assert (network(train.inputs()).argmax(dim=1) == train.labels).all()


def test_it_is_frozen_and_its_features_are_as_they_were(fitted, backbone):
    network, _ = fitted
    assert network.backbone is backbone
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_features_and_layer_are_made_once(fitted, backbone, train, store, monkeypatch):
    network, result = fitted

    def never(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(training, "fit", never)
    monkeypatch.setattr(imagenet.Probe, "encode", never)
    again, kept = linear_probe.fit(backbone, train, PRECISE, store, CPU)
    assert torch.equal(again.head.weight, network.head.weight)
    assert torch.equal(again.scale, network.scale)
    assert kept == result
    with pytest.raises(AssertionError, match="made again"):
        linear_probe.fit(backbone, train, ProbeConfig(decay=1.0), store, CPU)


def test_pieces_change_nothing(fitted, train, store, tmp_path, monkeypatch):
    network, _ = fitted
    monkeypatch.setattr(linear_probe, "PIECE", 5)
    monkeypatch.setattr(linear_probe, "BATCH", 2)
    pieces = linear_probe.encode_all(network, train, Store(tmp_path), CPU)
    torch.testing.assert_close(pieces, network.encode(train.inputs()), rtol=1e-4, atol=1e-6)
