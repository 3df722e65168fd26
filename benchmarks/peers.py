"""The attacks that ours is measured against, each as a function (network, inputs, targets) -> adversarial images."""

import copy
import sys
import warnings
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from lib.attacks import penalized
from lib.solvers import scipy_lbfgsb

Method = Callable[[nn.Module, Tensor, Tensor], Tensor]
NUM_BISECTIONS = 12


def scipy_bisection(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The paper's text taken at its word: c by bisection, each minimisation by SciPy from r = 0, one image at a time.

    In float64, SciPy's own precision: in float32 it would chase rounding noise.
    """
    network, double = copy.deepcopy(network).double(), inputs.double()
    found = [_bisect(network, x[None], t[None]) for x, t in zip(double, targets, strict=True)]
    return torch.cat(found).to(inputs).clamp(0, 1)


def _bisect(network: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    high = penalized.loss_gradient(network, x, target).norm()  # at this c and above no direction leads down from r = 0
    low, best = 1e-3 * high, x
    for _ in range(NUM_BISECTIONS):
        c = (low * high).sqrt()
        image = penalized.minimize_penalized(network, x, target, c[None], minimize=scipy_lbfgsb.minimize).minimizer
        if network(image).argmax() == target:
            low, best = c, image
        else:
            high = c
    return best


def scipy_in_our_search(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Our search over c with SciPy's L-BFGS-B inside, in float64."""
    network, double = copy.deepcopy(network).double(), inputs.double()
    found = penalized.find_adversarial(network, double, targets, minimize=scipy_lbfgsb.minimize)
    return found.adversarial.to(inputs)


def foolbox_attack(name: str, targeted: bool = True, **options) -> Method:
    """Foolbox's attack of that class name. Raises ImportError, with what to do, where Foolbox is not installed."""

    def run(network: nn.Module, inputs: Tensor, classes: Tensor, **arguments) -> Tensor:
        import foolbox

        model = foolbox.PyTorchModel(network, bounds=(0, 1), device=inputs.device)
        kind = foolbox.criteria.TargetedMisclassification if targeted else foolbox.criteria.Misclassification
        criterion = kind(classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Brendel & Bethge announces that it compiles
            return getattr(foolbox.attacks, name)(**options).run(model, inputs, criterion, **arguments)

    return run


def adversarial_library_attack(name: str, targeted: bool = True, **options) -> Method:
    """The attack of that name of Adversarial Library. Raises ImportError where that is not installed.

    It imports torchvision, for a distance that no attack here uses, and visdom, for curves in a browser: whoever has
    them not, does not need them.
    """

    def run(network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
        stand_ins = {name: mock.MagicMock() for name in ("torchvision", "visdom")}
        with mock.patch.dict(sys.modules, stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old modules that it imports
            from adv_lib import attacks

            return getattr(attacks, name)(network, inputs, classes, targeted=targeted, **options).detach()

    return run


def brendel_bethge(examples: Tensor) -> Method:
    """Needs an image of the target class to start from: for each class the first of `examples` that is given it."""
    run = foolbox_attack("L2BrendelBethgeAttack", steps=1000)

    def method(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            given = network(examples).argmax(dim=1)
        first = [int((given == t).nonzero()[0, 0]) for t in targets]
        return run(network, inputs, targets, starting_points=examples[first])

    return method
