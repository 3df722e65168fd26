"""The house keeps its shape: wings, arrows that run one way, few floors."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from lib.store import code
from lib.store.files import ROOT

LIB, TESTS = ROOT / "lib", ROOT / "tests"
MOST_NAMES, MOST_FLOORS = 10, 7

# Which wings a wing may import, besides itself.
ARROWS = {
    "store": set(),
    "data": {"store"},
    "solvers": set(),
    "attacks": {"solvers"},
    "networks": {"attacks", "data"},
    "measures": {"solvers", "attacks", "data", "networks"},
    "record": {"measures", "networks", "store"},
    "figures": {"measures"},
    "experiments": {"store", "data", "solvers", "networks", "attacks", "measures", "record", "figures"},
}


def modules() -> list[Path]:
    return sorted(path for path in LIB.rglob("*.py") if path.name != "__init__.py")


@cache
def arrows(path: Path) -> frozenset[Path]:
    """The modules of lib, packages aside, that a file imports."""
    found = code.imported(path, ROOT, path.stat().st_mtime_ns)
    return frozenset(
        other for other in found if other.name != "__init__.py" and other.is_relative_to(LIB) and other != path
    )


def wing(path: Path) -> str:
    return path.relative_to(LIB).parts[0]


@cache
def floor(path: Path) -> int:
    """1 for a module that imports none of the others, else one above the highest of those that it imports."""
    return 1 + max(map(floor, arrows(path)), default=0)  # a cycle would not end: see the test for cycles


def test_lib_is_a_list_that_can_be_read_at_a_glance():
    names = {path.name for path in LIB.iterdir() if path.name != "__pycache__"}
    assert names == {"__init__.py", *ARROWS}
    assert len(names) <= MOST_NAMES


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(LIB).as_posix())
def test_arrows_run_one_way_from_wing_to_wing(path):
    wrong = {wing(other) for other in arrows(path)} - ARROWS[wing(path)] - {wing(path)}
    assert not wrong, f"{path.relative_to(ROOT)} imports from {', '.join(wrong)}: ARROWS allows {ARROWS[wing(path)]}"


def test_no_module_imports_itself_in_a_circle():
    for path in modules():
        behind, pending = set(), list(arrows(path))
        while pending:
            other = pending.pop()
            assert other != path, f"{path.relative_to(ROOT)} is imported by what it imports"
            if other not in behind:
                behind.add(other)
                pending += arrows(other)


def test_there_are_few_floors():
    heights = {path.relative_to(LIB).as_posix(): floor(path) for path in modules()}
    highest = max(heights, key=heights.get)
    assert heights[highest] <= MOST_FLOORS, f"{highest} stands on floor {heights[highest]}"


@pytest.mark.parametrize("name", ARROWS)
def test_a_wings_init_holds_its_docstring_only(name):
    """A re-export would put every module of the wing into the key of everything that is kept."""
    body = ast.parse((LIB / name / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0].value.value, str)


# --- Tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARROWS)
def test_every_module_has_its_tests_and_every_test_file_its_module(name):
    tests = {path.stem.removeprefix("test_") for path in (TESTS / name).rglob("test_*.py")}
    assert tests == {path.stem for path in modules() if wing(path) == name}


# --- What is public -------------------------------------------------------------------------------

# The library's public face: what README, or whoever takes lib for his own network, calls and no chapter does.
FACE = {
    "lib.data.mnist_files.read_idx",  # an IDX file of one's own
    "lib.record.claims.WORDS",  # what may stand in results/claims.csv
}
# Used in their own modules alone, and public all the same.
AT_HOME = {
    "lib.measures.bases.label_counts",
    "lib.measures.transfer.complement",
}
# The words in which criteria and answers are written; they are registered, never called by name.
LANGUAGES, REGISTERS = {"lib.record.claims", "lib.record.answers"}, ("claim(", "asks(")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def origin(node: ast.ImportFrom, path: Path) -> str:
    """The module, or package, that a statement imports from, by its full name."""
    package = path.relative_to(ROOT).parent.parts if node.level else ()
    return ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])


@cache
def taken(path: Path) -> frozenset[str]:
    """The dotted names of lib that a file uses of other files: imported, as a module's attribute, or replaced there."""
    modules, found = {}, set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.ImportFrom) and (module := origin(node, path)).split(".")[0] == "lib":
            modules |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    for node in ast.walk(syntax(path)):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                found.add(f"{modules.get(name)}.{attribute}")
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Name(id=name), ast.Constant(attribute), *_]):
                found.add(f"{modules.get(name)}.{attribute}")
    return frozenset(found | set(modules.values()))


