"""Cells that moved: by more than either interval, and only those that both records have."""

import pytest

from lib.measures.intervals import Estimate
from tools import moved


def test_a_cell_has_moved_if_either_value_lies_outside_the_others_interval():
    before = {
        ("a", "stays"): Estimate(1.0, 0.5, 1.5, 10),
        ("a", "leaves the old one"): Estimate(1.0, 0.9, 1.1, 10),
        ("a", "leaves the new one"): Estimate(1.0, 0.0, 2.0, 10),
        ("a", "is gone"): Estimate(1.0, 0.9, 1.1, 10),
    }
    now = {
        ("a", "stays"): Estimate(1.2, 0.7, 1.7, 10),
        ("a", "leaves the old one"): Estimate(1.5, 0.5, 2.5, 10),
        ("a", "leaves the new one"): Estimate(1.5, 1.4, 1.6, 10),
        ("a", "is new"): Estimate(9.0, 8.0, 10.0, 10),
    }
    assert set(moved.moved(before, now)) == {("a", "leaves the old one"), ("a", "leaves the new one")}


def test_a_proven_bound_without_width_moves_by_any_difference():
    before, now = {("a", "b"): Estimate(1.0, 1.0, 1.0, 1)}, {("a", "b"): Estimate(1.01, 1.01, 1.01, 1)}
    assert moved.moved(before, before) == {}
    assert list(moved.moved(before, now)) == [("a", "b")]


def test_the_last_commit_has_what_is_recorded_and_no_table_that_nobody_knows():
    assert len(moved.at("HEAD", "table1")) == 21
    assert moved.at("HEAD", "no_such_table") == {}


@pytest.mark.faults
def test_a_commit_that_is_not_there_is_named(monkeypatch):
    """And not said to have moved nothing."""
    monkeypatch.setattr("sys.argv", ["moved", "nosuchcommit"])
    with pytest.raises(SystemExit, match="no commit nosuchcommit"):
        moved.main()
