"""How large an experiment is: configurations stand beside their algorithms, a profile puts them together."""

from dataclasses import dataclass, field

from lib.attacks.penalized import AttackConfig
from lib.attacks.tight import TightConfig
from lib.measures.units import UnitsConfig
from lib.networks.adversarial_training import PoolsConfig
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.quocnet import QuocNetConfig, RICAConfig
from lib.networks.training import MinibatchConfig, TrainingConfig
from lib.solvers.lbfgs import LBFGSConfig


@dataclass(frozen=True)
class PhotographsConfig:
    """How much of everything. None means all there is.

    An accuracy beyond 3e-3 would cost more gradients than it is worth.
    """

    num_attacked: int  # pictures, for every network and kind of target
    num_coarse: int  # of them, to see what a coarse search over c and the tight attack would have found
    num_judged: int | None  # pictures that accuracy is measured on, and that the attacked ones are taken from
    num_classes: int | None  # of Tiny ImageNet
    num_train: int | None  # pictures that the linear layer on AlexNet's features is trained on
    attack: AttackConfig = field(default_factory=lambda: AttackConfig(tolerance=3e-3))
    tight: TightConfig = field(default_factory=TightConfig)


@dataclass(frozen=True)
class CarsConfig:
    """QuocNet's sizes for pictures and for digits, and how many images it, its classifier and the attack are shown."""

    pictures: QuocNetConfig
    digits: QuocNetConfig
    rica: RICAConfig
    num_unlabelled: int | None
    num_few: int  # of these, for variants
    num_train: int  # of either class
    num_test: int  # of either class
    num_attacked: int
    decays: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)  # among which the classifier's is chosen
    attack: AttackConfig = field(default_factory=lambda: AttackConfig(tolerance=3e-3, chunk_size=32))
    tight: TightConfig = field(default_factory=lambda: TightConfig(chunk_size=32))


@dataclass(frozen=True)
class PoolsScale:
    """Chapter `adversarial_training`: how many networks, how long each learns, and what is asked of them."""

    num_seeds: int
    num_variant_seeds: int  # for what is changed of the pools
    budget: float  # of LayerwiseConfig
    pools: PoolsConfig
    num_asked: int  # test images on which the networks are attacked
    dropout: tuple[float, ...] = (0.2, 0.1, 0.1)


@dataclass(frozen=True)
class SinceScale:
    """Chapter `since_2013`: on how many images, and how often noise is drawn."""

    num_around: int  # images that noise is put around, and from which a single step is taken
    num_directed: int  # images whose orthogonal directions are counted
    num_smoothed: int  # images that a smoothed network is asked about
    num_votes: int  # draws of noise for each of them


@dataclass(frozen=True)
class UnsaidConfig:
    """Chapter `unsaid`: what is tried where the paper leaves a choice."""

    num_images: int  # on which the attack is read otherwise
    divisors: tuple[float, ...] = (0.5, 1, 2, 3, 5, 10, 784)  # of the decay; a softmax has 10 outputs, 784 inputs
    decays: tuple[int, ...] = (10, 100, 1000)  # times that of 100-100-10
    shares: tuple[int, ...] = (3, 10, 30)  # it is trained on one of so many images


@dataclass(frozen=True)
class Profile:
    """The scale of everything. None means all there are."""

    name: str
    num_train: int | None  # training images
    num_attacked: int | None  # training images attacked for Tables 1 and 2, test images for 3 and 4
    training: TrainingConfig
    autoencoder: AutoencoderConfig
    conv: MinibatchConfig
    num_controls: int  # images on which other changes are compared with perturbations
    num_louder: int  # images whose perturbations are multiplied
    num_compared: int  # images on which variants of the autoencoder are compared
    num_coarse: int  # images on which coarser searches over c are tried
    num_optimal: int  # images on which the attack is compared with the exact optimum
    num_known: int  # images whose nearest is looked for by branch and bound, for a small network with kinks
    num_relaxations: int  # for each of them, at the most
    num_exact: int  # images on which certificates meet the exact optimum
    num_enclosed: int  # images whose logits are enclosed for a certificate
    num_tightened: int  # images on which certificates meet the tight attack
    num_lanczos: int  # steps towards a convolution's least singular value
    units: UnitsConfig
    photographs: PhotographsConfig
    cars: CarsConfig
    pools: PoolsScale
    unsaid: UnsaidConfig
    since: SinceScale
    attack: AttackConfig = field(default_factory=AttackConfig)


