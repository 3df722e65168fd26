"""Draws the README's picture, from the embedded digits alone: `python tools/picture.py`."""

import torch

from lib import attack, config, data, plots, training
from lib.models import mnist


def main() -> None:
    seeds = config.Seeds.derive(0)
    train, test, *_ = data.digits()
    spec = mnist.SPECS["100-100-10"]
    network = mnist.build(spec, config.generator(seeds.init))
    training.fit(network, train.inputs, train.labels, spec.decay)
    with torch.no_grad():
        right = (network(test.inputs).argmax(dim=1) == test.labels).nonzero()[:10, 0]
    shown = test.subset(right)
    targets = attack.random_targets(shown.labels, data.NUM_CLASSES, config.generator(seeds.targets))
    found = attack.find_adversarial(network, shown.inputs, targets)
    title = "A digit, the smallest change that makes the network say another one, and their sum"
    figure = plots.attack_strip(shown.inputs, found.adversarial, shown.labels, targets, title)
    figure.savefig("_static/adversarial-digits.png", dpi=120, transparent=True)


if __name__ == "__main__":
    main()
