"""lib/experiments/certification.py: certificates meet the attack that was made for the same images and targets."""

from dataclasses import replace

import pytest

from lib.experiments import certification, digits
from lib.measures import certificates, certified
from lib.measures.certificates import PAIRS
from lib.networks import mnist
from lib.networks.training import TrainingConfig
from lib.store.calls import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> digits.Experiment:
    """Scikit-learn's digits, few of them, and networks that are hardly trained: certificates hold for those, too."""
    run = digits.begin("certificates", "quick", "digits", "cpu", 0)
    scale = replace(
        run.profile, num_attacked=12, num_enclosed=3, num_tightened=4, training=TrainingConfig(max_iterations=10)
    )
    store = Store(tmp_path_factory.mktemp("store"))
    return replace(run, profile=scale, train=run.train.take(200), test=run.test.take(20), store=store)


@pytest.fixture(scope="module")
def trials(run) -> dict[str, certified.Trial]:
    return certification.attacked(run, [*mnist.LINEAR, "100-100-10"])


def test_no_attack_refutes_a_certificate(run, trials):
    tight, optima = certification.tightened(run, trials), certification.optima(run, trials)
    for met in (trials, certification.halves(run), tight, optima):
        assert max(share.value for share in certified.shares(met).values()) <= 1 + 1e-7
    assert {len(trial.lengths) for trial in tight.values()} == {4}
    assert list(optima) == list(mnist.LINEAR)


def test_the_optimum_is_no_further_than_the_attack(run, trials):
    for name, trial in certification.optima(run, trials).items():
        assert (trial.lengths <= trials[name].lengths * (1 + 1e-6)).all()


def test_the_networks_of_table_3_bear_the_names_of_its_rows_and_meet_its_test_images(run):
    halves = certification.halves(run)
    assert list(halves) == list(digits.TABLE3.values())
    assert {len(trial.lengths) for trial in halves.values()} == {12}


def test_only_the_first_images_are_enclosed(trials):
    enclosed = trials["100-100-10"].certified.distances[certificates.ENCLOSED]
    assert enclosed.isfinite().tolist() == [True] * 3 + [False] * 9
    assert certificates.ENCLOSED not in trials["softmax 1"].certified.distances


def test_trials_are_made_once(run, trials):
    made = run.store.num_made
    again = certification.attacked(run, list(trials))
    assert run.store.num_made == made
    for name, trial in trials.items():
        assert (again[name].distances[PAIRS] == trial.distances[PAIRS]).all()
