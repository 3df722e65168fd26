"""How large an experiment is (profiles), and where its randomness comes from (seeds named by role)."""

from dataclasses import dataclass, field, fields

import numpy as np
import torch

from lib.attack import AttackConfig
from lib.training import AutoencoderConfig, MinibatchConfig, TrainingConfig
from lib.units import UnitsConfig


@dataclass(frozen=True)
class Profile:
    """The scale of everything. None means all there are."""

    name: str
    num_train: int | None  # training images
    num_attacked: int | None  # training images attacked for Table 1
    training: TrainingConfig
    autoencoder: AutoencoderConfig
    conv: MinibatchConfig
    num_enclosed: int  # images whose logits are enclosed for a certificate
    num_tightened: int  # images on which certificates meet the tight attack
    num_lanczos: int  # steps towards a convolution's least singular value
    units: UnitsConfig
    attack: AttackConfig = field(default_factory=AttackConfig)


_PROFILES = (
    Profile(
        name="quick",
        num_train=2000,
        num_attacked=200,
        training=TrainingConfig(max_iterations=120, decrease=1e-5),
        autoencoder=AutoencoderConfig(max_iterations=40, num_images=1000),
        conv=MinibatchConfig(num_epochs=3),
        num_enclosed=20,
        num_tightened=10,
        num_lanczos=20,
        units=UnitsConfig(
            num_images=1000,
            num_networks=2,
            num_classes=12,
            num_per_class=10,
            num_sample=80,
            num_directions=400,
            num_samples=2000,
            num_axes=64,
            num_draws=199,
            num_rotations=19,
        ),
    ),
    Profile(
        name="paper",
        num_train=None,
        num_attacked=None,
        training=TrainingConfig(max_iterations=3000),
        autoencoder=AutoencoderConfig(),
        conv=MinibatchConfig(),
        num_enclosed=2000,
        num_tightened=500,
        num_lanczos=1000,
        units=UnitsConfig(
            num_images=None,
            num_networks=5,
            num_classes=200,
            num_per_class=50,
            num_sample=1000,
            num_directions=1000,
            num_samples=10_000,
            num_axes=256,
            num_draws=1_999,
            num_rotations=299,
        ),
    ),
)
PROFILES = {profile.name: profile for profile in _PROFILES}


# What chapter `framework` changes in the autoencoder: readings of "sparse" and "high quality". An untied decoder needs
# decay, or the encoder's weights shrink at its cost; cross-entropy is larger than the squared error, and so must be the
# weight of sparsity. All of them get the same part of the iterations.
AUTOENCODER_VARIANTS = {
    "sparse, contractive": {},
    "sparse": {"contraction": 0.0},
    "contractive": {"sparsity_weight": 0.0},
    "sparse, noisy input": {"contraction": 0.0, "noise": 0.4},
    "sparse, contractive, noisy input": {"noise": 0.4},
    "sparser, contractive": {"sparsity": 0.03},
    "sparse, contractive, untied": {"tied": False, "decay": 0.003},
    "sparse, sigmoid output": {"contraction": 0.0, "sparsity_weight": 3.0, "sigmoid_output": True},
    "sparse, contractive, sigmoid output": {"sparsity_weight": 3.0, "sigmoid_output": True},
}
VARIANT_SHARE = 4


@dataclass(frozen=True)
class Seeds:
    """One seed for each role that randomness plays, so that changing one leaves the others alone."""

    init: int  # networks' first weights
    split: int  # P1 and P2
    batches: int  # minibatches and dropout of Conv
    targets: int  # wrong classes to attack to
    noise: int  # Gaussian noise that attacks are compared with
    twin: int  # first weights of the second of two networks that are alike
    corruption: int  # noise on the autoencoder's inputs
    directions: int  # random directions among a layer's activations
    rows: int  # which of their rows of pictures are shown, and in which order a blind test asks
    resampling: int  # permutations, bootstrap samples and rotations

    @classmethod
    def derive(cls, seed: int) -> "Seeds":
        """The roles' seeds of one experiment. Raises ValueError for a negative seed."""
        if seed < 0:
            raise ValueError(f"the seed must be 0 or more, not {seed}")
        roles = [role.name for role in fields(cls)]
        return cls(*(int(np.random.SeedSequence([seed, i]).generate_state(1)[0]) for i in range(len(roles))))


def generator(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers whatever device the experiment runs on."""
    return torch.Generator().manual_seed(seed)


def resolve_device(name: str) -> torch.device:
    """The device that a chapter's parameter names: "cpu", "cuda", or "auto" for the best there is.

    Raises ValueError for another name, or for "cuda" where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for and PyTorch finds none; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
