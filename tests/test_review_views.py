"""The views: every photo that passes the filter once, in the order that the view promises."""

from __future__ import annotations

import asyncio
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.clean.judge import Photo, _suggest
from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.errors import BadOption
from shroomcurate.review.detail import detail
from shroomcurate.review.gallery import NOT_JUDGED, REASON_NUMBERS, Gallery, open_gallery, verdict_code
from shroomcurate.review.lasting import LastingTable
from shroomcurate.review.state import State
from shroomcurate.review.views import VIEWS, Filter, View, passing, view, why_not
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.training.results import SCHEMA as PREDICTIONS
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import Verdict
from tests.cleaning import blob, known, noisy_classes, photos, say
from tests.conftest import jpeg, selection_rows
from tests.review_server import reviewed

NOWHERE = Dataset("nowhere")
CLASSES = ["Amanita_muscaria", "Boletus_edulis", "Zz_top"]
LICENCES = ["CC-BY", "CC0", None]


def lasting(table: pa.Table) -> LastingTable:
    """The table as if it had been opened from a file."""
    written = io.BytesIO()
    pq.write_table(table, written)
    return LastingTable(cast(Path, written), [])


@st.composite
def galleries(draw: st.DrawFn) -> tuple[Gallery, np.ndarray[Any, Any]]:
    """A small dataset with everything that may be known of a photo or not, and verdicts."""
    size = draw(st.integers(1, 25))
    each = lambda values: np.array(draw(st.lists(values, min_size=size, max_size=size)))  # noqa: E731
    class_of = np.sort(each(st.integers(0, len(CLASSES) - 1))).astype(np.int32)
    judged = each(st.booleans())
    reason = np.where(judged, each(st.integers(0, len(REASONS))), NOT_JUDGED).astype(np.int8)
    original = np.where(each(st.booleans()) & judged, each(st.integers(0, size - 1)), -1)
    original[original == np.arange(size)] = -1
    table = pa.table({"path": ["x"] * int(judged.sum())})
    selected = each(st.booleans())
    selection = pa.table(
        {
            "photo_id": np.where(selected, np.arange(size), -1),
            "license": pa.array(draw(st.lists(st.sampled_from(LICENCES), min_size=size, max_size=size)), pa.string()),
            "taxon_name": pa.array([f"Taxon {number}" for number in range(size)]),
            "attribution": pa.array([None if number % 3 else "© Ånn Øbserver" for number in range(size)]),
            "observation_uuid": pa.array([f"uuid-{number}" for number in range(size)]),
        }
    )
    wrong = draw(st.dictionaries(st.integers(0, size - 1), st.tuples(st.sampled_from(CLASSES), st.floats(0, 1))))
    gallery = Gallery(
        paths=[f"images/{CLASSES[name]}/{number:03}.jpg" for number, name in enumerate(class_of)],
        gone=frozenset(),
        is_listed=True,
        classes=CLASSES,
        class_of=class_of,
        reason=reason,
        score=np.where(judged, each(st.floats(0, 1, width=32)), np.nan).astype(np.float32),
        cluster=np.where(judged, each(st.integers(-1, 3)), -1).astype(np.int32),
        original=original.astype(np.int64),
        applied=np.where(judged, each(st.integers(0, 1 + len(REASONS))), 0).astype(np.int8),
        clean_row=np.where(judged, np.cumsum(judged) - 1, -1),
        clean=lasting(table),
        selection=lasting(selection),
        predictions=lasting(pa.table({"path": pa.array([], pa.string())})),
        run="run",
        stamp={"embeddings.parquet": None},
    )
    vars(gallery)["predicted"] = {
        number: told for number, told in wrong.items() if told[0] != CLASSES[class_of[number]]
    }
    return gallery, each(st.integers(0, 1 + len(REASONS))).astype(np.int8)


reason_numbers = st.integers(-1, len(REASONS))

