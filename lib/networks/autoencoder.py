"""The sparse autoencoder under AE400-10: what its loss is made of, and how it is trained."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.networks import training
from lib.networks.mnist import AutoencoderClassifier
from lib.networks.training import TrainingConfig, TrainResult


@dataclass(frozen=True)
class AutoencoderConfig:
    """What the paper leaves open of the "sparse autoencoder with very high quality filters" (chapter `framework`)."""

    sparsity: float = 0.06  # mean activation asked of every unit
    sparsity_weight: float = 0.5
    contraction: float = 1.0  # weight of the code's squared sensitivity to the input
    noise: float = 0.0  # stddev of Gaussian noise on the input; what is reconstructed has none
    tied: bool = True  # whether the decoder's weights are the encoder's
    decay: float = 0.0  # weight of half the squared weights of encoder and decoder
    sigmoid_output: bool = False  # pixels as probabilities, by cross-entropy; else linear, by squared error
    max_iterations: int = 800
    num_images: int = 10_000  # the first so many of the training images


class Decoder(nn.Module):
    """Code (N, num_units) to reconstruction (N, num_pixels), before any sigmoid. It serves training only."""

    def __init__(self, encoder: nn.Linear, tied: bool):
        super().__init__()
        self.weight = encoder.weight if tied else nn.Parameter(encoder.weight.detach().clone())
        self.mean_image = nn.Parameter(encoder.weight.new_zeros(encoder.in_features))

    def forward(self, code: Tensor) -> Tensor:
        return code @ self.weight + self.mean_image


def fit_autoencoder(
    network: AutoencoderClassifier, inputs: Tensor, config: AutoencoderConfig, generator: torch.Generator
) -> TrainResult:
    """Train the encoder by full-batch L-BFGS so that `inputs` (N, 784) can be reconstructed, then freeze it.

    generator : on the CPU, of the noise, which is drawn once: L-BFGS needs the same loss at every look.
    """
    inputs = inputs[: config.num_images]
    noisy = inputs + config.noise * torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
    decoder = Decoder(network.encoder, config.tied)
    parameters = list(nn.ModuleList([network.encoder, decoder]).parameters())  # a shared weight once
    limits = TrainingConfig(max_iterations=config.max_iterations)
    result = training.minimize_loss(
        parameters, lambda: autoencoder_loss(network, decoder, noisy, inputs, config), limits
    )
    network.encoder.requires_grad_(False)
    return result


def autoencoder_loss(
    network: AutoencoderClassifier, decoder: Decoder, noisy: Tensor, inputs: Tensor, config: AutoencoderConfig
) -> Tensor:
    """Reconstruction error of `inputs` from `noisy` + sparsity + contraction + decay, means over the images.

    The error is half the squared one, or cross-entropy. Sparsity is KL(target || mean activation) summed over units;
    contraction is the squared Frobenius norm of the code's Jacobian (Rifai et al. 2011), for a sigmoid layer
    sum_j (h_j (1 - h_j))^2 |w_j|^2.
    """
    weight, code = network.encoder.weight, network.encode(noisy)
    output = decoder(code)
    if config.sigmoid_output:
        error = F.binary_cross_entropy_with_logits(output, inputs, reduction="sum") / len(inputs)
    else:
        error = (output - inputs).square().sum(dim=1).mean() / 2
    target, activation = config.sparsity, code.mean(dim=0).clamp(1e-6, 1 - 1e-6)
    divergence = target * (target / activation).log() + (1 - target) * ((1 - target) / (1 - activation)).log()
    sensitivity = (code * (1 - code)).square().mean(dim=0) @ weight.square().sum(dim=1)
    size = (weight.square().sum() + decoder.weight.square().sum()) / 2
    return error + config.sparsity_weight * divergence.sum() + config.contraction * sensitivity + config.decay * size
