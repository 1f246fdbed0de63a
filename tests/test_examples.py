from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import calibration as reference_calibration
from sklearn import metrics as reference

from shroomcurate import runs
from shroomcurate.dataset import Column, Dataset, Receipt, make_table, read_receipt, read_table, write_table
from shroomcurate.errors import DamagedFile
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import SCHEMA as SPLITS
from shroomcurate.split import SplitOptions, split
from shroomcurate.training import TrainOptions, train_baseline
from shroomcurate.training.data import _homes, read_examples
from tests.conftest import selection_rows
from tests.test_groups import judge

CLASSES = ("Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius")
EMBEDDINGS = (Column("path", "string", ""), Column("vector", "list<float>[8]", ""))


@pytest.fixture
def cleaned(selected: Callable[..., Dataset]) -> Dataset:
    """Three classes of 60 photos, two an observation; of each ten, one was removed by itself and two together."""
    dataset = selected(CLASSES, wanted=60)
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    vectors: list[dict[str, object]] = []
    for number, name in enumerate(CLASSES):
        for rank in range(1, 61):
            photo_id = 1000 * (number + 1) + rank
            removed = rank % 10 in (2, 5, 6)  # 1 and 2 are one observation, 5 and 6 another
            facts = {"path": f"images/{name}/{photo_id}.jpg", "photo_id": photo_id, "class": name, "kept": not removed}
            rows.append(facts | {"reason": "scenery" if removed else None})
            centre = 2 * np.eye(8)[(number + removed) % 3]
            vectors.append({"path": facts["path"], "vector": (centre + rng.normal(size=8)).tolist()})
    judge(dataset, rows)
    write_table(dataset.path("embeddings.parquet"), make_table(EMBEDDINGS, vectors), Receipt("embed", {}))
    split(dataset)
    return dataset


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(dataset.path("splits.parquet")).to_pylist()
    return rows


# -- where removed photos go ---------------------------------------------------------------------------------


def test_a_removed_photo_goes_where_its_group_lies_fold_and_all(cleaned: Dataset) -> None:
    examples = read_examples(cleaned)
    home = {row["group"]: (row["split"], row["fold"]) for row in rows_of(cleaned)}
    placed = dict(zip(examples.paths, zip(examples.split, examples.fold.tolist(), strict=True), strict=True))
    judged = read_table(cleaned.path("clean.parquet")).to_pylist()
    expected = {"train": "removed", "test": "removed-test", "val": "removed-val"}
    found = set()
    for row in judged:
        if not row["kept"] and row["photo_id"] % 10 == 2:  # its observation has a kept photo
            group = row["path"].replace(str(row["photo_id"]), str(row["photo_id"] - 1))
            part, fold = home[group]
            assert placed[row["path"]] == (expected[part], fold)
            found.add(part)
    assert found == {"train", "val", "test"}
    counts = examples.counts()
    assert set(counts) == {"train", "val", "test", "removed", "removed-test"}
    assert examples.certificate["crossings"] == 0
    assert examples.certificate["photos"] == len(judged) == len(examples.paths)
    assert set(examples.fold.tolist()) == set(range(5))


def test_groups_of_removed_photos_only_are_whole_and_drawn_anew_by_another_seed(cleaned: Dataset) -> None:
    def drawn() -> dict[str, tuple[str, int]]:
        examples = read_examples(cleaned)
        alone = {
            path: (part, int(fold))
            for path, part, fold in zip(examples.paths, examples.split, examples.fold, strict=True)
            if int(Path(path).stem) % 10 in (5, 6)
        }
        for path, part in alone.items():
            number = int(Path(path).stem)
            other = number + 1 if number % 10 == 5 else number - 1
            assert alone[path.replace(str(number), str(other))] == part
        return alone

    first = drawn()
    assert {part for part, _ in first.values()} == {"removed", "removed-val", "removed-test"}
    assert drawn() == first
    split(cleaned, SplitOptions(seed=1))
    assert drawn() != first


@pytest.mark.parametrize("shares", [(0.7, 0.15, 0.15), (0.5, 0.1, 0.4)])
def test_raw_training_and_raw_test_hold_as_much_of_what_was_removed_as_the_raw_photos(
    cleaned: Dataset, shares: tuple[float, float, float]
) -> None:
    split(cleaned, SplitOptions(*shares))
    home = _homes(cleaned, {"kept": ("train", 4)})
    drawn = [home(str(number)) for number in range(4000)]
    counts = [sum(part == name for part, _ in drawn) / 4000 for name in ("train", "val", "test")]
    assert counts == pytest.approx(shares, abs=0.03)
    for fold in range(5):
        assert sum(each == fold for _, each in drawn) / 4000 == pytest.approx(0.2, abs=0.03)
    assert home("kept") == ("train", 4)


# -- observations and days -----------------------------------------------------------------------------------


