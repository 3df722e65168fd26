"""The live attack as a reader meets it, in headless Chromium: with a pointer, by key, on a phone, without scripts."""

import json
import shutil

import pytest
import torch

from lib.attacks import penalized
from lib.experiments import live
from lib.record import ledger
from tests.browser.conftest import PHONE, errors_of
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (ledger.RESULTS / live.FILE).exists(), reason="no networks are recorded: make book"),
]

LISTEN = """() => { addEventListener("live-attack", ({detail}) => {
    globalThis.last = {...detail, image: [...detail.image]}; globalThis.told = (globalThis.told ?? 0) + 1;
}, true); }"""
LINEAR, DEEP = "softmax 1e-2", "100-100-10"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """A page with nothing but the live attack on the recorded networks, and its files beside it."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(REPOSITORY / "_extra/live", folder / "live")
    shutil.copytree(REPOSITORY / "_static", folder / "_static")
    (folder / "live/networks.js").write_text(live.script(), encoding="utf-8")
    (folder / "index.html").write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>t</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<link rel=stylesheet href=_static/book.css><article class=bd-article>{live.element('')}</article></html>",
        encoding="utf-8",
    )
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(chromium, address):
    page = chromium.new_page(viewport=PHONE)
    errors = errors_of(page)
    page.on("request", lambda request: request.url.startswith(("file:", "blob:")) or errors.append(request.url))
    page.add_init_script(f"({LISTEN})()")
    page.goto(address)
    attacked(page)
    yield page
    assert errors == []
    page.close()


def attacked(page, before: int = 0) -> dict:
    """What the last attack found, once more than `before` have ended."""
    page.wait_for_function("before => globalThis.told > before", arg=before)
    return page.evaluate("globalThis.last")


def after(page, act) -> dict:
    """What the attack found that `act` started."""
    told = page.evaluate("globalThis.told ?? 0")
    act()
    return attacked(page, told)


def status(page) -> str:
    return page.inner_text(".live-status")


def said(page) -> str:
    return page.locator(".live-said > span").first.inner_text()


def slide(page, name: str, value: float) -> None:
    page.locator(f"input[aria-label^={name}]").fill(str(value))


@pytest.mark.parametrize("name", [LINEAR, DEEP])
def test_it_finds_what_pythons_attack_finds(page, name):
    networks = live.networks((ledger.RESULTS / live.FILE).read_text(encoding="utf-8"))
    shown = live.digits(list(networks.values()))
    network, inputs = networks[name].double(), (255 * shown.inputs).round().double() / 255
    if name != DEEP:
        after(page, lambda: page.get_by_role("combobox").select_option(name))
    found = []
    for digit in range(3):
        after(page, lambda digit=digit: page.get_by_role("button", name=f"digit {digit}").click())
        found.append(after(page, lambda: page.get_by_role("group", name="shall say").get_by_text("7").click()))
    expected = penalized.find_adversarial(network, inputs[:3], torch.full((3,), 7))
    assert all(one["success"] and one["name"] == name and one["target"] == 7 for one in found)
    distances = (torch.tensor([one["image"] for one in found], dtype=torch.float64) - inputs[:3]).norm(dim=1)
    torch.testing.assert_close(distances / 28, expected.distortion, rtol=1e-3, atol=0)
    with torch.no_grad():
        images = torch.tensor([one["image"] for one in found], dtype=torch.float64)
        assert network(images).argmax(dim=1).tolist() == [7, 7, 7]


def test_the_page_says_what_was_found_and_what_all_networks_make_of_it(page):
    found = after(page, lambda: page.get_by_role("group", name="shall say").get_by_text("3").click())
    assert "100-100-10 says 3." in status(page)
    assert said(page) == "3"
    distance = torch.tensor(found["image"]) - torch.tensor(shown_digit())
    assert f"distortion of {distance.norm() / 28:.4f}" in status(page)
    rows = page.locator(".live-others tr")
    assert rows.count() == len(json.loads((ledger.RESULTS / live.FILE).read_text(encoding="utf-8")))
    assert "3, and 0 before" in rows.filter(has_text="100-100-10").last.inner_text()


def shown_digit() -> list[float]:
    """The digit that is there at the start."""
    networks = live.networks((ledger.RESULTS / live.FILE).read_text(encoding="utf-8"))
    return (live.digits(list(networks.values())).inputs[0] * 255).round().div(255).tolist()


def test_no_length_is_the_digit_and_a_random_direction_changes_nothing_of_what_it_says(page):
    after(page, lambda: page.get_by_role("group", name="shall say").get_by_text("3").click())
    length = status(page).split("distortion of ")[1][:6]
    page.get_by_role("button", name="in a random direction").click()
    assert page.get_by_role("button", name="in a random direction").get_attribute("aria-pressed") == "true"
    assert said(page) == "0"
    assert status(page).split("distortion of ")[1][:6] == length
    slide(page, "Length", 1.5)
    assert float(status(page).split("distortion of ")[1][:6]) > 1.2 * float(length)
    assert said(page) == "0"
    page.get_by_role("button", name="in a random direction").click()
    slide(page, "Length", 0)
    assert said(page) == "0"
    assert "distortion of 0.0000" in status(page)
    slide(page, "Length", 1.5)
    assert said(page) == "3"


def test_the_price_decides_between_short_and_successful(page):
    after(page, lambda: page.get_by_role("group", name="shall say").get_by_text("3").click())
    lengths = {}
    for price in (-1, 1):
        before = status(page)
        slide(page, "Price", price)
        page.wait_for_function("b => document.querySelector('.live-status').textContent !== b", arg=before)
        lengths[price] = float(status(page).split("distortion of ")[1][:6]), said(page)
    (cheap, won), (dear, lost) = lengths[-1], lengths[1]
    assert cheap > dear
    assert (won, lost) == ("3", "0")


def ink(page) -> float:
    """How much of the pad is drawn upon, 0 to 1."""
    return page.evaluate("""() => {
        const pad = document.querySelector('.live-pad');
        const levels = pad.getContext('2d').getImageData(0, 0, pad.width, pad.height).data;
        const sum = levels.filter((_, i) => i % 4 === 0).reduce((sum, level) => sum + level, 0);
        return sum / 255 / pad.width / pad.height;
    }""")


def test_a_digit_can_be_drawn_with_the_pointer(page):
    pad = page.locator(".live-pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()

    def draw():
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.8 * box["height"], steps=20)
        page.mouse.up()

    found = after(page, draw)
    assert 0.02 < ink(page) < 0.2
    assert found["success"]
    assert page.locator(".live-digit[aria-pressed=true]").count() == 0
    page.get_by_role("button", name="Clear").click()
    assert ink(page) == 0


def test_a_digit_can_be_drawn_by_key(page):
    page.locator(".live-pad").focus()
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    for _ in range(18):
        page.keyboard.press("Shift+ArrowDown")
    found = after(page, lambda: page.keyboard.press("Enter"))
    assert 0.02 < ink(page) < 0.2
    assert found["success"]


def test_it_fits_a_phone_and_a_thumb(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for button in page.locator(".live-targets button, .live-digit").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, target size


def test_without_scripts_there_is_the_still_picture(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.get_by_role("img", name=live.WORDS).bounding_box()["width"] > 100
    context.close()


def test_it_stands_on_the_books_first_page(chromium):
    built = REPOSITORY / "_build/html/intro.html"
    if not built.exists():
        pytest.skip("the book is not built: make book")
    page = chromium.new_page()
    page.goto(built.as_uri())
    page.locator(".live").scroll_into_view_if_needed()
    page.wait_for_selector(".live-said")
    assert "says" in status(page)
    page.close()
