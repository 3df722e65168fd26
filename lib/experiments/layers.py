"""Whom section 3 looks at: layers of our networks and of public ones, the images shown to them, and who judges these.

Chapters `units` and `bases` start from here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data.dataset import Dataset
from lib.data.photographs import Pictures
from lib.experiments import photographs, seeds
from lib.experiments.digits import Experiment
from lib.figures.blind_test import Row
from lib.measures import bases, units
from lib.measures.units import Study
from lib.networks import features, imagenet, mnist
from lib.record import ledger

ALEXNET, SQUEEZENET = units.LAST[1:]
UNTRAINED = tuple(units.UNTRAINED.values())
ON_IMAGENET = ", on ImageNet"
CONTROLS = (
    "Conv, logits",
    *UNTRAINED,
    "pixels",
    "Conv, convolution",
    "Conv, convolution, maps",
    f"{ALEXNET}, mean over the map",
)
COMPARED = (*units.LAST, *CONTROLS)
FOR_BASES = (*units.LAST, *UNTRAINED[:2])
RIVAL = {ALEXNET: SQUEEZENET, SQUEEZENET: ALEXNET}  # each public network is judged by the other
ROWS = "units_top.json"  # which images are liked best, of results/
LIKERS = {"units": "units", "random": "random directions"}
SHOWN_SIDE = 80  # pixels of a photograph on the page


@dataclass(frozen=True)
class Layer:
    """A layer, the N images that it is looked at with, and others that scales and axes are fitted to."""

    respond: Callable[[Dataset | Pictures], Tensor]  # activations on images, (N, d) or (N, d, positions)
    images: Dataset | Pictures
    others: Dataset | Pictures
    judges: dict[str, Tensor]  # unit rows (N, f): what each judge makes of the images

    @cached_property
    def activations(self) -> Tensor:
        return self.respond(self.images)

    def samples(self, num: int) -> Tensor:
        """About `num` activations (n, d) on the other images."""
        return bases.sampled(self.respond(self.others), num)

    def pictures(self, numbers: Tensor) -> Tensor:
        """Some of the images, by their numbers, as a page shows them: (k, 784) or (k, 3, 80, 80)."""
        if isinstance(self.images, Dataset):
            return self.images.inputs[numbers.to(self.images.inputs.device)].cpu()
        return F.adaptive_avg_pool2d(self.images.subset(numbers).inputs(), SHOWN_SIDE)

    def words(self, numbers: Tensor) -> str:
        """What these images are of."""
        labels = [int(self.images.labels[i]) for i in numbers]
        names = labels if isinstance(self.images, Dataset) else [self.images.words[label] for label in labels]
        return ", ".join(map(str, names))


# --- Our own networks -----------------------------------------------------------------------------


def _convolution(conv: nn.Module) -> nn.Module:
    """Conv up to its convolution, rectified and pooled: a unit is a filter at a place."""
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), conv.features)


def _hidden(conv: nn.Module) -> nn.Module:
    """Conv up to its last hidden layer."""
    return nn.Sequential(_convolution(conv), conv.hidden)


def of_digits(run: Experiment) -> dict[str, Layer]:
    """Conv's layers and, as controls, its logits, the same network untrained, and the pixels themselves."""
    test, train = (images.take(run.profile.units.num_images) for images in (run.test, run.train))
    conv, untrained = run.trained("Conv").network, mnist.build(mnist.SPECS["Conv"], seeds.generator(run.seeds.twin))
    parts = {
        "Conv, hidden layer": _hidden(conv),
        "Conv, convolution": _convolution(conv),
        "Conv, convolution, maps": nn.Sequential(_convolution(conv), nn.Unflatten(1, (conv.num_filters, -1))),
        "Conv, logits": conv,
        UNTRAINED[0]: _hidden(untrained.to(run.device)),
        "pixels": nn.Identity(),
    }
    judges = _judges_of_digits(run, test)
    return {name: Layer(partial(_dense, part), test, train, judges) for name, part in parts.items()}


