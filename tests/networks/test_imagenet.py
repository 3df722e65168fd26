"""The ImageNet networks bear the public weights' names, have the paper's sizes, and classify as they should."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from lib.data import downloads, photographs
from lib.data.downloads import DataError, MissingFileError
from lib.networks import imagenet

torch.set_num_threads(1)

WEIGHTS = Path(os.environ.get("DATA_DIR", "nowhere")) / "weights"
VERIFY = downloads.verify
# Table 5, as printed: kernels and matrices. The paper counts the inputs of both groups.
TABLE5 = {
    "conv1": (3, 11, 11, 96), "conv2": (96, 5, 5, 256), "conv3": (256, 3, 3, 384), "conv4": (384, 3, 3, 384),
    "conv5": (384, 3, 3, 256), "fc6": (9216, 4096), "fc7": (4096, 4096), "fc8": (4096, 1000),
}  # fmt: skip
GROUPS = {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
ALEXNET_SHAPES = {  # torchvision's
    "features.0": (64, 3, 11, 11), "features.3": (192, 64, 5, 5), "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3), "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, 9216), "classifier.4": (4096, 4096), "classifier.6": (1000, 4096),
}  # fmt: skip


def needs(name: str):
    return pytest.mark.skipif(not (WEIGHTS / name).exists(), reason=f"DATA_DIR/weights has no {name}")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    return torch.rand(2, 3, 224, 224, generator=generator())


@pytest.fixture(scope="module")
def krizhevsky():
    return imagenet.Krizhevsky().eval().requires_grad_(False)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty DATA_DIR, an empty cache, no network; weights made here pass for those that were published."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(downloads, "verify", lambda *_: None)
    return tmp_path


# --- Names and sizes ------------------------------------------------------------------------------


def test_alexnet_has_torchvisions_names_and_shapes_and_no_others():
    shapes = {name: tuple(value.shape) for name, value in imagenet.AlexNet().state_dict().items()}
    weights = {f"{layer}.weight": shape for layer, shape in ALEXNET_SHAPES.items()}
    biases = {f"{layer}.bias": shape[:1] for layer, shape in ALEXNET_SHAPES.items()}
    assert shapes == weights | biases
    assert sum(value.numel() for value in imagenet.AlexNet().parameters()) == 61_100_840


def test_squeezenet_has_torchvisions_number_of_parameters():
    assert sum(value.numel() for value in imagenet.SqueezeNet().parameters()) == 1_235_496


@pytest.mark.parametrize("name", TABLE5)
def test_krizhevskys_layers_are_those_of_table_5(krizhevsky, name):
    layer, size = getattr(krizhevsky, name), TABLE5[name]
    if isinstance(layer, nn.Linear):
        assert (layer.in_features, layer.out_features) == size
    else:
        assert (layer.in_channels, *layer.kernel_size, layer.out_channels) == size
        assert layer.groups == GROUPS[name]
        assert layer.stride == ((4, 4) if name == "conv1" else (1, 1))


def test_krizhevskys_maps_have_the_sizes_of_2012(krizhevsky, inputs):
    """55, 27 and 13 pixels a side, section 3.5 of Krizhevsky et al.; Table 5's 9216 = 256 * 6 * 6."""
    sides = {}
    for name in GROUPS:
        getattr(krizhevsky, name).register_forward_hook(
            lambda _, __, out, name=name: sides.update({name: out.shape[2]})
        )
    assert krizhevsky.encode(inputs).shape == (2, 9216)
    assert sides == {"conv1": 55, "conv2": 27, "conv3": 13, "conv4": 13, "conv5": 13}
    assert krizhevsky(inputs).shape == (2, 1000)


def test_contrast_is_normalised_as_in_2012(krizhevsky):
    """x / (2 + 1e-4 sum of squares of five neighbouring channels)^0.75; PyTorch's alpha is divided by the five."""
    x = 100 * torch.rand(1, 7, 1, 1, generator=generator(), dtype=torch.float64)
    squares = x.flatten().square()
    near = torch.stack([squares[max(0, i - 2) : i + 3].sum() for i in range(7)])
    expected = x.flatten() / (2 + 1e-4 * near) ** 0.75
    torch.testing.assert_close(krizhevsky.norm(x).flatten(), expected)


