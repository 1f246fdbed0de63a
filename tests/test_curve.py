from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.training.curve import LEAST, POINTS, _nested, extrapolate, fit_curve, learning_curve, sizes
from shroomcurate.training.data import Examples
from shroomcurate.training.probe import probe_recipe
from tests.test_verdict import examples_of, vectors_of, world

N = np.array([8.0, 16, 32, 64, 128])


def draws_of(error: np.ndarray, sd: float, resamples: int = 200) -> np.ndarray:
    return error + sd * np.random.default_rng(0).normal(size=(resamples, len(error)))


# -- the points ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 500), min_size=2, max_size=30), st.sampled_from([1.5, 2.0, 3.0]))
def test_sizes_fall_by_the_factor_from_what_three_quarters_of_the_classes_have(
    per_class: list[int], factor: float
) -> None:
    found = sizes(per_class, factor)
    assert found == sorted(set(found))
    top = found[-1]
    assert top in per_class
    assert sum(count >= top for count in per_class) >= 0.75 * len(per_class) - 0.5
    assert sum(count > top for count in per_class) <= 0.75 * len(per_class)
    assert all(n >= LEAST for n in found[:-1])
    for fewer, more in pairwise(found):
        assert more / fewer == pytest.approx(factor, rel=0.5 / fewer + 0.5 / more + 0.01)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25)), min_size=6, max_size=80),
    st.integers(0, 3),
)
def test_subsets_are_of_whole_groups_nested_stratified_and_of_training_photos_only(
    photos: list[tuple[int, int]], seed: int
) -> None:
    rows = [(number, "train", f"g{group}") for number, group in [(0, 90), (1, 91), (2, 92), *photos]]
    rows += [(0, "test", "t"), (1, "val", "v"), (2, "removed", "r")]
    examples: Examples = examples_of(rows)
    wanted = [1, 4, 9, 10_000]
    subsets = _nested(examples, wanted, seed)
    assert subsets[-1].tolist() == examples.rows("train").tolist()
    held: dict[tuple[int, str], set[int]] = {}
    for row in examples.rows("train").tolist():
        held.setdefault((int(examples.truth[row]), examples.groups[row]), set()).add(row)
    for n, fewer, more in zip(wanted, subsets, subsets[1:], strict=False):
        inside = set(fewer.tolist())
        assert inside <= set(more.tolist())
        assert all(members <= inside or not members & inside for members in held.values())
        for number in range(3):
            of_class = [members for (which, _), members in held.items() if which == number]
            count = sum(len(members & inside) for members in of_class)
            assert 0 < count < n + max(map(len, of_class))


def test_more_photos_teach_more_and_every_figure_is_json() -> None:
    examples = world(train=64, val=20, test=60)
    told: list[tuple[int, int]] = []
    found = learning_curve(
        examples,
        probe_recipe(vectors_of(examples, noise=1.0), examples),
        seeds=range(3),
        resamples=50,
        seed=0,
        progress=lambda done, total, _: told.append((done, total)),
    )
    assert json.loads(json.dumps(found)) == found
    assert [point["wanted"] for point in found["points"]] == [4, 8, 16, 32, 64]
    assert [point["train_photos"] for point in found["points"]] == [12, 24, 48, 96, 192]
    assert (found["test_photos"], found["test_groups"]) == (180, 90)
    first, last = found["points"][0], found["points"][-1]
    assert last["top1"]["mean"] > first["top1"]["mean"] + 0.05
    assert last["top1"]["sd"] == 0  # all photos are all photos, whatever the seed
    assert first["top1"]["mean"] == pytest.approx(np.mean(first["top1"]["each"]))
    assert found["now"] == {"photos": 144, "train": 64}
    assert found["more"]["macro_f1"]["twice"]["photos"] == 288
    assert told[-1] == (15, 15)


def test_the_recipe_is_asked_for_the_same_subsets_again() -> None:
    examples = world()
    asked: list[list[int]] = []

    def recipe(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        asked.append([seed, *rows.tolist()])
        return lambda wanted: np.eye(3)[examples.truth[wanted]]

    for _ in range(2):
        found = learning_curve(examples, recipe, seeds=[0, 5], resamples=10, seed=0)
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]
    assert found["more"]["top1"]["curve"] is None  # 20 training photos: 5, 10, 20 are three points
    assert found["more"]["top1"]["twice"]["answer"] == "cannot be said"
    assert "too few" in found["more"]["top1"]["twice"]["because"]


# -- the curve -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0, 0.3), st.floats(0.1, 2), st.floats(0.1, 1.5))
def test_a_curve_is_found_again(a: float, b: float, c: float) -> None:
    error = a + b * N**-c
    found = fit_curve(N, error, np.full(5, 0.01))
    assert found.error(N) == pytest.approx(error, abs=3e-4)
    assert 0 <= found.a <= error.min() + 1e-9
    near = fit_curve(N, error, np.full(5, 0.01), found)
    assert near.error(N) == pytest.approx(error, abs=3e-4)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_curve_never_rises_whatever_the_points(error: list[float]) -> None:
    found = fit_curve(N, np.array(error), np.full(5, 0.02))
    assert found.b >= 0
    assert 0.05 <= found.c <= 2
    assert 0 <= found.a <= max(min(error), 1e-9)


def answers(error: np.ndarray, sd: float, photos: float, n: np.ndarray = N) -> dict[str, Any]:
    return extrapolate(n, error, draws_of(error, sd), now={"photos": photos, "train": 0.7 * photos})


def test_a_steep_curve_says_yes_and_a_flat_one_no() -> None:
    steep = answers(1.5 * N**-0.5, 0.002, photos=183)
    assert steep["twice"]["answer"] == "yes"
    gain = 1.5 * (128**-0.5 - 256**-0.5)
    assert steep["twice"]["gain"] == pytest.approx(gain, abs=0.003)
    assert steep["twice"]["low"] < gain < steep["twice"]["high"]
    flat = answers(0.1 + 0.5 * N**-1.5, 0.002, photos=183)
    assert flat["twice"]["answer"] == "no"
    assert flat["curve"]["a"] == pytest.approx(0.1, abs=0.005)


def test_what_the_points_cannot_carry_is_not_said_and_why() -> None:
    far = answers(1.5 * N**-0.5, 0.002, photos=183)["thousand"]  # 700 training photos, 128 were seen
    assert (far["answer"], far["gain"]) == ("cannot be said", None)
    assert "more than 4 times the 128" in far["because"]
    wide = answers(0.05 + 0.8 * N**-0.7, 0.05, photos=183)["twice"]
    assert wide["answer"] == "cannot be said"
    assert wide["low"] < 0.01 < wide["high"]
    zigzag = answers(np.array([0.3, 0.1, 0.3, 0.1, 0.3]), 0.002, photos=183)["twice"]
    assert "off any such curve" in zigzag["because"]
    enough = answers(1.5 * N**-0.5, 0.002, photos=1200)["thousand"]
    assert "already" in enough["because"]
    few = answers((1.5 * N**-0.5)[: POINTS - 1], 0.002, photos=183, n=N[: POINTS - 1])
    assert few["curve"] is None


def test_a_thousand_photos_are_asked_of_the_dataset_not_of_training() -> None:
    n = N * 4  # 512 training photos of 731
    found = answers(1.5 * n**-0.5, 0.001, photos=512 / 0.7, n=n)["thousand"]
    assert found["gain"] == pytest.approx(1.5 * (512**-0.5 - 700**-0.5), abs=0.002)
