"""The cleaning benchmark counts as it says, its plans mix nothing up, and its rivals are what they are called."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from benchmarks.clean import options, settings
from benchmarks.clean_scale import COPY_EVERY, NOISE_EVERY, make, measure, vectors_of
from benchmarks.clean_score import best_f1, calibration_error, figures, means, rank_figures, reasons, span
from benchmarks.clean_teach import ask_line, ask_random, verdict_curve
from benchmarks.outliers import EPS, MIN_SAMPLES, RIVALS, Rival, dbscan, distances, rival_figures
from benchmarks.planted import (
    KINDS,
    OK,
    Collection,
    Judged,
    Material,
    Picture,
    draw,
    material,
    options_from,
    plant,
    read_pictures,
)
from shroomcurate.clean import CleanOptions, CleanSummary
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.vectors import read_vectors, unit_length
from shroomcurate.verdicts import read_verdicts

from .conftest import jpeg

BIG = ("Amanita muscaria", "Amanita vaginata", "Boletus edulis", "Boletus erythropus")
GOOD, PLANTED = 16, 5
CLASSIC = EmbedOptions(embedder="classic")


def judged(kinds: list[str], reasons: list[str], scores: list[float], classes: list[str] | None = None) -> Judged:
    return Judged(
        paths=[f"images/A/{number}.jpg" for number in range(len(kinds))],
        kinds=np.array(kinds, str),
        classes=np.array(classes or ["A"] * len(kinds), str),
        reasons=np.array(reasons, str),
        scores=np.array(scores, float),
        vectors=unit_length(np.random.default_rng(0).standard_normal((len(kinds), 8)).astype(np.float32)),
        summary=CleanSummary(0, 0, {}, {}, {}, {}, 0, 0),
    )


def test_the_calibration_error_is_what_scores_promise_too_much() -> None:
    noise = np.array([True, False] * 50)
    assert calibration_error(noise, np.full(100, 0.5)) == 0
    assert calibration_error(noise, np.full(100, 0.9)) == pytest.approx(0.4)
    assert calibration_error(noise, noise.astype(float)) == 0


photos = st.lists(
    st.tuples(
        st.sampled_from([OK, OK, OK, "hand", "drawing"]),
        st.sampled_from(["", "", "outlier", "duplicate"]),
        st.integers(0, 10).map(lambda tenth: tenth / 10),  # ties are common
        st.sampled_from(["A", "B"]),
    ),
    min_size=1,
    max_size=40,
)


class TestTheScorer:
    @hypothesis_settings(max_examples=50)
    @given(photos)
    def test_its_figures_are_those_of_scikit_learn(self, rows: list[tuple[str, str, float, str]]) -> None:
        one = judged(*map(list, zip(*rows, strict=True)))
        # The duplicates rule, said once more: a good photo that is out as a duplicate counts nowhere.
        rows = [row for row in rows if row[0] != OK or row[1] != "duplicate"]
        truth, out = [kind != OK for kind, *_ in rows], [bool(reason) for _, reason, *_ in rows]
        scores = [score for _, _, score, _ in rows]
        found = figures(one)
        if any(out):
            assert found["precision"] == pytest.approx(precision_score(truth, out))
        if any(truth):
            assert found["recall"] == pytest.approx(recall_score(truth, out))
            assert found["F1"] == pytest.approx(f1_score(truth, out))
            thresholds = [f1_score(truth, [score >= line for score in scores]) for line in set(scores)]
            assert found["best F1"] == pytest.approx(max(thresholds))
            assert 0 <= found["known F1"] <= 1
        else:
            assert math.isnan(found["F1"])
        if any(truth) and not all(truth):
            assert found["AP"] == pytest.approx(average_precision_score(truth, scores))
        for kind in {"hand", "drawing"} & {row[0] for row in rows}:
            own = [reason for each, reason, *_ in rows if each == kind]
            assert found[f"recall of {kind}"] == pytest.approx(sum(map(bool, own)) / len(own))

    @hypothesis_settings(max_examples=50)
    @given(photos, st.integers(1, 5))
    def test_good_photos_that_go_as_duplicates_change_nothing_but_their_count(
        self, rows: list[tuple[str, str, float, str]], more: int
    ) -> None:
        rows = [*rows, (OK, "", 0.5, "A"), (OK, "", 0.5, "B")]
        fewer = [row for row in rows if row[0] != OK or row[1] != "duplicate"]
        more_rows = [*rows, *[(OK, "duplicate", 1.0, "A")] * more]
        one, other = (figures(judged(*map(list, zip(*each, strict=True)))) for each in (fewer, more_rows))
        assert other["duplicates"] == len(more_rows) - len(fewer)
        for name in one.keys() - {"good", "duplicates"}:
            assert one[name] == pytest.approx(other[name], nan_ok=True), name

    def test_noise_that_goes_as_a_duplicate_is_found(self) -> None:
        found = figures(judged([OK, OK, "hand", "hand"], ["", "", "duplicate", "outlier"], [0, 0, 1, 1]))
        assert (found["recall"], found["precision"], found["noise as duplicate"]) == (1, 1, 1)

    def test_lost_is_the_share_of_the_good_photos_that_count(self) -> None:
        found = figures(judged([OK] * 5 + ["hand"], ["outlier", "duplicate", "", "", "", ""], [0.0] * 6))
        assert found["lost"] == 1 / 4
        assert (found["precision"], found["recall"], found["F1"]) == (0, 0, 0)

    def test_without_noise_only_what_is_lost_has_a_figure(self) -> None:
        found = figures(judged([OK] * 4, ["outlier", "", "", ""], [0.0] * 4))
        assert found["lost"] == 1 / 4
        assert all(math.isnan(found[name]) for name in ("recall", "F1", "AP", "best F1", "known F1", "class F1"))

    def test_the_known_share_is_taken_of_each_class(self) -> None:
        kinds, classes = ["hand", OK, OK, "hand", "hand", OK], list("AAABBB")
        one = judged(kinds, [""] * 6, [0.1, 0.0, 0.0, 0.9, 0.8, 0.7], classes)
        assert figures(one)["known F1"] == 1
        assert best_f1(one.noise, one.scores) < 1  # one threshold for both classes

    def test_reasons_are_counted_for_each_kind_and_good_photos_come_first(self) -> None:
        one = judged(["hand", OK, OK], ["outlier", "duplicate", ""], [0.0] * 3)
        assert list(reasons(one).items()) == [
            (OK, Counter({"duplicate": 1, "kept": 1})),
            ("hand", Counter({"outlier": 1})),
        ]

    def test_a_mean_leaves_out_what_is_undefined(self) -> None:
        assert means([{"F1": math.nan, "AP": 1.0}, {"F1": 0.5, "AP": 0.0}]) == {"F1": 0.5, "AP": 0.5}
        assert span([0.25, 0.75, math.nan]) == "0.500 (0.250–0.750)"
        assert span([0.25, 0.25]) == "0.250"
        assert span([math.nan]) == "–"


class TestRivals:
    @given(st.integers(0, 1000), st.integers(2, 40), st.floats(0.05, 1.2))
    def test_the_score_of_dbscan_is_the_least_eps_at_which_a_photo_is_no_noise(
        self, seed: int, count: int, eps: float
    ) -> None:
        vectors = unit_length(np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32))
        scores, default = dbscan(vectors)
        for line, out in ((eps, scores > eps), (EPS, default)):
            model = DBSCAN(eps=line, min_samples=MIN_SAMPLES, metric="precomputed").fit(distances(vectors))
            assert (out == (model.labels_ < 0)).all()

    @pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if not rival.missing])
    def test_each_gives_a_far_photo_the_highest_score(self, name: str) -> None:
        chance = np.random.default_rng(0)
        near = np.ones(16) + 0.3 * chance.standard_normal((60, 16))
        far = np.where(np.arange(16) % 2, -1.0, 1.0)
        scores, out = RIVALS[name].find(unit_length(np.vstack([near, far]).astype(np.float32)))
        assert scores.argmax() == 60
        assert scores.shape == out.shape == (61,)

    @pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if not rival.missing])
    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_each_takes_a_class_of_a_few_photos(self, name: str, count: int) -> None:
        scores, out = RIVALS[name].find(unit_length(np.eye(8, dtype=np.float32)[:count]))
        assert np.isfinite(scores).all()
        assert scores.shape == out.shape == (count,)

    def test_they_are_judged_on_the_photos_that_count_for_cleaning(self) -> None:
        one = judged([OK, OK, "hand", "hand"], ["duplicate", "", "", ""], [0.0] * 4)
        worst = Rival(lambda _: (np.array([9.0, 0.0, 1.0, 2.0]), np.array([True, False, True, True])))
        found = rival_figures(worst, one)
        assert [found[name] for name in ("precision", "recall", "AP", "known F1", "best F1", "lost")] == [
            *[1, 1, 1, 1, 1, 0]
        ]

    def test_what_is_not_installed_is_said(self) -> None:
        assert Rival(dbscan, needs="no_such_package").missing
        assert not Rival(dbscan, needs="numpy").missing


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like inat-mini: four big species, two small ones, planted pictures in all, and photos not served."""
    folder = tmp_path_factory.mktemp("mini")
    lines = ["photo_id,species,kind,state"]
    photo_id = 1000
    for number, species in enumerate([*BIG, "Agaricus augustus", "Tylopilus felleus"]):
        few = species not in BIG
        kinds = [OK] * (4 if few else GOOD) + [KINDS[(number + each) % 5] for each in range(2 if few else PLANTED)]
        for kind in [*kinds, "gone"]:
            photo_id += 1
            state, kind = ("gone", OK) if kind == "gone" else ("served", kind)  # noqa: PLW2901
            lines.append(f"{photo_id},{species},{kind},{state}")
            if state == "served":
                hue = 35 * number if kind == OK else 20 + 50 * KINDS.index(kind)
                (folder / "photos" / str(photo_id)).mkdir(parents=True)
                (folder / "photos" / str(photo_id) / "medium.jpg").write_bytes(jpeg(photo_id, hue, (64, 48)))
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def pictures(mini: Path) -> list[Picture]:
    return read_pictures(mini)


