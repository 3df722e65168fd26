"""The page of verdicts: which claims are shown and in which order, and links that open what they lead to."""

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

KINDS = ("partly", "reproduced", "not-recorded", "reproduced", "not-reproduced")
BOXES = "".join(
    f'<details id="claim-{number}" class="sd-dropdown verdict verdict-{kind}"><summary>{number}</summary>Why</details>'
    for number, kind in enumerate(KINDS)
)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    page = tmp_path_factory.mktemp("page") / "verdict.html"
    script = (REPOSITORY / "_static/verdicts.js").read_text(encoding="utf-8")
    page.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title><script>{script}</script>"
        f"<article><p>Before</p>{BOXES}<p>After</p></article></html>",
        encoding="utf-8",
    )
    return page.as_uri()


@pytest.fixture
def page(chromium, address):
    page = chromium.new_page()
    page.goto(address)
    yield page
    page.close()


def shown(page) -> list[str]:
    return [box.locator("summary").inner_text() for box in page.locator("details").all() if box.is_visible()]


def pressed(page) -> list[str]:
    return page.locator(".verdict-controls [aria-pressed=true]").all_inner_texts()


def test_all_are_shown_in_the_papers_order_until_a_reader_chooses_one_kind(page):
    assert (shown(page), pressed(page)) == (["0", "1", "2", "3", "4"], [])
    page.get_by_role("button", name="not recorded (1)").click()
    assert (shown(page), pressed(page)) == (["2"], ["not recorded (1)"])
    page.get_by_role("button", name="reproduced (2)", exact=True).press("Enter")
    assert (shown(page), pressed(page)) == (["1", "3"], ["reproduced (2)"])
    page.get_by_role("button", name="reproduced (2)", exact=True).click()
    assert (shown(page), pressed(page)) == (["0", "1", "2", "3", "4"], [])


def test_they_can_be_ordered_by_verdict_and_back_between_what_stands_around_them(page):
    page.get_by_role("combobox").select_option("by verdict")
    assert shown(page) == ["1", "3", "0", "4", "2"]
    around = page.locator("article > *").evaluate_all("found => found.map(e => e.textContent)")
    assert (around[0], around[-1]) == ("Before", "After")
    page.get_by_role("combobox").select_option("the paper's")
    assert shown(page) == ["0", "1", "2", "3", "4"]


def test_the_few_of_a_chapter_which_have_no_names_need_no_buttons(page):
    page.evaluate("document.querySelectorAll('details').forEach(box => box.removeAttribute('id'))")
    page.evaluate("document.querySelector('.verdict-controls').remove()")
    page.evaluate("dispatchEvent(new Event('DOMContentLoaded'))")
    assert page.get_by_role("button").count() == 0


def test_a_link_to_a_claim_opens_it_even_where_it_was_hidden(page, address):
    page.get_by_role("button", name="partly (1)").click()
    page.evaluate("location.hash = '#claim-4'")
    page.wait_for_function("document.getElementById('claim-4').open")
    assert "4" in shown(page)
    page.goto("about:blank")
    page.goto(f"{address}#claim-2")
    page.wait_for_function("document.getElementById('claim-2').open")


def test_every_mark_of_the_first_page_leads_to_a_claim_that_opens(chromium):
    html = REPOSITORY / "_build/html"
    if not (html / "intro.html").exists():
        pytest.skip("the book is not built: make book")
    page = chromium.new_page()
    page.goto((html / "intro.html").as_uri())
    links = page.locator(".claims-strip a").evaluate_all("links => links.map(link => link.href)")
    page.goto(links[-1])
    page.wait_for_selector("details.verdict[open]")
    assert page.locator("details.verdict").count() == len(links)
    assert page.locator("details.verdict[open]").count() == 1
    page.close()
