"""The runs of a dataset side by side, and two of them on the photos that both were tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import BadOption, TooLittleData
from shroomcurate.runs import SPLIT, finished, latest_run, read_metrics, run_folders
from shroomcurate.safety import SAFETY_NOTICE


@dataclass(frozen=True)
class Run:
    """A finished run. Shares lie between 0 and 1; None where an older run does not tell."""

    name: str
    when: str
    latest: bool
    mode: str | None
    architecture: str | None
    classes: int
    test_photos: int | None
    top1: float | None
    macro_f1: float | None
    ece_calibrated: float | None


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same test photos."""

    first: Run
    second: Run
    test_photos: int
    only_first_right: int
    only_second_right: int
    difference: dict[str, dict[str, float]]
    """The second less the first: ``top1`` and ``macro_f1`` with the ends of their 95 % intervals."""
    safety: str = SAFETY_NOTICE


def list_runs(dataset: Dataset) -> list[Run]:
    """Return the finished runs, the newest first."""
    latest = latest_run(dataset)
    folders = sorted(run_folders(dataset), key=finished, reverse=True)
    return [_run(folder, folder == latest) for folder in folders]


def compare_runs(dataset: Dataset, first: str, second: str, resamples: int = 1000) -> Comparison:
    """Compare two runs on the test photos that both have seen.

    Raises
    ------
    BadOption
        There is no such run.
    TooLittleData
        They have no test photo in common.
    """
    import numpy as np

    from shroomcurate.training.evaluation import bootstrap_difference

    folders = [_folder(dataset, name) for name in (first, second)]
    called = [_predictions(folder) for folder in folders]
    both = sorted(called[0].keys() & called[1].keys())
    if not both:
        raise TooLittleData(
            f"{folders[0].name} and {folders[1].name} were tested on different photos.",
            "Train both on one split: shroomcurate train-baseline with the same --seed and --split.",
        )
    labels = sorted({name for each in called for path in both for name in each[path]})
    number = {name: i for i, name in enumerate(labels)}
    truth = np.array([number[called[0][path][0]] for path in both])
    said = [np.array([number[each[path][1]] for path in both]) for each in called]
    gain = bootstrap_difference(
        truth, said[0], said[1], _groups(dataset, folders, both), classes=len(labels), resamples=resamples, seed=0
    )
    right = [each == truth for each in said]
    latest = latest_run(dataset)
    runs = [_run(folder, folder == latest) for folder in folders]
    only = [int((right[i] & ~right[1 - i]).sum()) for i in (0, 1)]
    return Comparison(runs[0], runs[1], len(both), only[0], only[1], gain)


def _folder(dataset: Dataset, name: str) -> Path:
    """Return the folder of a run named in full, or by a beginning that only it has."""
    name = name.removeprefix("runs/").rstrip("/")
    known = {folder.name: folder for folder in run_folders(dataset)}
    fitting = [name] if name in known else [each for each in known if each.startswith(name)]
    if len(fitting) != 1:
        there = ", ".join(fitting or known) or "none"
        raise BadOption(f"{len(fitting)} runs begin with {name!r}.", f"The runs are: {there}.")
    return known[fitting[0]]


def _run(folder: Path, latest: bool) -> Run:
    metrics = read_metrics(folder)
    figures: dict[str, Any] = {name: metrics.get(name) for name in ("mode", "architecture", "top1", "macro_f1")}
    return Run(
        name=folder.name,
        when=finished(folder)[0],
        latest=latest,
        classes=len(metrics.get("classes", ())),
        test_photos=metrics.get("photos", {}).get("test"),
        ece_calibrated=metrics.get("ece_calibrated"),
        **figures,
    )


def _predictions(folder: Path) -> dict[str, tuple[str, str]]:
    """Return path -> class and predicted class."""
    table = read_table(folder / "predictions.parquet", ["path", "class", "predicted"]).to_pydict()
    return dict(zip(table["path"], zip(table["class"], table["predicted"], strict=True), strict=True))


def _groups(dataset: Dataset, folders: Sequence[Path], paths: list[str]) -> list[str]:
    """Return what each photo belongs together with, as far as a run's split knows it, or that of today."""
    splits = next((file for folder in (*folders, dataset.root) if (file := folder / SPLIT).exists()), None)
    table = read_table(splits, ["path", "group"]).to_pydict() if splits else {"path": [], "group": []}
    known = dict(zip(table["path"], table["group"], strict=True))
    return [known.get(path, path) for path in paths]
