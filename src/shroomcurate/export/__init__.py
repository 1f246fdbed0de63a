"""Write the dataset as others read it: class folders, shards, records, with licences and attribution beside them.

Reads: the photos that cleaning kept, and every table. Writes: a folder, by default ``exports/<format>/``. Resumes: an
export that was killed leaves nothing but a hidden folder beside, which the next one sweeps away; it is made anew.

The same dataset and options give the same bytes: no clock, no host, no chance is in them.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from shroomcurate.dataset import Dataset
from shroomcurate.export.credit import write_credit
from shroomcurate.export.gather import LEFT_OUT, Gathered, gather, split_state
from shroomcurate.export.manifest import Manifest, write_manifest
from shroomcurate.export.options import FORMATS, LINKING, LINKS, ExportOptions
from shroomcurate.export.place import refuse_target, refuse_without_room, staged
from shroomcurate.export.records import SCHEMA, Records
from shroomcurate.licences import terms
from shroomcurate.progress import Progress, silent
from shroomcurate.summary import Summary

__all__ = [
    "FORMATS",
    "LEFT_OUT",
    "LINKING",
    "LINKS",
    "SCHEMA",
    "ExportOptions",
    "ExportSummary",
    "Records",
    "export",
    "split_state",
]


@dataclass(frozen=True)
class ExportSummary(Summary):
    """What was exported, and where it lies."""

    folder: str
    format: str
    photos: int
    classes: int
    splits: dict[str, int]
    """Split -> photos; empty without a split."""
    files: int
    bytes: int
    licenses: dict[str, int]
    """Licence -> photos; ``unknown`` where none is known."""
    terms: list[str]
    """What one must heed who uses all of it together."""
    manifest_sha256: str
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason of :data:`LEFT_OUT` -> photos of the class folders that are not in it."""
    first_left_out: dict[str, str] = field(default_factory=dict)
    """Reason -> the first of these photos."""
    lacking: list[str] = field(default_factory=list)
    """Classes that lost their last photo to what was left out."""
    replaced: bool = False


def default_folder(dataset: Dataset, options: ExportOptions) -> Path:
    """Return where an export goes when nobody says so."""
    return dataset.path("exports") / options.format


def export(
    dataset: Dataset,
    out: Path | None = None,
    options: ExportOptions = ExportOptions(),
    progress: Progress = silent,
) -> ExportSummary:
    """Write the dataset's photos in a format, with licences, attribution and a manifest.

    Parameters
    ----------
    out
        The folder to write; None: see :func:`default_folder`. An export that stands there is replaced in one moment.

    Raises
    ------
    StageMissing
        There is no photo, or a table is out of date, or there is no split and one is asked for.
    NothingMatches
        No photo has a licence that is asked for, or none is a photo.
    BadOption
        Something else stands at the target, or a class has the name of a file of the export's own.
    DiskFull
        There is no room.
    DamagedFile
        A photo is not the one that came.
    """
    target = Path(os.path.abspath(out or default_folder(dataset, options)))  # noqa: PTH100  # no .. may end it
    refuse_target(dataset, target, options.force, progress)
    with dataset.lock("export"):
        found = gather(dataset, options, progress)
        refuse_without_room(found.records, target, options)
        with staged(target) as folder:
            replaced = target.exists() and any(target.iterdir())
            format_module = import_module(FORMATS[options.format])
            format_module.write(found.records, folder, options, progress)
            write_credit(found.records, folder)
            manifest = write_manifest(found.records, folder, options, progress)
            refuse_target(dataset, target, options.force, progress)  # somebody may have worked there meanwhile
    return _summary(found, target, options, manifest, replaced)


def _summary(
    found: Gathered, target: Path, options: ExportOptions, manifest: Manifest, replaced: bool
) -> ExportSummary:
    records, left_out = found.records, found.left_out
    licenses = Counter(name or "unknown" for name in records.table["license"].to_pylist())
    splits = Counter(records.table["split"].to_pylist())
    return ExportSummary(
        folder=str(target),
        format=options.format,
        photos=len(records),
        classes=len(records.classes),
        splits={name: splits[name] for name in records.splits},
        files=len(manifest.files) + 1,
        bytes=sum(size for size, _ in manifest.files.values()),
        licenses=dict(sorted(licenses.items(), key=lambda item: (-item[1], item[0]))),
        terms=terms(licenses),
        manifest_sha256=manifest.sha256,
        left_out={reason: len(paths) for reason, paths in left_out.items()},
        first_left_out={reason: paths[0] for reason, paths in left_out.items()},
        lacking=sorted({path.split("/")[1] for paths in left_out.values() for path in paths} - set(records.classes)),
        replaced=replaced,
    )
