"""Cleaning: what belongs stays, what does not is moved, and nothing is ever lost."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shroomcurate.clean import SCHEMA, CleanOptions, clean
from shroomcurate.dataset import Dataset, Receipt, make_table, read_receipt, read_table, write_table
from shroomcurate.embed import TABLE as EMBEDDINGS
from shroomcurate.errors import BadOption, DamagedFile, SourceMissing, StageMissing
from shroomcurate.restore import restore
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import split
from shroomcurate.training.data import read_examples
from tests.cleaning import LENGTH, blob, listing, noisy, photos, rows, say, unit


def test_a_tight_cluster_of_something_else_goes_and_the_class_stays(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    summary = clean(dataset)
    judged = rows(dataset)
    assert list(judged) == sorted(judged)
    assert read_table(dataset.path("clean.parquet")).column_names == [column.name for column in SCHEMA]
    for path, row in judged.items():
        bad = int(Path(path).stem) >= 60
        assert row["kept"] is not bad
        assert row["reason"] == ("outlier" if bad else None)
        assert (row["cluster"] < 0) is bad
        assert (row["score"] > 0.5) is bad
        assert row["decided_by"] == "rule"
        assert dataset.locate(path, row["reason"]).read_text() == path
    assert summary.classes == {name: {"kept": 60, "removed": 8} for name in ("Amanita_muscaria", "Boletus_edulis")}
    assert (summary.kept, summary.removed, summary.reasons, summary.moved_out) == (120, 16, {"outlier": 16}, 16)
    assert summary.left_alone == {}


def test_without_a_model_the_score_rises_with_the_distance(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    clean(dataset, CleanOptions(learn=False))
    judged = sorted(rows(dataset).values(), key=lambda row: row["distance"])
    scores = [row["score"] for row in judged]
    assert scores == sorted(scores)
    assert 0 <= scores[0] < scores[-1] <= 1


def test_a_class_without_noise_loses_nothing(tmp_path: Path) -> None:
    summary = clean(photos(tmp_path, {"Amanita_muscaria": blob(0, 80)}))
    assert summary.removed == 0


def test_a_class_of_two_faces_keeps_both(tmp_path: Path) -> None:
    """Caps from above and gills from below are one species."""
    summary = clean(photos(tmp_path, {"Amanita_muscaria": np.concatenate([blob(0, 50), blob(1, 40), blob(2, 5)])}))
    assert (summary.kept, summary.removed) == (90, 5)


def test_a_dense_cluster_without_a_real_share_is_not_the_class(tmp_path: Path) -> None:
    assert clean(noisy(tmp_path, good=60, bad=12)).classes["Amanita_muscaria"] == {"kept": 60, "removed": 12}


def test_classes_that_cannot_be_told_are_left_alone_and_named(tmp_path: Path) -> None:
    scattered = unit(np.random.default_rng(3).normal(size=(60, LENGTH)))
    halves = np.concatenate([blob(0, 25), unit(np.random.default_rng(4).normal(size=(35, LENGTH)))])
    dataset = photos(tmp_path, {"Few": blob(0, 29), "Scattered": scattered, "Halves": halves})
    summary = clean(dataset, CleanOptions(eps=0.1))
    assert set(summary.left_alone) == {"Few", "Scattered", "Halves"}
    assert "too few" in summary.left_alone["Few"]
    assert "no cluster" in summary.left_alone["Scattered"]
    assert "more than 50%" in summary.left_alone["Halves"]
    receipt = read_receipt(dataset.path("clean.parquet"))
    assert receipt is not None
    assert receipt.options["left_alone"] == summary.left_alone
    assert summary.removed == 0
    assert not dataset.removed.exists()


def test_another_eps_judges_removed_photos_too_and_brings_them_back(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    before = listing(dataset)
    clean(dataset)
    first = listing(dataset)
    assert first != before
    summary = clean(dataset, CleanOptions(eps=1.5))
    assert (summary.moved_back, summary.moved_out, summary.removed) == (16, 0, 0)
    assert listing(dataset) == before
    assert not dataset.removed.exists()
    clean(dataset)
    assert listing(dataset) == first


def test_running_again_changes_nothing(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    clean(dataset)
    table, files = dataset.path("clean.parquet").read_bytes(), listing(dataset)
    summary = clean(dataset)
    assert (summary.moved_out, summary.moved_back) == (0, 0)
    assert dataset.path("clean.parquet").read_bytes() == table
    assert listing(dataset) == files


def test_a_dry_run_tells_the_same_and_touches_nothing(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    files = listing(dataset)
    dry = clean(dataset, CleanOptions(dry_run=True))
    assert listing(dataset) == files
    assert not dataset.path("clean.parquet").exists()
    real = clean(dataset)
    assert (dry.classes, dry.reasons, dry.removed) == (real.classes, real.reasons, real.removed)
    assert dry.moved_out == 0


def test_a_photo_without_an_embedding_is_named_and_stays(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    (dataset.images / "Boletus_edulis" / "broken.jpg").write_text("")
    unselected = dataset.removed / "unselected" / "Boletus_edulis" / "7.jpg"
    unselected.parent.mkdir(parents=True)
    unselected.write_text("x")
    summary = clean(dataset)
    assert summary.unjudged == ["images/Boletus_edulis/broken.jpg"]
    assert (dataset.images / "Boletus_edulis" / "broken.jpg").exists()
    assert unselected.exists()


def test_what_somebody_else_keeps_in_a_folder_called_removed_stays(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    theirs = dataset.removed / "2023" / "Boletus_edulis" / "7.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("x")
    (dataset.removed / "empty" / "folder").mkdir(parents=True)
    before = dataset.photos()
    assert "images/Boletus_edulis/7.jpg" not in before
    clean(dataset)
    restore(dataset)
    assert theirs.read_text() == "x"
    assert (dataset.removed / "empty" / "folder").is_dir()
    assert dataset.photos() == before


def test_an_embedding_without_a_photo_is_ignored(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    (dataset.images / "Boletus_edulis" / "0003.jpg").unlink()
    assert clean(dataset).kept == 119
    assert "images/Boletus_edulis/0003.jpg" not in rows(dataset)


def test_a_dataset_without_photos_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StageMissing) as error:
        clean(Dataset(tmp_path / "dataset"))
    assert "shroomcurate download --dataset" in error.value.hint
    with pytest.raises(SourceMissing):
        clean(Dataset(images=tmp_path / "tree"))
    assert not list(tmp_path.iterdir())


def test_tables_of_another_tree_are_refused_and_nothing_moves(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    clean(dataset)
    other = Dataset(images=dataset.root / "test")
    (other.images / "Amanita_muscaria").mkdir(parents=True)
    (other.images / "Amanita_muscaria" / "0061.jpg").write_text("another")
    before = listing(dataset)
    for stage in (clean, restore, split):
        with pytest.raises(BadOption, match="another tree 'images'"):
            stage(other)
    assert listing(dataset) == before


def test_a_dry_run_judges_by_the_embeddings_it_is_given(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    elsewhere = tmp_path / "elsewhere.parquet"
    dataset.path(EMBEDDINGS).rename(elsewhere)
    assert clean(dataset, CleanOptions(dry_run=True), embeddings=elsewhere).removed == 16
    assert not dataset.path("clean.parquet").exists()
    with pytest.raises(BadOption):
        clean(dataset, embeddings=elsewhere)


def test_a_removed_photo_of_the_same_name_is_never_overwritten(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    path = "images/Boletus_edulis/0060.jpg"
    place = dataset.locate(path, None)
    clean(dataset)
    for content in ("second", "third"):
        place.write_text(content)
        clean(dataset)
    assert not place.exists()
    assert dataset.locate(path, "outlier").read_text() == "third"
    aside = dataset.locate(path, "replaced")
    assert aside.read_text() == path
    assert aside.with_name("0060-2.jpg").read_text() == "second"
    place.write_text("third")  # equal bytes: one is enough
    clean(dataset)
    assert not place.exists()
    assert len(list(aside.parent.iterdir())) == 2
    assert "images/Boletus_edulis/0060-2.jpg" not in dataset.photos()


def test_photos_move_between_disks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = noisy(tmp_path / "plain")
    clean(plain)
    dataset = noisy(tmp_path / "disks")
    before = listing(dataset)

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", refuse)
    assert clean(dataset).moved_out == 16
    assert listing(dataset) == listing(plain)
    restore(dataset)
    assert listing(dataset) == before


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    before = dataset.photos()
    hidden = dataset.images / ".ipynb_checkpoints" / "0001-checkpoint.jpg"
    hidden.parent.mkdir()
    hidden.write_text("x")
    assert dataset.photos() == before
    assert clean(dataset).unjudged == []


def test_a_new_selection_is_not_split_by_an_old_cleaning(tmp_path: Path) -> None:
    ids = {f"images/Amanita_muscaria/{number:04}.jpg": 100 + number for number in range(40)}
    dataset = photos(tmp_path, {"Amanita_muscaria": blob(0, 40)}, photo_id=ids)

    def select(last: int) -> None:
        chosen = [{"photo_id": 100 + number, "rank_in_class": number + 1} for number in range(last)]
        write_table(dataset.path("selection.parquet"), make_table(SELECTION, chosen), Receipt("query", {}))

    clean(dataset)
    split(dataset)
    for last in (40, 30):  # first there was no selection, then another
        select(last)
        for stage in (split, read_examples):
            with pytest.raises(StageMissing, match=r"clean\.parquet was made from another selection") as error:
                stage(dataset)
            assert "shroomcurate clean --dataset" in error.value.hint
        clean(dataset)
        split(dataset)
    receipt = read_receipt(dataset.path("clean.parquet"))
    assert receipt is not None
    assert set(receipt.inputs) == {"embeddings.parquet", "selection.parquet"}
    again = read_table(dataset.path(EMBEDDINGS))
    write_table(dataset.path(EMBEDDINGS), again.slice(1), Receipt("embed", {}))
    with pytest.raises(StageMissing, match="another embeddings"):
        split(dataset)


# -- a person's word -------------------------------------------------------------------------------------------


def test_the_last_word_of_a_person_wins_over_every_rule(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    outlier, fine, twice = (f"images/Amanita_muscaria/{number:04}.jpg" for number in (60, 5, 6))
    say(
        dataset,
        f"{outlier},keep,,looks right,2026-01-01",
        f"{fine},remove,,,2026-01-01",
        f"{twice},remove,blurred,,2026-01-01",
        f"{twice},keep,,,2026-01-02",
        "images/Gone/1.jpg,keep,,,",
    )
    summary = clean(dataset)
    judged = rows(dataset)
    assert (judged[outlier]["kept"], judged[outlier]["decided_by"]) == (True, "person")
    assert (judged[fine]["reason"], judged[fine]["decided_by"]) == ("outlier", "person")
    assert judged[twice]["kept"]
    assert summary.decided_by["person"] == 3
    assert dataset.locate(fine, "outlier").exists()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("images/A/1.jpg,maybe,,,", "line 3, verdict: 'maybe'"),
        ("images/A/1.jpg,remove,ugly,,", "line 3, reason: 'ugly'"),
        ("images/A/1.jpg,keep", "line 3, line: has 2 fields"),
        ("/etc/A/passwd,keep,,,", "line 3, path: '/etc/A/passwd'"),
        ("images/../1.jpg,keep,,,", "line 3, path: 'images/../1.jpg'"),
    ],
)
def test_a_bad_verdict_is_named_and_nothing_moves(tmp_path: Path, line: str, named: str) -> None:
    dataset = noisy(tmp_path)
    files = listing(dataset)
    say(dataset, "images/Amanita_muscaria/0001.jpg,keep,,,", line)
    with pytest.raises(DamagedFile, match=r"verdicts\.csv") as caught:
        clean(dataset)
    assert named in str(caught.value)
    assert listing(dataset) == files


def test_the_receipt_knows_the_verdicts_but_not_their_time(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    line = "images/Amanita_muscaria/0001.jpg,keep,,"
    say(dataset, f"{line},2026-01-01")
    clean(dataset)
    first = dataset.path("clean.parquet").read_bytes()
    say(dataset, f"{line},2027-01-01")
    clean(dataset)
    assert dataset.path("clean.parquet").read_bytes() == first
    receipt = read_receipt(dataset.path("clean.parquet"))
    assert receipt is not None
    assert set(receipt.inputs) == {"embeddings.parquet"}
    assert receipt.options["eps"] == 0.3
    say(dataset, "images/Amanita_muscaria/0001.jpg,remove,,,")
    clean(dataset)
    assert dataset.path("clean.parquet").read_bytes() != first


# -- limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"eps": -1.0}, {"eps": 0.0}, {"eps": float("nan")}, {"min_samples": 1}, {"min_share": 1.5}, {"max_share": -0.1}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="--" + next(iter(wrong)).replace("_", "-")):
        CleanOptions(**wrong)


def test_cleaning_before_embedding_is_named(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    dataset.path(EMBEDDINGS).unlink()
    with pytest.raises(StageMissing, match=r"embeddings\.parquet"):
        clean(dataset)


def test_verdicts_that_are_no_csv_are_named(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    say(dataset, f"images/A/1.jpg,keep,,{'x' * 200_000},")  # longer than a field of the csv module may be
    with pytest.raises(DamagedFile, match=r"verdicts\.csv, line 2"):
        clean(dataset)


# -- kill -9 ---------------------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from shroomcurate.clean import clean
from shroomcurate.dataset import Dataset
rename = Path.rename
def slow(self, target):
    print("move", flush=True)
    time.sleep(0.01)
    return rename(self, target)
Path.rename = slow
clean(Dataset(sys.argv[1]))
"""


