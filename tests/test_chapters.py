"""The chapters hold together, and they are short: the code shown is the idea, and nothing else. Nothing is executed.

Every name, number, label and reference leads somewhere; and no ceiling of the design is passed, each with a test of its
own, whose message says where and what to do.
"""

import ast
import builtins
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from inspect import get_annotations
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from _ext import book_pages
from lib.experiments.digits import Experiment
from lib.figures import comparisons, curves, grids
from lib.record import claims
from tools.build import pages

REPOSITORY = Path(__file__).parent.parent
PAGES = list(pages(yaml.safe_load((REPOSITORY / "_toc.yml").read_text())))
CHAPTERS = [Path(page).name for page in PAGES if page.startswith("chapters/")]
PARAMETERS = {"profile": "quick", "data": "auto", "device": "auto", "seed": 0}
PLOTS = {"grids": grids, "curves": curves, "comparisons": comparisons}
WITHOUT_EXPERIMENT = ["verdict"]  # reads what the others recorded
CAPTION = "caption"

# What a chapter may hold. Lines of code are neither blank nor comments; the cell of parameters does not count.
LINES_A_CELL, LINE_WIDTH, FUNCTIONS, NAMES = 15, 88, 2, 60
LINES_REMOVED, LINES_REMOVED_IN_ALL, LINES_IN_ALL = 10, 100, 1300
WORDS_IN_A_STRING, WORDS_IN_A_CAPTION, WORDS_IN_MARKDOWN = 12, 25, 3
NUMBERS_IN_A_SENTENCE = 3
LATER = ["quocnet", "adversarial_training", "unsaid", "since_2013"]  # not among the chapters that LINES_IN_ALL is for

chapters = pytest.mark.parametrize("chapter", CHAPTERS)


def source(chapter: str) -> str:
    return (REPOSITORY / "chapters" / f"{chapter}.py").read_text()


@cache
def notebook(chapter: str) -> nbformat.NotebookNode:
    return jupytext.reads(source(chapter), fmt="py:percent")


def cells(chapter: str, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook(chapter).cells if cell.cell_type == kind]


@cache
def prose(page: str) -> str:
    """What Sphinx reads of a page: markdown, and the captions of its figures. `$` and code in backticks stay."""
    if not page.startswith("chapters/"):
        return (REPOSITORY / f"{page}.md").read_text()
    chapter = Path(page).name
    captions = [figure(cell).get("caption", "") for cell in cells(chapter, "code")]
    return "\n\n".join([cell.source for cell in cells(chapter, "markdown")] + captions)


@cache
def code(chapter: str) -> ast.Module:
    return ast.parse("\n\n".join(cell.source for cell in cells(chapter, "code")))


def figure(cell: nbformat.NotebookNode) -> dict:
    return cell.metadata.get("mystnb", {}).get("figure", {})


def roles(page: str, name: str) -> set[str]:
    """The contents of {name}`contents` in a page."""
    return set(re.findall(rf"\{{{re.escape(name)}\}}`([^`]+)`", prose(page)))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression that is such a name, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := dotted(node.value)):
        return f"{value}.{node.attr}"
    return ""


def calls(chapter: str, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(code(chapter)) if isinstance(node, ast.Call) and dotted(node.func) == name]


def pattern(node: ast.expr) -> str:
    """A regular expression for the texts that a literal or an f-string can be."""
    if isinstance(node, ast.JoinedStr):
        parts = ast.iter_child_nodes(node)
        return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in parts)
    return re.escape(ast.literal_eval(node))


# --- Form -----------------------------------------------------------------------------------------


def test_every_chapter_is_in_the_table_of_contents_once():
    assert sorted(CHAPTERS) == sorted(path.stem for path in (REPOSITORY / "chapters").glob("*.py"))


@chapters
def test_a_chapter_is_a_percent_notebook_for_python_3(chapter):
    text = source(chapter)
    assert text.startswith("# ---\n# jupyter:\n#   kernelspec:\n")
    assert notebook(chapter).metadata.kernelspec.name == "python3"
    nbformat.validate(notebook(chapter))
    again = jupytext.reads(jupytext.writes(notebook(chapter), fmt="py:percent"), fmt="py:percent")
    for cell, other in zip(notebook(chapter).cells, again.cells, strict=True):
        assert (cell.cell_type, cell.source, cell.metadata) == (other.cell_type, other.source, other.metadata)


