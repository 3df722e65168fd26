"""What must not change an answer does not, and what every answer states of itself is found true by other means.

Random small networks (linear, sigmoid, rectified, convolutional; 2 to 10 classes), single and double precision, vectors
and images. Each relation says what it compares by: bits where the arithmetic stays the same, `assert_as_near` where it
is rounded otherwise, what is guaranteed where the answer itself may change.
"""

import copy
import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from lib.attacks import exact, penalized, tight
from lib.attacks.penalized import AttackConfig, find_adversarial, find_nearest_adversarial
from lib.measures import certificates
from tests import metamorphic
from tests.metamorphic import (
    BRIEF,
    BRIEF_TIGHT,
    SEEDS,
    SMOOTH,
    TOLERANCE,
    Problem,
    RowByRow,
    assert_as_near,
    assert_same_bits,
    examples,
    in_a_fixed_order,
    lead,
    lengths,
    permutation,
    problems,
    relative_change,
    verify,
)

pytestmark = pytest.mark.numerical


DENSE = ("linear", "sigmoid", "rectified")


def tightly(problem: Problem, config: tight.TightConfig = BRIEF_TIGHT) -> tight.TightResult:
    """By the tight attack; its facts are verified."""
    result = tight.find_adversarial(problem.network, problem.inputs, problem.targets, config)
    verify(problem, result)
    return result


ATTACKS = {"penalized": Problem.attack, "tight": tightly}
FINDERS = {Problem.attack: (find_adversarial, BRIEF), tightly: (tight.find_adversarial, BRIEF_TIGHT)}  # unverified
both_attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


# --- Logits ---------------------------------------------------------------------------------------


@both_attacks
@examples(16)
@given(problem=problems(), shift=st.floats(-1, 1))
def test_a_constant_added_to_all_logits_changes_nothing(attack, problem, shift):
    """As near; up to a million times the leads in double precision, which rounds them to 1e-10, up to 4 in single."""
    shift *= 4 if problem.inputs.dtype == torch.float32 else 2**20
    assert_as_near(attack(problem.with_network(lambda logits: logits + shift)), attack(problem))


@both_attacks
@examples(10)
@given(problem=problems(), quanta=st.sampled_from([2**-11, 2**-10, 2**-9]), sign=st.sampled_from([-1, 1]))
def test_a_constant_so_large_that_it_rounds_the_logits_costs_a_few_of_their_units(attack, problem, quanta, sign):
    """Next to a constant C logits are multiples of eps C: for half of the rows a lead of six such units is enough.

    How much longer that is for an answer without the constant its own ray tells, beyond which a search that sees no
    smaller differences may end up to a unit further out.
    """
    shift = sign * quanta / torch.finfo(problem.inputs.dtype).eps
    reference = attack(problem)
    longer = lengths(reference) * stretch_to_a_lead(problem, reference, 6 * quanta)
    shifted = lengths(attack(problem.with_network(lambda logits: logits + shift)))
    excess = torch.where(shifted <= longer, 0, (shifted / longer).log())
    assert excess.median() <= 2 * TOLERANCE


def stretch_to_a_lead(problem: Problem, result, ahead: float) -> Tensor:
    """The least of a grid of factors of r, (N,), from which on the target leads by `ahead`; inf where none is."""
    network, inputs = metamorphic.in_double(problem.network), problem.inputs.double()
    r = result.adversarial.double() - inputs
    stretch = torch.full((len(inputs),), torch.inf, dtype=torch.float64)
    for factor in np.linspace(1.2, 1, 201):
        leads = lead(network((inputs + factor * r).clamp(0, 1)), problem.targets)
        stretch = torch.where(leads >= ahead, factor, stretch)
    return stretch


MASKS = (-1e3, -1e5, -1e9, -1e14, -torch.inf)


def with_a_masked_class(problem: Problem, at: int, value: float) -> Problem:
    """One class more, `at` this place, whose logit is `value` whatever the image."""

    def masked(logits: Tensor) -> Tensor:
        return torch.cat([logits[:, :at], torch.full_like(logits[:, :1], value), logits[:, at:]], dim=1)

    problem = problem.with_network(masked)
    return Problem(problem.kind, problem.network, problem.inputs, problem.targets + (problem.targets >= at))


@pytest.mark.parametrize("value", MASKS)
@both_attacks
@examples(6)
@given(problem=problems(), place=st.floats(0, 1))
def test_a_class_that_is_masked_changes_nothing(attack, value, problem, place):
    """As near: exp(-1000) is 0, and next to it the others' sums may be taken in another order."""
    masked = with_a_masked_class(problem, round(place * problem.num_classes), value)
    assert_as_near(attack(masked), attack(problem))


@both_attacks
@examples(10)
@given(problem=problems())
def test_a_class_that_overflows_to_minus_infinity_changes_nothing(attack, problem):
    """As near: it is masked by its own arithmetic. Its gradient overflows, too, and would be no gradient of a rival."""
    large = torch.finfo(problem.inputs.dtype).max / 2

    def overflowing(images: Tensor) -> Tensor:
        logits = problem.network(images)
        outcast = -large * (4 * (2 + images.flatten(1).sum(dim=1, keepdim=True)))
        return torch.cat([logits, outcast], dim=1)

    masked = Problem(problem.kind, overflowing, problem.inputs, problem.targets)
    assert (masked.logits[:, -1] == -torch.inf).all()
    assert_as_near(attack(masked), attack(problem))


@pytest.mark.parametrize("value", MASKS)
@examples(4)
@given(problem=problems(num_rows=4), place=st.floats(0, 1))
def test_a_class_that_is_masked_is_never_reached(value, problem, place):
    """No success is claimed and the input given back, while the others are attacked as without it."""
    at = round(place * problem.num_classes)
    masked = with_a_masked_class(problem, at, value)
    mixed = masked.targets.clone()
    mixed[0] = at
    result = Problem(problem.kind, masked.network, problem.inputs, mixed).attack()
    assert not result.success[0]
    assert not result.converged[0]
    assert_as_near(
        penalized.AttackResult(**{name: values[1:] for name, values in vars(result).items()}),
        masked.attack(),
        slice(1, None),
    )


@examples(20)
@given(problem=problems(kinds=("linear",)), which=st.integers(0, 10**6))
def test_a_rival_that_is_there_twice_changes_no_optimum(problem, which):
    """The tight attack to its accuracy, 1e-3; the paper's, whose loss counts a rival twice, in whether it succeeds."""
    rival = (problem.targets + 1 + which % (problem.num_classes - 1)) % problem.num_classes
    rival = int(rival[0])
    kept = problem.targets != rival
    problem = problem.rows(kept)
    twice = problem.with_network(lambda logits: torch.cat([logits, logits[:, rival : rival + 1]], dim=1))
    assert torch.equal(twice.attack().success, problem.attack().success)
    assert_as_near(tightly(twice), tightly(problem), tolerance=5e-4)


