"""What is expensive is made once, kept piece by piece, and found again by all that it depends on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from functools import wraps

import pytest
import torch

from lib.attacks import penalized
from lib.attacks.penalized import AttackConfig
from lib.data import sources
from lib.data.dataset import Split
from lib.experiments import digits, profiles
from lib.experiments.digits import Experiment
from lib.experiments.profiles import PROFILES
from lib.experiments.seeds import Seeds
from lib.measures import intervals
from lib.measures.effects import exactly
from lib.networks import autoencoder, mnist, training
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.training import DecayRule, MinibatchConfig, TrainingConfig
from lib.record import ledger
from lib.store.calls import Store
from lib.store.identity import of_network

torch.set_num_threads(1)

TINY = replace(
    PROFILES["quick"],
    training=TrainingConfig(max_iterations=8),
    autoencoder=AutoencoderConfig(max_iterations=2, num_images=50),
    conv=MinibatchConfig(num_epochs=1),
    attack=AttackConfig(max_searches=3),
)


@pytest.fixture(scope="module")
def split() -> Split:
    return sources.embedded()


@pytest.fixture
def make(split, tmp_path) -> Callable[..., Experiment]:
    """Experiments that share one store, as the chapters do."""

    def experiment_of(chapter: str = "chapter", seed: int = 0, profile=TINY) -> Experiment:
        return Experiment(
            chapter=chapter,
            profile=profile,
            split=split,
            train=split.train.take(100),
            test=split.test.take(40),
            device=torch.device("cpu"),
            seeds=Seeds.derive(seed),
            store=Store(tmp_path / "store"),
        )

    return experiment_of


@pytest.fixture
def fits(monkeypatch) -> list[tuple]:
    """The decay and the rule of every supervised fit from now on."""
    return spy(monkeypatch, training, "fit", lambda network, inputs, labels, decay, rule, config: (decay, rule))


@pytest.fixture
def attacks(monkeypatch) -> list[int]:
    """How many images each attack from now on was given."""
    return spy(monkeypatch, penalized, "find_adversarial", lambda network, inputs, targets, config: len(inputs))


def spy(monkeypatch, module, name: str, describe: Callable) -> list:
    real, seen = getattr(module, name), []

    @wraps(real)
    def watched(*arguments):
        seen.append(describe(*arguments))
        return real(*arguments)

    monkeypatch.setattr(module, name, watched)
    return seen


def same_weights(a, b) -> bool:
    return of_network(a.network) == of_network(b.network)


# --- What is compared with the paper --------------------------------------------------------------


def test_only_mnist_is_compared_with_the_paper(make, results):
    cells = {("M1", "M2"): exactly(1.0)}
    on_digits = make().table("table4", cells)
    assert not make().is_comparable(on_digits)
    assert make().is_comparable(replace(on_digits, recorded=cells))
    on_mnist = replace(make(), split=make().split._replace(source="mnist"))
    assert on_mnist.is_comparable(on_digits)


# --- Networks -------------------------------------------------------------------------------------


def test_a_network_is_trained_once(make, fits):
    first, again = make().trained("softmax 1e-2"), make("another chapter").trained("softmax 1e-2")
    assert fits == [((1e-2,), DecayRule.HALF)]
    assert same_weights(first, again)
    assert first.result == again.result
    assert len(first.result.losses) == 9
    assert first.spec == mnist.SPECS["softmax 1e-2"]
    assert first.pretraining is None


def test_a_network_is_what_training_gives(make):
    """Nothing happens between the fit and the network that a chapter gets."""
    run = make()
    network = mnist.build(mnist.SPECS["softmax 1e-2"], torch.Generator().manual_seed(run.seeds.init))
    result = training.fit(network, run.train.inputs, run.train.labels, [1e-2], DecayRule.HALF, TINY.training)
    ours = run.trained("softmax 1e-2")
    assert of_network(network) == of_network(ours.network)
    assert replace(ours.result, seconds=0) == replace(result, seconds=0)


def test_networks_are_frozen_and_evaluating(make):
    network = make().trained("100-100-10").network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_whatever_it_depends_on_makes_another_network(make, fits):
    run = make()
    longer = replace(TINY, training=TrainingConfig(max_iterations=9))
    networks = [
        run.trained("softmax 1e-2"),
        run.trained("softmax 1"),
        run.trained("softmax 1e-2", DecayRule.FULL),
        run.trained("softmax 1e-2", images=run.train.subset(slice(50), "P1")),
        make(seed=1).trained("softmax 1e-2"),
        make(profile=longer).trained("softmax 1e-2"),
    ]
    assert len(fits) == len({of_network(t.network) for t in networks}) == 6


def test_the_same_images_under_another_name_are_the_same_data(make, fits):
    run = make()
    run.trained("softmax 1")
    run.trained("softmax 1", images=run.train.subset(slice(None), "renamed"))
    run.trained("softmax 1", DecayRule.HALF, run.train)
    assert len(fits) == 1


def test_what_a_network_does_not_depend_on_leaves_it_alone(make, fits):
    """The attack's settings, and how other families are trained."""
    make().trained("softmax 1")
    other = replace(
        TINY, attack=AttackConfig(), conv=MinibatchConfig(), autoencoder=AutoencoderConfig(), num_attacked=3
    )
    make(profile=other).trained("softmax 1")
    assert len(fits) == 1


