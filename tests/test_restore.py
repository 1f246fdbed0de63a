"""Restoring: photos come back, and stay."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.dataset import Dataset
from shroomcurate.download.places import list_places
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.errors import NothingMatches, SourceMissing, StageMissing
from shroomcurate.restore import RestoreOptions, restore
from tests.test_clean import listing, noisy, rows, say


@pytest.fixture
def cleaned(tmp_path: Path) -> Dataset:
    """16 outliers removed from two classes, and one photo by a person's word."""
    dataset = noisy(tmp_path)
    say(dataset, "images/Boletus_edulis/0000.jpg,remove,blurred,,2026-01-01")
    clean(dataset)
    return dataset


def lines(dataset: Dataset) -> list[list[str]]:
    with dataset.path("verdicts.csv").open(newline="") as handle:
        return list(csv.reader(handle))


def test_everything_comes_back_and_the_next_cleaning_leaves_it(cleaned: Dataset) -> None:
    summary = restore(cleaned)
    assert (summary.restored, summary.still_removed, summary.missing) == (17, 0, [])
    assert summary.reasons == {"blurred": 1, "outlier": 16}
    assert not cleaned.removed.exists()
    assert all(row["kept"] and row["reason"] is None for row in rows(cleaned).values())
    assert sum(row["decided_by"] == "person" for row in rows(cleaned).values()) == 17
    assert clean(cleaned).removed == 0
    assert sum(row["decided_by"] == "person" for row in rows(cleaned).values()) == 17


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (RestoreOptions(reason="blurred"), 1),
        (RestoreOptions(reason="outlier"), 16),
        (RestoreOptions(class_name="Boletus_edulis"), 9),
        (RestoreOptions(reason="outlier", class_name="Boletus_edulis"), 8),
    ],
)
def test_only_what_was_asked_for_comes_back(cleaned: Dataset, options: RestoreOptions, count: int) -> None:
    before = {path for path, row in rows(cleaned).items() if not row["kept"]}
    summary = restore(cleaned, options)
    after = {path for path, row in rows(cleaned).items() if not row["kept"]}
    assert (summary.restored, len(before - after), len(after)) == (count, count, 17 - count)
    for path, row in rows(cleaned).items():
        assert cleaned.locate(path, row["reason"]).is_file()
    assert clean(cleaned, CleanOptions(learn=False)).removed == 17 - count


def test_what_comes_back_teaches_nothing(cleaned: Dataset) -> None:
    """Who brings back a whole class has not looked at each photo."""
    assert restore(cleaned, RestoreOptions(class_name="Boletus_edulis", reason="outlier")).restored == 8
    judged = clean(cleaned)
    assert judged.classes["Amanita_muscaria"]["removed"] == 8
    assert judged.trust is None or judged.trust.verdicts == 1


def test_it_says_how_many_of_your_removals_it_overrules(cleaned: Dataset) -> None:
    assert restore(cleaned).overruled == 1


def test_by_photo_id(tmp_path: Path) -> None:
    from tests.test_clean import blob, photos

    paths = [f"images/Amanita_muscaria/{number:04}.jpg" for number in range(40)]
    ids = {path: 7000 + number for number, path in enumerate(paths)}
    dataset = photos(tmp_path, {"Amanita_muscaria": blob(0, 40)}, same=dict.fromkeys(paths[:3], "one"), photo_id=ids)
    clean(dataset)
    assert restore(dataset, RestoreOptions(photo_ids=(7002,))).restored == 1
    assert rows(dataset)[paths[2]]["kept"]
    assert rows(dataset)[paths[2]]["duplicate_of"] == paths[0]  # still known, so that no split parts them
    with pytest.raises(NothingMatches, match="7002"):
        restore(dataset, RestoreOptions(photo_ids=(7001, 7002)))


@pytest.mark.parametrize(
    ("options", "what", "there"),
    [
        (RestoreOptions(reason="scenery"), "scenery", "blurred, outlier"),
        (RestoreOptions(class_name="Nobody"), "Nobody", "Amanita_muscaria, Boletus_edulis"),
        (RestoreOptions(reason="blurred", class_name="Amanita_muscaria"), "Amanita_muscaria", "Boletus_edulis"),
    ],
)
def test_a_wish_that_nothing_fulfils_names_what_there_is(
    cleaned: Dataset, options: RestoreOptions, what: str, there: str
) -> None:
    files = listing(cleaned)
    with pytest.raises(NothingMatches, match=what) as caught:
        restore(cleaned, options)
    assert there in caught.value.hint
    assert listing(cleaned) == files


def test_a_restored_photo_gets_one_line_of_a_persons_verdict(cleaned: Dataset) -> None:
    restore(cleaned, RestoreOptions(reason="blurred"))
    assert [line[:3] for line in lines(cleaned)] == [
        ["path", "verdict", "reason"],
        ["images/Boletus_edulis/0000.jpg", "remove", "blurred"],
        ["images/Boletus_edulis/0000.jpg", "keep", ""],
    ]


def test_a_photo_that_somebody_deleted_is_named(cleaned: Dataset) -> None:
    cleaned.locate("images/Boletus_edulis/0000.jpg", "blurred").unlink()
    summary = restore(cleaned)
    assert (summary.restored, summary.missing) == (16, ["images/Boletus_edulis/0000.jpg"])


