from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shroomcurate.backbone import build_backbone, find_weights, load_keras
from shroomcurate.errors import BadOption
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.training.phone import VARIANTS, PhoneOptions, awareness, export, lost_points, refusal, run_file
from shroomcurate.training.phone.awareness import fine_tuned
from shroomcurate.training.phone.labelled import read_labels
from shroomcurate.training.phone.network import plain_network, to_litert
from shroomcurate.training.phone.ranges import largest, to_int8
from shroomcurate.training.pixels import input_pixels
from shroomcurate.training.speed import SpeedOptions

LABELS = ("Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius", "Ωdd näme")
QUICK = PhoneOptions(epochs=1, speed=None)
SIDE = 32

Photos = NDArray[np.uint8]


def photos(count: int, seed: int = 0) -> tuple[Photos, NDArray[np.int64]]:
    """Photos whose class decides their colour, and the classes."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, len(LABELS), count)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [160, 160, 160]])
    noise = chance.integers(-40, 40, (count, SIDE, SIDE, 3))
    return (colours[truth][:, None, None] + noise).astype(np.uint8), truth


def tiny_classifier() -> Any:
    """A classifier as `finetune` builds it, with the parts that make MobileNetV3 hard: hard-swish, squeeze-excite."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inside = keras.Input((SIDE, SIDE, 3))
    flow = layers.Rescaling(1 / 127.5, -1)(inside)
    flow = layers.Conv2D(48, 3, strides=2, padding="same", use_bias=False)(flow)
    flow = layers.BatchNormalization()(flow)
    flow = before = layers.Activation("hard_swish")(flow)
    flow = layers.DepthwiseConv2D(3, padding="same")(flow)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(flow)
    gate = layers.ReLU(6.0)(layers.Conv2D(48, 1)(gate) + 3.0) * (1 / 6)
    flow = layers.Add()([layers.Multiply()([flow, gate]), before])
    flow = layers.Dropout(0.5)(flow)
    flow = layers.GlobalAveragePooling2D()(layers.Conv2D(192, 1, activation="relu")(flow))
    backbone = keras.Model(inside, flow, name="tiny")
    photo = keras.Input((SIDE, SIDE, 3))
    flow = layers.RandomBrightness(0.1, value_range=(0, 255), seed=2)(layers.RandomFlip("horizontal", seed=1)(photo))
    flow = layers.Dropout(0.2, seed=3)(backbone(flow, training=False))
    model = keras.Model(photo, layers.Dense(len(LABELS), name="logits")(flow))
    pixels, truth = photos(200)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pixels.astype(np.float32), truth, epochs=2, verbose=0)
    return model


def batches(count: int = 64) -> Any:
    import tensorflow as tf

    pixels, truth = photos(count, seed=1)
    return tf.data.Dataset.from_tensor_slices((pixels.astype(np.float32), truth)).batch(16)


def score(run: Callable[[Photos], NDArray[np.float32]]) -> dict[str, float | None]:
    pixels, truth = photos(100, seed=2)
    called = run(pixels).argmax(axis=1)
    return {
        "top1": float((called == truth).mean()),
        "poisonous_recall": float((called[truth == 0] == 0).mean()),
        "nothing": None,
    }


def exported(model: Any, folder: Path, options: PhoneOptions = QUICK, **changed: Any) -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "labels": LABELS,
        "calibration": photos(20, seed=3)[0],
        "training": batches(),
        "score": score,
        "folder": folder,
        "how_to_resize": "shorter side to 32 pixels, then the middle",
        "temperature": 1.5,
        "threshold": 0.8,
        "options": options,
    }
    return export(model, **{**given, **changed})


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_classifier()


