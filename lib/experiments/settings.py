"""What a run is asked for, on the command line and in a chapter's parameters cell."""

import argparse
import re
from dataclasses import dataclass, fields
from typing import NoReturn

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


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(f"{message}; `make` lists all variables")


def whole_number(text: str) -> int:
    """0, 1, 2, ... Raises ArgumentTypeError for anything else."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text!r}")
    return int(text)


def _positive_number(text: str) -> int:
    """1, 2, 3, ... Raises ArgumentTypeError for anything else."""
    if not (number := whole_number(text)):
        raise argparse.ArgumentTypeError("must be 1 or more, not 0")
    return number


def add_arguments(parser: argparse.ArgumentParser, profile: str, *without: str) -> None:
    """--profile, --data, --device and --seed, but those `without`; `profile` is the default one."""
    defaults = {"profile": profile, "data": "auto", "device": "auto"}
    for name in defaults.keys() - set(without):
        parser.add_argument(f"--{name}", choices=CHOICES[name], default=defaults[name])
    if "seed" not in without:
        parser.add_argument("--seed", type=whole_number, default=0)


def add_jobs(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    """--jobs: how much is done at once."""
    parser.add_argument("--jobs", type=_positive_number, default=default, help=what)


def add_scheduler(parser: argparse.ArgumentParser) -> None:
    """--scheduler: where what takes long is made."""
    parser.add_argument("--scheduler", type=_scheduler, default="", help='"", local:N or tcp://host:port')


def _scheduler(text: str) -> str:
    if not re.fullmatch(SCHEDULER, text):
        raise argparse.ArgumentTypeError(f"must be local:N, tcp://host:port or empty, not {text!r}")
    return text