@pytest.fixture(scope="module")
def collection(pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return Collection(pictures, tmp_path_factory.mktemp("work"), CLASSIC)


def every(stuff: Material) -> set[Picture]:
    return {each for group in (stuff.big, stuff.small) for rows in group.values() for each in rows if each.kind == OK}


class TestPlans:
    def test_the_halves_share_no_photo_and_are_all_together(self, pictures: list[Picture]) -> None:
        first, second, whole = (material(pictures, half) for half in ("first", "second", "all"))
        assert list(first.big) == ["Amanita_muscaria", "Amanita_vaginata"]
        assert list(second.big) == ["Boletus_edulis", "Boletus_erythropus"]
        assert not every(first) & every(second)
        assert every(first) | every(second) == every(whole)
        assert not set(first.noise) & set(second.noise)
        assert {*first.noise, *second.noise} == set(whole.noise)
        assert {each.kind for each in first.noise} == {each.kind for each in second.noise} == set(KINDS)

    def test_only_photos_that_are_served_take_part(self, pictures: list[Picture]) -> None:
        assert len(pictures) == 4 * (GOOD + PLANTED) + 2 * 6
        assert all(each.file.is_file() for each in pictures)

    @given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 30), st.floats(0, 0.5), st.integers(0, 9))
    def test_each_class_holds_the_share_asked_for_and_nothing_stands_twice(
        self, one: int, other: int, noise: int, share: float, seed: int
    ) -> None:
        good = {
            name: [Picture(start + i, name, OK, Path("x.jpg")) for i in range(count)]
            for name, count, start in (("A", one, 0), ("B", other, 100))
        }
        pool = [Picture(200 + i, "C", "hand", Path("x.jpg")) for i in range(noise)]
        plan = plant(good, pool, share, seed)
        assert plan == plant(good, pool, share, seed)
        ids = [each.photo_id for rows in plan.values() for each in rows]
        assert len(ids) == len(set(ids))
        enough = noise >= share / (1 - share) * (one + other) + 1
        for name, rows in plan.items():
            own = sum(each.kind != OK for each in rows)
            assert abs(own - share * len(rows)) <= (0.5 if enough else 1.5)
            if enough:
                assert len(rows) - own == len(good[name])

    def test_another_seed_plants_other_pictures(self, pictures: list[Picture]) -> None:
        stuff = material(pictures, "all")
        assert plant(stuff.good, stuff.noise, 0.1, 0) != plant(stuff.good, stuff.noise, 0.1, 1)
        assert draw(stuff.good, 5, 0) != draw(stuff.good, 5, 1)

    def test_each_setting_says_what_it_plants(self, pictures: list[Picture]) -> None:
        chosen = options(["shared", "--seeds", "2", "--planted", "0,10"])
        found = {name: plans for _, name, plans in settings(chosen.only, material(pictures, "all"), chosen)}
        kinds = {
            name: {each.kind for plan in plans for rows in plan.values() for each in rows} - {OK}
            for name, plans in found.items()
        }
        assert kinds["0 % planted"] == set()
        assert kinds["only hand"] == {"hand"}
        assert kinds["mislabels"] == {"mislabel"}
        assert len(found["0 % planted"]) == len(found["as it is"]) == 1
        assert len(found["10 % planted"]) == 2
        assert len(found["many"][0]) == 6
        mislabels = [each for plan in found["mislabels"] for rows in plan.values() for each in rows]
        assert {each.species for each in mislabels if each.kind == "mislabel"} <= {
            *["Agaricus_augustus", "Tylopilus_felleus"]
        }


