"""Photos that are the same or nearly so: every pair is found, and one of them stays."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.dataset import Receipt, make_table, read_table, write_table
from shroomcurate.duplicates import DUPLICATE_BITS, duplicate_groups
from shroomcurate.embed import TABLE as EMBEDDINGS
from shroomcurate.select import SCHEMA as SELECTION
from tests.cleaning import LENGTH, blob, noisy, photos, rows, say, unit


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


def test_of_twenty_thousand_photos_every_near_pair_is_found() -> None:
    """Hashes as they occur: half of the bits are hardly ever set otherwise, and a tenth of the photos is a copy."""
    chance = np.random.default_rng(0)
    count, copies = 20_000, 2_000
    likely = np.concatenate([np.full(32, 0.5), chance.choice([0.02, 0.1, 0.9, 0.98], 32)])
    bits = chance.random((count, 64)) < chance.permutation(likely)
    flipped = np.argsort(chance.random((copies, 64)), axis=1)
    for number in range(copies):
        bits[count - copies + number] = bits[number]
        at = flipped[number, : number % (DUPLICATE_BITS + 1)]
        bits[count - copies + number, at] ^= True
    order = chance.permutation(count)
    hashes = np.packbits(bits, axis=1).view(np.uint64).ravel()[order]
    vectors = np.ones((count, 1), np.float32)
    groups = duplicate_groups(hashes, list(map(str, range(count))), vectors)
    group_of = {number: place for place, group in enumerate(groups) for number in group}
    assert len(group_of) == sum(map(len, groups)), "no photo is in two groups"
    pairs = 0
    for one in chance.choice(count, 2_000, replace=False).tolist():
        near = np.flatnonzero(np.bitwise_count(hashes ^ hashes[one]) <= DUPLICATE_BITS)
        for other in near[near != one].tolist():
            pairs += 1
            assert group_of.get(one) == group_of.get(other) is not None
        if len(near) == 1:
            assert one not in group_of
    assert pairs > 300


def test_a_folder_that_is_there_twice_is_left_alone(tmp_path: Path) -> None:
    vectors = blob(0, 60)
    same = {f"images/{name}/{number:04}.jpg": str(number) for name in ("A", "B") for number in range(60)}
    summary = clean(photos(tmp_path, {"A": vectors, "B": vectors}, same=same))
    assert set(summary.left_alone) == {"A", "B"}
    assert summary.left_alone["A"] == "60 of 60 photos stand in another class too: more than 50%; they stay in both"
    assert (summary.removed, summary.conflicts) == (0, 0)


def test_what_a_small_class_shares_with_a_large_one_stays_in_both(tmp_path: Path) -> None:
    large, small = blob(0, 60), blob(0, 4)
    same = {f"images/{name}/{number:04}.jpg": str(number) for name in ("Large", "Small") for number in range(4)}
    dataset = photos(tmp_path, {"Large": large, "Small": small}, same=same)
    summary = clean(dataset)
    assert (summary.removed, summary.conflicts) == (0, 0)
    assert list(summary.left_alone) == ["Small"]
    too_small, shared = summary.left_alone["Small"].split("; ", 1)
    assert too_small == "too few to tell: 4 of the 30 photos that are needed"
    assert "4 of 4 photos stand in another class too" in shared
    found = rows(dataset)
    assert all(found[path]["duplicate_of"] for path in same), "no split parts them"


def test_once_a_person_keeps_one_of_the_two_the_other_goes(tmp_path: Path) -> None:
    large, small = blob(0, 60), blob(0, 4)
    same = {f"images/{name}/{number:04}.jpg": str(number) for name in ("Large", "Small") for number in range(4)}
    dataset = photos(tmp_path, {"Large": large, "Small": small}, same=same)
    say(dataset, *(f"images/Large/{number:04}.jpg,keep,,,2026-01-01" for number in range(4)))
    assert clean(dataset).reasons == {"duplicate": 4}
    assert {path.split("/")[1] for path, row in rows(dataset).items() if not row["kept"]} == {"Small"}


def test_of_several_within_a_class_one_stays_where_both_classes_keep_it(tmp_path: Path) -> None:
    same = {f"images/Large/{number:04}.jpg": "0" for number in range(3)} | {"images/Small/0000.jpg": "0"}
    dataset = photos(tmp_path, {"Large": blob(0, 60), "Small": blob(0, 1)}, same=same)
    assert clean(dataset).reasons == {"duplicate": 2}
    kept = {path for path in same if rows(dataset)[path]["kept"]}
    assert kept == {"images/Large/0000.jpg", "images/Small/0000.jpg"}


def test_a_person_may_take_out_as_many_as_stand_in_another_class(tmp_path: Path) -> None:
    vectors = blob(0, 60)
    same = {f"images/{name}/{number:04}.jpg": str(number) for name in ("A", "B") for number in range(60)}
    dataset = photos(tmp_path, {"A": vectors, "B": vectors}, same=same)
    say(dataset, *(f"images/B/{number:04}.jpg,remove,duplicate,,2026-01-01" for number in range(60)))
    summary = clean(dataset)
    assert (summary.reasons, summary.conflicts) == ({"duplicate": 60}, 0)
    assert {path.split("/")[1] for path, row in rows(dataset).items() if row["kept"]} == {"A"}


def test_very_many_equal_photos_take_little_memory() -> None:
    count = 4000
    vectors = np.tile(unit(np.ones((1, LENGTH))), (count, 1))
    for names in (["one"] * count, [str(number) for number in range(count)]):
        tracemalloc.start()
        assert duplicate_groups(np.zeros(count, np.uint64), names, vectors) == [list(range(count))]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 150e6
