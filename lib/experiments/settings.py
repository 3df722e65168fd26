"""What a run is asked for, on the command line and in a chapter's parameters cell."""

import argparse
from dataclasses import asdict, dataclass

CHOICES = {"profile": ("quick", "paper"), "data": ("auto", "mnist", "digits"), "device": ("auto", "cpu", "cuda")}


@dataclass(frozen=True)
class Settings:
    """The parameters of a chapter."""

    profile: str
    data: str
    device: str
    seed: int

    @property
    def parameters(self) -> dict[str, str | int]:
        return asdict(self)


def add_arguments(parser: argparse.ArgumentParser, profile: str, *without: str) -> None:
    """--profile, --data, --device and --seed, but those `without`; `profile` is the default one."""
    defaults = {"profile": profile, "data": "auto", "device": "auto"}
    for name in defaults.keys() - set(without):
        parser.add_argument(f"--{name}", choices=CHOICES[name], default=defaults[name])
    if "seed" not in without:
        parser.add_argument("--seed", type=int, default=0)
