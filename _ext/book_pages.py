"""What the pages need beyond Sphinx: links to the scripts behind the notebooks, and a record of their execution."""

import json
import re
import shutil
from functools import cache
from html import escape
from pathlib import Path

import yaml
from docutils import nodes
from PIL import Image
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

BEFORE_OTHERS, AFTER_THE_THEME = 400, 900
LIGHT = 200_000  # bytes of a figure; what is more without loss holds photographs
NOTEBOOKS = "notebooks"  # the branch with the chapters as notebooks, for Colab: tools/notebooks.py
BEFORE_CELLS_ARE_FOLDED = 150
UNNAMED = "code"
SAME_FOR_ALL = ' aria-label="Toggle hidden content"'


def is_executed(notebook: Path) -> bool:
    """By tools/build.py, which says so in it, and not by a person in JupyterLab."""
    return notebook.exists() and "book" in json.loads(notebook.read_text(encoding="utf-8"))["metadata"]


def refuse_scripts(app: Sphinx) -> None:
    """Sphinx would pass over the chapters, which are scripts, and write a book without them over the good one."""
    scripts = Path(app.srcdir, "chapters").glob("*.py")
    if not all(is_executed(script.with_suffix(".ipynb")) for script in scripts):
        raise SystemExit("The chapters have to be executed first: run `make book`, which then renders them")


def script_of(app: Sphinx, pagename: str) -> Path | None:
    """The py:percent source of a page that is a notebook."""
    script = Path(app.srcdir, f"{pagename}.py")
    return script if script.exists() else None


def drop_thebe(app, pagename, templatename, context, doctree):
    """sphinx-thebe, unused here, declares a constant twice: an error in the console of every page."""
    _drop_scripts(context, "thebe")


def drop_mathematics(app, pagename, templatename, context, doctree):
    """What sets formulas is half a page's weight: only for pages that show one."""
    if 'class="math' not in context.get("body", ""):
        _drop_scripts(context, "mathematics")


def _drop_scripts(context, name: str):
    """The page loads no script whose address has the name in it."""
    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if name not in f"{script} {vars(script)}".lower()]


def buttons(entries: list[dict]):
    for entry in entries:
        yield entry
        yield from buttons(entry.get("buttons", []))


def point_at_script(app, pagename, templatename, context, doctree):
    """Edit and Binder links name the notebook, which is not on this branch; the script is. Colab opens no scripts."""
    if not script_of(app, pagename):
        return
    branch = app.config.html_theme_options["repository_branch"]
    for button in buttons(context.get("header_buttons", [])):
        url = button.get("url", "")
        if "colab" in url:
            button["url"] = url.replace(f"/blob/{branch}/", f"/blob/{NOTEBOOKS}/")
        elif url.endswith(f"{pagename}.ipynb") and "_sources" not in url:  # _sources: the download, a notebook
            button["url"] = url.removesuffix(".ipynb") + ".py"


def offer_script(app, pagename, templatename, context, doctree):
    """A download of the script, after that of the notebook."""
    script = script_of(app, pagename)
    groups = [entry for entry in context.get("header_buttons", []) if entry.get("label") == "download-buttons"]
    if not script or not groups:
        return
    target = Path(app.outdir, "_sources", f"{pagename}.py")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(script, target)
    button = {
        "type": "link",
        "url": f"{context['pathto']('_sources', 1)}/{pagename}.py",
        "text": ".py",
        "icon": "fas fa-file-code",
        "tooltip": "Download the script",
        "label": "download-script-button",
    }
    groups[0]["buttons"].insert(1, button)


class NamedToggles(SphinxPostTransform):
    """Every folded cell says what it hides; myst-nb would write the same on all of them."""

    default_priority = BEFORE_CELLS_ARE_FOLDED
    formats = ("html",)

    def run(self, **_):
        for cell in self.document.findall(nodes.container):
            if cell.get("hide_mode"):
                what = hidden_in(cell[0].astext(), self.numbered_in(cell))
                cell["prompt_show"], cell["prompt_hide"] = f"Show the {what}", f"Hide the {what}"

    def numbered_in(self, cell: nodes.container) -> list[str]:
        """The figures and tables that a cell shows, as the page numbers them: Fig. 3."""
        standard, numbers = self.env.get_domain("std"), self.env.toc_fignumbers.get(self.env.docname, {})
        return [
            self.config.numfig_format[kind] % ".".join(map(str, numbers[kind][node["ids"][0]]))
            for node in cell.findall(lambda node: isinstance(node, nodes.figure | nodes.table) and node["ids"])
            if (kind := standard.get_enumerable_node_type(node)) and node["ids"][0] in numbers.get(kind, {})
        ]