@both_attacks
@examples(12)
@given(problem=problems())
def test_classes_that_are_all_there_twice_change_nothing(attack, problem):
    """The target's twin follows it, and of equals the first is said. As near; the twin alone is never said."""
    twice = problem.with_network(lambda logits: torch.cat([logits, logits], dim=1))
    assert_as_near(attack(twice), attack(problem))
    twins = Problem(problem.kind, twice.network, problem.inputs, problem.targets + problem.num_classes)
    assert not attack(twins).success.any()


@examples(20)
@given(problem=problems(num_rows=5), exponent=st.integers(-40, 40))
def test_logits_in_another_unit_are_tightened_to_the_same_image(problem, exponent):
    """Powers of two: all margins and slopes scale exactly. The needed lead, 1e-5 of the lead to make up, may have a
    unit of its own: as near as that."""
    start = problem.attack().adversarial
    scaled = problem.with_network(lambda logits: logits * 2.0**exponent)
    results = [tight.tighten(p.network, p.inputs, p.targets, start, BRIEF_TIGHT) for p in (scaled, problem)]
    assert_as_near(*results, tolerance=1e-5)


@examples(20)
@given(problem=problems(kinds=("linear",)), exponent=st.integers(-30, 60))
def test_on_a_linear_network_logits_in_another_unit_leave_the_tight_answer_at_the_optimum(problem, exponent):
    """From a start that has to be found in that unit, too. To the accuracy of the tight attack, 1e-3.

    The needed lead, 1e-5 of the lead to make up or 32 units of rounding, adds no more than 2e-4 in single precision.
    """
    scaled = problem.with_network(lambda logits: logits * 2.0**exponent)
    result = tightly(scaled, tight.TightConfig())
    nearest = metamorphic.nearest_of_a_linear_network(problem)
    clear = metamorphic.nearest_of_a_linear_network(problem, clear_lead(problem.num_classes) / 2.0**exponent)
    assert result.success[clear.isfinite()].all()
    assert not result.success[nearest.isinf()].any()
    assert (relative_change(lengths(result), nearest) <= 1e-3)[result.success].all()


@examples(20)
@given(problem=problems(kinds=("linear",), num_rows=5), exponent=st.integers(-10, 50))
def test_weights_in_another_unit_leave_success_and_no_shorter_multiple(problem, exponent):
    """All that is guaranteed, for the loss of scaled logits is another loss: success where some image is so clearly of
    the class that its loss is below log 2, which no other image can have; and what is shorter by twice the minimiser's
    tolerance is not enough: one that fails and ends the search is one to 1 %, of which 0.9 % have been seen."""
    scaled = copy.deepcopy(problem.network)
    for parameter in scaled.parameters():
        parameter.mul_(2.0**exponent)
    scaled = Problem(problem.kind, scaled, problem.inputs, problem.targets)
    result = scaled.attack(AttackConfig())
    clear = metamorphic.nearest_of_a_linear_network(problem, clear_lead(problem.num_classes) / 2.0**exponent)
    assert result.success[clear.isfinite()].all()
    assert_no_shorter_multiple(problem, result, result.success & result.converged, 2 * AttackConfig().inner_tolerance)


def clear_lead(num_classes: int) -> float:
    """Where the target leads all others by this the cross-entropy, log(1 + (K - 1) exp(-lead)) or less, is below log 2:
    so it is at the least of c|r| + loss for small prices c, and p > 1/2 there leads."""
    return math.log(num_classes - 1) + 0.1


def assert_no_shorter_multiple(problem: Problem, result, rows: Tensor, less: float = 3e-3) -> None:
    """Of a linear network, in double precision: 1 - `less` of r fails, or leads by no more than rounding."""
    inputs = problem.inputs.double()
    shorter = inputs + (1 - less) * (result.adversarial.double() - inputs)
    scale = 64 * torch.finfo(problem.inputs.dtype).eps * problem.logits.abs().amax(dim=1)
    assert (lead(metamorphic.in_double(problem.network)(shorter), problem.targets) <= scale)[rows].all()


@both_attacks
@examples(12)
@given(problem=problems(), seed=SEEDS)
def test_classes_by_other_names_change_nothing(attack, problem, seed):
    """The last layer's rows in another order, targets with them. As near: sums over classes are rounded otherwise."""
    order = permutation(problem.num_classes, seed)
    renamed = problem.with_network(lambda logits: logits[:, order])
    renamed = Problem(problem.kind, renamed.network, problem.inputs, order.argsort()[problem.targets])
    assert_as_near(attack(renamed), attack(problem))


# --- The batch ------------------------------------------------------------------------------------


def by_rows(problem: Problem) -> Problem:
    return Problem(problem.kind, RowByRow(problem.network), problem.inputs, problem.targets)


@examples(20)
@given(problem=problems(num_rows=st.integers(2, 5)), seed=SEEDS)
def test_problems_in_another_order_have_the_same_answers(problem, seed):
    """Bit for bit: where the network and the two products of matrices sum in a fixed order, nothing couples rows."""
    problem, order = by_rows(problem), permutation(len(problem.inputs), seed)
    with in_a_fixed_order():
        assert_same_bits(problem.rows(order).attack(), problem.attack(), order)


@examples(12)
@given(problem=problems(num_rows=st.integers(1, 3)), repeats=st.integers(2, 3))
def test_problems_repeated_have_the_same_answers_again(problem, repeats):
    """Bit for bit, as above."""
    problem = by_rows(problem)
    order = torch.arange(len(problem.inputs)).repeat(repeats)
    with in_a_fixed_order():
        assert_same_bits(problem.rows(order).attack(), problem.attack(), order)


@examples(12)
@given(problem=problems(num_rows=st.integers(2, 6)), chunk_size=st.integers(1, 5))
def test_a_batch_in_chunks_has_the_same_answers(problem, chunk_size):
    """Bit for bit, as above; a chunk of one is a batch of one."""
    problem = by_rows(problem)
    chunked = AttackConfig(max_searches=BRIEF.max_searches, solver=BRIEF.solver, chunk_size=chunk_size)
    with in_a_fixed_order():
        assert_same_bits(problem.attack(chunked), problem.attack())


@examples(12)
@given(problem=problems(num_rows=4), row=st.integers(0, 3))
def test_a_batch_of_one_has_its_rows_answer(problem, row):
    """Bit for bit, as above, whatever the neighbours are: one without answer is no exception."""
    problem = by_rows(problem)
    network = problem.network
    beaten = Problem(  # a class that is always behind, and is the neighbours' target
        problem.kind,
        lambda images: torch.cat([(z := network(images)), z[:, :1] - 1], dim=1),
        problem.inputs,
        torch.full_like(problem.targets, problem.num_classes).index_copy(
            0, torch.tensor([row]), problem.targets[[row]]
        ),
    )
    with in_a_fixed_order():
        assert_same_bits(beaten.rows([row]).attack(), beaten.attack(), [row])


