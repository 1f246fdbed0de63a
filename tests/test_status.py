"""Where a dataset stands, at every point between nothing and everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from shroomcurate import clean
from shroomcurate.dataset import Column, Dataset, Receipt, file_hash, make_table, read_table, write_table
from shroomcurate.download import SCHEMA as DOWNLOADS
from shroomcurate.report import report
from shroomcurate.split import split
from shroomcurate.status import STATES, DatasetStatus, StageStatus, status
from shroomcurate.verdicts import Verdict, append_verdicts
from tests.conftest import jpeg
from tests.test_report import CLASSES, add_clean, add_downloads, add_run, metrics_of, whole

__all__ = ["whole"]  # the fixture

REMOVED = "of the removed: 2 drawing, 1 outlier"
ORDER = ["query", "download", "clean", "train-baseline", "report"]


def states(found: DatasetStatus) -> list[str]:
    assert [stage.stage for stage in found.stages] == ORDER
    assert {stage.state for stage in found.stages} <= STATES.keys()
    return [stage.state for stage in found.stages]


def stage(found: DatasetStatus, name: str) -> StageStatus:
    return found.stages[ORDER.index(name)]


def rewrite(dataset: Dataset, name: str, schema: tuple[Column, ...], change: dict[str, object]) -> None:
    """Change the first row of a table, keeping its receipt's inputs out of it."""
    rows = read_table(dataset.path(name)).to_pylist()
    rows[0] |= change
    write_table(dataset.path(name), make_table(schema, rows), Receipt("test", {}))


@pytest.fixture
def finished(whole: Dataset) -> Dataset:
    report(whole)
    return whole


def test_an_empty_or_absent_folder_lacks_everything_and_starts_with_query(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "not there"):
        found = status(Dataset(root))
        assert states(found) == ["missing"] * 5
        assert found.next_command
        assert found.next_command.startswith("shroomcurate query --dataset ")
    assert f"'{tmp_path}/not there'" in found.next_command
    assert list(tmp_path.iterdir()) == []


def test_each_stage_leads_to_the_next_one(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=12)
    dataset.path("selection.csv").write_text("photo_id\n")
    steps: list[tuple[str, Callable[[], object]]] = [
        ("download", lambda: add_downloads(dataset)),
        ("clean", lambda: add_clean(dataset, {"1001": "drawing"})),
        ("train-baseline", lambda: (split(dataset), add_run(dataset, metrics_of(CLASSES)))),
        ("report", lambda: report(dataset)),
    ]
    for number, (command, run) in enumerate(steps, start=1):
        found = status(dataset)
        assert states(found) == ["current"] * number + ["missing"] * (5 - number)
        assert found.next_command == f"shroomcurate {command} --dataset {dataset.root}"
        run()
    found = status(dataset)
    assert states(found) == ["current"] * 5
    assert found.next_command is None


def test_status_is_plain_facts_and_changes_nothing(finished: Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.root.rglob("*")}
    found = status(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.root.rglob("*")} == before
    assert json.loads(json.dumps(asdict(found)))["stages"][0]["counts"] == {
        "classes": 2,
        "wanted": 24,
        "reserve": 6,
    }
    assert stage(found, "clean").counts == {"kept": 21, "removed": 3}
    assert stage(found, "clean").details == (REMOVED,)


def test_a_copied_dataset_stands_where_the_original_stood(finished: Dataset, tmp_path: Path) -> None:
    copy = Dataset(shutil.copytree(finished.root, tmp_path / "copy"))
    assert states(status(copy)) == ["current"] * 5


def test_a_changed_selection_makes_everything_after_it_stale_and_says_why(finished: Dataset) -> None:
    from shroomcurate.select import SCHEMA

    rewrite(finished, "selection.parquet", SCHEMA, {"license": "CC0"})
    found = status(finished)
    assert states(found) == ["current", "stale", "stale", "stale", "stale"]
    assert stage(found, "download").details == ("the selection is newer",)
    assert found.next_command == f"shroomcurate download --dataset {finished.root}"


