"""Layer-wise adversarial training (section 4.2): a pool of adversarial examples for the output of every layer.

An example at layer j is made by the attack on the rest of the network, in the box of that layer's values, and trains
the layers above j: it is a constant, so nothing below moves for it. The pools are mixed into the training set all the
time: an epoch goes once through the images and once through every pool, their batches in turn, and before it a random
part of each pool is made anew.

Layer 0 is the input, layer j the output of the j-th hidden layer of a `mnist.sigmoid_network`, whose values lie in
[0, 1] as pixels do.
"""

import copy
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from lib.attacks import nearest, penalized
from lib.attacks.penalized import AttackConfig
from lib.networks import training
from lib.networks.training import DecayRule, TrainingError

ROUGH = AttackConfig(tolerance=0.1, max_searches=4)  # a pool needs no more: each image is passed many times


class Goal(Enum):
    """Which wrong class an example of a pool is turned into."""

    RANDOM = "a random class"
    NEAREST = "the class that is nearest by the network's linearisation"


@dataclass(frozen=True)
class PoolsConfig:
    """What the pools are."""

    layers: tuple[int, ...] = (0, 1, 2)
    size: int = 20_000  # examples in each
    renewed: float = 0.05  # of each, before every epoch
    reach: float = 0.5  # how far to go along the perturbation: 1 is just beyond the boundary
    goal: Goal = Goal.NEAREST
    attack: AttackConfig = ROUGH


@dataclass(frozen=True)
class LayerwiseConfig:
    """How a network is trained, with pools or without. All that are compared get the same `budget`."""

    budget: float  # gradients of one example's loss, those of attacks included, over the number of training images
    decay: tuple[float, ...] = (1e-5, 1e-5, 1e-6)  # as Table 1's
    dropout: tuple[float, ...] = ()  # of the input and of each hidden layer; none: no dropout
    pools: PoolsConfig | None = None
    batch_size: int = 100
    learning_rate: float = 1e-3  # at the start; it falls to 0 as half a cosine


@dataclass(frozen=True)
class Curve:
    """How a training went, epoch by epoch; all are (num_epochs,)."""

    spent: Tensor  # of the budget, in its unit
    loss: Tensor  # mean over the training images
    error: Tensor  # of the images it was judged on, 0 to 1


@dataclass(frozen=True)
class FittedLayerwise:
    """The trained network's state, how its training went, and how long it took."""

    state: dict[str, Tensor]
    curve: Curve
    seconds: float


class Lesson(NamedTuple):
    """Examples (M, ...), their classes (M,), the part of the network that they train, and the decay of its layers."""

    learner: nn.Module
    examples: Tensor
    labels: Tensor
    decay: Sequence[float]


@dataclass
class Pool:
    """Examples (P, ...) at the output of one layer, and the classes (P,) of the images that they come from."""

    layer: int
    examples: Tensor
    labels: Tensor

    def renew(self, network: nn.Sequential, inputs: Tensor, labels: Tensor, num: int, config, generator) -> int:
        """Put `num` new examples in the place of random old ones. Gradients that it took."""
        places = torch.randperm(len(self.labels), generator=generator)[:num].to(inputs.device)
        images = torch.randint(len(inputs), (num,), generator=generator).to(inputs.device)
        made, spent = make_examples(network, self.layer, inputs[images], labels[images], config, generator)
        self.examples[places], self.labels[places] = made, labels[images]
        return spent

    def lesson(self, network: nn.Sequential, decay: Sequence[float]) -> Lesson:
        """All of it, for the layers above."""
        return Lesson(above(network, self.layer), self.examples, self.labels, decay[self.layer :])


def below(network: nn.Sequential, layer: int) -> nn.Sequential:
    """From the input to the output of `layer`."""
    return network[: 2 * layer]


def above(network: nn.Sequential, layer: int) -> nn.Sequential:
    """From the output of `layer` to the logits."""
    return network[2 * layer :]


