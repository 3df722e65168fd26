"""The networks of Table 1 in a byte a weight, for the reader's browser: each row of weights has a scale of its own.

A weight w is kept as the whole number nearest to w / s in -127 ... 127, where s is the row's largest |w| over 127;
biases are kept as they are, in float32.
"""

import base64
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lib.networks.mnist import AutoencoderClassifier

LEVELS = 127


@dataclass(frozen=True)
class QuantizedLayer:
    """A linear layer: weight (out, in) is weights * scale."""

    weights: Tensor  # (out, in), int8
    scale: Tensor  # (out,), float32
    bias: Tensor  # (out,), float32

    @classmethod
    def of(cls, layer: nn.Linear) -> "QuantizedLayer":
        weight = layer.weight.detach().float().cpu()
        scale = weight.abs().amax(dim=1) / LEVELS
        whole = (weight / torch.where(scale > 0, scale, 1.0)[:, None]).round()
        return cls(whole.to(torch.int8), scale, layer.bias.detach().float().cpu())

    def linear(self) -> nn.Linear:
        """The layer that is left."""
        layer = nn.Linear(*reversed(self.weights.shape))
        layer.weight = nn.Parameter(self.weights * self.scale[:, None], requires_grad=False)
        layer.bias = nn.Parameter(self.bias, requires_grad=False)
        return layer

    def packed(self) -> dict:
        """As JSON: sizes, and the bytes (little endian) in base 64."""
        rows, columns = self.weights.shape
        return {"rows": rows, "columns": columns} | {name: _text(values) for name, values in vars(self).items()}


def quantized(network: nn.Module) -> list[QuantizedLayer]:
    """The linear layers of a `mnist.sigmoid_network` or of AE400-10, between which sigmoids stand."""
    return [QuantizedLayer.of(layer) for layer in _linear_layers(network)]


def network(layers: list[QuantizedLayer]) -> nn.Sequential:
    """Linear layers with sigmoids between them, in evaluation mode."""
    parts = [part for layer in layers for part in (layer.linear(), nn.Sigmoid())]
    return nn.Sequential(*parts[:-1]).eval()


def _linear_layers(network: nn.Module) -> list[nn.Linear]:
    if isinstance(network, AutoencoderClassifier):
        return [network.encoder, network.classifier]
    layers = list(network)
    if not all(isinstance(part, (nn.Sigmoid, nn.Linear)[i % 2 == 0]) for i, part in enumerate(layers)):
        raise ValueError("only linear layers with sigmoids between them are kept in bytes")
    return layers[::2]


def _text(values: Tensor) -> str:
    array = values.numpy()
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def unpacked(entry: dict) -> QuantizedLayer:
    """What `QuantizedLayer.packed` gave."""
    kinds = {"weights": np.dtype("i1"), "scale": np.dtype("<f4"), "bias": np.dtype("<f4")}
    read = {name: np.frombuffer(base64.b64decode(entry[name]), kind) for name, kind in kinds.items()}
    parts = {name: torch.from_numpy(values.astype(values.dtype.newbyteorder("="))) for name, values in read.items()}
    return QuantizedLayer(parts["weights"].view(entry["rows"], entry["columns"]), parts["scale"], parts["bias"])
