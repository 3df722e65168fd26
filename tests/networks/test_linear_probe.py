"""The linear layer on frozen features is the optimum of its loss, is made once, and changes nothing below it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lib.experiments import photographs
from lib.networks import features, imagenet, linear_probe
from lib.networks.imagenet import Probe
from lib.networks.linear_probe import FittedHead, ProbeConfig
from lib.networks.training import TrainingConfig
from lib.store.calls import Store
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
def encoded(backbone, train) -> torch.Tensor:
    return features.encodings(Probe(backbone, len(train.wnids)), train)


@pytest.fixture(scope="module")
def fitted(encoded, train) -> FittedHead:
    return linear_probe.fit_head(encoded, train.labels, len(train.wnids), PRECISE)


def test_features_are_means_over_four_places(backbone, train):
    inputs = train.spread(2).inputs()
    maps = backbone.encode(inputs).view(2, 256, 6, 6)
    expected = maps.unflatten(3, (3, 2)).unflatten(2, (3, 2)).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(Probe(backbone, 3).encode(inputs), expected)
    torch.testing.assert_close(features.encodings(Probe(backbone, 3), train.spread(2)), expected)


def test_features_are_brought_to_unit_size(encoded, fitted):
    assert (encoded / fitted.scale).square().mean() == pytest.approx(1, rel=1e-5)


def test_the_fit_is_the_optimum_that_scikit_learn_finds(encoded, fitted, train):
    """Mean cross-entropy + decay / 2 |w|^2 is scikit-learn's loss with C = 1 / (N decay); biases are free in both."""
    assert fitted.result.converged
    scaled = (encoded / fitted.scale).double()
    theirs = LogisticRegression(C=1 / (len(train) * PRECISE.decay), tol=1e-8, max_iter=5000)
    theirs.fit(scaled.numpy(), train.labels.numpy())
    ours = (scaled @ fitted.weight.T.double() + fitted.bias.double()).softmax(dim=1)
    np.testing.assert_allclose(ours.numpy(), theirs.predict_proba(scaled.numpy()), rtol=0, atol=2e-3)
    weights = fitted.weight.double().numpy()  # in float32 the loss is flat before they are as near as that
    assert np.abs(weights - theirs.coef_).max() < 0.05 * np.abs(theirs.coef_).max()


# --- The network that is put together of both -----------------------------------------------------


def test_its_logits_are_the_layer_on_the_features_and_it_tells_the_colours_apart(backbone, train, tmp_path):
    network, result = photographs.probe(backbone, train, Store(tmp_path), CPU)
    assert result.losses[-1] < result.losses[0]
    logits = network.head(network.encode(train.inputs()) / network.scale)
    torch.testing.assert_close(network(train.inputs()), logits, rtol=1e-4, atol=1e-5)
    assert (logits.argmax(dim=1) == train.labels).all()


def test_it_is_frozen_and_its_features_are_as_they_were(backbone, train, tmp_path):
    network, _ = photographs.probe(backbone, train, Store(tmp_path), CPU)
    assert network.backbone is backbone
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_features_and_layer_are_made_once(backbone, train, tmp_path):
    store = Store(tmp_path)
    network, result = photographs.probe(backbone, train, store, CPU)
    assert store.num_made == 2  # one piece of features, one layer
    again, kept = photographs.probe(backbone, train, store, CPU)
    assert store.num_made == 2
    assert torch.equal(again.head.weight, network.head.weight)
    assert torch.equal(again.scale, network.scale)
    assert kept == result


def test_pieces_change_nothing(encoded, backbone, train, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "PIECE", 5)
    monkeypatch.setattr(features, "BATCH", 2)
    network, store = Probe(backbone, len(train.wnids)), Store(tmp_path)
    assert photographs.num_pieces(train) == 3
    pieces = [photographs.encode_piece(network, train, piece, store) for piece in range(3)]
    torch.testing.assert_close(torch.cat(pieces), encoded, rtol=1e-4, atol=1e-6)


def test_pieces_that_were_prepared_are_found_by_the_fit_and_the_other_way_round(backbone, train, tmp_path):
    """Both encode with a layer that is not trained yet: its weights are part of the key."""
    store = Store(tmp_path)
    photographs.probe(backbone, train, store, CPU)
    untrained = Probe(backbone, len(train.wnids)).eval().requires_grad_(False)
    made = store.num_made
    photographs.encode_piece(untrained, train, 0, store)
    assert store.num_made == made
