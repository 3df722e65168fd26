"""Figures as a reader handles them, in headless Chromium: enlarged, wiped, by key and by touch, without scripts."""

import io
import re

import pytest
import torch
from PIL import Image

from lib.figures import wipe
from lib.figures.mosaic import data_uri
from tests.browser.conftest import PHONE, errors_of
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

STYLE = (REPOSITORY / "_static/book.css").read_text()
SCRIPTS = {name: (REPOSITORY / "_static" / name).read_text() for name in ("wipe.js", "zoom.js")}
THEME = ":root { --pst-color-border: #ccc; --pst-color-text-muted: #555; --pst-color-primary: #07a; }"
RED, BLUE = (torch.tensor(colour)[:, None, None].expand(3, 64, 64) for colour in ([1.0, 0, 0], [0, 0, 1.0]))
GREY = torch.full((3, 64, 64), 0.5)


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport=PHONE, has_touch=True, reduced_motion="reduce")
    page = context.new_page()
    errors = errors_of(page)
    yield page
    assert errors == []
    context.close()


def page_of(body: str, scripts: bool = True) -> str:
    script = "".join(f"<script>{text}</script>" for text in SCRIPTS.values()) if scripts else ""
    return (
        "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>t</title>"
        f"<style>{THEME}{STYLE}</style>{script}<article class=bd-content>{body}</article></html>"
    )


# --- Figure 5 -------------------------------------------------------------------------------------


def wiped(num: int = 2, scripts: bool = True) -> str:
    """Red originals, blue adversarial pictures, grey differences."""
    pairs = [wipe.Pair(RED, BLUE, {1: GREY, 10: GREY, 50: GREY}, f"bus {i}", "ostrich") for i in range(num)]
    return page_of(wipe.element({"a network": pairs}, ""), scripts)


def colours(page, *shares: float) -> list[str]:
    """What is seen at shares of the first picture's width, half way down."""
    shot = page.locator(".wipe figure > div").first.screenshot()
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    seen = [image.getpixel((int(share * image.width), image.height // 2)) for share in shares]
    return ["red" if r > 200 > 60 > b else "blue" if b > 200 > 60 > r else "grey" for r, _, b in seen]


def test_a_key_moves_the_line_between_the_pictures(page):
    page.set_content(wiped())
    assert colours(page, 0.1, 0.4, 0.6, 0.9) == ["red", "red", "blue", "blue"]
    page.get_by_role("slider", name="bus 0").focus()
    page.keyboard.press("End")
    assert colours(page, 0.1, 0.4, 0.6, 0.9) == ["red"] * 4
    page.keyboard.press("Home")
    assert colours(page, 0.1, 0.4, 0.6, 0.9) == ["blue"] * 4
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert colours(page, 0.1, 0.3) == ["red", "blue"]
    assert page.get_by_role("slider").first.get_attribute("aria-valuetext") == "20 % of the width is the original"
    assert page.get_by_role("slider").last.input_value() == "50", "each picture has a line of its own"


def test_a_touch_moves_the_line_where_it_is(page):
    page.set_content(wiped())
    box = page.get_by_role("slider").first.bounding_box()
    page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
    assert colours(page, 0.1, 0.7, 0.9) == ["red", "red", "blue"]


def test_buttons_show_the_difference_of_all_pictures_and_the_pictures_again(page):
    page.set_content(wiped())
    for times in (1, 10, 50):
        page.get_by_role("button", name=f"difference × {times}", exact=True).click()
        assert colours(page, 0.1, 0.9) == ["grey", "grey"]
        shown = [
            image.get_attribute("data-times") for image in page.locator("[data-times]").all() if image.is_visible()
        ]
        assert shown == [str(times)] * 2
        assert page.locator("[aria-pressed=true]").all_inner_texts() == [f"difference × {times}"]
        assert page.get_by_role("slider").count() == 0
    page.get_by_role("button", name="original | adversarial").click()
    assert colours(page, 0.1, 0.9) == ["red", "blue"]


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (720, 3)])
def test_pictures_are_at_least_224_pixels_wide_and_nothing_is_wider_than_the_page(page, width, columns):
    page.set_viewport_size({"width": width, "height": 844})
    page.set_content(wiped(num=3))
    boxes = [picture.bounding_box() for picture in page.locator(".wipe figure > div").all()]
    assert min(box["width"] for box in boxes) >= 224
    assert [box["width"] for box in boxes] == pytest.approx([box["height"] for box in boxes], abs=1)
    assert len({box["x"] for box in boxes}) == columns
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(button.bounding_box()["height"] for button in page.get_by_role("button").all()) >= 40


def test_without_scripts_the_three_pictures_stand_side_by_side(page):
    page.set_content(wiped(1, scripts=False))
    shown = [image.bounding_box() for image in page.locator(".wipe img").all() if image.is_visible()]
    assert len(shown) == 3
    assert len({box["y"] for box in shown}) == 1
    assert [box["x"] for box in shown] == sorted(box["x"] for box in shown)
    assert colours(page, 0.1, 0.5, 0.9) == ["red", "grey", "blue"]


# --- Enlarged -------------------------------------------------------------------------------------


def framed() -> str:
    """A figure as Sphinx writes it: its address has the folder of the book's figures in it."""
    wide = data_uri(torch.zeros(1, 400, 960)) + "#/_images/1.png"
    figure = f'<div class="cell_output"><figure><img src="{wide}" alt="Curves."></figure></div>'
    return page_of(f"<p>before</p>{figure}{figure}<p>after</p>")


def focused(page) -> str:
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")


def test_a_click_shows_a_figure_at_its_own_size(page):
    page.set_content(framed())
    assert page.locator(".cell_output img").first.bounding_box()["width"] <= 390
    page.get_by_role("button", name="Enlarge: Curves.").first.click()
    assert page.locator("dialog img").bounding_box()["width"] == 960
    assert page.locator("dialog").bounding_box()["width"] <= 390
    assert page.locator("dialog img").get_attribute("alt") == "Curves."
    page.get_by_role("button", name="Close").click()
    assert not page.locator("dialog").is_visible()


def test_by_key_it_opens_scrolls_and_closes_and_the_focus_returns(page):
    page.set_content(framed())
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused(page) == "Enlarge: Curves."
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    assert focused(page) == "Close"
    page.keyboard.press("Tab")
    assert focused(page) == "Curves."
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.zoom-place').scrollLeft > 0")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("[...document.querySelectorAll('.zoom-button')].indexOf(document.activeElement)") == 1


def test_nothing_moves_for_those_who_ask_for_that(page):
    page.set_content(framed())
    page.get_by_role("button", name="Enlarge").first.click()
    still = page.locator("dialog").evaluate("e => getComputedStyle(e).animationName")
    page.emulate_media(reduced_motion="no-preference")
    moving = page.locator("dialog").evaluate("e => getComputedStyle(e).animationName")
    assert (still, moving) == ("none", "zoom-in")


def test_figures_of_the_book_can_be_enlarged(page):
    chapter = REPOSITORY / "_build/html/chapters/framework.html"
    if not chapter.exists():
        pytest.skip("the book is not built: make book")
    page.goto(chapter.as_uri())
    assert page.locator(".zoom-button").count() == len(re.findall(r"<img [^>]*_images/", chapter.read_text()))
    page.locator(".zoom-button").first.click()
    assert page.locator("dialog img").evaluate("e => e.naturalWidth") > 700
