"""DBSCAN per class: whatever its size and density, the class is found within bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.clean import CleanOptions, clusters
from shroomcurate.clean.clusters import AUTO_EPS, CLUMP, knee, shape_of
from tests.cleaning import LENGTH, blob, unit

AUTO = CleanOptions(auto_eps=True)


def spread_blob(axis: int, count: int, distance: float, seed: int = 0, length: int = 64) -> np.ndarray[Any, Any]:
    """Photos that lie `distance` from each other in the mean, in cosine: the same angle off the axis, any way."""
    chance = np.random.default_rng([seed, axis])
    sideways = chance.standard_normal((count, length))
    sideways[:, axis] = 0
    towards = np.sqrt(1 - distance)
    return unit(towards * np.eye(length)[axis] + np.sqrt(distance) * unit(sideways)).astype(np.float32)


# -- clumps ------------------------------------------------------------------------------------------------------


def test_clumps_are_what_lies_outside_and_close_together() -> None:
    vectors = np.concatenate(
        [blob(0, 80), blob(5, 6, spread=0.01), blob(6, CLUMP, spread=0.01), blob(7, CLUMP - 1, spread=0.01)]
    )
    shape = shape_of(vectors, CleanOptions())
    assert (shape.clusters == np.array([0] * 80 + [-1] * 13)).all()
    assert (shape.clumps[:80] == -1).all(), "the class is no clump"
    one, other, few = shape.clumps[80:86], shape.clumps[86:90], shape.clumps[90:]
    assert sorted({*one.tolist(), *other.tolist()}) == [0, 1]
    assert len(set(one)) == len(set(other)) == 1
    assert (few == -1).all(), "fewer photos than a clump has"


def test_the_largest_cluster_is_number_0_wherever_it_stands() -> None:
    vectors = np.concatenate([blob(1, 40), blob(0, 60), blob(2, 40, seed=1)])
    assert (shape_of(vectors, CleanOptions()).clusters == np.array([1] * 40 + [0] * 60 + [2] * 40)).all()


def test_a_class_left_alone_has_no_clumps_and_no_clusters() -> None:
    vectors = np.concatenate([blob(0, 20), blob(5, 9, spread=0.01)])
    shape = shape_of(vectors, CleanOptions())
    assert shape.left_alone is not None
    assert (shape.clusters == -1).all()
    assert (shape.clumps == -1).all()
    assert np.isfinite(shape.distances).all()


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(30, 80), st.integers(0, 30), st.floats(0.05, 1.0), st.booleans())
def test_every_photo_is_of_the_class_or_outside_it(seed: int, good: int, bad: int, eps: float, auto: bool) -> None:
    chance = np.random.default_rng(seed)
    vectors = np.concatenate([blob(0, good, seed, spread=0.2), blob(5, bad, seed, spread=0.3)])
    vectors = vectors[chance.permutation(len(vectors))]
    shape = shape_of(vectors, CleanOptions(eps=eps, auto_eps=auto))
    assert ((shape.clumps == -1) | (shape.clusters == -1)).all()
    found = np.unique(shape.clumps[shape.clumps >= 0])
    assert found.tolist() == list(range(len(found)))
    assert ((shape.distances >= 0) & (shape.distances <= 2)).all()
    own, sizes = np.unique(shape.clusters[shape.clusters >= 0], return_counts=True)
    assert own.tolist() == list(range(len(own)))
    assert (np.diff(sizes) <= 0).all(), "the largest first"


def test_how_dense_a_cluster_must_be_grows_with_the_class() -> None:
    vectors = np.concatenate([blob(0, 400), blob(5, 15, spread=0.01)])
    labels = shape_of(vectors, CleanOptions(min_share=0)).clusters
    assert (labels[400:] == -1).all()
    assert (labels[:400] == 0).all()
    labels = shape_of(vectors, CleanOptions(min_share=0, min_density=0)).clusters
    assert (labels[400:] == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 80), st.integers(0, 15), st.floats(0.05, 1.0))
def test_never_more_than_max_share_of_a_class_goes(seed: int, good: int, bad: int, eps: float) -> None:
    generator = np.random.default_rng(seed)
    vectors = np.concatenate([blob(0, good, seed, spread=0.2), unit(generator.normal(size=(bad + 1, LENGTH)))])
    shape = shape_of(vectors, CleanOptions(eps=eps))
    labels = shape.clusters
    if shape.left_alone is None:
        assert (labels < 0).mean() <= 0.5
        assert (labels == 0).sum() >= 0.2 * len(vectors)
    else:
        assert (labels == -1).all()


# -- eps of its own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inside", "between"), [(0.12, 0.3), (0.55, 0.95)], ids=["tight", "loose"])
def test_auto_eps_separates_densities_that_the_default_does_not(inside: float, between: float) -> None:
    """Noise a little off a tight class joins it at the default; a loose class falls apart there."""
    middle = spread_blob(0, 160, inside)
    sideways = np.eye(64)[1] * np.sqrt(between) * 1.25 + np.eye(64)[0] * np.sqrt(max(0.0, 1 - between))
    few = unit(sideways + 0.02 * np.random.default_rng(9).standard_normal((7, 64))).astype(np.float32)
    vectors = np.concatenate([middle, few])
    truth = np.array([True] * 160 + [False] * 7)

    def right(options: CleanOptions) -> float:
        shape = shape_of(vectors, options)
        return float(((shape.clusters >= 0) == truth).mean()) if shape.left_alone is None else 0.0

    assert right(AUTO) > 0.97
    assert right(CleanOptions()) < right(AUTO)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(30, 120), st.floats(0.001, 3.0), st.integers(0, 20))
def test_a_knee_lies_within_its_limits_and_is_the_eps_that_is_used(
    seed: int, good: int, spread: float, bad: int
) -> None:
    vectors = np.concatenate([blob(0, good, seed, spread), blob(5, bad, seed, spread)])
    shape = shape_of(vectors, AUTO)
    assert AUTO_EPS[0] <= shape.eps <= AUTO_EPS[1]
    assert shape.eps == knee(vectors, AUTO, range(len(vectors)))
    assert (shape.clusters == shape_of(vectors, CleanOptions(eps=shape.eps)).clusters).all()


def test_without_a_knee_the_eps_is_the_given_one() -> None:
    options = CleanOptions(eps=0.21, auto_eps=True)
    same = np.repeat(blob(0, 1), 40, axis=0)
    assert shape_of(same, options).eps == 0.21  # no photo is further than another
    assert shape_of(blob(0, 5), options).eps == 0.21  # too few to have neighbours enough
    assert shape_of(blob(0, 40), CleanOptions(eps=0.21)).eps == 0.21


# -- any size ----------------------------------------------------------------------------------------------------


def test_the_sample_is_by_the_given_order_and_the_rest_joins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of one observation stand together in a folder: the first ones would be no fair sample."""
    monkeypatch.setattr(clusters, "SAMPLE", 60)
    vectors = np.concatenate([blob(5, 60, spread=0.02), blob(0, 300)])
    first = shape_of(vectors, CleanOptions())
    mixed = shape_of(vectors, CleanOptions(), np.random.default_rng(0).permutation(360).tolist())
    assert first.left_alone is not None
    assert mixed.left_alone is None
    assert (mixed.clusters[60:] == 0).mean() > 0.99
    assert (mixed.clusters[:60] == -1).all()
    assert mixed.clumps[:60].tolist() == [0] * 60, "all of a clump, also those outside its sample"