@chapters
def test_jupyterlab_writes_the_head_of_each_cell_as_it_stands(chapter):
    """It escapes what is not ASCII there, so that a chapter that is only opened and saved would change."""
    assert [line for line in source(chapter).splitlines() if line.startswith("# %%") and not line.isascii()] == []


@chapters
def test_a_chapter_begins_with_its_only_title(chapter):
    first, *rest = cells(chapter, "markdown")
    assert notebook(chapter).cells[0] == first
    assert first.source.startswith("# ")
    headings = [line for cell in [first, *rest] for line in cell.source.splitlines() if re.match("#+ ", line)]
    assert [line for line in headings if line.startswith("# ")] == headings[:1]


@chapters
def test_one_cell_of_parameters_with_the_defaults_of_the_build(chapter):
    (cell,) = [cell for cell in notebook(chapter).cells if "parameters" in cell.metadata.get("tags", [])]
    statements = ast.parse(cell.source).body
    found = {statement.targets[0].id: ast.literal_eval(statement.value) for statement in statements}
    assert list(found.items()) == list(PARAMETERS.items())
    assert [type(value) for value in found.values()] == [type(value) for value in PARAMETERS.values()]
    before = notebook(chapter).cells[: notebook(chapter).cells.index(cell)]
    assert all(earlier.cell_type == "markdown" for earlier in before)


@chapters
def test_a_chapter_begins_its_own_experiment_and_finishes_it(chapter):
    begun = [ast.unparse(call) for call in calls(chapter, "digits.begin")]
    finished = [ast.unparse(statement) for statement in code(chapter).body].count("run.finish()")
    if chapter in WITHOUT_EXPERIMENT:
        assert (begun, finished) == ([], 0)
    else:
        assert begun == [f"digits.begin('{chapter}', {', '.join(PARAMETERS)})"]
        assert finished == 1
        assert ast.unparse(code(chapter).body[-1]) == "run.finish()"


