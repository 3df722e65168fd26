"""The tight attack: from an adversarial example down to the decision boundary where it is nearest.

A minimiser of c|r| + loss stops where length and cross-entropy balance; that is near the decision boundary's nearest
point, and not on it. Here the problem is the one that D(x, l) states,

    min |r|^2 / 2  subject to  z_l(x + r) >= z_k(x + r) for all k != l  and  x + r in [0, 1]^n,

solved by sequential quadratic programming: the logits z are made linear at the image reached so far, the programme that
this leaves is solved exactly (`lib.solvers.quadratic`), and a search on the way to its solution accepts what is shorter
and what the network itself confirms. An image that its own programme gives back is stationary (Karush, Kuhn and
Tucker); for a linear network it is the optimum.

Rectifiers and pooling have kinks, on which no single gradient tells the way, and the boundary has a pit between any few
of them. There the descent goes on with a smoothed network, its mean over displacements of the image: a smooth one where
the displacements are long, and the network itself at the end, when they have shrunk to none. Two such descents, from
displacements of two lengths, end in different pits, of which the nearer one is kept.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..solvers import quadratic
from . import arguments, asked, memory, penalized
from .penalized import AttackConfig, Network

PROGRESS = 1e-6  # relative shortening that counts
FALLING = 0.75  # times the smallest residual so far: what a linearisation leaves of it at most where there are no kinks
MAX_STANDSTILLS = 2  # linearisations in a row that leave more, after which there are kinks

MOST_DESCENTS = 64

# The smoothed descent begins forgetting all and going all the way, and each share falls geometrically.
LAST_SHARE = 0.02  # of the newest gradient in the average
LAST_STEP = 0.25  # of the way to the optimum
SMOOTHED = 0.8  # of the steps, those with displacements; the others are the network's own


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
    kinked: float = 0.02  # KKT residual that a smooth network does not keep: an image that does is on kinks
    num_descents: int = 2  # down a smoothed network, for an image on kinks
    num_smoothed: int = 200  # steps of each, one gradient a step
    displacement: float = 0.5  # length of the first displacement of the first one, over |r|
    seed: int = 0  # of its displacements' directions; the next one has the next seed
    margin_fraction: float = 1e-5  # lead that counts as success, over the lead to make up; at least rounding
    chunk_size: int | None = None  # examples at once, which changes nothing beyond rounding; None: as memory allows

    def __post_init__(self):
        arguments.check_config(self.start, AttackConfig, "start")
        arguments.check_number("tolerance", self.tolerance, below=1)
        arguments.check_number("gain", self.gain, below=1)
        arguments.check_whole("num_rivals", self.num_rivals, 1, "class")
        arguments.check_whole("max_iterations", self.max_iterations, 1, "linearisation")
        arguments.check_whole("max_halvings", self.max_halvings, 0, "halvings")
        arguments.check_number("kinked", self.kinked, below=1)
        arguments.check_whole("num_descents", self.num_descents, 0, "descent")
        arguments.check_whole("num_smoothed", self.num_smoothed, 1, "step")
        arguments.check_number("displacement", self.displacement)
        arguments.check_whole("seed", self.seed, 0, "as a seed")
        if self.num_descents > MOST_DESCENTS or self.seed >= 2**63 - MOST_DESCENTS:
            raise ValueError(
                f"num_descents must be at most {MOST_DESCENTS}, each begins twice as far away, and seed below 2**63, "
                f"not {self.num_descents} and {self.seed}"
            )
        arguments.check_margin_fraction(self.margin_fraction)
        arguments.check_whole("chunk_size", 1 if self.chunk_size is None else self.chunk_size, 1, "example")

    def at_once(self, network: asked.Asked, inputs: Tensor) -> int:
        """How many of the inputs are attacked at once."""
        num_vectors = 3 * self.num_rivals + 12  # the rivals' slopes, as they are, normalised and in float64; images
        return int(self.chunk_size or 0) or memory.at_once(inputs, network.bytes_an_image, num_vectors, fastest=256)


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
    size = config.at_once(network, inputs)
    chunks = zip(*(values.split(size) for values in (inputs, targets, adversarial)), strict=True)
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
    residual[rows], stuck = _descend(problem, rows, config.num_rivals)
    stuck = rows[stuck & (residual[rows] > config.tolerance)]
    if len(stuck) and problem.logits.shape[1] > config.num_rivals + 1:  # a class that was no rival may be in the way
        residual[stuck], _ = _descend(problem, stuck, 2 * config.num_rivals)
    kinked = rows[(residual[rows] > config.kinked) & torch.isfinite(residual[rows])]
    if len(kinked) and config.num_descents:
        begin = problem.shortest.images[kinked]
        for descent in range(config.num_descents):  # into other pits
            _descend_smoothed(problem, kinked, begin, descent)
        residual[kinked] = _step_to_optimum(problem, kinked, config.num_rivals)[2]

    found = penalized.confirmed(network, inputs, problem.shortest.images.view_as(inputs), targets)
    within = found[1] <= penalized.distortion(start.view_as(inputs), inputs)  # never longer, also where it went further
    lost = (success & ~within).nonzero()[:, 0]
    if len(lost):  # the network takes back what it confirmed: the start stands, where it does
        again = penalized.confirmed(network, inputs[lost], start.view_as(inputs)[lost], targets[lost])
        stands = lost[again[2]]
        residual[stands] = torch.inf
        for values, instead in zip(found, again, strict=True):
            values[stands] = instead[again[2]]
    adversarial, length, success = found
    return TightResult(
        adversarial=adversarial,
        distortion=length,
        success=success,
        residual=residual.masked_fill(length == 0, 0).masked_fill(~success, torch.inf),
        num_evaluations=problem.num_evaluations,
    )


def _descend(problem: _Problem, rows: Tensor, num_rivals: int) -> tuple[Tensor, Tensor]:
    """Sequential quadratic programming from the shortest images so far. The residuals where it ends, and whether that
    is because no step shortens, both (len(rows),).

    inf where the network's gradient is not finite: there the descent ends. It ends on kinks, too: without them each
    linearisation leaves about half of the residual or less, with them it stays.
    """
    config, residual = problem.config, torch.full_like(problem.first_lead, torch.inf)
    least, num_standstills = residual.clone(), torch.zeros_like(problem.targets)
    stuck = torch.zeros_like(problem.given)
    going = rows
    for _ in range(config.max_iterations):
        if len(going) == 0:  # no network need have an answer to no image
            break
        step, gain, residual[going] = _step_to_optimum(problem, going, num_rivals)
        far = (residual[going] > config.tolerance) | (gain > config.gain)
        far &= torch.isfinite(residual[going])
        stands = (residual[going] > FALLING * least[going]) & (residual[going] > config.kinked)
        num_standstills[going] = torch.where(stands, num_standstills[going] + 1, 0)
        least[going] = torch.minimum(least[going], residual[going])
        far &= num_standstills[going] < MAX_STANDSTILLS
        going, step = going[far], step[far]
        shortened = _shorten_along(problem, going, step)
        stuck[going[~shortened]] = True
        going = going[shortened]
    return residual[rows], stuck[rows]


def _step_to_optimum(problem: _Problem, rows: Tensor, num_rivals: int) -> tuple[Tensor, Tensor, Tensor]:
    """From the shortest images so far to the optimum where the network is linear: the step, and over |r| what it gains
    in length and how long it is. A step of nan, of infinite length, where the network's gradient is not finite."""
    images, norm = problem.shortest.images[rows], problem.shortest.norm[rows]
    margins, slopes = _linearize(problem, rows, images, num_rivals)
    problem.require(rows, images, slopes[:, 0])
    optimum = _linearized_optimum(problem, rows, images, margins, slopes).perturbation
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


