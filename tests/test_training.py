from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from shroomcurate import runs
from shroomcurate.dataset import Column, Dataset, Receipt, make_table, read_receipt, read_table, write_table
from shroomcurate.errors import BadOption, DamagedFile, StageMissing, TooLittleData
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.split import SCHEMA as SPLITS
from shroomcurate.split import SplitOptions, split
from shroomcurate.training import TrainOptions, train_baseline
from shroomcurate.training.data import read_examples
from shroomcurate.training.probe import fit_head
from shroomcurate.training.results import _worse_calibrated
from tests.test_groups import judge

PROBE = TrainOptions(mode="probe", resamples=50)
EMBEDDINGS = (Column("path", "string", ""), Column("vector", "list<float>[8]", ""))
CLASSES = ("Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius")


@pytest.fixture
def cleaned(selected: Callable[..., Dataset]) -> Dataset:
    """Three classes of 40 photos with embeddings that nearly tell them apart; every seventh was removed."""
    dataset = selected(CLASSES, wanted=40)
    rng = np.random.default_rng(0)
    rows, vectors = [], []
    for number, name in enumerate(CLASSES):
        for rank in range(1, 41):
            photo_id = 1000 * (number + 1) + rank
            path = f"images/{name}/{photo_id}.jpg"
            removed = rank % 7 == 0
            reason = ("duplicate" if rank % 2 else "scenery") if removed else None
            rows.append(
                {
                    "path": path,
                    "photo_id": photo_id,
                    "class": name,
                    "kept": not removed,
                    "reason": reason,
                    "duplicate_of": f"images/{name}/{photo_id - 1}.jpg" if reason == "duplicate" else None,
                }
            )
            centre = np.eye(8)[number if not removed else (number + 1) % 3] * 2
            vectors.append({"path": path, "vector": (centre + rng.normal(size=8)).tolist()})
    judge(dataset, rows)
    write_table(dataset.path("embeddings.parquet"), make_table(EMBEDDINGS, vectors), Receipt("embed", {}))
    split(dataset)
    return dataset


def files_of(dataset: Dataset) -> dict[str, bytes]:
    """What lies in the runs' folders, but for the environment, which tells when."""
    root = dataset.path("runs")
    files = (file for file in sorted(root.rglob("*")) if file.is_file() and file.name != runs.ENVIRONMENT)
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


# -- the probe, from end to end ------------------------------------------------------------------------------


def test_a_probe_run_holds_metrics_that_its_predictions_confirm(cleaned: Dataset) -> None:
    summary = train_baseline(cleaned, PROBE)
    run = runs.latest_run(cleaned)
    assert run == cleaned.path(summary.run)
    assert sorted(file.name for file in run.iterdir()) == [
        *(
            "config.json",
            "environment.json",
            "labels.json",
            "metrics.json",
            "plots",
            "predictions.parquet",
            "probe.npz",
        ),
        "splits.parquet",
    ]
    metrics = runs.read_metrics(run)
    rows = read_table(run / "predictions.parquet").to_pylist()
    hits = [row["class"] == row["predicted"] for row in rows]
    assert metrics["top1"] == summary.top1 == pytest.approx(np.mean(hits), abs=1e-6)
    assert 0.6 < summary.top1 < 1
    assert [row["path"] for row in rows] == sorted(
        row["path"] for row in read_table(cleaned.path("splits.parquet")).to_pylist() if row["split"] == "test"
    )
    assert np.array(metrics["confusion"]).sum() == len(rows)
    assert metrics["classes"] == list(CLASSES) == json.loads((run / "labels.json").read_text())
    assert all(json.loads(row["top5"])[0] == row["predicted"] for row in rows)
    assert metrics["cross_validation"]["folds"] == 5
    assert metrics["certificate"]["crossings"] == 0
    assert set(metrics["inputs"]) == {"splits.parquet", "clean.parquet", "selection.parquet", "embeddings.parquet"}


def test_the_saved_probe_gives_the_stored_predictions(cleaned: Dataset) -> None:
    run = cleaned.path(train_baseline(cleaned, PROBE).run)
    head = np.load(run / "probe.npz")
    vector_of = {row["path"]: row["vector"] for row in read_table(cleaned.path("embeddings.parquet")).to_pylist()}
    for row in read_table(run / "predictions.parquet").to_pylist():
        vector = np.array(vector_of[row["path"]])
        logits = vector / np.linalg.norm(vector) @ head["weights"] + head["offset"]
        assert CLASSES[logits.argmax()] == row["predicted"]
        assert np.exp(logits.max()) / np.exp(logits).sum() == pytest.approx(row["probability"], abs=1e-4)


def test_every_stored_prediction_carries_the_safety_notice(cleaned: Dataset) -> None:
    summary = train_baseline(cleaned, PROBE)
    receipt = read_receipt(cleaned.path(summary.run) / "predictions.parquet")
    assert receipt is not None
    assert summary.safety == receipt.options["safety"] == SAFETY_NOTICE
    assert runs.read_metrics(cleaned.path(summary.run))["safety"] == SAFETY_NOTICE


