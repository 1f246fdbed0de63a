"""Cleaning: what belongs stays, what does not is moved, and nothing is ever lost."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate import clean as module
from shroomcurate.clean import SCHEMA, CleanOptions, clean, find_class
from shroomcurate.dataset import Dataset, Receipt, make_table, read_receipt, read_table, write_table
from shroomcurate.duplicates import DUPLICATE_BITS, duplicate_groups
from shroomcurate.embed import TABLE as EMBEDDINGS
from shroomcurate.errors import BadOption, DamagedFile, SourceMissing, StageMissing
from shroomcurate.restore import restore
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import split
from shroomcurate.training.data import read_examples

LENGTH = 16


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def blob(axis: int, count: int, seed: int = 0, spread: float = 0.1) -> np.ndarray[Any, Any]:
    """Photos that look alike: directions close to one axis. Blobs on two axes are a cosine distance of 1 apart."""
    noise = np.random.default_rng([seed, axis]).normal(0, spread, (count, LENGTH))
    return unit(np.eye(LENGTH)[axis] + noise)


def photos(tmp_path: Path, classes: Mapping[str, np.ndarray[Any, Any]], **facts: Mapping[str, Any]) -> Dataset:
    """A dataset with an embedding for each photo; a photo's content is its own path unless `same` says otherwise."""
    dataset = Dataset(tmp_path / "dataset")
    random_hash = random.Random(1)
    rows = []
    for name, vectors in classes.items():
        for number, vector in enumerate(vectors):
            path = f"images/{name}/{number:04}.jpg"
            file = dataset.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            content = facts.get("same", {}).get(path, path)
            file.write_text(content)
            rows.append(
                {
                    "path": path,
                    "photo_id": facts.get("photo_id", {}).get(path),
                    "sha256": content,
                    "perceptual_hash": facts.get("hash", {}).get(path, random_hash.getrandbits(64)),
                    "vector": vector.tolist(),
                }
            )
    schema = pa.schema(
        {
            "path": pa.string(),
            "photo_id": pa.int64(),
            "sha256": pa.string(),
            "perceptual_hash": pa.uint64(),
            "vector": pa.list_(pa.float32(), LENGTH),
        }
    )
    rows.sort(key=lambda row: str(row["path"]))
    write_table(dataset.path(EMBEDDINGS), pa.Table.from_pylist(rows, schema=schema), Receipt("embed", {}))
    return dataset


def noisy(tmp_path: Path, good: int = 60, bad: int = 8) -> Dataset:
    """Two classes; the last photos of each are a tight cluster of something else."""
    return photos(
        tmp_path,
        {
            "Amanita_muscaria": np.concatenate([blob(0, good), blob(5, bad, spread=0.01)]),
            "Boletus_edulis": np.concatenate([blob(1, good), blob(5, bad, seed=1, spread=0.01)]),
        },
    )


def rows(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in read_table(dataset.path("clean.parquet")).to_pylist()}


def listing(dataset: Dataset) -> dict[str, str]:
    """Every photo on disk and what is in it."""
    return {
        str(file.relative_to(dataset.root)): file.read_text()
        for tree in ("images", "removed")
        for file in sorted((dataset.root / tree).rglob("*"))
        if file.is_file()
    }


def say(dataset: Dataset, *lines: str) -> None:
    dataset.path("verdicts.csv").write_text("\n".join(["path,verdict,reason,note,when", *lines, ""]))


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


def test_the_score_rises_with_the_distance(tmp_path: Path) -> None:
    dataset = noisy(tmp_path)
    clean(dataset)
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


def test_how_dense_a_cluster_must_be_grows_with_the_class() -> None:
    vectors = np.concatenate([blob(0, 400), blob(5, 15, spread=0.01)])
    labels, _ = find_class(vectors, CleanOptions(min_share=0))
    assert (labels[400:] == -1).all()
    assert (labels[:400] == 0).all()
    labels, _ = find_class(vectors, CleanOptions(min_share=0, min_density=0))
    assert (labels[400:] == 1).all()


def test_classes_that_cannot_be_told_are_left_alone_and_named(tmp_path: Path) -> None:
    scattered = unit(np.random.default_rng(3).normal(size=(60, LENGTH)))
    halves = np.concatenate([blob(0, 25), unit(np.random.default_rng(4).normal(size=(35, LENGTH)))])
    dataset = photos(tmp_path, {"Few": blob(0, 29), "Scattered": scattered, "Halves": halves})
    summary = clean(dataset, CleanOptions(eps=0.1))
    assert set(summary.left_alone) == {"Few", "Scattered", "Halves"}
    assert "too few" in summary.left_alone["Few"]
    assert "no cluster" in summary.left_alone["Scattered"]
    assert "more than 50%" in summary.left_alone["Halves"]
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


