"""Tables as a reader uses them, in headless Chromium: sorted, saved, scrolled by key, on a phone, without scripts."""

import csv

import docutils.core
import pytest
from myst_parser.docutils_ import Parser

from lib.measures.intervals import Estimate
from lib.record import markdown
from lib.record.tables import Table
from tests.browser.conftest import DESKTOP, PHONE, errors_of
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

STYLE = (REPOSITORY / "_static/book.css").read_text()
SCRIPT = (REPOSITORY / "_static/tables.js").read_text()
THEME = """
:root { --pst-color-border: #ccc; --pst-color-text-muted: #555; --pst-color-text-base: #111;
        --pst-color-primary: #07a; }
article { max-width: 700px; margin: auto; }
.table { border-collapse: collapse; width: fit-content; margin: auto; }
.text-nowrap { white-space: nowrap; }
"""  # what the real theme gives

LINES = [  # numbers in all their forms, each in another line than its size would have it
    ["b", "1.2·10<sup>3</sup>", "x, y"],
    ["a", "–", 'said "so"'],
    ["d", "9.5", "–"],
    ["c", "1,100", "2"],
    ["e", "not recorded", "10"],
    ["f", "-0.25", "2"],
]
MIXED = markdown.table(["name", "size", "words"], LINES, "All kinds of cells.", "tab-mixed")
ONE, FEW = Estimate(1.0, 0.9, 1.1, 60_000), Estimate(1.0, 0.8, 1.3, 5)


def paper_and_ours(num_columns: int) -> str:
    """A table with a row that the paper has, in the range of five seeds, and one that it has not."""
    columns = [f"error {i} (%)" for i in range(num_columns)]
    cells = {(row, column): ONE for row in ("softmax 1e-4", "100-100-10") for column in columns}
    digits = {("softmax 1e-4", column): "1.2" for column in columns}
    seeds = dict.fromkeys(digits, FEW)
    return Table("t", cells, cells, seeds, digits).show(columns, caption="Errors.", name=f"tab-{num_columns}")


def rendered(text: str) -> str:
    """The MyST of a page as HTML, its tables in the boxes that the theme puts them in."""
    text = text.replace(":::{dropdown}", ":::{admonition}")  # Sphinx's alone
    settings = {"myst_enable_extensions": ["colon_fence"], "report_level": 5}
    html = docutils.core.publish_parts(text, parser=Parser(), writer_name="html5", settings_overrides=settings)["body"]
    html = html.replace("<table", '<div class="pst-scrollable-table-container"><table class="table"')
    return html.replace("</table>", "</table></div>")


def page_of(*texts: str, scripts: bool = True) -> str:
    script = f"<script>{SCRIPT}</script>" if scripts else ""
    body = "".join(map(rendered, texts))
    return (
        "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>t</title>"
        f"<style>{THEME}{STYLE}</style>{script}<article class=bd-article>{body}</article></html>"
    )


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport=DESKTOP)
    errors = errors_of(page)
    yield page
    assert errors == []
    page.close()


def column(page, number: int = 1, table: str = "tab-mixed") -> list[str]:
    return page.locator(f"#{table} tbody td:nth-child({number})").all_inner_texts()


def head(page, name: str):
    return page.locator("th", has_text=name)


# --- Sorting --------------------------------------------------------------------------------------


def test_a_click_sorts_numbers_as_numbers_and_what_is_missing_last(page):
    page.set_content(page_of(MIXED))
    orders = []
    for direction in ("ascending", "descending", None):
        page.get_by_role("button", name="size").click()
        assert head(page, "size").get_attribute("aria-sort") == direction
        orders.append("".join(column(page)))
    assert orders == ["fdcbae", "bcdfae", "badcef"]  # at last as it was printed


def test_words_are_sorted_as_words_and_equal_ones_keep_their_order(page):
    page.set_content(page_of(MIXED))
    orders = []
    for _ in range(2):
        page.get_by_role("button", name="words").click()
        orders.append("".join(column(page)))
    assert orders == ["cfeabd", "baecfd"]


def test_only_one_column_says_that_the_table_is_sorted_by_it(page):
    page.set_content(page_of(MIXED))
    for name in ("size", "name"):
        page.get_by_role("button", name=name).click()
    assert page.locator("th[aria-sort]").all_inner_texts() == ["name"]
    assert "".join(column(page)) == "abcdef"


def test_keys_alone_sort_and_keep_their_place(page):
    page.set_content(page_of(MIXED))
    while page.evaluate("document.activeElement.textContent") != "size":
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    assert "".join(column(page)) == "fdcbae"
    assert page.evaluate("document.activeElement.textContent") == "size"


# --- CSV ------------------------------------------------------------------------------------------


