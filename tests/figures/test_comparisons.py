"""Numbers stand beside each other where they belong, each sign means one thing, and what is missing stays empty."""

import numpy as np
import pytest
import torch

from lib.figures import comparisons
from tests.figures_made import DISTORTIONS, IMAGES

torch.set_num_threads(1)


def test_histograms_leave_out_what_was_not_found():
    some = {"softmax 1": torch.tensor([0.1, 0.2, torch.inf])}
    (ax,) = comparisons.distortion_histograms(some, {}, "Title").axes
    assert sum(bar.get_height() for bar in ax.patches) == 2


def test_histograms_mark_our_mean_and_the_papers_where_there_is_one():
    top, bottom = comparisons.distortion_histograms(DISTORTIONS, {"softmax 1": 0.14}, "Title").axes
    assert [line.get_xdata()[0] for line in top.lines] == pytest.approx([float(IMAGES[:, 0].mean()), 0.14])
    assert [line.get_xdata()[0] for line in bottom.lines] == pytest.approx([float(IMAGES[:, 1].mean())])
    counts = [sum(patch.get_height() for patch in ax.patches) for ax in (top, bottom)]
    assert counts == [16, 16]


def test_every_cell_of_a_matrix_is_written_where_it_has_a_number():
    values = np.array([[100, 20], [np.nan, 3]])
    (ax,) = comparisons.matrices({"paper": (["a", "b"], ["c", "d"], values)}, "Title").axes
    assert [text.get_text() for text in ax.texts] == ["100", "20", "3"]
    assert [text.get_position() for text in ax.texts] == [(0, 0), (1, 0), (1, 1)]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["c", "d"]


def test_the_papers_cells_stand_beside_ours_and_what_is_missing_stays_empty():
    figure = comparisons.paper_and_ours(
        {("a", "c"): 1.0}, {("a", "c"): 2.0, ("b", "d"): 3.0}, ["a", "b"], "cd", "Title"
    )
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("the paper", "ours")
    assert [text.get_text() for text in left.texts] == ["1"]
    assert [text.get_text() for text in right.texts] == ["2", "3"]


def test_every_method_has_one_sign_in_all_panels():
    panels = {"a": {"ours": (1.0, 0.0), "theirs": (100.0, 2.0)}, "b": {"theirs": (10.0, 1.0)}}
    figure = comparisons.time_against_distortion(panels, "Title")
    signs = [(line.get_label(), line.get_marker(), line.get_color()) for ax in figure.axes for line in ax.lines]
    theirs = {sign for sign in signs if sign[0] == "theirs"}
    assert len(theirs) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs"]


def test_distances_show_the_middle_ninety_per_cent_and_the_median():
    """Of the distances that say something: not 0, of images of the target class already, and not unknown or endless."""
    values = torch.cat([torch.linspace(1, 3, 101), torch.tensor([0, torch.nan, torch.inf])])
    (ax,) = comparisons.distances({"a": {"attack": values}}, "Title").axes
    bar, dot = ax.lines
    assert bar.get_xdata() == pytest.approx([1.1, 2.9])
    assert dot.get_xdata() == pytest.approx([2])


def test_every_candidate_has_its_networks_on_a_line_of_its_own():
    ratios = {"mean": {"a": 0.9, "b": 0.8}, "pooled": {"b": 1.0}}
    (ax,) = comparisons.candidates(ratios, "Title").axes
    paper, a, b = ax.lines
    assert (paper.get_label(), list(paper.get_xdata())) == ("the paper", [1, 1])
    assert (a.get_label(), a.get_xydata().tolist()) == ("a", [[0.9, 0]])
    assert (b.get_label(), b.get_xydata().tolist()) == ("b", [[0.8, 0], [1.0, 1]])
    assert [text.get_text() for text in ax.texts] == ["mean", "pooled"]


def test_a_rate_lies_on_its_tooth_and_as_wide_as_it_was_rounded():
    """6.25 % are 16 of 256: the tooth at 6.25 in the first line."""
    (ax,) = comparisons.comb({"some": ["6.25", "98.0"]}, 256, "Title").axes
    teeth, bars = ax.collections
    starts = [segment[0] for segment in teeth.get_segments()]
    assert len(starts) == 256
    assert starts[16][0] == pytest.approx(6.25)
    (first, second) = bars.get_segments()
    assert first[:, 0] == pytest.approx([6.245, 6.255])
    assert second[:, 0] == pytest.approx([7.95, 8.05])
    assert (round(first[0, 1]), round(second[0, 1])) == (0, 9)
