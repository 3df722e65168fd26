"""The MNIST networks of section 2 and Table 1. Inputs (N, 784) in [0, 1], logits (N, 10) out."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

NUM_PIXELS = 784


@dataclass(frozen=True)
class NetworkSpec:
    """What the paper says of one network.

    sizes : of its layers; of Conv: pixels, hidden units, classes. decay : lambda of each layer that L-BFGS trains on
    labels, of AE400-10 the classifier's; none for what minibatches train.
    """

    name: str
    family: str  # "sigmoid", "autoencoder", "conv" or "rectified"
    sizes: tuple[int, ...]
    decay: tuple[float, ...]


_SPECS = (
    NetworkSpec("softmax 1e-4", "sigmoid", (784, 10), (1e-4,)),
    NetworkSpec("softmax 1e-2", "sigmoid", (784, 10), (1e-2,)),
    NetworkSpec("softmax 1", "sigmoid", (784, 10), (1.0,)),
    NetworkSpec("100-100-10", "sigmoid", (784, 100, 100, 10), (1e-5, 1e-5, 1e-6)),
    NetworkSpec("200-200-10", "sigmoid", (784, 200, 200, 10), (1e-5, 1e-5, 1e-6)),
    NetworkSpec("AE400-10", "autoencoder", (784, 400, 10), (1e-6,)),
    NetworkSpec("123-456-10", "sigmoid", (784, 123, 456, 10), (1e-5, 1e-5, 1e-6)),
    NetworkSpec("Conv", "conv", (784, 256, 10), ()),
)
SPECS = {spec.name: spec for spec in _SPECS}
TABLE1 = tuple(SPECS)[:6]
LINEAR, DEEP = TABLE1[:3], TABLE1[3:]

# The networks of Tables 3 and 4: what they are, and on which half of the training images they are trained.
HALVES = {"M1": ("100-100-10", "P1"), "M2": ("123-456-10", "P1"), "M3": ("100-100-10", "P2")}


def build(spec: NetworkSpec, generator: torch.Generator) -> nn.Module:
    """The untrained network of `spec`, in evaluation mode. Raises ValueError for a family there is no class for."""
    families = {
        "sigmoid": sigmoid_network,
        "autoencoder": AutoencoderClassifier,
        "conv": ConvNetwork,
        "rectified": _rectified_network,
    }
    if spec.family not in families:
        raise ValueError(f"{spec.name}: no network family {spec.family!r}; there are {', '.join(families)}")
    return families[spec.family](spec.sizes, generator).eval()


def sigmoid_network(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Fully connected layers with sigmoids between them; sizes (784, 10) make the linear "softmax" classifier."""
    return _fully_connected(sizes, nn.Sigmoid, generator)


def _rectified_network(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Fully connected layers with rectifiers between them."""
    return _fully_connected(sizes, nn.ReLU, generator)


def _fully_connected(sizes: tuple[int, ...], activation: type[nn.Module], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [glorot(nn.Linear(fan_in, fan_out), generator), activation()]
    return nn.Sequential(*layers[:-1])


class AutoencoderClassifier(nn.Module):
    """AE400-10: a softmax on the code of a sparse sigmoid autoencoder, which is frozen once it is trained."""

    def __init__(self, sizes: tuple[int, int, int], generator: torch.Generator):
        super().__init__()
        num_pixels, num_units, num_classes = sizes
        self.encoder = glorot(nn.Linear(num_pixels, num_units), generator)
        self.classifier = glorot(nn.Linear(num_units, num_classes), generator)

    def encode(self, inputs: Tensor) -> Tensor:
        """Code (N, num_units), values in (0, 1)."""
        return torch.sigmoid(self.encoder(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.encode(inputs))


class ConvNetwork(nn.Module):
    """The first version's convolutional network: convolution, max pooling, fully connected, dropout, softmax.

    The paper gives no sizes. 32 filters of 5 x 5, 2 x 2 pooling, sizes[1] rectified units and dropout of 1/2 are ours.
    """

    num_filters = 32

    def __init__(self, sizes: tuple[int, int, int], generator: torch.Generator):
        super().__init__()
        _, num_units, num_classes = sizes
        convolution = glorot(nn.Conv2d(1, self.num_filters, kernel_size=5), generator)
        self.features = nn.Sequential(convolution, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten())
        self.hidden = nn.Sequential(glorot(nn.Linear(self.num_filters * 12 * 12, num_units), generator), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), glorot(nn.Linear(num_units, num_classes), generator))

    def forward(self, inputs: Tensor) -> Tensor:
        # Channels last, and pooling before the ReLU, which gives the same values: both halve the time on a CPU.
        images = inputs.unflatten(1, (28, 28, 1)).permute(0, 3, 1, 2)
        return self.classifier(self.hidden(self.features(images)))


def glorot(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> nn.Linear | nn.Conv2d:
    """`layer` with weights uniform in +-sqrt(6 / (fan_in + fan_out)) and zero biases (Glorot & Bengio 2010)."""
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
