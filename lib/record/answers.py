"""What each chapter asks, and the answer in a sentence with one number, of what is recorded.

An answer is a function of tables, as a verdict is (`lib.record.claims`): its words are true of any number that stands
in it, and where a cell that it needs is missing it says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.measures import averages, effects, units
from lib.measures import bases as rotated
from lib.measures.intervals import Estimate
from lib.networks.mnist import HALVES, LINEAR, TABLE1
from lib.record import claims, ledger
from lib.record.claims import ALL, DECAY, DROPOUT, ERROR, INPUT, Tables, told

NOBODY_KNOWS = "Not recorded yet."
LEVELS, LEVEL = 255, 0.05  # of brightness; of significance
NEAR = "100-100-10"


@dataclass(frozen=True)
class Question:
    """What a chapter asks, and what tables answer, as Markdown. `answer` raises claims.NotRecorded."""

    text: str
    answer: Callable[[Tables], str]


QUESTIONS: dict[str, Question] = {}


def asks(chapter: str, text: str) -> Callable:
    """Enter a function of tables into QUESTIONS."""

    def enter(function: Callable[[Tables], str]) -> Callable[[Tables], str]:
        QUESTIONS[chapter] = Question(text, function)
        return function

    return enter


def recorded(chapter: str) -> tuple[str, str]:
    """A chapter's question, and its answer by what is recorded. Raises KeyError for a chapter that asks none."""
    return _answered(QUESTIONS[chapter], ledger.everything_recorded())


def _answered(question: Question, tables: Tables) -> tuple[str, str]:
    try:
        return question.text, question.answer(tables)
    except claims.NotRecorded:
        return question.text, NOBODY_KNOWS


def box(chapter: str) -> str:
    """The question with its answer under it, as a MyST admonition."""
    question, answer = recorded(chapter)
    return f":::{{admonition}} {question}\n:class: answer\n\n{answer}\n:::\n"


def overview() -> str:
    """All questions in the book's order, each with its answer and its chapter, as a MyST definition list."""
    tables = ledger.everything_recorded()
    entries = ((f"/chapters/{chapter}", *_answered(each, tables)) for chapter, each in QUESTIONS.items())
    return "\n\n".join(f"{question}\n: {answer} {{doc}}`{page}`" for page, question, answer in entries)


def _values(tables: Tables, name: str, cells: list[tuple[str, str]]) -> np.ndarray:
    found, _ = told(tables, name, cells)
    return np.array([found[cell].value for cell in cells])


def _levels(distortion: float) -> str:
    """A distortion as a root mean square of brightness levels."""
    return f"{LEVELS * distortion:.2g} of {LEVELS} levels of brightness"


# --- The attack -----------------------------------------------------------------------------------


@asks("formal_attack", "How little must an image change for a network to say another class?")
def formal_attack(tables: Tables) -> str:
    (length,) = _values(tables, "table1", [(NEAR, "distortion")])
    return (
        f"By {_levels(length)} on average, the root mean square over all pixels, for a digit, {NEAR} and a class drawn "
        "at random."
    )


@asks("how_near", "Is what the attack finds the nearest image there is?")
def how_near(tables: Tables) -> str:
    longer = _values(tables, "exact", [(name, "excess (%)") for name in LINEAR])
    return (
        "For the three linear networks, whose nearest image is computed exactly, the attack's change is longer by up "
        f"to {math.ceil(longer.max())} % on average."
    )


@asks("imagenet", "Does it happen to photographs, too?")
def imagenet(tables: Tables) -> str:
    rows = claims.rows_with(tables, "figure5", "distortion")
    num = len({row.rpartition(", ")[0] for row in rows})
    lengths = _values(tables, "figure5", [(row, "distortion") for row in rows])
    least = _values(tables, "figure5", [(row, "success (%)") for row in rows]).min()
    if least < 100:
        return f"{num} networks, two kinds of target: at least {least:.0f} % of the photographs could be turned."
    return (
        f"Every photograph that was tried could be turned, for {num} networks and two kinds of target; where it took "
        f"most, by {_levels(lengths.max())} on average."
    )


@asks("quocnet", "How little makes a car vanish from what a network learned without labels?")
def quocnet(tables: Tables) -> str:
    (length,) = _values(tables, "quocnet", [("QuocNet", "distortion")])
    ours, pixels = _values(tables, "quocnet", [(row, "accuracy (%)") for row in ("QuocNet", "pixels")])
    return (
        f"By {_levels(length)} on average, the pictures' pixels taken together. But the classifier knows little of "
        f"cars: it is right on {ours:.0f} % of images, half of which show one; on raw pixels, {pixels:.0f} %."
    )


@asks("cross_model", "Does what was made for one network fool another?")
def cross_model(tables: Tables) -> str:
    names = (*TABLE1, "Conv")
    adversarial, random = (
        _values(tables, "controls", [(name, kind) for name in names]) for kind in (claims.ADVERSARIAL, claims.RANDOM[1])
    )
    times = adversarial / random
    return (
        "On what was made for one of seven networks the others, taken together, err "
        f"{times.min():.1f} to {times.max():.0f} times as often as on random changes of the same size, depending on "
        f"which one; the median is {np.median(times):.1f}."
    )


