"""The note at the top of a chapter says on what it was built, and what the recorded run took."""

import pytest

from lib.data import sources
from lib.experiments import notes
from lib.record import ledger
from lib.store.files import ROOT

DIGITS = sources.embedded()
MNIST = DIGITS._replace(source="mnist", provenance="files in /some/folder")
RUN = {"seconds": 833.0, "device": "cpu", "machine": {"cores": 2}}


def test_every_chapter_that_begins_an_experiment_says_with_which_networks():
    scripts = (ROOT / "chapters").glob("*.py")
    begun = {script.stem for script in scripts if "digits.begin(" in script.read_text(encoding="utf-8")}
    assert set(notes.NETWORKS) == begun


def test_digits_are_warned_of_with_how_many_they_are_and_what_to_do(results):
    text = notes.banner("how_near", DIGITS, 1297, "quick")
    assert text.startswith(":::{admonition} Built on the embedded digits, not on MNIST\n:class: warning")
    assert "profile quick on all 1,297 small handwritten digits for training and 500 for testing" in text
    assert "six networks of Table 1" in text
    assert "make book DATA_DIR=" in text
    assert text.endswith(":::\n")


def test_on_mnist_it_is_one_note_without_a_path():
    text = notes.banner("how_near", MNIST, 1000, "quick")
    assert text.startswith(":::{note}\nBuilt in profile quick on 1,000 of 1,297 MNIST images for training and 500 for")
    assert "/some/folder" not in text
    assert "warning" not in text
    assert len(text.splitlines()) == 3


def test_a_chapter_of_pictures_counts_pictures_whatever_the_digits_are():
    text = notes.banner("imagenet", DIGITS, 1297, "quick", num_pictures=2)
    assert text.startswith(":::{note}\nBuilt in profile quick on at most 2 pictures")
    assert "1,297" not in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [({}, "took 14 minutes on 2 cores"), ({"seconds": 33.2}, "took 33 seconds"), ({"device": "cuda"}, "on a GPU")],
)
def test_the_recorded_run_is_told_in_seconds_or_minutes(results, changed, words):
    ledger.update("run.json", "units", RUN | changed)
    assert words in notes.recorded_run("units")
    assert "not counted" in notes.recorded_run("units")


def test_without_a_record_it_says_so(results):
    assert notes.recorded_run("units") == "No run of it is recorded yet."
