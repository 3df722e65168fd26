"""The built pages, a server for them and a browser: for the tests that go through them."""

import functools
import http.server
import tempfile
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import REPOSITORY
from tools.browser import FLAGS, find_browser

PHONE = {"width": 390, "height": 844}
TABLET = {"width": 768, "height": 1024}
DESKTOP = {"width": 1400, "height": 900}
TYPESET = "() => window.MathJax?.startup?.promise?.then(() => true)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def is_redirect(page: Path) -> bool:
    return 'http-equiv="Refresh"' in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["specimen", "book"])
def html(request) -> Path:
    """The small book that the tests build, and the real one if it has been built."""
    root = REPOSITORY if request.param == "book" else request.getfixturevalue("specimen")
    if not (root / "_build/html/index.html").exists():
        pytest.skip("the book is not built: make book")
    return root / "_build/html"


@pytest.fixture(scope="module")
def names(html) -> list[str]:
    """Every page of it, as its address."""
    pages = [page for page in sorted(html.rglob("*.html")) if "_static" not in page.parts and not is_redirect(page)]
    return [page.relative_to(html).as_posix() for page in pages]


@pytest.fixture(scope="module")
def server(html):
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def errors_of(page) -> list[str]:
    """What a page says in its console, or throws, from now on."""
    errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


@pytest.fixture(scope="module")
def chromium():
    """For pages that tests make; each may have a context of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser():
    """For the pages of a book, which share a profile as a reader's do."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as empty:
        options = {"headless": True, "executable_path": find_browser(), "args": FLAGS}
        context = playwright.chromium.launch_persistent_context(empty, **options)
        yield context
        context.close()
