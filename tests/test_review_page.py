"""Judging photos in the browser: what the page shows as saved is in verdicts.csv, whatever happens to the server."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.dataset import Dataset
from shroomcurate.embed import EmbedOptions, embed

from .conftest import jpeg
from .review_pages import (
    EACH,
    NOISE,
    REASON_KEYS,
    SMALL,
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
    shown,
)
from .review_server import Reviewed, reviewed

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def fungi(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return judged(tmp_path_factory.mktemp("judging") / "fungi")


@pytest.fixture(scope="module")
def running(fungi: Dataset) -> Iterator[Reviewed]:
    with reviewed(fungi.root) as server:
        yield server


@pytest.fixture
def server(running: Reviewed, fungi: Dataset) -> Reviewed:
    """The server, of a dataset without verdicts."""
    fungi.path("verdicts.csv").unlink(missing_ok=True)
    return running


# -- by keys alone ----------------------------------------------------------------------------------------------------


def test_thirty_photos_judged_by_keys_alone_are_on_disk_as_the_page_shows_them(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url, "classes")
    photos = order(page)
    assert len(photos) == 30
    expected: dict[int, str] = {}

    press(page, "k", "r")  # the second was removed: its reason stays
    expected |= {photos[0]: "keep", photos[1]: NOISE[1]}
    for place, (key, reason) in enumerate(REASON_KEYS.items(), start=2):
        press(page, key)
        expected[photos[place]] = reason
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "k")  # a range of four
    expected |= dict.fromkeys(photos[12:16], "keep")
    press(page, "Home", "]", "]", "]", "]", "c", "4")  # a whole cluster: the small one of the second class
    second = EACH + len(NOISE)
    expected |= dict.fromkeys(photos[second : second + SMALL], "too_far")
    press(page, "n", "r")  # the next that is open; it was kept, so without a reason it is an outlier
    expected[photos[second + SMALL]] = "outlier"
    press(page, "End", "d", "ArrowLeft", "k")  # the last one has no verdict, and taking none away is none
    expected[photos[28]] = "keep"
    all_saved(page)

    assert saved(page) == expected
    assert on_disk(fungi) == expected


def test_every_line_of_the_file_is_a_decision_in_the_order_of_the_keys(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    for keys in (("k", "7"), ("Shift+ArrowRight", "2"), ("u",), ("End", "9")):
        press(page, *keys)
        all_saved(page)
    names = paths(fungi)
    assert lines(fungi) == [
        (names[0], "keep", ""),
        (names[1], "remove", "screenshot"),
        (names[2], "remove", "scenery"),
        (names[3], "remove", "scenery"),
        (names[2], "none", ""),
        (names[3], "none", ""),
        (names[29], "remove", "duplicate"),
    ]


def test_the_marks_are_there_after_a_reload_and_so_are_view_and_photo(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url, "removed", **{"class": "Boletus_edulis"})
    press(page, "k", "2", "k")
    all_saved(page)
    before, there = saved(page), focused(page)
    expect(page).to_have_url(re.compile(f"photo={there}$"))  # it says so a moment later
    page.reload()
    page.wait_for_selector("#list .cell.focused")
    assert saved(page) == before == on_disk(fungi)
    assert focused(page) == there
    expect(page.get_by_role("tab", selected=True)).to_contain_text("Removed")
    expect(page.locator("#class")).to_have_value("Boletus edulis")


def test_undo_walks_back_step_by_step_also_after_a_reload(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    first, second = order(page)[:2]
    press(page, "k", "ArrowLeft", "4", "5")  # twice on the first photo
    all_saved(page)
    assert saved(page) == {first: "too_far", second: "person"}
    press(page, "u")
    expect(page.locator("#told")).to_contain_text("Taken back")
    assert saved(page) == {first: "too_far"} == on_disk(fungi)
    assert focused(page) == second
    page.reload()
    page.wait_for_selector("#list .cell.focused")
    press(page, "Control+z")
    expect(page.locator(f'[data-number="{first}"] .verdict b')).to_have_text("keep")
    press(page, "u")
    expect(page.locator("[data-verdict=keep]")).to_have_count(0)
    assert saved(page) == {} == on_disk(fungi)
    press(page, "u")
    expect(page.locator("#told")).to_contain_text("nothing to take back")


def test_a_verdict_is_on_disk_before_its_key_is_released(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    for key, word in {"k": "keep", "3": "obstructed", "r": "person"}.items():
        photo = focused(page)
        page.keyboard.down(key)
        page.wait_for_selector(f'[data-number="{photo}"][data-saved=yes]')
        assert on_disk(fungi)[photo] == word
        page.keyboard.up(key)


def test_a_key_that_is_held_judges_one_photo(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    for _ in range(5):
        page.keyboard.down("k")
    page.keyboard.up("k")
    all_saved(page)
    assert len(lines(fungi)) == 1


def test_any_sequence_of_keys_leaves_page_and_file_agreed(page: Page, server: Reviewed, fungi: Dataset) -> None:
    chance = random.Random(6)
    keys = ["k", "r", *REASON_KEYS, "d", "u", "c", "x", "Shift+ArrowDown", "Shift+End", "Escape", "n", "[", "]"]
    keys += ["ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End", "Enter"]
    open_view(page, server.url, "classes")
    for _ in range(3):
        press(page, *chance.choices(keys, k=40))
        if page.locator("#large[open]").count():
            press(page, "Escape")
        all_saved(page)
        page.wait_for_timeout(500)  # an undo shows no mark while it is on its way
        assert shown(page, on_disk(fungi)), (saved(page), on_disk(fungi))


def test_by_mouse_a_click_a_range_and_a_button_do_the_same(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    photos = order(page)
    page.locator(f'[data-number="{photos[1]}"]').click()
    page.locator(f'[data-number="{photos[4]}"]').click(modifiers=["Shift"])
    page.locator(f'[data-number="{photos[2]}"]').click(modifiers=["Control"])
    expect(page.locator("#target")).to_have_text("3 chosen")
    page.locator("#reasons [data-reason=blurred]").click()
    all_saved(page)
    assert saved(page) == dict.fromkeys((photos[1], photos[3], photos[4]), "blurred") == on_disk(fungi)
    page.locator("#undo").click()
    expect(page.locator("[data-verdict=remove]")).to_have_count(0)
    assert on_disk(fungi) == {}


# -- when the server is gone ------------------------------------------------------------------------------------------


def test_kill_9_loses_nothing_that_was_shown_as_saved_and_claims_nothing_else(page: Page, tmp_path: Path) -> None:
    fungi = judged(tmp_path / "fungi")
    page.add_init_script(CLAIMS)
    with reviewed(fungi.root) as first:
        open_view(page, first.url)
        photos = order(page)
        press(page, *"k1r5k2k3")
        page.wait_for_selector(".cell[data-saved=yes]")
        first.kill()  # some are saved, others on their way
        claimed = saved(page)
        assert claimed.items() <= on_disk(fungi).items()
        page.wait_for_selector("#banner:not([hidden])")
        press(page, *"k4k")  # typed while nobody answers
        expect(page.locator(".cell[data-saved=saving]")).to_have_count(0)
    there, shown = on_disk(fungi), marks(page)
    assert saved(page).items() <= there.items()
    for photo in photos[8:11]:
        assert shown[photo].saved == "failed"
        assert photo not in there
    assert not {photo for photo, _ in page.evaluate("claims")} & set(photos[8:11])
    expect(page.locator("#banner")).to_contain_text("shroomcurate review")
    expect(page.locator("#banner")).to_contain_text("not saved")
    with reviewed(fungi.root) as second:
        expect(page.locator("#banner")).to_be_hidden(timeout=20_000)  # the tab that was left open finds it again
        all_saved(page)
        again = page.context.new_page()
        open_view(again, second.url)
        now = on_disk(fungi)
        assert saved(page) == saved(again) == now
        assert claimed.items() <= there.items() <= now.items()
        words = {**REASON_KEYS, "k": "keep", "r": NOISE[2]}
        assert now == {photo: words[key] for photo, key in zip(photos, "k1r5k2k3k4k", strict=False)}


def test_the_large_view_says_that_the_server_has_ended_and_shows_the_photo_once_it_is_back(
    page: Page, tmp_path: Path
) -> None:
    fungi = judged(tmp_path / "fungi")
    with reviewed(fungi.root) as first:
        open_view(page, first.url)
        press(page, "Enter")
        picture, gone = page.locator("#picture"), page.locator("#large .gone")
        expect(picture).to_have_js_property("complete", True)
        first.kill()
        press(page, "End")  # a photo that was not loaded before
        expect(gone).to_contain_text("The server has ended: type shroomcurate review")
        expect(page.locator("#large .panel")).to_contain_text("The server has ended.")
    with reviewed(fungi.root):
        expect(gone).to_be_hidden(timeout=20_000)
        expect(picture).to_be_visible()
        Path(list(fungi.places().values())[EACH][0]).unlink()
        press(page, "[", "[")  # to the first of the second class, which was not loaded before
        expect(gone).to_have_text("This photo is not there, or cannot be read.")


#: Every photo that the page has ever shown as saved.
CLAIMS = """
window.claims = [];
new MutationObserver((changes) => {
  for (const { target } of changes) {
    if (target.dataset.saved === "yes") claims.push([Number(target.dataset.number), target.dataset.verdict]);
  }
}).observe(document, { subtree: true, attributeFilter: ["data-saved"] });
"""


def test_what_was_typed_while_the_server_hung_is_saved_when_it_answers_again(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    photos = order(page)
    page.route("**/api/verdicts", lambda route: route.abort())
    press(page, *"k2k")
    expect(page.locator("#banner")).to_contain_text("The verdicts on 3 photos are not saved")
    assert {mark.saved for mark in marks(page).values()} == {"failed"}
    assert on_disk(fungi) == {}
    page.unroute("**/api/verdicts")
    page.locator("#retry").click()
    all_saved(page)
    expect(page.locator("#banner")).to_be_hidden()
    assert saved(page) == {photos[0]: "keep", photos[1]: "scenery", photos[2]: "keep"} == on_disk(fungi)


def test_an_answer_that_is_older_than_a_verdict_does_not_hide_it(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    photo = focused(page)
    page.route("**/api/verdicts", lambda route: route.abort())
    press(page, "k")
    expect(page.locator("#banner")).to_be_visible()
    page.unroute("**/api/verdicts")
    verdicts: list[Route] = []
    facts: list[tuple[Route, APIResponse]] = []
    page.route("**/api/verdicts", lambda route: verdicts.extend([route]))
    page.route("**/api/dataset", lambda route: facts.append((route, route.fetch())))
    page.locator("#retry").click()
    while not (verdicts and facts):
        page.wait_for_timeout(20)
    verdicts[0].continue_()
    cell = page.locator(f'[data-number="{photo}"]')
    expect(cell).to_have_attribute("data-saved", "yes")
    page.wait_for_timeout(300)  # the event about it has come
    for route, answer in facts:
        route.fulfill(response=answer)
    page.wait_for_timeout(500)
    expect(cell).to_have_attribute("data-verdict", "keep")
    expect(page.locator("#apply")).to_have_text("apply 1 verdict")
    assert on_disk(fungi) == {photo: "keep"}


def test_a_verdict_that_the_server_refuses_is_not_shown_as_saved_and_holds_up_no_other(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    photos = order(page)
    fungi.path("verdicts.csv").write_text("not the header\n")
    press(page, "k")
    expect(page.locator("#banner")).to_contain_text("line 1")
    assert marks(page)[photos[0]].saved == "failed"
    fungi.path("verdicts.csv").unlink()
    page.locator("#retry").click()
    all_saved(page)
    assert saved(page) == {photos[0]: "keep"} == on_disk(fungi)


# -- two tabs ---------------------------------------------------------------------------------------------------------


def test_two_tabs_see_each_others_verdicts_and_lose_none(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    other = page.context.new_page()
    open_view(other, server.url)
    photos = order(page)
    expected: dict[int, str] = {}
    for step in range(6):  # both at the same time, one from the front and one from the back
        press(page, "k")
        press(other, "End", *["ArrowLeft"] * step, "2")
        expected |= {photos[step]: "keep", photos[-1 - step]: "scenery"}
    for tab in (page, other):
        assert shown(tab, expected), saved(tab)
    assert on_disk(fungi) == expected


def test_undo_in_one_tab_takes_back_its_own_step_only(page: Page, server: Reviewed, fungi: Dataset) -> None:
    open_view(page, server.url)
    other = page.context.new_page()
    open_view(other, server.url)
    photos = order(page)
    press(page, "k", "k")
    all_saved(page)
    press(other, "ArrowRight", "5", "5")  # the second photo anew, and the third
    all_saved(other)
    press(page, "u")  # its last step was about the second, on which the other has the last word
    expect(page.locator("#told")).to_contain_text("somebody has judged them anew")
    assert on_disk(fungi) == {photos[0]: "keep", photos[1]: "person", photos[2]: "person"}
    press(page, "u")
    for tab in (page, other):
        assert shown(tab, {photos[1]: "person", photos[2]: "person"}), saved(tab)
    assert on_disk(fungi) == {photos[1]: "person", photos[2]: "person"}


# -- Apply ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two classes that were really cleaned."""
    dataset = Dataset(tmp_path_factory.mktemp("cleaned") / "fungi")
    for number, name in enumerate(("Amanita_muscaria", "Boletus_edulis")):
        folder = dataset.images / name
        folder.mkdir(parents=True)
        for photo in range(12):
            (folder / f"{photo:02}.jpg").write_bytes(jpeg(100 * number + photo, hue=90 * number))
    embed(dataset, EmbedOptions("classic"))
    clean(dataset, CleanOptions())
    return dataset


