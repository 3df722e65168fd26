"""A verdict follows from tables alone: one that passes, one that fails, and one that lacks a cell, for every claim."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.measures import transfer
from lib.measures.intervals import Estimate, percent
from lib.record import claims, ledger
from lib.record.claims import CONTRADICTED, NOT_RECORDED, NOT_REPRODUCED, PARTLY, REPRODUCED

REPOSITORY = Path(__file__).parents[2]
LAYERS = ("Conv, hidden layer", "AlexNet, conv5", "SqueezeNet, fire9")
JUDGES = ("labels", "another network")


def about(value: float, half: float = 0.0, n: int = 1000) -> Estimate:
    return Estimate(value, value - half, value + half, n)


def as_printed(name: str, change=lambda value: value, half: float = 0.0) -> dict:
    """The paper's own table, each number changed."""
    return {cell: about(change(value), half) for cell, value in ledger.printed(name).items()}


def units(
    random: float = 0.5, delta: float = 0.0, half: float = 0.05, chance: float = 0.1, untrained: float = 0.2
) -> dict:
    cells = {}
    for row in LAYERS:
        for by in JUDGES:
            cells[row.replace(",", " untrained,"), f"{by}: random"] = about(untrained, 0.05)
            cells[row, f"{by}: random"], cells[row, f"{by}: chance"] = about(random, 0.1), about(chance, 0.1)
            cells[row, f"{by}: delta, random"] = about(delta, half)
    return cells


def everywhere(columns: Mapping[str, Estimate], rows=claims.NETWORKS) -> dict:
    return {(row, column): estimate for row in rows for column, estimate in columns.items()}


def controls(adversarial: float) -> dict:
    names = (*claims.NETWORKS, "Conv")
    columns = {"random signs (%)": about(5, 1), "random direction (%)": about(6, 1)}
    return everywhere({"adversarial (%)": about(adversarial, 1)} | columns, names)


def bounds(factor: float) -> dict:
    """Table 5 as printed by the last version, for our counterparts, and true norms that are `factor` times as large."""
    table, printed = {}, ledger.printed("table5")
    for row, near in claims.NEAREST.items():
        table[near, "upper as printed"] = about(printed[row, "upper (v4)"])
        table[near, "upper"] = about(factor * printed[row, "upper (v4)"])
    return table | {("conv1, AlexNet", c): about(v) for c, v in (("upper", factor), ("upper as printed", 1))}


def photographs(distortion: float, success: float = 100.0) -> dict:
    rows = ("SqueezeNet 1.1, to ostrich", "SqueezeNet 1.1, to random classes", "AlexNet features, to goldfish")
    return everywhere({"distortion": about(distortion, 1e-4, 64), "success (%)": about(success, 3, 64)}, rows)


def table4(amplified: float = 50.0) -> dict:
    return {cell: about(amplified, 1) if "amplified" in cell[0] else e for cell, e in as_printed("table4").items()}


def backwards(name: str) -> dict:
    return as_printed(name, lambda value: 100 - value)


def growth(adversarial: float) -> dict:
    columns = {"growth, adversarial": about(adversarial, 0.1, 64), "growth, random direction": about(1.0, 0.1, 64)}
    return everywhere(columns, ("AlexNet features", "SqueezeNet 1.1"))


def noise(right: float) -> dict:
    return {("Gaussian noise, stddev 1", "accuracy (%)"): about(right, 1)}


def pool(expansion: float) -> dict:
    return {("3 x 3 windows every 2 pixels", "expansion"): about(expansion)}


def exact(attack: float) -> dict:
    return everywhere({"attack": about(attack, 1e-4), "exact optimum": about(0.05, 1e-4)}, claims.LINEAR)


def turned(distortion: float, noise: float) -> dict:
    lengths = {"distortion": about(distortion, 1e-3, 64), "turned by noise as long (%)": about(noise, 1, 64)}
    return everywhere(lengths | {"success (%)": about(100, 3, 64)}, ("QuocNet",))


