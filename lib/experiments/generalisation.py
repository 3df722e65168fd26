"""Tables 1 to 4 (section 4.2), for chapters and for the spread over seeds: what is made for one network, fed to all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from lib.attacks.penalized import AttackResult
from lib.data.dataset import Dataset
from lib.experiments import digits, seeds
from lib.experiments.digits import Experiment, Trained
from lib.measures import transfer
from lib.record.ledger import Cells


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
        """{(network, "distortion"): mean over the images}."""
        return transfer.distortions(self.adversarial, self.images.inputs)


def across_networks(run: Experiment, names: Sequence[str]) -> Generalisation:
    """Table 2: every network's adversarial training images, and noise, fed to every network."""
    trained = {name: run.trained(name) for name in names}
    results = {name: run.adversarial(network, run.attacked) for name, network in trained.items()}
    found = {name: result.adversarial for name, result in results.items()}
    sets = transfer.table2_images(found, run.attacked.inputs, seeds.generator(run.seeds.noise))
    return Generalisation(trained, run.attacked, results, sets)


def across_training_sets(run: Experiment) -> Generalisation:
    """Table 4: the test images made for networks trained on halves of the data, amplified and not, and noise."""
    trained = {name: run.trained_on_half(name) for name in digits.HALVES}
    results = {name: run.adversarial(network, run.test) for name, network in trained.items()}
    found = {name: result.adversarial for name, result in results.items()}
    sets = transfer.table4_images(found, run.test.inputs, seeds.generator(run.seeds.noise))
    return Generalisation(trained, run.test, results, sets)


def table1(run: Experiment, found: Generalisation) -> Cells:
    """Errors and distortions of the networks, section 4.2."""
    errors = {(name, column): e for name, t in found.trained.items() for column, e in run.errors(t).items()}
    return errors | found.distortions


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
