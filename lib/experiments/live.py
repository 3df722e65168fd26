"""The recorded networks of Table 1 for whoever is not here: in the reader's browser, and on the first page."""

import json
from collections.abc import Mapping

from torch import nn

from lib.data.dataset import Dataset
from lib.experiments.digits import Experiment, Trained
from lib.measures import effects, intervals
from lib.networks import quantized, training
from lib.record.ledger import Cells

FILE = "networks.json"
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
        before, after = (_num_wrong(each.to(run.device), run.test) for each in (trained[name].network, left))
        cells[name, ERROR] = intervals.percent(after, len(run.test))
        cells[name, LOSS] = effects.exactly(100 * (after - before) / len(run.test), len(run.test))
    return cells


def _num_wrong(network: nn.Module, images: Dataset) -> int:
    return round(training.error_rate(network, images.inputs, images.labels) * len(images))
