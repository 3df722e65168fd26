"""The recorded networks of Table 1 for whoever is not here: in the reader's browser, and on the first page."""

import json
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import sources
from lib.data.dataset import NUM_CLASSES, Dataset
from lib.experiments.digits import Experiment, Trained
from lib.figures import attack_explorer
from lib.measures import effects
from lib.networks import quantized
from lib.record import ledger
from lib.record.ledger import Cells

FILE = "networks.json"
STILL = "_static/adversarial-digits.png"
WORDS = "Ten handwritten digits, the small perturbations found for them, and the sums, which a network takes for others"
ERROR, LOSS = "test error (%)", "lost to rounding (points)"


def packed(trained: Mapping[str, Trained]) -> str:
    """The networks, a byte a weight: {name: its layers}, as JSON."""
    layers = {name: quantized.quantized(each.network) for name, each in trained.items()}
    return json.dumps({name: [layer.packed() for layer in each] for name, each in layers.items()}) + "\n"


def networks(text: str) -> dict[str, nn.Sequential]:
    """What `packed` has kept of the networks, by name."""
    return {
        name: quantized.network([quantized.unpacked(layer) for layer in layers])
        for name, layers in json.loads(text).items()
    }


def lost(trained: Mapping[str, Trained], kept: Mapping[str, nn.Module], run: Experiment) -> Cells:
    """The test error of what is kept of the networks, and by how many points it exceeds their own."""
    cells = {}
    for name, left in kept.items():
        each = trained[name]
        before, after = (run.errors(one)[ERROR] for one in (each, replace(each, network=left.to(run.device))))
        cells[name, ERROR] = after
        cells[name, LOSS] = effects.exactly(after.value - before.value, after.n)
    return cells


# --- On a page ------------------------------------------------------------------------------------


def element(root: str) -> str:
    """The live attack on the recorded networks, for a page from which `root` leads to the book's first folder.

    Before anything is recorded it is the still picture alone.
    """
    still = f"{root}{STILL}"
    if not (text := _recorded()):
        return f'<img src="{still}" alt="{WORDS}">'
    shown = digits(list(networks(text).values()))
    return attack_explorer.element(shown.inputs, shown.labels.tolist(), root, still, WORDS)


def script() -> str:
    """The recorded networks as networks.js; empty before anything is recorded."""
    return attack_explorer.script(text) if (text := _recorded()) else ""


def _recorded() -> str:
    path = ledger.RESULTS / FILE
    return path.read_text(encoding="utf-8") if path.exists() else ""


def digits(judges: list[nn.Module]) -> Dataset:
    """One embedded digit of each class, at MNIST's size, of those that most of the judges read."""
    split = sources.embedded().test
    whole = Dataset(framed(split.inputs), split.labels, "digits, framed")
    with torch.no_grad():
        right = torch.stack([judge(whole.inputs).argmax(dim=1) == whole.labels for judge in judges]).sum(dim=0)
    best = [int(torch.where(whole.labels == k, right, -1).argmax()) for k in range(NUM_CLASSES)]
    return whole.subset(torch.tensor(best), "one of each")


def framed(images: Tensor, side: int = 20) -> Tensor:
    """Digits (N, 784) that fill their frame, brought to `side` pixels in the middle of it as MNIST's are."""
    small = F.interpolate(images.view(-1, 1, 28, 28), size=side, mode="bilinear", antialias=True, align_corners=False)
    return F.pad(small, [(28 - side) // 2] * 4).flatten(1).clamp(0, 1)
