"""FiftyOne's documents say of each photo what the dataset knows; where FiftyOne itself is there, it reads them."""

from __future__ import annotations

import json
import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shroomcurate.dataset import Dataset
from shroomcurate.export import ExportOptions, export
from shroomcurate.safety import SAFETY_NOTICE
from tests.exported import CLASSES, bytes_of, known_of, make_exported

OPTIONS = ExportOptions(format="fiftyone")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that no test changes."""
    return make_exported(tmp_path_factory.mktemp("made") / "dataset")


@pytest.fixture(scope="module")
def folder(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    folder = tmp_path_factory.mktemp("fiftyone") / "out"
    export(made, folder, OPTIONS)
    return folder


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="ascii"))


def test_each_sample_has_its_photo_class_and_tags(made: Dataset, folder: Path) -> None:
    known = known_of(made)
    samples = {sample["photo_id"]: sample for sample in read(folder, "samples.json")["samples"]}
    assert samples.keys() == known.keys()
    for photo_id, sample in samples.items():
        expected = known[photo_id]
        assert (folder / sample["filepath"]).read_bytes() == expected["content"]
        assert sample["ground_truth"]["label"] == expected["class"]
        assert sample["tags"] == [expected["split"], *(["keep"] if photo_id == 1001 else [])]
        assert sample["location"]["point"]["coordinates"] == [expected["longitude"], expected["latitude"]]
        assert sample["metadata"]["width"] == expected["width"]
        for name in ("observation_uuid", "license", "attribution", "sha256"):
            assert sample[name] == expected[name], name


def test_every_field_of_a_sample_is_described(folder: Path) -> None:
    described = {field["db_field"]: field for field in read(folder, "metadata.json")["sample_fields"]}
    for sample in read(folder, "samples.json")["samples"]:
        assert sample.keys() <= described.keys()
        for name in ("metadata", "ground_truth", "location"):
            inner = {field["db_field"] for field in described[name]["fields"]}
            assert sample[name].keys() - {"_cls"} <= inner


def test_ids_differ_and_classes_and_notice_are_there(made: Dataset, folder: Path) -> None:
    samples = read(folder, "samples.json")["samples"]
    ids = [sample[name]["_id"] if name else sample["_id"] for sample in samples for name in ("", "ground_truth")]
    assert len({each["$oid"] for each in ids}) == 2 * len(samples)
    assert all(len(bytes.fromhex(each["$oid"])) == 12 for each in ids)
    document = read(folder, "metadata.json")
    assert document["default_classes"] == list(CLASSES)
    assert SAFETY_NOTICE in document["description"]


def test_the_same_dataset_gives_the_same_bytes(made: Dataset, folder: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "again", OPTIONS)
    assert bytes_of(tmp_path / "again") == bytes_of(folder)


@pytest.mark.skipif("FIFTYONE_DATABASE_URI" not in os.environ, reason="FiftyOne needs a MongoDB server")
def test_fiftyone_reads_each_photo_as_it_is(made: Dataset, folder: Path) -> None:
    fiftyone = pytest.importorskip("fiftyone")
    loaded = fiftyone.Dataset.from_dir(dataset_dir=str(folder), dataset_type=fiftyone.types.FiftyOneDataset)
    try:
        known = known_of(made)
        assert loaded.default_classes == list(CLASSES)
        assert set(loaded.match_tags("test").values("photo_id")) == {
            photo_id for photo_id, row in known.items() if row["split"] == "test"
        }
        seen = set()
        for sample in loaded:
            expected = known[sample.photo_id]
            seen.add(sample.photo_id)
            assert Path(sample.filepath).read_bytes() == expected["content"]
            assert sample.ground_truth.label == expected["class"]
            assert sample.location.point == [expected["longitude"], expected["latitude"]]
            assert (sample.metadata.width, sample.metadata.height) == Image.open(sample.filepath).size
            day = sample.observed_on
            assert (None if day is None else date(day.year, day.month, day.day)) == expected["observed_on"]
            for name in ("license", "attribution", "observation_uuid", "taxon_name"):
                assert sample[name] == expected[name], name
        assert seen == known.keys()
        shuffled = loaded.shuffle(seed=1).values("photo_id")
        assert sorted(shuffled) == sorted(known)
        page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"### fiftyone.*?```python\n(.*?)```", page, re.DOTALL)
        scope: dict[str, Any] = {}
        exec(code.replace("dataset/exports/fiftyone", str(folder)), scope)  # noqa: S102
        scope["photos"].delete()
    finally:
        loaded.delete()
