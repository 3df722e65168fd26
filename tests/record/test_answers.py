"""What chapters ask, and answers that follow the recorded numbers."""

import pytest
import yaml

from lib.measures import effects
from lib.measures.intervals import Estimate
from lib.measures.units import JUDGES, LAST
from lib.networks.mnist import HALVES, LINEAR, TABLE1
from lib.record import answers, claims, ledger
from lib.record.answers import NOBODY_KNOWS, QUESTIONS
from lib.record.claims import ALL, DECAY, DROPOUT, ERROR, INPUT
from lib.store.files import ROOT

AFTER = ("verdict",)  # what only looks back


def chapters() -> list[str]:
    """In the book's order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return [name.removeprefix("chapters/") for name in files if name.startswith("chapters/")]


def test_every_chapter_asks_one_question_in_the_books_order():
    assert list(QUESTIONS) == [chapter for chapter in chapters() if chapter not in AFTER]
    assert all(question.text.endswith("?") for question in QUESTIONS.values())


@pytest.mark.parametrize("chapter", QUESTIONS)
def test_a_chapter_shows_its_answer_under_its_title(chapter):
    source = (ROOT / f"chapters/{chapter}.py").read_text(encoding="utf-8")
    assert source.count(":::{answer}") == 1
    assert source.index("# # ") < source.index(":::{answer}") < source.index('tags=["parameters"]')


def every(rows, columns, value: float) -> dict:
    return {(row, column): effects.exactly(value) for row in rows for column in columns}


def trained(decay: float, pools: float, others: dict[str, float]) -> dict:
    """Test errors of the ways of training, without a width."""
    errors = {DECAY: decay, ALL: pools} | others
    return {(row, ERROR): effects.exactly(error) for row, error in errors.items()}


OTHERS = (*TABLE1, "Conv")
ERRORS = [cell for cell in ledger.digits("table1") if cell[1] != "distortion"]
LOUD = every([f"{name} amplified to 0.1" for name in HALVES], HALVES, 60)
AROUND = ("100-100-10, 1.1 times as far", "noise 1 times as long (%)")
# Tables, and what must be said of them.
SAID = {
    "formal_attack": ({"table1": every(["100-100-10"], ["distortion"], 0.1)}, "By 26 of 255 levels"),
    "how_near": (
        {"exact": every(LINEAR[:2], ["excess (%)"], 2) | every(LINEAR[2:], ["excess (%)"], 30.2)},
        "longer by up to 31 %",
    ),
    "imagenet": (
        {"figure5": every("ab", ["distortion"], 0.002) | every("ab", ["success (%)"], 100)},
        "by 0.51 of 255",
    ),
    "quocnet": (
        {"quocnet": every(["QuocNet"], ["distortion"], 0.01) | every(["QuocNet", "pixels"], ["accuracy (%)"], 57)},
        "By 2.6 of 255 levels",
    ),
    "cross_model": (
        {
            "controls": every(OTHERS, ["adversarial (%)"], 21)
            | every(OTHERS[1:], ["random direction (%)"], 5)
            | every(OTHERS[:1], ["random direction (%)"], 14)
        },
        "err 1.5 to 4 times as often as on random changes of the same size, depending on which one; the median is 4.2",
    ),
    "cross_training_set": (
        # M1 and M2 saw the same half: what is between them counts for nothing.
        {"table4": LOUD | every(["M1 amplified to 0.1"], ["M2"], 1) | every(["M3 amplified to 0.1"], ["M2"], 37.9)},
        "no less than 37 %",
    ),
    "adversarial_training": (
        {"adversarial_training": trained(3, 2, {DROPOUT: 1, INPUT: 2.1})},
        "with dropout fewer still, and with a pool for the input alone more",
    ),
    "spectral_analysis": (
        {"table5": every(["conv1, AlexNet"], ["upper, of pixels in [0, 1]"], 3)},
        "3 times as large",
    ),
    "certificates": ({"certificates": every(["100-100-10"], ["slope of 1/4"], 2)}, "shorter than 1/100"),
    "units": ({"units": every(LAST, [f"{by}: delta, random" for by in JUDGES], 0.2)}, "in 60 of 100"),
    "bases": (
        {"units": every(LAST, ["another network: p, rotations"], 0.25)},
        "no more than 25 % of the sets of axes, the units among them, stand out as far as the units do in another "
        "network's eyes, no sign that they are",
    ),
    "unsaid": (
        {
            "unsaid_lengths": {
                (name, reading): effects.exactly(times * ledger.printed("table1")[name, "distortion"])
                for name in TABLE1[:5]
                for reading, times in {"mean": 0.8, "another": 1.1}.items()
            }
        },
        "off by 10 % on average",
    ),
    "framework": (
        {"table1": {cell: effects.exactly(ledger.printed("table1")[cell] + (i < 3)) for i, cell in enumerate(ERRORS)}},
        f"Of the {len(ERRORS)} errors that Table 1 prints for them, {len(ERRORS) - 3} come out",
    ),
    "since_2013": ({"since_around": {AROUND: effects.exactly(93)}}, "leaves 93 % of the images"),
}  # fmt: skip


@pytest.mark.parametrize("chapter", QUESTIONS)
def test_an_answer_says_what_its_tables_say(chapter):
    tables, said = SAID[chapter]
    found = QUESTIONS[chapter].answer(tables)
    assert said in found
    assert found.endswith(".")


def test_more_errors_are_not_called_fewer():
    tables = {"adversarial_training": trained(1.6, 2, {DROPOUT: 2.5, INPUT: 2.5})}
    found = QUESTIONS["adversarial_training"].answer(tables)
    assert "25 % more errors" in found
    assert found.endswith("with dropout more, and with a pool for the input alone more.")


def test_what_intervals_cannot_tell_apart_is_about_as_much():
    errors = trained(1.6, 1.31, {INPUT: 1.15}) | {(DROPOUT, ERROR): Estimate(1.27, 1.24, 1.35, 5)}
    found = QUESTIONS["adversarial_training"].answer({"adversarial_training": errors})
    assert found.endswith("with dropout about as many, and with a pool for the input alone fewer still.")


def test_what_noise_drives_away_is_called_a_pocket():
    for kept, word in ((93, "regions."), (7, "pockets.")):
        tables = {"since_around": {AROUND: effects.exactly(kept)}}
        assert QUESTIONS["since_2013"].answer(tables).endswith(word)


def test_a_photograph_that_resists_is_not_left_out():
    tables = {
        "figure5": every("ab", ["distortion"], 0.002)
        | every("a", ["success (%)"], 97)
        | every("b", ["success (%)"], 100)
    }
    found = QUESTIONS["imagenet"].answer(tables)
    assert "at least 97 %" in found
    assert "Every" not in found


@pytest.mark.parametrize("chapter", QUESTIONS)
def test_where_nothing_is_recorded_nothing_is_said(chapter, results):
    with pytest.raises(claims.NotRecorded):
        QUESTIONS[chapter].answer({})
    assert answers.recorded(chapter)[1] == NOBODY_KNOWS
    assert NOBODY_KNOWS in answers.box(chapter)


def test_the_overview_leads_from_each_question_to_its_chapter():
    found = answers.overview()
    for chapter, question in QUESTIONS.items():
        assert found.index(question.text) < found.index(f"{{doc}}`/chapters/{chapter}`")
