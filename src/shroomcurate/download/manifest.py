"""What `download` asks for, and the table that tells how it ended.

Every class starts with its N wanted photos. Each that is gone, corrupt or failed, or that cleaning has taken out, lets
the class ask for one more, in rank order. So what is asked for is the shortest prefix of the ranks that holds N whole
photos, in whatever order the answers came: the manifest depends on the selection, on what the server has and on what
was taken out, on nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.dataset import Column, arrow_schema, read_table
from shroomcurate.errors import DamagedFile

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = (
    Column("photo_id", "int64", "iNaturalist photo id"),
    Column("class", "string", "the class: its folder name"),
    Column("role", "string", "wanted or reserve"),
    Column("status", "string", "ok, gone, corrupt, failed, or pending: the run ended before it was settled"),
    Column("http_status", "int32", "of the last whole answer; null when there was none, or when the file was here"),
    Column("path", "string", "the photo's identity, images/<Class>/<photo_id>.<true file end>; null unless ok"),
    Column("bytes", "int64", "size of the file; null unless ok"),
    Column("sha256", "string", "of the file, hexadecimal; null unless ok"),
    Column("width", "int32", "pixels as stored; null unless ok"),
    Column("height", "int32", "pixels as stored; null unless ok"),
    Column("attempts", "int32", "requests made for it by the run that settled it; 0 when its file was here"),
    Column("fetched_at", "timestamp[ms]", "when the last answer came, UTC; null when there was none"),
    Column("error", "string", "why it is not ok; null when ok"),
)
HOLES = frozenset({"gone", "corrupt", "failed"})
_BATCH = 10_000  # rows that are Python objects at a time


class Photo(NamedTuple):
    """One row of the selection, as far as fetching it goes."""

    photo_id: int
    class_name: str
    role: str
    extension: str  # as in the bucket, empty when the selection does not know; the file's own end follows its true type


class Record(NamedTuple):
    """How asking for a photo ended. One line of the journal; with its photo, one row of ``downloads.parquet``."""

    photo_id: int
    status: str
    http_status: int | None = None
    extension: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    attempts: int = 0
    fetched_at: int | None = None
    """Milliseconds since 1970, UTC."""
    error: str | None = None


@dataclass
class Ranks:
    """One class: its photos by rank, how many it shall have, and how far down the ranks it has asked."""

    photos: Sequence[Photo]
    wanted: int
    asked: int = 0
    holes: int = 0

    def ask(self, records: Mapping[int, Record], taken_out: Collection[int]) -> Iterator[tuple[Photo, Record | None]]:
        """Yield the photos that are due now, with what is known of each; a known hole makes one more due.

        Parameters
        ----------
        taken_out
            Ids of whole photos that are in ``removed/``: each leaves a hole, too.
        """
        while self.asked < min(len(self.photos), self.wanted + self.holes):
            photo = self.photos[self.asked]
            record = records.get(photo.photo_id)
            self.asked += 1
            self.holes += record is not None and (record.status in HOLES or photo.photo_id in taken_out)
            yield photo, record


def manifest(
    classes: Sequence[Ranks], records: Mapping[int, Record], taken_out: Collection[int]
) -> list[tuple[Photo, Record]]:
    """Return what is asked for, by class and rank, each with its record: pending where there is none."""
    return [
        (photo, record or Record(photo.photo_id, "pending", error="not reached"))
        for ranks in classes
        for photo, record in Ranks(ranks.photos, ranks.wanted).ask(records, taken_out)
    ]


def beyond(rows: Sequence[tuple[Photo, Record]], records: Mapping[int, Record]) -> list[Record]:
    """Return the records that the manifest does not hold as settled: they may still fill holes."""
    held = {photo.photo_id for photo, record in rows if record.status != "pending"}
    return [record for photo_id, record in records.items() if photo_id not in held]


def identity(photo: Photo, extension: str) -> str:
    """Return a photo's path in every table. Nothing in it comes from a server."""
    return f"images/{photo.class_name}/{photo.photo_id}.{extension}"


def as_table(rows: Sequence[tuple[Photo, Record]]) -> pa.Table:
    """Return the manifest as ``downloads.parquet`` holds it."""
    import pyarrow as pa

    parts = [_part(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)]
    return pa.concat_tables(parts) if parts else arrow_schema(SCHEMA).empty_table()


def _part(rows: Sequence[tuple[Photo, Record]]) -> pa.Table:
    """Return rows as a table by way of JSON: pa.array loads pandas, which takes longer than a thousand photos."""
    import pyarrow as pa
    import pyarrow.json as pj

    schema = arrow_schema(SCHEMA)
    place = schema.get_field_index("fetched_at")
    numbers = schema.set(place, pa.field("fetched_at", pa.int64()))
    lines = "".join(json.dumps(_as_row(photo, record)) + "\n" for photo, record in rows)
    read = pj.read_json(pa.BufferReader(lines.encode()), parse_options=pj.ParseOptions(explicit_schema=numbers))
    return read.select(schema.names).cast(schema).combine_chunks()  # the same bytes, however it was read


def _as_row(photo: Photo, record: Record) -> dict[str, Any]:
    path = identity(photo, record.extension) if record.extension else None
    row = {**record._asdict(), "class": photo.class_name, "role": photo.role, "path": path}
    del row["extension"]
    return row


def read_table_records(path: Path) -> Iterator[Record]:
    """Yield the records of a ``downloads.parquet``; a column that an earlier version did not write is null.

    Raises
    ------
    DamagedFile
        It is not Parquet, or lacks a column.
    """
    import pyarrow as pa

    table = read_table(path)
    if "fetched_at" not in table.column_names:
        table = table.append_column("fetched_at", pa.nulls(table.num_rows, pa.int64()))
    same = [name for name in Record._fields if name != "extension"]
    try:
        table = table.select([*same, "path"])
    except KeyError as error:
        raise DamagedFile(f"{path} lacks a column: {error}", "Delete it and type: shroomcurate download") from error
    table = table.set_column(same.index("fetched_at"), "fetched_at", table["fetched_at"].cast(pa.int64()))
    for *values, file in _rows(table):
        known = dict(zip(same, values, strict=True))
        yield Record(extension=file and sys.intern(Path(file).suffix[1:]), **known)


def read_selection(path: Path) -> list[Ranks]:
    """Return the classes of ``selection.parquet`` by name.

    Raises
    ------
    DamagedFile
        It is no selection, or a class in it could not be a folder.
    """
    columns = ["class", "rank_in_class", "photo_id", "role", "extension"]
    table = read_table(path, columns).select(columns)
    if len(table["photo_id"].unique()) < len(table) or table["photo_id"].null_count:
        raise DamagedFile(f"{path} has a photo twice, or one without an id.", "Type: shroomcurate query")
    rows = _rows(table.sort_by([(name, "ascending") for name in columns[:3]]))
    classes = []
    for name, group in groupby(rows, key=lambda row: str(row[0])):
        if not name or name != Path(name).name or name.startswith(".") or "\0" in name:
            raise DamagedFile(f"{path} has the class {name!r}, which is no folder name.", "Type: shroomcurate query")
        photos = [
            Photo(photo_id, name, sys.intern(role), sys.intern((extension or "").strip()))
            for _, _, photo_id, role, extension in group
        ]
        classes.append(Ranks(photos, wanted=sum(photo.role == "wanted" for photo in photos)))
    return classes


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table; few of them are Python objects at a time."""
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
