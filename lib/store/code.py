"""Which files a piece of code consists of, told from its import statements without importing anything."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from lib.store.files import ROOT, checksum


def closure(paths: Iterable[Path], root: Path = ROOT) -> set[Path]:
    """The files and all those under `root` that they import, directly or through others."""
    found: set[Path] = set()
    pending = [path.resolve() for path in paths]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += imported(path, root.resolve(), path.stat().st_mtime_ns)
    return found


@cache
def imported(path: Path, root: Path, _changed: int) -> set[Path]:
    """The files under `root` that the import statements of a Python file execute, packages' __init__.py among them.

    `from lib import x` may mean the module lib.x. A file that is no valid Python imports nothing: running it says why.
    """
    names = _imported_names(path, root, _changed)
    steps = {tuple(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)}
    candidates = {root.joinpath(*step[:-1], f"{step[-1]}.py") for step in steps}
    candidates |= {root.joinpath(*step, "__init__.py") for step in steps}
    return {candidate for candidate in candidates if candidate.is_file()}


@cache
def _imported_names(path: Path, root: Path, _changed: int) -> frozenset[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return frozenset()
    return frozenset(name for node in ast.walk(tree) for name in _names(node, path, root))


def _names(node: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """Dotted names that a statement may import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = path.relative_to(root).parent.parts if node.level else ()
        parts = [*package[: len(package) + 1 - node.level], *filter(None, [node.module])]
        yield from (".".join([*parts, *alias.name.split(".")]) for alias in node.names)
        yield ".".join(parts)


def packages(paths: Iterable[Path], root: Path = ROOT) -> list[str]:
    """The packages from elsewhere that the files and all they import under `root` name in import statements."""
    parsed = ((path, path.stat().st_mtime_ns) for path in closure(paths, root))
    names = {name.split(".")[0] for path, changed in parsed for name in _imported_names(path, root.resolve(), changed)}
    ours = {path.stem for path in root.iterdir()}
    return sorted(names - ours - set(sys.stdlib_module_names))


def version(paths: Iterable[Path], root: Path = ROOT) -> str:
    """sha256 of the code of the files and of all they import under `root`, as 64 hexadecimal digits.

    It changes when a syntax tree does: not with comments, docstrings or layout. A new Python may dump the tree
    otherwise, which costs a recomputation and nothing else.
    """
    files = {path.relative_to(root.resolve()).as_posix(): path for path in closure(paths, root)}
    trees = [f"{name} {_tree(path, path.stat().st_mtime_ns)}" for name, path in sorted(files.items())]
    return checksum("\n".join(trees).encode())


@cache
def _tree(path: Path, _changed: int) -> str:
    return checksum(ast.dump(_DropStrings().visit(ast.parse(path.read_bytes()))).encode())


class _DropStrings(ast.NodeTransformer):
    """Remove statements that are a bare string: docstrings, of attributes too."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_string = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_string else node
