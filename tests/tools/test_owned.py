"""Whoever kills the owner leaves nobody at work."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.faults import is_running, wait_until
from tools import owned

OWNER = """
import subprocess, sys, time
from tools import owned
subprocess.Popen(owned.command("script.py", "an argument"), start_new_session=True)
time.sleep(600)
"""
SCRIPT = """
import os, sys, time
from pathlib import Path
if __name__ == "__main__":
    Path("told").write_text(f"{os.getpid()} {sys.argv[1:]}")
    time.sleep(600)
"""


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_script_runs_with_its_arguments_until_its_owner_is_gone(tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    told = tmp_path / "told"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=tmp_path, env=environment) as owner:
        wait_until(lambda: told.exists() and told.read_text())
        owner.send_signal(how)
    pid, arguments = told.read_text().split(" ", 1)
    assert arguments == "['an argument']"
    wait_until(lambda: not is_running(int(pid)))


@pytest.mark.faults
def test_a_script_whose_owner_is_gone_before_it_starts_ends_at_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = owned.command(tmp_path / "script.py")
    command[command.index(str(os.getpid()))] = "1"  # not our parent, as far as the script can see
    assert subprocess.run(command, cwd=REPOSITORY, timeout=300).returncode == 1