def test_what_comes_after_a_stale_stage_is_stale_even_if_its_own_inputs_are_as_they_were(finished: Dataset) -> None:
    inputs = {"embeddings.parquet": "0" * 64, "selection.parquet": file_hash(finished.path("selection.parquet"))}
    receipt = Receipt("clean", {"verdicts": None}, inputs)
    write_table(finished.path("clean.parquet"), read_table(finished.path("clean.parquet")), receipt)
    split(finished)
    shutil.rmtree(finished.path("runs"))
    add_run(finished, metrics_of(CLASSES))
    report(finished)
    found = status(finished)
    assert states(found) == ["current", "current", "stale", "stale", "stale"]
    assert stage(found, "clean").details == ("the embeddings are gone", REMOVED)
    assert stage(found, "report").details == ("clean has to run again before it",)


def test_a_new_verdict_makes_the_cleaning_stale(finished: Dataset) -> None:
    append_verdicts(finished, {"images/Boletus_edulis/2001.jpg": Verdict(False, "blurred")})
    found = status(finished)
    assert states(found)[:3] == ["current", "current", "stale"]
    assert "verdicts.csv" in stage(found, "clean").details[0]


def test_a_newer_run_makes_only_the_report_stale(finished: Dataset) -> None:
    add_run(finished, metrics_of(CLASSES), "probe-2")
    found = status(finished)
    assert states(found) == ["current", "current", "current", "current", "stale"]
    assert stage(found, "report").details == ("probe-2 is not in it yet",)


def test_a_table_that_came_after_the_report_makes_it_stale(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=2)
    report(dataset)
    assert states(status(dataset))[4] == "current"
    add_downloads(dataset)
    assert stage(status(dataset), "report").details == ("the downloads are newer",)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"status": "pending", "path": None}, "photos not fetched yet: 1"),
        ({"status": "failed", "path": None}, "photos that failed and are missing: 1"),
        ({"path": "images/Amanita_muscaria/7.jpg"}, "fetched photos that are not on disk: 1"),
    ],
)
def test_a_download_with_open_ends_is_unfinished(finished: Dataset, change: dict[str, object], detail: str) -> None:
    rewrite(finished, "downloads.parquet", DOWNLOADS, change)
    found = stage(status(finished), "download")
    assert (found.state, found.details) == ("unfinished", (detail,))


def test_a_failed_photo_whose_place_the_reserve_took_does_not_hold_anybody_up(finished: Dataset) -> None:
    rewrite(finished, "downloads.parquet", DOWNLOADS, {"status": "failed", "path": None})
    rows = read_table(finished.path("downloads.parquet")).to_pylist()
    rows[-1] |= {"status": "ok", "path": rows[1]["path"]}
    write_table(finished.path("downloads.parquet"), make_table(DOWNLOADS, rows), Receipt("test", {}))
    assert stage(status(finished), "download").state == "current"


def test_a_download_that_was_killed_is_unfinished_with_and_without_its_table(
    selected: Callable[..., Dataset], finished: Dataset
) -> None:
    finished.path(".downloads.journal").write_text("{}\n")
    assert stage(status(finished), "download").state == "unfinished"
    finished.path("downloads.parquet").unlink()
    found = status(finished)
    assert stage(found, "download").state == "unfinished"
    assert found.next_command == f"shroomcurate download --dataset {finished.root}"


def test_a_cleaning_whose_moves_were_cut_short_is_unfinished(finished: Dataset) -> None:
    place = finished.locate("images/Amanita_muscaria/1001.jpg", "drawing")
    place.rename(finished.root / "images/Amanita_muscaria/1001.jpg")
    found = stage(status(finished), "clean")
    assert (found.state, found.details) == ("unfinished", ("photos not where the table says: 1", REMOVED))


def test_photos_that_came_or_went_after_the_cleaning_make_it_unfinished(finished: Dataset) -> None:
    (finished.images / "Boletus_edulis" / "77.jpg").write_bytes(jpeg(77))
    (finished.images / "Boletus_edulis" / "2001.jpg").unlink()
    found = stage(status(finished), "clean")
    assert found.details == ("photos on disk not judged yet: 1", "judged photos that are not on disk: 1", REMOVED)


def test_a_photo_that_cannot_be_judged_does_not_hold_the_cleaning_up(finished: Dataset) -> None:
    (finished.images / "Boletus_edulis" / "77.jpg").write_bytes(jpeg(77)[:500])
    assert stage(status(finished), "clean").state == "current"