def trainings(**errors: float) -> dict:
    """Test errors of the six ways of training, in this order: the name's parts joined by underscores."""
    usual = {"decay": 1.6, "dropout": 1.4, "input": 1.7, "first": 1.5, "second": 1.3, "all": 1.1} | errors
    rows = (claims.DECAY, claims.DROPOUT, claims.INPUT, claims.FIRST, claims.SECOND, claims.ALL)
    return {(row, "test error (%)"): about(e, 0.02, 5) for row, e in zip(rows, usual.values(), strict=True)}


@pytest.fixture
def few_draws(monkeypatch) -> None:
    """Where luck does not matter."""
    monkeypatch.setattr(claims, "NUM_DRAWS", 10)


# Of each claim a table that passes, and one that fails: {table: cells}, and the word for the second.
TABLES = {
    "table1-errors": ("table1", as_printed("table1", half=0.1), as_printed("table1", lambda v: v + 1), NOT_REPRODUCED),
    "random-meaningful": ("units", units(random=0.5), units(random=0.1), NOT_REPRODUCED),
    "no-distinction": ("units", units(delta=0.02), units(delta=-0.3), NOT_REPRODUCED),
    "always-adversarial": (
        "success",
        everywhere({"success (%)": percent(60_000, 60_000)}),
        everywhere({"success (%)": percent(59_000, 60_000)}),
        NOT_REPRODUCED,
    ),
    "table1-distortion": ("table1", as_printed("table1"), as_printed("table1", lambda v: 1.3 * v), NOT_REPRODUCED),
    "convex-exact": ("exact", exact(0.05), exact(0.06), CONTRADICTED),
    "photographs-adversarial": ("figure5", photographs(0.002), photographs(0.009), PARTLY),
    "photographs-distortion": ("figure5", photographs(0.0063), photographs(0.002), NOT_REPRODUCED),
    "noise-harmless": ("figure7", noise(48), noise(70), NOT_REPRODUCED),
    "quocnet-turned": ("quocnet", turned(0.01, 1.0), turned(0.06, 30.0), NOT_REPRODUCED),
    "cross-model": ("controls", controls(30), controls(3), NOT_REPRODUCED),
    "cross-model-rank": ("table2", as_printed("table2"), backwards("table2"), NOT_REPRODUCED),
    "cross-model-rates": ("table2", as_printed("table2"), backwards("table2"), NOT_REPRODUCED),
    "noise-rates": ("table2", as_printed("table2"), backwards("table2"), NOT_REPRODUCED),
    "table3-errors": ("table3", as_printed("table3", half=0.1), as_printed("table3", lambda v: v + 1), NOT_REPRODUCED),
    "table3-distortion": ("table3", as_printed("table3"), as_printed("table3", lambda v: 1.3 * v), NOT_REPRODUCED),
    "cross-training": ("table4", table4(), table4(1.0), NOT_REPRODUCED),
    "cross-training-rank": ("table4", as_printed("table4"), backwards("table4"), NOT_REPRODUCED),
    "cross-training-rates": ("table4", as_printed("table4"), backwards("table4"), NOT_REPRODUCED),
    "pools-help": ("adversarial_training", trainings(), trainings(all=1.8), NOT_REPRODUCED),
    "pools-error": ("adversarial_training", trainings(), trainings(all=1.3), NOT_REPRODUCED),
    "pools-every-layer": (
        "adversarial_training",
        trainings(first=1.7, second=1.7),
        trainings(input=1.2),
        NOT_REPRODUCED,
    ),
    "pools-higher": ("adversarial_training", trainings(), trainings(second=1.9, first=1.8), NOT_REPRODUCED),
    "table5-upper": (
        "table5",
        bounds(1.0),
        {cell: about(5 * e.value) for cell, e in bounds(1.0).items()},
        NOT_REPRODUCED,
    ),
    "operator-norm": ("table5", bounds(1.0), bounds(4.0), CONTRADICTED),
    "pooling-contractive": ("pooling", pool(1.0), pool(2.0), CONTRADICTED),
    "first-layer": ("first_layer", growth(4.0), growth(1.2), NOT_REPRODUCED),
    "bounds-explain": (
        "certificates",
        everywhere({"slope of 1/4": about(0.5)}),
        everywhere({"slope of 1/4": about(2.0)}),
        NOT_REPRODUCED,
    ),
}


