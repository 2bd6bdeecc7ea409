"""How Sphinx builds these pages: `make docs`."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from bench.version import __version__

project = "regionbench"
author = "The regionbench authors"
copyright = author
version = release = __version__

# The contents of the sidebar; the front page is index.md, which reads well without a site too.
root_doc = "contents"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
# Docstrings put code between single backticks, as Markdown does.
default_role = "code"

# Headings have the anchors that other renderers of Markdown give them.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = f"regionbench {release}"
html_css_files = ["site.css"]
html_static_path = ["static"]
templates_path = ["templates"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["pages.html"]}
html_theme_options = {
    "navbar_start": ["navbar-logo"],
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "logo": {"text": "regionbench", "link": "index.html"},
    "show_nav_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def unlink_what_is_no_page(app: Sphinx, doctree: nodes.document) -> None:
    """Turn links to files of the repository into plain text: the site does not hold them."""
    here = Path(app.srcdir)
    for link in list(doctree.findall(lambda node: hasattr(node, "get") and "reftarget" in node.attributes)):
        target = str(link["reftarget"]).partition("#")[0]
        if target.startswith("../") and (here / target).exists():
            link.replace_self(link.children)


def mark_code(app: Sphinx, what: str, name: str, part: object, options: object, lines: list[str]) -> None:
    """Mark an indented block behind a colon as code, as docstrings mean it; sections of arguments stay."""
    for at in range(len(lines) - 2):
        line, gap, block = lines[at : at + 3]
        indent = len(line) - len(line.lstrip())
        if line.endswith(":") and not gap.strip() and block.startswith(" " * (indent + 4)):
            lines[at] = f"{line}:"


def setup(app: Sphinx) -> None:
    """Register what these pages need beside the extensions."""
    # Before napoleon reads the sections of a docstring.
    app.connect("autodoc-process-docstring", mark_code, priority=400)
    app.connect("doctree-read", unlink_what_is_no_page)
