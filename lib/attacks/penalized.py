"""The paper's attack (section 4.1): the smallest perturbation inside [0, 1]^n that makes a network say `targets`.

D(x, l) = argmin |r| subject to f(x + r) = l is replaced by  min_r c|r| + loss_f(x + r, l)  over the box, with a search
over c > 0 for the largest c whose minimiser still succeeds: with c on |r|, the largest c gives the smallest |r|.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..solvers import lbfgs, rowwise, sizes
from . import arguments, asked, by_row, memory, nearest

Network = Callable[[Tensor], Tensor]

WITHIN = 1.2  # times as far as the nearest class seems, a class can be nearer
OVERSHOOTS = tuple(4.0**-k for k in range(9, 2, -1))  # of |r|, for what succeeds in one batch and not in another
MOST_MARGIN = 1.0  # logits: further beyond the boundary the cross-entropy is flat, and no price leads there


@arguments.refusing_confidence
@dataclass(frozen=True)
class AttackConfig:
    """Accuracy and effort of the attack."""

    tolerance: float = 3e-4  # stop when the next c promises to shorten |r| by less than this fraction
    max_searches: int = 24  # values of c tried for one example
    max_secants: int = 8  # of which the first ones are secant steps, the rest bisections
    inner_tolerance: float = 1e-2  # projected gradient at which c|r| + loss is minimal, as a fraction of c
    # Networks with kinks (ReLU, max pooling) have minima where no gradient vanishes: there progress decides.
    decrease: float = 1e-3  # of c|r| + loss, the least that counts as progress, as a fraction of c|r|
    margin_fraction: float = 1e-4  # lead that counts as success, over the lead to make up; at least rounding
    chunk_size: int | None = None  # examples at once, which changes nothing beyond rounding; None: as memory allows
    solver: lbfgs.LBFGSConfig = field(default_factory=lambda: lbfgs.LBFGSConfig(patience=3))

    def __post_init__(self):
        arguments.check_number("tolerance", self.tolerance, below=1)
        arguments.check_whole("max_searches", self.max_searches, 1, "value of c")
        arguments.check_whole("max_secants", self.max_secants, 0, "secant steps")
        arguments.check_number("inner_tolerance", self.inner_tolerance, below=1)
        arguments.check_number("decrease", self.decrease, below=1)
        arguments.check_margin_fraction(self.margin_fraction)
        arguments.check_whole("chunk_size", 1 if self.chunk_size is None else self.chunk_size, 1, "example")
        arguments.check_config(self.solver, lbfgs.LBFGSConfig, "solver")

    def at_once(self, network: asked.Asked, inputs: Tensor) -> int:
        """How many of the inputs are attacked at once."""
        num_vectors = 2 * self.solver.memory + 12  # the solver's pairs; images, their gradients and directions, answers
        return int(self.chunk_size or 0) or memory.at_once(inputs, network.bytes_an_image, num_vectors, fastest=1024)


@dataclass(frozen=True)
class AttackResult:
    """Verified facts about N attacks. All fields but `adversarial` (N, ...) are (N,).

    Where nothing was found, success is False, `adversarial` is the input itself and `distortion` inf: a mean over all
    is then inf, too, and one over what was found takes `distortion[success]`.
    """

    adversarial: Tensor  # inside [0, 1]
    distortion: Tensor  # sqrt(mean((adversarial - inputs)^2))
    success: Tensor  # the network, asked once more, gives the target
    c: Tensor  # the largest c whose minimiser succeeded; nan where none did
    num_evaluations: Tensor  # gradients of the loss
    converged: Tensor  # success, and the search over c ended by its tolerance, not by its budget

    def to(self, device: torch.device | str) -> "AttackResult":
        """The same facts on another device."""
        return AttackResult(**{name: values.to(device) for name, values in vars(self).items()})


def distortion(adversarial: Tensor, inputs: Tensor) -> Tensor:
    """Root mean square difference of each example, (N,); the paper's sqrt(sum((x' - x)^2) / n)."""
    difference = (adversarial - inputs).flatten(1)
    return sizes.norms(difference) / difference.shape[1] ** 0.5


def penalized_loss(logits: Tensor, norm: Tensor, targets: Tensor, c: Tensor) -> Tensor:
    """c|r| + loss_f(x + r, l) for each example, from its logits and norm |r|, section 4.1. Shape (N,)."""
    return c * norm + F.cross_entropy(logits, targets, reduction="none")


def lead(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits by which the target leads the best other class, (N,): positive exactly when it is ahead of all others.

    In a tie, lead 0, the network says the first of the classes that tie: an attack goes on until the target is ahead,
    unless the input itself is one that it wins.
    """
    target = logits.gather(1, targets[:, None])
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return target[:, 0] - others.max(dim=1).values