# -- duplicates ------------------------------------------------------------------------------------------------


def test_of_equal_photos_the_best_ranked_is_kept(tmp_path: Path) -> None:
    vectors = blob(0, 40)
    copies = [f"images/Amanita_muscaria/{number:04}.jpg" for number in (3, 7, 9)]
    ids = {f"images/Amanita_muscaria/{number:04}.jpg": 100 + number for number in range(40)}
    dataset = photos(tmp_path, {"Amanita_muscaria": vectors}, same=dict.fromkeys(copies, "one"), photo_id=ids)
    assert clean(dataset).reasons == {"duplicate": 2}
    assert rows(dataset)[copies[0]]["kept"]
    selection = [
        {"photo_id": 100 + number, "class": "Amanita_muscaria", "rank_in_class": 40 - number} for number in range(40)
    ]
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, selection), Receipt("query", {}))
    summary = clean(dataset)
    judged = rows(dataset)
    assert judged[copies[2]]["kept"]
    for path in copies[:2]:
        assert (judged[path]["reason"], judged[path]["duplicate_of"]) == ("duplicate", copies[2])
    assert (summary.moved_out, summary.moved_back) == (1, 1)
    assert clean(dataset, CleanOptions(duplicates=False)).removed == 0
    judged = rows(dataset)
    assert [judged[path]["duplicate_of"] for path in copies] == [copies[2], copies[2], None]
    assert all(row["reason"] is None for row in judged.values())


def test_a_copy_that_goes_for_another_reason_still_says_whose_copy_it_is(tmp_path: Path) -> None:
    vectors = np.concatenate([blob(0, 40), blob(3, 1)])  # the last lies far off: an outlier
    kept, outlier = (f"images/Amanita_muscaria/{number:04}.jpg" for number in (5, 40))
    dataset = photos(tmp_path, {"Amanita_muscaria": vectors}, same={kept: "x", outlier: "x"})
    clean(dataset)
    judged = rows(dataset)
    assert (judged[outlier]["reason"], judged[outlier]["duplicate_of"]) == ("outlier", kept)
    assert judged[kept]["kept"]


def test_one_photo_in_two_classes_is_nobodys(tmp_path: Path) -> None:
    one, two = "images/Amanita_muscaria/0001.jpg", "images/Boletus_edulis/0002.jpg"
    dataset = photos(
        tmp_path, {"Amanita_muscaria": blob(0, 40), "Boletus_edulis": blob(0, 40, seed=1)}, same={one: "x", two: "x"}
    )
    assert clean(dataset).reasons == {"duplicate": 2}
    judged = rows(dataset)
    assert (judged[one]["duplicate_of"], judged[two]["duplicate_of"]) == (two, one)


def test_an_outlier_is_no_original(tmp_path: Path) -> None:
    """The kept one is chosen among those that stay."""
    dataset = noisy(tmp_path)
    table = read_table(dataset.path(EMBEDDINGS)).to_pylist()
    assert table[60]["path"] == "images/Amanita_muscaria/0060.jpg"
    say(dataset, "images/Amanita_muscaria/0000.jpg,remove,blurred,,")
    for number in (0, 1, 60):
        table[number]["sha256"] = "same"
    write_table(
        dataset.path(EMBEDDINGS),
        pa.Table.from_pylist(table, schema=read_table(dataset.path(EMBEDDINGS)).schema),
        Receipt("embed", {}),
    )
    clean(dataset)
    judged = rows(dataset)
    assert judged["images/Amanita_muscaria/0000.jpg"]["reason"] == "blurred"
    assert judged["images/Amanita_muscaria/0001.jpg"]["kept"]
    assert judged["images/Amanita_muscaria/0060.jpg"]["reason"] == "outlier"


