"""Parquet shards that hold photos with all that is known of each, for ``huggingface`` and ``croissant``.

A shard is ``data/<split>-00000-of-0000N.parquet``; without a split it is called ``train``, for readers must name one.
The photo itself is the column ``image``, a struct of ``bytes`` and ``path``, as the library ``datasets`` stores one. It
also finds its features in the schema: see :func:`features`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.export.records import SCHEMA, Records
from shroomcurate.export.shards import shards
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns of a shard behind ``image``; ``path`` is where the photo lay, which nobody needs elsewhere.
COLUMNS = (
    "label",
    *(column.name for column in SCHEMA if column.name not in ("path", "label")),
)

#: What the photos of a dataset that is not split are called: the name that the library gives them itself.
UNSPLIT = "train"

_PHOTOS_A_GROUP = 100  # a row group is what a reader loads at once


@dataclass(frozen=True)
class Shard:
    """One written file.

    Attributes
    ----------
    path
        Inside the export, with ``/``.
    split
        Its split; :data:`UNSPLIT` where there is none.
    photos, bytes
        How many photos it holds, and how large the file is.
    decoded_bytes
        How large its table is in memory.
    """

    path: str
    split: str
    photos: int
    bytes: int
    decoded_bytes: int


def features(classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the features of a shard's columns as the library ``datasets`` writes them down."""
    types = {column.name: column.type.replace("double", "float64") for column in SCHEMA}
    return {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"},
        **{name: {"dtype": types[name], "_type": "Value"} for name in COLUMNS if name != "label"},
    }


def write_shards(records: Records, folder: Path, megabytes: int, progress: Progress) -> list[Shard]:
    """Write all photos, classes mixed, into shards of about this size.

    Memory is that of a row group, a hundred photos.
    """
    (folder / "data").mkdir()
    written: list[Shard] = []
    done = 0
    for split, parts in shards(records, megabytes):
        name = split if split in records.splits else UNSPLIT
        for number, part in enumerate(parts):
            path = f"data/{name}-{number:05d}-of-{len(parts):05d}.parquet"
            decoded = 0
            with _writer(folder / path, records.classes) as writer:
                for table in _groups(part):
                    writer.write_table(table, row_group_size=len(table))
                    decoded += table.nbytes
                    done += len(table)
                    progress(done, len(records), "write photos")
            written.append(Shard(path, name, len(part), (folder / path).stat().st_size, decoded))
    return written


def _schema(classes: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    types = {column.name: pa.type_for_alias(column.type) for column in SCHEMA}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    told = json.dumps({"info": {"features": features(classes)}}, ensure_ascii=False)
    return pa.schema([("image", image), *((name, types[name]) for name in COLUMNS)], metadata={"huggingface": told})


def _writer(target: Path, classes: Sequence[str]) -> Any:
    """Return a Parquet writer: photos as they are, for they are compressed already, all else small."""
    import pyarrow.parquet as pq

    small = ["image.path", *COLUMNS]
    return pq.ParquetWriter(
        target,
        _schema(classes),
        compression={"image.bytes": "none", **dict.fromkeys(small, "zstd")},
        use_dictionary=small,
        write_statistics=small,
    )


def _groups(records: Records) -> Iterator[pa.Table]:
    """Yield the rows of a shard with their photos, a row group at a time."""
    import pyarrow as pa

    schema = _schema(records.classes)
    for first in range(0, len(records), _PHOTOS_A_GROUP):
        rows = records.table.slice(first, _PHOTOS_A_GROUP)
        photos = [{"bytes": records.read(row), "path": row["file"]} for row in rows.to_pylist()]
        image = pa.array(photos, schema.field("image").type)
        yield pa.table([image, *(rows[name] for name in COLUMNS)], schema=schema)