def test_each_photo_knows_its_own_observation_also_where_duplicates_make_one_group_of_two(cleaned: Dataset) -> None:
    judged = read_table(cleaned.path("clean.parquet")).to_pylist()
    first, second = (f"images/{CLASSES[0]}/{number}.jpg" for number in (1001, 1003))
    for row in judged:
        row["duplicate_of"] = first if row["path"] == second else None
    judge(cleaned, judged)
    split(cleaned)
    examples = read_examples(cleaned)
    at = {path: row for row, path in enumerate(examples.paths)}
    uuid = {row["photo_id"]: row["observation_uuid"] for row in selection_rows(CLASSES, 60)}
    assert examples.observations == [uuid[int(Path(path).stem)] for path in examples.paths]
    assert examples.groups[at[first]] == examples.groups[at[second]]
    assert examples.observations[at[first]] != examples.observations[at[second]]


def test_a_tree_without_a_selection_has_no_observations(cleaned: Dataset) -> None:
    cleaned.path("selection.parquet").unlink()
    split(cleaned)
    assert set(read_examples(cleaned).observations) == {None}


def give_days(dataset: Dataset) -> None:
    """Let five observers take four photos a day, in the first two classes and in the third on the same days."""
    rows = selection_rows(CLASSES, 60)
    for number, row in enumerate(rows):
        row["observer_id"] = number // 4 % 5
        row["observed_on"] = date(2024, 1, 1) + timedelta(days=number % 120 // 20)
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))


def test_a_split_by_day_is_read_and_certified_by_day_and_a_planted_leak_named(cleaned: Dataset) -> None:
    give_days(cleaned)
    split(cleaned, SplitOptions(same_day=True))
    examples = read_examples(cleaned)
    assert examples.certificate["observer_days"] > 10
    day = {row["photo_id"]: (row["observer_id"], row["observed_on"]) for row in read_selection(cleaned)}
    side: dict[object, set[str]] = {}
    for path, part in zip(examples.paths, examples.split, strict=True):
        of = {"removed": "train", "removed-val": "val", "removed-test": "test"}.get(part, part)
        side.setdefault(day[int(Path(path).stem)], set()).add(of)
    assert all(len(parts) == 1 for parts in side.values())

    rows = rows_of(cleaned)
    receipt = read_receipt(cleaned.path("splits.parquet"))
    assert receipt is not None
    plant = next(row for row in rows if row["split"] == "train")
    observation = {row["photo_id"]: row["observation_uuid"] for row in selection_rows(CLASSES, 60)}
    for row in rows:  # one whole observation, so that only the day is parted
        same = observation[int(Path(row["path"]).stem)] == observation[int(Path(plant["path"]).stem)]
        row["split"] = "test" if same else row["split"]
    write_table(cleaned.path("splits.parquet"), make_table(SPLITS, rows), receipt)
    with pytest.raises(DamagedFile, match=r"observer-day|group"):
        read_examples(cleaned)


def read_selection(dataset: Dataset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(dataset.path("selection.parquet")).to_pylist()
    return rows


# -- the figures once more, by others' code ------------------------------------------------------------------


def test_scikit_learn_finds_the_stored_figures_in_the_stored_predictions(cleaned: Dataset) -> None:
    run = cleaned.path(train_baseline(cleaned, TrainOptions(mode="probe", resamples=20)).run)
    metrics = runs.read_metrics(run)
    table = read_table(run / "predictions.parquet").to_pandas()
    truth, predicted, labels = table["class"], table["predicted"], metrics["classes"]
    precision, recall, f1, support = reference.precision_recall_fscore_support(truth, predicted, labels=labels)
    near = {"abs": 2e-6}  # metrics.json holds six decimals
    assert metrics["test_photos"] == len(table)
    assert metrics["top1"] == pytest.approx(reference.accuracy_score(truth, predicted), **near)
    top5 = [true in json.loads(five) for true, five in zip(truth, table["top5"], strict=True)]
    assert metrics["top5"] == pytest.approx(np.mean(top5), **near)
    assert metrics["confusion"] == reference.confusion_matrix(truth, predicted, labels=labels).tolist()
    for name, figures in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert metrics[f"macro_{name}"] == pytest.approx(figures.mean(), **near)
        each = [metrics["per_class"][label][name] for label in labels]
        assert each == pytest.approx(figures.tolist(), **near)
    assert [metrics["per_class"][label]["photos"] for label in labels] == support.tolist()
    for ece, certainty in (("ece", table["probability"]), ("ece_calibrated", table["calibrated"])):
        hits = truth == predicted
        right, confidence = reference_calibration.calibration_curve(hits, certainty, n_bins=15)
        photos = np.histogram(certainty, bins=np.linspace(0, 1, 16))[0]
        assert metrics[ece] == pytest.approx((photos[photos > 0] / len(table)) @ abs(right - confidence), abs=1e-5)
