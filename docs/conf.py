"""Sphinx configuration: ``make docs`` builds with -W, so that every warning is an error."""

import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import fem_ngf

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
html_title = f"fem_ngf {release}"


def plain_headings(app, what, name, obj, options, lines):
    """Headings in module docstrings become rubrics: numpydoc leaves them, and a page has several modules."""
    if what == "module":
        text = re.sub(r"^(\w+)\n-+$", r".. rubric:: \1\n", "\n".join(lines), flags=re.MULTILINE)
        lines[:] = text.splitlines()


def formula(node, displayed: bool) -> str:
    """MathML, which browsers show by themselves: pages need no network."""
    try:
        return tex2mathml(node.astext(), as_block=displayed)
    except MathError as error:
        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def inline_formula(writer, node):
    writer.body.append(formula(node, False))
    raise SkipNode


def displayed_formula(writer, node):
    writer.body.append(f'<div class="math">{formula(node, True)}</div>')
    raise SkipNode


def setup(app):
    app.connect("autodoc-process-docstring", plain_headings)
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
