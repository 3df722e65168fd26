"""What a setting, a start or a programme may be, and the words for what it may not; also for what uses the solvers."""

import functools
import math
import numbers
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PRECISIONS = (torch.float32, torch.float64)


class KindError(TypeError, ValueError):
    """An argument of the wrong kind: no tensor, another dtype. A ValueError, too, for whoever asks no finer."""


def warn(text: str, category: type[UserWarning]) -> None:
    """A warning at the line outside this library that led here."""
    ours = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))
    depth, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(ours):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, category, stacklevel=depth)


# --- Settings -------------------------------------------------------------------------------------


def check_whole(name: str, value, least: int, unit: str) -> None:
    """Raises unless `value` is a whole number, `least` or more; unit : what it counts, in the singular."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise KindError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least} {unit}, not {value}")


def check_number(name: str, value, below: float = math.inf, cure: str = "", positive: bool = False) -> None:
    """Raises unless `value` is a number from 0, or above 0, up to, and without, `below`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):  # torch knows these
        raise KindError(f"{name} must be a number, not {value!r}")
    if not 0 <= value < below or (positive and value == 0):  # nan is neither
        least = "above 0" if positive else "0 or more"
        allowed = f"{least}, and finite" if below == math.inf else f"{least} and below {below:g}"
        raise ValueError(f"{name} must be {allowed}, not {value}" + (f": {cure}" if cure else ""))


def check_config(config, kind: type, name: str = "config") -> None:
    if not isinstance(config, kind):
        raise KindError(f"{name} must be of the class {kind.__name__}, not {_kind(config)}")


def _kind(value) -> str:
    return type(value).__name__


# --- Modes of torch -------------------------------------------------------------------------------


def outside_inference_mode(function: Callable) -> Callable:
    """`function`, run outside the caller's torch.inference_mode, in which no gradient can be had."""

    @functools.wraps(function)
    def wrapped(*arguments, **named):
        if not torch.is_inference_mode_enabled():
            return function(*arguments, **named)
        with torch.inference_mode(False):
            return function(*arguments, **named)

    return wrapped


