"""reStructuredText, such as the documentation of a case, as HTML that needs nothing else: formulas are MathML."""

from __future__ import annotations

import inspect
import re

SETTINGS = {
    "math_output": "MathML", "initial_header_level": 3, "doctitle_xform": False, "report_level": 5, "halt_level": 6,
    "raw_enabled": False, "file_insertion_enabled": False, "_disable_config": True, "embed_stylesheet": False,
}
"""What is written cannot bring in HTML of its own, nor files; what is wrong in it is shown as it is."""


def as_html(text: str) -> str:
    """The text as HTML, escaped; one that is no reStructuredText comes out as it is, in paragraphs.

    Examples
    --------
    >>> print(as_html("Find *m* in :math:`-u'' = m`.")[:16], "<math" in as_html(":math:`m`"))
    <p>Find <em>m</e True
    """
    from docutils.core import publish_parts

    text = spelled_out(inspect.cleandoc(text))
    return publish_parts(text, writer="html5", settings_overrides=SETTINGS)["body"].strip()


def spelled_out(tex: str) -> str:
    r"""TeX as docutils' conversion to MathML reads it right: ``\tfrac12`` with braces, ``\dots`` as ``\ldots``.

    Examples
    --------
    >>> print(spelled_out(r"\tfrac12 x, \frac1h, \dots"))
    \tfrac{1}{2} x, \frac{1}h, \ldots
    """
    return re.sub(r"(\\[dt]?frac)(\d)(\d)?", lambda found: "".join(
        [found[1], *(f"{{{digit}}}" for digit in found.groups()[1:] if digit)]), tex.replace(r"\dots", r"\ldots"))
