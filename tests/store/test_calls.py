"""A call is kept under everything that its result depends on, and comes back as it was."""

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lib.attacks import branching, exact, lengths, levels, penalized, tight
from lib.attacks.penalized import AttackConfig
from lib.attacks.tight import TightConfig
from lib.measures import bases, certified, smoothing, spectral, subspaces
from lib.measures.intervals import Estimate
from lib.measures.spectral import Convolution
from lib.networks import adversarial_training, features, linear_probe, mnist, quocnet, recipes
from lib.networks.adversarial_training import LayerwiseConfig, PoolsConfig
from lib.networks.autoencoder import AutoencoderConfig
from lib.networks.linear_probe import ProbeConfig
from lib.networks.mnist import NetworkSpec
from lib.networks.quocnet import QuocNet, QuocNetConfig, RICAConfig
from lib.networks.recipes import Recipe
from lib.networks.training import DecayRule, MinibatchConfig, TrainingConfig
from lib.store import calls, code
from lib.store.artifacts import StoreWarning
from lib.store.calls import Store
from lib.store.files import ROOT


@dataclass(frozen=True)
class Found:
    values: Tensor
    parts: dict[str, Tensor]
    estimate: Estimate
    curve: list[float]
    pair: tuple[int, str | None]


COUNT = []


def search(start: Tensor, factor: float) -> Found:
    COUNT.append(1)
    return Found(start * factor, {"half": start / 2}, Estimate(1.0, 0.5, 1.5, 3), [factor, 0.1 + 0.2], (1, None))


def draw(generator: torch.Generator) -> Tensor:
    return torch.rand(3, generator=generator)


def fail(start: Tensor) -> Tensor:
    raise ZeroDivisionError


def of_a_kind_that_cannot_be_kept(start: Tensor) -> object:
    return object()


@pytest.fixture
def store(tmp_path) -> Store:
    COUNT.clear()
    return Store(tmp_path / "store")


# --- What comes back ------------------------------------------------------------------------------


def test_a_call_is_made_once_and_gives_what_the_function_gives(store):
    start = torch.arange(3.0)
    first, later = store.call(search, start, 2.0), store.call(search, start, 2.0)
    assert len(COUNT) == 1
    assert store.num_made == 1
    for found in (first, later):
        assert isinstance(found, Found)
        assert torch.equal(found.values, 2 * start)
        assert torch.equal(found.parts["half"], start / 2)
        assert found.estimate == Estimate(1.0, 0.5, 1.5, 3)
        assert isinstance(found.estimate, Estimate)
        assert found.curve == [2.0, 0.1 + 0.2]
        assert found.pair == (1, None)


def test_other_arguments_are_another_call(store):
    start = torch.arange(3.0)
    others = [(start + 1, 2.0), (start, 3.0), (start.double(), 2.0), (start[:2], 2.0)]
    for arguments in [(start, 2.0), *others]:
        store.call(search, *arguments)
    assert len(COUNT) == 5


def test_the_seconds_are_those_of_the_making(store):
    start = torch.arange(3.0)
    _, seconds = store.timed(search, start, 2.0)
    assert seconds > 0
    assert store.timed(search, start, 2.0)[1] == seconds


def test_a_generator_lent_to_a_call_is_never_advanced(store):
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    first, later = store.call(draw, generator), store.call(draw, generator)
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(first, later)
    assert torch.equal(first, draw(generator))  # which does advance it
    assert not torch.equal(store.call(draw, generator), first)


def test_a_call_that_raises_leaves_nothing(store):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            store.call(fail, torch.ones(1))
    assert store.num_made == 0


def test_what_cannot_be_kept_is_refused(store):
    with pytest.raises(TypeError, match="type object cannot be kept"):
        store.call(of_a_kind_that_cannot_be_kept, torch.ones(1))
    with pytest.raises(TypeError, match="cannot be part of a key"):
        store.call(search, object(), 1.0)
    with pytest.raises(TypeError, match="no module of this repository"):
        store.call(torch.sum, torch.ones(1))


class Scaled:
    def __init__(self, factor: float):
        self.factor = factor

    def scale(self, start: Tensor) -> Tensor:
        return self.factor * start


def scaled_by(factor: float):
    def scale(start: Tensor) -> Tensor:
        return factor * start

    return scale


