"""Which browser shows the built pages, and how it is started: for tools/pdf.py and the tests."""

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)
