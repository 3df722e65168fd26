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

import torch

from benchmarks.attack import NETWORKS

REPEATS = 5
FEWER = {"Conv": 4}  # times as slow as the others, about


def measure(networks: Path) -> dict[str, dict[str, float]]:
    """Seconds of processor, mean distortion and success of either attack on each of the networks, in this process."""
    from lib.attacks import penalized, tight

    torch.set_num_threads(1)
    given, found = torch.load(networks, weights_only=False), {}
    for name, network in given["networks"].items():
        few = slice(0, len(given["targets"]) // FEWER.get(name, 1))
        arguments = network.eval(), given["inputs"][few], given["targets"][few]
        for kind, attack in (("attack", penalized.find_adversarial), ("tight", tight.find_adversarial)):
            seconds = []
            for _ in range(REPEATS):
                began = time.process_time()
                result = attack(*arguments)
                seconds.append(time.process_time() - began)
            success = result.success
            distortion = float(result.distortion[success].double().mean())
            found[f"{name}, {kind}"] = {
                "seconds": min(seconds),
                "distortion": distortion,
                "success": int(success.sum()),
            }
    return found


def in_tree(tree: Path, networks: Path) -> dict[str, dict[str, float]]:
    """What this file measures when its imports are those of another tree."""
    code = (
        f"import sys; sys.path[:0] = [{str(tree)!r}]; import runpy; runpy.run_path({__file__!r}, run_name='measured')"
    )
    code += f"['tell']({str(networks)!r})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def tell(networks: str) -> None:
    print(json.dumps(measure(Path(networks))))


def ratios(pairs: list[tuple[dict, dict]], case: str) -> list[float]:
    """Of each pair, the other tree's first, how many times as long this one took."""
    return [after[case]["seconds"] / before[case]["seconds"] for before, after in pairs]


def main() -> None:
    from lib.experiments import digits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=Path, help="the other checkout")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--num-images", type=int, default=200)
    given = parser.parse_args()
    run = digits.begin("benchmark", "quick", "auto", "cpu", seed=0)
    images = run.test.take(given.num_images)
    networks = {name: run.trained(name).network for name in NETWORKS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "networks.pt"
        torch.save({"networks": networks, "inputs": images.inputs, "targets": run.targets(images)}, file)
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
