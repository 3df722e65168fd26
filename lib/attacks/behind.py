"""Which modules a call leads to: itself, and what the functions, methods and objects behind it reach by the names that
stand in their code. Nothing is called, and no code of the caller's runs."""

import functools
import inspect
import types
from collections.abc import Iterator

from torch import Tensor, nn

MOST_SEEN = 10_000  # places that are looked at

# Something that a call may lead to, and the names in the code that leads there: which of its attributes are followed.
Place = tuple[object, frozenset[str]]


def modules(network) -> Iterator[nn.Module]:
    """The modules that calling `network` leads to, as far as that can be seen; each once, the outermost first."""
    seen: dict[tuple, object] = {}  # the objects are kept, or others might get the same id
    told: set[int] = set()
    pending: list[Place] = [(network, frozenset())]
    while pending and len(seen) < MOST_SEEN:
        value, names = pending.pop(0)
        place = _identity(value), names
        if place in seen or isinstance(value, (str, bytes, int, float, complex, Tensor, type(None))):
            continue
        seen[place] = value
        if isinstance(value, nn.Module) and id(value) not in told:
            told |= {id(part) for part in value.modules()}
            yield value
        pending += _behind(value, names)


def _identity(value) -> int | tuple[int, int]:
    """What stays the same of an object as long as it lives. A method is a new one each time that it is asked for."""
    return (id(value.__func__), id(value.__self__)) if isinstance(value, types.MethodType) else id(value)


def _behind(value, names: frozenset[str]) -> list[Place]:
    """Where it leads in one step: functions to what they hold, collections to all, objects to what the code names."""
    match value:
        case nn.Module():
            ours = [part for part in value.modules() if not is_torchs(type(part)) or "forward" in vars(part)]
            hooks = [hook for part in value.modules() for hook in hooks_of(part)]
            return [(step, names) for step in (*(part.forward for part in ours), *hooks)]
        case types.FunctionType(_torchdynamo_orig_callable=function):
            return [(function, names)]
        case types.FunctionType():
            return [] if is_torchs(value) else [(held, named_in(value.__code__)) for held in _held(value)]
        case types.MethodType(__func__=types.FunctionType(__code__=code), __self__=owner):
            itself = [(owner, names)] if isinstance(owner, nn.Module) else []
            return [(value.__func__, names), *_attributes(owner, named_in(code)), *itself]
        case functools.partial():
            return [(part, names) for part in (value.func, *value.args, *value.keywords.values())]
        case dict():
            return [(part, names) for part in value.values()]
        case list() | tuple() | set():
            return [(part, names) for part in value]
    called = vars(type(value)).get("__call__")
    of_class = [(types.MethodType(called, value), names)] if isinstance(called, types.FunctionType) else []
    return [*_attributes(value, names), *of_class]


def hooks_of(module: nn.Module) -> list:
    """What runs before and after the module's forward."""
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def is_lazy(module: nn.Module) -> bool:
    """Whether it has no weights of its own yet, and makes them when it is called."""
    return any(isinstance(part, nn.parameter.UninitializedTensorMixin) for part in module.parameters(recurse=False))


def is_torchs(thing) -> bool:
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "torch"


def named_in(code: types.CodeType) -> frozenset[str]:
    """The globals and attributes that a function's code names, inner functions' too."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(code.co_names).union(*map(named_in, inner))


def _held(function: types.FunctionType) -> list:
    """What a function's body can reach by name: what it closes over, globals, defaults."""
    named, known = named_in(function.__code__), function.__globals__
    enclosed = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*enclosed, *(known[name] for name in sorted(named) if name in known), *defaults]


def _attributes(owner, names: frozenset[str]) -> list[Place]:
    return [(found, names) for name in sorted(names) if (found := _attribute(owner, name)) is not None]


def _attribute(owner, name: str):
    """An attribute, without running any code of the owner's; a function of its class as the method that it is."""
    found = inspect.getattr_static(owner, name, None)
    if name in getattr(owner, "__dict__", {}):
        return found
    match found:
        case types.FunctionType():
            return types.MethodType(found, owner)
        case property(fget=types.FunctionType() as function) | functools.cached_property(func=function):
            return types.MethodType(function, owner)
        case types.MemberDescriptorType():
            return getattr(owner, name, None)
    return None if hasattr(type(found), "__get__") else found  # other descriptors run code