@pytest.fixture
def cleaned(made: Dataset, tmp_path: Path) -> Dataset:
    shutil.copytree(made.root, tmp_path / "fungi")
    return Dataset(tmp_path / "fungi")


def test_apply_moves_what_was_judged_and_the_page_shows_it_with_view_and_filter_kept(
    page: Page, cleaned: Dataset
) -> None:
    kept = sorted(path for path, (_, reason) in cleaned.places().items() if reason is None)
    with reviewed(cleaned.root) as server:
        open_view(page, server.url, "all", **{"class": "Boletus_edulis", "text": "Boletus"})
        expect(page.locator("#apply")).to_be_disabled()
        press(page, "2", "4")
        all_saved(page)
        chosen = list(on_disk(cleaned))
        expect(page.locator("#apply")).to_have_text("apply 2 verdicts")
        page.locator("#apply").click()
        dialog = page.locator("#applying")
        expect(dialog).to_contain_text("Nothing is deleted")
        assert cleaned.places()[kept[-1]][1] is None  # asking moves nothing
        dialog.get_by_role("button", name="Apply").click()
        expect(dialog.get_by_role("heading", name="Applied")).to_be_visible(timeout=60_000)
        expect(dialog.locator(".figures")).to_contain_text("moved out")
        expect(dialog).to_contain_text("scenery")
        press(page, "Escape")
        expect(page.locator("#apply")).to_be_disabled()  # nothing waits any more
        names = paths(cleaned)
        assert [cleaned.places()[names[photo]][1] for photo in chosen] == ["scenery", "too_far"]
        for photo, reason in zip(chosen, ("scenery", "too far"), strict=True):
            cell = page.locator(f'[data-number="{photo}"]')
            expect(cell).to_have_attribute("data-state", "removed")
            expect(cell.locator(".reason")).to_have_text(reason)
        expect(page.get_by_role("tab", selected=True)).to_contain_text("All")
        expect(page.locator("#class")).to_have_value("Boletus edulis")
        expect(page.locator("#count")).to_have_text("12 photos")
        expect(page.locator("#text")).to_have_value("Boletus")


