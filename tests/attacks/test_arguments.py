"""What people hand in: refused with its cure, warned of, or attacked as it should be."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.attacks import levels, penalized, tight
from lib.attacks.arguments import AlreadyTargetsWarning, KindError
from lib.attacks.penalized import AttackConfig, find_adversarial, find_nearest_adversarial, random_targets
from lib.attacks.tight import TightConfig
from lib.measures import certificates
from tests import doors
from tests.doors import (
    CONSTANTS,
    DOORS,
    ELSEWHERE,
    INPUTS,
    LABELS,
    LAYERS,
    LINEAR,
    NETWORK,
    NUM_CLASSES,
    TARGETS,
    N,
    generator,
)

# --- Images and classes ---------------------------------------------------------------------------


def with_nan() -> torch.Tensor:
    inputs = INPUTS.clone()
    inputs[1, 3] = torch.nan
    return inputs


BAD_INPUTS = {
    "normalised": ((INPUTS - 0.13) / 0.3, r"not in \[-0.3.*undo the normalisation by mean and standard deviation"),
    "times 255": (255 * INPUTS, r"inputs must lie in \[0, 1\], not in .*: divide pixels by .* / 255"),
    "a little beyond": (INPUTS.clone().index_fill_(0, torch.tensor([0]), 1 + 1e-6), r"1.00000.*use inputs.clamp\(0, 1"),
    "nan": (with_nan(), r"inputs must lie in \[0, 1\], and 1 of 8 hold nan or inf"),
    "infinite": (INPUTS / 0, r"inputs must lie in \[0, 1\], and 8 of 8 hold nan or inf"),
    "bytes": ((255 * INPUTS).to(torch.uint8), r"floating.*not torch.uint8: use inputs.float\(\) / 255"),
    "integers": (INPUTS.long(), r"floating.*not torch.int64: use inputs.float\(\)"),
    "half": (INPUTS.half(), r"not torch.float16: use inputs.float\(\).*network\(x.half\(\)\)"),
    "bfloat16": (INPUTS.bfloat16(), "not torch.bfloat16: use inputs.float"),
    "NumPy": (INPUTS.numpy(), r"inputs must be a torch.Tensor, not ndarray: use torch.as_tensor\(inputs\)"),
    "a list": (INPUTS.tolist(), "inputs must be a torch.Tensor, not list"),
    "none": (INPUTS[:0], r"inputs must be N >= 1 images, .*\(0, 12\)"),
    "one image": (INPUTS[0], r"inputs must be N >= 1 images.*\(12,\): of one image use inputs\[None\]"),
    "no pixels": (INPUTS[:, :0], "inputs must be N >= 1 images"),
    "arguments in another order": (
        NETWORK,
        "inputs must be a torch.Tensor, not Sequential: are the arguments in order",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
@pytest.mark.parametrize("door", DOORS)
def test_inputs_that_are_no_images_are_refused_with_their_cure(door, case):
    inputs, message = BAD_INPUTS[case]
    with pytest.raises(ValueError, match=message):
        DOORS[door](NETWORK, inputs, TARGETS)


BAD_CLASSES = {
    "one-hot": (F.one_hot(TARGETS, NUM_CLASSES), r"one class for each of 8.*\(8, 4\): of one-hot rows use .*argmax"),
    "float one-hot": (F.one_hot(TARGETS, NUM_CLASSES).float(), r"\(8, 4\): of one-hot rows use .*\.argmax\(dim=1\)"),
    "a column": (TARGETS[:, None], r"not of shape \(8, 1\): use .*\[:, 0\]"),
    "floats": (TARGETS.float(), r"must be integers, not torch.float32: use .*\.long\(\)"),
    "booleans": (TARGETS > 0, "must be integers, not torch.bool"),
    "a list": (TARGETS.tolist(), r"must be a torch.Tensor \(8,\), not list: use torch.as_tensor"),
    "NumPy": (TARGETS.numpy(), r"must be a torch.Tensor \(8,\), not ndarray: use torch.as_tensor"),
    "a number": (3, r"not int: use torch.full\(\(8,\), 3\)"),
    "too few": (TARGETS[:3], r"one class for each of 8 inputs, \(8,\), not of shape \(3,\)"),
    "beyond": (TARGETS + 4, "must be classes, 0 to 3, not"),
    "below": (TARGETS - 4, "must be classes, 0 to 3, not -"),
    "counted from 1": (torch.arange(N) % 4 + 1, "not 1 to 4: counted from 0, 4 are classes 0 to 3, use .* - 1"),
    "elsewhere": (TARGETS.to("meta"), r"on cpu, not on meta: use .*\.to\(inputs.device\)"),
}


@pytest.mark.parametrize("case", BAD_CLASSES)
@pytest.mark.parametrize("door", DOORS)
def test_classes_that_are_none_are_refused_with_their_cure(door, case):
    classes, message = BAD_CLASSES[case]
    name = "labels" if door == "nearest" else "targets"
    with pytest.raises(ValueError, match=f"^{name} .*{message}|^{name} {message}"):
        DOORS[door](NETWORK, INPUTS, classes)


def test_what_is_of_the_wrong_kind_is_a_type_error_too():
    with pytest.raises(TypeError):
        find_adversarial(NETWORK, INPUTS.numpy(), TARGETS)
    with pytest.raises(TypeError):
        find_adversarial(NETWORK, INPUTS, TARGETS.float())
    assert issubclass(KindError, ValueError)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_integers_of_any_width_are_classes(dtype):
    expected, result = (find_adversarial(NETWORK, INPUTS, targets) for targets in (TARGETS, TARGETS.to(dtype)))
    assert torch.equal(result.adversarial, expected.adversarial)


# --- Settings -------------------------------------------------------------------------------------

NAN = float("nan")
SETTINGS = {
    AttackConfig: {
        "tolerance": [NAN, -1e-3, 1.0, "3e-4"],
        "max_searches": [0, -1, 2.5, True],
        "max_secants": [-1],
        "inner_tolerance": [NAN, -1e-2, float("inf")],
        "decrease": [NAN, -1e-3],
        "margin_fraction": [NAN, -1e-4, 1.0, 5.0],
        "chunk_size": [0, 1.5],
        "solver": [None],
    },
    TightConfig: {
        "start": [None],
        "tolerance": [NAN, -1.0],
        "gain": [NAN, -1e-5],
        "num_rivals": [0],
        "max_iterations": [0],
        "max_halvings": [-1],
        "kinked": [NAN, -0.1, 1.0],
        "num_descents": [-1],
        "num_smoothed": [0],
        "displacement": [NAN, -0.1],
        "seed": [-1],
        "margin_fraction": [NAN, 1.0, 5.0],
        "chunk_size": [0],
    },
}


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [(config, name, value) for config, names in SETTINGS.items() for name, values in names.items() for value in values],
)
def test_a_setting_that_cannot_work_is_refused_by_its_name_and_what_was_given(config, name, value):
    given = type(value).__name__ if value is None else str(value)
    with pytest.raises(ValueError, match=f"^{name} must be .*{re.escape(given)}"):
        config(**{name: value})
    with pytest.raises(ValueError, match=f"^{name} must be "):
        replace(config(), **{name: value})


def test_every_setting_is_looked_at():
    for config, names in SETTINGS.items():
        assert set(names) == set(vars(config()))


@pytest.mark.parametrize("whole", [np.int64, np.uint8])
def test_whole_numbers_of_numpy_are_whole_numbers(whole):
    expected = find_adversarial(NETWORK, INPUTS, TARGETS, AttackConfig(chunk_size=3))
    found = find_adversarial(NETWORK, INPUTS, TARGETS, AttackConfig(chunk_size=whole(3), tolerance=np.float64(1e-3)))
    assert found.success.equal(expected.success)
    tight.find_adversarial(NETWORK, INPUTS, TARGETS, TightConfig(chunk_size=whole(3)))
    levels.to_levels(NETWORK, INPUTS, TARGETS, found.adversarial, chunk_size=whole(3))


def test_a_fraction_is_refused_before_torch_does():
    with pytest.raises(TypeError, match="tolerance must be a number, not Fraction"):
        AttackConfig(tolerance=Fraction(1, 3000))


@pytest.mark.parametrize("setting", [{"seed": 2**63}, {"num_descents": 65}])
def test_descents_begin_at_finite_lengths_from_seeds_that_torch_knows(setting):
    with pytest.raises(ValueError, match=r"num_descents must be at most 64.* and seed below"):
        TightConfig(**setting)


def test_a_margin_in_logits_is_told_from_a_fraction():
    with pytest.raises(ValueError, match=r"fraction of what .* lacks .* other libraries call confidence or kappa"):
        AttackConfig(margin_fraction=5.0)


@pytest.mark.parametrize("config", [AttackConfig, TightConfig])
@pytest.mark.parametrize("name", ["confidence", "kappa"])
def test_what_other_libraries_call_a_margin_is_told_apart_from_ours(config, name):
    with pytest.raises(TypeError, match=f"^{config.__name__} has no {name}, but a margin_fraction: it is a"):
        config(**{name: 5.0})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_adversarial(NETWORK, INPUTS, TARGETS, TightConfig()), "class AttackConfig, not TightConfig"),
        (lambda: find_nearest_adversarial(NETWORK, INPUTS, LABELS, None), "class AttackConfig, not NoneType"),
        (lambda: tight.find_adversarial(NETWORK, INPUTS, TARGETS, AttackConfig()), "class TightConfig, not AttackC"),
        (lambda: tight.tighten(NETWORK, INPUTS, TARGETS, INPUTS, AttackConfig()), "class TightConfig, not AttackC"),
        (lambda: penalized.lengths_at(NETWORK, INPUTS, TARGETS, torch.ones(N), 3), "class AttackConfig, not int"),
    ],
)
def test_another_functions_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=f"config must be of the {message}"):
        call()


# --- What only some of them are given -------------------------------------------------------------


@pytest.mark.parametrize(
    ("c", "message"),
    [
        (0.1, r"c must be a torch.Tensor \(8,\), not float: use inputs.new_full"),
        (torch.ones(3), r"c, a price of .*, must be \(8,\), torch.float32 on cpu as inputs are, not \(3,\)"),
        (torch.ones(N, dtype=torch.float64), "not .*torch.float64"),
        (-torch.ones(N), "c, the price of .*, must be finite and 0 or more"),
        (torch.full((N,), torch.nan), "c, the price of .*, must be finite and 0 or more"),
    ],
)
@pytest.mark.parametrize("function", [penalized.minimize_penalized, penalized.lengths_at])
def test_prices_that_are_none_are_refused(function, c, message):
    with pytest.raises(ValueError, match=message):
        function(NETWORK, INPUTS, TARGETS, c)


@pytest.mark.parametrize("function", [penalized.minimize_penalized, penalized.lengths_at])
def test_where_rows_are_needed_images_are_refused_with_the_cure(function):
    network = nn.Sequential(nn.Flatten(), NETWORK).eval()
    with pytest.raises(ValueError, match=r"flat here.*inputs.flatten\(1\).*unflatten\(1, \(3, 4\)\)"):
        function(network, INPUTS.view(-1, 3, 4), TARGETS, torch.ones(N))


@pytest.mark.parametrize(
    ("labels", "num_classes", "source", "message"),
    [
        ([1, 2], 4, generator(), r"labels must be a torch.Tensor \(N,\), not list"),
        (F.one_hot(LABELS, 4), 4, generator(), r"labels .* not of shape \(8, 4\): of one-hot rows"),
        (LABELS.float(), 4, generator(), "labels must be integers"),
        (LABELS + 1, 3, generator(), "labels must be classes, 0 to 2"),
        (LABELS, 1, generator(), "num_classes must be at least 2 classes, not 1"),
        (LABELS, 4.0, generator(), "num_classes must be a whole number, not 4.0"),
        (LABELS, 4, 0, r"generator must be a torch.Generator, not int: .*manual_seed\(0\)"),
    ],
)
def test_targets_are_drawn_for_labels_only(labels, num_classes, source, message):
    with pytest.raises(ValueError, match=message):
        random_targets(labels, num_classes, source)


@pytest.mark.parametrize(
    ("adversarial", "message"),
    [
        (2 * INPUTS, r"adversarial must lie in \[0, 1\] as inputs do"),
        (INPUTS * torch.nan, r"adversarial must lie in \[0, 1\]"),
        (INPUTS[:3], r"adversarial must have the inputs' shape \(8, 12\), not \(3, 12\)"),
        (INPUTS.double(), r"adversarial must be torch.float32.*adversarial.to\(inputs\)"),
        (INPUTS.numpy(), "adversarial must be a torch.Tensor"),
    ],
)
def test_starts_that_are_none_are_refused(adversarial, message):
    with pytest.raises(ValueError, match=message):
        tight.tighten(NETWORK, INPUTS, TARGETS, adversarial)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: certificates.certify(LAYERS, CONSTANTS, INPUTS, TARGETS, -1), "num_enclosed must be at least 0"),
        (lambda: certificates.certify(LAYERS, {"": torch.ones(3, 3)}, INPUTS, TARGETS, 1), r"constants must be \(4, 4"),
        (lambda: certificates.lipschitz_constants(LAYERS, INPUTS), r"image must be one, .*use inputs\[:1\]"),
        (lambda: certificates.lipschitz_constants(LAYERS, INPUTS[:1] / 0), "image must be finite"),
        (lambda: certificates.slopes(LAYERS, with_nan(), LABELS, TARGETS), "inputs must be finite"),
        (lambda: certificates.slopes(LAYERS, INPUTS, LABELS, TARGETS + 9), "second must be classes, 0 to 3"),
        (lambda: certificates.slopes(LAYERS, INPUTS, LABELS.tolist(), TARGETS), "first must be a torch.Tensor"),
        (lambda: certificates.enclose(LAYERS, INPUTS, -torch.ones(N)), "radius must be a distance of 0 or more"),
        (lambda: certificates.enclose(LAYERS, INPUTS, torch.ones(3)), "radius must be a distance of 0 or more"),
        (lambda: certificates.enclose(LAYERS, with_nan(), torch.ones(N)), "inputs must be finite"),
        (lambda: certificates.enclosed_distance(LAYERS, INPUTS, TARGETS, None), "start must be a torch.Tensor"),
        (lambda: certificates.enclosed_distance(LAYERS, INPUTS, TARGETS, torch.ones(N), 0), "num_steps must be at"),
        (
            lambda: certificates.certify(ELSEWHERE, {}, INPUTS, TARGETS, 1),
            "inputs must be on meta as network is, not on cpu",
        ),
    ],
)
def test_what_a_certificate_cannot_be_of_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- Targets that are probably not meant ------------------------------------------------------------

ALL_TARGETED = {name: door for name, door in DOORS.items() if name not in ("nearest", "linear_estimate")}


@pytest.mark.parametrize("door", ALL_TARGETED)
def test_labels_given_as_targets_are_warned_of_once(door):
    labels = LINEAR(INPUTS).argmax(dim=1) if door == "exact" else LABELS
    with pytest.warns(AlreadyTargetsWarning, match="8 of 8 inputs their target as they are.*not the labels") as caught:
        ALL_TARGETED[door](NETWORK, INPUTS, labels)
    assert [warning.filename in (__file__, doors.__file__) for warning in caught] == [True]


def test_a_few_inputs_of_their_target_class_are_nothing_to_warn_of():
    """Nor for any that were drawn by chance: warnings are errors here."""
    mixed = torch.where(torch.arange(N) < N // 2, LABELS, TARGETS)
    result = find_adversarial(NETWORK, INPUTS, mixed)
    assert result.distortion[: N // 2].tolist() == [0] * (N // 2)
    assert (result.distortion[N // 2 :] > 0).all()
