"""Train a baseline on the clean photos, and tell what the dataset is worth.

Reads: ``splits.parquet``, ``clean.parquet`` and ``selection.parquet`` where they are, ``embeddings.parquet`` (probe),
the photos (finetune). Writes: ``runs/<id>/``: ``metrics.json``, ``config.json``, ``predictions.parquet`` and the model.
Resumes: a run's folder appears by one rename; an unchanged run that is there is done. A run that was killed starts
afresh, and gives the same bytes.

It reads downwards: :mod:`.data`, the model (:mod:`.probe`, :mod:`.finetune`), :mod:`.stages`, :mod:`.evaluation`.

The headline is raw against cleaned: the same recipe trained on the clean training photos, and on these and the removed
ones, tested on the same clean test photos. Removed photos that are tied to a val or test photo are never added.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate import __version__
from shroomcurate.dataset import Column, Dataset, Receipt, file_hash, make_table, write_table
from shroomcurate.errors import BadOption
from shroomcurate.progress import Progress, silent
from shroomcurate.runs import make_latest, new_run, read_metrics
from shroomcurate.safety import SAFETY_NOTICE

if TYPE_CHECKING:
    from shroomcurate.training.stages import Trained

#: predictions.parquet: one row per test photo, sorted by path.
SCHEMA = (
    Column("path", "string", "the photo, relative to the dataset"),
    Column("class", "string", "its class"),
    Column("predicted", "string", "the class the model finds likeliest"),
    Column("probability", "float", "how sure it is of that, 0..1, as trained"),
    Column("calibrated", "float", "how sure it is of that, 0..1, after temperature scaling"),
    Column("top5", "string", "the five likeliest classes, best first, as a JSON list"),
)
MODES = ("probe", "finetune")
COMPARISONS = ("probe", "same", "none")

#: The files whose change makes it another run.
_INPUTS = ("splits.parquet", "selection.parquet", "clean.parquet", "embeddings.parquet", "downloads.parquet")
_LIBRARIES = {
    "probe": ("numpy", "scikit-learn", "scipy"),
    "finetune": ("keras", "numpy", "pillow", "scikit-learn", "scipy", "tensorflow"),
}


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Parameters
    ----------
    mode
        ``finetune`` trains MobileNetV3-Small itself, minutes to hours. ``probe`` trains only a linear classifier on
        the stored embeddings: seconds, some points less accurate.
    compare
        How raw is compared with cleaned. ``probe``: by the linear classifier, whatever the mode, for it costs seconds
        where a second fine-tuning doubles the time. ``same``: by the mode's own model. ``none``: not.
    head_epochs, block_epochs
        Epochs at most for the new head on the frozen network, and for the last blocks; both stop early.
    batch_size
        32, as in Keras' own guides; larger ones need more memory and, on a CPU, save no time.
    head_learning_rate, block_learning_rate
        For Adam. The blocks learn twenty times more slowly, so that they keep what ImageNet taught them. Measured on
        four species with 125 training photos each: with 0.004 the head is within a point of its best after 5 epochs,
        with 0.001 not after 8.
    weights
        The file or folder of ImageNet weights; None: see :func:`shroomcurate.backbone.find_weights`.
    resamples
        Bootstrap samples of the raw-against-cleaned interval; 1,000 settle its ends to about 2 % of its width.
    seed
        Of everything random in training and in the bootstrap.
    """

    mode: str = "finetune"
    compare: str = "probe"
    head_epochs: int = 5
    block_epochs: int = 10
    batch_size: int = 32
    head_learning_rate: float = 4e-3
    block_learning_rate: float = 2e-4
    weights: Path | None = None
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("compare", COMPARISONS)):
            if getattr(self, name) not in allowed:
                raise BadOption(f"The {name} is {getattr(self, name)!r}.", f"Give one of: {', '.join(allowed)}.")
        for name in ("head_epochs", "block_epochs", "batch_size", "resamples"):
            if getattr(self, name) < 1:
                raise BadOption(f"{name} is {getattr(self, name)}.", "Give 1 or more.")
        for name in ("head_learning_rate", "block_learning_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise BadOption(f"{name} is {getattr(self, name)}.", "Give a number above 0, such as 0.001.")


@dataclass(frozen=True)
class BaselineSummary:
    """What the run found, on the clean test photos. Shares lie between 0 and 1."""

    run: str
    """The run's folder, relative to the dataset."""
    already_done: bool
    mode: str
    classes: int
    left_out: dict[str, str]
    """Classes that do not take part, and why."""
    photos: dict[str, int]
    top1: float
    top5: float
    macro_f1: float
    ece: float
    ece_calibrated: float
    raw_vs_clean: dict[str, Any] | None
    cross_validation: dict[str, Any] | None
    certificate: dict[str, int]
    notes: list[str]
    safety: str = SAFETY_NOTICE


def train_baseline(
    dataset: Dataset, options: TrainOptions = TrainOptions(), progress: Progress = silent
) -> BaselineSummary:
    """Train, evaluate, and write a run. Call :func:`shroomcurate.split.split` first.

    Raises
    ------
    StageMissing
        ``splits.parquet``, or in mode probe ``embeddings.parquet``, is not there or not of these photos.
    TooLittleData
        Fewer than two classes have photos in train, val and test.
    WeightsMissing
        In mode finetune: no ImageNet weights.
    DamagedFile
        ``splits.parquet`` parts what belongs together.
    """
    from shroomcurate.training.data import read_examples
    from shroomcurate.training.stages import train_network, train_probe

    with dataset.lock("train-baseline"):
        examples = read_examples(dataset)
        weights = _weights(options)
        config = _config(dataset, options, weights)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        folder = dataset.path("runs") / f"{options.mode}-{digest[:10]}"
        done = folder.is_dir()
        if done:
            make_latest(folder)
        else:
            with new_run(dataset, folder.name) as partial:
                if weights is None:
                    trained = train_probe(dataset, examples, options, partial, progress)
                else:
                    trained = train_network(dataset, examples, options, weights, partial, progress)
                metrics = _metrics(trained, options) | {"inputs": config["inputs"]}
                _write_json(partial / "labels.json", list(examples.labels))
                _write_json(partial / "config.json", config)
                _write_json(partial / "metrics.json", metrics)
                _write_predictions(partial / "predictions.parquet", trained, metrics["temperature"], config)
        return _summary(folder, read_metrics(folder), done)


def _weights(options: TrainOptions) -> Path | None:
    if options.mode == "probe":
        return None
    from shroomcurate.backbone import DEFAULT_BACKBONE, find_weights

    return find_weights(DEFAULT_BACKBONE, options.weights)


def _config(dataset: Dataset, options: TrainOptions, weights: Path | None) -> dict[str, Any]:
    """Return everything the run depends on: its hash names the run."""
    from importlib.metadata import version

    return {
        "options": asdict(options) | {"weights": file_hash(weights) if weights else None},
        "inputs": {name: file_hash(dataset.path(name)) for name in _INPUTS if dataset.path(name).exists()},
        "versions": {"shroomcurate": __version__} | {library: version(library) for library in _LIBRARIES[options.mode]},
    }


def _metrics(trained: Trained, options: TrainOptions) -> dict[str, Any]:
    from shroomcurate.training.evaluation import TOP, evaluate, fit_temperature

    examples = trained.examples
    test, val = examples.rows("test"), examples.rows("val")
    if len(examples.labels) <= TOP:
        trained.notes.append(f"top-5 is 1 by definition: there are no more than {TOP} classes")
    return {
        "safety": SAFETY_NOTICE,
        "mode": options.mode,
        "seed": options.seed,
        "classes": list(examples.labels),
        "left_out": examples.left_out,
        "photos": examples.counts(),
        **evaluate(
            trained.test,
            examples.truth[test],
            [examples.groups[row] for row in test],
            examples.labels,
            fit_temperature(trained.val, examples.truth[val]),
        ),
        "raw_vs_clean": trained.raw_vs_clean,
        "cross_validation": trained.cross_validation,
        "certificate": examples.certificate,
        "notes": trained.notes,
    }


def _write_predictions(target: Path, trained: Trained, temperature: float, config: dict[str, Any]) -> None:
    from shroomcurate.training.evaluation import TOP, likeliest, softmax

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


def _write_json(target: Path, content: Any) -> None:
    """Write JSON; six decimals, which is finer than any figure here is known."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, dict):
            return {key: rounded(each) for key, each in value.items()}
        return [rounded(each) for each in value] if isinstance(value, list) else value

    text = json.dumps(rounded(content), indent=1, ensure_ascii=False, allow_nan=False)
    target.write_text(text + "\n", "utf-8")


def _summary(folder: Path, metrics: dict[str, Any], done: bool) -> BaselineSummary:
    return BaselineSummary(
        run=f"runs/{folder.name}",
        already_done=done,
        classes=len(metrics["classes"]),
        **{
            name: metrics[name]
            for name in (
                *("mode", "left_out", "photos", "top1", "top5", "macro_f1", "ece", "ece_calibrated"),
                *("raw_vs_clean", "cross_validation", "certificate", "notes"),
            )
        },
    )
