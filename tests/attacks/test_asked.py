"""Networks as people have them: refused with their cure, warned of, or asked as they should be, and left alone."""

import copy
import functools
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.attacks import asked, tight
from lib.attacks.arguments import AlreadyTargetsWarning, NoWayWarning
from lib.attacks.asked import ProbabilitiesWarning
from lib.attacks.penalized import find_adversarial, find_nearest_adversarial
from tests.doors import (
    ATTACKS,
    ELSEWHERE,
    FINDERS,
    INPUTS,
    LABELS,
    NETWORK,
    NUM_CLASSES,
    NUM_PIXELS,
    TARGETS,
    N,
    assert_consistent,
    assert_found,
    generator,
    images,
)

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
    "a dictionary of several": (
        lambda x: {"loss": 1, "logits": NETWORK(x)},
        r"hand in lambda x: network\(x\)\['logits'\]",
    ),
    "one of several": (lambda x: {"loss": 1, "out": NETWORK(x)}, "hand in one of its parts, loss, out"),
    "nothing": (lambda x: None, "not NoneType$"),
    "a sparse tensor": (lambda x: NETWORK(x).to_sparse(), r"dense, not torch.sparse_coo: hand in .*to_dense\(\)"),
    "lazy": (nn.Sequential(nn.LazyLinear(4)).eval(), "network's module '0', LazyLinear, is lazy and has no weights"),
    "in training as a whole": (copy.deepcopy(NETWORK).train(), r"^network is in training mode.*network.eval\(\)"),
    "one logit, and in training": (nn.Linear(NUM_PIXELS, 1), "at least two classes"),
    "coupled": (lambda x: NETWORK(x - x.mean(dim=0)), "other logits beside another image than alone"),
    "batch norm by hand": (
        lambda x: NETWORK(F.batch_norm(x, torch.zeros(NUM_PIXELS), torch.ones(NUM_PIXELS), training=True)),
        "answers to two images and fails on one",
    ),
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


def scripted(module: nn.Module, frozen: bool = False) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(module)
        return torch.jit.freeze(script) if frozen else script


class Own(nn.Module):
    """A module whose forward looks at its mode."""

    def forward(self, images):
        return images + 1 if self.training else images


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout2d(),
        nn.AlphaDropout(),
        nn.InstanceNorm1d(3, track_running_stats=True),
        nn.RReLU(),
        nn.MultiheadAttention(4, 2, dropout=0.1),
        nn.LSTM(3, 3, num_layers=2, dropout=0.5),
        Own(),
        scripted(nn.Dropout()),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_acts_by_its_mode_is_refused_in_training_mode(module):
    network = nn.Sequential(copy.deepcopy(NETWORK), module)
    network.eval()
    module.train()
    with pytest.raises(ValueError, match=r"network's module '1', .* is in training mode"):
        find_adversarial(network, INPUTS, TARGETS)


FRESH = nn.Identity()  # in training mode, as every module is that was just made


@pytest.mark.parametrize(
    "network",
    [
        nn.DataParallel(NETWORK),
        nn.Sequential(NETWORK, nn.Identity()),
        scripted(NETWORK, frozen=True),
        lambda x: FRESH(NETWORK(x)),
    ],
    ids=["DataParallel", "Sequential", "TorchScript", "a function"],
)
def test_what_is_around_a_network_in_evaluation_mode_may_be_in_any(network):
    assert_found(NETWORK, find_adversarial(network, INPUTS, TARGETS))


def test_a_module_that_the_call_does_not_lead_to_is_nobodys_business():
    other = in_training("dropout")
    both = SimpleNamespace(network=NETWORK, other=other)
    assert_found(NETWORK, find_adversarial(lambda x: both.network(x), INPUTS, TARGETS))


class Helped(nn.Module):
    """Looks at its mode in a method that its forward calls."""

    def _drop(self, images):
        return F.dropout(images, 0.5, self.training)

    def forward(self, images):
        return self._drop(images)


def test_a_mode_that_a_helper_looks_at_counts():
    network = nn.Sequential(Helped(), NETWORK).eval()
    network[0].training = True
    with pytest.raises(ValueError, match=r"network's module '0', Helped, is in training mode"):
        find_adversarial(network, INPUTS, TARGETS)


@pytest.mark.parametrize("idle", [nn.Dropout(0.0), nn.InstanceNorm1d(3)], ids=lambda module: type(module).__name__)
def test_what_does_the_same_in_either_mode_may_be_in_any(idle):
    network = nn.Sequential(NETWORK, nn.Unflatten(1, (1, NUM_CLASSES)), nn.Identity(), nn.Flatten()).eval()
    if isinstance(idle, nn.Dropout):
        network[2] = idle
    else:
        network.add_module("idle", nn.Identity())
        network[2].extra = idle
    assert_found(NETWORK, find_adversarial(network, INPUTS, TARGETS))


def test_a_module_that_the_call_passes_by_does_not_matter():
    gan = nn.ModuleDict({"network": NETWORK, "other": nn.Dropout()})
    gan["other"].train()
    assert_found(NETWORK, find_adversarial(lambda x: gan["network"](x), INPUTS, TARGETS))
    assert not gan["other"]._forward_pre_hooks


