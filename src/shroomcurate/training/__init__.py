"""Train a baseline on the clean photos, and tell what the dataset is worth.

Reads: ``splits.parquet``, ``clean.parquet`` and ``selection.parquet`` where they are, ``embeddings.parquet`` (probe),
the photos (finetune, scratch). Writes: ``runs/<id>/``: ``metrics.json``, ``config.json``, the ``splits.parquet`` that
it was trained on, ``predictions.parquet``, the model, its figures and plots. Resumes: a run's folder appears by one
rename; an unchanged run that is there is done. A killed training goes on after its last epoch, and ends with the same
weights.

It reads downwards: :mod:`.options`, :mod:`.data`, the model (:mod:`.probe`; :mod:`.network`, :mod:`.fitting`), then the
answers (:mod:`.verdict`, :mod:`.curve`, :mod:`.folds`), :mod:`.evaluation` and :mod:`.danger`.

The headline is raw against cleaned: the same recipe trained on the clean training photos, and on these and the removed
ones, tested on the same photos. Removed photos that are tied to a test photo are never trained on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate import __version__
from shroomcurate.dataset import Dataset, file_hash, write_bytes
from shroomcurate.progress import Progress, silent
from shroomcurate.runs import CONFIG, SPLIT, make_latest, new_run, read_metrics
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.summary import Summary
from shroomcurate.training.options import ANSWERED_BY, BALANCES, MODES, PHONES, RESIZES, TRACKERS, TrainOptions

if TYPE_CHECKING:
    from shroomcurate.training.fitting import Tracker

__all__ = [
    "ANSWERED_BY",
    "BALANCES",
    "MODES",
    "PHONES",
    "RESIZES",
    "TRACKERS",
    "BaselineSummary",
    "TrainOptions",
    "check_ready",
    "planned_run",
    "train_baseline",
]

#: The files whose change makes it another run.
_INPUTS = ("splits.parquet", "selection.parquet", "clean.parquet", "embeddings.parquet", "downloads.parquet")
_LIBRARIES = {
    "probe": ("numpy", "scikit-learn", "scipy"),
    "finetune": ("keras", "numpy", "pillow", "scikit-learn", "scipy", "tensorflow"),
    "scratch": ("keras", "numpy", "pillow", "scikit-learn", "scipy", "tensorflow"),
}


@dataclass(frozen=True)
class BaselineSummary(Summary):
    """What the run found, on the clean test photos. Shares lie between 0 and 1."""

    run: str
    """The run's folder, relative to the dataset."""
    already_done: bool
    mode: str
    architecture: str | None
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
    learning_curve: dict[str, Any] | None
    cross_validation: dict[str, Any] | None
    search: list[dict[str, Any]] | None
    dragging: list[dict[str, Any]]
    """Classes that pull macro F1 down, worst first."""
    danger: dict[str, Any]
    """What mistakes would mean to somebody who eats by them."""
    threshold: float
    """At and below this calibrated certainty the model says that it does not know."""
    phone: list[dict[str, Any]] | None
    """The LiteRT files, each with its figures as it lies on the disk; None for the probe."""
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
    from shroomcurate.training.results import write_json, write_results
    from shroomcurate.training.stages import forget_helpers, train_network, train_probe

    with dataset.lock("train-baseline"):
        examples = read_examples(dataset)
        weights = _weights(options)
        config = _config(dataset, options, weights)
        folder = dataset.path("runs") / _run_name(options, config)
        done = folder.is_dir()
        if done:
            make_latest(folder)
        else:
            with new_run(dataset, folder.name) as partial:
                write_json(partial / CONFIG, config)
                write_bytes(partial / SPLIT, dataset.path(SPLIT).read_bytes())
                if options.mode == "probe":
                    trained = train_probe(dataset, examples, options, partial, progress)
                else:
                    trackers = _trackers(options, partial, folder.name)
                    trained = train_network(dataset, examples, options, weights, partial, progress, trackers)
                write_results(partial, trained, options, config, progress)
                forget_helpers(trained)
        return _summary(folder, read_metrics(folder), done)


def check_ready(dataset: Dataset, options: TrainOptions) -> None:
    """Refuse what could not end, before hours are spent: weights or a tracker's package that are not there.

    Raises
    ------
    WeightsMissing
        In mode finetune: no ImageNet weights.
    BadOption
        The package of a tracker is not installed.
    """
    from shroomcurate.training.trackers import require_trackers

    _weights(options)
    if "track" in options.heeded():
        require_trackers(options.track)
    dataset.require("clean.parquet")


def planned_run(dataset: Dataset, options: TrainOptions) -> str:
    """Return the name that the run with these options has, or will have."""
    return _run_name(options, _config(dataset, options, _weights(options)))


def _run_name(options: TrainOptions, config: dict[str, Any]) -> str:
    # Who watches a training changes nothing of it.
    telling = {**config, "options": {name: value for name, value in config["options"].items() if name != "track"}}
    digest = hashlib.sha256(json.dumps(telling, sort_keys=True).encode()).hexdigest()
    return f"{options.mode}-{digest[:10]}"


def _weights(options: TrainOptions) -> Path | None:
    if options.mode != "finetune":
        return None
    from shroomcurate.backbone import WEIGHTS_VARIABLE, find_weights
    from shroomcurate.errors import WeightsMissing

    try:
        return find_weights(options.architecture, options.weights)
    except WeightsMissing as error:
        raise WeightsMissing(
            error.what,
            f"Name a file or a folder of weights with --weights PATH (or {WEIGHTS_VARIABLE}), or do without them: "
            "--mode probe or --mode scratch",
        ) from error


def _config(dataset: Dataset, options: TrainOptions, weights: Path | None) -> dict[str, Any]:
    """Return everything the run depends on, whose hash names the run, and who watched it."""
    from importlib.metadata import version

    given = asdict(options) | {"weights": file_hash(weights) if weights else None, "track": list(options.track)}
    return {
        "options": {name: value for name, value in given.items() if name in options.heeded()},
        "inputs": {name: file_hash(dataset.path(name)) for name in _INPUTS if dataset.path(name).exists()},
        "versions": {"shroomcurate": __version__} | {library: version(library) for library in _LIBRARIES[options.mode]},
    }


def _trackers(options: TrainOptions, folder: Path, run: str) -> list[Tracker]:
    from shroomcurate.training.epochs import Record
    from shroomcurate.training.trackers import open_trackers

    settings = {name: str(value) for name, value in asdict(options).items() if name != "weights"}
    return open_trackers(options.track, folder, run, settings, len(Record(folder).rows))


def _summary(folder: Path, metrics: dict[str, Any], done: bool) -> BaselineSummary:
    phone = folder / "phone" / "model.json"
    return BaselineSummary(
        phone=json.loads(phone.read_bytes())["files"] if phone.exists() else None,
        run=f"runs/{folder.name}",
        already_done=done,
        classes=len(metrics["classes"]),
        **{
            name: metrics[name]
            for name in (
                *("mode", "architecture", "left_out", "photos", "top1", "top5", "macro_f1", "ece", "ece_calibrated"),
                *("raw_vs_clean", "learning_curve", "cross_validation", "search", "dragging", "danger", "threshold"),
                *("certificate", "notes"),
            )
        },
    )
