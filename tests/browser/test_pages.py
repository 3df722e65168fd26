"""The built pages as a reader meets them, in headless Chromium: offline, without an error, on a phone too."""

import functools
import http.server
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import REPOSITORY, find_browser

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
TABLET = {"width": 768, "height": 1024}
DESKTOP = {"width": 1400, "height": 900}
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
CUT = """() => [...document.querySelectorAll('.pst-scrollable-table-container')]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.querySelector('caption, th').textContent)"""
TYPESET = "() => window.MathJax?.startup?.promise?.then(() => true)"
PROBE = """() => ({
    formulas: document.querySelectorAll('.math').length,
    unrendered: [...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container svg')).length,
    wrong: document.querySelectorAll('mjx-merror').length,
    images: document.querySelectorAll('article img').length,
    without_alt: [...document.querySelectorAll('article img')]
        .filter(e => !e.alt || /_images|\\.(png|svg|jpe?g)$/.test(e.alt)).map(e => e.src),
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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module", params=["specimen", "book"])
def html(request) -> Path:
    """The small book that the tests build, and the real one if it has been built."""
    root = REPOSITORY if request.param == "book" else request.getfixturevalue("specimen")
    if not (root / "_build/html/index.html").exists():
        pytest.skip("the book is not built: make book")
    return root / "_build/html"


@pytest.fixture(scope="module")
def server(html):
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as empty:
        options = {"headless": True, "executable_path": find_browser(), "args": FLAGS}
        context = playwright.chromium.launch_persistent_context(empty, **options)
        yield context
        context.close()


def is_redirect(page: Path) -> bool:
    return 'http-equiv="Refresh"' in page.read_text(encoding="utf-8")


def look_at(browser, url: str) -> Visit:
    visit, page = Visit(), browser.new_page()
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("response", lambda answer: answer.status < 400 or visit.errors.append(f"{answer.status} {answer.url}"))
    page.on("console", lambda message: message.type == "error" and visit.errors.append(message.text))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.set_viewport_size(DESKTOP)
    page.goto(url)
    page.evaluate(TYPESET)
    visit.facts = page.evaluate(PROBE)
    for size in (DESKTOP, TABLET, PHONE):
        page.set_viewport_size(size)
        visit.cut[size["width"]] = page.evaluate(CUT)
    visit.overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.close()
    return visit


@pytest.fixture(scope="module")
def visits(html, server, browser) -> dict[str, Visit]:
    """Every page, opened once."""
    pages = [page for page in sorted(html.rglob("*.html")) if "_static" not in page.parts and not is_redirect(page)]
    return {name: look_at(browser, server + name) for name in (page.relative_to(html).as_posix() for page in pages)}


def test_the_index_leads_to_a_page(html):
    assert not is_redirect(html / "index.html") or (html / "intro.html").exists()


def test_no_page_asks_anything_of_another_host(visits, server):
    own = (server, "data:", "blob:", "about:")
    outside = {name: [url for url in visit.requests if not url.startswith(own)] for name, visit in visits.items()}
    assert not any(outside.values()), outside


def test_no_page_logs_an_error(visits):
    errors = {name: visit.errors for name, visit in visits.items() if visit.errors}
    assert not errors


def test_formulas_are_rendered(visits):
    assert sum(visit.facts["formulas"] for visit in visits.values()) > 0
    failed = {name: visit.facts for name, visit in visits.items() if visit.facts["unrendered"] or visit.facts["wrong"]}
    assert not failed


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
