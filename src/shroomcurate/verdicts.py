"""What a person decided about photos, and putting files where a decision says.

Shared by reviewing, cleaning and restoring. ``verdicts.csv`` is append-only; the last line about a photo counts.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from shroomcurate.dataset import Dataset, file_hash, sync_folder
from shroomcurate.errors import BadOption, DamagedFile, disk_full_named
from shroomcurate.files import move
from shroomcurate.progress import Progress, silent
from shroomcurate.tree import REASONS

FILE = "verdicts.csv"
COLUMNS = ("path", "verdict", "reason", "note", "when")

#: The word that takes a verdict back: the photo is judged by the rules again.
WITHDRAWN = "none"

WORDS = ("keep", "remove", WITHDRAWN)

#: Bytes of a line at most: a path has 4096, and quotes in it are doubled.
_LONGEST = 1 << 16

#: Photos between two words on how far it is.
_TELL_EVERY = 500

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

    A removal without a reason is an ``outlier``. A photo whose last verdict is ``none`` has no verdict. A last line
    that a killed process has only begun was never promised to anybody, and is none.

    Raises
    ------
    DamagedFile
        A line is not a verdict; the message names file, line, column and value.
    """
    file = dataset.path(FILE)
    if not file.exists():
        return {}
    verdicts: dict[str, Verdict | None] = {}
    header, *rest = _numbered(file) or [(1, list(COLUMNS))]
    if tuple(header[1]) != COLUMNS:
        raise DamagedFile(f"{file}, line 1: is not the header.", f"Put this line above all others: {','.join(COLUMNS)}")
    for line, fields in rest:
        if not fields:
            continue
        if len(fields) != len(COLUMNS):
            raise _damaged(file, line, "line", f"has {len(fields)} fields, not {len(COLUMNS)}")
        path, verdict, reason, note, _ = fields
        reason = reason.strip().replace(" ", "_")  # as tables show it
        parts = path.split("/")
        if len(parts) != 3 or not {"", ".", ".."}.isdisjoint(parts):
            raise _damaged(file, line, "path", f"{path!r} is not {dataset.images.name}/<Class>/<file>")
        if verdict not in WORDS:
            raise _damaged(file, line, "verdict", f"{verdict!r} is none of: {', '.join(WORDS)}")
        if reason and reason not in REASONS:
            raise _damaged(file, line, "reason", f"{reason!r} is none of: {', '.join(REASONS)}")
        keep = verdict == "keep"
        known = Verdict(keep, None if keep else reason or "outlier", note != RESTORED)
        verdicts[path] = None if verdict == WITHDRAWN else known
    return {path: verdict for path, verdict in sorted(verdicts.items()) if verdict is not None}