@chapters
def test_what_files_were_found_keeps_its_name(chapter):
    """A loop that took the name over would leave the cells below without pictures and weights, and in silence."""
    given = [
        node.targets[0]
        for node in ast.walk(code(chapter))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and dotted(node.value.func) == "downloads.gather"
    ]
    names = {name.id for target in given for name in target.elts}
    bound = Counter(
        node.id for node in ast.walk(code(chapter)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    assert {name: bound[name] for name in names} == dict.fromkeys(names, 1)


@chapters
def test_results_are_written_by_tables_and_facts_alone(chapter):
    """`run.table` and `run.facts` know whether a run is recorded; what a chapter does if it is would be untested."""
    written = [name for name in ("ledger.record", "ledger.update", "ledger.write") if calls(chapter, name)]
    assert written == [], f"{chapter} calls {written}: make a table with run.table, put down facts with run.facts"


# --- Names ----------------------------------------------------------------------------------------


def imported(tree: ast.Module) -> dict[str, object]:
    """What a piece of code imports from lib, under the names it uses."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "lib":
            for alias in node.names:
                module = importlib.import_module(node.module)
                value = getattr(module, alias.name, None)
                if value is None:
                    value = importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = value
    return found


def members(value: object) -> set[str]:
    return {*dir(value), *(item.name for item in fields(value))} if is_dataclass(value) else set(dir(value))


def taken(tree: ast.Module, given: dict[str, object]) -> list[tuple[str, str]]:
    """What a piece of code uses of things in lib, `name.attribute`."""
    return [
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in given
    ]


def not_there(tree: ast.Module, given: dict[str, object]) -> list[str]:
    """What of this is not in lib."""
    return [f"{name}.{attribute}" for name, attribute in taken(tree, given) if attribute not in members(given[name])]


@chapters
def test_what_a_chapter_takes_from_lib_is_there(chapter):
    given = imported(code(chapter)) | ({} if chapter in WITHOUT_EXPERIMENT else {"run": Experiment})
    assert taken(code(chapter), given)
    assert not_there(code(chapter), given) == []


@chapters
def test_no_name_from_lib_is_overwritten_and_none_is_left_unused(chapter):
    names = [node for node in ast.walk(code(chapter)) if isinstance(node, ast.Name)]
    lib = set(imported(code(chapter)))
    assert lib & {node.id for node in names if isinstance(node.ctx, ast.Store)} == set()
    assert lib <= {node.id for node in names if isinstance(node.ctx, ast.Load)}


@chapters
def test_files_that_the_prose_names_exist(chapter):
    paths = re.findall(r"`((?:lib|tests|benchmarks|paper|results|chapters)/[\w./]*)`", prose(f"chapters/{chapter}"))
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@chapters
def test_things_in_lib_that_the_prose_names_exist(chapter):
    known = imported(code(chapter))
    for name, attribute in re.findall(r"(?<!\})`(\w+)\.(\w+)`", prose(f"chapters/{chapter}")):
        if name in known:
            assert attribute in members(known[name]), f"{name}.{attribute}"


# --- Numbers --------------------------------------------------------------------------------------


def told(chapter: str) -> list[str]:
    """The names of `tell(name=...)`, which are text already."""
    keywords = [keyword for call in calls(chapter, "tell") for keyword in call.keywords]
    assert all(keyword.arg for keyword in keywords), f"{chapter}: tell(**numbers) hides the names; write name=value"
    return [keyword.arg for keyword in keywords]


def glued(chapter: str) -> list[str]:
    """Regular expressions for the names that `glue` or `tell` give."""
    return [pattern(call.args[0]) for call in calls(chapter, "glue")] + told(chapter)


@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_the_prose_is_glued_on_that_page(page):
    used = {content.split(":")[0] for content in roles(page, "glue:text")}
    names = glued(Path(page).name) if page.startswith("chapters/") else []
    missing = [name for name in used if not any(re.fullmatch(pattern, name) for pattern in names)]
    assert missing == [], f"{page} uses {missing} and tells nothing of that name"


@chapters
def test_every_glued_number_is_used(chapter):
    used = {content.split(":")[0] for content in roles(f"chapters/{chapter}", "glue:text")}
    used.add("dataset")  # the table on the first page shows it
    idle = [name for name in glued(chapter) if not any(re.fullmatch(name, other) for other in used)]
    assert idle == [], f"{chapter} tells {idle}, of which its prose says nothing: remove them"


@chapters
def test_no_number_is_told_twice(chapter):
    assert [name for name, count in Counter(glued(chapter)).items() if count > 1] == []


@chapters
def test_what_is_told_has_its_format_already(chapter):
    formatted = [content for content in roles(f"chapters/{chapter}", "glue:text") if ":" in content]
    wrong = [content for content in formatted if content.split(":")[0] in told(chapter)]
    assert wrong == [], f"{chapter}: {wrong} are text; give the format to tell(name=(value, format))"


@chapters
def test_glued_values_do_not_show_twice(chapter):
    shown = [ast.unparse(call) for call in calls(chapter, "glue") if "display=False" not in ast.unparse(call)]
    assert shown == []


# --- Figures and tables ---------------------------------------------------------------------------


def figure_functions() -> list[str]:
    """Functions of lib.figures that return a Figure, as a chapter calls them; and Figure 5, which is an element."""
    return ["wipe.element"] + [
        f"{name}.{each}"
        for name, module in PLOTS.items()
        for each, function in vars(module).items()
        if callable(function) and getattr(function, "__module__", "") == module.__name__
        if get_annotations(function).get("return") is Figure
    ]


def plotting_cells(chapter: str) -> list[nbformat.NotebookNode]:
    """Cells whose last expression is one of lib's figures."""
    found = []
    for cell in cells(chapter, "code"):
        last = ast.parse(cell.source).body[-1]
        value = last.value if isinstance(last, ast.Expr) else None
        if isinstance(value, ast.Call) and dotted(value.func) == "HTML":
            value = value.args[0]
        if isinstance(value, ast.Call) and dotted(value.func) in figure_functions():
            found.append(cell)
    return found


@chapters
def test_every_figure_has_a_caption_a_name_and_words_for_those_who_cannot_see_it(chapter):
    for cell in plotting_cells(chapter):
        assert figure(cell).get("caption", "").endswith("."), cell.source
        assert re.fullmatch(r"fig-[a-z]+(-[a-z]+)*", figure(cell).get("name", "")), cell.source
        if "HTML(" not in cell.source:  # an element has its words inside
            assert len(cell.metadata.mystnb.get("image", {}).get("alt", "")) >= 20, cell.source


@chapters
def test_every_figure_is_its_cells_last_expression(chapter):
    """Anywhere else it would be drawn and not shown; and a cell with a caption has to have a figure."""
    drawn = [node for name in figure_functions() for node in calls(chapter, name)]
    captioned = [cell for cell in cells(chapter, "code") if figure(cell)]
    assert len(drawn) == len(plotting_cells(chapter))
    assert captioned == plotting_cells(chapter)


def table_calls(chapter: str) -> list[ast.Call]:
    """Calls that write a numbered table: `table.show` and `markdown.table`."""
    every = [node for node in ast.walk(code(chapter)) if isinstance(node, ast.Call)]
    methods = [node for node in every if isinstance(node.func, ast.Attribute) and node.func.attr == "show"]
    return methods + calls(chapter, "markdown.table")


def table_names(chapter: str) -> list[str]:
    """Every string that can be nothing but the name of a table."""
    constants = [node.value for node in ast.walk(code(chapter)) if isinstance(node, ast.Constant)]
    return [value for value in constants if isinstance(value, str) and re.fullmatch(r"tab-[a-z]+(-[a-z]+)*", value)]


@chapters
def test_every_table_has_a_name(chapter):
    names, num = table_names(chapter), len(table_calls(chapter))
    assert len(names) == num, f'{chapter} shows {num} tables under {names}: each needs name="tab-words"'


@chapters
def test_what_is_markdown_is_rendered_as_myst(chapter):
    for cell in cells(chapter, "code"):
        if "Markdown(" in cell.source:
            assert cell.metadata.get("mystnb", {}).get("markdown_format") == "myst", cell.source


# --- References -----------------------------------------------------------------------------------


@cache
def labels() -> Counter:
    """Everything in the book that can be referred to."""
    found: Counter = Counter()
    for page in PAGES:
        found.update(re.findall(r"^\$\$ \(([\w-]+)\)", prose(page), re.MULTILINE))
        found.update(re.findall(r"^\(([\w-]+)\)=$", prose(page), re.MULTILINE))
        found.update(re.findall(r"^:name: ([\w-]+)$", prose(page), re.MULTILINE))
    for chapter in CHAPTERS:
        found.update(figure(cell)["name"] for cell in cells(chapter, "code") if "name" in figure(cell))
        found.update(table_names(chapter))
    return found


def test_every_label_is_given_once():
    assert [label for label, count in labels().items() if count > 1] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_reference_leads_to_a_label(page):
    used = {label for role in ("numref", "eq", "ref") for label in roles(page, role)}
    assert used - set(labels()) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_citation_is_in_the_bibliography(page):
    known = set(re.findall(r"^@\w+\{([^,]+),", (REPOSITORY / "references.bib").read_text(), re.MULTILINE))
    cited = {
        key.strip() for role in ("cite", "cite:p", "cite:t") for keys in roles(page, role) for key in keys.split(",")
    }
    assert cited - known == set()


def test_every_source_can_be_followed():
    """By a DOI, a number of arXiv's or an address: all but one, which has none."""
    entries = re.split(r"^@", (REPOSITORY / "references.bib").read_text(), flags=re.MULTILINE)[1:]
    bare = [entry for entry in entries if not re.search(r"^  (doi|eprint|url) *= \{\S+\}", entry, re.MULTILINE)]
    assert [re.search(r"\{([^,]+),", entry)[1] for entry in bare] == ["romano2006appropriate"]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_page_leads_to_a_page(page):
    folder = Path(page).parent
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose(page))
    assert [link for link in links if (folder / link).as_posix() not in PAGES] == []


# --- Claims ---------------------------------------------------------------------------------------


def test_every_claim_is_judged_and_has_a_chapter_that_shows_its_verdict():
    published = pd.read_csv(REPOSITORY / "paper" / "claims.csv", dtype=str)
    assert sorted(published["id"]) == sorted(claims.CLAIMS)
    silent = [chapter for chapter in set(published["chapter"]) if not calls(chapter, "run.verdicts")]
    assert silent == [], f"{silent} have claims and do not show Markdown(run.verdicts())"


@chapters
def test_a_chapter_without_claims_promises_no_verdict(chapter):
    published = pd.read_csv(REPOSITORY / "paper" / "claims.csv", dtype=str)
    assert not calls(chapter, "run.verdicts") or chapter in set(published["chapter"])


# --- Ceilings -------------------------------------------------------------------------------------


def code_cells(chapter: str) -> Iterator[tuple[str, nbformat.NotebookNode]]:
    """Code cells but the parameters, each with the words that say where it is."""
    for i, cell in enumerate(cells(chapter, "code"), start=1):
        if "parameters" not in cell.metadata.get("tags", []):
            yield f"{chapter}, code cell {i} ({cell.source.splitlines()[0][:60]!r})", cell


def code_lines(cell: nbformat.NotebookNode) -> list[str]:
    """Those that are neither blank nor a comment."""
    return [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def num_lines(chapter: str) -> dict[str, int]:
    """Lines of code by what a reader sees of them."""
    found = dict.fromkeys(("shown", "folded", "removed"), 0)
    for _, cell in code_cells(chapter):
        tags = cell.metadata.get("tags", [])
        kind = "removed" if "remove-cell" in tags else "folded" if {"hide-input", "remove-input"} & {*tags} else "shown"
        found[kind] += len(code_lines(cell))
    return found


def num_words(node: ast.expr) -> int:
    """Words of a string; what an f-string fills in counts as one."""
    if isinstance(node, ast.JoinedStr):
        parts = ast.iter_child_nodes(node)
        return len("".join(part.value if isinstance(part, ast.Constant) else "x" for part in parts).split())
    return len(node.value.split())


def strings(node: ast.AST) -> list[ast.expr]:
    """The string literals in a piece of code, docstrings left out; an f-string is one, and so is each of its parts."""
    docstrings = {
        id(inner.body[0].value)
        for inner in ast.walk(node)
        if isinstance(inner, ast.FunctionDef) and isinstance(inner.body[0], ast.Expr)
    }
    found = [inner for inner in ast.walk(node) if isinstance(inner, ast.JoinedStr)]
    found += [inner for inner in ast.walk(node) if isinstance(inner, ast.Constant) and isinstance(inner.value, str)]
    return [inner for inner in found if id(inner) not in docstrings]


def caption_strings(node: ast.AST) -> list[ast.expr]:
    """Strings in `caption=...`, `caption = ...`, `{"caption": ...}` and the third argument of markdown.table."""
    values: list[ast.expr] = []
    for inner in ast.walk(node):
        match inner:
            case ast.keyword(arg="caption", value=value):
                values.append(value)
            case ast.Assign(targets=[ast.Name(id="caption")], value=value):
                values.append(value)
            case ast.Dict(keys=keys, values=entries):
                values += [v for k, v in zip(keys, entries, strict=True) if getattr(k, "value", None) == CAPTION]
            case ast.Call(func=func, args=[_, _, value, *_]) if dotted(func) == "markdown.table":
                values.append(value)
    return [text for value in values for text in strings(value)]


def sentences(text: str) -> list[str]:
    """What stands between full stops, or ends with a paragraph, an item of a list or a line of a table."""
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.)\s?)", text)
    return [sentence for block in blocks for sentence in re.split(r"(?<=[.?!])\**\s+", block.replace("\n", " "))]


