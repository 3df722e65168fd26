"""What chapters ask for is what the plan lists, the longest first."""

from dataclasses import replace

import pytest
import torch

from lib.attacks.penalized import AttackConfig
from lib.experiments import cars, digits, photographs, plan, pools, profiles, seeds, unsaid
from lib.experiments.settings import Settings
from lib.networks import imagenet, mnist
from lib.networks.adversarial_training import PoolsConfig
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.quocnet import QuocNetConfig
from lib.networks.training import DecayRule, MinibatchConfig, TrainingConfig
from lib.solvers.lbfgs import LBFGSConfig
from lib.store.calls import Store
from tests.pictures_made import WNIDS, tiny_imagenet

torch.set_num_threads(1)
QUICK = Settings("quick", "digits", "cpu", 0)
TINY = QuocNetConfig(side=16, field=3, num_maps=2, pool=2, contrast=3)
BRIEF = AttackConfig(max_searches=2, solver=LBFGSConfig(max_iterations=3))


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Public files: AlexNet's layers as they are drawn, and pictures of three colours: one network can be attacked."""
    monkeypatch.setattr(photographs, "GOLDFISH", WNIDS[0])
    monkeypatch.setattr(cars, "CARS", WNIDS[:1])
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = imagenet.AlexNet().eval().requires_grad_(False)
    yield {"AlexNet": network, "Tiny ImageNet": tiny_imagenet(tmp_path, per_class=4)}
    plan.under_attack.cache_clear()


def test_chapters_find_everything_made(found, monkeypatch, tmp_path):
    monkeypatch.setattr(digits, "PIECE", 8)
    monkeypatch.setattr(photographs, "PIECE", 5)
    monkeypatch.setattr(plan, "public_files", lambda settings: found)
    run = digits.begin("test", "quick", "digits", "cpu", 0)
    profile = replace(
        run.profile,
        num_attacked=12,
        num_known=1,
        num_relaxations=10,
        attack=BRIEF,
        training=TrainingConfig(max_iterations=3),
        autoencoder=AutoencoderConfig(max_iterations=4, num_images=50),
        conv=MinibatchConfig(num_epochs=1),
        cars=replace(run.profile.cars, pictures=TINY, num_train=2, num_test=1, num_unlabelled=4, num_few=2),
        photographs=replace(run.profile.photographs, attack=BRIEF),
        pools=replace(run.profile.pools, budget=2, pools=PoolsConfig(size=0.1)),
    )
    run = replace(run, profile=profile, train=run.train.take(100), test=run.test.take(20), store=Store(tmp_path))
    monkeypatch.setattr(plan, "begin", lambda settings: run)
    steps = plan.book(QUICK)
    for step in steps:
        step.make(run)
    layers = 1  # on AlexNet's features, made by the first attack on them
    material = cars.material(found, run.train, profile.cars, run.seeds.split)
    quocnets = cars.variants(material, profile.cars)
    stages = len(quocnets) * (TINY.num_stages - 1)  # all of one QuocNet are one step
    kinks = 3  # beside the small network both attacks on it and the nearest images, which are one step
    num_made = len(steps) + layers + stages + kinks
    assert run.store.num_made == num_made
    assert len({step.name for step in steps}) == len(steps)
    assert sum("encoded" in step.name for step in steps) == 3

    for name in (*mnist.TABLE1, "Conv"):
        run.adversarial(run.trained(name), run.train.take(12))
    for name in mnist.HALVES:
        run.adversarial(run.trained_on_half(name), run.attacked_test)
    for label in profiles.AUTOENCODER_VARIANTS:
        run.with_autoencoder(label).trained("AE400-10")
    for rule in DecayRule:
        for name in mnist.LINEAR:
            run.trained(name, rule)
    for seed in range(profile.units.num_networks):
        run.with_seed(seed).trained("Conv")
    unsaid.decayed(run)
    unsaid.of_six_per_cent(run)
    scale = run.profile.photographs
    for subject in photographs.subjects(found, scale, run.store, run.device)[0].values():
        for goals in subject.goals(seeds.generator(run.seeds.targets)).values():
            photographs.attack(subject, goals, scale.attack, run.store)
    for learner in quocnets.values():
        cars.learned(*learner, run.seeds, run.store)
    scale, images = profile.pools, (run.train, run.test)
    pools.Comparison.of(*images, pools.ways(scale), scale.num_seeds, run.store)
    pools.Comparison.of(*images, pools.variants(scale), scale.num_variant_seeds, run.store)
    assert run.store.num_made == num_made


def test_the_longest_come_first_and_attacks_after_the_networks():
    steps = plan.book(QUICK)
    first_attack = next(i for i, step in enumerate(steps) if step.name.startswith("attack"))
    seconds = [step.seconds for step in steps[:first_attack]]
    assert seconds == sorted(seconds, reverse=True)
    assert all(step.name.startswith("attack") for step in steps[first_attack:])
