"""What Sphinx is told about the documentation. ``build.py`` prepares the pages and calls it."""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from shroomcurate import __version__

project = "shroomcurate"
author = "the authors of shroomcurate"
version = release = __version__
html_title = f"shroomcurate {__version__}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # links to headings, as forges make them
napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
default_role = "literal"


def setup(app: Sphinx) -> None:
    """Tell Pygments that a block of CSV is plain text."""
    app.add_lexer("csv", TextLexer)


html_theme = "furo"  # its fonts are the reader's own, and it asks no other server for anything
html_static_path = ["static"]
html_css_files = ["look.css"]
html_show_search_summary = False  # a page that is opened as a file may not fetch others
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "announcement": "Photos of mushrooms are not food advice. Never eat a mushroom because of what this tool says.",
    "light_css_variables": {"color-brand-primary": "#9a3412", "color-brand-content": "#9a3412"},
    "dark_css_variables": {"color-brand-primary": "#fdba74", "color-brand-content": "#fdba74"},
}