@examples(12)
@given(problem=problems(dtypes=(torch.float64,), num_rows=st.integers(2, 5)), seed=SEEDS, chunk_size=st.integers(1, 3))
def test_the_tight_attack_has_no_neighbours_either(problem, seed, chunk_size):
    """As near, in double precision: its programmes' products may round by the batch."""
    order = permutation(len(problem.inputs), seed)
    config = tight.TightConfig(**vars(BRIEF_TIGHT) | {"chunk_size": chunk_size})
    assert_as_near(tightly(problem.rows(order), config), tightly(problem), order)


# --- Images ---------------------------------------------------------------------------------------


def transposed_in_memory(images: Tensor) -> Tensor:
    """The same numbers with the first axis innermost."""
    return images.movedim(0, -1).contiguous().movedim(-1, 0)


def every_other(images: Tensor) -> Tensor:
    """The same numbers in every other place of a larger tensor."""
    spread = images.new_full((2 * len(images), *images.shape[1:-1], 2 * images.shape[-1]), 0.7)
    spread[::2, ..., ::2] = images
    return spread[::2, ..., ::2]


def channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


LAYOUTS = {function.__name__: function for function in (transposed_in_memory, every_other, channels_last)}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@both_attacks
@examples(6)
@given(problem=problems())
def test_where_images_lie_in_memory_does_not_matter(attack, layout, problem):
    """As near: sums may be taken along memory."""
    moved = Problem(problem.kind, problem.network, layout(problem.inputs), problem.targets)
    assert torch.equal(moved.inputs, problem.inputs)
    assert_as_near(attack(moved), attack(problem))


@both_attacks
@examples(12)
@given(problem=problems(dtypes=(torch.float32,)))
def test_double_precision_finds_what_single_precision_finds(attack, problem):
    """As near, by the rule of single precision."""
    network, inputs = metamorphic.in_double(problem.network), problem.inputs.double()
    precise = attack(Problem(problem.kind, network, inputs, problem.targets))
    assert_as_near(attack(problem), precise)


@both_attacks
@examples(12)
@given(problem=problems(), seed=SEEDS)
def test_pixels_in_another_order_change_nothing(attack, problem, seed):
    """Together with the first layer's columns. As near: sums over pixels are rounded otherwise."""
    shape, n = problem.inputs.shape[1:], problem.inputs[0].numel()
    order = permutation(n, seed)

    def back(images: Tensor) -> Tensor:
        return images.flatten(1)[:, order.argsort()].view(-1, *shape)

    shuffled = problem.with_network(lambda logits: logits, back)
    shuffled = Problem(problem.kind, shuffled.network, problem.inputs.flatten(1)[:, order], problem.targets)
    result, reference = attack(shuffled), attack(problem)
    assert_as_near(result, reference)
    if problem.inputs.dtype == torch.float64:
        torch.testing.assert_close(back(result.adversarial), reference.adversarial, rtol=0, atol=1e-3)


@both_attacks
@examples(12)
@given(problem=problems(), value=st.sampled_from([0.0, 0.3, 1.0]))
def test_a_pixel_that_the_network_ignores_is_left_alone_and_changes_no_length(attack, problem, value):
    """Its gradient is 0, so it is the input's to the bit; |r| as near, for first steps are a share of sqrt(n)."""
    shape, n = problem.inputs.shape[1:], problem.inputs[0].numel()
    wider = problem.with_network(lambda logits: logits, lambda images: images[:, :-1].reshape(-1, *shape))
    inputs = nn.functional.pad(problem.inputs.flatten(1), (0, 1), value=value)
    result, reference = attack(Problem(problem.kind, wider.network, inputs, problem.targets)), attack(problem)
    assert (result.adversarial[:, -1] == inputs[:, -1]).all()
    ours, theirs = lengths(result) * (n + 1) ** 0.5, lengths(reference) * n**0.5
    assert relative_change(ours, theirs).nan_to_num(0).median() <= 2 * TOLERANCE


@both_attacks
@examples(12)
@given(problem=problems())
def test_a_mirrored_box_mirrors_the_answer(attack, problem):
    """Negatives, x -> 1 - x, of a network that takes negatives. As near: 1 - x is rounded."""
    negative = problem.with_network(lambda logits: logits, lambda images: 1 - images)
    negative = Problem(problem.kind, negative.network, 1 - problem.inputs, problem.targets)
    assert_as_near(attack(negative), attack(problem))


@examples(10)
@given(problem=problems(kinds=DENSE, num_rows=3))
def test_images_and_vectors_of_the_same_numbers_have_the_same_answers(problem):
    """Bit for bit: the same matrices are multiplied."""
    flat = Problem(problem.kind, problem.network, problem.inputs.flatten(1), problem.targets).attack()
    shaped = problem.attack()
    assert torch.equal(shaped.adversarial.flatten(1), flat.adversarial)
    assert torch.equal(shaped.distortion, flat.distortion)


# --- What needs no attack, and what has been attacked ----------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
@both_attacks
@examples(12)
@given(problem=problems(num_rows=6))
def test_what_has_its_target_already_costs_nothing(attack, problem):
    """Every other image is asked to be what it is: its own answer to the bit, after the two looks at the start."""
    own = torch.arange(6) % 2 == 0
    targets = torch.where(own, problem.logits.argmax(dim=1), problem.targets)
    result = attack(Problem(problem.kind, problem.network, problem.inputs, targets))
    assert result.success[own].all()
    assert torch.equal(result.adversarial[own], problem.inputs[own])
    assert (result.distortion[own] == 0).all()
    assert (result.num_evaluations[own] <= 2).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@examples(12)
@given(problem=problems(num_rows=5))
def test_answers_are_their_own_answers(problem):
    """The attack on what it returned: nothing is left to do. Batches alike, so that bits are."""
    answers = problem.attack()
    rows = answers.success
    if rows.all():
        again = find_adversarial(problem.network, answers.adversarial, problem.targets, BRIEF)
        assert torch.equal(again.adversarial, answers.adversarial)
        assert (again.distortion == 0).all()


@examples(20)
@given(problem=problems(num_rows=5))
def test_tightened_again_no_image_is_further_away(problem):
    """Not by a bit: what is no shorter is not taken. And the paper's own answers are not further after than before."""
    first = problem.attack()
    second = tight.tighten(problem.network, problem.inputs, problem.targets, first.adversarial, BRIEF_TIGHT)
    third = tight.tighten(problem.network, problem.inputs, problem.targets, second.adversarial, BRIEF_TIGHT)
    for before, after in ((first, second), (second, third)):
        verify(problem, after)
        assert torch.equal(after.success, before.success)
        assert (after.distortion <= before.distortion)[before.success].all()


