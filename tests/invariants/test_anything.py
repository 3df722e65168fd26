"""Whatever the public functions are handed: an answer that is one, or a refusal in their own words.

Never another's exception, a loop, or a point outside the box.
"""

import linecache
import traceback
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lib.attacks import branching, exact, penalized
from lib.measures import certificates, spectral
from lib.solvers import lbfgs, quadratic
from tests import doors
from tests.doors import INPUTS, LAYERS, LINEAR, NETWORK, NUM_PIXELS, TARGETS, N
from tests.metamorphic import SEEDS, examples

DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool,
    torch.complex64,
)  # fmt: skip
SHAPES = ((), (0,), (1,), (N,), (N, 1), (1, N), (N, NUM_PIXELS), (0, NUM_PIXELS), (1, NUM_PIXELS), (N, 3, 2, 2), (N, 4))
VALUES = (0.0, 1.0, 0.5, -1.0, 2.0, 255.0, 3.0, 4.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"))
OTHERS = (
    None,
    "images",
    0,
    1,
    -3,
    0.5,
    float("nan"),
    [0, 1, 2],
    (),
    {},
    np.zeros((N, NUM_PIXELS)),
    np.arange(N),
    object(),
)


@st.composite
def tensors(draw) -> torch.Tensor:
    """Right and wrong shapes, kinds and values; sometimes one wrong number among right ones."""
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    found = torch.rand(shape, generator=doors.generator(draw(SEEDS)))
    if draw(st.booleans()):
        found = torch.full(shape, draw(st.sampled_from(VALUES)))
    elif found.numel():
        found.view(-1)[0] = draw(st.sampled_from(VALUES))
    return found.nan_to_num(nan=3, posinf=3, neginf=-3).to(dtype) if not dtype.is_floating_point else found.to(dtype)


def anything():
    return st.one_of(tensors(), st.sampled_from(OTHERS))


# What networks do: each is given the images and what a well-behaved one says of them.
MANNERS = {
    "well": lambda z, logits: logits,
    "nothing": lambda z, logits: None,
    "a tuple": lambda z, logits: (logits, logits),
    "an array": lambda z, logits: logits.detach().numpy(),
    "no classes": lambda z, logits: logits[:, :0],
    "one class": lambda z, logits: logits[:, :1],
    "classes only": lambda z, logits: logits.argmax(dim=1),
    "another batch": lambda z, logits: logits[:1],
    "an axis more": lambda z, logits: logits[..., None],
    "integers": lambda z, logits: logits.long(),
    "half": lambda z, logits: logits.half(),
    "double": lambda z, logits: logits.double(),
    "complex": lambda z, logits: logits + 0j,
    "no gradient": lambda z, logits: logits.detach(),
    "constant": lambda z, logits: 0 * logits,
    "steps": lambda z, logits: logits.round(),
    "not a number": lambda z, logits: logits * torch.nan,
    "infinite": lambda z, logits: logits * torch.inf,
    "huge": lambda z, logits: logits * 1e30,
    "tiny": lambda z, logits: logits * 1e-30,
    "walls": lambda z, logits: torch.where(z.mean(dim=1, keepdim=True) > 0.5, logits, torch.nan),
    "gradients that are not numbers": lambda z, logits: logits + 0 * (z[:, :1] - z[:, :1].detach()).sqrt(),
    "probabilities": lambda z, logits: logits.softmax(dim=1),
    "in place": lambda z, logits: logits.add_(z.mul_(0.5).mean(dim=1, keepdim=True)),
    "dice": lambda z, logits: logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)),
}