def test_the_autoencoder_is_trained_first_and_then_left_alone(make, monkeypatch):
    encoders = spy(monkeypatch, autoencoder, "fit_autoencoder", lambda network, *rest: network.encoder)
    first, again = make().trained("AE400-10"), make().trained("AE400-10")
    (encoder,) = encoders
    assert same_weights(first, again)
    assert first.pretraining == again.pretraining
    assert len(first.pretraining.losses) == 3
    assert len(first.result.losses) == 9
    assert torch.equal(first.network.encoder.weight, encoder.weight)


def test_conv_follows_its_seed(make):
    first, other = make().trained("Conv"), make(seed=1).trained("Conv")
    assert len(first.result.losses) == TINY.conv.num_epochs
    assert not first.network.training
    assert not same_weights(first, other)


def test_an_unknown_network_is_an_error(make):
    with pytest.raises(KeyError, match="VGG"):
        make().trained("VGG")


def test_errors_by_hand(make):
    run = make()
    trained = run.trained("softmax 1")
    wrong = [int((trained.network(d.inputs).argmax(dim=1) != d.labels).sum()) for d in (run.train, run.test)]
    assert 0 < wrong[1] < 40
    assert run.errors(trained) == {
        "training error (%)": intervals.percent(wrong[0], 100),
        "test error (%)": intervals.percent(wrong[1], 40),
    }


# --- Attacks --------------------------------------------------------------------------------------


def test_targets_are_wrong_and_the_same_in_every_chapter(make):
    run, other = make(), make("another chapter")
    targets = run.targets(run.train)
    assert (targets != run.train.labels).all()
    assert ((targets >= 0) & (targets < 10)).all()
    assert torch.equal(other.targets(other.train), targets)
    assert not torch.equal(make(seed=1).targets(run.train), targets)


@pytest.mark.parametrize("num", [1, 7, 16, 99])
def test_fewer_images_keep_their_targets(make, num):
    """Chapters attack the first so many, and speak of the same image's target."""
    run = make()
    assert torch.equal(run.targets(run.train.take(num)), run.targets(run.train)[:num])


def equal(a, b) -> bool:
    return all(torch.equal(torch.nan_to_num(x), torch.nan_to_num(vars(b)[name])) for name, x in vars(a).items())


def test_an_attack_is_made_once_and_is_what_the_attack_gives(make, attacks):
    run, other = make(), make("another chapter")
    images, trained = run.train.take(20), run.trained("softmax 1e-2")
    first, again = run.adversarial(trained, images), other.adversarial(other.trained("softmax 1e-2"), images)
    assert attacks == [20]
    assert equal(first, again)
    assert equal(first, penalized.find_adversarial(trained.network, images.inputs, run.targets(images), TINY.attack))


def test_pieces_equal_one_call(make, attacks, monkeypatch):
    run = make(profile=replace(TINY, attack=AttackConfig()))
    images, trained = run.train.take(20), run.trained("softmax 1e-2")
    targets = run.targets(images)
    monkeypatch.setattr(digits, "PIECE", 8)
    pieces = run.adversarial(trained, images)
    assert attacks == [8, 8, 4]
    by_hand = [
        penalized.find_adversarial(trained.network, images.inputs[rows], targets[rows], AttackConfig())
        for rows in torch.arange(20).split(8)
    ]
    assert equal(pieces, penalized.concatenate(by_hand))
    whole = penalized.find_adversarial(trained.network, images.inputs, targets, AttackConfig())
    assert torch.equal(pieces.success, whole.success)
    torch.testing.assert_close(pieces.distortion, whole.distortion, rtol=AttackConfig().tolerance, atol=1e-6)


