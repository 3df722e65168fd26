"""What chapters share: one set-up, and networks and adversarial sets that are made once and kept in the store."""

import hashlib
import math
import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib import attack, config, data, intervals, provenance, training
from lib.attack import AttackResult
from lib.config import Profile, Seeds
from lib.data import Dataset, Split
from lib.intervals import Estimate
from lib.models import mnist
from lib.store import Artifact, Store, code_version
from lib.training import DecayRule, TrainResult

PIECE = 10_000  # images attacked between two entries in the store: what a kill can lose
RECORDED_SEED = 0

# The networks of Table 3: what they are, and what they are trained on.
HALVES = {"M1": ("100-100-10", "P1"), "M2": ("123-456-10", "P1"), "M3": ("100-100-10", "P2")}
TABLE3 = {name: f"{name}: {network} on {half}" for name, (network, half) in HALVES.items()}  # its rows


@dataclass(frozen=True)
class Trained:
    """A network of the paper and how its training went; `pretraining` is the autoencoder's, else None."""

    spec: mnist.NetworkSpec
    network: nn.Module
    result: TrainResult
    pretraining: TrainResult | None


@dataclass(frozen=True)
class Experiment:
    """One chapter's set-up. `train` and `test` are on `device`, cut to the profile's size."""

    chapter: str
    profile: Profile
    split: Split
    train: Dataset
    test: Dataset
    device: torch.device
    seeds: Seeds
    store: Store
    began: float = field(default_factory=time.perf_counter)

    @property
    def records(self) -> bool:
        """Whether what this run measures goes into results/: at the paper's scale, with the seed that is recorded."""
        return self.profile.name == "paper" and self.seeds == Seeds.derive(RECORDED_SEED)

    @property
    def banner(self) -> str:
        """What the chapter was built on, as a MyST admonition."""
        return data.banner(self.split)

    def trained(self, name: str, rule: DecayRule = DecayRule.HALF, dataset: Dataset | None = None) -> Trained:
        """The network `name`, trained on `dataset` (default: the training images). Raises KeyError for another name."""
        spec, dataset = mnist.SPECS[name], dataset or self.train
        key = {
            "spec": spec,
            "rule": rule.value,
            "data": dataset.identity,
            "seeds": [self.seeds.init, self.seeds.batches, self.seeds.corruption],
            "training": self._training_config(spec),
            "code": code_version(mnist, training),
        }
        kept = self.store.get("network", key, lambda: self._train(spec, rule, dataset))
        network = mnist.build(spec, config.generator(self.seeds.init))
        network.load_state_dict(kept.tensors)
        results = {
            name: TrainResult(**kept.info[name]) if kept.info[name] else None for name in ("result", "pretraining")
        }
        return Trained(spec, network.to(self.device).requires_grad_(False), **results)

    @cached_property
    def halves(self) -> dict[str, Dataset]:
        """The disjoint halves "P1" and "P2" of the training images."""
        return dict(
            zip(("P1", "P2"), data.disjoint_halves(self.train, config.generator(self.seeds.split)), strict=True)
        )

    @property
    def parts(self) -> dict[str, Dataset]:
        """The images whose errors Table 3 tells, under the names of its columns."""
        return {"error on P1 (%)": self.halves["P1"], "error on P2 (%)": self.halves["P2"], "test error (%)": self.test}

    def trained_on_half(self, name: str) -> Trained:
        """The network M1, M2 or M3 of Table 3. Raises KeyError for another name.

        M3 starts from weights of its own: the paper does not say, and with M1's it would have more in common with M1
        than an architecture.
        """
        architecture, half = HALVES[name]
        run = replace(self, seeds=replace(self.seeds, init=self.seeds.twin)) if name == "M3" else self
        return run.trained(architecture, dataset=self.halves[half])

    def with_autoencoder(self, label: str) -> "Experiment":
        """The same experiment with another autoencoder, one of `config.AUTOENCODER_VARIANTS`."""
        usual = self.profile.autoencoder
        budget = usual.max_iterations // config.VARIANT_SHARE
        variant = replace(usual, max_iterations=budget, **config.AUTOENCODER_VARIANTS[label])
        return replace(self, profile=replace(self.profile, autoencoder=variant))

    def with_seed(self, seed: int) -> "Experiment":
        """The same experiment with every random number drawn anew."""
        return replace(self, seeds=Seeds.derive(seed))

    def _training_config(self, spec: mnist.NetworkSpec) -> list:
        families = {
            "sigmoid": [self.profile.training],
            "autoencoder": [self.profile.autoencoder, self.profile.training],
            "conv": [self.profile.conv],
        }
        return families[spec.family]

    def _train(self, spec: mnist.NetworkSpec, rule: DecayRule, dataset: Dataset) -> Artifact:
        network = mnist.build(spec, config.generator(self.seeds.init)).to(self.device)
        inputs, labels = dataset.inputs.to(self.device), dataset.labels.to(self.device)
        pretraining = None
        if spec.family == "conv":
            result = training.fit_minibatches(network, inputs, labels, self.profile.conv, self.seeds.batches)
        elif spec.family == "autoencoder":
            noise = config.generator(self.seeds.corruption)
            pretraining = training.fit_autoencoder(network, inputs, self.profile.autoencoder, noise)
            code = network.encode(inputs)
            result = training.fit(network.classifier, code, labels, spec.decay, rule, self.profile.training)
        else:
            result = training.fit(network, inputs, labels, spec.decay, rule, self.profile.training)
        info = {
            "result": asdict(result),
            "pretraining": pretraining and asdict(pretraining),
            "device": str(self.device),
        }
        return Artifact(dict(network.state_dict()), info)

    def errors(self, trained: Trained) -> dict[str, Estimate]:
        """Training and test error in per cent, under the names of Table 1's columns."""
        parts = {"training error (%)": self.train, "test error (%)": self.test}
        return {column: _percent_wrong(trained.network, images) for column, images in parts.items()}

    def targets(self, dataset: Dataset) -> Tensor:
        """A random wrong class for every image of `dataset`, the same in every chapter."""
        wrong = attack.random_targets(dataset.labels.cpu(), data.NUM_CLASSES, config.generator(self.seeds.targets))
        return wrong.to(self.device)

    def adversarial(self, trained: Trained, dataset: Dataset) -> AttackResult:
        """The attack on every image of `dataset`, to `targets(dataset)`, kept in the store piece by piece."""
        pieces = range(math.ceil(len(dataset) / PIECE))
        progress = tqdm(pieces, desc=f"attacking {trained.spec.name}", disable=None, leave=False)
        return attack.concatenate([self.adversarial_piece(trained, dataset, piece) for piece in progress])

    def adversarial_piece(self, trained: Trained, dataset: Dataset, piece: int) -> AttackResult:
        """The attack on the PIECE images from number `piece` * PIECE on."""
        rows = torch.arange(len(dataset), device=self.device)[piece * PIECE :][:PIECE]
        targets = self.targets(dataset)
        key = {
            "weights": weights_identity(trained.network),
            "data": dataset.identity,
            "targets": self.seeds.targets,
            "rows": [int(rows[0]), len(rows)],
            "attack": self.profile.attack,
            "code": code_version(attack),
        }

        def make() -> Artifact:
            return Artifact(
                vars(attack.find_adversarial(trained.network, dataset.inputs[rows], targets[rows], self.profile.attack))
            )

        tensors = self.store.get("adversarial", key, make).tensors
        return AttackResult(**{name: tensor.to(self.device) for name, tensor in tensors.items()})

    def finish(self) -> None:
        """At the end of a chapter whose results are recorded: write down on what they were measured."""
        if self.records:
            facts = provenance.describe(self.profile, self.split, str(self.device), self.seeds)
            provenance.record_run(self.chapter, facts, time.perf_counter() - self.began)


