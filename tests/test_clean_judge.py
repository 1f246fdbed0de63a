"""Judging: what the rule, the noise model, the evidence and a person each may say, and that all runs say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.clean.clusters import CLUMP, shape_of
from shroomcurate.clean.judge import _marks, _shapes
from shroomcurate.clean.noise import LEAST_MARKS
from shroomcurate.clean.reasons import NO_REASON, reasons
from shroomcurate.clean.tables import Photographs
from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.embed import TABLE as EMBEDDINGS
from shroomcurate.evidence import EVIDENCE
from shroomcurate.progress import silent
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.verdicts import REASONS, Verdict
from tests.cleaning import (
    CLASSES,
    KEEP,
    LENGTH,
    NOISE,
    REMOVE,
    blob,
    cleaned,
    decide,
    known,
    listing,
    noisy_classes,
    paths_of,
    photos,
    say,
    unit,
    with_clump,
)
from tests.test_clean_reasons import GOOD, ROWS

SCREEN = GOOD | ROWS["_screen"][1]
DRAWING = GOOD | ROWS["_drawing"][1]


# -- series ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learn", [True, False])
def test_a_clump_of_its_own_goes_unless_one_observation_or_observer_made_most_of_it(learn: bool) -> None:
    """Cut open, photographed six times: strange to its class, and yet of it."""
    classes, clump = with_clump(9)
    photo, _ = decide(known(classes), learn=learn)
    assert all(photo[path].reason for path in clump)
    one = dict.fromkeys(clump, "observation")
    photo, _ = decide(known(classes, observations=one), learn=learn)
    assert not any(photo[path].reason for path in clump)
    photo, _ = decide(known(classes, observers=dict.fromkeys(clump[:4], 7) | {clump[4]: 8}), learn=learn)
    assert not any(photo[path].reason for path in clump)
    half = dict.fromkeys(clump[:3], "one") | {path: path for path in clump[3:]}
    photo, _ = decide(known(classes, observations=half), learn=learn)
    assert all(photo[path].reason for path in clump), "half is not most"


def test_a_series_that_looks_like_other_classes_noise_goes() -> None:
    classes, clump = with_clump(NOISE)
    series = known(classes, observations=dict.fromkeys(clump, "one"))
    photo, _ = decide(series)
    assert {photo[path].decided_by for path in clump} == {"model"}
    assert all(photo[path].reason for path in clump)
    photo, _ = decide(series, learn=False)
    assert not any(photo[path].reason for path in clump)


def test_the_selection_says_which_photos_are_a_series(tmp_path: Path) -> None:
    classes, clump = with_clump(9)
    ids = {path: 100 + number for number, path in enumerate(paths_of(CLASSES[0], range(66)))}
    dataset = photos(tmp_path, classes, photo_id=ids)
    assert {rows_of["reason"] for path, rows_of in cleaned(dataset).items() if path in clump} == {"outlier"}
    for column, value in (("observation_uuid", "one"), ("observer_id", 3)):
        selected = [
            {"photo_id": number, "rank_in_class": number - 99, column: value if path in clump else None}
            for path, number in ids.items()
        ]
        write_table(dataset.path("selection.parquet"), make_table(SELECTION, selected), Receipt("query", {}))
        assert {rows_of["reason"] for path, rows_of in cleaned(dataset).items() if path in clump} == {None}


# -- who may be removed ------------------------------------------------------------------------------------------


def test_a_class_left_alone_keeps_all_whatever_the_model_and_the_evidence_say() -> None:
    classes = noisy_classes() | {"Few": np.concatenate([blob(3, 20), blob(NOISE, 5, seed=3, spread=0.05)])}
    screens = dict.fromkeys(paths_of("Few", range(3)), SCREEN)
    photo, judged = decide(known(classes, evidence=screens))
    assert set(judged.left_alone) == {"Few"}
    few = paths_of("Few", range(25))
    assert not any(photo[path].reason for path in few)
    noise, own = [photo[path].score for path in few[20:]], [photo[path].score for path in few[:20]]
    assert min(noise) > 0.5 > max(own), "the table shows what would have been thought of them"
    photo, _ = decide(known(classes), {few[0]: REMOVE})
    assert [path for path in few if photo[path].reason] == few[:1], "a person may"


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(0, 40), st.booleans(), st.booleans())
def test_never_more_than_max_share_of_a_class_goes_by_rule_or_model(
    seed: int, max_share: float, screens: int, learn: bool, auto_eps: bool
) -> None:
    chance = np.random.default_rng(seed)
    classes = {
        name: np.concatenate(
            [blob(axis, 40, seed, 0.2), blob(NOISE, int(chance.integers(0, 25)), seed + axis, 0.1)]
        ).astype(np.float32)
        for axis, name in enumerate(CLASSES)
    }
    evidence = dict.fromkeys(paths_of(CLASSES[0], range(screens)), SCREEN)
    said = {path: Verdict(chance.random() < 0.5, None) for path in paths_of(CLASSES[1], range(30, 45))}
    said = {path: KEEP if verdict.keep else REMOVE for path, verdict in said.items()}
    photo, judged = decide(known(classes, evidence), said, max_share=max_share, learn=learn, auto_eps=auto_eps)
    for name, vectors in classes.items():
        mine = [each for each in photo.values() if each.class_name == name]
        gone = [each for each in mine if each.reason and each.decided_by != "person"]
        assert len(gone) <= max_share * len(vectors)
        if name in judged.left_alone:
            assert not gone
    for each in photo.values():
        assert each.reason is None or each.reason in REASONS
        assert each.decided_by == ("person" if each.path in said else each.decided_by)


# -- what evidence may say ---------------------------------------------------------------------------------------


def doubtful(inside: int, noise: Mapping[str, float]) -> tuple[Photographs, list[str], list[str]]:
    """Drawings in each class: within eps of the species, and leaning towards the other thing. `noise` is known of that.

    Returns the photographs, the drawings, and all others within their class.
    """
    classes = noisy_classes()
    for vectors in classes.values():
        vectors[:inside] = unit(vectors[:inside] + 0.5 * np.eye(LENGTH)[NOISE])
    drawings = [path for name in CLASSES for path in paths_of(name, range(inside))]
    good = [path for name in CLASSES for path in paths_of(name, range(inside, 60))]
    outside = [path for name in CLASSES for path in paths_of(name, range(60, 68))]
    evidence = dict.fromkeys(drawings, DRAWING) | dict.fromkeys(good, GOOD) | dict.fromkeys(outside, noise)
    return known(classes, evidence), drawings, good


def test_drawings_within_their_class_go_when_the_model_finds_them_like_the_noise_of_other_classes() -> None:
    """They were taught neither as noise nor as examples of what belongs: then they would stay."""
    photographs, drawings, good = doubtful(3, noise=DRAWING)
    photo, _ = decide(photographs)
    for path in drawings:
        assert (photo[path].reason, photo[path].decided_by, photo[path].cluster) == ("drawing", "model", 0), path
    assert not any(photo[path].reason for path in good)
    photo, judged = decide(photographs, learn=False)
    assert not judged.left_alone
    assert {(photo[path].reason, photo[path].decided_by) for path in drawings} == {(None, "rule")}


def test_drawings_are_judged_by_their_looks_and_the_more_noise_is_drawn_the_worse() -> None:
    """No evidence is sure: what a rule sees means noise as far as photos outside their classes show it."""
    scores = []
    for noise in (GOOD, DRAWING):
        photographs, drawings, _ = doubtful(3, noise)
        photo, _ = decide(photographs)
        scores.append(np.array([photo[path].score for path in drawings]))
    assert (scores[0] < scores[1]).all()
    assert np.median(scores[0]) < 0.5


@pytest.mark.parametrize("rule", ROWS)
@pytest.mark.parametrize("learn", [True, False])
def test_a_lone_photo_of_doubtful_evidence_that_looks_like_its_class_stays(rule: str, learn: bool) -> None:
    every = [path for name in CLASSES for path in paths_of(name, range(68))]
    photographs = known(noisy_classes(), dict.fromkeys(every, GOOD) | {every[0]: GOOD | ROWS[rule][1]})
    photo, _ = decide(photographs, learn=learn)
    assert (photo[every[0]].reason, photo[every[0]].decided_by) == (None, "rule")
    assert photo[every[0]].score < 0.5


#: What may be known of a photo: nothing, that it is good, or what a rule sees.
KNOWN = [{}, GOOD, *(GOOD | seen for _, seen, _ in ROWS.values())]


def any_evidence(seed: int) -> tuple[Photographs, list[str]]:
    """A class and what lies around it, of any evidence, and the reason that each photo would have."""
    chance = np.random.default_rng(seed)
    vectors = np.concatenate([blob(0, 60, seed, 0.15), unit(chance.normal(size=(9, LENGTH)))])
    evidence = {path: KNOWN[chance.integers(len(KNOWN))] for path in paths_of("A", range(69))}
    photographs = known({"A": vectors}, evidence=evidence)
    return photographs, reasons(photographs.evidence).tolist()


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0.1, 0.6))
def test_without_learning_dbscan_alone_decides_and_evidence_says_why(seed: int, eps: float) -> None:
    photographs, why = any_evidence(seed)
    photo, judged = decide(photographs, learn=False, eps=eps, max_share=1)
    outside = shape_of(unit(photographs.vectors), CleanOptions(eps=eps, max_share=1)).clusters < 0
    for path, out, reason in zip(photographs.paths, outside.tolist(), why, strict=True):
        assert photo[path].reason == (reason if out and not judged.left_alone else None)
        assert photo[path].decided_by == "rule"
    assert judged.trust is None


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_a_mark_is_noise_outside_belongs_inside_and_none_where_evidence_inside_gives_a_reason(seed: int) -> None:
    photographs, why = any_evidence(seed)
    by_class = {"A": range(69)}
    shapes = _shapes(photographs, by_class, CleanOptions(), silent)
    assume(shapes["A"].left_alone is None)
    marks, _, _ = _marks(photographs, by_class, shapes, np.array(why))
    for mark, cluster, reason in zip(marks.tolist(), shapes["A"].clusters.tolist(), why, strict=True):
        assert mark == (1 if cluster < 0 else -1 if reason == NO_REASON else 0)


def test_without_a_model_too_a_score_above_one_half_goes(tmp_path: Path) -> None:
    """As clean.parquet's description of `score` has it."""
    classes = {CLASSES[0]: np.concatenate([blob(0, 50), blob(1, 40), blob(NOISE, 4)])}
    judged = cleaned(photos(tmp_path, classes), learn=False)
    assert sum(not row["kept"] for row in judged.values()) == 4
    assert all((row["score"] > 0.5) == (not row["kept"]) for row in judged.values())
    inside, outside = ([row for row in judged.values() if row["kept"] is kept] for kept in (True, False))
    for side in (inside, outside):
        far = sorted(side, key=lambda row: row["distance"])
        assert [row["score"] for row in far] == sorted(row["score"] for row in side), "the farther the higher"
        assert far[0]["score"] < far[-1]["score"]


