"""`{docstrings}`: functions of lib that `pip install .` installs, how each is called and what it says of itself."""

import inspect

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PLAIN = (int, float, bool, type(None))  # defaults that are shown; of a configuration a reader looks at the class


def modules() -> dict:
    """Those that are shown, by their names without `lib`."""
    # Here, since they take seconds, and one page asks.
    from lib.attacks import branching, exact, levels, penalized, perturbations, tight
    from lib.measures import certificates, spectral
    from lib.solvers import lbfgs, quadratic

    shown = branching, exact, levels, penalized, perturbations, tight, certificates, spectral, lbfgs, quadratic
    return {module.__name__.removeprefix("lib."): module for module in shown}


def call(name: str, function) -> str:
    """A line that calls it: names of its arguments, and defaults where these are plain."""
    arguments = []
    for each in inspect.signature(function).parameters.values():
        default = "" if each.default is each.empty else f"={each.default if isinstance(each.default, PLAIN) else '...'}"
        arguments.append(f"{each.name}{default}")
    return f"{name}({', '.join(arguments)})"


class Docstrings(SphinxDirective):
    """A name of `lib` on each line, without `lib`."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        found, known = [], modules()
        for line in filter(None, self.content):
            module, _, name = line.rpartition(".")
            function = getattr(known[module], name)
            signature = nodes.literal_block("", call(f"intriguing.{line}", function), language="python")
            text = nodes.literal_block("", inspect.getdoc(function), language="text")
            found.append(nodes.container("", signature, text, classes=["docstring"]))
        return found


def setup(app) -> dict:
    app.add_directive("docstrings", Docstrings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