class Averaging(nn.Module):
    """Assigns a new tensor to its buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(NUM_PIXELS))

    def forward(self, images):
        self.mean = 0.9 * self.mean + 0.1 * images.detach().mean(dim=0)
        return NETWORK(images - self.mean)


def test_a_buffer_that_is_assigned_anew_is_put_back_too():
    network = Averaging().eval()
    before = network.mean
    with pytest.raises(ValueError, match="changes its own buffer 'mean'"):
        find_adversarial(network, INPUTS, TARGETS)
    assert network.mean is before
    assert not before.any()


@pytest.mark.parametrize("value", [0.0, -1e3, -1e9, -torch.inf])
@pytest.mark.parametrize("constant", [0.0, 1e4])
def test_neighbours_are_seen_beside_a_class_that_is_masked_and_a_constant(value, constant):
    def coupled(images):
        logits = NETWORK(images - images.mean(dim=0)) + constant
        return torch.cat([logits, torch.full_like(logits[:, :1], value)], dim=1)

    with pytest.raises(ValueError, match="other logits beside another image"):
        find_adversarial(coupled, INPUTS, TARGETS)


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5, 2.0])
def test_random_logits_are_nobodys_neighbours(noise):
    dice = generator(3)
    for _ in range(50):
        asked.asked(lambda x: NETWORK(x) + noise * torch.randn(len(x), NUM_CLASSES, generator=dice), INPUTS)


def test_logits_that_are_inf_are_no_answer_for_any_attack():
    infinite = torch.tensor([0, torch.inf, 0, 0])
    for find in FINDERS.values():
        with pytest.raises(ValueError, match="not finite"):
            find(lambda x: NETWORK(x) + infinite, INPUTS, torch.zeros_like(TARGETS))


def never_empty(images):
    assert len(images)
    return NETWORK(images.view(len(images), -1))


@pytest.mark.parametrize("door", ATTACKS)
@pytest.mark.parametrize("classes", ["targets", "labels", "none"])
@pytest.mark.filterwarnings("ignore::lib.attacks.arguments.AlreadyTargetsWarning")
def test_no_network_is_asked_about_no_image(door, classes):
    """Reshaping to (0, -1), for one, is an error."""
    goals = {"targets": TARGETS, "labels": LABELS, "none": torch.full_like(TARGETS, NUM_CLASSES)}[classes]
    hopeless = lambda x: torch.cat([z := never_empty(x), torch.full_like(z[:, :1], -torch.inf)], dim=1)  # noqa: E731
    ATTACKS[door](hopeless, INPUTS, goals)


def test_an_input_that_wins_a_tie_is_its_own_answer():
    """Class 0 comes first among equals: there is nothing to find."""
    with pytest.warns(AlreadyTargetsWarning):
        result = find_adversarial(lambda x: 0 * NETWORK(x), INPUTS, torch.zeros_like(TARGETS))
    assert result.success.all()
    assert result.converged.all()
    assert not result.distortion.any()
    assert (result.num_evaluations <= 2).all()


@pytest.mark.filterwarnings("ignore::lib.attacks.arguments.NoWayWarning")
@pytest.mark.parametrize(
    "flat", [lambda x: NETWORK((255 * x).round() / 255), lambda x: NETWORK(x + (x - x.detach()).sqrt())]
)
def test_without_a_gradient_that_leads_anywhere_nothing_is_spent(flat):
    result = find_adversarial(flat, INPUTS, TARGETS)
    assert not result.success.any()
    assert (result.num_evaluations <= 2).all()


def test_black_pixels_under_a_root_are_told_of():
    black = INPUTS.clone()
    black[:, 0] = 0
    given = NETWORK(black.sqrt()).argmax(dim=1) == TARGETS
    with pytest.warns(NoWayWarning, match=f"at {int((~given).sum())} of 8"):
        assert find_adversarial(lambda x: NETWORK(x.sqrt()), black, TARGETS).success.equal(given)
    assert find_adversarial(lambda x: NETWORK((x + 1e-4).sqrt()), black, TARGETS).success.all()


def test_an_exported_network_is_attacked():
    dynamic = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(NETWORK, (INPUTS,), dynamic_shapes=dynamic).module()
    expected = find_adversarial(NETWORK, INPUTS, TARGETS).distortion
    torch.testing.assert_close(find_adversarial(exported, INPUTS, TARGETS).distortion, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("masked", [-torch.inf, -1e5])
def test_a_class_out_of_reach_does_not_keep_the_nearest_of_the_others_from_being_it(masked):
    expected = find_nearest_adversarial(NETWORK, INPUTS, LABELS)
    result = find_nearest_adversarial(
        lambda x: torch.cat([z := NETWORK(x), torch.full_like(z[:, :1], masked)], dim=1), INPUTS, LABELS
    )
    torch.testing.assert_close(result.distortion, expected.distortion, rtol=1e-3, atol=0)
    assert torch.equal(result.converged, expected.converged)
    assert result.converged.any()


def test_sigmoid_outputs_are_warned_of():
    wide = nn.Sequential(nn.Linear(NUM_PIXELS, 10), nn.Sigmoid()).eval()
    with pytest.warns(ProbabilitiesWarning, match=r"all of them lie in \[0, 1\].*take the sigmoid off"):
        find_adversarial(wide, INPUTS, wide(INPUTS).topk(2).indices[:, 1])


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


# --- Those that work as they are ---------------------------------------------------------------


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
