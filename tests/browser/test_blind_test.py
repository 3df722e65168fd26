"""The blind test as a reader takes it, in headless Chromium: by key, on a phone, in the dark, without scripts."""

import math
import re

import pytest
import torch

from lib.figures import blind_test
from tests.browser.conftest import PHONE, errors_of
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

NUM_ROWS = 6
STYLE = (REPOSITORY / "_static/book.css").read_text()
SCRIPT = (REPOSITORY / "_static/blind.js").read_text()
THEME = """
:root { --pst-color-border: #ccc; --pst-color-text-muted: #555; --pst-color-surface: #eee; --pst-color-text-base: #111;
        --pst-color-primary: #07a; }
"""  # the names that the real theme defines


def page_of(*tests: str, scripts: bool = True) -> str:
    script = f"<script>{SCRIPT}</script>" if scripts else ""
    return (
        f"<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>t</title>"
        f"<style>{THEME}{STYLE}</style>{script}<article>{''.join(tests)}</article></html>"
    )


def specimen_test(seed: int, num_rows: int = NUM_ROWS, best: float = math.nan) -> str:
    pictures = torch.rand(10, 784, generator=torch.Generator().manual_seed(seed))
    rows = [
        blind_test.Row(pictures, ("a unit", "a direction")[i % 2], f"number {i}", f"row {i}") for i in range(num_rows)
    ]
    return blind_test.element(rows, torch.Generator().manual_seed(seed), best=best)


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport=PHONE)
    errors, requests = errors_of(page), []
    page.on("request", lambda request: requests.append(request.url))
    yield page
    assert errors == []
    assert all(url.startswith(("data:", "about:", "file:")) for url in requests)
    page.close()


def kind_shown(page, test: int = 0) -> str:
    """The right answer, read from the source, to the row that is shown."""
    (row,) = [row for row in page.locator(".blind").nth(test).locator("li").all() if row.is_visible()]
    return row.get_attribute("data-kind")


def answer_all(page, choose, num: int) -> int:
    """Guesses all rows by mouse, what `choose` makes of the right kind, to the end: how many were right."""
    right = 0
    for number in range(num):
        assert f"Row {number + 1} of {num}" in page.inner_text(".blind-place")
        kind = kind_shown(page)
        guess = choose(kind)
        page.get_by_role("button", name=guess).click()
        right += guess == kind
        verdict = page.inner_text(".blind-verdict")
        assert verdict.startswith("Right." if guess == kind else "Wrong.")
        assert re.search(rf"It is {kind}: number \d", verdict)
        assert f"{right} of {number + 1} right" in page.inner_text(".blind-score")
        assert page.get_by_role("button", name=guess).is_disabled()
        page.get_by_role("button", name="Next row" if number + 1 < num else "See the score").click()
    return right


def test_a_reader_with_a_mouse_is_told_and_counted(page):
    page.set_content(page_of(specimen_test(0)))
    assert answer_all(page, lambda kind: "a unit", NUM_ROWS) == NUM_ROWS // 2
    assert "All 6 rows are done" in page.inner_text(".blind-place")
    # At least 3 of 6 by tossing a coin: (20 + 15 + 6 + 1) / 64.
    assert "66 %" in page.inner_text(".blind-score")


def test_a_reader_with_keys_alone_gets_through_and_never_loses_the_focus(page):
    page.set_content(page_of(specimen_test(1)))
    page.keyboard.press("Tab")
    for number in range(NUM_ROWS):
        if page.evaluate("document.activeElement.textContent") != kind_shown(page):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.matches(':focus-visible')")
        page.keyboard.press("Enter")
        assert f"{number + 1} of {number + 1} right" in page.inner_text(".blind-score")
        expected = "Next row" if number + 1 < NUM_ROWS else "See the score"
        assert page.evaluate("document.activeElement.textContent") == expected
        page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "All 6 rows are done."
    assert "in 2 % of all cases" in page.inner_text(".blind-score")  # 1 / 64


def order(page) -> list[str]:
    return [image.get_attribute("alt") for image in page.locator(".blind li img").all()]