filters = st.builds(
    Filter,
    class_name=st.none() | st.sampled_from([*CLASSES, "Nobody"]),
    reason=st.none() | st.sampled_from([*REASONS, "kept"]),
    licence=st.none() | st.sampled_from(["CC-BY", "CC0", "none such"]),
    decided=st.none() | st.sampled_from(["yes", "no"]),
    text=st.none()
    | st.sampled_from(["", "amanita", "AMANITA MUSCARIA", "taxon 1", "øbs", "uuid-2", "00", "(.*", "\\"]),
)


def shown(found: View) -> dict[str, list[int]]:
    """Heading -> the photos under it."""
    return {
        f"{section.title}|{section.detail}": found.order[section.start : section.start + section.count]
        for section in found.sections
    }


SHOWN_AT_ONCE = [name for name in VIEWS if name not in ("useful", "map", "moved")]  # these need more


@settings(max_examples=40)
@given(galleries(), filters, st.sampled_from(SHOWN_AT_ONCE))
def test_a_view_shows_no_photo_twice_and_its_sections_cover_it(
    told: tuple[Gallery, np.ndarray[Any, Any]], wanted: Filter, name: str
) -> None:
    gallery, codes = told
    found = view(gallery, name, wanted, codes, NOWHERE)
    assert len(set(found.order)) == len(found.order)
    assert set(found.order) <= set(range(len(gallery.paths)))
    at = 0
    for section in found.sections:
        assert (section.start, section.count > 0) == (at, True)
        at += section.count
    assert at == len(found.order)
    passed = set(np.flatnonzero(passing(gallery, wanted, codes)).tolist())
    if name == "duplicates":  # a group is shown whole, or one could not choose
        groups = gallery.duplicate_groups
        assert set(found.order) == {number for group in groups if passed & set(group) for number in group}
    else:
        assert set(found.order) <= passed
    if name in ("all", "classes"):
        assert set(found.order) == passed


@settings(max_examples=40)
@given(galleries(), filters)
def test_a_filter_lets_through_what_fulfils_each_of_its_conditions(
    told: tuple[Gallery, np.ndarray[Any, Any]], wanted: Filter
) -> None:
    gallery, codes = told
    passed = passing(gallery, wanted, codes)
    for number, path in enumerate(gallery.paths):
        chosen = gallery.row(gallery.selection, int(gallery.selection_row[number]))
        words = [path, path.replace("_", " "), *(str(chosen.get(name) or "") for name in ("taxon_name", "attribution"))]
        words.append(str(chosen.get("observation_uuid") or ""))
        fulfilled = [
            wanted.class_name in (None, path.split("/")[1]),
            wanted.reason is None or gallery.reason[number] == ({"kept": 0} | REASON_NUMBERS)[wanted.reason],
            wanted.licence is None or chosen.get("license") == wanted.licence,
            wanted.decided is None or (codes[number] != 0) == (wanted.decided == "yes"),
            not wanted.text or any(wanted.text.casefold() in each.casefold() for each in words),
        ]
        assert passed[number] == all(fulfilled), (path, fulfilled)


@settings(max_examples=40)
@given(galleries())
def test_removed_photos_stand_under_their_reason_the_least_certain_first(
    told: tuple[Gallery, np.ndarray[Any, Any]],
) -> None:
    gallery, codes = told
    found = view(gallery, "removed", Filter(), codes, NOWHERE)
    removed = np.flatnonzero(gallery.reason > 0).tolist()
    assert sorted(found.order) == removed
    for heading, members in shown(found).items():
        title, meaning = heading.split("|")
        reason = title.replace(" ", "_")
        assert meaning == REASONS[reason]
        assert {int(gallery.reason[number]) for number in members} == {REASON_NUMBERS[reason]}
        certainty = np.abs(gallery.score[members].astype(float) - 0.5)
        assert (np.diff(certainty[~np.isnan(certainty)]) >= 0).all()