def python(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def defined(path: Path) -> dict[str, ast.stmt]:
    """What is public in a module: functions, classes and constants by name."""
    found = {}
    for node in syntax(path).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case ast.Assign(targets=[ast.Tuple(elts=names)]):
                found |= {name.id: node for name in names}
    return {name: node for name, node in found.items() if not name.startswith("_")}


def used_at_home(path: Path, name: str) -> bool:
    """Whether a module uses its own name elsewhere than in its definition; annotations may be strings."""
    rest = [node for node in syntax(path).body if node is not defined(path)[name]]
    nodes = [node for part in rest for node in ast.walk(part)]
    return any(getattr(node, "id", None) == name or getattr(node, "value", None) == name for node in nodes)


def registered(node: ast.stmt) -> bool:
    return any(ast.unparse(decorator).startswith(REGISTERS) for decorator in getattr(node, "decorator_list", []))


def given(path: Path, name: str) -> bool:
    """Whether a public function of the module returns such things: nobody need name their class."""
    functions = [node for node in ast.walk(syntax(path)) if isinstance(node, ast.FunctionDef) and node.returns]
    return any(name in ast.unparse(f.returns) for f in functions if not f.name.startswith("_"))


def test_nothing_is_dead():
    """What lib has is used by lib, a chapter, a tool or a benchmark; to be tested is not to be used."""
    used = frozenset().union(*map(taken, python("lib", "chapters", "tools", "benchmarks", "_ext")))
    dead = {
        f"{dotted(path)}.{name}"
        for path in modules()
        for name, node in defined(path).items()
        if not (f"{dotted(path)}.{name}" in used or used_at_home(path, name) or registered(node))
    }
    assert dead == FACE, "delete what nobody needs; FACE lists what is there for others"


def test_what_only_its_own_module_uses_is_underscored():
    """Functions and classes. What a test asks of a module is used outside it."""
    used = frozenset().union(*map(taken, python("lib", "chapters", "tools", "benchmarks", "_ext", "tests")))
    own = {
        f"{dotted(path)}.{name}"
        for path in modules()
        if dotted(path) not in LANGUAGES
        for name, node in defined(path).items()
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        if not (f"{dotted(path)}.{name}" in used or given(path, name))
    }
    assert own == AT_HOME, "underscore it, or take it off the list"


# --- Maps -----------------------------------------------------------------------------------------


def test_contributing_lists_every_module_of_every_wing_in_reading_order():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", text, flags=re.MULTILINE)
    assert {name: sorted(re.findall(r"`(\w+)`", listed)) for name, listed in table} == {
        name: sorted(path.stem for path in modules() if wing(path) == name) for name in ARROWS
    }
    assert [name for name, _ in table] == list(ARROWS)


def test_every_fault_that_contributing_lists_has_its_test():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| .+ \| .+ \| `([\w/]+\.py)::(test_\w+)` \|$", text, flags=re.MULTILINE)
    assert len(set(named)) == len(named) >= 40
    missing = [f"{path}::{test}" for path, test in named if f"\ndef {test}(" not in (TESTS / path).read_text("utf-8")]
    assert missing == []


@pytest.mark.parametrize("name", ["solvers", "networks", "attacks", "measures", "record"])
def test_readmes_map_leads_to_every_module_that_a_section_of_the_paper_rests_on(name):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = [path.relative_to(ROOT).as_posix() for path in modules() if wing(path) == name]
    assert [path for path in paths if f"]({path})" not in text] == []
