"""How the attack's time and memory grow with images and pixels, how far it is from its floor, where its time goes."""

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lib import attack
from lib.data import Dataset
from lib.experiment import Experiment
from lib.models import mnist

FIELDS = ("images", "pixels", "floor", "operations", "table2_seconds")
NUM_IMAGES = (1, 10, 100, 500, 2_000, 10_000, 60_000)
SIDES = (14, 28, 56, 112)
NETWORK = "100-100-10"
BATCH = 512


def measure(run: Experiment, networks: list[str]) -> dict:
    """All of `FIELDS`, on the training images."""
    network = run.trained(NETWORK).network
    sizes = [n for n in NUM_IMAGES if n <= len(run.train)]
    if len(run.train) not in sizes:
        sizes.append(len(run.train))
    return {
        "images": [_images(run, network, run.train.take(n)) for n in sizes],
        "pixels": [_pixels(run, network, side) for side in SIDES],
        "floor": {name: _floor(run, run.trained(name).network) for name in networks},
        "operations": {name: _operations(run, run.trained(name).network) for name in networks},
        "table2_seconds": {
            name: _seconds(run, run.trained(name).network, run.train) for name in networks if name in mnist.TABLE1
        },
    }


def _seconds(run: Experiment, network: nn.Module, images: Dataset) -> float:
    targets = run.targets(images)
    began = time.perf_counter()
    attack.find_adversarial(network, images.inputs, targets)
    if run.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _images(run: Experiment, network: nn.Module, images: Dataset) -> dict:
    """Rate and peak memory beyond the images and their answers, for N images."""
    reset_peak_memory(run.device)
    before = peak_memory(run.device)
    seconds = _seconds(run, network, images)
    answers = images.inputs.element_size() * images.inputs.nelement()
    return {
        "num_images": len(images),
        "images_per_second": len(images) / seconds,
        "working_memory_mb": (peak_memory(run.device) - before - answers) / 2**20,
    }


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with open("/proc/self/clear_refs", "w") as file:  # Linux: starts the peak of resident memory afresh
            file.write("5")


def peak_memory(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


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
    attack.find_adversarial(larger, inputs[:20], run.targets(images)[:20])
    began = time.perf_counter()
    result = attack.find_adversarial(larger, inputs, run.targets(images))
    return {
        "pixels": side**2,
        "ms": 1000 * (time.perf_counter() - began) / len(images),
        "gradients": float(result.num_evaluations.double().mean()),
        "distortion": float(result.distortion.mean()),
    }


def _floor(run: Experiment, network: nn.Module) -> dict:
    """What the evaluations must cost: the network's gradients, and the bytes of history that they must move.

    A direction needs every stored vector twice, once for the inner products and once for the sum, and a step stores
    two; counted with the memory full.
    """
    images = run.test.take(BATCH)
    inputs, targets = images.inputs, run.targets(images)
    gradient_us = _best(lambda: attack.loss_gradient(network, inputs, targets)) / len(images)
    block = torch.empty(2**26, device=run.device)  # 256 MB, more than a cache
    bandwidth = 2 * 4 * block.nelement() / _best(block.clone)  # bytes a microsecond
    memory = attack.AttackConfig().solver.memory
    history = 4 * inputs.shape[1] * (2 * (2 * memory + 1) + 2)
    seconds = [_timed_attack(network, inputs, targets) for _ in range(3)]
    result = attack.find_adversarial(network, inputs, targets)
    evaluations = float(result.num_evaluations.double().mean())
    floor = evaluations * (gradient_us + history / bandwidth)
    measured = 1e6 * min(seconds) / len(images)
    return {
        "gradients": evaluations,
        "gradient_us": gradient_us,
        "history_bytes": history,
        "bandwidth_gb_per_s": bandwidth / 1000,
        "floor_us": floor,
        "measured_us": measured,
        "fraction_of_floor_reached": floor / measured,
    }


def _timed_attack(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    began = time.perf_counter()
    attack.find_adversarial(network, inputs, targets)
    return time.perf_counter() - began


def _best(function, repeats: int = 10) -> float:
    """Microseconds of the fastest of some calls."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return 1e6 * min(found)


def _operations(run: Experiment, network: nn.Module) -> dict[str, float]:
    """Share of each operation in the processor's time, the largest ten."""
    images = run.test.take(BATCH)
    targets = run.targets(images)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        attack.find_adversarial(network, images.inputs, targets)
    spent = {event.key: event.self_cpu_time_total for event in recorded.key_averages()}
    total = sum(spent.values())
    return {name: spent[name] / total for name in sorted(spent, key=spent.get, reverse=True)[:10]}