@settings(max_examples=40)
@given(galleries())
def test_borderline_photos_come_nearest_to_the_line_first_and_duplicates_not_at_all(
    told: tuple[Gallery, np.ndarray[Any, Any]],
) -> None:
    gallery, codes = told
    found = view(gallery, "borderline", Filter(), codes, NOWHERE)
    assert (np.diff(np.abs(gallery.score[found.order].astype(float) - 0.5)) >= 0).all()
    asked = ~np.isnan(gallery.score) & (gallery.reason != REASON_NUMBERS["duplicate"])
    assert sorted(found.order) == np.flatnonzero(asked).tolist()


@settings(max_examples=40)
@given(galleries())
def test_a_class_shows_its_noise_then_small_clusters_then_large_ones(
    told: tuple[Gallery, np.ndarray[Any, Any]],
) -> None:
    gallery, codes = told
    found = view(gallery, "classes", Filter(), codes, NOWHERE)
    keys = []
    for number in found.order:
        cluster = int(gallery.cluster[number])
        keys.append((int(gallery.class_of[number]), cluster >= 0, -cluster))
    assert keys == sorted(keys)
    for members in (found.order[each.start : each.start + each.count] for each in found.sections):
        assert len({(gallery.class_of[number], gallery.cluster[number]) for number in members}) == 1
        scores = gallery.score[members]
        assert (np.diff(scores[~np.isnan(scores)]) <= 0).all()  # the noisiest first
        assert not np.isnan(scores[: int((~np.isnan(scores)).sum())]).any()  # the unknown last


@settings(max_examples=100)
@given(galleries())
def test_duplicates_are_the_connected_parts_with_conflicts_first_and_the_kept_one_ahead(
    told: tuple[Gallery, np.ndarray[Any, Any]],
) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    gallery, codes = told
    linked = np.flatnonzero(gallery.original >= 0)
    size = len(gallery.paths)
    edges = coo_array((np.ones(len(linked)), (linked, gallery.original[linked])), shape=(size, size))
    _, part = connected_components(edges, directed=False)
    counts = Counter(part.tolist())
    expected = {frozenset(np.flatnonzero(part == number).tolist()) for number, count in counts.items() if count > 1}
    found = view(gallery, "duplicates", Filter(), codes, NOWHERE)
    groups = [found.order[each.start : each.start + each.count] for each in found.sections]
    assert {frozenset(group) for group in groups} == expected
    conflict = [len({int(gallery.class_of[number]) for number in group}) > 1 for group in groups]
    assert conflict == sorted(conflict, reverse=True)
    for group in groups:
        kept = [bool(gallery.reason[number] == 0) for number in group]
        assert kept == sorted(kept, reverse=True)


@settings(max_examples=40)
@given(galleries())
def test_confused_photos_stand_under_their_pair_the_most_frequent_pair_first(
    told: tuple[Gallery, np.ndarray[Any, Any]],
) -> None:
    gallery, codes = told
    found = view(gallery, "confused", Filter(), codes, NOWHERE)
    assert sorted(found.order) == sorted(gallery.predicted)
    assert [each.count for each in found.sections] == sorted((each.count for each in found.sections), reverse=True)
    for heading, members in shown(found).items():
        for number in members:
            truth, predicted = CLASSES[gallery.class_of[number]], gallery.predicted[number][0]
            assert heading.startswith(f"{truth} taken for {predicted}".replace("_", " "))
        sure = [gallery.predicted[number][1] for number in members]
        assert sure == sorted(sure, reverse=True)


def test_an_unknown_view_reason_or_word_is_named() -> None:
    with pytest.raises(BadOption, match="no view 'everything'"):
        view(None, "everything", Filter(), np.zeros(0, np.int8), NOWHERE)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="no reason 'ugly'"):
        Filter(reason="ugly")
    with pytest.raises(BadOption, match="decided is 'maybe'"):
        Filter(decided="maybe")


# -- on datasets -------------------------------------------------------------------------------------------------