def test_the_same_inputs_give_the_same_bytes_and_an_unchanged_run_is_done(cleaned: Dataset) -> None:
    first = train_baseline(cleaned, PROBE)
    files = files_of(cleaned)
    again = train_baseline(cleaned, PROBE)
    assert (first.already_done, again.already_done) == (False, True)
    assert again.run == first.run
    shutil.rmtree(cleaned.path(first.run))
    train_baseline(cleaned, PROBE)
    assert files_of(cleaned) == files


@pytest.mark.slow
def test_another_option_or_input_is_another_run_and_the_last_asked_for_is_the_latest(cleaned: Dataset) -> None:
    first = train_baseline(cleaned, PROBE).run
    other = train_baseline(cleaned, TrainOptions(mode="probe", resamples=51)).run
    split(cleaned, SplitOptions(seed=1))
    third = train_baseline(cleaned, PROBE).run
    assert len({first, other, third}) == 3
    assert runs.latest_run(cleaned) == cleaned.path(third)
    split(cleaned)
    train_baseline(cleaned, PROBE)
    assert runs.latest_run(cleaned) == cleaned.path(first)
    assert runs.run_folders(cleaned) == sorted(cleaned.path(run) for run in (first, other, third))


def test_a_killed_run_leaves_no_run_and_the_next_ends_with_the_same_bytes(cleaned: Dataset) -> None:
    script = (
        "import time\n"
        "from shroomcurate import training\n"
        "from shroomcurate.training import results\n"
        "from shroomcurate.dataset import Dataset\n"
        f"results._write_predictions = lambda *_: (print('here', flush=True), time.sleep(60))\n"
        f"training.train_baseline(Dataset({str(cleaned.root)!r}), training.TrainOptions(mode='probe', resamples=50))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        os.kill(process.pid, signal.SIGKILL)
    assert [folder.suffix for folder in cleaned.path("runs").iterdir()] == [".partial"]
    assert runs.latest_run(cleaned) is None
    run = train_baseline(cleaned, PROBE).run
    killed = files_of(cleaned)
    assert not list(cleaned.path("runs").glob("*.partial"))
    shutil.rmtree(cleaned.path(run))
    train_baseline(cleaned, PROBE)
    assert files_of(cleaned) == killed


# -- raw against cleaned -------------------------------------------------------------------------------------


def test_raw_adds_every_removed_photo_that_no_val_or_test_photo_is_tied_to(cleaned: Dataset) -> None:
    examples = read_examples(cleaned)
    held_out = {examples.groups[row] for row in examples.rows("val", "test")}
    added = examples.rows("removed")
    assert {examples.reasons[row] for row in added} == {"scenery", "duplicate"}
    assert not {examples.groups[row] for row in added} & held_out
    assert 0 < len(added) < 15  # of 15 removed ones, those tied to val or test stay out
    compared = train_baseline(cleaned, PROBE).raw_vs_clean
    assert compared is not None
    assert compared["train_photos"]["raw"] - compared["train_photos"]["clean"] == len(added)
    assert sum(compared["added"].values()) == len(added)
    gain = compared["difference"]["top1"]
    assert gain["difference"] == pytest.approx(compared["clean"]["top1"] - compared["raw"]["top1"], abs=2e-6)
    assert gain["low"] <= gain["difference"] <= gain["high"]


def test_without_a_removed_photo_nothing_is_compared_and_the_notes_say_so(cleaned: Dataset) -> None:
    cleaned.path("clean.parquet").unlink()
    for path in (row["path"] for row in read_table(cleaned.path("embeddings.parquet")).to_pylist()):
        cleaned.locate(path, None).parent.mkdir(parents=True, exist_ok=True)
        cleaned.locate(path, None).write_text(path)
    split(cleaned)
    summary = train_baseline(cleaned, PROBE)
    assert summary.raw_vs_clean is None
    assert "removed no photo" in summary.notes[0]


# -- what can be wrong ---------------------------------------------------------------------------------------


def test_what_is_missing_is_named_with_the_command_that_makes_it(cleaned: Dataset) -> None:
    cleaned.path("embeddings.parquet").unlink()
    with pytest.raises(StageMissing) as error:
        train_baseline(cleaned, PROBE)
    assert "shroomcurate clean" in error.value.hint
    cleaned.path("splits.parquet").unlink()
    with pytest.raises(StageMissing) as error:
        train_baseline(cleaned, PROBE)
    assert "shroomcurate train-baseline" in error.value.hint
    assert not cleaned.path("runs").exists() or not list(cleaned.path("runs").iterdir())


def test_a_split_of_another_cleaning_is_refused(cleaned: Dataset) -> None:
    rows = read_table(cleaned.path("clean.parquet")).to_pylist()
    rows[0]["kept"] = False
    judge(cleaned, rows)
    with pytest.raises(StageMissing, match=r"another clean\.parquet"):
        train_baseline(cleaned, PROBE)


def test_a_split_file_that_leaks_is_refused_and_the_leak_named(cleaned: Dataset) -> None:
    rows = read_table(cleaned.path("splits.parquet")).to_pylist()
    assert rows[0]["group"] == rows[1]["group"]
    rows[0]["split"] = "test" if rows[1]["split"] == "train" else "train"
    write_table(cleaned.path("splits.parquet"), make_table(SPLITS, rows), Receipt("by hand", {}))
    with pytest.raises(DamagedFile, match=r"observation|group"):
        train_baseline(cleaned, PROBE)


def test_a_class_that_is_not_in_all_splits_is_left_out_and_named(cleaned: Dataset) -> None:
    rows = read_table(cleaned.path("splits.parquet")).to_pylist()
    for row in rows:
        row["split"] = "train" if row["class"] == CLASSES[0] else row["split"]
    write_table(cleaned.path("splits.parquet"), make_table(SPLITS, rows), Receipt("by hand", {}))
    summary = train_baseline(cleaned, PROBE)
    assert summary.classes == 2
    assert summary.left_out == {CLASSES[0]: "no photo in val and test"}
    for row in rows:
        row["split"] = "train" if row["class"] == CLASSES[1] else row["split"]
    write_table(cleaned.path("splits.parquet"), make_table(SPLITS, rows), Receipt("by hand", {}))
    with pytest.raises(TooLittleData) as error:
        train_baseline(cleaned, PROBE)
    assert "shroomcurate query" in error.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "magic"},
        {"architecture": "vgg16"},
        {"augmentation": -1},
        {"track": ("paper",)},
        {"raw_vs_clean": "x"},
        {"head_epochs": 0},
        {"head_learning_rate": float("inf")},
        {"dropout": 1},
        {"seed": 2**32 - 4},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        TrainOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"head_epochs": 0}, {"raw_vs_clean": "x"}, {"seed": -1}, {"augmentation": 3.0}])
