"""Layers are those of the networks they are named after, judged by others, and shown as they were looked at."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.data import photographs as pictures_of
from lib.experiments import digits, layers, profiles
from lib.experiments.profiles import PROFILES
from lib.measures import units
from lib.networks import features
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.training import MinibatchConfig, TrainingConfig
from lib.record import ledger
from tests import pictures_made

torch.set_num_threads(1)

TINY = replace(
    PROFILES["quick"],
    num_train=120,
    training=TrainingConfig(max_iterations=3),
    autoencoder=AutoencoderConfig(max_iterations=2, num_images=50),
    conv=MinibatchConfig(num_epochs=1),
    units=replace(
        PROFILES["quick"].units,
        num_images=100,
        num_directions=12,
        num_draws=19,
        num_rotations=3,
        num_axes=4,
        k=3,
        large_k=5,
        num_classes=3,
        num_per_class=2,
    ),
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setitem(profiles.PROFILES, "quick", TINY)
    return digits.begin("units", "quick", "digits", "cpu", 0)


@pytest.fixture
def found(run):
    return layers.of_digits(run)


def test_layers_of_conv_are_its_own(run, found):
    conv = run.trained("Conv").network
    hidden, below = found["Conv, hidden layer"], found["Conv, convolution"]
    logits = found["Conv, logits"].activations
    torch.testing.assert_close(logits, conv(hidden.images.inputs))
    torch.testing.assert_close(conv.classifier(hidden.activations), logits)
    torch.testing.assert_close(conv.hidden(below.activations), hidden.activations)
    torch.testing.assert_close(found["Conv, convolution, maps"].activations.flatten(1), below.activations)
    assert torch.equal(found["pixels"].activations, hidden.images.inputs)
    assert not torch.equal(found["Conv untrained, hidden layer"].activations, hidden.activations)
    assert found.keys() < set(layers.COMPARED)


def test_scales_come_from_training_images(run, found):
    layer = found["Conv, hidden layer"]
    assert layer.others.name.startswith(run.train.name)
    assert layer.samples(1000).shape == (len(layer.others), 256)


def test_judges_are_unit_vectors_for_every_image(found):
    judges = found["Conv, hidden layer"].judges
    assert list(judges) == ["labels", "another network", "autoencoder", "pixels"]
    for vectors in judges.values():
        assert len(vectors) == 100
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(100))


def test_other_seeds_are_other_networks_seen_by_the_same_judges(run, found):
    hidden = found["Conv, hidden layer"]
    first, second = layers.with_seeds(run, 0, hidden).values()
    assert torch.equal(first.activations, hidden.activations)
    assert not torch.equal(second.activations, hidden.activations)
    assert second.judges is hidden.judges


def test_the_first_of_the_seeds_has_the_delta_of_the_network_that_is_shown(run, found):
    hidden = found["Conv, hidden layer"]
    studies = {"Conv, hidden layer": layers.look(run, hidden)}
    replicas = {name: layers.look(run, layer) for name, layer in layers.with_seeds(run, 0, hidden).items()}
    cells = layers.cells(run, studies) | layers.cells(run, replicas, units.deltas)
    for judge in hidden.judges:
        column = f"{judge}: delta, random"
        assert cells["Conv, seed 0", column].value == cells["Conv, hidden layer", column].value


def test_a_layers_cells_do_not_depend_on_which_others_are_looked_at(run, found):
    studies = {name: layers.look(run, found[name]) for name in ("Conv, logits", "Conv, hidden layer")}
    alone = layers.cells(run, {"Conv, hidden layer": studies["Conv, hidden layer"]})
    assert alone.items() <= layers.cells(run, studies).items()


def test_rotations_are_kept(run, found):
    layer = found["Conv, logits"]
    study = layers.look(run, layer)
    first = layers.rotations(run, layer, study)
    made = run.store.num_made
    again = layers.rotations(run, layer, study)
    assert run.store.num_made == made
    assert list(first) == list(layer.judges)
    assert all(torch.equal(first[judge], again[judge]) for judge in first)
    assert first["labels"].shape == (3,)


def test_a_page_shows_the_images_that_were_liked(run, found):
    looked = {name: (found[name], layers.look(run, found[name])) for name in ("Conv, logits",)}
    layer, study = looked["Conv, logits"]
    panels = layers.panels(run, looked, 2, {"Conv, logits": ", digits", "AlexNet, conv5": ""})
    assert [len(rows) for rows in panels.values()] == [2, 2]
    for name, pictures in panels["single units"].items():
        row = study.live[: int(name.split()[1].rstrip(","))].sum()
        assert torch.equal(pictures, layer.images.inputs[study.top["units"][row, :3]])
    assert layers.panels(run, looked, 2, {"AlexNet, conv5": ""}) == {"single units": {}, "random directions": {}}


def test_a_blind_test_asks_about_rows_that_no_figure_shows(run, found):
    looked = {"Conv, logits": (found["Conv, logits"], layers.look(run, found["Conv, logits"]))}
    shown = layers.panels(run, looked, 4, {"Conv, logits": ""})
    asked = layers.questions(run, looked, "Conv, logits", num=3, skip=4)
    assert len(asked) == 6
    assert {row.answer for row in asked} & {name for rows in shown.values() for name in rows} == set()
    assert asked[0].words.startswith("Ten pictures: ")
    assert layers.questions(run, looked, "AlexNet, conv5", num=3, skip=4) == []


def test_which_rows_were_shown_is_recorded_with_the_run_only(run, found, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    studies = {"Conv, logits": layers.look(run, found["Conv, logits"])}
    layers.record_rows(run, studies)
    assert not (tmp_path / "units_top.json").exists()
    layers.record_rows(replace(run, profile=replace(run.profile, name="paper")), studies)
    written = json.loads((tmp_path / "units_top.json").read_text())["Conv, logits"]
    assert written["liked by units"] == studies["Conv, logits"].top["units"][:, :3].tolist()
    assert len(written["units"]) == len(written["liked by units"])


def test_a_blind_test_on_mnist_asks_about_the_recorded_rows(run, found, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    kept = {"units": [2, 5], "liked by units": [[7, 8, 9]] * 2, "liked by random directions": [[300, 301, 302]] * 2}
    looked = {"Conv, logits": (found["Conv, logits"], layers.look(run, found["Conv, logits"]))}
    on_mnist = replace(run, split=run.split._replace(source="mnist"))
    own = layers.questions(on_mnist, looked, "Conv, logits", num=2, skip=0)  # nothing is recorded yet
    (tmp_path / "units_top.json").write_text(json.dumps({"Conv, logits": kept}))
    recorded = layers.questions(on_mnist, looked, "Conv, logits", num=2, skip=0)
    assert {row.answer for row in recorded} == {"unit 2", "unit 5", "direction 0", "direction 1"}
    for row in recorded:
        numbers = [7, 8, 9] if "unit" in row.kind else [300, 301, 302]
        assert torch.equal(row.pictures, run.test.inputs[numbers])
        assert row.words == f"Ten pictures: {', '.join(str(int(run.test.labels[i])) for i in numbers)}."
    on_digits = layers.questions(run, looked, "Conv, logits", num=2, skip=0)  # whose images are others
    assert [row.answer for row in on_digits] == [row.answer for row in own]


# --- Photographs ----------------------------------------------------------------------------------


class Filters(nn.Module):
    """As little of AlexNet as it takes: normalisation, and features that end in a pooling."""

    def __init__(self, seed: int = 0):
        super().__init__()
        self.normalize = nn.Identity()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.features = nn.Sequential(nn.Conv2d(3, 5, 32, stride=32), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.eval().requires_grad_(False)


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Six pictures of three classes in the place of all; networks of five filters."""
    monkeypatch.setattr(features, "untrained", lambda network, seed: Filters(seed))
    tiny = pictures_made.tiny_imagenet(tmp_path)
    return {
        "SqueezeNet 1.1": Filters(1),
        "AlexNet": Filters(2),
        "imagenet-sample": tiny.validation,
        "Tiny ImageNet": pictures_of.Split(tiny.train, tiny.validation),
    }


