"""What the page says, part by part: whose the photos are, where they were taken, what was removed, what was learned."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import math
import re
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shroomcurate.clean import SCHEMA as JUDGEMENTS
from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.errors import DamagedFile
from shroomcurate.groups import Leak, certify, photo_ties
from shroomcurate.report import ReportOptions, report, sections
from shroomcurate.report.attribution import COLUMNS, attribution
from shroomcurate.report.baseline import _shaded, learning_curves
from shroomcurate.report.certificate import certificate
from shroomcurate.report.known import Known
from shroomcurate.report.places import CELL, Box, _cells, _densest, _draw, _inside, _world, degrees, places
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import SCHEMA as SPLITS
from tests.conftest import selection_rows
from tests.reported import (
    CLASSES,
    HOSTILE,
    Page,
    add_clean,
    add_downloads,
    add_history,
    add_predictions,
    add_run,
    copied,
    made_whole,
    make_full,
    metrics_of,
    whole,
)

__all__ = ["made_whole", "whole"]  # the fixtures


@pytest.fixture(scope="module")
def made_full(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_full(tmp_path_factory.mktemp("full") / "dataset")


@pytest.fixture
def full(made_full: Dataset, tmp_path: Path) -> Dataset:
    return copied(made_full, tmp_path / "dataset")


def reselect(dataset: Dataset, change: Callable[[int], dict[str, object]]) -> None:
    """Write the selection anew, each of its rows changed by its number."""
    rows = selection_rows(CLASSES, 12, 3)
    changed = [row | change(number) for number, row in enumerate(rows)]
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, changed), Receipt("query", {"per_class": 12}))


# -- attribution -----------------------------------------------------------------------------------------------


def unpacked(dataset: Dataset) -> list[dict[str, str]]:
    """The rows of the attribution file inside the page."""
    (link,) = [attributes for _, attributes in Page(dataset).tags if "download" in attributes]
    assert link["download"] == "attribution.csv.gz"
    packed = base64.b64decode(link["href"].removeprefix("data:application/gzip;base64,"))
    return list(csv.DictReader(io.StringIO(gzip.decompress(packed).decode(), newline="")))


def test_the_attribution_file_names_exactly_the_kept_photos(whole: Dataset) -> None:
    report(whole)
    rows = unpacked(whole)
    table = read_table(whole.path("clean.parquet")).to_pylist()
    assert [row["path"] for row in rows] == [row["path"] for row in table if row["kept"]]
    assert tuple(rows[0]) == COLUMNS
    first = next(row for row in selection_rows(CLASSES, 12) if str(row["photo_id"]) == rows[0]["photo_id"])
    assert rows[0]["photo"] == f"https://www.inaturalist.org/photos/{first['photo_id']}"
    assert rows[0]["observation"] == f"https://www.inaturalist.org/observations/{first['observation_uuid']}"
    assert (rows[0]["license"], rows[0]["attribution"]) == (first["license"], first["attribution"])
    assert f"{len(rows)} photos, " in Page(whole).text


def test_photos_that_ask_for_no_attribution_are_in_the_file_too(whole: Dataset) -> None:
    reselect(whole, lambda number: {"license": ("CC0", "PD")[number % 2]})
    report(whole)
    assert {row["license"] for row in unpacked(whole)} == {"CC0", "PD"}
    assert len(unpacked(whole)) == 21


def test_before_cleaning_the_file_names_the_photos_on_disk_and_before_any_photo_there_is_none(
    photographed: Callable[..., Dataset],
) -> None:
    dataset = photographed(CLASSES, wanted=3, reserve=2)
    report(dataset)
    assert {row["path"] for row in unpacked(dataset)} == set(dataset.photos())
    for place in dataset.photos().values():
        place.unlink()
    report(dataset)
    assert not [attributes for _, attributes in Page(dataset).tags if "download" in attributes]
    assert "The 6 photos wanted" in Page(dataset).text


def test_hostile_names_stay_in_their_field_of_the_file(whole: Dataset) -> None:
    hostile = f'{HOSTILE}\n"x",y\r\n'
    reselect(whole, lambda _: {"attribution": hostile})
    report(whole)
    assert {row["attribution"] for row in unpacked(whole)} == {hostile}


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_a_name_that_begins_like_a_formula_is_none_in_a_spreadsheet(whole: Dataset, name: str) -> None:
    reselect(whole, lambda _: {"attribution": f"{name}, no rights reserved (CC0)"})
    report(whole)
    assert {row["attribution"] for row in unpacked(whole)} == {f"'{name}, no rights reserved (CC0)"}


def test_the_file_has_the_same_bytes_each_time(whole: Dataset) -> None:
    first, second = attribution(Known(whole)), attribution(Known(whole))
    assert first == second
    assert first is not None
    packed = base64.b64decode(first.uri.split(",")[1])
    assert packed[4:8] == bytes(4)  # gzip's field for the time
    assert len(packed) == first.bytes


def test_photos_that_the_selection_does_not_know_are_counted_as_nobody_s(whole: Dataset) -> None:
    rows = [row for row in selection_rows(CLASSES, 12, 3) if row["photo_id"] != 1005]
    write_table(whole.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))
    report(whole)
    assert "images/Amanita_muscaria/1005.jpg" not in {row["path"] for row in unpacked(whole)}
    assert "Of 1 more the selection knows nothing" in Page(whole).text


# -- where and when --------------------------------------------------------------------------------------------

_degrees = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=60)


def drawn(path: str) -> list[tuple[float, float, float]]:
    """Left, top and width of each square of a path."""
    return [
        (float(x), float(y), float(side)) for x, y, side in re.findall(r"M([-\d.]+) ([-\d.]+)h([\d.]+)v[\d.]+h", path)
    ]


@given(_degrees)
def test_every_photo_lies_in_one_square_and_every_square_on_the_map(points: list[tuple[float, float]]) -> None:
    north, east = np.array(points).T
    box = _world(north)
    assert _cells(north, east, box, CELL)[2].sum() == len(points)
    found = _draw(north, east, box, CELL, 720)
    squares = [square for level in found.levels for square in drawn(level.path)]
    assert len(squares) == len(_cells(north, east, box, CELL)[2])
    for x, y, side in squares:
        assert -0.1 <= x <= found.width - side + 0.1
        assert -0.1 <= y <= found.height - side + 0.1


@given(_degrees)
@example([(-16.8, 180.0)])
@example([(90.0, 7.0)])
def test_the_inset_holds_half_of_the_photos_or_there_is_none(points: list[tuple[float, float]]) -> None:
    north, east = np.array(points).T
    box = _densest(north, east)
    if box is not None:
        inside = (north >= box.south) & (north <= box.north) & (east >= box.west) & (east <= box.east)
        assert inside.mean() >= 0.5
        assert _inside(north, east, box).mean() >= 0.5
        assert box.east - box.west <= 60


def test_a_square_with_more_photos_is_larger() -> None:
    north, east = np.array([10.0] * 1 + [20.0] * 40), np.array([10.0] * 1 + [20.0] * 40)
    few, *_, many = [level for level in _draw(north, east, _world(north), CELL, 720).levels if level.path]
    assert (few.least, few.most, many.least, many.most) == (1, 2, 30, 40)
    assert few.side < many.side <= CELL * 2


@pytest.mark.parametrize(
    ("value", "letter", "words"),
    [(48, "N", "48°\u00a0N"), (-23.44, "N", "23.44°\u00a0S"), (0, "E", "0°"), (-120, "E", "120°\u00a0W")],
)
def test_degrees_are_said_as_on_a_map(value: float, letter: str, words: str) -> None:
    assert degrees(value, letter) == words
    assert str(Box(-10, 0, 20, 5)) == "0° to 5°\u00a0N, 10°\u00a0W to 20°\u00a0E"


def test_photos_without_place_or_date_are_counted_and_those_of_both_hemispheres_told_apart(whole: Dataset) -> None:
    def change(number: int) -> dict[str, object]:
        place = [(47.0, 8.0), (-33.5, 18.5), (None, None), (math.nan, 400.0)][number % 4]
        day = None if number % 3 == 0 else np.datetime64(f"20{10 + number % 2}-0{1 + number % 9}-15").item()
        return {"latitude": place[0], "longitude": place[1], "observed_on": day}

    reselect(whole, change)
    found = places(Known(whole))
    assert found is not None
    kept = [row for row in read_table(whole.path("clean.parquet")).to_pylist() if row["kept"]]
    changed = {str(row["photo_id"]): change(number) for number, row in enumerate(selection_rows(CLASSES, 12, 3))}
    mine = [changed[Path(row["path"]).stem] for row in kept]
    placed = [row for row in mine if row["latitude"] in (47.0, -33.5)]
    assert (found["total"], found["placed"]) == (21, len(placed))
    assert found["south"] == sum(row["latitude"] == -33.5 for row in mine)
    assert found["dated"] == sum(row["observed_on"] is not None for row in mine)
    for side in ("north", "south", "unplaced"):
        assert sum(month[side] for month in found["months"]) > 0
    assert (
        sum(sum(month[side] for side in ("north", "south", "unplaced")) for month in found["months"]) == found["dated"]
    )
    assert sum(year["count"] for year in found["years"]) == found["dated"]
    report(whole)
    assert f"{21 - len(placed)} have none" in Page(whole).text


def test_years_long_past_are_one_bar(whole: Dataset) -> None:
    years = [1891, 1950, 2003, 2010, 2024]
    reselect(whole, lambda number: {"observed_on": np.datetime64(f"{years[number % 5]}-06-01").item()})
    found = places(Known(whole))
    assert found is not None
    labels = [year["label"] for year in found["years"]]
    assert labels == ["before 2005", *map(str, range(2005, 2025))]
    assert sum(year["count"] for year in found["years"]) == found["dated"] == 21


def test_a_dataset_without_places_and_dates_says_so(whole: Dataset) -> None:
    reselect(whole, lambda _: {"latitude": None, "longitude": None, "observed_on": None})
    report(whole)
    text = Page(whole).text
    assert "None of the 21 photos kept has a place." in text
    assert "No photo has a date." in text


# -- the certificate -------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),  # observation
            st.sampled_from([None, 0, 1, 2, 3]),  # which photo it equals
            st.sampled_from(["train", "test"]),
            st.integers(0, 1),
            st.booleans(),  # is in the split
            st.sampled_from([None, 1, 2]),  # the day
        ),
        min_size=4,
        max_size=8,
    ),
    st.booleans(),
)
def test_the_page_s_certificate_says_what_the_split_s_own_check_says(photos: list[Any], same_day: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(folder)
        paths = [f"images/A/{number + 1}.jpg" for number in range(len(photos))]
        selected, judged, parts = [], [], []
        for number, (observation, same, part, fold, inside, day) in enumerate(photos):
            row = selection_rows(["A"], 1)[0] | {"photo_id": number + 1, "observation_uuid": f"o{observation}"}
            row |= {"observed_on": day and date(2024, 9, day), "observer_id": number % 2 or None}
            selected.append(row | {"other_observations": "o7 o8" if number == 1 else None})
            other = None if same in (None, number) else paths[same]
            judged.append({"path": paths[number], "photo_id": number + 1, "class": "A", "duplicate_of": other})
            judged[-1] |= {"kept": inside, "score": 0.1, "decided_by": "rule"}
            if inside:
                parts.append(
                    {"path": paths[number], "class": "A", "split": part, "fold": fold, "group": f"g{observation}"}
                )
        write_table(dataset.path("selection.parquet"), make_table(SELECTION, selected), Receipt("query", {}))
        write_table(dataset.path("clean.parquet"), make_table(JUDGEMENTS, judged), Receipt("clean", {}))
        receipt = Receipt("split", {"same_day": same_day})
        write_table(dataset.path("splits.parquet"), make_table(SPLITS, parts), receipt)
        known = Known(dataset)
        assert known.splits is not None
        found = certificate(known, known.splits)
        try:
            checked = certify(
                {row["path"]: (row["split"], row["fold"]) for row in parts},
                photo_ties(dataset, same_day),
                {row["path"]: row["group"] for row in parts},
            )
        except Leak:
            assert found.leak
        else:
            assert found.leak is None
            assert found.checked == {name: checked[name] for name in checked if name not in {"photos", "crossings"}}
            assert set(found.checked) >= {"groups", "photo_ids", "observations", "near_duplicates"}


def test_photos_of_the_split_that_are_gone_are_counted(whole: Dataset) -> None:
    rows = read_table(whole.path("splits.parquet")).to_pylist()
    rows.append(rows[0] | {"path": "images/Amanita_muscaria/77.jpg"})
    write_table(whole.path("splits.parquet"), make_table(SPLITS, rows), Receipt("split", {}))
    report(whole)
    assert "1 photo of the split is no longer in the dataset and was not checked" in Page(whole).text


def test_a_split_made_before_any_cleaning_is_checked_by_the_files(photographed: Callable[..., Dataset]) -> None:
    from shroomcurate.split import split

    dataset = photographed(CLASSES, wanted=12)
    split(dataset)
    found = certificate(Known(dataset), read_table(dataset.path("splits.parquet")))
    assert found.leak is None
    assert found.checked["photo_ids"] == 24


# -- what was removed ------------------------------------------------------------------------------------------


def test_duplicates_stand_beside_the_photo_they_equal_and_photos_in_two_classes_are_named(full: Dataset) -> None:
    report(full)
    page = Page(full)
    pairs = re.findall(r'<li class="pair">(.*?)</li>', page.source, re.DOTALL)
    words = [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", pair)) for pair in pairs]
    files = [re.findall(r'alt="[^"]*, ([^"]*)"', pair) for pair in pairs]
    assert files == [["1002.jpg", "1003.jpg"], ["1004.jpg", "2004.jpg"], ["2004.jpg", "1004.jpg"]]
    assert "removed" in words[0]
    assert "kept" in words[0]
    assert "kept" not in words[1]
    assert "Amanita muscaria and Boletus edulis 2" in page.text
    assert page.text.index("The same photo in two classes") > page.text.index("Duplicate: 3")


def test_a_duplicate_that_only_a_person_named_is_shown_alone(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=4)
    add_clean(dataset, {"1001": "duplicate"})
    report(dataset)
    assert '<li class="pair">' not in Page(dataset).source
    assert "Duplicate: 1" in Page(dataset).text


def test_what_a_duplicate_equals_may_be_gone(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=4)
    add_clean(dataset, {"1001": "duplicate"}, {"1001": "images/Amanita_muscaria/555.jpg"})
    report(dataset)
    assert "no longer judged" in Page(dataset).text


@pytest.mark.parametrize("path", ["../outside/1.jpg", "images/../1.jpg", "/1.jpg", "images/A/B/1.jpg", "1.jpg", ""])
def test_a_table_cannot_show_photos_from_outside_of_the_dataset(whole: Dataset, path: str) -> None:
    place = (whole.root / path).resolve() if path else whole.root / "x"
    if not place.exists() and place.is_relative_to(whole.root.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(next(iter(whole.photos().values())).read_bytes())
    rows = read_table(whole.path("clean.parquet")).to_pylist()
    rows[0] |= {"path": path, "kept": False, "reason": "drawing", "score": 1.0}
    write_table(whole.path("clean.parquet"), make_table(JUDGEMENTS, rows), Receipt("clean", {}))
    assert Known(whole).place(path, "..") is None
    report(whole, ReportOptions(thumbnails_per_reason=1))
    assert "no longer on disk, or not readable" in Page(whole).text


# -- the baseline ----------------------------------------------------------------------------------------------


def test_differences_of_shares_are_points_not_per_cent(full: Dataset) -> None:
    report(full)
    text = Page(full).text.replace("\u202f", " ")
    assert "+2.1 points" in text
    assert "\u22120.4 to +5.0 points" in text
    assert "standard deviation of 2.0 points" in text
    assert not re.search(r"[+\u2212][0-9.]+ %", text)


def test_each_file_for_a_phone_is_on_the_page_with_what_it_is_worth(full: Dataset) -> None:
    (run,) = full.path("runs").iterdir()
    files = [
        {
            "file": f"{'' if passed else 'refused/'}{name}.tflite",
            "figures": {"top1": top1, "poisonous_recall": recall},
            "speed": {"size_mb": 3.719, "one_thread": {"median_ms": 3.923}} if passed else None,
            "refused_because": "" if passed else "top1 fell by 2.00 points",
        }
        for name, top1, recall, passed in (("float32", 0.929, 0.92, True), ("int8", 0.909, None, False))
    ]
    (run / "phone").mkdir()
    (run / "phone" / "model.json").write_text(json.dumps({"files": files}))
    report(full)
    text = Page(full).text.replace("\u202f", " ")
    assert "float32.tflite 3.7 3.9 92.9 % 92.0 % yes" in text
    assert "int8.tflite – – 90.9 % – no" in text
    assert "int8.tflite was refused: top1 fell by 2.00 points." in text
    (run / "phone" / "model.json").write_text("{}")
    with pytest.raises(DamagedFile, match=r"model\.json"):
        report(full)


def test_confused_photos_are_shown_surest_first_with_one_safety_notice_for_all_pairs(full: Dataset) -> None:
    (run,) = full.path("runs").iterdir()
    first_class, second_class = (f"images/{name}/" for name in CLASSES)
    add_predictions(
        run,
        [
            (f"{first_class}1006.jpg", CLASSES[0], CLASSES[1], 0.7),
            (f"{first_class}1005.jpg", CLASSES[0], CLASSES[1], 0.9),
            (f"{second_class}2006.jpg", CLASSES[1], CLASSES[0], 0.8),
        ],
    )
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["most_confused"] *= 2
    (run / "metrics.json").write_text(json.dumps(metrics))
    report(full)
    text = Page(full).text
    first, second = text.index("photo 1005"), text.index("photo 1006")
    assert first < second
    said = "is Amanita muscaria the model says Boletus edulis, 90.0 % sure"
    assert said in text
    assert text.rindex(SAFETY_NOTICE, 0, text.index(said)) > text.index("What is taken for what")
    assert text.count(SAFETY_NOTICE) == 3


def test_a_run_without_predictions_shows_no_photos(whole: Dataset) -> None:
    report(whole)
    assert "the most confused pairs" in Page(whole).text.lower()
    assert not re.search(r"the model says .{1,60} sure", Page(whole).text)


def test_curves_end_where_the_history_ends_and_mark_the_epoch_that_was_kept(tmp_path: Path) -> None:
    add_history(tmp_path, [0.004, 0.0012, 0.0002, 0.0002])
    add_predictions(tmp_path, [])
    accuracy, loss = learning_curves(tmp_path)
    assert (accuracy.measure, loss.measure) == ("accuracy", "loss")
    assert [curve.last for curve in accuracy.curves] == pytest.approx([0.575, 0.475])
    assert accuracy.best == pytest.approx(2 / 3)
    assert accuracy.unfrozen == [pytest.approx(1.5 / 3)]
    for plot in (accuracy, loss):
        assert all(0 <= x <= 1 and 0 <= y <= 1 for curve in plot.curves for x, y in curve.points)
        assert all(-1e-9 <= y <= 1 + 1e-9 for y, _ in plot.ticks)
        assert [epoch for _, epoch in plot.epochs] == [1, 2, 3, 4]


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=20))
def test_any_losses_fit_their_axis(losses: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = ["epoch,loss,val_loss", *(f"{i},{loss!r},{loss!r}" for i, loss in enumerate(losses))]
        (Path(folder) / "history.csv").write_text("\n".join(lines))
        (plot,) = learning_curves(Path(folder))
    assert 2 <= len(plot.ticks) <= 9
    assert all(-1e-6 <= y <= 1 + 1e-6 for curve in plot.curves for _, y in curve.points)


def test_a_loss_that_is_no_number_breaks_no_curve(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss,val_loss\n0,1.0,1.2\n1,nan,inf\n2,0.5,0.7\n")
    (plot,) = learning_curves(tmp_path)
    assert [len(curve.points) for curve in plot.curves] == [2, 2]


def test_one_epoch_is_no_curve_and_a_damaged_history_is_named(tmp_path: Path) -> None:
    add_history(tmp_path, [0.004])
    assert learning_curves(tmp_path) == []
    (tmp_path / "history.csv").write_text("epoch,loss\n0,low\n")
    with pytest.raises(DamagedFile, match=r"history\.csv"):
        learning_curves(tmp_path)


def test_the_confusion_of_many_classes_stays_small() -> None:
    matrix = np.random.default_rng(0).multinomial(75, np.full(445, 1 / 445), size=445)
    rows = _shaded(matrix.tolist(), [f"Class {number}" for number in range(445)])
    squares = sum(path.count("M") for _, those in rows for _, _, path in those)
    assert squares == np.count_nonzero(matrix)
    assert sum(len(path) for _, those in rows for _, _, path in those) < 20 * squares


def test_curves_and_folds_are_on_the_page_of_a_run_that_has_them(full: Dataset) -> None:
    report(full)
    assert "How it learned" in Page(full).text
    assert "it reaches a macro F1 of 85.0 %" in Page(full).text


def test_the_page_of_a_run_without_epochs_has_no_curves(whole: Dataset) -> None:
    report(whole)
    assert "How it learned" not in Page(whole).text


# -- classes and receipts --------------------------------------------------------------------------------------


def test_the_dash_is_explained_only_where_something_is_not_known_yet(
    whole: Dataset, photographed: Callable[..., Dataset]
) -> None:
    report(whole)
    assert "In the columns, “–”" not in Page(whole).text
    whole.path("splits.parquet").unlink()
    report(whole)
    text = Page(whole).text
    assert "In the columns, “–” says that the table which would tell is not there yet." in text
    assert "In the bars: kept removed wanted, but not had In the columns" in text


def test_every_file_has_a_receipt_that_says_what_changed_since(whole: Dataset) -> None:
    add_predictions(whole.path("runs") / "probe-1", [])
    report(whole)
    text = Page(whole).text
    for name in ("selection.parquet", "downloads.parquet", "clean.parquet", "splits.parquet"):
        assert f"Options of {name}" in text
    assert "Options of runs/probe-1/predictions.parquet" in text
    assert "changed:" not in text
    add_downloads(whole)
    reselect(whole, lambda _: {"license": "CC0"})
    report(whole)
    assert "changed: selection.parquet" in Page(whole).text


def test_what_was_asked_comes_before_what_was_left_open(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=3)
    rows = make_table(SELECTION, selection_rows(CLASSES, 3))
    options = {"west": None, "seed": 0, "species": 2, "taxa": None, "per_class": 3}
    write_table(dataset.path("selection.parquet"), rows, Receipt("query", options))
    report(dataset)
    assert "species 2 per class 3 seed 0 left open taxa, west" in Page(dataset).text


def test_a_selection_of_an_earlier_version_is_read_too(whole: Dataset) -> None:
    table = read_table(whole.path("selection.parquet"))
    write_table(whole.path("selection.parquet"), table.drop_columns(["other_observations"]), Receipt("query", {}))
    assert "split" in report(whole).sections
    add_run(whole, metrics_of(CLASSES), "probe-2")
    assert report(whole).missing == {}


def test_a_dataset_of_which_nothing_was_kept_gets_its_page(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=2)
    add_clean(dataset, dict.fromkeys(("1001", "1002", "2001", "2002"), "drawing"))
    assert set(report(dataset).missing) == {"downloads", "split", "baseline"}
    text = Page(dataset).text
    assert "None of the 0 photos kept has a place." in text
    assert "100.0 % removed: 4 of 4 photos" in text
    assert not [attributes for _, attributes in Page(dataset).tags if "download" in attributes]


def test_classes_with_fewer_photos_than_were_asked_for_are_counted(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["Amanita_muscaria", "Boletus_edulis"], 3)
    found = sections.classes(Known(dataset))
    assert found is not None
    assert (found["per_class"], found["short"], found["lacking"]) == (3, 0, 0)
    next(iter(dataset.photos().values())).unlink()
    found = sections.classes(Known(dataset))
    assert found is not None
    assert (found["short"], found["lacking"]) == (1, 1)
    report(dataset)
    assert "1 of 2 classes have fewer" in dataset.path("report.html").read_text()


def test_classes_in_which_nothing_was_judged_are_named_with_the_reason(whole: Dataset) -> None:
    dataset = whole
    file = dataset.path("clean.parquet")
    report(dataset)
    assert "nothing was judged" not in dataset.path("report.html").read_text()
    options = {"left_alone": {"Boletus_edulis": "12 photos are too few to tell"}}
    write_table(file, read_table(file).replace_schema_metadata(None), Receipt("clean", options))
    report(dataset)
    page = dataset.path("report.html").read_text()
    assert "In 1 class nothing was judged" in page
    assert "<dt><i>Boletus edulis</i></dt><dd>12 photos are too few to tell</dd>" in page
