"""Makes what the chapters ask for at the paper's scale, on all cores or on a cluster, and says how long it will take.

    python -m tools.prepare        # called by build.py for profile paper

One chapter trains one network after the other; here they are trained side by side, the longest first, then attacked.
Every step ends in the store: a run that was killed repeats at most the steps that were under way. What a chapter needs
and does not find there, it makes itself.
"""

import argparse
import os
from collections.abc import Sequence

from lib.data.downloads import DataError
from lib.experiments import cluster, plan, settings
from lib.experiments.cluster import ClusterError, Made
from lib.experiments.plan import Step
from lib.experiments.settings import Settings
from tools import machine


def carry_out(steps: Sequence[Step], scheduler: str) -> None:
    """Make every step where `scheduler` says, and tell what is done and how long the rest will take."""
    os.environ.update(machine.environment())  # workers inherit it
    try:
        cluster.carry_out(steps, scheduler, Clock(steps).tell)
    except ClusterError as error:
        raise SystemExit(f"{error}.") from None
    except KeyboardInterrupt:
        raise SystemExit("\nInterrupted. What is done is kept; the next run goes on from there.") from None


class Clock:
    """How long the steps that are not done yet will take: as expected, times how far the others were off."""

    def __init__(self, steps: Sequence[Step]):
        self.num_steps, self.num_done = len(steps), 0
        self.to_do = sum(step.seconds for step in steps)
        self.expected = self.measured = 0.0

    def tell(self, ended: Sequence[Made], num_workers: int) -> None:
        """Print a line for every step that had something to make, and one if none has ended."""
        for step, seconds, new in ended:
            self.num_done += 1
            self.to_do -= step.seconds
            if new:
                self.expected += step.seconds
                self.measured += seconds
                print(f"{step.name}, seed {step.settings.seed}: {seconds:.0f} s; {self.left(num_workers)}", flush=True)
        if not ended:
            print(self.left(num_workers), flush=True)

    def left(self, num_workers: int) -> str:
        pace = self.measured / self.expected if self.expected else 1.0
        minutes = self.to_do * pace / max(1, num_workers) / 60  # 0 for a moment, while killed ones start again
        return f"{self.num_done} of {self.num_steps} steps done, about {minutes:.0f} min left"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    settings.add_arguments(parser, "paper")
    settings.add_scheduler(parser)
    arguments = vars(parser.parse_args())
    scheduler = arguments.pop("scheduler")
    machine.heed_signals()
    try:
        steps = plan.book(Settings(**arguments))
    except (ValueError, DataError) as error:
        raise SystemExit(str(error)) from None
    carry_out(steps, scheduler)


if __name__ == "__main__":
    main()
