"""The page in a real browser: nothing leaves it, everybody can read it, and it prints."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from shroomcurate.dataset import Dataset, read_table
from shroomcurate.report import report
from tests.reported import make_full

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with its page, at which all tests look."""
    dataset = make_full(tmp_path_factory.mktemp("report") / "dataset")
    report(dataset)
    return dataset


@pytest.fixture
def opened(page: Page, made: Dataset) -> tuple[Page, Dataset]:
    page.goto(made.path("report.html").as_uri())
    return page, made


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_to_object_to(
    opened: tuple[Page, Dataset], scheme: Literal["light", "dark"], width: int
) -> None:
    page, _ = opened
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_nothing_sticks_out_sideways(opened: tuple[Page, Dataset]) -> None:
    page, _ = opened
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_attribution_file_can_be_saved_and_holds_the_kept_photos(opened: tuple[Page, Dataset]) -> None:
    page, dataset = opened
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Save attribution.csv.gz").click()
    saved = waiting.value
    assert saved.suggested_filename == "attribution.csv.gz"
    with gzip.open(saved.path(), "rt", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(io.StringIO(handle.read(), newline="")))
    kept = [row["path"] for row in read_table(dataset.path("clean.parquet")).to_pylist() if row["kept"]]
    assert [row["path"] for row in rows] == kept


def test_everything_is_reached_by_the_keyboard(opened: tuple[Page, Dataset]) -> None:
    page, _ = opened
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    box = page.locator(":focus").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    reached = "a[href], .scroll, summary"
    assert page.evaluate(f"[...document.querySelectorAll('{reached}')].every(each => each.tabIndex === 0)")


def test_all_photos_and_charts_are_drawn(opened: tuple[Page, Dataset]) -> None:
    page, _ = opened
    assert page.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    flat = "[...document.querySelectorAll('svg[role=img]')].filter(each => each.getBoundingClientRect().height < 20)"
    assert page.evaluate(f"{flat}.length") == 0


def test_in_print_details_are_open_paper_is_white_and_addresses_are_written_out(opened: tuple[Page, Dataset]) -> None:
    page, _ = opened
    assert not page.locator("details td").first.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("details td").first.is_visible()
    assert page.locator("details dl").last.is_visible()
    assert not page.get_by_role("navigation").is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(0, 0, 0)"
    address = "getComputedStyle(document.querySelector('a[rel~=license]'), '::after').content"
    assert "https://creativecommons.org/licenses/by/4.0/" in page.evaluate(address)
    saved = "getComputedStyle(document.querySelector('a[download]'), '::after').content"
    assert page.evaluate(saved) == "none"


def test_no_script_can_run_in_the_page(browser: Browser, made: Dataset) -> None:
    page = browser.new_page()  # one of which nobody minds what it complains of
    page.goto(made.path("report.html").as_uri())
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script" not in policy
    ran = """() => { const made = document.createElement('script'); made.textContent = 'window.ran = 1';
                     document.body.append(made); return window.ran === 1; }"""
    assert page.evaluate(ran) is False
    page.close()
