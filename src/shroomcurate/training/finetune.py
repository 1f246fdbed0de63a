"""Fine-tuning MobileNetV3-Small: data, model, stages, in that order.

Follows Keras' guide to transfer learning (https://keras.io/guides/transfer_learning/): a new head on the
frozen network first, then the last blocks at a lower learning rate, recompiled. Batch normalisation keeps ImageNet's
statistics.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.backbone import DEFAULT_BACKBONE, INPUT_PIXELS, build_backbone, load_keras
from shroomcurate.photos import NotAPhoto, read_photo
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training import TrainOptions
    from shroomcurate.training.data import Examples

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]
    Photos = NDArray[np.uint8]

#: The first layer of each of the last three blocks and what follows them is what the second stage trains: the
#: features before are edges and textures, which a few thousand photos cannot improve. Names as Keras gives them.
UNFREEZE_FROM = "expanded_conv_8_expand"

_SHAPE = (INPUT_PIXELS, INPUT_PIXELS, 3)


@dataclass(frozen=True)
class Stage:
    """One call of ``fit``: which layers learn, for how many epochs at most, how fast."""

    name: str
    unfreeze_from: str | None
    """The first layer of the network that learns; None: only the head."""
    epochs: int
    learning_rate: float


# -- data ------------------------------------------------------------------------------------------------------


@contextmanager
def decoded(examples: Examples, folder: Path, progress: Progress) -> Iterator[tuple[Photos, NDArray[np.bool_]]]:
    """Decode every photo once into a file that is mapped into memory, and remove it at the end of the block.

    The file takes 147 KiB a photo (800 photos: 115 MiB); the operating system keeps as much of it in memory as fits,
    so the same code serves 800 photos and 200,000.

    Yields
    ------
    photos
        uint8 ``(photos, 224, 224, 3)``, see :func:`input_pixels`.
    readable
        Which of them could be decoded, ``(photos,)``; the others are black.
    """
    import numpy as np

    cache = folder / "photos.uint8"
    total = len(examples.places)
    readable = np.zeros(total, bool)
    black = np.zeros(_SHAPE, np.uint8)
    try:
        with cache.open("wb") as handle, ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, pixels in enumerate(pool.map(_pixels_or_none, examples.places)):
                readable[row] = pixels is not None
                handle.write((black if pixels is None else pixels).tobytes())
                progress(row + 1, total, "decode photos")
        yield np.memmap(cache, np.uint8, "r", shape=(total, *_SHAPE)), readable
    finally:
        cache.unlink(missing_ok=True)


def input_pixels(place: Path) -> Photos:
    """Return a photo as the network wants it: uint8 ``(224, 224, 3)``, RGB.

    The shorter side is scaled to 224 pixels and the middle cut out: a mushroom often fills the frame.

    Raises
    ------
    NotAPhoto
        It does not decode.
    """
    import numpy as np
    from PIL import Image, ImageOps

    photo = read_photo(place, at_least=INPUT_PIXELS)
    return np.asarray(ImageOps.fit(photo, (INPUT_PIXELS, INPUT_PIXELS), Image.Resampling.BILINEAR))


def _pixels_or_none(place: Path) -> Photos | None:
    try:
        return input_pixels(place)
    except (NotAPhoto, OSError):  # one photo's trouble is that photo's alone
        return None


def _batches(photos: Photos, truth: Ints, rows: Ints, batch_size: int, shuffle_seed: int | None = None) -> Any:
    """Return a ``tf.data.Dataset`` of float32 photos 0..255 and class numbers; shuffled anew each epoch if seeded."""
    import tensorflow as tf

    def look_up(batch: Ints) -> Photos:
        return photos[batch]

    def load(batch: Any) -> tuple[Any, Any]:
        pixels = tf.numpy_function(look_up, [batch], tf.uint8)
        return tf.cast(tf.ensure_shape(pixels, (None, *_SHAPE)), tf.float32), tf.gather(truth, batch)

    dataset = tf.data.Dataset.from_tensor_slices(rows)
    if shuffle_seed is not None:
        dataset = dataset.shuffle(len(rows), seed=shuffle_seed, reshuffle_each_iteration=True)
    return dataset.batch(batch_size).map(load).prefetch(2)


# -- model -----------------------------------------------------------------------------------------------------


def build_model(classes: int, weights: Path, seed: int) -> tuple[keras.Model, keras.Model]:
    """Return the classifier and the network inside it.

    The classifier takes RGB photos 0..255, ``(batch, 224, 224, 3)``, and gives logits, ``(batch, classes)``. The
    augmentation is part of it and acts in training only.
    """
    import keras

    layers = keras.layers
    backbone = build_backbone(DEFAULT_BACKBONE, weights)
    photos = keras.Input(_SHAPE, name="photo")
    # A mushroom is photographed from any side, near or far, in any light: these change no species.
    augmentations = [
        layers.RandomFlip("horizontal", seed=seed, name="flip", dtype="float32"),
        layers.RandomRotation(0.08, seed=seed + 1, name="rotation", dtype="float32"),
        layers.RandomTranslation(0.1, 0.1, seed=seed + 2, name="translation", dtype="float32"),
        layers.RandomZoom((-0.25, 0.05), seed=seed + 3, name="zoom", dtype="float32"),
        layers.RandomContrast(0.2, value_range=(0, 255), seed=seed + 4, name="contrast", dtype="float32"),
        layers.RandomBrightness(0.15, value_range=(0, 255), seed=seed + 5, name="brightness", dtype="float32"),
    ]
    flow = photos
    for augmentation in augmentations:
        flow = augmentation(flow)
    flow = backbone(flow, training=False)
    flow = layers.Dropout(0.2, seed=seed + 6, name="dropout")(flow)
    logits = layers.Dense(classes, name="logits", dtype="float32")(flow)
    return keras.Model(photos, logits, name="shroomcurate_baseline"), backbone


# -- stages ----------------------------------------------------------------------------------------------------


def finetune(
    photos: Photos,
    examples: Examples,
    train: Ints,
    *,
    options: TrainOptions,
    weights: Path,
    folder: Path,
    progress: Progress,
) -> tuple[Floats, Floats]:
    """Train on the rows `train`, save the model, and return the logits of the val and the test photos.

    Writes ``model.keras`` and ``history.csv`` into the folder. The weights kept are those of the
    epoch with the least validation loss over both stages.
    """
    with repeatable_keras(options.seed) as keras:
        model, backbone = build_model(len(examples.labels), weights, options.seed)
        learning = _batches(photos, examples.truth, train, options.batch_size, options.seed)
        val, test = (
            _batches(photos, examples.truth, examples.rows(split), options.batch_size) for split in ("val", "test")
        )
        best = folder / "best.weights.h5"
        keep_best = keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True)
        epochs_done = 0
        for stage in (
            Stage("head", None, options.head_epochs, options.head_learning_rate),
            Stage("last blocks", UNFREEZE_FROM, options.block_epochs, options.block_learning_rate),
        ):
            _freeze(backbone, stage.unfreeze_from)
            model.compile(
                optimizer=keras.optimizers.Adam(stage.learning_rate),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )
            history = model.fit(
                learning,
                validation_data=val,
                initial_epoch=epochs_done,
                epochs=epochs_done + stage.epochs,
                callbacks=[keep_best, *_callbacks(stage, len(learning), folder, progress)],
                shuffle=False,  # the dataset shuffles itself
                verbose=0,
            )
            epochs_done += len(history.epoch)
        trained = keras.Model(model.inputs, model.outputs, name=model.name)  # without an optimizer, which is done with
        trained.load_weights(best)
        best.unlink()
        save_model(trained, folder)
        return trained.predict(val, verbose=0), trained.predict(test, verbose=0)


@contextmanager
def repeatable_keras(seed: int) -> Iterator[Any]:
    """Give Keras with seeds set and deterministic operations, and with mixed precision where there is a GPU.

    Deterministic operations cannot be switched off again in the same process; the rest is as before afterwards.
    """
    keras = load_keras()
    import tensorflow as tf

    keras.backend.clear_session()  # names of layers start afresh, so that a second model is saved as the first was
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with suppress(RuntimeError):  # this process uses the GPU already: it keeps its way
            tf.config.experimental.set_memory_growth(gpu, True)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if gpus else "float32")
    try:
        yield keras
    finally:
        keras.config.set_dtype_policy(before)


def _freeze(backbone: keras.Model, unfreeze_from: str | None) -> None:
    """Let the layers from this one on learn, all but batch normalisation; None: no layer.

    Only a batch normalisation that is not trainable stays in inference mode here: Keras 3 lets the mode of the outer
    model overrule a ``training=False`` given to an inner one.
    """
    import keras

    learns = False
    backbone.trainable = True
    for layer in backbone.layers:
        learns = learns or layer.name == unfreeze_from
        layer.trainable = learns and not isinstance(layer, keras.layers.BatchNormalization)


def _callbacks(stage: Stage, batches: int, folder: Path, progress: Progress) -> list[Any]:
    import keras

    done = 0

    def batch_done(*_: object, **__: object) -> None:
        nonlocal done
        done += 1
        progress(done, stage.epochs * batches, f"train {stage.name}")

    def stage_done(*_: object, **__: object) -> None:  # early stopping jumps to the end
        progress(stage.epochs * batches, stage.epochs * batches, f"train {stage.name}")

    return [
        keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.3),
        keras.callbacks.EarlyStopping(patience=4, restore_best_weights=True),
        keras.callbacks.CSVLogger(folder / "history.csv", append=True),
        keras.callbacks.LambdaCallback(on_train_batch_end=batch_done, on_train_end=stage_done),
    ]


def save_model(model: keras.Model, folder: Path) -> None:
    """Write ``model.keras``; equal weights give equal bytes.

    Keras writes something of the moment, which is left out: the date, and the memory addresses by which it numbers
    shared objects.
    """
    dated = folder / "dated.keras"
    model.save(dated)
    numbers: dict[str, int] = {}

    def renumber(match: re.Match[str]) -> str:
        return f'"shared_object_id": {numbers.setdefault(match[1], len(numbers) + 1)}'

    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(folder / "model.keras", "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                facts = json.loads(content)
                facts.pop("date_saved", None)
                content = json.dumps(facts, sort_keys=True).encode()
            elif name == "config.json":
                content = re.sub(r'"shared_object_id": (\d+)', renumber, content.decode()).encode()
            target.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's own date is 1980-01-01
    dated.unlink()
