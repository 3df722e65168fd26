"""What the metamorphic tests share: random small problems, changes that must not matter, and independent checks.

A change of the problem that leaves its arithmetic as it is (problems in another order, powers of two) must leave the
answer's bits as they are. One that rounds otherwise is amplified by the search, in single precision to a few per cent
of a single length: there the answers are compared by `assert_as_near`.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import clarabel
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lib.attacks import penalized
from lib.attacks.penalized import AttackConfig, AttackResult
from lib.attacks.tight import TightConfig
from lib.solvers import lbfgs

KINDS = ("linear", "sigmoid", "rectified", "convolution")
SMOOTH = ("linear", "sigmoid")
SHAPES = {"vector": (10,), "grey image": (1, 3, 4), "image": (2, 3, 3)}
DTYPES = (torch.float32, torch.float64)
SEEDS = st.integers(0, 2**31 - 1)
# A search cut short keeps all its promises but `converged`, and costs a tenth.
BRIEF = AttackConfig(max_searches=4, solver=lbfgs.LBFGSConfig(max_iterations=20, patience=3))
BRIEF_TIGHT = TightConfig(start=replace(BRIEF, tolerance=1e-2, inner_tolerance=0.1), max_iterations=5, num_smoothed=3)
TOLERANCE = AttackConfig().tolerance


def examples(count: int) -> settings:
    """`count` examples, the same every time, as they come: they are small already."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
    )


# --- Problems -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A network, images (N, ...) in [0, 1], and a class for each to be attacked to (N,)."""

    kind: str
    network: Callable[[Tensor], Tensor]
    inputs: Tensor
    targets: Tensor

    @property
    def logits(self) -> Tensor:
        with torch.no_grad():
            return self.network(self.inputs)

    @property
    def num_classes(self) -> int:
        return self.logits.shape[1]

    @property
    def layer(self) -> nn.Linear:
        """The last layer; of a linear network the only one."""
        return self.network[-1]

    def with_network(self, change: Callable[[Tensor], Tensor], before: Callable[[Tensor], Tensor] | None = None):
        """The same problem for change(logits), of images that pass through `before`."""
        network, before = self.network, before or (lambda images: images)
        return replace(self, network=lambda images: change(network(before(images))))

    def rows(self, rows) -> "Problem":
        return replace(self, inputs=self.inputs[rows], targets=self.targets[rows])

    def attack(self, config: AttackConfig = BRIEF) -> AttackResult:
        """By the paper's attack; its facts are verified."""
        result = penalized.find_adversarial(self.network, self.inputs, self.targets, config)
        verify(self, result)
        return result


def make_problem(seed: int, kind: str, num_classes: int, dtype: torch.dtype, shape: str, num_rows: int) -> Problem:
    """Weights that bend the network inside the box, no class far behind; images with pixels on both bounds."""
    source, shape = torch.Generator().manual_seed(seed), SHAPES[shape]
    if kind == "convolution" and len(shape) < 3:
        shape = SHAPES["image"]
    n = int(np.prod(shape))
    layers = {
        "linear": lambda: [nn.Flatten(), nn.Linear(n, num_classes)],
        "sigmoid": lambda: [nn.Flatten(), nn.Linear(n, 6), nn.Sigmoid(), nn.Linear(6, num_classes)],
        "rectified": lambda: [nn.Flatten(), nn.Linear(n, 6), nn.ReLU(), nn.Linear(6, num_classes)],
        "convolution": lambda: [
            nn.Conv2d(shape[0], 2, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * (shape[1] - 1) * (shape[2] - 1), num_classes),
        ],
    }[kind]()
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            gain = 6.0 if kind == "sigmoid" and layer is not layers[-1] else 2.0
            nn.init.normal_(layer.weight, std=gain / layer.weight[0].numel() ** 0.5, generator=source)
            nn.init.normal_(layer.bias, std=0.3, generator=source)
    network = nn.Sequential(*layers).to(dtype).eval().requires_grad_(False)
    inputs = (1.4 * torch.rand(num_rows, *shape, generator=source) - 0.2).clamp(0, 1).to(dtype)
    around = torch.rand(32, *shape, generator=source).to(dtype)
    layers[-1].bias -= network(around).mean(dim=0)
    shift = torch.randint(1, num_classes, (num_rows,), generator=source)
    return Problem(kind, network, inputs, (network(inputs).argmax(dim=1) + shift) % num_classes)


