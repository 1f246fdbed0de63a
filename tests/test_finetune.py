from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.backbone import load_keras
from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import BadOption, DiskFull, WeightsMissing
from shroomcurate.split import SplitOptions, split
from shroomcurate.training import TrainOptions, epochs, phone, pixels, planned_run, results, train_baseline
from shroomcurate.training.augmentation import augmentation
from shroomcurate.training.epochs import Record, class_weights, order
from shroomcurate.training.estimate import estimate
from shroomcurate.training.pixels import decode, input_pixels
from shroomcurate.training.search import draw
from shroomcurate.training.speed import SpeedOptions
from tests.conftest import small_file_system
from tests.training import LAST_BLOCKS, tiny_network, with_removed_photos

__all__ = ["tiny_network"]  # the fixture

QUICK = TrainOptions(
    raw_vs_clean="none",
    learning_curve="none",
    cross_validate="none",
    head_epochs=2,
    block_epochs=2,
    deep_epochs=1,
    batch_size=8,
    phone="float32",
    resamples=20,
)


HEAD_ALONE = replace(QUICK, block_epochs=0, deep_epochs=0)


@pytest.fixture(autouse=True)
def no_files_for_phones(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing them takes as long as the rest; the tests that look at them ask for :func:`files_for_phones`."""
    monkeypatch.setattr(results, "SPEED", SpeedOptions(runs=5, warm_up=1))
    if "files_for_phones" not in request.fixturenames:
        monkeypatch.setattr(results, "export", lambda *_, threshold, **__: [{"figures": {"threshold": threshold}}])


@pytest.fixture
def files_for_phones() -> None: ...


@pytest.fixture
def dataset(photographed: Callable[..., Dataset]) -> Dataset:
    return with_removed_photos(photographed(["A", "B"], wanted=18))


def test_a_finetune_run_repeats_itself_keeps_its_normalisation_and_compares_raw_with_cleaned(
    dataset: Dataset, tiny_network: Path, files_for_phones: None
) -> None:
    spoilt = dataset.images / "A" / "1001.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:2000])
    told: list[tuple[int, int, str]] = []
    two_stages = replace(QUICK, deep_epochs=0, weights=tiny_network)
    options = replace(two_stages, raw_vs_clean="same", seeds=1)
    summary = train_baseline(dataset, options, lambda *step: told.append(step))
    run = dataset.path(summary.run)
    assert {str(file.relative_to(run)) for file in run.rglob("*.*")} == {
        *("config.json", "environment.json", "history.csv", "labels.json", "metrics.json", "model.keras"),
        "splits.parquet",
        *("predictions.parquet", "plots/confusion.svg", "plots/epochs.svg", "plots/reliability.svg"),
        *("phone/float32.tflite", "phone/model.json"),
    }
    assert "1 photo could not be read and was left out" in summary.notes
    assert summary.raw_vs_clean is not None
    assert summary.raw_vs_clean["model"] == "finetune"
    assert sum(summary.raw_vs_clean["added"].values()) > 0
    assert {label for _, _, label in told} >= {"decode photos", "features", "train last blocks"}
    assert all(done <= total for done, total, _ in told)

    model = load_keras().models.load_model(run / "model.keras")
    rows = read_table(run / "predictions.parquet").to_pylist()
    pixels = np.stack([input_pixels(dataset.locate(row["path"], None), 224, "crop") for row in rows])
    for row, logits in zip(rows, model.predict(pixels.astype(np.float32), verbose=0), strict=True):
        assert "AB"[logits.argmax()] == row["predicted"]
        assert np.exp(logits.max()) / np.exp(logits).sum() == pytest.approx(row["probability"], abs=1e-4)
    for name in ("first_norm", "last_norm"):  # in training mode the statistics would have moved
        assert (model.get_layer("tiny").get_layer(name).moving_mean.numpy() == 0).all()

    alone = dataset.path(train_baseline(dataset, two_stages).run)
    assert alone != run
    for name in ("history.csv", "model.keras", "phone/float32.tflite", "plots/epochs.svg"):  # the same training again
        assert (alone / name).read_bytes() == (run / name).read_bytes()
    assert read_table(alone / "predictions.parquet").to_pylist() == rows


KILLED = """
import os, signal, sys
from pathlib import Path
from shroomcurate.dataset import Dataset
from shroomcurate.training import network, epochs, TrainOptions, train_baseline
from tests.training import tiny
from tests.test_finetune import QUICK
from dataclasses import replace
network.build_backbone = lambda *_: tiny()
after, add = int(sys.argv[3]), epochs.Record.add
def add_and_die(self, rows, **more):
    add(self, rows, **more)
    if len(self.rows) == after:
        os.kill(os.getpid(), signal.SIGKILL)
epochs.Record.add = add_and_die
train_baseline(Dataset(Path(sys.argv[1])), replace(QUICK, deep_epochs=0, weights=Path(sys.argv[2])))
"""


def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_bytes(dataset: Dataset, tiny_network: Path) -> None:
    options = replace(QUICK, deep_epochs=0, weights=tiny_network)
    partial = dataset.path("runs") / (planned_run(dataset, options) + ".partial")
    words = [str(dataset.root), str(tiny_network), "3"]  # amid the second stage
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(Record(partial).rows) == 3
    told: list[str] = []
    run = dataset.path(train_baseline(dataset, options, lambda _done, _total, label: told.append(label)).run)
    assert "decode photos" not in told
    again = dataset.path("runs") / "again"
    run.rename(again)
    run = dataset.path(train_baseline(dataset, options).run)
    for name in ("history.csv", "model.keras", "predictions.parquet"):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name
    assert not list(dataset.path("runs").glob("*.partial"))


def test_a_training_that_is_stopped_keeps_its_epochs_and_one_without_an_epoch_leaves_nothing(
    dataset: Dataset, tiny_network: Path
) -> None:
    options = replace(QUICK, block_epochs=1, deep_epochs=0, weights=tiny_network)
    partial = dataset.path("runs") / (planned_run(dataset, options) + ".partial")

    def stop(at: str) -> Callable[[int, int, str], None]:
        def progress(_done: int, _total: int, label: str) -> None:
            if label == at:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        train_baseline(dataset, options, stop("features"))
    assert not partial.exists()
    with pytest.raises(KeyboardInterrupt):
        train_baseline(dataset, options, stop("train last blocks"))
    assert len(Record(partial).rows) == 2
    assert estimate(dataset, options, lambda *_: None) is None  # it goes on: what is left is not known
    train_baseline(dataset, options)
    assert not partial.exists()


@pytest.mark.slow
def test_a_search_keeps_the_settings_with_the_least_validation_loss(dataset: Dataset, tiny_network: Path) -> None:
    summary = train_baseline(dataset, replace(HEAD_ALONE, search=2, weights=tiny_network))
    assert summary.search is not None
    losses = [trial["val_loss"] for trial in summary.search]
    assert [trial["chosen"] for trial in summary.search] == [loss == min(losses) for loss in losses]
    history = (dataset.path(summary.run) / "history.csv").read_text().splitlines()
    column = history[0].split(",").index("val_loss")
    assert min(float(row.split(",")[column]) for row in history[1:]) == pytest.approx(min(losses), abs=1e-5)
    assert not (dataset.path(summary.run) / "trials").exists()


@pytest.mark.slow
def test_a_search_that_is_stopped_goes_on_with_the_trainings_that_are_done(
    dataset: Dataset, tiny_network: Path
) -> None:
    options = replace(HEAD_ALONE, search=2, weights=tiny_network)
    partial = dataset.path("runs") / (planned_run(dataset, options) + ".partial")
    begun = 0

    def stop_in_the_second(done: int, _total: int, label: str) -> None:
        nonlocal begun
        begun += label == "features" and done == options.batch_size
        if begun == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_baseline(dataset, options, stop_in_the_second)
    assert len(Record(partial / "trials" / "search-0").rows) == 2
    told: list[tuple[int, str]] = []
    train_baseline(dataset, options, lambda done, _total, label: told.append((done, label)))
    assert "decode photos" not in {label for _, label in told}
    assert told.count((options.batch_size, "features")) == 2  # the second of the search, and the one that is kept


@pytest.mark.slow
def test_a_training_that_diverges_is_told_and_costs_a_search_only_itself(
    dataset: Dataset, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shroomcurate.training import search

    wild = {"head_learning_rate": 1e38}
    monkeypatch.setattr(search, "draw", lambda options, _count: [replace(options, **wild), options])
    options = replace(HEAD_ALONE, search=2, weights=tiny_network)
    trials = train_baseline(dataset, options).search
    assert trials is not None
    assert [trial["chosen"] for trial in trials] == [False, True]
    assert trials[0]["val_loss"] is None
    with pytest.raises(BadOption, match="diverged"):
        train_baseline(dataset, replace(options, search=0, **wild))


def test_the_least_loss_is_that_of_an_epoch_whose_loss_is_a_number(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for epoch, loss in enumerate([float("nan"), 2.0, float("nan")], start=1):
        record.weights_of(epoch).write_text(str(epoch))
        row = {"stage": 1.0, "epoch": float(epoch), "val_loss": loss}
        record.add([row], over=epoch == 3, weights=record.weights_of(epoch))
    assert record.least_loss == 2
    assert record.best == record.weights_of(2)


@pytest.mark.slow
def test_a_tracked_run_is_the_same_run_and_its_steps_go_on_after_a_stop(
    dataset: Dataset, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int]] = []
    opened = SimpleNamespace(log=lambda row, step: steps.append((row["stage"], step)), finish=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: opened))
    options = replace(QUICK, block_epochs=1, track=("wandb",), weights=tiny_network)
    assert planned_run(dataset, options) == planned_run(dataset, replace(options, track=()))

    def stop(_done: int, _total: int, label: str) -> None:
        if label == "train deeper":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_baseline(dataset, options, stop)
    assert steps == [(1, 1), (1, 2), (2, 3)]
    train_baseline(dataset, options)
    assert steps == [(1, 1), (1, 2), (2, 3), (3, 4)]


def test_two_folds_are_too_few_for_a_network_that_must_know_when_to_stop(dataset: Dataset, tiny_network: Path) -> None:
    split(dataset, SplitOptions(folds=2))
    told: list[str] = []
    with pytest.raises(BadOption, match="2 folds") as error:
        train_baseline(
            dataset,
            replace(QUICK, cross_validate="same", weights=tiny_network),
            lambda _done, _total, label: told.append(label),
        )
    assert "--folds 3" in error.value.hint
    assert told == []


@pytest.mark.slow
def test_cross_validation_by_the_network_asks_about_every_clean_photo_once(
    dataset: Dataset, tiny_network: Path
) -> None:
    split(dataset, SplitOptions(folds=3))
    options = replace(HEAD_ALONE, cross_validate="same", weights=tiny_network)
    found = train_baseline(dataset, options).cross_validation
    assert found is not None
    assert found["model"] == "finetune"
    assert found["photos"] == len(read_table(dataset.path("splits.parquet")))


def test_from_scratch_a_small_network_learns_with_its_normalisation(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["A", "B"], wanted=6)
    split(dataset)
    summary = train_baseline(dataset, replace(QUICK, mode="scratch", scratch_epochs=1))
    model = load_keras().models.load_model(dataset.path(summary.run) / "model.keras")
    assert model.input_shape == (None, 150, 150, 3)
    norms = [layer for layer in model.get_layer("scratch").layers if hasattr(layer, "moving_mean")]
    assert norms
    assert all(np.abs(layer.moving_mean.numpy()).max() > 0 for layer in norms)


def test_the_time_is_estimated_and_a_long_one_is_called_long(
    dataset: Dataset, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(QUICK, raw_vs_clean="same", seeds=3, weights=tiny_network)
    found = estimate(dataset, options, lambda *_: None)
    assert found is not None
    assert found.trainings == 7
    assert estimate(dataset, replace(options, search=2), lambda *_: None).trainings == 9  # type: ignore[union-attr]
    assert found.epochs == 3
    assert 0 < found.seconds < 600
    assert not found.long
    monkeypatch.setattr("shroomcurate.training.estimate._seconds_a_batch", lambda *_: (1000.0, 1.0))
    assert estimate(dataset, options, lambda *_: None).long  # type: ignore[union-attr]
    assert estimate(dataset, TrainOptions(mode="probe"), lambda *_: None) is None


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.filterwarnings("error::UserWarning")
def test_imagenets_features_tell_red_from_yellow(photographed: Callable[..., Dataset], shared: Path) -> None:
    dataset = photographed(["A", "B"], wanted=12)
    split(dataset)
    options = replace(HEAD_ALONE, head_epochs=12, weights=shared / "weights")
    assert train_baseline(dataset, options).top1 == 1


# -- photos --------------------------------------------------------------------------------------------------


def test_a_photo_whose_reading_fails_is_black_and_unreadable_not_a_crash(
    photographed: Callable[..., Dataset], tmp_path: Path
) -> None:
    places = [*photographed(["A"], wanted=2).photos().values(), tmp_path]  # a folder: IsADirectoryError
    found = decode(places, tmp_path, 32, "crop", lambda *_: None)
    assert found.readable.tolist() == [True, True, False]
    assert found.photos.shape == (3, 32, 32, 3)
    assert found.photos[:2].any(axis=(1, 2, 3)).all()
    assert not found.photos[2].any()


def test_padding_keeps_all_of_the_photo_and_cropping_fills_the_frame(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (200, 100), "white").save(tmp_path / "wide.png")
    padded, cropped = (input_pixels(tmp_path / "wide.png", 50, resize) for resize in ("pad", "crop"))
    assert cropped.min() == 255
    assert (padded[:12] == 0).all()
    assert (padded[13:37] == 255).all()
    assert padded.shape == cropped.shape == (50, 50, 3)


def test_augmentation_is_fresh_each_time_acts_in_training_only_and_can_be_repeated() -> None:
    load_keras()
    photos = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    layers = augmentation(1.0, seed=3)
    first, second = (layers(photos, training=True).numpy() for _ in range(2))
    assert (layers(photos, training=False).numpy() == photos).all()
    assert np.abs(first - second).mean() > 5
    assert np.abs(first[0] - first[1]).mean() > 5
    again = augmentation(1.0, seed=3)(photos, training=True).numpy()
    assert (again == first).all()
    assert first.min() >= 0
    assert first.max() <= 255
    still = augmentation(1e-6, seed=3)(photos, training=True).numpy()
    unchanged = np.minimum(np.abs(still - photos), np.abs(still - photos[:, :, ::-1])).max(axis=(1, 2, 3))
    assert unchanged.max() < 1  # but for the mirror


# -- epochs --------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 5), st.integers(0, 5))
def test_every_epoch_shows_every_photo_and_oversampling_makes_classes_equal(
    classes: list[int], seed: int, epoch: int
) -> None:
    truth = np.array(classes)
    rows = np.arange(len(truth))
    assert sorted(order(rows, truth, "none", seed, epoch)) == rows.tolist()
    shown = order(rows, truth, "oversample", seed, epoch)
    assert set(shown) == set(rows)
    counts = np.bincount(truth[shown])
    assert len(set(counts[counts > 0])) == 1
    assert (order(rows, truth, "oversample", seed, epoch) == shown).all()
    weight = class_weights(truth, 5)
    sums = np.bincount(truth, weight[truth], minlength=5)
    assert sums[sums > 0] == pytest.approx(sums.max())
    assert weight[truth].mean() == pytest.approx(1)


def test_searches_begin_with_the_options_and_repeat_themselves() -> None:
    options = TrainOptions(seed=4)
    assert draw(options, 3) == draw(options, 3)
    assert draw(options, 3)[0] == options
    assert len({drawn.block_learning_rate for drawn in draw(options, 5)}) == 5


def test_the_record_finds_the_epoch_before_a_kill_or_the_one_after(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for epoch, loss in enumerate([3.0, 1.0, 2.0], start=1):
        record.weights_of(epoch).write_text(str(epoch))
        row = {"stage": 1.0, "epoch": float(epoch), "val_loss": loss}
        record.add([row], over=epoch == 3, weights=record.weights_of(epoch))
    known = Record(tmp_path)
    assert known.rows == record.rows
    assert known.best == tmp_path / "epoch-002.weights.npz"
    assert known.last is None
    assert known.stages_over == 1
    assert sorted(file.name for file in tmp_path.glob("*.npz")) == ["epoch-002.weights.npz"]
    assert (tmp_path / "history.csv").read_text().splitlines()[1:] == ["1.0,1.0,3.0", "1.0,2.0,1.0", "1.0,3.0,2.0"]


def test_a_kill_between_record_and_history_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(epochs, "write_bytes", lambda file, _content: written.append(file.name))
    record = Record(tmp_path)
    record.add([{"stage": 1.0, "epoch": 1.0, "val_loss": 1.0}], over=True, weights=record.weights_of(1))
    assert written == ["history.csv", "record.json"]


def test_a_kill_amid_tidying_up_leaves_no_record_of_weights_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(tmp_path)
    record.weights_of(1).write_text("1")
    record.add([{"stage": 1.0, "epoch": 1.0, "val_loss": 1.0}], over=True, weights=record.weights_of(1))
    unlink = Path.unlink

    def unlink_and_die(file: Path, **how: bool) -> None:
        unlink(file, **how)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_and_die)
        with pytest.raises(KeyboardInterrupt):
            record.forget()
    known = Record(tmp_path).best
    assert known is None or known.exists()


def test_a_full_disk_is_an_error_while_weights_are_written(tmp_path: Path) -> None:
    keras = load_keras()
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(1000), keras.layers.Dense(1000)])
    with small_file_system(tmp_path, 2) as disk, pytest.raises(OSError, match="No space left"):
        epochs.save_state(model, disk / "epoch-001.weights.npz")


def test_weights_are_on_the_disk_before_the_record_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), fsync(handle)))
    keras = load_keras()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    epochs.save_state(model, tmp_path / "epoch-001.weights.npz")
    assert synced == [(tmp_path / "epoch-001.weights.npz").stat().st_size]


def test_decoding_that_is_stopped_waits_for_the_photos_in_hand_alone(
    photographed: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = list(photographed(["A"], wanted=4).photos().values()) * 100
    begun: list[Path] = []
    one = pixels._pixels_or_none
    monkeypatch.setattr(pixels, "_pixels_or_none", lambda place, **how: begun.append(place) or one(place, **how))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode(places, tmp_path, 32, "crop", stop)
    assert len(begun) < len(places) / 2


def test_decoding_needs_room_and_looks_only_so_far_ahead(
    photographed: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = list(photographed(["A"], wanted=7).photos().values())
    whole = decode(places, tmp_path, 32, "crop", lambda *_: None).photos.copy()
    pixels.forget(tmp_path)
    monkeypatch.setattr(pixels, "_AHEAD", 3)
    assert (decode(places, tmp_path, 32, "crop", lambda *_: None).photos == whole).all()
    pixels.forget(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7 * 32 * 32 * 3 - 1))
    with pytest.raises(DiskFull, match=r"21\.5 kB"):
        decode(places, tmp_path, 32, "crop", lambda *_: None)


def test_only_the_layers_that_a_stage_names_learn(tiny_network: Path) -> None:
    from shroomcurate.training.network import build_network, let_learn

    network = build_network(replace(QUICK, weights=tiny_network), 2, tiny_network, 0)
    let_learn(network.features, LAST_BLOCKS)
    assert [layer.name for layer in network.features.layers if layer.trainable and layer.weights] == [LAST_BLOCKS]
    let_learn(network.features, None)
    assert all(layer.trainable for layer in network.features.layers)


def test_an_oversampled_run_says_what_it_was_made_on_and_scores_its_files_without_all_test_photos_in_memory(
    dataset: Dataset, tiny_network: Path, files_for_phones: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    run = phone._run
    monkeypatch.setattr(phone, "_run", lambda file, part: scored.append(len(part)) or run(file, part))
    monkeypatch.setattr(results, "_AT_ONCE", 1)
    summary = train_baseline(dataset, replace(HEAD_ALONE, balance="oversample", weights=tiny_network))
    assert scored == [1] * summary.photos["test"]
    assert summary.phone is not None
    assert summary.phone[0]["figures"]["top1"] == pytest.approx(summary.top1)
    facts = json.loads((dataset.path(summary.run) / "environment.json").read_text())
    assert facts["processors"] == os.cpu_count()
    assert facts["versions"]["tensorflow"]
    assert facts["gpus"] == []


def test_who_has_no_weights_is_told_of_the_modes_that_need_none(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as error:
        train_baseline(dataset, replace(QUICK, weights=tmp_path / "none.h5"))
    assert "--mode probe" in error.value.hint
    assert "--embedder" not in error.value.hint