def test_an_impossible_option_is_called_as_it_is_typed(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(BadOption) as error:
        TrainOptions(**wrong)  # type: ignore[arg-type]
    assert error.value.what.startswith(f"--{name.replace('_', '-')} is ")


def test_an_attempt_with_another_split_that_is_broken_off_leaves_the_finished_run_its_split(cleaned: Dataset) -> None:
    run = cleaned.path(train_baseline(cleaned, PROBE).run)
    before = cleaned.path("splits.parquet").read_bytes()
    assert (run / "splits.parquet").read_bytes() == before

    def attempt() -> None:
        with runs.former_split_back(cleaned):
            split(cleaned, SplitOptions(seed=9))
            assert cleaned.path("splits.parquet").read_bytes() != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert cleaned.path("splits.parquet").read_bytes() == before


def test_a_split_that_no_run_has_used_yet_is_put_back_too(cleaned: Dataset) -> None:
    split(cleaned, SplitOptions(seed=5))
    before = cleaned.path("splits.parquet").read_bytes()

    def attempt() -> None:
        with runs.former_split_back(cleaned):
            split(cleaned, SplitOptions(seed=9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert cleaned.path("splits.parquet").read_bytes() == before


@pytest.mark.parametrize(("after", "told"), [(0.04, True), (0.03, False), (0.02, False)])
def test_a_temperature_that_makes_it_worse_is_told(after: float, told: bool) -> None:
    said = _worse_calibrated({"ece": 0.03, "ece_calibrated": after}, 98)
    assert (said is not None) is told
    if said is not None:
        assert "0.040" in said
        assert "98 other photos" in said


def test_a_damaged_metrics_file_is_named(cleaned: Dataset) -> None:
    run = cleaned.path(train_baseline(cleaned, PROBE).run)
    (run / "metrics.json").write_text("[1")
    with pytest.raises(DamagedFile, match=r"metrics\.json"):
        runs.read_metrics(run)


def test_the_probe_is_scikit_learns_own_discriminant_analysis_and_an_absent_class_is_never_called() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    vectors = (rng.normal(size=(90, 4)) + np.eye(4)[truth]).astype(np.float32)
    logits = fit_head(vectors, np.array([0, 2, 3])[truth], 4, strength=0.3).logits(vectors)
    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(vectors, truth)
    assert (logits[:, 1] == -np.inf).all()
    ours, theirs = logits[:, [0, 2, 3]], fitted.decision_function(vectors)
    assert ours - ours[:, :1] == pytest.approx(theirs - theirs[:, :1], abs=1e-3)


def test_photos_that_cannot_be_read_are_left_out_unless_a_class_loses_a_split(cleaned: Dataset) -> None:
    examples = read_examples(cleaned)
    readable = np.ones(len(examples.paths), bool)
    readable[examples.rows("train")[0]] = False
    assert examples.without_unreadable(readable).split.count("unreadable") == 1
    readable[[row for row in examples.rows("val") if examples.truth[row] == 1]] = False
    with pytest.raises(TooLittleData, match="Boletus_edulis in val"):
        examples.without_unreadable(readable)
