"""What chapters need is made by several processes, nothing twice, and nobody goes on working for a killed run."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from lib.experiments import digits
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from tests.conftest import REPOSITORY
from tools import prepare

torch.set_num_threads(1)
QUICK = Settings("quick", "digits", "cpu", 0)


# --- Several processes ----------------------------------------------------------------------------


def keep(run, name):
    """An artifact that says who made it."""
    return run.store.call(who_makes, name)


def who_makes(name: str) -> dict:
    time.sleep(1)
    return {"process": os.getpid(), "threads": torch.get_num_threads()}


def step(name: str, make, seconds: float = 60) -> Step:
    return Step(name, QUICK, seconds, make)


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Workers inherit the environment; it is put back afterwards."""
    monkeypatch.setattr(os, "environ", os.environ)
    before = dict(os.environ)
    os.environ["STORE_DIR"] = str(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
def test_two_processes_share_the_work_and_a_second_run_has_none(capfd):
    steps = [step(name, partial(keep, name=name)) for name in "abcd"]
    prepare.carry_out(steps, jobs=2)
    told = capfd.readouterr().out.splitlines()
    assert [line.split("; ")[1].split(", ")[0] for line in told] == [f"{n} of 4 steps done" for n in (1, 2, 3, 4)]
    assert told[-1].endswith("about 0 min left")
    run = digits.begin("test", "quick", "digits", "cpu", 0)
    makers = [keep(run, name) for name in "abcd"]
    assert len({maker["process"] for maker in makers}) == 2
    assert os.getpid() not in {maker["process"] for maker in makers}
    prepare.carry_out(steps, jobs=2)
    assert capfd.readouterr().out == ""


def fail(run):
    raise ValueError("this one cannot be made")


def die(run):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.faults
@pytest.mark.usefixtures("environment")
def test_a_step_that_fails_is_the_runs_failure():
    with pytest.raises(ValueError, match="this one cannot be made"):
        prepare.carry_out([step("bad", fail), step("good", partial(keep, name="good"))], jobs=1)


@pytest.mark.faults
@pytest.mark.usefixtures("environment")
def test_a_worker_that_dies_is_reported():
    with pytest.raises(SystemExit, match="killed"):
        prepare.carry_out([step("dies", die)], jobs=1)


SLEEPER = """
import os, time
from pathlib import Path
from lib.experiments import plan
from lib.experiments.settings import Settings
from tools import prepare

def sleep(run):
    Path("worker").write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    settings = Settings("quick", "digits", "cpu", 0)
    prepare.carry_out([plan.Step("sleep", settings, 1, sleep)], jobs=1)
"""


@pytest.mark.faults
def test_a_killed_run_leaves_nobody_at_work(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "STORE_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "sleeper.py"], cwd=tmp_path, env=environment) as process:
        worker = tmp_path / "worker"
        wait_until(lambda: worker.exists() and worker.read_text())
        process.kill()
    pid = int(worker.read_text())
    wait_until(lambda: not is_running(pid))


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- How long it will take ------------------------------------------------------------------------


def test_the_rest_takes_as_long_as_expected_times_how_far_the_steps_were_off(capsys):
    steps = [step("a", fail, 60), step("b", fail, 120), step("c", fail, 240)]
    clock = prepare.Clock(steps, jobs=2)
    assert clock.left() == "0 of 3 steps done, about 4 min left"  # (60 + 120 + 240) / 2 / 60 = 3.5
    clock.tick(steps[0], seconds=180, made=True)  # three times as long
    assert clock.left() == "1 of 3 steps done, about 9 min left"  # 3 (120 + 240) / 2 / 60
    assert capsys.readouterr().out == "a, seed 0: 180 s; 1 of 3 steps done, about 9 min left\n"
    clock.tick(steps[1], seconds=0.1, made=False)  # was there already: tells nothing about the pace
    assert clock.left() == "2 of 3 steps done, about 6 min left"
    assert capsys.readouterr().out == ""
