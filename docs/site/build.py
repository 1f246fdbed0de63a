"""Builds the documentation: the pages of ``docs/`` and a reference written from the code, as HTML.

``python docs/site/build.py [FOLDER]`` writes FOLDER/html (build/docs/html, where none is named), and ends with 1 where
a link, an anchor or a picture is broken. The pages need no network, neither to be built nor to be read.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reference import pages

SITE = Path(__file__).parent
DOCS = SITE.parent

#: The menu: heading -> page -> its name there. A page that is not there is left away; one that is there and not named
#: here comes under the last heading, by its title.
MENU = {
    "Begin": {"tutorial": "Tutorial"},
    "How to": {
        "howto/cc0": "Only CC0",
        "howto/region": "Only the Pacific Northwest",
        "howto/genus": "Classes by genus",
        "howto/own-folders": "Clean your own folders",
        "howto/other-taxa": "Other taxa than fungi",
        "howto/lab-server": "A server for the lab",
        "howto/gpu": "A box with a GPU",
    },
    "The steps": {
        "build": "All steps from one file",
        "cleaning": "Cleaning",
        "review": "Looking and judging",
        "baseline": "The baseline",
        "phone": "Files for a phone",
        "export": "Export",
        "licences": "Licences",
        "edibility": "Edibility",
        "python": "From Python",
    },
    "Why": {
        "why/dbscan": "Why DBSCAN",
        "why/groups": "Why groups in splits",
        "why/calibration": "What ECE says",
        "compared": "What else there is",
        "performance": "Performance",
    },
    "Reference": {
        "reference/commands": "Commands",
        "reference/exit-codes": "Exit codes",
        "reference/files": "Files and columns",
        "reference/sql": "SQL templates",
        "reference/python": "Python",
    },
    "More": {},
}


def build(folder: Path) -> int:
    """Write the site into ``folder/html``; return 0, or 1 when something is wrong with a page."""
    from sphinx.cmd.build import main

    for left in ("source", "doctrees", "html"):
        shutil.rmtree(folder / left, ignore_errors=True)
    source = folder / "source"
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("site", "__pycache__"))
    for page in source.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        page.write_text(without_outer_links(text, DOCS / page.relative_to(source)), encoding="utf-8")
    for name, text in pages().items():
        target = source / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    with (source / "index.md").open("a", encoding="utf-8") as index:
        index.write(menu(source))
    strict = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    doctrees = ["--doctree-dir", str(folder / "doctrees")]
    return main([*strict, *doctrees, "--conf-dir", str(SITE), str(source), str(folder / "html")])


def without_outer_links(text: str, page: Path) -> str:
    """Return a page's text without its links to files outside of ``docs/``, which the site does not have."""

    def plain(link: re.Match[str]) -> str:
        return link[0] if (page.parent / link[2]).resolve().is_relative_to(DOCS) else link[1]

    return re.sub(r"\[([^\]]+)\]\((\.\./[^)#]+)[^)]*\)", plain, text)


def menu(source: Path) -> str:
    """Return the table of contents, as Sphinx's directives."""
    there = {
        str(page.relative_to(source).with_suffix("")) for page in source.rglob("*") if page.suffix in {".md", ".rst"}
    }
    named = {page for pages in MENU.values() for page in pages}
    text = ""
    for heading, entries in MENU.items():
        lines = [f"{name} <{page}>" for page, name in entries.items() if page in there]
        if heading == list(MENU)[-1]:
            lines += sorted(there - named - {"index"})
        if lines:
            text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *lines, "```", ""])
    return text


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else DOCS.parent / "build" / "docs").absolute()))