def test_it_ends_after_ten_rows_with_the_score_beside_a_coins_and_the_best_measures(page):
    page.set_content(page_of(specimen_test(0, num_rows=20, best=62)))
    assert answer_all(page, lambda kind: kind, 10) == 10
    bars = page.locator(".blind-bars li").all_inner_texts()
    assert [" ".join(bar.split()) for bar in bars] == [
        "You 10 of 10",
        "A coin 5 of 10 on average",
        "The best measure 6.2 of 10 on average",
    ]
    shares = page.locator(".blind-bar").evaluate_all("all => all.map(e => e.getBoundingClientRect().width)")
    assert [share / shares[0] for share in shares] == pytest.approx([1, 0.5, 0.62], abs=0.01)
    assert page.locator(".blind button").count() == 0


def test_without_a_measure_the_end_has_a_coin_alone(page):
    page.set_content(page_of(specimen_test(0)))
    answer_all(page, lambda kind: kind, NUM_ROWS)
    assert page.locator(".blind-bars li").count() == 2


def test_at_the_end_all_rows_are_there_sorted_with_their_answers(page):
    page.set_content(page_of(specimen_test(0, num_rows=12)))
    answer_all(page, lambda kind: "a unit", 10)
    assert page.locator(".blind h3").all_inner_texts() == ["Liked best by a direction", "Liked best by a unit"]
    for rows in page.locator(".blind ol").all():
        items = rows.locator("li")
        assert items.count() == 6
        assert all(item.is_visible() for item in items.locator("img").all())
        assert all(re.match(r"number \d+\.", text.strip()) for text in items.all_inner_texts())
    assert page.inner_text(".blind").count("You said: a unit.") == 10, "two of the twelve were not asked"


def test_rows_come_in_another_order_on_every_visit_and_stay_in_it(page):
    orders = []
    for _ in range(3):
        page.set_content(page_of(specimen_test(0, num_rows=20)))
        orders.append(order(page))
        page.get_by_role("button", name="a unit").click()
        page.get_by_role("button", name="Next row").click()
        assert order(page) == orders[-1]
    assert len({tuple(each) for each in orders}) == 3  # of 20! orders
    assert len({frozenset(each) for each in orders}) == 1


def test_every_test_on_a_page_has_its_own_score(page):
    page.set_content(page_of(specimen_test(0), specimen_test(1)))
    page.locator(".blind").first.get_by_role("button", name=kind_shown(page)).click()
    assert [score.inner_text() for score in page.locator(".blind-score").all()] == ["1 of 1 right.", "No guess yet."]


def test_the_answer_is_not_to_be_seen_before_the_guess(page):
    page.set_content(page_of(specimen_test(0)))
    assert "number" not in page.inner_text("body")
    assert not page.locator("details").first.is_visible()
    assert page.get_by_role("status").count() == 1


def test_nothing_is_wider_than_a_phone_and_a_thumb_hits_the_buttons(page):
    page.set_content(page_of(specimen_test(0)))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 40


def test_without_scripts_every_row_can_be_unfolded(page):
    page.set_content(page_of(specimen_test(0), scripts=False))
    assert page.locator("li img").count() == NUM_ROWS
    assert all(row.is_visible() for row in page.locator("li").all())
    summary = page.locator("summary").first
    summary.click()
    assert "number" in page.inner_text("body")


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)" (WCAG 2)."""
    levels = [int(level) / 255 for level in re.findall(r"\d+", colour)[:3]]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


GROUND = """e => {
    for (; e; e = e.parentElement) {
        const colour = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)$/.test(colour)) return colour;
    }
}"""  # the first ground that is not transparent


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_in_the_books_own_theme(page, theme):
    chapter = REPOSITORY / "_build/html/chapters/units.html"
    if not chapter.exists():
        pytest.skip("the book is not built: make book")
    page.goto(chapter.as_uri())
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.locator(".blind button").first.click()
    assert "of 1 right" in page.locator(".blind-score").first.inner_text()
    for name in (".blind-place", ".blind-verdict", ".blind-score", ".blind button >> text=Next row"):
        text = page.locator(name).first
        levels = luminance(text.evaluate("e => getComputedStyle(e).color")), luminance(text.evaluate(GROUND))
        assert (max(levels) + 0.05) / (min(levels) + 0.05) >= 4.5, name
        assert (luminance(text.evaluate(GROUND)) < 0.2) == (theme == "dark"), name
