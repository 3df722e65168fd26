"""100-100-10 with pools of adversarial examples, and what they are compared with, from several seeds (section 4.2).

Every network gets the same budget of gradients, those of the attacks that fill its pools included.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from lib.attacks import tight
from lib.data.dataset import Dataset
from lib.experiments import seeds
from lib.experiments.profiles import PoolsScale
from lib.measures import certificates, effects, intervals, transfer
from lib.measures.certificates import PRODUCT
from lib.networks import adversarial_training, mnist
from lib.networks.adversarial_training import Curve, Direction, LayerwiseConfig
from lib.record.claims import ALL, DECAY, DROPOUT, ERROR, FIRST, INPUT, SECOND
from lib.record.ledger import Cells
from lib.store.calls import Store

NETWORK = "100-100-10"  # what is trained; Table 1's is the one whose adversarial images it is shown
SINGLE = {INPUT: 0, FIRST: 1, SECOND: 2}  # the layers of the ways with one pool
DISTORTION = "tight distortion"
FOREIGN, CERTIFIED = "errs on what was made for Table 1's (%)", "certified distance"
NUM_POINTS = 20  # of a curve


def ways(scale: PoolsScale) -> dict[str, LayerwiseConfig]:
    """What is compared: how each network is trained."""
    plain = LayerwiseConfig(scale.budget)
    pools = {name: replace(plain, pools=replace(scale.pools, layers=(layer,))) for name, layer in SINGLE.items()}
    return {
        DECAY: plain,
        DROPOUT: replace(plain, dropout=scale.dropout),
        **pools,
        ALL: replace(plain, pools=scale.pools),
    }


def variants(scale: PoolsScale) -> dict[str, LayerwiseConfig]:
    """All pools, with one thing changed."""
    usual = LayerwiseConfig(scale.budget, pools=scale.pools)
    half, twice = (tuple(factor * length for length in scale.pools.lengths) for factor in (0.5, 2))
    pools = {
        "noise, as long": {"direction": Direction.NOISE},
        "the attack's direction, as long": {"direction": Direction.NEAREST},
        "the attack, to the nearest boundary": {"direction": Direction.NEAREST, "lengths": None},
        "half as long": {"lengths": half},
        "twice as long": {"lengths": twice},
        "pools a third as large": {"size": scale.pools.size / 3},
        "all renewed every time": {"renewed": 1.0},
    }
    return {name: replace(usual, pools=replace(scale.pools, **changes)) for name, changes in pools.items()}


@dataclass(frozen=True, eq=False)
class Trained:
    """One network, and how its training went."""

    network: nn.Module
    curve: Curve


def train(images: Dataset, judged: Dataset, config: LayerwiseConfig, seed: int, store: Store) -> Trained:
    """The network of one seed, trained on `images` and watched on `judged`; kept in the store."""
    roles = seeds.Seeds.derive(seed)
    network = mnist.build(mnist.SPECS[NETWORK], seeds.generator(roles.init)).to(images.inputs.device)
    watched = judged.inputs, judged.labels
    arguments = network, images.inputs, images.labels, watched, config, roles.batches
    fitted = store.call(adversarial_training.fit, *arguments)
    network.load_state_dict(fitted.state)
    return Trained(network.requires_grad_(False), fitted.curve)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The networks of every way of training, seed by seed, and the images that they are judged on."""

    judged: Dataset
    store: Store
    trained: dict[str, list[Trained]]

    @classmethod
    def of(
        cls, images: Dataset, judged: Dataset, configs: Mapping[str, LayerwiseConfig], num_seeds: int, store: Store
    ) -> "Comparison":
        """Each way of training, from as many seeds."""
        trained = {
            name: [train(images, judged, config, seed, store) for seed in range(num_seeds)]
            for name, config in configs.items()
        }
        return cls(judged, store, trained)

    @cached_property
    def errors(self) -> Cells:
        """The test error (%) at the end: mean over seeds with Student's interval, n seeds."""
        return {
            (name, ERROR): _over_seeds(100 * e.curve.error[-1] for e in each) for name, each in self.trained.items()
        }

    def curves(self) -> Cells:
        """The test error (%) when each twentieth of the budget is spent, mean over seeds."""
        shares = np.linspace(0, 1, NUM_POINTS + 1)[1:]
        cells = {}
        for name, each in self.trained.items():
            drawn = np.stack([at(one.curve, shares) for one in each])
            for share, values in zip(shares, drawn.T, strict=True):
                cells[name, f"at {share:.0%}"] = _over_seeds(values)
        return cells

    def hardness(self, targets: Tensor, foreign: Tensor) -> Cells:
        """How hard the networks are to attack, on the first images of those they are judged on, means over seeds.

        targets : Tensor (num,), wrong classes; foreign : Tensor (num, 784), the same images made adversarial for
        another network.
        """
        images, cells = self.judged.take(len(targets)), {}
        for name, each in self.trained.items():
            found = [self._asked(one.network, images.inputs, images.labels, targets, foreign) for one in each]
            for column in found[0]:
                cells[name, column] = _over_seeds(one[column] for one in found)
        return cells

    def _asked(self, network: nn.Module, inputs, labels, targets, foreign) -> dict[str, float]:
        attacked = self.store.call(tight.find_adversarial, network, inputs, targets)
        layers = certificates.as_layers(network)
        constants = certificates.lipschitz_constants(layers, inputs[:1].double())
        known = certificates.certify(layers, constants, inputs, targets, 0)[PRODUCT]
        fooled = transfer.predictions(network, foreign) != labels
        return {
            DISTORTION: float(attacked.distortion[attacked.success].mean()),
            FOREIGN: 100 * float(fooled.double().mean()),
            CERTIFIED: float(known.mean()) / inputs.shape[1] ** 0.5,  # as distortions are
        }


def _over_seeds(values) -> intervals.Estimate:
    """Mean over seeds with Student's interval, n seeds; of one seed what it gave."""
    found = np.array([float(value) for value in values])
    return intervals.mean(found) if len(found) > 1 else effects.exactly(found[0])


def at(curve: Curve, shares: np.ndarray) -> np.ndarray:
    """The error (%) of a curve at shares of its end, interpolated."""
    spent = (curve.spent / curve.spent[-1]).numpy()
    return np.interp(shares, spent, 100 * curve.error.numpy())


def lines(told: Mapping[tuple[str, str], float]) -> dict[str, tuple[list[float], list[float]]]:
    """The cells of `Comparison.curves` as `curves.learning` takes them."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for (name, column), error in told.items():
        shares, errors = found.setdefault(name, ([], []))
        shares.append(float(column.removeprefix("at ").removesuffix("%")) / 100)
        errors.append(error)
    return found
