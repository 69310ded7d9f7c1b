"""Sphinx configuration: ``make docs`` builds with -W, so that every warning is an error."""

import fem_ngf

project = "fem_ngf"
author = "The fem_ngf developers"
copyright = "2026, the fem_ngf developers"
version = release = fem_ngf.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "tables"]

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": False}
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"fem_ngf {release}"
html_static_path: list[str] = []
