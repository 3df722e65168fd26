"""The ImageNet networks: inputs (N, 3, H, W) in [0, 1], preprocessing inside, logits (N, K) out.

AlexNet and SqueezeNet bear torchvision's names, so that its public weights load with strict checking; Krizhevsky bears
Caffe's. Weights can be there in part: where a layer has none an `Absent` stands in its place, which says so when it is
asked. Features, units and spectra need no more than the layers that are there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import downloads
from lib.data.downloads import DataError, MissingFileError, PublicFile

NUM_CLASSES = 1000
SIDE = 224  # pixels of the pictures that SqueezeNet was trained on
CARS = (436, 511, 627, 817)  # beach wagon, convertible, limousine, sports car among ImageNet's classes
CONTRAST = {"size": 5, "alpha": 5 * 1e-4, "beta": 0.75, "k": 2}  # of 2012; PyTorch divides alpha by the size

ALEXNET = PublicFile(
    name="alexnet-owt-7be5be79.pth",
    folder="weights",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    checksum="sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    aliases={"alexnet.safetensors": ""},  # anybody's
)
SQUEEZENET = PublicFile(
    name="squeezenet1_1-b8a52dc0.pth",
    folder="weights",
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    checksum="sha256:b8a52dc0",
    aliases={"squeezenet1_1.safetensors": "sha256:102fa02ec826921aae2c3408f9f154381a466f8210fead01b8aa941ee607e4e8"},
)
ALEXNET_FEATURES = PublicFile(  # the five convolutions alone
    name="alexnet_features.safetensors",
    folder="weights",
    url=ALEXNET.url,
    checksum="sha256:9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9",
)
CAFFENET_CONVOLUTIONS = PublicFile(
    name="caffenet_conv1_conv2.safetensors",
    folder="weights",
    url="http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel",
    checksum="sha256:563da46ee4737d970039ed99c50fb6eecf434ec79bef0925814eb8d801ac8b7a",  # of the two layers
)


class MissingWeightsError(RuntimeError):
    """A layer was asked to compute whose weights are not there."""


class Absent(nn.Module):
    """Stands where a layer would be whose weights nobody has put there. Raises MissingWeightsError when called."""

    def __init__(self, layer: str, remedy: str):
        super().__init__()
        self.layer, self.remedy = layer, remedy

    def forward(self, inputs: Tensor) -> Tensor:
        raise MissingWeightsError(f"{self.layer} has no weights, so there are no classes; {self.remedy}")


def absent(network: nn.Module) -> dict[str, str]:
    """The layers of a network whose weights are not there, each with what to do about it."""
    return {layer.layer: layer.remedy for layer in network.modules() if isinstance(layer, Absent)}


class Normalize(nn.Module):
    """(x - mean) / std for each colour, then blue before red if `bgr`.

    The constants are buffers that follow the network to its device and stay out of its state dict.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], bgr: bool = False):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.bgr = bgr

    def forward(self, inputs: Tensor) -> Tensor:
        normalized = (inputs - self.mean) / self.std
        return normalized.flip(1) if self.bgr else normalized


def torchvision_normalize() -> Normalize:
    """The mean and standard deviation of ImageNet's pixels that torchvision's networks were trained with."""
    return Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class AlexNet(nn.Module):
    """AlexNet as torchvision has it: 64-192-384-256-256 filters, no groups, no contrast normalisation.

    Reference: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
    """

    def __init__(self):
        super().__init__()
        self.normalize = torchvision_normalize()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, NUM_CLASSES),
        )

    def encode(self, inputs: Tensor) -> Tensor:
        """The pooled features of the last convolution, (N, 9216), non-negative."""
        return self.avgpool(self.features(self.normalize(inputs))).flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.encode(inputs))


class Probe(nn.Module):
    """AlexNet's frozen features, averaged over 2 x 2 places and divided by one number, and a linear layer on them."""

    num_features = 256 * 3 * 3

    def __init__(self, backbone: AlexNet, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("scale", torch.ones(()))
        self.head = nn.Linear(self.num_features, num_classes)
        nn.init.zeros_(self.head.weight)  # the loss is convex
        nn.init.zeros_(self.head.bias)

    def encode(self, inputs: Tensor) -> Tensor:
        """Features (N, num_features), non-negative, not yet divided by the scale."""
        maps = self.backbone.encode(inputs).unflatten(1, (256, 6, 6))
        return F.avg_pool2d(maps, 2).flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encode(inputs) / self.scale)


class Krizhevsky(nn.Module):
    """The network of 2012, which the paper means by AlexNet, layer by layer as in its Table 5.

    Convolutions of two groups where its two GPUs did not talk, local response normalisation before overlapping pools
    (the Caffe reference network, whose weights fit as well, normalises after them). Preprocessing is Caffe's, its mean
    picture replaced by the mean colour.

    Reference: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012.
    """

    def __init__(self):
        super().__init__()
        mean_of_bytes = (122.6789, 116.6688, 104.0070)
        self.normalize = Normalize([m / 255 for m in mean_of_bytes], [1 / 255] * 3, bgr=True)
        self.conv1 = nn.Conv2d(3, 96, kernel_size=11, stride=4, padding=2)
        self.conv2 = nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, NUM_CLASSES)
        self.norm = nn.LocalResponseNorm(**CONTRAST)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout()

    def encode(self, inputs: Tensor) -> Tensor:
        """The pooled features of the last convolution, (N, 9216), non-negative; inputs 224 pixels a side."""
        x = self.pool(self.norm(self.relu(self.conv1(self.normalize(inputs)))))
        x = self.pool(self.norm(self.relu(self.conv2(x))))
        x = self.relu(self.conv3(x))
        x = self.relu(self.conv4(x))
        return self.pool(self.relu(self.conv5(x))).flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.dropout(self.relu(self.fc6(self.dropout(self.encode(inputs)))))
        return self.fc8(self.dropout(self.relu(self.fc7(x))))


