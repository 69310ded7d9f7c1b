"""Sphinx configuration: ``make docs`` builds with -W, so that every warning is an error."""

import ast
import inspect
import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import fem_ngf
from fem_ngf.output.prose import spelled_out

sys.path.append(str(Path(__file__).parents[1] / "cases"))  # the modules of the tank stand beside its case

project = "fem_ngf"
author = "The fem_ngf developers"
copyright = "2026, the fem_ngf developers"
version = release = fem_ngf.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "tables"]

myst_enable_extensions = ["amsmath", "dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# cKDTree is not ours, but autodoc reads its signature (and stumbles) before it sees that.
autodoc_default_options = {"members": True, "exclude-members": "cKDTree"}
numpydoc_show_class_members = False

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["wide.css"]
html_title = f"fem_ngf {release}"


def plain_headings(app, what, name, obj, options, lines):
    """Headings in module docstrings become rubrics: numpydoc leaves them, and a page has several modules."""
    if what == "module":
        text = re.sub(r"^(\w+)\n-+$", r".. rubric:: \1\n", "\n".join(lines), flags=re.MULTILINE)
        lines[:] = text.splitlines()


def formula(node, displayed: bool) -> str:
    """MathML, which browsers show by themselves: pages need no network."""
    try:
        return tex2mathml(spelled_out(node.astext()), as_block=displayed)
    except MathError as error:
        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def inline_formula(writer, node):
    writer.body.append(formula(node, False))
    raise SkipNode


def displayed_formula(writer, node):
    writer.body.append(f'<div class="math">{formula(node, True)}</div>')
    raise SkipNode


def public_names() -> dict[str, str]:
    """Names that a user imports from the package, and where each is defined, from its stub."""
    stub = ast.parse(Path(fem_ngf.__file__).with_suffix(".pyi").read_text())
    return {name.asname: f"fem_ngf.{node.module}.{name.name}" for node in stub.body
            if isinstance(node, ast.ImportFrom) for name in node.names}


def write_index(app):
    """The page of all public names with a line each."""
    rows = ["# Index of the public names", "", "All of them are imported from `fem_ngf`.", "", "| name | what it is |",
            "| --- | --- |"]
    for name, place in sorted(public_names().items(), key=lambda pair: pair[0].lower()):
        line = (inspect.getdoc(getattr(fem_ngf, name)) or "").partition("\n")[0].replace("|", "\\|")
        line = re.sub(r":math:`([^`]*)`", r"$\1$", line)
        rows.append(f"| {{py:obj}}`{name} <{place}>` | {line} |")
    (Path(__file__).parent / "names.md").write_text("\n".join(rows) + "\n")


def check_index(app, env):
    """Every public name is described on a page of the API."""
    known = env.get_domain("py").objects
    for name, place in public_names().items():
        if place not in known:
            logging.getLogger(__name__).warning("the public name %s (%s) is on no page of the API", name, place)


def setup(app):
    app.connect("builder-inited", write_index)
    app.connect("env-check-consistency", check_index)
    app.connect("autodoc-process-docstring", plain_headings)
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