def saved(page, table: str) -> list[list[str]]:
    """The lines of the file that a reader gets, whose name is the table's."""
    with page.expect_download() as download:
        page.locator(f"#{table}").get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == f"{table}.csv"
    with open(download.value.path(), encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_saved_table_has_plain_numbers_and_whole_words(page):
    page.set_content(page_of(MIXED))
    page.get_by_role("button", name="size").click()
    assert saved(page, "tab-mixed") == [
        ["name", "size", "words"],
        ["f", "-0.25", "2"],
        ["d", "9.5", ""],
        ["c", "1100", "2"],
        ["b", "1.2e3", "x, y"],
        ["a", "", 'said "so"'],
        ["e", "not recorded", "10"],
    ]


def test_each_number_of_a_stacked_cell_has_a_column_of_its_own(page):
    page.set_content(page_of(paper_and_ours(3)))
    heads, first, second = saved(page, "tab-3")
    assert heads[:6] == [
        "network",
        "error 0 (%)",
        "error 0 (%), paper",
        "error 0 (%), difference (points)",
        "error 0 (%), in the range of the seeds",
        "error 1 (%)",
    ]
    assert first == ["softmax 1e-4", *["1.00", "1.2", "-0.2", "≈"] * 3]
    assert second == ["100-100-10", *["1.00", "", "", ""] * 3]


def test_the_mark_stands_beside_the_difference_and_not_in_it(page):
    page.set_content(page_of(paper_and_ours(1)))
    heads, first, _ = saved(page, "tab-1")
    assert heads[-2:] == [
        "error 0 (%) difference (points)",
        "error 0 (%) difference (points), in the range of the seeds",
    ]
    assert first == ["softmax 1e-4", "1.2", "1.00", "-0.2", "≈"]


# --- Boxes that scroll ----------------------------------------------------------------------------


def test_a_box_that_scrolls_can_be_reached_has_a_name_and_shows_where_it_is_cut(page):
    heads = [f"column{i}" for i in range(12)]
    page.set_content(page_of(markdown.table(heads, [heads], "Twelve columns.", "tab-twelve"), MIXED))
    box = page.get_by_role("region", name="Twelve columns.")
    assert box.count() == 1
    assert page.get_by_role("region").count() == 1  # the other table fits
    assert box.evaluate("box => [box.classList.contains('cut-left'), box.classList.contains('cut-right')]") == [
        False,
        True,
    ]
    while not box.evaluate("box => box === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".cut-left.cut-right")
    box.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    page.wait_for_selector(".cut-left:not(.cut-right)")


def test_a_box_that_fits_again_is_no_stop_for_the_tabulator(page):
    page.set_content(page_of(paper_and_ours(3)))
    page.set_viewport_size({"width": 640, "height": 900})
    page.evaluate("document.querySelector('article').style.width = '150px'")
    page.wait_for_selector(".pst-scrollable-table-container[tabindex]")
    page.evaluate("document.querySelector('article').style.width = ''")
    page.wait_for_selector(".pst-scrollable-table-container:not([tabindex])")


# --- On a phone, and without scripts ---------------------------------------------------------------


def num_side_by_side(page, table: str) -> int:
    """The most cells of a row that begin at one height."""
    return page.locator(f"#{table} tbody tr").first.evaluate("""row => {
        const tops = [...row.cells].map(cell => Math.round(cell.getBoundingClientRect().top));
        return Math.max(...tops.map(top => tops.filter(other => other === top).length));
    }""")


def test_on_a_phone_many_columns_become_a_card_and_three_stay_beside_each_other(page):
    page.set_viewport_size(PHONE)
    page.set_content(page_of(MIXED, paper_and_ours(1)))
    assert num_side_by_side(page, "tab-mixed") == 3
    assert num_side_by_side(page, "tab-1") == 1
    cells = page.locator("#tab-1 tbody tr").first.locator("td")
    shown = cells.evaluate_all("cells => cells.map(cell => getComputedStyle(cell, '::before').content)")
    assert shown == ["none", '"error 0 (%) paper"', '"error 0 (%) ours"', '"error 0 (%) difference (points)"']
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#tab-1").get_by_role("button", name="network").click()
    assert column(page, table="tab-1") == ["100-100-10", "softmax 1e-4"]


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
def test_without_scripts_every_cell_is_read(page, viewport):
    page.set_viewport_size(viewport)
    page.set_content(page_of(MIXED, paper_and_ours(3), scripts=False))
    assert page.get_by_role("button").count() == 0
    assert column(page)[0] == "b"
    assert column(page, 2, "tab-3")[0].split() == ["1.00", "paper", "1.2", "-0.2", "≈"]
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_a_name_is_not_broken(page):
    """Half of 100-100-10 would read as another network."""
    page.set_content(page_of(paper_and_ours(3)))
    page.evaluate("document.querySelector('article').style.width = '100px'")
    assert page.locator("#tab-3 td .text-nowrap").last.evaluate("name => name.getClientRects().length") == 1
