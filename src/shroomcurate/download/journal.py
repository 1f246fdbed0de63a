"""What is known of photos: the table of earlier runs, and the journal of one that was cut short.

A record is written before its file, so no file of ours is ever without one. It is trusted on the next run when it is
final (gone, corrupt), or when its photo lies there with the size it says.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from io import FileIO
from typing import Any

from shroomcurate.dataset import Dataset, read_receipt
from shroomcurate.download.manifest import Record, read_table_records
from shroomcurate.errors import BadOption, disk_full_named

JOURNAL = ".downloads.journal"


class Journal:
    """What a run has learnt, a line a photo, handed to the operating system before the next step."""

    def __init__(self, dataset: Dataset, size: str) -> None:
        self.path = dataset.path(JOURNAL)
        self.size = size
        self.handle: FileIO | None = None

    def append(self, *records: Record) -> None:
        """Write records down, in one go, so that lines of several processes do not mix."""
        text = "".join(json.dumps(record._asdict()) + "\n" for record in records).encode()
        if not text:
            return
        with disk_full_named(self.path):
            if self.handle is None:
                self.handle = self.path.open("ab", buffering=0)
                # If a kill tore the last line, this one makes its end: the first one of its kind has said the same.
                text = json.dumps({"size": self.size}).encode() + b"\n" + text
            written = self.handle.write(text)
            if written < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        if self.handle is not None:
            self.handle.close()


def read_records(dataset: Dataset) -> tuple[dict[int, Record], dict[int, Record]]:
    """Return what earlier runs have learnt: by ``downloads.parquet``, and by the journal of one that was cut short."""
    path = dataset.path("downloads.parquet")
    table = {record.photo_id: record for record in read_table_records(path)} if path.exists() else {}
    fields = set(Record._fields)
    return table, {line["photo_id"]: Record(**line) for line in _lines(dataset) if line.keys() == fields}


def refuse_other_size(dataset: Dataset, size: str, *, any_photo: bool) -> bool:
    """Raise BadOption when the dataset holds photos of another size: a mixture would teach sizes, not species.

    Returns
    -------
    bool
        Whether another size was tried and, as there is no photo at all, nothing came of it.
    """
    table = dataset.path("downloads.parquet")
    receipt = read_receipt(table) if table.exists() else None
    known = {receipt.options.get("size", size)} if receipt else set()
    known |= {line["size"] for line in _lines(dataset) if "size" in line}
    for other in sorted(known - {size}) if any_photo else ():
        raise BadOption(
            f"{dataset.root} holds photos of size {other}, not {size}.",
            f"Type --size {other}, or give --dataset another folder for size {size}.",
        )
    return bool(known - {size})


def _lines(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of the journal; one that a kill tore is none."""
    path = dataset.path(JOURNAL)
    if not path.exists():
        return
    with path.open("rb") as lines:
        for text in lines:
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict):
                    yield line
