"""What is left of adversarial pictures: farther, as bytes, before other networks and beside noise."""

import numpy as np
import pytest
import torch
from torch import nn

from lib.attacks import penalized
from lib.measures import aftermath, intervals
from lib.measures.aftermath import FACTORS
from lib.measures.intervals import percent
from tests.networks_made import TwoSided

torch.set_num_threads(1)

SHAPE = (3, 8, 8)
NUM_VALUES = 3 * 8 * 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def plane() -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear network, pictures in the middle of the box, the nearest points of its plane, and the classes there."""
    network, inputs = TwoSided(NUM_VALUES).eval(), 0.5 + 0.05 * torch.randn(6, NUM_VALUES, generator=generator(2))
    targets = 1 - network(inputs).argmax(dim=1)
    weight = network.weight
    step = -((inputs - 0.5) @ weight / weight.square().sum())[:, None] * weight
    return network, inputs, inputs + 1.001 * step, targets


# --- Farther the same way -------------------------------------------------------------------------


def test_twice_the_perturbation_mirrors_the_probability_of_a_linear_network(plane):
    """At the plane both classes have 1/2, and as far beyond it as the picture was before, the two have swapped."""
    network, inputs, adversarial, targets = plane
    cells = aftermath.farther(network, inputs, adversarial, targets, factors=(1.0, 2.0))
    assert cells["probability, times 1"].value == pytest.approx(0.5, abs=0.01)
    before = aftermath.probability(network, inputs, targets)
    torch.testing.assert_close(before, network(inputs).softmax(dim=1)[range(6), targets])
    assert cells["probability, times 2"].value == pytest.approx(float(1 - before.mean()), abs=0.01)
    for column in ("as found, times 1 (%)", "as found, times 2 (%)", "as bytes, times 2 (%)"):
        assert cells[column] == pytest.approx(percent(6, 6))


def told_of(row: str, plane) -> dict:
    return {(row, column): estimate.value for column, estimate in aftermath.farther(*plane).items()}


def test_curves_are_the_cells_in_per_cent(plane):
    told = told_of("case", plane)
    (curves,) = aftermath.by_factor(told).values()
    assert list(curves) == ["exact", "as bytes", "probability"]
    assert curves["exact"].tolist() == [100.0] * len(FACTORS)
    assert curves["probability"][0] == pytest.approx(100 * told["case", "probability, times 1"])
    (nothing,) = aftermath.by_factor({}).values()
    assert all(np.isnan(values).all() for values in nothing.values())


def test_between_the_factors_it_is_interpolated_and_beyond_them_it_stays(plane):
    told = told_of("case", plane)
    given = [aftermath.at_length({"case": factor}, told)["case"] for factor in (1.0, 1.05, 1.1, 4.0, 9.0)]
    assert given[1] == pytest.approx((given[0] + given[2]) / 2)
    assert given[3] == given[4] == pytest.approx(100 * told["case", "probability, times 4"])
    assert aftermath.at_length({"another case": 2.0}, told) == {}


# --- Before other networks ------------------------------------------------------------------------


def test_controls_are_as_far_away_as_what_they_are_compared_with(plane):
    _, inputs, adversarial, _ = plane
    sets = aftermath.controls(inputs, adversarial, generator())
    sizes = {name: penalized.distortion(images, inputs).sort().values for name, images in sets.items()}
    assert list(sets) == ["its own", "that of another", "noise"]
    others = sets["that of another"] - inputs
    torch.testing.assert_close(others[1:], (adversarial - inputs)[:-1], rtol=0, atol=1e-6)
    for size in sizes.values():
        torch.testing.assert_close(size, sizes["its own"], rtol=1e-3, atol=1e-7)
    loud = aftermath.amplified(inputs, adversarial, 0.03)
    torch.testing.assert_close(penalized.distortion(loud, inputs), torch.full((6,), 0.03), rtol=1e-3, atol=0)


def test_moved_counts_changes_of_mind(plane):
    network, inputs, adversarial, _ = plane
    assert aftermath.moved(network, inputs, adversarial) == percent(6, 6)
    assert aftermath.moved(network, inputs, inputs) == percent(0, 6)
    half = torch.cat([adversarial[:3], inputs[3:]])
    assert aftermath.moved(network, inputs, half) == percent(3, 6)


def test_noise_takes_of_the_lead_what_it_takes(plane):
    """Halfway to the plane takes half of a linear network's lead, and beyond the plane the first guess goes."""
    network, inputs, adversarial, targets = plane
    halfway = inputs + (adversarial - inputs) / 2
    cells = aftermath.beside_noise(network, inputs, halfway)
    expected = intervals.mean(penalized.lead(network(inputs), 1 - targets).numpy())
    assert cells["lead"] == expected
    assert cells["lost to noise"].value == pytest.approx(expected.value / 2, rel=1e-2)
    assert cells["moved by noise (%)"] == percent(0, 6)
    assert aftermath.beside_noise(network, inputs, adversarial)["moved by noise (%)"] == percent(6, 6)


def test_ratios_are_of_rows_that_have_both():
    told = {("a", "q"): 3.0, ("a", "p"): 2.0, ("b", "q"): 1.0}
    assert aftermath.ratios(told, "q", "p") == {"a": 1.5}
    assert aftermath.ratios({}, "q", "p") == {}


def test_what_is_saved_is_compared_image_by_image():
    """Of three images rounding takes the target from one; two of the nearest on levels are farther, one is not."""
    network = nn.Linear(1, 2).requires_grad_(False).eval()
    network.weight.copy_(torch.tensor([[0.0], [1.0]]))
    network.bias.copy_(torch.tensor([100.4 / 255, 0.0]))
    inputs, levels = torch.full((3, 1), 90 / 255), torch.tensor([[101.0], [101.0], [102.0]])
    adversarial = torch.tensor([[100.45], [100.6], [102.0]]) / 255
    length = ((levels / 255) - inputs).abs()[:, 0]
    targets, success = torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool)
    cells = aftermath.saved(network, inputs, targets, adversarial, length, success)
    assert [round(cells[name].value, 3) for name in aftermath.SAVED[:2]] == [66.667, 100]
    farther = 100 * (11 / 10.45 - 1 + 11 / 10.6 - 1) / 3
    assert cells["farther by (%)"].value == pytest.approx(farther, rel=1e-3)
