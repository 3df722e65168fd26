"""Tables 1 to 4 (section 4.2), for chapters and for the spread over seeds: what is made for one network, fed to all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lib.attacks import perturbations
from lib.attacks.penalized import AttackResult
from lib.data.dataset import Dataset
from lib.experiments import digits, seeds
from lib.experiments.digits import Experiment, Trained
from lib.measures import intervals, transfer
from lib.networks import mnist
from lib.record import markdown
from lib.record.ledger import Cells

Change = Callable[[Tensor, Tensor, torch.Generator], Tensor]  # of inputs, adversarial, and where to draw from
POOLED = "pooled, images classified correctly"  # a column of the table "average"


@dataclass(frozen=True)
class Generalisation:
    """Networks, images, what was found for each network, and what every network says of it."""

    trained: dict[str, Trained]
    images: Dataset
    results: dict[str, AttackResult]  # of the attack on `images`, by the network that is attacked
    sets: dict[str, Tensor]  # the rows of the table: sets of images (N, 784)

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        return {name: trained.network for name, trained in self.trained.items()}

    @property
    def adversarial(self) -> dict[str, Tensor]:
        """The images found (N, 784), by the network that is attacked."""
        return {name: result.adversarial for name, result in self.results.items()}

    @cached_property
    def answers(self) -> dict[tuple[str, str], Tensor]:
        """The classes (N,) that each network (second) gives each set (first)."""
        return transfer.answers(self.networks, self.sets)

    @property
    def errors(self) -> Cells:
        """The table: error in per cent of each network (column) on each set (row)."""
        return transfer.error_rates(self.answers, self.images.labels)

    @property
    def distortions(self) -> Cells:
        """{(network, "distortion"): mean over the images for which the attack found one}."""
        return {
            (name, "distortion"): intervals.mean(found.distortion[found.success].cpu().numpy())
            for name, found in self.results.items()
        }


def across_networks(run: Experiment, names: Sequence[str]) -> Generalisation:
    """Table 2: every network's adversarial training images, and noise, fed to every network."""
    trained = {name: run.trained(name) for name in names}
    results = {name: run.adversarial(network, run.attacked) for name, network in trained.items()}
    found = {name: result.adversarial for name, result in results.items()}
    sets = transfer.table2_images(found, run.attacked.inputs, seeds.generator(run.seeds.noise))
    return Generalisation(trained, run.attacked, results, sets)


def across_training_sets(run: Experiment) -> Generalisation:
    """Table 4: the test images made for networks trained on halves of the data, amplified and not, and noise."""
    trained = {name: run.trained_on_half(name) for name in mnist.HALVES}
    results = {name: run.adversarial(network, run.attacked_test) for name, network in trained.items()}
    found = {name: result.adversarial for name, result in results.items()}
    sets = transfer.table4_images(found, run.attacked_test.inputs, seeds.generator(run.seeds.noise))
    return Generalisation(trained, run.attacked_test, results, sets)


def table1(run: Experiment, found: Generalisation, names: Sequence[str] = ()) -> Cells:
    """Errors and distortions of the networks, or of some of them, section 4.2."""
    names, distortions = names or list(found.trained), found.distortions
    errors = {(name, column): e for name in names for column, e in run.errors(found.trained[name]).items()}
    return errors | {(name, "distortion"): distortions[name, "distortion"] for name in names}


def table2(found: Generalisation) -> Cells:
    """Error rates, and how far each set lies from the images, noise included."""
    return found.errors | transfer.distortions(found.sets, found.images.inputs)


def table3(run: Experiment, found: Generalisation) -> Cells:
    """Errors of M1, M2 and M3 on the parts of the data, and their distortions, in the rows of the paper."""
    cells = transfer.table3(found.networks, run.parts) | found.distortions
    return {(digits.TABLE3[name], column): estimate for (name, column), estimate in cells.items()}


def table4(found: Generalisation) -> Cells:
    """Error rates on distorted test images."""
    return found.errors


# --- Beyond the paper's tables ----------------------------------------------------------------------


def controls(found: Generalisation, changes: Mapping[str, Change], num: int, seed: int) -> Cells:
    """Error in per cent, of all networks that `num` images were not made for together, under each change of these.

    Rows are the networks that the images were made for, columns the changes, each of which draws from `seed` anew.
    """
    few = found.images.take(num)
    cells = {}
    for name, adversarial in found.adversarial.items():
        others = {other: network for other, network in found.networks.items() if other != name}
        made = adversarial[: len(few)]
        sets = {kind: change(few.inputs, made, seeds.generator(seed)) for kind, change in changes.items()}
        errors = transfer.error_rates(transfer.answers(others, sets), few.labels)
        cells |= {(name, kind): intervals.pooled(errors[kind, other] for other in others) for kind in changes}
    return cells


def louder(found: Generalisation, name: str, factors: Sequence[float], num: int, seed: int) -> Cells:
    """Errors of the others on `num` images made for network `name`, the perturbation multiplied; and random directions.

    Rows are `transfer.factor_row`s of "adversarial" and "random direction", columns the other networks.
    """
    few = found.images.take(num)
    x, adversarial = few.inputs, found.adversarial[name][: len(few)]
    blind = perturbations.random_directions(x, adversarial, seeds.generator(seed))
    moves = {"adversarial": adversarial - x, "random direction": blind - x}
    sets = {transfer.factor_row(kind, f): x + f * move for kind, move in moves.items() for f in factors}
    others = {other: network for other, network in found.networks.items() if other != name}
    return transfer.error_rates(transfer.answers(others, sets), few.labels)


def clamped(found: Generalisation) -> Cells:
    """Table 2's rows of noise once more, every pixel clamped to [0, 1]."""
    sets = {row: changed.clamp(0, 1) for row, changed in found.sets.items() if row not in found.trained}
    return transfer.error_rates(transfer.answers(found.networks, sets), found.images.labels)


def clamping(raw: transfer.Told, boxed: transfer.Told, rows: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """A line for each network: its error under each row of noise, as it is and clamped."""
    cells = {name: [told[row, name] for row in rows for told in (raw, boxed)] for name in names}
    return [[name, *(markdown.cell(value, "(%)") for value in values)] for name, values in cells.items()]


def amplification(found: Generalisation, stddev: float = transfer.TABLE4_STDDEVS[1]) -> Cells:
    """How large Table 4's sets are, and which share of perturbations its amplification makes smaller, in per cent."""
    lengths = {name: result.distortion[result.success] for name, result in found.results.items()}
    shrunk = {
        (name, "made smaller (%)"): intervals.percent(int((length > stddev).sum()), len(length))
        for name, length in lengths.items()
    }
    return transfer.distortions(found.sets, found.images.inputs) | shrunk


def pooled_distortions(found: Generalisation) -> Cells:
    """Root mean squares over all pixels of all images that the network classifies correctly, in Table 3's rows.

    Images for which the attack found nothing are left out.
    """
    cells = {}
    for name, network in found.networks.items():
        right = transfer.predictions(network, found.images.inputs) == found.images.labels
        length = found.results[name].distortion[right & found.results[name].success]
        cells[digits.TABLE3[name], POOLED] = intervals.root_mean_square(length.cpu().numpy())
    return cells