@pytest.fixture
def cleaned(tmp_path: Path) -> Dataset:
    dataset = photos(tmp_path, noisy_classes())
    say(dataset, "images/Amanita_muscaria/0003.jpg,remove,blurred,,", "images/Boletus_edulis/0060.jpg,keep,,,")
    clean(dataset)
    return dataset


def paths(gallery: Gallery, numbers: list[int]) -> list[str]:
    return [gallery.paths[number] for number in numbers]


def nothing_said(gallery: Gallery) -> np.ndarray[Any, Any]:
    return np.zeros(len(gallery.paths), np.int8)


@pytest.mark.parametrize("wanted", [1, 20, 200])
def test_the_most_useful_are_those_that_clean_suggests_in_the_same_order(cleaned: Dataset, wanted: int) -> None:
    suggested = [each.path for each in clean(cleaned, CleanOptions(suggest=wanted)).suggestions]
    gallery = open_gallery(cleaned)
    useful = paths(gallery, view(gallery, "useful", Filter(), nothing_said(gallery), cleaned).order)
    assert suggested
    assert useful[:wanted] == suggested
    assert len(useful) <= 200


def test_photos_whose_scores_the_table_holds_as_one_are_suggested_by_name() -> None:
    """Or the page, which knows the table alone, could not show them in the same order."""
    names = [f"images/A/{number:04}.jpg" for number in range(8)]
    judged = [Photo(name, "A", None, (1, name), score=0.4 + 1e-12 * number) for number, name in enumerate(names)]
    unlike = known({"A": np.eye(8, 16, dtype=np.float32)})
    assert [each.path for each in _suggest(judged, unlike, 8)] == names


def test_of_duplicates_and_photos_already_judged_nobody_is_asked(tmp_path: Path) -> None:
    classes = {"A": np.concatenate([blob(0, 40), blob(5, 4)]), "B": blob(1, 40)}
    twice = {f"images/A/{number:04}.jpg": "the same" for number in (0, 1)}
    dataset = photos(tmp_path, classes, same=twice)
    say(dataset, "images/A/0041.jpg,keep,,,")
    clean(dataset)
    gallery = open_gallery(dataset)
    for name in ("useful", "borderline"):
        asked = paths(gallery, view(gallery, name, Filter(), nothing_said(gallery), dataset).order)
        assert not {path for path in asked if gallery.reason[gallery.number[path]] == REASON_NUMBERS["duplicate"]}
        assert ("images/A/0041.jpg" in asked) == (name == "borderline")
    found = view(gallery, "duplicates", Filter(), nothing_said(gallery), dataset)
    assert paths(gallery, found.order) == ["images/A/0000.jpg", "images/A/0001.jpg"]


def test_what_the_tables_say_is_what_the_gallery_knows(cleaned: Dataset) -> None:
    gallery = open_gallery(cleaned)
    table = read_table(cleaned.path("clean.parquet")).to_pylist()
    assert gallery.paths == [row["path"] for row in table]
    for number, row in enumerate(table):
        assert gallery.reason[number] == ({None: 0} | REASON_NUMBERS)[row["reason"]]
        assert gallery.score[number] == np.float32(row["score"])
        assert gallery.cluster[number] == row["cluster"]
        told = detail(gallery, number, None)
        assert (told["kept"], told["reason"], told["there"]) == (row["kept"], row["reason"], True)
        assert gallery.place(cleaned, number) == cleaned.locate(row["path"], row["reason"])
    assert gallery.applied[gallery.number["images/Amanita_muscaria/0003.jpg"]] == 1 + REASON_NUMBERS["blurred"]
    assert gallery.applied[gallery.number["images/Boletus_edulis/0060.jpg"]] == 1
    assert (gallery.applied != 0).sum() == 2