@pytest.mark.parametrize("left", ["embeddings.parquet", ".embeddings/0.parquet"])
def test_embeddings_without_a_judgement_are_an_unfinished_cleaning(finished: Dataset, left: str) -> None:
    table = read_table(finished.path("clean.parquet"))
    finished.path("clean.parquet").unlink()
    write_table(finished.path(left), table, Receipt("embed", {}))
    assert stage(status(finished), "clean").state == "unfinished"


def test_a_training_that_was_killed_is_unfinished(finished: Dataset) -> None:
    (finished.path("runs") / "probe-9.partial").mkdir()
    found = stage(status(finished), "train-baseline")
    assert (found.state, found.details) == ("unfinished", ("probe-9.partial was broken off",))
    shutil.rmtree(finished.path("runs"))
    assert stage(status(finished), "train-baseline").details == ("the photos are split, but nothing is trained yet",)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("selection.parquet", 0),
        ("downloads.parquet", 1),
        ("clean.parquet", 2),
        ("verdicts.csv", 2),
        ("splits.parquet", 3),
        ("runs/probe-1/metrics.json", 3),
        ("report.html", 4),
    ],
)
@pytest.mark.parametrize("content", [b"", b"PAR1 not", b"\xff\xfe\x00"])
def test_a_damaged_file_is_named_and_nothing_is_raised(
    finished: Dataset, name: str, number: int, content: bytes
) -> None:
    if (name, content) == ("verdicts.csv", b""):
        pytest.skip("a list of no verdicts")
    finished.path(name).write_bytes(content)
    found = status(finished)
    assert states(found)[number] == "damaged"
    assert finished.path(name).name in found.stages[number].details[0]
    assert states(found)[:number] == ["current"] * number
    assert found.next_command == f"shroomcurate {ORDER[number]} --dataset {finished.root}"


def test_a_receipt_of_another_shape_is_damage_too(finished: Dataset) -> None:
    table = read_table(finished.path("clean.parquet"))
    import pyarrow.parquet as pq

    pq.write_table(
        table.replace_schema_metadata({b"shroomcurate": b'{"unheard": "of"}'}), finished.path("clean.parquet")
    )
    found = status(finished)
    assert states(found)[2] == "damaged"
    assert "clean.parquet" in stage(found, "clean").details[0]


def test_shortages_count_what_is_left_after_the_last_stage_that_ran(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=12)
    assert status(dataset).shortages == {}
    add_downloads(dataset)
    assert status(dataset).shortages == {}
    add_clean(dataset, {"1001": "drawing", "1002": "drawing"})
    assert status(dataset).shortages == {"Amanita_muscaria": 2}


def test_a_download_that_brought_nothing_lacks_everything(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=3)
    rows = [{"photo_id": 1001, "class": CLASSES[0], "role": "wanted", "status": "gone", "attempts": 1}]
    write_table(dataset.path("downloads.parquet"), make_table(DOWNLOADS, rows), Receipt("download", {}))
    assert status(dataset).shortages == {"Amanita_muscaria": 3, "Boletus_edulis": 3}


def test_a_class_that_never_had_enough_is_short_from_the_start(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=3)
    table = read_table(dataset.path("selection.parquet"))
    write_table(dataset.path("selection.parquet"), table.slice(1), Receipt("query", {"per_class": 5}))
    assert status(dataset).shortages == {"Amanita_muscaria": 3, "Boletus_edulis": 2}


def test_somebody_elses_class_folders_need_neither_query_nor_download(tmp_path: Path) -> None:
    (tmp_path / "my tree" / "Morel").mkdir(parents=True)
    (tmp_path / "my tree" / "Morel" / "a.jpg").write_bytes(jpeg(1))
    dataset = Dataset(images=tmp_path / "my tree")
    found = status(dataset)
    assert states(found) == ["not needed", "not needed", "missing", "missing", "missing"]
    assert found.next_command == f"shroomcurate clean --images '{tmp_path}/my tree'"
    rows = [{"path": "my tree/Morel/a.jpg", "class": "Morel", "kept": True}]
    write_table(dataset.path("clean.parquet"), make_table(clean.SCHEMA, rows), Receipt("clean", {}))
    assert states(status(dataset))[2] == "current"
