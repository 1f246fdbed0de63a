"""The documentation's site: built without a warning, read without a network, on screens of any width."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

pytest.importorskip("sphinx", reason="the docs group is not installed")


class Site(NamedTuple):
    html: Path
    returncode: int
    output: str

    def page(self, name: str) -> str:
        return (self.html / f"{name}.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(DOCS / "site" / "build.py"), str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ})
    return Site(folder / "html", built.returncode, built.stdout + built.stderr)


class TestTheSite:
    def test_it_is_built_without_a_broken_link_anchor_or_picture(self, site: Site) -> None:
        assert site.output == ""
        assert site.returncode == 0

    def test_it_has_a_page_for_each_of_docs_in_its_menu(self, site: Site) -> None:
        menu = site.page("index")
        for page in DOCS.rglob("*.md"):
            if page.name != "index.md":
                address = page.relative_to(DOCS).with_suffix(".html").as_posix()
                assert f'href="{address}"' in menu, address

    def test_the_reference_names_every_command_column_template_and_export(self, site: Site) -> None:
        import shroomcurate
        from shroomcurate.clean import SCHEMA
        from shroomcurate.cli import MODULES
        from shroomcurate.errors import Busy
        from shroomcurate.select.templates import bundled

        commands = site.page("reference/commands")
        for command in (name for names in MODULES.values() for name in names):
            assert f'id="{command}"' in commands, command
        files = site.page("reference/files")
        assert all(f">{column.name}<" in files for column in SCHEMA)
        sql = site.page("reference/sql")
        assert all(template.description.split(":")[0] in sql for template in bundled())
        assert f"<p>{Busy.exit_code}</p>" in site.page("reference/exit-codes")
        python = site.page("reference/python")
        for name in set(shroomcurate.__all__) - {"__version__"}:
            assert f"shroomcurate.{name}" in python, name

    def test_the_safety_notice_stands_on_every_page(self, site: Site) -> None:
        assert (site.html / "index.html").exists()
        for page in site.html.rglob("*.html"):
            assert "not food advice" in page.read_text(encoding="utf-8"), page.name

    def test_no_page_loads_anything_from_elsewhere(self, site: Site) -> None:
        for page in site.html.rglob("*.html"):
            loaded = re.findall(
                r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', page.read_text(encoding="utf-8")
            )
            assert loaded
            assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page.name


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["wide and light", "narrow and dark"])
def test_pages_fit_the_window_and_ask_no_other_server(site: Site, browser: Browser, width: int, dark: bool) -> None:
    scheme = "dark" if dark else "light"
    with watched(browser, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        for name in (
            "index",
            "tutorial",
            "compared",
            "cleaning",
            "reference/commands",
            "reference/sql",
            "reference/python",
        ):
            page.goto((site.html / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background != "rgb(255, 255, 255)") == dark
        page.goto((site.html / "search.html").as_uri() + "?q=duplicates")
        page.wait_for_selector("ul.search li a")
