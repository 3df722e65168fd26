"""The verdict on every claim of the paper, as a pure function of tables.

How seeds and intervals enter a verdict, for all claims alike
-------------------------------------------------------------
A claim has parts. Each is a deviation from what is claimed, in the unit of the limit that paper/claims.csv sets, with
its interval: that of 95 % over images or, where several seeds are recorded, the mean over seeds with Student's interval
or with their range (which of five seeds covers the median with 94 %). A correlation has Fisher's interval over cells,
as if these were independent, whatever the seeds. A proven bound has no width, and neither has what the paper counted as
well, on as many pictures (photographs-adversarial).

    reproduced           every part lies within the limit, and its whole interval does
    partly               at least half of the parts lie within
    not reproduced       fewer do
    contradicted         a claim of mathematics, and one part lies beyond with its whole interval
    not testable here    no honest criterion can be met or missed with what there is
    not recorded         a table or a cell that the criterion needs is missing; the evidence says which

So an interval that crosses the limit costs "reproduced", whichever way the claim goes: that two things differ needs
intervals that are apart, that they are alike needs an interval inside the limit. `kind`, whether a claim is one of
mathematics, came on 2026-11-23 after three verdicts on such claims had been recorded; paper/claims.csv has them.

How easily a criterion is met: `luck`
-------------------------------------
How often a table in which only what is trivially known is right comes out as well as this one: in the word, in how many
parts lie within the limit, and at least "partly". Each docstring says what is taken as known. Mostly cells are shuffled
within blocks, with their intervals; claims of mathematics have none.

What the claims read
--------------------
Of the tables in results/ those named in `CLAIMS`; for the seeds spread_NAME, where it is given and has all cells.
Tables that only claims need:

    success        (network, "success (%)"): the target class reached; else the diagonal of target_rates, the same count
    figure7        ("Gaussian noise, stddev 1", "accuracy (%)") and (..., "accuracy, clamped (%)"), of 200-200-10
    pooling        ("3 x 3 windows every 2 pixels", "expansion")
    first_layer    (network, "growth, adversarial") and (network, "growth, random direction"): means over the pictures
                   of Figure 5 of |W r| / |r|, W being normalisation and first convolution as one linear map of pixels
    exact          may have (network, "excess (%)"), attack over optimum image by image; else two means are compared
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lib.measures import bases, effects, transfer, units
from lib.measures.intervals import Estimate
from lib.networks.mnist import DEEP, HALVES, LINEAR
from lib.networks.mnist import TABLE1 as NETWORKS
from lib.record import ledger, markdown, overview
from lib.record.ledger import (
    CONTRADICTED,
    NOT_RECORDED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    PARTLY,
    REPRODUCED,
    Cells,
)
from lib.record.markdown import named, signed
from lib.record.tables import AT_SCALE, IN_BUILD, Told

Tables = Mapping[str, Cells]
Parts = dict[str, Estimate]

WORDS = (REPRODUCED, PARTLY, NOT_REPRODUCED, CONTRADICTED, NOT_TESTABLE, NOT_RECORDED)

SEED_OF_LUCK, NUM_DRAWS = 2013, 2000
SHORT_OF_ONE = "1 - Spearman's correlation"  # the one part of a claim on a pattern
ROUNDING = 1e-9

LONG = 0.08  # the printed distortions of Table 2 lie in two groups, 0.058 to 0.065 and 0.086 to 0.14
# The public layer nearest to each of Table 5's: Caffe's copies the layout, but only two of its layers are to be had.
NEAREST = {
    "conv1": "conv1, Caffe's",
    "conv2": "conv2, Caffe's",
    "conv3": "conv3, AlexNet",
    "conv4": "conv4, AlexNet",
    "conv5": "conv5, AlexNet",
}
STRIDED = ("conv1, AlexNet", "conv1, Caffe's")
EIGHT_LEVELS = 8 / 255  # of brightness: what the eye may still overlook
BY_MEANS = "AlexNet, conv5, mean over the map"  # what a filter answers as the equation has it, where LAST has maxima
NOISES = ("Gaussian noise, stddev 0.1", "Gaussian noise, stddev 0.3")  # of Table 2
UNDER_NOISE, POOL = "Gaussian noise, stddev 1", "3 x 3 windows every 2 pixels"


@dataclass(frozen=True)
class Verdict:
    """What tables say about a claim.

    parts : deviation of each part from what is claimed, in the limit's unit, with its interval.
    evidence : the sentence that the verdict rests on.
    drawing : tells `luck` when it is asked for, which takes a while; None where that is no question.
    word : the verdict in a word, one of WORDS; a criterion leaves it to the rule, or says NOT_TESTABLE.
    cells : of the table that a chapter speaks of, too, what it was judged by: means over seeds where `told` has them.
    behind : what is behind these cells, as `told` says it.
    """

    parts: Parts
    evidence: str
    drawing: Callable[[], float] | None = field(default=None, compare=False)
    word: str = ""
    cells: Cells = field(default_factory=dict)
    behind: str = markdown.UNKNOWN

    @functools.cached_property
    def luck(self) -> float | None:
        """How often the trivially known alone is judged as well; None where that is no question."""
        return None if self.drawing is None else self.drawing()

    @property
    def told(self) -> Told:
        """The numbers of `cells`."""
        return Told({cell: estimate.value for cell, estimate in self.cells.items()})

    @property
    def spearman(self) -> Estimate:
        """Of the two claims on patterns, the correlation that is judged; nan where it waits for cells."""
        return changed(self.parts.get(SHORT_OF_ONE, effects.UNMEASURED), lambda x: 1 - x)


@dataclass(frozen=True)
class Claim:
    """How a claim is judged, and the names of the tables that this may read (and spread_NAME of each)."""

    function: Callable[[Tables], Verdict]
    tables: tuple[str, ...]


class NotRecorded(LookupError):  # noqa: N818
    """A table, or some of its cells, that a criterion needs is not there."""

    def __init__(self, table: str, missing: Sequence[tuple[str, str]] = ()) -> None:
        cell = f", cell {': '.join(missing[0])}" if missing else ""
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        super().__init__(f"waits for table {table}{cell}{more}")


CLAIMS: dict[str, Claim] = {}


def claim(identity: str, *tables: str) -> Callable:
    """Enter a function of tables into CLAIMS; its verdicts come with the word, and with how many parts lie within."""

    def enter(function: Callable[[Tables], Verdict]) -> Callable[[Tables], Verdict]:
        @functools.wraps(function)
        def verdict(tables: Tables) -> Verdict:
            try:
                found = function(tables)
            except NotRecorded as missing:
                return Verdict({}, str(missing), word=NOT_RECORDED)
            if found.word:  # such as "not testable here", with the reason as evidence
                return found
            counted = f"{_count(identity, found.parts)}{found.evidence}"
            return replace(found, evidence=counted, word=word(identity, found.parts))

        CLAIMS[identity] = Claim(verdict, tables)
        return verdict

    return enter


def judge(identity: str, tables: Tables) -> str:
    """The verdict on a claim in a word, one of WORDS. Raises ValueError for a claim that CLAIMS does not list."""
    if identity not in CLAIMS:
        raise ValueError(f"claim {identity!r} is unknown; lib.record.claims lists {', '.join(CLAIMS)}")
    return CLAIMS[identity].function(tables).word


def judged(tables: Tables, identities: Iterable[str] | None = None) -> pd.DataFrame:
    """Columns id, verdict, evidence, luck, a line for each claim; of all in the paper's order: results/claims.csv."""
    chosen = CLAIMS if identities is None else identities
    verdicts = {identity: CLAIMS[identity].function(tables) for identity in chosen}
    lines = [(identity, v.word, v.evidence, luck_in_words(v.luck)) for identity, v in verdicts.items()]
    return pd.DataFrame(lines, columns=["id", "verdict", "evidence", "luck"])


