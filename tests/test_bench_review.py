"""The benchmark of the review page counts what it says: its photos are there, and one sees when rows are missing."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image, ImageDraw

from benchmarks.review import REMOVED_EVERY, blank_screen, draw, main, make, naive_page
from shroomcurate.dataset import Dataset, read_table


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("bench") / "fungi", 1000, draw(3, (40, 30)))


def test_the_table_says_of_each_photo_where_it_lies(dataset: Dataset) -> None:
    table = read_table(dataset.path("clean.parquet"))
    judged = dict(zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True))
    assert {path: reason for path, (_, reason) in dataset.places().items()} == judged
    assert len(judged) == 1000
    assert len([reason for reason in judged.values() if reason]) == 1000 // REMOVED_EVERY


def test_the_naive_page_names_every_photo_once(dataset: Dataset) -> None:
    page = naive_page(dataset)
    named = re.findall(r'src="([^"]+)"', page.read_text(encoding="utf-8"))
    assert {str(page.parent / address) for address in named} == {place for place, _ in dataset.places().values()}
    assert len(named) == 1000


WALL = {"left": 0.0, "top": 20.0, "bottom": 420.0}


def screen(*rows: int) -> bytes:
    """A screen with a row of photos, 100 pixels high, at each of these heights."""
    image = Image.new("RGB", (300, 440), "#fbfaf6")
    for top in rows:
        ImageDraw.Draw(image).rectangle((10, top, 290, top + 99), fill="#f3f1ea")
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return packed.getvalue()


@pytest.mark.parametrize(("rows", "blank"), [((40, 150, 260, 350), False), ((40, 260, 350), True), ((), True)])
def test_a_screen_without_a_row_of_photos_is_blank(rows: tuple[int, ...], blank: bool) -> None:
    assert blank_screen(screen(*rows), WALL, 100) is blank


@pytest.mark.slow
@pytest.mark.browser
def test_the_table_ends_with_the_ratio(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in {"CLASSES": 40, "DISTINCT": 4, "VERDICTS": 3, "THUMBNAILS": 20}.items():
        monkeypatch.setattr(f"benchmarks.review.{name}", few)
    main(["400", "--runs", "1", "--turns", "4"])
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Every picture that is seen is there [\d.]+ times as soon .*", printed[-1])
    assert any(re.match(r"wheel: frames without rows, of those on the screen +0 of \d+", each) for each in printed)
