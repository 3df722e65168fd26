"""The built pages as a reader meets them, in headless Chromium: offline, without an error, on a phone too."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tests.browser.conftest import DESKTOP, PHONE, TABLET, TYPESET, errors_of, is_redirect
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

HEAVIEST, LONGEST = 2_500_000, 1.5  # bytes of a page with all that it loads; seconds of a core until it can be used
INJECT = """() => new Promise(done => {
    const refused = [], body = document.body;
    addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective));
    body.append(Object.assign(document.createElement('script'), { textContent: 'globalThis.ran = true' }));
    body.append(Object.assign(new Image(), { src: 'http://192.0.2.1/elsewhere.png' }));
    body.insertAdjacentHTML('beforeend', '<button id="injected" onclick="globalThis.ran = true">x</button>');
    document.getElementById('injected').click();
    setTimeout(() => done([refused.sort(), globalThis.ran ?? false]), 300);
})"""
TALLEST = 9_000  # pixels of a page on a desktop
CUT = """() => [...document.querySelectorAll('.pst-scrollable-table-container')]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.querySelector('caption, th').textContent)"""
PROBE = """() => ({
    formulas: document.querySelectorAll('.math').length,
    unrendered: [...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-math')).length,
    wrong: document.querySelectorAll('mjx-merror').length,
    letters: [...new Set([...document.querySelectorAll('mjx-c')].map(e => getComputedStyle(e, '::before').fontFamily))],
    fonts: [...document.fonts].map(font => font.family),
    policy: document.querySelector('meta[http-equiv="Content-Security-Policy"]')?.content ?? '',
    stops: document.querySelectorAll('span.math[tabindex], span.math [tabindex]').length,
    images: document.querySelectorAll('article img').length,
    without_alt: [...document.querySelectorAll('article img')]
        .filter(e => !e.alt || /_images|\\.(png|svg|webp|jpe?g)$/.test(e.alt)).map(e => e.src),
    height: document.documentElement.scrollHeight,
    signs: document.querySelectorAll('.fas, .fab, .fa-solid').length,
    without_sign: [...document.querySelectorAll('.fas, .fab, .fa-solid')]
        .filter(e => !getComputedStyle(e).getPropertyValue('--icon')).map(e => e.className),
    bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .reduce((sum, entry) => sum + entry.encodedBodySize, 0),
    links: [...document.querySelectorAll('a[href]')].map(e => e.href),
    ids: [...document.querySelectorAll('[id]')].map(e => e.id),
})"""


@dataclass
class Visit:
    """What was met on one page."""

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    cut: dict[int, list[str]] = field(default_factory=dict)  # tables by the width of the window
    overflow: int = 0
    seconds: float = 0


def look_at(browser, url: str) -> Visit:
    page = browser.new_page()
    visit = Visit(errors=errors_of(page))
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("response", lambda answer: answer.status < 400 or visit.errors.append(f"{answer.status} {answer.url}"))
    page.set_viewport_size(DESKTOP)
    devtools = browser.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(url)
    page.evaluate(TYPESET)
    measured = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    visit.seconds = measured["TaskDuration"]
    visit.facts = page.evaluate(PROBE)
    for size in (DESKTOP, TABLET, PHONE):
        page.set_viewport_size(size)
        visit.cut[size["width"]] = page.evaluate(CUT)
    visit.overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.close()
    return visit


@pytest.fixture(scope="module")
def visits(names, server, browser) -> dict[str, Visit]:
    """Every page, opened once."""
    return {name: look_at(browser, server + name) for name in names}


def test_the_index_leads_to_a_page(html):
    assert not is_redirect(html / "index.html") or (html / "intro.html").exists()


def test_no_page_asks_anything_of_another_host(visits, server):
    own = (server, "data:", "blob:", "about:")
    outside = {name: [url for url in visit.requests if not url.startswith(own)] for name, visit in visits.items()}
    assert not any(outside.values()), outside


def test_every_page_says_what_it_may_load_and_run(visits):
    policies = {name: visit.facts["policy"] for name, visit in visits.items()}
    assert all("default-src 'none'" in policy and "'sha256-" in policy for policy in policies.values()), policies
    scripts = {name: policy.partition("script-src ")[2].partition(";")[0] for name, policy in policies.items()}
    assert not any("unsafe-inline" in each or "unsafe-eval" in each for each in scripts.values())


def test_what_somebody_puts_into_a_page_is_neither_run_nor_fetched(browser, server, names):
    for name in names[:2]:
        page = browser.new_page()
        page.goto(server + name)
        assert page.evaluate(INJECT) == [["img-src", "script-src-attr", "script-src-elem"], False]
        page.close()


def test_nothing_names_a_folder_of_the_machine_that_built_it(html):
    if html.parents[1] != REPOSITORY:
        pytest.skip("the small book shows its interpreter")
    folders = {str(folder) for folder in (REPOSITORY, Path.home(), sys.prefix)} - {"/"}
    texts = [path for path in html.rglob("*") if path.suffix in (".html", ".js", ".json", ".ipynb", ".py", ".xml")]
    named = {
        (path.name, folder) for path in texts for folder in folders if f"{folder}/" in path.read_text(encoding="utf-8")
    }
    assert len(texts) > 10
    assert named == set()


def test_no_page_logs_an_error(visits):
    errors = {name: visit.errors for name, visit in visits.items() if visit.errors}
    assert not errors


def test_formulas_are_rendered(visits):
    assert sum(visit.facts["formulas"] for visit in visits.values()) > 0
    failed = {name: visit.facts for name, visit in visits.items() if visit.facts["unrendered"] or visit.facts["wrong"]}
    assert not failed


def test_formulas_are_set_in_the_fonts_that_are_there(visits):
    """What a font that is missing from fonts.css would show is any letter of any font."""
    used = {
        (name, font) for name, visit in visits.items() for each in visit.facts["letters"] for font in each.split(", ")
    }
    assert used
    assert {(name, font) for name, font in used if font not in visits[name].facts["fonts"]} == set()


def test_formulas_in_the_text_are_no_stops_of_the_tab_key(visits):
    assert {name: visit.facts["stops"] for name, visit in visits.items() if visit.facts["stops"]} == {}


def test_only_pages_with_formulas_load_what_sets_them(visits):
    loads = {name: any("mathjax" in url for url in visit.requests) for name, visit in visits.items()}
    assert loads == {name: visit.facts["formulas"] > 0 for name, visit in visits.items()}


def test_every_icon_is_there_and_none_asks_for_the_themes_fonts(visits):
    assert sum(visit.facts["signs"] for visit in visits.values()) > 0
    without = {name: visit.facts["without_sign"] for name, visit in visits.items() if visit.facts["without_sign"]}
    assert without == {}, "add them to _static/icons.css"
    assert [(name, url) for name, visit in visits.items() for url in visit.requests if "fontawesome" in url] == []


def test_no_page_is_heavy(visits):
    assert {name: visit.facts["bytes"] for name, visit in visits.items() if visit.facts["bytes"] > HEAVIEST} == {}


def test_every_page_can_be_used_at_once(visits):
    """Seconds of the thread that answers clicks and keys, until formulas are set: a busy machine has the same."""
    assert {name: visit.seconds for name, visit in visits.items() if visit.seconds > LONGEST} == {}


def test_no_page_is_endless(visits):
    tall = {name: visit.facts["height"] for name, visit in visits.items() if visit.facts["height"] > TALLEST}
    assert not tall


def test_the_rest_of_a_section_is_folded_where_it_says_so(browser, server, names):
    if "chapters/second.html" not in names:
        pytest.skip("the small book has such a section")
    page = browser.new_page()
    page.goto(server + "chapters/second.html")
    rest, cell = page.get_by_text("What is folded."), page.get_by_text("and a cell of it").last
    assert page.get_by_role("heading", name="What few ask for").is_visible()
    assert page.get_by_text("The beginning of a section.").is_visible()
    assert page.get_by_text("This is not folded.").is_visible()
    assert not rest.is_visible()
    assert not cell.is_visible()
    page.get_by_text("The rest, for those who ask").click()
    assert rest.is_visible()
    assert cell.is_visible()
    page.close()


def test_images_have_alternative_text(visits):
    assert sum(visit.facts["images"] for visit in visits.values()) > 0
    without = {name: visit.facts["without_alt"] for name, visit in visits.items() if visit.facts["without_alt"]}
    assert not without


def test_nothing_is_wider_than_a_phone(visits):
    wide = {name: f"{visit.overflow} px" for name, visit in visits.items() if visit.overflow > 0}
    assert not wide


def test_no_table_is_cut(visits):
    cut = {name: visit.cut for name, visit in visits.items() if any(visit.cut.values())}
    assert not cut


def leads_nowhere(link: str, html: Path, visits: dict[str, Visit]) -> bool:
    """A link inside the book to a file that is not there, or to a place that its page does not have."""
    path, fragment = map(unquote, urldefrag(link))
    path = path.partition("?")[0] or "index.html"
    return not (html / path).exists() or bool(fragment and path in visits and fragment not in visits[path].facts["ids"])


def test_links_inside_the_book_lead_somewhere(visits, html, server):
    links = {
        (name, link.removeprefix(server))
        for name, visit in visits.items()
        for link in visit.facts["links"]
        if link.startswith(server)
    }
    assert links
    assert not [(name, link) for name, link in links if leads_nowhere(link, html, visits)]