def luck_in_words(luck: float | None) -> str:
    """The share of draws, or that it is below what so many draws can tell, or a dash."""
    return "–" if luck is None else f"{luck:.3f}" if luck >= 1 / NUM_DRAWS else f"below {1 / NUM_DRAWS:.4f}"


# --- The rule -------------------------------------------------------------------------------------


@functools.cache
def _rules() -> dict[str, tuple[float, bool]]:
    """The limit of each claim, and whether it is one of mathematics."""
    lines = ledger.published("claims").itertuples()
    return {line.id: (float(line.limit), line.kind == "mathematics") for line in lines}


def limit(identity: str) -> float:
    """How far a part may be off, in its own unit."""
    return _rules()[identity][0]


def word(identity: str, parts: Parts) -> str:
    """The rule at the top of this module. Raises ValueError for no parts."""
    if not parts:
        raise ValueError(f"claim {identity!r} needs at least one part")
    allowed, mathematics = _rules()[identity]
    if all(_surely_within(part, allowed) for part in parts.values()):
        return REPRODUCED
    if mathematics and any(_surely_beyond(part, allowed) for part in parts.values()):
        return CONTRADICTED
    within = sum(_within(part, allowed) for part in parts.values())
    return PARTLY if 2 * within >= len(parts) else NOT_REPRODUCED


def _within(part: Estimate, allowed: float) -> bool:
    return bool(abs(part.value) <= allowed + ROUNDING)


def _surely_within(part: Estimate, allowed: float) -> bool:
    inside = -allowed - ROUNDING <= part.low and part.high <= allowed + ROUNDING
    return _within(part, allowed) and bool(inside)


def _surely_beyond(part: Estimate, allowed: float) -> bool:
    return bool(part.low > allowed + ROUNDING or part.high < -allowed - ROUNDING)


def _count(identity: str, parts: Parts) -> str:
    allowed = limit(identity)
    within = [part for part in parts.values() if _within(part, allowed)]
    crossing = sum(not _surely_within(part, allowed) for part in within)
    if len(parts) == 1:
        return overview.CROSSING if crossing else ""
    doubt = f", {crossing} with an interval that crosses the limit" if crossing else ""
    return f"{len(within)} of {len(parts)} parts within{doubt}: "


# --- Luck -----------------------------------------------------------------------------------------


def luck(identity: str, parts: Parts, draws: Iterable[Parts]) -> Callable[[], float]:
    """What `Verdict.luck` asks: the share of draws, made then, that come out as well as `parts`."""
    return functools.partial(_share, identity, parts, draws)


def _share(identity: str, parts: Parts, draws: Iterable[Parts]) -> float:
    """Of draws, those that come out as well as `parts` do: in word, in parts within, and at least "partly"."""
    rank, within = _standing(identity, parts)
    found = [_standing(identity, drawn) for drawn in draws]
    passed = [other >= max(rank, 1) and also >= within for other, also in found]
    return sum(passed) / len(passed)


def _standing(identity: str, parts: Parts) -> tuple[int, int]:
    """2 for reproduced, 1 for partly, else 0; and how many parts lie within."""
    rank = {REPRODUCED: 2, PARTLY: 1}.get(word(identity, parts), 0)
    return rank, sum(_within(part, limit(identity)) for part in parts.values())


def shuffles(cells: Cells, block: Callable[[tuple[str, str]], object]) -> Iterator[dict]:
    """The cells NUM_DRAWS times, each time dealt anew among those of the same block."""
    rng = np.random.default_rng(SEED_OF_LUCK)
    blocks: dict[object, list] = {}
    for cell in cells:
        blocks.setdefault(block(cell), []).append(cell)
    for _ in range(NUM_DRAWS):
        dealt = {}
        for members in blocks.values():
            dealt |= {cell: cells[members[i]] for cell, i in zip(members, rng.permutation(len(members)), strict=True)}
        yield dealt


def guesses(cells: Cells, low: float, high: float, alike: Callable[[tuple[str, str]], object]) -> Iterator[dict]:
    """The cells NUM_DRAWS times, with values drawn uniformly: one for all cells that are `alike`, no interval."""
    rng = np.random.default_rng(SEED_OF_LUCK)
    groups = list(dict.fromkeys(map(alike, cells)))
    for _ in range(NUM_DRAWS):
        drawn = dict(zip(groups, rng.uniform(low, high, len(groups)), strict=True))
        yield {cell: effects.exactly(drawn[alike(cell)]) for cell in cells}


def at_the_limit(parts: Parts, allowed: float, alike: Callable[[str], object]) -> Iterator[Parts]:
    """The parts NUM_DRAWS times, as if each truly lay on the limit: estimates are normal, intervals as wide as ours.

    Parts that are `alike` lie equally far off in units of their intervals.
    """
    rng = np.random.default_rng(SEED_OF_LUCK)
    halves = {name: (part.high - part.low) / 2 for name, part in parts.items()}
    groups = list(dict.fromkeys(map(alike, parts)))
    for _ in range(NUM_DRAWS):
        off = dict(zip(groups, rng.standard_normal(len(groups)) / effects.TWO_SIDED, strict=True))
        values = {name: allowed + off[alike(name)] * half for name, half in halves.items()}
        yield {n: Estimate(v, v - halves[n], v + halves[n], parts[n].n) for n, v in values.items()}


