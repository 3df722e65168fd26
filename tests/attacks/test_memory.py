"""What a network keeps of an image is counted to the byte, and no chunk needs more room than there is."""

import pytest
import torch
from torch import nn

from lib.attacks import asked, memory, penalized, tight
from lib.attacks.penalized import AttackConfig
from lib.attacks.tight import TightConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sigmoid_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 7), nn.Sigmoid(), nn.Linear(7, 5), nn.Sigmoid(), nn.Linear(5, 3))
    network.eval().requires_grad_(False)
    network[-1].bias -= network(torch.rand(100, 20, generator=generator(1))).mean(dim=0)  # all classes can be had
    return network


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num", [1, 2, 9])
def test_of_a_sigmoid_network_its_activations_are_kept(dtype, num):
    """The gradient of a sigmoid wants what it said, that of a frozen linear layer nothing of the image."""
    network = sigmoid_network().to(dtype)
    found = asked.asked(network, torch.rand(num, 20, generator=generator(), dtype=dtype))
    assert found.bytes_an_image == (7 + 5) * dtype.itemsize


def test_weights_and_what_is_kept_twice_do_not_count_again():
    twice = nn.Sequential(
        nn.Linear(20, 2), nn.ReLU()
    ).eval()  # trainable: of the image, too, its gradient wants to know
    images = torch.rand(2, 20, generator=generator()).requires_grad_()
    with memory.counted(2) as kept:
        said = twice(images)
        (said * said).sum()
    assert kept == [2 * (20 + 2) * 4]


def test_a_chunk_fills_the_room_and_no_more(monkeypatch):
    monkeypatch.setattr(memory, "ROOM", 1_000_000)
    images = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    each = 2 * 1000 + 4 * 75 * 8
    assert memory.at_once(images, 1000, 4, fastest=10**6) == 1_000_000 // each
    assert memory.at_once(images, 1000, 4, fastest=10) == 10
    assert memory.at_once(images, 10**9, 4, fastest=10) == 1  # which has to fit, or the attack cannot be had at all


def test_where_there_is_room_chunks_are_as_large_as_is_fast():
    network = asked.asked(sigmoid_network(), torch.rand(2, 20, generator=generator()))
    inputs = torch.rand(5, 20)
    assert AttackConfig().at_once(network, inputs) == 1024
    assert TightConfig().at_once(network, inputs) == 256
    assert (
        AttackConfig(chunk_size=7).at_once(network, inputs) == TightConfig(chunk_size=7).at_once(network, inputs) == 7
    )


@pytest.mark.numerical
def test_little_room_changes_nothing_but_the_chunks(monkeypatch):
    network, inputs = sigmoid_network(), torch.rand(12, 20, generator=generator(2))
    targets = network(inputs).topk(2).indices[:, 1]
    roomy = penalized.find_adversarial(network, inputs, targets)
    assert roomy.success.all()
    near = tight.tighten(network, inputs, targets, roomy.adversarial)
    monkeypatch.setattr(memory, "ROOM", 8_000)
    sizes = []
    monkeypatch.setattr(penalized, "_search_over_c", _noting(penalized._search_over_c, sizes))
    tightly = penalized.find_adversarial(network, inputs, targets)
    assert len(sizes) > 2
    assert max(sizes) == AttackConfig().at_once(asked.asked(network, inputs), inputs) < 12
    # For one of these images a rounding decides where the search over c ends: up to 0.4 % apart, whatever the leads.
    torch.testing.assert_close(tightly.distortion, roomy.distortion, rtol=1e-2, atol=0)
    again = tight.tighten(network, inputs, targets, tightly.adversarial)
    torch.testing.assert_close(again.distortion, near.distortion, rtol=1e-2, atol=0)


def with_torch_func(network):
    """Its logits, by way of a gradient that torch.func takes, which lets nobody count."""

    def slope(images):
        return torch.func.vjp(lambda x: network(x).sum(dim=1), images)[1](torch.ones(len(images)))[0]

    return lambda images: network(images) + 0 * slope(images).sum(dim=1, keepdim=True)


def refusing_to_be_watched(network):
    def say(images):
        with torch.autograd.graph.disable_saved_tensors_hooks("nobody watches"):
            return network(images)

    return say


@pytest.mark.parametrize("wrapped", [with_torch_func, refusing_to_be_watched])
def test_a_network_whose_memory_cannot_be_counted_is_attacked_all_the_same(wrapped):
    network, inputs = sigmoid_network(), torch.rand(4, 20, generator=generator(2))
    targets = network(inputs).topk(2).indices[:, 1]
    assert asked.asked(wrapped(network), inputs).bytes_an_image == 0
    found = penalized.find_adversarial(wrapped(network), inputs, targets)
    assert found.success.all()
    plain = penalized.find_adversarial(network, inputs, targets)
    torch.testing.assert_close(found.distortion, plain.distortion, rtol=1e-3, atol=0)


def _noting(function, sizes: list[int]):
    def noting(network, inputs, *arguments):
        sizes.append(len(inputs))
        return function(network, inputs, *arguments)

    return noting


@pytest.mark.gpu
def test_on_a_gpu_a_chunk_needs_no_more_than_it_has_free():
    network = sigmoid_network().cuda()
    inputs = torch.rand(4, 20, generator=generator()).cuda()
    found = asked.asked(network, inputs)
    assert found.bytes_an_image == (7 + 5) * 4
    free, size = torch.cuda.mem_get_info()[0], AttackConfig().at_once(found, inputs)
    assert 1024 <= size <= 16 * 1024
    assert size * (2 * found.bytes_an_image + 22 * 80) <= free
