"""The chapters hold together: every name, number, label and reference in them leads somewhere. Nothing is executed."""

import ast
import importlib
import re
from collections import Counter
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import pytest
import yaml

from lib.experiments.digits import Experiment
from tools.build import pages

REPOSITORY = Path(__file__).parent.parent
PAGES = list(pages(yaml.safe_load((REPOSITORY / "_toc.yml").read_text())))
CHAPTERS = [Path(page).name for page in PAGES if page.startswith("chapters/")]
PARAMETERS = {"profile": "quick", "data": "auto", "device": "auto", "seed": 0}
PLOTS = {"plots": plots, "spectral_plots": spectral_plots}
WITHOUT_EXPERIMENT = ["verdict"]  # reads what the others recorded

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
    begun = [ast.unparse(call) for call in calls(chapter, "experiment.begin")]
    finished = [ast.unparse(statement) for statement in code(chapter).body].count("run.finish()")
    if chapter in WITHOUT_EXPERIMENT:
        assert (begun, finished) == ([], 0)
    else:
        assert begun == [f"experiment.begin('{chapter}', {', '.join(PARAMETERS)})"]
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
        and dotted(node.value.func) == "files.gather"
    ]
    names = {name.id for target in given for name in target.elts}
    bound = Counter(
        node.id for node in ast.walk(code(chapter)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    assert {name: bound[name] for name in names} == dict.fromkeys(names, 1)


@chapters
def test_results_are_written_where_the_run_is_recorded_only(chapter):
    """Every call of paper.record and paper.record_claim stands under `if run.records:`."""
    guarded = {
        id(node)
        for test in ast.walk(code(chapter))
        if isinstance(test, ast.If) and ast.unparse(test.test) == "run.records"
        for statement in test.body
        for node in ast.walk(statement)
    }
    records = [*calls(chapter, "paper.record"), *calls(chapter, "paper.record_claim")]
    assert all(id(call) in guarded for call in records)


# --- Names ----------------------------------------------------------------------------------------


def imported(chapter: str) -> dict[str, object]:
    """What a chapter imports from lib, under the names it uses."""
    found = {}
    for node in ast.walk(code(chapter)):
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


@chapters
def test_what_a_chapter_takes_from_lib_is_there(chapter):
    known = {name: members(value) for name, value in imported(chapter).items()}
    if chapter not in WITHOUT_EXPERIMENT:
        known["run"] = members(Experiment)
    used = [
        (node.value.id, node.attr)
        for node in ast.walk(code(chapter))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known
    ]
    assert used
    assert [f"{name}.{attribute}" for name, attribute in used if attribute not in known[name]] == []


@chapters
def test_no_name_from_lib_is_overwritten_and_none_is_left_unused(chapter):
    names = [node for node in ast.walk(code(chapter)) if isinstance(node, ast.Name)]
    taken = set(imported(chapter))
    assert taken & {node.id for node in names if isinstance(node.ctx, ast.Store)} == set()
    assert taken <= {node.id for node in names if isinstance(node.ctx, ast.Load)}


@chapters
def test_files_that_the_prose_names_exist(chapter):
    paths = re.findall(r"`((?:lib|tests|benchmarks|paper|results|chapters)/[\w./]*)`", prose(f"chapters/{chapter}"))
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@chapters
def test_things_in_lib_that_the_prose_names_exist(chapter):
    known = imported(chapter)
    for name, attribute in re.findall(r"(?<!\})`(\w+)\.(\w+)`", prose(f"chapters/{chapter}")):
        if name in known:
            assert attribute in members(known[name]), f"{name}.{attribute}"


# --- Numbers --------------------------------------------------------------------------------------


def glued(chapter: str) -> list[str]:
    return [pattern(call.args[0]) for call in calls(chapter, "glue")]


@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_the_prose_is_glued_on_that_page(page):
    used = {content.split(":")[0] for content in roles(page, "glue:text")}
    names = glued(Path(page).name) if page.startswith("chapters/") else []
    assert [name for name in used if not any(re.fullmatch(pattern, name) for pattern in names)] == []


@chapters
def test_every_glued_number_is_used(chapter):
    used = {content.split(":")[0] for content in roles(f"chapters/{chapter}", "glue:text")}
    used.add("dataset")  # the table on the first page shows it
    assert [name for name in glued(chapter) if not any(re.fullmatch(name, other) for other in used)] == []


@chapters
def test_glued_values_do_not_show_twice(chapter):
    shown = [ast.unparse(call) for call in calls(chapter, "glue") if "display=False" not in ast.unparse(call)]
    assert shown == []


# --- Figures and tables ---------------------------------------------------------------------------


def plotting_cells(chapter: str) -> list[nbformat.NotebookNode]:
    """Cells whose last expression is one of lib's figures."""
    found = []
    for cell in cells(chapter, "code"):
        last = ast.parse(cell.source).body[-1]
        value = last.value if isinstance(last, ast.Expr) else None
        if isinstance(value, ast.Call) and dotted(value.func).partition(".")[0] in PLOTS:
            found.append(cell)
    return found


@chapters
def test_every_figure_has_a_caption_a_name_and_words_for_those_who_cannot_see_it(chapter):
    for cell in plotting_cells(chapter):
        assert figure(cell).get("caption", "").endswith("."), cell.source
        assert re.fullmatch(r"fig-[a-z]+(-[a-z]+)*", figure(cell).get("name", "")), cell.source
        assert len(cell.metadata.mystnb.get("image", {}).get("alt", "")) >= 20, cell.source


@chapters
def test_every_figure_is_its_cells_last_expression(chapter):
    """Anywhere else it would be drawn and not shown; and a cell with a caption has to have a figure."""
    drawn = [
        node for name, module in PLOTS.items() for each in vars(module) for node in calls(chapter, f"{name}.{each}")
    ]
    captioned = [cell for cell in cells(chapter, "code") if figure(cell)]
    assert len(drawn) == len(plotting_cells(chapter))
    assert captioned == plotting_cells(chapter)


def markdown_tables(chapter: str) -> list[dict[str, ast.expr]]:
    names = ("table", "caption", "name", "align")
    return [
        dict(zip(names, call.args, strict=False)) | {keyword.arg: keyword.value for keyword in call.keywords}
        for call in calls(chapter, "paper.to_markdown")
    ]


@chapters
def test_every_table_has_a_name_and_is_rendered_as_myst(chapter):
    for table in markdown_tables(chapter):
        assert re.fullmatch(r"tab-[a-z]+(-[a-z]+)*", ast.literal_eval(table["name"]))
    for cell in cells(chapter, "code"):
        if "to_markdown" in cell.source or "run.banner" in cell.source:
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
        found.update(ast.literal_eval(table["name"]) for table in markdown_tables(chapter))
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


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_page_leads_to_a_page(page):
    folder = Path(page).parent
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose(page))
    assert [link for link in links if (folder / link).as_posix() not in PAGES] == []


# --- Claims ---------------------------------------------------------------------------------------


def test_every_claim_is_judged_by_its_chapter():
    """Once, and no chapter judges what paper/claims.csv does not list."""
    claims = pd.read_csv(REPOSITORY / "paper" / "claims.csv", dtype=str)
    judged = [
        (ast.literal_eval(call.args[0]), chapter)
        for chapter in CHAPTERS
        for call in calls(chapter, "paper.record_claim")
    ]
    assert sorted(judged) == sorted(zip(claims["id"], claims["chapter"], strict=True))