@pytest.fixture(scope="module")
def whole(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """An export of all variants, with speed."""
    folder = tmp_path_factory.mktemp("whole") / "phone"
    return folder, exported(model, folder, replace(QUICK, speed=SpeedOptions(runs=5, warm_up=1)))


# -- the files ---------------------------------------------------------------------------------------------------


def test_every_figure_is_that_of_the_file_on_the_disk(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, files = whole
    assert [entry["variant"] for entry in files] == list(VARIANTS)
    for entry in files:
        file = folder / entry["file"]
        assert entry["figures"] == score(run_file(file))
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert entry["speed"]["size_mb"] == round(file.stat().st_size / 1e6, 3)
        assert entry["passed"]
    assert sorted(place.name for place in folder.iterdir()) == sorted(
        ["model.json", *(f"{v}.tflite" for v in VARIANTS)]
    )


def test_the_network_learned_something_to_lose(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    assert whole[1][0]["figures"]["top1"] > 0.9


def test_model_json_holds_what_an_app_must_know(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    facts = json.loads((whole[0] / "model.json").read_text(encoding="utf-8"))
    assert facts["format"] == 1
    assert facts["safety"] == SAFETY_NOTICE
    assert facts["input"]["shape"] == [1, SIDE, SIDE, 3]
    assert (facts["input"]["type"], facts["temperature"], facts["threshold"]) == ("uint8", 1.5, 0.8)
    assert facts["labels"] == list(LABELS)
    assert facts["files"] == whole[1]


def test_labels_and_metadata_can_be_read_out_of_every_file(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    for variant in VARIANTS:
        file = whole[0] / f"{variant}.tflite"
        assert read_labels(file) == list(LABELS)
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(file.read_bytes()))
        (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
        metadata = bytes(model.buffers[entry.buffer].data)
        assert metadata[4:8] == b"M001"
        assert SAFETY_NOTICE.encode() in metadata
        assert b"labels.txt" in metadata


def test_files_take_uint8_and_are_as_small_as_they_should_be(
    model: Any, tmp_path: Path, whole: tuple[Path, list[dict[str, Any]]]
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    keras = load_keras()
    wide = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(100)])
    single, half = (len(to_litert(wide, half=half)) for half in (False, True))
    assert single > 4 * 3 * SIDE**2 * 100
    assert half == pytest.approx(single / 2, rel=0.02)
    sizes = {variant: (whole[0] / f"{variant}.tflite").stat().st_size for variant in VARIANTS}
    assert sizes["int8"] < 0.8 * sizes["float32"]
    for variant in VARIANTS:
        interpreter = Interpreter(str(whole[0] / f"{variant}.tflite"))
        assert interpreter.get_input_details()[0]["dtype"] == np.uint8
        assert interpreter.get_output_details()[0]["dtype"] == np.float32


def test_a_photo_gets_the_logits_that_keras_gives_it(model: Any, whole: tuple[Path, list[dict[str, Any]]]) -> None:
    pixels, _ = photos(20, seed=4)
    expected = model.predict(pixels.astype(np.float32), verbose=0)
    spread = expected.max() - expected.min()
    for variant, tolerance in (("float32", 1e-5), ("float16", 2e-3), ("int8", 0.05), ("int8_qat", 0.1)):
        off = np.abs(run_file(whole[0] / f"{variant}.tflite")(pixels) - expected).max() / spread
        assert off < tolerance, variant
        assert off > 0 or variant == "float32"


def test_int8_runs_in_one_piece(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    """An operation that XNNPACK cannot take in int8, as hard-swish, would stand between two delegates."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(whole[0] / "int8.tflite"))
    interpreter.allocate_tensors()
    names = [operation["op_name"] for operation in interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1
    assert "HARD_SWISH" not in names


# -- the gate ----------------------------------------------------------------------------------------------------


def spoilt(points: float) -> Callable[[Callable[[Photos], NDArray[np.float32]]], Mapping[str, float | None]]:
    """A score by which each file is so many points worse than the one before."""
    called = [0]

    def figures(_run: object) -> dict[str, float | None]:
        called[0] += 1
        return {"top1": 0.9 - (called[0] - 1) * points / 100}

    return figures


def test_the_gate_refuses_a_bad_file_says_by_how_much_and_puts_it_aside(model: Any, tmp_path: Path) -> None:
    black = np.zeros((5, SIDE, SIDE, 3), np.uint8)  # ranges from these fit no photo
    options = replace(QUICK, variants=("int8",))
    good, bad = exported(model, tmp_path, options, calibration=black)
    lost = 100 * (good["figures"]["top1"] - bad["figures"]["top1"])
    assert lost > 10
    assert (good["passed"], bad["passed"]) == (True, False)
    assert f"top1 fell by {lost:.2f} points, more than the 1.5 allowed" in bad["refused_because"]
    assert bad["lost_points"]["top1"] == pytest.approx(lost)
    assert bad["file"] == "refused/int8.tflite"
    assert (tmp_path / bad["file"]).is_file()
    assert not (tmp_path / "int8.tflite").exists()
    again = exported(model, tmp_path, options)  # what was refused once does not stay when it passes
    assert [entry["passed"] for entry in again] == [True, True]
    assert not (tmp_path / "refused" / "int8.tflite").exists()


def test_the_gate_is_where_the_options_say(model: Any, tmp_path: Path) -> None:
    options = replace(QUICK, variants=("float16",), max_loss_points=2)
    assert exported(model, tmp_path, options, score=spoilt(2))[1]["passed"]
    assert not exported(model, tmp_path, options, score=spoilt(2.01))[1]["passed"]


def test_a_figure_that_float32_lacks_is_not_asked_for_and_one_that_is_lost_or_no_number_is_refused() -> None:
    assert lost_points({"top1": 0.9, "poisonous_recall": None}, {"top1": 0.91}, QUICK) == {"top1": -1}
    gone = lost_points({"top1": 0.9, "poisonous_recall": 0.8}, {"top1": 0.9, "poisonous_recall": None}, QUICK)
    assert refusal(gone, QUICK) == "poisonous_recall fell by 80.00 points, more than the 1.5 allowed"
    assert refusal(lost_points({"top1": 0.9}, {"top1": float("nan")}, QUICK), QUICK)


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadOption, match="int4"):
        PhoneOptions(variants=("int4",))
    with pytest.raises(BadOption, match="-1"):
        PhoneOptions(max_loss_points=-1)


# -- again, and killed -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes(model: Any, tmp_path: Path) -> None:
    options = replace(QUICK, variants=("int8_qat",))
    first = {}
    for folder in (tmp_path / "a", tmp_path / "b"):
        exported(model, folder, options)
        bytes_of = {file.name: file.read_bytes() for file in folder.iterdir()}
        first = first or bytes_of
        assert bytes_of == first
    assert set(first) == {"float32.tflite", "int8_qat.tflite", "model.json"}


def test_a_killed_export_leaves_no_file_and_the_next_is_whole(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from shroomcurate.backbone import load_keras\n"
        "from tests.test_phone import QUICK, exported, replace\n"
        f"model = load_keras().models.load_model({str(tmp_path / 'model.keras')!r})\n"
        "def score(run):\n"
        "    print('here', flush=True)\n"
        "    time.sleep(120)\n"
        f"exported(model, Path({str(tmp_path / 'phone')!r}), replace(QUICK, variants=()), score=score)\n"
    )
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        os.kill(process.pid, signal.SIGKILL)
    assert [place.name for place in (tmp_path / "phone").iterdir()] == [".unfinished"]
    exported(model, tmp_path / "phone", replace(QUICK, variants=()))
    assert {place.name for place in (tmp_path / "phone").iterdir()} == {"float32.tflite", "model.json"}


# -- the parts ---------------------------------------------------------------------------------------------------


def test_the_largest_values_over_parts_are_those_of_the_whole() -> None:
    chance = np.random.default_rng(0)
    parts = [chance.normal(size=size).astype(np.float32) for size in (3, 50, 400, 7)]
    kept = np.empty(0, np.float32)
    for part in parts:
        kept = largest(kept, part, 20)
    assert sorted(kept) == sorted(np.concatenate(parts))[-20:]


def test_one_glaring_photo_does_not_spoil_the_ranges() -> None:
    """With the smallest and largest values as ends, the steps would be a hundred times as wide."""
    keras = load_keras()
    network = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(1, 1, use_bias=False, name="sum")])
    network.get_layer("sum").set_weights([np.ones((1, 1, 3, 1), np.float32)])
    pixels = np.random.default_rng(0).integers(0, 3, (50, SIDE, SIDE, 3), dtype=np.uint8)
    usual = pixels[:10].copy()
    pixels[7, 0, :3] = 255
    file = to_int8(to_litert(network, uint8=False), pixels, lambda *_: None)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    for photo in usual:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo[None])
        interpreter.invoke()
        result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, ..., 0]
        assert np.abs(result - photo.sum(axis=-1)).max() < 0.1


def test_fine_tuning_for_int8_changes_weights_a_little_and_leaves_the_model_alone(model: Any) -> None:
    before = [weight.copy() for weight in model.get_weights()]
    told: list[tuple[int, int]] = []
    tuned = fine_tuned(
        model,
        batches(),
        epochs=2,
        learning_rate=1e-3,
        seed=0,
        progress=lambda done, total, _: told.append((done, total)),
    )
    assert all((was == now).all() for was, now in zip(before, model.get_weights(), strict=True))
    assert told == [(number, 8) for number in range(1, 9)]
    moved = np.abs(tuned.get_layer("logits").get_weights()[0] - model.get_layer("logits").get_weights()[0])
    assert 0 < moved.max() < 0.05
    pixels = photos(50, seed=5)[0].astype(np.float32)
    off = tuned.predict(pixels, verbose=0) - plain_network(model).predict(pixels, verbose=0)
    assert np.abs(off).max() < 1


def test_fine_tuning_for_int8_needs_no_gradient_that_a_gpu_refuses_to_repeat() -> None:
    """TensorFlow has no deterministic gradient of its rounding on a GPU, and says so by an error."""
    import tensorflow as tf

    kernel = load_keras().Variable(np.linspace(-1, 1, 24).reshape(2, 3, 4), name="kernel", dtype="float32")

    @tf.function
    def slopes(values: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = tf.reduce_sum(awareness._rounded(values) * 3) + tf.reduce_sum(awareness._rounded_weights(kernel) * 2)
        return tape.gradient(loss, [values, kernel.value])

    values = tf.constant([-0.5, 0.26, 2.0])
    graph = slopes.get_concrete_function(values).graph
    assert not [each.type for each in graph.get_operations() if "FakeQuant" in each.type and "Gradient" in each.type]
    of_values, of_kernel = slopes(values)
    assert (of_values.numpy() == 3).all()
    assert (of_kernel.numpy() == 2).all()
    steps = np.unique(np.round(awareness._rounded(tf.linspace(0.0, 255.0, 999)).numpy(), 3))
    assert len(steps) == 256


@pytest.mark.slow
@pytest.mark.shared
def test_mobilenet_with_imagenets_weights_keeps_its_features_in_int8(shared: Path) -> None:
    """The head is drawn so that the 20 photos are called differently; int8 must call nearly all of them the same."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    backbone = build_backbone("mobilenet_v3_small", find_weights("mobilenet_v3_small", shared / "weights"))
    photo = keras.Input((224, 224, 3))
    features = backbone(keras.layers.RandomFlip("horizontal")(photo), training=False)
    model = keras.Model(photo, keras.layers.Dense(10)(features))
    truth = csv.DictReader((shared / "inat-mini" / "truth.csv").read_text(encoding="utf-8").splitlines())
    served = sorted(row["photo_id"] for row in truth if row["state"] == "served")[:60]
    places = [next((shared / "inat-mini" / "photos" / photo_id).iterdir()) for photo_id in served]
    pixels = np.stack([input_pixels(place, 224, "crop") for place in places])
    floating = model.predict(pixels.astype(np.float32), verbose=0)
    file = to_int8(to_litert(plain_network(model), uint8=False), pixels[20:], lambda *_: None)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    correlation = []
    for row, each in enumerate(pixels[:20]):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], each[None])
        interpreter.invoke()
        logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        correlation.append(np.corrcoef(logits, floating[row])[0, 1])
    assert np.median(correlation) > 0.95
    assert len(file) < 1.5e6
    assert [operation["op_name"] for operation in interpreter._get_ops_details()].count("DELEGATE") == 1
