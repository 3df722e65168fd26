"""Layer-wise adversarial training (section 4.2): a pool of adversarial examples for the output of every layer.

An example at layer j is made against the rest of the network, in the box of that layer's values, and trains the layers
above j: it is a constant, so nothing below moves for it. The pools are mixed into the training set all the time: an
epoch goes once through the images and once through every pool, their batches in random order, and before it a random
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
from lib.networks.training import TrainingError

ROUGH = AttackConfig(tolerance=0.1, max_searches=4)  # a pool needs no more: each image is passed many times


class Direction(Enum):
    """In which direction an example of a pool lies from the values that it is made of."""

    STEP = "one step in which the loss of the right class grows fastest"
    NEAREST = "the paper's attack, to the class that is nearest by the network's linearisation"
    RANDOM = "the paper's attack, to a random class"
    NOISE = "a random direction"


@dataclass(frozen=True)
class PoolsConfig:
    """What the pools are."""

    layers: tuple[int, ...] = (0, 1, 2)
    size: float = 1.0  # of each, over the number of training images
    renewed: float = 0.2  # of each, before every epoch
    direction: Direction = Direction.STEP
    lengths: tuple[float, ...] | None = (1.2, 0.2, 0.2)  # Euclidean, of each layer's examples; None: the attack's own
    attack: AttackConfig = ROUGH


@dataclass(frozen=True)
class LayerwiseConfig:
    """How a network is trained, with pools or without. All that are compared get the same `budget`.

    Its unit is a gradient of the loss for each training image, through the whole network. Those of attacks count, and
    a gradient that goes through the upper layers only counts for their share of the weights.
    """

    budget: float
    decay: tuple[float, ...] = (1e-5, 1e-5, 1e-6)  # as Table 1's
    dropout: tuple[float, ...] = ()  # of the input and of each hidden layer; none: no dropout
    pools: PoolsConfig | None = None
    batch_size: int = 100
    learning_rate: float = 1e-2  # at the start; it falls to 0 as half a cosine


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
    """Examples (M, ...), their classes (M,), and the part of the network that they train."""

    learner: nn.Module
    examples: Tensor
    labels: Tensor


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

    def lesson(self, network: nn.Sequential) -> Lesson:
        """All of it, for the layers above."""
        return Lesson(above(network, self.layer), self.examples, self.labels)


def below(network: nn.Sequential, layer: int) -> nn.Sequential:
    """From the input to the output of `layer`."""
    return network[: 2 * layer]


def above(network: nn.Sequential, layer: int) -> nn.Sequential:
    """From the output of `layer` to the logits."""
    return network[2 * layer :]


def share_above(network: nn.Sequential, layer: int) -> float:
    """Share of the network's weights that lie above `layer`."""
    sizes = [linear.weight.numel() for linear in network if isinstance(linear, nn.Linear)]
    return sum(sizes[layer:]) / sum(sizes)


def make_examples(
    network: nn.Sequential, layer: int, inputs: Tensor, labels: Tensor, config: PoolsConfig, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Examples at `layer` for images (N, n) and their classes, and how many gradients they took."""
    with torch.no_grad():
        values = below(network, layer)(inputs)
    rest = above(network, layer)
    if config.direction is Direction.STEP:
        perturbations, spent = penalized.loss_gradient(rest, values, labels), len(labels)
    elif config.direction is Direction.NOISE:
        perturbations, spent = torch.randn(values.shape, generator=generator).to(values), 0
    else:
        perturbations, spent = _attacked(rest, values, labels, config, generator)
    if config.lengths is not None:
        perturbations = config.lengths[layer] * F.normalize(perturbations)
    return (values + perturbations).clamp(0, 1), spent


def _attacked(rest: nn.Sequential, values: Tensor, labels: Tensor, config: PoolsConfig, generator):
    """What the attack adds to the values of a layer, and how many gradients that took."""
    num_classes, spent = rest[-1].out_features, 0
    if config.direction is Direction.NEAREST:
        targets, spent = nearest.nearest_classes(rest, values, labels), num_classes * len(labels)
    else:
        targets = penalized.random_targets(labels, num_classes, generator)
    # Not find_adversarial, which would warn while the network is young and says one class of everything.
    found = penalized.search(*penalized.checked(rest, values, targets), config.attack)
    return found.adversarial - values, spent + int(found.num_evaluations.sum())


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
    optimizer = torch.optim.Adam(_decayed(network, config.decay), lr=config.learning_rate, fused=True)
    learner, spent, curve = _with_dropout(network, config.dropout), 0.0, []
    progress = tqdm(total=config.budget, desc="training", disable=None, leave=False)
    with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []), progress:
        torch.manual_seed(seed)  # dropout draws from the global generator
        while spent < config.budget:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _half_cosine(spent / config.budget)
            for pool in pools:
                num = math.ceil(config.pools.renewed * len(pool.labels))
                took = pool.renew(network, inputs, labels, num, config.pools, generator) + len(pool.labels)
                spent += took / len(inputs) * share_above(network, pool.layer)
            lessons = [Lesson(learner, inputs, labels), *(pool.lesson(network) for pool in pools)]
            loss = _epoch(optimizer, lessons, config.batch_size, generator)
            spent += 1
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} in epoch {len(curve) + 1}")
            curve.append((spent, loss, training.error_rate(network, *judged)))
            progress.update(spent - progress.n)
    return FittedLayerwise(dict(network.state_dict()), Curve(*torch.tensor(curve).T), time.perf_counter() - began)


def _half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def _decayed(network: nn.Sequential, decay: Sequence[float]) -> list[dict]:
    """Parameters for an optimizer that adds lambda * w to the gradient, that of lambda * w^2 / 2; biases are free."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    weights = [{"params": [layer.weight], "weight_decay": lam} for layer, lam in zip(linear, decay, strict=True)]
    return [*weights, {"params": [layer.bias for layer in linear]}]


def _first_pools(network, inputs, labels, config: PoolsConfig | None, generator) -> list[Pool]:
    """Pools of undisturbed images, one for each layer, which fill with adversarial ones as they are renewed."""
    if config is None:
        return []
    rows = torch.randint(len(inputs), (round(config.size * len(inputs)),), generator=generator).to(inputs.device)
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


def _epoch(optimizer: torch.optim.Optimizer, lessons: Sequence[Lesson], batch_size: int, generator) -> float:
    """Once through every lesson, batches in random order. Mean loss of the first lesson, the training images."""
    batches = [
        (number, rows)
        for number, lesson in enumerate(lessons)
        for rows in torch.randperm(len(lesson.labels), generator=generator).split(batch_size)
    ]
    total = 0.0
    for place in torch.randperm(len(batches), generator=generator).tolist():
        number, rows = batches[place]
        lesson, rows = lessons[number], rows.to(lessons[number].labels.device)
        loss = F.cross_entropy(lesson.learner(lesson.examples[rows]), lesson.labels[rows])
        optimizer.zero_grad()  # no gradient at all for the layers below, which then stay as they are
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows) if number == 0 else 0.0
    return total / len(lessons[0].labels)