class TestTheRun:
    def test_vectors_come_from_the_whole_tree_and_are_those_of_the_photos(
        self, collection: Collection, pictures: list[Picture]
    ) -> None:
        plan = plant(material(pictures, "first").good, material(pictures, "first").noise, 0.1, 0)
        dataset = collection.build(plan, "reused")
        taken_over = read_vectors(dataset.path("embeddings.parquet"))
        bytes_before = dataset.path("embeddings.parquet").read_bytes()
        summary = embed(dataset, CLASSIC)
        assert (summary.computed, summary.reused) == (0, sum(map(len, plan.values())))
        assert dataset.path("embeddings.parquet").read_bytes() == bytes_before
        dataset.path("embeddings.parquet").unlink()
        embed(dataset, CLASSIC)
        assert (read_vectors(dataset.path("embeddings.parquet")) == taken_over).all()

    def test_a_plan_is_cleaned_as_a_folder_of_somebody_else_and_every_photo_has_a_row(
        self, collection: Collection, pictures: list[Picture]
    ) -> None:
        stuff = material(pictures, "all")
        dataset = collection.build(stuff.big, "judged")
        one = collection.judge(stuff.big, dataset, CleanOptions(min_samples=3))
        assert dataset.foreign
        assert Counter(one.kinds.tolist()) == Counter(each.kind for rows in stuff.big.values() for each in rows)
        assert (one.reasons != "").sum() == one.summary.removed == sum(1 for _ in dataset.removed.glob("*/*/*"))
        assert all(file.is_file() for file in collection.files.values()), "cleaning moves links, never the photos"
        assert one.vectors.shape[0] == len(one.paths)

    def test_verdicts_are_answered_by_the_truth_and_raise_f1(
        self, collection: Collection, pictures: list[Picture]
    ) -> None:
        stuff = material(pictures, "all")
        curve = verdict_curve(collection, stuff.big, [0, 4, 200], ask_random, CleanOptions(min_samples=3))
        assert [curve[step]["verdicts"] for step in curve] == [0, 4, sum(map(len, stuff.big.values()))]
        assert curve[0]["F1"] == curve[0]["rest F1"] == curve[0]["before F1"]
        assert curve[200]["F1"] == 1
        assert curve[200]["noise among them"] == 4 * PLANTED

    def test_a_person_is_never_asked_twice(self, collection: Collection, pictures: list[Picture]) -> None:
        stuff = material(pictures, "first")
        dataset = collection.build(stuff.big, "asked")
        collection.judge(stuff.big, dataset, CleanOptions())
        for ask in (ask_line, ask_random):
            assert len(set(ask(dataset, 7))) == 7
        verdict_curve(collection, stuff.big, [5, 10], ask_line, CleanOptions())
        assert len(read_verdicts(collection.build(stuff.big, "asked"))) == 0

    def test_options_of_clean_are_read_by_their_type(self) -> None:
        found = options_from(["eps=0.25", "min_samples=7", "duplicates=False"])
        assert (found.eps, found.min_samples, found.duplicates) == (0.25, 7, False)


