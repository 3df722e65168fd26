"""Every case is asked what it costs to be saved, by what is nearest on the levels of a file."""

import pytest
import torch

from lib.attacks import levels, tight
from lib.experiments import saving
from lib.measures import aftermath
from lib.store.calls import Store
from tests.networks_made import smooth


def test_every_case_has_its_cells_and_they_are_those_of_the_images_on_levels(tmp_path):
    network, inputs = smooth(12)
    targets = (network(inputs).argmax(dim=1) + torch.tensor([0] + [1] * 11)) % 4  # the first has its target already
    near = tight.find_adversarial(network, inputs, targets)
    cells = saving.saved({"smooth": (network, inputs, targets, near.adversarial)}, Store(tmp_path))
    held = levels.to_levels(network, inputs, targets, near.adversarial)
    assert list(cells) == [("smooth", column) for column in aftermath.SAVED]
    assert cells["smooth", "on levels (%)"].value == 100 * float(held.success.float().mean())
    rows = held.success & (near.distortion > 0)
    ratio = (held.distortion[rows] / near.distortion[rows]).double().mean()
    assert cells["smooth", "farther by (%)"].value == pytest.approx(100 * float(ratio - 1), rel=1e-3)
    assert cells["smooth", "farther by (%)"].n == 11
