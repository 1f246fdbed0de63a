"""The five commands on real photographs and real weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.real_pipeline import Outcome, run_pipeline, table
from shroomcurate.photos import check_photo

pytestmark = [pytest.mark.shared, pytest.mark.xdist_group("real pipeline"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def outcome(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_pipeline(shared, tmp_path_factory.mktemp("real"))


def test_every_photo_asked_for_ends_as_the_truth_says(outcome: Outcome) -> None:
    assert outcome.mismatches == []
    assert outcome.found["gone"] > 0
    assert outcome.found["corrupt"] > 0


def test_every_hole_is_filled_from_the_reserve_and_n_is_n(outcome: Outcome) -> None:
    downloads = outcome.dataset.frame("downloads.parquet")
    whole = downloads[downloads.status == "ok"]
    assert whole.groupby("class").size().to_dict() == {
        "Amanita_muscaria": 200,
        "Amanita_vaginata": 200,
        "Boletus_edulis": 200,
        "Boletus_erythropus": 200,
    }
    holes = downloads[downloads.status != "ok"].groupby("class").size()
    asked = downloads[downloads.role == "reserve"].groupby("class").size()
    assert asked.to_dict() == holes.to_dict(), "a hole makes one more photo be asked for, also a hole in the reserve"


def test_the_class_folders_hold_what_the_tables_say(outcome: Outcome) -> None:
    dataset = outcome.dataset
    judged = dataset.frame("clean.parquet")
    for row in judged.itertuples():
        assert dataset.locate(row.path, None if row.kept else row.reason).is_file()
    kept = {str(path.relative_to(dataset.root)) for path in dataset.images.glob("*/*")}
    assert kept == set(judged[judged.kept].path)
    downloads = dataset.frame("downloads.parquet")
    assert set(downloads[downloads.status == "ok"].path) == set(judged.path)
    for path in sorted(kept)[::50]:
        check_photo((dataset.root / path).read_bytes())


def test_cleaning_reaches_an_f1_of_four_fifths(outcome: Outcome) -> None:
    assert outcome.score is not None
    assert outcome.score.f1 >= 0.80
    assert outcome.score.noise >= 50


def test_the_baseline_learns_and_its_split_does_not_leak(outcome: Outcome) -> None:
    baseline = outcome.results["train-baseline"]
    assert baseline["top1"] >= 0.75
    assert (
        baseline["raw_vs_clean"]["difference"]["top1"]["low"] <= baseline["raw_vs_clean"]["difference"]["top1"]["high"]
    )
    dataset = outcome.dataset
    parts = dataset.frame("splits.parquet").merge(dataset.frame("clean.parquet"), on="path")
    parts = parts.merge(dataset.frame("selection.parquet"), on="photo_id")
    assert parts.groupby("observation_uuid")["split"].nunique().max() == 1
    assert parts.groupby("group")["split"].nunique().max() == 1


def test_the_table_of_the_readme_has_a_line_for_each_command(outcome: Outcome) -> None:
    assert table(outcome).count("\n") == 6