class TestScale:
    def test_vectors_have_classes_noise_and_copies(self) -> None:
        each = 200
        vectors = vectors_of(3, each, 64)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        good = [row for row in range(each) if row % NOISE_EVERY and row % COPY_EVERY]
        first, second, noise = vectors[good], vectors[each:][good], vectors[:each:NOISE_EVERY]
        within, across = distances(first), 1 - first @ second.T
        assert within[~np.eye(len(good), dtype=bool)].mean() < 0.3 < across.mean()
        assert (1 - noise @ first.T).mean() > 0.3
        assert (vectors[COPY_EVERY] == vectors[COPY_EVERY - 1]).all()

    def test_the_folder_is_one_that_embedding_takes_over_whole(self, tmp_path: Path) -> None:
        dataset = make(tmp_path, 3, 110, CLASSIC)
        assert embed(dataset, CLASSIC).computed == 0

    @pytest.mark.slow
    def test_it_is_cleaned_in_a_process_of_its_own(self, tmp_path: Path) -> None:
        took = measure(tmp_path, 2, 60, CLASSIC)
        assert took.photos == 120
        assert took.cpu > 0
        assert took.seconds > 0
        assert took.peak > 20
        assert not list(tmp_path.iterdir())[1:], "nothing is left but the folder of the few"


def test_all_kinds_of_figures_have_one_way_of_counting() -> None:
    noise, out = np.array([True, True, False, False]), np.array([True, False, True, False])
    found = rank_figures(noise, np.array(["hand", "hand", OK, OK]), out, None)
    assert (found["precision"], found["recall"], found["lost"]) == (0.5, 0.5, 0.5)
    assert math.isnan(found["AP"])