@pytest.mark.parametrize("function", [Scaled(2).scale, scaled_by(2)])
def test_a_function_that_carries_values_of_its_own_is_refused(store, function):
    """What it carries would be in no key."""
    with pytest.raises(TypeError, match="carries values of its own"):
        store.call(function, torch.ones(1))


def test_a_generator_inside_an_argument_is_refused(store):
    with pytest.raises(TypeError, match="must be an argument itself"):
        store.call(search, [torch.Generator()], 1.0)


@pytest.mark.faults
def test_a_damaged_result_is_made_again(store):
    store.call(search, torch.ones(2), 2.0)
    (path,) = store.artifacts.root.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(StoreWarning, match=path.name):
        assert torch.equal(store.call(search, torch.ones(2), 2.0).values, torch.full((2,), 2.0))
    assert len(COUNT) == 2


def test_no_class_from_elsewhere_is_ever_made():
    with pytest.raises(TypeError, match="no class of this repository"):
        calls.unpack({"module": "subprocess", "class": "Popen", "fields": {"args": "true"}}, {})


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, (0.1 + 0.2, "x"), {"a": [True]}],
        ("a", {"tuple": 1}),
        Found(torch.eye(2), {"half": torch.ones(1)}, Estimate(1.0, 0.5, 1.5, 3), [0.1], (1, None)),
    ],
)
def test_what_is_packed_is_unpacked_as_it_was(value):
    tensors = {}
    packed = json.loads(json.dumps(calls.pack(value, tensors)))
    assert repr(calls.unpack(packed, tensors)) == repr(value)


# --- Keys that know the recipe --------------------------------------------------------------------

NETWORK = nn.Sequential(nn.Linear(4, 3))
SPEC = mnist.SPECS
CONVOLUTION = Convolution(torch.ones(2, 2, 3, 3), size=(6, 6))
OURS = mnist.AutoencoderClassifier((4, 3, 2), torch.Generator().manual_seed(0))
QUOCNET = QuocNet(
    QuocNetConfig(side=6, num_channels=1, field=2, num_maps=2, pool=1, contrast=3), torch.Generator().manual_seed(0)
)
IMAGES, TARGETS = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
GENERATOR = torch.Generator().manual_seed(0)

