"""What people hand in: refused with its cure, warned of, or attacked as it should be; and nothing of theirs changes."""

import copy
import functools
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.attacks import exact, penalized, tight
from lib.attacks.arguments import AlreadyTargetsWarning, KindError, ProbabilitiesWarning
from lib.attacks.penalized import AttackConfig, find_adversarial, find_nearest_adversarial, random_targets
from lib.attacks.tight import TightConfig
from lib.measures import certificates

pytestmark = pytest.mark.numerical

NUM_PIXELS, NUM_CLASSES, N = 12, 4, 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent(seed: int = 0) -> nn.Sequential:
    """A small network, in evaluation mode, whose boundaries are near."""
    network = nn.Sequential(nn.Linear(NUM_PIXELS, 16), nn.Tanh(), nn.Linear(16, NUM_CLASSES)).requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator(seed)))
    network[-1].bias -= network(images()).mean(dim=0)
    return network.eval()


def images() -> torch.Tensor:
    return torch.rand(N, NUM_PIXELS, generator=generator(1))


NETWORK, INPUTS = bent(), images()
LABELS = NETWORK(INPUTS).argmax(dim=1)
TARGETS = NETWORK(INPUTS).topk(2).indices[:, 1]
LAYERS = certificates.as_layers(NETWORK)
CONSTANTS = certificates.lipschitz_constants(LAYERS, INPUTS[:1])
LINEAR = nn.Linear(NUM_PIXELS, NUM_CLASSES).requires_grad_(False).eval()

ELSEWHERE = nn.Linear(NUM_PIXELS, NUM_CLASSES, device="meta").eval()

# Every public function that is given a network, inputs and classes.
ATTACKS = {
    "penalized": find_adversarial,
    "nearest": lambda network, inputs, targets: find_nearest_adversarial(network, inputs, targets),
    "minimize_penalized": lambda n, x, t: penalized.minimize_penalized(n, x, t, torch.ones(N)),
    "lengths_at": lambda n, x, t: penalized.lengths_at(n, x, t, torch.ones(N)),
    "tight": tight.find_adversarial,
    "tighten": lambda n, x, t: tight.tighten(n, x, t, INPUTS),
}
CERTIFICATES = {
    "certify": lambda n, x, t: certificates.certify(n, CONSTANTS, x, t, 2),
    "linear_estimate": certificates.linear_estimate,
}
EXACT = {"exact": lambda n, x, t: exact.minimum_perturbation(LINEAR if n is NETWORK else n, x, t)}
DOORS = ATTACKS | CERTIFICATES | EXACT
FINDERS = {"penalized": find_adversarial, "nearest": find_nearest_adversarial, "tight": tight.find_adversarial}


def assert_consistent(result, inputs):
    """What holds of every result, whatever the network does."""
    failed = ~result.success
    assert torch.equal(result.adversarial[failed], inputs[failed])
    assert torch.equal(result.distortion.isinf(), failed)
    length = penalized.distortion(result.adversarial, inputs)
    torch.testing.assert_close(result.distortion[result.success], length[result.success])
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()
    assert not getattr(result, "converged", result.success)[failed].any()
    assert getattr(result, "residual", result.distortion)[failed].isinf().all()
    assert getattr(result, "c", torch.full_like(length, torch.nan))[failed].isnan().all()


def assert_found(network, result, inputs=INPUTS):
    assert_consistent(result, inputs)
    assert result.success.all()
    assert (network(result.adversarial).argmax(dim=1) != LABELS).all()


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


# --- Networks -------------------------------------------------------------------------------------


def no_gradient(images):
    with torch.no_grad():
        return NETWORK(images)


def inference(images):
    with torch.inference_mode():
        return NETWORK(images)


def detached(images):
    return copy.deepcopy(NETWORK).requires_grad_()(images.detach())


