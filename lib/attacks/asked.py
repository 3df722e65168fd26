"""The caller's network, and how it is asked: never in training mode, for logits, about images that stay as they are."""

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from ..solvers.arguments import KindError, warn
from . import behind, memory

SURELY = 0.2  # of what tells classes apart
ROUNDED = 1e-2  # by which probabilities can miss a sum of 1
SEED_OF_TWINS, NUM_OTHERS = 0, 8
FEWEST = 16  # numbers that all lie in [0, 1] by chance in fewer than one of 60,000 networks


class ProbabilitiesWarning(UserWarning):
    """The network's outputs look like probabilities, where logits are expected."""


class Asked:
    """The caller's network: logits (N, K) for images (N, ...), in the images' dtype.

    in_place : whether it changes its argument; then it is asked on copies.
    bytes_an_image : that it keeps of one for its gradient.
    twins : (K,), classes that are always as an earlier one is; of such a network says the first, and theirs are -inf.
    """

    def __init__(self, network: Callable, num_classes: int, in_place: bool, bytes_an_image: int, twins: Tensor):
        self.network, self.num_classes, self.in_place = network, num_classes, in_place
        self.bytes_an_image = bytes_an_image
        self.twins = twins if twins.any() else None

    def __call__(self, images: Tensor) -> Tensor:
        version = images._version
        logits = _as_logits(self.network(images.clone() if self.in_place else images), images)
        if images._version != version:
            raise ValueError(
                "network changes its argument, and did not when first asked: hand in lambda x: network(x.clone())"
            )
        if logits.shape[1] != self.num_classes:
            raise ValueError(
                f"network must return as many logits each time: {self.num_classes} at first, then {logits.shape[1]}"
            )
        logits = logits.to(images.dtype)
        return logits if self.twins is None else logits.masked_fill(self.twins, -torch.inf)


def asked(network, inputs: Tensor) -> Asked:
    """`network`, after it was asked about the first two inputs and has been found to give logits with a gradient.

    Raises ValueError and TypeError, and warns, as `penalized.find_adversarial` says.
    """
    if isinstance(network, Asked):
        return network
    if not callable(network):
        raise KindError(
            f"network must be callable, images to logits, not {type(network).__name__}: are the arguments in order, "
            "network first?"
        )
    roots = list(behind.modules(network))
    wrong = {module: error for root in roots for module, error in _wrong(root, direct=root is network)}
    images = inputs[:2].detach().clone().requires_grad_()
    with _refusing(wrong):
        logits, in_place, bytes_an_image = _counted_answer(network, roots, images)
    if isinstance(network, nn.Module):
        _check_mode(network)
    _refuse_neighbours(network, images.detach(), logits.detach())
    if logits.grad_fn is None or not _leads_to(logits.grad_fn, images):
        raise ValueError(
            "network's logits have no gradient with respect to the images: take torch.no_grad, torch.inference_mode, "
            ".detach() and .data out of its forward"
        )
    _warn_of_probabilities(logits.detach())
    return Asked(network, logits.shape[1], in_place, bytes_an_image, _twins(network, images.detach(), logits.detach()))


# --- Its modules ----------------------------------------------------------------------------------


def _wrong(root: nn.Module, direct: bool) -> Iterator[tuple[nn.Module, ValueError]]:
    """The modules that no call may come to, since they answer at random or by an image's neighbours, and what to say.

    direct : the root was handed in itself.
    """
    for name, module in root.named_modules():
        what = _named(root, name, module, direct)
        if behind.is_lazy(module):
            yield module, ValueError(f"{what} is lazy and has no weights yet: call network on an image first")
        elif _is_training(module) and _acts_by_mode(module):
            yield module, _in_training(what, direct)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            yield (
                module,
                ValueError(
                    f"{what} has no running statistics, so that an image's logits depend on its neighbours in the "
                    "batch: build it with track_running_stats=True"
                ),
            )


@contextmanager
def _refusing(wrong: Mapping[nn.Module, ValueError]) -> Iterator[None]:
    """Raises as soon as a call comes to one of these modules, before it runs; those that it passes by do not matter."""

    def refuse(module: nn.Module, _) -> None:
        raise wrong[module]

    for module, error in wrong.items():
        if isinstance(module, torch.jit.ScriptModule):  # of which nobody is told when it runs
            raise error
    hooks = [module.register_forward_pre_hook(refuse, prepend=True) for module in wrong]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_mode(network: nn.Module) -> None:
    """Raises for a network that was never put into evaluation mode, though nothing of it acts by that: it may once."""
    leaves = [module for module in network.modules() if next(module.children(), None) is None]
    if isinstance(network, torch.fx.GraphModule) and any(type(leaf) is nn.Module for leaf in leaves):
        return  # exported: what its mode decided is written down, .eval() is refused, and modules only hold weights
    if all(map(_is_training, leaves)):
        raise _in_training("network", direct=True)


def _in_training(what: str, direct: bool) -> ValueError:
    return ValueError(
        f"{what} is in training mode, in which dropout is random and batch norm changes: "
        f"call {'network.eval()' if direct else '.eval() on it'} first, which reaches every module"
    )


