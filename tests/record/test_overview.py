"""The page of verdicts shows every claim, hides no change of a criterion, and says what is missing."""

import re

import pandas as pd
import pytest

from lib.record import claims, ledger, overview
from lib.record.markdown import MISSING

COLUMNS = ["id", "section", "kind", "claim", "criterion", "limit", "chapter"]
CHANGES = ["former criterion", "former verdict", "changed", "reason"]
NEVER = [overview.NONE] * 4


@pytest.fixture
def published() -> pd.DataFrame:
    """Three claims: one as it was, one whose criterion was changed, one whose kind came late."""
    lines = [
        ["one", "3", "measurement", "First.", "at most 1", "1", "units", *NEVER],
        [
            "two",
            "4.1",
            "measurement",
            "Second.",
            "at most 2",
            "2",
            "imagenet",
            "at most 3",
            "reproduced",
            "2026",
            "lax",
        ],
        ["three", "4.3", "mathematics", "Third.", "none", "0", "spectral", "the same", "partly", "2026", "kind"],
    ]
    return pd.DataFrame(lines, columns=COLUMNS + CHANGES)


def test_every_claim_is_shown_judged_or_not(published):
    judged = pd.DataFrame([["two", "partly", "0.4 | 0.6", "0.010"]], columns=["id", "verdict", "evidence", "luck"])
    cards = overview.cards(published, judged)
    assert [card.verdict for card in cards] == [MISSING, "partly", MISSING]
    page = overview.of_claims(cards)
    assert page.startswith("◐ 1 partly, · 2 not recorded.\n")
    second = page.split(":::{dropdown}")[2]
    assert second.startswith(" ◐ **partly** Second. *0.4 | 0.6*\n:name: claim-two\n")
    for words in ("at most 2", "0.4 | 0.6", "0.010", "[Section 4.1, chapter imagenet](imagenet)"):
        assert words in second


@pytest.mark.parametrize(
    ("evidence", "number"),
    [
        ("5 of 6 parts within, 2 with an interval that crosses the limit: a +1 [+0, +2]; n = 5", "5 of 6 parts within"),
        ("6 of 6 parts within: a +1 [+0, +2]; n = 5", "6 of 6 parts within"),
        (
            "6 of 6 parts within, 2 with an interval that crosses the limit: a +1 [+0, +2]; n = 5",
            "6 of 6 parts within, 2 with an interval that crosses the limit",
        ),
        (
            "its interval crosses the limit: Spearman 0.933 [0.861, 0.969] over 30 cells; n = 9",
            "Spearman 0.933, its interval crosses the limit",
        ),
        ("51.9 % [51.0, 52.9] right against 51 %; n = 10,000", "51.9 %"),
        ("waits for table figure7", "waits for table figure7"),
    ],
)
def test_a_card_shows_one_number_of_the_evidence(evidence, number):
    card = overview.Card("a", "3", "A.", "b", "units", "partly", evidence, "–")
    assert card.number == number


def test_a_chapter_shows_its_claims_as_recorded_and_on_its_builds_own_numbers(published):
    """Under no name: a link to a claim leads to the page of all verdicts."""
    judged = pd.DataFrame([["two", "partly", "0.4", "0.010"]], columns=["id", "verdict", "evidence", "luck"])
    second = published.query("id == 'two'")
    page = overview.of_chapter(second, judged, {"two": "reproduced"})
    assert page.startswith("◐ 1 partly.\n")
    assert ":::{dropdown} ◐ **partly** Second. *0.4; on this build's numbers: ● reproduced*\n:class-container" in page
    assert page.count(":::{dropdown}") == 1
    page = overview.of_chapter(second, judged, {"two": "not recorded"})
    assert "*0.4; on this build's numbers: not measured*" in page


def test_at_a_glance_every_claim_is_a_mark_that_leads_to_its_line(published):
    judged = pd.DataFrame(
        [["one", "contradicted", "x", "–"], ["two", "partly", "y", "–"], ["three", "reproduced", "z", "–"]],
        columns=["id", "verdict", "evidence", "luck"],
    )
    strip = overview.strip(overview.cards(published, judged), "verdict.html")
    assert re.findall(r'href="([^"]+)"', strip) == [f"verdict.html#claim-{name}" for name in ("one", "two", "three")]
    assert re.findall(r'aria-hidden="true">(.)<', strip) == ["✕", "◐", "●"]
    assert re.findall(r'visually-hidden">([^<]+)<', strip) == [
        "First. contradicted", "Second. partly", "Third. reproduced"
    ]  # fmt: skip
    assert "● 1 reproduced, ◐ 1 partly, ✕ 1 contradicted." in strip


def test_every_word_has_a_mark_of_its_own():
    assert set(overview.MARKS) == set(claims.WORDS)
    assert len(set(overview.MARKS.values())) == len(claims.WORDS)


def test_a_criterion_that_was_changed_stands_with_what_it_had_said(published):
    assert overview.changed(published)["id"].tolist() == ["two", "three"]
    page = overview.of_changes(published)
    assert "| two | at most 3 | reproduced | 2026 | lax |" in page
    assert "| one |" not in page
    assert page.startswith(":::{dropdown}")


def test_a_run_is_a_line_and_no_run_is_said_to_be_missing():
    facts = {
        "commit": "a" * 40 + "+",
        "date": "2026-11-25T12:00:00",
        "data": {"name": "mnist"},
        "device": "cpu",
        "machine": {"cores": 2, "processor": "a processor"},
        "versions": {"torch": "2.13"},
        "seconds": 90.0,
    }
    page = overview.of_runs({"units": facts})
    assert "| units | aaaaaaaaaa+ | " in page
    assert "2026-11-25" in page
    assert " | mnist | cpu, 2 cores (a processor), PyTorch 2.13 | 1.5 |" in page
    assert MISSING in overview.of_runs({})


def test_the_changes_of_the_book_are_dated_and_have_reasons():
    """Of paper/claims.csv itself: whoever changes a criterion fills in all four columns."""
    lines = overview.changed(ledger.published("claims"))
    assert len(lines)
    assert (lines[CHANGES] != overview.NONE).all(axis=None)
    assert lines["changed"].str.fullmatch(r"\d{4}-\d{2}-\d{2}").all()