def learned(tmp_path: Path) -> Dataset:
    """The same, of which the model decides a part: the second class's noise is a series, and a person has spoken."""
    dataset = noisy(tmp_path)
    table = read_table(dataset.path(EMBEDDINGS))
    ids = pa.array(range(len(table)), pa.int64())
    table = table.set_column(table.schema.get_field_index("photo_id"), "photo_id", ids)
    write_table(dataset.path(EMBEDDINGS), table, Receipt("embed", {}))
    series = [
        {"photo_id": number, "rank_in_class": 1, "observer_id": 1} for number in range(len(table) - 8, len(table))
    ]
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, series), Receipt("query", {}))
    say(dataset, "images/Amanita_muscaria/0002.jpg,remove,blurred,,", "images/Boletus_edulis/0002.jpg,keep,,,")
    return dataset


@pytest.fixture(scope="module")
def dirty_and_calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """A dataset to clean, and the same one cleaned without a disturbance."""
    dirty = learned(tmp_path_factory.mktemp("dirty"))
    calm = Dataset(shutil.copytree(dirty.root, tmp_path_factory.mktemp("calm") / "dataset"))
    summary = clean(calm)
    assert summary.decided_by["model"] >= 8
    assert all(
        rows(calm)[f"images/Boletus_edulis/{number:04}.jpg"]["decided_by"] == "model" for number in range(60, 68)
    )
    assert summary.moved_out >= 17
    return dirty, calm


@pytest.mark.parametrize("seed", range(2))
def test_kill_9_at_any_moment_and_the_next_run_ends_the_same(
    dirty_and_calm: tuple[Dataset, Dataset], tmp_path: Path, seed: int
) -> None:
    dirty, calm = dirty_and_calm
    dataset = Dataset(shutil.copytree(dirty.root, tmp_path / "killed"))
    chance = random.Random(seed)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(dataset.root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(chance.randint(1, 15)):
        process.stdout.readline()
    time.sleep(chance.uniform(0, 0.01))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    halfway = listing(dataset)
    assert sorted(halfway.values()) == sorted(listing(calm).values())  # nothing lost on the way
    assert halfway != listing(calm)
    clean(dataset)
    assert listing(dataset) == listing(calm)
    assert dataset.path("clean.parquet").read_bytes() == calm.path("clean.parquet").read_bytes()