@settings(max_examples=40)
@given(st.data())
def test_columns_are_read_by_their_buffers_as_arrow_reads_them(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 40))
    each = lambda values: data.draw(st.lists(st.none() | values, min_size=size, max_size=size))  # noqa: E731
    words, whole, share = each(st.sampled_from("abc")), each(st.integers(-9, 9)), each(st.floats(0, 1, width=32))
    table = pa.table({"word": words, "whole": pa.array(whole, pa.int32()), "share": pa.array(share, pa.float32())})
    table = table.cast(pa.schema([("word", pa.string()), ("whole", pa.int32()), ("share", pa.float32())]))
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=data.draw(st.integers(1, 20)))
    found = LastingTable(cast(Path, written), table.column_names, words=["word"])
    assert found.texts("word") == words
    assert found.numbers("whole", -1, np.int32).tolist() == [-1 if each is None else each for each in whole]
    shares = found.numbers("share", np.nan, np.float32)
    assert [None if np.isnan(each) else each for each in shares] == share
    assert found.coded("word", {"a": 1, "b": 2}, 0).tolist() == [{"a": 1, "b": 2}.get(str(word), 0) for word in words]
    assert found.words("word") == set(words) - {None}


def test_a_table_of_many_photos_is_believed_at_once_and_the_folders_are_listed_soon_after(
    cleaned: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shroomcurate.review.gallery._MANY", 1)
    monkeypatch.setattr("shroomcurate.review.state._LIST_AFTER", 0.2)
    (cleaned.images / "Amanita_muscaria" / "0010.jpg").unlink()
    (cleaned.images / "Aa_new").mkdir()
    (cleaned.images / "Aa_new" / "1.jpg").write_bytes(jpeg(1))
    before, after = open_gallery(cleaned, at_once=True), open_gallery(cleaned)
    assert before.paths == read_table(cleaned.path("clean.parquet"))["path"].to_pylist()
    assert (before.is_listed, before.gone) == (False, frozenset())
    assert before.generation != after.generation

    async def looked_at() -> list[dict[str, Any]]:
        state = State(cleaned, ["true"])
        page: asyncio.Queue[str] = asyncio.Queue()
        state.pages.add(page)
        try:
            await state.open()
            first = await state.about()
            await asyncio.wait_for(page.get(), 10)
            return [first, await state.about()]
        finally:
            await state.close()

    told = asyncio.run(looked_at())
    assert [each["generation"] for each in told] == [before.generation, after.generation]
    assert "Aa_new" in told[1]["classes"]
    assert "1 photos of the table are no longer on disk." in told[1]["notes"]


def test_photos_that_are_gone_and_photos_that_are_new_are_shown_as_such(cleaned: Dataset) -> None:
    gone = cleaned.images / "Amanita_muscaria" / "0010.jpg"
    gone.unlink()
    new = cleaned.images / "Aa_new" / "1.jpg"
    new.parent.mkdir()
    new.write_bytes(jpeg(1))
    gallery = open_gallery(cleaned)
    number = gallery.number["images/Amanita_muscaria/0010.jpg"]
    assert gallery.gone == {number}
    with pytest.raises(FileNotFoundError):
        gallery.place(cleaned, number)
    assert detail(gallery, number, None)["there"] is False
    number = gallery.number["images/Aa_new/1.jpg"]
    assert (gallery.reason[number], np.isnan(gallery.score[number]), gallery.cluster[number]) == (-1, True, -1)
    told = detail(gallery, number, Verdict(True, None))
    assert (told["kept"], told["evidence"], told["cluster_size"]) == (None, [], None)
    found = view(gallery, "classes", Filter(), nothing_said(gallery), cleaned)
    assert found.order[0] == number
    assert set(found.order) == set(range(len(gallery.paths)))
    for name in ("removed", "borderline", "useful"):
        assert number not in view(gallery, name, Filter(), nothing_said(gallery), cleaned).order


def selected(dataset: Dataset, **columns: Any) -> None:
    rows = selection_rows(["Amanita_muscaria", "Boletus_edulis"], 3)
    for row in rows:
        row.update({name: value(row) for name, value in columns.items()})
        file = dataset.images / str(row["class"]) / f"{row['photo_id']}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(1))
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))


