"""What `pip install .` brings of lib/, as `intriguing`: attacks, solvers, norms and certificates.

They import each other relatively, so that they work under either name. `pip install -e .`, as in requirements.txt, is
for the book: all of lib/, as it lies here and under its own name.
"""

import shutil
import sys

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NAME, WINGS = "intriguing", ("attacks", "measures", "networks", "solvers")
# Of these wings not every module: the others need the book's data, and more packages.
CHOSEN = {
    f"{NAME}.measures": {"__init__", "certificates", "chains", "intervals", "known", "spectral"},
    f"{NAME}.networks": {"__init__", "mnist"},
}


class Chosen(build_py):
    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left may not be in lib/ any more
        super().run()

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [each for each in found if each[1] in CHOSEN.get(package, {each[1]})]


if "editable_wheel" in sys.argv:
    setup(packages=find_packages(include=["lib", "lib.*"]))
else:
    packages = [NAME, *(f"{NAME}.{wing}" for wing in WINGS)]
    setup(packages=packages, package_dir={NAME: "lib"}, cmdclass={"build_py": Chosen})
