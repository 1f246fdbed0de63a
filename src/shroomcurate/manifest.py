"""What `download` asks for, what it has learnt, and where each photo lies.

Every class starts with its N wanted photos. Each that is gone, corrupt or failed lets the class ask for one more,
in rank order. So what is asked for is the shortest prefix of the ranks that holds N whole photos, in whatever order
the answers came: the manifest depends on the selection and on what the server has, on nothing else.

A record is trusted on the next run when it is final (gone, corrupt), or when its photo lies there with the size it
says. It is written before its file, so no file of ours is ever without one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from shroomcurate.dataset import PARTIAL, Column, Dataset, read_receipt, read_table
from shroomcurate.errors import BadOption, DamagedFile, disk_full_named
from shroomcurate.files import move
from shroomcurate.photos import NotAPhoto, check_photo

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
    Column("error", "string", "why it is not ok; null when ok"),
)
JOURNAL = ".downloads.journal"
UNSELECTED = "unselected"
HOLES = frozenset({"gone", "corrupt", "failed"})


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
    error: str | None = None


@dataclass
class Ranks:
    """One class: its photos by rank, how many it shall have, and how far down the ranks it has asked."""

    photos: Sequence[Photo]
    wanted: int
    asked: int = 0
    holes: int = 0

    def ask(self, records: Mapping[int, Record]) -> Iterator[tuple[Photo, Record | None]]:
        """Yield the photos that are due now, with what is known of each; a known hole makes one more due."""
        while self.asked < min(len(self.photos), self.wanted + self.holes):
            photo = self.photos[self.asked]
            record = records.get(photo.photo_id)
            self.asked += 1
            self.holes += record is not None and record.status in HOLES
            yield photo, record


def manifest(classes: Sequence[Ranks], records: Mapping[int, Record]) -> list[tuple[Photo, Record]]:
    """Return what is asked for, by class and rank, each with its record: pending where there is none."""
    return [
        (photo, record or Record(photo.photo_id, "pending", error="not reached"))
        for ranks in classes
        for photo, record in Ranks(ranks.photos, ranks.wanted).ask(records)
    ]


def as_row(photo: Photo, record: Record) -> dict[str, Any]:
    """Return the row of ``downloads.parquet``."""
    path = identity(photo, record.extension) if record.extension else None
    return {**record._asdict(), "class": photo.class_name, "role": photo.role, "path": path}


# -- what is wanted --------------------------------------------------------------------------------------------


def read_selection(path: Path) -> list[Ranks]:
    """Return the classes of ``selection.parquet`` by name.

    Raises
    ------
    DamagedFile
        It is no selection, or a class in it could not be a folder.
    """
    columns = ["class", "rank_in_class", "photo_id", "role", "extension"]
    table = read_table(path, columns)
    rows = sorted(zip(*(table[name].to_pylist() for name in columns), strict=True), key=lambda row: row[:3])
    classes = []
    for name, group in groupby(rows, key=lambda row: str(row[0])):
        if not name or name != Path(name).name or name.startswith(".") or "\0" in name:
            raise DamagedFile(f"{path} has the class {name!r}, which is no folder name.", "Type: shroomcurate query")
        photos = [Photo(photo_id, name, role, (extension or "").strip()) for _, _, photo_id, role, extension in group]
        classes.append(Ranks(photos, wanted=sum(photo.role == "wanted" for photo in photos)))
    return classes


def refuse_other_size(dataset: Dataset, size: str) -> None:
    """Raise BadOption when the dataset holds photos of another size: a mixture would teach sizes, not species."""
    table = dataset.path("downloads.parquet")
    receipt = read_receipt(table) if table.exists() else None
    known = {receipt.options.get("size", size)} if receipt else set()
    known |= {line["size"] for line in _journal_lines(dataset) if "size" in line}
    for other in sorted(known - {size}):
        raise BadOption(
            f"{dataset.root} holds photos of size {other}, not {size}.",
            f"Type --size {other}, or give --dataset another folder for size {size}.",
        )


# -- what is known ---------------------------------------------------------------------------------------------


def read_records(dataset: Dataset) -> dict[int, Record]:
    """Return what earlier runs have learnt: ``downloads.parquet``, and over it the journal of a run cut short."""
    records = {}
    path = dataset.path("downloads.parquet")
    if path.exists():
        same = [name for name in Record._fields if name != "extension"]
        for row in read_table(path, [*same, "path"]).to_pylist():
            extension = Path(row["path"]).suffix[1:] if row["path"] else None
            records[row["photo_id"]] = Record(extension=extension, **{name: row[name] for name in same})
    for line in _journal_lines(dataset):
        if line.keys() == set(Record._fields):
            records[line["photo_id"]] = Record(**line)
    return records


def _journal_lines(dataset: Dataset) -> Iterator[dict[str, Any]]:
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


def trusted(earlier: Mapping[int, Record], places: Mapping[int, Path], final: Set[str]) -> dict[int, Record]:
    """Return the records that spare a request: statuses in ``final``, and photos that lie there in full."""
    return {
        photo_id: record
        for photo_id, record in earlier.items()
        if record.status in final
        or (record.status == "ok" and photo_id in places and places[photo_id].stat().st_size == record.bytes)
    }


def judged(photo: Photo, content: bytes) -> Record:
    """Return the record of a photo's bytes: ok with its facts, or corrupt with the reason."""
    try:
        facts = check_photo(content)
    except NotAPhoto as error:
        return Record(photo.photo_id, "corrupt", error=str(error)[:200])
    digest = hashlib.sha256(content).hexdigest()
    return Record(photo.photo_id, "ok", None, facts.extension, len(content), digest, facts.width, facts.height)