# -- all runs say the same ---------------------------------------------------------------------------------------


def whole(tmp_path: Path) -> Dataset:
    """A dataset in which every part has something to say: rule, model, evidence, series, verdicts and duplicates."""
    classes = noisy_classes(bad=CLUMP + LEAST_MARKS)
    every = [path for name in CLASSES for path in paths_of(name, range(69))]
    inside = [path for name in CLASSES for path in paths_of(name, range(3))]
    screens = inside + paths_of(CLASSES[1], range(60, 69))
    ids = {path: 100 + number for number, path in enumerate(every)}
    dataset = photos(
        tmp_path,
        classes,
        evidence=dict.fromkeys(every, GOOD) | dict.fromkeys(screens, SCREEN),
        photo_id=ids,
        same=dict.fromkeys([every[7], every[11]], "one") | dict.fromkeys([every[20], every[100]], "two"),
    )
    series = set(paths_of(CLASSES[2], range(60, 69)))
    selected = [
        {"photo_id": number, "rank_in_class": 1, "observation_uuid": "one" if path in series else path}
        for path, number in ids.items()
    ]
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, selected), Receipt("query", {}))
    say(dataset, f"{every[5]},remove,too_far,,", f"{every[62]},keep,,,")
    return dataset


@pytest.mark.parametrize("auto_eps", [False, True])
def test_any_run_ends_with_the_same_bytes(tmp_path: Path, auto_eps: bool) -> None:
    dataset = whole(tmp_path)
    before = listing(dataset)
    options = CleanOptions(auto_eps=auto_eps, suggest=7)
    dry = clean(dataset, CleanOptions(auto_eps=auto_eps, suggest=7, dry_run=True))
    assert listing(dataset) == before
    assert not dataset.path("clean.parquet").exists()
    real = clean(dataset, options)
    first, files = dataset.path("clean.parquet").read_bytes(), listing(dataset)
    assert set(real.decided_by) == {"rule", "model", "person"}
    assert set(real.reasons) == {"duplicate", "outlier", "screenshot", "too_far"}
    for name in ("kept", "removed", "classes", "reasons", "decided_by", "left_alone", "eps", "trust", "suggestions"):
        assert getattr(dry, name) == getattr(real, name), name
    assert real.moved_out == real.removed
    again = clean(dataset, options)
    assert (again.moved_out, again.moved_back) == (0, 0)
    assert dataset.path("clean.parquet").read_bytes() == first
    clean(dataset, CleanOptions(auto_eps=auto_eps))
    assert dataset.path("clean.parquet").read_bytes() == first, "suggestions change no judgement"
    clean(dataset, CleanOptions(eps=1.5, learn=False))
    assert dataset.path("clean.parquet").read_bytes() != first
    assert listing(dataset) != files
    clean(dataset, options)
    assert dataset.path("clean.parquet").read_bytes() == first
    assert listing(dataset) == files


def test_the_table_holds_the_evidence_of_the_embeddings(tmp_path: Path) -> None:
    dataset = whole(tmp_path)
    table = read_table(dataset.path(EMBEDDINGS))
    sharpness = table.column_names.index("sharpness")
    some = table["sharpness"].to_pylist()
    some[4] = None
    table = table.set_column(sharpness, table.schema.field("sharpness"), pa.array(some, pa.float32()))
    write_table(dataset.path(EMBEDDINGS), table, Receipt("embed", {}))
    judged = cleaned(dataset)
    for row in table.to_pylist():
        for column in EVIDENCE:
            assert judged[row["path"]][column.name] == row[column.name]
    assert judged[table["path"][4].as_py()]["sharpness"] is None