def is_number(name: str) -> bool:
    """A glued name stands for a number, unless it ends in the word for words: source, name, names, words or list."""
    return name.rsplit("_", 1)[-1] not in ("source", "name", "names", "words", "list", "dataset")


@chapters
def test_no_cell_is_long(chapter):
    long = {where: len(code_lines(cell)) for where, cell in code_cells(chapter) if len(code_lines(cell)) > LINES_A_CELL}
    assert long == {}, f"more than {LINES_A_CELL} lines of code: move what is not the idea to lib, or split the cell"


@chapters
def test_functions_live_in_lib(chapter):
    names = [node.name for node in ast.walk(code(chapter)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) <= FUNCTIONS, f"{chapter} defines {names}: {FUNCTIONS} at most, the others belong in lib"


def bound(tree: ast.Module) -> set[str]:
    """Names bound by assignments, loops and definitions at the top level."""
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
        for inner in ast.walk(node)
        if inner is not node
    }
    names = set()
    for node in ast.walk(tree):
        match node:
            case _ if id(node) in inside:
                continue
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name):
                names.add(name)
    return names


@chapters
def test_few_names_are_bound(chapter):
    """What a reader has to keep in mind beside the imports."""
    names = bound(code(chapter))
    assert len(names) <= NAMES, f"{chapter} binds {len(names)} names, {NAMES} at most: {sorted(names)}"


