"""The attack against SciPy's L-BFGS-B and the exact optimum: same images, targets, networks, threads and run.

    make bench                                   # on MNIST or the digits, whichever is found; prints a table
    python benchmarks/attack.py --json FILE      # and writes the figures

SciPy takes one image at a time, the first `--num-scipy` of them, in two ways: `scipy`, inside our own search over c,
and `scipy_bisection`, as one would write it from the paper: twelve bisections of c, SciPy's own stopping rules.
It works in float64, its own precision; ours in float32.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib import attack, exact, experiment, intervals, provenance, reference
from lib.paper import write_atomically

NETWORKS = ("softmax 1e-4", "softmax 1e-2", "softmax 1", "100-100-10", "200-200-10", "AE400-10", "Conv")
NUM_BISECTIONS = 12


def timed(function: Callable) -> tuple[object, float]:
    began = time.perf_counter()
    return function(), time.perf_counter() - began


def scipy_bisection(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Distortion of each image, (N,): the largest c that succeeds by bisection, each minimisation started at r = 0."""
    return torch.stack([_bisect(network, x[None], t[None]) for x, t in zip(inputs, targets, strict=True)])


def _bisect(network: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    high = attack.loss_gradient(network, x, target).norm()  # at this c and above no direction leads down from r = 0
    low, best = 1e-3 * high, x
    for _ in range(NUM_BISECTIONS):
        c = (low * high).sqrt()
        image = attack.minimize_penalized(network, x, target, c[None], minimize=reference.minimize).minimizer
        if network(image).argmax() == target:
            low, best = c, image
        else:
            high = c
    return attack.distortion(best, x)[0]


def compare(network: nn.Module, inputs: Tensor, targets: Tensor, num_scipy: int) -> dict:
    """One network's figures; milliseconds are per image, ratios are over the same images."""
    few, few_targets = inputs[:num_scipy], targets[:num_scipy]
    precise, few_precise = copy.deepcopy(network).double(), few.double()  # in float32 SciPy would chase rounding noise
    attack.find_adversarial(network, few, few_targets)  # the first call pays for memory and threads
    ours, seconds = timed(lambda: attack.find_adversarial(network, inputs, targets))
    scipys, scipy_seconds = timed(
        lambda: attack.find_adversarial(precise, few_precise, few_targets, minimize=reference.minimize)
    )
    bisected, bisection_seconds = timed(lambda: scipy_bisection(precise, few_precise, few_targets))
    ms, scipy_ms, bisection_ms = (
        1000 * s / n for s, n in ((seconds, len(inputs)), (scipy_seconds, num_scipy), (bisection_seconds, num_scipy))
    )
    ours_few = ours.distortion[:num_scipy].mean()
    figures = {
        "num_images": len(inputs),
        "num_scipy": num_scipy,
        "success": intervals.rate(int(ours.success.sum()), len(inputs))._asdict(),
        "converged": float(ours.converged.double().mean()),
        "distortion": intervals.mean(ours.distortion.cpu().numpy())._asdict(),
        "evaluations": float(ours.num_evaluations.double().mean()),
        "scipy_evaluations": float(scipys.num_evaluations.double().mean()),
        "ms": ms,
        "scipy_ms": scipy_ms,
        "scipy_bisection_ms": bisection_ms,
        "speedup_vs_scipy": scipy_ms / ms,
        "speedup_vs_scipy_bisection": bisection_ms / ms,
        "distortion_ratio_vs_scipy": float(ours_few / scipys.distortion.mean()),
        "distortion_ratio_vs_scipy_bisection": float(ours_few / bisected.mean()),
    }
    if isinstance(network, nn.Sequential) and len(network) == 1:
        optimum, exact_seconds = timed(lambda: exact.minimum_perturbation(network[0], inputs, targets).distortion)
        figures["exact_ms"] = 1000 * exact_seconds / len(inputs)
        figures["distortion_ratio_vs_exact"] = float(ours.distortion.mean() / optimum.mean())
    return figures


def table(figures: dict[str, dict]) -> str:
    columns = {
        "distortion": lambda f: f"{f['distortion']['value']:.5f}",
        "success %": lambda f: f"{100 * f['success']['value']:.1f}",
        "gradients": lambda f: f"{f['evaluations']:.1f}",
        "ms/image": lambda f: f"{f['ms']:.2f}",
        "SciPy's": lambda f: f"{f['scipy_evaluations']:.1f}",
        "SciPy ms": lambda f: f"{f['scipy_ms']:.0f}",
        "speedup": lambda f: f"{f['speedup_vs_scipy']:.0f}",
        "/ SciPy": lambda f: f"{f['distortion_ratio_vs_scipy']:.5f}",
        "bisection ms": lambda f: f"{f['scipy_bisection_ms']:.0f}",
        "speedup ": lambda f: f"{f['speedup_vs_scipy_bisection']:.0f}",
        "/ bisection": lambda f: f"{f['distortion_ratio_vs_scipy_bisection']:.5f}",
        "/ exact": lambda f: f"{f['distortion_ratio_vs_exact']:.4f}" if "distortion_ratio_vs_exact" in f else "",
    }
    lines = [["network", *columns], *([name, *(show(f) for show in columns.values())] for name, f in figures.items())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="auto", choices=["auto", "mnist", "digits"])
    parser.add_argument(
        "--profile", default="quick", choices=["quick", "paper"], help="scale of the networks' training"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--num-images", type=int, default=500, help="test images attacked")
    parser.add_argument("--num-scipy", type=int, default=25, help="of these, by SciPy")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for both sides")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    run = experiment.begin("benchmark", arguments.profile, arguments.data, arguments.device, seed=0)
    images = run.test.take(arguments.num_images)
    targets = run.targets(images)
    figures = {}
    for name in tqdm(arguments.networks, disable=None):
        figures[name] = compare(run.trained(name).network, images.inputs, targets, arguments.num_scipy)
    print(f"{images.name}, {len(images)} images, random targets, {arguments.threads} thread(s), {run.device}")
    print(table(figures))
    if arguments.json:
        facts = provenance.describe(run.profile, run.split, str(run.device), run.seeds)
        write_atomically(
            arguments.json, json.dumps(facts | {"threads": arguments.threads, "networks": figures}, indent=2)
        )


if __name__ == "__main__":
    main()
