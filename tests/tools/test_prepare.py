"""How long the rest takes, what is said when steps cannot be made, and that nobody goes on working for a killed run."""

import os
import signal
import subprocess
import sys

import pytest

from lib.experiments import cluster
from lib.experiments.cluster import Made
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from tests.conftest import REPOSITORY
from tests.faults import is_running, wait_until
from tools import prepare

QUICK = Settings("quick", "digits", "cpu", 0)


@pytest.fixture
def _environment(monkeypatch):
    """Workers inherit it; it is put back afterwards."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("raised", "told"),
    [(cluster.ClusterError("no scheduler answers"), "no scheduler answers."), (KeyboardInterrupt(), "Interrupted")],
)
def test_what_ends_a_run_is_said_in_a_line(monkeypatch, raised, told):
    def carry_out(*_):
        raise raised

    monkeypatch.setattr(cluster, "carry_out", carry_out)
    with pytest.raises(SystemExit) as ended:
        prepare.carry_out([], "tcp://127.0.0.1:9")
    assert ended.value.code.strip().startswith(told)
    assert ended.value.__suppress_context__


SLEEPER = """
import os, time
from pathlib import Path
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from tools import machine, prepare

def sleep(run):
    Path("worker").write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    machine.heed_signals()
    prepare.carry_out([Step("sleep", Settings("quick", "digits", "cpu", 0), 1, sleep)], "local:1")
"""


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nobody_at_work(tmp_path, how):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "STORE_DIR": str(tmp_path)}
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    options |= {"start_new_session": True, "preexec_fn": listen_to_interrupts}
    with subprocess.Popen([sys.executable, "sleeper.py"], cwd=tmp_path, env=environment, **options) as process:
        worker = tmp_path / "worker"
        wait_until(lambda: worker.exists() and worker.read_text(), seconds=60)
        # Ctrl-C in a terminal reaches all of its processes.
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        _, errors = process.communicate(timeout=60)
    wait_until(lambda: not is_running(int(worker.read_text())), seconds=60)
    if how != signal.SIGKILL:
        assert process.returncode == 1
        assert errors == "\nInterrupted. What is done is kept; the next run goes on from there.\n"


def listen_to_interrupts() -> None:
    """A shell's background jobs, and all that they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# --- How long it will take ------------------------------------------------------------------------


def test_the_rest_takes_as_long_as_expected_times_how_far_the_steps_were_off(capsys):
    steps = [Step(name, QUICK, seconds, print) for name, seconds in (("a", 60), ("b", 120), ("c", 240))]
    clock = prepare.Clock(steps)
    clock.tell([], 2)
    assert capsys.readouterr().out == "0 of 3 steps done, about 4 min left\n"  # (60 + 120 + 240) / 2 / 60 = 3.5
    clock.tell([Made(steps[0], 180, True)], 2)  # three times as long
    assert (
        capsys.readouterr().out == "a, seed 0: 180 s; 1 of 3 steps done, about 9 min left\n"
    )  # 3 (120 + 240) / 2 / 60
    clock.tell([Made(steps[1], 0.1, False)], 2)  # was there already: tells nothing about the pace
    assert capsys.readouterr().out == ""
    clock.tell([], 1)
    assert capsys.readouterr().out == "2 of 3 steps done, about 12 min left\n"
    clock.tell([], 0)  # all were killed, and start again
    assert capsys.readouterr().out == "2 of 3 steps done, about 12 min left\n"
