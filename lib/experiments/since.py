"""What has been asked of adversarial images since 2013, asked of the networks of Table 1: chapter `since_2013`."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lib.attacks import penalized, perturbations
from lib.attacks.penalized import AttackResult
from lib.data.dataset import Dataset
from lib.experiments import seeds
from lib.experiments.digits import Experiment
from lib.experiments.searches import Attacked
from lib.measures import averages, effects, intervals, linearity, neighbourhood, smoothing, subspaces, transfer
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.record.ledger import Cells

NETWORKS = ("softmax 1e-4", "100-100-10", "200-200-10")
STRAIGHT, BENT, OTHER = NETWORKS
LENGTHS = transfer.TABLE4_STDDEVS  # root mean squares, as Table 4's noise
FOOL, FLAT, TOO, BLIND = "fool it", "if it were flat", f"fool {OTHER}, too", "random ones"  # columns of `directions`
COUNTS = (FOOL, FLAT, TOO, BLIND)
STDDEVS = (0.1, 0.2, 0.3)  # of the noise that a network is smoothed with
RIGHT, CERTIFIED, NEAREST = "right for sure (%)", "certified", "attack"  # columns of `smoothed`
COVERED, REFUTED = "of the attack (%)", "refuted"
SURE = (RIGHT, CERTIFIED, NEAREST, COVERED)


def attacked(run: Experiment) -> dict[str, Attacked]:
    """The networks, and what the paper's attack found for each of them on the training images."""
    trained, images = {name: run.trained(name) for name in NETWORKS}, run.attacked
    given = images.inputs, run.targets(images)
    return {name: Attacked(each.network, *given, run.adversarial(each, images)) for name, each in trained.items()}


def around(run: Experiment, attacks: Mapping[str, Attacked]) -> Cells:
    """What each network says around the images that were made for it, `neighbourhood.staying`."""
    cells = {}
    for name, few in _few(run, attacks).items():
        noise = torch.randn(few.inputs.shape, generator=seeds.generator(run.seeds.noise)).to(few.inputs)
        found = neighbourhood.staying(few.network, few.inputs, few.result.adversarial, few.targets, noise)
        for (factor, share), estimate in found.items():
            cells[neighbourhood.row(name, factor), neighbourhood.NOISE.format(share)] = estimate
    return cells


def steps(run: Experiment, attacks: Mapping[str, Attacked]) -> Cells:
    """How often one step along the gradient is enough, `linearity.reached`."""
    found = {
        name: linearity.reached(few.network, few.inputs, few.result.adversarial, few.targets)
        for name, few in _few(run, attacks).items()
    }
    return averages.by_cell(found)


def _few(run: Experiment, attacks: Mapping[str, Attacked]) -> dict[str, Attacked]:
    return {name: each.first(run.profile.since.num_around) for name, each in attacks.items()}


# --- Directions -----------------------------------------------------------------------------------


def directions(run: Experiment) -> Cells:
    """How many orthogonal directions fool a network, and another one, too: means over images that all get right.

    Rows are networks and lengths, `directed`. Of each number of directions tried the best counts, image by image.
    """
    few, networks = run.attacked.take(run.profile.since.num_directed), {n: run.trained(n).network for n in NETWORKS}
    right = torch.stack([transfer.predictions(each, few.inputs) == few.labels for each in networks.values()])
    known, cells = few.subset(right.all(dim=0)), {}
    for name in (STRAIGHT, BENT):
        both = {each: networks[each] for each in (name, OTHER)}
        slopes, distance = subspaces.steepest(networks[name], known.inputs, known.labels)
        blind = torch.randn(slopes.shape, generator=seeds.generator(run.seeds.directions)).to(slopes)
        for stddev in LENGTHS:
            length = stddev * mnist.NUM_PIXELS**0.5
            aimed, random = (_most(run, both, known, way, length) for way in (slopes, blind))
            counts = {FOOL: aimed[name], FLAT: subspaces.flat(distance, length), TOO: aimed[OTHER], BLIND: random[name]}
            cells |= {(directed(name, stddev), c): intervals.mean(v.cpu().numpy()) for c, v in counts.items()}
    return cells


def _most(run: Experiment, networks, images, slopes: Tensor, length: float) -> dict[str, Tensor]:
    arguments = networks, images.inputs, images.labels, slopes, length, run.seeds.resampling
    return {name: counts.amax(dim=0) for name, counts in run.store.call(subspaces.fooled, *arguments).items()}


def directed(name: str, stddev: float) -> str:
    """A row of `directions`: the network, and the root mean square of the step."""
    return f"{name}, {stddev:g}"


# --- Smoothing ------------------------------------------------------------------------------------


def smoothed(run: Experiment, name: str) -> Cells:
    """What a network smoothed with noise says for sure, beside the nearest image that fools it without: rows STDDEVS.

    "certified" and "attack" are mean root mean squares over all images; where the smoothed network is not surely right
    it certifies 0. "refuted": how many images, moved by their radius towards what fools the network, it surely loses.
    """
    network, few = run.trained(name).network, run.attacked.take(run.profile.since.num_smoothed)
    arguments = network, few.inputs, few.labels, run.profile.attack
    nearest = run.store.call(penalized.find_nearest_adversarial, *arguments).to(run.device)
    return averages.by_cell({f"noise {s:g}": _smoothed(run, network, few, nearest, s) for s in STDDEVS})


def _smoothed(run: Experiment, network, images: Dataset, nearest: AttackResult, stddev: float) -> dict[str, Estimate]:
    """One row of `smoothed`; the radii, and the votes that they stand trial by, rest on draws of their own."""
    x, labels, num = images.inputs, images.labels, run.profile.since.num_votes
    draws, others = (seeds.generator(seed) for seed in (run.seeds.noise, run.seeds.resampling))
    radius = run.store.call(smoothing.certified_radius, network, x, labels, stddev, num, draws)
    moved = x + radius.to(x)[:, None] * perturbations.directions(x, nearest.adversarial)
    lost = run.store.call(smoothing.surely_lost, network, moved, labels, stddev, num, others) & (radius > 0)
    found = averages.side_by_side({CERTIFIED: radius / mnist.NUM_PIXELS**0.5, NEAREST: nearest.distortion})
    value, low, high, n = found.pop("excess (%)")
    return found | {
        RIGHT: intervals.percent(int((radius > 0).sum()), len(images)),
        COVERED: Estimate(100 + value, 100 + low, 100 + high, n),
        REFUTED: effects.exactly(int(lost.sum()), len(images)),
    }
