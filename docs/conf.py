"""Configuration of Sphinx."""

import importlib.util
import re
import shutil
import sys
import warnings
from pathlib import Path

from docutils import nodes

# The gallery looks up HalvingGridSearchCV of an example even if it runs no example.
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

import skebm

sys.path.insert(0, str(Path(__file__).parent))
import links

# A copy of the examples with a header, so that their output stays out of the sources.
HERE = Path(__file__).parent
EXAMPLES = HERE / "_build" / "examples"
EXAMPLES.mkdir(parents=True, exist_ok=True)
shutil.copy2(HERE / "gallery_header.rst", EXAMPLES / "GALLERY_HEADER.rst")
for example in (HERE.parent / "examples").glob("plot_*.py"):
    shutil.copy2(example, EXAMPLES)

project = "skebm"
author = "the skebm developers"
copyright = "2026, the skebm developers"
version = release = skebm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "notes", "gallery_header.rst"]
default_role = "py:obj"
# Docstrings inherited from scikit-learn point to labels of its own pages.
suppress_warnings = ["ref.ref", "ref.term"]

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "gallery",
    "filename_pattern": r"[\\/]plot_",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skebm"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["skebm.css"]
html_theme_options = {
    "show_prev_next": False,
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"install": [], "getting_started": [], "results": [], "migration": []}

# Formulas without a network: a package has MathJax; else it comes from its servers.
offline = importlib.util.find_spec("sphinx-mathjax-offline")
if offline:
    html_static_path.append(str(Path(offline.origin).parent / "static"))
    mathjax_path = "mathjax/tex-chtml.js"

# Networks and regressions of other methods in the examples stop at their own limits.
warnings.filterwarnings("ignore", message=".*(M|m)aximum (number of )?[iI]teration.*")


def tidy_docstring(app, what, name, obj, options, lines):
    """Join lines that a backslash continues; keep a trailing _ from being a link."""
    text = re.sub(r"(?<!\\)\\\n\s*", "", "\n".join(lines))
    lines[:] = re.sub(r"\((\w+_),\)", r"(`\1`,)", text).split("\n")


def follow(app, env, node, contnode):
    """Make a link of a bare name: see `links`."""
    full_name = links.target(node.get("reftarget", ""), node.get("refdoc", ""))
    if node.get("refdomain") != "py" or full_name is None:
        return None
    address = links.address(full_name)
    if address:
        return nodes.reference("", "", contnode, internal=False, refuri=address)
    domain, page = env.get_domain("py"), node["refdoc"]
    found = domain.objects.get(full_name)
    if found is None:
        return None
    return nodes.reference(
        "",
        "",
        contnode,
        internal=True,
        refuri=f"{app.builder.get_relative_uri(page, found.docname)}#{found.node_id}",
        reftitle=full_name,
    )


def setup(app):
    """Register the hooks; that of docstrings before numpydoc's."""
    app.connect("autodoc-process-docstring", tidy_docstring, priority=1)
    app.connect("missing-reference", follow)
