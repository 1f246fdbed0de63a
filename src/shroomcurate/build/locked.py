"""The same photos again, on another machine: from a lock, without dump and database.

Reads: ``shroomcurate.lock``. Writes: ``selection.parquet``, ``selection.csv``, then what `download` writes. Resumes: as
`download` does. A photo whose bytes are not those of the lock is no photo of this dataset, and is set aside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from shroomcurate.build.lock import Lock, read_lock
from shroomcurate.build.recipe import Recipe
from shroomcurate.build.run import Step, Tell, untold
from shroomcurate.clean import ASIDE, CleanOptions
from shroomcurate.dataset import Dataset, Receipt, make_table, read_receipt, read_table
from shroomcurate.download import DownloadOptions, download
from shroomcurate.download.places import UNSELECTED, set_aside
from shroomcurate.embed import EmbedOptions
from shroomcurate.errors import BadOption
from shroomcurate.progress import Progress, silent
from shroomcurate.select import SCHEMA, QueryOptions, write_selection
from shroomcurate.summary import Summary

#: Options of a recipe that are not compared with the lock's: which files they name, and what is in these.
_OF_FILES = ("names", "exclude", "template", "taxa")


@dataclass(frozen=True)
class LockedSummary(Summary):
    """What became of the photos that a lock names."""

    dataset: str
    lock: str
    photos: int
    """Named by the lock."""
    same: int
    """On disk, and of the very bytes."""
    changed: dict[str, str]
    """Photo that came with other bytes -> their sha256."""
    lost: dict[str, str]
    """Photo that did not come -> why."""
    seconds: float

    @property
    def met(self) -> bool:
        """Whether all photos are here as the lock says."""
        return self.same == self.photos


def build_locked(
    recipe: Recipe, progress: Progress = silent, tell: Tell = untold, *, compare: bool = True
) -> LockedSummary:
    """Fetch exactly the photos of a lock.

    Parameters
    ----------
    recipe
        Where dataset and lock lie, and how to fetch.
    progress, tell
        As for :func:`shroomcurate.build.build`.
    compare
        Refuse a recipe that asks for another dataset than the lock holds; else only where and how to fetch is heeded.

    Raises
    ------
    SourceMissing, DamagedFile
        There is no lock, or it cannot be read.
    BadOption
        The recipe asks for another dataset than the lock holds, or the folder holds another one.
    NetworkDown, DiskFull
        As `download`; what is finished is kept.
    """
    started = time.monotonic()
    lock = read_lock(recipe.lock)
    if compare:
        _refuse_another(recipe, lock)
    dataset = Dataset(recipe.dataset)
    _select(dataset, lock)
    step = Step("download", f"{len(lock.photos):,} photos of the lock")
    tell(step, None)
    options = replace(recipe.download, size=lock.size, verify=True, retry_gone=True)
    tell(step, download(dataset, options, progress))
    changed, lost = _compared(dataset, lock)
    return LockedSummary(
        dataset=str(dataset.root),
        lock=str(recipe.lock),
        photos=len(lock.photos),
        same=len(lock.photos) - len(changed) - len(lost),
        changed=changed,
        lost=lost,
        seconds=round(time.monotonic() - started, 3),
    )


def _refuse_another(recipe: Recipe, lock: Lock) -> None:
    """Refuse a recipe that asks for another dataset."""
    asked: dict[str, Mapping[str, Any]] = {
        "query": {name: value for name, value in asdict(recipe.query).items() if name not in _OF_FILES},
        "download": {"size": recipe.download.size},
        "clean": {name: value for name, value in asdict(recipe.clean).items() if name not in ASIDE}
        | {"embedder": recipe.embed.embedder},
    }
    # What was left away is not in the lock; nor is an option that is younger than it, which did as it does by default.
    usual = {
        "query": asdict(QueryOptions()),
        "download": asdict(DownloadOptions()),
        "clean": asdict(CleanOptions()) | asdict(EmbedOptions()),
    }
    for stage, options in asked.items():
        then = lock.options.get(stage, {})
        if all(value == usual.get(stage, {}).get(name) for name, value in options.items()):
            continue  # the file asks for nothing of its own: it may hold [download] with a mirror alone
        for name, value in options.items():
            before = then.get(name, usual.get(stage, {}).get(name))
            if then and before != json.loads(json.dumps(value, default=str)):
                made = f"{name.replace('_', '-')} = {before}" if before is not None else f"no {name.replace('_', '-')}"
                raise BadOption(
                    f"{recipe.lock} was made with {made}, and [{stage}] says {value}.",
                    "Take it back, or type `shroomcurate build`, which makes a new lock.",
                )


def _select(dataset: Dataset, lock: Lock) -> None:
    path = dataset.path("selection.parquet")
    before = read_receipt(path) if path.exists() else None
    if path.exists() and (before is None or "lock" not in before.options):
        raise BadOption(
            f"{dataset.root} holds a selection of its own, and not that of a lock.",
            "Give --dataset a folder that is empty or not there.",
        )
    if before is not None and before.options["lock"] == lock.sha256 and dataset.path("selection.csv").exists():
        return
    facts = {"lock": lock.sha256, "asked": dict(lock.options.get("query", {})), **lock.facts}
    per_class = lock.options.get("query", {}).get("per_class")
    table = make_table(SCHEMA, lock.photos)
    with dataset.lock("build"):
        write_selection(dataset, table, Receipt("query", {**facts, "per_class": per_class}))


def _compared(dataset: Dataset, lock: Lock) -> tuple[dict[str, str], dict[str, str]]:
    """Return the photos whose bytes are others, which are set aside, and those that did not come."""
    columns = ["photo_id", "status", "path", "sha256", "error"]
    rows = {row["photo_id"]: row for row in read_table(dataset.require("downloads.parquet"), columns).to_pylist()}
    changed, lost = {}, {}
    with dataset.lock("build"):
        for photo in lock.photos:
            row, name = rows[photo["photo_id"]], f"{photo['class']}/{photo['photo_id']}"
            if row["status"] != "ok":
                lost[name] = f"{row['status']}: {row['error']}"
            elif row["sha256"] != photo["sha256"]:
                changed[name] = row["sha256"]
                _set_aside(dataset, row["path"], row["sha256"])
    return changed, lost


def _set_aside(dataset: Dataset, place: str, sha256: str) -> None:
    """Set a changed photo aside; the same bytes once, however often they come."""
    class_name, name = place.split("/")[-2:]
    prefix = f"changed-{sha256[:16]}-"
    dataset.path(UNSELECTED).joinpath(class_name, prefix + name).unlink(missing_ok=True)
    set_aside(dataset, place, dataset.path(UNSELECTED), prefix)