@asks("cross_training_set", "Does it fool even networks that never saw the same image?")
def cross_training_set(tables: Tables) -> str:
    halves = {name: half for name, (_, half) in HALVES.items()}
    pairs = [(a, b) for a in HALVES for b in HALVES if halves[a] != halves[b]]
    least = _values(tables, "table4", [(f"{a} amplified to 0.1", b) for a, b in pairs]).min()
    return (
        "Made longer, to a distortion of 0.1, what was made for one makes another, trained on the other half of the "
        f"images, err on no less than {math.floor(least)} % of them, on average over runs."
    )


@asks("adversarial_training", "Does a network get better by learning from what fools it?")
def adversarial_training(tables: Tables) -> str:
    cells, _ = told(tables, "adversarial_training", [(row, ERROR) for row in (ALL, DECAY, DROPOUT, INPUT)])
    pools, decay, dropout, pixels = cells.values()
    difference = effects.percent_off(pools.value, decay.value)
    return (
        f"With a pool of such examples for every layer it makes {abs(difference):.0f} % "
        f"{'fewer' if difference < 0 else 'more'} errors on the test set than with weight decay alone, at the same "
        f"price; with dropout {_fewer(dropout, pools)}, and with a pool for the input alone {_fewer(pixels, pools)}."
    )


def _fewer(errors: Estimate, reference: Estimate) -> str:
    """One mean against another, as their intervals over seeds allow."""
    if errors.high < reference.low:
        return "fewer still"
    return "more" if errors.low > reference.high else "about as many"


# --- The weights ----------------------------------------------------------------------------------


@asks("spectral_analysis", "Could one have known it from the weights?")
def spectral_analysis(tables: Tables) -> str:
    (upper,) = _values(tables, "table5", [("conv1, AlexNet", "upper, of pixels in [0, 1]")])
    return (
        f"They permit it, no more: AlexNet's first layer can make a small change of pixels {upper:.0f} times as large, "
        "and the next could take that back."
    )


@asks("certificates", "What do small bounds guarantee?")
def certificates(tables: Tables) -> str:
    (orders,) = _values(tables, "certificates", [(NEAR, "slope of 1/4")])
    return (
        f"For {NEAR} the product of the layers' constants rules out every change shorter than 1/{10**orders:.0f} of "
        "what the attack needs, by the geometric mean over images."
    )


# --- The units ------------------------------------------------------------------------------------


@asks("units", "Does a single unit show more of what a network has learned than a random mixture of units?")
def single_units(tables: Tables) -> str:
    cells = [(row, f"{by}: delta, random") for row in units.LAST for by in units.JUDGES]
    told(tables, "units", cells)
    won = [50 * (1 + delta.value) for delta in units.last_deltas(tables["units"]).values()]
    return (
        "In the last layers of three networks, the ten images that a unit likes best agree better than those of a "
        f"random mixture in {np.mean(won):.0f} of 100 comparisons, ties counting half ({min(won):.0f} to "
        f"{max(won):.0f} by network and judge); a coin would have 50."
    )


@asks("bases", "Are all units together a special set of axes?")
def bases(tables: Tables) -> str:
    judge = "another network"
    shares = 100 * _values(tables, "units", [(row, f"{judge}: p, rotations") for row in units.LAST])
    p = rotated.joint_p({cell: estimate.value for cell, estimate in tables["units"].items()}, judge)
    return (
        "Turn the axes of a layer at random: for each of three networks no more than "
        f"{shares.max():.2g} % of the sets of axes, the units among them, stand out as far as the units do in another "
        f"network's eyes, {'a hint' if p < LEVEL else 'no sign'} that they are (p = {p:.3f} for the three "
        "together, before all other tests are allowed for)."
    )


# --- Behind the numbers ---------------------------------------------------------------------------


@asks("framework", "Can the paper's networks be had again from what it says of them?")
def framework(tables: Tables) -> str:
    reference = {cell: value for cell, value in claims.printed("table1").items() if cell[1] != "distortion"}
    found, allowed = _values(tables, "table1", list(reference)), claims.limit("table1-errors")
    within = sum(abs(found - list(reference.values())) <= allowed)
    return (
        f"Of the {len(reference)} errors that Table 1 prints for them, {within} come out within {allowed:g} points, "
        "with a decay that it does not tell and that four of these errors chose."
    )


@asks("unsaid", "What does the paper leave open, and do its own numbers tell?")
def unsaid(tables: Tables) -> str:
    names = TABLE1[:5]  # how the sixth was trained is not known
    read = dict.fromkeys(column for _, column in tables.get("unsaid_lengths", {}))
    told(tables, "unsaid_lengths", [(name, averages.MEAN) for name in names])
    lengths = {(n, c): _values(tables, "unsaid_lengths", [(n, c)])[0] for n in names for c in read}
    least = min(averages.off(lengths, claims.printed("table1"), names, read).values())
    return (
        f"Among other things, which average it prints: the best of {len(read)} readings is off by {least:.0f} % on "
        "average over five networks."
    )


@asks("since_2013", "What of it has held up, and were adversarial images the rare pockets that they were taken for?")
def since_2013(tables: Tables) -> str:
    (kept,) = _values(tables, "since_around", [(f"{NEAR}, 1.1 times as far", "noise 1 times as long (%)")])
    return (
        f"A tenth farther than the attack went, noise as long as the change leaves {kept:.0f} % of the images made for "
        f"{NEAR} what they were made to be: {'regions' if kept > 50 else 'pockets'}."
    )
