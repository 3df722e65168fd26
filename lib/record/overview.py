"""The page of verdicts: the claims, how their criteria changed, and the runs that all rests on, as MyST tables."""

from collections.abc import Mapping

import pandas as pd

from lib.record import markdown
from lib.record.markdown import MISSING

NONE = "–"  # in paper/claims.csv: never changed


def of_claims(published: pd.DataFrame, judged: pd.DataFrame) -> str:
    """Claims (paper/claims.csv) with criterion, verdict, evidence and luck; the section leads to the chapter."""
    found = judged.set_index("id").reindex(published["id"]).fillna({"verdict": MISSING, "evidence": NONE, "luck": NONE})
    lines = [
        [f"[{claim.section}]({claim.chapter})", claim.claim, claim.criterion, f"**{verdict}**", evidence, luck]
        for claim, verdict, evidence, luck in zip(
            published.itertuples(), found["verdict"], found["evidence"], found["luck"], strict=True
        )
    ]
    heads = ["section", "claim", "criterion", "verdict", "evidence", "by luck"]
    return markdown.table(heads, lines, "The paper's claims and our verdicts.", "tab-claims", align="left")


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
    heads = ["chapter", "commit", "date", "data", "device and machine", "minutes"]
    lines = [[chapter, *_run(facts)] for chapter, facts in entries.items()]
    missing = [[MISSING, *[NONE] * (len(heads) - 1)]]
    return markdown.table(heads, lines or missing, "The recorded runs.", "tab-runs", align="left")


def _run(facts: Mapping) -> list[str]:
    commit = facts["commit"][:10] + ("+" if facts["commit"].endswith("+") else "")
    machine = f"{facts['machine']['cores']} cores ({facts['machine']['processor']}), "
    where = f"{facts['device']}, {machine}PyTorch {facts['versions']['torch']}"
    return [commit, facts["date"][:10], facts["data"]["name"], where, f"{facts['seconds'] / 60:.1f}"]
