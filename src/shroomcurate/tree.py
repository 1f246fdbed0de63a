"""A tree of class folders: which of its files are photos of it, and the trees of those that were removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"
"""The end of a file's name while it is being written."""

#: Why a photo is removed, with what it means to a reader; also the name of its tree under ``removed/``. What else lies
#: there, no stage looks at.
REASONS = {
    "microscopy": "seen through a microscope: spores, tissue",
    "scenery": "a landscape, in which the organism is not to be found",
    "obstructed": "something stands before the lens, such as a finger",
    "too_far": "the organism is too small in the picture",
    "person": "people, hands or faces are the subject",
    "drawing": "drawn or painted",
    "screenshot": "a picture of a screen, a page or a map",
    "blurred": "out of focus or shaken",
    "duplicate": "the same picture as another one",
    "outlier": "unlike the rest of its class, for no reason that has a name",
}


def class_files(tree: str | os.PathLike[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the class folder's name and the entry of each file of ``tree/<Class>/<file>``, by name.

    Nothing hidden, nothing half written; nothing at all when there is no such tree. By scandir: pathlib's glob took
    ten times as long for a quarter of a million photos.
    """
    for folder in _entries(tree):
        if folder.is_dir():
            for file in _entries(folder.path):
                if not file.name.endswith(PARTIAL) and file.is_file():
                    yield folder.name, file


def count_outside(tree: str | os.PathLike[str]) -> int:
    """Return how many files of a tree :func:`class_files` passes by: beside class folders, or in folders of them."""
    entries = _entries(tree)
    deeper = [inner.path for folder in entries if folder.is_dir() for inner in _entries(folder.path) if inner.is_dir()]
    names = [name for folder in deeper for _, _, files in os.walk(folder) for name in files]
    return sum(entry.is_file() for entry in entries) + sum(not name.startswith(".") for name in names)


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    if not os.path.isdir(folder):  # noqa: PTH112  # a Path of each folder costs more than the question
        return []
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def outermost_paths(table: Path) -> list[str]:
    """Return the first and the last path, by name, of each part of a Parquet file whose first column are paths.

    Those between begin as both of them do. Empty for a table that is not there or cannot be read: whoever needs it says
    so.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parts = pq.read_metadata(table)
    except (pa.ArrowInvalid, OSError):
        return []
    known = [parts.row_group(part).column(0).statistics for part in range(parts.num_row_groups)]
    return [str(path) for found in known if found and found.has_min_max for path in (found.min, found.max)]
