"""A tree of class folders: which of its files are photos of it, and the trees of those that were removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shroomcurate.errors import SourceMissing

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
    count = sum(entry.is_file() for entry in entries)
    for folder in deeper:
        for _, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            count += sum(not name.startswith(".") for name in files)
    return count


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    if not os.path.isdir(folder):  # noqa: PTH112  # a Path of each folder costs more than the question
        _refuse_dangling(Path(folder))
        return []
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _refuse_dangling(folder: Path) -> None:
    """Refuse a tree that is not there because a link to it leads nowhere: its photos are on a disk that is away."""
    for link in (folder, folder.parent):
        if link.is_symlink() and not link.exists():
            raise SourceMissing(
                f"{link} is a link to {link.readlink()}, which is not there.",
                "Mount that disk, or let the link lead to where the photos are, then type the same command again.",
            )


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
