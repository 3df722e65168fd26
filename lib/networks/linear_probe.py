"""A real classifier on AlexNet's frozen features: a linear layer, trained as the paper trains its softmax.

AlexNet's own fully connected layers are 240 megabytes that not everybody has. Its convolutions are small, and what they
know is enough for a classifier of other pictures: only the last layer is trained, by full-batch L-BFGS.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
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


def fit_tuned(
    features: Tensor, labels: Tensor, num_classes: int, decays: Sequence[float], generator: torch.Generator
) -> FittedHead:
    """`fit_head` with the decay that does best on a quarter of the features, held out and drawn by `generator`.

    Of decays that do equally well the largest is taken; then all the features are learned from.
    """
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    held_out, rest = order[: len(labels) // 4], order[len(labels) // 4 :]

    def error(decay: float) -> float:
        head = fit_head(features[rest], labels[rest], num_classes, replace(ProbeConfig(), decay=decay))
        said = F.linear(features[held_out] / head.scale, head.weight, head.bias).argmax(dim=1)
        return float((said != labels[held_out]).double().mean())

    best = min(sorted(decays, reverse=True), key=error)
    return fit_head(features, labels, num_classes, replace(ProbeConfig(), decay=best))


class Headed(nn.Module):
    """A network under a linear layer that was trained on what it makes of images: logits (N, K)."""

    def __init__(self, base: nn.Module, head: FittedHead):
        super().__init__()
        self.base = base
        for name in ("scale", "weight", "bias"):
            self.register_buffer(name, getattr(head, name))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(self.base(inputs) / self.scale, self.weight, self.bias)
