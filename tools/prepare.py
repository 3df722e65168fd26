"""Makes what the chapters ask for at the paper's scale, on all cores, and says how long it will take.

    python -m tools.prepare        # called by build.py for profile paper

One chapter trains one network after the other; here they are trained side by side, the longest first, then attacked.
Every step ends in the store: a run that was killed repeats at most the steps that were under way. What a chapter needs
and does not find there, it makes itself.
"""

import argparse
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process

from lib.data.dataset import DataError
from lib.experiments import plan, settings
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from tools import machine

QUIET = 60.0  # seconds after which the time left is told again though no step has ended


def carry_out(steps: Sequence[Step], jobs: int) -> None:
    """Make every step, `jobs` at once, in this order, and tell what is done and how long the rest will take."""
    os.environ.update(machine.environment(jobs))  # the workers inherit it
    clock = Clock(steps, jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_die_with_parent) as workers:
        waiting = {workers.submit(_make, step): step for step in steps}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=QUIET, return_when=FIRST_COMPLETED)
                for future in done:
                    clock.tick(waiting.pop(future), *future.result())
                if not done:
                    print(clock.left(), flush=True)
        except BrokenProcessPool:
            raise SystemExit("A process was killed, perhaps for want of memory: what is done is kept") from None
        finally:
            workers.shutdown(wait=False, cancel_futures=True)


def _make(step: Step) -> tuple[float, bool]:
    """Seconds, and whether there was anything to make."""
    run, began = plan.begin(step.settings), time.perf_counter()
    before = run.store.num_made
    step.make(run)
    return time.perf_counter() - began, run.store.num_made > before


def _die_with_parent() -> None:
    """So that a killed run leaves nobody at work, and Ctrl-C no tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


class Clock:
    """How long the steps that are not done yet will take: as expected, times how far the others were off."""

    def __init__(self, steps: Sequence[Step], jobs: int):
        self.num_steps, self.num_done, self.jobs = len(steps), 0, jobs
        self.to_do = sum(step.seconds for step in steps)
        self.expected = self.measured = 0.0

    def tick(self, step: Step, seconds: float, made: bool) -> None:
        self.num_done += 1
        self.to_do -= step.seconds
        if made:
            self.expected += step.seconds
            self.measured += seconds
            print(f"{step.name}, seed {step.settings.seed}: {seconds:.0f} s; {self.left()}", flush=True)

    def left(self) -> str:
        pace = self.measured / self.expected if self.expected else 1.0
        minutes = self.to_do * pace / self.jobs / 60
        return f"{self.num_done} of {self.num_steps} steps done, about {minutes:.0f} min left"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    settings.add_arguments(parser, "paper")
    parser.add_argument("--jobs", type=int, default=machine.available_cores(), help="processes at once")
    arguments = vars(parser.parse_args())
    jobs = arguments.pop("jobs")
    try:
        steps = plan.book(Settings(**arguments))
    except (ValueError, DataError) as error:
        raise SystemExit(str(error)) from None
    carry_out(steps, jobs)


if __name__ == "__main__":
    main()