@pytest.mark.faults
def test_after_an_interruption_only_the_missing_pieces_are_made(make, attacks, monkeypatch):
    run = make()
    images, trained = run.train.take(20), run.trained("softmax 1e-2")
    monkeypatch.setattr(digits, "PIECE", 6)
    counted = penalized.find_adversarial

    @wraps(counted)
    def interrupted(*arguments):
        if len(attacks) == 2:
            raise KeyboardInterrupt
        return counted(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(penalized, "find_adversarial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.adversarial(trained, images)
    assert attacks == [6, 6]
    resumed = run.adversarial(trained, images)
    assert attacks == [6, 6, 6, 2]
    targets = run.targets(images)
    by_hand = [counted(trained.network, images.inputs[r], targets[r], TINY.attack) for r in torch.arange(20).split(6)]
    assert equal(resumed, penalized.concatenate(by_hand))


def test_whatever_it_depends_on_makes_another_attack(make, attacks):
    run, images = make(), make().train.take(5)
    trained = run.trained("softmax 1e-2")
    run.adversarial(trained, images)
    run.adversarial(run.trained("softmax 1"), images)
    run.adversarial(trained, run.test.take(5))
    replace(run, seeds=replace(run.seeds, targets=1)).adversarial(trained, images)
    replace(run, profile=replace(TINY, attack=AttackConfig(max_searches=4))).adversarial(trained, images)
    assert attacks == [5] * 5
    replace(run, seeds=replace(run.seeds, noise=1), profile=replace(TINY, num_attacked=1)).adversarial(trained, images)
    assert attacks == [5] * 5


# --- Beginning and end ----------------------------------------------------------------------------


def test_begin_cuts_the_data_to_the_profiles_size(monkeypatch, tmp_path, split):
    monkeypatch.setenv("STORE_DIR", str(tmp_path / "here"))
    monkeypatch.setitem(PROFILES, "quick", replace(TINY, num_train=30))
    run = digits.begin("framework", "quick", "digits", "cpu", 3)
    assert (run.chapter, run.device, run.seeds) == ("framework", torch.device("cpu"), Seeds.derive(3))
    assert torch.equal(run.train.inputs, split.train.inputs[:30])
    assert torch.equal(run.test.inputs, split.test.inputs)
    assert run.store.artifacts.root == tmp_path / "here"
    assert "digits" in run.banner
    with pytest.raises(FrozenInstanceError):
        run.chapter = "another"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "fast"}, "profile must be one of quick, paper, not 'fast'"),
        ({"data": "cifar"}, "data must be .*, not 'cifar'"),
        ({"device": "tpu"}, "device must be auto, cpu or cuda, not 'tpu'"),
        ({"seed": -1}, "seed must be a whole number, 0 or more, not -1"),
    ],
)
def test_begin_names_the_parameter_that_is_wrong(change, message):
    parameters = {"profile": "quick", "data": "digits", "device": "cpu", "seed": 0}
    with pytest.raises(ValueError, match=message):
        digits.begin("framework", **(parameters | change))


def test_before_anything_is_recorded_a_verdict_is_on_this_builds_tables(make, results):
    run = make("cross_training_set")
    run.table("table4", {cell: intervals.Estimate(v, v, v, 9) for cell, v in ledger.printed("table4").items()})
    found, source = run.verdict("cross-training-rank")
    assert (found.word, found.behind, source) == ("reproduced", "n = 9", "In this build")


def test_profile_quick_writes_nothing(make, results):
    run = make()
    run.trained("softmax 1")
    run.finish()
    assert not results.exists()


def test_profile_paper_with_another_seed_leaves_the_recorded_results_alone(make, results):
    run = make("framework", seed=2, profile=replace(TINY, name="paper"))
    run.finish()
    assert not run.records
    assert not results.exists()


def test_profile_paper_refuses_to_pass_the_digits_off_as_mnist(monkeypatch):
    monkeypatch.setattr(sources, "load", lambda name: sources.embedded())
    with pytest.raises(ValueError, match="profile paper needs MNIST"):
        digits.begin("framework", "paper", "auto", "cpu", 0)


def test_profile_paper_writes_down_on_what_it_ran(make, results):
    run = make("framework", seed=0, profile=replace(TINY, name="paper"))
    run.finish()
    entry = json.loads((results / "run.json").read_text())["framework"]
    assert (entry["profile"], entry["device"]) == ("paper", "cpu")
    assert entry["seeds"] == vars(Seeds.derive(0))
    assert entry["data"]["train"] == run.split.train.identity
    assert 0 <= entry["seconds"] < 60


