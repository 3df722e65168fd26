"""tools/pdf.py: the whole book on paper, in order, with nothing cut and no link that leads nowhere."""

import re

import pytest
from playwright.sync_api import sync_playwright

from tools import pdf
from tools.browser import FLAGS, find_browser

pytestmark = pytest.mark.browser

NAMES = ["intro.html", "chapters/first.html", "chapters/second.html"]
LINKS = "[...document.querySelectorAll('article a[href]')].map(link => link.getAttribute('href'))"
CUT = """[...document.querySelectorAll('article :is(table, pre, mjx-container[display], img)')]
    .filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)
    .map(e => e.outerHTML)"""


@pytest.fixture(scope="module")
def page(specimen):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = pdf.blank(browser)
        pdf.assemble(page, specimen / "_build/html", NAMES)
        yield page
        browser.close()


def test_the_pages_are_those_of_the_table_of_contents(specimen, monkeypatch):
    monkeypatch.chdir(specimen)
    assert pdf.book_pages() == NAMES


def test_all_pages_stand_one_below_the_other_in_order(page):
    titles = page.evaluate("[...document.querySelectorAll('article h1')].map(e => e.firstChild.textContent)")
    assert titles == ["A specimen book", "First chapter", "Second chapter"]
    heights = page.evaluate("[...document.querySelectorAll('article h1')].map(e => e.getBoundingClientRect().height)")
    assert all(heights)  # the theme prints a title of its own in their place
    assert page.title() == titles[0]


def test_links_lead_to_places_in_the_document_or_to_the_web(page):
    links = page.evaluate(LINKS)
    places = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
    inside = [link for link in links if link.startswith("#")]
    assert "#chapters-first--fig-parabola" in inside
    assert "#chapters-first--" in inside
    assert [link for link in inside if link[1:] not in places] == []
    assert [link for link in links if not link.startswith(("#", "https://"))] == []


def test_nothing_is_folded_and_nothing_is_cut(page):
    assert page.evaluate("document.querySelectorAll('article details:not([open])').length") == 0
    assert page.evaluate("document.querySelectorAll('article .math').length") == 2
    assert page.evaluate("document.querySelectorAll('article .math mjx-math').length") == 2
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.evaluate(CUT) == []


def test_what_is_for_the_screen_only_is_not_printed(page):
    for part in (".bd-sidebar-primary", ".bd-header-article", ".headerlink", ".copybtn"):
        assert page.evaluate(f"[...document.querySelectorAll('{part}')].every(e => !e.getClientRects().length)"), part


def test_every_chapter_begins_a_page_of_the_pdf(page, tmp_path):
    pdf.write(page, tmp_path / "book.pdf")
    content = (tmp_path / "book.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) >= len(NAMES)
    assert b"/Outlines" in content


def test_without_a_built_book_there_is_nothing_to_print(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="make book"):
        pdf.main()