class NotANumberFarOut(nn.Module):
    """A network whose logits are nan where the nearest of `images` is between `low` and `high` away."""

    def __init__(self, network: nn.Module, images: Tensor, low: float, high: float):
        super().__init__()
        self.network, self.images, self.low, self.high = network, images.flatten(1), low, high
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        r = torch.cdist(images.detach().flatten(1), self.images).amin(dim=1)
        return self.network(images).masked_fill(((r > self.low) & (r < self.high))[:, None], torch.nan)


@examples(20)
@given(problem=problems(num_rows=3), share=st.floats(0.2, 0.9))
def test_behind_a_shell_that_is_not_a_number_the_start_is_kept(problem, share):
    """Nothing within the shell compares with it: success stays, and no image is further away than it started."""
    start = problem.attack()
    width = share / 2 * float((start.adversarial - problem.inputs).flatten(1).norm(dim=1).max())
    network = NotANumberFarOut(problem.network, problem.inputs, width, 2 * width)
    behind = Problem(problem.kind, network, problem.inputs, problem.targets)
    with torch.no_grad():
        good = network(start.adversarial).argmax(dim=1) == problem.targets
        good &= network(start.adversarial).isfinite().all(dim=1)
    result = tight.tighten(network, problem.inputs, problem.targets, start.adversarial, BRIEF_TIGHT)
    assert result.success[good].all()
    assert (result.distortion <= start.distortion)[good].all()
    verify(behind.rows(good), tight.TightResult(**{name: v[good] for name, v in vars(result).items()}))


@examples(20)
@given(problem=problems(kinds=("linear",), num_rows=1), share=st.floats(1.02, 1.15))
def test_before_a_shell_that_is_not_a_number_the_start_is_shortened(problem, share):
    """A linear network that is nan around the input, its optimum included. What lies between a start and an optimum
    succeeds, and is shorter than the start: so is a half, a quarter or an eighth of the step, and one of them is
    taken."""
    nearest = problem.attack()
    r = nearest.adversarial - problem.inputs
    length, start = float(r.norm()), (problem.inputs + 1.5 * r).clamp(0, 1)
    assume(nearest.success.all() and (start - problem.inputs).norm() > 1.3 * length)
    assume((lead(problem.network(start), problem.targets) > 0).all())
    network = NotANumberFarOut(problem.network, problem.inputs, 1e-3 * length, share * length)
    result = tight.tighten(network, problem.inputs, problem.targets, start, BRIEF_TIGHT)
    verify(Problem(problem.kind, network, problem.inputs, problem.targets), result)
    assert result.success.all()
    assert (result.adversarial - problem.inputs).norm() < 0.99 * (start - problem.inputs).norm()


class Fickle(nn.Module):
    """A network that after `patience` answers denies everything nearer to the one image than `length`, but itself."""

    def __init__(self, network: nn.Module, image: Tensor, length: float, patience: int):
        super().__init__()
        self.network, self.image, self.length, self.patience = network, image, length, patience
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        self.patience -= 1
        logits = self.network(images)
        r = (images.detach() - self.image).flatten(1).norm(dim=1)
        denied = (r > 0) & (r < self.length) & (self.patience < 0)
        return torch.where(denied[:, None], -logits, logits)


@examples(20)
@given(problem=problems(num_rows=1), before=st.integers(1, 4))
def test_a_network_that_takes_back_what_it_said_does_not_cost_the_start(problem, before):
    """Nearer images were confirmed, and are denied from one of the last questions on, `before` the end; the start never
    is: success stays, no further away."""
    start = problem.attack()
    assume(start.success.all())
    length = (1 - 1e-6) * float((start.adversarial - problem.inputs).norm())

    def tightened(patience: int) -> tuple[tight.TightResult, int]:
        network = Fickle(problem.network, problem.inputs, length, patience)
        result = tight.tighten(network, problem.inputs, problem.targets, start.adversarial, BRIEF_TIGHT)
        return result, patience - network.patience

    num_questions = tightened(10**6)[1]
    result = tightened(num_questions - before)[0]
    assert result.success.all()
    assert (result.distortion <= start.distortion).all()


# --- On the way -----------------------------------------------------------------------------------


@both_attacks
@examples(12)
@given(problem=problems(num_rows=4))
def test_every_image_that_the_network_is_asked_lies_in_the_box(attack, problem):
    """Exactly, in the inputs' shape and dtype: `Recorded` insists."""
    recorded = metamorphic.Recorded(problem.network, problem.inputs)
    attack(Problem(problem.kind, recorded, problem.inputs, problem.targets))
    assert len(recorded.images) > 2


@both_attacks
@examples(12)
@given(problem=problems(kinds=DENSE, num_rows=st.integers(1, 3)))
def test_no_network_is_asked_about_no_images(attack, problem):
    """Flattening by view(len(images), -1), as many networks do, is an error for none. Bit for bit the same answers."""
    reference = attack(problem)
    flattened = problem.with_network(lambda logits: logits, lambda images: images.view(len(images), -1))
    assert_same_bits(attack(flattened), reference)


@both_attacks
@examples(20)
@given(problem=problems(num_rows=1))
def test_no_shorter_success_was_passed_over(attack, problem):
    """One image by itself: of all that the network was asked, none that leads clearly is closer than the answer.

    Clearly: by four times the lead that counts, and by 256 roundings. Closer: by more than the 1e-6 that the tight
    attack calls progress, and the square root's rounding.
    """
    recorded = metamorphic.Recorded(problem.network, problem.inputs)
    result = attack(Problem(problem.kind, recorded, problem.inputs, problem.targets))
    images, logits = torch.cat(recorded.images), torch.cat(recorded.logits)
    eps = torch.finfo(logits.dtype).eps
    enough = 4e-4 * lead(problem.logits, problem.targets).abs() + 256 * eps * logits.abs().amax(dim=1)
    clear = lead(logits, problem.targets.expand(len(logits))) > enough
    passed = penalized.distortion(images.double(), problem.inputs.double())[clear]
    if len(passed):
        assert result.success.all()
        assert lengths(result)[0] <= passed.min() * (1 + 2e-6 + 16 * eps)


# --- The caller's things, and the caller's modes ---------------------------------------------------


@both_attacks
@examples(6)
@given(problem=problems(num_rows=3))
def test_the_network_the_images_and_the_dice_are_left_as_they_were(attack, problem):
    """Parameters, buffers, gradients, flags, the argument's bits, and the state of the global generator."""
    network = nn.Sequential(problem.network, nn.BatchNorm1d(problem.num_classes, dtype=problem.inputs.dtype)).eval()
    problem = Problem(problem.kind, network, problem.inputs, problem.targets)
    before = copy.deepcopy((network.state_dict(), problem.inputs, problem.targets))
    flags = [module.training for module in network.modules()]
    dice = torch.get_rng_state()
    attack(problem)
    after = network.state_dict(), problem.inputs, problem.targets
    assert all(torch.equal(after[0][name], value) for name, value in before[0].items())
    assert torch.equal(after[1], before[1])
    assert torch.equal(after[2], before[2])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [module.training for module in network.modules()] == flags
    assert torch.equal(torch.get_rng_state(), dice)
    assert torch.is_grad_enabled()