def test_near_duplicates_need_alike_hashes_and_alike_vectors() -> None:
    same = unit(np.ones((1, LENGTH)))
    other = unit(np.eye(LENGTH)[:1])
    base, flipped = 0b1010 << 40, (0b1010 << 40) ^ 0b11111
    far = base ^ ((1 << (DUPLICATE_BITS + 1)) - 1)

    def groups(hashes: list[int], *vectors: np.ndarray[Any, Any]) -> list[list[int]]:
        names = [str(number) for number in range(len(hashes))]
        return duplicate_groups(np.array(hashes, np.uint64), names, np.concatenate(vectors))

    assert groups([base, flipped], same, same) == [[0, 1]]
    assert groups([base, base ^ sum(1 << 13 * band for band in range(5))], same, same) == [[0, 1]]  # spread wide
    assert groups([base, far], same, same) == []
    assert groups([base, base], same, other) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12), st.data())
def test_bands_find_every_pair_that_comparing_all_finds(hashes: list[int], data: st.DataObject) -> None:
    for _ in range(4):  # random hashes are never alike: add some that nearly are
        flips = data.draw(st.lists(st.integers(0, 63), max_size=DUPLICATE_BITS + 2, unique=True))
        hashes.append(data.draw(st.sampled_from(hashes)) ^ sum(1 << bit for bit in flips))
    found = duplicate_groups(
        np.array(hashes, np.uint64), list(map(str, range(len(hashes)))), np.ones((len(hashes), 1), np.float32)
    )
    together = {frozenset((i, j)) for group in found for i in group for j in group if i < j}
    for i, one in enumerate(hashes):
        for j in range(i):
            if (one ^ hashes[j]).bit_count() <= DUPLICATE_BITS:
                assert frozenset((i, j)) in together
    grown = {number for group in found for number in group}
    for number in grown:
        assert any(
            (hashes[number] ^ other).bit_count() <= DUPLICATE_BITS for at, other in enumerate(hashes) if at != number
        )


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


def test_a_class_larger_than_the_sample_is_judged_as_if_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.concatenate([blob(0, 500), blob(1, 300), blob(5, 60, spread=0.01)])
    order = np.random.default_rng(0).permutation(len(vectors)).tolist()
    whole, _ = find_class(vectors, CleanOptions(), order)
    monkeypatch.setattr(module, "SAMPLE", 200)
    sampled, why = find_class(vectors, CleanOptions(), order)
    assert why is None
    assert ((sampled >= 0) == (whole >= 0)).mean() > 0.99
    assert set(whole[:500]) == {0}
    assert set(whole[500:800]) == {1}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 80), st.integers(0, 15), st.floats(0.05, 1.0))
def test_never_more_than_max_share_of_a_class_goes(seed: int, good: int, bad: int, eps: float) -> None:
    generator = np.random.default_rng(seed)
    vectors = np.concatenate([blob(0, good, seed, spread=0.2), unit(generator.normal(size=(bad + 1, LENGTH)))])
    labels, why = find_class(vectors, CleanOptions(eps=eps))
    if why is None:
        assert (labels < 0).mean() <= 0.5
        assert (labels == 0).sum() >= 0.2 * len(vectors)
    else:
        assert (labels == -1).all()


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


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_at_any_moment_and_the_next_run_ends_the_same(tmp_path: Path, seed: int) -> None:
    calm = noisy(tmp_path / "calm")
    clean(calm)
    dataset = noisy(tmp_path / "killed")
    chance = random.Random(seed)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(dataset.root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(chance.randint(1, 14)):
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


# -- real photos -----------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_planted_pictures_among_real_photos_are_found(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import csv
    import hashlib

    from shroomcurate.embed import EmbedOptions, embed

    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    with (shared / "inat-mini" / "truth.csv").open() as handle:
        truth = [row for row in csv.DictReader(handle) if row["state"] == "served"]
    kinds = {}
    for species in ("Amanita muscaria", "Boletus edulis", "Boletus erythropus", "Amanita vaginata"):
        mine = [row for row in truth if row["species"] == species]
        mine.sort(key=lambda row: hashlib.sha256(row["photo_id"].encode()).hexdigest())
        for row in mine[:200]:
            (file,) = (shared / "inat-mini" / "photos" / row["photo_id"]).glob("medium.*")
            path = f"images/{species.replace(' ', '_')}/{row['photo_id']}{file.suffix}"
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(file.read_bytes())
            kinds[path] = row["kind"]
    dataset = Dataset(tmp_path)
    embed(dataset, EmbedOptions(weights=shared / "weights"))
    clean(dataset)
    judged = [(row["reason"] == "outlier", kinds[path] != "ok") for path, row in rows(dataset).items()]
    hits = sum(out and bad for out, bad in judged)
    f1 = 2 * hits / (sum(out for out, _ in judged) + sum(bad for _, bad in judged))
    assert f1 >= 0.85
