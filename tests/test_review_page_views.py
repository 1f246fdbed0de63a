"""Looking at photos in the browser: views, filters, the large view; for every eye, ear, hand and window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Response, expect

from shroomcurate.dataset import Dataset
from shroomcurate.evidence import EVIDENCE
from shroomcurate.safety import SAFETY_NOTICE

from .conftest import jpeg, watched
from .review_pages import CLASSES, OPTIONS, all_saved, focused, judged, marks, on_disk, open_view, order, paths, press
from .review_server import Reviewed, reviewed

pytestmark = pytest.mark.browser

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def fungi(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return judged(tmp_path_factory.mktemp("looking") / "fungi")


@pytest.fixture(scope="module")
def running(fungi: Dataset) -> Iterator[Reviewed]:
    with reviewed(fungi.root) as server:
        yield server


@pytest.fixture
def server(running: Reviewed, fungi: Dataset) -> Reviewed:
    """The server, of a dataset without verdicts."""
    fungi.path("verdicts.csv").unlink(missing_ok=True)
    return running


@pytest.fixture(autouse=True)
def refused(page: Page) -> Iterator[list[str]]:
    """What the server has refused to the page: nothing, unless a test expects it and empties the list."""
    found: list[str] = []

    def answered(answer: Response) -> None:
        if answer.status >= 400:
            found.append(answer.url.partition("?")[0])

    page.on("response", answered)
    yield found
    assert not found


# -- views and filters ------------------------------------------------------------------------------------------------


def test_each_view_shows_its_photos_under_its_headings(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    expected = {
        "Removed": (15, "microscopy"),
        "Borderline": (27, "Nearest to the line first"),
        "Most useful next": (27, "Most useful next"),
        "Classes": (30, "Amanita muscaria"),
        "Duplicates": (6, "Amanita muscaria"),
        "Most confused": (5, "Boletus edulis taken for Amanita muscaria"),
        "All": (30, "Amanita muscaria"),
    }
    for name, (count, heading) in expected.items():
        page.get_by_role("tab", name=re.compile(f"^{name}")).click()
        expect(page.locator("#count")).to_have_text(f"{count} photos")
        expect(page.locator(".section h2").first).to_have_text(re.compile(f"^{heading}$", re.IGNORECASE))
        expect(page).to_have_title(re.compile(f"^{name} · fungi"))
        expect(page.locator(OPTIONS)).to_have_count(count)
    page.go_back()
    expect(page.get_by_role("tab", selected=True)).to_contain_text("Most confused")


def test_each_filter_narrows_and_all_of_them_come_back_after_a_reload(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    press(page, "k", "k")
    all_saved(page)
    count = page.locator("#count")
    page.locator("#decided").select_option("yes")
    expect(count).to_have_text("2 photos")
    page.locator("#decided").select_option("no")
    expect(count).to_have_text("28 photos")
    page.locator("#class").fill("bolet")
    page.locator("#class").press("Enter")  # only one class has such a name
    expect(count).to_have_text("10 photos")
    page.locator("#reason").select_option("kept")
    expect(count).to_have_text("5 photos")
    page.locator("#licence").select_option("CC0")
    expect(count).to_have_text("3 photos")
    page.locator("#text").fill("2005")
    expect(count).to_have_text("1 photo")
    assert order(page) == [paths(fungi).index("images/Boletus_edulis/2005.jpg")]
    page.reload()
    expect(count).to_have_text("1 photo")
    expect(page.locator("#class")).to_have_value("Boletus edulis")
    for field, value in {"decided": "no", "reason": "kept", "licence": "CC0", "text": "2005"}.items():
        expect(page.locator(f"#{field}")).to_have_value(value)
    page.get_by_role("button", name="Clear the filters").click()
    expect(count).to_have_text("30 photos")
    expect(page.locator("#text")).to_have_value("")


def test_a_filter_that_nothing_fits_says_so_and_offers_to_clear_it(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    page.locator("#text").fill("no such photo")
    expect(page.locator("#empty")).to_contain_text("No photo of 'All' fits these filters.")
    assert order(page) == []
    press(page, "Escape", "k", "c", "Enter", "End")  # keys on an empty wall do no harm
    page.locator("#empty").get_by_role("button").click()
    expect(page.locator("#count")).to_have_text("30 photos")
    expect(page.locator("#empty")).to_be_hidden()


def test_a_tree_that_was_never_cleaned_opens_on_photos_and_says_what_to_type(
    page: Page, tmp_path: Path, refused: list[str]
) -> None:
    for name in CLASSES:
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "1.jpg").write_bytes(jpeg(1))
    with reviewed(tmp_path / "mine", images=True) as server:
        page.goto(server.url)
        expect(page.locator("#count")).to_have_text("3 photos")
        expect(page.locator("#notes")).to_contain_text("shroomcurate clean --images")
        expect(page.locator("#licence")).to_be_hidden()
        page.get_by_role("tab", name="Removed").click()
        expect(page.locator("#empty")).to_contain_text("shroomcurate clean --images")
        assert order(page) == []
    assert len(refused) == 1  # the page asks for the usual view before it knows what there is
    refused.clear()


# -- the large view ---------------------------------------------------------------------------------------------------


def test_the_large_view_shows_all_that_is_known_of_a_photo(page: Page, server: Reviewed) -> None:
    open_view(page, server.url, "confused")
    press(page, "Enter")
    large = page.locator("#large")
    expect(large).to_be_visible()
    expect(large.locator(".path")).to_have_text("images/Boletus_edulis/2005.jpg")
    expect(large.locator(".evidence tr")).to_have_count(1 + len(EVIDENCE))
    expect(large.locator(".evidence th").nth(1)).to_contain_text(EVIDENCE[0].meaning.partition(";")[0])
    expect(large).to_contain_text("© Ann Observer, some rights reserved (CC-BY)")
    expect(large).to_contain_text("2020-05-01")
    expect(large).to_contain_text("47.050, 8.000")
    expect(large).to_contain_text("noise score 32 of 100")
    expect(large.locator(".prediction")).to_contain_text("Amanita muscaria, 81 % sure: wrong")
    expect(large.locator(".prediction")).to_contain_text(SAFETY_NOTICE)
    links = {link.inner_text(): link for link in large.get_by_role("link").all()}
    assert links["photo 2005"].get_attribute("href") == "https://www.inaturalist.org/photos/2005"
    observation = links["observation"].get_attribute("href") or ""
    assert re.fullmatch(r"https://www\.inaturalist\.org/observations/[0-9a-f]{32}", observation)
    assert links["CC0"].get_attribute("href") == "https://creativecommons.org/publicdomain/zero/1.0/"
    for link in links.values():  # the token in this page's address must not go out
        assert set((link.get_attribute("rel") or "").split()) == {"noreferrer", "noopener"}
        assert link.get_attribute("target") == "_blank"


def test_arrows_walk_the_large_view_and_escape_gives_the_focus_back_to_the_photo(
    page: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(page, server.url)
    photos = order(page)
    press(page, "ArrowRight", "Enter", "ArrowRight", "ArrowDown", "ArrowLeft")
    large = page.locator("#large")
    expect(large).to_have_attribute("data-number", str(photos[2]))
    expect(large.locator(".where")).to_have_text("3 of 30")
    expect(page.locator("#picture")).to_have_attribute("src", re.compile(rf"^photo/{photos[2]}\?"))
    press(page, "3")  # judges the photo that is seen, and goes on to the next
    expect(large).to_have_attribute("data-number", str(photos[3]))
    press(page, "Escape")
    expect(large).to_be_hidden()
    all_saved(page)
    assert on_disk(fungi) == {photos[2]: "obstructed"}
    assert focused(page) == photos[3]
    assert page.evaluate("document.activeElement.id") == "list"
    press(page, "k")
    all_saved(page)
    assert on_disk(fungi)[photos[3]] == "keep"


def test_duplicates_stand_side_by_side_and_lead_to_each_other(page: Page, server: Reviewed) -> None:
    open_view(page, server.url, "duplicates")
    first, second = order(page)[:2]
    press(page, "Enter")
    group = page.locator("#large .group button")
    expect(group).to_have_text(["stays", "copy 1"])
    group.nth(1).click()
    expect(page.locator("#large")).to_have_attribute("data-number", str(second))
    group.nth(0).click()
    expect(page.locator("#large")).to_have_attribute("data-number", str(first))


SHAPES = {"landscape": (400, 300), "square": (900, 900), "portrait": (300, 1200), "panorama": (1600, 200)}


def test_the_large_view_shows_the_whole_photo_whatever_its_shape(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "shapes" / "Amanita_muscaria"
    folder.mkdir(parents=True)
    for name, size in SHAPES.items():
        (folder / f"{name}.jpg").write_bytes(jpeg(1, size=size))
    with reviewed(tmp_path / "shapes", images=True) as server:
        open_view(page, server.url)
        press(page, "Enter")
        photos = sorted(SHAPES.items())
        for step, (name, (width, height)) in enumerate(photos + photos):
            if step == len(photos):
                press(page, "Home")
                page.set_viewport_size(NARROW)  # type: ignore[arg-type]
            expect(page.locator("#picture")).to_have_js_property("naturalWidth", width)
            shown = page.evaluate(WHOLE_PHOTO)
            stage, photo = shown["stage"], shown["photo"]
            assert stage["left"] <= photo["left"] < photo["right"] <= stage["right"], name
            assert stage["top"] <= photo["top"] < photo["bottom"] <= stage["bottom"], name
            used = max(shown["width"] / stage["width"], shown["height"] / stage["height"])
            assert used > 0.99, name  # as large as fits
            assert shown["width"] / shown["height"] == pytest.approx(width / height, rel=0.01)
            press(page, "ArrowRight")


#: Where the photo itself is, in the box of its element, and the room that there is for it.
WHOLE_PHOTO = """() => {
  const picture = document.getElementById("picture");
  const box = picture.getBoundingClientRect();
  if (getComputedStyle(picture).objectFit !== "contain") throw new Error("not the whole photo");
  const scale = Math.min(box.width / picture.naturalWidth, box.height / picture.naturalHeight);
  const [width, height] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
  const left = box.left + (box.width - width) / 2;
  const top = box.top + (box.height - height) / 2;
  return {
    width, height, photo: { left, top, right: left + width - .01, bottom: top + height - .01 },
    stage: document.querySelector(".stage").getBoundingClientRect().toJSON(),
  };
}"""


# -- eyes, ears and hands ---------------------------------------------------------------------------------------------


def violations(page: Page) -> list[str]:
    """What axe finds against the accessibility of the page as it is now."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light and wide", "dark and narrow"]
)
def test_axe_finds_nothing_on_the_wall_and_in_any_dialog(
    page: Page, server: Reviewed, scheme: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    open_view(page, server.url, "classes")
    press(page, "k", "2", "Shift+ArrowRight")
    all_saved(page)
    found = {"wall": violations(page)}
    press(page, "Escape", "Enter")
    expect(page.locator("#large .evidence")).to_be_visible()
    found["large"] = violations(page)
    press(page, "Escape", "?")
    found["keys"] = violations(page)
    press(page, "Escape")
    page.locator("#apply").click()
    found["apply"] = violations(page)
    press(page, "Escape")
    page.locator("#text").evaluate("field => { field.value = 'nothing'; field.dispatchEvent(new Event('input')); }")
    expect(page.locator("#empty")).to_be_visible()
    found["empty"] = violations(page)
    assert found == {place: [] for place in found}


def test_axe_finds_nothing_when_verdicts_are_not_saved(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.route("**/api/verdicts", lambda route: route.abort())
        press(page, "k")
        expect(page.locator("#banner")).to_be_visible()
        assert violations(page) == []


def test_each_photo_is_an_option_that_says_what_is_seen_of_it(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    wall = page.get_by_role("listbox", name="Photos")
    expect(wall).to_have_attribute("aria-multiselectable", "true")
    options = wall.get_by_role("option")
    expect(options).to_have_count(30)
    for place in (0, 29):
        option = page.locator(f"#list [aria-posinset='{place + 1}']")
        expect(option).to_have_attribute("aria-setsize", "30")
    first = page.locator("#list [aria-posinset='1']")
    expect(first).to_have_accessible_name("Amanita muscaria, removed as scenery, noise score 95 of 100")
    press(page, "k")
    all_saved(page)
    expect(first).to_have_accessible_name(re.compile("your verdict: keep$"))
    assert wall.get_attribute("aria-activedescendant") == page.locator(".cell.focused").get_attribute("id")
    press(page, "x")
    expect(page.locator(".cell.focused")).to_have_attribute("aria-selected", "true")
    expect(page.locator("[aria-selected=true][role=option]")).to_have_count(1)


def test_what_was_decided_and_taken_back_is_said(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    said = page.locator("#say")
    expect(said).to_have_role("status")
    press(page, "4")
    expect(said).to_have_text("Amanita muscaria: remove as too far. Saved.")
    press(page, "u")
    expect(said).to_have_text("Taken back: 1 photo.")
    press(page, "Control+a")
    expect(said).to_have_text("All 30 photos chosen.")
    press(page, "Escape", "Enter", "k")
    expect(page.locator("#large .heard")).to_have_text("Amanita muscaria: keep. Saved.")


def test_the_keyboard_alone_reaches_everything_and_one_sees_where_it_is(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    press(page, "k")
    all_saved(page)
    expect(page.locator("#apply")).to_be_enabled()
    assert unreached(page, page.locator("body")) == []
    page.get_by_role("tab", selected=True).focus()
    press(page, "ArrowLeft")
    expect(page.get_by_role("tab", selected=True)).to_be_focused()
    expect(page.get_by_role("tab", selected=True)).not_to_contain_text("All")
    press(page, "End", "Home")
    expect(page.get_by_role("tab", selected=True)).to_contain_text("Removed")
    page.locator("#list").focus()
    press(page, "Enter")
    expect(page.locator("#large .evidence")).to_be_visible()
    assert unreached(page, page.locator("#large")) == []


def unreached(page: Page, within: Locator) -> list[str]:
    """What the tab key does not lead to, or leads to without that one sees it."""
    wanted = set(within.evaluate(INTERACTIVE))
    assert len(wanted) > 10
    for _ in range(3 * len(wanted)):
        page.keyboard.press("Tab")
        name, visible = page.evaluate(FOCUS)
        if visible:
            wanted.discard(name)
    return sorted(wanted)


INTERACTIVE = """(root) => {
  const all = [...root.querySelectorAll("button, input, select, a[href], [tabindex='0']")];
  const seen = all.filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0);
  seen.forEach((each, k) => { each.dataset.stop = each.id || `${each.tagName} ${k} ${each.textContent}`; });
  return seen.map((each) => each.dataset.stop);
}"""

FOCUS = """() => {
  const at = document.activeElement;
  const ring = at.id === "list" ? at.querySelector(".focused") : at;
  const style = ring && getComputedStyle(ring);
  const visible = Boolean(style) && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [at.dataset.stop ?? "", visible];
}"""


def test_without_a_mouse_the_dialogs_open_and_close_and_the_focus_comes_back(page: Page, server: Reviewed) -> None:
    open_view(page, server.url)
    press(page, "?")
    expect(page.locator("#keys")).to_be_visible()
    press(page, "k")  # in a list of keys it is no verdict
    assert marks(page) == {}
    press(page, "Escape")
    expect(page.locator("#keys")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "list"
    press(page, "/")
    assert page.evaluate("document.activeElement.id") == "text"
    press(page, "k", "Escape")  # in a field it is a letter
    assert page.evaluate("document.activeElement.id") == "list"
    assert marks(page) == {}


# -- narrow windows and fingers ---------------------------------------------------------------------------------------


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    with watched(browser, viewport=NARROW, has_touch=True, is_mobile=True, device_scale_factor=2) as page:
        yield page


def test_on_a_phone_every_control_is_large_enough_for_a_finger_and_nothing_sticks_out(
    phone: Page, server: Reviewed
) -> None:
    open_view(phone, server.url)
    phone.locator("#fold").tap()
    for place, root in {"wall": "body", "large view": "#large"}.items():
        if root == "#large":
            phone.locator("#list .cell").nth(1).tap()
            expect(phone.locator("#large .evidence")).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], place
        small = phone.locator(f"{root} :is(button, input, select)").evaluate_all(
            """all => all.filter(each => each.checkVisibility()).map(each => [each.id || each.textContent,
               each.getBoundingClientRect()]).filter(([, box]) => Math.min(box.width, box.height) < 40)
               .map(([name, box]) => `${name} ${box.width} x ${box.height}`)"""
        )
        assert small == [], place


def test_on_a_phone_a_tap_opens_a_long_press_chooses_and_the_bar_judges(
    phone: Page, server: Reviewed, fungi: Dataset
) -> None:
    open_view(phone, server.url)
    photos = order(phone)
    phone.locator(f'[data-number="{photos[1]}"]').tap()
    expect(phone.locator("#large")).to_have_attribute("data-number", str(photos[1]))
    phone.locator("#keep").tap()
    phone.locator("#large").locator("#close").tap()
    cell = phone.locator(f'[data-number="{photos[0]}"]')
    cell.dispatch_event("pointerdown", {"pointerType": "touch", "isPrimary": True, "bubbles": True})
    expect(phone.locator("#target")).to_have_text("1 chosen")
    cell.dispatch_event("pointerup", {"pointerType": "touch", "isPrimary": True, "bubbles": True})
    phone.locator(f'[data-number="{photos[3]}"]').tap()
    expect(phone.locator("#target")).to_have_text("2 chosen")
    phone.locator("#reasons [data-reason=outlier]").tap()
    all_saved(phone)
    assert on_disk(fungi) == {photos[0]: "outlier", photos[1]: "keep", photos[3]: "outlier"}


# -- odd datasets -----------------------------------------------------------------------------------------------------

HOSTILE = [
    '<b onclick="alert(1)">bold',
    "<img src=x onerror=alert(1)>",
    "\"quoted\" 'twice'",
    "50% & #1?a=b+c",
    "🍄 Fungus",
    "Ünïcödé ligature ﬁ",
]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """445 classes of two photos; some of their names are not what a programmer expects."""
    names = HOSTILE + [f"Genus{number:03}_species" for number in range(445 - len(HOSTILE))]
    dataset = judged(tmp_path_factory.mktemp("many") / "fungi", names, 2, photo=jpeg(1))
    with reviewed(dataset.root) as server:
        yield server


def test_a_class_may_have_any_name(page: Page, many: Reviewed) -> None:
    for name in HOSTILE:
        open_view(page, many.url, "all", **{"class": name})
        assert len(order(page)) == 2
        expect(page.locator("#class")).to_have_value(name)
        expect(page.locator(".section h2")).to_have_text(name)
        expect(page.locator(".cell .name").first).to_have_text(name)
        press(page, "Enter")
        expect(page.locator("#large-title")).to_have_text(name)
        expect(page.locator("#large .path")).to_contain_text(name)
        expect(page.locator("#large .evidence")).to_be_visible()
        assert page.locator("main b[onclick], img[onerror]").count() == 0


def test_a_class_is_found_among_445_by_typing_a_part_of_its_name(page: Page, many: Reviewed) -> None:
    open_view(page, many.url)
    expect(page.locator("#classes option")).to_have_count(445)
    field = page.locator("#class")
    field.fill("genus12")
    field.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")  # ten classes have such a name
    expect(page.locator("#count")).to_have_text("890 photos")
    field.fill("genus123")
    field.press("Enter")
    expect(page.locator("#count")).to_have_text("2 photos")
    expect(page.locator(".section h2")).to_have_text("Genus123 species")


def test_a_photo_that_does_not_decode_or_is_gone_costs_its_picture_only(
    page: Page, tmp_path: Path, refused: list[str]
) -> None:
    fungi = judged(tmp_path / "fungi", CLASSES[:1])
    broken, gone = 5, 6
    (fungi.root / paths(fungi)[broken]).write_bytes(b"this is no photo")
    names = paths(fungi)
    with reviewed(fungi.root) as server:
        (fungi.root / names[gone]).unlink()
        open_view(page, server.url)
        pictures = page.locator("#list .cell[data-picture=there]")
        expect(pictures).to_have_count(8)
        for photo in (broken, gone):
            cell = page.locator(f'#list [data-number="{photo}"]')
            expect(cell).to_have_attribute("data-picture", "missing")
            assert "Amanita muscaria" in cell.locator(".name").inner_text()
        press(page, *["ArrowRight"] * broken, "Enter")
        expect(page.locator("#large .gone")).to_be_visible()
        press(page, "8", "Escape")
        all_saved(page)
        assert on_disk(fungi) == {broken: "blurred"}
    assert {url.split("/", 4)[4] for url in refused} <= {
        f"{kind}/{photo}" for kind in ("thumbnail", "photo") for photo in (broken, gone)
    }
    refused.clear()


def test_a_picture_that_fails_when_the_large_view_has_been_closed_asks_for_nothing(
    page: Page, server: Reviewed
) -> None:
    asked: list[str] = []
    open_view(page, server.url)
    press(page, "Enter")
    expect(page.locator("#picture")).to_have_attribute("src", re.compile("photo"))
    press(page, "Escape")
    expect(page.locator("#picture:not([src])")).to_be_attached()
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#picture").dispatch_event("error")
    press(page, "Enter")
    expect(page.locator("#large")).to_be_visible()
    assert not [url for url in asked if "/-1?" in url]