def test_a_class_larger_than_the_sample_is_judged_as_if_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.concatenate([blob(0, 500), blob(1, 300), blob(5, 60, spread=0.01)])
    order = np.random.default_rng(0).permutation(len(vectors)).tolist()
    whole = shape_of(vectors, CleanOptions(), order).clusters
    monkeypatch.setattr(clusters, "SAMPLE", 200)
    shape = shape_of(vectors, CleanOptions(), order)
    sampled = shape.clusters
    assert shape.left_alone is None
    assert ((sampled >= 0) == (whole >= 0)).mean() > 0.99
    assert set(whole[:500]) == {0}
    assert set(whole[500:800]) == {1}


SCRIPT = """
import json, resource
import numpy as np
from shroomcurate.clean import CleanOptions
from shroomcurate.clean.clusters import shape_of
import sklearn.cluster
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
chance = np.random.default_rng(0)
count, length = 100_000, 32
vectors = 0.1 * chance.standard_normal((count, length), np.float32)
noise = np.arange(count) % 10 == 0
vectors[:, 0] += ~noise
vectors[noise, 1 + np.arange(noise.sum()) % 7] += 1
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
before = peak()
shape = shape_of(vectors, CleanOptions(), chance.permutation(count).tolist())
json.dump({
    "before": before, "peak": peak(), "left alone": shape.left_alone,
    "right": float(((shape.clusters < 0) == noise).mean()), "clumps": len(np.unique(shape.clumps[shape.clumps >= 0])),
}, __import__("sys").stdout)
"""


@pytest.mark.slow
def test_a_class_of_a_hundred_thousand_needs_no_matrix_of_all_with_all() -> None:
    """As float32 it would take 40 GB, as the neighbour lists that DBSCAN keeps by itself 65."""
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(result.stdout)
    assert found["left alone"] is None
    assert found["right"] > 0.99
    assert found["clumps"] == 7
    assert found["peak"] - found["before"] < 400


def test_length_of_the_vectors_is_any() -> None:
    for length in (2, LENGTH, 1280):
        vectors = np.concatenate([spread_blob(0, 40, 0.05, length=length), spread_blob(1, 5, 0.01, length=length)])
        assert (shape_of(vectors, CleanOptions()).clusters == np.array([0] * 40 + [-1] * 5)).all()
