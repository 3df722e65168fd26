"""Draws the README's picture, from the embedded digits alone: `python tools/picture.py`."""

import torch

from lib.attacks import penalized
from lib.data import dataset, sources
from lib.experiments import seeds
from lib.experiments.seeds import Seeds
from lib.figures import grids
from lib.networks import mnist, training


def main() -> None:
    roles = Seeds.derive(0)
    train, test, *_ = sources.embedded()
    spec = mnist.SPECS["100-100-10"]
    network = mnist.build(spec, seeds.generator(roles.init))
    training.fit(network, train.inputs, train.labels, spec.decay)
    with torch.no_grad():
        right = (network(test.inputs).argmax(dim=1) == test.labels).nonzero()[:10, 0]
    shown = test.subset(right)
    targets = penalized.random_targets(shown.labels, dataset.NUM_CLASSES, seeds.generator(roles.targets))
    found = penalized.find_adversarial(network, shown.inputs, targets)
    title = "A digit, the smallest change that makes the network say another one, and their sum"
    figure = grids.attack_strip(shown.inputs, found.adversarial, shown.labels, targets, title)
    figure.savefig("_static/adversarial-digits.png", transparent=True)


if __name__ == "__main__":
    main()
