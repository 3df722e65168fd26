"""Our two attacks against SciPy, Foolbox and the exact optimum: same images, targets, networks, threads and run.

    make bench                                   # on MNIST or the digits, whichever is found; prints a table
    python -m benchmarks.attack --json FILE     # and writes the figures

A method that cannot attack all the images within `--budget` seconds gets as many of the first ones as it can; every
ratio is over the images that both attacked and on which the other succeeded.
"""

import argparse
import copy
import json
import math
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks import peers, scaling
from benchmarks.peers import Method
from benchmarks.scaling import timed
from lib.attacks import branching, exact, penalized, tight
from lib.experiments import digits, kinks, provenance
from lib.measures import intervals
from lib.store import files

SMALL = kinks.SPEC.name  # the network so small that its nearest images can be known
NETWORKS = ("softmax 1e-4", "softmax 1e-2", "softmax 1", "100-100-10", "200-200-10", "AE400-10", SMALL, "Conv")
# Our methods, and what the names of their ratios begin with.
OURS = {"ours": "", "tight": "tight_"}
UNTARGETED = {"nearest": "nearest_", "nearest_tight": "nearest_tight_"}
NOTICED = 1e-3  # by which a perturbation is shorter than another
PILOT = 20  # images that tell how many a method can afford; the least that any gets
PATIENCE = 20  # times as long as a method may what knows the optimum may take: the others are measured against it


class Counted(nn.Module):
    """A network that counts the gradients asked of it, one for each image and backward pass."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.count = network, Counter()
        self.eval()

    def __deepcopy__(self, memo: dict) -> "Counted":
        """A copy that counts where this one does: some methods work on a copy, in another precision."""
        twin = Counted(copy.deepcopy(self.network, memo))
        twin.count = self.count
        return twin

    @property
    def num_gradients(self) -> int:
        return self.count["gradients"]

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.network(inputs)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.count["gradients"] += len(gradient)


def methods(network: nn.Module, examples: Tensor, with_peers: bool) -> dict[str, Method]:
    """Every method that applies to `network`, ours first; `examples` are images that some need to start from."""
    found = {
        "ours": lambda n, x, t: penalized.find_adversarial(n, x, t).adversarial,
        "tight": lambda n, x, t: tight.find_adversarial(n, x, t).adversarial,
        "scipy": peers.scipy_bisection,
        "scipy_same_search": peers.scipy_in_our_search,
    }
    if with_peers:
        found |= {
            "ddn100": peers.foolbox_attack("DDNAttack", steps=100),
            "ddn1000": peers.foolbox_attack("DDNAttack", steps=1000),
            "fmn100": peers.adversarial_library_attack("fmn", norm=2, steps=100),
            "fmn1000": peers.adversarial_library_attack("fmn", norm=2, steps=1000),
            "pdgd1000": peers.adversarial_library_attack("pdgd", num_steps=1000),
            "alma1000": peers.adversarial_library_attack("alma", num_steps=1000),
            "cw": peers.foolbox_attack("L2CarliniWagnerAttack", binary_search_steps=9, steps=1000),
            "brendel_bethge": peers.brendel_bethge(examples),
        }
    if _is_linear(network):
        found["exact"] = lambda n, x, t: (x + exact.minimum_perturbation(network[0], x, t).perturbation).to(x)
    elif _is_small(network):
        found["exact"] = lambda n, x, t: _nearest_of_all(network, x, t)
    return found


def untargeted_methods(with_peers: bool) -> dict[str, Method]:
    """Every method that looks for the nearest image of any other class, ours first."""
    found = {
        "nearest": lambda n, x, labels: penalized.find_nearest_adversarial(n, x, labels).adversarial,
        "nearest_tight": _tightened_nearest,
    }
    if with_peers:
        found |= {
            "sdf": peers.adversarial_library_attack("sdf", targeted=False),
            "ddn100": peers.foolbox_attack("DDNAttack", targeted=False, steps=100),
            "fmn100": peers.adversarial_library_attack("fmn", targeted=False, norm=2, steps=100),
        }
    return found


def _tightened_nearest(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """From a coarse nearest image on, as `tight.find_adversarial` goes on from a coarse attack."""
    near = penalized.find_nearest_adversarial(network, inputs, labels, tight.TightConfig().start).adversarial
    with torch.no_grad():
        classes = network(near).argmax(dim=1)
    return tight.tighten(network, inputs, classes, near).adversarial


def _nearest_of_all(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """By branch and bound from the tight attack's images, in float64; nan where that found none, or did not end."""
    doubled, x = copy.deepcopy(network).double(), inputs.double()
    near = tight.find_adversarial(doubled, x, targets)
    images, rows = torch.full_like(inputs, torch.nan), near.success.nonzero()[:, 0]
    found = branching.minimum_perturbation(doubled, x[rows], targets[rows], near.adversarial[rows])
    known = rows[found.is_nearest]
    images[known] = (x[known] + found.perturbation[found.is_nearest]).to(images)
    return images