CHANGES = {  # what a network may do to its argument, and the same to a copy
    "halved": (lambda z: z.mul_(0.5), lambda z: z * 0.5),
    "clamped": (lambda z: z.clamp_(0.2, 0.8), lambda z: z.clamp(0.2, 0.8)),
    "negative": (lambda z: z.neg_().add_(1), lambda z: -z + 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@both_attacks
@examples(5)
@given(problem=problems(num_rows=3))
def test_a_network_that_works_in_place_changes_no_image_of_the_callers(attack, change, problem):
    """And has the answers of one that does not, bit for bit."""
    in_place, on_a_copy = change
    changed = problem.with_network(lambda logits: logits, on_a_copy)
    targets = (changed.logits.argmax(dim=1) + 1) % problem.num_classes
    inputs, network = problem.inputs.clone(), problem.network
    reference = attack(Problem(problem.kind, changed.network, problem.inputs, targets))
    find, config = FINDERS[attack]
    result = find(lambda z: network(in_place(z)), inputs, targets, config)
    assert torch.equal(inputs, problem.inputs)
    assert_same_bits(result, reference)


@both_attacks
@examples(6)
@given(problem=problems(num_rows=3))
def test_twice_is_the_same_with_gradients_switched_off_or_on(attack, problem):
    """Bit for bit; and a network whose parameters ask for gradients is no other network."""
    reference = attack(problem)
    with torch.no_grad():
        assert_same_bits(attack(problem), reference)
    learning = copy.deepcopy(problem.network).requires_grad_(True)
    assert_same_bits(attack(Problem(problem.kind, learning, problem.inputs, problem.targets)), reference)
    assert all(parameter.grad is None for parameter in learning.parameters())


@both_attacks
@examples(8)
@given(
    problem=problems(num_rows=3),
    kind=st.sampled_from(["dropout", "batch norm"]),
    depth=st.integers(0, 3),
    by_a_function=st.booleans(),
)
def test_a_module_in_training_mode_however_deep_is_refused_and_left_as_it_was(
    attack, problem, kind, depth, by_a_function
):
    """In a network in evaluation mode. Dropout would make success random, batch norm would change its own buffers."""
    module = nn.Dropout(0.5)
    if kind == "batch norm":
        module = nn.BatchNorm1d(problem.num_classes, dtype=problem.inputs.dtype)
    network = module
    for _ in range(depth):
        network = nn.Sequential(nn.Identity(), network)
    network = nn.Sequential(problem.network, network).eval()
    module.train()
    before, dice = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    asked = (lambda images: network(images)) if by_a_function else network
    with pytest.raises(ValueError, match="training mode"):
        attack(Problem(problem.kind, asked, problem.inputs, problem.targets))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), dice)
    assert module.training
    assert not network.training


@both_attacks
@examples(8)
@given(problem=problems(num_rows=3))
def test_the_callers_inference_mode_changes_nothing(attack, problem):
    """Bit for bit, of images that were made under it, too: they fit in no graph, and are copied."""
    reference = attack(problem)
    with torch.inference_mode():
        inputs, targets = problem.inputs.clone(), problem.targets.clone()
        assert_same_bits(attack(Problem(problem.kind, problem.network, inputs, targets)), reference)
    assert_same_bits(attack(Problem(problem.kind, problem.network, inputs, targets)), reference)


class UnderAutocast(nn.Module):
    """A network that computes in half precision, and says so by its logits' dtype."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(images)


@both_attacks
@examples(6)
@given(problem=problems(dtypes=(torch.float32,), num_rows=3))
def test_autocast_is_refused_around_an_attack_and_is_the_networks_own_affair_inside_it(attack, problem):
    """Around it the attack's own sums would be rounded to half precision. Inside it the facts are verified."""
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="autocast"):
        attack(problem)
    network = UnderAutocast(problem.network)
    with torch.no_grad():
        logits = network(problem.inputs)
    assert logits.dtype == torch.bfloat16
    targets = (logits.argmax(dim=1) + 1) % problem.num_classes
    attack(Problem(problem.kind, network, problem.inputs, targets))


OTHER_DTYPE = {torch.float32: torch.float64, torch.float64: torch.float32}


@both_attacks
@examples(8)
@given(problem=problems())
def test_logits_of_another_dtype_are_those_of_a_network_that_casts_them_itself(attack, problem):
    """Bit for bit, of networks that compute in double precision for single images, and the other way round."""
    dtype = OTHER_DTYPE[problem.inputs.dtype]
    network = copy.deepcopy(problem.network).to(dtype)
    uncast = Problem(problem.kind, lambda images: network(images.to(dtype)), problem.inputs, problem.targets)
    cast = uncast.with_network(lambda logits: logits.to(problem.inputs.dtype))
    assert uncast.logits.dtype == dtype
    assert_same_bits(attack(uncast), attack(cast))


@both_attacks
@examples(8)
@given(problem=problems())
def test_a_gradient_that_is_one_number_for_all_pixels_is_a_gradient(attack, problem):
    """Of a network that is told the sum of all pixels: autograd hands on one number, expanded. As near as with a
    product by 1 before the sum, after which the gradient is written out."""

    def grey(images: Tensor) -> Tensor:
        total = images.sum(dim=tuple(range(1, images.ndim)), keepdim=True)
        return (total / problem.inputs[0].numel()).expand(images.shape)

    expanded = problem.with_network(lambda logits: logits, grey)
    targets = (expanded.logits.argmax(dim=1) + 1) % problem.num_classes
    expanded = Problem(problem.kind, expanded.network, problem.inputs, targets)
    written_out = expanded.with_network(lambda logits: logits, lambda images: images * 1)
    assert_as_near(attack(expanded), attack(written_out))


# --- Untargeted -----------------------------------------------------------------------------------


@examples(12)
@given(problem=problems(num_rows=st.integers(1, 2), num_classes=st.integers(2, 4)))
def test_untargeted_is_the_nearest_of_all_targeted(problem):
    """Bit for bit with a fixed order of sums: each of its K - 1 attacks is that attack."""
    problem = by_rows(problem)
    labels, num_classes = problem.logits.argmax(dim=1), problem.num_classes
    with in_a_fixed_order():
        nearest = find_nearest_adversarial(problem.network, problem.inputs, labels, BRIEF)
        each = [
            lengths(Problem(problem.kind, problem.network, problem.inputs, (labels + shift) % num_classes).attack())
            for shift in range(1, num_classes)
        ]
    assert torch.equal(lengths(nearest), torch.stack(each).amin(dim=0))
    assert (problem.network(nearest.adversarial).argmax(dim=1) != labels)[nearest.success].all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@examples(10)