_PROFILES = (
    Profile(
        name="quick",
        num_train=1500,
        num_attacked=200,
        training=TrainingConfig(max_iterations=120, decrease=1e-5),
        autoencoder=AutoencoderConfig(max_iterations=30, num_images=500),
        conv=MinibatchConfig(num_epochs=3),
        num_controls=200,
        num_louder=200,
        num_compared=200,
        num_coarse=60,
        num_optimal=200,
        num_known=2,
        num_relaxations=1000,
        num_exact=200,
        num_enclosed=20,
        num_tightened=3,
        num_lanczos=20,
        units=UnitsConfig(
            num_images=1000,
            num_networks=2,
            num_classes=12,
            num_per_class=10,
            num_sample=60,
            num_directions=400,
            num_samples=2000,
            num_axes=64,
            num_draws=199,
            num_rotations=19,
        ),
        photographs=PhotographsConfig(
            num_attacked=3,
            num_coarse=2,
            num_judged=20,
            num_classes=10,
            num_train=150,
            attack=AttackConfig(tolerance=0.1, max_searches=4, solver=LBFGSConfig(max_iterations=15, patience=3)),
            tight=TightConfig(max_iterations=1, num_descents=1, num_smoothed=1),
        ),
        cars=CarsConfig(
            pictures=QuocNetConfig(side=32, field=5, num_maps=4, pool=2, contrast=5),
            digits=QuocNetConfig(side=28, num_channels=1, field=5, num_maps=4, pool=2, contrast=5),
            rica=RICAConfig(batch_size=50),
            num_unlabelled=250,
            num_few=50,
            num_train=75,
            num_test=50,
            num_attacked=6,
            decays=(3e-2,),
            attack=AttackConfig(tolerance=0.1, max_searches=4),
            tight=TightConfig(max_iterations=3, num_descents=1, num_smoothed=1),
        ),
        pools=PoolsScale(
            num_seeds=2,
            num_variant_seeds=1,
            budget=4,
            pools=PoolsConfig(size=0.2),
            num_asked=50,
        ),
        unsaid=UnsaidConfig(num_images=12, decays=(100,), shares=(10,)),
        since=SinceScale(num_around=200, num_directed=50, num_smoothed=20, num_votes=1000),
    ),
    Profile(
        name="paper",
        num_train=None,
        num_attacked=None,
        training=TrainingConfig(max_iterations=3000),
        autoencoder=AutoencoderConfig(),
        conv=MinibatchConfig(),
        num_controls=10_000,
        num_louder=2000,
        num_compared=2000,
        num_coarse=500,
        num_optimal=2000,
        num_known=60,
        num_relaxations=50_000,
        num_exact=200,
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
            num_rotations=199,
        ),
        photographs=PhotographsConfig(
            num_attacked=64, num_coarse=16, num_judged=None, num_classes=None, num_train=None
        ),
        cars=CarsConfig(
            pictures=QuocNetConfig(side=64, field=6, pool=2, contrast=5),
            digits=QuocNetConfig(side=28, num_channels=1, field=6, pool=2, contrast=5),
            rica=RICAConfig(),
            num_unlabelled=None,
            num_few=5000,
            num_train=1400,
            num_test=600,
            num_attacked=100,
        ),
        pools=PoolsScale(
            num_seeds=5,
            num_variant_seeds=2,
            budget=120,
            pools=PoolsConfig(),
            num_asked=500,
        ),
        unsaid=UnsaidConfig(num_images=1000),
        since=SinceScale(num_around=10_000, num_directed=1000, num_smoothed=200, num_votes=10_000),
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
