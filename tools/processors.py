"""The numerical tests in the settings that other processors bring: kernels, vector widths, threads, roundings.

    make processors

What MKL and PyTorch choose by the processor can be chosen here by environment variables, and any other processor's
rounding be emulated (tests/rounding.py). A test that passes in one setting only states no truth. With `make test`,
which is one thread and nothing chosen, any two choices meet in one of the settings. Threads that wait give their core
away. A few minutes on two cores: `make test` alone runs the slowest.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tools import machine

# By the seconds they take: they train networks, call another solver image by image, or solve thousands of problems.
SLOW = "not no_attack_gets_within and not another_solvers and not scipys_solver and not agrees_with and not killed"
SLOW += " and not metamorphic and not gets_over_kinks and not every_dense_network and not within_two_minutes"
SLOW += " and not below_their_toruses"


class Setting(NamedTuple):
    """Environment variables, and options of pytest."""

    variables: dict[str, str]
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([*(f"{name}={value}" for name, value in self.variables.items()), *self.options])


ONE, TWO = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}
COMPATIBLE, AVX2 = {"MKL_CBWR": "COMPATIBLE"}, {"ATEN_CPU_CAPABILITY": "avx2"}
SETTINGS = (
    Setting(ONE | COMPATIBLE | AVX2, ("--rounding", "1")),
    Setting(TWO | COMPATIBLE),
    Setting(TWO | AVX2),
)
PATIENT = machine.KEEP_MEMORY | {"OMP_WAIT_POLICY": "PASSIVE"}
CHOSEN = {name for setting in SETTINGS for name in setting.variables}  # what this shell holds must not decide


def marked() -> list[str]:
    """The files that have numerical tests: to import all others would take as long as some of these."""
    return sorted(str(path) for path in Path("tests").rglob("test_*.py") if "mark.numerical" in path.read_text("utf-8"))


def command(setting: Setting) -> list[str]:
    asked = sys.argv[1:] or marked()
    workers = ["-n", str(machine.available_cores()), "--dist", "worksteal"]
    return [sys.executable, "-m", "pytest", "-q", *workers, "-m", "numerical", "-k", SLOW, *setting.options, *asked]


def run(setting: Setting) -> bool:
    """Whether every test passes; what pytest says is printed when it ends."""
    inherited = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    ended = subprocess.run(
        command(setting),
        env=inherited | PATIENT | setting.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = ended.stdout.splitlines()
    shown = lines[-1:] if ended.returncode == 0 else lines
    print(f"--- {setting}", *shown, sep="\n", flush=True)
    return ended.returncode == 0


def main() -> int:
    passed = [run(setting) for setting in SETTINGS]
    print(f"{sum(passed)} of {len(SETTINGS)} settings passed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