class _Fire(nn.Module):
    """SqueezeNet's module: 1x1 filters squeeze the channels, 1x1 and 3x3 filters side by side expand them again."""

    def __init__(self, num_inputs: int, num_squeezed: int, num_expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(num_inputs, num_squeezed, kernel_size=1)
        self.expand1x1 = nn.Conv2d(num_squeezed, num_expanded, kernel_size=1)
        self.expand3x3 = nn.Conv2d(num_squeezed, num_expanded, kernel_size=3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        squeezed = self.relu(self.squeeze(inputs))
        return self.relu(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 as torchvision has it: AlexNet's accuracy with a fiftieth of its weights.

    Its logits are means of rectified maps: never negative.

    Reference: Iandola et al., SqueezeNet, arXiv 1602.07360.
    """

    def __init__(self):
        super().__init__()
        self.normalize = torchvision_normalize()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
            _Fire(64, 16, 64),
            _Fire(128, 16, 64),
            nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
            _Fire(128, 32, 128),
            _Fire(256, 32, 128),
            nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
            _Fire(256, 48, 192),
            _Fire(384, 48, 192),
            _Fire(384, 64, 256),
            _Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(512, NUM_CLASSES, kernel_size=1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.features(self.normalize(inputs))).flatten(1)


class AnyOf(nn.Module):
    """Two logits, for none and for any of some classes of a network that is shown small pictures (N, 3, side, side).

    They are the logarithms of the summed probabilities, up to a constant. Pictures are enlarged to SIDE (bilinear).
    """

    def __init__(self, network: nn.Module, classes: Sequence[int]):
        super().__init__()
        self.network = network
        self.register_buffer("classes", torch.tensor(classes), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.network(F.interpolate(inputs, size=(SIDE, SIDE), mode="bilinear"))
        others = logits.index_fill(1, self.classes, -torch.inf)
        return torch.stack([others.logsumexp(dim=1), logits[:, self.classes].logsumexp(dim=1)], dim=1)


def alexnet(data_dir: str | Path | None = None, download: bool = True) -> AlexNet:
    """AlexNet with its public weights, frozen, in evaluation mode: all of it where its file is, else its features.

    What DATA_DIR (or the cache) holds is taken as it is, the whole network before the features; only where it holds
    neither, the whole is downloaded.

    Raises
    ------
    MissingFileError
        If the weights are nowhere.
    DataError
        If the file is damaged or of another network.
    """
    if not downloads.find(ALEXNET, data_dir) and (features := downloads.find(ALEXNET_FEATURES, data_dir)):
        remedy = f"put {ALEXNET.url} into DATA_DIR/{ALEXNET.folder}/ for the fully connected layers"
        return _load(AlexNet(), features, {"classifier": remedy})
    return _load(AlexNet(), downloads.obtain(ALEXNET, data_dir, download))


def squeezenet(data_dir: str | Path | None = None, download: bool = True) -> SqueezeNet:
    """SqueezeNet 1.1 with its public weights, frozen, in evaluation mode. Errors as in `alexnet`."""
    return _load(SqueezeNet(), downloads.obtain(SQUEEZENET, data_dir, download))


def caffenet(data_dir: str | Path | None = None, download: bool = False) -> Krizhevsky:
    """Krizhevsky's layout with the first two convolutions of the Caffe reference network; the others are absent.

    Its makers' file is in Caffe's own format, which nothing here reads, so it is never downloaded.

    Raises
    ------
    MissingFileError
        If the two layers are nowhere; it says how to export them.
    DataError
        If the file is damaged or of another network.
    """
    file = CAFFENET_CONVOLUTIONS
    path = downloads.find(file, data_dir)
    if path is None:
        names = ", ".join(f"{layer}.{part}" for layer in ("conv1", "conv2") for part in ("weight", "bias"))
        raise MissingFileError(
            f"DATA_DIR/{file.folder}/{file.name} is not there. It holds two layers of {file.url}, which is in Caffe's "
            f"own format: take them out with Caffe and save them as {names}"
        )
    remedy = f"{file.name} holds conv1 and conv2 only"
    return _load(Krizhevsky(), path, dict.fromkeys(("conv3", "conv4", "conv5", "fc6", "fc7", "fc8"), remedy))


def _load(network: nn.Module, path: Path, absent: Mapping[str, str] = {}) -> nn.Module:
    """The network with the weights of a file, frozen and in evaluation mode; every name and shape must fit.

    absent : layers that the file is known not to hold, each with what to do about it. They become `Absent`.
    Raises DataError if the file is damaged or of another network.
    """
    for name, remedy in absent.items():
        setattr(network, name, Absent(f"{type(network).__name__}.{name}", remedy))
    try:
        network.load_state_dict(_read_weights(path), strict=True)
    except RuntimeError as error:
        raise DataError(f"{path} does not hold the weights of {type(network).__name__}: {error}") from None
    return network.eval().requires_grad_(False)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file, nothing else, and no code run. Raises DataError if it is damaged."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); copy or download it again") from None