def _percent_wrong(network: nn.Module, images: Dataset) -> Estimate:
    wrong = round(training.error_rate(network, images.inputs, images.labels) * len(images))
    return intervals.percent(wrong, len(images))


def begin(chapter: str, profile: str, data_name: str, device: str, seed: int) -> Experiment:
    """The set-up that a chapter's parameters describe. Raises ValueError naming the parameter that is wrong."""
    if profile not in config.PROFILES:
        raise ValueError(f"profile must be one of {', '.join(config.PROFILES)}, not {profile!r}")
    scale, place, seeds = config.PROFILES[profile], config.resolve_device(device), Seeds.derive(seed)
    split = data.load(data_name)
    if profile == "paper" and split.source != "mnist":
        raise ValueError(
            f"profile paper needs MNIST, and what was found is {split.provenance}; set DATA_DIR to its folder"
        )
    return Experiment(
        chapter=chapter,
        profile=scale,
        split=split,
        train=split.train.take(scale.num_train).to(place),
        test=split.test.to(place),
        device=place,
        seeds=seeds,
        store=Store(),
    )


def weights_identity(network: nn.Module) -> str:
    """sha256 over the network's parameters."""
    weights = (value.detach().cpu().contiguous().numpy().tobytes() for value in network.state_dict().values())
    return hashlib.sha256(b"".join(weights)).hexdigest()
