"""What others see of the book before they open it, and what they take along: descriptions, citations, notebooks."""

import importlib.util
import re
from html import unescape
from urllib.parse import urlparse

import pytest
import yaml
from PIL import Image

from tests.conftest import REPOSITORY
from tools.build import pages

CONFIG = yaml.safe_load((REPOSITORY / "_config.yml").read_text(encoding="utf-8"))
SETTINGS = CONFIG["sphinx"]["config"]
PAGES = list(pages(yaml.safe_load((REPOSITORY / "_toc.yml").read_text(encoding="utf-8"))))
CITATION = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))


def book_pages():
    spec = importlib.util.spec_from_file_location("book_pages", REPOSITORY / "_ext/book_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_introduced_by_a_sentence_of_its_own():
    written = SETTINGS["page_descriptions"]
    assert sorted(written) == sorted(PAGES), "page_descriptions in _config.yml lists the pages of _toc.yml"
    assert len(set(written.values())) == len(written)
    assert {page: len(text) for page, text in written.items() if not 70 <= len(text) <= 160} == {}
    assert [page for page, text in written.items() if not text.endswith((".", "?"))] == []


def test_the_card_has_the_size_that_is_asked_for_and_is_small():
    path = REPOSITORY / SETTINGS["ogp_image"]
    with Image.open(path) as card:
        assert card.size == (1200, 630)
        assert card.format == "PNG"
    assert path.stat().st_size < 100_000


def test_the_bibtex_says_what_the_citation_says():
    entry = book_pages().bibtex(CITATION, "2026")
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry, flags=re.MULTILINE))
    assert entry.startswith("@software{")
    assert entry.endswith("}")
    assert (fields["title"], fields["version"], fields["url"]) == (
        CITATION["title"],
        CITATION["version"],
        CITATION["url"],
    )
    assert fields["author"] == f"{{{CITATION['authors'][0]['name']}}}"  # in braces of its own: a group
    assert fields["year"] == "2026"
    assert "doi" not in fields
    assert "  doi = {10.5281/zenodo.1},\n" in book_pages().bibtex(CITATION | {"doi": "10.5281/zenodo.1"}, "2026")


def test_the_citation_and_the_configuration_speak_of_the_same_book():
    assert CITATION["title"] == CONFIG["title"]
    assert CITATION["url"] == CONFIG["html"]["baseurl"]
    assert CITATION["repository-code"] == CONFIG["repository"]["url"]


# --- On the pages ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chapter(specimen) -> str:
    """The text of a built chapter."""
    return (specimen / "_build/html/chapters/first.html").read_text(encoding="utf-8")


def meta(text: str, name: str) -> list[str]:
    return [unescape(found) for found in re.findall(rf'<meta (?:property|name)="{name}" content="([^"]*)" ?/?>', text)]


def test_a_page_shows_its_card_and_its_description_to_whoever_links_to_it(specimen):
    text = (specimen / "_build/html/intro.html").read_text(encoding="utf-8")
    sentence = SETTINGS["page_descriptions"]["intro"]
    assert meta(text, "og:description") == meta(text, "description") == [sentence]
    assert meta(text, "twitter:card") == ["summary_large_image"]
    assert meta(text, "og:image") == [CONFIG["html"]["baseurl"] + SETTINGS["ogp_image"]]
    assert (specimen / "_build/html" / SETTINGS["ogp_image"]).exists()


def buttons(text: str) -> dict[str, str]:
    """The address of each button that leads elsewhere, by host."""
    links = re.findall(r'<a href="(https://[^"]+)"[^>]*\n?[^>]*class="[^"]*dropdown-item', text)
    return {urlparse(link).netloc: link for link in links}


def test_binder_opens_the_script_and_colab_the_notebook(chapter):
    links = buttons(chapter)
    assert links["mybinder.org"].endswith("?urlpath=lab/tree/chapters/first.py")
    name = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    branch = book_pages().NOTEBOOKS
    assert links["colab.research.google.com"].endswith(f"/github/{name}/blob/{branch}/chapters/first.ipynb")
    assert f"HEAD:{branch}" in (REPOSITORY / ".github/workflows/book.yml").read_text(encoding="utf-8")


def test_binder_installs_what_the_book_needs():
    text = (REPOSITORY / ".binder/requirements.txt").read_text(encoding="utf-8")
    assert "-r ../requirements.txt" in text.splitlines()
    assert (REPOSITORY / ".binder/postBuild").stat().st_mode & 0o111