def with_seeds(run: Experiment, seed: int, layer: Layer) -> dict[str, Layer]:
    """Conv's hidden layer from `seed` and from those that follow it: all random numbers anew, images and judges not."""
    numbers = range(seed, seed + run.profile.units.num_networks)
    networks = {units.SEED.format(number): run.with_seed(number).trained("Conv").network for number in numbers}
    return {
        name: Layer(partial(_dense, _hidden(conv)), layer.images, layer.others, layer.judges)
        for name, conv in networks.items()
    }


def _judges_of_digits(run: Experiment, images: Dataset) -> dict[str, Tensor]:
    """Unit rows (N, f): labels, the last hidden layer of 200-200-10, the code of AE400-10, the pixels."""
    other, autoencoder = run.trained("200-200-10").network, run.trained("AE400-10").network
    return {
        "labels": units.label_vectors(images.labels.cpu()),
        "another network": units.unit_vectors(units.activations(other[:-1], images.inputs)),
        "autoencoder": units.unit_vectors(units.activations(autoencoder.encode, images.inputs)),
        "pixels": units.unit_vectors(images.inputs.cpu()),
    }


def _dense(part: nn.Module, images: Dataset) -> Tensor:
    return units.activations(part, images.inputs)


# --- Public networks ------------------------------------------------------------------------------


def of_photographs(run: Experiment, found: Mapping[str, object]) -> dict[str, Layer]:
    """The last convolutional features of AlexNet and SqueezeNet, on Tiny ImageNet and on a sample of ImageNet.

    found : what `photographs.WANTED` reads; where one of them is missing there are no layers.
    """
    if not photographs.WANTED.keys() <= found.keys():
        return {}
    tiny, sample = _pictures(run, found)
    maps = {
        ALEXNET: partial(_maps, run, found["AlexNet"]),
        SQUEEZENET: partial(_maps, run, found["SqueezeNet 1.1"]),
    }
    judges = {name: _judges_of_photographs(run, tiny, maps[rival]) for name, rival in RIVAL.items()}
    for name, network in {ALEXNET: imagenet.AlexNet, SQUEEZENET: imagenet.SqueezeNet}.items():
        untrained = units.UNTRAINED[name]
        maps[untrained] = partial(_maps, run, features.untrained(network, run.seeds.init))
        judges[untrained] = judges[name]
    layers = {name: Layer(respond, tiny, sample, judges[name]) for name, respond in maps.items()}
    layers[f"{ALEXNET}, mean over the map"] = Layer(partial(_means, maps[ALEXNET]), tiny, sample, judges[ALEXNET])
    for name, rival in RIVAL.items():
        by = _judges_of_photographs(run, sample, maps[rival])
        del by["labels"]  # there is one picture a class
        layers[f"{name}{ON_IMAGENET}"] = Layer(maps[name], sample, tiny, by)
    return layers


def _pictures(run: Experiment, found: Mapping[str, object]) -> tuple[Pictures, Pictures]:
    """Of Tiny ImageNet as many of each of some classes, and of ImageNet's sample some at equal distances."""
    scale, tiny = run.profile.units, found["Tiny ImageNet"].train
    few = units.balanced(tiny.labels, scale.num_classes, scale.num_per_class)
    return tiny.subset(few, "balanced"), found["imagenet-sample"].spread(scale.num_sample)


def _judges_of_photographs(run: Experiment, images: Pictures, rival: Callable[[Pictures], Tensor]) -> dict[str, Tensor]:
    """Unit rows (N, f): labels, the means of another network's maps, small pixels."""
    return {
        "labels": units.label_vectors(images.labels),
        "another network": units.unit_vectors(_means(rival, images)),
        "pixels": units.unit_vectors(run.store.call(features.thumbnails, images)),
    }


def _maps(run: Experiment, network: nn.Module, images: Pictures) -> Tensor:
    return run.store.call(features.maps, network.to(run.device), images)


def _means(maps: Callable[[Pictures], Tensor], images: Pictures) -> Tensor:
    return maps(images).float().mean(dim=2)


# --- Looking at them ------------------------------------------------------------------------------