# --- Reading tables -------------------------------------------------------------------------------

printed = functools.cache(ledger.printed)


def told(tables: Tables, name: str, cells: Iterable[tuple[str, str]]) -> tuple[dict, str]:
    """The cells of a table and what is behind them: seeds, if spread_NAME has all of these cells, else images.

    Raises NotRecorded.
    """
    cells = list(cells)
    seeds = tables.get(f"spread_{name}", {})
    if all(_is_known(seeds, cell) for cell in cells):
        found = {cell: seeds[cell] for cell in cells}
        return found, f"mean and range over {min(e.n for e in found.values()):g} seeds"
    table = tables.get(name, {})
    if not table:
        raise NotRecorded(name)
    missing = [cell for cell in cells if not _is_known(table, cell)]
    if missing:
        raise NotRecorded(name, missing)
    found = {cell: table[cell] for cell in cells}
    return found, f"n = {markdown.span((e.n for e in found.values()), ',.0f')}"


def _is_known(table: Cells, cell: tuple[str, str]) -> bool:
    return cell in table and bool(np.isfinite(table[cell].value))


def rows_with(tables: Tables, name: str, column: str) -> list[str]:
    """The rows of a table that have a column, at least one. Raises NotRecorded."""
    table = tables.get(name, {})
    rows = [row for row, found in table if found == column]
    if not rows:
        raise NotRecorded(name, [("any row", column)] if table else ())
    return rows


# --- Deviations -----------------------------------------------------------------------------------


def changed(estimate: Estimate, by: Callable[[float], float]) -> Estimate:
    """A monotone function of an estimate, with its interval."""
    value, *ends = (float(by(x)) for x in estimate[:3])
    return Estimate(value, min(ends), max(ends), estimate.n)


def minus(estimate: Estimate, reference: float) -> Estimate:
    """By how much an estimate exceeds a number."""
    return changed(estimate, lambda x: x - reference)


def excess(estimate: Estimate, reference: float) -> Estimate:
    """By how many per cent an estimate exceeds a number."""
    return changed(estimate, lambda x: effects.percent_off(x, reference))


def doublings(estimate: Estimate, reference: float) -> Estimate:
    """log2 of an estimate over a number."""
    return changed(estimate, lambda x: np.log2(x / reference))


def ratio(above: Estimate, below: Estimate) -> Estimate:
    """One estimate over another, with the interval of two independent ones; without end if the lower may be 0."""
    highest = above.high / below.low if below.low > 0 else np.inf
    return Estimate(above.value / below.value, above.low / below.high, highest, above.n)


def not_above(upper: Estimate, lower: Estimate) -> Estimate:
    """0 where one estimate lies above another, else 1; its interval is [0, 0] only where theirs are apart."""
    value, surely, possibly = upper.value <= lower.value, upper.high <= lower.low, upper.low <= lower.high
    return Estimate(float(value), float(surely), float(possibly), upper.n)


def short_of_one(cells: Cells, reference: Mapping[tuple[str, str], float]) -> Parts:
    """By how much Spearman's correlation of cells with numbers falls short of 1; nan where either are constant."""
    return {SHORT_OF_ONE: changed(_spearman(cells, reference), lambda x: 1 - x)}


def _spearman(cells: Cells, reference: Mapping[tuple[str, str], float]) -> Estimate:
    found = {cell: cells[cell].value for cell in cells}
    return transfer.correlation(found, {cell: reference[cell] for cell in cells})


def _correlation_in_words(correlation: Estimate) -> str:
    """With Fisher's interval, and what this takes for granted."""
    value, low, high, n = correlation
    return f"{value:.3f} [{low:.3f}, {high:.3f}] over {n:g} cells, as if these were independent"


def beyond_sampling(rate: Estimate, reference: float) -> Estimate:
    """How far a number lies outside the range of samples of 256 images, were the rate of all images the estimate."""
    return changed(rate, lambda x: reference - min(max(reference, _in_samples(x)[0]), _in_samples(x)[1]))


@functools.lru_cache(maxsize=10_000)
def _in_samples(rate: float) -> tuple[float, float]:
    return transfer.range_in_samples(min(max(rate, 0.0), 100.0), size=256)


# --- Section 2 ------------------------------------------------------------------------------------


@claim("table1-errors", "table1")
def table1_errors(tables: Tables) -> Verdict:
    """Every printed error within 0.5 points.

    The reading of the decay was chosen by four of these errors (chapter framework), the autoencoder with an eye on one.

    Luck: training errors are dealt anew among the six networks, and so are test errors, as if nothing had been chosen.
    """
    return _errors("table1-errors", "table1", tables)


def _errors(identity: str, name: str, tables: Tables) -> Verdict:
    """A claim on the errors that a table prints, all but its distortions; luck deals each column anew."""
    reference = {cell: value for cell, value in printed(name).items() if cell[1] != "distortion"}
    cells, behind = told(tables, name, reference)

    def compare(cells: Cells) -> Parts:
        return {f"{row}, {column}": minus(e, reference[row, column]) for (row, column), e in cells.items()}

    parts = compare(cells)
    far = {name: part for name, part in parts.items() if not _within(part, limit(identity))}
    evidence = f"{named(far, lambda e: signed(e, 2)) or 'none'} beyond, in points; {behind}"
    return Verdict(parts, evidence, luck(identity, parts, map(compare, shuffles(cells, lambda c: c[1]))))


# --- Section 3 ------------------------------------------------------------------------------------


@claim("random-meaningful", "units")
def random_meaningful(tables: Tables) -> Verdict:
    """In the last layer we have of each network, the ten images that random directions like best agree more than ten
    images drawn at random, and more than ten that random directions of the same network with its initial weights like
    best, in label and in an independent network's features: the 95 % intervals of the means do not overlap.

    Luck: which is trained and which is not is drawn for each network, for both judges together: they look at the same
    images. That ten images which anything likes best agree more than ten drawn at random is taken as known.
    """
    pairs = list(itertools.product(units.LAST, units.JUDGES))
    cells, behind = told(tables, "units", [cell for row, by in pairs for cell in _three(row, by)])

    def compare(cells: Cells) -> Parts:
        parts = {}
        for row, by in pairs:
            random, chance, untrained = (cells[cell] for cell in _three(row, by))
            parts[f"{row}, {by}"] = not_above(random, chance)
            parts[f"{row}, {by}, untrained"] = not_above(random, untrained)
        return parts

    parts, against = compare(cells), {}
    for row, by in pairs:
        random, chance, untrained = (cells[cell].value for cell in _three(row, by))
        against[f"{row}, {by}"] = f"{random:.3f} against {chance:.3f} and {untrained:.3f}"
    evidence = f"agreement of random directions against chance and untrained: {named(against, str)}"
    evidence += f"; {behind} directions"
    return Verdict(parts, evidence, luck("random-meaningful", parts, map(compare, _dealt(cells))))


