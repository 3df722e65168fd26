"""How the attack's time and memory grow with images and pixels, how far it is from its floor, where its time goes."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lib.attacks import penalized, tight
from lib.data.dataset import Dataset
from lib.experiments import digits
from lib.experiments.digits import Experiment
from lib.networks import mnist
from lib.solvers import lbfgs, rowwise

FIELDS = ("images", "pixels", "floor", "operations", "stationary", "table2_seconds")
NUM_IMAGES = (1, 10, 100, 500, 2_000, 10_000, 60_000)
SIDES = (14, 28, 56, 112)
NETWORK = "100-100-10"
BATCH = 512


def measure(run: Experiment, networks: list[str]) -> dict:
    """All of `FIELDS`, on the training images; `run` must be the experiment that its own parameters describe."""
    network = run.trained(NETWORK).network
    sizes = [n for n in NUM_IMAGES if n <= len(run.train)]
    if len(run.train) not in sizes:
        sizes.append(len(run.train))
    trained = {name: run.trained(name).network for name in networks}
    return {
        "images": [_in_its_own_process(_images, run.profile.name, run.split.source, str(run.device), n) for n in sizes],
        "pixels": [_pixels(run, network, side) for side in SIDES],
        "floor": {name: _floor(run, network) for name, network in trained.items()},
        "operations": {name: _operations(run, network) for name, network in trained.items()},
        "stationary": {name: _stationary(run, network) for name, network in trained.items()},
        "table2_seconds": {
            name: _seconds(run, network, run.train) for name, network in trained.items() if name in mnist.TABLE1
        },
    }


def _in_its_own_process(function: Callable, *arguments) -> dict:
    """Called in a fresh process: in this one, memory that an earlier call gave back would be used again unseen."""
    arguments = (torch.get_num_threads(), *arguments)
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def timed(function: Callable, *arguments) -> tuple[object, float]:
    """Result and seconds; waits for what a GPU was asked to do."""
    began = time.perf_counter()
    result = function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - began


def _seconds(run: Experiment, network: nn.Module, images: Dataset) -> float:
    return timed(penalized.find_adversarial, network, images.inputs, run.targets(images))[1]


def _images(num_threads: int, profile: str, data: str, device: str, num_images: int) -> dict:
    """Rate and peak memory beyond the images, for N images; of that the answers, while chunks are joined, take twice
    `answers_mb`.
    """
    torch.set_num_threads(num_threads)
    run = digits.begin("benchmark", profile, data, device, seed=0)
    network, images = run.trained(NETWORK).network, run.train.take(num_images)
    penalized.find_adversarial(network, run.test.inputs[:1], run.targets(run.test)[:1])
    if run.device.type == "cpu":
        # Linux: the peak starts afresh, after the data were read.
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = memory(run.device, peak=False)
    seconds = _seconds(run, network, images)
    return {
        "num_images": len(images),
        "images_per_second": len(images) / seconds,
        "memory_mb": (memory(run.device, peak=True) - before) / 2**20,
        "answers_mb": images.inputs.element_size() * images.inputs.nelement() / 2**20,
    }


def memory(device: torch.device, peak: bool) -> int:
    """Bytes in use, or the most that ever were."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    key = "VmHWM" if peak else "VmRSS"  # Linux
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


class Shrink(nn.Module):
    """Images of side x side pixels, brought to the 28 x 28 that the network behind knows."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, inputs: Tensor) -> Tensor:
        return resized(inputs, self.side, 28)


def resized(inputs: Tensor, side: int, to: int) -> Tensor:
    images = F.interpolate(inputs.view(-1, 1, side, side), size=(to, to), mode="bilinear", antialias=to < side)
    return images.flatten(1)


def _pixels(run: Experiment, network: nn.Module, side: int) -> dict:
    """Time per image when the same images have side x side pixels: the network costs the same, the vectors grow."""
    images = run.test.take(BATCH)
    inputs = resized(images.inputs, 28, side).clamp(0, 1)
    larger = nn.Sequential(Shrink(side), network).eval()
    targets = run.targets(images)
    penalized.find_adversarial(larger, inputs[:20], targets[:20])
    result, seconds = timed(penalized.find_adversarial, larger, inputs, targets)
    return {
        "pixels": side**2,
        "ms": 1000 * seconds / len(images),
        "gradients": float(result.num_evaluations.double().mean()),
        "distortion": float(result.distortion.mean()),
    }


def _floor(run: Experiment, network: nn.Module) -> dict:
    """What the evaluations must cost: the network's gradients, and the bytes of history that they must move.

    A direction needs the gradient and every stored vector twice, once for the inner products and once for the sum, and
    a step stores two. Counted as it happens: each minimisation starts without history.
    """
    images = run.test.take(BATCH)
    inputs, targets = images.inputs, run.targets(images)
    gradient_us = _best(lambda: penalized.loss_gradient(network, inputs, targets)) / len(images)
    block = torch.empty(2**26, device=run.device)  # 256 MB, more than a cache
    bandwidth = 2 * 4 * block.nelement() / _best(block.clone)  # bytes a microsecond
    measured = _best(lambda: penalized.find_adversarial(network, inputs, targets), repeats=3) / len(images)
    with _counted_vectors() as num_vectors:
        result = penalized.find_adversarial(network, inputs, targets)
    evaluations = float(result.num_evaluations.double().mean())
    history = 4 * inputs.shape[1] * sum(num_vectors) / len(images)
    floor = evaluations * gradient_us + history / bandwidth
    return {
        "gradients": evaluations,
        "gradient_us": gradient_us,
        "history_bytes": history,
        "bandwidth_gb_per_s": bandwidth / 1000,
        "floor_us": floor,
        "measured_us": measured,
        "fraction_of_floor_reached": floor / measured,
    }


@contextmanager
def _counted_vectors() -> Iterator[list[int]]:
    """How many vectors of n numbers each direction of the solver must move, as long as this lasts.

    The problems are solved together, which can be watched; the same directions as one after the other.
    """
    direction, num_vectors = lbfgs._direction, []

    def counted(state, *arguments):
        pairs = state.num_pairs.clamp_max(penalized.AttackConfig().solver.memory)
        num_vectors.append(int((2 * (2 * pairs + 1) + 2).sum()))
        return direction(state, *arguments)

    with mock.patch.object(lbfgs, "_direction", counted), mock.patch.object(rowwise, "fits", return_value=False):
        yield num_vectors


def _stationary(run: Experiment, network: nn.Module) -> float:
    """Share of 100 test images whose tight attack ends stationary."""
    images = run.test.take(100)
    result = tight.find_adversarial(network, images.inputs, run.targets(images))
    return float((result.residual <= tight.TightConfig().tolerance).double().mean())


def _best(function: Callable, repeats: int = 10) -> float:
    """Microseconds of the fastest of some calls."""
    return 1e6 * min(timed(function)[1] for _ in range(repeats))


def _operations(run: Experiment, network: nn.Module) -> dict[str, float]:
    """Share of each operation in the processor's time, the largest ten."""
    images = run.test.take(BATCH)
    targets = run.targets(images)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        penalized.find_adversarial(network, images.inputs, targets)
    spent = {event.key: event.self_cpu_time_total for event in recorded.key_averages()}
    total = sum(spent.values())
    return {name: spent[name] / total for name in sorted(spent, key=spent.get, reverse=True)[:10]}