def beyond(rows: Sequence[tuple[Photo, Record]], records: Mapping[int, Record]) -> list[Record]:
    """Return the records that the manifest does not hold as settled: they may still fill holes."""
    held = {photo.photo_id for photo, record in rows if record.status != "pending"}
    return [record for photo_id, record in records.items() if photo_id not in held]


class Journal:
    """What a run has learnt, a line a photo, handed to the operating system before the next step. For many threads."""

    def __init__(self, dataset: Dataset, size: str) -> None:
        self.path = dataset.path(JOURNAL)
        self.size = size
        self.lock = threading.Lock()
        self.handle: BinaryIO | None = None

    def append(self, *records: Record) -> None:
        """Write records down; the first call opens the file."""
        lines = b"".join(json.dumps(record._asdict()).encode() + b"\n" for record in records)
        with self.lock, disk_full_named(self.path):
            if self.handle is None:
                self.handle = self.path.open("ab")
                # If a kill tore the last line, this one makes its end: the first one of its kind has said the same.
                self.handle.write(json.dumps({"size": self.size}).encode() + b"\n")
            self.handle.write(lines)
            self.handle.flush()

    def close(self) -> None:
        """Close the file; nothing is lost, as every line has been flushed."""
        if self.handle is not None:
            with contextlib.suppress(OSError):  # a full disk has been reported by then
                self.handle.close()


# -- where photos lie ------------------------------------------------------------------------------------------


def identity(photo: Photo, extension: str) -> str:
    """Return a photo's path in every table. Nothing in it comes from a server."""
    return f"images/{photo.class_name}/{photo.photo_id}.{extension}"


def home(dataset: Dataset, photo: Photo, record: Record, place: Path | None) -> Path:
    """Return where a whole photo belongs: in its class folder, or in the one of those removed if it lies there now."""
    path = identity(photo, record.extension or "")
    if place is not None and place.parents[2] == dataset.removed:
        return dataset.locate(path, place.parents[1].name)
    return dataset.locate(path, None)


def sweep_partials(dataset: Dataset) -> None:
    """Delete what a killed run left half written."""
    for folder, pattern in ((dataset.root, "downloads.*"), (dataset.images, "*/*"), (dataset.removed, "*/*/*")):
        for partial in folder.glob(pattern + PARTIAL):
            partial.unlink()


def list_files(dataset: Dataset) -> list[Path]:
    """Return every photo on disk, those set aside in ``unselected/`` first."""
    aside = sorted(file for file in dataset.path(UNSELECTED).glob("*/*") if file.is_file())
    return [*aside, *dataset.photos().values()]


def places_of(files: Sequence[Path]) -> dict[int, Path]:
    """Return photo_id -> where it lies; of several, the last."""
    return {int(file.stem): file for file in files if file.stem.isascii() and file.stem.isdigit()}


def tidy(
    dataset: Dataset, rows: Sequence[tuple[Photo, Record]], files: Sequence[Path], places: Mapping[int, Path]
) -> int:
    """Make the class folders, kept and removed, hold exactly the photos of the manifest.

    Everything else in them moves to ``unselected/<Class>/``, whence a later selection takes it back; the folder lies
    beside ``images/`` and ``removed/``, so that no stage takes what is in it for a photo of the dataset.

    Parameters
    ----------
    rows
        The manifest.
    files
        What :func:`list_files` found before the run.
    places
        photo_id -> the file to use, of all that lie there now.

    Returns
    -------
    int
        Files moved to ``unselected/``.
    """
    homes = {
        places[photo.photo_id]: home(dataset, photo, record, places[photo.photo_id])
        for photo, record in rows
        if record.status == "ok"
    }
    aside = dataset.path(UNSELECTED)
    surplus = [file for file in files if file not in homes and not file.is_relative_to(aside)]
    for file in surplus:
        _move(file, _free(aside / file.parent.name / file.name))
    for place, target in homes.items():
        if place != target:
            _move(place, target)
    return len(surplus)


def _free(target: Path) -> Path:
    while target.exists():
        target = target.with_name(f"copy-of-{target.name}")
    return target


def _move(file: Path, target: Path) -> None:
    move(file, target)
    with contextlib.suppress(OSError):
        file.parent.rmdir()  # only if that was its last file: an empty folder would pass for a class
