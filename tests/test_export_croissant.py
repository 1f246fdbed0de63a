"""`mlcroissant` finds the description sound, and reads through it what was exported, photo by photo."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shroomcurate.dataset import Dataset, file_hash
from shroomcurate.export import ExportOptions, export
from shroomcurate.licences import DEEDS
from shroomcurate.safety import SAFETY_NOTICE
from tests.exported import CLASSES, bytes_of, known_of, make_exported

OPTIONS = ExportOptions(format="croissant")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that no test changes."""
    return make_exported(tmp_path_factory.mktemp("made") / "dataset")


@pytest.fixture(scope="module")
def folder(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    folder = tmp_path_factory.mktemp("croissant") / "out"
    export(made, folder, OPTIONS)
    return folder


def described(folder: Path) -> dict[str, Any]:
    """The description."""
    found: dict[str, Any] = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    return found


def text(record: dict[str, Any], field: str) -> Any:
    """A field of a record; the reader gives text as bytes."""
    value = record[field]
    return value.decode() if isinstance(value, bytes) else value


def test_the_description_has_what_the_format_requires(folder: Path) -> None:
    told = described(folder)
    assert "http://mlcommons.org/croissant/1.1" in told["conformsTo"]
    for name in ("name", "description", "license", "url", "creator", "datePublished", "distribution", "recordSet"):
        assert told[name], name
    assert SAFETY_NOTICE in told["description"]
    assert set(told["license"]) == set(DEEDS.values())
    assert [each["name"] for each in told["usageInfo"]] == list(DEEDS)


def test_every_file_stands_there_with_its_hash(folder: Path) -> None:
    files = {each["@id"]: each for each in described(folder)["distribution"] if each["@type"] == "cr:FileObject"}
    parquet = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    assert files.keys() == parquet
    for path, each in files.items():
        assert each["sha256"] == file_hash(folder / path)


def test_the_table_has_each_photo_with_licence_and_attribution(made: Dataset, folder: Path) -> None:
    known = known_of(made)
    rows = {row["photo_id"]: row for row in pq.read_table(folder / "photos.parquet").to_pylist()}
    assert rows.keys() == known.keys()
    for photo_id, row in rows.items():
        for name in ("split", "license", "attribution", "observation_uuid", "sha256"):
            assert row[name] == known[photo_id][name], name


def test_the_same_dataset_gives_the_same_bytes(made: Dataset, folder: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "again", OPTIONS)
    assert bytes_of(tmp_path / "again") == bytes_of(folder)


@pytest.fixture(scope="module")
def croissant(folder: Path) -> Any:
    """The export as the library sees it."""
    return pytest.importorskip("mlcroissant").Dataset(str(folder / "croissant.json"))


class TestTheReader:
    def test_it_has_nothing_to_complain_of(self, croissant: Any) -> None:
        issues = croissant.metadata.ctx.issues
        assert not issues.errors
        assert not issues.warnings
        assert croissant.metadata.ctx.is_v1_1()

    def test_each_image_has_its_pixels_label_split_licence_and_attribution(self, made: Dataset, croissant: Any) -> None:
        known = known_of(made)
        seen = set()
        for record in croissant.records("images"):
            expected = known[record["images/photo_id"]]
            seen.add(record["images/photo_id"])
            pixels = Image.open(io.BytesIO(expected["content"]))
            assert np.array_equal(np.asarray(record["images/image"]), np.asarray(pixels))
            assert record["images/label"] == CLASSES.index(expected["class"])
            assert text(record, "images/license_url") == DEEDS[expected["license"]]
            for name in ("class", "split", "license", "attribution", "observation_uuid"):
                assert text(record, f"images/{name}") == expected[name], name
        assert seen == known.keys()

    def test_each_photo_has_all_its_facts(self, made: Dataset, croissant: Any) -> None:
        known = known_of(made)
        seen = set()
        for record in croissant.records("photos"):
            expected = known[record["photos/photo_id"]]
            seen.add(record["photos/photo_id"])
            for name in (
                "class",
                "split",
                "license",
                "attribution",
                "sha256",
                "latitude",
                "bytes",
                "width",
                "taxon_id",
            ):
                assert text(record, f"photos/{name}") == expected[name], name
            day = record["photos/observed_on"]
            assert (day.date() if day is not None else None) == expected["observed_on"]
        assert seen == known.keys()

    def test_the_page_reads_it_as_it_says(self, folder: Path) -> None:
        pytest.importorskip("mlcroissant")
        page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"### croissant.*?```python\n(.*?)```", page, re.DOTALL)
        exec(code.replace("dataset/exports/croissant", str(folder)), {})  # noqa: S102

    def test_one_split_can_be_asked_for(self, made: Dataset, folder: Path) -> None:
        mlcroissant = pytest.importorskip("mlcroissant")
        dataset = mlcroissant.Dataset(str(folder / "croissant.json"))
        found = {each["images/photo_id"] for each in dataset.records("images", filters={"images/split": "test"})}
        assert found == {photo_id for photo_id, row in known_of(made).items() if row["split"] == "test"}

    def test_classes_splits_and_licences_add_up(self, made: Dataset, croissant: Any) -> None:
        photos = len(known_of(made))
        for name in ("classes", "splits", "licenses"):
            assert sum(each[f"{name}/photos"] for each in croissant.records(name)) == photos
        names = {each["classes/label"]: each["classes/name"] for each in croissant.records("classes")}
        assert names == dict(enumerate(CLASSES))

    def test_a_tree_of_which_nothing_is_known_is_described_too(self, tmp_path: Path) -> None:
        mlcroissant = pytest.importorskip("mlcroissant")
        for name in ("one", "two words"):
            (tmp_path / "tree" / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (len(name), 7, 7)).save(tmp_path / "tree" / name / "a.png")
        out = tmp_path / "out"
        export(Dataset(images=tmp_path / "tree"), out, ExportOptions(format="croissant", split=False))
        dataset = mlcroissant.Dataset(str(out / "croissant.json"))
        assert not dataset.metadata.ctx.issues.errors
        assert [text(each, "images/class") for each in dataset.records("images")].count("two words") == 1
        assert len(list(dataset.records("photos"))) == 2
