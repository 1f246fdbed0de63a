"""The trained classifier as files for a phone: LiteRT in float32, float16 and int8, each measured as the app runs it.

Reads: a trained model and photos, from the caller. Writes into a folder of its own: ``float32.tflite``,
``float16.tflite``, ``int8.tflite`` (ranges from calibration photos), ``int8_qat.tflite`` (weights fine-tuned for int8
before) and ``model.json``, which says what an app must know and what each file is worth. Resumes: it does not; what a
killed export left is cleared away by the next, and ``model.json`` is written last.

Every file is loaded again by LiteRT and scored by the caller's own measure. One that loses more than the gate allows
against float32 goes into ``refused/``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.backbone import silent_stderr
from shroomcurate.dataset import file_hash, write_bytes
from shroomcurate.errors import BadOption
from shroomcurate.progress import Progress, silent
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.training.phone.awareness import fine_tuned
from shroomcurate.training.phone.labelled import LABELS_FILE, with_labels
from shroomcurate.training.phone.network import plain_network, to_litert
from shroomcurate.training.phone.ranges import to_int8
from shroomcurate.training.speed import SpeedOptions, measure_speed

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    Photos = NDArray[np.uint8]
    Logits = NDArray[np.float32]

FORMAT = 1
"""Of ``model.json``; another number means that an app written for this one cannot read it."""

VARIANTS = ("float32", "float16", "int8", "int8_qat")

_UNFINISHED = ".unfinished"

#: Interpreters that score a file; each has the weights once more.
_WORKERS = 8

Score = Callable[[Callable[["Photos"], "Logits"]], Mapping[str, float | None]]
"""Figures of a function from uint8 photos ``(photos, height, width, 3)`` to logits ``(photos, classes)``."""


@dataclass(frozen=True)
class PhoneOptions:
    """What to export, and what a file may lose.

    Parameters
    ----------
    variants
        Some of :data:`VARIANTS`; ``float32`` is always among them, since the others are measured against it.
    max_loss_points
        Percentage points below float32 at which a file is refused, in any of `gate`.
    gate
        Figures of the score that must hold; shares of 1, more is better. One that float32 lacks is not asked for.
    epochs, learning_rate
        Of the fine-tuning for int8. Three epochs at a third of what trained the last blocks: the weights have to move
        by no more than a step or two of int8.
    seed
        Of the fine-tuning.
    speed
        How long to measure latency; None: not at all.
    """

    variants: Sequence[str] = VARIANTS
    max_loss_points: float = 1.5
    gate: Sequence[str] = ("top1", "poisonous_recall")
    epochs: int = 3
    learning_rate: float = 3e-5
    seed: int = 0
    speed: SpeedOptions | None = SpeedOptions()

    def __post_init__(self) -> None:
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise BadOption(f"There is no variant {unknown[0]}.", f"Choose among {', '.join(VARIANTS)}.")
        if self.max_loss_points < 0:
            raise BadOption(f"The gate is {self.max_loss_points:g} points.", "Give 0 or more.")


def export(
    model: keras.Model,
    *,
    labels: Sequence[str],
    calibration: Photos,
    training: Iterable[tuple[Any, Any]],
    score: Score,
    folder: Path,
    how_to_resize: str,
    temperature: float = 1.0,
    threshold: float | None = None,
    options: PhoneOptions = PhoneOptions(),
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Write the files, and return what ``model.json`` says of each.

    Parameters
    ----------
    model
        The classifier: RGB photos 0..255 as float, ``(batch, height, width, 3)``, to logits ``(batch, classes)``;
        augmentations, if any, are its own layers.
    labels
        Names of the classes, in the order of the logits.
    calibration
        Training photos from which int8 learns its ranges; 100 to 200 are enough.
    training
        Batches of float32 photos 0..255 and class numbers for ``int8_qat``; iterated `options.epochs` times.
    score
        Called once for each file, with a function that runs the file as it lies on the disk.
    folder
        Where the files go; its own, made if need be.
    how_to_resize
        How a photo becomes the network's input, in a sentence for whoever writes the app.
    temperature, threshold
        By which logits are divided before softmax, and the certainty at and below which the app must say that it does
        not know; from the caller. Where `score` gives a file a ``threshold`` of its own, ``model.json`` has the largest
        of those that passed, which holds for all of them.

    Returns
    -------
    list of dict
        One for each variant: ``variant``, ``file`` (relative to the folder; within ``refused/`` if the gate refused
        it), ``sha256``, ``passed``, ``refused_because`` (empty if it passed), ``figures`` (from `score`),
        ``lost_points`` (by figure of the gate) and ``speed`` (see :func:`shroomcurate.training.speed.measure_speed`).
    """
    _clear(folder)
    files: list[dict[str, Any]] = []
    for variant, content in _variants(model, calibration, training, options, progress):
        unfinished = folder / _UNFINISHED / f"{variant}.tflite"
        write_bytes(unfinished, with_labels(content, labels))
        entry: dict[str, Any] = {"variant": variant, "file": unfinished.name, "sha256": file_hash(unfinished)}
        entry["figures"] = dict(score(run_file(unfinished)))
        entry["lost_points"] = lost_points(
            files[0]["figures"] if files else entry["figures"], entry["figures"], options
        )
        entry["refused_because"] = refusal(entry["lost_points"], options)
        entry["passed"] = not entry["refused_because"]
        entry["speed"] = measure_speed(unfinished, options.speed) if options.speed else None
        if not entry["passed"]:
            entry["file"] = f"refused/{unfinished.name}"
        files.append(entry)
    for entry in files:
        target = folder / entry["file"]
        target.parent.mkdir(exist_ok=True)
        (folder / _UNFINISHED / target.name).replace(target)
    _clear_unfinished(folder)
    facts = _facts(model, labels, how_to_resize, temperature, threshold, options, files)
    write_bytes(folder / "model.json", (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
    return files


def _variants(
    model: keras.Model, calibration: Photos, training: Iterable[Any], options: PhoneOptions, progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """Give each variant that is asked for, float32 first."""
    asked = [name for name in VARIANTS if name == "float32" or name in options.variants]
    network = plain_network(model)
    for variant in asked:
        if variant == "int8":
            content = to_int8(to_litert(network, uint8=False), calibration, progress)
        elif variant == "int8_qat":
            tuned = fine_tuned(
                model,
                training,
                epochs=options.epochs,
                learning_rate=options.learning_rate,
                seed=options.seed,
                progress=progress,
            )
            content = to_int8(to_litert(tuned, uint8=False), calibration, progress)
        else:
            content = to_litert(network, half=variant == "float16")
        yield variant, content


# -- the gate --------------------------------------------------------------------------------------------------


def lost_points(
    floating: Mapping[str, float | None], quantised: Mapping[str, float | None], options: PhoneOptions
) -> dict[str, float]:
    """Return by how many percentage points each figure of the gate is lower than float32's; negative: higher.

    A figure that float32 has and the other lacks counts as lost altogether.
    """
    held = {name: value for name in options.gate if (value := floating.get(name)) is not None}
    return {name: round(100 * (value - (quantised.get(name) or 0.0)), 6) for name, value in held.items()}


def refusal(lost: Mapping[str, float], options: PhoneOptions) -> str:
    """Return why the gate refuses a file that lost so many points, or nothing."""
    return "; ".join(
        f"{name} fell by {points:.2f} points, more than the {options.max_loss_points:g} allowed"
        for name, points in lost.items()
        if not points <= options.max_loss_points  # also when it is not a number
    )


# -- the files -------------------------------------------------------------------------------------------------


def run_file(file: Path) -> Callable[[Photos], Logits]:
    """Return a function that runs a LiteRT file on uint8 photos, which several threads share."""
    workers = min(os.cpu_count() or 1, _WORKERS)

    def run(photos: Photos) -> Logits:
        import numpy as np

        parts = np.array_split(photos, min(workers, max(1, len(photos))))  # each loads the file
        with ThreadPoolExecutor(workers) as pool:
            return np.concatenate(list(pool.map(lambda part: _run(file, part), parts)))

    return run


def _run(file: Path, photos: Photos) -> Logits:
    """Load the file, and run it on photos one after the other."""
    import numpy as np

    with silent_stderr():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(file), num_threads=1)
        interpreter.allocate_tensors()
    to = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]
    logits = np.empty((len(photos), result["shape"][-1]), np.float32)
    for row, pixels in enumerate(photos):
        interpreter.set_tensor(to, pixels[None])
        interpreter.invoke()
        logits[row] = interpreter.get_tensor(result["index"])[0]
    return logits


def _facts(
    model: keras.Model,
    labels: Sequence[str],
    how_to_resize: str,
    temperature: float,
    threshold: float | None,
    options: PhoneOptions,
    files: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return what ``model.json`` holds."""
    height, width = model.input_shape[1:3]
    own = [file["figures"]["threshold"] for file in files if file["passed"] and file["figures"].get("threshold")]
    return {
        "format": FORMAT,
        "safety": SAFETY_NOTICE,
        "input": {"shape": [1, height, width, 3], "type": "uint8", "values": "RGB, 0 to 255", "resize": how_to_resize},
        "output": {"shape": [1, len(labels)], "type": "float32", "values": "logits"},
        "temperature": temperature,
        "threshold": max([threshold, *own]) if threshold is not None else None,
        "labels": list(labels),
        "labels_inside": LABELS_FILE,
        "gate": {"figures": list(options.gate), "max_loss_points": options.max_loss_points},
        "fine_tuning": {"epochs": options.epochs, "learning_rate": options.learning_rate, "seed": options.seed}
        if "int8_qat" in options.variants
        else None,
        "files": files,
    }


def _clear(folder: Path) -> None:
    """Take away what an earlier export left; ``model.json`` first, so that no app takes a mixture for whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").unlink(missing_ok=True)
    _clear_unfinished(folder)
    for place in (folder, folder / "refused"):
        for variant in VARIANTS:
            (place / f"{variant}.tflite").unlink(missing_ok=True)


def _clear_unfinished(folder: Path) -> None:
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)
