"""What a dataset holds and what is known of it, when `download` begins."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shroomcurate.dataset import Dataset, asked_per_class, file_hash, read_receipt
from shroomcurate.download.journal import read_records, refuse_other_size
from shroomcurate.download.manifest import Photo, Ranks, Record, read_selection
from shroomcurate.download.options import DownloadOptions
from shroomcurate.download.places import UNSELECTED, by_id, list_places, removed_by, set_aside, trusted
from shroomcurate.progress import Progress

_AT_A_TIME = 64  # photos that are hashed: a ^C waits for these, and the memory holds no more of them


@dataclass
class Known:
    """What the selection asks for, what lies where, and what each photo's end was."""

    selection: str
    """Its sha256."""
    per_class: int
    """Photos of each class that `query` was asked for, and may not have found; 0 when nothing says so."""
    classes: list[Ranks]
    sizes: dict[str, int]
    """Every photo on disk: where it lies -> bytes."""
    places: dict[int, str]
    """photo_id -> where it lies."""
    earlier: dict[int, Record]
    """What earlier runs have learnt."""
    records: dict[int, Record]
    """What needs no request any more; a run adds to it."""
    taken_out: set[int]
    """Photos that are in ``removed/``: they leave holes."""
    journaled: set[int]
    """Photos that only a run which was cut short knows: the disk may not have had them when the machine went down."""
    brought: set[int]
    """Photos that this run has brought from the server and put in place; empty at its beginning."""
    other_size: bool
    """Whether the records are of another size, in which nothing came: they say nothing, and are not in ``earlier``."""

    def lying_there(self) -> set[str]:
        """Return the places of all photos that lie there now."""
        return self.sizes.keys() | {self.places[photo_id] for photo_id in self.brought}

    def strangers(self) -> set[int]:
        """Return the photos on disk without a record of a whole one: they are decoded rather than fetched."""
        return self.places.keys() - {photo_id for photo_id, record in self.earlier.items() if record.status == "ok"}

    def due(self) -> Iterator[tuple[Photo, Record | None]]:
        """Yield the photos that would be looked at, if each of them comes, with what is known of them."""
        for ranks in self.classes:
            yield from Ranks(ranks.photos, ranks.wanted).ask(self.records, self.taken_out)

    def whole(self) -> Iterator[Photo]:
        """Yield the selected photos that are known to be whole."""
        for ranks in self.classes:
            for photo in ranks.photos:
                if (record := self.records.get(photo.photo_id)) and record.status == "ok":
                    yield photo

    def came_before(self) -> Iterator[Photo]:
        """Yield the photos that have come before, and that can be asked for."""
        return (photo for photo in self.whole() if photo.extension)


def look(dataset: Dataset, options: DownloadOptions) -> Known:
    """Read the selection, the records and the folders.

    Raises
    ------
    StageMissing, DamagedFile
        No selection, or one that cannot be read.
    BadOption
        The dataset holds photos of another size.
    """
    selection = dataset.require("selection.parquet")
    classes = read_selection(selection)
    sizes = list_places(dataset)
    other_size = refuse_other_size(dataset, options.size, any_photo=bool(sizes))
    places = by_id(sizes)
    table, journal = ({}, {}) if other_size else read_records(dataset)
    earlier = table | journal
    hashed = file_hash(selection)
    same = _made_from(dataset.path("downloads.parquet"), hashed)

    def is_final(record: Record) -> bool:
        if record.status == "gone" and record.http_status is None:
            return same  # gone for its licence: another selection may name the new one
        return record.status in {"gone", "corrupt"} and not options.retry_gone

    taken_out = {photo_id for photo_id, place in places.items() if removed_by(place)}
    records = trusted(earlier, places, sizes, is_final)
    per_class = asked_per_class(read_receipt(selection)) or 0
    known = (classes, sizes, places, earlier, records, taken_out, set(journal))
    return Known(hashed, per_class, *known, brought=set(), other_size=other_size)


def _made_from(table: Path, selection: str) -> bool:
    """Tell whether a table was made from this selection; one that is not there was made from no other."""
    receipt = read_receipt(table) if table.exists() else None
    return receipt is None or receipt.inputs.get("selection.parquet") == selection


def forget_damaged(dataset: Dataset, known: Known, progress: Progress, *, verify: bool) -> tuple[int, list[int]]:
    """Forget the photos on disk that are not what came, by size or by hash, and move them to ``unselected/``.

    There they get a name that no later run takes for the photo's.

    Parameters
    ----------
    verify
        Whether to hash all of them; else only those that a run which was cut short has left.

    Returns
    -------
    tuple
        Photos hashed, and the ids of the damaged ones.
    """
    whole = [
        (record, known.places[photo_id])
        for photo_id, record in known.records.items()
        if record.status == "ok" and (verify or photo_id in known.journaled)
    ]
    damaged = []
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(whole), _AT_A_TIME):
            some = whole[start : start + _AT_A_TIME]
            hashes = [*threads.map(lambda each: _hash(dataset, each[1]), some)]
            damaged += [
                record.photo_id for (record, _), found in zip(some, hashes, strict=True) if found != record.sha256
            ]
            progress(start + len(some), len(whole), "check")
    damaged += [
        photo_id
        for photo_id, record in known.earlier.items()
        if record.status == "ok" and photo_id in known.places and photo_id not in known.records
    ]
    for photo_id in damaged:
        known.records.pop(photo_id, None)
        known.sizes.pop(known.places[photo_id])
        set_aside(dataset, known.places[photo_id], dataset.path(UNSELECTED), "damaged-")
    return len(whole), damaged


def _hash(dataset: Dataset, place: str) -> str | None:
    try:
        return file_hash(dataset.root / place)
    except OSError:  # a disk that cannot read it
        return None
