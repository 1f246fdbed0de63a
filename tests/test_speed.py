from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from shroomcurate.backbone import load_keras, silent_stderr
from shroomcurate.training.speed import SpeedOptions, measure_speed

QUICK = SpeedOptions(runs=10, warm_up=2)


def litert_file(target: Path, *, width: int, pixels: int = 16) -> Path:
    """A LiteRT file of two dense layers whose weights take 4 × 3 × pixels² × width bytes and a few more."""
    keras = load_keras()
    photo = keras.Input(batch_shape=(1, pixels, pixels, 3))
    hidden = keras.layers.Dense(width, activation="relu")(keras.layers.Flatten()(photo))
    network = keras.Model(photo, keras.layers.Dense(2)(hidden))
    with silent_stderr():
        import tensorflow as tf

        target.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    return target


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("speed")
    return litert_file(folder / "small.tflite", width=8), litert_file(folder / "large.tflite", width=4_000)


def test_a_larger_network_is_larger_slower_and_hungrier(files: tuple[Path, Path]) -> None:
    small, large = (measure_speed(file, QUICK) for file in files)
    assert small["size_mb"] == round(files[0].stat().st_size / 1e6, 3)
    assert large["size_mb"] == pytest.approx(4 * 3 * 16**2 * 4_000 / 1e6, rel=0.05)
    for threads in ("one_thread", "all_cores"):
        assert small[threads]["median_ms"] < large[threads]["median_ms"]
        assert 0 <= small[threads]["memory_mb"] < 9
        assert 11 < large[threads]["memory_mb"] < 60  # 12 MB of weights, and at most what packing them takes


def test_it_says_how_often_and_with_how_many_threads(files: tuple[Path, Path]) -> None:
    measured = measure_speed(files[0], QUICK)
    assert measured["one_thread"]["threads"] == 1
    assert measured["all_cores"]["threads"] == len(os.sched_getaffinity(0))
    for threads in ("one_thread", "all_cores"):
        assert measured[threads]["runs"] == QUICK.runs
        assert 0 < measured[threads]["median_ms"] <= measured[threads]["p95_ms"]


def test_what_this_process_holds_is_not_counted(files: tuple[Path, Path]) -> None:
    ballast = np.ones(60_000_000)  # 480 MB
    assert measure_speed(files[0], QUICK)["one_thread"]["memory_mb"] < 9
    assert ballast.all()


def test_a_slow_network_is_measured_on_fewer_photos(files: tuple[Path, Path]) -> None:
    measured = measure_speed(files[1], SpeedOptions(runs=10_000, warm_up=20, seconds=0.0))
    assert measured["one_thread"]["runs"] == 5


def test_a_file_that_litert_cannot_run_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"broken\.tflite"):
        measure_speed(tmp_path / "broken.tflite", QUICK)