def says(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether the class that logits (N, K) give is the target, (N,) bool; where they are nan they give none."""
    return (logits.argmax(dim=1) == targets) & (lead(logits, targets) >= 0)


def needed_lead(logits: Tensor, targets: Tensor, margin_fraction: float, units: Tensor) -> Tensor:
    """The lead that counts as success, (N,): a fraction of what the input's `logits` lack, and no less than rounding.

    In another batch the same image's logits may differ by rounding: by what the network's arithmetic gives the lead,
    `units` (N,) in the last place as from `rounding_units`. And no lead is less than the resolution of the two logits
    whose difference it is, a constant that all share included: half of it is asked for. Other classes do not matter,
    however far they are below.
    """
    eps, first_lead = torch.finfo(logits.dtype).eps, lead(logits, targets)
    target = logits.gather(1, targets[:, None])[:, 0]
    resolution = torch.maximum(target.abs(), (target - first_lead).abs())  # of the target and of its best rival
    fraction = (margin_fraction * first_lead.abs()).clamp_max(MOST_MARGIN)
    needed = torch.maximum(fraction, eps * (units + resolution / 2))
    return needed.clamp_min(torch.finfo(logits.dtype).tiny)  # all logits can be zero


def rounding_units(images: Tensor, gradient: Tensor) -> Tensor:
    """What roundings in a network make of its lead, (N,), in units of eps: from its gradient at `images`, both (N, n).

    Independent roundings of pixels give it the length of pixels times gradient; sums of n terms have been seen to give
    30 times that on MNIST: twice the root of n as often is generous, and 32 times.
    """
    return min(32.0, 2 * images.shape[1] ** 0.5) * sizes.norms(images * gradient)


def random_targets(labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """A wrong class for each label, uniformly among the other num_classes - 1. Shape (N,).

    Raises TypeError for labels that are no tensor of integers and for no torch.Generator; ValueError for labels that
    are not (N,) or no classes, and for fewer than two classes.
    """
    arguments.check_random_targets(labels, num_classes, generator)
    shift = torch.randint(1, num_classes, labels.shape, generator=generator, device=generator.device)
    return (labels + shift.to(labels.device)) % num_classes


@arguments.outside_inference_mode
@torch.enable_grad()
def find_adversarial(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    config: AttackConfig = AttackConfig(),
    minimize: Callable[..., lbfgs.MinimizeResult] = lbfgs.solve,
) -> AttackResult:
    """For each input the nearest image found that the network gives the class `targets`.

    Parameters
    ----------
    network : callable, inputs (k, ...) -> logits (k, K), K >= 2, differentiable, in evaluation mode. It is asked on
        copies; logits of another dtype are taken in the inputs'.
    inputs : Tensor (N, ...), float32 or float64, values in [0, 1].
    targets : Tensor (N,), integers. Where the network gives the target already, the answer is the input itself.
    config : AttackConfig.
    minimize : the inner solver, anything with the signature of `lbfgs.minimize`.

    Returns
    -------
    AttackResult : the shortest of all successful images that the whole search came across, verified. Where c tells the
        length, the search and not a rounding decides within `config.tolerance`; a few per cent of a single length can
        hang on the last bits of the network's products (a minimiser that jumps, a search out of budget), hence on the
        processor and on an example's neighbours in its chunk.

    Raises
    ------
    TypeError : inputs or targets that are no tensors, or of another dtype; a network that returns no tensor.
    ValueError : inputs outside [0, 1], targets that are no classes, a network with a module in training mode, without
        gradient, or with logits that are not finite or not (k, K).

    Warns
    -----
    ProbabilitiesWarning : of outputs that look like probabilities.
    AlreadyTargetsWarning : where nearly all inputs are given their target as they are.
    NoWayWarning : where the gradient at an input is not finite.

    The loss has a unit: of the same network with logits a tenth as large the paper's attack finds longer perturbations,
    since probabilities stay near 1/K far beyond the boundary; `tight.find_adversarial` hardly does.

    Reference: section 4.1.
    """
    arguments.check_config(config, AttackConfig)
    network, inputs, targets = checked(network, inputs, targets)
    result = search(network, inputs, targets, config, minimize)
    arguments.warn_of_targets_given(result.success & (result.distortion == 0))
    return result


def checked(network, inputs, classes, name: str = "targets") -> tuple[asked.Asked, Tensor, Tensor]:
    """What every attack is given, once it has been found to fit together: the network as it is to be asked, a copy of
    the inputs, and one class for each, int64, called `name`."""
    arguments.check_images("inputs", inputs)
    classes = arguments.check_classes(name, classes, inputs)
    network = asked.asked(network, inputs)
    arguments.check_known(name, classes, network.num_classes)
    return network, inputs.detach().clone(), classes.clone()  # what was made under inference_mode fits in no graph


def search(
    network: Network, inputs: Tensor, targets: Tensor, config: AttackConfig, minimize=lbfgs.solve
) -> AttackResult:
    """`find_adversarial` for arguments that have come through `checked`."""
    chunks = _chunks(inputs, targets, size=config.at_once(network, inputs))
    return concatenate([_search_over_c(network, *chunk, config, minimize) for chunk in chunks])


def concatenate(results: Sequence[AttackResult]) -> AttackResult:
    """The attacks of several batches as one."""
    return AttackResult(**{name: torch.cat([getattr(r, name) for r in results]) for name in vars(results[0])})


@arguments.outside_inference_mode
@torch.enable_grad()
def find_nearest_adversarial(
    network: Network, inputs: Tensor, labels: Tensor, config: AttackConfig = AttackConfig()
) -> AttackResult:
    """Untargeted: the nearest image of any class but `labels`, the minimum of D(x, l) over all l != label.

    Parameters, result and errors as in `find_adversarial`, with labels (N,) in place of targets. An input that the
    network already gives another class than its label is its own answer, and costs no gradient. Each of the others
    costs a gradient a class, which tells about how far each is (`nearest.secant_distances`), and a targeted attack for
    every class that seems at most 20 % further than the nearest: one or two, and all classes if these fail. It has
    converged where the search for each of these that was reached has.
    """
    arguments.check_config(config, AttackConfig)
    network, inputs, labels = checked(network, inputs, labels, name="labels")
    right = torch.cat(
        [~_misread(network, *chunk) for chunk in _chunks(inputs, labels, size=config.at_once(network, inputs))]
    )
    result = _untouched(inputs)
    if right.any():
        found = _nearest(network, inputs[right], labels[right], config)
        for name, values in vars(result).items():
            values[right] = vars(found)[name]
    return result


@torch.no_grad()
def _misread(network: Network, inputs: Tensor, labels: Tensor) -> Tensor:
    """Whether an input is given another class than its label, (N,) bool."""
    logits = network(inputs)
    check_logits(logits)
    return (logits.argmax(dim=1) != labels) & ~lead(logits, labels).isnan()


def _untouched(inputs: Tensor) -> AttackResult:
    """Each input as its own answer, for which nothing was searched."""
    zero, whole = torch.zeros_like(inputs.flatten(1)[:, 0]), torch.zeros(len(inputs), dtype=torch.int64)
    whole = whole.to(inputs.device)
    return AttackResult(
        inputs.clone(), zero, torch.ones_like(whole, dtype=torch.bool), torch.full_like(zero, torch.nan), whole,
        torch.ones_like(whole, dtype=torch.bool),
    )  # fmt: skip


def _nearest(network: Network, inputs: Tensor, labels: Tensor, config: AttackConfig) -> AttackResult:
    """The shortest of the attacks to classes that can be the nearest; to all classes where none of these succeeds."""
    chunks = _chunks(inputs, labels, size=config.at_once(network, inputs))
    distances = torch.cat([nearest.secant_distances(network, *chunk, network.num_classes) for chunk in chunks])
    near = ~(distances > WITHIN * distances.nan_to_num(nan=torch.inf).amin(dim=1, keepdim=True))  # or unknown
    near.scatter_(1, labels[:, None], False)
    found = _untouched(inputs)
    found.distortion[:], found.success[:], found.num_evaluations[:] = torch.inf, False, network.num_classes - 1
    _attack_each(network, inputs, near, config, found)
    rest = (~near & ~found.success[:, None]).scatter(1, labels[:, None], False)
    _attack_each(network, inputs, rest, config, found)
    found.converged.logical_and_(found.success)
    return found


def _attack_each(network, inputs: Tensor, classes: Tensor, config: AttackConfig, found: AttackResult) -> None:
    """Attack every image to each of its `classes` (N, K), and keep in `found` the shortest, and what they cost."""
    for target in range(classes.shape[1]):
        rows = classes[:, target].nonzero()[:, 0]
        if len(rows) == 0:
            continue
        result = search(network, inputs[rows], torch.full_like(rows, target), config)
        found.num_evaluations[rows] += result.num_evaluations
        found.converged[rows] &= result.converged | ~result.success
        shorter = result.distortion < found.distortion[rows]
        for name in ("adversarial", "distortion", "success", "c"):
            getattr(found, name)[rows[shorter]] = getattr(result, name)[shorter]


@arguments.outside_inference_mode
@torch.enable_grad()
def minimize_penalized(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    c: Tensor,
    config: AttackConfig = AttackConfig(),
    minimize: Callable[..., lbfgs.MinimizeResult] = lbfgs.solve,
) -> lbfgs.MinimizeResult:
    """The minimisers of c|r| + loss_f(x + r, l) over the box for given c (N,), started at r = 0; inputs (N, n).

    Errors as in `find_adversarial`; ValueError also for inputs that are not flat, and for a c below 0 or not finite.
    """
    return _minimize_penalized(*_with_prices(network, inputs, targets, c, config), config, minimize)


@arguments.outside_inference_mode
@torch.enable_grad()
def lengths_at(
    network: Network, inputs: Tensor, targets: Tensor, c: Tensor, config: AttackConfig = AttackConfig()
) -> Tensor:
    """Distortions (N,) of the minimisers of c|r| + loss_f(x + r, l) for given c (N,); nan where one fails.

    Errors as in `minimize_penalized`.
    """
    network, inputs, targets, c = _with_prices(network, inputs, targets, c, config)
    images = _minimize_penalized(network, inputs, targets, c, config, lbfgs.solve).minimizer
    reached = _given(network, images, targets, config.at_once(network, inputs))
    return torch.where(reached, distortion(images, inputs), torch.nan)


def _with_prices(network, inputs, targets, c, config: AttackConfig) -> tuple[Network, Tensor, Tensor, Tensor]:
    """What `minimize_penalized` is given, once it has come through the door."""
    arguments.check_config(config, AttackConfig)
    network, inputs, targets = checked(network, inputs, targets)
    arguments.check_flat(inputs)
    arguments.check_prices(c, inputs)
    arguments.warn_of_targets_given(_given(network, inputs, targets, config.at_once(network, inputs)))
    return network, inputs, targets, c.detach()


def _minimize_penalized(network, inputs, targets, c, config: AttackConfig, minimize) -> lbfgs.MinimizeResult:
    def objective(images: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        return _penalized(network, images, inputs[problem], targets[problem], c[problem], inputs.shape[1:])[:2]

    first_step = 1e-2 * inputs.shape[1] ** 0.5  # rms 0.01
    return minimize(objective, inputs, 0.0, 1.0, config.inner_tolerance * c, first_step, config=config.solver)


@torch.no_grad()
def _given(network: Network, images: Tensor, targets: Tensor, size: int) -> Tensor:
    """Whether the network gives each image its target, (N,) bool."""
    return torch.cat([says(network(x), t) for x, t in _chunks(images, targets, size=size)])


def _chunks(*tensors: Tensor, size: int):
    return zip(*(values.split(size) for values in tensors), strict=True)


@dataclass
class _Minima:
    """Minimisers of c|r| + loss, the ones found last; nan where none was."""

    c: Tensor
    lead: Tensor  # beyond the lead that counts as success
    norm: Tensor  # |r|
    images: Tensor

    @classmethod
    def none_yet(cls, inputs: Tensor) -> "_Minima":
        """Each example's on either side of the boundary, (2, N): those that fail, and those that succeed."""
        nan = inputs.new_full((3, 2, len(inputs)), torch.nan)
        return cls(*nan, images=inputs.expand(2, -1, -1).clone())

    def known(self) -> Tensor:
        return torch.isfinite(self.c)

    def put(self, rows: Tensor, found: "_Minima") -> None:
        """What was found for the examples `rows`, on the side that its lead tells; nan tells none."""
        if (silent := found.lead.isnan()).any():
            rows, found = rows[~silent], found[~silent]
        sides = (found.lead > 0).long()
        for name, values in vars(self).items():
            values[sides, rows] = vars(found)[name]

    def __getitem__(self, where) -> "_Minima":
        return _Minima(*(values[where] for values in vars(self).values()))


@dataclass
class Shortest:
    """The shortest successful perturbation that any evaluation has come across."""

    images: Tensor
    norm: Tensor

    def offer(self, rows: Tensor, images: Tensor, norm: Tensor, success: Tensor) -> None:
        better = success & (norm < self.norm[rows])
        self.images[rows[better]] = images[better]
        self.norm[rows[better]] = norm[better]


@dataclass
class _Trial:
    """What to minimise next: the price, where from, and with which first step."""

    c: Tensor
    start: Tensor
    first_step: Tensor

    def put(self, rows: Tensor, trial: "_Trial") -> None:
        for name, values in vars(self).items():
            values[rows] = vars(trial)[name]


def _search_over_c(network, inputs, targets, config, minimize) -> AttackResult:
    """`find_adversarial` for examples that are attacked together; nothing couples them but the arithmetic."""
    x, shape = inputs.detach().flatten(1), inputs.shape[1:]
    done, first_lead, ascent, enough = _first_answers(network, x, targets, shape, config.margin_fraction)
    best = Shortest(images=x.clone(), norm=torch.zeros_like(first_lead).masked_fill(~done, torch.inf))
    minima = _Minima.none_yet(x)
    failed, succeeded = minima[0], minima[1]
    trial = _first_trial(network, x, targets, shape, first_lead, ascent)
    num_evaluations = torch.full_like(targets, 2)
    pinned = done.clone()
    # A target whose logit is -inf is never ahead; where the gradient is 0, or not finite, nothing tells the way.
    hopeless = ~(torch.isfinite(first_lead) & torch.isfinite(trial.c))
    arguments.warn_of_no_way(~done & ~torch.isfinite(ascent).all(dim=1))

    how = _penalizing_by_row if rowwise.fits(x) else _penalizing_together
    penalize = how(network, x, targets, shape, trial.c, enough, best)
    for search in range(config.max_searches):
        active = (~done & ~hopeless).nonzero()[:, 0]
        if len(active) == 0:
            break

        def objective(images: Tensor, problem: Tensor, active: Tensor = active) -> tuple[Tensor, Tensor]:
            return penalize(images, active[problem])

        c, start, first_step = trial.c[active], trial.start[active], trial.first_step[active]
        tolerance = config.inner_tolerance * c
        decrease = config.decrease * c * torch.maximum((start - x[active]).norm(dim=1), first_step)
        minimum = minimize(objective, start, 0.0, 1.0, tolerance, first_step, decrease, config.solver)
        num_evaluations[active] += minimum.num_evaluations

        images = minimum.minimizer
        leads = lead(_logits(network, images, shape).detach(), targets[active]) - enough[active]
        found = _Minima(c, leads, (images - x[active]).norm(dim=1), images)
        best.offer(active, images, found.norm, leads > 0)  # in another batch than on the way
        minima.put(active, found)
        bisect = search >= config.max_secants
        pinned |= _nothing_to_gain(failed, succeeded, best, config.tolerance)
        done |= pinned
        if bisect:
            done |= failed.c <= (1 + config.tolerance) * succeeded.c

        known = minima.known()
        between = (~done & known.all(dim=0)).nonzero()[:, 0]
        if len(between):
            sides = minima[:, between]
            trial.put(between, _trial_between(sides[0], sides[1], best.norm[between], config.tolerance, bisect))
        beyond = (~done & (known[0] != known[1])).nonzero()[:, 0]
        if len(beyond):
            ends = minima[known[1, beyond].long(), beyond]
            progress = 1 + 0.02 * 2**search  # at least; twice as much each time the other side is not met
            trial.put(
                beyond, _trial_beyond(network, x[beyond], targets[beyond], shape, first_lead[beyond], ends, progress)
            )
            num_evaluations[beyond] += 1
        blind = active[~torch.isfinite(minimum.value)]  # logits that are nan where the search began: from r = 0 again
        if len(blind):
            trial.put(blind, _Trial(trial.c[blind], x[blind], torch.full_like(trial.c[blind], _shortest_step(x))))

    beaten = (failed.known() & ~torch.isfinite(best.norm)).nonzero()[:, 0]
    _go_on(network, x[beaten], targets[beaten], shape, enough[beaten], best, beaten, failed.images[beaten])
    _shorten(network, x, targets, shape, first_lead, enough, best, ~pinned & torch.isfinite(best.norm), config)
    adversarial, length, success = confirmed(network, inputs, best.images.view_as(inputs), targets)
    return AttackResult(
        adversarial=adversarial,
        distortion=length,
        success=success,
        c=succeeded.c.masked_fill(~success, torch.nan),
        num_evaluations=num_evaluations,
        converged=done & success,
    )


@torch.no_grad()
def verified(network: Network, inputs: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a result may state of `images`, all (N, ...): the adversarial ones, their distortions, where they succeed.

    The network is asked once more, whatever it said before; where it does not give the target, the input itself stands
    in, with a distortion of inf.
    """
    images = images.clamp(0, 1)
    success = says(network(images), targets)
    adversarial = torch.where(success.view(-1, *[1] * (inputs.ndim - 1)), images, inputs)
    return adversarial, distortion(images, inputs).masked_fill(~success, torch.inf), success


@torch.no_grad()
def confirmed(network: Network, inputs: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`verified`, for images that the network has given their target: those that it takes back now go a little further.

    In another batch logits are rounded otherwise, and by more than can be seen from outside where large terms cancel.
    """
    found = verified(network, inputs, images, targets)
    lost = (~found[2] & (images != inputs).flatten(1).any(dim=1)).nonzero()[:, 0]
    if len(lost):
        x, goals = inputs[lost], targets[lost]
        again = verified(network, x, _further(network, x, images[lost], goals), goals)
        for values, instead in zip(found, again, strict=True):
            values[lost] = instead
    return found


def _further(network: Network, inputs: Tensor, images: Tensor, targets: Tensor) -> Tensor:
    """`images` moved away from the inputs until the network gives the target twice in a row, four times as far."""
    found, settled, before = images.clone(), torch.zeros_like(targets, dtype=torch.bool), False
    for overshoot in OVERSHOOTS:
        further = (images + overshoot * (images - inputs)).clamp(0, 1)
        said = says(network(further), targets)
        taken = said & before & ~settled
        found[taken] = further[taken]
        settled, before = settled | taken, said
    return found


def _logits(network: Network, images: Tensor, shape: torch.Size) -> Tensor:
    return network(images.view(-1, *shape))


def loss_gradient(network: Network, images: Tensor, targets: Tensor) -> Tensor:
    """The gradient of the cross-entropy towards `targets` with respect to `images` (N, ...), of their shape."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(images), targets, reduction="sum"), images)
    return gradient


def _first_answers(network, images, targets, shape, margin_fraction) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whether the network gives the target already, the target's lead, its gradient (N, n), and the lead that counts as
    success. Raises ValueError for logits that are nan or inf."""
    images = images.detach().requires_grad_()
    logits = _logits(network, images, shape)
    check_logits(logits.detach())
    leads = lead(logits, targets)
    (gradient,) = torch.autograd.grad(leads.sum(), images)
    images, logits = images.detach(), logits.detach()
    enough = needed_lead(logits, targets, margin_fraction, rounding_units(images, gradient))
    return says(logits, targets), leads.detach(), gradient, enough


def check_logits(logits: Tensor) -> None:
    """ValueError where an input's logits are nan or inf. -inf is a class ruled out (masked), and no error."""
    bad = int((~(logits < torch.inf)).any(dim=1).sum())
    if bad:
        raise ValueError(
            f"the network's logits are not finite (nan or inf) for {bad} of {len(logits)} inputs: look at its weights"
        )


def _penalized(network, images, inputs, targets, c, shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value and gradient of c|r| + loss, the target's lead and |r|, from one pass through the network."""
    images = images.detach().requires_grad_()
    logits = _logits(network, images, shape)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, targets, reduction="sum"), images)
    gradient = gradient.contiguous()  # an expanded one cannot be added to
    images, logits = images.detach(), logits.detach()
    perturbation = images - inputs
    norm = perturbation.norm(dim=1)
    value = penalized_loss(logits, norm, targets, c)
    _add_length_gradient(gradient, c, perturbation, norm, images)
    return value, gradient, lead(logits, targets), norm


Penalize = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _penalizing_together(network, x, targets, shape, c: Tensor, enough: Tensor, best: Shortest) -> Penalize:
    """Value and gradient of c|r| + loss, for images of some rows of x; `best` keeps the shortest success of each."""

    def penalize(images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient, leads, norm = _penalized(network, images, x[rows], targets[rows], c[rows], shape)
        best.offer(rows, images, norm, leads > enough[rows])
        return value, gradient

    return penalize


def _penalizing_by_row(network, x, targets, shape, c: Tensor, enough: Tensor, best: Shortest) -> Penalize:
    """The same, compiled: for float32 on the CPU."""
    x, targets, c, enough, shortest, norms = (t.numpy() for t in (x, targets, c, enough, best.images, best.norm))

    def penalize(images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        images, rows = images.detach().requires_grad_(), rows.numpy()
        logits = _logits(network, images, shape)
        values, weights, leads = by_row.cross_entropies(logits.detach().contiguous().numpy(), targets, rows)
        # Not as `grad_outputs`, for which torch would import sympy: half a second of every process.
        (gradient,) = torch.autograd.grad((logits * torch.from_numpy(weights)).sum(), images)
        images, gradient = images.detach().numpy(), gradient.contiguous()
        by_row.add_lengths(images, rows, x, c, values, gradient.numpy(), leads, enough, shortest, norms)
        return torch.from_numpy(values), gradient

    return penalize


def _add_length_gradient(gradient: Tensor, c: Tensor, perturbation: Tensor, norm: Tensor, images: Tensor) -> None:
    """Add to the loss' `gradient` that of c|r|, c r / |r|; at r = 0 the subgradient that makes the whole shortest."""
    rows = (norm == 0).nonzero()[:, 0]
    at_zero = _shortest_subgradient(gradient[rows], c[rows], images[rows]) if len(rows) else gradient[rows]
    gradient.addcmul_((c / norm)[:, None], perturbation)
    gradient[rows] = at_zero


def _shortest_subgradient(gradient: Tensor, c: Tensor, images: Tensor) -> Tensor:
    """Of c|r| + loss at r = 0, from the loss' `gradient`.

    With g the descent direction that the box allows there, the whole has length max(0, |g| - c): when c >= |g| no
    direction leads down from r = 0, and else the steepest descent leaves it along g.
    """
    descent = _inward(images, -gradient)
    length = sizes.norms(descent).clamp_min(torch.finfo(c.dtype).tiny)
    return gradient + (torch.minimum(c, length) / length)[:, None] * descent


def _inward(images: Tensor, direction: Tensor) -> Tensor:
    """`direction` without the coordinates that would leave [0, 1] at once."""
    blocked = (images <= 0) & (direction < 0) | (images >= 1) & (direction > 0)
    return torch.where(blocked, 0.0, direction)


def _price(network: Network, images: Tensor, targets: Tensor, shape: torch.Size) -> Tensor:
    """The c at which `images` might minimise c|r| + loss, (N,): off the bounds both gradients are equally long.

    nan where the gradient is not finite.
    """
    gradient = loss_gradient(network, images.view(-1, *shape), targets).flatten(1)
    price = sizes.norms(_inward(images, -gradient))
    return torch.where(torch.isfinite(price), price, torch.nan)


def _first_trial(network, x, targets, shape, first_lead, ascent) -> _Trial:
    """The price on the boundary of the network made linear at x, minimised from r = 0; nan where no gradient leads on.

    Where target and one rival tie, both have p = 1/2 and the price is half the lead's gradient; more rivals raise it,
    a curved network changes it. Beyond a factor of 2 the linear network is not trusted.
    """
    direction, tie = _inward(x, ascent), sizes.norms(ascent) / 2
    unit = sizes.power_of_two(direction.abs().amax(dim=1))  # divided by it, squares neither over- nor underflow
    direction = torch.nan_to_num(direction / unit[:, None], nan=0, posinf=0, neginf=0)
    step = -first_lead / unit / direction.square().sum(dim=1)
    step = torch.nan_to_num(step, nan=0, posinf=0, neginf=0)  # without a direction there is nowhere to go
    boundary = (x + step[:, None] * direction).clamp(0, 1)
    price = torch.nan_to_num(0.95 * _price(network, boundary, targets, shape), nan=torch.inf)
    c = torch.clamp(price, tie / 2, tie).masked_fill((tie == 0) & (price == 0), torch.nan)
    return _Trial(c, x.clone(), _positive((boundary - x).norm(dim=1)))


def _positive(length: Tensor) -> Tensor:
    """`length`, or the least that counts beside pixels: a first step that is zero would go nowhere."""
    return torch.nan_to_num(length, nan=0.0).clamp_min(torch.finfo(length.dtype).eps)


def _shortest_step(x: Tensor) -> float:
    return 1e-3 * x.shape[1] ** 0.5  # rms 0.001


def _trial_beyond(network, x, targets, shape, first_lead, known: _Minima, progress: float) -> _Trial:
    """The next price where all minimisers so far lie on one side: go on towards the other.

    The lead grows about linearly along r: scale r so that the lead is zero, and ask for the price there.
    """
    scale = torch.nan_to_num(first_lead / (first_lead - known.lead), nan=1.0).clamp(0.2, 3)
    start = (x + scale[:, None] * (known.images - x)).clamp(0, 1)
    c = _price(network, start, targets, shape)
    c = torch.where(known.lead > 0, torch.fmax(c, progress * known.c), torch.fmin(c, known.c / progress))
    # From r = 0, which is the minimiser of every price that is too high, no direction leads on: just lower the price.
    c = torch.where(known.norm > 0, c, 0.7 * known.c)
    return _Trial(c, start, (0.1 * (start - known.images).norm(dim=1)).clamp_min(_shortest_step(x)))


def _trial_between(failed: _Minima, succeeded: _Minima, best_norm: Tensor, tolerance: float, bisect: bool) -> _Trial:
    """The next price between a failing and a succeeding one, minimised from a point between their minimisers.

    A secant step along log c, to a lead just above zero. Bisection where the secant has had its chance: the minimiser
    can jump over the boundary as c falls.
    """
    aim = 0.3 * tolerance * best_norm / _length_per_lead(failed, succeeded)
    weight = ((aim - failed.lead) / (succeeded.lead - failed.lead)).clamp(0.02, 0.98)
    weight = torch.full_like(weight, 0.5) if bisect else torch.nan_to_num(weight, nan=0.5)
    step = succeeded.images - failed.images
    return _Trial(
        c=torch.nan_to_num(failed.c * (succeeded.c / failed.c) ** weight, nan=0.0),  # of a price that was 0 already
        start=failed.images + weight[:, None] * step,
        first_step=_positive(0.5 * torch.minimum(weight, 1 - weight) * step.norm(dim=1)),
    )


def _length_per_lead(failed: _Minima, succeeded: _Minima) -> Tensor:
    return (succeeded.norm - failed.norm) / (succeeded.lead - failed.lead)


def _nothing_to_gain(failed: _Minima, succeeded: _Minima, best: Shortest, tolerance: float) -> Tensor:
    """Where the boundary is pinned down to the relative tolerance, (N,) bool.

    It lies beyond the failing minimum, and about lead * d|r|/d(lead) short of the succeeding one.
    """
    gain = torch.minimum(best.norm - failed.norm, succeeded.lead * _length_per_lead(failed, succeeded))
    return gain <= tolerance * best.norm


@torch.no_grad()
def _go_on(network, x, targets, shape, enough, best: Shortest, rows: Tensor, images: Tensor) -> None:
    """Beyond the failing minimisers `images` of the examples `rows` for which nothing succeeded, up to twice as far.

    Of logits so large that the cross-entropy is a step, every minimiser is on the boundary and a rounding short of it.
    """
    for overshoot in 2.0 ** torch.arange(-10, 1) if len(rows) else ():
        further = (images + float(overshoot) * (images - x)).clamp(0, 1)
        success = lead(_logits(network, further, shape), targets) > enough
        best.offer(rows, further, (further - x).norm(dim=1), success)


@torch.no_grad()
def _shorten(network, x, targets, shape, first_lead, enough, best: Shortest, loose: Tensor, config) -> None:
    """Go back along the best r as far as success lasts, where the prices met and the lengths did not (`loose`, (N,)).

    There the minimiser jumps over the boundary as c falls, or the loss is so nearly linear over |r| that the least
    change of c, or of a rounding, sends the minimiser far: in both cases c does not tell the length.
    """
    rows = loose.nonzero()[:, 0]
    if len(rows) == 0:  # no network need have an answer to no image
        return
    r = best.images[rows] - x[rows]

    def leads_at(scale: Tensor) -> Tensor:
        """Beyond what counts as success, at x + scale r; whatever succeeds is kept."""
        images = (x[rows] + scale[:, None] * r).clamp(0, 1)
        leads = lead(_logits(network, images, shape), targets[rows]) - enough[rows]
        best.offer(rows, images, (images - x[rows]).norm(dim=1), leads > 0)
        return leads

    fails, succeeds = torch.zeros_like(r[:, 0]), torch.ones_like(r[:, 0])  # multiples of r
    lead_fails, lead_succeeds = first_lead[rows] - enough[rows], leads_at(succeeds)
    for search in range(config.max_searches):
        if (succeeds - fails <= config.tolerance * succeeds).all():
            break
        chord = torch.nan_to_num(lead_fails / (lead_fails - lead_succeeds), nan=0.5)
        weight = chord if search < config.max_secants else 0.5
        # Just beyond where the chord says that success begins, and when that has succeeded just short of it.
        scale = (1 + config.tolerance / 3) * (fails + weight * (succeeds - fails))
        scale = torch.clamp(scale, fails, (1 - config.tolerance / 2) * succeeds)
        leads = leads_at(scale)
        success = leads > 0
        fails, lead_fails = torch.where(success, fails, scale), torch.where(success, lead_fails, leads)
        succeeds, lead_succeeds = torch.where(success, scale, succeeds), torch.where(success, leads, lead_succeeds)
