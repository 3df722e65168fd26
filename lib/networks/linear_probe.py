"""A real classifier on AlexNet's frozen features: a linear layer, trained as the paper trains its softmax.

AlexNet's own fully connected layers are 240 megabytes that not everybody has. Its convolutions are small, and what they
know is enough for a classifier of other pictures: only the last layer is trained, by full-batch L-BFGS.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from lib.networks import training
from lib.networks.training import DecayRule, TrainingConfig, TrainResult


@dataclass(frozen=True)
class ProbeConfig:
    """The weight decay lambda of the linear layer (lambda / 2 times the sum of squares), and when its fit has ended.

    On a tenth of Tiny ImageNet's training pictures, held out, 0.01 and 0.03 do equally well, 0.003 a little worse.
    """

    decay: float = 2e-2
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(max_iterations=300, decrease=1e-5))


@dataclass(frozen=True)
class FittedHead:
    """The linear layer on features that were divided by `scale`, and how its training went."""

    scale: Tensor  # ()
    weight: Tensor  # (K, num_features)
    bias: Tensor  # (K,)
    result: TrainResult


def fit_head(features: Tensor, labels: Tensor, num_classes: int, config: ProbeConfig) -> FittedHead:
    """The classifier of `features` (N, num_features) by `labels` (N,). Raises TrainingError for a loss not finite."""
    scale = features.square().mean().sqrt()
    head = nn.Linear(features.shape[1], num_classes).to(features.device)
    nn.init.zeros_(head.weight)  # the loss is convex
    nn.init.zeros_(head.bias)
    result = training.fit(head, features / scale, labels, [config.decay], DecayRule.HALF, config.training)
    return FittedHead(scale, head.weight.detach(), head.bias.detach(), result)