@pytest.mark.gpu
def test_networks_and_attacks_are_on_the_device_asked_for(make):
    """A network trained on one device is not passed off as the other's."""
    cpu = make()
    gpu = replace(cpu, device=torch.device("cuda"), train=cpu.train.to("cuda"), test=cpu.test.to("cuda"))
    trained = gpu.trained("softmax 1")
    assert next(trained.network.parameters()).is_cuda
    assert gpu.targets(gpu.train).is_cuda
    assert gpu.adversarial(trained, gpu.train.take(5)).adversarial.is_cuda
    cpu.trained("softmax 1")
    assert gpu.store.num_made == 3


def test_halves_are_disjoint_and_their_networks_are_the_papers(make):
    run = make()
    P1, P2 = run.halves.values()
    trained = {name: run.trained_on_half(name) for name in mnist.HALVES}
    assert [t.spec.name for t in trained.values()] == ["100-100-10", "123-456-10", "100-100-10"]
    assert len(P1) == len(P2) == 50
    together = torch.cat([P1.inputs, P2.inputs])
    assert torch.equal(together.sort(dim=0).values, run.train.inputs.sort(dim=0).values)
    for name, part, seeds in (("M1", P1, run.seeds), ("M3", P2, replace(run.seeds, init=run.seeds.twin))):
        alone = replace(run, seeds=seeds).trained("100-100-10", images=part)
        assert same_weights(alone, trained[name])
    same_start = run.trained("100-100-10", images=P2)
    assert not same_weights(same_start, trained["M3"])
    assert [images.identity for images in run.parts.values()] == [P1.identity, P2.identity, run.test.identity]


def test_pieces_are_the_whole(make, monkeypatch):
    monkeypatch.setattr(digits, "PIECE", 4)
    run = make()
    trained, images = run.trained("softmax 1"), run.train.take(10)
    pieces = [run.adversarial_piece(trained, images, piece) for piece in range(3)]
    assert [len(piece.success) for piece in pieces] == [4, 4, 2]
    num_made = run.store.num_made
    whole = run.adversarial(trained, images)
    assert torch.equal(whole.adversarial, torch.cat([piece.adversarial for piece in pieces]))
    assert run.store.num_made == num_made


def test_every_variant_of_the_autoencoder_is_another_network(make):
    run = make(profile=replace(TINY, autoencoder=AutoencoderConfig(max_iterations=8, num_images=50)))
    kept = {label: run.with_autoencoder(label).trained("AE400-10") for label in profiles.AUTOENCODER_VARIANTS}
    weights = {label: of_network(t.network) for label, t in kept.items()}
    assert len(set(weights.values())) == len(weights) >= 6
    budgets = {len(t.pretraining.losses) - 1 for t in kept.values()}
    assert budgets == {8 // profiles.VARIANT_SHARE}


KILLED = """
import sys
from pathlib import Path
from dataclasses import replace
from lib.attacks.penalized import AttackConfig
from lib.data import sources
from lib.experiments import digits
from lib.experiments.profiles import PROFILES
from lib.experiments.seeds import Seeds
from lib.experiments.digits import Experiment
from lib.store.calls import Store
from lib.networks.training import TrainingConfig
import torch

torch.set_num_threads(1)
digits.PIECE = 10
split = sources.embedded()
brief = AttackConfig(max_searches=4)  # and long enough to be killed in
profile = replace(PROFILES["quick"], training=TrainingConfig(max_iterations=8), attack=brief)
run = Experiment(
    "killed", profile, split, split.train.take(100), split.test.take(40), torch.device("cpu"), Seeds.derive(0),
    Store(Path(sys.argv[1])),
)
result = run.adversarial(run.trained("100-100-10"), run.train)
torch.save(vars(result), sys.argv[2])
"""


@pytest.mark.faults
def test_killed_outright_it_goes_on_and_ends_with_the_same_digits(tmp_path):
    """kill -9 in the middle of the attack: at most the piece at work is done again."""
    command = [sys.executable, "-c", KILLED]
    store = tmp_path / "store"
    process = subprocess.Popen([*command, str(store), str(tmp_path / "never.pt")])
    deadline = time.monotonic() + 120
    while len(finished := sorted(store.glob("find_adversarial-*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 3 <= len(finished) < 10
    kept = {path: path.stat().st_mtime_ns for path in finished}

    subprocess.run([*command, str(store), str(tmp_path / "resumed.pt")], check=True, timeout=120)
    subprocess.run([*command, str(tmp_path / "fresh"), str(tmp_path / "whole.pt")], check=True, timeout=120)
    resumed, whole = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("resumed", "whole"))
    assert all(torch.equal(resumed[name], whole[name]) or name == "c" for name in whole)
    torch.testing.assert_close(resumed["c"], whole["c"], rtol=0, atol=0, equal_nan=True)
    assert {path: path.stat().st_mtime_ns for path in finished} == kept
    assert not list(store.glob("*.tmp*"))
