"""Class folders, ``<split>/<Class>/<photo_id>.<ext>``, which every library reads; without a split ``<Class>/…``."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shroomcurate.dataset import file_hash
from shroomcurate.errors import BadOption
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import Records, changed_photo
from shroomcurate.progress import Progress


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with class folders of the photos; a copy, or a link by option, of each."""
    for done, row in enumerate(records.rows()):
        put_photo(records, row, folder / (row["split"] or "") / row["file"], options.link)
        progress(done + 1, len(records), "write photos")


def put_photo(records: Records, row: Mapping[str, Any], target: Path, link: str) -> None:
    """Put a photo where an export wants it, and make the folder for it.

    Parameters
    ----------
    link
        As :attr:`ExportOptions.link`. A symbolic link holds a path from the root of the file system, so that the
        export can be moved, but not the dataset.

    Raises
    ------
    BadOption
        A hard link cannot reach there.
    DamagedFile
        The photo is not the one on record.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if link == "copy":
        target.write_bytes(records.read(row))
        return
    place = records.place(row)
    if file_hash(place) != row["sha256"]:
        raise changed_photo(place)
    if link == "symlink":
        target.symlink_to(place.resolve())
        return
    try:
        os.link(place.resolve(), target)  # of what a link means, not another name of the link
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        raise BadOption(
            f"--link hard: {place} and {target.parent} lie on different disks, or this one has no hard links.",
            "Use --link copy, or --link symlink.",
        ) from error