def _three(row: str, by: str) -> list[tuple[str, str]]:
    """The cells of random directions, of images drawn at random, and of random directions before training."""
    return [(row, f"{by}: random"), (row, f"{by}: chance"), (units.UNTRAINED[row], f"{by}: random")]


def _dealt(cells: Cells) -> Iterator[dict]:
    """The cells NUM_DRAWS times, each network's before and after training changed about or not, for both judges."""
    rng = np.random.default_rng(SEED_OF_LUCK)
    for _ in range(NUM_DRAWS):
        dealt = dict(cells)
        for row in units.LAST:
            order = rng.permutation(2)
            for by in units.JUDGES:
                random, _, untrained = _three(row, by)
                pair = random, untrained
                dealt |= {cell: cells[pair[i]] for cell, i in zip(pair, order, strict=True)}
        yield dealt


@claim("no-distinction", "units")
def no_distinction(tables: Tables) -> Verdict:
    """In the last layer we have of each network, Cliff's delta between units and random directions, of the agreement of
    their ten best images in label and in an independent network's features, lies with its whole interval within 0.147
    of 0, negligible by Romano et al. (2006); of Conv, the mean over seeds does.

    Whether a difference can be told from none is another question, which the evidence answers for whole bases: Fisher's
    method asks of all networks together whether each natural basis is one of its rotations.

    Luck: every delta truly is 0.147 in size, and estimates scatter as widely as their intervals say, those of the two
    judges of a network together: they look at the same images.
    """
    told(tables, "units", [(row, f"{by}: delta, random") for row in units.LAST for by in units.JUDGES])
    table = tables["units"]
    parts = {f"{row}, {by}": delta for (row, by), delta in units.last_deltas(table).items()}
    evidence = f"Cliff's delta of units against random directions: {named(parts, lambda e: signed(e, 2))}"
    evidence += _seeds_in_words(table) + _means_in_words(table) + _rotations_in_words(table)
    draws = at_the_limit(parts, limit("no-distinction"), lambda part: part.rpartition(", ")[0])
    chance = luck("no-distinction", parts, draws)
    return Verdict(parts, evidence, chance)


def _seeds_in_words(table: Cells) -> str:
    seeds = {by: units.by_seed(table, by) for by in units.JUDGES}
    several = {by: deltas for by, deltas in seeds.items() if len(deltas) >= units.FEW_SEEDS}
    said = [f"{by} {markdown.listed(deltas, '+.2f')}" for by, deltas in several.items()]
    return f"; Conv's are means over seeds, {' and '.join(said)}" if said else ""


def _means_in_words(table: Cells) -> str:
    """The same layer by the other reading of what a filter answers."""
    cells = {by: (BY_MEANS, f"{by}: delta, random") for by in units.JUDGES}
    known = {by: table[cell] for by, cell in cells.items() if _is_known(table, cell)}
    return f"; {BY_MEANS}, {named(known, lambda e: signed(e, 2))}" if known else ""


def _rotations_in_words(table: Cells) -> str:
    """How probable the natural bases are among their rotations; the smaller of the two as one of all tests."""
    values = {cell: estimate.value for cell, estimate in table.items()}
    if any(bases.num_rotated(values, judge) < len(units.LAST) for judge in units.JUDGES):
        return ""
    together, number = {judge: bases.joint_p(values, judge) for judge in units.JUDGES}, bases.num_tests(values)
    least = effects.bonferroni(min(together.values()), number)
    by_judge = named({judge: f"{p:.3f}" for judge, p in together.items()}, str)
    return (
        f"; whether these bases are among their rotations, asked when the deltas were known: p by {by_judge}, "
        f"the smaller as one of {number} tests {least:.3f}"
    )


# --- Sections 4.1 and 4.2: attacks ----------------------------------------------------------------


@claim("always-adversarial", "success", "target_rates")
def always_adversarial(tables: Tables) -> Verdict:
    """For every network of Table 1, the attack misses its random target class on at most 0.1 % of the training images
    (upper end of the interval).

    Luck: none. A search that may lower the price as far as it likes can hardly miss; how far it had to go,
    table1-distortion judges.
    """
    if tables.get("success"):
        cells, behind = told(tables, "success", [(name, "success (%)") for name in NETWORKS])
    elif tables.get("target_rates"):
        cells, behind = told(tables, "target_rates", [(name, name) for name in NETWORKS])
    else:
        raise NotRecorded("success")
    parts = {name: changed(estimate, lambda x: 100 - x) for (name, _), estimate in cells.items()}
    worst = min(cells.values(), key=lambda e: e.low)
    evidence = f"least success {worst.value:.3f} %, lower end of its interval {worst.low:.4f} %; {behind} images"
    return Verdict(parts, evidence)


@claim("table1-distortion", "table1")
def table1_distortion(tables: Tables) -> Verdict:
    """Every printed value within 15 %.

    Luck: the distortions are dealt anew among the six networks.
    """
    return _distortions("table1-distortion", "table1", tables, lambda cells: shuffles(cells, lambda _: 0))


def _distortions(identity: str, name: str, tables: Tables, draws: Callable[[Cells], Iterator[dict]]) -> Verdict:
    """A claim on the distortions that a table prints, in per cent of them; `draws` are tables that luck would give."""
    reference = {cell: value for cell, value in printed(name).items() if cell[1] == "distortion"}
    cells, behind = told(tables, name, reference)

    def compare(cells: Cells) -> Parts:
        return {cell[0]: excess(estimate, reference[cell]) for cell, estimate in cells.items()}

    parts = compare(cells)
    evidence = f"ours against the paper's, in per cent: {named(parts, lambda e: signed(e, 0))}; {behind}"
    return Verdict(parts, evidence, luck(identity, parts, map(compare, draws(cells))))


