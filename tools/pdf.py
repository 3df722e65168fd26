"""Prints the built book as one PDF, in the order of its contents: `python -m tools.pdf`, in the repository root.

Chromium puts what all pages say into one document (pdf.js) and prints it. So links from chapter to chapter lead from
page to page of the PDF, and the headings are its outline.
"""

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tools.browser import BROWSERS, FLAGS, find_browser
from tools.build import BUILD, HTML, listed_pages

SHELL = "genindex.html"  # a page of the theme's with next to nothing on it
TARGET = BUILD / "book.pdf"
WIDTH, MARGIN = 210, 16  # millimetres, of A4
PIXELS = 96 / 25.4  # of CSS, a millimetre
FOOTER = '<p style="width: 100%; font: 8px sans-serif; text-align: center"><span class="pageNumber"></span></p>'


def book_pages() -> list[str]:
    """The book's pages in reading order, as their addresses in it."""
    return [f"{page}.html" for page in listed_pages()]


def blank(browser: Browser) -> Page:
    """A page that runs our scripts among a book's, whatever its policy says."""
    return browser.new_page(bypass_csp=True)


def assemble(page: Page, html: Path, names: Sequence[str]) -> None:
    """All these pages of a built book in one document, laid out for paper."""
    page.set_viewport_size({"width": round(PIXELS * (WIDTH - 2 * MARGIN)), "height": 1000})
    page.emulate_media(media="print", color_scheme="light")
    page.goto((html / SHELL).as_uri())
    page.add_script_tag(path=Path(__file__).with_suffix(".js"))
    texts = [[name, (html / name).read_text(encoding="utf-8")] for name in names]
    page.evaluate("texts => assemble(texts)", texts)
    page.add_script_tag(url=(html / "mathematics.js").as_uri())
    page.evaluate("() => laidOut()")


def write(page: Page, target: Path) -> None:
    margin = dict.fromkeys(("top", "right", "bottom", "left"), f"{MARGIN}mm")
    paper = {"format": "A4", "margin": margin, "print_background": True}
    footer = {"display_header_footer": True, "header_template": "<p></p>", "footer_template": FOOTER}
    page.pdf(path=target, outline=True, tagged=True, **paper, **footer)


def main() -> None:
    if not find_browser():
        raise SystemExit(f"The PDF is printed by a browser, and none of {', '.join(BROWSERS)} is installed.")
    if not (HTML / SHELL).exists():
        raise SystemExit("There is no built book to print: make book")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = blank(browser)
        assemble(page, HTML.resolve(), book_pages())
        write(page, TARGET)
        browser.close()
    print(f"The book is printed: {TARGET.resolve()}")


if __name__ == "__main__":
    main()
