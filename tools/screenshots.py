"""Takes the README's pictures of the built book, in both themes: `python -m tools.screenshots`.

It has to be one of `make book DATA=digits`: a book on MNIST shows pictures that are not ours to give away.
"""

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tools.browser import FLAGS, find_browser
from tools.build import HTML

FIRST, CHAPTER = "intro.html", "chapters/formal_attack.html"
FOLDER = Path(".github/pictures")
THEMES = ("light", "dark")
VIEW, CHAPTER_VIEW = {"width": 1200, "height": 800}, {"width": 1200, "height": 1500}
OURS = "Built on the embedded digits, not on MNIST"  # what a chapter says that shows nobody else's pictures
FOUND = "() => /\\d/.test(document.querySelector('.live-status')?.textContent)"


def landing(page: Page) -> bytes:
    page.goto((HTML.resolve() / FIRST).as_uri())
    page.wait_for_function(FOUND)
    return page.screenshot()


def live_attack(page: Page) -> bytes:
    """After a reader's own choice: a digit and what it shall say."""
    page.goto((HTML.resolve() / FIRST).as_uri())
    page.wait_for_function(FOUND)
    page.get_by_role("button", name="digit 3").click()
    page.get_by_role("group", name="shall say").get_by_text("8").click()
    page.wait_for_function("() => /says 8/.test(document.querySelector('.live-status').textContent)")
    return page.locator(".live").screenshot()


def chapter(page: Page) -> bytes:
    page.set_viewport_size(CHAPTER_VIEW)
    page.goto((HTML.resolve() / CHAPTER).as_uri())
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")
    return page.screenshot()


SHOTS: dict[str, Callable[[Page], bytes]] = {"landing": landing, "live-attack": live_attack, "chapter": chapter}


def main() -> None:
    if not (HTML / CHAPTER).exists() or OURS not in (HTML / CHAPTER).read_text(encoding="utf-8"):
        raise SystemExit("There is no book of embedded digits to show: make book DATA=digits")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for theme in THEMES:
            page = browser.new_page(viewport=VIEW, color_scheme=theme)
            for name, take in SHOTS.items():
                Image.open(io.BytesIO(take(page))).save(FOLDER / f"{name}-{theme}.webp", quality=80, method=6)
        browser.close()
    print(f"{len(SHOTS) * len(THEMES)} pictures are in {FOLDER}/")


if __name__ == "__main__":
    main()
