"""The version of a piece of code changes when its code does, wherever that lies, and not otherwise."""

import pytest

from lib.store import code
from lib.store.files import ROOT


@pytest.fixture
def package(tmp_path):
    """house.attack imports house.lbfgs; house.deep.inner imports house.helper relatively; house.plots is apart."""
    folder = tmp_path / "house"
    (folder / "deep").mkdir(parents=True)
    sources = {
        "__init__.py": '"""House."""\n',
        "attack.py": '"""Attack."""\nimport math\nfrom house import lbfgs\nfrom house.deep.inner import f\n',
        "lbfgs.py": "MEMORY = 10\n\n\ndef minimize(x):\n    return x\n",
        "deep/__init__.py": "",
        "deep/inner.py": "def f():\n    from .. import helper\n    from ..lbfgs import minimize\n    return helper.g\n",
        "helper.py": "def g():\n    return 1\n",
        "plots.py": "COLOUR = 'blue'\n",
    }
    for name, text in sources.items():
        (folder / name).write_text(text)
    return folder


def version(package):
    return code.version([package / "attack.py"], package.parent)


def test_version_ignores_comments_docstrings_and_layout(package):
    before = version(package)
    (package / "lbfgs.py").write_text(
        '"""New."""\n# why\nMEMORY = (10)\n"""Of MEMORY."""\ndef minimize(x):\n    """Doc."""\n    return x  # x\n'
    )
    assert version(package) == before


@pytest.mark.parametrize("name", ["attack.py", "lbfgs.py", "deep/inner.py", "helper.py"])
def test_version_sees_code_however_it_is_imported(package, name):
    before = version(package)
    path = package / name
    path.write_text(path.read_text() + "\nCHANGED = True\n")
    assert version(package) != before


def test_version_sees_a_changed_number(package):
    before = version(package)
    (package / "lbfgs.py").write_text((package / "lbfgs.py").read_text().replace("10", "11"))
    assert version(package) != before


def test_version_leaves_out_what_is_not_imported(package):
    before = version(package)
    (package / "plots.py").write_text("COLOUR = 'red'\n")
    assert version(package) == before


def test_version_depends_on_the_files_and_not_on_their_order(package):
    attack, plots, root = package / "attack.py", package / "plots.py", package.parent
    both = code.version([attack, plots], root)
    assert both == code.version([plots, attack], root) != code.version([attack], root)


def test_the_closure_is_what_an_import_executes(package):
    names = {path.relative_to(package).as_posix() for path in code.closure([package / "attack.py"], package.parent)}
    assert names == {"__init__.py", "attack.py", "lbfgs.py", "deep/__init__.py", "deep/inner.py", "helper.py"}


def test_a_file_that_is_no_python_imports_nothing(package):
    (package / "plots.py").write_text("def f(:\n")
    assert code.closure([package / "plots.py"], package.parent) == {package / "plots.py"}


def test_our_own_code_is_found():
    paths = {path.relative_to(ROOT).as_posix() for path in code.closure([ROOT / "lib/attacks/penalized.py"])}
    assert {"lib/__init__.py", "lib/attacks/penalized.py", "lib/solvers/lbfgs.py"} <= paths
    assert not any("figures" in path or "experiments" in path for path in paths)
