"""What the paper leaves open, on networks that are hardly trained: each reading is measured as it is named."""

import math
from dataclasses import replace

import pytest
import torch

from lib.attacks.lengths import LEAST_PRICE
from lib.experiments import digits, unsaid
from lib.experiments.profiles import UnsaidConfig
from lib.measures import averages, candidates, effects
from lib.networks import mnist
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.training import TrainingConfig
from lib.record.tables import Told
from lib.store.calls import Store

torch.set_num_threads(1)
SMALL = UnsaidConfig(num_images=6, divisors=(1, 2, 10), decays=(10,), shares=(3,))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = digits.begin("unsaid", "quick", "digits", "cpu", 0)
    profile = replace(
        run.profile,
        unsaid=SMALL,
        training=TrainingConfig(max_iterations=20),
        autoencoder=AutoencoderConfig(max_iterations=4, num_images=50),
    )
    store = Store(tmp_path_factory.mktemp("store"))
    return replace(run, profile=profile, train=run.train.take(120), test=run.test.take(40), store=store)


@pytest.fixture(scope="module")
def attacked(run):
    """A network, the images that it is attacked on, and the lengths that the attack finds."""
    trained, images = run.trained("softmax 1e-2"), run.train.take(SMALL.num_images)
    return trained.network, images, run.adversarial(trained, images).distortion


def test_two_is_the_books_divisor_and_a_larger_one_leaves_larger_weights(run):
    cells = unsaid.decayed(run)
    assert len(cells) == 3 * 3 * 2
    for name in mnist.LINEAR:
        for error, estimate in run.errors(run.trained(name)).items():
            assert cells[name, f"k = 2, {error}"] == estimate
    norms = [float(run.with_decay("softmax 1", 2 / k).network[0].weight.norm()) for k in SMALL.divisors]
    assert norms == sorted(norms)


def test_the_divisor_at_which_all_errors_are_printed_is_found():
    """Errors that fall by a point for each factor of e, and are the printed ones at 3."""
    grid, printed = UnsaidConfig(1).divisors, {}
    told = Told()
    for name in mnist.LINEAR:
        for i, error in enumerate(("training error (%)", "test error (%)")):
            printed[name, error] = 5.0 + i
            told |= {(name, f"k = {k:g}, {error}"): 5 + i - math.log(k / 3) for k in grid}
    best = unsaid.best_divisors(unsaid.off_printed(told, printed, grid), grid)
    assert [*best] == [*mnist.LINEAR, unsaid.FIRST_TWO, "all three"]
    for k, miss, low, high in best.values():
        assert k == pytest.approx(3, rel=0.01)
        assert miss == pytest.approx(0, abs=0.01)
        assert low < k < high
    unknown = unsaid.best_divisors(unsaid.off_printed(Told(), printed, grid), grid)
    assert unsaid.in_words(unknown)[0] == [mnist.LINEAR[0], *["not measured"] * 3]


def test_a_random_target_is_the_attacks_own_and_lies_between_the_nearest_and_the_farthest(run, attacked):
    network, images, distortion = attacked
    read = unsaid.targeted(run, network, images)
    assert read[candidates.RANDOM].value == pytest.approx(float(distortion.mean()), rel=0.01)
    assert read[candidates.NEAREST].value < read[candidates.RANDOM].value < read[candidates.FARTHEST].value


def test_the_mean_is_the_attacks_and_one_price_for_all_is_no_shorter(run, attacked):
    network, images, distortion = attacked
    read = unsaid.averaged(run, network, images)
    assert [*read] == [*unsaid.AVERAGES]
    assert read[averages.MEAN].value == pytest.approx(float(distortion.mean()), rel=1e-3)
    assert min(read[name].value for name in unsaid.SHARED) >= 0.98 * read[averages.MEAN].value


def test_coarser_searches_are_longer_and_the_smallest_price_is_the_longest(run, attacked):
    network, images, distortion = attacked
    read = {name: estimate.value for name, estimate in unsaid.searched(run, network, images).items()}
    assert [*read] == [*unsaid.SEARCHES]
    halved, _, by_tenths = unsaid.HALVED
    assert float(distortion.mean()) < read[halved] < read[unsaid.SMALLEST]
    assert read[by_tenths] < read[unsaid.SMALLEST] == max(read.values())
    assert LEAST_PRICE < 1e-4


def test_every_network_is_read_and_heard_under_noise(run):
    cells = unsaid.for_each(run, lambda run, network, images: {"mean": effects.exactly(len(images))})
    assert cells == {(name, "mean"): effects.exactly(SMALL.num_images) for name in mnist.TABLE1}
    silent = unsaid.under_noise(run, stddev=0)
    for name in mnist.TABLE1:
        right = 100 - run.errors(run.trained(name))["test error (%)"].value
        assert silent[name, unsaid.NOISE].value == pytest.approx(right)
        assert silent[name, unsaid.CLAMPED].value == pytest.approx(right)


def test_more_decay_and_fewer_images_are_other_networks(run):
    cells = unsaid.of_six_per_cent(run)
    assert [row for row, _ in cells] == [unsaid.AS_IT_IS, "decay times 10", "1/3 of the images"]
    assert cells[unsaid.AS_IT_IS, unsaid.TEST] == run.errors(run.trained(unsaid.SIX))[unsaid.TEST]
    assert len(run.part(3)) == 40


def test_amplification_is_told_over_the_size_before():
    rows = {"distorted for {}": 0.05, "{} as printed": 0.01, "{} amplified to 0.1": 0.1}
    told = Told({(row.format(n), "distortion"): size for row, size in rows.items() for n in mnist.HALVES})
    printed, by_image, one_factor = unsaid.amplified(told)
    assert printed == ["as printed", "0.0100", "-80.00"]
    assert by_image == ["image by image", "0.1000", "100.00"]
    assert one_factor == ["one factor", "not recorded", "not recorded"]


def test_what_is_off_is_said_in_per_cent_and_what_is_not_known_is_not_said():
    assert unsaid.off_in_words({"a": 1.54, "b": 0.9, "c": 1}, "abcd") == ["+54", "-10", "+0", "–"]