# Every kind of artifact that the book keeps, as a call.
KINDS = {
    "sigmoid network": (recipes.fit, Recipe(SPEC["softmax 1"], 0, DecayRule.HALF, TrainingConfig()), IMAGES, TARGETS),
    "autoencoder": (
        recipes.fit,
        Recipe(SPEC["AE400-10"], 0, DecayRule.HALF, TrainingConfig(), AutoencoderConfig(), 1),
        IMAGES,
        TARGETS,
    ),
    "Conv": (recipes.fit, Recipe(SPEC["Conv"], 0, minibatches=MinibatchConfig(), batches=2), IMAGES, TARGETS),
    "adversarial set": (penalized.find_adversarial, OURS, IMAGES, TARGETS, AttackConfig()),
    "lengths at a price": (penalized.lengths_at, NETWORK, IMAGES, TARGETS, torch.ones(2), AttackConfig()),
    "tight attack": (tight.tighten, NETWORK, IMAGES, TARGETS, IMAGES, TightConfig()),
    "tight attack from its own start": (tight.find_adversarial, NETWORK, IMAGES, TARGETS),
    "images on levels": (levels.to_levels, NETWORK, IMAGES, TARGETS, IMAGES),
    "exact optimum": (exact.minimum_perturbation, NETWORK[0], IMAGES, TARGETS),
    "nearest of any class": (penalized.find_nearest_adversarial, NETWORK, IMAGES, TARGETS),
    "nearest of a rectified network": (branching.minimum_perturbation, NETWORK, IMAGES, TARGETS, IMAGES, 100),
    "rectified network": (
        recipes.fit,
        Recipe(NetworkSpec("r", "rectified", (784, 2, 10), ()), 0, minibatches=MinibatchConfig(), batches=1),
        IMAGES,
        TARGETS,
    ),
    "lengths to every class": (lengths.to_every_class, NETWORK, IMAGES, 2, AttackConfig()),
    "lengths at one price": (lengths.with_one_price, NETWORK, IMAGES, TARGETS, 2, AttackConfig()),
    "lengths at the least price": (lengths.at_price, NETWORK, IMAGES, TARGETS, 1e-3, 1, AttackConfig()),
    "lengths of a coarse search": (lengths.searched_down, NETWORK, IMAGES, TARGETS, 2.0, 1, AttackConfig()),
    "directions that fool": (subspaces.fooled, {"one": NETWORK}, IMAGES, TARGETS, IMAGES, 0.1, 0),
    "radius of a smoothed network": (smoothing.certified_radius, NETWORK, IMAGES, TARGETS, 0.1, 10, GENERATOR),
    "what a smoothed network lost": (smoothing.surely_lost, NETWORK, IMAGES, TARGETS, 0.1, 10, GENERATOR),
    "linear layer": (linear_probe.fit_head, IMAGES, TARGETS, 2, ProbeConfig()),
    "linear layer, its decay chosen": (linear_probe.fit_tuned, IMAGES, TARGETS, 2, (0.1, 1.0), GENERATOR),
    "stage of QuocNet": (quocnet.fit_stage, QUOCNET, 0, torch.zeros(2, 1, 6, 6), RICAConfig(), 3),
    "network with pools": (
        adversarial_training.fit,
        NETWORK,
        IMAGES,
        TARGETS,
        (IMAGES, TARGETS),
        LayerwiseConfig(1, pools=PoolsConfig()),
        4,
    ),
    "thumbnails": (features.thumbnails, IMAGES),
    "maps": (features.maps, NETWORK, IMAGES),
    "encodings": (features.encodings, NETWORK, IMAGES),
    "rotations": (bases.rotated, IMAGES, {"labels": IMAGES}, 1, 2, GENERATOR),
    "certificates": (certified.certify, NETWORK, IMAGES, TARGETS, 2),
    "norm": (spectral.largest_singular_value, CONVOLUTION, GENERATOR),
    "least": (spectral.least_singular_value, CONVOLUTION, GENERATOR, 3),
    "spectrum": (spectral.torus_spectrum, CONVOLUTION, 6),
}


def kept_by(path: Path) -> set[str]:
    """The dotted names of the functions that a file calls through the store."""
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=store, attr="call" | "timed"), args=[function, *_]):
                if ast.unparse(store).endswith("store"):
                    first, *rest = ast.unparse(function).split(".")
                    found.add(".".join([names.get(first, first), *rest]))
    return found


def test_every_call_that_is_kept_is_tried_here():
    folders = ("lib", "chapters", "tools", "benchmarks")
    kept = set().union(*(kept_by(path) for folder in folders for path in (ROOT / folder).rglob("*.py")))
    assert kept == {f"{function.__module__}.{function.__name__}" for function, *_ in KINDS.values()}


def test_however_a_call_is_written_it_is_found(tmp_path):
    (tmp_path / "caller.py").write_text(
        "from lib.a import b\nfrom lib.a.c import d as e\n"
        "run.store.call(b.f)\nstore.timed(\n    e, 1\n)\nself.store.call(b.g, *x)\nshop.call(b.h)\n"
    )
    assert kept_by(tmp_path / "caller.py") == {"lib.a.b.f", "lib.a.c.d", "lib.a.b.g"}


def classes(value) -> Iterator[type]:
    """Of an argument and of all that it consists of."""
    yield type(value)
    if isinstance(value, nn.Module):
        yield from map(type, value.modules())
    if is_dataclass(value):
        yield from (kind for field in fields(value) for kind in classes(getattr(value, field.name)))


def sources(function, *arguments) -> set[Path]:
    """The files in lib that define a function and the classes of its arguments."""
    names = {thing.__module__ for thing in (function, *(kind for value in arguments for kind in classes(value)))}
    return {Path(sys.modules[name].__file__).resolve() for name in names if name.split(".")[0] == "lib"}