def test_an_open_last_line_of_verdicts_is_closed_first(cleaned: Dataset) -> None:
    file = cleaned.path("verdicts.csv")
    file.write_text(file.read_text().rstrip("\n"))
    restore(cleaned)
    assert len(lines(cleaned)) == 2 + 17


def test_restoring_before_cleaning_is_named_and_with_nothing_removed_does_nothing(tmp_path: Path) -> None:
    with pytest.raises(StageMissing):
        restore(Dataset(tmp_path / "empty"))
    dataset = noisy(tmp_path, bad=0)
    clean(dataset)
    assert restore(dataset).restored == 0


SCRIPT = """
import sys, time
from pathlib import Path
from shroomcurate.dataset import Dataset
from shroomcurate.restore import restore
rename = Path.rename
def slow(self, target):
    print("move", flush=True)
    time.sleep(0.02)
    return rename(self, target)
Path.rename = slow
restore(Dataset(sys.argv[1]))
"""


@pytest.mark.parametrize("moves", [1, 9])
def test_kill_9_halfway_and_the_same_command_finishes(cleaned: Dataset, tmp_path: Path, moves: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(cleaned.root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(moves):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert sum(1 for name in listing(cleaned) if name.startswith("removed/")) > 0
    restore(cleaned)
    assert len(lines(cleaned)) == 2 + 17  # no verdict twice
    calm = noisy(tmp_path / "calm")
    say(calm, "images/Boletus_edulis/0000.jpg,remove,blurred,,2026-01-01")
    clean(calm)
    restore(calm)
    assert listing(cleaned) == listing(calm)
    assert cleaned.path("clean.parquet").read_bytes() == calm.path("clean.parquet").read_bytes()


def test_a_class_is_found_as_its_folder_is_called_or_as_the_species_is_written(cleaned: Dataset) -> None:
    assert restore(cleaned, RestoreOptions(class_name="Boletus edulis")).classes == {"Boletus_edulis": 9}


@pytest.mark.parametrize("elsewhere", ["", "images", "removed"])
def test_a_relative_link_moves_and_comes_back_as_the_same_photo(tmp_path: Path, elsewhere: str) -> None:
    dataset = noisy(tmp_path / "dataset")
    place = dataset.images / "Boletus_edulis" / "0063.jpg"
    store = tmp_path / "store" / "0063.jpg"
    store.parent.mkdir()
    place.rename(store)
    if elsewhere:  # that folder is a link itself, and not as deep as what it stands for
        (dataset.root / elsewhere).mkdir(exist_ok=True)
        (dataset.root / elsewhere).rename(tmp_path / "disk")
        (dataset.root / elsewhere).symlink_to(tmp_path / "disk")
    place.symlink_to(os.path.relpath(store, place.parent.resolve()))
    clean(dataset)
    away = dataset.locate("images/Boletus_edulis/0063.jpg", "outlier")
    assert away.is_symlink()
    assert away.resolve() == store
    restore(dataset)
    assert place.is_symlink()
    assert place.resolve() == store
    assert not away.exists()


def test_a_folder_on_another_disk_stays_when_all_that_it_held_has_come_back(tmp_path: Path) -> None:
    dataset, disk = noisy(tmp_path / "dataset"), tmp_path / "disk"
    disk.mkdir()
    dataset.removed.symlink_to(disk)
    assert clean(dataset).moved_out == 16
    restore(dataset)
    assert dataset.removed.is_symlink()
    assert [*disk.iterdir()] == []
    assert all(row["kept"] for row in rows(dataset).values())
    assert clean(dataset).moved_out == 0


@pytest.mark.parametrize("away", ["images", "removed"])
def test_a_disk_that_is_not_mounted_is_named_and_nothing_is_forgotten(tmp_path: Path, away: str) -> None:
    dataset, disk = noisy(tmp_path / "dataset"), tmp_path / "disk"
    clean(dataset)
    (dataset.root / away).rename(disk)
    (dataset.root / away).symlink_to(disk)
    disk.rename(tmp_path / "unmounted")
    before = dataset.path("clean.parquet").read_bytes()
    for command in (clean, partial(embed, options=EmbedOptions("classic")), restore, list_places):
        with pytest.raises(SourceMissing, match=f"{away} is a link"):
            command(dataset)
    assert dataset.path("clean.parquet").read_bytes() == before
    (tmp_path / "unmounted").rename(disk)
    assert clean(dataset).moved_out == 0


def test_a_link_to_the_photo_where_it_shall_go_is_no_other_photo(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    path = "images/Boletus_edulis/0063.jpg"
    place, away = dataset.locate(path, None), dataset.locate(path, "outlier")
    content = place.read_bytes()
    away.parent.mkdir(parents=True)
    away.symlink_to(place)
    clean(dataset)
    assert (away.is_symlink(), away.read_bytes(), place.exists()) == (False, content, False)


def test_what_was_withdrawn_does_not_come_back_and_the_hint_says_what_would(cleaned: Dataset) -> None:
    with pytest.raises(NothingMatches, match="taken down") as refused:
        restore(cleaned, RestoreOptions(reason="withdrawn"))
    assert "--retry-gone" in str(refused.value.hint)
