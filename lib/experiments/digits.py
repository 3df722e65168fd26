"""What chapters start from: data, profile, seeds, and networks and adversarial sets that are made once and kept."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib.attacks import penalized
from lib.attacks.penalized import AttackResult
from lib.data import dataset, sources
from lib.data.dataset import Dataset, Split
from lib.experiments import notes, profiles, provenance, seeds
from lib.experiments.profiles import Profile
from lib.experiments.seeds import Seeds
from lib.measures import intervals
from lib.measures.intervals import Estimate
from lib.networks import mnist, recipes, training
from lib.networks.mnist import NetworkSpec
from lib.networks.recipes import Recipe
from lib.networks.training import DecayRule, TrainResult
from lib.record import claims, ledger
from lib.record.claims import Verdict
from lib.record.ledger import Cells
from lib.record.tables import Table
from lib.store.calls import Store

PIECE = 10_000  # images attacked between two entries in the store: what a kill can lose
RECORDED_SEED = 0

TABLE3 = {name: f"{name}: {network} on {half}" for name, (network, half) in mnist.HALVES.items()}  # its rows


@dataclass(frozen=True)
class Trained:
    """A network of the paper and how its training went; `pretraining` is the autoencoder's, else None."""

    spec: NetworkSpec
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
    tables: dict[str, Table] = field(default_factory=dict)  # those that this chapter has made

    # --- Where it writes --------------------------------------------------------------------------

    @property
    def records(self) -> bool:
        """Whether what this run measures goes into results/: at the paper's scale, with the seed that is recorded."""
        return self.profile.name == "paper" and self.seeds == Seeds.derive(RECORDED_SEED)

    @property
    def banner(self) -> str:
        """What the chapter was built on, as a MyST admonition."""
        pictures = {"imagenet": self.profile.photographs.num_attacked, "quocnet": self.profile.cars.num_attacked}
        said = self.split, len(self.train), self.profile.name, pictures.get(self.chapter)
        return notes.banner(self.chapter, *said)

    def table(self, name: str, cells: Cells) -> Table:
        """The numbers of one table, this build's beside the recorded and the printed ones; recorded if this run is."""
        if self.records:
            ledger.record(name, cells)
        self.tables[name] = Table.of(name, cells)
        return self.tables[name]

    def is_comparable(self, table: Table) -> bool:
        """Whether a table tells of the paper's data: what was recorded, which only MNIST is, or a build on MNIST."""
        return bool(table.recorded) or self.split.source == "mnist"

    def facts(self, name: str, entries: Mapping[str, Mapping]) -> None:
        """Put down what its tables rest on beyond numbers, in results/NAME, a JSON file; if this run is recorded."""
        if self.records:
            for entry, facts in entries.items():
                ledger.update(name, entry, facts)

    def keep(self, name: str, text: str) -> None:
        """Put the text into results/NAME; if this run is recorded."""
        if self.records:
            ledger.write(name, text)

    def verdicts(self) -> str:
        """How the claims that belong to this chapter came out, as recorded and in this build, as MyST."""
        return claims.summary(self.chapter, self._now)

    def verdict(self, identity: str) -> tuple[Verdict, str]:
        """The verdict on one claim that sentences speak of, and whose it is: as recorded, else this build's."""
        return claims.speaking(identity, self._now)

    @property
    def _now(self) -> dict[str, Cells]:
        return {name: table.now for name, table in self.tables.items()}

    def finish(self) -> None:
        """At the end of a chapter whose results are recorded: what they were measured on, and what they say."""
        if self.records:
            claims.record()
            facts = provenance.describe(self.profile.name, self.split, str(self.device), self.seeds)
            provenance.record_run(self.chapter, facts, time.perf_counter() - self.began)

    # --- Networks ---------------------------------------------------------------------------------

    def trained(self, name: str, rule: DecayRule = DecayRule.HALF, images: Dataset | None = None) -> Trained:
        """The network `name`, trained on `images` (default: the training images). Raises KeyError for another name."""
        return self.fitted(self.recipe(mnist.SPECS[name], rule), images or self.train)

    def with_decay(self, name: str, factor: float) -> Trained:
        """The network `name`, trained with `factor` times the weight decay that the book gives it."""
        spec = mnist.SPECS[name]
        scaled = replace(spec, decay=tuple(factor * lam for lam in spec.decay))
        return self.fitted(self.recipe(scaled, DecayRule.HALF), self.train)

    def part(self, share: int) -> Dataset:
        """The first training images, one of so many."""
        return self.train.take(len(self.train) // share)

    def fitted(self, recipe: Recipe, images: Dataset) -> Trained:
        """What comes of a recipe on these images."""
        images = images.to(self.device)
        fitted = self.store.call(recipes.fit, recipe, images.inputs, images.labels)
        network = mnist.build(recipe.spec, seeds.generator(recipe.init))
        network.load_state_dict(fitted.state)
        network.to(self.device).requires_grad_(False)
        return Trained(recipe.spec, network, fitted.result, fitted.pretraining)

    def recipe(self, spec: NetworkSpec, rule: DecayRule) -> Recipe:
        """How this experiment makes a network: what its family has no use for is left out."""
        profile, seeds = self.profile, self.seeds
        if spec.family == "conv":
            return Recipe(spec, seeds.init, minibatches=profile.conv, batches=seeds.batches)
        recipe = Recipe(spec, seeds.init, rule, profile.training)
        if spec.family == "autoencoder":
            return replace(recipe, autoencoder=profile.autoencoder, corruption=seeds.corruption)
        return recipe

    @cached_property
    def halves(self) -> dict[str, Dataset]:
        """The disjoint halves "P1" and "P2" of the training images."""
        parts = dataset.disjoint_halves(self.train, seeds.generator(self.seeds.split))
        return dict(zip(("P1", "P2"), parts, strict=True))

    @property
    def parts(self) -> dict[str, Dataset]:
        """The images whose errors Table 3 tells, under the names of its columns."""
        return {"error on P1 (%)": self.halves["P1"], "error on P2 (%)": self.halves["P2"], "test error (%)": self.test}

    def trained_on_half(self, name: str) -> Trained:
        """The network M1, M2 or M3 of Table 3. Raises KeyError for another name.

        M3 starts from weights of its own: the paper does not say, and with M1's it would have more in common with M1
        than an architecture.
        """
        architecture, half = mnist.HALVES[name]
        run = replace(self, seeds=replace(self.seeds, init=self.seeds.twin)) if name == "M3" else self
        return run.trained(architecture, images=self.halves[half])

    def with_autoencoder(self, label: str) -> "Experiment":
        """The same experiment with another autoencoder, one of `profiles.AUTOENCODER_VARIANTS`."""
        usual = self.profile.autoencoder
        budget = usual.max_iterations // profiles.VARIANT_SHARE
        variant = replace(usual, max_iterations=budget, **profiles.AUTOENCODER_VARIANTS[label])
        return replace(self, profile=replace(self.profile, autoencoder=variant))

    def with_seed(self, seed: int) -> "Experiment":
        """The same experiment with every random number drawn anew."""
        return replace(self, seeds=Seeds.derive(seed))

    def errors(self, trained: Trained) -> dict[str, Estimate]:
        """Training and test error in per cent, under the names of Table 1's columns."""
        parts = {"training error (%)": self.train, "test error (%)": self.test}
        return {column: _percent_wrong(trained.network, images) for column, images in parts.items()}

    # --- Attacks ----------------------------------------------------------------------------------

    @property
    def attacked(self) -> Dataset:
        """The training images that are attacked for Tables 1 and 2."""
        return self.train.take(self.profile.num_attacked)

    @property
    def attacked_test(self) -> Dataset:
        """The test images that are attacked for Tables 3 and 4."""
        return self.test.take(self.profile.num_attacked)

    def targets(self, images: Dataset) -> Tensor:
        """A random wrong class for every one of the images, the same in every chapter."""
        wrong = penalized.random_targets(images.labels.cpu(), dataset.NUM_CLASSES, seeds.generator(self.seeds.targets))
        return wrong.to(self.device)

    def adversarial(self, trained: Trained, images: Dataset) -> AttackResult:
        """The attack on every one of the images, to `targets(images)`, kept in the store piece by piece."""
        pieces = range(num_pieces(images))
        progress = tqdm(pieces, desc=f"attacking {trained.spec.name}", disable=None, leave=False)
        return penalized.concatenate([self.adversarial_piece(trained, images, piece) for piece in progress])

    def adversarial_piece(self, trained: Trained, images: Dataset, piece: int) -> AttackResult:
        """The attack on the PIECE images from number `piece` * PIECE on."""
        rows = slice(piece * PIECE, (piece + 1) * PIECE)
        inputs, targets = images.inputs[rows], self.targets(images)[rows]
        found = self.store.call(penalized.find_adversarial, trained.network, inputs, targets, self.profile.attack)
        return found.to(self.device)


def num_pieces(images: Dataset) -> int:
    """In how many pieces the images are attacked."""
    return ceil(len(images) / PIECE)


def _percent_wrong(network: nn.Module, images: Dataset) -> Estimate:
    wrong = round(training.error_rate(network, images.inputs, images.labels) * len(images))
    return intervals.percent(wrong, len(images))


def begin(chapter: str, profile: str, data: str, device: str, seed: int) -> Experiment:
    """The set-up that a chapter's parameters describe. Raises ValueError naming the parameter that is wrong."""
    if profile not in profiles.PROFILES:
        raise ValueError(f"profile must be one of {', '.join(profiles.PROFILES)}, not {profile!r}")
    scale, place, roles = profiles.PROFILES[profile], seeds.device(device), Seeds.derive(seed)
    split = sources.load(data)
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
        seeds=roles,
        store=Store(),
    )
