"""The built pages for those who see them otherwise, or use no pointer: axe-core finds nothing serious on any."""

from importlib.resources import files

import pytest

from tests.browser.conftest import DESKTOP, PHONE, TYPESET

pytestmark = pytest.mark.browser

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = """async rules => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame().then(frame); // what heeds the size of the window has heard of it
    const found = await axe.run({resultTypes: ['violations'], preload: false, ...(rules && {runOnly: rules})});
    return found.violations.filter(one => ['serious', 'critical'].includes(one.impact)).flatMap(one =>
        one.nodes.map(node => `${one.id}: ${node.target.join(' ')}: ${node.html.slice(0, 200)}`));
}"""
COLOURS = ["color-contrast", "link-in-text-block"]  # what depends on the theme
ROOM = ["color-contrast", "scrollable-region-focusable", "target-size"]  # what depends on the width
VIEWS = {  # theme, size, rules
    "light": ("light", DESKTOP, None),
    "dark": ("dark", DESKTOP, COLOURS),
    "phone": ("light", PHONE, ROOM),
    "phone in the dark": ("dark", PHONE, COLOURS),
}
# Colours in the dark are the dark's and room on a phone is the phone's: both at once are looked at where there is most.
BOTH, FOR_BOTH = (
    "phone in the dark",
    ("intro.html", "chapters/first.html", "chapters/units.html", "chapters/verdict.html"),
)
STOPS = 40  # of the tab key, from the top of a page; after the last the body has the focus
SEEN = """() => {
    const e = document.activeElement, style = getComputedStyle(e);
    const seen = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
    return {name: e.tagName, html: e.outerHTML.slice(0, 100), seen};
}"""
MOVING = """() => [...document.querySelectorAll('*')].filter(e => {
    const style = getComputedStyle(e);
    return style.transitionDuration !== '0s' || style.animationName !== 'none' || style.scrollBehavior !== 'auto';
}).map(e => e.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.emulate_media(reduced_motion="reduce")  # colours on their way are neither these nor those
    yield page
    page.close()


@pytest.fixture(scope="module")
def violations(names, server, page) -> dict[str, dict[str, list[str]]]:
    """What is serious, of each view, page by page."""
    found = {view: {} for view in VIEWS}
    for name in names:
        page.set_viewport_size(DESKTOP)
        page.goto(server + name)
        page.evaluate(TYPESET)
        page.evaluate(AXE)
        for view, (theme, size, rules) in VIEWS.items():
            if view == BOTH and name not in FOR_BOTH:
                continue
            page.set_viewport_size(size)
            page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            if serious := page.evaluate(RUN, rules):
                found[view][name] = serious
    return found


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_keeps_anybody_out(violations, view):
    assert violations[view] == {}


def test_where_the_keyboard_is_is_seen(names, server, page):
    page.set_viewport_size(DESKTOP)
    page.goto(server + next(name for name in names if name.startswith("chapters/")))
    stops = []
    while len(stops) < STOPS and (not stops or stops[-1]["name"] != "BODY"):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(SEEN))
    assert len(stops) > 10
    assert [stop["html"] for stop in stops if not stop["seen"] and stop["name"] != "BODY"] == []


def test_nothing_moves_where_readers_want_it_still(names, server, page):
    page.goto(server + names[0])
    assert page.evaluate(MOVING) == []
