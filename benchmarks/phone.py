"""What each LiteRT variant of a trained model loses and gains against float32, on the test photos of its dataset.

Run: ``python -m benchmarks.phone DATASET MODEL [VARIANT ...]`` where DATASET has been split and MODEL is the
``model.keras`` of a run on that split. Prints the table of docs/phone.md; differences have a 95 % interval by bootstrap
over test photos. Half of the photos as test photos (``SplitOptions(train=0.4, val=0.1, test=0.5)``) make it narrower.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shroomcurate.backbone import load_keras
from shroomcurate.dataset import Dataset
from shroomcurate.training.data import read_examples
from shroomcurate.training.evaluation import calibration, softmax
from shroomcurate.training.phone import VARIANTS, PhoneOptions, export
from shroomcurate.training.pixels import input_pixels

#: Photos from which int8 takes its ranges.
CALIBRATION = 100


def measure(dataset: Dataset, model: Path, variants: tuple[str, ...]) -> list[str]:
    """Export, and return the lines of the table."""
    keras = load_keras()
    import tensorflow as tf

    examples = read_examples(dataset)
    photos = {
        split: np.stack([input_pixels(examples.places[row], 224, "crop") for row in examples.rows(split)])
        for split in ("train", "test")
    }
    truth = {split: examples.truth[examples.rows(split)].astype(int) for split in photos}
    order = np.random.default_rng(0).permutation(len(photos["train"]))
    training = (
        tf.data.Dataset.from_tensor_slices((photos["train"], truth["train"]))
        .shuffle(len(order), seed=0)
        .batch(32)
        .map(lambda pixels, classes: (tf.cast(pixels, tf.float32), classes))
    )
    logits: list[NDArray[np.float32]] = []

    def score(run: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> dict[str, float | None]:
        logits.append(run(photos["test"]))
        called = logits[-1].argmax(axis=1)
        return {
            "top1": float((called == truth["test"]).mean()),
            "ece": float(calibration(softmax(logits[-1]), truth["test"])[0]),
            "as_float32": float((called == logits[0].argmax(axis=1)).mean()),
        }

    with tempfile.TemporaryDirectory() as scratch:
        files = export(
            keras.models.load_model(model, compile=False),
            labels=examples.labels,
            calibration=photos["train"][order[:CALIBRATION]],
            training=training,
            score=score,
            folder=Path(scratch) / "phone",
            how_to_resize="shorter side to 224 pixels, then the middle",
            options=PhoneOptions(variants=variants),
        )
    rows = [_row(entry, logits[0], each, truth["test"]) for entry, each in zip(files, logits, strict=True)]
    return [
        f"{len(photos['test'])} test photos",
        "| | MB | top-1 | against float32 | called alike | ECE | ms, one thread (p95) | all cores | MB of memory |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def _row(
    entry: dict[str, Any], floating: NDArray[np.float32], logits: NDArray[np.float32], truth: NDArray[np.int64]
) -> str:
    figures, speed = entry["figures"], entry["speed"]
    one, all_cores = speed["one_thread"], speed["all_cores"]
    gain = 100.0 * ((logits.argmax(axis=1) == truth).astype(int) - (floating.argmax(axis=1) == truth).astype(int))
    draws = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
    low, high = np.percentile(gain[draws].mean(axis=1), [2.5, 97.5])
    return (
        f"| `{entry['variant']}`{'' if entry['passed'] else ' (refused)'} | {speed['size_mb']:.2f} "
        f"| {100 * figures['top1']:.2f} % | {gain.mean():+.2f} ({low:+.2f} to {high:+.2f}) "
        f"| {100 * figures['as_float32']:.1f} % | {figures['ece']:.3f} "
        f"| {one['median_ms']:.2f} ({one['p95_ms']:.2f}) | {all_cores['median_ms']:.2f} ({all_cores['p95_ms']:.2f}) "
        f"| {one['memory_mb']:.1f} |"
    )


if __name__ == "__main__":
    print("\n".join(measure(Dataset(Path(sys.argv[1])), Path(sys.argv[2]), tuple(sys.argv[3:]) or VARIANTS)))