class Counting(nn.Module):
    """A network that counts in a buffer of its own how often it is asked."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, images):
        self.count += 1
        return NETWORK(images)


BAD_NETWORKS = {
    "one logit": (nn.Linear(NUM_PIXELS, 1).eval(), r"at least two classes, not \(2, 1\).*where one logit decides"),
    "logits of one class": (lambda x: NETWORK(x)[:, 0], r"at least two classes, not \(2,\) for 2"),
    "a squeezed batch": (lambda x: NETWORK(x).sum(dim=0), r"\(N, K\) for N images, not \(4,\) for 2"),
    "too many axes": (lambda x: NETWORK(x)[:, :, None], r"\(N, K\) for N images, not \(2, 4, 1\) for 2"),
    "a tuple": (lambda x: (NETWORK(x), x), r"not tuple: hand in lambda x: network\(x\)\[0\]"),
    "a list": (lambda x: [NETWORK(x)], r"not list: hand in lambda x: network\(x\)\[0\]"),
    "an object": (lambda x: SimpleNamespace(logits=NETWORK(x)), r"hand in lambda x: network\(x\).logits"),
    "a dictionary": (lambda x: {"out": NETWORK(x)}, r"not dict: hand in lambda x: network\(x\)\['out'\]"),
    "NumPy": (lambda x: NETWORK(x).detach().numpy(), "not ndarray"),
    "classes": (lambda x: NETWORK(x).round().long(), "floating, not torch.int64"),
    "no_grad": (no_gradient, "no gradient with respect to the images: take torch.no_grad"),
    "inference_mode": (inference, "no gradient with respect to the images: .*torch.inference_mode"),
    "detach": (detached, r"no gradient with respect to the images: .*\.detach\(\)"),
    "on another device": (ELSEWHERE, "network is on meta and inputs are on cpu"),
    "in another precision": (copy.deepcopy(NETWORK).double(), "network computes in torch.float64 and inputs are .*32"),
    "a state": (Counting().eval(), "network changes its own buffer 'count'"),
    "not callable": (INPUTS, "network must be callable, images to logits, not Tensor"),
    "batch norm of batches": (
        nn.Sequential(nn.BatchNorm1d(NUM_PIXELS, track_running_stats=False), NETWORK).eval(),
        "network's module '0', BatchNorm1d, has no running statistics",
    ),
}


@pytest.mark.parametrize("case", BAD_NETWORKS)
@pytest.mark.parametrize("door", ATTACKS)
def test_networks_that_cannot_be_attacked_are_refused_with_their_cure(door, case):
    network, message = BAD_NETWORKS[case]
    with pytest.raises(ValueError, match=message):
        ATTACKS[door](network, INPUTS, TARGETS)


def test_the_cure_for_one_logit_is_one():
    """As the message gives it: class 1 where the logit is positive."""
    one = nn.Linear(NUM_PIXELS, 1).requires_grad_(False).eval()
    one.bias.copy_(-one(INPUTS).mean() + one.bias)
    labels = (one(INPUTS)[:, 0] > 0).long()
    result = find_adversarial(lambda x: torch.nn.functional.pad(one(x).view(-1, 1), (1, 0)), INPUTS, 1 - labels)
    assert result.success.all()
    assert torch.equal((one(result.adversarial)[:, 0] > 0).long(), 1 - labels)


def test_a_buffer_that_a_network_changed_is_put_back():
    network = Counting().eval()
    with pytest.raises(ValueError, match="buffer"):
        find_adversarial(network, INPUTS, TARGETS)
    assert network.count == 0


def test_a_networks_own_error_is_passed_on_with_what_it_was_asked():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as raised:
        find_adversarial(NETWORK, INPUTS[:, :5], TARGETS)
    assert raised.value.__notes__ == ["Raised by network, asked about inputs (2, 5), torch.float32 on cpu."]


def in_training(kind: str) -> nn.Sequential:
    """A network in evaluation mode with one module, of its first, in training mode."""
    inner = {"dropout": nn.Dropout(0.5), "batch norm": nn.BatchNorm1d(NUM_PIXELS)}[kind]
    network = nn.Sequential(nn.Sequential(inner), copy.deepcopy(NETWORK)).eval()
    inner.train()
    return network


class Around:
    """A network that is no module, and holds on to one."""

    def __init__(self, network):
        self.network = network

    def __call__(self, images):
        return self.network(images)

    def method(self, images):
        return self.network(images)


TRAINING = in_training("batch norm")


@pytest.mark.parametrize("kind", ["dropout", "batch norm"])
@pytest.mark.parametrize("door", ATTACKS)
def test_a_module_in_training_mode_is_refused_by_its_name(door, kind):
    network = in_training(kind)
    name = type(network[0][0]).__name__
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=rf"network's module '0.0', {name}, is in training mode.*network.eval\(\)"):
        ATTACKS[door](network, INPUTS, TARGETS)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def around() -> dict:
    network = in_training("batch norm")
    return {
        "a closure": (network, lambda x: network(x)),
        "a function of a global": (TRAINING, lambda x: TRAINING(x)),
        "a partial": (network, functools.partial(lambda model, x: model(x), network)),
        "a method of it": (network, network.forward),
        "a function around a function": (network, torch.enable_grad()(lambda x: network(x))),
        "a default": (network, lambda x, model=network: model(x)),
        "an object": (network, Around(network)),
    }


@pytest.mark.parametrize("case", around())
def test_training_mode_is_seen_through_what_is_around_a_network(case):
    inner, network = around()[case]
    own = "(module '0.0', BatchNorm1d, of )?the Sequential that network calls,?"
    with pytest.raises(ValueError, match=rf"^{own} is in training mode.*\.eval\(\) on it first"):
        find_adversarial(network, INPUTS, TARGETS)
    assert not inner[0][0].running_mean.any()
    assert inner[0][0].num_batches_tracked == 0


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_softmax_outputs_are_warned_of(find):
    network = nn.Sequential(NETWORK, nn.Softmax(1)).eval()
    classes = LABELS if find is find_nearest_adversarial else TARGETS
    with pytest.warns(ProbabilitiesWarning, match="take the softmax off") as caught:
        find(network, INPUTS, classes)
    assert [warning.filename for warning in caught] == [__file__]


def test_log_probabilities_are_logits():
    expected = find_adversarial(NETWORK, INPUTS, TARGETS)
    result = find_adversarial(nn.Sequential(NETWORK, nn.LogSoftmax(1)).eval(), INPUTS, TARGETS)
    torch.testing.assert_close(result.distortion, expected.distortion, rtol=1e-3, atol=0)


ALL_TARGETED = {name: door for name, door in DOORS.items() if name not in ("nearest", "linear_estimate")}


@pytest.mark.parametrize("door", ALL_TARGETED)
def test_labels_given_as_targets_are_warned_of_once(door):
    labels = LINEAR(INPUTS).argmax(dim=1) if door == "exact" else LABELS
    with pytest.warns(AlreadyTargetsWarning, match="8 of 8 inputs their target as they are.*not the labels") as caught:
        ALL_TARGETED[door](NETWORK, INPUTS, labels)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_few_inputs_of_their_target_class_are_nothing_to_warn_of():
    """Nor for any that were drawn by chance: warnings are errors here."""
    mixed = torch.where(torch.arange(N) < N // 2, LABELS, TARGETS)
    result = find_adversarial(NETWORK, INPUTS, mixed)
    assert result.distortion[: N // 2].tolist() == [0] * (N // 2)
    assert (result.distortion[N // 2 :] > 0).all()


# --- Networks that work as they are ---------------------------------------------------------------


def in_place(images):
    return NETWORK(images.sub_(0.05))


def past_autograd(images):
    images.data.mul_(0.9)
    return NETWORK(images)


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
@pytest.mark.parametrize("network", [in_place, past_autograd])
def test_a_network_that_works_in_place_changes_nothing_of_the_callers(find, network):
    inputs = INPUTS.clone()
    labels = network(INPUTS.clone()).argmax(dim=1)
    classes = labels if find is find_nearest_adversarial else network(INPUTS.clone()).topk(2).indices[:, 1]
    kept = classes.clone()
    result = find(network, inputs, classes)
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(classes, kept)
    assert_consistent(result, inputs)
    assert result.success.all()
    before = result.adversarial.clone()
    assert (network(before).argmax(dim=1) != labels).all()


def test_a_network_that_works_in_place_now_and_then_is_refused_and_changes_nothing():
    def network(x):
        return NETWORK(x.mul_(0.5) if len(x) > 2 and not x.requires_grad else x)

    mine = INPUTS.clone()
    with pytest.raises(ValueError, match=r"changes its argument.*lambda x: network\(x.clone\(\)\)"):
        find_nearest_adversarial(network, mine, LABELS)
    assert torch.equal(mine, INPUTS)


def test_results_share_no_memory_with_what_was_handed_in():
    for result in (find_adversarial(NETWORK, INPUTS, TARGETS), find_nearest_adversarial(NETWORK, INPUTS, LABELS)):
        result.adversarial.zero_()
    assert torch.equal(INPUTS, images())


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
@pytest.mark.parametrize("seed", range(3))
def test_results_hold_also_of_networks_that_are_not_deterministic(find, seed):
    torch.manual_seed(seed)
    inputs, targets = INPUTS.repeat(5, 1), TARGETS.repeat(5)
    result = find(lambda x: NETWORK(x + 0.1 * torch.randn_like(x)), inputs, targets)
    assert_consistent(result, inputs)


def test_where_nothing_was_found_no_mean_is_a_number():
    impossible = nn.Linear(NUM_PIXELS, 3).requires_grad_(False).eval()
    impossible.weight[2] = impossible.weight[0]
    impossible.bias[2] = impossible.bias[0] - 1
    targets = torch.full((N,), 2)
    for find in (find_adversarial, tight.find_adversarial):
        result = find(impossible, INPUTS, targets)
        assert not result.success.any()
        assert_consistent(result, INPUTS)
        assert result.distortion.mean().isinf()


def test_a_start_that_does_not_succeed_comes_to_the_input():
    elsewhere = INPUTS.flip(1)
    same = NETWORK(elsewhere).argmax(dim=1) == TARGETS
    result = tight.tighten(NETWORK, INPUTS, TARGETS, elsewhere)
    assert_consistent(result, INPUTS)
    assert not result.success[~same].any()
    assert (~same).any()


def autocast(images):
    with torch.autocast("cpu", torch.bfloat16):
        return NETWORK(images)


HALF, DOUBLE = copy.deepcopy(NETWORK).bfloat16(), copy.deepcopy(NETWORK).double()
CASTING = {
    "autocast": autocast,
    "bfloat16": lambda x: HALF(x.bfloat16()),
    "float64": lambda x: DOUBLE(x.double()),
}


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
@pytest.mark.parametrize("name", CASTING)
def test_logits_of_another_dtype_are_taken_in_that_of_the_images(find, name):
    network = CASTING[name]
    labels = network(INPUTS).argmax(dim=1)
    classes = labels if find is find_nearest_adversarial else network(INPUTS).topk(2).indices[:, 1]
    result = find(network, INPUTS, classes)
    assert_consistent(result, INPUTS)
    assert result.adversarial.dtype == result.distortion.dtype == torch.float32
    assert result.success.double().mean() >= (1 if name == "float64" else 0.75)


@pytest.mark.parametrize("door", ATTACKS)
def test_under_autocast_attacks_are_refused(door):
    with torch.autocast("cpu", torch.bfloat16):  # noqa: SIM117
        with pytest.raises(ValueError, match=r"autocast is on.*into the network"):
            ATTACKS[door](NETWORK, INPUTS, TARGETS)


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_the_callers_inference_mode_does_not_matter(find):
    classes = LABELS if find is find_nearest_adversarial else TARGETS
    expected = find(NETWORK, INPUTS, classes)
    with torch.inference_mode():
        inside, targets = INPUTS * 1, classes * 1  # tensors that no graph may hold
        result = find(NETWORK, inside, targets)
    assert torch.equal(result.adversarial, expected.adversarial)
    assert not result.adversarial.is_inference()


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_a_gradient_that_is_an_expanded_tensor_is_one(find):
    """Of a network that first adds all pixels up: two classes that part where the sum is 6."""

    def network(images):
        total = images.sum(dim=1, keepdim=True)
        return torch.cat([total, 12 - total], dim=1)

    labels = network(INPUTS).argmax(dim=1)
    result = find(network, INPUTS, labels if find is find_nearest_adversarial else 1 - labels)
    assert_consistent(result, INPUTS)
    assert result.success.all()
    assert (result.distortion >= (INPUTS.sum(dim=1) - 6).abs() / NUM_PIXELS * (1 - 1e-5)).all()


class Hooked(nn.Module):
    """A network that counts the gradients asked of it."""

    def __init__(self):
        super().__init__()
        self.num_gradients = 0

    def forward(self, images):
        logits = NETWORK(images)
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient):
        self.num_gradients += len(gradient)


def test_an_image_that_is_misread_already_costs_no_gradient():
    network = Hooked().eval()
    result = find_nearest_adversarial(network, INPUTS, (LABELS + 1) % NUM_CLASSES)
    assert network.num_gradients == 0
    assert torch.equal(result.adversarial, INPUTS)
    assert result.success.all()
    assert result.converged.all()
    assert result.distortion.tolist() == result.num_evaluations.tolist() == [0] * N


def test_beside_misread_images_the_others_are_attacked_as_alone():
    labels = torch.where(torch.arange(N) % 2 == 0, LABELS, TARGETS)
    result = find_nearest_adversarial(NETWORK, INPUTS, labels)
    alone = find_nearest_adversarial(NETWORK, INPUTS[::2], labels[::2])
    assert_consistent(result, INPUTS)
    assert result.distortion[1::2].tolist() == [0] * (N // 2)
    torch.testing.assert_close(result.distortion[::2], alone.distortion, rtol=1e-3, atol=0)
    assert (result.num_evaluations[::2] > 0).all()


def test_untargeted_logits_that_are_nan_are_no_answer():
    with pytest.raises(ValueError, match="not finite"):
        find_nearest_adversarial(lambda x: NETWORK(x) * torch.tensor([1, 1, torch.nan, 1]), INPUTS, LABELS)


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
        "max_averages": [-1],
        "memory": [NAN, -0.1, 1.0],
        "patience": [0],
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


def test_a_margin_in_logits_is_told_from_a_fraction():
    with pytest.raises(ValueError, match=r"fraction of what .* lacks .* other libraries call confidence or kappa"):
        AttackConfig(margin_fraction=5.0)


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
        (torch.ones(3), r"c must be \(8,\), torch.float32 on cpu as inputs are, not \(3,\)"),
        (torch.ones(N, dtype=torch.float64), "not .*torch.float64"),
        (-torch.ones(N), "c must be finite and 0 or more"),
        (torch.full((N,), torch.nan), "c must be finite and 0 or more"),
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