def refuse_autocast(device: torch.device) -> None:
    """Under autocast the arithmetic of solvers, too, would be rounded to half precision."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        raise ValueError(
            "autocast is on, which would round this function's own arithmetic: call it outside the block, and put "
            "autocast into the network or the objective itself"
        )


# --- Tensors --------------------------------------------------------------------------------------


def _check_tensor(name: str, value, cure: str = "") -> None:
    """Raises unless `value` is a Tensor of float32 or float64."""
    if not isinstance(value, Tensor):
        raise KindError(f"{name} must be a torch.Tensor, not {_kind(value)}: use {cure or f'torch.as_tensor({name})'}")
    if value.dtype not in PRECISIONS:
        raise KindError(f"{name} must be a floating tensor, float32 or float64, not {value.dtype}: use {name}.float()")


def _check_each(name: str, value, start: Tensor, positive: bool = False) -> None:
    """Raises unless `value` is a number of 0 or more for all rows of `start`, or one for each, in its dtype."""
    num = len(start)
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Tensor)):
        raise KindError(f"{name} must be a number or a Tensor ({num},), not {_kind(value)}")
    values = torch.as_tensor(value, dtype=start.dtype)
    if values.shape not in ((), (num,)):
        raise ValueError(f"{name} must be a number or a Tensor ({num},), not of shape {tuple(values.shape)}")
    good = ((values > 0) if positive else (values >= 0)) & values.isfinite()
    if not good.all():
        bad = float(values[~good].flatten()[0])
        least = "above 0" if positive else "0 or more"
        raise ValueError(f"{name} must be {least}, and finite, not {bad:g} (in {start.dtype})")


# --- Of lbfgs.minimize ----------------------------------------------------------------------------


def check_problem(objective, start, bounds: dict, tolerance, first_step, decrease) -> None:
    """What `lbfgs.minimize` is given, but for the values of its box, which it looks at itself."""
    if not callable(objective):
        raise KindError(f"objective must be callable, (x, problem) -> (value, gradient), not {_kind(objective)}")
    _check_tensor("start", start)
    if start.ndim != 2 or start.shape[1] == 0:
        cure = ": of one point use start[None]" if start.ndim == 1 else ""
        raise ValueError(
            f"start must be a floating tensor (N, n), N points of n >= 1 variables, not {tuple(start.shape)}{cure}"
        )
    if not start.isfinite().all():
        raise ValueError("start must be finite, and it holds nan or inf")
    refuse_autocast(start.device)
    for name, bound in bounds.items():
        if isinstance(bound, bool) or not isinstance(bound, (numbers.Real, Tensor)):
            raise KindError(f"{name} must be a number or a Tensor, not {_kind(bound)}")
        if isinstance(bound, Tensor) and bound.is_complex():
            raise KindError(f"{name} must be real, not {bound.dtype}")
        n, shape = start.shape[1], tuple(start.shape)
        if isinstance(bound, Tensor) and tuple(bound.shape) not in ((), (1,), (n,), (1, n), shape):
            raise ValueError(f"{name} must be a number, a Tensor ({n},) or {shape}, not of shape {tuple(bound.shape)}")
    _check_each("tolerance", tolerance, start)
    _check_each("first_step", first_step, start, positive=True)
    _check_each("decrease", decrease, start)


class Evaluated:
    """An objective that is asked on copies, whose values and gradients carry no graph and have their point's dtype."""

    def __init__(self, objective: Callable):
        self.objective = objective

    def __call__(self, x: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        found = self.objective(x.clone(), problem.clone())
        if not (isinstance(found, (tuple, list)) and len(found) == 2 and all(isinstance(v, Tensor) for v in found)):
            raise KindError(f"objective must return two Tensors, (value, gradient), not {_described(found)}")
        value, gradient = found
        if not (value.is_floating_point() and gradient.is_floating_point()):
            raise KindError(f"objective must return floating numbers, not {value.dtype} and {gradient.dtype}")
        if value.shape != x.shape[:1] or gradient.shape != x.shape:
            raise ValueError(
                f"the objective must return values ({len(x)},) and gradients {tuple(x.shape)}, "
                f"not {tuple(value.shape)} and {tuple(gradient.shape)}"
            )
        return value.detach().to(x.dtype), gradient.detach().to(x.dtype)


def _described(value) -> str:
    inside = f" of {', '.join(map(_kind, value))}" if isinstance(value, (tuple, list)) else ""
    return _kind(value) + inside


# --- Of quadratic.project -------------------------------------------------------------------------


def check_programme(slopes, bounds, lower, upper, start, tolerance, max_iterations) -> None:
    """What `quadratic.project` is given."""
    _check_tensor("slopes", slopes)
    if slopes.ndim != 3 or 0 in slopes.shape:
        raise ValueError(
            f"slopes must be (N, k, n): of N >= 1 programmes the k rows of n slopes, not {tuple(slopes.shape)}"
        )
    num, k, n = slopes.shape
    others = {"bounds": (bounds, (num, k)), "lower": (lower, (num, n)), "upper": (upper, (num, n))}
    others |= {} if start is None else {"start": (start, (num, k))}
    for name, (value, shape) in others.items():
        _check_tensor(name, value)
        if tuple(value.shape) != shape:
            raise ValueError(f"{name} must be {shape}, as slopes are {tuple(slopes.shape)}, not {tuple(value.shape)}")
        if value.dtype != slopes.dtype or value.device != slopes.device:
            raise ValueError(f"{name} must be {slopes.dtype} on {slopes.device} as slopes are: use {name}.to(slopes)")
    refuse_autocast(slopes.device)
    if not slopes.isfinite().all() or bounds.isnan().any():
        raise ValueError("slopes must be finite, and bounds no nan (-inf stands for none): leave such programmes out")
    if not ((lower <= 0) & (upper >= 0) & lower.isfinite() & upper.isfinite()).all():
        raise ValueError(
            "lower and upper must be finite, with lower <= 0 <= upper: the box is that of r, which 0 lies in; "
            "of a point x in the box [a, b] it is [a - x, b - x]"
        )
    if start is not None and not (start >= 0).all():
        raise ValueError("start, multipliers of the rows of slopes, must be 0 or more: leave it out to begin at 0")
    check_number("tolerance", tolerance)
    check_whole("max_iterations", max_iterations, 1, "step")