def look(run: Experiment, layer: Layer) -> Study:
    """Its units against random directions: the same ones in every chapter."""
    return units.against_random(
        layer.activations, layer.judges, run.profile.units, seeds.generator(run.seeds.directions)
    )


def look_at_axes(run: Experiment, layer: Layer, study: Study, seed: int) -> Study:
    """The same units against other kinds of directions."""
    scale, generator = run.profile.units, seeds.generator(run.seeds.directions)
    samples = layer.samples(scale.num_samples)
    return bases.against_families(study, layer.activations, samples, layer.judges, scale, generator, seed)


def rotations(run: Experiment, layer: Layer, study: Study) -> dict[str, Tensor]:
    """`bases.rotated` of its live units, kept in the store."""
    scale, generator = run.profile.units, seeds.generator(run.seeds.resampling)
    live = layer.activations[:, study.live]
    return run.store.call(bases.rotated, live, layer.judges, scale.k, scale.num_rotations, generator)


def cells(run: Experiment, studies: Mapping[str, Study], measure: Callable = units.cells) -> dict:
    """`units.cells`, or `units.deltas` alone, of all of them; each layer draws for itself."""
    found = {}
    for layer, study in studies.items():
        found |= measure(layer, study, run.profile.units, seeds.generator(run.seeds.resampling))
    return found


# --- What a page shows ----------------------------------------------------------------------------


def panels(
    run: Experiment, looked: Mapping[str, tuple[Layer, Study]], num: int, titles: Mapping[str, str]
) -> dict[str, dict[str, Tensor]]:
    """Pictures for `grids.picture_rows`: of each layer in `titles` that was looked at, `num` units and directions.

    titles : layer and what is put behind the names of its rows.
    """
    shown: dict[str, dict[str, Tensor]] = {"single units": {}, "random directions": {}}
    for name, title in titles.items():
        if name in looked:
            layer, study = looked[name]
            drawn = units.by_lot(study, num, run.profile.units.k, seeds.generator(run.seeds.rows))
            for kind, rows in drawn.items():
                shown[kind] |= {f"{row}{title}": layer.pictures(numbers) for row, numbers in rows.items()}
    return shown


def questions(run: Experiment, looked: Mapping[str, tuple[Layer, Study]], name: str, num: int, skip: int) -> list[Row]:
    """As many rows of a layer's units as of random directions, for a blind test; none if it was not looked at.

    Of MNIST's images those rows that are recorded, else this build's. skip : how many of each were drawn for figures.
    """
    if name not in looked:
        return []
    layer, study = _as_recorded(run, name, *looked[name])
    drawn = units.by_lot(study, num, run.profile.units.k, seeds.generator(run.seeds.rows), skip)
    kinds = {"single units": "a single unit", "random directions": "a random direction"}
    return [
        Row(layer.pictures(numbers), kinds[kind], row, f"Ten pictures: {layer.words(numbers)}.")
        for kind, rows in drawn.items()
        for row, numbers in rows.items()
    ]


def _as_recorded(run: Experiment, name: str, layer: Layer, study: Study) -> tuple[Layer, Study]:
    """All of MNIST's test images, and what the recorded layer likes of them; else both as they are."""
    path = ledger.RESULTS / ROWS
    if run.split.source != "mnist" or not isinstance(layer.images, Dataset) or not path.exists():
        return layer, study
    kept = json.loads(path.read_text(encoding="utf-8"))[name]
    live = torch.zeros_like(study.live)
    live[kept["units"]] = True
    top = {family: torch.tensor(kept[f"liked by {liker}"]) for family, liker in LIKERS.items()}
    return replace(layer, images=run.test), replace(study, live=live, top=top)


def record_rows(run: Experiment, studies: Mapping[str, Study]) -> None:
    """Which images units and random directions like best, into results/units_top.json, if this run is recorded."""
    k = run.profile.units.k
    best = {
        layer: {
            "units": study.live.nonzero()[:, 0].tolist(),
            **{f"liked by {liker}": study.top[family][:, :k].tolist() for family, liker in LIKERS.items()},
        }
        for layer, study in studies.items()
    }
    run.keep(ROWS, json.dumps(best) + "\n")
