"""Every page says what it may load and run: nothing from elsewhere, and of scripts inside the page only its own."""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape, unescape
from pathlib import Path

from sphinx.application import Sphinx

NAME = "Content-Security-Policy"
CHARSET = '<meta charset="utf-8" />'  # which has to come first
INLINE = re.compile(
    r"<script(?![^>]*\ssrc=)(?![^>]*type=\"(?:application/json|text/x-))[^>]*>(.*?)</script>", re.DOTALL
)
HANDLER = re.compile(r"\son\w+=\"([^\"]*)\"")
# Styles are written into elements by MathJax, by the theme and by our figures; the live attack's worker is a blob.
ALLOWED = {
    "default-src": "'none'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "blob:",
    "form-action": "'self'",
    "base-uri": "'none'",
}


def policy(page: str, handlers: Iterable[str]) -> str:
    """The Content-Security-Policy of a page: the scripts in its HTML, and handlers of clicks, by their sha256."""
    scripts = [*INLINE.findall(page), *handlers]
    known = " ".join(dict.fromkeys(f"'sha256-{_digest(script)}'" for script in scripts))
    directives = ALLOWED | {"script-src": f"'self' 'unsafe-hashes' {known}".strip()}
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def protect(app: Sphinx, exception: Exception | None):
    """Write its policy into every page, with the handlers of all pages: the search takes the others to pieces."""
    if exception:
        return
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(Path(app.outdir).rglob("*.html"))}
    handlers = sorted({unescape(handler) for page in pages.values() for handler in HANDLER.findall(page)})
    for path, page in pages.items():
        if CHARSET in page:  # a page that only leads to another has none
            meta = f'<meta http-equiv="{NAME}" content="{escape(policy(page, handlers))}" />'
            path.write_text(page.replace(CHARSET, f"{CHARSET}\n    {meta}", 1), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", protect)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
