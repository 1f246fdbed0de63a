from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.training.data import Examples
from shroomcurate.training.evaluation import softmax
from shroomcurate.training.probe import Head, choose_head, fold_recipe, probe_recipe
from shroomcurate.training.verdict import confused_photos, dragging, raw_against_clean, raw_against_clean_by_fold

LABELS = ("a", "b", "c")


def examples_of(rows: list[tuple[int, str, str]], reason: str = "scenery", **more: Any) -> Examples:
    """Examples from class number, split and group of each photo; photos are named by their row."""
    reasons = [reason if split.startswith("removed") else None for _, split, _ in rows]
    facts: dict[str, Any] = {
        "labels": LABELS,
        "left_out": {},
        "paths": [f"images/{LABELS[number]}/{row:04}.jpg" for row, (number, _, _) in enumerate(rows)],
        "places": [Path(str(row)) for row in range(len(rows))],
        "truth": np.array([number for number, _, _ in rows]),
        "split": [split for _, split, _ in rows],
        "fold": np.zeros(len(rows), np.int64),
        "groups": [group for _, _, group in rows],
        "observations": [group for _, _, group in rows],
        "reasons": reasons,
        "certificate": {},
    }
    return Examples(**{**facts, **more})


def world(train: int = 20, val: int = 8, test: int = 20, removed: int = 9, removed_test: int = 6) -> Examples:
    """Three classes, two photos a group; as many of each split a class as said."""
    counts = {"train": train, "val": val, "test": test, "removed": removed, "removed-test": removed_test}
    return examples_of(
        [
            (number, split, f"{split} {number} {photo // 2}")
            for number in range(3)
            for split, count in counts.items()
            for photo in range(count)
        ]
    )


def vectors_of(examples: Examples, seed: int = 0, noise: float = 0.7) -> np.ndarray:
    """Vectors that nearly tell the classes apart; those of removed photos lie at the next class."""
    rng = np.random.default_rng(seed)
    shift = np.array([split.startswith("removed") for split in examples.split])
    found = np.eye(6)[(examples.truth + shift) % 3] + noise * rng.normal(size=(len(examples.truth), 6))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


# -- raw against cleaned -------------------------------------------------------------------------------------


def compared(examples: Examples, recipe: Any, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"seeds": range(3), "resamples": 200, "seed": 0, "model_name": "probe", **more}
    return raw_against_clean(examples, recipe, **options)


def test_cleaning_helps_where_what_it_removed_was_labelled_wrongly_and_every_figure_is_json() -> None:
    examples = world(removed=18)
    told: list[tuple[int, int]] = []
    found = compared(
        examples,
        probe_recipe(vectors_of(examples), examples, resampled=True),
        progress=lambda done, total, _: told.append((done, total)),
    )
    assert json.loads(json.dumps(found)) == found
    assert found["train_photos"] == {"raw": 60 + 54, "clean": 60}
    assert found["added"] == {"scenery": 54}
    assert (found["test_photos"], found["test_groups"], found["seeds"]) == (60, 30, [0, 1, 2])
    assert found["difference"]["macro_f1"]["low"] > 0
    raw_test = found["on_raw_test"]
    assert (raw_test["test_photos"], raw_test["test_groups"], raw_test["added"]) == (78, 39, {"scenery": 18})
    for tested in (found, raw_test):
        for measure in ("top1", "macro_f1"):
            gain = tested["difference"][measure]
            assert gain["low"] <= gain["difference"] <= gain["high"]
            for name in ("raw", "clean"):
                assert tested[name][measure] == pytest.approx(np.mean([one[measure] for one in tested["each"][name]]))
            assert gain["difference"] == pytest.approx(tested["clean"][measure] - tested["raw"][measure])
    assert told[0] == (0, 6)
    assert told[-1] == (6, 6)


