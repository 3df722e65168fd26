"""In how many orthogonal directions networks are fooled: the dimension of what is adversarial, and of what transfers.

Images are rows of pixels (N, n), lengths are l2 norms |r|; perturbed images are not clamped.

Reference: Tramer, Papernot, Goodfellow, Boneh, McDaniel 2017, whose gradient aligned adversarial subspace this is.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lib.attacks import nearest
from lib.attacks.penalized import Network

AT_ONCE = 50  # images: bounds working memory
TRIED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # how many directions at once


def aligned(slopes: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """`num` orthonormal directions for each slope (N, n) that rise as steeply as so many can, (N, num, n).

    Each of them has the slope |g| / sqrt(num) along g. No other orthonormal ones are all steeper, since the squares of
    their slopes add up to at most |g|^2 (Bessel). But for that the subspace that they span is drawn at random.
    """
    drawn = torch.randn(slopes.shape[1], num - 1, generator=generator, dtype=slopes.dtype).to(slopes.device)
    columns = torch.cat([slopes[:, :, None], drawn.expand(len(slopes), -1, -1)], dim=2)
    basis = torch.linalg.qr(columns).Q
    basis[:, :, 0] *= torch.sign((basis[:, :, 0] * slopes).sum(dim=1, keepdim=True))
    return reflection(num).to(slopes) @ basis.mT


def reflection(num: int) -> Tensor:
    """The symmetric orthogonal matrix (num, num), float64, whose first row and column are all 1 / sqrt(num)."""
    axis = torch.full((num,), -(num**-0.5), dtype=torch.float64)
    axis[0] += 1
    length = axis.square().sum()
    return torch.eye(num, dtype=torch.float64) - (2 * torch.outer(axis, axis) / length if num > 1 else 0)


def steepest(network: Network, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Towards the nearest class where the network is linear: the slope of its margin (N, n), and how far it is (N,)."""
    distances = nearest.linearized_distances(network, inputs, labels)
    distance, rival = distances.min(dim=1)
    points = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = network(points)
        margin = logits.gather(1, rival[:, None]) - logits.gather(1, labels[:, None])
        (slopes,) = torch.autograd.grad(margin.sum(), points)
    return slopes, distance


def fooled(
    networks: Mapping[str, nn.Module], inputs: Tensor, labels: Tensor, slopes: Tensor, length: float, seed: int
) -> dict[str, Tensor]:
    """Of each number of `aligned` directions in TRIED, how many fool: {network: (len(TRIED), N)}, integers.

    A step of `length` from the image along the direction has to make the first network say another class than the
    label; of the other networks those steps count that fool the first one and this one.
    """
    parts = zip(*(values.split(AT_ONCE) for values in (inputs, labels, slopes)), strict=True)
    found = [[_fooled(networks, *part, length, num, seed) for num in TRIED] for part in parts]
    stacked = torch.cat([torch.stack(each) for each in found], dim=2)  # (TRIED, networks, N)
    return dict(zip(networks, stacked.unbind(1), strict=True))


@torch.no_grad()
def _fooled(networks, inputs: Tensor, labels: Tensor, slopes: Tensor, length: float, num: int, seed: int) -> Tensor:
    """Of `num` directions, how many fool the first network, and each other one as well: (networks, N)."""
    directions = aligned(slopes, num, torch.Generator().manual_seed(seed))
    images = (inputs[:, None] + length * directions).flatten(0, 1)
    wrong = torch.stack(
        [network(images).argmax(dim=1).view(-1, num) != labels[:, None] for network in networks.values()]
    )
    return (wrong & wrong[0]).sum(dim=2)


def flat(distance: Tensor, length: float) -> Tensor:
    """The largest number in TRIED of directions that all reach a plane at the `distance` (N,): (length / distance)^2.

    Of so many each is 1 / sqrt(num) as steep as the normal, so it crosses the plane at sqrt(num) times the distance.
    """
    reach = (length / distance).square()
    numbers = torch.tensor([0, *TRIED], device=distance.device)
    return numbers[(reach[:, None] >= numbers).sum(dim=1) - 1]