def test_each_public_network_is_judged_by_the_other(run, photographs):
    found = layers.of_photographs(run, photographs)
    for name, rival in layers.RIVAL.items():
        assert found[units.UNTRAINED[name]].judges is found[name].judges
        maps = found[rival].activations.float().mean(dim=2)
        torch.testing.assert_close(found[name].judges["another network"], units.unit_vectors(maps))
        assert list(found[name].judges) == ["labels", "another network", "pixels"]
        assert list(found[f"{name}{layers.ON_IMAGENET}"].judges) == ["another network", "pixels"]
    assert found["AlexNet, conv5"].images.name.startswith("tiny-imagenet")
    assert found["AlexNet, conv5"].activations.shape == (6, 5, 9)
    means = found["AlexNet, conv5, mean over the map"].activations
    torch.testing.assert_close(means, found["AlexNet, conv5"].activations.float().mean(dim=2))
    assert set(layers.COMPARED) <= {*found, *layers.of_digits(run)}


def test_photographs_are_shown_small_and_in_words(run, photographs):
    layer = layers.of_photographs(run, photographs)["AlexNet, conv5"]
    assert layer.pictures(torch.tensor([4, 0])).shape == (2, 3, 80, 80)
    assert layer.words(torch.tensor([4, 0])) == "thing 3, thing 1"


@pytest.mark.parametrize("lacking", ["AlexNet", "SqueezeNet 1.1", "imagenet-sample", "Tiny ImageNet"])
def test_without_one_of_the_files_there_are_no_such_layers(run, photographs, lacking):
    assert layers.of_photographs(run, {name: value for name, value in photographs.items() if name != lacking}) == {}
