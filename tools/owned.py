"""Runs a script that ends when its owner does: `python -m tools.owned OWNER SCRIPT ARGUMENT ...`.

OWNER is the process that starts it. However that one ends, even by kill -9, nobody goes on working for it.
"""

import os
import runpy
import sys

from tools import machine


def command(*arguments: object) -> list[str]:
    """The command line for a script and its arguments, owned by this process."""
    return [sys.executable, "-m", "tools.owned", str(os.getpid()), *map(str, arguments)]


def main() -> None:
    owner, *sys.argv = sys.argv[1:]
    machine.end_with(int(owner))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
