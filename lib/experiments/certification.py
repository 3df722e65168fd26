"""Certificates of the digits' networks, and the attacks that they stand trial by (section 4.3).

A trial is made once and kept: all that takes long is a call of the store.
"""

from collections.abc import Mapping, Sequence

from lib.attacks import exact, tight
from lib.data.dataset import Dataset
from lib.experiments import digits
from lib.experiments.digits import Experiment, Trained
from lib.measures import certified
from lib.measures.certified import Trial
from lib.networks import mnist


def attacked(run: Experiment, names: Sequence[str]) -> dict[str, Trial]:
    """Networks against the paper's attack on the training images."""
    return {name: _trial(run, run.trained(name), run.attacked) for name in names}


def halves(run: Experiment) -> dict[str, Trial]:
    """The networks of Table 3 against the paper's attack on the test images, under the names of its rows."""
    return {row: _trial(run, run.trained_on_half(name), run.attacked_test) for name, row in digits.TABLE3.items()}


def _trial(run: Experiment, trained: Trained, images: Dataset) -> Trial:
    """A network's certificates for the images and their targets, and how far the paper's attack had to go."""
    arguments = trained.network, images.inputs, run.targets(images), run.profile.num_enclosed
    known = run.store.call(certified.certify, *arguments)
    return Trial(known, certified.reached(run.adversarial(trained, images), images.inputs))


def tightened(run: Experiment, trials: Mapping[str, Trial]) -> dict[str, Trial]:
    """The same certificates against the tight attack, on the first `num_tightened` of the training images."""
    inputs, targets = _first(run, run.profile.num_tightened)
    networks = {name: run.trained(name).network for name in trials}
    found = {name: run.store.call(tight.find_adversarial, each, inputs, targets) for name, each in networks.items()}
    return {
        name: Trial(trials[name].certified.first(len(inputs)), certified.reached(result.to(run.device), inputs))
        for name, result in found.items()
    }


def optima(run: Experiment, trials: Mapping[str, Trial]) -> dict[str, Trial]:
    """Those of the linear networks against the exact optimum in the box, on the first training images."""
    inputs, targets = _first(run, run.profile.num_exact)
    layers = {name: run.trained(name).network[0] for name in mnist.LINEAR}
    found = {name: run.store.call(exact.minimum_perturbation, layer, inputs, targets) for name, layer in layers.items()}
    return {
        name: Trial(trials[name].certified.first(len(inputs)), optimum.perturbation.norm(dim=1))
        for name, optimum in found.items()
    }


def _first(run: Experiment, num: int) -> tuple:
    return run.attacked.inputs[:num], run.targets(run.attacked)[:num]
