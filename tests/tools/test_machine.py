"""Cores are shared out, and what else the environment held stays."""

import os
from pathlib import Path

import pytest

from tools import machine


@pytest.mark.parametrize(("jobs", "threads"), [(1, "8"), (3, "2"), (16, "1")])
def test_threads_are_shared_out(monkeypatch, jobs, threads):
    monkeypatch.setattr(machine, "available_cores", lambda: 8)
    environment = machine.environment(jobs)
    assert {environment[name] for name in machine.THREAD_VARIABLES} == {threads}
    assert environment.items() >= ({"PATH": os.environ["PATH"]} | machine.KEEP_MEMORY).items()
    assert (Path(environment["JUPYTER_PATH"]) / "kernels/python3").is_dir()