@given(problem=problems(num_rows=3))
def test_untargeted_a_misread_image_costs_no_gradient(problem):
    """Its own answer, as in every peer, and the network is asked for no derivative at all."""
    result = find_nearest_adversarial(problem.network, problem.inputs, problem.targets, BRIEF)
    assert torch.equal(result.adversarial, problem.inputs)
    assert result.success.all()
    assert (result.distortion == 0).all()
    assert (result.num_evaluations <= 2).all()


# --- What is stated is true -----------------------------------------------------------------------


class Dicing(nn.Module):
    """A network that says something else each time it is asked."""

    def __init__(self, network: nn.Module, seed: int):
        super().__init__()
        self.network, self.dice = network, torch.Generator().manual_seed(seed)
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        return logits + 3 * torch.randn(logits.shape, generator=self.dice).to(logits)


@both_attacks
@examples(10)
@given(problem=problems(num_rows=7), seed=SEEDS)
def test_where_nothing_was_found_the_input_is_given_back_infinitely_far(attack, problem, seed):
    """Whatever the network does: it is not asked again here, it would say something else."""
    network = Dicing(problem.network, seed)
    find, config = FINDERS[attack]
    result = find(network, problem.inputs, problem.targets, config)
    assert torch.equal(result.adversarial[~result.success], problem.inputs[~result.success])
    assert (result.distortion[~result.success] == torch.inf).all()
    assert result.distortion[result.success].isfinite().all()
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()


@examples(20)
@given(problem=problems(kinds=("linear",), num_rows=5))
def test_on_a_linear_network_the_attack_finds_what_there_is_and_nothing_nearer(problem):
    """Success nowhere but where Clarabel finds an image, and everywhere where one is clear (`clear_lead`); distortions
    from its optimum on, less rounding, and the tight attack's to its accuracy, 1e-3."""
    result, tightened = problem.attack(AttackConfig()), tightly(problem, tight.TightConfig())
    nearest = metamorphic.nearest_of_a_linear_network(problem)
    clear = metamorphic.nearest_of_a_linear_network(problem, clear_lead(problem.num_classes)).isfinite()
    shortened = 1 - (1e-4 if problem.inputs.dtype == torch.float32 else 1e-8)
    for found in (result, tightened):
        assert found.success[clear].all()
        assert not found.success[nearest.isinf()].any()
        assert (lengths(found) >= nearest * shortened)[found.success].all()
    assert (lengths(tightened) <= nearest * (1 + 1e-3))[tightened.success].all()


def least_of_the_penalized(problem: Problem, row: int, c: float) -> np.ndarray:
    """The minimiser x + r of c|r| + loss in the box for a linear network, by SciPy in double precision.

    |r| has a kink at 0, where no c of interest ends: sqrt(|r|^2 + 1e-16) in its place.
    """
    weight, bias = problem.layer.weight.double().numpy(), problem.layer.bias.double().numpy()
    x, t = problem.inputs[row].double().flatten().numpy(), int(problem.targets[row])

    def value_and_gradient(y):
        z = weight @ y + bias
        p = np.exp(z - z.max())
        norm = np.sqrt((y - x) @ (y - x) + 1e-16)
        loss = z.max() + np.log(p.sum()) - z[t]
        p /= p.sum()
        p[t] -= 1
        return c * norm + loss, c * (y - x) / norm + weight.T @ p

    options = {"ftol": 0, "gtol": 1e-10, "maxiter": 2000, "maxfun": 4000}
    toward = np.clip(x + 0.1 * (weight[t] - weight.mean(axis=0)), 0, 1)
    bounds = [(0, 1)] * len(x)
    return scipy.optimize.minimize(value_and_gradient, toward, jac=True, method="L-BFGS-B", bounds=bounds,
                                   options=options).x  # fmt: skip


@examples(12)
@given(problem=problems(kinds=("linear",), dtypes=(torch.float64,), num_rows=2))
def test_converged_means_that_no_price_has_a_shorter_minimiser(problem):
    """c|r| + loss is convex on a linear network, so SciPy's minimisers are the minimisers: of 12 prices around the one
    that the search ended with, none that succeeds is shorter by more than four tolerances, three of them for the inner
    solver's own. And no multiple of the answer is."""
    result = problem.attack(AttackConfig())
    network = problem.network
    assert_no_shorter_multiple(problem, result, result.success & result.converged)
    for row in (result.converged & result.success & ~result.c.isnan()).nonzero()[:, 0].tolist():
        for c in float(result.c[row]) * np.linspace(0.9, 1.2, 12):
            image = torch.tensor(least_of_the_penalized(problem, row, c))[None].clamp(0, 1)
            succeeds = lead(network(image.view(1, *problem.inputs.shape[1:])), problem.targets[row : row + 1]) > 1e-9
            if succeeds:
                length = penalized.distortion(image, problem.inputs[row : row + 1].flatten(1))
                assert result.distortion[row] <= length[0] * (1 + 4 * TOLERANCE)


