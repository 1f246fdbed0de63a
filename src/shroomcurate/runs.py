"""The runs of a dataset: ``runs/<id>/``, one folder for each trained baseline.

A run's folder appears by one rename when it is finished, so every folder without ``.partial`` at its end is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shroomcurate.dataset import Dataset, sync_folder, write_bytes
from shroomcurate.errors import DamagedFile, disk_full_named
from shroomcurate.tree import PARTIAL

METRICS = "metrics.json"
ENVIRONMENT = "environment.json"
CACHE = ("readable.npy", "photos.uint8")
"""The decoded photos of a run that is being made: many times as large as all else in its folder."""
LATEST = "latest"
"""Holds the name of the run that was made or found done last."""
SPLIT = "splits.parquet"
"""The split that a run was trained on; the dataset's own file of that name may be another by now."""
CONFIG = "config.json"
"""All that a run depends on."""
RECORD = "record.json"
"""What a training that takes long writes after each epoch, to go on after a kill."""


def run_folders(dataset: Dataset) -> list[Path]:
    """Return the folders of all finished runs, sorted by name."""
    return sorted(
        folder for folder in dataset.path("runs").glob("*") if folder.suffix != PARTIAL and (folder / METRICS).is_file()
    )


def latest_run(dataset: Dataset) -> Path | None:
    """Return the folder of the run that the newest ``train-baseline`` made or found done; None before the first.

    ``runs/latest`` names it, whatever times a copy or an archive gives the folders; without it, as in datasets of
    earlier builds, the newest folder is taken.
    """
    folders = run_folders(dataset)
    named = dataset.path("runs") / LATEST
    name = named.read_text("utf-8").strip() if named.is_file() else ""
    newest = max(folders, key=lambda folder: (folder.stat().st_mtime_ns, folder.name), default=None)
    return next((folder for folder in folders if folder.name == name), newest)


def broken_off_runs(dataset: Dataset) -> list[Path]:
    """Return what trainings left that were killed or stopped and can go on, sorted by name."""
    return sorted(folder for folder in dataset.path("runs").glob("*" + PARTIAL) if _can_go_on(folder))


def waiting_run(dataset: Dataset) -> Path | None:
    """Return what the training left that was broken off after the latest run; None where there is no such."""
    latest = dataset.path("runs") / LATEST
    since = latest.stat().st_mtime_ns if latest.is_file() else 0
    left = {
        folder: max(file.stat().st_mtime_ns for file in folder.rglob(RECORD)) for folder in broken_off_runs(dataset)
    }
    newest = max(left, key=lambda folder: left[folder], default=None)
    return newest if newest and left[newest] > since else None


def _can_go_on(partial: Path) -> bool:
    return next(partial.rglob(RECORD), None) is not None


def finished(run: Path) -> tuple[str, str]:
    """Return when a run ended, in UTC as ISO 8601, and its name; the folder's time where the run does not tell."""
    when = datetime.fromtimestamp(run.stat().st_mtime, UTC).isoformat(timespec="seconds")
    with suppress(OSError, ValueError, KeyError, TypeError):
        when = str(json.loads((run / ENVIRONMENT).read_bytes())["finished"])
    return when, run.name


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
        _sweep(left_over, wanted=left_over == partial)
    try:
        with disk_full_named(target):
            partial.mkdir(parents=True, exist_ok=True)
            yield partial
            for written in [*partial.rglob("*"), partial]:
                sync_folder(written)  # a file is synced the same way
            partial.replace(target)
            make_latest(target)
    except BaseException:
        _sweep(partial, wanted=True)
        raise


@contextmanager
def former_split_back(dataset: Dataset) -> Iterator[None]:
    """Put the split that was there back when what is done inside does not end, unless a run has ended with another.

    Otherwise an attempt with another ``--seed`` or ``--split`` that is broken off would leave the dataset with its
    split, by which the finished run passes for an outdated one.
    """
    now = dataset.path(SPLIT)
    before, run = now.read_bytes() if now.is_file() else None, latest_run(dataset)
    try:
        yield
    except BaseException:
        if latest_run(dataset) == run and before is not None and (not now.is_file() or now.read_bytes() != before):
            write_bytes(now, before)
        raise


def _sweep(partial: Path, *, wanted: bool = False) -> None:
    """Delete what nothing can go on from: all of it without a record, else the decoded photos of a run not wanted."""
    if not _can_go_on(partial):
        shutil.rmtree(partial, ignore_errors=True)
    elif not wanted:
        for name in CACHE:
            (partial / name).unlink(missing_ok=True)


def make_latest(run: Path) -> None:
    """Let :func:`latest_run` return this run, which was made or found done just now."""
    write_bytes(run.with_name(LATEST), f"{run.name}\n".encode())


def _damaged(run: Path, why: str) -> DamagedFile:
    return DamagedFile(
        f"{run / METRICS} cannot be read: {why}",
        f"Delete the folder {run} and type: shroomcurate train-baseline, "
        "with the same --dataset or --images as before.",
    )