def make_examples(
    network: nn.Sequential, layer: int, inputs: Tensor, labels: Tensor, config: PoolsConfig, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Adversarial examples at `layer` for images (N, n) and their classes, and how many gradients they took."""
    with torch.no_grad():
        values = below(network, layer)(inputs)
    rest, num_classes, spent = above(network, layer), network[-1].out_features, 0
    if config.goal is Goal.NEAREST:
        targets, spent = nearest.nearest_classes(rest, values, labels), num_classes * len(labels)
    else:
        targets = penalized.random_targets(labels, num_classes, generator)
    # Not find_adversarial, which would warn while the network is young and says one class of everything.
    found = penalized.search(*penalized.checked(rest, values, targets), config.attack)
    examples = (values + config.reach * (found.adversarial - values)).clamp(0, 1)
    return examples, spent + int(found.num_evaluations.sum())


def fit(
    network: nn.Sequential,
    inputs: Tensor,
    labels: Tensor,
    judged: tuple[Tensor, Tensor],
    config: LayerwiseConfig,
    seed: int,
) -> FittedLayerwise:
    """Train a copy of a `mnist.sigmoid_network` until the budget is spent.

    inputs : Tensor (N, 784) in [0, 1]; labels : Tensor (N,), int64. judged : images and classes for the curve alone.
    seed : of the order of images, of dropout and of what the pools hold. Raises TrainingError for a loss not finite.
    """
    began, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    # Dropout's own layers, in `learner`, remain in training.
    network = copy.deepcopy(network).requires_grad_().eval()
    pools = _first_pools(network, inputs, labels, config.pools, generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    learner, spent, curve = _with_dropout(network, config.dropout), 0.0, []
    progress = tqdm(total=config.budget, desc="training", disable=None, leave=False)
    with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []), progress:
        torch.manual_seed(seed)  # dropout draws from the global generator
        while spent < config.budget:
            optimizer.param_groups[0]["lr"] = config.learning_rate * _half_cosine(spent / config.budget)
            for pool in pools:
                num = math.ceil(config.pools.renewed * config.pools.size)
                spent += pool.renew(network, inputs, labels, num, config.pools, generator) / len(inputs)
            taught = [Lesson(learner, inputs, labels, config.decay)]
            taught += [pool.lesson(network, config.decay) for pool in pools]
            loss = _epoch(optimizer, taught, config.batch_size, generator)
            spent += sum(len(lesson.labels) for lesson in taught) / len(inputs)
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} in epoch {len(curve) + 1}")
            curve.append((spent, loss, training.error_rate(network, *judged)))
            progress.update(spent - progress.n)
    return FittedLayerwise(dict(network.state_dict()), Curve(*torch.tensor(curve).T), time.perf_counter() - began)


def _half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def _first_pools(network, inputs, labels, config: PoolsConfig | None, generator) -> list[Pool]:
    """Pools of undisturbed images, one for each layer, which fill with adversarial ones as they are renewed."""
    if config is None:
        return []
    rows = torch.randint(len(inputs), (config.size,), generator=generator).to(inputs.device)
    with torch.no_grad():
        return [Pool(layer, below(network, layer)(inputs[rows]).clone(), labels[rows]) for layer in config.layers]


def _with_dropout(network: nn.Sequential, rates: Sequence[float]) -> nn.Sequential:
    """The same layers with dropout before each linear one."""
    if not rates:
        return network
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    dropped = dict(zip(linear, map(nn.Dropout, rates), strict=True))
    parts = ([dropped[layer], layer] if layer in dropped else [layer] for layer in network)
    return nn.Sequential(*itertools.chain.from_iterable(parts))


def _epoch(optimizer: torch.optim.Optimizer, taught: Sequence[Lesson], batch_size: int, generator) -> float:
    """Once through every lesson, batches in random order. Mean loss of the first lesson, the training images."""
    batches = [
        (number, rows)
        for number, lesson in enumerate(taught)
        for rows in torch.randperm(len(lesson.labels), generator=generator).split(batch_size)
    ]
    total = 0.0
    for place in torch.randperm(len(batches), generator=generator).tolist():
        number, rows = batches[place]
        lesson, rows = taught[number], rows.to(taught[number].labels.device)
        loss = F.cross_entropy(lesson.learner(lesson.examples[rows]), lesson.labels[rows])
        optimizer.zero_grad()
        (loss + training.weight_decay(lesson.learner, lesson.decay, DecayRule.HALF)).backward()
        optimizer.step()
        total += loss.item() * len(rows) if number == 0 else 0.0
    return total / len(taught[0].labels)
