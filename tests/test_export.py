"""An export holds what cleaning kept, says whose it is, and is there whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shroomcurate.dataset import Dataset
from shroomcurate.export import ExportOptions, export
from tests.exported import CLASSES, bytes_of, credit_of, known_of, make_exported


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that no test changes."""
    return make_exported(tmp_path_factory.mktemp("made") / "dataset")


def test_class_folders_hold_exactly_the_kept_photos(made: Dataset, tmp_path: Path) -> None:
    summary = export(made, tmp_path / "out")
    files = bytes_of(tmp_path / "out")
    known = known_of(made)
    assert {name for name in files if "/" in name} == {
        f"{row['split']}/{row['class']}/{photo_id}.jpg" for photo_id, row in known.items()
    }
    for photo_id, row in known.items():
        assert files[f"{row['split']}/{row['class']}/{photo_id}.jpg"] == row["content"]
    assert (summary.photos, summary.classes) == (len(known), len(CLASSES))


def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(made: Dataset, tmp_path: Path) -> None:
    export(made, tmp_path / "one")
    shutil.copytree(made.root, tmp_path / "moved", copy_function=shutil.copyfile)  # with other times
    export(Dataset(tmp_path / "moved"), tmp_path / "two")
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_every_photo_has_its_row_of_attribution(made: Dataset, tmp_path: Path) -> None:
    export(made, tmp_path / "out", ExportOptions(split=False))
    rows = {int(row["photo_id"]): row for row in credit_of(tmp_path / "out")}
    known = known_of(made)
    assert rows.keys() == known.keys()
    for photo_id, row in rows.items():
        assert row["license"] == known[photo_id]["license"]
        assert row["observation_uuid"] == known[photo_id]["observation_uuid"]
        assert row["attribution"].lstrip("'") == known[photo_id]["attribution"]
        assert (tmp_path / "out" / row["file"]).is_file()