@claim("convex-exact", "exact")
def convex_exact(tables: Tables) -> Verdict:
    """Mean distortion at most 1 % above the exact optimum, for each linear network.

    Luck: none, it is mathematics. Where the excess is not recorded image by image, the interval is that of two
    independent means: too wide, since both are of the same images.
    """
    table = tables.get("exact", {})
    parts = {name: table[name, "excess (%)"] for name in LINEAR if _is_known(table, (name, "excess (%)"))}
    behind = "image by image"
    if len(parts) < len(LINEAR):
        cells, behind = told(tables, "exact", [(name, c) for name in LINEAR for c in ("attack", "exact optimum")])
        parts = {name: excess(ratio(cells[name, "attack"], cells[name, "exact optimum"]), 1) for name in LINEAR}
    return Verdict(parts, f"above the exact optimum, in per cent: {named(parts, lambda e: signed(e, 1))}; {behind}")


def _photographs(tables: Tables) -> tuple[dict, str]:
    rows = rows_with(tables, "figure5", "distortion")
    cells, behind = told(tables, "figure5", [(row, column) for row in rows for column in ("distortion", "success (%)")])
    return {cell: estimate for cell, estimate in cells.items() if cell[1] == "distortion"}, behind


def _any_length(cells: Cells) -> Iterator[dict]:
    """The distortions from a tenth to ten times the printed one, one factor for each network."""
    length = printed("figure5")["AlexNet of 2012", "distortion"]
    for drawn in guesses(cells, -1, 1, lambda cell: cell[0].split(",")[0]):
        yield {cell: effects.exactly(length * 10**e.value) for cell, e in drawn.items()}


@claim("photographs-adversarial", "figure5")
def photographs_adversarial(tables: Tables) -> Verdict:
    """For each network and kind of target, every attack succeeds and the mean distortion of 64 pictures is at most the
    printed one (excess 0 %).

    Successes are counted, as they were on the paper's 64 pictures: no interval.

    Luck: every attack succeeds, and each network's distortion is anywhere from a tenth to ten times the printed one.
    """
    cells, behind = _photographs(tables)
    length = printed("figure5")["AlexNet of 2012", "distortion"]
    misses = {f"{row}, misses": effects.exactly(100 - tables["figure5"][row, "success (%)"].value) for row, _ in cells}

    def compare(cells: Cells) -> Parts:
        return {row: changed(excess(e, length), lambda x: max(x, 0.0)) for (row, _), e in cells.items()} | misses

    parts = compare(cells)
    (row, _), longest = max(cells.items(), key=lambda item: item[1].value)
    interval = f"{longest.value:.5f} [{longest.low:.5f}, {longest.high:.5f}]"
    reached = min((tables["figure5"][row, "success (%)"] for row, _ in cells), key=lambda e: (e.value, e.low))
    success = f"least success {reached.value:g} %, lower end of its interval {reached.low:.1f} %"
    evidence = f"longest: {row}, {interval} against {length:g}; {success}; {behind} pictures"
    return Verdict(parts, evidence, luck("photographs-adversarial", parts, map(compare, _any_length(cells))))


@claim("photographs-distortion", "figure5")
def photographs_distortion(tables: Tables) -> Verdict:
    """For each network and kind of target, the mean distortion within 15 % of the printed one.

    Luck: each network's distortion is anywhere from a tenth to ten times the printed one.
    """
    cells, behind = _photographs(tables)
    length = printed("figure5")["AlexNet of 2012", "distortion"]

    def compare(cells: Cells) -> Parts:
        return {row: excess(estimate, length) for (row, _), estimate in cells.items()}

    parts = compare(cells)
    evidence = f"ours against the paper's, in per cent: {named(parts, lambda e: signed(e, 0))}; {behind} pictures"
    return Verdict(parts, evidence, luck("photographs-distortion", parts, map(compare, _any_length(cells))))


@claim("noise-harmless", "figure7")
def noise_harmless(tables: Tables) -> Verdict:
    """Accuracy of 200-200-10, our choice, on the test set under noise that is not clamped, within 10 points of the
    printed one.

    Luck: the accuracy is anywhere between that of guessing, 10 %, and 100 %.
    """
    column = "accuracy (%)"
    cells, behind = told(tables, "figure7", [(UNDER_NOISE, column)])
    reference = printed("figure7")[UNDER_NOISE, column]

    def compare(cells: Cells) -> Parts:
        return {"200-200-10": minus(cells[UNDER_NOISE, column], reference)}

    parts, right = compare(cells), cells[UNDER_NOISE, column]
    clamped = tables["figure7"].get((UNDER_NOISE, "accuracy, clamped (%)"))
    evidence = f"{right.value:.1f} % [{right.low:.1f}, {right.high:.1f}] right against {reference:g} %; {behind}"
    evidence += f"; {clamped.value:.1f} % when clamped to the box" if clamped else ""
    draws = guesses(cells, 10, 100, lambda _: 0)
    return Verdict(parts, evidence, luck("noise-harmless", parts, map(compare, draws)))


@claim("quocnet-turned", "quocnet")
def quocnet_turned(tables: Tables) -> Verdict:
    """Of the recognised cars that are attacked (at least 64 in a recorded run) every one is turned, the mean distortion
    is at most 8 levels of 255, and noise of the same length turns at most 5 % of them (excess 0).

    Those that are turned are counted: no interval.

    Luck: every one is turned, the distortion is anywhere from a tenth to ten times the limit, and noise turns as many.
    """
    columns = ("success (%)", "distortion", "turned by noise as long (%)")
    cells, behind = told(tables, "quocnet", [("QuocNet", column) for column in columns])
    success, length, noise = cells.values()

    def compare(length: Estimate) -> Parts:
        return {
            "misses": effects.exactly(100 - success.value),
            "distortion": changed(excess(length, EIGHT_LEVELS), lambda x: max(x, 0.0)),
            "noise": changed(minus(noise, 5.0), lambda x: max(x, 0.0)),
        }

    rng, parts = np.random.default_rng(SEED_OF_LUCK), compare(length)
    drawn = (effects.exactly(EIGHT_LEVELS * 10**x) for x in rng.uniform(-1, 1, NUM_DRAWS))
    evidence = (
        f"{success.value:g} % turned by {length.value:.2g} [{length.low:.2g}, {length.high:.2g}] on average; noise as "
        f"long turns {noise.value:.1f} %; {behind} images{_classifier_in_words(tables['quocnet'])}"
    )
    return Verdict(parts, evidence, luck("quocnet-turned", parts, map(compare, drawn)))


