"""Which modules of lib/ `pip install .` installs, as `intriguing`: attacks, solvers, norms and certificates.

They import each other relatively, so that they work under either name. All else is said in pyproject.toml.
"""

from setuptools import setup
from setuptools.command.build_py import build_py

# Wings of which not every module is part of it: the others need the book's data, and more packages.
CHOSEN = {
    "intriguing.measures": {"__init__", "certificates", "intervals", "known", "spectral"},
    "intriguing.networks": {"__init__", "mnist"},
}


class Build(build_py):
    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [each for each in found if each[1] in CHOSEN.get(package, {each[1]})]


setup(cmdclass={"build_py": Build})
