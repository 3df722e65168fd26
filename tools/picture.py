"""Draws the README's picture and the card that links show, of embedded digits alone: `python -m tools.picture`."""

import torch
from matplotlib.figure import Figure
from PIL import Image

from lib.attacks import penalized
from lib.data import dataset, sources
from lib.experiments import live, seeds
from lib.experiments.seeds import Seeds
from lib.figures import grids
from lib.networks import mnist, training
from lib.record import ledger

NETWORK, DIGIT = "100-100-10", 3
STRIP, CARD = "_static/adversarial-digits.png", "_static/card.png"
GROUND, TEXT, PALE = "#14181e", "#ffffff", "#9ca4af"
COLOURS = 64  # of the card's palette


def strip() -> Figure:
    """Ten test digits that 100-100-10 reads, what the attack finds for targets at random, and the sums."""
    roles = Seeds.derive(0)
    train, test, *_ = sources.embedded()
    spec = mnist.SPECS[NETWORK]
    network = mnist.build(spec, seeds.generator(roles.init))
    training.fit(network, train.inputs, train.labels, spec.decay)
    with torch.no_grad():
        right = (network(test.inputs).argmax(dim=1) == test.labels).nonzero()[:10, 0]
    shown = test.subset(right)
    targets = penalized.random_targets(shown.labels, dataset.NUM_CLASSES, seeds.generator(roles.targets))
    found = penalized.find_adversarial(network, shown.inputs, targets)
    title = "A digit, the smallest change that makes the network say another one, and their sum"
    return grids.attack_strip(shown.inputs, found.adversarial, shown.labels, targets, title)


def card() -> Figure:
    """A digit + a change = what the recorded 100-100-10 reads as another digit, at the size that og:image asks for."""
    networks = live.networks((ledger.RESULTS / live.FILE).read_text(encoding="utf-8"))
    shown = live.digits(list(networks.values()))
    found = penalized.find_nearest_adversarial(networks[NETWORK], shown.inputs, shown.labels)
    digit, adversarial = shown.inputs[DIGIT], found.adversarial[DIGIT]
    with torch.no_grad():
        said = int(networks[NETWORK](found.adversarial)[DIGIT].argmax())
    figure = Figure(figsize=(12, 6.3), dpi=100)
    figure.text(0.5, 0.87, "Intriguing properties of neural networks", size=34, color=TEXT, ha="center", va="center")
    figure.text(0.5, 0.06, "Szegedy et al. 2013, reproduced: a book that runs", size=22, color=PALE, ha="center")
    panels = [
        (digit, f"read as {DIGIT}"),
        (0.5 + adversarial - digit, "a small change"),
        (adversarial, f"read as {said}"),
    ]
    for i, (pixels, words) in enumerate(panels):
        ax = figure.add_axes((0.07 + 0.31 * i, 0.27, 0.24, 0.24 * 12 / 6.3))
        ax.imshow(pixels.view(28, 28), cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()
        ax.set_title(words, size=24, color=TEXT, y=-0.17)
    for x, sign in ((0.345, "+"), (0.655, "=")):
        figure.text(x, 0.5, sign, size=48, color=TEXT, ha="center", va="center")
    return figure


def main() -> None:
    strip().savefig(STRIP, transparent=True)
    card().savefig(CARD, facecolor=GROUND)
    Image.open(CARD).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(CARD, optimize=True)


if __name__ == "__main__":
    main()