def _descend_smoothed(problem: _Problem, rows: Tensor, images: Tensor, descent: int) -> None:
    """From `images` on to the optimum where the network is its own mean over displaced images, while these draw near.

    Each further descent, counted from 0, begins with displacements twice as long, in other directions.

    The mean's gradient is averaged over the steps: the newest image's counts for less and less of it. All examples are
    displaced in the same directions, so that none hangs on its neighbours.

    Reference: Duchi, Bartlett & Wainwright 2012 (randomised smoothing); Hazan, Levy & Shalev-Shwartz 2016 (graduated
    optimisation).
    """
    config, average, multipliers = problem.config, torch.zeros_like(images), None
    directions = torch.Generator().manual_seed(config.seed + descent)
    for i in range(config.num_smoothed):
        done = i / config.num_smoothed
        radius = 2**descent * config.displacement * max(0.0, 1 - done / SMOOTHED)
        displaced = _displaced(problem, rows, images, radius, directions) if radius else images
        leads, slopes = _lead_and_gradient(problem, rows, displaced)
        if radius:
            leads -= (slopes * (displaced - images)).sum(dim=1)
        else:
            _keep(problem, rows, images, leads > problem.enough[rows])
        average = torch.lerp(average, slopes, LAST_SHARE**done)
        found = _linearized_optimum(problem, rows, images, leads[:, None], average[:, None], multipliers)
        images = torch.lerp(images, problem.x[rows] + found.perturbation, LAST_STEP**done).clamp(0, 1)
        multipliers, going = found.multipliers, ~images[:, 0].isnan()
        if not going.all():
            rows, images, average, multipliers = (v[going] for v in (rows, images, average, multipliers))
            if len(rows) == 0:  # no network need have an answer to no image
                return
    _offer(problem, rows, images)


