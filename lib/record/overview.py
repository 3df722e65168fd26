"""Verdicts on pages, as MyST: the claims, how their criteria changed, and the runs that all rests on."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import pandas as pd

from lib.record import ledger, markdown
from lib.record.markdown import MISSING, UNKNOWN

NONE = "–"  # in paper/claims.csv: never changed
CROSSING = "its interval crosses the limit: "  # before the evidence of a claim with one part

MARKS = {  # shape and word, not colour alone
    ledger.REPRODUCED: "●",
    ledger.PARTLY: "◐",
    ledger.NOT_REPRODUCED: "○",
    ledger.CONTRADICTED: "✕",
    ledger.NOT_TESTABLE: "–",
    ledger.NOT_RECORDED: "·",
}


@dataclass(frozen=True)
class Card:
    """What a page shows of a claim.

    built : the verdict on the numbers of the page's own build; empty on a page that measures nothing.
    """

    identity: str
    section: str
    claim: str
    criterion: str
    chapter: str
    verdict: str
    evidence: str
    luck: str
    built: str = ""

    @property
    def number(self) -> str:
        """The one number of the evidence: how many parts lie within the limit, else what is held against it.

        Where all do and it is not reproduced, what keeps it from that stands beside it.
        """
        crossing = r"(, \d+ with an interval that crosses the limit)?"
        counted = re.match(rf"((\d+) of (\d+) parts within){crossing}", self.evidence)
        if counted:
            return counted[0] if counted[2] == counted[3] else counted[1]
        said = re.split(r"[;\[]", self.evidence.removeprefix(CROSSING))[0].strip()
        return f"{said}, {CROSSING.rstrip(': ')}" if self.evidence.startswith(CROSSING) else said


def cards(published: pd.DataFrame, judged: pd.DataFrame) -> list[Card]:
    """Every claim of paper/claims.csv with its verdict, in the paper's order."""
    found = judged.set_index("id").reindex(published["id"]).fillna({"verdict": MISSING, "evidence": NONE, "luck": NONE})
    lines = zip(published.itertuples(), found.itertuples(), strict=True)
    return [Card(c.id, c.section, c.claim, c.criterion, c.chapter, v.verdict, v.evidence, v.luck) for c, v in lines]


def of_claims(every: Sequence[Card]) -> str:
    """A line for each claim, criterion and evidence folded under it; over them how many came out how."""
    return f"{_counts(every)}\n\n" + "\n".join(map(_folded, every))


def _counts(every: Sequence[Card]) -> str:
    """How many claims came out how, in words, as Markdown."""
    number = Counter(card.verdict for card in every)
    return ", ".join(f"{mark} {number[word]} {word}" for word, mark in MARKS.items() if number[word]) + "."


def _folded(card: Card) -> str:
    kind = card.verdict.replace(" ", "-")
    place, said = f":name: claim-{card.identity}\n", card.number
    link = f"[Section {card.section}, chapter {card.chapter}]({card.chapter})"
    if card.built:  # a name leads to one place only, and that is on the page of all verdicts
        place, said, link = (
            "",
            f"{said}; on this build's numbers: {card.built}",
            "{doc}`All verdicts </chapters/verdict>`",
        )
    return (
        f":::{{dropdown}} {MARKS[card.verdict]} **{card.verdict}** {card.claim} *{said}*\n"
        f"{place}:class-container: verdict verdict-{kind}\n\n"
        f"Criterion\n: {card.criterion}\n\nEvidence\n: {card.evidence}\n\nBy luck\n: {card.luck}\n\n"
        f"{link}\n:::\n"
    )


def of_chapter(published: pd.DataFrame, judged: pd.DataFrame, built: Mapping[str, str]) -> str:
    """`of_claims` of a chapter: the verdicts on what is recorded, beside them those on its build's numbers."""
    return of_claims([replace(card, built=_marked(built[card.identity])) for card in cards(published, judged)])


def _marked(built: str) -> str:
    return UNKNOWN if built == ledger.NOT_RECORDED else f"{MARKS[built]} {built}"


def strip(every: Sequence[Card], page: str) -> str:
    """The claims at a glance, as HTML: a mark each, which leads to its line on `page`; and how many came out how."""
    marks = "".join(
        f'<a href="{page}#claim-{card.identity}" title="{escape(f"{card.verdict}: {card.claim}")}">'
        f'<span aria-hidden="true">{MARKS[card.verdict]}</span>'
        f'<span class="visually-hidden">{escape(f"{card.claim} {card.verdict}")}</span></a>'
        for card in every
    )
    return f'<div class="claims-strip"><div>{marks}</div><p>{_counts(every)}</p></div>'


def changed(published: pd.DataFrame) -> pd.DataFrame:
    """The claims whose criterion or kind was changed after it had given a verdict."""
    return published[published["former criterion"] != NONE]


def of_changes(published: pd.DataFrame) -> str:
    """Those claims, folded: what the criterion was, what it had said, when it was changed and why."""
    columns = ["id", "former criterion", "former verdict", "changed", "reason"]
    lines = changed(published)[columns].itertuples(index=False)
    body = markdown.body(["claim", *columns[1:]], list(lines), align="left")
    return f":::{{dropdown}} Every criterion that was changed, and what it had said\n\n{body}\n:::\n"


def of_runs(entries: Mapping[str, Mapping]) -> str:
    """The runs of results/run.json, a line a chapter."""
    heads = ["chapter", "commit", "date", "digits", "device and machine", "minutes"]
    lines = [[chapter, *_run(facts)] for chapter, facts in entries.items()]
    missing = [[MISSING, *[NONE] * (len(heads) - 1)]]
    return markdown.table(heads, lines or missing, "The recorded runs.", "tab-runs", align="left")


def _run(facts: Mapping) -> list[str]:
    commit = facts["commit"][:10] + ("+" if facts["commit"].endswith("+") else "")
    machine = f"{facts['machine']['cores']} cores ({facts['machine']['processor']}), "
    where = f"{facts['device']}, {machine}PyTorch {facts['versions']['torch']}"
    return [commit, facts["date"][:10], facts["data"]["name"], where, f"{facts['seconds'] / 60:.1f}"]
