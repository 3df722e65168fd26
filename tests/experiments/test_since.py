"""What is asked in chapter `since_2013` has all its cells, is made once, and keeps to what is known beforehand."""

from dataclasses import replace

import pytest
import torch

from lib.experiments import digits, since
from lib.experiments.profiles import SinceScale
from lib.measures import neighbourhood
from lib.networks.training import TrainingConfig
from lib.store.calls import Store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> digits.Experiment:
    """Scikit-learn's digits, few of them, and networks that are trained a little."""
    whole = digits.begin("since_2013", "quick", "digits", "cpu", 0)
    scale = replace(
        whole.profile,
        num_attacked=12,
        training=TrainingConfig(max_iterations=30),
        since=SinceScale(num_around=10, num_directed=8, num_smoothed=4, num_votes=200),
    )
    return replace(whole, profile=scale, train=whole.train.take(200), store=Store(tmp_path_factory.mktemp("store")))


def test_noise_and_steps_are_asked_of_every_network_on_as_many_images(run):
    attacks = since.attacked(run)
    around, steps = since.around(run, attacks), since.steps(run, attacks)
    rows = {neighbourhood.row(name, factor) for name in since.NETWORKS for factor in neighbourhood.FACTORS}
    assert {row for row, _ in around} == rows
    assert {row for row, _ in steps} == set(since.NETWORKS)
    assert max(estimate.n for estimate in [*around.values(), *steps.values()]) <= 10


def test_a_linear_network_is_fooled_in_all_the_directions_that_its_nearest_plane_allows(run):
    """Beyond the plane it says another class, whichever: of these there may be more."""
    cells = since.directions(run)
    assert len(cells) == 2 * len(since.LENGTHS) * 4
    for stddev in since.LENGTHS:
        row = since.directed(since.STRAIGHT, stddev)
        assert cells[row, since.FOOL].value >= cells[row, since.FLAT].value
        assert cells[row, since.TOO].value <= cells[row, since.FOOL].value
    near, far = (cells[since.directed(since.BENT, stddev), since.FLAT].value for stddev in since.LENGTHS)
    assert 0 <= near < far


def test_no_smoothed_majority_is_lost_within_its_radius(run):
    cells = since.smoothed(run, since.BENT)
    assert {row for row, _ in cells} == {f"noise {stddev:g}" for stddev in since.STDDEVS}
    assert [e.value for (_, column), e in cells.items() if column == since.REFUTED] == [0, 0, 0]
    for stddev in since.STDDEVS:
        certified, attack, covered = (
            cells[f"noise {stddev:g}", column].value for column in (since.CERTIFIED, since.NEAREST, since.COVERED)
        )
        assert covered == pytest.approx(100 * certified / attack)


def test_what_takes_long_is_made_once(run):
    since.directions(run), since.smoothed(run, since.BENT)
    made = run.store.num_made
    again = since.directions(run) | since.smoothed(run, since.BENT)
    assert run.store.num_made == made
    assert again
