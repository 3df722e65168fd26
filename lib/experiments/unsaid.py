"""What the paper leaves open, read in several ways, each measured beside what it prints (chapter `unsaid`)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.attacks import lengths, penalized, perturbations
from lib.attacks.lengths import LEAST_PRICE
from lib.data.dataset import NUM_CLASSES, Dataset
from lib.experiments import seeds
from lib.experiments.digits import Experiment
from lib.measures import averages, candidates, effects, intervals, transfer
from lib.measures.intervals import Estimate
from lib.networks import mnist
from lib.record.ledger import Cells
from lib.record.markdown import cell, span, words
from lib.record.tables import Told

TEST = "test error (%)"
FIRST_TWO = "the first two"
NOISE, CLAMPED = "accuracy (%)", "accuracy, clamped (%)"
FEW_ITERATIONS = 3

# Searches over c and what they search: how each finds its perturbations, from a price on |r| or on |r|^2.
HALVED = {"c‖r‖, halved": (2, 1), "c‖r‖², halved": (2, 2), "c‖r‖, by tenths": (10, 1)}
SHARED = {"one c for all, c‖r‖": 1, "one c for all, c‖r‖²": 2}
SMALLEST, HURRIED = "the smallest c", f"{FEW_ITERATIONS} iterations"
SEARCHES = (*HALVED, SMALLEST, HURRIED)
AVERAGES = (averages.READINGS[0], averages.READINGS[-1], *SHARED)


# --- Weight decay ---------------------------------------------------------------------------------


def decayed(run: Experiment) -> Cells:
    """Errors of the linear networks where lambda * sum(w^2) is divided by k, under "k = 2, test error (%)"."""
    return {
        (name, _column(k, error)): estimate
        for name in mnist.LINEAR
        for k in run.profile.unsaid.divisors
        for error, estimate in run.errors(run.with_decay(name, 2 / k)).items()
    }


def _column(divisor: float, error: str) -> str:
    return f"k = {divisor:g}, {error}"


def off_printed(told: Told, printed: Mapping, divisors: Sequence[float]) -> dict[str, dict[str, list[float]]]:
    """{network: {error: by how many points ours exceeds the printed one at each of the divisors}}."""
    errors = [column for name, column in printed if name == mnist.LINEAR[0] and column != "distortion"]
    return {
        name: {error: [told[name, _column(k, error)] - printed[name, error] for k in divisors] for error in errors}
        for name in mnist.LINEAR
    }


def best_divisors(
    off: Mapping[str, Mapping[str, Sequence[float]]], divisors: Sequence[float]
) -> dict[str, tuple[float, float, float, float]]:
    """`candidates.best_divisor` for each of the linear networks, for the first two, and for all."""
    groups = {name: [name] for name in off} | {FIRST_TWO: mnist.LINEAR[:2], "all three": mnist.LINEAR}
    curves = {group: [values for name in names for values in off[name].values()] for group, names in groups.items()}
    return {g: candidates.best_divisor(candidates.largest_misses(divisors, each)) for g, each in curves.items()}


def in_words(best: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """A line for each group of networks: the best k, the largest miss there, and how far from it k may lie."""
    return [
        [group, words(k, ".3g"), words(miss, ".2f"), span((low, high), ".3g")]
        for group, (k, miss, low, high) in best.items()
    ]


# --- The attack -----------------------------------------------------------------------------------


def targeted(run: Experiment, network: nn.Module, images: Dataset) -> dict[str, Estimate]:
    """Mean distortion on the images under each reading of "target label"."""
    found = run.store.call(lengths.to_every_class, network, images.inputs, NUM_CLASSES, run.profile.attack)
    with torch.no_grad():
        logits = network(images.inputs)
    read = candidates.by_target(found.to(logits), logits, images.labels, run.targets(images))
    return {name: _mean(values) for name, values in read.items()}


def averaged(run: Experiment, network: nn.Module, images: Dataset) -> dict[str, Estimate]:
    """The average distortion on the images under each of AVERAGES."""
    problem, config = (network, images.inputs, run.targets(images)), run.profile.attack
    found = run.store.call(penalized.find_adversarial, *problem, config).to(run.device)
    right = transfer.predictions(network, images.inputs) == images.labels
    read = averages.readings(found.distortion, right)
    shared = {name: run.store.call(lengths.with_one_price, *problem, power, config) for name, power in SHARED.items()}
    return {name: read[name] for name in AVERAGES if name in read} | {n: _mean(each) for n, each in shared.items()}


def searched(run: Experiment, network: nn.Module, images: Dataset) -> dict[str, Estimate]:
    """Mean distortion on the images under each of SEARCHES."""
    problem, config = (network, images.inputs, run.targets(images)), run.profile.attack
    hurried = replace(config, solver=replace(config.solver, max_iterations=FEW_ITERATIONS))
    read = {name: run.store.call(lengths.searched_down, *problem, *how, config) for name, how in HALVED.items()}
    read[SMALLEST] = run.store.call(lengths.at_price, *problem, LEAST_PRICE, 1, config)
    read[HURRIED] = run.store.call(penalized.find_adversarial, *problem, hurried).distortion
    return {name: _mean(values) for name, values in read.items()}


def for_each(run: Experiment, read: Callable) -> Cells:
    """What `read` finds for every network of Table 1 on the first training images, as the cells of a table."""
    images = run.train.take(run.profile.unsaid.num_images)
    return averages.by_cell({name: read(run, run.trained(name).network, images) for name in mnist.TABLE1})


def _mean(values: Tensor) -> Estimate:
    return intervals.mean(values[values.isfinite()].cpu().numpy())


# --- Noise ----------------------------------------------------------------------------------------


def under_noise(run: Experiment, stddev: float = 1.0) -> Cells:
    """How often each network of Table 1 is right about test images under noise, as it is and clamped, in per cent."""
    noisy = perturbations.gaussian_noise(run.test.inputs, stddev, seeds.generator(run.seeds.noise))
    networks = {name: run.trained(name).network for name in mnist.TABLE1}
    answers = transfer.answers(networks, {NOISE: noisy, CLAMPED: noisy.clamp(0, 1)})
    rates = transfer.rates(answers, run.test.labels)
    return {(name, kind): estimate for (kind, name), estimate in rates.items()}


# --- Six per cent ---------------------------------------------------------------------------------

SIX, AS_IT_IS = "100-100-10", "as in Table 1"


def of_six_per_cent(run: Experiment) -> Cells:
    """Test errors of 100-100-10 as it is, with more decay, and of fewer images."""
    scale, trained = run.profile.unsaid, {AS_IT_IS: run.trained(SIX)}
    trained |= {f"decay times {factor:,}": run.with_decay(SIX, factor) for factor in scale.decays}
    trained |= {f"1/{share} of the images": run.trained(SIX, images=run.part(share)) for share in scale.shares}
    return {(row, TEST): run.errors(each)[TEST] for row, each in trained.items()}


# --- Amplification, of what chapter cross_training_set has measured -------------------------------

AMPLIFIED = {
    "as printed": "{} as printed",
    "image by image": "{} amplified to 0.1",
    "one factor": "{} by one factor to 0.1",
}


def amplified(told: Told) -> list[list[str]]:
    """A line for each reading: mean size over M1 to M3, and by how many per cent that is above the size before."""
    before = _mean_size(told, "distorted for {}")
    after = {reading: _mean_size(told, row) for reading, row in AMPLIFIED.items()}
    return [[r, cell(size), cell(effects.percent_off(size, before), "(%)")] for r, size in after.items()]


def _mean_size(told: Told, row: str) -> float:
    """Mean distortion of a kind of row over the three networks of Table 3."""
    return sum(told[row.format(name), "distortion"] for name in mnist.HALVES) / len(mnist.HALVES)


def off_in_words(ratios: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """By how many per cent each length is off, of its ratio to the printed one; a dash where there is none."""
    return [f"{100 * (ratios[name] - 1):+.0f}" if name in ratios else "–" for name in names]
