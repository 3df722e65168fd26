"""The parameters of a run are named once, for chapters and for every command."""

import argparse
from dataclasses import dataclass

import pytest

from lib.experiments import settings
from lib.experiments.settings import Settings


def parsed(*words: str, profile: str = "quick", without: tuple[str, ...] = ()) -> dict:
    parser = argparse.ArgumentParser(exit_on_error=False)
    settings.add_arguments(parser, profile, *without)
    return vars(parser.parse_args(words))


def test_the_arguments_are_the_parameters():
    asked = Settings(**parsed("--data=digits", "--seed=3"))
    assert asked.parameters == {"profile": "quick", "data": "digits", "device": "auto", "seed": 3}
    assert parsed(profile="paper", without=("seed",)) == {"profile": "paper", "data": "auto", "device": "auto"}


@pytest.mark.parametrize("word", ["--profile=fast", "--data=cifar", "--device=tpu"])
def test_another_choice_is_refused(word):
    with pytest.raises(argparse.ArgumentError, match="invalid choice"):
        parsed(word)


def test_what_a_subclass_adds_is_no_parameter_of_a_chapter():
    @dataclass(frozen=True)
    class Build(Settings):
        data_dir: str

    assert "data_dir" not in Build("quick", "auto", "auto", 0, "somewhere").parameters
