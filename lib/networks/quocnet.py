"""QuocNet (Le et al. 2012): three stages of untied local filters, learned without a single label.

A stage filters its maps by local filters, pools squares over small neighbourhoods of each map, and normalises contrast.
Its filters are learned by reconstruction ICA, stage by stage: from what the filters W1 keep of x, W2 must restore x,
and pools must be quiet for most x.

Reference: Le, Ranzato, Monga, Devin, Chen, Corrado, Dean, Ng, Building high-level features using large scale
unsupervised learning, ICML 2012 (arXiv 1112.6209).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from lib.networks import local_filters
from lib.networks.training import TrainingError

DARK = 1e-2  # the least deviation that contrast is divided by


@dataclass(frozen=True)
class QuocNetConfig:
    """Sizes, those of 2012. Pools are taken at every place, and contrast over all maps of a stage at once."""

    side: int = 200  # pixels of the square images
    num_channels: int = 3
    field: int = 18  # pixels that a filter sees, a side
    num_maps: int = 8
    pool: int = 5
    contrast: int = 5  # pixels a side of the Gaussian window
    normalized: bool = True  # contrast behind every stage, as in 2012; else that of the pixels alone
    num_stages: int = 3

    def __post_init__(self):
        for number, (_, side) in enumerate(self.stage_shapes()[:-1], 1):
            if side < self.field + self.pool - 1:
                raise ValueError(
                    f"stage {number} sees {side} pixels a side, too few for fields of {self.field} and pools of "
                    f"{self.pool}"
                )

    def stage_shapes(self) -> list[tuple[int, int]]:
        """Channels and side of what each stage sees, and last of what comes out."""
        shapes = [(self.num_channels, self.side)]
        for _ in range(self.num_stages):
            shapes.append((self.num_maps, shapes[-1][1] - (self.field - 1) - (self.pool - 1)))
        return shapes

    @property
    def num_features(self) -> int:
        num_maps, side = self.stage_shapes()[-1]
        return num_maps * side**2


LE = QuocNetConfig()


def num_connections(config: QuocNetConfig) -> int:
    """Weights of all filters; none is shared, so that each is one connection."""
    shapes = config.stage_shapes()[:-1]
    return sum((side - config.field + 1) ** 2 * config.num_maps * config.field**2 * n for n, side in shapes)


class Stage(nn.Module):
    """Filters, pools and contrast: maps (N, C, side, side) to (N, M, smaller, smaller)."""

    def __init__(self, num_channels: int, side: int, config: QuocNetConfig, generator: torch.Generator | None):
        super().__init__()
        self.pool, self.contrast = config.pool, config.contrast if config.normalized else None
        places = side - config.field + 1
        shape = (places, places, config.field, config.field, num_channels, config.num_maps)
        self.filters = nn.Parameter(_unit_length(torch.randn(shape, generator=generator)))

    def forward(self, maps: Tensor) -> Tensor:
        pools = pooled(local_filters.respond(maps, self.filters), self.pool)
        return pools if self.contrast is None else local_contrast(pools, self.contrast)


class QuocNet(nn.Module):
    """Images (N, C, side, side) in [0, 1] to features (N, num_features)."""

    def __init__(self, config: QuocNetConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(Stage(*shape, config, generator) for shape in config.stage_shapes()[:-1])

    def forward(self, images: Tensor) -> Tensor:
        return self.below(images, len(self.stages)).flatten(1)

    def below(self, images: Tensor, num: int) -> Tensor:
        """What stage number `num` sees of images: their contrast, gone through the stages before it."""
        maps = local_contrast(images, self.config.contrast)
        for stage in self.stages[:num]:
            maps = stage(maps)
        return maps


def _unit_length(filters: Tensor) -> Tensor:
    """Every filter, (..., field, field, C, M), divided by its length."""
    return F.normalize(filters, dim=(-4, -3, -2))


def pooled(responses: Tensor, size: int, least: float = 1e-6) -> Tensor:
    """Root of `least` + the sum of squares over each square of `size` places of a map: sqrt(eps + H (W1^T x)^2)."""
    sums = F.avg_pool2d(responses.square(), size, stride=1) * size**2
    return (least + sums).sqrt()


def local_contrast(maps: Tensor, size: int) -> Tensor:
    """Maps less their local mean, over their local standard deviation, where this exceeds DARK. Shape as it was.

    Mean and deviation are weighted by a Gaussian window over places, and taken over all maps. Where the window reaches
    beyond the border its weights inside count alone.

    Reference: Jarrett, Kavukcuoglu, Ranzato, LeCun 2009, section 2; Le et al. 2012, section 3.
    """
    window = _gaussian(size).to(maps)
    inside = _blurred(torch.ones_like(maps[:1, :1]), window)

    def average(values: Tensor) -> Tensor:
        return _blurred(values.mean(dim=1, keepdim=True), window) / inside

    centred = maps - average(maps)
    return centred / average(centred.square()).clamp_min(DARK**2).sqrt()


def _gaussian(size: int) -> Tensor:
    """A window (size,) whose standard deviation is a quarter of its width; it sums to 1."""
    places = torch.arange(size) - (size - 1) / 2
    window = torch.exp(-(places.square()) / (2 * (size / 4) ** 2))
    return window / window.sum()


def _blurred(maps: Tensor, window: Tensor) -> Tensor:
    """Maps (N, 1, H, W) weighted by the window along both sides; beyond the border is 0."""
    half = len(window) // 2
    across = F.conv2d(maps, window.view(1, 1, 1, -1), padding=(0, half))
    return F.conv2d(across, window.view(1, 1, -1, 1), padding=(half, 0))


# --- Learning without labels ----------------------------------------------------------------------


@dataclass(frozen=True)
class RICAConfig:
    """Weight of quiet pools, and how long each stage learns."""

    sparsity: float = 0.1  # lambda
    num_epochs: int = 1
    batch_size: int = 100
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class FittedStage:
    """A stage's filters, and the mean cost of the images over the batches of its training, in order."""

    filters: Tensor
    costs: Tensor  # (num_batches,), each before the step that it led to


