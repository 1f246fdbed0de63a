from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.dataset import Column, Dataset, Receipt, make_table, write_table
from shroomcurate.groups import KINDS, Leak, Tie, certify, connect, photo_groups, photo_ties
from tests.conftest import jpeg

CLEAN = (
    Column("path", "string", ""),
    Column("photo_id", "int64", ""),
    Column("class", "string", ""),
    Column("kept", "bool", ""),
    Column("reason", "string", ""),
    Column("duplicate_of", "string", ""),
)


def judge(dataset: Dataset, rows: list[dict[str, object]]) -> None:
    write_table(dataset.path("clean.parquet"), make_table(CLEAN, rows), Receipt("clean", {}))


paths = st.sampled_from([f"p{i}" for i in range(12)])
ties_of = st.dictionaries(
    paths,
    st.lists(st.builds(Tie, st.sampled_from(["observation", "duplicate"]), st.sampled_from("abcdef")), max_size=3),
)


@settings(deadline=None)  # the first example imports SciPy
@given(ties_of)
def test_photos_with_an_equal_tie_are_in_one_group_named_by_its_smallest_path(ties: dict[str, list[Tie]]) -> None:
    groups = connect(ties)
    assert list(groups) == sorted(ties)
    for path, mine in ties.items():
        assert groups[path] == min(other for other in groups if groups[other] == groups[path])
        for other, theirs in ties.items():
            if set(mine) & set(theirs):
                assert groups[path] == groups[other]


@settings(deadline=None)  # the first example imports SciPy
@given(ties_of)
def test_groups_are_no_larger_than_chains_of_ties_need(ties: dict[str, list[Tie]]) -> None:
    group = {path: {path} for path in ties}  # the plain way: merge until nothing changes
    for _ in ties:
        for path, mine in ties.items():
            for other, theirs in ties.items():
                if set(mine) & set(theirs):
                    merged = group[path] | group[other]
                    for member in merged:
                        group[member] = merged
    assert connect(ties) == {path: min(members) for path, members in sorted(group.items())}


def test_a_chain_through_a_removed_photo_makes_one_group() -> None:
    ties = {
        "kept1": [Tie("observation", "x")],
        "removed": [Tie("observation", "x"), Tie("duplicate", "kept2")],
        "kept2": [Tie("duplicate", "kept2")],
        "alone": [],
    }
    assert connect(ties) == {"kept1": "kept1", "removed": "kept1", "kept2": "kept1", "alone": "alone"}


def test_observation_photo_id_and_duplicate_tie_photos_also_across_classes(selected: Callable[..., Dataset]) -> None:
    dataset = selected(["A", "B"], wanted=4)  # photos 1001 and 1002 share an observation, 1003 and 1004 too
    a = [f"images/A/{1000 + i}.jpg" for i in range(1, 5)]
    b = [f"images/B/{2000 + i}.jpg" for i in range(1, 5)]
    judge(
        dataset,
        [
            {"path": path, "photo_id": int(Path(path).stem), "class": path[7], "kept": True, "duplicate_of": duplicate}
            for path, duplicate in zip(a + b, [None] * 4 + [a[0]] + [None] * 3, strict=True)
        ]
        + [{"path": "images/B/1003.png", "photo_id": 1003, "class": "B", "kept": False}],
    )
    groups = photo_groups(dataset)
    assert {groups[path] for path in (a[0], a[1], b[0], b[1])} == {a[0]}
    assert {groups[path] for path in (a[2], a[3], "images/B/1003.png")} == {a[2]}
    assert groups[b[2]] == groups[b[3]] == b[2]


def test_before_cleaning_equal_files_are_duplicates_and_no_selection_is_needed(tmp_path: Path) -> None:
    dataset = Dataset(images=tmp_path / "tree")
    for name, seed in {"A/1.jpg": 1, "A/2.jpg": 2, "B/3.jpg": 1}.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(jpeg(seed))
    assert photo_groups(dataset) == {
        "tree/A/1.jpg": "tree/A/1.jpg",
        "tree/A/2.jpg": "tree/A/2.jpg",
        "tree/B/3.jpg": "tree/A/1.jpg",
    }


def test_a_number_that_is_no_photo_of_the_selection_ties_nothing(tmp_path: Path) -> None:
    dataset = Dataset(images=tmp_path / "tree")
    for number, name in enumerate(["A/7.jpg", "B/7.jpg"]):  # a foreign tree that counts from 1 in each class
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(jpeg(number))
    assert len(set(photo_groups(dataset).values())) == 2


