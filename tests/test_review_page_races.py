"""The page while answers come late, twice or not at all, and while the photos change under it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from shroomcurate.clean.tables import SCHEMA
from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.download.manifest import SCHEMA as DOWNLOADS

from .review_pages import (
    OPTIONS,
    all_saved,
    focused,
    judged,
    lines,
    marks,
    on_disk,
    open_view,
    order,
    paths,
    press,
    saved,
)
from .review_server import Reviewed, reviewed

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VERDICTS = re.compile("/api/verdicts$")
UNDO = re.compile("/api/undo$")


@pytest.fixture
def fungi(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return judged(tmp_path_factory.mktemp("races") / "fungi")


@pytest.fixture
def server(fungi: Dataset) -> Iterator[Reviewed]:
    with reviewed(fungi.root) as server:
        yield server


def lose_the_answer(page: Page, url: re.Pattern[str]) -> None:
    """Let the next request to this address reach the server, and its answer never come back, as when a lid closes."""

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route(url, lose, times=1)


# -- answers that are lost ---------------------------------------------------------------------------------------------


def test_an_undo_whose_answer_was_lost_takes_back_one_step(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    first = order(page)[0]
    press(page, "k", "k")
    all_saved(page)
    lose_the_answer(page, UNDO)
    press(page, "u")
    expect(page.locator("#told")).to_contain_text("Taken back: 1 photo")
    assert on_disk(fungi) == {first: "keep"} == saved(page)


def test_a_verdict_whose_answer_was_lost_is_one_step(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    lose_the_answer(page, VERDICTS)
    press(page, "k")
    all_saved(page)
    assert len(lines(fungi)) == 1
    press(page, "u")
    expect(page.locator("#told")).to_contain_text("Taken back: 1 photo")
    assert on_disk(fungi) == {} == saved(page)


def test_a_verdict_whose_answer_was_lost_does_not_undo_that_of_another_tab(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    photo = focused(page)

    def other_tab_first(route: Route) -> None:
        route.fetch()
        server.decide([photo], "remove", "scenery", tab="other")
        route.abort()

    page.route(VERDICTS, other_tab_first, times=1)
    press(page, "k")
    all_saved(page)
    assert on_disk(fungi) == {photo: "scenery"} == saved(page)


# -- verdicts that wait ------------------------------------------------------------------------------------------------


def test_undo_of_a_verdict_that_waits_shows_the_one_that_waits_before_it(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    photo = focused(page)
    page.route(VERDICTS, lambda route: route.abort())
    press(page, "k")
    expect(page.locator("#banner")).to_be_visible()
    press(page, "ArrowLeft", "4", "u")
    expect(page.locator("#told")).to_contain_text("Taken back")
    assert marks(page)[photo].verdict == "keep"
    assert marks(page)[photo].saved == "failed"
    page.unroute(VERDICTS)
    all_saved(page)
    assert on_disk(fungi) == {photo: "keep"} == saved(page)


def test_a_refused_verdict_that_was_given_anew_is_over(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    photo = focused(page)
    page.route(VERDICTS, lambda route: route.fulfill(status=400, json={"what": "No.", "hint": ""}), times=1)
    press(page, "4")
    expect(page.locator("#banner")).to_contain_text("not saved")
    press(page, "ArrowLeft", "k")
    all_saved(page)
    expect(page.locator("#banner")).to_be_hidden()
    assert on_disk(fungi) == {photo: "keep"} == saved(page)


def test_a_refused_verdict_on_several_is_sent_again_for_those_not_judged_since(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    first, second = order(page)[:2]
    page.route(VERDICTS, lambda route: route.fulfill(status=400, json={"what": "No.", "hint": ""}), times=1)
    press(page, "Shift+ArrowRight", "4")
    expect(page.locator("#banner")).to_contain_text("2 photos are not saved")
    press(page, "Home", "k")
    expect(page.locator("#banner")).to_contain_text("1 photo are not saved")
    page.locator("#retry").click()
    expect(page.locator("#banner")).to_be_hidden()
    all_saved(page)
    assert on_disk(fungi) == {first: "keep", second: "too_far"} == saved(page)


def test_an_undo_that_waits_is_not_left_behind_unasked(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    press(page, "k")
    all_saved(page)
    page.route(UNDO, lambda route: route.abort())
    press(page, "u")
    expect(page.locator("#banner")).to_be_visible()
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.evaluate("location.reload()")
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    page.unroute(UNDO)
    expect(page.locator("#banner")).to_be_hidden()
    assert on_disk(fungi) == {}


# -- answers that come late --------------------------------------------------------------------------------------------


def test_what_was_decided_while_the_facts_were_on_their_way_is_shown(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    mine, theirs = order(page)[:2]
    done: list[bool] = []

    def meanwhile(route: Route) -> None:
        answer = route.fetch()
        server.decide([theirs], "remove", "scenery", tab="other")
        page.keyboard.press("k")
        expect(page.locator(f'[data-number="{mine}"]')).to_have_attribute("data-saved", "yes")
        route.fulfill(response=answer)
        done.append(True)

    page.route(re.compile("/api/dataset$"), meanwhile, times=1)
    fungi.path("clean.parquet").touch()  # another generation of the same photos
    server.get("api/dataset")
    while not done:
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)
    expect(page.locator(f'[data-number="{theirs}"] .verdict b')).to_have_text("scenery")
    assert saved(page) == on_disk(fungi) == {mine: "keep", theirs: "scenery"}


@pytest.mark.parametrize(("keys", "place"), [((), 0), (("End",), 29), (("k",), 2)])
def test_an_undo_goes_where_it_was_only_when_nobody_has_moved_on(
    page: Page, server: Reviewed, keys: tuple[str, ...], place: int
) -> None:
    done: list[bool] = []

    def late(route: Route) -> None:
        answer = route.fetch()
        press(page, *keys)
        route.fulfill(response=answer)
        done.append(True)

    open_view(page, server.url)
    press(page, "k")
    all_saved(page)
    page.route(UNDO, late, times=1)
    press(page, "u")
    while not done:
        page.wait_for_timeout(100)
    all_saved(page)
    page.wait_for_timeout(300)
    expect(page.locator("#list .cell.focused")).to_have_attribute("data-number", str(place))


@pytest.mark.parametrize("held", ["api/view", "main.js"])
def test_who_types_before_the_photos_are_there_gets_what_was_typed(page: Page, server: Reviewed, held: str) -> None:
    def late(route: Route) -> None:
        page.locator("#text").fill("Boletus")
        page.wait_for_timeout(400)
        route.continue_()

    page.route(re.compile(re.escape(held)), late, times=1)
    open_view(page, server.url)
    expect(page.locator("#count")).to_have_text("10 photos")


def test_an_address_that_somebody_has_mangled_shows_the_photos(page: Page, server: Reviewed) -> None:
    open_view(page, server.url, size="huge", photo="x")
    page.wait_for_timeout(100)
    assert len(order(page)) == 30


# -- photos that change ------------------------------------------------------------------------------------------------


def renumber(fungi: Dataset, server: Reviewed) -> None:
    """Take the first photo away, so that every number means the next photo; the page hears of it."""
    table = fungi.path("clean.parquet")
    rows = read_table(table).to_pylist()
    fungi.locate(rows[0]["path"], rows[0]["reason"]).unlink()
    write_table(table, make_table(SCHEMA, rows[1:]), Receipt("clean", {}))
    server.get("api/dataset")


def test_where_the_numbers_change_nothing_is_judged_before_the_new_photos_are_seen(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    press(page, *["ArrowRight"] * 7)
    pressed: list[bool] = []

    def late(route: Route) -> None:
        press(page, "k")
        page.wait_for_timeout(300)
        pressed.append(True)
        route.continue_()

    page.route(re.compile("/api/view"), late, times=1)
    renumber(fungi, server)
    expect(page.locator(OPTIONS)).to_have_count(29)
    assert pressed
    assert lines(fungi) == []
    assert focused(page) == 7


def test_where_the_numbers_change_the_large_view_does_not_stay_at_a_photo_of_another_number(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    press(page, *["ArrowRight"] * 7, "Enter")
    expect(page.locator("#large .path")).to_have_text(paths(fungi)[7])
    renumber(fungi, server)
    expect(page.locator("#large")).to_be_hidden()
    expect(page.locator("#told")).to_have_text("The photos have changed meanwhile.")
    expect(page.locator(OPTIONS)).to_have_count(29)
    press(page, "Enter")
    expect(page.locator("#large .path")).to_have_text(paths(fungi)[7])


def test_photos_that_a_download_brings_are_there_after_a_reload(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    place = next(iter(fungi.photos().values()))
    (fungi.images / "Amanita_muscaria" / "1.jpg").write_bytes(place.read_bytes())
    write_table(fungi.path("downloads.parquet"), make_table(DOWNLOADS, []), Receipt("download", {}))
    open_view(page, server.url)
    expect(page.locator("#count")).to_have_text("31 photos")


def test_duplicates_of_which_all_are_removed_are_not_said_to_stay(page: Page, server: Reviewed, fungi: Dataset) -> None:
    table = fungi.path("clean.parquet")
    rows = read_table(table).to_pylist()
    copy = next(row for row in rows if row["duplicate_of"])
    original = next(row for row in rows if row["path"] == copy["duplicate_of"])
    original |= {"kept": False, "reason": "drawing", "decided_by": "person"}
    write_table(table, make_table(SCHEMA, rows), Receipt("clean", {}))
    open_view(page, server.url, "duplicates", **{"class": copy["class"]})
    press(page, "Enter")
    expect(page.locator("#large .group button")).to_have_text(["copy 1", "copy 2"])


# -- Apply -------------------------------------------------------------------------------------------------------------


def test_a_server_that_ends_while_it_applies_leaves_no_dialog_that_waits_for_ever(page: Page, fungi: Dataset) -> None:
    with fungi.lock("test"), reviewed(fungi.root) as first:
        open_view(page, first.url)
        press(page, "k")
        all_saved(page)
        page.route(re.compile("/api/apply$"), lambda route: route.fulfill(status=202, json={"state": "running"}))
        page.locator("#apply").click()
        page.locator("#applying").get_by_role("button", name="Apply").click()
        expect(page.locator("#applying")).to_have_attribute("data-state", "running")
        first.kill()
        with reviewed(fungi.root) as again:
            assert again.url == first.url
            expect(page.locator("#applying")).to_have_attribute("data-state", "failed", timeout=20_000)
            expect(page.locator("#applying")).to_contain_text("The server ended while it was cleaning")


# -- tabs --------------------------------------------------------------------------------------------------------------


def test_a_tab_that_was_duplicated_takes_back_its_own_steps_only(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    first = order(page)[0]
    press(page, "k")
    all_saved(page)
    with page.expect_popup() as opened:  # it gets a copy of what the tab has stored, as a duplicate does
        page.evaluate("window.open(location.href)")
    other = opened.value
    other.wait_for_selector("#list .cell.focused")
    press(other, "u")
    expect(other.locator("#told")).to_contain_text("nothing to take back")
    assert on_disk(fungi) == {first: "keep"}