# --- What they compute ----------------------------------------------------------------------------


def test_preprocessing_is_inside_and_follows_the_network():
    network = imagenet.AlexNet().double()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = torch.rand(1, 3, 4, 4, generator=generator(), dtype=torch.float64)
    for colour in range(3):
        expected = (x[:, colour] - mean[colour]) / std[colour]
        torch.testing.assert_close(network.normalize(x)[:, colour], expected, rtol=0, atol=1e-6)
    assert network.normalize.mean.dtype == torch.float64


def test_caffes_preprocessing_is_bytes_without_their_mean_blue_first(krizhevsky):
    grey = torch.full((1, 3, 1, 1), 0.5)
    expected = torch.tensor([127.5 - 104.0070, 127.5 - 116.6688, 127.5 - 122.6789])
    torch.testing.assert_close(krizhevsky.normalize(grey).flatten(), expected, rtol=0, atol=1e-3)


def test_a_picture_does_not_depend_on_its_neighbours(inputs):
    network = imagenet.SqueezeNet().eval()
    torch.testing.assert_close(network(inputs[:1]), network(inputs)[:1], rtol=1e-4, atol=1e-5)
    assert network(inputs).shape == (2, 1000)


def test_dropout_is_on_in_training_mode_only(krizhevsky, inputs):
    with torch.random.fork_rng([]):
        assert not torch.equal(imagenet.Krizhevsky().train()(inputs)[0], krizhevsky.eval()(inputs)[0])
    torch.testing.assert_close(krizhevsky(inputs), krizhevsky(inputs), rtol=0, atol=0)


# --- Loading --------------------------------------------------------------------------------------


def saved(folder: Path, name: str, network: nn.Module, **changes) -> Path:
    (folder / "weights").mkdir(exist_ok=True)
    path = folder / "weights" / name
    state = {k: v.clone() for k, v in (dict(network.state_dict()) | changes).items() if v is not None}
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    return path


def test_a_pth_file_loads_strictly_and_without_pickle(nowhere, inputs):
    network = imagenet.SqueezeNet()
    saved(nowhere, imagenet.SQUEEZENET.name, network)
    loaded = imagenet.squeezenet()
    torch.testing.assert_close(loaded(inputs), network.eval()(inputs))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.faults
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"features.0.weight": None}, "Missing key"),
        ({"features.99.weight": torch.zeros(1)}, "Unexpected key"),
        ({"features.0.bias": torch.zeros(63)}, "size mismatch"),
        ({"normalize.mean": torch.zeros(3, 1, 1)}, "Unexpected key"),
    ],
)
def test_every_name_and_shape_must_fit(nowhere, changes, complaint):
    saved(nowhere, "squeezenet1_1.safetensors", imagenet.SqueezeNet(), **changes)
    with pytest.raises(DataError, match=complaint):
        imagenet.squeezenet()


@pytest.mark.faults
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no weights"])
def test_a_damaged_file_is_named(nowhere, suffix, damage):
    name = {"safetensors": "squeezenet1_1.safetensors", "pth": imagenet.SQUEEZENET.name}[suffix]
    path = saved(nowhere, name, imagenet.SqueezeNet())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path.name} is damaged"):
        imagenet.squeezenet()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("load", "name"),
    [
        (imagenet.squeezenet, "squeezenet1_1.safetensors"),
        (imagenet.squeezenet, imagenet.SQUEEZENET.name),
        (imagenet.alexnet, imagenet.ALEXNET.name),
        (imagenet.alexnet, imagenet.ALEXNET_FEATURES.name),
        (imagenet.caffenet, imagenet.CAFFENET_CONVOLUTIONS.name),
    ],
)
def test_weights_that_are_not_the_published_ones_are_refused(nowhere, monkeypatch, load, name):
    """A flipped byte leaves names and shapes as they were."""
    monkeypatch.setattr(downloads, "verify", VERIFY)
    (nowhere / "weights").mkdir()
    (nowhere / "weights" / name).write_bytes(b"other weights")
    with pytest.raises(DataError, match=rf"{name} is damaged or another file: its sha256 is .*; replace or delete it"):
        load(nowhere, download=False)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.faults