def programme_at(problem: Problem, image: Tensor, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The network made linear at `image`, (n,) float64: slopes, bounds and box of r, over all rivals."""
    network, t = metamorphic.in_double(problem.network), int(problem.targets[row])
    x = problem.inputs[row].double().flatten()

    def margins(y: Tensor) -> Tensor:
        z = network(y.view(1, *problem.inputs.shape[1:]))[0]
        return z[t] - torch.cat([z[:t], z[t + 1 :]])

    slopes = torch.autograd.functional.jacobian(margins, image)
    bounds = slopes @ (image - x) - margins(image)
    return slopes.numpy(), bounds.numpy(), -x.numpy(), (1 - x).numpy()


@examples(20)
@given(problem=problems(kinds=SMOOTH, num_rows=3))
def test_the_residual_is_how_far_the_linearised_optimum_is(problem):
    """By Clarabel in double precision, over all rivals and no needed lead.

    The attack solves its programmes to violations v of 2e-4 |r|. By strong convexity an r that violates by v is within
    sqrt(2 v sum of multipliers) of the optimum, for rows of length 1: that far may the residuals be apart. Added are
    1e-3 for the needed lead and, in single precision, for the gradients.
    """
    config = tight.TightConfig(start=BRIEF_TIGHT.start, num_rivals=9)
    result = tightly(problem, config)
    for row in result.success.nonzero()[:, 0].tolist():
        image = result.adversarial[row].double().flatten()
        r = (image - problem.inputs[row].double().flatten()).numpy()
        slopes, bounds, lower, upper = programme_at(problem, image, row)
        best = metamorphic.optimum(slopes, bounds - 1e-9 * abs(bounds), lower, upper)
        length = np.linalg.norm(r)
        if best is None:  # not even at the boundary: by no more than the needed lead, or no certificate
            assert result.residual[row] > 0
            continue
        residual = np.linalg.norm(best.r - r) / length
        pull = float(best.multipliers @ np.linalg.norm(slopes, axis=1)) / length
        apart = 1e-3 + math.sqrt(2 * (config.tolerance / 10) * pull)
        assert abs(float(result.residual[row]) - residual) <= apart
        if result.residual[row] <= config.tolerance:  # stationary, so the linearised optimum is no shorter, either
            assert best.length >= length * (1 - 1e-3 - 2 * (config.tolerance / 10) * max(1, pull))


# --- The exact optimum ----------------------------------------------------------------------------


def exactly(problem: Problem) -> exact.Projection:
    return exact.minimum_perturbation(problem.layer, problem.inputs.flatten(1), problem.targets)


def linear_problems(**options) -> st.SearchStrategy[Problem]:
    """Of images that have an answer, which the exact programme asks for."""
    return problems(kinds=("linear",), **options).map(
        lambda problem: problem.rows(metamorphic.nearest_of_a_linear_network(problem, 1e-3).isfinite())
    ).filter(lambda problem: len(problem.inputs) > 0)  # fmt: skip


def with_layer(problem: Problem, weight: Tensor, bias: Tensor) -> Problem:
    layer = nn.Linear(weight.shape[1], len(weight), dtype=weight.dtype).requires_grad_(False)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return Problem(problem.kind, nn.Sequential(nn.Flatten(), layer), problem.inputs, problem.targets)


def assert_same_optimum(found, reference, tolerance: float = 1e-7) -> None:
    """The optimum is unique, and each programme is solved to 1e-9 of its length: of the square root of that, by strong
    convexity, should the multipliers be large; mostly far less."""
    length = reference.perturbation.norm(dim=1, keepdim=True).clamp_min(1e-300)
    assert ((found.perturbation - reference.perturbation).abs() <= tolerance * length).all()
    assert (found.violation <= 1e-9).all()


@examples(60)
@given(problem=linear_problems())
def test_the_exact_optimum_is_clarabels(problem):
    """In length to 1e-6, Clarabel's own accuracy; given the target by the network in double precision, to 1e-7."""
    found, nearest = exactly(problem), metamorphic.nearest_of_a_linear_network(problem)
    assert (relative_change(found.distortion, nearest) <= 1e-6).all()
    images = problem.inputs.double().flatten(1) + found.perturbation
    assert (lead(metamorphic.in_double(problem.layer)(images), problem.targets) >= -1e-7).all()
    assert ((images >= 0) & (images <= 1)).all()


@examples(60)
@given(problem=linear_problems(dtypes=(torch.float64,)), exponent=st.integers(-300, 300))
def test_the_exact_optimum_knows_no_unit_of_logits(problem, exponent):
    scaled = with_layer(problem, problem.layer.weight * 2.0**exponent, problem.layer.bias * 2.0**exponent)
    assert_same_optimum(exactly(scaled), exactly(problem))


@examples(60)
@given(problem=linear_problems(dtypes=(torch.float64,)), exponent=st.integers(0, 20), sign=st.sampled_from([-1, 1]))
def test_the_exact_optimum_knows_no_bias_that_all_share(problem, exponent, sign):
    """Biases of about 1 next to 2**20 are rounded by 1e-10, and the length with them by no more than 1e-7 of a unit."""
    shifted = with_layer(problem, problem.layer.weight, problem.layer.bias + sign * 2.0**exponent)
    change = (exactly(shifted).distortion - exactly(problem).distortion).abs()
    assert (change <= 1e-7 * (1 + exactly(problem).distortion)).all()


@examples(60)
@given(problem=linear_problems(dtypes=(torch.float64,)), masked=st.sampled_from([-1e3, -1e5, -1e9, -1e300]))
def test_the_exact_optimum_knows_no_class_that_is_ruled_out_or_is_there_twice(problem, masked):
    weight, bias = problem.layer.weight, problem.layer.bias
    rival = int(problem.targets[0] + 1) % problem.num_classes
    problem = problem.rows(problem.targets != rival)
    reference = exactly(problem)
    ruled_out = with_layer(problem, torch.cat([weight, weight[:1]]), torch.cat([bias, bias[:1] * 0 + masked]))
    twice = with_layer(problem, torch.cat([weight, weight[[rival]]]), torch.cat([bias, bias[[rival]]]))
    assert_same_optimum(exactly(ruled_out), reference)
    assert (relative_change(exactly(twice).distortion, reference.distortion) <= 1e-7).all()


@examples(60)
@given(problem=linear_problems(dtypes=(torch.float64,)), seed=SEEDS)
def test_the_exact_optimum_knows_no_order_of_images_pixels_and_classes_and_no_negatives(problem, seed):
    weight, bias, n = problem.layer.weight, problem.layer.bias, problem.layer.in_features
    reference = exactly(problem)
    rows, pixels = permutation(len(problem.inputs), seed), permutation(n, seed)
    classes = permutation(problem.num_classes, seed)
    flat = Problem(problem.kind, problem.network, problem.inputs.flatten(1), problem.targets)
    assert_lengths_of(flat.rows(rows), reference.distortion[rows])
    shuffled = with_layer(flat, weight[:, pixels], bias)
    assert_lengths_of(Problem(flat.kind, shuffled.network, flat.inputs[:, pixels], flat.targets), reference.distortion)
    renamed = with_layer(flat, weight[classes], bias[classes])
    assert_lengths_of(
        Problem(flat.kind, renamed.network, flat.inputs, classes.argsort()[flat.targets]), reference.distortion
    )
    negative = with_layer(flat, -weight, bias + weight.sum(dim=1))
    assert_lengths_of(Problem(flat.kind, negative.network, 1 - flat.inputs, flat.targets), reference.distortion)


def assert_lengths_of(problem: Problem, distortion: Tensor) -> None:
    assert ((exactly(problem).distortion - distortion).abs() <= 1e-7 * (1e-3 + distortion)).all()


@examples(60)
@given(problem=linear_problems(dtypes=(torch.float64,)), exponent=st.integers(900, 1010) | st.integers(1021, 1024))
def test_where_numbers_overflow_the_exact_optimum_is_the_same_or_an_error(problem, exponent):
    """Squares overflow everywhere here, and must not matter; beyond 2**1010 the numbers themselves do: there a
    ValueError may stand in for the optimum, and nothing else."""
    unit = torch.tensor(2.0**900, dtype=torch.float64) * 2.0 ** (exponent - 900)
    scaled = with_layer(problem, problem.layer.weight * unit, problem.layer.bias * unit)
    try:
        found = exactly(scaled)
    except ValueError:
        assert exponent > 1010
    else:
        assert_same_optimum(found, exactly(problem))


@pytest.mark.parametrize("place", ["pixel", "weight", "bias"])
@examples(12)
@given(problem=linear_problems(), at=st.floats(0, 0.999), value=st.sampled_from([math.nan, math.inf]))
def test_what_is_not_finite_is_refused_wherever_it_stands(place, problem, at, value):
    """By both attacks, by the exact programme and by certificates."""
    broken = with_layer(problem, problem.layer.weight, problem.layer.bias)
    broken = Problem(problem.kind, broken.network.eval(), problem.inputs.clone(), problem.targets)
    numbers = {"pixel": broken.inputs, "weight": broken.layer.weight, "bias": broken.layer.bias}[place].view(-1)
    numbers[int(at * len(numbers))] = value
    for ask in (*ATTACKS.values(), exactly, certified):
        with pytest.raises(ValueError, match=r"finite|nan"):
            ask(broken)


# --- Certificates ---------------------------------------------------------------------------------


def certified(problem: Problem) -> dict[str, Tensor]:
    constants = certificates.lipschitz_constants(problem.network, problem.inputs[:1])
    return certificates.certify(problem.network, constants, problem.inputs, problem.targets, len(problem.inputs))


@examples(60)
@given(problem=problems(num_rows=5))
def test_nothing_is_found_nearer_than_certified(problem):
    """By either attack, as a distance in double precision, and by no rounding: images are checked as they are, and by
    the network in double precision, which the certificate is about; where that disagrees the image is left out."""
    distances = certified(problem)
    network = metamorphic.in_double(problem.network)
    for result in (problem.attack(), tightly(problem)):
        images = result.adversarial.double()
        rows = network(images).argmax(dim=1) == problem.targets
        norm = (images - problem.inputs.double()).flatten(1).norm(dim=1)
        for distance in distances.values():
            assert (distance <= norm)[rows].all()


@examples(40)
@given(problem=problems(dtypes=(torch.float64,), num_rows=3), seed=SEEDS)
def test_no_image_within_a_certified_distance_has_the_target(problem, seed):
    """Neither random ones on the sphere, in the box or not, nor the end of an ascent of the lead that stays inside."""
    assert_none_within_a_certified_distance(problem, seed)


def assert_none_within_a_certified_distance(problem: Problem, seed: int) -> None:
    source, shape = torch.Generator().manual_seed(seed), problem.inputs.shape[1:]
    for distance in certified(problem).values():
        inputs, targets = problem.inputs.repeat(64, *[1] * len(shape)), problem.targets.repeat(64)
        radius = distance.repeat(64)
        r = torch.randn(len(inputs), math.prod(shape), generator=source, dtype=torch.float64)
        for _ in range(6):
            r = r * (radius / r.norm(dim=1).clamp_min(1e-300))[:, None]
            images = (inputs + r.view(-1, *shape)).requires_grad_()
            leads = lead(problem.network(images), targets)
            assert (leads <= 0).all()
            (gradient,) = torch.autograd.grad(leads.sum(), images)
            r = r + radius[:, None] * nn.functional.normalize(gradient.flatten(1), dim=1)


@examples(60)
@given(problem=problems(dtypes=(torch.float64,), num_rows=3), seed=SEEDS, exponent=st.integers(-20, 20))
def test_certificates_know_no_names_of_classes_no_unit_and_no_constant(problem, seed, exponent):
    """The last layer's rows in another order, times a power of two, a constant added to its bias: to 1e-6, as products
    are rounded otherwise, and an enclosure is bisected down to 1e-4 of its radius."""
    order = permutation(problem.num_classes, seed)
    changed = copy.deepcopy(problem.network)
    changed[-1].weight.copy_(problem.layer.weight[order] * 2.0**exponent)
    changed[-1].bias.copy_((problem.layer.bias[order] + 3) * 2.0**exponent)
    changed = Problem(problem.kind, changed, problem.inputs, order.argsort()[problem.targets])
    for (kind, ours), theirs in zip(certified(changed).items(), certified(problem).values(), strict=True):
        tolerance = 1e-3 if kind == certificates.ENCLOSED else 1e-6
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=1e-9)