def test_the_certificate_counts_what_it_checked(selected: Callable[..., Dataset]) -> None:
    dataset = selected(["A"], wanted=4)
    paths = [f"images/A/{1000 + i}.jpg" for i in range(1, 5)]
    judge(
        dataset,
        [{"path": path, "photo_id": int(Path(path).stem), "class": "A", "kept": True} for path in paths],
    )
    ties, groups = photo_ties(dataset), photo_groups(dataset)
    parts = {paths[0]: "train", paths[1]: "train", paths[2]: "test", paths[3]: "test"}
    assert certify(parts, ties, groups) == {
        "photos": 4,
        "groups": 2,
        "observations": 2,
        "photo_ids": 4,
        "near_duplicates": 0,
        "crossings": 0,
    }


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "group"])
def test_a_planted_leak_is_caught_and_named_even_if_the_groups_are_wrong(kind: str) -> None:
    ties = {"a": [Tie(kind, "same")], "b": [Tie(kind, "same")]}
    with pytest.raises(Leak, match=f"{kind} same: a is in train, b in test"):
        certify({"a": "train", "b": "test"}, ties, groups={"a": "a", "b": "b"})


def test_a_group_that_only_a_removed_photo_holds_together_is_checked_too() -> None:
    with pytest.raises(Leak, match="group a"):
        certify({"a": "train", "b": "test"}, {"a": [], "b": []}, groups={"a": "a", "b": "a"})


def test_every_observation_that_a_photo_stands_in_ties_it(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    rows = [
        {"photo_id": 1, "observation_uuid": "x", "other_observations": "y z"},
        {"photo_id": 2, "observation_uuid": "y", "other_observations": None},
        {"photo_id": 3, "observation_uuid": "w", "other_observations": "z"},
        {"photo_id": 4, "observation_uuid": "v", "other_observations": None},
    ]
    types = {"photo_id": "int64", "observation_uuid": "string", "other_observations": "string"}
    table = make_table([Column(name, type_, "") for name, type_ in types.items()], rows)
    judge(dataset, [{"path": f"images/A/{i}.jpg", "photo_id": i, "class": "A", "kept": True} for i in range(1, 5)])
    write_table(dataset.path("selection.parquet"), table, Receipt("query", {}))
    assert list(photo_groups(dataset).values()) == ["images/A/1.jpg"] * 3 + ["images/A/4.jpg"]
    write_table(dataset.path("selection.parquet"), table.drop_columns("other_observations"), Receipt("query", {}))
    assert len(set(photo_groups(dataset).values())) == 4


def with_days(dataset: Dataset, of: dict[int, tuple[int | None, date | None]]) -> None:
    """Write a selection whose photos, each its own observation, have this observer and day; and judge them all kept."""
    types = {"photo_id": "int64", "observation_uuid": "string", "observer_id": "int64", "observed_on": "date32"}
    rows = [
        {"photo_id": number, "observation_uuid": f"o{number}", "observer_id": observer, "observed_on": day}
        for number, (observer, day) in of.items()
    ]
    table = make_table([Column(name, type_, "") for name, type_ in types.items()], rows)
    write_table(dataset.path("selection.parquet"), table, Receipt("query", {}))
    judge(
        dataset,
        [{"path": f"images/A/{n}.jpg", "photo_id": n, "class": "AB"[n % 2], "kept": True} for n in of],
    )


def test_one_observer_on_one_day_ties_by_option_across_classes_and_only_where_both_are_known(tmp_path: Path) -> None:
    dataset, first, second = Dataset(tmp_path), date(2024, 9, 30), date(2024, 10, 1)
    with_days(
        dataset,
        {
            1: (7, first),
            2: (7, first),
            3: (7, second),
            4: (8, first),
            5: (None, first),
            6: (None, first),
            7: (7, None),
            8: (7, None),
        },
    )
    assert len(set(photo_groups(dataset).values())) == 8
    groups = photo_groups(dataset, same_day=True)
    assert groups["images/A/1.jpg"] == groups["images/A/2.jpg"]
    assert len(set(groups.values())) == 7
    ties = photo_ties(dataset, same_day=True)
    counts = certify(dict.fromkeys(ties, "train"), ties, groups)
    assert (counts["observer_days"], counts["observations"], counts["groups"]) == (3, 8, 7)
    ties = photo_ties(dataset)
    assert "observer_days" not in certify(dict.fromkeys(ties, "train"), ties, photo_groups(dataset))