def _is_linear(network: nn.Module) -> bool:
    return isinstance(network, nn.Sequential) and len(network) == 1


def _is_small(network: nn.Module) -> bool:
    """Whether branch and bound knows a network's nearest images in seconds."""
    layers = list(network) if isinstance(network, nn.Sequential) else [network]
    units = sum(layer.out_features for layer in layers[:-1] if isinstance(layer, nn.Linear))
    return all(isinstance(layer, (nn.Linear, nn.ReLU)) for layer in layers) and units <= 32


def measure(
    method: Method, network: nn.Module, inputs: Tensor, classes: Tensor, budget: float, targeted: bool = True
) -> dict:
    """Time, gradients and distortions of one method, once it is compiled. classes : targets, or labels.

    Of a method that can afford no more than the pilot's images the pilot is the run.
    """
    method(network, inputs[:1], classes[:1])
    few, counted = slice(0, PILOT), Counted(network)
    adversarial, seconds = timed(method, counted, inputs[few], classes[few])
    affordable = max(PILOT, math.floor(budget / (seconds / len(inputs[few]))))
    inputs, classes = inputs[:affordable], classes[:affordable]
    if affordable > PILOT:
        counted = Counted(network)
        adversarial, seconds = timed(method, counted, inputs, classes)
    with torch.no_grad():
        success = (network(adversarial).argmax(dim=1) == classes) == targeted
    return {
        "num_images": len(inputs),
        "ms": 1000 * seconds / len(inputs),
        "gradients": counted.num_gradients / len(inputs),
        "success": success.cpu(),
        "distortion": penalized.distortion(adversarial, inputs).double().cpu(),
    }


def compare(
    network: nn.Module, inputs: Tensor, targets: Tensor, examples: Tensor, budget: float, with_peers: bool
) -> dict:
    """One network's figures: every method's, and the ratios of ours to theirs."""
    found = methods(network, examples, with_peers)
    progress = tqdm(found, leave=False, disable=None)
    raw = {
        name: measure(found[name], network, inputs, targets, budget * (PATIENCE if name == "exact" else 1))
        for name in progress
    }
    if "exact" in raw:  # the optimum is on the boundary, where rounding decides what the network says
        raw["exact"]["success"] = raw["exact"]["distortion"].isfinite()
    figures = _against(raw, OURS)
    for name in ("scipy", "scipy_same_search"):
        figures[f"speedup_vs_{name}"] = raw[name]["ms"] / raw["ours"]["ms"]
    if "exact" in raw:
        figures["over_exact"] = {name: over_exact(run, raw["exact"]) for name, run in raw.items()}
    if _is_linear(network):
        # An input of the target class already is its own optimum.
        changed = raw["exact"]["distortion"] > 0
        gaps = _lengths(raw["tight"])[changed] / raw["exact"]["distortion"][changed]
        figures["exact_gap_linear"] = float(gaps.mean())
    return dict(sorted(figures.items()))


def compare_untargeted(network: nn.Module, inputs: Tensor, labels: Tensor, budget: float, with_peers: bool) -> dict:
    """One network's figures for images of any other class, of those that it gives their label."""
    with torch.no_grad():
        right = network(inputs).argmax(dim=1) == labels
    inputs, labels, found = inputs[right], labels[right], untargeted_methods(with_peers)
    progress = tqdm(found, leave=False, disable=None)
    raw = {name: measure(found[name], network, inputs, labels, budget, targeted=False) for name in progress}
    return dict(sorted(_against(raw, UNTARGETED).items()))


def _against(raw: dict[str, dict], ours: dict[str, str]) -> dict:
    """Every method's figures, and those of `ours` against each of the others, under their prefixes."""
    figures: dict = {"methods": {name: _summary(run) for name, run in raw.items()}}
    for own, prefix in ours.items():
        for name in raw.keys() - ours:
            figures[f"{prefix}time_ratio_vs_{name}"] = raw[own]["ms"] / raw[name]["ms"]
            figures[f"{prefix}distortion_ratio_vs_{name}"] = ratio(raw[own], raw[name])
            figures[f"{prefix}share_shorter_{name}"] = share_shorter(raw[own], raw[name])
    return figures


def _lengths(run: dict) -> Tensor:
    """Distortions, inf where a method failed."""
    return torch.where(run["success"], run["distortion"], torch.inf)


def share_shorter(ours: dict, theirs: dict) -> float:
    """On what part of the images that both attacked theirs is shorter, by more than 0.1 %, or ours fails alone."""
    num = min(len(ours["success"]), len(theirs["success"]))
    return float((_lengths(theirs)[:num] < (1 - NOTICED) * _lengths(ours)[:num]).double().mean())