@chapters
def test_no_chapter_asks_whether_its_run_is_recorded(chapter):
    found = [where for where, cell in code_cells(chapter) if "run.records" in cell.source]
    assert found == [], "run.records: no test runs that branch; run.table and run.facts ask it themselves"


@chapters
def test_no_line_of_code_is_wider_than_a_page(chapter):
    wide = [
        f"{where}: {line}" for where, cell in code_cells(chapter) for line in code_lines(cell) if len(line) > LINE_WIDTH
    ]
    assert wide == [], f"wider than {LINE_WIDTH} characters: break the line, or name a part of it"


@chapters
def test_at_least_half_of_the_code_is_shown(chapter):
    lines = num_lines(chapter)
    hidden = lines["folded"] + lines["removed"]
    assert hidden <= lines["shown"], f"{chapter}: {lines}; show what is the idea, move the rest to lib"


@chapters
def test_little_code_is_removed(chapter):
    removed = num_lines(chapter)["removed"]
    assert removed <= LINES_REMOVED, (
        f"{chapter} removes {removed} lines, {LINES_REMOVED} at most: fold, show or move them"
    )


def test_little_code_is_removed_in_all():
    removed = {chapter: num_lines(chapter)["removed"] for chapter in CHAPTERS}
    assert sum(removed.values()) <= LINES_REMOVED_IN_ALL, f"{sum(removed.values())} lines are removed: {removed}"


