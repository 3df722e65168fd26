"""What a run is asked for, on the command line and in a chapter's parameters cell."""

import argparse
import re
from dataclasses import dataclass, fields

CHOICES = {"profile": ("quick", "paper"), "data": ("auto", "mnist", "digits"), "device": ("auto", "cpu", "cuda")}


SCHEDULER = r"|local:[1-9][0-9]*|(tcp|tls)://\S+:[0-9]+"


@dataclass(frozen=True)
class Settings:
    """The parameters of a chapter."""

    profile: str
    data: str
    device: str
    seed: int

    @property
    def parameters(self) -> dict[str, str | int]:
        """What papermill injects, and nothing that a subclass adds."""
        return {item.name: getattr(self, item.name) for item in fields(Settings)}


def add_arguments(parser: argparse.ArgumentParser, profile: str, *without: str) -> None:
    """--profile, --data, --device and --seed, but those `without`; `profile` is the default one."""
    defaults = {"profile": profile, "data": "auto", "device": "auto"}
    for name in defaults.keys() - set(without):
        parser.add_argument(f"--{name}", choices=CHOICES[name], default=defaults[name])
    if "seed" not in without:
        parser.add_argument("--seed", type=int, default=0)


def add_scheduler(parser: argparse.ArgumentParser) -> None:
    """--scheduler: where what takes long is made."""
    parser.add_argument("--scheduler", type=_scheduler, default="", help='"", local:N or tcp://host:port')


def _scheduler(text: str) -> str:
    if not re.fullmatch(SCHEDULER, text):
        raise argparse.ArgumentTypeError(f"must be local:N, tcp://host:port or empty, not {text!r}")
    return text