def ratio(ours: dict, theirs: dict) -> float:
    """Mean distortion of ours over theirs, on the images that both attacked and they solved; nan if there is none.

    Where they succeed and we do not, ours is infinite.
    """
    num = min(len(ours["success"]), len(theirs["success"]))
    success = theirs["success"][:num]
    return float(_lengths(ours)[:num][success].mean() / theirs["distortion"][:num][success].mean())


def over_exact(run: dict, exactly: dict) -> float:
    """Mean distortion over that of the optima, on the images that a method solved and whose optimum is known."""
    num = min(len(run["success"]), len(exactly["success"]))
    both = run["success"][:num] & exactly["success"][:num]
    return float(run["distortion"][:num][both].mean() / exactly["distortion"][:num][both].mean())


def _summary(run: dict) -> dict:
    success = run["success"]
    solved = run["distortion"][success].numpy()
    return run | {
        "lengths": " ".join(f"{length:.5g}" for length in _lengths(run).tolist()),  # image by image
        "success": intervals.rate(int(success.sum()), len(success))._asdict(),
        "distortion": intervals.mean(solved)._asdict() if len(solved) > 1 else None,
    }


def table(figures: dict[str, dict], ours: dict[str, str]) -> str:
    """Each network's methods, a line each."""
    facts = ["network", "method", "images", "success %", "distortion", "gradients", "ms"]
    lines = [[*facts, *(f"{name}/it" for name in ours)]]
    for network, f in figures.items():
        for name, run in f["methods"].items():
            ratios = [f.get(f"{prefix}distortion_ratio_vs_{name}") for prefix in ours.values()]
            lines.append([
                network, name, str(run["num_images"]), f"{100 * run['success']['value']:.1f}",
                f"{run['distortion']['value']:.5f}" if run["distortion"] else "",
                f"{run['gradients']:.1f}", f"{run['ms']:.2f}", *("" if r is None else f"{r:.4f}" for r in ratios),
            ])  # fmt: skip
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
    parser.add_argument("--budget", type=float, default=30, help="seconds for each method and network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for every method")
    parser.add_argument("--no-peers", action="store_true", help="leave out the attacks of other libraries")
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="instead: time and memory against N and m, the floor, where the time goes; kept beside the rest in --json",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    run = digits.begin("benchmark", arguments.profile, arguments.data, arguments.device, seed=0)
    # Before anybody commits anything else: the commit that runs.
    facts = provenance.describe(run.profile.name, run.split, str(run.device), run.seeds)
    facts["threads"] = arguments.threads
    if arguments.scaling:
        facts |= scaling.measure(run, arguments.networks)
        print(json.dumps({key: facts[key] for key in scaling.FIELDS}, indent=2))
        found = {"scaling": facts}
    else:
        found = facts | comparisons(run, arguments)
        if not arguments.no_peers:
            found["versions"] |= {"foolbox": version("foolbox"), "adv-lib": version("adv-lib")}
    if arguments.json:
        kept = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {}
        files.replace(arguments.json, json.dumps(_without_nan(kept | found), indent=2).encode())


def _without_nan(facts):
    """None where there is nothing to compare, which JSON has and nan not."""
    if isinstance(facts, dict):
        return {name: _without_nan(value) for name, value in facts.items()}
    if isinstance(facts, list):
        return [_without_nan(value) for value in facts]
    return None if isinstance(facts, float) and math.isnan(facts) else facts


def comparisons(run: digits.Experiment, arguments: argparse.Namespace) -> dict[str, dict]:
    """Every network's figures, targeted and not, printed as tables."""
    images = run.test.take(arguments.num_images)
    targets, examples = run.targets(images), run.train.take(2000).inputs
    figures, untargeted = {}, {}
    for name in tqdm(arguments.networks, disable=None):
        network, effort = _trained(run, name), (arguments.budget, not arguments.no_peers)
        figures[name] = compare(network, images.inputs, targets, examples, *effort)
        untargeted[name] = compare_untargeted(network, images.inputs, images.labels, *effort)
    print(f"{images.name}, {len(images)} images, random targets, {arguments.threads} thread(s), {run.device}")
    print(table(figures, OURS))
    print("Any other class:")
    print(table(untargeted, UNTARGETED))
    return {"networks": _in_order(figures), "untargeted": _in_order(untargeted)}


def _trained(run: digits.Experiment, name: str) -> nn.Module:
    return run.fitted(kinks.recipe(run.seeds), run.train).network if name == SMALL else run.trained(name).network


def _in_order(figures: dict[str, dict]) -> dict[str, dict]:
    """As in NETWORKS, in whatever order they were asked for."""
    return {name: figures[name] for name in NETWORKS if name in figures}


if __name__ == "__main__":
    main()