def test_the_chapters_are_short_in_all():
    lines = {chapter: sum(num_lines(chapter).values()) for chapter in CHAPTERS if chapter not in LATER}
    total = sum(lines.values())
    assert total <= LINES_IN_ALL, f"{total} lines of code, {LINES_IN_ALL} at most: {lines}"


@chapters
def test_no_prose_stands_in_a_string(chapter):
    """Sentences are Markdown cells with glued numbers; a string is a name, a label or a caption."""
    for where, cell in code_cells(chapter):
        tree = ast.parse(cell.source)
        captions = {id(text) for text in caption_strings(tree)}
        long = [
            ast.unparse(text)
            for text in strings(tree)
            if id(text) not in captions and num_words(text) > WORDS_IN_A_STRING
        ]
        assert long == [], f"{where}: more than {WORDS_IN_A_STRING} words; write a Markdown cell and tell its numbers"


@chapters
def test_captions_of_tables_are_short(chapter):
    for where, cell in code_cells(chapter):
        long = [
            ast.unparse(text)
            for text in caption_strings(ast.parse(cell.source))
            if num_words(text) > WORDS_IN_A_CAPTION
        ]
        assert long == [], f"{where}: more than {WORDS_IN_A_CAPTION} words in a caption; say the rest in the text"


@chapters
def test_markdown_is_not_made_of_strings(chapter):
    """Markdown(...) takes what lib wrote: no literal sentence, joined, formatted or chosen, is part of it."""
    for where, cell in code_cells(chapter):
        for call in [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]:
            if dotted(call.func) == "Markdown":
                written = {id(text) for inner in call.args for text in strings(inner)}
                written -= {id(text) for text in caption_strings(call)}
                long = [t for t in strings(call) if id(t) in written and num_words(t) > WORDS_IN_MARKDOWN]
                assert not any(map(_is_sentence, long)), f"{where}: write a Markdown cell and tell its numbers"


