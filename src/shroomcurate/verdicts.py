"""What a person decided about photos, and putting files where a decision says.

Shared by cleaning and restoring. ``verdicts.csv`` is append-only; the last line about a photo counts.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from shroomcurate.dataset import REASONS, Dataset, file_hash, sync_folder
from shroomcurate.errors import DamagedFile, disk_full_named
from shroomcurate.files import move

FILE = "verdicts.csv"
COLUMNS = ("path", "verdict", "reason", "note", "when")

#: The note of verdicts that a restore wrote.
RESTORED = "restore"


class Verdict(NamedTuple):
    """A person's word on one photo: stay or go, and why it goes."""

    keep: bool
    reason: str | None
    teaches: bool = True
    """Whether the noise model learns from it: somebody looked at this photo, it did not come back with many others."""


def read_verdicts(dataset: Dataset) -> dict[str, Verdict]:
    """Return the verdict that counts for each photo: path -> verdict, sorted by path.

    A removal without a reason is an ``outlier``.

    Raises
    ------
    DamagedFile
        A line is not a verdict; the message names file, line, column and value.
    """
    file = dataset.path(FILE)
    if not file.exists():
        return {}
    verdicts: dict[str, Verdict] = {}
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        lines = csv.reader(handle)
        header, *rest = _numbered(file, lines) or [(1, [])]
        if tuple(header[1]) != COLUMNS:
            raise DamagedFile(
                f"{file}, line 1: is not the header.", f"Put this line above all others: {','.join(COLUMNS)}"
            )
        for line, fields in rest:
            if not fields:
                continue
            if len(fields) != len(COLUMNS):
                raise _damaged(file, line, "line", f"has {len(fields)} fields, not {len(COLUMNS)}")
            path, verdict, reason, note, _ = fields
            reason = reason.strip().replace(" ", "_")  # as tables show it
            if Path(path).is_absolute() or len(Path(path).parts) != 3 or ".." in Path(path).parts:
                raise _damaged(file, line, "path", f"{path!r} is not {dataset.images.name}/<Class>/<file>")
            if verdict not in ("keep", "remove"):
                raise _damaged(file, line, "verdict", f"{verdict!r} is neither 'keep' nor 'remove'")
            if reason and reason not in REASONS:
                raise _damaged(file, line, "reason", f"{reason!r} is none of: {', '.join(REASONS)}")
            keep = verdict == "keep"
            verdicts[path] = Verdict(keep, None if keep else reason or "outlier", note != RESTORED)
    return dict(sorted(verdicts.items()))


def _numbered(file: Path, lines: Any) -> list[tuple[int, list[str]]]:
    """Return the lines of a CSV reader, each with its number in the file."""
    try:
        return [(lines.line_num, fields) for fields in lines]
    except csv.Error as error:
        raise _damaged(file, lines.line_num, "line", f"is no CSV: {error}") from error


def append_verdicts(dataset: Dataset, paths: Iterable[str], verdict: Verdict, note: str = "") -> None:
    """Add a verdict on each of these photos to ``verdicts.csv``, durably and all at once."""
    file = dataset.path(FILE)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = io.StringIO()
    before = file.read_bytes()[-1:] if file.exists() else b""
    if not before:
        text.write(csv_line(COLUMNS) + "\n")
    elif before != b"\n":  # somebody's editor left the last line open
        text.write("\n")
    for path in paths:
        word = "keep" if verdict.keep else "remove"
        text.write(csv_line([path, word, verdict.reason or "", note, now]) + "\n")
    with disk_full_named(file), file.open("ab", buffering=0) as handle:
        end = handle.tell()
        try:
            content = text.getvalue().encode()
            while content:
                content = content[handle.write(content) or 0 :]
            os.fsync(handle.fileno())
        except OSError:
            handle.truncate(end)
            raise


def csv_line(fields: Iterable[str]) -> str:
    """Return a line of ``verdicts.csv``, quoted where a name asks for it, without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()[:-1]


def digest(verdicts: Mapping[str, Verdict]) -> str | None:
    """Return a hash of what the verdicts say, without when they were given; None when there are none."""
    if not verdicts:
        return None
    return hashlib.sha256(json.dumps(sorted(verdicts.items())).encode()).hexdigest()


def place_photos(dataset: Dataset, reasons: Mapping[str, str | None]) -> tuple[int, int]:
    """Move photos to where they belong, by renames; those that are there stay.

    Parameters
    ----------
    reasons
        Path -> why it is removed; None puts it back into its class folder.

    Returns
    -------
    tuple
        How many moved out, how many moved back.
    """
    out = back = 0
    touched: set[Path] = set()
    for path, place in dataset.photos().items():
        if path not in reasons:
            continue
        target = dataset.locate(path, reasons[path])
        if target == place:
            continue
        with disk_full_named(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and file_hash(target) == file_hash(place):
                place.unlink()  # a killed move to another disk, or the same photo removed twice
            else:
                touched |= _move_aside(dataset, path, target)
                move(place, target)
        touched |= {target.parent, place.parent}
        if place.is_relative_to(dataset.images):
            out += 1
        elif reasons[path] is None:
            back += 1
    for folder in sorted(touched):
        sync_folder(folder)
    _drop_empty(dataset.removed)
    return out, back


def _move_aside(dataset: Dataset, path: str, target: Path) -> set[Path]:
    """Make room for a photo where another one of its name was put before; return the folder that one lies in now."""
    if not target.exists():
        return set()
    aside = dataset.locate(path, "replaced")
    free, number = aside, 1
    while free.exists():
        number += 1
        free = aside.with_name(f"{aside.stem}-{number}{aside.suffix}")
    move(target, free)
    return {free.parent}


def _drop_empty(removed: Path) -> None:
    if not removed.is_dir():
        return
    trees = [removed / reason for reason in REASONS]
    for folder in [*(folder for tree in trees for folder in tree.glob("*")), *trees, removed]:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _damaged(file: Path, line: int, column: str, what: str) -> DamagedFile:
    return DamagedFile(
        f"{file}, line {line}, {column}: {what}.",
        "Correct or delete that line, then type the same command again.",
    )
