"""Is there a car on it? A classifier of one class against the rest on QuocNet's features, and its rivals (Figure 6).

Attacks know rows of pixels: images are flattened here, and unflattened in front of what looks at them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib.attacks import penalized, perturbations, tight
from lib.attacks.penalized import AttackResult
from lib.data.dataset import Dataset
from lib.data.photographs import Pictures, tiny_imagenet
from lib.experiments import seeds
from lib.experiments.profiles import CarsConfig
from lib.experiments.seeds import Seeds
from lib.measures import detectors, effects, intervals
from lib.networks import imagenet, linear_probe, quocnet
from lib.networks.linear_probe import Headed
from lib.networks.quocnet import QuocNet, QuocNetConfig
from lib.record.ledger import Cells
from lib.record.tables import Told
from lib.store.calls import Store

CARS = ("n02814533", "n03100240", "n03670208", "n04285008")  # beach wagon, convertible, limousine, sports car
DIGIT = 3  # stands for the car where there are no pictures
YES, NO = 1, 0
BATCH = 50  # images at once

QUOCNET, UNTRAINED, PIXELS, PROJECTED = "QuocNet", "QuocNet, untrained", "pixels", "random projections"
ONCE = "QuocNet, normalised once"
FEWER = "fewer images"
SQUEEZENET = "SqueezeNet 1.1"
WANTED = {SQUEEZENET: imagenet.squeezenet, "Tiny ImageNet": tiny_imagenet}  # and who reads it


# --- The question ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Material:
    """Images as rows (N, C * side * side) in [0, 1]: without labels, to learn the classifier on, and to judge it by."""

    config: QuocNetConfig
    unlabelled: Tensor
    train: Tensor
    train_labels: Tensor  # YES or NO, as many of either
    test: Tensor
    test_labels: Tensor
    word: str  # what is looked for
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.config.num_channels, self.config.side, self.config.side


def material(found: Mapping[str, object], images: Dataset, scale: CarsConfig, seed: int) -> Material:
    """Pictures with cars and without, where Tiny ImageNet is there; else digits, those of `images`.

    seed : of who is learned from and who is judged by. All of it lies where the images do.
    """
    if "Tiny ImageNet" not in found:
        return _of_digits(images, scale, seed)
    return _of_pictures(found["Tiny ImageNet"].train, scale, seed, images.inputs.device)


def _of_pictures(pictures: Pictures, scale: CarsConfig, seed: int, device: torch.device) -> Material:
    """Cars against a balanced draw of the other classes. What the classifiers are judged by nobody has seen before."""
    pictures = pictures.at(scale.pictures.side)
    cars = [pictures.wnids.index(wnid) for wnid in CARS]
    is_car = torch.isin(pictures.labels, torch.tensor(cars))
    parts = _drawn(is_car, scale, seed)

    def pixels(rows: Tensor) -> Tensor:
        return pictures.subset(rows).inputs().flatten(1).to(device)

    return _material(scale.pictures, is_car, parts, pixels, "car", pictures.name)


def _of_digits(images: Dataset, scale: CarsConfig, seed: int) -> Material:
    """One digit against a balanced draw of the others."""
    is_it = (images.labels == DIGIT).cpu()
    parts = _drawn(is_it, scale, seed)
    return _material(scale.digits, is_it, parts, lambda rows: images.inputs[rows], f"{DIGIT}", images.name)


def _drawn(is_it: Tensor, scale: CarsConfig, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of the images without labels, to learn and to judge on: of the last two as many with it as without."""
    generator = seeds.generator(seed)
    order = torch.randperm(len(is_it), generator=generator)
    yes, no = order[is_it[order]], order[~is_it[order]]
    num_train, num_test = _shared_out(min(len(yes), len(no)), scale)
    test = torch.cat([yes[:num_test], no[:num_test]])
    train = torch.cat([yes[num_test:][:num_train], no[num_test:][:num_train]])
    rest = order[~torch.isin(order, test)]
    return rest[: scale.num_unlabelled], train, test