def _is_sentence(text: ast.expr) -> bool:
    """Not a column's name or a label: it has a full stop, or a number filled in among words."""
    return isinstance(text, ast.JoinedStr) or "." in text.value


def lists(chapter: str) -> set[str]:
    """The names under which several numbers are told at once, by `listed`."""
    keywords = [keyword for call in calls(chapter, "tell") for keyword in call.keywords]
    return {keyword.arg for keyword in keywords if ast.unparse(keyword.value).startswith("listed(")}


@pytest.mark.parametrize("page", PAGES)
def test_a_sentence_has_few_numbers(page):
    """A list counts as many, so that it stands alone."""
    full, many = [], lists(Path(page).name) if page.startswith("chapters/") else set()
    for sentence in sentences(prose(page)):
        names = [content.split(":")[0] for content in re.findall(r"\{glue:text\}`([^`]+)`", sentence)]
        numbers = sum(NUMBERS_IN_A_SENTENCE if name in many else is_number(name) for name in names)
        if numbers > NUMBERS_IN_A_SENTENCE:
            full.append(sentence.strip())
    message = f"{page}: more than {NUMBERS_IN_A_SENTENCE} numbers; split the sentence, or show a table"
    assert full == [], f"{message} (what is told under ..._name, ..._words or ..._source is words)"


# --- Exercises ------------------------------------------------------------------------------------


def exercises(chapter: str) -> str:
    """What stands under the heading of that name, at the end of a chapter."""
    return "\n\n".join(cell.source for cell in cells(chapter, "markdown")).partition("## Exercises\n")[2]


def solutions(chapter: str) -> list[str]:
    """The code of the solutions, as a reader copies it into a cell at the end of the chapter."""
    return re.findall(r"^```python\n(.*?)^```$", exercises(chapter), re.MULTILINE | re.DOTALL)


def names_imported(tree: ast.Module) -> set[str]:
    return {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


with_exercises = pytest.mark.parametrize(
    "chapter", [chapter for chapter in CHAPTERS if chapter not in WITHOUT_EXPERIMENT]
)


@with_exercises
def test_a_chapter_ends_with_three_exercises_each_with_its_solution_folded_under_it(chapter):
    found = re.findall(r"^(\*\*|:::\{dropdown\} Solution )(\d)", exercises(chapter), re.MULTILINE)
    assert found == [(kind, number) for number in "123" for kind in ("**", ":::{dropdown} Solution ")]
    assert cells(chapter, "markdown")[-1].source.startswith("## Exercises\n"), "nothing but run.finish() comes after"


@with_exercises
def test_what_a_solution_names_is_there_at_the_end_of_the_chapter(chapter):
    """Names that the chapter leaves, or that the solution makes itself; and what of lib they are."""
    assert solutions(chapter)
    left, given = bound(code(chapter)) | names_imported(code(chapter)), imported(code(chapter)) | {"run": Experiment}
    for solution in solutions(chapter):
        tree = ast.parse(solution)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        made = names_imported(tree) | {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        assert used - left - made - set(vars(builtins)) == set(), solution
        anew = {name: value for name, value in given.items() if name not in made}
        assert not_there(tree, anew | imported(tree)) == [], solution


@with_exercises
def test_no_line_of_a_solution_is_wider_than_a_page(chapter):
    lines = [line for solution in solutions(chapter) for line in solution.splitlines()]
    assert [line for line in lines if len(line) > LINE_WIDTH] == []


@chapters
def test_no_line_of_text_begins_with_a_percent_sign(chapter):
    """To jupytext it would be a magic command, and be gone from the page."""
    lines = (REPOSITORY / f"chapters/{chapter}.py").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"# ?%(?!%)", line)] == []


# --- Glossary -------------------------------------------------------------------------------------