def _named(root: nn.Module, name: str, module: nn.Module, direct: bool) -> str:
    """What a message calls a module of the root."""
    kind = type(module).__name__
    if not name:
        return "network" if direct else f"the {kind} that network calls"
    own = f"module {name!r}, {kind},"
    return f"network's {own}" if direct else f"{own} of the {type(root).__name__} that network calls"


def _is_training(module: nn.Module) -> bool:
    return getattr(module, "training", False)  # a frozen script has none


def _acts_by_mode(module: nn.Module) -> bool:
    """Whether the module may do something else in training mode, its parts aside."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, (nn.modules.batchnorm._NormBase, nn.RReLU)):
        return getattr(module, "track_running_stats", True) or isinstance(module, nn.modules.batchnorm._BatchNorm)
    if isinstance(module, torch.jit.ScriptModule):
        return any(word in module.original_name for word in ("Drop", "Norm", "RReLU"))
    if (rate := getattr(module, "dropout", 0)) and isinstance(rate, float):  # recurrent layers and attention
        return True
    own = [part for kind in type(module).__mro__ if not behind.is_torchs(kind) for part in vars(kind).values()]
    return any("training" in behind.named_in(part.__code__) for part in own if isinstance(part, types.FunctionType))


# --- Its first answer -----------------------------------------------------------------------------


def _counted_answer(network, roots: list[nn.Module], images: Tensor) -> tuple[Tensor, bool, int]:
    """`_first_answer`, and the bytes that the network keeps of an image: 0 where it does not let them be counted, as
    what calls torch.func does not."""
    with suppress(RuntimeError), memory.counted(len(images)) as kept:
        return *_first_answer(network, roots, images), kept[0] // max(len(images), 1)
    return *_first_answer(network, roots, images), 0


def _first_answer(network, roots: list[nn.Module], images: Tensor) -> tuple[Tensor, bool]:
    """Logits, and whether the network works in place; what it changed of itself is put back, and an error."""
    before = kept_buffers(roots)
    handed = images.clone()
    try:
        with torch.enable_grad():
            logits = _as_logits(network(handed), images)
    except (KindError, ValueError):
        raise
    except Exception as error:
        _explain(error, roots, images)
        raise
    finally:
        changed = put_back(before)
    if changed:
        raise ValueError(
            f"network changes its own buffer {changed[0].rpartition('.')[2]!r} when it is asked, so that an answer "
            "depends on the questions before: an attack needs one that stays as it is"
        )
    return logits, handed._version > 0 or not torch.equal(handed, images)


# A buffer: its path in its root, the module that has it, the tensor, and the values that it had.
Kept = tuple[str, nn.Module, Tensor, Tensor]


def kept_buffers(roots: Iterable[nn.Module]) -> list[Kept]:
    """The buffers of the modules, to be `put_back` after these have been asked."""
    return [
        (path, root.get_submodule(path.rpartition(".")[0]), buffer, buffer.clone())
        for root in roots
        for path, buffer in root.named_buffers()
    ]


@torch.no_grad()
def put_back(kept: Iterable[Kept]) -> list[str]:
    """Give each buffer that was changed, or assigned anew, the tensor and values that it had. The paths of these."""
    changed = []
    for path, owner, buffer, values in kept:
        name = path.rpartition(".")[2]
        if not _is_same(owner._buffers[name], values):
            owner._buffers[name] = buffer.copy_(values)
            changed.append(path)
    return changed


def _is_same(first: Tensor, second: Tensor) -> bool:
    """The same numbers; nan is the same as nan, and of what has no numbers nothing is said."""
    if first.is_meta or first.layout != torch.strided:
        return True
    if first.shape != second.shape:
        return False
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def _where_they_are(answer) -> str:
    """The cure for an answer that holds the logits, if it does."""
    if isinstance(getattr(answer, "logits", None), Tensor):
        return ": hand in lambda x: network(x).logits"
    if isinstance(answer, dict) and answer:
        name = "logits" if "logits" in answer else next(iter(answer)) if len(answer) == 1 else None
        return (
            f": hand in lambda x: network(x)[{name!r}]" if name else f": hand in one of its parts, {', '.join(answer)}"
        )
    if isinstance(answer, (list, tuple)) and answer:
        return ": hand in lambda x: network(x)[0], if they come first"
    return ""


def _as_logits(logits, images: Tensor) -> Tensor:
    expected = "network must return logits, a Tensor (N, K) for N images"
    if not isinstance(logits, Tensor):
        raise KindError(f"{expected}, not {type(logits).__name__}{_where_they_are(logits)}")
    if logits.layout != torch.strided:
        raise KindError(f"{expected}, dense, not {logits.layout}: hand in lambda x: network(x).to_dense()")
    if not logits.is_floating_point():
        raise KindError(f"{expected}, floating, not {logits.dtype}: without .argmax() or rounding at its end")
    if logits.ndim == 2 and len(logits) == len(images) and logits.shape[1] >= 2:
        if logits.device != images.device:
            raise ValueError(f"{expected}, on {images.device} as they are, not on {logits.device}")
        return logits
    if logits.shape in ((len(images),), (len(images), 1)):
        raise ValueError(
            f"{expected}, and needs at least two classes, not {tuple(logits.shape)} for {len(images)}: where one logit "
            "decides for class 1, hand in lambda x: torch.nn.functional.pad(network(x).view(-1, 1), (1, 0)), which has "
            "a 0 for class 0"
        )
    raise ValueError(f"{expected}, not {tuple(logits.shape)} for {len(images)}: a row is an image, a column a class")


@torch.no_grad()
def _refuse_neighbours(network, images: Tensor, logits: Tensor) -> None:
    """An image by itself must get the logits that it gets beside another; random ones, which differ anyway, pass."""
    try:
        alone = network(images[:1].clone())
    except Exception as error:
        raise ValueError("network answers to two images and fails on one: an attack asks about any number") from error
    if _differ(alone, logits[:1], SURELY) and not _differ(network(images.clone()), logits, 0):
        raise ValueError(
            "network gives an image other logits beside another image than alone, as batch norm in training does: an "
            "attack needs one that looks at each image by itself, network.eval() or F.batch_norm(..., training=False)"
        )


def _differ(logits, others: Tensor, fraction: float) -> bool:
    """Where they are finite by more than rounding, and more than a fraction of what tells classes apart.

    That is how far half of a row is from its median, in the row where it is furthest: a constant that all share, and
    classes that are masked, have no part in it.
    """
    eps, others = max(torch.finfo(others.dtype).eps, torch.finfo(torch.float32).eps), others.double()
    finite = others.isfinite()
    away = (others - others.median(dim=1, keepdim=True).values).abs().nan_to_num(nan=torch.inf).sort(dim=1).values
    half = away[:, others.shape[1] // 2]
    spread = half[half.isfinite()].amax() if half.isfinite().any() else 0
    close = (logits - others).abs() <= fraction * spread + 64 * eps * others.abs()
    return not (close | ~finite).all()


@torch.no_grad()
def _twins(network, images: Tensor, logits: Tensor) -> Tensor:
    """Whether a class has the very logits of an earlier one, (K,) bool: on the images, and on others drawn here."""
    twins = _repeated(logits)
    if twins.any():
        dice = torch.Generator().manual_seed(SEED_OF_TWINS)
        others = torch.rand(NUM_OTHERS, *images.shape[1:], generator=dice, dtype=images.dtype).to(images.device)
        twins = _repeated(torch.cat([logits, _as_logits(network(others), others)]))
    return twins


def _repeated(columns: Tensor) -> Tensor:
    """Whether a column of (n, K) equals an earlier one, (K,) bool."""
    _, group = torch.unique(columns, dim=1, return_inverse=True)
    places = torch.arange(len(group), device=group.device)
    first = torch.full_like(group, len(group)).scatter_reduce(0, group, places, "amin")
    return places > first[group]


def _warn_of_probabilities(logits: Tensor) -> None:
    sum_to_one = ((logits.sum(dim=1) - 1).abs() <= ROUNDED).all()
    if logits.min() >= 0 and (sum_to_one or (logits.max() <= 1 and logits.numel() >= FEWEST)):
        which = "none is below 0, and they sum to 1" if sum_to_one else "all of them lie in [0, 1]"
        warn(
            f"network's outputs look like probabilities: {which}. The attack needs logits: take the "
            f"{'softmax' if sum_to_one else 'sigmoid'} off the network's end",
            ProbabilitiesWarning,
        )


def _explain(error: Exception, roots: list[nn.Module], images: Tensor) -> None:
    """Raises what `error` comes of, where that is the device or the dtype; else notes on it what was asked."""
    tensors = [t for root in roots for t in (*root.parameters(), *root.buffers()) if t.is_floating_point()]
    if tensors and images.device not in {t.device for t in tensors}:
        raise ValueError(
            f"network is on {tensors[0].device} and inputs are on {images.device}: use "
            f"inputs.to({str(tensors[0].device)!r}), and the same for targets"
        ) from error
    if tensors and images.dtype not in {t.dtype for t in tensors}:
        raise ValueError(
            f"network computes in {tensors[0].dtype} and inputs are {images.dtype}: use network.to({images.dtype}), or "
            f"hand in lambda x: network(x.to({tensors[0].dtype}))"
        ) from error
    if any(t.is_inference() for t in tensors):
        raise ValueError(
            "network was built under torch.inference_mode, and nothing has a gradient through it: build it outside"
        ) from error
    asked_about = f"inputs {tuple(images.shape)}, {images.dtype} on {images.device}"
    error.add_note(f"Raised by network, asked about {asked_about}.")


def _leads_to(node, images: Tensor) -> bool:
    """Whether the graph of a result goes back to `images`."""
    seen, pending = set(), [node]
    while pending:
        node = pending.pop()
        if getattr(node, "variable", None) is images:
            return True
        if node not in seen:
            seen.add(node)
            pending += [earlier for earlier, _ in node.next_functions if earlier is not None]
    return False
