"""What a run's folder holds beside its model: figures, predictions, and how it came to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate import edibility
from shroomcurate.dataset import Column, Receipt, make_table, write_table
from shroomcurate.progress import Progress
from shroomcurate.runs import ENVIRONMENT
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.training.danger import danger
from shroomcurate.training.epochs import order
from shroomcurate.training.evaluation import TOP, evaluate, fit_temperature, likeliest, softmax
from shroomcurate.training.options import PHONES
from shroomcurate.training.phone import PhoneOptions, export
from shroomcurate.training.pixels import batches
from shroomcurate.training.plots import write_plots
from shroomcurate.training.speed import SpeedOptions
from shroomcurate.training.verdict import confused_photos, dragging

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.finetune import Trainer
    from shroomcurate.training.network import Network
    from shroomcurate.training.options import TrainOptions
    from shroomcurate.training.stages import Trained

    Floats = NDArray[np.floating[Any]]
    Photos = NDArray[np.uint8]

#: The folder of a run with its LiteRT files and their ``model.json``.
PHONE = "phone"

#: predictions.parquet: one row per test photo, sorted by path.
SCHEMA = (
    Column("path", "string", "the photo, relative to the dataset"),
    Column("class", "string", "its class"),
    Column("predicted", "string", "the class the model finds likeliest"),
    Column("probability", "float", "how sure it is of that, 0..1, as trained"),
    Column("calibrated", "float", "how sure it is of that, 0..1, after temperature scaling"),
    Column("top5", "string", "the five likeliest classes, best first, as a JSON list"),
)

#: Below this certainty an answer is more likely wrong than right.
AS_LIKELY_WRONG = 0.5
#: Certainties of the same photo differ by a few millionths between Keras, LiteRT and processors.
MARGIN = 0.001


def write_results(
    folder: Path, trained: Trained, options: TrainOptions, config: dict[str, Any], progress: Progress
) -> None:
    """Write the figures, predictions, plots and files for a phone into the folder."""
    metrics = _metrics(trained, options) | {"inputs": config["inputs"]}
    write_json(folder / "labels.json", list(trained.examples.labels))
    write_json(folder / ENVIRONMENT, _environment(config))
    _write_predictions(folder / "predictions.parquet", trained, metrics["temperature"], config)
    write_plots(folder, metrics)
    if trained.network is not None and trained.trainer is not None:
        files = _write_phone(folder / PHONE, trained.network, trained.trainer, metrics, progress)
        metrics["threshold"] = files[0]["figures"]["threshold"]  # that of the file which `predict` asks
    write_json(folder / "metrics.json", metrics)
    progress(1, 1, "figures")


def _environment(config: dict[str, Any]) -> dict[str, Any]:
    """Return on what the run was made, for whoever wonders why it is slower or other elsewhere."""
    import os
    import platform

    facts = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "versions": config["versions"],
    }
    if config["options"]["mode"] == "probe":
        return facts
    import tensorflow as tf

    cards = [tf.config.experimental.get_device_details(card) for card in tf.config.list_physical_devices("GPU")]
    return facts | {"gpus": [card.get("device_name", "unknown") for card in cards]}


def _write_phone(
    folder: Path, network: Network, trainer: Trainer, metrics: dict[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """Write the LiteRT files, each scored on the test photos as it lies on the disk, and return what is said of each.

    Each has a threshold of its own: its certainties are not quite those of the network that Keras runs, least of all
    where that computes in half precision or the file in int8, and the threshold lies at the very edge of them.
    """
    import numpy as np

    examples, options = trainer.examples, trainer.options
    test = examples.rows("test")
    truth, groups = examples.truth[test], [examples.groups[row] for row in test]

    def score(run: Callable[[Photos], Floats]) -> dict[str, float | None]:
        parts = np.array_split(test, -(-len(test) // _AT_ONCE))
        logits = np.concatenate([run(trainer.photos[part]) for part in parts])
        found = evaluate(logits, truth, groups, examples.labels, metrics["temperature"])
        calibrated = softmax(logits, metrics["temperature"])
        harm = danger(calibrated, truth, examples.labels, metrics["edibility"])
        own = round(max(metrics["threshold"], _threshold(harm)), 6)
        return {
            **{name: found[name] for name in ("top1", "top5", "macro_f1", "ece", "ece_calibrated")},
            "poisonous_recall": (harm["recall_poisonous"] or {}).get("share"),
            "threshold": own,
        }

    train = examples.rows("train")
    return export(
        network.classifier,
        labels=examples.labels,
        calibration=trainer.photos[train[:: -(-len(train) // CALIBRATION)]],
        training=batches(
            trainer.photos, examples.truth, order(train, examples.truth, "none", 0, 0), options.batch_size
        ),
        score=score,
        folder=folder,
        how_to_resize=_RESIZE[options.resize].format(pixels=trainer.photos.shape[1]),
        temperature=metrics["temperature"],
        threshold=metrics["threshold"],
        options=PhoneOptions(variants=PHONES[options.phone], seed=options.seed, speed=SPEED),
        progress=progress,
    )


#: What differs between libraries, and moves certainties: see docs/phone.md.
_FILTER = (
    " with a bilinear filter that is antialiased, which is to say as wide as the photo shrinks (Pillow's BILINEAR; not "
    "four neighbours, as Bitmap.createScaledBitmap or OpenCV's INTER_LINEAR)"
)
_RESIZE = {
    "crop": "make it upright, cut the largest square out of its middle, and scale that to {pixels} x {pixels}"
    + _FILTER,
    "pad": "make it upright, scale its longer side to {pixels}" + _FILTER + "; it stands in the middle of black",
}
#: How long the files are timed.
SPEED = SpeedOptions()
#: Training photos from which int8 learns its ranges, at most.
CALIBRATION = 200
#: Test photos that are in memory at once while a file is scored: 600 MB of 224 pixels.
_AT_ONCE = 4096


def _metrics(trained: Trained, options: TrainOptions) -> dict[str, Any]:
    examples = trained.examples
    test, val = examples.rows("test"), examples.rows("val")
    if len(examples.labels) <= TOP:
        trained.notes.append(f"top-5 is 1 by definition: there are no more than {TOP} classes")
    temperature = fit_temperature(trained.val, examples.truth[val])
    calibrated = softmax(trained.test, temperature)
    found = evaluate(
        trained.test,
        examples.truth[test],
        [examples.groups[row] for row in test],
        examples.labels,
        temperature,
        [examples.observations[row] for row in test],
    )
    if worse := _worse_calibrated(found, len(val)):
        trained.notes.append(worse)
    groups = [examples.groups[row] for row in test]
    words = {label: edibility.of(label).edibility for label in examples.labels}
    harm = danger(calibrated, examples.truth[test], examples.labels, words, groups=groups)
    return {
        "safety": SAFETY_NOTICE,
        "mode": options.mode,
        "architecture": options.architecture if options.mode == "finetune" else None,
        "seed": options.seed,
        "classes": list(examples.labels),
        "left_out": examples.left_out,
        "photos": examples.counts(),
        **found,
        "most_confused": confused_photos(examples, calibrated),
        "dragging": dragging(examples, trained.test),
        "edibility": words,
        "danger": harm,
        "threshold": _threshold(harm),
        **{name: trained.answers.get(name) for name in _ANSWERS},
        "certificate": examples.certificate,
        "notes": trained.notes,
    }


def _worse_calibrated(found: dict[str, Any], photos: int) -> str | None:
    """Return what is to be said where the temperature has made certainty less to be believed on the test photos."""
    before, after = found["ece"], found["ece_calibrated"]
    if after <= before:
        return None
    return (
        f"temperature scaling did not help here: the calibration error is {after:.3f} with it and {before:.3f} "
        f"without, for the temperature was fitted on {photos:,} other photos; predict uses it all the same"
    )


_ANSWERS = ("raw_vs_clean", "learning_curve", "cross_validation", "search")


def _threshold(harm: dict[str, Any]) -> float:
    """Return the calibrated certainty at and below which the model says that it does not know.

    Surer, by a :data:`MARGIN`, than it ever was when it called a dangerous test photo edible, and rather right than
    wrong.
    """
    found: list[float] = [each["threshold"] for each in (harm.get("abstention") or {}).values() if each]
    return max([AS_LIKELY_WRONG, *(min(1.0, each + MARGIN) for each in found)])


def _write_predictions(target: Path, trained: Trained, temperature: float, config: dict[str, Any]) -> None:
    labels, test = trained.examples.labels, trained.examples.rows("test")
    sure, calibrated = softmax(trained.test), softmax(trained.test, temperature)
    rows = [
        {
            "path": trained.examples.paths[row],
            "class": labels[trained.examples.truth[row]],
            "predicted": labels[best[0]],
            "probability": sure[i, best[0]],
            "calibrated": calibrated[i, best[0]],
            "top5": json.dumps([labels[number] for number in best], ensure_ascii=False),
        }
        for i, (row, best) in enumerate(zip(test, likeliest(sure, TOP), strict=True))
    ]
    receipt = Receipt("train-baseline", config["options"] | {"safety": SAFETY_NOTICE}, config["inputs"])
    write_table(target, make_table(SCHEMA, rows), receipt)


def write_json(target: Path, content: Any) -> None:
    """Write JSON; six decimals, which is finer than any figure here is known."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, dict):
            return {key: rounded(each) for key, each in value.items()}
        return [rounded(each) for each in value] if isinstance(value, list | tuple) else value

    text = json.dumps(rounded(content), indent=1, ensure_ascii=False, allow_nan=False)
    target.write_text(text + "\n", "utf-8")
