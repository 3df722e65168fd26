"""A fit ends where the mathematics says it must, and says how it ended."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn

from lib.data import dataset, sources
from lib.networks import mnist, training
from lib.networks.training import (
    DecayRule,
    MinibatchConfig,
    TrainingConfig,
    TrainingError,
    error_rate,
    fit,
    fit_minibatches,
    minimize_loss,
    weight_decay,
)

pytestmark = pytest.mark.numerical

EXACT = TrainingConfig(max_iterations=2000, decrease=0.0, gradient=1e-8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, seed: int = 0) -> nn.Module:
    return mnist.build(mnist.SPECS[name], generator(seed))


def state(network: nn.Module) -> torch.Tensor:
    """All weights as one vector, copied."""
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def largest_gradient(loss: torch.Tensor, parameters) -> float:
    return max(g.abs().max().item() for g in torch.autograd.grad(loss, list(parameters)))


@pytest.fixture(scope="module")
def digits() -> dataset.Dataset:
    return sources.embedded().train.take(200)


# --- The minimum ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [1.0, 0.1])
def test_a_convex_fit_reaches_the_minimum_that_scikit_learn_finds(digits, lam):
    """HALF is lambda / 2 * sum w^2 beside the mean cross-entropy; theirs is |w|^2 / 2 beside C times the sum."""
    network, inputs, labels = build("softmax 1").double(), digits.inputs.double(), digits.labels
    result = fit(network, inputs, labels, [lam], DecayRule.HALF, EXACT)
    theirs = LogisticRegression(C=1 / (lam * len(labels)), tol=1e-9, max_iter=5000).fit(inputs.numpy(), labels.numpy())
    logits = torch.from_numpy(theirs.decision_function(inputs.numpy()))
    minimum = F.cross_entropy(logits, labels).item() + lam / 2 * np.square(theirs.coef_).sum()
    assert result.converged
    assert result.losses[-1] == pytest.approx(minimum, abs=1e-9)
    np.testing.assert_allclose(network[0].weight.detach().numpy(), theirs.coef_, rtol=0, atol=1e-5)


def test_the_minimum_does_not_depend_on_the_start_or_the_dtype(digits):
    ends = []
    for seed, dtype in ((0, torch.float64), (5, torch.float64), (6, torch.float32)):
        network = build("softmax 1", seed).to(dtype)
        ends.append(fit(network, digits.inputs.to(dtype), digits.labels, [0.1]).losses[-1])
    assert ends[1:] == pytest.approx(ends[:1] * 2, abs=1e-5)


def test_the_gradient_is_zero_at_the_end_and_is_the_one_reported(digits):
    network, inputs = build("softmax 1").double(), digits.inputs.double()
    result = fit(network, inputs, digits.labels, [0.1], DecayRule.UNITS, EXACT)
    loss = F.cross_entropy(network(inputs), digits.labels) + weight_decay(network, [0.1], DecayRule.UNITS)
    assert result.gradient <= EXACT.gradient
    assert result.gradient == pytest.approx(largest_gradient(loss, network.parameters()), rel=1e-6)
    assert result.losses[-1] == pytest.approx(loss.item(), rel=1e-12)


@pytest.mark.parametrize("name", ["softmax 1e-4", "100-100-10"])
def test_losses_begin_at_the_start_never_rise_and_end_at_what_the_network_holds(digits, name):
    network, decay = build(name), mnist.SPECS[name].decay

    def loss() -> torch.Tensor:
        return F.cross_entropy(network(digits.inputs), digits.labels) + weight_decay(network, decay, DecayRule.HALF)

    start = loss().item()
    result = fit(network, digits.inputs, digits.labels, decay, config=TrainingConfig(max_iterations=25))
    assert result.losses[0] == start
    assert (np.diff(result.losses) <= 0).all()
    assert result.losses[-1] == pytest.approx(loss().item(), rel=1e-6)
    assert result.losses[-1] < start / 2
    assert result.gradient == pytest.approx(largest_gradient(loss(), network.parameters()), rel=1e-4)
    assert result.num_evaluations >= len(result.losses)
    assert result.seconds > 0


def test_frozen_parameters_stay(digits):
    network = build("100-100-10")
    network[0].requires_grad_(False)
    before = state(network[0])
    fit(network, digits.inputs, digits.labels, [1e-5, 1e-6], config=TrainingConfig(max_iterations=5))
    assert torch.equal(state(network[0]), before)


# --- The decay ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (DecayRule.HALF, 0.1 * 55 / 2 + 0.01 * 14 / 2),
        (DecayRule.UNITS, 0.1 * 55 / 2 + 0.01 * 14 / 1),  # layers of 2 units and of 1
        (DecayRule.FULL, 0.1 * 55 + 0.01 * 14),
    ],
)
def test_decay_by_closed_form(rule, expected):
    """Weights 0..5 have squares summing to 55, weights 1..3 to 14; biases do not count."""
    first, second = nn.Linear(3, 2), nn.Linear(3, 1)
    with torch.no_grad():
        first.weight.copy_(torch.arange(6.0).view(2, 3))
        second.weight.copy_(torch.arange(1.0, 4.0).view(1, 3))
        first.bias.fill_(100.0)
        second.bias.fill_(100.0)
    assert weight_decay(nn.Sequential(first, nn.Sigmoid(), second), [0.1, 0.01], rule).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["softmax 1", "100-100-10", "123-456-10"])
def test_divisors_of_the_papers_layers(name):
    layers = [m for m in build(name) if isinstance(m, nn.Linear)]
    assert [DecayRule.UNITS.divisor(layer) for layer in layers] == list(mnist.SPECS[name].sizes[1:])
    assert {DecayRule.HALF.divisor(layer) for layer in layers} == {2}
    assert {DecayRule.FULL.divisor(layer) for layer in layers} == {1}


def test_frozen_layers_have_no_decay():
    network = build("100-100-10")
    network[0].requires_grad_(False)
    rest = nn.Sequential(*list(network)[1:])
    decay = [0.3, 0.2]
    assert weight_decay(network, decay, DecayRule.HALF) == weight_decay(rest, decay, DecayRule.HALF)


@pytest.mark.parametrize("decay", [[], [1e-5], [1e-5] * 4])
def test_as_many_decays_as_layers(digits, decay):
    network = build("100-100-10")
    before = state(network)
    with pytest.raises(ValueError, match=f"{len(decay)} weight decays for 3 trainable linear layers"):
        fit(network, digits.inputs, digits.labels, decay)
    assert torch.equal(state(network), before)


# --- How it ended ---------------------------------------------------------------------------------


def test_converged_by_decrease_at_the_first_small_one(digits):
    limits = TrainingConfig(decrease=1e-3, gradient=0.0)
    result = fit(build("softmax 1").double(), digits.inputs.double(), digits.labels, [0.1], config=limits)
    decrease = -np.diff(result.losses)
    relative = decrease / np.maximum(1, result.losses[:-1])
    assert result.converged
    assert relative[-1] <= 1e-3
    assert (relative[:-1] > 1e-3).all()


def test_converged_by_gradient(digits):
    limits = TrainingConfig(decrease=0.0, gradient=1e-4)
    result = fit(build("softmax 1").double(), digits.inputs.double(), digits.labels, [0.1], config=limits)
    assert result.converged
    assert result.gradient <= 1e-4


def test_out_of_iterations_is_reported(digits):
    result = fit(build("softmax 1e-4"), digits.inputs, digits.labels, [1e-4], config=TrainingConfig(max_iterations=2))
    assert (result.status, result.converged) == ("out of iterations", False)
    assert len(result.losses) == 3


class LyingSquare(torch.autograd.Function):
    """x_1^2 + 10 x_2^2, whose gradient points the wrong way unless `honest`."""

    @staticmethod
    def forward(ctx, x, honest):
        ctx.save_for_backward(x)
        ctx.sign = 1 if honest else -1
        return x.square().mul(torch.tensor([1.0, 10.0], dtype=x.dtype)).sum()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.sign * 2 * x * torch.tensor([1.0, 10.0], dtype=x.dtype) * grad, None


@pytest.mark.parametrize("num_honest", [0, 3])
def test_a_line_search_that_fails_is_reported_and_the_last_good_point_kept(num_honest):
    x = nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
    evaluations = iter(range(1000))
    result = minimize_loss([x], lambda: LyingSquare.apply(x, next(evaluations) < num_honest), TrainingConfig())
    assert (result.status, result.converged) == ("line search failed", False)
    assert result.losses[0] == 9 + 160
    assert result.losses[-1] == LyingSquare.apply(x, True).item()
    assert (len(result.losses) > 1) == (num_honest > 0)


def test_the_network_holds_the_solvers_answer_and_not_the_last_point_it_tried(monkeypatch):
    solve = scipy.optimize.minimize

    def try_once_more(objective, start, **options):
        found = solve(objective, start, **options)
        objective(found.x + 1)
        return found

    monkeypatch.setattr(scipy.optimize, "minimize", try_once_more)
    x = nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
    result = minimize_loss([x], lambda: LyingSquare.apply(x, True), TrainingConfig())
    assert result.losses[-1] == LyingSquare.apply(x, True).item() < 1e-10


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_inputs_that_are_not_finite_are_an_error(digits, bad):
    inputs = digits.inputs.clone()
    inputs[7, 300] = bad
    with pytest.raises(TrainingError, match="in iteration 0"):
        fit(build("softmax 1e-4"), inputs, digits.labels, [1e-4])


def test_a_gradient_that_is_not_finite_is_an_error():
    x = nn.Parameter(torch.zeros(2))
    with pytest.raises(TrainingError, match=r"the loss is 0\.0 in iteration 0, or its gradient not finite"):
        minimize_loss([x], lambda: x.sqrt().sum(), TrainingConfig())


# --- The error rate -------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 100])
def test_error_rate_by_hand(chunk_size):
    said = torch.tensor([0, 1, 2, 2, 1])
    rate = error_rate(nn.Identity(), F.one_hot(said, 3).float(), torch.tensor([0, 1, 2, 0, 0]), chunk_size)
    assert rate == 2 / 5


# --- Minibatches ----------------------------------------------------------------------------------

SHORT = MinibatchConfig(num_epochs=2, batch_size=30)


def small_network() -> nn.Module:
    """With dropout, so that its training is random."""
    hidden = mnist.glorot(nn.Linear(784, 20), generator(3))
    return nn.Sequential(hidden, nn.ReLU(), nn.Dropout(0.5), mnist.glorot(nn.Linear(20, 10), generator(4))).eval()


def test_minibatches_follow_the_seed_and_nothing_else(digits):
    ends = []
    for global_seed, seed in ((0, 11), (1, 11), (0, 12)):
        torch.manual_seed(global_seed)
        network = small_network()
        ends.append((fit_minibatches(network, digits.inputs, digits.labels, SHORT, seed).losses, state(network)))
    assert ends[0][0] == ends[1][0] != ends[2][0]
    assert torch.equal(ends[0][1], ends[1][1])
    assert not torch.equal(ends[0][1], ends[2][1])


def test_minibatches_leave_the_global_generator_alone_and_the_network_evaluating(digits):
    network = small_network()
    before = torch.get_rng_state()
    result = fit_minibatches(network, digits.inputs, digits.labels, SHORT, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in network.modules())
    assert result.status == "out of iterations"
    assert result.num_evaluations == 2 * 7  # 200 images in batches of 30: the last one has 20


def test_minibatches_learn(digits):
    network, config = small_network(), MinibatchConfig(num_epochs=15, batch_size=30, learning_rate=3e-3)
    result = fit_minibatches(network, digits.inputs, digits.labels, config, seed=0)
    assert len(result.losses) == 15
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert error_rate(network, digits.inputs, digits.labels) < 0.1


def test_an_epochs_loss_is_the_mean_over_its_images():
    """A step of length zero: every batch sees the same network, and the last one is smaller."""
    network, inputs, labels = nn.Linear(4, 3), torch.rand(10, 4, generator=generator(5)), torch.arange(10) % 3
    still = MinibatchConfig(num_epochs=1, batch_size=4, learning_rate=0.0)
    expected = F.cross_entropy(network(inputs), labels).item()
    assert fit_minibatches(network, inputs, labels, still, seed=0).losses == [pytest.approx(expected, rel=1e-6)]


def test_minibatches_that_are_not_finite_are_an_error(digits):
    inputs = digits.inputs.clone()
    inputs[0] = math.nan
    with pytest.raises(TrainingError, match="in epoch 1"):
        fit_minibatches(small_network(), inputs, digits.labels, SHORT, seed=0)


# --- On a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_gpu_fit_equals_cpu(digits):
    ends = []
    for device in ("cpu", "cuda"):
        network = build("softmax 1").to(device)
        result = fit(network, digits.inputs.to(device), digits.labels.to(device), [0.1])
        assert result.converged
        ends.append((result.losses[-1], state(network).cpu()))
    assert ends[1][0] == pytest.approx(ends[0][0], abs=1e-5)
    torch.testing.assert_close(ends[1][1], ends[0][1], rtol=0, atol=1e-2)


@pytest.mark.gpu
def test_minibatches_on_a_gpu_follow_the_seed_and_leave_its_generator_alone(digits):
    before, ends = torch.cuda.get_rng_state(), []
    for _ in range(2):
        network = small_network().cuda()
        training.fit_minibatches(network, digits.inputs.cuda(), digits.labels.cuda(), SHORT, seed=11)
        ends.append(state(network).cpu())
    assert torch.equal(torch.cuda.get_rng_state(), before)
    torch.testing.assert_close(*ends, rtol=0, atol=1e-4)