class Watched(dict):
    """Tables that remember which of them were asked for."""

    def __init__(self, tables: Mapping) -> None:
        super().__init__(tables)
        self.asked = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)


# --- The claims -----------------------------------------------------------------------------------


def test_the_claims_are_the_papers_in_its_order():
    assert list(claims.CLAIMS) == list(TABLES) == list(ledger.published("claims")["id"])


@pytest.mark.parametrize("identity", TABLES)
def test_a_criterion_is_its_functions_first_paragraph(identity):
    criterion = ledger.published("claims").set_index("id").loc[identity, "criterion"]
    paragraph = claims.CLAIMS[identity].function.__doc__.split("\n\n")[0]
    assert " ".join(paragraph.split()).rstrip(".").casefold() == criterion.casefold()


@pytest.mark.parametrize("identity", TABLES)
def test_what_luck_takes_as_known_is_said(identity):
    assert "Luck: " in claims.CLAIMS[identity].function.__doc__


def test_where_a_criterion_was_changed_the_former_one_stays_with_its_verdict_the_date_and_the_reason():
    lines = ledger.published("claims")
    columns = ["former criterion", "former verdict", "changed", "reason"]
    assert not lines.isna().any(axis=None)
    unchanged = lines[columns] == "–"
    assert (unchanged.all(axis=1) | ~unchanged.any(axis=1)).all()
    changed = lines[~unchanged.any(axis=1)]
    assert set(changed["former verdict"]) <= set(claims.WORDS)
    assert changed["changed"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    assert {"no-distinction", "cross-training-rank", "first-layer", "table5-upper"} <= set(changed["id"])


# --- Verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", TABLES)
def test_a_table_that_passes_passes(identity, few_draws):
    name, passes, _, _ = TABLES[identity]
    assert claims.judge(identity, {name: passes}) == REPRODUCED


@pytest.mark.parametrize("identity", TABLES)
def test_a_table_that_fails_fails(identity, few_draws):
    name, _, fails, verdict = TABLES[identity]
    assert claims.judge(identity, {name: fails}) == verdict


@pytest.mark.parametrize("identity", TABLES)
@pytest.mark.parametrize("is_empty", [False, True])
def test_without_its_table_a_claim_is_not_recorded_and_says_which_it_waits_for(identity, is_empty):
    name = TABLES[identity][0]
    found = claims.CLAIMS[identity].function({name: {}} if is_empty else {})
    assert (found.word, found.parts, found.luck) == (NOT_RECORDED, {}, None)
    assert found.evidence == f"waits for table {name}"


@pytest.mark.parametrize("identity", TABLES)
def test_any_cell_may_be_missing(identity, few_draws):
    """As in the quick profile: what a criterion does not need changes nothing, what it needs is waited for."""
    name, passes, _, _ = TABLES[identity]
    words = [claims.judge(identity, {name: {c: e for c, e in passes.items() if c != lost}}) for lost in passes]
    assert set(words) <= {REPRODUCED, NOT_RECORDED}
    assert NOT_RECORDED in words


def test_the_missing_cell_is_named():
    cells = as_printed("table2")
    del cells["softmax 1", "AE400-10"], cells["200-200-10", "softmax 1"]
    found = claims.cross_model_rank({"table2": cells})
    assert found.evidence == "waits for table table2, cell softmax 1: AE400-10 and 1 more"


def test_a_number_that_is_not_one_is_missing():
    cells = as_printed("table4") | {("distorted for M1", "M2"): about(float("nan"))}
    assert claims.judge("cross-training-rank", {"table4": cells}) == NOT_RECORDED


@pytest.mark.parametrize("identity", TABLES)
def test_a_few_images_give_a_verdict_too_but_never_reproduced_with_an_interval_that_crosses_the_limit(
    identity, few_draws
):
    name, passes, _, _ = TABLES[identity]
    wide = {cell: Estimate(e.value, e.value / 10, e.value + 200, 4) for cell, e in passes.items()}
    found = claims.CLAIMS[identity].function({name: wide})
    counted = identity in ("cross-model-rank", "cross-training-rank")  # their intervals are those of ranks
    assert found.word == (REPRODUCED if counted else PARTLY)


@pytest.mark.parametrize("identity", TABLES)
def test_a_claim_reads_no_table_but_those_it_names(identity, few_draws):
    tables = Watched(ledger.everything_recorded())
    claims.CLAIMS[identity].function(tables)
    named = claims.CLAIMS[identity].tables
    assert tables.asked <= {*named, *(f"spread_{name}" for name in named)}


def test_a_claim_that_the_paper_does_not_make_cannot_be_judged():
    with pytest.raises(ValueError, match=r"claim 'fourth' .* lists table1-errors, "):
        claims.judge("fourth", {})


# --- The rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([about(10, 5), about(-10, 5)], REPRODUCED),
        ([about(10, 5), about(-10, 6)], PARTLY),
        ([about(10, 5), about(30, 5)], PARTLY),
        ([about(14, 5), about(16, 5)], PARTLY),
        ([about(14, 5), about(16, 5), about(16, 5)], NOT_REPRODUCED),
        ([about(16, 5)], NOT_REPRODUCED),
    ],
)
def test_an_interval_that_crosses_the_limit_costs_reproduced_and_no_more(parts, verdict):
    assert claims.limit("table1-distortion") == 15
    assert claims.word("table1-distortion", {str(i): part for i, part in enumerate(parts)}) == verdict