def test_a_pth_file_runs_no_code(nowhere, monkeypatch):
    monkeypatch.chdir(nowhere)
    (nowhere / "weights").mkdir()
    torch.save({"features.0.weight": Malicious()}, nowhere / "weights" / imagenet.SQUEEZENET.name)
    with pytest.raises(DataError, match="is damaged"):
        imagenet.squeezenet()
    assert not (nowhere / "executed").exists()


@pytest.mark.parametrize(
    ("make", "file"), [(imagenet.alexnet, imagenet.ALEXNET), (imagenet.squeezenet, imagenet.SQUEEZENET)]
)
def test_missing_weights_are_named_with_their_address(nowhere, make, file):
    with pytest.raises(MissingFileError) as error:
        make()
    for part in (file.name, file.url, file.checksum, "DATA_DIR/weights/"):
        assert part in str(error.value)


def test_alexnets_features_alone_encode_and_say_what_is_missing(nowhere, inputs):
    whole = imagenet.AlexNet().eval()
    features = {name: None for name in whole.state_dict() if name.startswith("classifier")}
    saved(nowhere, imagenet.ALEXNET_FEATURES.name, whole, **features)
    network = imagenet.alexnet()
    assert imagenet.absent(network) == {"AlexNet.classifier": network.classifier.remedy}
    assert imagenet.ALEXNET.url in network.classifier.remedy
    torch.testing.assert_close(network.encode(inputs), whole.encode(inputs))
    with pytest.raises(imagenet.MissingWeightsError, match=imagenet.ALEXNET.url):
        network(inputs)


def test_the_whole_alexnet_is_taken_before_its_features(nowhere, inputs):
    whole = imagenet.AlexNet().eval()
    saved(nowhere, imagenet.ALEXNET_FEATURES.name, imagenet.AlexNet().features)  # not even looked at
    saved(nowhere, imagenet.ALEXNET.name, whole)
    network = imagenet.alexnet()
    assert imagenet.absent(network) == {}
    torch.testing.assert_close(network(inputs), whole(inputs))


# --- The real weights -----------------------------------------------------------------------------


@needs(imagenet.ALEXNET_FEATURES.name)
def test_the_real_features_of_alexnet():
    network = imagenet.alexnet(WEIGHTS.parent)
    convolutions = [m for m in network.features if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 192, 384, 256, 256]
    assert all(a.out_channels == b.in_channels for a, b in pairwise(convolutions))
    trained = convolutions[0].weight.flatten(1)
    assert trained.norm(dim=1).max() > 3 * trained.norm(dim=1).min()  # random filters are equally long


@needs(imagenet.CAFFENET_CONVOLUTIONS.name)
def test_the_real_convolutions_of_caffenet_fit_krizhevskys_layout(inputs):
    network = imagenet.caffenet(WEIGHTS.parent)
    assert network.conv1.weight.shape == (96, 3, 11, 11)
    assert network.conv2.weight.shape == (256, 48, 5, 5)
    with pytest.raises(imagenet.MissingWeightsError, match="conv3 has no weights"):
        network(inputs)


@needs("squeezenet1_1.safetensors")
def test_squeezenet_is_as_accurate_as_it_should_be():
    """62.9 % top-1, 84.4 % top-5: loading, preprocessing, cropping and labels are all right."""
    try:
        sample = photographs.imagenet_sample(WEIGHTS.parent, download=False)
    except MissingFileError as missing:
        pytest.skip(str(missing))
    fast = {"memory_format": torch.channels_last}  # twice as fast here
    network = imagenet.squeezenet(WEIGHTS.parent).to(**fast)
    with torch.no_grad():
        top = torch.cat([network(batch.to(**fast)).topk(5).indices for batch in sample.batches(50)])
    hits = top == sample.labels[:, None]
    assert abs(100 * hits[:, 0].double().mean() - 62.9) <= 1
    assert abs(100 * hits.any(dim=1).double().mean() - 84.4) <= 1
