"""Whether tests notice: errors made on purpose, one at a time, and the tests that fail for each.

    .venv/bin/python -m pip install cosmic-ray==8.7.0
    .venv/bin/python -m benchmarks.mutants lib/solvers/lbfgs.py lib/record/claims.py --number 30

Of each module so many mutants are drawn and tried against the module's own tests, in a copy of this repository. Those
that survive are printed: each is a test that is missing, or the same algorithm told otherwise.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome

COPIED = ("lib", "tests", "tools", "benchmarks", "paper", "results", "pyproject.toml")
PATIENCE = 1200  # seconds; a mutant that loops is noticed


def own_tests(module: Path) -> Path:
    return Path("tests", module.parent.relative_to("lib"), f"test_{module.name}")


def drawn(module: Path, number: int, seed: int) -> list[MutationSpec]:
    """`number` of the module's mutants, the same for the same module and seed."""
    with tempfile.TemporaryDirectory() as folder:
        work = WorkDB(Path(folder, "work.sqlite"), WorkDB.Mode.create)
        init([module], work, {})
        all_there_are = [mutation for item in work.work_items for mutation in item.mutations]
        work.close()
    all_there_are.sort(key=lambda mutant: (mutant.start_pos, mutant.operator_name, mutant.occurrence))
    return random.Random(seed).sample(all_there_are, min(number, len(all_there_are)))


def survivors(module: Path, number: int, seed: int) -> tuple[list[str], int]:
    """The changes that no test has noticed, and how many were tried."""
    mutants = drawn(module, number, seed)
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {own_tests(module)}"
    found = []
    for mutant in mutants:
        result = mutate_and_test([mutant], command, PATIENCE)
        print("." if result.test_outcome == TestOutcome.KILLED else "S", end="", flush=True)
        if result.test_outcome != TestOutcome.KILLED:
            found.append(result.diff or result.output)
    print()
    return found, len(mutants)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+", type=Path, help="of lib/, each with tests of its name")
    parser.add_argument("--number", type=int, default=30, help="mutants of each")
    parser.add_argument("--seed", type=int, default=2013)
    arguments = parser.parse_args()
    if missing := [str(test) for test in map(own_tests, arguments.modules) if not test.exists()]:
        raise SystemExit(f"There are no tests {', '.join(missing)}: name modules of lib/ that have some.")
    with tempfile.TemporaryDirectory() as copy:
        for name in COPIED:
            (shutil.copytree if Path(name).is_dir() else shutil.copy2)(name, Path(copy, name))
        os.chdir(copy)
        num_killed = num_tried = 0
        for module in arguments.modules:
            alive, tried = survivors(module, arguments.number, arguments.seed)
            print(f"{module}: {tried - len(alive)} of {tried} killed", *alive, sep="\n", flush=True)
            num_killed, num_tried = num_killed + tried - len(alive), num_tried + tried
        os.chdir("/")
    print(f"{num_killed} of {num_tried} killed, {num_killed / num_tried:.0%}")


if __name__ == "__main__":
    main()
