"""The library `datasets` reads the export as it was meant, photo by photo."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from shroomcurate.dataset import Dataset
from shroomcurate.export import ExportOptions, export
from shroomcurate.safety import SAFETY_NOTICE
from tests.exported import CLASSES, bytes_of, known_of, make_exported

OPTIONS = ExportOptions(format="huggingface")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that no test changes."""
    return make_exported(tmp_path_factory.mktemp("made") / "dataset")


@pytest.fixture(scope="module")
def folder(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    folder = tmp_path_factory.mktemp("huggingface") / "out"
    export(made, folder, OPTIONS)
    return folder


def head_of(folder: Path) -> dict[str, Any]:
    """The YAML of the card."""
    head: dict[str, Any] = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    return head


def test_the_shards_hold_every_photo_byte_by_byte_in_its_split(made: Dataset, folder: Path) -> None:
    known = known_of(made)
    found = {}
    for file in sorted(folder.glob("data/*.parquet")):
        for row in pq.read_table(file).to_pylist():
            found[row["photo_id"]] = row
            assert file.name.startswith(f"{row['split']}-")
    assert found.keys() == known.keys()
    for photo_id, row in found.items():
        expected = known[photo_id]
        assert row["image"] == {"bytes": expected["content"], "path": f"{expected['class']}/{photo_id}.jpg"}
        assert row["label"] == CLASSES.index(expected["class"])
        for name in ("split", "observation_uuid", "license", "attribution", "taxon_name", "latitude", "sha256"):
            assert row[name] == expected[name], name


def test_the_card_says_the_same_as_the_shards(made: Dataset, folder: Path) -> None:
    head = head_of(folder)
    told = json.loads(pq.read_schema(next(folder.glob("data/*.parquet"))).metadata[b"huggingface"])["info"]["features"]
    in_card = {feature["name"]: feature["dtype"] for feature in head["dataset_info"]["features"]}
    assert list(in_card) == list(told)
    assert in_card["image"] == "image"
    assert list(in_card["label"]["class_label"]["names"].values()) == told["label"]["names"] == list(CLASSES)
    for split in head["dataset_info"]["splits"]:
        shards = list(folder.glob(f"data/{split['name']}-*.parquet"))
        assert split["num_examples"] == sum(pq.read_metadata(shard).num_rows for shard in shards)
    assert {each["split"] for each in head["configs"][0]["data_files"]} == {"train", "val", "test"}


def test_the_card_names_every_licence_and_the_danger(made: Dataset, folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert SAFETY_NOTICE in card
    for row in known_of(made).values():
        assert f"{row['license']}](https" in card or f"| {row['license']} |" in card
    assert "cc-by-nc-4.0" in head_of(folder)["license"]


def test_one_licence_is_the_licence_of_the_whole(made: Dataset, tmp_path: Path) -> None:
    export(made, tmp_path / "out", ExportOptions(format="huggingface", licenses="CC-BY-SA"))
    assert head_of(tmp_path / "out")["license"] == "cc-by-sa-4.0"


def test_the_same_dataset_gives_the_same_bytes(made: Dataset, folder: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "again", OPTIONS)
    assert bytes_of(tmp_path / "again") == bytes_of(folder)


def test_without_a_split_all_photos_are_called_train(made: Dataset, tmp_path: Path) -> None:
    export(made, tmp_path / "out", ExportOptions(format="huggingface", split=False))
    (shard,) = (tmp_path / "out" / "data").iterdir()
    assert shard.name == "train-00000-of-00001.parquet"
    assert set(pq.read_table(shard)["photo_id"].to_pylist()) == known_of(made).keys()


def test_many_photos_are_cut_into_shards_with_their_number_in_the_name(tmp_path: Path) -> None:
    for number in range(12):
        target = tmp_path / "tree" / f"class {number % 2}" / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (320, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(target)  # noise, which takes 300 kB
    options = ExportOptions(format="huggingface", split=False, shard_mb=1)
    export(Dataset(images=tmp_path / "tree"), tmp_path / "out", options)
    shards = sorted((tmp_path / "out" / "data").iterdir())
    assert [shard.name for shard in shards] == [
        f"train-{n:05d}-of-{len(shards):05d}.parquet" for n in range(len(shards))
    ]
    assert len(shards) == 4
    assert max(shard.stat().st_size for shard in shards) < 1_100_000
    labels = [pq.read_table(shard)["label"].to_pylist() for shard in shards]
    assert any(len(set(each)) == 2 for each in labels)  # classes are mixed


def test_hostile_class_names_and_other_formats_survive(tmp_path: Path) -> None:
    names = ['"quoted": yes', "café 🍄", "no", "# 0|x"]
    for number, name in enumerate(names):
        for photo in range(2):
            target = tmp_path / "tree" / name / f"{photo}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number * 40, photo * 90, 7)).save(target)
    export(Dataset(images=tmp_path / "tree"), tmp_path / "out", ExportOptions(format="huggingface", split=False))
    head = head_of(tmp_path / "out")
    (label,) = (each for each in head["dataset_info"]["features"] if each["name"] == "label")
    assert list(label["dtype"]["class_label"]["names"].values()) == sorted(names)
    assert head["license"] == "unknown"


def test_the_library_reads_each_photo_as_it_is(
    made: Dataset, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    known = known_of(made)
    seen = set()
    for split, photos in loaded.items():
        assert photos.features["label"].names == list(CLASSES)
        for row in photos:
            expected = known[row["photo_id"]]
            seen.add(row["photo_id"])
            assert split == expected["split"]
            assert photos.features["label"].int2str(row["label"]) == expected["class"]
            pixels = Image.open(io.BytesIO(expected["content"]))
            assert np.array_equal(np.asarray(row["image"]), np.asarray(pixels))
            for name in ("observation_uuid", "license", "attribution", "observer_id", "taxon_id", "longitude"):
                assert row[name] == expected[name], name
            assert row["observed_on"] == (expected["observed_on"].isoformat() if expected["observed_on"] else None)
    assert seen == known.keys()
    page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"### huggingface.*?```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    exec(code.replace("dataset/exports/huggingface", str(folder)), {})  # noqa: S102
    from_shard = datasets.Features.from_arrow_schema(pq.read_schema(next(folder.glob("data/*.parquet"))))
    assert from_shard == loaded["train"].features
