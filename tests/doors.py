"""A small network, its images, and every public function that is given such: what the tests of the door share."""

import torch
from torch import nn

from lib.attacks import exact, levels, penalized, tight
from lib.attacks.penalized import find_adversarial, find_nearest_adversarial
from lib.measures import certificates

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
    "to_levels": lambda n, x, t: levels.to_levels(n, x, t, INPUTS),
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