def hidden_in(source: str, numbered: list[str]) -> str:
    """What a folded cell is, from its source and the figures and tables that it shows."""
    if numbered:
        return f"code of {' and '.join(numbered)}"
    if source.startswith("# Parameters"):  # which papermill puts down
        return "parameters of this build"
    if re.match(r"import |from ", source) or re.search(r"\bdigits\.begin\(|\bdownloads\.gather\(", source):
        return "set-up"
    if "run.verdicts()" in source:
        return "code of the verdicts"
    if re.search(r"\btell\(", source):
        return "numbers for the text"
    return UNNAMED


def drop_same_labels(app, pagename, templatename, context, doctree):
    """A screen reader would read myst-nb's label, alike on all toggles, in place of what a toggle says."""
    context["body"] = context.get("body", "").replace(SAME_FOR_ALL, "")


class Folded(nodes.Element):
    """From here on a section is folded, under `words`."""


class More(SphinxDirective):
    """`{more} words`: the rest of the section is for those who ask."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        return [Folded(words=self.arguments[0])]


class KeepPercentages(SphinxPostTransform):
    """No line ends between a number and its percent sign, whichever node either is in."""

    default_priority = AFTER_THE_THEME
    formats = ("html",)

    def run(self, **_):
        for text in [*self.document.findall(nodes.Text)]:
            kept = re.sub(r"(^|(?<=\d))\s%(?!\w)", "\u00a0%", text)
            as_it_is = isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.raw | nodes.math)
            if text.parent and kept != text and not as_it_is:  # what was put in by hand may not know its parent
                text.parent.replace(text, nodes.Text(kept))


class FoldSections(SphinxPostTransform):
    """What follows `{more}` in its section lies in a box that opens."""

    default_priority = BEFORE_CELLS_ARE_FOLDED
    formats = ("html",)

    def run(self, **_):
        for mark in list(self.document.findall(Folded)):
            section, opening = mark.parent, f'<details class="more"><summary>{escape(mark["words"])}</summary>\n'
            section.replace(mark, nodes.raw("", opening, format="html"))
            section.append(nodes.raw("", "</details>\n", format="html"))


@cache
def definitions(env: BuildEnvironment) -> dict[str, str]:
    """What the glossary says of each term, as text, by the anchor of the term."""
    pages = {page for page, _ in env.get_domain("std").data["terms"].values()}
    items = [
        item
        for page in pages
        for glossary in env.get_doctree(page).findall(addnodes.glossary)
        for item in glossary.findall(nodes.definition_list_item)
    ]
    terms = ((term, item[-1].astext()) for item in items for term in item.findall(nodes.term))
    return {anchor: re.sub(r"\s+", " ", text) for term, text in terms for anchor in term["ids"]}


def embed_definitions(app, pagename, templatename, context, doctree):
    """What the terms mean that a page links to, for glossary.js to show beside the link."""
    used = set(re.findall(r'href="[^"]*#(term-[^"]+)"[^>]*><span class="xref std std-term', context.get("body", "")))
    if used:
        known = {anchor: text for anchor, text in definitions(app.env).items() if anchor in used}
        script = json.dumps(known).replace("<", r"\u003c")
        context["body"] += f'<script type="application/json" id="definitions">{script}</script>\n'


class ExecutionTable(SphinxDirective):
    """`{execution-table}`: each executed chapter, when, for how long, with which profile and data."""

    def run(self):
        self.env.note_reread()  # the notebooks it reads are not known to Sphinx as dependencies
        rows = [self.row(page) for page in self.executed_pages()]
        head = ["| Chapter | Executed (UTC) | Seconds | Profile | Data |", "|:--|:--|--:|:--|:--|"]
        return self.parse_text_to_nodes("\n".join(head + rows))

    def executed_pages(self) -> list[str]:
        """In reading order."""
        return [page for page in self.env.external_site_map if Path(self.env.srcdir, f"{page}.ipynb").exists()]

    def row(self, page: str) -> str:
        notebook = json.loads(Path(self.env.srcdir, f"{page}.ipynb").read_text(encoding="utf-8"))
        run = notebook["metadata"]["papermill"]
        when = run["end_time"][:16].replace("T", " ")
        parameters = run["parameters"]
        data = glued(notebook, "dataset") or parameters["data"]
        return f"| {{doc}}`/{page}` | {when} | {run['duration']:.1f} | {parameters['profile']} | {data} |"


def glued(notebook: dict, name: str) -> str | None:
    """The text that a chapter glued under a name."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    for output in outputs:
        if output.get("metadata", {}).get("scrapbook", {}).get("name") == name:
            text = next(value for mime, value in output["data"].items() if mime.endswith("text/plain"))
            return "".join(text).strip("'\"")
    return None


class ClaimsAtAGlance(SphinxDirective):
    """`{claims-at-a-glance}`: a mark for every claim, which leads to its verdict."""

    def run(self):
        from lib.record import claims, ledger, overview  # seconds, for the one page that asks

        self.env.note_reread()
        judged = claims.judged(ledger.everything_recorded())
        every = overview.cards(ledger.published("claims"), judged)
        return [nodes.raw("", overview.strip(every, "chapters/verdict.html"), format="html")]


