"""Fetch the selected photos into class folders, and fill every hole from the reserve.

Reads: ``selection.parquet``. Writes: ``images/<Class>/<photo_id>.<ext>``, ``downloads.parquet``. Resumes: from
``downloads.parquet`` and the journal of a run that was cut short; a photo is done when its file is there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from shroomcurate import transport
from shroomcurate.dataset import Dataset, Receipt, write_table
from shroomcurate.download.fetch import Fetch
from shroomcurate.download.journal import JOURNAL
from shroomcurate.download.known import Known, forget_damaged, look
from shroomcurate.download.manifest import SCHEMA, Photo, Record, as_table, beyond, manifest
from shroomcurate.download.options import SIZES, DownloadOptions
from shroomcurate.download.places import sweep_partials, tidy
from shroomcurate.download.recheck import RecheckSummary, recheck
from shroomcurate.download.server import TYPICAL_BYTES
from shroomcurate.errors import NetworkDown
from shroomcurate.progress import Progress, silent
from shroomcurate.ray_cluster import Cluster, open_cluster
from shroomcurate.summary import Summary

__all__ = [
    "SCHEMA",
    "SIZES",
    "DownloadOptions",
    "DownloadPlan",
    "DownloadSummary",
    "RecheckSummary",
    "download",
    "plan",
    "recheck",
]


@dataclass(frozen=True)
class DownloadSummary(Summary):
    """What a download did and where the dataset stands."""

    classes: int
    statuses: dict[str, int]
    """Status -> photos asked for, all runs together."""
    fetched: int
    """Photos that this run brought from the server."""
    already_there: int
    """Photos that this run found whole on disk."""
    from_reserve: int
    """Photos that fill a hole."""
    taken_out: int
    """Whole photos that are in ``removed/``; the reserve stands in for them."""
    hashed: int
    """Photos on disk that were hashed: all with ``verify``, else those that only a run which was cut short knew."""
    damaged: int
    """Photos on disk that were other than what had come, by size or by hash."""
    requests: int
    """Requests that this run made."""
    unselected: int
    """Files that this run moved to ``unselected/``, because the manifest does not have them."""
    bytes: int
    """Of all photos that are ok."""
    shortages: dict[str, int]
    """Class -> photos it lacks of those that `query` was asked for, after its reserve was used up; only classes that
    lack some."""
    seconds: float


@dataclass(frozen=True)
class DownloadPlan:
    """What a download would ask for. Photos that turn out to be gone are replaced, and come on top."""

    classes: int
    photos: int
    """To be asked for."""
    already_there: int
    known: int
    """Photos of which ``--recheck`` would ask."""
    expected_bytes: int
    """Of the photos to be asked for, by the mean of those that are here; of the first, by what is usual."""
    free_bytes: int
    """On the disk of the dataset."""


def plan(dataset: Dataset, options: DownloadOptions = DownloadOptions()) -> DownloadPlan:
    """Tell what :func:`download` would ask for, without a request and without a change.

    Raises
    ------
    StageMissing, DamagedFile
        No selection, or one that cannot be read.
    BadOption
        The dataset holds photos of another size.
    """
    known = look(dataset, options)
    came = [record.bytes or 0 for record in known.records.values() if record.status == "ok"]
    each = sum(came) / len(came) if len(came) >= 100 else TYPICAL_BYTES[options.size]
    strangers, photos, here = known.strangers(), 0, 0
    for photo, record in known.due():
        lies_there = photo.photo_id in strangers if record is None else record.status == "ok"
        here += lies_there
        photos += record is None and not lies_there
    free = shutil.disk_usage(dataset.root).free
    return DownloadPlan(len(known.classes), photos, here, sum(1 for _ in known.whole()), round(photos * each), free)


def download(
    dataset: Dataset, options: DownloadOptions = DownloadOptions(), progress: Progress = silent
) -> DownloadSummary:
    """Fetch the selected photos; fill every hole from the reserve, also those that cleaning has left.

    Parameters
    ----------
    dataset
        Where ``query`` has run.
    options
        How to fetch.
    progress
        Called as ``progress(photos settled, photos asked for, "download")``, not always from the caller's thread.

    Raises
    ------
    StageMissing, DamagedFile
        No selection, or one that cannot be read.
    BadOption
        The dataset holds photos of another size.
    NetworkDown
        No connection, or nothing comes any more. What is finished is kept; the rest is pending.
    Refused
        A node of the cluster has other versions than this machine.
    DiskFull
        What is finished is kept.
    KeyboardInterrupt
        ^C. Within two seconds, workers stop; what is finished is kept, the rest is pending.
    """
    started = time.monotonic()
    dataset.require("selection.parquet")
    with dataset.lock("download"):
        known = look(dataset, options)
        sweep_partials(dataset)
        receipt = Receipt("download", {"size": options.size}, {"selection.parquet": known.selection})
        if known.other_size:
            for name in ("downloads.parquet", JOURNAL):
                dataset.path(name).unlink(missing_ok=True)
        hashed, damaged = forget_damaged(dataset, known, progress, verify=options.verify)
        with _cluster(options, known) as cluster:
            run = Fetch(dataset, options, progress, known, cluster)
            try:
                transport.run_to_end(run.run())
            except (KeyboardInterrupt, NetworkDown):
                # Of a run that has learnt nothing no table tells: what was made from the one there holds on.
                if run.ends or known.brought or damaged or not dataset.path("downloads.parquet").exists():
                    rows = _manifest(known)
                    run.journal.append(*beyond(rows, known.earlier | known.records))
                    write_table(dataset.path("downloads.parquet"), as_table(rows), receipt)
                raise
            finally:
                run.journal.close()
        rows = _manifest(known)
        unselected = tidy(dataset, rows, known.lying_there(), known.places)
        os.sync()  # the table speaks of no photo that the disk does not have
        write_table(dataset.path("downloads.parquet"), as_table(rows), receipt)
        dataset.path(JOURNAL).unlink(missing_ok=True)
    return _summary(rows, run, (hashed, len(damaged)), unselected, time.monotonic() - started)


def _cluster(options: DownloadOptions, known: Known) -> AbstractContextManager[Cluster | None]:
    """Return the cluster that asks, if there is anything to ask for."""
    asks = options.ray is not None and any(record is None for _, record in known.due())
    return open_cluster(options.ray) if asks and options.ray else nullcontext()


def _manifest(known: Known) -> list[tuple[Photo, Record]]:
    return manifest(known.classes, known.records, known.taken_out)


def _summary(
    rows: Sequence[tuple[Photo, Record]], run: Fetch, checked: tuple[int, int], unselected: int, seconds: float
) -> DownloadSummary:
    known = run.known
    whole = [(photo, record) for photo, record in rows if record.status == "ok"]
    held = Counter(photo.class_name for photo, _ in whole if photo.photo_id not in known.taken_out)
    lacks = {name: max(ranks.wanted, known.per_class) - held[name] for name, ranks in run.classes.items()}
    return DownloadSummary(
        classes=len(known.classes),
        statuses=dict(sorted(Counter(record.status for _, record in rows).items())),
        fetched=len(known.brought),
        already_there=sum(photo.photo_id not in known.brought for photo, _ in whole),
        from_reserve=sum(photo.role == "reserve" for photo, _ in whole),
        taken_out=sum(photo.photo_id in known.taken_out for photo, _ in whole),
        hashed=checked[0],
        damaged=checked[1],
        requests=run.server.requests,
        unselected=unselected,
        bytes=sum(record.bytes or 0 for _, record in whole),
        shortages={name: missing for name, missing in lacks.items() if missing > 0},
        seconds=round(seconds, 3),
    )
