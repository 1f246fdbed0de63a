"""Embedding: every photo on disk gets one row, whatever happens on the way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from shroomcurate import embed as module
from shroomcurate.dataset import Dataset, file_hash, read_receipt, read_table
from shroomcurate.descriptors import CLASSIC_LENGTH, classic_vector, perceptual_hash
from shroomcurate.duplicates import DUPLICATE_BITS
from shroomcurate.embed import SCHEMA, EmbedOptions, embed, network_input, work
from shroomcurate.errors import BadOption, SourceMissing, StageMissing, WeightsMissing
from shroomcurate.evidence import make_thumbnails, shrink
from shroomcurate.home import home
from shroomcurate.vectors import read_vectors
from tests.conftest import jpeg

CLASSIC = EmbedOptions(embedder="classic")


def tree(root: Path, count: int, size: tuple[int, int] = (160, 120)) -> Dataset:
    for number in range(count):
        file = root / "pictures" / f"Class_{number % 2}" / f"p{number:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(number, hue=number * 7, size=size))
    return Dataset(images=root / "pictures")


def test_every_photo_has_a_row_sorted_by_path_kept_or_removed(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["Amanita_muscaria", "Boletus_edulis"], wanted=4)
    moved = dataset.removed / "outlier" / "Boletus_edulis" / "2002.jpg"
    moved.parent.mkdir(parents=True)
    (dataset.images / "Boletus_edulis" / "2002.jpg").rename(moved)
    ignored = dataset.removed / "unselected" / "Boletus_edulis" / "9.jpg"
    ignored.parent.mkdir(parents=True)
    ignored.write_bytes(jpeg(9))
    summary = embed(dataset, CLASSIC)
    table = read_table(dataset.path("embeddings.parquet"))
    assert table.column_names == [column.name for column in SCHEMA]
    assert table["path"].to_pylist() == sorted(dataset.photos())
    assert table["photo_id"].to_pylist() == [1001, 1002, 1003, 1004, 2001, 2002, 2003, 2004]
    assert (summary.photos, summary.computed, summary.reused) == (8, 8, 0)
    lengths = np.linalg.norm(read_vectors(dataset.path("embeddings.parquet")), axis=1)
    assert lengths == pytest.approx(np.ones(8), abs=1e-6)
    assert table["sha256"].to_pylist()[5] == file_hash(moved)


def test_a_tree_that_somebody_else_made_has_no_photo_ids(tmp_path: Path) -> None:
    dataset = tree(tmp_path, 4)
    embed(dataset, CLASSIC)
    table = read_table(tmp_path / "embeddings.parquet")
    assert table["photo_id"].null_count == 4
    assert table["path"].to_pylist()[0] == "pictures/Class_0/p000.jpg"


def test_only_new_and_changed_photos_are_computed(tmp_path: Path) -> None:
    dataset = tree(tmp_path, 6)
    embed(dataset, CLASSIC)
    before = dataset.path("embeddings.parquet").read_bytes()
    assert (again := embed(dataset, CLASSIC)).computed == 0
    assert again.reused == 6
    assert dataset.path("embeddings.parquet").read_bytes() == before
    (dataset.images / "Class_0" / "p000.jpg").write_bytes(jpeg(77, size=(200, 120)))
    (dataset.images / "Class_1" / "new.jpg").write_bytes(jpeg(78))
    (dataset.images / "Class_1" / "p001.jpg").unlink()
    summary = embed(dataset, CLASSIC)
    assert (summary.photos, summary.computed, summary.reused) == (6, 2, 4)
    incremental = dataset.path("embeddings.parquet").read_bytes()
    dataset.path("embeddings.parquet").unlink()
    embed(dataset, CLASSIC)
    assert dataset.path("embeddings.parquet").read_bytes() == incremental


def test_other_preprocessing_computes_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tree(tmp_path, 3)
    embed(dataset, CLASSIC)
    monkeypatch.setitem(module._PREPROCESSING, "classic", "something new")
    assert embed(dataset, CLASSIC).computed == 3
    assert read_receipt(dataset.path("embeddings.parquet")).options["preprocessing"] == "something new"  # type: ignore[union-attr]


def test_a_photo_that_does_not_decode_is_named_and_left_out(tmp_path: Path) -> None:
    dataset = tree(tmp_path, 4)
    (dataset.images / "Class_0" / "p000.jpg").write_bytes(jpeg(0)[:900])
    (dataset.images / "Class_1" / "page.jpg").write_bytes(b"<html>not found</html>")
    film = dataset.images / "Class_1" / "film.mp4"
    film.touch()
    os.truncate(film, 10**12)  # a hole: more than any memory, and no room on the disk
    summary = embed(dataset, CLASSIC)
    assert set(summary.undecodable) == {
        "pictures/Class_0/p000.jpg",
        "pictures/Class_1/film.mp4",
        "pictures/Class_1/page.jpg",
    }
    assert all(summary.undecodable.values())
    assert summary.photos == 3
    assert set(embed(dataset, CLASSIC).undecodable) == set(summary.undecodable)


def test_a_damaged_table_is_computed_again(tmp_path: Path) -> None:
    dataset = tree(tmp_path, 3)
    embed(dataset, CLASSIC)
    good = dataset.path("embeddings.parquet").read_bytes()
    dataset.path("embeddings.parquet").write_bytes(good[:300])
    assert embed(dataset, CLASSIC).computed == 3
    assert dataset.path("embeddings.parquet").read_bytes() == good


def test_no_photos_at_all_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StageMissing) as error:
        embed(Dataset(tmp_path / "dataset"), CLASSIC)
    assert "shroomcurate download --dataset" in error.value.hint
    with pytest.raises(SourceMissing, match="nobody"):
        embed(Dataset(images=tmp_path / "parent" / "nobody"), CLASSIC)
    assert not list(tmp_path.iterdir())


def test_two_trees_side_by_side_do_not_share_tables(tmp_path: Path) -> None:
    embed(tree(tmp_path, 2), CLASSIC)
    (tmp_path / "test" / "Class_0").mkdir(parents=True)
    (tmp_path / "test" / "Class_0" / "a.jpg").write_bytes(jpeg(5))
    before = (tmp_path / "embeddings.parquet").read_bytes()
    with pytest.raises(BadOption, match="another tree 'pictures'"):
        embed(Dataset(images=tmp_path / "test"), CLASSIC)
    assert (tmp_path / "embeddings.parquet").read_bytes() == before


def test_a_table_written_elsewhere_leaves_the_datasets_own_and_equals_it(tmp_path: Path) -> None:
    dataset = tree(tmp_path, 3)
    embed(dataset, CLASSIC)
    before = dataset.path("embeddings.parquet").read_bytes()
    elsewhere = tmp_path / "scratch" / "embeddings.parquet"
    elsewhere.parent.mkdir()
    assert embed(dataset, CLASSIC, target=elsewhere).reused == 3
    assert elsewhere.read_bytes() == before
    (dataset.images / "Class_0" / "new.jpg").write_bytes(jpeg(9))
    assert embed(dataset, CLASSIC, target=elsewhere).photos == 4
    assert len(read_table(elsewhere)) == 4
    assert dataset.path("embeddings.parquet").read_bytes() == before
    assert not dataset.path(".embeddings").exists()


def test_a_name_that_is_not_utf_8_is_a_photo_without_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_BLOCK", 2)  # so that names go into the journal too
    dataset = tree(tmp_path, 3)
    Path(os.fsdecode(os.fsencode(dataset.images / "Class_0") + b"/a\xff.jpg")).write_bytes(jpeg(5))
    summary = embed(dataset, CLASSIC)
    assert summary.photos == 3
    assert summary.undecodable == {r"pictures/Class_0/a\udcff.jpg": "its name is not UTF-8"}


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHROOMCURATE_HOME", "~/mushrooms")
    assert home() == tmp_path / "mushrooms"


def test_an_unknown_embedder_and_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="resnet"):
        EmbedOptions(embedder="resnet")
    with pytest.raises(WeightsMissing, match="nowhere"):
        embed(tree(tmp_path, 1), EmbedOptions(weights=tmp_path / "nowhere"))


SCRIPT = """
import sys
from shroomcurate.dataset import Dataset
from shroomcurate.embed import EmbedOptions, embed, engine, look, work
work._BLOCK = 8
engine._BLOCK = 4
look._FEW = int(sys.argv[2])
embed(Dataset(images=sys.argv[1]), EmbedOptions(embedder="classic"))
"""


@pytest.mark.parametrize("few", [0, 1000], ids=["in processes", "by itself"])
def test_kill_9_at_any_moment_and_the_next_run_ends_with_the_same_bytes(tmp_path: Path, few: int) -> None:
    calm = tree(tmp_path / "calm", 64, size=(500, 375))
    embed(calm, CLASSIC)
    dataset = tree(tmp_path / "killed", 64, size=(500, 375))
    command = [sys.executable, "-c", SCRIPT, str(dataset.images), str(few)]
    chance = random.Random(few)
    journal = dataset.path(".embeddings")
    saved = 0
    for blocks in (1, 3):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while len(list(journal.glob("*.parquet"))) < blocks and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.wait()
        saved = max(saved, 8 * len(list(journal.glob("*.parquet"))))
    finished = dataset.path("embeddings.parquet").exists()
    summary = embed(dataset, CLASSIC)
    if not finished:
        assert summary.reused >= saved >= 8
    assert dataset.path("embeddings.parquet").read_bytes() == calm.path("embeddings.parquet").read_bytes()
    assert not journal.exists()
    assert not list(dataset.root.glob("*.partial"))


# -- descriptors -----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
    st.integers(0, 99),
)
def test_any_photo_even_one_pixel_or_one_colour_has_a_classic_vector_of_length_one(
    width: int, height: int, colour: tuple[int, int, int], seed: int
) -> None:
    plain = Image.new("RGB", (width, height), colour)
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))
    for photo in (plain, noise):
        vector = classic_vector(photo)
        assert vector.shape == (CLASSIC_LENGTH,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert (vector == classic_vector(photo)).all()
        assert 0 <= perceptual_hash(make_thumbnails([shrink(photo)]).grey[0]) < 2**64
        assert network_input(photo).shape == (224, 224, 3)


def test_the_same_photo_scaled_or_compressed_keeps_its_hash_and_another_does_not(tmp_path: Path) -> None:
    def scene(seed: int) -> Image.Image:
        """Shapes as large as those of real photos; blurred noise has little at the frequencies that are hashed."""
        coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC)

    def bits(one: Image.Image, other: Image.Image) -> int:
        hashes = [perceptual_hash(make_thumbnails([shrink(photo)]).grey[0]) for photo in (one, other)]
        return (hashes[0] ^ hashes[1]).bit_count()

    for seed in range(10):
        scene(seed).save(tmp_path / "x.jpg", quality=40)
        assert bits(scene(seed), Image.open(tmp_path / "x.jpg")) <= DUPLICATE_BITS
        assert bits(scene(seed), scene(seed).resize((120, 90))) <= DUPLICATE_BITS
        assert bits(scene(seed), scene(seed + 100)) > 2 * DUPLICATE_BITS


def test_the_network_sees_the_centre_only() -> None:
    photo = Image.new("RGB", (512, 256), "red")
    photo.paste("blue", (144, 16, 368, 240))  # the middle 224 x 224 of a photo whose shorter side is 256
    pixels = network_input(photo)
    assert (pixels[2:-2, 2:-2] == [0, 0, 255]).all()


SIDE = st.one_of(st.integers(1, 20), st.integers(200, 540), st.integers(1, 3000))


@settings(max_examples=60)
@given(SIDE, SIDE, st.integers(0, 2**32))
@example(1, 1, 0)
@example(1, 3000, 1)
@example(3000, 2, 2)
@example(256, 256, 3)
def test_any_photo_is_scaled_as_by_pillows_filter(width: int, height: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    extreme = random.choice(np.array([0, 255], np.uint8), noise.shape)  # the largest steps there are
    photo = Image.fromarray(np.where(random.random(noise.shape) < random.random(), noise, extreme))
    side = min(photo.size) * 224 / 256
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    by_pillow = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR, box=box))
    difference = network_input(photo).astype(int) - by_pillow
    assert np.abs(difference).max() <= 2
    assert abs(difference.mean()) < 0.2, "neither darker nor lighter"
