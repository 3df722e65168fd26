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
from lib.networks.autoencoder import AutoencoderConfig, Decoder, autoencoder_loss, fit_autoencoder
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


@pytest.fixture
def autoencoder():
    return mnist.AutoencoderClassifier((7, 4, 3), generator(1)).double()


@pytest.fixture
def patterns():
    return torch.rand(30, 7, generator=generator(2), dtype=torch.float64)


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


# --- The autoencoder ------------------------------------------------------------------------------


def loss_of(network, inputs, noisy=None, **settings) -> torch.Tensor:
    config = AutoencoderConfig(**({"sparsity_weight": 0.0, "contraction": 0.0} | settings))
    decoder = Decoder(network.encoder, config.tied)
    return autoencoder_loss(network, decoder, inputs if noisy is None else noisy, inputs, config)


def term(network, inputs, **weights) -> float:
    """What one regulariser adds to the loss."""
    return (loss_of(network, inputs, **weights) - loss_of(network, inputs)).item()


def reconstruction(network, noisy) -> np.ndarray:
    """With tied weights and no mean image."""
    weight, bias = network.encoder.weight.detach().numpy(), network.encoder.bias.detach().numpy()
    return 1 / (1 + np.exp(-(noisy.numpy() @ weight.T + bias))) @ weight


def test_squared_error_by_hand(autoencoder, patterns):
    """Of the clean inputs, from the noisy ones."""
    noisy = patterns + 0.1
    expected = np.mean(np.sum((reconstruction(autoencoder, noisy) - patterns.numpy()) ** 2, axis=1)) / 2
    assert loss_of(autoencoder, patterns, noisy).item() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_by_hand(autoencoder, patterns):
    x, p = patterns.numpy(), 1 / (1 + np.exp(-reconstruction(autoencoder, patterns)))
    expected = -np.mean(np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=1))
    assert loss_of(autoencoder, patterns, sigmoid_output=True).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("tied", [True, False])
def test_decay_counts_encoder_and_decoder(autoencoder, patterns, tied):
    expected = 0.3 * autoencoder.encoder.weight.square().sum().item()  # the untied decoder starts as a copy
    assert term(autoencoder, patterns, decay=0.3, tied=tied) == pytest.approx(expected, rel=1e-10)


def test_a_tied_decoder_is_the_encoders_weight_and_an_untied_one_a_copy(autoencoder):
    tied, untied = (Decoder(autoencoder.encoder, tied) for tied in (True, False))
    assert tied.weight is autoencoder.encoder.weight
    assert untied.weight is not autoencoder.encoder.weight
    assert torch.equal(untied.weight, tied.weight)
    code = torch.rand(5, 4, dtype=torch.float64)
    untied.mean_image.data.fill_(2.0)
    torch.testing.assert_close(untied(code), tied(code) + 2)


def test_the_gradient_of_tied_weights_has_both_parts(autoencoder, patterns):
    """That through the code, and that through the decoder: together those of untied weights."""
    (both,) = torch.autograd.grad(loss_of(autoencoder, patterns), autoencoder.encoder.weight)
    decoder = Decoder(autoencoder.encoder, tied=False)
    config = AutoencoderConfig(sparsity_weight=0.0, contraction=0.0)
    loss = autoencoder_loss(autoencoder, decoder, patterns, patterns, config)
    parts = torch.autograd.grad(loss, [autoencoder.encoder.weight, decoder.weight])
    assert all(part.abs().max() > 1e-3 for part in parts)
    torch.testing.assert_close(both, sum(parts))


def test_contraction_is_the_mean_squared_norm_of_the_jacobian(autoencoder, patterns):
    jacobians = torch.func.vmap(torch.func.jacrev(autoencoder.encode))(patterns)
    assert jacobians.shape == (30, 4, 7)
    expected = jacobians.square().sum(dim=(1, 2)).mean().item()
    assert term(autoencoder, patterns, contraction=1.0) == pytest.approx(expected, rel=1e-10)
    assert term(autoencoder, patterns, contraction=2.5) == pytest.approx(2.5 * expected, rel=1e-10)


def test_divergence_is_zero_exactly_where_the_mean_activation_is_the_target(autoencoder, patterns):
    config = {"sparsity": 0.06, "sparsity_weight": 1.0}
    with torch.no_grad():
        autoencoder.encoder.weight.zero_()
        autoencoder.encoder.bias.fill_(math.log(0.06 / 0.94))
    assert term(autoencoder, patterns, **config) == pytest.approx(0, abs=1e-12)
    for shift in (-0.5, 0.5):
        with torch.no_grad():
            autoencoder.encoder.bias[2] = math.log(0.06 / 0.94) + shift
        assert term(autoencoder, patterns, **config) > 1e-3


def test_divergence_by_hand(autoencoder, patterns):
    activation = autoencoder.encode(patterns).mean(dim=0).detach().numpy()
    expected = np.sum(0.2 * np.log(0.2 / activation) + 0.8 * np.log(0.8 / (1 - activation)))
    found = term(autoencoder, patterns, sparsity=0.2, sparsity_weight=3.0)
    assert found == pytest.approx(3 * expected, rel=1e-10)


@pytest.mark.parametrize("settings", [{}, {"tied": False, "decay": 0.01}, {"sigmoid_output": True}])
def test_fit_autoencoder_lowers_the_loss_and_freezes_all_but_the_classifier(digits, settings):
    network, config = build("AE400-10"), AutoencoderConfig(max_iterations=4, num_images=100, **settings)
    classifier = state(network.classifier)
    inputs = digits.inputs.clone()
    inputs[100:] = torch.nan  # more than num_images are never looked at
    few = inputs[:100]
    before = autoencoder_loss(network, Decoder(network.encoder, config.tied), few, few, config).item()
    result = fit_autoencoder(network, inputs, config, generator(2))
    assert result.losses[0] == pytest.approx(before, rel=1e-6)
    assert result.losses[-1] < 0.9 * before
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {"classifier.weight", "classifier.bias"}
    assert torch.equal(state(network.classifier), classifier)


def test_noise_is_drawn_once_from_its_generator(digits):
    config = AutoencoderConfig(max_iterations=3, num_images=50, noise=0.4)
    found = []
    for seed in (2, 2, 3):
        network = build("AE400-10")
        result = fit_autoencoder(network, digits.inputs, config, generator(seed))
        assert result.losses == sorted(result.losses, reverse=True)  # one and the same loss throughout
        found.append(state(network))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


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