def _displaced(problem: _Problem, rows: Tensor, images: Tensor, radius: float, directions: torch.Generator) -> Tensor:
    """`images` in a random direction, `radius` times as far as the shortest so far are from x.

    Negatives, 1 - x, go the opposite way.
    """
    direction = torch.randn(images.shape[1], generator=directions, dtype=torch.float64)
    direction = (direction / direction.norm()).to(images)
    direction = torch.where(problem.x[rows] < 0.5, direction, -direction)
    return (images + radius * problem.shortest.norm[rows, None] * direction).clamp(0, 1)


def _lead_and_gradient(problem: _Problem, rows: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """The target's lead, (k,), and its gradient, (k, n), from one pass through the network."""
    images = images.view(-1, *problem.shape).requires_grad_()
    leads = penalized.lead(problem.network(images), problem.targets[rows])
    (slopes,) = torch.autograd.grad(leads.sum(), images)
    problem.num_evaluations[rows] += 1
    return leads.detach(), slopes.flatten(1)


def _linearize(problem: _Problem, rows: Tensor, images: Tensor, num_rivals: int) -> tuple[Tensor, Tensor]:
    """Margins over the closest R = `num_rivals` classes, (k, R), and their gradients, (k, R, n).

    Over a class whose logit is -inf the margin is inf, and 0 stands for its gradient: it does not compete.
    """
    images = images.view(-1, *problem.shape).requires_grad_()
    targets = problem.targets[rows, None]
    logits = problem.network(images)
    finite = logits.detach().clamp_min(torch.finfo(logits.dtype).min)  # above the target, which is no rival
    rivals = finite.scatter(1, targets, -torch.inf).topk(min(num_rivals, logits.shape[1] - 1)).indices
    margins = logits.gather(1, targets) - logits.gather(1, rivals)
    slopes = [torch.autograd.grad(margin.sum(), images, retain_graph=True)[0] for margin in margins.unbind(1)]
    problem.num_evaluations[rows] += rivals.shape[1]
    margins, slopes = margins.detach(), torch.stack(slopes, dim=1).flatten(2)
    if (masked := margins == torch.inf).any():
        slopes[masked] = 0
    return margins, slopes


def _linearized_optimum(problem: _Problem, rows, images, margins, slopes, start=None) -> quadratic.Projection:
    """The shortest r that reaches the target where the network is linear, with these margins and slopes at `images`.

    nan for the rows whose margins or slopes are nan, or whose slopes are infinite: their programme says nothing.
    """
    x, config = problem.x[rows], problem.config
    bounds = problem.enough[rows, None] - margins + quadratic.apply(slopes, images - x)
    return quadratic.solve(slopes, bounds, -x, 1 - x, start, config.tolerance / 10, max_iterations=30)


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
    return images, _keep(problem, rows, images, reached)


def _keep(problem: _Problem, rows: Tensor, images: Tensor, success: Tensor) -> Tensor:
    """Keep the successful ones of `images` that are the shortest so far. Which are, (k,) bool."""
    norm = (images - problem.x[rows]).norm(dim=1)
    shorter = success & (norm < (1 - PROGRESS) * problem.shortest.norm[rows])
    problem.shortest.offer(rows, images, norm, shorter)
    return shorter
