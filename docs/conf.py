"""The documentation site: Sphinx, pages in Markdown (MyST). `make docs` builds it; a warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]  # this checkout, installed or not

import generate  # noqa: E402 - this folder has to be on the path first
from sphinx.application import Sphinx  # noqa: E402

import tunedb  # noqa: E402

project = "tunedb"
author = "the tunedb authors"
copyright = author
version = release = tunedb.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_generated"]  # included by pages of reference/
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # so that [text](page.md#heading) works

default_role = "code"  # docstrings write `name` for code
autodoc_typehints = "none"  # signatures stay readable; the types are in the source
autodoc_member_order = "bysource"

html_theme = "pydata_sphinx_theme"
html_title = f"tunedb {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}
html_show_sourcelink = False
html_extra_path = ["_generated/site"]  # the report of the example sweeps
html_sidebars = {"quickstart": [], "benchmarks": []}  # pages without a section

generate.write(DOCS / "_generated")


def _plain_docstring(_app: object, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Turn what our docstrings use besides paragraphs into reStructuredText: drawn trees, and `argument: meaning`."""
    if what == "module":
        lines[:] = ["::", "", *(f"   {line}" for line in lines), ""]
    lines[:] = [re.sub(r"^([a-z_]+): (?=\S)", r":\1: ", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Connect the hook. Sphinx calls this."""
    app.connect("autodoc-process-docstring", _plain_docstring)