def rica_cost(maps: Tensor, encoder: Tensor, decoder: Tensor, pool: int, sparsity: float) -> Tensor:
    """|W2 W1^T x - x|^2 + lambda * sum of sqrt(eps + H (W1^T x)^2), the mean over maps (N, C, H, W).

    Reference: Le et al. 2012, section 4.
    """
    responses = local_filters.respond(maps, encoder)
    error = (local_filters.spread(responses, decoder) - maps).square()
    return (error.sum() + sparsity * pooled(responses, pool).sum()) / len(maps)


def fit_stage(network: QuocNet, number: int, images: Tensor, config: RICAConfig, seed: int) -> FittedStage:
    """Learn the filters of one stage of `network`, those before it as they are; the network itself stays as it is.

    images : Tensor (N, C, side, side) in [0, 1]. seed : of the batches' order.

    W1 keeps the length of its filters: the price of loud pools could else be evaded by small W1 and large W2.
    """
    generator = torch.Generator().manual_seed(seed)
    stage = network.stages[number]
    encoder = stage.filters.detach().clone().requires_grad_()
    decoder = (encoder.detach() * encoder.shape[-2] / encoder.shape[-1]).requires_grad_()  # W2 W1^T is about 1
    optimizer = torch.optim.Adam([encoder, decoder], lr=config.learning_rate, fused=True)
    costs = []
    for rows in tqdm(_batches(len(images), config, generator), desc=f"stage {number + 1}", disable=None, leave=False):
        with torch.no_grad():
            maps = network.below(images[rows], number)
        cost = rica_cost(maps, encoder, decoder, stage.pool, config.sparsity)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        with torch.no_grad():
            encoder.copy_(_unit_length(encoder))
        costs.append(cost.detach())
    if not (costs := torch.stack(costs).cpu()).isfinite().all():
        raise TrainingError(f"the cost of stage {number + 1} is {costs[-1].item()} at its end: see its inputs")
    return FittedStage(encoder.detach(), costs)


def _batches(num: int, config: RICAConfig, generator: torch.Generator) -> Sequence[Tensor]:
    return [
        rows
        for _ in range(config.num_epochs)
        for rows in torch.randperm(num, generator=generator).split(config.batch_size)
    ]
