"""Verdicts on the paper's claims: pure functions of tables."""

from collections.abc import Mapping

from lib.record.ledger import Cells


def summary(chapter: str, now: Mapping[str, Cells]) -> str:
    """The claims of a chapter, judged on the recorded tables and on this build's."""
    return ""