def refused(call, *arguments) -> object:
    """What it answers, or None where it refuses in its own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that much is odd is said, too
        try:
            return call(*arguments)
        except Exception as error:
            *_, (frame, line) = traceback.walk_tb(error.__traceback__)
            ours = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
            networks = any("Raised by network" in note for note in getattr(error, "__notes__", ()))
            if not networks and not (ours and isinstance(error, TypeError | ValueError)):
                raise  # it came over one of lib's lines, which did not expect it
            return None


@pytest.mark.parametrize("door", doors.DOORS)
@examples(100)
@given(st.sampled_from(("network", "inputs", "targets")), anything())
def test_any_argument_is_answered_or_refused(door, name, wrong):
    arguments = {"network": NETWORK, "inputs": INPUTS, "targets": TARGETS} | {name: wrong}
    if door in doors.CERTIFICATES and name != "network":
        arguments["network"] = LAYERS
    before = INPUTS.clone()
    found = refused(doors.DOORS[door], *arguments.values())
    assert torch.equal(INPUTS, before)
    if found is not None and door in doors.FINDERS:
        doors.assert_consistent(found, arguments["inputs"])


@pytest.mark.parametrize("door", doors.FINDERS)
@pytest.mark.parametrize("manner", MANNERS)
def test_any_network_is_attacked_or_refused(door, manner):
    before = INPUTS.clone()
    found = refused(doors.FINDERS[door], lambda z: MANNERS[manner](z, NETWORK(z)), INPUTS, TARGETS)
    assert torch.equal(INPUTS, before)
    if found is not None:
        doors.assert_consistent(found, INPUTS)


@examples(150)
@given(st.sampled_from(("inputs", "targets", "adversarial", "max_relaxations")), anything())
def test_branch_and_bound_answers_or_refuses(name, wrong):
    network = nn.Sequential(nn.Linear(NUM_PIXELS, 3), nn.ReLU(), nn.Linear(3, 4)).requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=doors.generator(2)))
    some = {"inputs": INPUTS[:2], "targets": network(INPUTS[:2]).argmax(dim=1), "adversarial": INPUTS[:2]}
    refused(branching.minimum_perturbation, network, *(some | {"max_relaxations": 5} | {name: wrong}).values())


def valued(value, gradient):
    return lambda x, problem: (value(x), gradient(x))


OBJECTIVES = {
    "a bowl": valued(lambda x: (x**2).sum(dim=1), lambda x: 2 * x),
    "downhill for ever": valued(lambda x: x.sum(dim=1), torch.ones_like),
    "a lie": valued(lambda x: (x**2).sum(dim=1), lambda x: -2 * x),
    "not a number": valued(lambda x: x.sum(dim=1) * torch.nan, torch.ones_like),
    "a slope that is not a number": valued(lambda x: x.sum(dim=1), lambda x: x * torch.nan),
    "infinite": valued(lambda x: x.sum(dim=1) / 0, torch.ones_like),
    "steep": valued(lambda x: 1e30 * x.sum(dim=1), lambda x: 1e30 * torch.ones_like(x)),
    "flat": valued(lambda x: 0 * x.sum(dim=1), torch.zeros_like),
    "kinks": valued(lambda x: x.abs().sum(dim=1), torch.sign),
    "nothing": lambda x, problem: None,
    "one value": valued(lambda x: x.sum(), torch.ones_like),
    "a row too few": valued(lambda x: x[1:].sum(dim=1), torch.ones_like),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@examples(60)
@given(st.sampled_from(("start", "lower", "upper", "tolerance", "first_step", "decrease", "none")), anything())
def test_no_input_makes_a_minimiser_leave_the_box_or_call_converged_what_is_not(objective, name, wrong):
    right = {"start": INPUTS, "lower": 0.0, "upper": 1.0, "tolerance": 1e-3, "first_step": 1.0, "decrease": 0.0}
    arguments = right | ({} if name == "none" else {name: wrong})
    found = refused(lbfgs.minimize, OBJECTIVES[objective], *arguments.values())
    if found is None:
        return
    lower, upper = (torch.as_tensor(arguments[end], dtype=found.minimizer.dtype) for end in ("lower", "upper"))
    assert ((found.minimizer >= lower) & (found.minimizer <= upper)).all()
    value, gradient = OBJECTIVES[objective](found.minimizer.clone(), torch.arange(len(found.minimizer)))
    still = (found.minimizer - (found.minimizer - gradient).clamp(lower, upper)).norm(dim=1)
    allowed = torch.as_tensor(arguments["tolerance"], dtype=found.minimizer.dtype)
    assert (still <= 1.01 * allowed + 1e-6)[found.converged].all()
    assert value[found.converged].isfinite().all()


@examples(150)
@given(st.sampled_from(("slopes", "bounds", "lower", "upper", "start", "tolerance", "max_iterations")), anything())
def test_a_projection_lies_in_its_box_or_is_refused(name, wrong):
    box = torch.full((N, NUM_PIXELS), 0.5)
    right = {"slopes": torch.ones(N, 2, NUM_PIXELS), "bounds": torch.full((N, 2), 0.1), "lower": -box, "upper": box}
    arguments = right | {"start": None, "tolerance": 1e-9, "max_iterations": 20} | {name: wrong}
    found = refused(quadratic.project, *arguments.values())
    if found is not None:
        r = found.perturbation
        assert ((r >= arguments["lower"].to(r) - 1e-12) & (r <= arguments["upper"].to(r) + 1e-12)).all()


@examples(150)
@given(anything())
def test_norms_and_matrices_are_answered_or_refused(wrong):
    for call in (
        spectral.dense_bounds,
        lambda found: spectral.lipschitz(found, (NUM_PIXELS,)),
        lambda found: spectral.lipschitz(LINEAR, found),
        certificates.as_layers,
        lambda found: certificates.lipschitz_constants(LAYERS, found),
        lambda found: exact.minimum_perturbation(found, INPUTS, TARGETS),
        lambda found: penalized.random_targets(found, 4, doors.generator()),
    ):
        refused(call, wrong)