def problems(
    kinds=KINDS,
    dtypes=DTYPES,
    num_rows: int | st.SearchStrategy = 5,
    num_classes: st.SearchStrategy = st.integers(2, 10),  # noqa: B008, as immutable as a number
) -> st.SearchStrategy[Problem]:
    """None of the images has its target yet."""
    return st.builds(
        make_problem,
        seed=SEEDS,
        kind=st.sampled_from(kinds),
        num_classes=num_classes,
        dtype=st.sampled_from(dtypes),
        shape=st.sampled_from(list(SHAPES)),
        num_rows=num_rows if isinstance(num_rows, st.SearchStrategy) else st.just(num_rows),
    )


def permutation(size: int, seed: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


# --- Arithmetic without neighbours ----------------------------------------------------------------


class RowByRow(nn.Module):
    """A network that is asked for one image at a time: its bits know of no neighbours, on any processor."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.eval()
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.network(image.clone()) for image in images.split(1)])


@contextmanager
def in_a_fixed_order() -> Iterator[None]:
    """The solver's two products of matrices summed in an order of their own, whatever else is in the batch."""

    def inner_products(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([(a[:, i, None] * b).sum(dim=2) for i in range(a.shape[1])], dim=1)

    def combination(coefficients: Tensor, vectors: Tensor) -> Tensor:
        return sum(coefficients[:, i, None] * vectors[:, i] for i in range(vectors.shape[1]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lbfgs, "inner_products", inner_products)
        patch.setattr(lbfgs, "combination", combination)
        yield


class Recorded(nn.Module):
    """A network that insists on images, and remembers all it was asked and what it said."""

    def __init__(self, network: nn.Module, like: Tensor):
        super().__init__()
        self.network, self.like = network, like
        self.images, self.logits = [], []
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == self.like.shape[1:]
        assert images.dtype == self.like.dtype
        assert ((images >= 0) & (images <= 1)).all()
        logits = self.network(images)
        self.images.append(images.detach().clone())
        self.logits.append(logits.detach().clone())
        return logits


# --- What results state ---------------------------------------------------------------------------


def verify(problem: Problem, result) -> None:
    """What every result of an attack states of itself, asked once more of the network, and in double precision."""
    inputs, adversarial = problem.inputs, result.adversarial
    assert adversarial.shape == inputs.shape
    assert adversarial.dtype == result.distortion.dtype == inputs.dtype
    assert not adversarial.requires_grad
    assert ((adversarial >= 0) & (adversarial <= 1)).all()
    with torch.no_grad():
        said = problem.network(adversarial).argmax(dim=1)
    assert torch.equal(result.success, said == problem.targets)
    assert torch.equal(adversarial[~result.success], inputs[~result.success])
    r = (adversarial.double() - inputs.double()).flatten(1)
    rounding = 16 * torch.finfo(inputs.dtype).eps
    length = r.square().mean(dim=1).sqrt()
    assert ((result.distortion.double() - length).abs() <= rounding * (1 + length))[result.success].all()


def lead(logits: Tensor, targets: Tensor) -> Tensor:
    """The target's logit less the largest other one, (N,), in double precision."""
    logits = logits.double()
    others = logits.masked_fill(nn.functional.one_hot(targets, logits.shape[1]).bool(), -torch.inf)
    return logits.gather(1, targets[:, None])[:, 0] - others.amax(dim=1)


def in_double(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).double()


def lengths(result) -> Tensor:
    """Distortions, inf where nothing was found."""
    return torch.where(result.success, result.distortion.double(), torch.inf)


def relative_change(lengths: Tensor, reference: Tensor) -> Tensor:
    """|log(length / reference)|, (N,): 0 where both are the same, inf where one of them was not found."""
    return torch.where(lengths == reference, 0, (lengths / reference).log().abs())


def assert_same_bits(result, reference, rows=slice(None)) -> None:
    """Row i of `result` is row rows[i] of `reference`, in all that either states."""
    for name, values in vars(result).items():
        expected = vars(reference)[name][rows]
        assert torch.equal(values.nan_to_num(-1.0), expected.nan_to_num(-1.0)), name


def assert_as_near(result, reference, rows=slice(None), more: Tensor | float = 0.0, tolerance=TOLERANCE) -> None:
    """Answers to one problem whose arithmetic was rounded differently; `more`: how much longer they may be for cause.

    In double precision every success and every length: there a search amplifies rounding to 1e-8 at most. In single
    precision one row in a hundred goes another way, to another minimum: half of the rows, failures counting as
    infinitely long, agree within twice the tolerance of the search.
    """
    ours, theirs = lengths(result), lengths(reference)[rows]
    change = (relative_change(ours, theirs) - more).clamp_min(0).nan_to_num(0)
    if result.adversarial.dtype == torch.float64:
        assert torch.equal(result.success, reference.success[rows])
        assert (change <= 2 * tolerance).all()
    else:
        assert change.median() <= 2 * tolerance


# --- Optima by an interior point method -----------------------------------------------------------


@dataclass(frozen=True)
class Optimum:
    """The shortest r of one programme, found by Clarabel in double precision, and its constraints' multipliers."""

    r: np.ndarray  # (n,)
    multipliers: np.ndarray  # (k,)

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.r))


def optimum(slopes: np.ndarray, bounds: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Optimum | None:
    """min |r| subject to slopes r >= bounds, lower <= r <= upper; None where Clarabel finds no such r.

    Rows are divided by their lengths, and all lengths by the box's; rows that ask for nothing are left out.
    """
    unit = float(np.maximum(-lower, upper).max())
    norms = np.linalg.norm(slopes, axis=1)
    asks = bounds > -2 * norms * np.linalg.norm(np.maximum(-lower, upper))
    k, n = int(asks.sum()), len(lower)
    if (bounds[norms == 0] > 0).any() or unit == 0:
        return None if (bounds > 0).any() else Optimum(np.zeros(n), np.zeros(len(bounds)))
    A, b = slopes[asks] / norms[asks, None], bounds[asks] / norms[asks] / unit
    identity = scipy.sparse.identity(n, format="csc")
    constraints = scipy.sparse.vstack([scipy.sparse.csc_matrix(-A), identity, -identity], format="csc")
    limits = np.concatenate([-b, upper / unit, -lower / unit])
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-11
    cones = [clarabel.NonnegativeConeT(len(limits))]
    solution = clarabel.DefaultSolver(identity, np.zeros(n), constraints, limits, cones, options).solve()
    if solution.status not in (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved):
        return None
    multipliers = np.zeros(len(bounds))
    multipliers[asks] = np.array(solution.z)[:k] * unit / norms[asks]
    return Optimum(np.array(solution.x) * unit, multipliers)


def nearest_of_a_linear_network(problem: Problem, ahead: float = 0.0) -> Tensor:
    """The least distortion (N,) at which the target leads all classes by `ahead`, inf where it never does."""
    weight, bias = problem.layer.weight.double().numpy(), problem.layer.bias.double().numpy()
    found = []
    for x, t in zip(problem.inputs.double().flatten(1).numpy(), problem.targets.tolist(), strict=True):
        slopes, gap = np.delete(weight[t] - weight, t, axis=0), np.delete(bias - bias[t], t)
        best = optimum(slopes, gap - slopes @ x + ahead, -x, 1 - x)
        found.append(np.inf if best is None else best.length / len(x) ** 0.5)
    return torch.tensor(found, dtype=torch.float64)
