"""The benchmark measures what it says: same images for everybody, ratios that agree with the parts."""

import pytest
import torch

from benchmarks.attack import compare, scipy_bisection, table
from lib import data, training
from lib.attack import find_adversarial, random_targets
from lib.models import mnist

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def problem():
    train, test, *_ = data.digits()
    spec = mnist.SPECS["softmax 1e-2"]
    network = mnist.build(spec, torch.Generator().manual_seed(0))
    training.fit(network, train.inputs, train.labels, spec.decay)
    images = test.take(12)
    targets = random_targets(images.labels, data.NUM_CLASSES, torch.Generator().manual_seed(1))
    return network.requires_grad_(False), images.inputs, targets


def test_bisection_finds_what_the_search_finds(problem):
    network, inputs, targets = problem
    few = slice(0, 3)
    ours = find_adversarial(network, inputs[few], targets[few]).distortion
    # Twelve bisections of a price over three decades leave 0.2 % in c, and the minimiser of the last success is kept.
    torch.testing.assert_close(scipy_bisection(network, inputs[few], targets[few]), ours, rtol=2e-2, atol=0)


def test_figures_are_those_of_the_same_images(problem):
    network, inputs, targets = problem
    figures = compare(network, inputs, targets, num_scipy=3)
    ours = find_adversarial(network, inputs, targets)
    assert figures["num_images"] == 12
    assert figures["distortion"]["value"] == pytest.approx(ours.distortion.mean().item(), rel=1e-5)
    assert figures["success"]["value"] == 1
    assert figures["speedup_vs_scipy"] == pytest.approx(figures["scipy_ms"] / figures["ms"])
    assert 0.99 < figures["distortion_ratio_vs_scipy"] < 1.01
    assert 1 <= figures["distortion_ratio_vs_exact"] < 1.1
    assert "softmax" in table({"softmax": figures})
