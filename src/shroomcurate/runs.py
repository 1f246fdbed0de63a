"""The runs of a dataset: ``runs/<id>/``, one folder for each trained baseline.

A run's folder appears by one rename when it is finished, so every folder without ``.partial`` at its end is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shroomcurate.dataset import Dataset, sync_folder
from shroomcurate.errors import DamagedFile, disk_full_named
from shroomcurate.tree import PARTIAL

METRICS = "metrics.json"
RECORD = "record.json"
"""What a training that takes long writes after each epoch, to go on after a kill."""


def run_folders(dataset: Dataset) -> list[Path]:
    """Return the folders of all finished runs, sorted by name."""
    return sorted(
        folder for folder in dataset.path("runs").glob("*") if folder.suffix != PARTIAL and (folder / METRICS).is_file()
    )


def latest_run(dataset: Dataset) -> Path | None:
    """Return the folder of the run that the newest ``train-baseline`` made or found done; None before the first."""
    return max(run_folders(dataset), key=lambda folder: (folder.stat().st_mtime_ns, folder.name), default=None)


def read_metrics(run: Path) -> dict[str, Any]:
    """Return what ``metrics.json`` of a run folder holds.

    Raises
    ------
    DamagedFile
        It cannot be read, or is no JSON object.
    """
    try:
        metrics = json.loads((run / METRICS).read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(run, str(error)) from error
    if not isinstance(metrics, dict):
        raise _damaged(run, "not a JSON object")
    return metrics


@contextmanager
def new_run(dataset: Dataset, name: str) -> Iterator[Path]:
    """Give a folder to write a run into; on success it becomes ``runs/<name>`` by one rename.

    It holds what a run of the same name left there that did not end, if that has a :data:`RECORD`, its own or that of
    a training beside it, from which this one goes on; otherwise it is empty. What others left behind without one is
    swept away. Hold the dataset's lock.

    Raises
    ------
    DiskFull
        No room; no folder appears.
    """
    runs = dataset.path("runs")
    target, partial = runs / name, runs / (name + PARTIAL)
    for left_over in runs.glob("*" + PARTIAL):
        _sweep(left_over)
    try:
        with disk_full_named(target):
            partial.mkdir(parents=True, exist_ok=True)
            yield partial
            for written in [*partial.rglob("*"), partial]:
                sync_folder(written)  # a file is synced the same way
            partial.replace(target)
            sync_folder(runs)
    except BaseException:
        _sweep(partial)
        raise


def _sweep(partial: Path) -> None:
    if next(partial.rglob(RECORD), None) is None:  # that of a training beside the main one counts, too
        shutil.rmtree(partial, ignore_errors=True)


def make_latest(run: Path) -> None:
    """Let :func:`latest_run` return this run, which an unchanged ``train-baseline`` found done."""
    os.utime(run)


def _damaged(run: Path, why: str) -> DamagedFile:
    return DamagedFile(
        f"{run / METRICS} cannot be read: {why}",
        f"Delete the folder {run} and type: shroomcurate train-baseline, "
        "with the same --dataset or --images as before.",
    )