# Terms whose words have an ordinary meaning, too: a chapter links them where they are meant.
ORDINARY = {
    "agreement", "amplification", "box", "certificate", "control", "in this build", "input", "interval", "judge",
    "lead", "luck", "margin", "pool", "price c", "recorded", "relaxation", "seeds", "target", "transfer", "unit",
    "verdict",
}  # fmt: skip


@cache
def terms() -> list[str]:
    lists = re.findall(r"^```\{glossary\}\n(.*?)^```$", prose("glossary"), re.MULTILINE | re.DOTALL)
    return [line for each in lists for line in each.splitlines() if line and not line.startswith(" ")]


@cache
def read(chapter: str) -> str:
    """A chapter's text as it is read: without headings, mathematics, code and exercises; links to terms stay."""
    text = "\n\n".join(cell.source for cell in cells(chapter, "markdown")).partition("## Exercises\n")[0]
    text = re.sub(r"^#+ [^\n]*$|^\$\$.*?\$\$(?: \([\w-]+\))?$|\$[^$]+\$", " ", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(\{[\w:]+\})?`[^`]*`", lambda found: found[0] if found[1] == "{term}" else " ", text)


def links_to_terms(chapter: str) -> dict[str, tuple[str, int]]:
    """The words of each link and where it stands, by its term. Raises for a second link to the same term."""
    found: dict[str, tuple[str, int]] = {}
    for link in re.finditer(r"\{term\}`([^`<]+?)(?:\s*<([^>]+)>)?`", read(chapter)):
        words, term = link[1], (link[2] or link[1]).lower()
        assert term not in found, f"{chapter} links {term!r} twice: once, where it is first used, is enough"
        found[term] = words, link.start()
    return found


def occurrence(words: str) -> re.Pattern:
    return re.compile(r"\b" + r"\s+".join(map(re.escape, words.split())) + r"s?\b", re.IGNORECASE)


@chapters
def test_a_term_is_linked_where_a_chapter_first_uses_it(chapter):
    text, links = read(chapter), links_to_terms(chapter)
    known = {term.lower() for term in terms()}
    assert links.keys() <= known
    early = {term: words for term, (words, place) in links.items() if occurrence(words).search(text[:place])}
    assert early == {}, f"{chapter} uses these before it links them"
    silent = [term for term in known - links.keys() - ORDINARY if occurrence(term.removesuffix("s")).search(text)]
    assert silent == [], f"{chapter} uses these and links them nowhere: {{term}}`...` where it does first"


def test_every_term_is_linked_from_a_chapter():
    linked = set().union(*(links_to_terms(chapter) for chapter in CHAPTERS))
    assert {term.lower() for term in terms()} - linked == set(), "in the glossary, and needed nowhere"


# --- Folded cells ---------------------------------------------------------------------------------


@chapters
def test_every_folded_cell_says_what_it_hides(chapter):
    folded = [cell for cell in cells(chapter, "code") if "hide-input" in cell.metadata.get("tags", [])]
    for cell in folded:
        numbered = [figure(cell)["name"]] if figure(cell) else []
        numbered += re.findall(r'"(tab-[\w-]+)"', cell.source) + re.findall(r"run\.verdicts\(\)", cell.source)
        assert book_pages.hidden_in(cell.source, numbered) != book_pages.UNNAMED, cell.source


# --- Beside the book ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "paper/README.md", "results/README.md"]
)
def test_files_that_the_maps_name_exist(page):
    text, folder = (REPOSITORY / page).read_text(), (REPOSITORY / page).parent
    links = [folder / link for link in re.findall(r"\]\((?!https?:)([^)#\s]+)\)", text)]
    paths = re.findall(r"`((?:lib|tests|benchmarks|paper|results|chapters|tools)/[\w./]+)`", text)
    assert [str(path) for path in [*links, *(REPOSITORY / path for path in paths)] if not path.exists()] == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "paper/README.md", "results/README.md"]
)
def test_modules_that_the_maps_name_exist(page):
    """`lib.wing.module` or `lib.wing.module.name`."""
    for name in re.findall(r"`(lib(?:\.\w+)+)`", (REPOSITORY / page).read_text()):
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), f"{page} names {name}"