def _numbered(file: Path) -> list[tuple[int, list[str]]]:
    """Return the fields of each line, with its number in the file."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)  # or lines would be seen that are half written
        text = handle.read()
    last = text.rfind("\n") + 1
    lines = csv.reader(io.StringIO(text[:last] if _is_begun(text[last:], is_first=last == 0) else text, newline=""))
    try:
        return [(lines.line_num, fields) for fields in lines]
    except csv.Error as error:
        raise _damaged(file, lines.line_num, "line", f"is no CSV: {error}") from error


def unfinished_line(dataset: Dataset) -> str | None:
    """Return what to say of a last line that was cut short, or that nobody typed to its end, and so is no verdict.

    The next verdict takes its place: a kill leaves such lines, and nobody can tell which of both it was.
    """
    file = dataset.path(FILE)
    if not file.exists():
        return None
    with file.open("rb", buffering=0) as handle:
        last, is_first = _last_line(handle, handle.seek(0, os.SEEK_END))
    words = last.decode(errors="replace")
    if is_first or not _is_begun(words, is_first=False):
        return None
    return (
        f"The last line of {file} has no end and is no verdict: {words!r}. Complete it to {len(COLUMNS)} fields, or "
        "delete it; the next verdict takes its place."
    )


def _is_begun(line: str, *, is_first: bool) -> bool:
    """Return whether a last line without its end is one that a killed process was writing, not one of a person."""
    if is_first:
        return line != "" and csv_line(COLUMNS).startswith(line.removeprefix("\ufeff"))
    try:
        fields = next(csv.reader([line]), [])
    except csv.Error:
        return False
    word = fields[1] if len(fields) > 1 else ""
    return 0 < len(fields) < len(COLUMNS) and any(each.startswith(word) for each in WORDS)


def append_verdicts(dataset: Dataset, verdicts: Mapping[str, Verdict | None], note: str = "") -> tuple[int, int]:
    """Add a verdict on each of these photos to ``verdicts.csv``, durably and all at once; None takes one back.

    Several processes may do so at the same time: none writes into another's lines.

    Returns
    -------
    tuple
        The file's size in bytes before and after.

    Raises
    ------
    BadOption
        A path is not UTF-8; no verdict is written.
    DiskFull
        No room; the file is as before.
    """
    file = dataset.path(FILE)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [csv_line([path, *_as_fields(verdict, note), now]) for path, verdict in verdicts.items()]
    try:
        content = "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise BadOption(
            "A verdict on a photo whose name is not UTF-8 cannot be written down.", "Give the file another name."
        ) from error
    with disk_full_named(file), file.open("a+b", buffering=0) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = handle.seek(0, os.SEEK_END)
        start, opening = _opening(handle, before)
        try:
            handle.truncate(start)
            _write_all(handle, opening + content)
        except OSError:
            handle.truncate(start)
            raise
        if before == 0:
            sync_folder(file.parent)
        return before, handle.tell()


def _opening(handle: FileIO, size: int) -> tuple[int, bytes]:
    """Return where in ``verdicts.csv`` new lines begin, and what goes before them."""
    last, is_first = _last_line(handle, size)
    is_begun = _is_begun(last.decode(errors="replace"), is_first=is_first)
    start = size - len(last) if is_begun else size
    if start == 0:
        return 0, f"{csv_line(COLUMNS)}\n".encode()
    return start, b"\n" if last and start == size else b""  # somebody's editor left the last line open


def _last_line(handle: FileIO, size: int) -> tuple[bytes, bool]:
    """Return what stands behind the last end of a line, and whether that is all there is."""
    handle.seek(max(0, size - _LONGEST))
    last = handle.read().rpartition(b"\n")[2]
    return last, len(last) == size


def _write_all(handle: FileIO, content: bytes) -> None:
    while content:
        content = content[handle.write(content) or 0 :]
    os.fsync(handle.fileno())


def _as_fields(verdict: Verdict | None, note: str) -> tuple[str, str, str]:
    """Return verdict, reason and note as they stand in the file."""
    if verdict is None:
        return WITHDRAWN, "", note
    word = "keep" if verdict.keep else "remove"
    return word, verdict.reason or "", note if verdict.teaches else RESTORED


def csv_line(fields: Iterable[str]) -> str:
    """Return a line of ``verdicts.csv``, quoted where a name asks for it, without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(fields)  # both of which it then quotes in a name
    return text.getvalue()[:-2]


def digest(verdicts: Mapping[str, Verdict]) -> str | None:
    """Return a hash of what the verdicts say, without when they were given; None when there are none."""
    if not verdicts:
        return None
    return hashlib.sha256(json.dumps(sorted(verdicts.items())).encode()).hexdigest()


def place_photos(dataset: Dataset, reasons: Mapping[str, str | None], progress: Progress = silent) -> tuple[int, int]:
    """Move photos to where they belong, by renames; those that are there stay.

    Parameters
    ----------
    reasons
        Path -> why it is removed; None puts it back into its class folder.
    progress
        Called as ``progress(photos looked at, photos, "move photos")``.

    Returns
    -------
    tuple
        How many moved out, how many moved back.
    """
    out = back = 0
    touched: set[Path] = set()
    there = dataset.photos()
    for number, (path, place) in enumerate(there.items()):
        if number % _TELL_EVERY == 0:
            progress(number, len(there), "move photos")
        if path not in reasons:
            continue
        target = dataset.locate(path, reasons[path])
        if target == place:
            continue
        with disk_full_named(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink() and target.exists() and target.samefile(place):
                target.unlink()  # it leads to the photo itself, which comes here now
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
    progress(len(there), len(there), "move photos")
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
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()


def _damaged(file: Path, line: int, column: str, what: str) -> DamagedFile:
    return DamagedFile(
        f"{file}, line {line}, {column}: {what}.",
        "Correct or delete that line, then type the same command again.",
    )