@pytest.mark.parametrize(
    ("part", "verdict"),
    [
        (about(0.5, 0.5), REPRODUCED),
        (about(0.5, 0.6), PARTLY),
        (about(2, 1.5), NOT_REPRODUCED),
        (about(2, 0.9), CONTRADICTED),
    ],
)
def test_only_an_interval_wholly_beyond_the_limit_contradicts_a_claim_of_mathematics(part, verdict):
    assert claims.word("pooling-contractive", {"a": part}) == verdict


def test_one_counterexample_is_enough():
    parts = {"a": about(0.0), "b": about(0.0), "c": about(2.0)}
    assert claims.word("convex-exact", parts) == CONTRADICTED
    assert claims.word("table1-errors", parts) == PARTLY


def test_a_claim_without_parts_has_no_verdict():
    with pytest.raises(ValueError, match="needs at least one part"):
        claims.word("table1-errors", {})


def test_a_criterion_may_say_that_nothing_can_be_tested(monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", {})
    claims.claim("first-layer")(lambda tables: claims.Verdict({}, "no such network", word=claims.NOT_TESTABLE))
    assert claims.judged({}).to_numpy().tolist() == [["first-layer", "not testable here", "no such network", "–"]]


def test_where_seeds_are_recorded_they_decide():
    tables = {"table1": as_printed("table1"), "spread_table1": as_printed("table1", lambda value: 1.3 * value)}
    assert claims.judge("table1-distortion", tables) == NOT_REPRODUCED
    assert "over 1000 seeds" in claims.table1_distortion(tables).evidence


def test_seeds_of_some_cells_only_do_not_mix_with_the_rest():
    some = {("softmax 1", "distortion"): about(9.0)}
    assert claims.judge("table1-distortion", {"table1": as_printed("table1"), "spread_table1": some}) == REPRODUCED


@pytest.mark.parametrize(("upper", "lower", "apart"), [(5, 1, True), (5, 4, False), (1, 5, False), (3, 3, False)])
def test_what_lies_above_does_so_with_its_whole_interval(upper, lower, apart):
    found = claims.not_above(about(upper, 1), about(lower, 1))
    assert ((found.low, found.value, found.high) == (0, 0, 0)) == apart
    assert found.low <= found.value <= found.high


def test_equal_numbers_do_not_lie_above_each_other():
    assert claims.not_above(about(0.0), about(0.0)).value == 1


# --- What the criteria were changed for -----------------------------------------------------------


def test_likeness_needs_the_whole_interval_inside_the_limit():
    assert claims.judge("no-distinction", {"units": units(delta=0.1, half=0.02)}) == REPRODUCED
    assert claims.judge("no-distinction", {"units": units(delta=0.1, half=0.06)}) == PARTLY


def test_of_conv_the_mean_over_seeds_counts_not_the_mildest():
    column = "another network: delta, random"
    seeds = {(f"Conv, seed {i}", column): about(delta) for i, delta in enumerate([0.05, 0.06, 0.10, 0.14, 0.16])}
    found = claims.no_distinction({"units": units(delta=0.02, half=0.01) | seeds})
    mean = found.parts["Conv, hidden layer, another network"]
    assert (round(mean.value, 2), round(mean.low, 2), round(mean.high, 2), mean.n) == (0.10, 0.04, 0.16, 5)
    assert found.word == PARTLY


def test_rotations_of_whole_bases_are_asked_of_all_networks_together_and_counted_among_all_tests():
    p = dict(zip(LAYERS, (0.0533, 0.0333, 0.0267), strict=True))
    rotations = {(row, "another network: p, rotations"): about(value) for row, value in p.items()}
    table = units() | rotations | {(row, "labels: p, rotations"): about(0.5) for row in LAYERS}
    evidence = claims.no_distinction({"units": table}).evidence
    # Those are counted that were made. Three times a half: 2 ln 8 = 4.16 of a chi squared with six degrees of freedom.
    assert "p by labels 0.655, another network 0.003, the smaller as one of 2 tests 0.006" in evidence
    table |= {(row, f"{by}: p, random"): about(0.1) for row in LAYERS for by in JUDGES}
    evidence = claims.no_distinction({"units": table}).evidence
    assert "the smaller as one of 8 tests 0.023" in evidence
    missing = {cell: e for cell, e in table.items() if cell != (LAYERS[0], "another network: p, rotations")}
    assert "rotations" not in claims.no_distinction({"units": missing}).evidence
    assert "rotations" not in claims.no_distinction({"units": units()}).evidence


def test_a_layer_that_was_read_by_means_too_is_named_beside_its_maxima():
    read = {(claims.BY_MEANS, f"{by}: delta, random"): about(0.4, 0.1) for by in JUDGES}
    evidence = claims.no_distinction({"units": units() | read}).evidence
    assert "; AlexNet, conv5, mean over the map, labels +0.40 [+0.30, +0.50], another network +0.40" in evidence
    assert "mean over the map" not in claims.no_distinction({"units": units()}).evidence


def test_beside_cars_that_vanish_stands_how_little_of_them_the_classifier_knew():
    known = {("QuocNet", "accuracy (%)"): about(57), ("pixels", "accuracy (%)"): about(69)}
    evidence = claims.quocnet_turned({"quocnet": turned(0.01, 1.0) | known}).evidence
    assert evidence.endswith("right: the classifier 57.0 %, one on raw pixels 69.0 %")
    evidence = claims.quocnet_turned(
        {"quocnet": turned(0.01, 1.0) | known | {("pixels", "distortion"): about(0.02)}}
    ).evidence
    assert evidence.endswith("69.0 %, and its cars vanish by 0.02")


def test_cars_that_are_still_recognised_are_counted_against_the_claim():
    parts = claims.quocnet_turned({"quocnet": turned(0.01, 1.0) | {("QuocNet", "success (%)"): about(90)}}).parts
    assert [part.value for part in parts.values()] == [10, 0, 0]


def test_cells_of_noise_lend_no_rank_correlation_to_table_4(few_draws):
    cells = as_printed("table4")
    without = {cell: e for cell, e in cells.items() if "noise" not in cell[0]}
    found = claims.cross_training_rank({"table4": cells})
    assert found == claims.cross_training_rank({"table4": without})
    assert "over 12 cells" in found.evidence


def test_three_constants_do_not_have_the_pattern_of_table_4(few_draws):
    """One for noise, one for the plain rows, one for the amplified: with the rows of noise these had 0.93."""
    levels = {"noise": 2.5, "distorted": 10.0, "amplified": 60.0}
    cells = {cell: about(next(v for k, v in levels.items() if k in cell[0])) for cell in ledger.printed("table4")}
    found = claims.cross_training_rank({"table4": cells})
    assert found.parts["1 - Spearman's correlation"].low > 0
    assert found.word != REPRODUCED


def test_half_of_the_rates_far_off_are_not_table_2_even_if_the_median_is_near():
    reference = list(claims._off_diagonal())
    cells = as_printed("table2") | {cell: about(95.0) for cell in reference[:14]}
    found = claims.cross_model_rates({"table2": cells})
    assert "median absolute difference 0.0" in found.evidence
    assert found.word == PARTLY


def test_table_5_is_compared_like_with_like():
    """A true norm four times the printed one is the formula's fault, not a difference of the networks."""
    assert claims.judge("table5-upper", {"table5": bounds(4.0)}) == REPRODUCED
    assert "of true norms: conv1 4.00" in claims.table5_upper({"table5": bounds(4.0)}).evidence


def test_the_linear_networks_do_not_carry_the_verdict_on_bounds():
    orders = {(name, "slope of 1/4"): about(0.2 if name in claims.LINEAR else 2.0) for name in claims.NETWORKS}
    assert claims.judge("bounds-explain", {"certificates": orders}) == NOT_REPRODUCED


def test_a_factor_that_one_layer_gives_and_the_next_takes_changes_nothing_of_the_first_layers_verdict():
    scaled = {cell: Estimate(*(1e-3 * x for x in e[:3]), e.n) for cell, e in growth(4.0).items()}
    one, other = claims.first_layer({"first_layer": growth(4.0)}), claims.first_layer({"first_layer": scaled})
    assert one.word == other.word == REPRODUCED
    assert one.parts["SqueezeNet 1.1"].high == pytest.approx(other.parts["SqueezeNet 1.1"].high)


def test_success_is_said_with_its_lower_end():
    table = everywhere({"success (%)": percent(60_000, 60_000)})
    assert "lower end of its interval 99.9936 %" in claims.always_adversarial({"success": table}).evidence


def test_the_diagonal_of_target_rates_is_as_good_as_success():
    rates = {(name, name): percent(60_000, 60_000) for name in claims.NETWORKS}
    assert claims.judge("always-adversarial", {"target_rates": rates}) == REPRODUCED


def test_an_excess_image_by_image_goes_before_two_means():
    wide = {cell: about(e.value, 0.02) for cell, e in exact(0.06).items()}
    assert claims.judge("convex-exact", {"exact": wide}) == NOT_REPRODUCED
    paired = everywhere({"excess (%)": about(20, 1)}, claims.LINEAR)
    assert claims.judge("convex-exact", {"exact": wide | paired}) == CONTRADICTED


# --- What chapters say of them ---------------------------------------------------------------------


def test_a_page_speaks_of_what_is_recorded_and_before_that_of_its_build(few_draws):
    recorded, identity = ledger.everything_recorded(), "cross-training-rank"
    built = {"table4": backwards("table4")}
    kept, source = claims.speaking(identity, built)
    assert (kept, source) == (claims.cross_training_rank(recorded), "At the paper's scale")


def test_before_anything_is_recorded_a_page_speaks_of_its_build(few_draws, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    found, source = claims.speaking("cross-training-rank", {"table4": backwards("table4")})
    assert (found.word, source) == (NOT_REPRODUCED, "In this build")
    assert found.spearman.value == pytest.approx(-1)
    waiting, _ = claims.speaking("cross-training-rank", {})
    assert (waiting.word, waiting.luck, waiting.told) == (NOT_RECORDED, None, {})
    assert np.isnan(waiting.spearman.value)


@pytest.mark.parametrize("identity", ["cross-model-rank", "cross-training-rank"])
def test_the_correlation_of_a_claim_is_that_of_the_cells_it_was_judged_by(identity, few_draws):
    found = claims.CLAIMS[identity].function(ledger.everything_recorded())
    printed = ledger.printed(claims.CLAIMS[identity].tables[0])
    expected = transfer.correlation(found.told, {cell: printed[cell] for cell in found.cells})
    assert found.spearman == pytest.approx(expected)
    value, low, high = (f"{x:.3f}" for x in found.spearman[:3])
    assert f"Spearman {value} [{low}, {high}] over {expected.n} cells" in found.evidence
    assert found.behind in found.evidence


# --- Luck -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", TABLES)
def test_luck_is_a_share_and_the_same_every_time(identity):
    name, passes, _, _ = TABLES[identity]
    first, again = (claims.CLAIMS[identity].function({name: passes}) for _ in range(2))
    assert first == again
    mathematics = ledger.published("claims").set_index("id").loc[identity, "kind"] == "mathematics"
    none = mathematics or "Luck: none" in claims.CLAIMS[identity].function.__doc__
    assert (first.luck is None) == none
    assert none or 0 <= first.luck <= 0.5


def test_cells_are_dealt_within_their_blocks_and_every_deal_is_as_likely():
    cells = {("a", str(i)): about(float(i)) for i in range(2)} | {("b", str(i)): about(10.0 + i) for i in range(3)}
    deals = [tuple(e.value for e in dealt.values()) for dealt in claims.shuffles(cells, lambda cell: cell[0])]
    assert len(deals) == claims.NUM_DRAWS
    counts = pd.Series(deals).value_counts()
    assert len(counts) == 2 * 6
    assert counts.min() > claims.NUM_DRAWS / 12 - 5 * np.sqrt(claims.NUM_DRAWS / 12)
    assert all(sorted(deal[:2]) == [0, 1] and sorted(deal[2:]) == [10, 11, 12] for deal in deals)


def test_a_sign_test_has_the_luck_of_a_coin():
    """Three networks, whose two judges look at the same images, each with the trained one on top: one in eight."""
    found = claims.random_meaningful({"units": units()})
    assert found.luck == pytest.approx(1 / 8, abs=0.02)


def test_to_be_as_good_as_untrained_is_not_to_be_meaningful():
    assert claims.judge("random-meaningful", {"units": units(random=0.5, untrained=0.5)}) == PARTLY


def test_what_sits_on_the_limit_lies_within_half_of_the_time():
    parts = {"a": about(0.0, 0.05)}
    drawn = [part["a"] for part in claims.at_the_limit(parts, 0.147, str)]
    assert np.mean([e.value <= 0.147 for e in drawn]) == pytest.approx(0.5, abs=0.05)
    for value, low, high, _ in drawn:  # each with an interval as wide as ours
        assert (low, high) == pytest.approx((value - 0.05, value + 0.05))


def test_luck_asks_for_as_many_parts_as_there_are():
    """One part of twelve beyond: "partly" alone would be easier to come by."""
    parts = {str(i): about(0.0) for i in range(11)} | {"last": about(9.0)}
    worse = parts | {"10": about(9.0)}
    assert claims.word("table1-errors", parts) == claims.word("table1-errors", worse) == PARTLY
    assert claims.luck("table1-errors", parts, [parts, worse, worse, worse])() == 0.25


# --- What is recorded -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    """What the recorded tables say."""
    return claims.judged(ledger.everything_recorded())


def test_the_recorded_verdicts_follow_from_the_recorded_tables_word_for_word(judged):
    kept = pd.read_csv(REPOSITORY / "results" / "claims.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(judged, kept, check_dtype=False)


def test_verdicts_are_words_that_are_explained(judged):
    assert set(judged["verdict"]) <= set(claims.WORDS)
    assert all(f"    {word}  " in claims.__doc__ for word in claims.WORDS)


def test_with_nothing_recorded_every_claim_waits():
    empty = claims.judged({})
    assert set(empty["verdict"]) == {NOT_RECORDED}
    assert set(empty["luck"]) == {"–"}


# --- To the letter --------------------------------------------------------------------------------


def test_a_counterexample_lies_beyond_the_limit_with_its_whole_interval_on_either_side():
    """The limit is 5 %."""
    for sign in (1, -1):
        crossing, beyond = (
            Estimate(sign * v, *sorted((sign * a, sign * b)), 1) for v, a, b in ((4.8, 3, 6), (6, 5.1, 7))
        )
        assert claims.word("operator-norm", {"a": crossing}) == PARTLY
        assert claims.word("operator-norm", {"a": beyond}) == CONTRADICTED


def test_what_is_waited_for_is_counted():
    missing = [("a", "b"), ("c", "d"), ("e", "f")]
    assert str(claims.NotRecorded("table1")) == "waits for table table1"
    assert str(claims.NotRecorded("table1", missing[:1])) == "waits for table table1, cell a: b"
    assert str(claims.NotRecorded("table1", missing)) == "waits for table table1, cell a: b and 2 more"
