"""lib/experiments/frame_bounds.py: the right layers under the right names, and the numbers of lib.measures.spectral."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lib.experiments import frame_bounds, photographs
from lib.experiments.seeds import Seeds, generator
from lib.measures import spectral
from lib.measures.effects import exactly
from lib.measures.spectral import Convolution
from lib.networks import imagenet, mnist
from lib.networks.imagenet import AlexNet, Krizhevsky, Normalize, SqueezeNet
from lib.record.tables import Table, Told
from lib.store.calls import Store


@pytest.fixture
def run(tmp_path) -> SimpleNamespace:
    """What these functions ask of an experiment."""
    profile = SimpleNamespace(num_lanczos=100)
    return SimpleNamespace(store=Store(tmp_path), seeds=Seeds.derive(0), profile=profile, device=torch.device("cpu"))


@pytest.fixture
def layer() -> Convolution:
    weight = torch.randn(4, 1, 3, 3, generator=generator(0), dtype=torch.float64)
    return Convolution(weight, size=(8, 8), stride=(2, 2), padding=(1, 1), groups=2)


def network(name: str) -> nn.Module:
    return mnist.build(mnist.SPECS[name], generator(0)).requires_grad_(False)


def table(now, recorded=None, digits=None) -> Table:
    return Table("table5", now, recorded or {}, {}, digits or {})


# --- The digits' networks -------------------------------------------------------------------------


def test_every_layer_with_weights_is_there_once_in_order():
    layers = frame_bounds.of_digits({name: network(name) for name in ("softmax 1", "AE400-10", "Conv")})
    assert {row: tuple(layer.weight.shape) for row, layer in layers.items()} == {
        "softmax 1, layer 1": (10, 784),
        "AE400-10, layer 1": (400, 784),
        "AE400-10, layer 2": (10, 400),
        "Conv, layer 1": (32, 1, 5, 5),
        "Conv, layer 2": (256, 32 * 12 * 12),
        "Conv, layer 3": (10, 256),
    }


def test_the_bounds_of_the_digits_layers_are_those_of_their_matrices(run):
    layers = frame_bounds.of_digits({name: network(name) for name in ("softmax 1", "Conv")})
    cells = frame_bounds.digits_bounds({row: layers[row] for row in ("softmax 1, layer 1", "Conv, layer 1")}, run)
    values = torch.linalg.svdvals(layers["softmax 1, layer 1"].weight)
    assert cells["softmax 1, layer 1", "upper"].value == pytest.approx(float(values[0]))
    assert cells["softmax 1, layer 1", "least"].value == pytest.approx(float(values[-1]))
    assert cells["softmax 1, layer 1", "lower"].value == 0  # by shape alone
    matrix = Convolution.of(layers["Conv, layer 1"], (28, 28)).matrix()
    upper = cells["Conv, layer 1", "upper"]
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    assert upper.value == pytest.approx(norm, rel=1e-6)
    assert upper.low - 1e-6 <= norm <= upper.high


def test_a_convolution_too_large_for_its_matrix_is_refused(run):
    with pytest.raises(ValueError, match="is too large to be written down"):
        frame_bounds.digits_bounds({"large": nn.Conv2d(1000, 1, 1)}, run)


def test_linear_networks_share_a_panel_and_the_others_have_their_own():
    layers = frame_bounds.of_digits({name: network(name) for name in ("softmax 1e-4", "softmax 1", "100-100-10")})
    panels = frame_bounds.digits_spectra(layers)
    assert {panel: list(lines) for panel, lines in panels.items()} == {
        "softmax": ["softmax 1e-4", "softmax 1"],
        "100-100-10": ["layer 1", "layer 2", "layer 3"],
    }
    assert panels["100-100-10"]["layer 3"].shape == (10,)


def test_idle_is_a_last_layer_whose_least_value_is_a_third_of_the_next():
    def last(*values: float) -> nn.Linear:
        layer = nn.Linear(3, 3).requires_grad_(False)
        layer.weight.copy_(torch.diag(torch.tensor(values)))
        return layer

    layers = {"a, layer 1": last(9, 3, 0.1), "a, layer 2": last(9, 3, 2), "b, layer 1": last(9, 3, 0.9)}
    assert frame_bounds.num_idle_directions(layers) == 1


# --- Table 5 --------------------------------------------------------------------------------------


def test_public_layers_are_named_as_the_papers_are():
    layers = frame_bounds.public_layers({"AlexNet": AlexNet(), "Caffe's network": Krizhevsky()}, torch.device("cpu"))
    assert list(layers) == [
        *(f"conv{i}, AlexNet" for i in range(1, 6)),
        *(f"FC{i}, AlexNet" for i in range(1, 4)),
        "conv1, Caffe's",
        "conv2, Caffe's",
    ]
    assert layers["conv1, AlexNet"].size == (224, 224)
    assert layers["conv2, Caffe's"].groups == 2
    assert layers["FC3, AlexNet"].weight.shape == (1000, 4096, 1, 1)


def test_without_weights_there_are_no_layers_and_no_cells(run):
    assert frame_bounds.public_layers({}, run.device) == {}
    assert frame_bounds.table5({}, {}, run) == {}
    assert frame_bounds.squeezenet_layers({}, run.device) == {}
    assert frame_bounds.squeezenet({}, run) == {}
    assert frame_bounds.first_layer({}, run) == {}


def test_of_alexnets_features_alone_there_are_five_layers():
    alexnet = AlexNet()
    alexnet.classifier = imagenet.Absent("AlexNet.classifier", "put it there")
    layers = frame_bounds.public_layers({"AlexNet": alexnet}, torch.device("cpu"))
    assert list(layers) == [f"conv{i}, AlexNet" for i in range(1, 6)]


def test_every_way_of_computing_stands_in_its_column(layer, run):
    found = frame_bounds.bounds(layer, run)
    values = torch.linalg.svdvals(layer.matrix())
    torus = spectral.torus_spectrum(layer, spectral.torus_side(layer))
    assert found["upper"].value == pytest.approx(float(values[0]), rel=1e-6)
    assert found["least"].value == pytest.approx(float(values[-1]), rel=1e-6)
    assert found["upper on a torus"].value == found["upper"].high == pytest.approx(float(torus.max()))
    assert found["least on a torus"].value == pytest.approx(float(torus.min()))
    side = spectral.torus_side(layer)
    assert found["upper as printed"].value == pytest.approx(spectral.norm_as_printed(layer, side))
    assert found["upper without a factor"].value == pytest.approx(4 * found["upper as printed"].value)
    assert set(frame_bounds.WAYS) <= set(found)


def test_a_layers_numbers_are_computed_once(layer, run):
    for _ in range(2):
        frame_bounds.bounds(layer, run)
    assert run.store.num_made == 3  # spectrum, norm, least


def test_a_dense_layer_is_exact(run):
    weight = torch.randn(3, 5, generator=generator(0), dtype=torch.float64)
    found = frame_bounds.bounds(Convolution(weight[..., None, None], (1, 1)), run)
    values = torch.linalg.svdvals(weight)
    assert found == {"upper": found["upper"], "least": found["least"]}
    assert found["upper"] == pytest.approx(exactly(float(values[0])))
    assert found["least"] == pytest.approx(exactly(float(values[-1])))


@pytest.mark.parametrize("bgr", [False, True])
def test_per_pixel_is_normalisation_and_convolution_as_one_map(bgr):
    normalize = Normalize((0.4, 0.5, 0.6), (0.1, 0.2, 0.4), bgr)
    weight = torch.randn(2, 3, 3, 3, generator=generator(0))
    layer = Convolution(weight, size=(5, 5))
    images = torch.rand(4, 3, 5, 5, generator=generator(1))
    expected = layer(normalize(images).flatten(1)) - layer(normalize(torch.zeros(1, 3, 5, 5)).flatten(1))
    torch.testing.assert_close(frame_bounds.per_pixel(normalize, layer)(images.flatten(1)), expected)


def test_with_a_standard_deviation_of_a_half_a_first_layer_is_twice_as_steep_per_pixel(run):
    layers = {"conv1, AlexNet": Convolution(torch.randn(2, 3, 3, 3, generator=generator(0)), size=(6, 6))}
    found = {"AlexNet": SimpleNamespace(normalize=Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))}
    cells = frame_bounds.table5(layers, found, run)
    upper, per_pixel = (cells["conv1, AlexNet", column].value for column in ("upper", frame_bounds.PER_PIXEL))
    assert per_pixel == pytest.approx(2 * upper, rel=1e-4)


def test_spectra_have_a_panel_for_each_network_or_part(layer, run):
    values = spectral.torus_spectrum(layer, spectral.torus_side(layer))
    panels = frame_bounds.spectra({"conv1, A": layer, "conv2, A": layer, "conv1, B": layer}, run)
    assert {network: list(lines) for network, lines in panels.items()} == {"A": ["conv1", "conv2"], "B": ["conv1"]}
    parts = frame_bounds.squeezenet_spectra({("fire2", "squeeze"): layer, ("fire3", "squeeze"): layer}, run)
    assert {part: list(lines) for part, lines in parts.items()} == {"squeeze": ["fire2", "fire3"]}
    for found in (panels["A"]["conv2"], panels["B"]["conv1"], parts["squeeze"]["fire3"]):
        torch.testing.assert_close(found.flatten().sort().values, values.flatten().sort().values)


def test_squeezenets_convolutions_have_their_published_names():
    layers = frame_bounds.squeezenet_layers({"SqueezeNet 1.1": SqueezeNet()}, torch.device("cpu"))
    assert {module for module, _ in layers} == set(frame_bounds.MODULES)
    assert len(layers) == 2 + 3 * 8
    assert layers["fire2", "squeeze"].weight.shape == (16, 64, 1, 1)
    assert layers["fire9", "expand3x3"].weight.shape == (256, 64, 3, 3)
    assert layers["conv10", "alone"].weight.shape == (1000, 512, 1, 1)


# --- The first layer ------------------------------------------------------------------------------


def test_growth_is_the_mean_over_pictures_of_the_mean_over_what_was_found():
    """A convolution of one pixel that triples; a perturbation of 0, where an attack failed, does not count."""
    tripling = Convolution(torch.full((1, 1, 1, 1), 3.0), size=(2, 2))
    perturbations = torch.tensor([[[1.0, 0, 0, 0], [0.0, 2, 0, 0]], [[0.0, 0, 0, 0], [1.0, 1, 1, 1]]])
    assert frame_bounds.mean_growth(tripling, perturbations).value == pytest.approx(3)
    assert frame_bounds.mean_growth(tripling, perturbations).n == 2


def test_a_random_direction_grows_by_the_root_mean_square_of_the_singular_values(layer):
    """About: with C H W directions, all singular values but zeros, and many draws."""
    drawn = torch.randn(1, 4000, math.prod(layer.input_shape), generator=generator(2), dtype=torch.float64)
    expected = layer.matrix().square().sum().div(math.prod(layer.input_shape)).sqrt()
    assert frame_bounds.mean_growth(layer, drawn).value == pytest.approx(float(expected), rel=0.01)


def test_a_first_layer_that_triples_does_so_with_what_was_found_and_with_what_was_drawn(run, monkeypatch):
    tripling = Convolution(torch.full((1, 1, 1, 1), 3.0), size=(2, 2))
    goals = dict.fromkeys(("to one class", "to any"))
    subject = SimpleNamespace(inputs=torch.zeros(5, 4), network=(None, None), goals=lambda generator: goals)
    attacked = SimpleNamespace(result=SimpleNamespace(adversarial=torch.rand(5, 4, generator=generator(1))))
    monkeypatch.setattr(photographs, "networks", lambda found: ["A"])
    monkeypatch.setattr(photographs, "subjects", lambda *arguments: ({"A": subject}, {}))
    monkeypatch.setattr(photographs, "attack", lambda *arguments: attacked)
    monkeypatch.setattr(frame_bounds, "first_convolution", lambda network: tripling)
    run.profile.photographs = SimpleNamespace(attack=None)
    cells = frame_bounds.first_layer({}, run)
    columns = ("growth, adversarial", "growth, random direction", "largest possible")
    assert {cell: estimate.value for cell, estimate in cells.items()} == {
        ("A", column): pytest.approx(3) for column in columns
    }
    assert [cells["A", column].n for column in columns] == [5, 5, 1]


def test_the_first_convolution_is_found_behind_a_linear_layer_of_ours():
    backbone = AlexNet().eval().requires_grad_(False)
    probe = imagenet.Probe(backbone, 10)
    found = frame_bounds.first_convolution(probe)
    pixels = torch.rand(1, *photographs.SHAPE, generator=generator(3))
    conv, normalize = backbone.features[0], backbone.normalize
    expected = conv(normalize(pixels)) - conv(normalize(torch.zeros_like(pixels)))
    torch.testing.assert_close(found(pixels.flatten(1)), expected.flatten(1), rtol=1e-4, atol=1e-4)


# --- Numbers for sentences ------------------------------------------------------------------------

FIVE = {
    ("conv1, AlexNet", "upper"): exactly(10.0),
    ("conv1, AlexNet", "upper on a torus"): exactly(12.5),
    ("conv1, Caffe's", "upper"): exactly(4.0),
    ("conv1, Caffe's", "upper on a torus"): exactly(4.0),
    ("conv1, Caffe's", "least"): exactly(0.1),
}
PRINTED = {("conv1", "upper (v1)"): "20", ("conv1", "upper (v4)"): "5"}


def test_turned_by_layer_networks_stand_side_by_side_after_the_paper():
    turned = frame_bounds.by_layer(table(FIVE, digits=PRINTED), {"upper": "{}"}, {"upper (v4)": "v4"})
    assert turned.digits == {("conv1", "v4"): "5"}
    assert {cell: e.value for cell, e in turned.now.items()} == {("conv1", "AlexNet"): 10, ("conv1", "Caffe's"): 4}
    assert frame_bounds.series(turned) == {"the paper (v4)": [5.0], "Caffe's": [4.0], "AlexNet": [10.0]}


def test_discrepancy_is_of_public_numbers_only_and_0_where_nothing_was_recorded():
    recorded = {("conv1, AlexNet", "upper"): exactly(8.0), ("conv1, Caffe's", "least"): exactly(0.01)}
    assert frame_bounds.discrepancy(table(FIVE, recorded)) == pytest.approx(0.25)
    assert frame_bounds.discrepancy(table(FIVE)) == 0


def test_slack_is_the_largest_distance_below_the_torus_and_unknown_without_one():
    assert frame_bounds.slack(table(FIVE).told) == pytest.approx(0.2)
    assert math.isnan(frame_bounds.slack(Told()))
    assert frame_bounds.norms(table(FIVE).told) == [4, 10]
    assert math.isnan(frame_bounds.norms(Told())[0])


def test_off_by_a_factor_counts_upwards_and_downwards():
    five = table(FIVE, digits=PRINTED)
    assert frame_bounds.times_off(five, "upper", {"conv1": "conv1, AlexNet"}) == pytest.approx(2)
    assert frame_bounds.times_off(five, "upper", {"conv1": "conv1, Caffe's"}) == pytest.approx(1.25)
    assert math.isnan(frame_bounds.times_off(five, "upper"))


def test_the_nearest_way_is_nearest_on_a_logarithmic_scale():
    told = Told({("a", "upper"): 10.0, ("a", "upper as printed"): 2.5, ("a", "least"): 5.0})
    assert frame_bounds.nearest_way(told, "a", 5.1) == "upper"
    assert frame_bounds.nearest_way(told, "a", 4.9) == "upper as printed"
    assert frame_bounds.nearest_way(told, "b", 5) == "not measured"


def test_products_are_of_all_layers_or_of_none():
    told = Told({(f"conv{i}, AlexNet", "upper"): 10.0 for i in range(1, 6)})
    assert frame_bounds.product(told, "AlexNet", 1.2344) == 123_000
    assert math.isnan(frame_bounds.product(told, "Caffe's"))
    printed = Told({("conv1", "upper (v4)"): 2.0, ("FC1", "upper (v4)"): 3.0, ("conv1", "upper (v1)"): 7.0})
    assert frame_bounds.printed_product(printed) == 6
    assert frame_bounds.printed_product(printed, "conv") == 2


def test_squeezenet_and_table_5_are_compared_in_one_voice():
    """As this build has both, and only one of them was recorded, this build's are compared."""
    small = table({("conv1", "alone"): exactly(5.0), ("fire2", "squeeze"): exactly(1.0)})
    five = table(FIVE, {("conv1, AlexNet", "upper"): exactly(100.0)})
    assert frame_bounds.beside_table5(small, five) == (2, 1, 5, 1)


def test_nothing_measured_is_nan_in_a_sentence():
    assert all(map(math.isnan, frame_bounds.beside_table5(table({}), table({}))))
    *known, as_large = frame_bounds.beside_table5(table({("conv1", "alone"): exactly(5.0)}), table({}))
    assert known == [1, 5, 5]
    assert math.isnan(as_large)
