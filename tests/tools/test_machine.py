"""One thread for each process, and what else the environment held stays."""

import os
import signal
from pathlib import Path

import pytest

from tools import machine


def test_what_computes_has_one_thread():
    environment = machine.environment()
    assert {environment[name] for name in machine.THREAD_VARIABLES} == {"1"}
    assert environment.items() >= ({"PATH": os.environ["PATH"]} | machine.KEEP_MEMORY).items()
    assert (Path(environment["JUPYTER_PATH"]) / "kernels/python3").is_dir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_is_interrupted(number):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(number, signal.SIG_DFL)
        machine.heed_signals()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)
        machine.heed_signals()
        os.kill(os.getpid(), number)  # as under nohup
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