def test_text_is_found_in_path_species_photographer_and_observation_whatever_its_case(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    selected(
        dataset,
        taxon_name=lambda row: f"{row['class']} var. {'ÆTHER' if row['photo_id'] == 1001 else 'alba'}",
        attribution=lambda row: "(c) Jürgen 100%" if row["photo_id"] == 1002 else None,
        observation_uuid=lambda row: f"ABC-{row['photo_id']}",
    )
    gallery = open_gallery(dataset)

    def found(text: str) -> list[str]:
        numbers = np.flatnonzero(passing(gallery, Filter(text=text), nothing_said(gallery))).tolist()
        return [Path(path).stem for path in paths(gallery, numbers)]

    every = ["1001", "1002", "1003", "2001", "2002", "2003"]
    assert found("amanita muscaria") == found("AMANITA_M") == every[:3]
    assert found("æther") == ["1001"]
    assert found("JÜRGEN") == found("100%") == ["1002"]
    assert found("abc-2") == every[3:]
    assert found("2003.jpg") == ["2003"]
    assert found("%") == ["1002"]
    assert found(".*") == found("nothing of that kind") == []
    assert found("") == every


def test_a_photo_without_a_licence_breaks_neither_the_list_nor_the_filter(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    selected(dataset, license=lambda row: {1001: None, 1002: "CC0"}.get(row["photo_id"], "CC-BY-NC"))
    gallery = open_gallery(dataset)
    assert gallery.licences == ["CC-BY-NC", "CC0"]
    passed = passing(gallery, Filter(licence="CC0"), nothing_said(gallery))
    assert paths(gallery, np.flatnonzero(passed).tolist()) == ["images/Amanita_muscaria/1002.jpg"]
    told = {path: detail(gallery, number, None) for path, number in gallery.number.items()}
    assert told["images/Amanita_muscaria/1001.jpg"]["licence_url"] is None
    assert told["images/Amanita_muscaria/1002.jpg"]["licence_url"].endswith("/publicdomain/zero/1.0/")
    assert told["images/Amanita_muscaria/1003.jpg"]["licence_url"].endswith("/licenses/by-nc/4.0/")


def test_what_a_photo_is_taken_for_comes_from_the_newest_run(cleaned: Dataset) -> None:
    rows = [
        ("images/Amanita_muscaria/0000.jpg", "Amanita_muscaria", "Boletus_edulis", 0.4),
        ("images/Amanita_muscaria/0001.jpg", "Amanita_muscaria", "Boletus_edulis", 0.9),
        ("images/Boletus_edulis/0000.jpg", "Boletus_edulis", "Amanita_muscaria", 0.8),
        ("images/Boletus_edulis/0001.jpg", "Boletus_edulis", "Boletus_edulis", 0.8),
        ("images/Boletus_edulis/gone.jpg", "Boletus_edulis", "Amanita_muscaria", 0.8),
    ]
    table = make_table(
        [each for each in PREDICTIONS if each.name in ("path", "class", "predicted", "calibrated")],
        [dict(zip(("path", "class", "predicted", "calibrated"), row, strict=True)) for row in rows],
    )
    folder = cleaned.path("runs/probe-1")
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    write_table(folder / "predictions.parquet", table, Receipt("train-baseline", {}))
    gallery = open_gallery(cleaned)
    found = view(gallery, "confused", Filter(), nothing_said(gallery), cleaned)
    assert {heading.split("|")[0]: paths(gallery, members) for heading, members in shown(found).items()} == {
        "Amanita muscaria taken for Boletus edulis": [rows[1][0], rows[0][0]],
        "Boletus edulis taken for Amanita muscaria": [rows[2][0]],
    }
    told = detail(gallery, gallery.number[rows[1][0]], None)["prediction"]
    assert (told["predicted"], told["confidence"], told["run"]) == ("Boletus_edulis", pytest.approx(0.9), "probe-1")
    assert told["safety"]


def test_views_whose_table_is_not_there_say_what_to_type(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    selected(dataset)
    gallery = open_gallery(dataset)
    missing = {name: why_not(gallery, name, dataset) for name in VIEWS}
    assert {name for name, why in missing.items() if why is None} == {"classes", "all"}
    assert "shroomcurate train-baseline" in str(missing["confused"])
    assert "shroomcurate clean" in str(missing["removed"])
    with pytest.raises(BadOption, match="cannot be shown"):
        view(gallery, "removed", Filter(), nothing_said(gallery), dataset)


def test_with_the_cleaning_alone_everything_is_shown_that_needs_no_embeddings(cleaned: Dataset) -> None:
    cleaned.path("embeddings.parquet").unlink()
    gallery = open_gallery(cleaned)
    assert {name for name in VIEWS if why_not(gallery, name, cleaned)} == {"useful", "confused", "map", "moved"}


@given(galleries(), filters, st.data())
def test_what_moved_is_what_the_last_cleaning_judges_otherwise(
    told: tuple[Gallery, np.ndarray[Any, Any]], wanted: Filter, data: st.DataObject
) -> None:
    known, codes = told
    then = data.draw(st.dictionaries(st.sampled_from([*known.paths, "images/Gone/1.jpg"]), reason_numbers, min_size=1))
    gallery = replace(known, before=then)
    found = view(gallery, "moved", wanted, codes, NOWHERE)
    passed = set(np.flatnonzero(passing(gallery, wanted, codes)).tolist())
    kept_or_why = {number: max(0, int(gallery.reason[number])) for number in range(len(gallery.paths))}
    moved = {
        number
        for number, path in enumerate(gallery.paths)
        if path in then and max(0, then[path]) != kept_or_why[number]
    }
    assert sorted(found.order) == sorted(moved & passed)
    for title, members in shown(found).items():
        names = {"Back", *(reason.replace("_", " ").capitalize() for reason in REASONS)}
        heading = title.split("|")[0]
        assert heading in names
        assert all((heading == "Back") == (kept_or_why[number] == 0) for number in members)


def test_a_class_whose_name_another_one_begins_with_stands_under_its_own_name(tmp_path: Path) -> None:
    for name in ("Amanita", "Amanita muscaria", "Amanita-like"):  # paths sort "Amanita muscaria/" before "Amanita/"
        for number in range(1 + len(name) % 3):
            place = tmp_path / "tree" / name / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"a photo")
    dataset = Dataset(images=tmp_path / "tree")
    gallery = open_gallery(dataset)
    found = view(gallery, "all", Filter(), nothing_said(gallery), dataset)
    assert len(found.sections) == 3
    for title, members in shown(found).items():
        assert {gallery.classes[gallery.class_of[number]] for number in members} == {title.split("|")[0]}


def test_verdict_codes_are_those_of_the_page() -> None:
    assert verdict_code(None) == 0
    assert verdict_code(Verdict(True, None)) == 1
    for number, reason in enumerate(REASONS, start=1):
        assert verdict_code(Verdict(False, reason)) == 1 + number


# -- odd names, over the wire ------------------------------------------------------------------------------------

ODD = [
    "Amanita muscaria",
    "Ænigma Å",
    "it's",
    'the "best"',
    "100%",
    "%2e%2e",
    "a#b",
    "a?b=c&d",
    "a+b",
    "a;b",
    "comma, class",
    "<b onclick=x>",
    "back\\slash",
    "new\nline",
    "tab\tclass",
    "~",
    "-rf",
    "名",
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Somebody else's tree, with every name that a file system allows."""
    tree = tmp_path_factory.mktemp("odd") / "my photos"
    for name in ODD:
        (tree / name).mkdir(parents=True)
        (tree / name / f"{name}.jpg").write_bytes(jpeg(len(name)))
    (tree / "empty class").mkdir()
    (tree / os.fsdecode(b"not \xe9 utf8")).mkdir()
    for name in (b"plain.jpg", b"also \xff not.jpg"):
        (tree / os.fsdecode(b"not \xe9 utf8") / os.fsdecode(name)).write_bytes(jpeg(5))
    with reviewed(tree, images=True) as server:
        yield server


def test_a_tree_of_odd_names_is_shown_whole(odd: Any) -> None:
    about = odd.get("api/dataset")
    assert (about["foreign"], about["title"]) == (True, "my photos")
    assert set(ODD) < set(about["classes"])
    assert "empty class" not in about["classes"]
    assert about["count"] == len(ODD) + 2
    assert sorted(odd.get("api/view", name="all")["order"]) == list(range(about["count"]))
    for number in range(about["count"]):
        told = odd.get(f"api/photo/{number}")
        assert told["there"]
        assert told["class"] == about["classes"][about["photos"]["class"][number]]
        assert told["photo_url"] is told["licence"] is told["observation_url"] is None
        for url in (f"thumbnail/{number}", f"photo/{number}"):
            assert odd.client.get(url).status_code == 200, told["path"]


def test_each_odd_class_is_filtered_by_its_own_name(odd: Any) -> None:
    about = odd.get("api/dataset")
    for number, name in enumerate(about["classes"]):
        if name in ODD:
            found = odd.client.get(f"api/view?name=all&class={quote(name, safe='')}").json()
            assert [about["photos"]["class"][photo] for photo in found["order"]] == [number]
            assert found["sections"][0]["title"] == name.replace("_", " ")


def test_verdicts_on_odd_names_are_read_back(odd: Any) -> None:
    about = odd.get("api/dataset")
    numbers = [photo for photo, name in enumerate(about["photos"]["class"]) if about["classes"][name] in ODD]
    assert odd.decide(numbers, "remove", "drawing")["photos"] == numbers
    found = odd.get("api/dataset")["photos"]["verdict"]
    assert [found[number] for number in numbers] == [1 + REASON_NUMBERS["drawing"]] * len(numbers)
    assert odd.undo().json()["left"] == 0


def test_a_name_that_is_not_utf8_gets_no_verdict_and_the_reason_is_told(odd: Any) -> None:
    about = odd.get("api/dataset")
    number = next(
        photo for photo, name in enumerate(about["photos"]["class"]) if about["classes"][name].startswith("not ")
    )
    body = {"generation": about["generation"], "photos": [0, number], "verdict": "keep", "reason": None, "tab": "t"}
    answer = odd.post("api/verdicts", **body)
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["what"]
    assert odd.get("api/dataset")["waiting"] == 0
    assert odd.client.get(f"api/view?name=all&text={quote('%')}").status_code == 200
    assert odd.client.get("api/view?name=all&text=%ff%fe").status_code in (200, 400)


def test_numbers_that_are_none_are_null_on_the_wire(tmp_path: Path) -> None:
    """JSON knows no NaN, and a browser that meets one shows nothing at all."""
    dataset = photos(tmp_path, noisy_classes())
    clean(dataset)
    table = read_table(dataset.path("clean.parquet"))
    at = table.column_names.index("distance")
    table = table.set_column(at, "distance", pa.array([float("nan")] * len(table), pa.float32()))
    at = table.column_names.index("score")
    table = table.set_column(at, "score", pa.array([float("nan"), *[0.5] * (len(table) - 1)], pa.float32()))
    write_table(dataset.path("clean.parquet"), table, Receipt("clean", {}))
    with reviewed(dataset.root) as server:
        assert server.get("api/dataset")["photos"]["score"][:2] == [-1, 50]
        told = server.get("api/photo/0")
        assert told["score"] is None
        assert {each["name"]: each["value"] for each in told["evidence"]}["distance"] is None
        for name in VIEWS:
            if name not in {"confused", "moved"}:
                server.get("api/view", name=name)
