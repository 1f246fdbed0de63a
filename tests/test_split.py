from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.errors import BadOption, TooLittleData
from shroomcurate.groups import photo_groups
from shroomcurate.split import SCHEMA, SPLITS, SplitOptions, place, share_out, split
from tests.test_groups import judge

#: Any photos: path -> (class, group), classes free to share groups.
worlds = st.dictionaries(
    st.integers(0, 200).map(lambda i: f"images/{i}"),
    st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(0, 40).map(str)),
    max_size=80,
)


@given(worlds, st.integers(0, 3), st.integers(2, 6))
def test_no_group_crosses_and_every_photo_has_one_split_and_one_fold(
    world: dict[str, tuple[str, str]], seed: int, folds: int
) -> None:
    groups = {path: group for path, (_, group) in world.items()}
    placed = place({path: name for path, (name, _) in world.items()}, groups, SplitOptions(folds=folds, seed=seed))
    assert placed.keys() == world.keys()
    homes: dict[str, set[tuple[str, int]]] = {}
    for path, home in placed.items():
        assert home[0] in SPLITS
        assert 0 <= home[1] < folds
        homes.setdefault(groups[path], set()).add(home)
    assert all(len(home) == 1 for home in homes.values())


@given(worlds)
def test_a_class_of_fewer_than_three_groups_stays_in_train_whole(world: dict[str, tuple[str, str]]) -> None:
    placed = place(
        {path: name for path, (name, _) in world.items()},
        {path: group for path, (_, group) in world.items()},
        SplitOptions(),
    )
    groups_of: dict[str, set[str]] = {}
    for name, group in world.values():
        groups_of.setdefault(name, set()).add(group)
    for path, (name, _) in world.items():
        if len(groups_of[name]) < 3:
            assert placed[path][0] == "train"


#: Group sizes of classes that share no group.
classes_apart = st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=60), min_size=1, max_size=4)


@given(classes_apart, st.integers(0, 5))
def test_every_class_of_three_groups_is_in_all_splits_at_about_its_shares(sizes: list[list[int]], seed: int) -> None:
    groups = {f"{c}/{g}": {str(c): n} for c, of_class in enumerate(sizes) for g, n in enumerate(of_class)}
    shares = [0.7, 0.15, 0.15]
    part_of = share_out(groups, shares, str(seed), keep_small_whole=True)
    for c, of_class in enumerate(sizes):
        counts = Counter[int]()
        for g, n in enumerate(of_class):
            counts[part_of[f"{c}/{g}"]] += n
        assert all(counts[part] for part in range(3))
        for part, share in enumerate(shares):
            # at most one group above its share (the one group that fills an empty part included), so two below
            assert counts[part] <= share * sum(of_class) + max(of_class)
            assert counts[part] >= share * sum(of_class) - 3 * max(of_class)


def test_single_photos_split_exactly() -> None:
    part_of = share_out({str(i): {"A": 1} for i in range(200)}, [0.7, 0.15, 0.15], "0", keep_small_whole=True)
    assert sorted(Counter(part_of.values()).items()) == [(0, 140), (1, 30), (2, 30)]


def test_the_order_of_the_input_does_not_matter_and_the_seed_does() -> None:
    classes = {f"images/{i}": "A" for i in range(60)}
    groups = {path: path for path in classes}
    backwards = dict(reversed(classes.items()))
    assert place(classes, groups, SplitOptions()) == place(backwards, groups, SplitOptions())
    assert place(classes, groups, SplitOptions()) != place(classes, groups, SplitOptions(seed=1))


def rows_of(dataset: Dataset) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = read_table(dataset.path("splits.parquet")).to_pylist()
    return rows


def test_only_kept_photos_are_split_and_the_file_proves_itself(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["A", "B"], wanted=20)
    paths = list(dataset.photos())
    judge(
        dataset,
        [
            {"path": path, "photo_id": int(Path(path).stem), "class": path[7], "kept": i % 5 > 0, "reason": "scenery"}
            for i, path in enumerate(paths)
        ],
    )
    summary = split(dataset)
    rows = rows_of(dataset)
    assert [row["path"] for row in rows] == [path for i, path in enumerate(paths) if i % 5 > 0]
    assert list(rows[0]) == [column.name for column in SCHEMA]
    groups = photo_groups(dataset)
    assert all(row["group"] == groups[str(row["path"])] for row in rows)
    assert summary.photos == sum(summary.splits.values()) == 32
    assert summary.certificate["crossings"] == 0
    assert summary.certificate["observations"] == summary.certificate["groups"] == 20
    receipt = read_receipt(dataset.path("splits.parquet"))
    assert receipt is not None
    assert receipt.options["certificate"] == summary.certificate
    assert set(receipt.inputs) == {"clean.parquet", "selection.parquet"}


def test_the_same_input_gives_the_same_bytes(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["A", "B"], wanted=12)
    split(dataset)
    first = dataset.path("splits.parquet").read_bytes()
    dataset.path("splits.parquet").unlink()
    split(dataset)
    assert dataset.path("splits.parquet").read_bytes() == first


def test_without_clean_parquet_the_class_folders_are_the_clean_set(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["A"], wanted=6)
    out = dataset.removed / "scenery" / "A" / "9.jpg"
    out.parent.mkdir(parents=True)
    out.write_bytes((dataset.images / "A" / "1001.jpg").read_bytes()[::-1])
    assert split(dataset).photos == 6


def test_small_classes_are_named(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["A", "Rare"], wanted=12)
    for path in sorted((dataset.images / "Rare").iterdir())[4:]:  # two observations are left
        path.unlink()
    summary = split(dataset)
    assert summary.not_in_all_splits == ["Rare"]
    assert summary.classes["Rare"] == {"train": 4, "val": 0, "test": 0}


def test_nothing_to_split_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(TooLittleData) as error:
        split(Dataset(tmp_path))
    assert "shroomcurate download" in error.value.hint


@pytest.mark.parametrize("wrong", [{"train": 0.8}, {"val": 0.0, "train": 0.85}, {"folds": 1}, {"test": float("nan")}])
def test_impossible_shares_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadOption):
        SplitOptions(**wrong)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 5), min_size=10, max_size=60))
def test_folds_are_of_about_one_size(sizes: list[int]) -> None:
    fold_of = share_out({str(i): {"A": n} for i, n in enumerate(sizes)}, [0.2] * 5, "0")
    counts = Counter[int]()
    for group, fold in fold_of.items():
        counts[fold] += sizes[int(group)]
    assert all(0 < counts[fold] <= sum(sizes) / 5 + max(sizes) for fold in range(5))