def _classifier_in_words(table: Cells) -> str:
    """How good the classifier is that was fooled, beside one on raw pixels, whose cars vanish as well."""
    column, rivals = "accuracy (%)", {"QuocNet": "the classifier", "pixels": "one on raw pixels"}
    known = {
        words: f"{table[row, column].value:.1f} %" for row, words in rivals.items() if _is_known(table, (row, column))
    }
    length = table.get(("pixels", "distortion"), effects.UNMEASURED).value
    turned = f", and its cars vanish by {length:.2g}" if np.isfinite(length) else ""
    return f"; of all test images, half of them cars, right: {named(known, str)}{turned}" if known else ""


# --- Section 4.2: across networks -----------------------------------------------------------------

ADVERSARIAL, RANDOM = "adversarial (%)", ("random signs (%)", "random direction (%)")


@claim("cross-model", "controls")
def cross_model(tables: Tables) -> Verdict:
    """For each of the seven networks, what was made for it makes the others err more often than its perturbations with
    random signs or in random directions do: the 95 % intervals do not overlap.

    Luck: which of the three is which is drawn for each network.
    """
    names = (*NETWORKS, "Conv")
    cells, behind = told(tables, "controls", [(name, kind) for name in names for kind in (ADVERSARIAL, *RANDOM)])

    def compare(cells: Cells) -> Parts:
        pairs = [(name, kind) for name in names for kind in RANDOM]
        return {f"{name}, {kind}": not_above(cells[name, ADVERSARIAL], cells[name, kind]) for name, kind in pairs}

    parts = compare(cells)
    against = {n: f"{cells[n, ADVERSARIAL].value:.1f} against {cells[n, RANDOM[1]].value:.1f} %" for n in names}
    evidence = f"errors of the others, adversarial against a random direction: {named(against, str)}; {behind}"
    return Verdict(parts, evidence, luck("cross-model", parts, map(compare, shuffles(cells, lambda c: c[0]))))


def _off_diagonal() -> dict[tuple[str, str], float]:
    """The 30 printed rates at which the networks of Table 1 are fooled by what was made for another of them."""
    pairs = [(row, column) for row in NETWORKS for column in NETWORKS if row != column]
    return {cell: printed("table2")[cell] for cell in pairs}


def _column_and_length(cell: tuple[str, str]) -> tuple[str, bool]:
    """What is no news in Table 2: how often a network errs at all, and that long perturbations carry further."""
    return cell[1], printed("table2")[cell[0], "distortion"] > LONG


@claim("cross-model-rank", "table2")
def cross_model_rank(tables: Tables) -> Verdict:
    """Spearman's correlation of the 30 off-diagonal cells with the printed ones at least 0.90, and so is the lower end
    of its interval.

    Luck: cells are dealt anew within a column among the rows of short perturbations, and among those of long ones
    (printed distortion below or above 0.08): how gullible a network is and that length counts are taken as known.
    """
    reference = _off_diagonal()
    cells, behind = told(tables, "table2", reference)
    found = _spearman(cells, reference)

    def compare(cells: Cells) -> Parts:
        return short_of_one(cells, reference)

    parts = compare(cells)
    evidence = f"Spearman {_correlation_in_words(found)}; cells: {behind}"
    chance = luck("cross-model-rank", parts, map(compare, shuffles(cells, _column_and_length)))
    return Verdict(parts, evidence, chance, cells=cells, behind=behind)


@claim("cross-model-rates", "table2")
def cross_model_rates(tables: Tables) -> Verdict:
    """Each of the 30 printed off-diagonal rates lies where 95 % of samples of 256 images would, were the rate of all
    images ours (0 points beyond).

    The printed rates look as if measured on 256 images. A part's interval is what it would be at either end of ours.

    Luck: as for `cross_model_rank`.
    """
    return _rates("cross-model-rates", "table2", _off_diagonal(), _column_and_length, tables)


def _rates(
    identity: str,
    name: str,
    reference: Mapping[tuple[str, str], float],
    known: Callable[[tuple[str, str]], object],
    tables: Tables,
) -> Verdict:
    """A claim on rates that the paper counted on some 256 images; luck deals anew the cells for which `known` is the
    same."""
    cells, behind = told(tables, name, reference)

    def compare(cells: Cells) -> Parts:
        return {f"{row} on {column}": beyond_sampling(e, reference[row, column]) for (row, column), e in cells.items()}

    parts = compare(cells)
    median = float(np.median([abs(e.value - reference[cell]) for cell, e in cells.items()]))
    worst = max(parts, key=lambda name: abs(parts[name].value))
    exact = transfer.chance_of_all_within(reference.values(), size=256)
    evidence = (
        f"farthest beyond: {worst}, {parts[worst].value:+.1f} points; median absolute difference {median:.1f}; {behind}"
        f"; were our rates the paper's, all would lie within with a chance of {exact:.2f}"
    )
    chance = luck(identity, parts, map(compare, shuffles(cells, known)))
    return Verdict(parts, evidence, chance, cells=cells, behind=behind)


@claim("noise-rates", "table2")
def noise_rates(tables: Tables) -> Verdict:
    """Each of the 12 printed rates under noise lies where 95 % of samples of 256 images would, were the rate of all
    images ours (0 points beyond); taken over from cross-model-rates when the numbers were known.

    Luck: the rates of either strength are dealt anew among the networks.
    """
    reference = {(row, column): printed("table2")[row, column] for row in NOISES for column in NETWORKS}
    return _rates("noise-rates", "table2", reference, lambda cell: cell[0], tables)


@claim("table3-errors", "table3")
def table3_errors(tables: Tables) -> Verdict:
    """Every printed error within 0.5 points; taken over from table1-errors when the numbers were known.

    Luck: each column is dealt anew among the three networks.
    """
    return _errors("table3-errors", "table3", tables)


@claim("table3-distortion", "table3")
def table3_distortion(tables: Tables) -> Verdict:
    """Every printed value within 15 %; taken over from table1-distortion when the numbers were known.

    Luck: the three distortions, which are much alike, are the same, anything up to the largest that Table 1 prints.
    """
    most = max(value for (_, column), value in printed("table1").items() if column == "distortion")
    return _distortions("table3-distortion", "table3", tables, lambda cells: guesses(cells, 0, most, lambda _: 0))


