"""A wall of 30,000 photos: it moves without a frame that lacks rows, and never holds more than a few of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from benchmarks.review import WATCH, blank_screen, draw, filming, jump, make, watching, wheel

from .review_pages import all_saved, focused, open_view, press
from .review_server import Reviewed, reviewed

pytestmark = pytest.mark.browser

PHOTOS = 30_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    dataset = make(tmp_path_factory.mktemp("scale") / "fungi", PHOTOS, draw(24, (160, 120)))
    with reviewed(dataset.root) as server:
        yield server


@pytest.fixture
def wall(page: Page, server: Reviewed) -> Page:
    """The page with all photos on the wall."""
    open_view(page, server.url)
    expect(page.locator("#count")).to_have_text("30,000 photos")
    return page


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["wide", "narrow"])
def test_no_frame_of_scrolling_lacks_rows_and_the_page_stays_small(wall: Page, size: tuple[int, int]) -> None:
    wall.set_viewport_size({"width": size[0], "height": size[1]})
    moves: dict[str, Callable[[], None]] = {
        "wheel": lambda: wheel(wall, 20),
        "scroll bar": lambda: jump(wall, 20),
        "End and Home": lambda: press(wall, *["End", "Home"] * 3),
        "Page Down held": lambda: hold(wall, "PageDown", 15),
        "arrow held": lambda: hold(wall, "ArrowDown", 15),
    }
    for name, move in moves.items():
        with watching(wall, WATCH) as frames:
            move()
        assert frames["blank"] == [], name
        assert frames["still"] < len(frames["times"]) - 1, name  # it has moved; how many frames depends on the machine
        assert 0 < frames["most"] < 400, name


@pytest.mark.slow
def test_no_frame_that_the_screen_gets_lacks_rows(wall: Page) -> None:
    # The browser scrolls ahead of every script, so what scripts see of a frame is not what people see of it.
    box = wall.evaluate("document.getElementById('wall').getBoundingClientRect().toJSON()")
    row = wall.evaluate("document.querySelector('#list .cell').getBoundingClientRect().height")
    for move in (wheel, jump):
        with filming(wall) as screens:
            move(wall, 10)
        assert len(set(screens)) > 1, move  # how many depends on the machine
        assert not any(blank_screen(screen, box, row) for screen in set(screens)), move


def hold(page: Page, key: str, repeats: int) -> None:
    for _ in range(repeats):
        page.keyboard.down(key)
    page.keyboard.up(key)


def test_the_last_photo_is_reached_and_judged(wall: Page, server: Reviewed) -> None:
    press(wall, "End")
    last = wall.locator("#list .cell.focused")
    expect(last).to_have_attribute("aria-posinset", str(PHOTOS))
    expect(last).to_have_attribute("aria-setsize", str(PHOTOS))
    expect(last).to_be_in_viewport(ratio=0.99)
    expect(last).to_have_attribute("data-picture", "there")
    assert focused(wall) == PHOTOS - 1
    wall.evaluate("document.getElementById('wall').scrollTop = 0")
    expect(wall.locator("#list [aria-posinset='1']")).to_be_in_viewport()
    wall.evaluate("document.getElementById('wall').scrollTop = 1e9")
    expect(last).to_be_in_viewport(ratio=0.99)


def test_pictures_come_where_the_wall_comes_to_rest(wall: Page) -> None:
    for share in (0.25, 0.75, 0.5):
        wall.evaluate(TO, share)
        wall.wait_for_timeout(50)
        seen = wall.evaluate(SEEN)
        assert len(seen) > 10
        for number in seen:
            expect(wall.locator(f'[data-number="{number}"]')).to_have_attribute("data-picture", "there")


TO = "(share) => { const it = document.getElementById('wall'); it.scrollTop = share * it.scrollHeight; }"

SEEN = """() => {
  const wall = document.getElementById("wall").getBoundingClientRect();
  return [...document.querySelectorAll("#list .cell")].filter((cell) => {
    const box = cell.getBoundingClientRect();
    return box.bottom > wall.top && box.top < wall.bottom;
  }).map((cell) => Number(cell.dataset.number));
}"""


def test_judging_a_whole_view_is_asked_about_and_taken_back_by_one_undo(wall: Page, server: Reviewed) -> None:
    wall.locator("#reason").select_option("scenery")
    expect(wall.locator("#count")).to_have_text("1,500 photos")
    wall.locator("#list").focus()
    press(wall, "Control+a", "k")
    dialog = wall.locator("#sure")
    expect(dialog).to_contain_text("keep: 1,500 photos?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(wall.locator("#apply")).to_be_disabled()
    press(wall, "k")
    dialog.get_by_role("button", name="Yes").click()
    expect(wall.locator("#apply")).to_have_text("apply 1,500 verdicts")
    all_saved(wall)
    press(wall, "u")
    expect(wall.locator("#told")).to_have_text(re.compile("Taken back: 1,500 photos"))
    expect(wall.locator("#apply")).to_be_disabled()
