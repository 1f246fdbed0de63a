"""The map in a browser: clumps that are apart in the embeddings are lassoed, circled, judged together."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from shroomcurate.dataset import Dataset, Receipt, write_table

from .review_server import reviewed

pytestmark = pytest.mark.browser

#: Photos of each class. Each is a clump of its own; the last two lie closer together.
CLUMPS = {"Amanita_muscaria": 40, "Boletus_edibilis": 25, "Spore_prints": 12}

Middle = tuple[float, float]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Dataset(tmp_path_factory.mktemp("map") / "fungi")
    chance = np.random.default_rng(0)
    paths, vectors = [], []
    for axis, (name, count) in enumerate(CLUMPS.items()):
        (made.images / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (32, 24), (40 + 80 * axis, 90, 30)).save(made.images / name / f"{number:02}.jpg")
            paths.append(f"images/{name}/{number:02}.jpg")
            vectors.append(np.eye(16)[axis] + 0.03 * chance.standard_normal(16))
    Image.new("RGB", (32, 24)).save(made.images / "Spore_prints" / "new.jpg")  # not embedded yet
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.float32(vectors).ravel()), 16)
    write_table(made.path("embeddings.parquet"), pa.table({"path": paths, "vector": column}), Receipt("embed", {}))
    return made


@pytest.fixture(scope="module")
def address(dataset: Dataset) -> Iterator[str]:
    with reviewed(dataset.root) as server:
        yield server.url


@pytest.fixture
def opened(page: Page, dataset: Dataset, address: str) -> Page:
    """The map, coloured by class; no verdicts yet."""
    show(page, f"{address}#view=map")
    page.get_by_label("Colour by").select_option("class")
    expect(legend(page, "Spore prints")).to_be_visible()
    return page


def show(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".map-legend button").first.wait_for()


def legend(page: Page, name: str) -> Any:
    return page.locator(f'.map-legend button[data-name="{name}"]')


def middles(page: Page) -> dict[str, Middle]:
    """Where the dots of each class are on the screen, found by the colour that the legend says."""
    page.wait_for_timeout(250)  # it is drawn finely once it rests
    found: dict[str, Middle] = page.evaluate(
        """() => {
            const canvas = document.querySelector(".map-dots");
            const { left, top } = canvas.getBoundingClientRect();
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const paper = [...data.slice(0, 3)];
            // A dot is a little transparent; its rim, more so, is none of any colour.
            const dot = (part, k) => 0.87 * part + 0.13 * paper[k];
            const colourOf = (swatch) => getComputedStyle(swatch).backgroundColor.match(/\\d+/g).map(Number).map(dot);
            const entries = [...document.querySelectorAll('.map-legend [aria-pressed="true"]')];
            const colours = entries.map((entry) => [entry.dataset.name, colourOf(entry.firstChild)]);
            const sums = Object.fromEntries(colours.map(([name]) => [name, [0, 0, 0]]));
            for (let at = 0; at < data.length; at += 4) {
                const far = (colour) => Math.hypot(...colour.map((part, k) => part - data[at + k]));
                const [name, colour] = colours.reduce((best, one) => (far(one[1]) < far(best[1]) ? one : best));
                if (far(colour) > 25) continue;
                const [x, y, n] = sums[name];
                sums[name] = [x + (at / 4) % width, y + Math.floor(at / 4 / width), n + 1];
            }
            return Object.fromEntries(Object.entries(sums).filter(([, [, , n]]) => n)
                .map(([name, [x, y, n]]) => [name, [left + x / n, top + y / n]]));
        }"""
    )
    return {name: (x, y) for name, (x, y) in found.items()}


def lasso(page: Page, middle: Middle, radius: float = 55) -> None:
    """Draw a loop around a point of the screen."""
    x, y = middle
    corners = [(x + radius * math.cos(turn / 5), y + radius * math.sin(turn / 5)) for turn in range(31)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner)
    page.mouse.up()


def says(page: Page, text: str) -> None:
    expect(page.locator(".map-status")).to_have_text(re.compile(text))


def verdicts(dataset: Dataset) -> dict[str, tuple[str, str]]:
    file = dataset.path("verdicts.csv")
    with file.open(encoding="utf-8") as handle:
        return {row["path"]: (row["verdict"], row["reason"]) for row in csv.DictReader(handle)}


def paths(name: str) -> set[str]:
    return {f"images/{name}/{number:02}.jpg" for number in range(CLUMPS[name])}


class TestLasso:
    def test_around_a_clump_it_takes_its_photos_and_no_other_and_they_are_judged_together(
        self, opened: Page, dataset: Dataset
    ) -> None:
        lasso(opened, middles(opened)["Spore prints"])
        says(opened, "^12 photos selected: all Spore prints")
        expect(opened.locator("#wall [role=option]")).to_have_count(12)
        opened.locator("#wall [role=option]").first.click()
        opened.keyboard.press("Control+a")
        opened.keyboard.press("1")
        expect(opened.locator('#wall [role=option][data-saved="yes"]')).to_have_count(12)
        found = verdicts(dataset)
        assert {path for path, verdict in found.items() if verdict == ("remove", "microscopy")} == paths("Spore_prints")
        opened.keyboard.press("u")
        expect(opened.locator('#wall [role=option][data-saved="yes"]')).to_have_count(0)

    def test_shift_adds_and_alt_takes_away(self, opened: Page) -> None:
        places = middles(opened)
        lasso(opened, places["Spore prints"])
        opened.keyboard.down("Shift")
        lasso(opened, places["Amanita muscaria"])
        opened.keyboard.up("Shift")
        says(opened, "^52 photos selected: mostly Amanita muscaria")
        opened.keyboard.down("Alt")
        lasso(opened, places["Spore prints"])
        opened.keyboard.up("Alt")
        says(opened, "^40 photos selected: all Amanita muscaria")

    def test_it_takes_nothing_that_the_legend_hides(self, opened: Page) -> None:
        place = middles(opened)["Spore prints"]
        legend(opened, "Spore prints").click()
        says(opened, "^65 of 77 photos$")
        assert "Spore prints" not in middles(opened)
        lasso(opened, place)
        expect(opened.locator("#wall [role=option]")).to_have_count(0)
        legend(opened, "Spore prints").click()
        says(opened, "^77 photos$")

    def test_a_press_with_shift_leaves_one_entry_alone_and_another_brings_all_back(self, opened: Page) -> None:
        legend(opened, "Spore prints").click(modifiers=["Shift"])
        says(opened, "^12 of 77 photos$")
        legend(opened, "Spore prints").click(modifiers=["Shift"])
        says(opened, "^77 photos$")

    def test_it_means_the_same_after_zooming_and_moving(self, opened: Page) -> None:
        opened.mouse.move(*middles(opened)["Spore prints"])
        for _ in range(3):
            opened.mouse.wheel(0, -240)
        place = middles(opened)["Spore prints"]
        opened.mouse.move(*place)
        opened.mouse.down(button="middle")
        opened.mouse.move(place[0] + 60, place[1] - 30, steps=5)
        opened.mouse.up(button="middle")
        moved = middles(opened)["Spore prints"]
        assert moved == pytest.approx((place[0] + 60, place[1] - 30), abs=3)
        lasso(opened, moved, 150)
        says(opened, "^12 photos selected: all Spore prints")

    def test_a_class_of_the_filter_is_all_that_it_reaches(self, opened: Page, address: str) -> None:
        middle = middles(opened)["Spore prints"]
        opened.goto("about:blank")
        show(opened, f"{address}#view=map&class=Amanita_muscaria")
        says(opened, "^40 of 77 photos$")
        lasso(opened, middle)
        says(opened, "^40 of 77 photos$")


class TestMouse:
    def test_a_photo_below_the_mouse_is_shown_and_a_click_opens_it(self, opened: Page) -> None:
        opened.mouse.move(*middles(opened)["Spore prints"])
        card = opened.locator(".map-tip")
        expect(card).to_contain_text("Spore prints")
        expect(card.locator("img")).to_have_js_property("naturalWidth", 32)
        opened.mouse.down()
        opened.mouse.up()
        expect(opened.locator("dialog#large")).to_be_visible()
        expect(opened.locator("dialog#large")).to_contain_text("Spore prints")

    def test_a_click_beside_the_dots_selects_none(self, opened: Page) -> None:
        lasso(opened, middles(opened)["Spore prints"])
        says(opened, "12 photos selected")
        box = opened.locator(".map-stage").bounding_box()
        assert box is not None
        opened.mouse.click(box["x"] + 4, box["y"] + 4)
        says(opened, "^77 photos$")


class TestKeys:
    def test_a_circle_takes_a_clump_without_a_mouse(self, opened: Page, dataset: Dataset) -> None:
        x, y = middles(opened)["Spore prints"]
        box = opened.locator(".map-stage").bounding_box()
        assert box is not None
        right, down = x - box["x"] - box["width"] / 2, y - box["y"] - box["height"] / 2
        opened.locator(".map-over").focus()
        opened.keyboard.press("+")  # it appears, with a radius of 60: an arrow moves it by 30
        for key, way in (("ArrowRight", right), ("ArrowDown", down)):
            opposite = {"ArrowRight": "ArrowLeft", "ArrowDown": "ArrowUp"}[key]
            for _ in range(round(abs(way) / 30)):
                opened.keyboard.press(key if way > 0 else opposite)
        says(opened, "^The circle holds 12 photos: all Spore prints, none removed$")
        opened.keyboard.press("Enter")
        says(opened, "^12 photos selected")
        expect(opened.locator("#wall [role=option]")).to_have_count(12)
        opened.keyboard.press("Control+a")
        opened.keyboard.press("2")
        expect(opened.locator('#wall [role=option][data-saved="yes"]')).to_have_count(12)
        found = verdicts(dataset)
        assert {path for path, verdict in found.items() if verdict == ("remove", "scenery")} == paths("Spore_prints")
        opened.keyboard.press("u")
        expect(opened.locator('#wall [role=option][data-saved="yes"]')).to_have_count(0)
        opened.locator(".map-over").focus()
        opened.keyboard.press("o")
        expect(opened.locator("dialog#large")).to_contain_text("Spore prints")

    def test_the_circle_stays_on_its_photos_when_the_legend_takes_its_room(self, opened: Page) -> None:
        opened.set_viewport_size({"width": 800, "height": 1000})  # the legend stands below the dots
        opened.locator(".map-over").focus()
        for _ in range(8):
            opened.keyboard.press("+")
        opened.keyboard.press("Enter")
        says(opened, "photos selected")
        held = opened.locator(".map-status").inner_text()
        heights = set()
        for scheme in ("class", "verdict", "cluster"):
            opened.locator(".map-by select").select_option(scheme)
            opened.wait_for_timeout(200)
            opened.locator(".map-over").focus()
            opened.keyboard.press("Enter")
            says(opened, f"^{re.escape(held)}$")
            heights.add(opened.locator(".map-stage").evaluate("stage => stage.clientHeight"))
        assert len(heights) > 1

    def test_keys_zoom_around_the_circle_and_escape_selects_none(self, opened: Page) -> None:
        opened.locator(".map-over").focus()
        opened.keyboard.press("Enter")
        before = middles(opened)
        opened.keyboard.press("x")
        after = middles(opened)
        spread = [math.dist(places["Amanita muscaria"], places["Spore prints"]) for places in (before, after)]
        assert spread[1] == pytest.approx(spread[0] / 1.5, rel=0.05)
        opened.keyboard.press("Escape")
        says(opened, "^77 photos$")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_to_mend(opened: Page, scheme: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 844})
    opened.emulate_media(color_scheme=scheme)
    opened.locator(".map-help summary").click()
    report = Axe().run(opened, context=".map")
    assert not report.response["violations"], report.generate_report()


# -- UMAP ------------------------------------------------------------------------------------------------------


class TestMethods:
    def test_the_share_of_the_axes_is_told_and_a_photo_that_is_not_embedded_yet_is_said_to_be_missing(
        self, opened: Page
    ) -> None:
        expect(opened.locator(".map-note")).to_contain_text(re.compile(r"two axes hold \d+% of the variance"))
        expect(opened.locator(".map-note")).to_contain_text("1 photo without an embedding is not on it.")

    @pytest.mark.slow
    def test_umap_is_computed_while_pca_is_shown_then_takes_its_place(
        self, page: Page, dataset: Dataset, tmp_path: Path
    ) -> None:
        (tmp_path / "umap.py").write_text(
            "import pathlib, time\nclass UMAP:\n    def __init__(self, **options): pass\n"
            "    def fit_transform(self, vectors):\n"
            f"        while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.05)\n"
            "        return -vectors[:, :2]\n"
        )
        with reviewed(dataset.root, packages=tmp_path) as server:
            show(page, f"{server.url}#view=map")
            page.get_by_label("UMAP").check()
            says(page, "UMAP is being computed.*PCA")
            assert middles(page)
            (tmp_path / "go").touch()
            expect(page.locator(".map-note")).to_contain_text("means nothing", timeout=20_000)
            says(page, "^77 photos$")
            page.get_by_label("PCA").check()
            expect(page.locator(".map-note")).to_contain_text("of the variance")

    def test_where_it_is_not_installed_the_page_says_what_to_type(self, opened: Page) -> None:
        if opened.evaluate("async () => (await (await fetch('api/map?method=pca')).json()).umap"):
            pytest.skip("umap-learn is installed here")
        expect(opened.get_by_label("UMAP")).to_be_disabled()
        expect(opened.locator(".map-missing")).to_contain_text("pip install")


# -- the arithmetic --------------------------------------------------------------------------------------------


class TestPoints:
    @pytest.fixture
    def asked(self, page: Page, address: str) -> Page:
        """A page that can import the modules."""
        page.goto(f"{address}words.js")
        return page

    def test_the_grid_finds_what_looking_at_every_point_finds(self, asked: Page) -> None:
        wrong = asked.evaluate(
            """async () => {
                const { gridOf, inPolygon, inCircle, nearest, isInside } = await import("./map-points.js");
                let state = 7;
                const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296;
                const wrong = [];
                for (let round = 0; round < 60; round += 1) {
                    const wide = [65536, 700, 20][round % 3];
                    const x = Uint16Array.from({ length: 800 }, () => random() * wide);
                    const y = Uint16Array.from({ length: 800 }, () => random() * wide);
                    const grid = gridOf(x, y);
                    const may = (place) => place % 5 !== 0;
                    const all = [...x.keys()].filter(may);
                    // Corners at random: the outline crosses itself, leaves the map, has flat and upright edges.
                    const corner = () => Math.round((random() * 1.4 - 0.2) * wide);
                    const polygon = Array.from({ length: 2 * (3 + round % 20) }, corner);
                    if (round % 4 === 0) polygon[3] = polygon[1];
                    if (round % 4 === 1) polygon[2] = polygon[0];
                    const [cx, cy, radius] = [corner(), corner(), random() * wide / 2];
                    const far = (place) => (x[place] - cx) ** 2 + (y[place] - cy) ** 2;
                    const same = (a, b) => a.length === b.length && a.every((one, k) => one === b[k]);
                    if (!same(inPolygon(grid, polygon, may), all.filter((k) => isInside(polygon, x[k], y[k]))))
                        wrong.push(["polygon", round]);
                    const circled = all.filter((k) => far(k) <= radius ** 2);
                    if (!same(inCircle(grid, cx, cy, radius, may), circled)) wrong.push(["circle", round]);
                    const next = nearest(grid, cx, cy, radius, may);
                    const least = Math.min(...circled.map(far));
                    if (next < 0 ? circled.length : far(next) !== least) wrong.push(["nearest", round]);
                }
                return wrong;
            }"""
        )
        assert wrong == []

    def test_a_loop_within_a_loop_is_outside(self, asked: Page) -> None:
        inside = asked.evaluate(
            """async () => {
                const { isInside } = await import("./map-points.js");
                const eight = [0, 0, 90, 0, 90, 90, 0, 90, 0, 0, 30, 30, 60, 30, 60, 60, 30, 60, 30, 30];
                return [[10, 45], [45, 45], [80, 80], [95, 45]].map(([x, y]) => isInside(eight, x, y));
            }"""
        )
        assert inside == [True, False, True, False]

    def test_colours_are_told_apart_whatever_the_eyes(self, asked: Page) -> None:
        grounds = asked.evaluate(
            """async () => {
                const { hue, quiet } = await import("./map-colours.js");
                const twelve = (dark) => Array.from({ length: 12 }, (_, k) => hue(k, dark));
                return [false, true].map((dark) => [quiet(dark), ...twelve(dark)]);
            }"""
        )
        for colours, sight in product(grounds, SIGHTS):
            seen = [oklab(colour, sight) for colour in colours]
            assert len(seen) == 13
            for place, one in enumerate(seen):
                assert all(np.linalg.norm(one - other) >= 0.09 for other in seen[:place]), sight


#: What is seen of linear red, green and blue. Machado et al. 2009, https://doi.org/10.1109/TVCG.2009.113, severity 1.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def oklab(colour: str, sight: str) -> np.ndarray[Any, Any]:
    """Return what is seen of '#rrggbb' in OKLab, https://bottosson.github.io/posts/oklab/."""
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHTS[sight]) @ linear, 0, 1)
    cones = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.63]]) @ seen
    mixing = [[0.2105, 0.7936, -0.0041], [1.978, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.asarray(np.array(mixing) @ np.cbrt(cones))