@claim("cross-training", "table4")
def cross_training(tables: Tables) -> Verdict:
    """Every amplified cell off the diagonal lies above the noise of standard deviation 0.1: the 95 % intervals do not
    overlap.

    Luck: which of a column's two amplified cells and its noise is which is drawn.
    """
    noise, (_, pairs) = NOISES[0], _made_for_others()
    cells, behind = told(tables, "table4", [*pairs, *((noise, column) for column in HALVES)])

    def compare(cells: Cells) -> Parts:
        return {f"{row} on {column}": not_above(cells[row, column], cells[noise, column]) for row, column in pairs}

    parts = compare(cells)
    least, most = min(cells[pair].value for pair in pairs), max(cells[noise, column].value for column in HALVES)
    evidence = f"at least {least:.1f} % of the others' answers are wrong, under noise at most {most:.1f} %; {behind}"
    chance = luck("cross-training", parts, map(compare, shuffles(cells, lambda c: c[1])))
    return Verdict(parts, evidence, chance, cells=cells, behind=behind)


@claim("cross-training-rank", "table4")
def cross_training_rank(tables: Tables) -> Verdict:
    """Spearman's correlation of the 12 off-diagonal cells without noise with the printed ones at least 0.85, and so is
    the lower end of its interval.

    Luck: the six plain cells are dealt anew, and so are the six amplified ones: that amplification matters is known.
    """
    plain, loud = _made_for_others()
    cells, behind = told(tables, "table4", [*plain, *loud])
    reference = printed("table4")
    found, quiet = (_spearman({c: cells[c] for c in some}, reference) for some in (cells, plain))

    def compare(cells: Cells) -> Parts:
        return short_of_one(cells, reference)

    parts = compare(cells)
    evidence = f"Spearman {_correlation_in_words(found)}; {quiet.value:+.2f} over the {quiet.n} at their own length"
    evidence += f"; cells: {behind}"
    draws = shuffles(cells, lambda cell: cell in plain)
    chance = luck("cross-training-rank", parts, map(compare, draws))
    return Verdict(parts, evidence, chance, cells=cells, behind=behind)


@claim("cross-training-rates", "table4")
def cross_training_rates(tables: Tables) -> Verdict:
    """Each of the 12 printed off-diagonal rates without noise lies where 95 % of samples of 256 images would, were the
    rate of all images ours (0 points beyond); taken over from cross-model-rates when the numbers were known.

    Luck: the six plain cells are dealt anew, and so are the six amplified ones.
    """
    plain, loud = _made_for_others()
    reference = {cell: printed("table4")[cell] for cell in [*plain, *loud]}
    return _rates("cross-training-rates", "table4", reference, lambda cell: cell in plain, tables)