def test_apply_after_which_no_photo_moved_says_so_and_the_numbers_stay(page: Page, cleaned: Dataset) -> None:
    kept = sorted(path for path, (_, reason) in cleaned.places().items() if reason is None)
    with reviewed(cleaned.root) as server:
        open_view(page, server.url, "all", text=kept[0].rpartition("/")[2])
        press(page, "k")
        all_saved(page)
        page.locator("#apply").click()
        page.locator("#applying").get_by_role("button", name="Apply").click()
        expect(page.locator("#applying").get_by_role("heading", name="Applied")).to_be_visible(timeout=60_000)
        expect(page.locator("#applying .heard, #say")).to_contain_text(["No photo had to move."])
        expect(page.locator("#applying").get_by_role("button", name="See what moved")).to_have_count(0)


def test_apply_that_fails_says_what_to_do_and_keeps_the_verdicts(page: Page, cleaned: Dataset) -> None:
    with reviewed(cleaned.root) as server:
        open_view(page, server.url)
        press(page, "2")
        all_saved(page)
        before = on_disk(cleaned)
        cleaned.path("embeddings.parquet").write_bytes(b"damaged")
        page.locator("#apply").click()
        page.locator("#applying").get_by_role("button", name="Apply").click()
        expect(page.locator("#applying")).to_have_attribute("data-state", "failed", timeout=60_000)
        expect(page.locator("#applying .notice")).to_contain_text("embeddings.parquet")
        expect(page.locator("#applying")).to_contain_text("Your verdicts are all there still")
    assert on_disk(cleaned) == before