def test_the_recipe_is_asked_for_each_seed_and_never_sees_val_test_or_what_stands_on_their_side() -> None:
    examples = world()
    asked: list[tuple[list[int], int]] = []

    def recipe(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        asked.append((rows.tolist(), seed))
        return lambda wanted: np.eye(3)[examples.truth[wanted]]

    found = compared(examples, recipe, seeds=[4, 7])
    train = examples.rows("train").tolist()
    both = examples.rows("train", "removed").tolist()
    assert asked == [(both, 4), (both, 7), (train, 4), (train, 7)]
    assert found["clean"] == found["on_raw_test"]["raw"] == {"top1": 1, "macro_f1": 1}
    assert found["difference"]["top1"] == {"difference": 0, "low": 0, "high": 0}


def test_one_recipe_of_no_difference_differs_by_nothing_and_without_a_raw_test_none_is_made_up() -> None:
    examples = world(removed=0, removed_test=0)
    found = compared(examples, probe_recipe(vectors_of(examples), examples, resampled=True))
    assert found["difference"]["macro_f1"] == {"difference": 0, "low": 0, "high": 0}
    assert found["on_raw_test"] is None


def test_luck_of_the_seeds_widens_the_interval() -> None:
    examples = world(test=40)

    def by_luck(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        raw = len(rows) > 60
        share = 0.5 + (0.3 if seed == 0 and not raw else 0)  # one seed of the clean training is far luckier

        def logits(wanted: np.ndarray) -> np.ndarray:
            wrong = np.random.default_rng(seed + 10 * raw).random(len(wanted)) > share
            return np.eye(3)[(examples.truth[wanted] + wrong) % 3]

        return logits

    def width(seeds: list[int]) -> float:
        gain = compared(examples, by_luck, seeds=seeds)["difference"]["top1"]
        return float(gain["high"] - gain["low"])

    assert width([0, 1, 2, 3]) > 1.2 * width([1, 2, 3, 4])


# -- by fold -------------------------------------------------------------------------------------------------


def in_folds(examples: Examples, folds: int = 4) -> Examples:
    number = {group: i % folds for i, group in enumerate(sorted(set(examples.groups)))}
    return replace(examples, fold=np.array([number[group] for group in examples.groups]))


def test_by_fold_each_photo_is_tested_once_by_models_that_saw_none_of_its_fold() -> None:
    examples = in_folds(world(removed=18))
    asked: list[set[int]] = []
    tested: list[int] = []

    def recipe(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        assert seed == 0
        asked.append(set(rows.tolist()))

        def logits(wanted: np.ndarray) -> np.ndarray:
            folds = set(examples.fold[wanted].tolist())
            assert len(folds) == 1
            assert not folds & set(examples.fold[rows].tolist())
            tested.extend(wanted.tolist())
            return np.eye(3)[examples.truth[wanted]]

        return logits

    found = raw_against_clean_by_fold(examples, recipe, resamples=10, seed=0, model_name="x")
    assert sorted(tested) == sorted(2 * list(range(len(examples.paths))))
    raw, clean = (set.union(*asked[which::2]) for which in (0, 1))
    assert raw == set(range(len(examples.paths)))
    assert clean == set(examples.rows("train", "val", "test").tolist())
    assert (found["folds"], found["test_photos"], found["on_raw_test"]["test_photos"]) == (4, 144, 144 + 72)
    assert found["difference"]["top1"] == {"difference": 0, "low": 0, "high": 0}


def test_by_fold_the_interval_is_narrower_than_on_one_test() -> None:
    examples = in_folds(world(removed=18))
    vectors = vectors_of(examples, noise=1.0)
    by_fold = raw_against_clean_by_fold(
        examples, fold_recipe(vectors, examples), resamples=300, seed=0, model_name="probe"
    )
    once = compared(examples, probe_recipe(vectors, examples), seeds=[0], resamples=300)
    wide, narrow = (
        found["difference"]["top1"]["high"] - found["difference"]["top1"]["low"] for found in (once, by_fold)
    )
    assert narrow < 0.8 * wide
    assert json.loads(json.dumps(by_fold)) == by_fold


# -- the probe as a recipe -----------------------------------------------------------------------------------


def test_seed_0_is_the_probe_itself_and_another_seed_counts_groups_alike_for_raw_and_clean() -> None:
    examples = world()
    vectors = vectors_of(examples)
    train, test = examples.rows("train"), examples.rows("test")
    plain, resampled = probe_recipe(vectors, examples), probe_recipe(vectors, examples, resampled=True)
    own = choose_head(vectors, examples, "train").logits(vectors[test])
    fixed = fold_recipe(vectors, examples)
    for recipe, seed in ((plain, 0), (plain, 3), (resampled, 0), (fixed, 0)):
        assert (recipe(train, seed)(test) == own).all()
    one = resampled(train, 1)(test)
    assert not np.allclose(one, own)
    assert (resampled(train, 1)(test) == one).all()
    assert not np.allclose(resampled(train, 2)(test), one)


def test_a_photo_that_counts_double_is_a_photo_that_stands_there_twice() -> None:
    from shroomcurate.training.probe import fit_head

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 40)
    vectors = (rng.normal(size=(40, 4)) + np.eye(4)[truth]).astype(np.float32)
    vectors[20:] = vectors[:20]  # so that the scaling of the features is the same in both
    truth[20:] = truth[:20]
    counts = np.array([2.0] * 20)
    once: Head = fit_head(vectors[:20], truth[:20], 3, 0.1, counts)
    twice: Head = fit_head(vectors, truth, 3, 0.1)
    assert once.logits(vectors) == pytest.approx(twice.logits(vectors), abs=2e-2)


# -- classes that drag ---------------------------------------------------------------------------------------


def logits_of(examples: Examples, called: list[int]) -> np.ndarray:
    assert len(called) == len(examples.rows("test"))
    return np.eye(3)[called] * 4


def test_a_class_that_drags_is_described_by_hand() -> None:
    rows = [(0, "train", "t0")] * 12 + [(1, "train", "t1")] * 10 + [(2, "train", "t2")] * 3
    rows += [(number, "test", f"g{number}") for number in (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)]
    out = [(0, "duplicate")] * 9 + [(2, "scenery")] * 4 + [(2, "duplicate")] * 2
    rows += [(number, "removed-val", f"r{number}") for number, _ in out]
    examples = examples_of(rows, reasons=[None] * 35 + [reason for _, reason in out])
    #               a  a  a  a  b  b  b  b  c  c
    found = dragging(examples, logits_of(examples, [0, 0, 0, 0, 1, 1, 1, 0, 1, 2]))
    assert [row["class"] for row in found] == ["b", "c", "a"]
    worst = found[1]
    figures = ("precision", "recall", "test_photos", "train_photos", "removed")
    assert [worst[name] for name in figures] == [1, 0.5, 2, 3, 4]
    assert worst["f1"] == pytest.approx(2 / 3)
    assert worst["taken_for"] == [{"class": "b", "photos": 1}]
    assert worst["mistaken_for_it"] == []
    before = (8 / 9 + 6 / 8 + 2 / 3) / 3
    assert worst["gain"] == pytest.approx((8 / 9 + 6 / 7 + 1) / 3 - before)
    assert found[0]["gain"] == pytest.approx(1 - before)  # each mistake there is has to do with b
    assert found[0]["mistaken_for_it"] == [{"class": "c", "photos": 1}]
    assert [len(row["why"]) for row in found] == [0, 2, 0]
    assert "3 training photos, where the median class has 10" in worst["why"][0]
    assert "44%" in worst["why"][1]  # 4 of 3 + 2 + 4
    assert json.loads(json.dumps(found)) == found


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_no_gain_is_negative_and_a_class_without_mistakes_does_not_drag(called: list[int]) -> None:
    examples = examples_of([(number, part, "g") for part in ("train", "test") for number in (0, 1, 2) * 4])
    found = dragging(examples, logits_of(examples, called))
    truth = examples.truth[examples.rows("test")]
    mistaken = {LABELS[i] for pair in zip(truth, called, strict=True) if pair[0] != pair[1] for i in pair}
    assert {row["class"] for row in found} == mistaken
    gains = [row["gain"] for row in found]
    assert gains == sorted(gains, reverse=True)
    assert all(0 < gain <= 1 for gain in gains)


# -- confused photos -----------------------------------------------------------------------------------------


def test_each_direction_shows_its_surest_photos_first_and_no_more_than_asked_for() -> None:
    examples = examples_of([(number, "test", str(i)) for i, number in enumerate([0] * 5 + [1] * 3 + [2] * 2)])
    probabilities = np.array(
        [
            *([0.4, 0.6, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0], [0.45, 0.55, 0.0], [1.0, 0.0, 0.0]),  # a, 4 called b
            *([0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.1, 0.0, 0.9]),  # b, one called a, one called c
            *([0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
        ]
    )
    first, second = confused_photos(examples, probabilities, photos_each=3)
    assert first["classes"] == ["a", "b"]
    assert first["mistakes"] == 5
    shown = [
        (photo["path"][-8:-4], photo["class"], photo["taken_for"], photo["certainty"]) for photo in first["photos"]
    ]
    assert shown == [
        ("0001", "a", "b", 0.8),
        ("0002", "a", "b", 0.7),
        ("0000", "a", "b", 0.6),
        ("0005", "b", "a", 0.9),
    ]
    assert second["classes"] == ["b", "c"]
    assert [photo["taken_for"] for photo in second["photos"]] == ["c"]
    assert len(confused_photos(examples, probabilities, pairs=1)) == 1


def test_right_photos_are_never_shown() -> None:
    examples = world()
    sure = softmax(np.eye(3)[examples.truth[examples.rows("test")]] * 5)
    assert confused_photos(examples, sure) == []
    assert dragging(examples, np.log(sure)) == []