def _shared_out(num: int, scale: CarsConfig) -> tuple[int, int]:
    """How many of `num` images of a class to learn and to judge on: what is asked for, or in that proportion."""
    num_test = min(scale.num_test, num * scale.num_test // (scale.num_train + scale.num_test))
    return min(scale.num_train, num - num_test), num_test


def _material(config, is_it: Tensor, parts, pixels: Callable[[Tensor], Tensor], word: str, source: str) -> Material:
    unlabelled, train, test = (pixels(rows) for rows in parts)
    train_labels, test_labels = (is_it[rows].long().to(test.device) for rows in parts[1:])
    return Material(config, unlabelled, train, train_labels, test, test_labels, word, source)


# --- Who answers it -------------------------------------------------------------------------------


def untrained(material: Material, seed: int) -> QuocNet:
    """The network with its first filters."""
    return QuocNet(material.config, seeds.generator(seed)).eval().requires_grad_(False).to(material.test.device)


def learned(material: Material, scale: CarsConfig, roles: Seeds, store: Store) -> tuple[QuocNet, dict[int, Tensor]]:
    """QuocNet after its stages have learned from the images without labels, and each stage's costs."""
    network, costs = untrained(material, roles.init), {}
    images = material.unlabelled.unflatten(1, material.shape)
    for number, stage in enumerate(tqdm(network.stages, desc="QuocNet", disable=None, leave=False)):
        fitted = store.call(quocnet.fit_stage, network, number, images, scale.rica, roles.batches)
        stage.filters.copy_(fitted.filters)
        costs[number + 1] = fitted.costs
    return network, costs


def normalized_once(material: Material) -> Material:
    """The same images for a QuocNet that normalises the contrast of the pixels only, and none behind its stages."""
    return replace(material, config=replace(material.config, normalized=False))


def judges(
    material: Material,
    networks: Mapping[str, QuocNet],
    found: Mapping[str, object],
    scale: CarsConfig,
    roles: Seeds,
    store: Store,
) -> dict[str, nn.Module]:
    """The classifiers, rows of pixels to two logits: one linear layer each on the features of QuocNets that learned, of
    QuocNet untrained, on raw pixels, and on as many random projections of these; and SqueezeNet's own classes."""
    unflatten, generator = nn.Unflatten(1, material.shape), seeds.generator(roles.directions)
    num_pixels = material.test.shape[1]
    projection = nn.Linear(num_pixels, material.config.num_features, bias=False)
    nn.init.normal_(projection.weight, std=num_pixels**-0.5, generator=generator)
    looking = {
        **{name: nn.Sequential(unflatten, network) for name, network in networks.items()},
        UNTRAINED: nn.Sequential(unflatten, untrained(material, roles.init)),
        PIXELS: nn.Identity(),
        PROJECTED: projection,
    }
    answering = {name: _headed(base, material, scale, roles, store) for name, base in looking.items()}
    if material.word == "car" and SQUEEZENET in found:
        any_car = imagenet.AnyOf(found[SQUEEZENET], imagenet.CARS)
        answering[SQUEEZENET] = nn.Sequential(unflatten, any_car).to(material.test.device).eval()
    return answering


def _headed(base: nn.Module, material: Material, scale: CarsConfig, roles: Seeds, store: Store) -> Headed:
    """A linear classifier on what `base` makes of images, its decay chosen on a part of those it learns from."""
    encoded = _encodings(base.to(material.train.device), material.train)
    order = seeds.generator(roles.split)
    head = store.call(linear_probe.fit_tuned, encoded, material.train_labels, 2, scale.decays, order)
    return Headed(base, head).to(material.train.device).eval().requires_grad_(False)


def bases(answering: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """What the classifiers that were learned here look at images with."""
    return {name: network.base for name, network in answering.items() if isinstance(network, Headed)}


@torch.no_grad()
def _encodings(base: nn.Module, images: Tensor) -> Tensor:
    """What `base` makes of images, (N, num_features)."""
    return torch.cat([base(batch) for batch in images.split(BATCH)])


# --- The tables of the chapter --------------------------------------------------------------------


def answers(network: nn.Module, images: Tensor) -> Tensor:
    """YES or NO for each image, (N,)."""
    return _encodings(network, images).argmax(dim=1)


def accuracy(material: Material, answering: Mapping[str, nn.Module]) -> Cells:
    """How often each classifier is right (%), and in how many points it is ahead of pixels, image by image."""
    right = {name: answers(network, material.test) == material.test_labels for name, network in answering.items()}
    cells = {}
    for name, hits in right.items():
        cells[name, "accuracy (%)"] = intervals.percent(int(hits.sum()), len(hits))
        if name != PIXELS:
            ahead = 100.0 * (hits.double() - right[PIXELS].double())
            cells[name, "ahead of pixels (points)"] = intervals.mean(ahead.cpu().numpy())
    return cells


def single_units(material: Material, bases: Mapping[str, nn.Module]) -> tuple[Cells, dict[str, int]]:
    """The best single unit of each base as a detector, chosen on the images that are learned from; and its number."""
    cells, best = {}, {}
    for name, base in bases.items():
        units, shown = _encodings(base, material.train), _encodings(base, material.test)
        chosen = detectors.best(units, material.train_labels == YES)
        best[name] = chosen.unit
        hits = (shown[:, chosen.unit] > chosen.threshold) == (material.test_labels == YES)
        cells[name, "best unit (%)"] = intervals.percent(int(hits.sum()), len(hits))
    return cells, best


def _fewer(material: Material, scale: CarsConfig, **sizes: int) -> tuple[Material, CarsConfig]:
    """The first of the images without labels, for a QuocNet of other sizes."""
    config = replace(material.config, **sizes)
    return replace(material, config=config, unlabelled=material.unlabelled[: scale.num_few]), scale


# QuocNet as it is, and what else it could be: what it learns from and how, made of what it is given.
VARIANTS: dict[str, Callable[[Material, CarsConfig], tuple[Material, CarsConfig]]] = {
    "all images": lambda material, scale: (material, scale),
    "all images, contrast of pixels only": lambda material, scale: (normalized_once(material), scale),
    FEWER: _fewer,
    "wider fields": lambda material, scale: _fewer(material, scale, field=material.config.field + 2),
    "wider pools": lambda material, scale: _fewer(material, scale, pool=material.config.pool + 1),
    "twice the maps": lambda material, scale: _fewer(material, scale, num_maps=2 * material.config.num_maps),
    "ten times the price of loud pools": lambda material, scale: _fewer(
        material, replace(scale, rica=replace(scale.rica, sparsity=10 * scale.rica.sparsity))
    ),
}


def variants(material: Material, scale: CarsConfig) -> dict[str, tuple[Material, CarsConfig]]:
    """What each of VARIANTS learns from, and how."""
    return {name: change(material, scale) for name, change in VARIANTS.items()}


class _Behind(nn.Module):
    """What comes out of a stage of QuocNet, as features of images (N, C, side, side)."""

    def __init__(self, network: QuocNet, number: int):
        super().__init__()
        self.network, self.number = network, number

    def forward(self, images: Tensor) -> Tensor:
        return self.network.below(images, self.number).flatten(1)


def by_depth(learners: Mapping[str, tuple[Material, CarsConfig]], roles: Seeds, store: Store) -> Cells:
    """How often a linear layer is right (%) behind each stage of each of these QuocNets."""
    cells = {}
    for name, (material, scale) in tqdm(learners.items(), desc="variants", disable=None, leave=False):
        network, _ = learned(material, scale, roles, store)
        for number in range(1, len(network.stages) + 1):
            base = nn.Sequential(nn.Unflatten(1, material.shape), _Behind(network, number))
            headed = _headed(base, material, scale, roles, store)
            hits = answers(headed, material.test) == material.test_labels
            cells[name, f"behind stage {number} (%)"] = intervals.percent(int(hits.sum()), len(hits))
    return cells


def costs_told(costs: Mapping[int, Tensor], num_parts: int = 10) -> Cells:
    """Each stage's cost over successive tenths of its training, {("stage 1", "part 1"): mean over n batches}."""
    return {
        (f"stage {stage}", f"part {part}"): effects.exactly(float(piece.mean()), len(piece))
        for stage, each in costs.items()
        for part, piece in enumerate(each.tensor_split(num_parts), 1)
    }


def relative_costs(told: Mapping[tuple[str, str], float]) -> dict[str, tuple[list[float], list[float]]]:
    """Each stage's costs as `curves.learning` takes them: shares of the training, costs over the first."""
    lines: dict[str, list[float]] = {}
    for (stage, _), cost in told.items():
        lines.setdefault(stage, []).append(cost)
    return {
        stage: ([(i + 0.5) / len(each) for i in range(len(each))], [cost / each[0] for cost in each])
        for stage, each in lines.items()
    }


# --- Figure 6 -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Turned:
    """Images that a classifier recognised, rows, and what two attacks made of them so that it does not."""

    inputs: Tensor
    found: AttackResult
    tight: tight.TightResult


def _recognised(material: Material, network: nn.Module, num: int) -> Tensor:
    """The first `num` of the test images that show it and that the classifier says yes to."""
    yes = material.test[material.test_labels == YES]
    return yes[answers(network, yes) == YES][:num]


def turned(
    material: Material, answering: Mapping[str, nn.Module], scale: CarsConfig, store: Store
) -> dict[str, Turned]:
    """Both attacks on what each classifier recognises; nothing of those that recognise fewer than two."""
    found = {}
    for name, network in tqdm(answering.items(), desc="turning", disable=None, leave=False):
        inputs = _recognised(material, network, scale.num_attacked)
        if len(inputs) < 2:
            continue
        targets = torch.full((len(inputs),), NO, device=inputs.device)
        attacked = store.call(penalized.find_adversarial, network, inputs, targets, scale.attack).to(inputs.device)
        closer = store.call(tight.tighten, network, inputs, targets, attacked.adversarial, scale.tight)
        found[name] = Turned(inputs, attacked, closer.to(inputs.device))
    return found


def with_noise(made: Turned, noise: int) -> Tensor:
    """The images of `made`, each as far away as the attack's, in a random direction, clipped to [0, 1]."""
    drawn = perturbations.random_directions(made.inputs, made.found.adversarial, seeds.generator(noise))
    return drawn.clamp(0, 1)


def lengths(answering: Mapping[str, nn.Module], under_attack: Mapping[str, Turned], noise: int) -> Cells:
    """Success and mean distortion of either attack, and how often noise of the same length does as well."""
    cells = {}
    for name, each in under_attack.items():
        lost = answers(answering[name], with_noise(each, noise)) == NO
        cells[name, "turned by noise as long (%)"] = intervals.percent(int(lost.sum()), len(lost))
        for prefix, result in {"": each.found, "tight ": each.tight}.items():
            success = result.success
            cells[name, f"{prefix}success (%)"] = intervals.percent(int(success.sum()), len(success))
            cells[name, f"{prefix}distortion"] = intervals.mean(result.distortion[success].cpu().numpy())
    return cells


def transfers(answering: Mapping[str, nn.Module], under_attack: Mapping[str, Turned], noise: int) -> Cells:
    """Of the images that both recognise, how many each classifier (column) no longer does (%).

    Rows: what was made for each of them, and the same images with noise that is as long.
    """
    cells = {}
    for name, made in under_attack.items():
        shown = {name: made.found.adversarial, f"{name}, noise": with_noise(made, noise)}
        for row, images in shown.items():
            for other, network in answering.items():
                both = answers(network, made.inputs) == YES
                lost = answers(network, images[both]) == NO
                if both.any():
                    cells[row, f"{other} (%)"] = intervals.percent(int(lost.sum()), len(lost))
    return cells


@torch.no_grad()
def growth(network: QuocNet, under_attack: Mapping[str, Turned], noise: int) -> Cells:
    """How long the difference is on the way through QuocNet, over its length in pixels: means over images.

    Empty where QuocNet recognised too few to be attacked.

    Rows: once the pixels' contrast is normalised, and behind each stage; columns: the attack's difference, and noise
    that is as long.
    """
    if QUOCNET not in under_attack:
        return {}
    made, shape = under_attack[QUOCNET], (network.config.num_channels, network.config.side, network.config.side)
    cells = {}
    for column, moved in {"adversarial": made.found.adversarial, "noise as long": with_noise(made, noise)}.items():
        before, after = (images.unflatten(1, shape) for images in (made.inputs, moved))
        pixels = _lengths(after - before)
        for number in range(len(network.stages) + 1):
            behind = _lengths(network.below(after, number) - network.below(before, number))
            row = f"stage {number}" if number else "contrast of pixels"
            cells[row, column] = intervals.mean((behind / pixels).cpu().numpy())
    return cells


def _lengths(differences: Tensor) -> Tensor:
    return differences.flatten(1).norm(dim=1)


def beside_noise(told: Mapping[tuple[str, str], float], names: Sequence[str]) -> dict[str, tuple]:
    """The two halves of `transfers` as `comparisons.matrices` takes them."""
    columns = [f"{name} (%)" for name in names]
    rows = {"made for it": names, "noise as long": [f"{name}, noise" for name in names]}
    return {half: (names, names, Told(told).grid(each, columns)) for half, each in rows.items()}


# --- For the figures ------------------------------------------------------------------------------


def panel(material: Material, made: Turned, num: int) -> list[list[tuple[Tensor, str]]]:
    """Figure 6's rows: recognised, no longer recognised, and the absolute difference at the scale of its largest."""
    x, x_adv = (rows[:num].unflatten(1, material.shape) for rows in (made.inputs, made.found.adversarial))
    size = (x_adv - x).abs()
    size = size / size.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    words = material.word, f"no {material.word}", ""
    return [list(zip(row, words, strict=True)) for row in zip(x, x_adv, size, strict=True)]


def first_filters(network: QuocNet, num: int) -> Tensor:
    """`num` filters of the first stage, (num, C, field, field), drawn at equal distances; each with 0 at mid-grey."""
    filters = network.stages[0].filters.permute(0, 1, 5, 4, 2, 3).flatten(0, 2)
    some = filters[torch.arange(num) * len(filters) // num]
    return 0.5 + some / some.abs().amax(dim=(1, 2, 3), keepdim=True) / 2


def favourites(material: Material, base: nn.Module, unit: int, num: int) -> Tensor:
    """The test images that a unit responds to most, (num, C, side, side)."""
    order = _encodings(base, material.test)[:, unit].argsort(descending=True)
    return material.test[order[:num]].unflatten(1, material.shape)
