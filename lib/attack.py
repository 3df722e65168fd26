"""The paper's attack (section 4.1): the smallest perturbation inside [0, 1]^n that makes a network say `targets`.

D(x, l) = argmin |r| subject to f(x + r) = l is replaced by  min_r c|r| + loss_f(x + r, l)  over the box, with a search
over c > 0 for the largest c whose minimiser still succeeds: with c on |r|, the largest c gives the smallest |r|.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from lib import lbfgs

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AttackConfig:
    """Accuracy and effort of the attack."""

    tolerance: float = 1e-3  # stop when the next c promises to shorten |r| by less than this fraction
    max_searches: int = 20  # values of c tried for one example
    max_secants: int = 8  # of which the first ones are secant steps, the rest bisections
    inner_tolerance: float = 1e-2  # projected gradient at which c|r| + loss is minimal, as a fraction of c
    confidence: float = 1e-4  # logits by which the target must lead, so that success survives rounding
    chunk_size: int = 512  # examples attacked at once; bounds memory, changes nothing else
    solver: lbfgs.LBFGSConfig = field(default_factory=lbfgs.LBFGSConfig)


@dataclass(frozen=True)
class AttackResult:
    """Verified facts about N attacks. All fields but `adversarial` (N, n) are (N,)."""

    adversarial: Tensor  # inside [0, 1]; equal to the input where no adversarial example was found
    distortion: Tensor  # sqrt(mean((adversarial - inputs)^2))
    success: Tensor  # the network, asked once more, gives the target
    c: Tensor  # the largest c whose minimiser succeeded; nan where none did
    num_evaluations: Tensor  # gradients of the loss
    converged: Tensor  # the search over c ended by its tolerance, not by its budget


def distortion(adversarial: Tensor, inputs: Tensor) -> Tensor:
    """Root mean square difference of each example, (N,); the paper's sqrt(sum((x' - x)^2) / n)."""
    return (adversarial - inputs).flatten(1).square().mean(dim=1).sqrt()


def penalized_loss(logits: Tensor, perturbation: Tensor, targets: Tensor, c: Tensor) -> Tensor:
    """c|r| + loss_f(x + r, l) for each example, section 4.1. Shape (N,)."""
    return c * perturbation.flatten(1).norm(dim=1) + F.cross_entropy(logits, targets, reduction="none")


def lead(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits by which the target leads the best other class, (N,): positive exactly when the network says `targets`."""
    target = logits.gather(1, targets[:, None])
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return target[:, 0] - others.max(dim=1).values


