"""What a change costs the attacks: two trees in turn on the same networks, images and targets.

    python -m benchmarks.paired PATH [--pairs 5] [--num-images 200]

PATH is another checkout, such as `git worktree add /tmp/before main`. Networks are trained here, at the quick profile,
and handed to both. Of every pair the ratio of the times of this tree and of the other is told, each the least of a few
repetitions; beside it whether both found the same.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import safetensors.torch
import torch
from torch import nn

from benchmarks.attack import NETWORKS
from lib.attacks import penalized, tight
from lib.experiments import digits
from lib.networks import mnist

REPEATS = 5
FEWER = {"Conv": 4}  # times as slow as the others, about


def save(networks: dict[str, nn.Module], images: dict[str, torch.Tensor], file: Path) -> None:
    """Weights, not code: each tree builds the networks by its own. images : inputs and targets."""
    weights = {f"{name}/{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    safetensors.torch.save_file({key: value.contiguous() for key, value in (weights | images).items()}, file)


def load(file: Path) -> tuple[dict[str, nn.Module], torch.Tensor, torch.Tensor]:
    """Networks by name, inputs and targets."""
    tensors = safetensors.torch.load_file(file)
    inputs, targets, networks = tensors.pop("inputs"), tensors.pop("targets"), {}
    for name in dict.fromkeys(key.partition("/")[0] for key in tensors):
        networks[name] = mnist.build(mnist.SPECS[name], torch.Generator()).requires_grad_(False)
        weights = {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(f"{name}/")}
        networks[name].load_state_dict(weights)
    return networks, inputs, targets


def measure(file: Path) -> dict[str, dict[str, float]]:
    """Seconds of processor, mean distortion and success of either attack on each of the networks, in this process."""
    torch.set_num_threads(1)
    (networks, inputs, targets), found = load(file), {}
    for name, network in networks.items():
        few = slice(0, len(targets) // FEWER.get(name, 1))
        for kind, attack in (("attack", penalized.find_adversarial), ("tight", tight.find_adversarial)):
            seconds = []
            for _ in range(REPEATS):
                began = time.process_time()
                result = attack(network, inputs[few], targets[few])
                seconds.append(time.process_time() - began)
            lengths = result.distortion[result.success].double()
            told = {"distortion": float(lengths.mean()), "success": len(lengths)}
            found[f"{name}, {kind}"] = {"seconds": min(seconds)} | told
    return found


def in_tree(tree: Path, file: Path) -> dict[str, dict[str, float]]:
    """What this file measures when its imports are those of another tree."""
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(tree)!r}); "
        f"runpy.run_path({__file__!r}, run_name='measured')['tell']({str(file)!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def tell(file: str) -> None:
    print(json.dumps(measure(Path(file))))


def ratios(pairs: list[tuple[dict, dict]], case: str) -> list[float]:
    """Of each pair, the other tree's first, how many times as long this one took."""
    return [after[case]["seconds"] / before[case]["seconds"] for before, after in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=Path, help="the other checkout")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--num-images", type=int, default=200)
    given = parser.parse_args()
    run = digits.begin("benchmark", "quick", "auto", "cpu", seed=0)
    images = run.test.take(given.num_images)
    networks = {name: run.trained(name).network for name in NETWORKS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "networks.safetensors"
        save(networks, {"inputs": images.inputs, "targets": run.targets(images)}, file)
        here = Path(__file__).parents[1]
        pairs = [(in_tree(given.tree.resolve(), file), in_tree(here, file)) for _ in range(given.pairs)]
    for case, before in pairs[0][0].items():
        after, found = pairs[0][1][case], ratios(pairs, case)
        same = "the same" if before["distortion"] == after["distortion"] else f"{before['distortion']:.7f} before"
        told = f"{median(found):.3f} [{min(found):.3f}, {max(found):.3f}]"
        print(f"{case:22s} {told}  success {after['success']}, distortion {after['distortion']:.7f}, {same}")
    total = [sum(ratios([pair], case)[0] for case in pairs[0][0]) / len(pairs[0][0]) for pair in pairs]
    print(f"{'mean over the cases':22s} {median(total):.3f} [{min(total):.3f}, {max(total):.3f}]")


if __name__ == "__main__":
    main()
