"""Each format, read back by the library it is for and compared with the dataset's tables, photo by photo."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import tarfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, DamagedFile, SourceMissing
from shroomcurate.export import ExportOptions, export
from shroomcurate.export.shards import _ends
from shroomcurate.export.tfrecord import read_tfrecord
from shroomcurate.licences import COMBINING, DEEDS, LICENSE_PROFILES, PERMITS, TRAINING
from tests.exported import CLASSES, bytes_of, known_of, make_exported

#: Formats whose bytes are written here; those that a library writes are tested where they are read.
FORMATS = ("imagefolder", "webdataset", "tfrecord", "coco")

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]

#: Columns that the tables know under the same name.
SAME = ("photo_uuid", "observation_uuid", "observer_id", "taxon_id", "taxon_name", "license", "attribution")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that no test changes, with a photo in class folders that is a PNG."""
    return make_exported(tmp_path_factory.mktemp("made") / "dataset")


@pytest.fixture(scope="module")
def exported(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format of it."""
    folder = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        export(made, folder / name, ExportOptions(format=name))
    return folder


class TestWebdataset:
    def test_the_library_reads_every_photo_of_each_split(self, made: Dataset, exported: Path) -> None:
        webdataset = pytest.importorskip("webdataset")
        known = known_of(made)
        seen = 0
        for split in ("train", "val", "test"):
            shards = sorted(map(str, (exported / "webdataset").glob(f"{split}-*.tar")))
            for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):
                facts, label = json.loads(sample["json"]), int(sample["cls"])
                row = known[facts["photo_id"]]
                assert sample["__key__"] == f"{row['class']}/{facts['photo_id']}"
                assert sample["jpg"] == row["content"]
                assert CLASSES[label] == row["class"] == facts["class"]
                assert row["split"] == split == facts["split"]
                assert {name: facts[name] for name in SAME} == {name: row[name] for name in SAME}
                assert facts["license_url"] == DEEDS[row["license"]]
                seen += 1
        assert seen == len(known)

    def test_it_decodes_to_arrays_and_labels(self, exported: Path) -> None:
        webdataset = pytest.importorskip("webdataset")
        shards = sorted(map(str, (exported / "webdataset").glob("train-*.tar")))
        photos = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("jpg", "cls")
        image, label = next(iter(photos))
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert label in range(len(CLASSES))

    def test_headers_tell_of_no_time_and_no_user(self, exported: Path) -> None:
        for shard in (exported / "webdataset").glob("*.tar"):
            with tarfile.open(shard) as tar:
                for member in tar:
                    facts = (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode)
                    assert facts == (0, 0, 0, "", "", 0o644)

    def test_classes_are_mixed_in_a_shard(self, exported: Path) -> None:
        with tarfile.open(exported / "webdataset" / "train-000000.tar") as tar:
            order = [name.split("/")[0] for name in tar.getnames() if name.endswith(".cls")]
        assert order != sorted(order)


class TestTfrecord:
    def test_tensorflow_reads_every_photo_of_each_split(self, made: Dataset, exported: Path) -> None:
        known = known_of(made)
        seen = 0
        for split in ("train", "val", "test"):
            for example in read_tfrecord(exported / "tfrecord", split, decode=False).as_numpy_iterator():
                row = known[int(example["photo_id"])]
                assert example["image"] == row["content"]
                assert CLASSES[int(example["label"])] == row["class"]
                assert example["split"].decode() == split == row["split"]
                for name in SAME:
                    value = example[name]
                    assert (value.decode() if isinstance(value, bytes) else int(value)) == row[name], name
                assert math.isclose(float(example["latitude"]), row["latitude"], rel_tol=1e-6)
                day = row["observed_on"].isoformat() if row["observed_on"] else ""
                assert example["observed_on"].decode() == day
                seen += 1
        assert seen == len(known)

    def test_photos_decode_to_their_pixels(self, made: Dataset, exported: Path) -> None:
        known = known_of(made)
        example = next(iter(read_tfrecord(exported / "tfrecord").as_numpy_iterator()))
        with Image.open(io.BytesIO(known[int(example["photo_id"])]["content"])) as image:
            assert example["image"].shape == (image.height, image.width, 3)
            assert np.abs(example["image"].astype(int) - np.asarray(image.convert("RGB"))).mean() < 3

    def test_the_schema_names_every_feature_that_a_record_has(self, exported: Path) -> None:
        import tensorflow as tf

        schema = json.loads((exported / "tfrecord" / "schema.json").read_text())
        kinds = {"string": "bytes_list", "int64": "int64_list", "float32": "float_list"}
        files = [str(exported / "tfrecord" / name) for names in schema["shards"].values() for name in names]
        for record in tf.data.TFRecordDataset(files):
            for name, feature in tf.train.Example.FromString(record.numpy()).features.feature.items():
                assert feature.WhichOneof("kind") == kinds[schema["features"][name]["type"]], name
        assert schema["classes"] == list(CLASSES)

    def test_a_split_that_is_not_there_is_named(self, exported: Path, tmp_path: Path) -> None:
        with pytest.raises(BadOption, match="no split 'dev'"):
            read_tfrecord(exported / "tfrecord", "dev")
        with pytest.raises(SourceMissing):
            read_tfrecord(tmp_path)
        (tmp_path / "schema.json").write_text("{}")
        with pytest.raises(DamagedFile):
            read_tfrecord(tmp_path)


class TestCoco:
    def test_every_photo_has_its_image_category_and_licence(self, made: Dataset, exported: Path) -> None:
        known = known_of(made)
        ids: list[int] = []
        for split in ("train", "val", "test"):
            read = json.loads((exported / "coco" / "annotations" / f"{split}.json").read_text())
            of_image = {each["image_id"]: each["category_id"] for each in read["annotations"]}
            names = {each["id"]: each["name"] for each in read["categories"]}
            licenses = {each["id"]: each["name"] for each in read["licenses"]}
            ids += [each["id"] for each in read["images"]]
            for image in read["images"]:
                row = known.pop(image["photo_id"])
                assert (exported / "coco" / image["file_name"]).read_bytes() == row["content"]
                assert names[of_image[image["id"]]] == row["class"]
                assert licenses[image["license"]] == row["license"]
                assert (image["width"], image["height"]) == (row["width"], row["height"])
                assert image["observation_uuid"] == row["observation_uuid"]
                assert image["attribution"] == row["attribution"]
                assert row["split"] == split
        assert not known
        assert len(ids) == len(set(ids))

    def test_pycocotools_reads_it(self, exported: Path) -> None:
        coco = pytest.importorskip("pycocotools.coco")
        read = coco.COCO(str(exported / "coco" / "annotations" / "train.json"))
        of_class = read.getImgIds(catIds=read.getCatIds(catNms=["Boletus_edulis"]))
        assert {read.loadImgs(each)[0]["file_name"].split("/")[1] for each in of_class} == {"Boletus_edulis"}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_dataset_gives_the_same_bytes_in_each_format(
    name: str, made: Dataset, exported: Path, tmp_path: Path
) -> None:
    for photo in made.images.rglob("*.jpg"):
        photo.touch()  # other times than those of the first export
    export(made, tmp_path / "again", ExportOptions(format=name))
    assert bytes_of(exported / name) == bytes_of(tmp_path / "again")


@pytest.mark.parametrize("name", FORMATS)
def test_without_a_split_all_photos_are_together(name: str, made: Dataset, tmp_path: Path) -> None:
    summary = export(made, tmp_path / name, ExportOptions(format=name, split=False))
    assert summary.splits == {}
    files = set(bytes_of(tmp_path / name))
    assert not [file for file in files if file.startswith(("train", "val", "test"))]
    assert summary.photos == len(known_of(made))


def test_small_shards_hold_every_photo_once(made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webdataset = pytest.importorskip("webdataset")
    monkeypatch.setattr(import_module("shroomcurate.export.shards"), "_BESIDES", 200_000)  # five photos fill a megabyte
    export(made, tmp_path / "out", ExportOptions(format="webdataset", shard_mb=1))
    index = json.loads((tmp_path / "out" / "dataset.json").read_text())["shards"]
    assert len(index["train"]) > 3
    assert max(index["train"].values()) - min(index["train"].values()) <= 1
    shards = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    keys = [sample["__key__"] for sample in webdataset.WebDataset(shards, shardshuffle=False)]
    assert len(keys) == len(set(keys)) == len(known_of(made))


@settings(max_examples=200)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 2000))
def test_shards_hold_each_photo_once_in_order_and_none_is_empty(sizes: list[int], most: int) -> None:
    ends = _ends(sizes, most)
    assert ends[0][0] == 0
    assert ends[-1][1] == len(sizes)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(ends))
    assert all(first < end for first, end in ends)
    assert len(ends) <= max(1, -(-sum(sizes) // most))
    if len(ends) > 1:  # no shard is more than a photo above the size that is asked for
        assert all(sum(sizes[first:end]) <= most + max(sizes) for first, end in ends)


def test_a_tree_of_somebody_else_travels_with_whatever_names_it_has(tmp_path: Path) -> None:
    """Dots, spaces, letters beyond ASCII, equal photos, other endings: no sample takes another's place."""
    webdataset = pytest.importorskip("webdataset")
    names = ["a.b.jpg", "a_b.jpg", "a.JPEG", "a.png", "Fliegenpilz im Öhmdwald.jpg", "=1.jpg"]
    for class_name in ("A. muscaria", "Täubling"):
        folder = tmp_path / "tree" / class_name
        folder.mkdir(parents=True)
        for number, name in enumerate(names):
            kind = "PNG" if name.endswith("png") else "JPEG"
            Image.new("RGB", (40, 30 + number // 2), (number, 9, 9)).save(folder / name, kind)
        (folder / "Thumbs.db").write_bytes(b"no photo")
    summary = export(
        Dataset(images=tmp_path / "tree"), tmp_path / "out", ExportOptions(format="webdataset", split=False)
    )
    assert summary.left_out == {"no photo": 2}
    samples: list[dict[str, Any]] = list(
        webdataset.WebDataset([str(tmp_path / "out" / "all-000000.tar")], shardshuffle=False)
    )
    assert len(samples) == 12
    for sample in samples:
        facts = json.loads(sample["json"])
        content = sample["png" if facts["file"].endswith("png") else "jpg"]
        assert content == (tmp_path / "tree" / facts["file"]).read_bytes()
        assert (facts["photo_id"], facts["license"], facts["attribution"]) == (None, None, None)
    assert {json.loads(sample["json"])["file"] for sample in samples} == {
        f"{class_name}/{name}" for class_name in ("A. muscaria", "Täubling") for name in names
    }


DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "export.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python tested\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_reads_each_format_back_as_it_says(code: str, exported: Path) -> None:
    if "webdataset" in code:
        pytest.importorskip("webdataset")
    exec(code.replace("dataset/exports", str(exported)), {})  # noqa: S102


def test_the_page_speaks_of_every_format_and_of_options_that_exist() -> None:
    known = {option for name in ("export", "verify") for each in COMMANDS[name].params for option in each.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known
    for name in FORMATS:
        assert f"### {name}" in PAGE
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert target.startswith("http") or (DOCS / target).exists(), target


def test_the_page_on_licences_has_every_profile_in_the_programs_words() -> None:
    page = (DOCS / "licences.md").read_text(encoding="utf-8")
    for profile, names in LICENSE_PROFILES.items():
        listed = "all eight" if profile == "any" else ", ".join(names)
        assert f"| `{profile}` | {listed} | {PERMITS[profile]} |" in page.splitlines()
    for url in (*DEEDS.values(), COMBINING, TRAINING):
        assert url in page