def random_targets(labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """A wrong class for each label, uniformly among the other num_classes - 1. Shape (N,)."""
    shift = torch.randint(1, num_classes, labels.shape, generator=generator, device=generator.device)
    return (labels + shift.to(labels.device)) % num_classes


def find_adversarial(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    config: AttackConfig = AttackConfig(),
    minimize: Callable[..., lbfgs.MinimizeResult] = lbfgs.minimize,
) -> AttackResult:
    """For each input the nearest image found that the network gives the class `targets`.

    Parameters
    ----------
    network : callable, inputs (k, ...) -> logits (k, K), differentiable, in evaluation mode.
    inputs : Tensor (N, ...), float32 or float64, values in [0, 1].
    targets : Tensor (N,), int64. Where the network gives the target already, the answer is the input itself.
    config : AttackConfig.
    minimize : the inner solver, anything with the signature of `lbfgs.minimize`.

    Returns
    -------
    AttackResult : the shortest of all successful images that the whole search came across, verified.

    Raises
    ------
    ValueError : inputs outside [0, 1], targets that are no classes, a network in training mode or with logits that are
        not finite.

    Reference: section 4.1.
    """
    _check(network, inputs, targets)
    chunks = zip(inputs.split(config.chunk_size), targets.split(config.chunk_size), strict=True)
    results = [_attack_chunk(network, x, t, config, minimize) for x, t in chunks]
    return AttackResult(**{name: torch.cat([getattr(r, name) for r in results]) for name in vars(results[0])})


def find_nearest_adversarial(
    network: Network, inputs: Tensor, labels: Tensor, config: AttackConfig = AttackConfig()
) -> AttackResult:
    """Untargeted: the nearest image of any class but `labels`, the minimum of D(x, l) over all l != label.

    Parameters, result and errors as in `find_adversarial`, with labels (N,) in place of targets. An input that the
    network already gives another class than its label is its own answer. Costs K - 1 targeted attacks.
    """
    num_classes = network(inputs[:1]).shape[1]
    results = [
        find_adversarial(network, inputs, (labels + shift) % num_classes, config) for shift in range(1, num_classes)
    ]
    length = torch.stack([torch.where(r.success, r.distortion, torch.inf) for r in results])
    nearest = length.min(dim=0).indices
    rows = torch.arange(len(inputs), device=inputs.device)
    return AttackResult(
        **{name: torch.stack([getattr(r, name) for r in results])[nearest, rows] for name in vars(results[0])}
    )


def _check(network: Network, inputs: Tensor, targets: Tensor) -> None:
    if len(inputs) == 0 or targets.shape != (len(inputs),):
        raise ValueError(
            f"expected N >= 1 inputs and targets (N,), got {tuple(inputs.shape)} and {tuple(targets.shape)}"
        )
    if not inputs.is_floating_point() or not ((inputs >= 0) & (inputs <= 1)).all():
        raise ValueError("inputs must be floating and lie in [0, 1]; scale the pixels first")
    if getattr(network, "training", False):
        raise ValueError(
            "the network is in training mode, where dropout makes the loss random; call network.eval() first"
        )
    with torch.no_grad():
        num_classes = network(inputs[:1]).shape[1]
    if ((targets < 0) | (targets >= num_classes)).any():
        raise ValueError(f"targets must be classes 0 to {num_classes - 1}, got {targets.min()} to {targets.max()}")


@dataclass
class _Minima:
    """Each example's minimiser of c|r| + loss on one side of the boundary, the one found last; nan where none was."""

    c: Tensor
    lead: Tensor
    norm: Tensor  # |r|
    images: Tensor

    @classmethod
    def none_yet(cls, inputs: Tensor) -> "_Minima":
        nan = torch.full_like(inputs[:, 0], torch.nan)
        return cls(c=nan, lead=nan.clone(), norm=nan.clone(), images=inputs.clone())

    def known(self) -> Tensor:
        return torch.isfinite(self.c)

    def put(self, rows: Tensor, found: "_Minima", where: Tensor) -> None:
        for name, values in vars(self).items():
            values[rows[where]] = vars(found)[name][where]


@dataclass
class _Best:
    """The shortest successful perturbation that any evaluation has come across."""

    images: Tensor
    norm: Tensor

    def offer(self, rows: Tensor, images: Tensor, norm: Tensor, success: Tensor) -> None:
        better = success & (norm < self.norm[rows])
        self.images[rows[better]] = images[better]
        self.norm[rows[better]] = norm[better]


def _attack_chunk(network, inputs, targets, config, minimize) -> AttackResult:
    """`find_adversarial` for examples that are attacked together; nothing couples them but the arithmetic."""
    x = inputs.detach().flatten(1)
    shape = inputs.shape[1:]
    first_lead, ascent = _lead_and_gradient(network, x, targets, shape)
    if not torch.isfinite(first_lead).all():
        raise ValueError(
            f"the network's logits are not finite for {(~torch.isfinite(first_lead)).sum()} of {len(x)} inputs"
        )
    done = first_lead > 0
    best = _Best(images=x.clone(), norm=torch.zeros_like(first_lead).masked_fill(~done, torch.inf))
    failed, succeeded = _Minima.none_yet(x), _Minima.none_yet(x)
    num_evaluations = torch.ones_like(targets)

    # Where target and rival tie, each has p <= 1/2, and the loss' gradient, there equal to c, is about half the lead's;
    # 0.7 of that lets most examples succeed at once. A linear network's boundary is -lead / |gradient| away.
    c = 0.7 * ascent.norm(dim=1) / 2
    start, first_step = x, torch.nan_to_num(-first_lead / _inward(x, ascent).norm(dim=1), nan=0, posinf=1)

    for search in range(config.max_searches):
        active = (~done).nonzero()[:, 0]
        if len(active) == 0:
            break
        objective = _Objective(network, x[active], targets[active], c[active], shape, best, active, config.confidence)
        tolerance = config.inner_tolerance * c[active]
        minimum = minimize(objective, start[active], 0.0, 1.0, tolerance, first_step[active], config.solver)
        num_evaluations[active] += minimum.num_evaluations

        images = minimum.minimizer
        leads = lead(_logits(network, images, shape), targets[active])
        found = _Minima(c[active], leads, (images - x[active]).norm(dim=1), images)
        succeeded.put(active, found, leads > config.confidence)
        failed.put(active, found, leads <= config.confidence)
        done |= _nothing_to_gain(failed, succeeded, best, config.tolerance)
        c, start, first_step = _next_trial(
            failed, succeeded, best, config.tolerance, bisect=search >= config.max_secants
        )

    with torch.no_grad():
        success = _logits(network, best.images, shape).argmax(dim=1) == targets
    return AttackResult(
        adversarial=best.images.view_as(inputs),
        distortion=distortion(best.images, x),
        success=success,
        c=succeeded.c,
        num_evaluations=num_evaluations,
        converged=done,
    )


@dataclass
class _Objective:
    """c|r| + loss of the active examples, on which each success met on the way is offered to `best`."""

    network: Network
    inputs: Tensor
    targets: Tensor
    c: Tensor
    shape: torch.Size
    best: _Best
    active: Tensor
    confidence: float

    def __call__(self, images: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        images = images.detach().requires_grad_()
        targets, c = self.targets[problem], self.c[problem]
        logits = _logits(self.network, images, self.shape)
        loss = F.cross_entropy(logits, targets, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), images)
        images, logits = images.detach(), logits.detach()
        perturbation = images - self.inputs[problem]
        norm = perturbation.norm(dim=1)
        self.best.offer(self.active[problem], images, norm, lead(logits, targets) > self.confidence)
        value = penalized_loss(logits, perturbation, targets, c)
        return value, gradient + _norm_gradient(c, perturbation, norm, images, gradient)


def _norm_gradient(c: Tensor, perturbation: Tensor, norm: Tensor, images: Tensor, loss_gradient: Tensor) -> Tensor:
    """The gradient c r / |r| of c|r|; at r = 0 the subgradient of at most c that makes the whole gradient shortest.

    With g the descent direction that the box allows there, the whole has length max(0, |g| - c): r = 0 is the minimum
    of c|r| + loss exactly when c >= |g|, and else the steepest descent leaves it along g.
    """
    descent = _inward(images, -loss_gradient)
    length = descent.norm(dim=1)
    at_zero = (torch.minimum(c, length) / length.clamp_min(torch.finfo(c.dtype).tiny))[:, None] * descent
    away = (c / norm)[:, None] * perturbation
    return torch.where((norm > 0)[:, None], away, at_zero)


def _inward(images: Tensor, direction: Tensor) -> Tensor:
    """`direction` without the coordinates that would leave [0, 1] at once."""
    blocked = (images <= 0) & (direction < 0) | (images >= 1) & (direction > 0)
    return torch.where(blocked, 0.0, direction)


def _logits(network: Network, images: Tensor, shape: torch.Size) -> Tensor:
    return network(images.view(-1, *shape))


def _lead_and_gradient(network: Network, images: Tensor, targets: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    images = images.detach().requires_grad_()
    leads = lead(_logits(network, images, shape), targets)
    (gradient,) = torch.autograd.grad(leads.sum(), images)
    return leads.detach(), gradient


def _nothing_to_gain(failed: _Minima, succeeded: _Minima, best: _Best, tolerance: float) -> Tensor:
    """Where the boundary is pinned down, in length or in c, to the relative tolerance: (N,) bool.

    The boundary lies beyond the failing minimum, and about lead * d|r|/d(lead) short of the succeeding one.
    """
    gain = torch.minimum(best.norm - failed.norm, succeeded.lead * _length_per_lead(failed, succeeded))
    return (gain <= tolerance * best.norm) | (failed.c <= (1 + tolerance) * succeeded.c)


def _length_per_lead(failed: _Minima, succeeded: _Minima) -> Tensor:
    return (succeeded.norm - failed.norm) / (succeeded.lead - failed.lead)


def _trial_between(
    failed: _Minima, succeeded: _Minima, best: _Best, tolerance: float, bisect: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Next c between the two sides, where its minimisation starts, and its first step's length.

    A secant step along log c, to a lead just above zero; the start lies between the minimisers in the same proportion.
    Bisection where the secant has had its chance: the minimiser can jump over the boundary as c falls.
    """
    aim = 0.3 * tolerance * best.norm / _length_per_lead(failed, succeeded)
    weight = ((aim - failed.lead) / (succeeded.lead - failed.lead)).clamp(0.02, 0.98)
    if bisect:
        weight = torch.full_like(weight, 0.5)
    c = failed.c * (succeeded.c / failed.c) ** weight
    step = succeeded.images - failed.images
    return c, failed.images + weight[:, None] * step, 0.5 * torch.minimum(weight, 1 - weight) * step.norm(dim=1)


def _trial_beyond(side: _Minima) -> tuple[Tensor, Tensor, Tensor]:
    """The same where one side only is known: go on from there, towards the other.

    With one rival p_target = sigmoid(lead) and c = (1 - p_target) |slope|, so the boundary is expected at c / 2(1 - p).
    """
    factor = 0.5 / torch.sigmoid(-side.lead)
    factor = torch.where(side.lead > 0, factor.clamp(1.1, 3), factor.clamp(0.3, 0.9))
    shortest = 1e-3 * side.images.shape[1] ** 0.5
    return factor * side.c, side.images, (0.05 * side.norm).clamp_min(shortest)


def _next_trial(
    failed: _Minima, succeeded: _Minima, best: _Best, tolerance: float, bisect: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Next c, start of its minimisation (N, n) and length of its first step, for every example."""
    has_failed, has_succeeded = failed.known(), succeeded.known()
    trial = []
    for between, up, down in zip(
        _trial_between(failed, succeeded, best, tolerance, bisect),
        _trial_beyond(succeeded),
        _trial_beyond(failed),
        strict=True,
    ):
        rows = (slice(None),) + (None,) * (between.ndim - 1)
        one_sided = torch.where(has_succeeded[rows], up, down)
        trial.append(torch.where((has_failed & has_succeeded)[rows], between, one_sided))
    return tuple(trial)