def make_chain(seed: int, sizes: list[int], activations: list[type[nn.Module] | None], same_sign: bool) -> Problem:
    """Linear layers with activations, or none, between them, all of which are as steep as they can be at the first
    image: sigmoids and tanh at 0, rectifiers above it. Of weights of one sign norms nearly multiply."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    inputs = torch.rand(3, sizes[0], generator=source, dtype=torch.float64)
    layers, units = [], inputs[0]
    for (width, following), activation in zip(itertools.pairwise(sizes), [*activations, None], strict=True):
        layer = nn.Linear(width, following, dtype=torch.float64).requires_grad_(False)
        weight = 3 * normal(following, width) / width**0.5
        layer.weight.copy_(weight.abs() if same_sign and activation else weight)
        wanted = {None: normal(following), nn.ReLU: 0.1 + normal(following).abs()}.get(
            activation, torch.zeros(following, dtype=torch.float64)
        )
        layer.bias.copy_(wanted - layer.weight @ units)
        layers += [layer, *([activation()] if activation else [])]
        units = activation()(wanted) if activation else wanted
    network = nn.Sequential(*layers).eval()
    return Problem("chain", network, inputs, (network(inputs).argmax(dim=1) + 1) % sizes[-1])


@st.composite
def chains(draw) -> Problem:
    activations = draw(st.lists(st.sampled_from([None, nn.Sigmoid, nn.Tanh, nn.ReLU]), min_size=1, max_size=4))
    widths = st.lists(st.integers(1, 5), min_size=len(activations) + 1, max_size=len(activations) + 1)
    return make_chain(draw(SEEDS), [*draw(widths), draw(st.integers(2, 4))], activations, draw(st.booleans()))


@examples(80)
@given(chain=chains())
def test_no_chain_of_mixed_activations_is_steeper_than_its_constants(chain):
    """By autograd, where all activations are as steep as they can be. And no kind of constant is larger than the kind
    before it, from crude to sharp."""
    constants = list(certificates.lipschitz_constants(chain.network, chain.inputs[:1]).values())
    jacobian = torch.autograd.functional.jacobian(lambda image: chain.network(image[None])[0], chain.inputs[0])
    steepness = (jacobian[:, None] - jacobian).norm(dim=2)
    for constant in constants:
        assert (steepness <= constant * (1 + 1e-9)).all()
    for crude, sharp in itertools.pairwise(constants):
        assert (sharp <= crude * (1 + 1e-9)).all()


@examples(40)
@given(chain=chains(), seed=SEEDS)
def test_no_image_within_a_certified_distance_of_a_chain_has_the_target(chain, seed):
    """As above, of networks of up to five linear layers, with different activations or none between them."""
    assert_none_within_a_certified_distance(chain, seed)