class ChapterAnswer(SphinxDirective):
    """`{answer}`: what this chapter asks, and the answer by what is recorded."""

    def run(self):
        from lib.record import answers

        self.env.note_reread()
        return self.parse_text_to_nodes(answers.box(Path(self.env.docname).name))


class Questions(SphinxDirective):
    """`{questions}`: what every chapter asks, with its answer."""

    def run(self):
        from lib.record import answers

        self.env.note_reread()
        return self.parse_text_to_nodes(answers.overview())


class LiveAttack(SphinxDirective):
    """`{live-attack}`: the attack on the recorded networks, in the reader's browser."""

    def run(self):
        from lib.experiments import live  # seconds, for the one page that asks

        self.env.note_reread()  # what is recorded is not known to Sphinx as a dependency
        return [nodes.raw("", live.element("../" * self.env.docname.count("/")), format="html")]


def describe(app, pagename, templatename, context, doctree):
    """A page is introduced to others by what _config.yml says of it, not by the words that it happens to begin with."""
    if text := app.config.page_descriptions.get(pagename):
        context["meta"] = {**(context["meta"] or {}), "og:description": text}
        context["metatags"] += f'<meta name="description" content="{escape(text)}" />\n'


def plain_references(app, pagename, templatename, context, doctree):
    """docutils calls the references a list whose entries are no items of it: an error to a screen reader."""
    body = context.get("body", "").replace('role="list" class="citation-list"', 'class="citation-list"')
    context["body"] = body.replace(' role="doc-biblioentry"', "")


def lighten_figures(app: Sphinx, doctree: nodes.document):
    """The notebooks' pictures as WebP: without loss, as digits have to be, unless that is large."""
    for image in doctree.findall(nodes.image):
        if "jupyter_execute" in image["uri"] and image["uri"].endswith(".png"):
            target = Path(app.env.relfn2path(image["uri"])[1]).with_suffix(".webp")
            with Image.open(target.with_suffix(".png")) as picture:
                picture.save(target, lossless=True)
                if target.stat().st_size > LIGHT:
                    picture.save(target, quality=60)
            image["uri"] = image["uri"].removesuffix(".png") + ".webp"


class CiteThisBook(SphinxDirective):
    """`{cite-this-book}`: CITATION.cff as BibTeX, folded."""

    def run(self):
        self.env.note_dependency("CITATION.cff")
        citation = yaml.safe_load(Path(self.env.srcdir, "CITATION.cff").read_text(encoding="utf-8"))
        entry = bibtex(citation, self.config.copyright)
        fold = f"````{{dropdown}} To cite this book\n```bibtex\n{entry}\n```\n````"
        return self.parse_text_to_nodes(fold)


def bibtex(citation: dict, year: str) -> str:
    """What a CITATION.cff says, as an entry of BibTeX; its authors are groups, whose names are not taken apart."""
    fields = {
        "author": " and ".join(f"{{{author['name']}}}" for author in citation["authors"]),
        "title": citation["title"],
        "year": year,
        "version": citation["version"],
        "doi": citation.get("doi"),
        "url": citation["url"],
        "note": f"Reproduces doi:{citation['references'][0]['doi']}",
    }
    lines = (f"  {name} = {{{value}}}," for name, value in fields.items() if value)
    return "\n".join(["@software{intriguing-properties,", *lines, "}"])


def write_networks(app: Sphinx, exception: Exception | None):
    """What the live attack loads when it comes into sight, beside the scripts that load it."""
    if not exception and Path("results/networks.json").exists():  # Sphinx runs in the repository's root
        from lib.experiments import live

        Path(app.outdir, "live", "networks.js").write_text(live.script(), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    refuse_scripts(app)
    app.add_directive("execution-table", ExecutionTable)
    app.add_directive("claims-at-a-glance", ClaimsAtAGlance)
    app.add_directive("answer", ChapterAnswer)
    app.add_directive("questions", Questions)
    app.add_directive("live-attack", LiveAttack)
    app.add_directive("cite-this-book", CiteThisBook)
    app.add_directive("more", More)
    app.add_config_value("page_descriptions", {}, "html")
    app.connect("doctree-read", lighten_figures, priority=BEFORE_OTHERS)
    app.add_post_transform(NamedToggles)
    app.add_post_transform(FoldSections)
    app.add_post_transform(KeepPercentages)
    app.connect("build-finished", write_networks)
    app.connect("html-page-context", describe, priority=BEFORE_OTHERS)
    for handler in (
        drop_thebe,
        drop_mathematics,
        plain_references,
        point_at_script,
        offer_script,
        drop_same_labels,
        embed_definitions,
    ):
        app.connect("html-page-context", handler, priority=AFTER_THE_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
