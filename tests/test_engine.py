"""The engine: LiteRT, and Keras in batches as on a GPU, give the same vectors, whatever works beside them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from shroomcurate.architectures import BACKBONES
from shroomcurate.backbone import build_backbone, empty_backbone, find_weights
from shroomcurate.dataset import Dataset, Receipt, file_hash, read_receipt, read_table
from shroomcurate.descriptors import CLASSIC_LENGTH, classic_vector
from shroomcurate.embed import EmbedOptions, embed, engine, litert_model, look, network_input, work
from shroomcurate.embed.engine import Engine, embed_in_batches, open_engine, share_cores
from shroomcurate.embed.look import looker
from shroomcurate.embed.rows import Rows
from shroomcurate.errors import WeightsMissing
from shroomcurate.photos import read_photo
from shroomcurate.processes import own_command, own_environment
from shroomcurate.vectors import read_vectors
from tests.conftest import jpeg

SMALL = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Converting takes longer than all the rest, so all tests share what was converted."""
    home = tmp_path_factory.getbasetemp() / "converted"
    monkeypatch.setenv("SHROOMCURATE_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(SMALL, tmp_path_factory.mktemp("small") / "own.weights.h5")


def random_weights(name: str, file: Path) -> Path:
    """Weights that let photos through: with those that Keras begins with, every vector is nearly nought."""
    import keras

    model = empty_backbone(name)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(keras.ops.ones_like(layer.gamma))
    model(photos(4).astype(np.float32), training=True)  # the statistics that normalise become those of these photos
    model.save_weights(file)
    return file


def photos(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(1).integers(0, 255, (count, 14, 14, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((224, 224))) for each in coarse])


# The others are made of the same layers as the first.
@pytest.mark.parametrize("name", [SMALL, pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_litert_and_keras_in_batches_give_the_same_vectors(name: str, tmp_path: Path, small_weights: Path) -> None:
    weights = small_weights if name == SMALL else random_weights(name, tmp_path / "own.weights.h5")
    pixels = photos(3)
    model = build_backbone(name, weights)
    expected = model(pixels.astype(np.float32), training=False).numpy()
    assert expected.shape == (3, BACKBONES[name].features)
    assert expected.std(axis=0).mean() > 0.02  # photos differ by far more than the tolerance
    batched = embed_in_batches(model, pixels, batch=2)
    assert np.abs(batched - expected).max() < 1e-3
    files = saved(tmp_path, pixels)
    seen = np.stack([network_input(read_photo(file)) for _, file in files])
    with open_engine(name, weights, None, photos=3) as opened:
        assert (opened.together is None) == (opened.model is not None) == name.startswith("mobilenet")
        looked = looker(name, opened.model)(files)
        vectors = opened.together(looked.values) if opened.together else looked.values
        assert opened.together is None or (looked.values == seen).all()
        again = looker(name, opened.model)(files[:1]).values
        assert (again[0] == looked.values[0]).all()
    assert np.abs(embed_in_batches(model, seen, batch=2) - vectors).max() < 1e-3


def saved(folder: Path, pixels: Iterable[NDArray[np.uint8]]) -> list[tuple[str, Path]]:
    files = [(f"Class/{number}.png", folder / f"{number}.png") for number, _ in enumerate(pixels)]
    for (_, file), each in zip(files, pixels, strict=True):
        Image.fromarray(each).resize((256, 256)).save(file)
    return files


def test_no_photos_have_no_vectors(tmp_path: Path) -> None:
    model = SimpleNamespace(output_shape=(None, 576))
    assert embed_in_batches(model, np.zeros((0, 224, 224, 3), np.uint8)).shape == (0, 576)


@given(st.integers(1, 500_000_000), st.integers(1, 256))
def test_every_core_has_a_thread_and_large_networks_have_few_copies(weights: int, cores: int) -> None:
    interpreters, threads = share_cores(weights, cores)
    assert 1 <= interpreters <= cores
    assert cores <= interpreters * threads < cores + interpreters
    assert interpreters == 1 or interpreters * weights <= 200_000_000


def test_a_small_network_has_an_interpreter_a_core_and_the_largest_one_for_all() -> None:
    assert share_cores(4_000_000, 16) == (16, 1)
    assert share_cores(111_000_000, 16) == (1, 16)


# -- a GPU -----------------------------------------------------------------------------------------------------


def tree(root: Path, count: int) -> Dataset:
    for number in range(count):
        file = root / "pictures" / f"Class_{number % 2}" / f"p{number:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(number, hue=number * 7, size=(300, 280)))
    return Dataset(images=root / "pictures")


def test_a_run_in_batches_writes_the_table_that_litert_writes_within_1e_3(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    options = EmbedOptions(weights=small_weights)
    dataset = tree(tmp_path, 11)
    (dataset.images / "Class_0" / "p004.jpg").write_bytes(b"<html>")
    alone = embed(dataset, options)
    on_cpu = read_table(dataset.path("embeddings.parquet"))
    vectors = read_vectors(dataset.path("embeddings.parquet"))
    dataset.path("embeddings.parquet").unlink()

    # A system that has a card's device, and a TensorFlow that calls the processor a GPU.
    monkeypatch.setattr(engine, "_GPU_DEVICES", (str(tmp_path),))
    monkeypatch.setattr(engine, "_WORTH_A_GPU", 5)
    monkeypatch.setattr(engine, "BATCH", 4)
    cards = tf.config.list_physical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: cards)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *_, **__: None)
    monkeypatch.setattr(engine, "litert", lambda *_: pytest.fail("LiteRT was used"))
    monkeypatch.setattr(look, "litert", lambda *_: pytest.fail("LiteRT was used"))
    in_batches = embed(dataset, options)
    assert in_batches == alone
    assert list(in_batches.undecodable) == ["pictures/Class_0/p004.jpg"]
    table = read_table(dataset.path("embeddings.parquet"))
    assert table.drop_columns("vector") == on_cpu.drop_columns("vector")
    assert np.abs(read_vectors(dataset.path("embeddings.parquet")) - vectors).max() < 1e-3
    assert read_receipt(dataset.path("embeddings.parquet")).options["weights"] == file_hash(small_weights)  # type: ignore[union-attr]


@pytest.mark.parametrize("trouble", ["no card", "no room"])
def test_a_card_that_tensorflow_cannot_use_leaves_the_work_to_litert(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    import tensorflow as tf

    def full(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")

    monkeypatch.setattr(engine, "_GPU_DEVICES", (str(tmp_path),))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["card"] if trouble == "no room" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *_, **__: None)
    monkeypatch.setattr(engine, "embed_in_batches", full)
    with open_engine(SMALL, small_weights, None, photos=10_000) as opened:
        assert opened.together is None
        assert opened.model is not None


def test_without_a_cards_device_tensorflow_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_GPU_DEVICES", (str(tmp_path / "nvidia0"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not engine.has_gpu_device()
    (tmp_path / "nvidia0").touch()
    assert engine.has_gpu_device()


# -- working ahead ---------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 5))
def test_results_keep_their_order_whatever_each_takes(naps: list[int], threads: int) -> None:
    def rest(nap: int) -> int:
        time.sleep(nap / 1000)
        return nap

    with work._pool(threads) as pool:
        assert list(work._in_order(rest, naps, pool, threads)) == naps


def test_threads_work_ahead_of_what_is_taken_but_not_without_limit() -> None:
    started = []
    enough = threading.Event()

    def note(number: int) -> int:
        started.append(number)
        if len(started) > 10:
            enough.set()
        return number

    with work._pool(2) as pool:
        results = work._in_order(note, range(10_000), pool, 20)
        assert next(results) == 0
        assert enough.wait(10)
        time.sleep(0.1)
        assert len(started) < 30


def test_an_error_ends_a_run_although_much_was_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(photo: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        time.sleep(0.5)
        return classic_vector(photo)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(look, "classic_vector", slow)
    files = tree(tmp_path, 100).photos()
    opened = Engine("classic", workers=2)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work.describe(
            Rows(list(files), CLASSIC_LENGTH), list(files), files, opened, tmp_path, Receipt("embed", {}), stop
        )
    assert time.monotonic() - start < 20  # fifty seconds of work were submitted
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_a_slow_network_is_journalled_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_BLOCK_SECONDS", 0)
    monkeypatch.setattr(work, "_REPORT_SECONDS", 0)
    dataset = tree(tmp_path, 20)
    files = dataset.photos()
    rows = Rows(list(files), CLASSIC_LENGTH)
    reached = []
    journal = tmp_path / "journal"
    opened = Engine("classic", block=2)
    bad = work.describe(
        rows, list(files), files, opened, journal, Receipt("embed", {}), lambda done, *_: reached.append(done)
    )
    assert not bad
    assert not rows.missing()
    assert reached == list(range(2, 21, 2))
    parts = [read_table(part) for part in journal.glob("*.parquet")]
    assert len(parts) == 9
    paths = [path for part in parts for path in part["path"].to_pylist()]
    assert len(set(paths)) == 18  # the last go straight into the table


def test_weights_that_give_no_numbers_are_named_and_nothing_is_written(tmp_path: Path, small_weights: Path) -> None:
    model = build_backbone(SMALL, small_weights)
    model.set_weights([np.full_like(each, np.nan) for each in model.get_weights()])
    model.save_weights(tmp_path / "nan.weights.h5")
    dataset = tree(tmp_path, 2)
    with pytest.raises(WeightsMissing, match=r"pictures/Class_0/p000.jpg holds what is no number"):
        embed(dataset, EmbedOptions(weights=tmp_path / "nan.weights.h5"))
    assert not dataset.path("embeddings.parquet").exists()


# -- processes beside this one -----------------------------------------------------------------------------------


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes for the fewest photos, as many as two cores would have."""
    monkeypatch.setattr(look, "_FEW", 0)
    monkeypatch.setattr(engine, "_BLOCK", 4)
    monkeypatch.setattr(engine, "cores", lambda: 2)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_processes_write_the_table_that_one_process_writes(
    tmp_path: Path, small_weights: Path, in_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tree(tmp_path, 21)
    (dataset.images / "Class_0" / "p004.jpg").write_bytes(b"<html>")
    before = children()
    for options in (EmbedOptions("classic"), EmbedOptions(weights=small_weights)):
        monkeypatch.setattr(look, "_FEW", 0)
        beside = embed(dataset, options)
        table = dataset.path("embeddings.parquet").read_bytes()
        assert children() == before
        dataset.path("embeddings.parquet").unlink()
        monkeypatch.setattr(look, "_FEW", 1000)
        assert embed(dataset, options) == beside
        assert list(beside.undecodable) == ["pictures/Class_0/p004.jpg"]
        assert dataset.path("embeddings.parquet").read_bytes() == table


def ending(photo: str, act: str, tmp_path: Path) -> tuple[str, ...]:
    """The process that looks at photos, but when it decodes this one, it does that."""
    code = f"""
        import os, time
        from shroomcurate.embed import look
        decode = look.decode_photo
        def decode_photo(content, **options):
            if content == open({photo!r}, "rb").read():
                {act}
            return decode(content, **options)
        look.decode_photo = decode_photo
        look.main()
    """
    return sys.executable, "-c", textwrap.dedent(code), "classic"


@pytest.mark.parametrize("act", ["os._exit(7)", "os.kill(os.getpid(), 11)", "time.sleep(60)"])
def test_a_photo_that_ends_or_hangs_its_decoder_costs_itself_only(
    tmp_path: Path, in_processes: None, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    dataset = tree(tmp_path, 21)
    bad = dataset.images / "Class_1" / "p005.jpg"
    monkeypatch.setattr(look, "own_command", lambda *_: ending(str(bad), act, tmp_path))
    monkeypatch.setattr(look, "_PATIENCE", 5.0)
    before = children()
    summary = embed(dataset, EmbedOptions("classic"))
    assert summary.photos == 20
    assert list(summary.undecodable) == ["pictures/Class_1/p005.jpg"]
    assert "ends the decoder" in summary.undecodable["pictures/Class_1/p005.jpg"]
    assert children() == before


def test_processes_that_do_not_start_are_no_photo_s_fault(
    tmp_path: Path, in_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "own_command", lambda *_: (sys.executable, "-c", "raise SystemExit(3)"))
    before = children()
    with pytest.raises(RuntimeError, match=r"does not start \(3\)"):
        embed(tree(tmp_path, 8), EmbedOptions("classic"))
    assert children() == before


def test_a_process_whose_answer_nobody_hears_any_more_ends_without_a_word() -> None:
    ears, mouth = os.pipe()
    os.close(ears)
    with subprocess.Popen(
        own_command("shroomcurate.embed.look", "classic"),
        stdin=subprocess.PIPE,
        stdout=mouth,
        stderr=subprocess.PIPE,
        env=own_environment(),
    ) as process:
        os.close(mouth)
        words = process.communicate(pickle.dumps([]), timeout=60)[1]
    assert words == b""


def test_what_is_no_photo_s_fault_is_raised_where_it_was_asked(
    tmp_path: Path, in_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tree(tmp_path, 8)
    act = "raise MemoryError('nothing left')"
    monkeypatch.setattr(look, "own_command", lambda *_: ending(str(dataset.images / "Class_0/p000.jpg"), act, tmp_path))
    with pytest.raises(MemoryError, match="nothing left"):
        embed(dataset, EmbedOptions("classic"))


# -- real photos -----------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_litert_gives_what_keras_gives_whatever_the_order_of_photos(
    shared: Path, tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = find_weights(SMALL, shared / "weights")
    options = EmbedOptions(weights=weights)
    for number, folder in enumerate(sorted((shared / "inat-mini" / "photos").iterdir())[:40]):
        for file in folder.glob("medium.*"):
            target = tmp_path / "images" / f"Class_{number % 2}" / f"{folder.name}{file.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    dataset = Dataset(tmp_path)
    summary = embed(dataset, options)
    assert summary.photos + len(summary.undecodable) == len(dataset.photos()) > 30
    table = read_table(dataset.path("embeddings.parquet"))
    model = build_backbone(SMALL, weights)
    inputs = np.stack([network_input(read_photo(tmp_path / path, at_least=256)) for path in table["path"].to_pylist()])
    expected = model.predict(inputs.astype(np.float32), verbose=0)
    assert np.abs(expected - read_vectors(dataset.path("embeddings.parquet"))).max() < 1e-3

    converted = litert_model(SMALL, weights)
    assert file_hash(weights) in converted.name
    assert not [file for file in converted.parent.iterdir() if file.suffix != ".tflite"]
    before = dataset.path("embeddings.parquet").read_bytes()
    for cores, copies, few in ((5, 5, 1000), (3, 1, 1000), (2, 2, 0)):
        dataset.path("embeddings.parquet").unlink()
        monkeypatch.setattr(engine, "cores", lambda number=cores: number)
        monkeypatch.setattr(engine, "_PACKED_BYTES", copies * converted.stat().st_size)
        monkeypatch.setattr(look, "_FEW", few)
        embed(dataset, options)
        assert dataset.path("embeddings.parquet").read_bytes() == before
