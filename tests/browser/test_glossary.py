"""What a term means, beside its link, in headless Chromium: by pointer, key and thumb, and without scripts."""

import json

import pytest

from tests.browser import conftest
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

MEANING = "By how much one class is ahead of the others."
STYLE = (REPOSITORY / "_static/book.css").read_text()
SCRIPT = (REPOSITORY / "_static/glossary.js").read_text()
THEME = ":root { --pst-color-text-muted: #555; --pst-color-background: #fff; --pst-color-text-base: #111; }"
BODY = f"""<!doctype html><html lang=en><meta name=viewport content="width=device-width"><title>t</title>
<style>{THEME}{STYLE}</style><article class=bd-content style="padding: 100px 10px 2000px">
<p>The target has <a class="reference internal" href="#term-lead"><span class="xref std std-term">a lead</span></a>.
<p id=term-lead>lead</p></article>
<script type="application/json" id="definitions">{json.dumps({"term-lead": MEANING})}</script>"""  # as Sphinx writes it
PHONE = {"viewport": conftest.PHONE, "has_touch": True, "is_mobile": True}


@pytest.fixture
def opened(chromium):
    """A page that uses a term, in a context with these options; `link` is the term, `words` what it means."""
    contexts = []

    def opened(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_content(f"<script>{SCRIPT}</script>{BODY}")
        page.link, page.words = page.get_by_role("link", name="a lead"), page.locator("#definition")
        return page

    yield opened
    for context in contexts:
        context.close()


def test_the_pointer_shows_it_and_may_move_onto_it(opened):
    page = opened()
    assert not page.words.is_visible()
    page.link.hover()
    assert page.words.inner_text() == MEANING
    page.words.hover()
    assert page.words.is_visible()
    page.mouse.move(0, 0)
    assert not page.words.is_visible()


def test_the_keyboard_shows_it_and_escape_hides_it(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.words.is_visible()
    assert page.link.get_attribute("aria-describedby") == "definition"
    page.keyboard.press("Escape")
    assert not page.words.is_visible()
    assert page.link.get_attribute("aria-describedby") is None
    assert page.link.evaluate("link => link === document.activeElement")


def test_the_first_tap_shows_it_and_the_second_follows_the_link(opened):
    page = opened(**PHONE)
    page.link.tap()
    assert page.words.is_visible()
    assert page.evaluate("location.hash") == ""
    place = page.words.bounding_box()
    assert place["x"] >= 0
    assert place["x"] + place["width"] <= 390
    page.link.tap()
    assert page.evaluate("location.hash") == "#term-lead"


def test_a_tap_elsewhere_hides_it(opened):
    page = opened(**PHONE)
    page.link.tap()
    page.touchscreen.tap(380, 800)
    assert not page.words.is_visible()


def test_without_scripts_it_is_a_link(opened):
    page = opened(java_script_enabled=False)
    page.link.click()
    assert page.url.endswith("#term-lead")
