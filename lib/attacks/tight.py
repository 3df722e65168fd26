"""The tight attack: from an adversarial example down to the decision boundary where it is nearest.

A minimiser of c|r| + loss stops where length and cross-entropy balance; that is near the decision boundary's nearest
point, and not on it. Here the problem is the one that D(x, l) states,

    min |r|^2 / 2  subject to  z_l(x + r) >= z_k(x + r) for all k != l  and  x + r in [0, 1]^n,

solved by sequential quadratic programming: the logits z are made linear at the image reached so far, the programme that
this leaves is solved exactly (`lib.solvers.quadratic`), and a search on the way to its solution accepts what is shorter
and what the network itself confirms. An image that its own programme gives back is stationary (Karush, Kuhn and
Tucker); for a linear network it is the optimum. Rectified networks have kinks, on which no single gradient tells the
way: there the gradients are averaged over the images passed.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..solvers import quadratic
from . import arguments, penalized
from .penalized import AttackConfig, Network

PROGRESS = 1e-6  # relative shortening that counts


@arguments.refusing_confidence
@dataclass(frozen=True)
class TightConfig:
    """Accuracy and effort of the tight attack."""

    # Where the descent starts; a coarse solution of the paper's problem will do.
    start: AttackConfig = field(default_factory=lambda: AttackConfig(tolerance=1e-2, inner_tolerance=0.1))
    tolerance: float = 2e-3  # KKT residual at which an image is stationary, if its optimum is no shorter, either:
    gain: float = 1e-5  # how much shorter the linearised optimum may be, relative to |r|
    num_rivals: int = 6  # classes next to the target whose margins are made linear; the others are only checked
    max_iterations: int = 20  # linearisations
    max_halvings: int = 3  # of the step to the linearised optimum
    max_averages: int = 20  # linearisations with averaged gradients, for images that are not stationary by then
    memory: float = 0.8  # weight of the former gradients in the average
    patience: int = 8  # averages in a row that do not shorten |r|, after which an image is left as it is
    margin_fraction: float = 1e-5  # lead that counts as success, over the lead to make up; at least rounding
    chunk_size: int = 256  # examples at once: bounds working memory, changes nothing beyond rounding

    def __post_init__(self):
        arguments.check_config(self.start, AttackConfig, "start")
        arguments.check_number("tolerance", self.tolerance, below=1)
        arguments.check_number("gain", self.gain, below=1)
        arguments.check_whole("num_rivals", self.num_rivals, 1, "class")
        arguments.check_whole("max_iterations", self.max_iterations, 1, "linearisation")
        arguments.check_whole("max_halvings", self.max_halvings, 0, "halvings")
        arguments.check_whole("max_averages", self.max_averages, 0, "linearisations")
        arguments.check_number("memory", self.memory, below=1)
        arguments.check_whole("patience", self.patience, 1, "average")
        arguments.check_margin_fraction(self.margin_fraction)
        arguments.check_whole("chunk_size", self.chunk_size, 1, "example")


@dataclass(frozen=True)
class TightResult:
    """Verified facts about N images. All fields but `adversarial` are (N,).

    Where nothing was found, success is False, `adversarial` is the input itself, `distortion` and `residual` are inf.
    """

    adversarial: Tensor  # inside [0, 1], no further from the input than the image that it started from
    distortion: Tensor  # sqrt(mean((adversarial - inputs)^2))
    success: Tensor  # the network, asked once more, gives the target
    residual: Tensor  # KKT residual: how far the optimum of its linearised programme is, over |r|; inf where unknown
    num_evaluations: Tensor  # gradients, those of the attack that it started from included

    def to(self, device: torch.device | str) -> "TightResult":
        """The same facts on another device."""
        return TightResult(**{name: values.to(device) for name, values in vars(self).items()})


@arguments.outside_inference_mode
@torch.enable_grad()
def find_adversarial(
    network: Network, inputs: Tensor, targets: Tensor, config: TightConfig = TightConfig()
) -> TightResult:
    """The tight attack, started from a coarse solution of the paper's problem, and from there never longer.

    Arguments and errors as in `penalized.find_adversarial`. For a few images the paper's attack, solved to its end,
    leads to a nearer place: whoever wants the nearest of all calls `tighten` on that, too.
    """
    arguments.check_config(config, TightConfig)
    network, inputs, targets = penalized.checked(network, inputs, targets)
    start = penalized.search(network, inputs, targets, config.start)
    arguments.warn_of_targets_given(start.success & (start.distortion == 0))
    result = _tighten(network, inputs, targets, start.adversarial, config)
    return TightResult(**vars(result) | {"num_evaluations": result.num_evaluations + start.num_evaluations})


@arguments.outside_inference_mode
@torch.enable_grad()
def tighten(
    network: Network, inputs: Tensor, targets: Tensor, adversarial: Tensor, config: TightConfig = TightConfig()
) -> TightResult:
    """For each adversarial image one no further from its input, and stationary if that can be had; both (N, ...).

    For an image that the network does not give its target the input itself is returned, with success False.

    Errors and warnings as in `penalized.find_adversarial`; also for adversarial images that are outside [0, 1], or of
    another shape, dtype or device than the inputs.

    Reference: section 4.1, D(x, l); Nocedal & Wright, chapter 18.
    """
    arguments.check_config(config, TightConfig)
    network, inputs, targets = penalized.checked(network, inputs, targets)
    arguments.check_start(adversarial, inputs)
    result = _tighten(network, inputs, targets, adversarial.detach().clone(), config)
    arguments.warn_of_targets_given(result.success & (result.distortion == 0))
    return result


def _tighten(network, inputs: Tensor, targets: Tensor, adversarial: Tensor, config: TightConfig) -> TightResult:
    """`tighten` for arguments that have come through the door."""
    chunks = zip(*(values.split(config.chunk_size) for values in (inputs, targets, adversarial)), strict=True)
    results = [_tighten_chunk(network, *chunk, config) for chunk in chunks]
    return TightResult(**{name: torch.cat([getattr(r, name) for r in results]) for name in vars(results[0])})


class _Problem:
    """What a chunk's functions share; `rows` select from it the examples they are about."""

    def __init__(self, network: Network, inputs: Tensor, targets: Tensor, adversarial: Tensor, config: TightConfig):
        self.network, self.targets, self.config = network, targets, config
        self.shape, self.x = inputs.shape[1:], inputs.detach().flatten(1)
        with torch.no_grad():
            logits = network(inputs)
        penalized.check_logits(logits)
        self.first_lead, self.given = penalized.lead(logits, targets), penalized.says(logits, targets)
        self.logits, self.enough = logits, torch.full_like(self.first_lead, torch.nan)  # until `require`
        # Where the input has its target already, it is its own nearest image.
        images = torch.where(self.given[:, None], self.x, adversarial.detach().flatten(1))
        self.shortest = penalized.Shortest(images, (images - self.x).norm(dim=1))
        self.num_evaluations = torch.zeros_like(targets)

    def require(self, rows: Tensor, images: Tensor, slopes: Tensor) -> None:
        """Find what lead counts as success for `rows`, where that is not known: it takes a gradient of the lead."""
        if self.enough[rows].isnan().any():
            units = penalized.rounding_units(images, slopes)
            logits, targets = self.logits[rows], self.targets[rows]
            self.enough[rows] = penalized.needed_lead(logits, targets, self.config.margin_fraction, units)

    def leads(self, rows: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            return penalized.lead(self.network(images.view(-1, *self.shape)), self.targets[rows])


def _tighten_chunk(network, inputs, targets, adversarial, config: TightConfig) -> TightResult:
    problem = _Problem(network, inputs, targets, adversarial, config)
    everyone = torch.arange(len(inputs), device=inputs.device)
    start = problem.shortest.images.clone()
    success = problem.given | (problem.leads(everyone, start) > 0)
    residual = torch.zeros_like(problem.first_lead).masked_fill(~success, torch.inf)  # no r is shorter than none
    rows = (success & ~problem.given).nonzero()[:, 0]
    residual[rows] = _descend(problem, rows)
    kinked = rows[(residual[rows] > config.tolerance) & torch.isfinite(residual[rows])]
    if len(kinked):
        _descend_on_average(problem, kinked)
        residual[kinked] = _step_to_optimum(problem, kinked)[2]

    found = penalized.verified(network, inputs, problem.shortest.images.view_as(inputs), targets)
    lost = (success & ~found[2]).nonzero()[:, 0]
    if len(lost):  # the network takes back what it confirmed
        residual[lost] = torch.inf
        again = penalized.verified(network, inputs[lost], start.view_as(inputs)[lost], targets[lost])
        for values, instead in zip(found, again, strict=True):
            values[lost] = instead
    adversarial, length, success = found
    return TightResult(
        adversarial=adversarial,
        distortion=length,
        success=success,
        residual=residual.masked_fill(length == 0, 0).masked_fill(~success, torch.inf),
        num_evaluations=problem.num_evaluations,
    )


def _descend(problem: _Problem, rows: Tensor) -> Tensor:
    """Sequential quadratic programming from the shortest images so far. The residuals where it ends, (len(rows),).

    inf where the network's gradient is not finite: there the descent ends.
    """
    residual = torch.full_like(problem.first_lead, torch.inf)
    going = rows
    for _ in range(problem.config.max_iterations):
        if len(going) == 0:  # no network need have an answer to no image
            break
        step, gain, residual[going] = _step_to_optimum(problem, going)
        far = (residual[going] > problem.config.tolerance) | (gain > problem.config.gain)
        far &= torch.isfinite(residual[going])
        going, step = going[far], step[far]
        going = going[_shorten_along(problem, going, step)]
    return residual[rows]


def _step_to_optimum(problem: _Problem, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From the shortest images so far to the optimum where the network is linear: the step, and over |r| what it gains
    in length and how long it is. A step of nan, of infinite length, where the network's gradient is not finite."""
    images, norm = problem.shortest.images[rows], problem.shortest.norm[rows]
    margins, slopes, _ = _linearize(problem, rows, images)
    problem.require(rows, images, slopes[:, 0])
    optimum = _linearized_optimum(problem, rows, images, margins, slopes)
    step = optimum - (images - problem.x[rows])
    length = torch.nan_to_num(step.norm(dim=1), nan=torch.inf)
    return step, 1 - optimum.norm(dim=1) / norm, length / norm


def _shorten_along(problem: _Problem, rows: Tensor, step: Tensor) -> Tensor:
    """Try `step`, a half of it, a quarter ... from the shortest images so far. Where a shorter one was found, bool."""
    images, found = problem.shortest.images[rows], torch.zeros_like(rows, dtype=torch.bool)
    for halving in range(problem.config.max_halvings + 1):
        left = (~found).nonzero()[:, 0]
        if len(left) == 0:
            break
        found[left] = _offer(problem, rows[left], images[left] + step[left] / 2**halving)[1]
    return found


def _descend_on_average(problem: _Problem, rows: Tensor) -> None:
    """Half steps to the optima of networks whose gradients are averages over the images passed, successes or not."""
    config, images = problem.config, problem.shortest.images[rows]
    margins, average, rivals = _linearize(problem, rows, images)
    num_idle = torch.zeros_like(rows)
    for _ in range(config.max_averages):
        optimum = _linearized_optimum(problem, rows, images, margins, average)
        step = optimum - (images - problem.x[rows])
        images, shorter = _offer(problem, rows, images + torch.nan_to_num(step, nan=0.0) / 2)
        num_idle = torch.where(shorter, 0, num_idle + 1)
        going = (num_idle < config.patience) & ~step[:, 0].isnan()
        rows, images, average, rivals, num_idle = (v[going] for v in (rows, images, average, rivals, num_idle))
        if len(rows) == 0:
            break
        margins, slopes, _ = _linearize(problem, rows, images, rivals)
        average = torch.lerp(slopes, average, config.memory)


def _linearize(
    problem: _Problem, rows: Tensor, images: Tensor, rivals: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Margins over `rivals`, else the closest, (k, R), their gradients (k, R, n), and the rivals (k, R).

    Over a class whose logit is -inf the margin is inf, and 0 stands for its gradient: it does not compete.
    """
    images = images.view(-1, *problem.shape).requires_grad_()
    targets = problem.targets[rows, None]
    logits = problem.network(images)
    if rivals is None:
        num_rivals = min(problem.config.num_rivals, logits.shape[1] - 1)
        finite = logits.detach().clamp_min(torch.finfo(logits.dtype).min)  # above the target, which is no rival
        rivals = finite.scatter(1, targets, -torch.inf).topk(num_rivals).indices
    margins = logits.gather(1, targets) - logits.gather(1, rivals)
    slopes = [torch.autograd.grad(margin.sum(), images, retain_graph=True)[0] for margin in margins.unbind(1)]
    problem.num_evaluations[rows] += rivals.shape[1]
    margins, slopes = margins.detach(), torch.stack(slopes, dim=1).flatten(2)
    if (masked := margins == torch.inf).any():
        slopes[masked] = 0
    return margins, slopes, rivals


def _linearized_optimum(problem: _Problem, rows, images, margins, slopes) -> Tensor:
    """The shortest r that reaches the target where the network is linear, with these margins and slopes at `images`.

    nan for the rows whose margins or slopes are nan, or whose slopes are infinite: their programme says nothing.
    """
    x, config = problem.x[rows], problem.config
    bounds = problem.enough[rows, None] - margins + quadratic.apply(slopes, images - x)
    found = quadratic.solve(slopes, bounds, -x, 1 - x, None, config.tolerance / 10, max_iterations=30)
    return found.perturbation


def _offer(problem: _Problem, rows: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """`images`, those that fail by a little moved away from x until they succeed; where one is the shortest so far.

    The lead grows about linearly along the ray from x.
    """
    x, first_lead, enough = problem.x[rows], problem.first_lead[rows], problem.enough[rows]
    images = images.clamp(0, 1)
    for _ in range(3):
        leads = problem.leads(rows, images)
        reached = leads > enough  # not where they are nan
        if reached.all():
            break
        scale = 1 + (1.2 * enough - leads) / (leads - first_lead)
        scale = torch.where(~reached & (leads > first_lead), scale.clamp(1, 1.1), 1)
        images = (x + scale[:, None] * (images - x)).clamp(0, 1)
    norm = (images - x).norm(dim=1)
    shorter = reached & (norm < (1 - PROGRESS) * problem.shortest.norm[rows])
    problem.shortest.offer(rows, images, norm, shorter)
    return images, shorter
