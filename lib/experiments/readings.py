"""What section 2 leaves open, read in several ways: the networks' names, the weight decay, the autoencoder."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lib.attacks.penalized import AttackResult
from lib.data.dataset import Dataset
from lib.experiments import profiles
from lib.experiments.digits import Experiment, Trained
from lib.measures import effects, intervals, transfer
from lib.networks import mnist
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.mnist import NetworkSpec
from lib.networks.training import TrainResult
from lib.record.ledger import Cells
from lib.record.markdown import UNKNOWN, cell, number
from lib.record.tables import Table

ERRORS = ["training error (%)", "test error (%)"]  # columns of Table 1
FITS = ["iterations", "final loss", "largest gradient component", "seconds", "converged"]
JUDGED = ["test error (%)", "distortion", "fools others (%)", "fooled by others (%)"]  # an autoencoder by its columns

# What the first version of the paper calls the networks, and what the last one does.
NAMES = {
    "softmax 1e-4": ("softmax1", "FC10(10⁻⁴)"),
    "softmax 1e-2": ("softmax2", "FC10(10⁻²)"),
    "softmax 1": ("softmax3", "FC10(1)"),
    "100-100-10": ("N100-100-10", "FC100-100-10"),
    "200-200-10": ("N200-200-10", "FC200-200-10"),
    "AE400-10": ("AE400-10", "AE400-10"),
    "123-456-10": ("123-456-10", "FC123-456-10"),
    "Conv": ("Conv", "–"),
}
SYMBOLS = {"sparsity": "ρ", "sparsity_weight": "β", "contraction": "γ", "noise": "noise", "decay": "decay"}


# --- Networks ---------------------------------------------------------------------------------------


def specs() -> list[list[str]]:
    """A line for each network: its name here, in the paper's two versions, its layers, the decay of each layer."""
    return [[name, *NAMES.get(name, ("–", "–")), _layers(spec), _decays(spec)] for name, spec in mnist.SPECS.items()]


def _layers(spec: NetworkSpec) -> str:
    if spec.family != "conv":
        return "-".join(map(str, spec.sizes))
    _, num_units, num_classes = spec.sizes
    return f"{mnist.ConvNetwork.num_filters} filters 5×5, pool 2×2, {num_units}, {num_classes}"


def _decays(spec: NetworkSpec) -> str:
    return ", ".join(f"{lam:g}" for lam in spec.decay) or "–"


def fits(trained: Mapping[str, Trained]) -> Cells:
    """How each fit ended; that of an autoencoder is a row of its own."""
    results = {name: each.result for name, each in trained.items()}
    results |= {f"{name}, autoencoder": each.pretraining for name, each in trained.items() if each.pretraining}
    return {(name, column): effects.exactly(value) for name, r in results.items() for column, value in _fit(r).items()}


def _fit(result: TrainResult) -> dict[str, float]:
    values = (len(result.losses) - 1, result.losses[-1], result.gradient, result.seconds, result.converged)
    return dict(zip(FITS, map(float, values), strict=True)) | {"gradients": float(result.num_evaluations)}


# --- Weight decay -----------------------------------------------------------------------------------


def in_columns(values: Mapping, labels: Iterable[str]) -> dict:
    """Table 1's errors of the linear networks, once for each reading: {(network, "reading, column"): value}."""
    return {(n, f"{label}, {c}"): values[n, c] for label in labels for n in mnist.LINEAR for c in ERRORS}


def by_network(told: Mapping, labels: Iterable[str], column: str) -> dict[str, dict[str, float]]:
    """{network: {reading: value}} of one column of Table 1."""
    return {name: {label: told[name, f"{label}, {column}"] for label in labels} for name in mnist.LINEAR}


def farthest(told: Mapping, printed: Mapping, label: str) -> float:
    """By how many points one reading of the decay misses the paper's errors, at the most.

    Of the first two networks: no reading gives both errors of the third.
    """
    cells = [(name, column) for name in mnist.LINEAR[:2] for column in ERRORS]
    return float(np.max([abs(told[name, f"{label}, {column}"] - printed[name, column]) for name, column in cells]))


def best(off: Mapping[str, float]) -> str:
    """The reading that misses by least; that it is not known, if one of them is not."""
    return UNKNOWN if any(map(math.isnan, off.values())) else min(off, key=off.get)


# --- Autoencoder ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """What every variant of the autoencoder is compared with: the other networks, and what was made for each."""

    images: Dataset
    others: dict[str, Trained]
    results: dict[str, AttackResult]


def bench(run: Experiment, trained: Mapping[str, Trained]) -> Bench:
    """A few training images, made adversarial for the networks of Table 1 but the autoencoder's own."""
    images = run.train.take(run.profile.num_compared // profiles.VARIANT_SHARE)
    others = {name: each for name, each in trained.items() if name != "AE400-10"}
    return Bench(images, others, {name: run.adversarial(each, images) for name, each in others.items()})


def judged(variant: Experiment, autoencoder: Trained, compared: Bench) -> dict:
    """Errors and distortion of an autoencoder, how often what is made for it fools others, and how often it is fooled.

    {column: Estimate}, rates in per cent of all other networks together.
    """
    labels, found = compared.images.labels, variant.adversarial(autoencoder, compared.images)
    others = {name: each.network for name, each in compared.others.items()}
    for_others = {name: result.adversarial for name, result in compared.results.items()}
    fools = transfer.error_rates(transfer.answers(others, {"it": found.adversarial}), labels)
    fooled = transfer.error_rates(transfer.answers({"it": autoencoder.network}, for_others), labels)
    return variant.errors(autoencoder) | {
        "distortion": intervals.mean(found.distortion[found.success].cpu().numpy()),
        "fools others (%)": intervals.pooled(fools.values()),
        "fooled by others (%)": intervals.pooled(fooled.values()),
    }


def judged_in_paper(table1: Mapping, table2: Mapping, name: str = "AE400-10") -> dict[str, float]:
    """The same columns from the paper's own Tables 1 and 2."""
    others = [other for other in mnist.TABLE1 if other != name]
    return {
        "test error (%)": table1[name, "test error (%)"],
        "distortion": table1[name, "distortion"],
        "fools others (%)": float(np.mean([table2[name, other] for other in others])),
        "fooled by others (%)": float(np.mean([table2[other, name] for other in others])),
    }


def variants(table: Table, run: Experiment, paper: Mapping[str, float]) -> tuple[list[str], list[list[str]]]:
    """Heads, and a line for the paper and for each variant: name, weights of its loss, and the columns JUDGED."""
    lines = [["**the paper's**", "", *(f"**{number(paper[column], column)}**" for column in JUDGED)]]
    for label in profiles.AUTOENCODER_VARIANTS:
        numbers = [cell(table.told[label, column], column) for column in JUDGED]
        lines.append([label, weights(run.with_autoencoder(label).profile.autoencoder), *numbers])
    return ["autoencoder", "weights", *JUDGED], lines


def weights(config: AutoencoderConfig) -> str:
    """The weights of an autoencoder's loss that are not zero, under the symbols of chapter `framework`."""
    values = {symbol: getattr(config, name) for name, symbol in SYMBOLS.items()}
    return ", ".join(f"{symbol}\u00a0{value:g}" for symbol, value in values.items() if value)
