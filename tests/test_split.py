from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.errors import BadOption, TooLittleData
from shroomcurate.groups import Leak, Tie, certify, connect, photo_groups, photo_ties, split_by_day
from shroomcurate.split import SCHEMA, SPLITS, SplitOptions, place, share_out, shares, split
from tests.test_groups import judge, with_days

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
some_shares = st.sampled_from(["70/15/15", "4:1", "60/20/20", "1:1:1", "10:90"]).map(shares)


@given(classes_apart, st.integers(0, 5), some_shares)
def test_every_class_of_three_groups_is_in_all_splits_as_near_its_shares_as_groups_allow(
    sizes: list[list[int]], seed: int, shares: tuple[float, float, float]
) -> None:
    groups = {f"{c}/{g}": {str(c): n} for c, of_class in enumerate(sizes) for g, n in enumerate(of_class)}
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


def test_more_folds_than_groups_become_as_many_as_there_are_and_the_classes_that_limit_them_are_named(
    photographed: Callable[..., Dataset],
) -> None:
    dataset = photographed(["A", "B"], wanted=24)
    for path in sorted((dataset.images / "B").iterdir())[10:]:  # five observations are left
        path.unlink()
    assert split(dataset).in_few_folds == {}
    groups = {name: {row["group"] for row in rows_of(dataset) if row["class"] == name} for name in "AB"}
    found = split(dataset, SplitOptions(folds=9999))
    assert (found.folds, found.folds_asked) == (len(groups["A"]), 9999)
    assert found.in_few_folds == {"B": len(groups["B"])}
    found = split(dataset, SplitOptions(folds=len(groups["B"]) + 1))
    assert found.folds == len(groups["B"]) + 1
    assert found.in_few_folds == {"B": len(groups["B"])}


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


# -- the shares that a person types --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("70/15/15", (0.7, 0.15, 0.15)),
        ("0.7/0.15/0.15", (0.7, 0.15, 0.15)),
        ("7:1.5:1.5", (0.7, 0.15, 0.15)),
        ("1:1:2", (0.25, 0.25, 0.5)),
        ("33.3/33.3/33.4", (0.333, 0.333, 0.334)),
        ("4:1", (0.8, 0.1, 0.1)),
        ("80/20", (0.8, 0.1, 0.1)),
        (" 60 / 20 / 20 ", (0.6, 0.2, 0.2)),
    ],
)
def test_shares_are_read_as_they_are_meant(typed: str, meant: tuple[float, float, float]) -> None:
    assert shares(typed) == pytest.approx(meant)
    SplitOptions(*shares(typed))


@pytest.mark.parametrize(
    "typed", ["", "70", "70/15/15/0", "70/15/0", "4:-1", "a/b/c", "nan/1/1", "inf:1", "1e308:1e308"]
)
def test_shares_that_mean_nothing_say_what_to_type(typed: str) -> None:
    with pytest.raises(BadOption) as error:
        shares(typed)
    assert "70/15/15" in error.value.hint
    assert "4:1" in error.value.hint


@pytest.mark.parametrize(
    ("typed", "total"),
    [("90/20/20", "130"), ("70/10/10", "90"), ("80/30", "110"), ("4/1", "5"), ("0.7/0.2/0.2", "1.1")],
)
def test_per_cent_that_do_not_add_up_are_refused_with_what_they_add_up_to(typed: str, total: str) -> None:
    with pytest.raises(BadOption, match=f"adds up to {total}") as error:
        shares(typed)
    assert "add up to 100" in error.value.hint
    shares(error.value.hint.split("ratio: ")[1])


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=3))
def test_any_positive_numbers_are_shares_that_the_options_take(numbers: list[float]) -> None:
    found = shares(":".join(map(repr, numbers)))
    assert SplitOptions(*found).train == found[0]
    assert found[0] == pytest.approx(numbers[0] / sum(numbers))


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=3))
def test_shares_that_are_typed_again_are_the_same_to_the_last_bit(numbers: list[float]) -> None:
    found = shares(":".join(map(repr, numbers)))
    assert shares("/".join(map(repr, found))) == found


# -- ties of every kind --------------------------------------------------------------------------------------

ties_of = st.dictionaries(
    st.integers(0, 60).map(lambda i: f"p{i:02}"),
    st.lists(
        st.builds(
            Tie,
            st.sampled_from(["observation", "photo", "duplicate", "observer-day"]),
            st.integers(0, 40).map(str),
        ),
        max_size=3,
    ),
    min_size=1,
)


@settings(deadline=None)  # the first example imports SciPy
@given(ties_of, st.integers(0, 3), some_shares)
def test_no_tie_of_any_kind_crosses_and_a_planted_leak_is_caught(
    ties: dict[str, list[Tie]], seed: int, shares: tuple[float, float, float]
) -> None:
    groups = connect(ties)
    placed = place({path: "AB"[int(path[1:]) % 2] for path in ties}, groups, SplitOptions(*shares, seed=seed))
    assert certify(placed, ties, groups)["crossings"] == 0
    for path, mine in ties.items():
        for other, theirs in ties.items():
            if set(mine) & set(theirs):
                assert placed[path] == placed[other]
                if path != other:
                    moved = placed | {path: ("elsewhere", 0)}
                    with pytest.raises(Leak):
                        certify(moved, ties, {name: name for name in ties})


def test_days_are_kept_whole_by_option_and_whoever_reads_the_split_later_knows(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    with_days(dataset, {n: (n % 7, date(2024, 9, 1 + n // 28)) for n in range(1, 141)})  # 4 photos an observer's day
    split(dataset)
    assert not split_by_day(dataset)
    by_day = photo_ties(dataset, same_day=True)

    def certificate() -> dict[str, int]:
        parts = {str(row["path"]): row["split"] for row in rows_of(dataset)}
        return certify(parts, by_day, {path: path for path in parts})

    with pytest.raises(Leak, match="observer-day"):
        certificate()
    summary = split(dataset, SplitOptions(same_day=True))
    assert split_by_day(dataset)
    assert certificate()["crossings"] == 0
    assert summary.certificate["observer_days"] == len({tie for mine in by_day.values() for tie in mine[2:]})
    receipt = read_receipt(dataset.path("splits.parquet"))
    assert receipt is not None
    assert receipt.options["same_day"] is True