def _made_for_others() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The cells of Table 4 in which a network sees what was made for another, at its own length and amplified."""
    pairs = [(name, column) for name in HALVES for column in HALVES if name != column]
    kinds = ("distorted for {}", "{} amplified to 0.1")
    return tuple([(kind.format(name), column) for name, column in pairs] for kind in kinds)


# --- Section 4.2: adversarial training --------------------------------------------------------------

ERROR = "test error (%)"
DECAY, DROPOUT, ALL = "weight decay", "dropout", "pools: all"
INPUT, FIRST, SECOND = "pool: input", "pool: hidden 1", "pool: hidden 2"
WAYS = (DECAY, DROPOUT, INPUT, FIRST, SECOND, ALL)  # of training 100-100-10


def _trained(
    identity: str, tables: Tables, rows: Sequence[str], compare: Callable[[Mapping[str, Estimate]], Parts]
) -> Verdict:
    """A claim on the test errors of ways of training, of which the evidence names some."""
    cells, _ = told(tables, "adversarial_training", [(row, ERROR) for row in WAYS])
    parts = compare({row: cells[row, ERROR] for row in WAYS})
    shown = {row: cells[row, ERROR] for row in rows}
    evidence = named(shown, lambda e: f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]")
    dealt = (compare({row: draw[row, ERROR] for row in WAYS}) for draw in shuffles(cells, lambda _: 0))
    behind = f"n = {min(e.n for e in shown.values()):g} seeds"
    made = "pools of single gradient steps, not of the paper's attack"
    return Verdict(parts, f"test errors in per cent: {evidence}; {behind}; {made}", luck(identity, parts, dealt))


@claim("pools-help", "adversarial_training")
def pools_help(tables: Tables) -> Verdict:
    """The mean test error with all pools lies below that of weight decay alone and below that of dropout, each with the
    same budget of gradients: the 95 % intervals over seeds do not overlap.

    Luck: which of the six ways of training is which is dealt anew.
    """

    def compare(errors: Mapping[str, Estimate]) -> Parts:
        return {f"below {other}": not_above(errors[other], errors[ALL]) for other in (DECAY, DROPOUT)}

    return _trained("pools-help", tables, (ALL, DECAY, DROPOUT), compare)


@claim("pools-error", "adversarial_training")
def pools_error(tables: Tables) -> Verdict:
    """Mean test error with all pools, over seeds, at most the printed one (excess 0 points).

    Luck: which of the six ways of training is which is dealt anew.
    """
    reference = printed("adversarial_training")[ALL, ERROR]

    def compare(errors: Mapping[str, Estimate]) -> Parts:
        return {ALL: changed(minus(errors[ALL], reference), lambda x: max(x, 0.0))}

    return _trained("pools-error", tables, (ALL,), compare)


@claim("pools-every-layer", "adversarial_training")
def pools_every_layer(tables: Tables) -> Verdict:
    """With a pool for one layer alone, whichever it is, the mean test error does not lie below that of weight decay
    alone: by the 95 % intervals over seeds.

    That all pools help is `pools_help`'s question; this one's is the word "only".

    Luck: which of the six ways of training is which is dealt anew.
    """

    def compare(errors: Mapping[str, Estimate]) -> Parts:
        helps = {one: not_above(errors[DECAY], errors[one]) for one in (INPUT, FIRST, SECOND)}
        return {f"{one} does not": changed(part, lambda x: 1 - x) for one, part in helps.items()}

    return _trained("pools-every-layer", tables, (INPUT, FIRST, SECOND, DECAY), compare)


@claim("pools-higher", "adversarial_training")
def pools_higher(tables: Tables) -> Verdict:
    """Of the networks with one pool, the mean test error with that of the second hidden layer lies below that with the
    first's, and this below that with the input's: the 95 % intervals over seeds do not overlap.

    Luck: which of the six ways of training is which is dealt anew.
    """

    def compare(errors: Mapping[str, Estimate]) -> Parts:
        pairs = ((SECOND, FIRST), (FIRST, INPUT))
        return {f"{higher} below {lower}": not_above(errors[lower], errors[higher]) for higher, lower in pairs}

    return _trained("pools-higher", tables, (SECOND, FIRST, INPUT), compare)


# --- Section 4.3: spectra -------------------------------------------------------------------------


@claim("table5-upper", "table5")
def table5_upper(tables: Tables) -> Verdict:
    """For each convolution, what the last version's formula gives for the nearest public counterpart (Caffe's network
    for conv1 and conv2, torchvision's AlexNet for conv3 to conv5) is within a factor of 2 of what it printed.

    Like with like: that formula has a wrong factor for conv1 (`operator-norm`). The evidence has the true norms, too.

    Luck: the five numbers are dealt anew among the layers.
    """
    reference = {row: printed("table5")[row, "upper (v4)"] for row in NEAREST}
    cells, _ = told(tables, "table5", [(row, "upper as printed") for row in NEAREST.values()])

    def compare(cells: Cells) -> Parts:
        ours = {row: cells[near, "upper as printed"] for row, near in NEAREST.items()}
        return {row: doublings(e, reference[row]) for row, e in ours.items()}

    parts = compare(cells)
    evidence = f"ours over the paper's: {named(parts, lambda e: f'{2**e.value:.2f}')}"
    evidence += _true_norms_in_words(tables["table5"], reference)
    return Verdict(parts, evidence, luck("table5-upper", parts, map(compare, shuffles(cells, lambda _: 0))))


def _true_norms_in_words(table: Cells, reference: Mapping[str, float]) -> str:
    known = {row: table[near, "upper"] for row, near in NEAREST.items() if _is_known(table, (near, "upper"))}
    over = {row: f"{estimate.value / reference[row]:.2f}" for row, estimate in known.items()}
    return f"; of true norms: {named(over, str)}" if over else ""


@claim("operator-norm", "table5")
def operator_norm(tables: Tables) -> Verdict:
    """For each strided convolution of the public networks, the printed formula within 5 % of the norm of the
    zero-padded operator.

    Luck: none, it is mathematics. Norms are enclosed by proven bounds; those layers count that are recorded.
    """
    rows = [row for row in STRIDED if (row, "upper") in tables.get("table5", {})] or STRIDED
    cells, _ = told(tables, "table5", [(row, c) for row in rows for c in ("upper", "upper as printed")])
    parts = {row: excess(ratio(cells[row, "upper as printed"], cells[row, "upper"]), 1) for row in rows}
    return Verdict(parts, f"printed formula, in per cent: {named(parts, lambda e: f'{e.value:+.1f}')}")


@claim("pooling-contractive", "pooling")
def pooling_contractive(tables: Tables) -> Verdict:
    """Lipschitz constant of the network's own pooling at most 1: no image shows a larger expansion.

    This is arithmetic, not a measurement: where windows overlap, one pixel can be the maximum of four of them.

    Luck: none, it is mathematics.
    """
    cells, _ = told(tables, "pooling", [(POOL, "expansion")])
    largest = cells[POOL, "expansion"]
    return Verdict(
        {POOL: largest}, f"one pixel that is the maximum of four windows grows by {largest.value:g}: arithmetic"
    )


@claim("first-layer", "first_layer")
def first_layer(tables: Tables) -> Verdict:
    """In the first convolution of each public ImageNet network, the perturbations found for Figure 5 grow at least
    twice as much as random ones of the same length: random over adversarial at most 0.5.

    No layer's norm enters: a factor that one layer gives and the next takes changes nothing of this, and nothing of the
    network. Set before any such growth was looked at.

    Luck: which of the two is which is drawn for each network.
    """
    kinds = ("growth, adversarial", "growth, random direction")
    rows = rows_with(tables, "first_layer", kinds[0])
    cells, behind = told(tables, "first_layer", [(row, kind) for row in rows for kind in kinds])

    def compare(cells: Cells) -> Parts:
        return {row: ratio(cells[row, kinds[1]], cells[row, kinds[0]]) for row in rows}

    parts = compare(cells)
    evidence = (
        f"growth of a random one over the attack's: {named(parts, lambda e: f'{e.value:.2f}')}; {behind} pictures"
    )
    return Verdict(parts, evidence, luck("first-layer", parts, map(compare, shuffles(cells, lambda c: c[0]))))


@claim("bounds-explain", "certificates")
def bounds_explain(tables: Tables) -> Verdict:
    """For each network of Table 1 that has more than one layer, what the product of the layers' Lipschitz constants
    certifies, a sigmoid layer's being a quarter of its norm, is within one order of magnitude of the attack (mean over
    images of log10 of the ratio).

    Luck: the bounds fall short by anything from 0 to 3 orders of magnitude.
    """
    column, norms = "slope of 1/4", "product of norms"
    cells, behind = told(tables, "certificates", [(name, column) for name in DEEP])

    def compare(cells: Cells) -> Parts:
        return {name: cells[name, column] for name in DEEP}

    parts = compare(cells)
    evidence = f"orders of magnitude short of the attack: {named(parts, lambda e: f'{e.value:.1f}')}"
    for kind, names in {"of a single layer, where it is no product": LINEAR, "with rectifiers": ("Conv",)}.items():
        evidence += _orders_in_words(kind, tables["certificates"], norms, names)
    evidence += _orders_in_words("by norms alone", tables["certificates"], norms, DEEP)
    draws = guesses(cells, 0, 3, lambda cell: cell)
    return Verdict(parts, f"{evidence}; {behind}", luck("bounds-explain", parts, map(compare, draws)))


def _orders_in_words(kind: str, table: Cells, column: str, names: tuple[str, ...]) -> str:
    known = {name: f"{table[name, column].value:.1f}" for name in names if _is_known(table, (name, column))}
    return f"; {kind}: {named(known, str)}" if known else ""


def record() -> None:
    """Judge every claim on all that is recorded, and write results/claims.csv."""
    ledger.write("claims.csv", judged(ledger.everything_recorded()).to_csv(index=False))


# --- On a page ------------------------------------------------------------------------------------


def speaking(identity: str, now: Tables) -> tuple[Verdict, str]:
    """The verdict that a sentence may speak of, and whose it is, as the beginning of that sentence.

    That on what is recorded; as long as the claim waits for a record, that on this build's tables `now`.
    """
    judge = CLAIMS[identity].function
    kept = judge(ledger.everything_recorded())
    return (judge(now), IN_BUILD) if kept.word == NOT_RECORDED else (kept, AT_SCALE)


def summary(chapter: str, now: Tables) -> str:
    """How the claims that belong to a chapter came out, as recorded and in this build `now`, as MyST."""
    published = ledger.published("claims").query("chapter == @chapter")
    recorded = judged(ledger.everything_recorded(), published["id"].tolist())
    built = {identity: judge(identity, now) for identity in published["id"]}
    return overview.of_chapter(published, recorded, built)
