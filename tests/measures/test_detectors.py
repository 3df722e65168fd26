"""The best threshold is the one that trying them all would give, and a detector is judged by what it has not seen."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib.measures.detectors import accuracies, best

torch.set_num_threads(1)


def tried(responses: Tensor, is_it: Tensor) -> float:
    """The best accuracy of "above the threshold", over thresholds on either side of every response."""
    places = np.concatenate([[-np.inf], np.unique(responses.numpy())])
    return max(float(((responses > t) == is_it).double().mean()) for t in places)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=12),
    st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_no_threshold_does_better(examples, seed):
    """Whole numbers, so that responses tie."""
    values, is_it = (torch.tensor(part) for part in zip(*examples, strict=True))
    other = torch.randint(-3, 4, values.shape, generator=torch.Generator().manual_seed(seed))
    responses = torch.stack([values, other], dim=1).double()
    rates, thresholds = accuracies(responses, is_it)
    for unit in range(2):
        assert float(rates[unit]) == tried(responses[:, unit], is_it)
        said = responses[:, unit] > thresholds[unit]
        assert float((said == is_it).double().mean()) == float(rates[unit])


def test_the_unit_that_knows_is_found_among_those_that_do_not():
    generator = torch.Generator().manual_seed(0)
    is_it = torch.arange(200) % 2 == 0
    responses = torch.randn(200, 30, generator=generator)
    responses[:, 17] += 3 * is_it
    found = best(responses, is_it)
    assert found.unit == 17
    assert found.accuracy == accuracies(responses, is_it)[0].max()
    assert 0 < found.threshold < 3


def test_a_unit_that_is_silent_for_the_class_is_no_detector_of_it():
    """It says yes above its threshold: the best of a unit that points the other way is to say one thing of all."""
    is_it = torch.tensor([True, True, False, False])
    rates, _ = accuracies(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), is_it)
    assert rates.tolist() == [0.5]
