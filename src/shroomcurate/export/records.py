"""What every format writes: the exported photos as one table, and what is known of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Column, Receipt
from shroomcurate.errors import DamagedFile

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = (
    Column("path", "string", "the photo, relative to the dataset: images/<Class>/<file>"),
    Column("file", "string", "<Class>/<file>: the photo's name in an export, below its split's folder if any"),
    Column("class", "string", "its class: the folder's name"),
    Column("label", "int64", "the class's place among the classes by name, from 0"),
    Column("split", "string", "train, val or test; null when there is no split"),
    Column("group", "int64", "photos that no split parts have the same number; null when there is no split"),
    Column("photo_id", "int64", "iNaturalist photo id; null when it is not known"),
    Column("photo_uuid", "string", "iNaturalist photo UUID"),
    Column("observation_uuid", "string", "iNaturalist observation"),
    Column("observer_id", "int64", "iNaturalist user id of the photographer"),
    Column("taxon_id", "int64", "the taxon the observation was identified as"),
    Column("taxon_name", "string", "its scientific name"),
    Column("license", "string", "such as CC-BY-NC; null when it is not known"),
    Column("license_url", "string", "where the licence can be read"),
    Column("attribution", "string", "the line that must stand beside the photo"),
    Column("observed_on", "string", "date of the observation, YYYY-MM-DD"),
    Column("latitude", "double", "degrees north, may be obscured"),
    Column("longitude", "double", "degrees east, may be obscured"),
    Column("photo_url", "string", "the photo's page at iNaturalist"),
    Column("observation_url", "string", "the observation's page at iNaturalist"),
    Column("bytes", "int64", "size of the file"),
    Column("sha256", "string", "of the file, hexadecimal"),
    Column("width", "int64", "pixels as stored"),
    Column("height", "int64", "pixels as stored"),
    Column("verdict", "string", "keep where a person said so; null otherwise"),
)

_BATCH = 1000  # rows that are Python objects at a time


@dataclass(frozen=True)
class Records:
    """The photos of an export, and where they lie.

    Attributes
    ----------
    table
        The columns of :data:`SCHEMA`, a row a photo, sorted by split, class, photo id and path.
    classes
        Folder names, sorted; a photo's label is its class's index here.
    name, description
        What the dataset is called, and one sentence on it.
    created
        Day on which the last photo came, ``YYYY-MM-DD``; empty when nothing tells. Never the clock.
    root
        What ``path`` is relative to.
    receipts
        Table of the dataset -> how it came to be.
    dump
        What is known of the dump behind it, such as the fingerprint of the ``catalogue``.
    """

    table: pa.Table
    classes: tuple[str, ...]
    name: str
    description: str
    created: str
    root: Path
    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    dump: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each photo as column -> value, in the table's order."""
        for batch in self.table.to_batches(max_chunksize=_BATCH):
            yield from batch.to_pylist()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have photos, of train, val and test in this order; none when there is no split."""
        there = set(self.table["split"].unique().to_pylist())
        return tuple(name for name in ("train", "val", "test") if name in there)

    def of_split(self, split: str | None) -> Records:
        """Return the same with the photos of one split only; None: those without one."""
        from dataclasses import replace

        import pyarrow.compute as pc

        column = self.table["split"]
        mask = pc.is_null(column) if split is None else pc.fill_null(pc.equal(column, split), False)
        return replace(self, table=self.table.filter(mask))

    def parts(self) -> list[tuple[str | None, Records]]:
        """Return each split with its photos; without a split one part, None, that has them all."""
        names: tuple[str | None, ...] = self.splits or (None,)
        return [(name, self.of_split(name)) for name in names]

    def shuffled(self) -> Records:
        """Return the same in an order in which classes are mixed, the same anywhere: that of the paths' hashes.

        For formats that are read from front to back, of which a reader shuffles a few thousand photos at most.
        """
        from dataclasses import replace

        import pyarrow as pa

        paths = self.table["path"].to_pylist()
        turn = sorted(range(len(paths)), key=lambda row: hashlib.sha256(paths[row].encode()).digest())
        return replace(self, table=self.table.take(pa.array(turn, pa.int64())))

    def place(self, row: Mapping[str, Any]) -> Path:
        """Return where a photo's file lies."""
        return self.root / str(row["path"])

    def read(self, row: Mapping[str, Any]) -> bytes:
        """Return a photo's bytes.

        Raises
        ------
        DamagedFile
            They are not those that the record names: what is exported is what was looked at.
        """
        content = self.place(row).read_bytes()
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            raise changed_photo(self.place(row))
        return content


def changed_photo(place: Path) -> DamagedFile:
    """Return what to raise for a photo whose bytes are others than those on record."""
    return DamagedFile(
        f"{place} is not the photo on record: its bytes have changed.",
        "Fetch it again with: shroomcurate download --verify, with the same --dataset as before. A photo of your own "
        "making belongs into a tree of yours (--images).",
    )
