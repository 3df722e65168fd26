"""What a run is asked for comes from the command line, or from nothing, as what it is."""

import argparse
from dataclasses import dataclass

import pytest

from lib.data import sources
from lib.experiments import profiles, seeds, settings
from lib.experiments.settings import CHOICES, Settings


def parsed(*words: str, profile: str = "quick", without: tuple[str, ...] = ()) -> dict:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, profile, *without)
    return vars(parser.parse_args(words))


@pytest.mark.parametrize("profile", CHOICES["profile"])
def test_without_a_word_it_is_the_default(profile):
    assert Settings(**parsed(profile=profile)) == Settings(profile, "auto", "auto", 0)


def test_every_word_counts():
    words = "--profile paper --data digits --device cpu --seed 7".split()
    found = Settings(**parsed(*words))
    assert found == Settings("paper", "digits", "cpu", 7)
    assert found.parameters == {"profile": "paper", "data": "digits", "device": "cpu", "seed": 7}


@pytest.mark.parametrize("name", [*CHOICES, "seed"])
def test_what_a_command_has_no_use_for_is_no_option(name, capsys):
    assert parsed(without=(name,)).keys() == {*CHOICES, "seed"} - {name}
    with pytest.raises(SystemExit):
        parsed(f"--{name}", "0", without=(name,))
    assert f"unrecognized arguments: --{name}" in capsys.readouterr().err


@pytest.mark.parametrize("name", CHOICES)
def test_other_words_are_refused_with_the_choice(name, capsys):
    with pytest.raises(SystemExit):
        parsed(f"--{name}", "other")
    assert "invalid choice: 'other'" in capsys.readouterr().err


def scheduler(*words: str) -> str:
    parser = argparse.ArgumentParser()
    settings.add_scheduler(parser)
    return parser.parse_args(words).scheduler


def test_a_scheduler_is_none_or_so_many_processes_or_an_address():
    assert scheduler() == scheduler("--scheduler=") == ""
    for word in ("local:1", "local:64", "tcp://10.0.0.1:8786", "tcp://[::1]:8786", "tls://node-7.cluster:8786"):
        assert scheduler(f"--scheduler={word}") == word


@pytest.mark.parametrize("word", "local local:0 local:-1 local:two tcp://host host:8786 http://host:80 Local:2".split())
def test_another_scheduler_is_refused_with_what_it_may_be(word, capsys):
    with pytest.raises(SystemExit):
        scheduler(f"--scheduler={word}")
    assert f"must be local:N, tcp://host:port or empty, not '{word}'" in capsys.readouterr().err


def jobs(*words: str) -> int:
    parser = settings.Parser()
    settings.add_jobs(parser, 4, "chapters at once")
    return parser.parse_args(words).jobs


def test_jobs_are_as_many_as_are_asked_for():
    assert [jobs(), jobs("--jobs=1"), jobs("--jobs", "12")] == [4, 1, 12]


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "two", "²", ""])
def test_no_jobs_or_another_number_are_refused_in_a_line_that_says_where_variables_are_listed(word):
    with pytest.raises(SystemExit, match=r"^argument --jobs: must be .*; `make` lists all variables$"):
        jobs(f"--jobs={word}")


def test_the_choices_are_what_there_is():
    assert set(CHOICES["profile"]) == set(profiles.PROFILES)
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        seeds.device("other")
    assert CHOICES["device"] == ("auto", "cpu", "cuda")
    with pytest.raises(ValueError, match='"auto", "mnist" or "digits"'):
        sources.load("other")
    assert CHOICES["data"] == ("auto", "mnist", "digits")


def test_what_a_subclass_adds_is_no_parameter_of_a_chapter():
    @dataclass(frozen=True)
    class Build(Settings):
        data_dir: str

    assert "data_dir" not in Build("quick", "auto", "auto", 0, "somewhere").parameters
