"""The photos of earlier datasets, which a new one must not hold."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from shroomcurate.dataset import read_table
from shroomcurate.errors import BadOption, DamagedFile

_HINT = "Name a text file with a photo id a line, a selection.csv, a selection.parquet, or a dataset's folder."


def excluded_photos(files: Iterable[Path]) -> list[int] | None:
    """Return the photo ids of all files, sorted; None: there are no files.

    Raises
    ------
    BadOption
        A file is not there, or holds no photo ids; the message names the line.
    """
    ids: set[int] | None = None
    for file in files:
        own = _ids(file)
        if not own:
            raise BadOption(f"--exclude {file} holds no photo id.", _HINT)
        ids = (ids or set()) | set(own)
    return None if ids is None else sorted(ids)


def _ids(file: Path) -> list[int]:
    path = file / "selection.parquet" if file.is_dir() else file
    if not path.is_file():
        raise BadOption(f"--exclude: there is no file {path}.", _HINT)
    if path.suffix == ".parquet":
        try:
            return [int(photo_id) for photo_id in read_table(path, ["photo_id"])["photo_id"].to_pylist()]
        except (DamagedFile, TypeError, ValueError) as error:
            raise BadOption(f"--exclude {path} is not a table with the column photo_id: {error}", _HINT) from error
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadOption(f"--exclude {path} is not UTF-8 text: {error}", _HINT) from error
    first = text.split("\n", 1)[0].strip()
    if "photo_id" in first.replace('"', "").split(","):
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            return [_id(path, rows.line_num, row["photo_id"] or "") for row in rows]
        except csv.Error as error:
            raise BadOption(f"--exclude {path}, after line {rows.line_num}: {error}", _HINT) from error
    lines = ((number, line.split("#")[0].strip()) for number, line in enumerate(text.split("\n"), 1))
    return [_id(path, number, line) for number, line in lines if line]


def _id(path: Path, line: int, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise BadOption(f"--exclude {path}, line {line}: {value[:60]!r} is not a photo id.", _HINT)
    return int(value)