def taking_part(kind: str) -> list[Path]:
    """The modules that have a part in a call: code.closure of its sources, packages aside."""
    return sorted(path for path in code.closure(sources(*KINDS[kind])) if path.name != "__init__.py")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_call_can_reach_from_its_globals_takes_part(kind):
    """Told from what was imported, where code.closure reads import statements."""
    reached, pending = set(), [importlib.import_module(dotted(path)) for path in sources(*KINDS[kind])]
    while pending:
        module = pending.pop()
        if module.__name__ not in reached:
            reached.add(module.__name__)
            values = list(vars(module).values())
            names = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in values}
            pending += [sys.modules[name] for name in names if str(name).startswith("lib.") and name in sys.modules]
    assert reached <= {dotted(path) for path in taking_part(kind)}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_constant_in_any_module_of_a_recipe_changes_its_key(kind, monkeypatch):
    """One in each module that has a part in it: every other one gives its module another version, too, as below."""
    function, *arguments = KINDS[kind]
    monkeypatch.setattr(code, "packages", lambda paths: [])  # they are read from the files anew for every key
    real, before = code._tree, calls.key(function, arguments)
    assert sum(len(constants(path)) for path in taking_part(kind)) > 50
    for path in filter(constants, taking_part(kind)):
        monkeypatch.setattr(code, "_tree", lambda p, t, path=path: mutated(p, 0) if p == path else real(p, t))
        assert calls.key(function, arguments) != before, f"{path} is in no key"
    monkeypatch.setattr(code, "_tree", real)
    assert calls.key(function, arguments) == before


def test_a_changed_constant_in_any_function_of_a_recipe_is_another_version_of_its_module():
    """One constant at a time, every one of every module that has a part in any."""
    for path in set().union(*map(taking_part, KINDS)):
        before = code._tree(path, path.stat().st_mtime_ns)
        same = [place for place in range(len(constants(path))) if mutated(path, place) == before]
        assert same == [], f"{path}: constants {same} are in no version"


@cache
def syntax(path: Path) -> ast.Module:
    return code._DropStrings().visit(ast.parse(path.read_bytes()))


@cache
def constants(path: Path) -> list[ast.Constant]:
    """The constants of a file's code, docstrings aside."""
    return [node for node in ast.walk(syntax(path)) if isinstance(node, ast.Constant)]


@cache
def mutated(path: Path, place: int) -> str:
    """The version of the file with one constant changed, by the real way of telling it."""
    constant = constants(path)[place]
    value = constant.value
    constant.value = 2 * value + 1 if type(value) in (int, float) else "changed"
    version = code.checksum(ast.dump(syntax(path)).encode())
    constant.value = value
    return version


def test_a_change_elsewhere_leaves_a_key_alone(monkeypatch):
    """Figures, records and other attacks have no part in a trained network."""
    function, *arguments = KINDS["sigmoid network"]
    before, real = calls.key(function, arguments), code._tree
    for module in ("figures/style", "record/tables", "attacks/penalized", "experiments/digits", "measures/units"):
        path = (ROOT / f"lib/{module}.py").resolve()
        monkeypatch.setattr(code, "_tree", lambda p, t, path=path: "changed" if p == path else real(p, t))
        assert calls.key(function, arguments) == before


def test_versions_and_device_are_part_of_the_key(monkeypatch):
    function, *arguments = KINDS["adversarial set"]
    key = calls.key(function, arguments)
    assert key["devices"] == ["cpu"]
    assert key["versions"].keys() >= {"python", "torch"}
    monkeypatch.setattr(calls, "_versions", lambda packages: dict.fromkeys(packages, "9.9.9"))
    assert calls.key(function, arguments) != key


def test_every_package_that_computes_a_result_is_in_its_key():
    """SciPy fits the networks and finds least singular values, Pillow decodes pictures."""
    for kind, packages in {
        "sigmoid network": {"scipy", "numpy", "torch"},
        "least": {"scipy", "torch"},
        "maps": {"PIL", "torch"},
        "adversarial set": {"torch"},
    }.items():
        function, *arguments = KINDS[kind]
        assert packages <= calls.key(function, arguments)["versions"].keys(), kind


def test_the_code_of_a_networks_class_is_part_of_the_key():
    """The attack does not import the networks: it is handed one."""
    conv = mnist.build(SPEC["Conv"], torch.Generator().manual_seed(0))
    ours = calls.key(penalized.find_adversarial, (conv, IMAGES, TARGETS, AttackConfig()))
    foreign = calls.key(penalized.find_adversarial, (NETWORK, IMAGES, TARGETS, AttackConfig()))
    assert ours["code"] != foreign["code"]
