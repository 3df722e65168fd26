"""The house keeps its shape: wings, arrows that run one way, few floors."""

import ast
from functools import cache
from pathlib import Path

import pytest

from lib.store import code
from lib.store.files import ROOT

LIB = ROOT / "lib"
MOST_NAMES, MOST_FLOORS = 10, 7

# Which wings a wing may import, besides itself.
ARROWS = {
    "store": set(),
    "data": {"store"},
    "solvers": set(),
    "networks": {"data"},
    "attacks": {"solvers"},
    "measures": {"attacks", "data", "networks"},
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


def test_tests_mirror_the_wings():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert set(ARROWS) <= folders
