"""Parquet shards that hold photos with all that is known of each, for ``huggingface`` and ``croissant``.

A shard is ``data/<split>-00000-of-0000N.parquet``; without a split it is called ``train``, for readers must name one.
The photo itself is the column ``image``, a struct of ``bytes`` and ``path``, as the library ``datasets`` stores one. It
also finds its features in the schema: see :func:`features`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.export.records import SCHEMA, Records
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


def write_shards(records: Records, folder: Path, shard_bytes: int, progress: Progress) -> list[Shard]:
    """Write all photos, classes mixed, into shards of about this many bytes.

    Memory is that of a row group, a hundred photos.
    """
    (folder / "data").mkdir()
    shards: list[Shard] = []
    written = 0
    for split, part in records.parts():
        name = split or UNSPLIT
        mixed = part.shuffled()
        stretches = _stretches(mixed.table["bytes"].to_pylist(), shard_bytes)
        for number, (start, end) in enumerate(stretches):
            path = f"data/{name}-{number:05d}-of-{len(stretches):05d}.parquet"
            decoded = 0
            with _writer(folder / path, records.classes) as writer:
                for table in _groups(mixed, start, end):
                    writer.write_table(table, row_group_size=len(table))
                    decoded += table.nbytes
                    written += len(table)
                    progress(written, len(records), "write photos")
            shards.append(Shard(path, name, end - start, (folder / path).stat().st_size, decoded))
    return shards


def _stretches(sizes: list[int], limit: int) -> list[tuple[int, int]]:
    """Return first and last row of each shard: as few as stay near the limit, and as equal as the photos allow."""
    total = sum(sizes)
    shards = max(1, -(-total // limit))
    ends = [0]
    for row, so_far in enumerate(accumulate(sizes), 1):
        if so_far * shards >= total * len(ends):
            ends.append(row)
    ends[-1] = len(sizes)
    return list(pairwise(ends))


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


def _groups(records: Records, start: int, end: int) -> Iterator[pa.Table]:
    """Yield the rows of a shard with their photos, a row group at a time."""
    import pyarrow as pa

    schema = _schema(records.classes)
    for first in range(start, end, _PHOTOS_A_GROUP):
        rows = records.table.slice(first, min(_PHOTOS_A_GROUP, end - first))
        photos = [{"bytes": records.read(row), "path": row["file"]} for row in rows.to_pylist()]
        image = pa.array(photos, schema.field("image").type)
        yield pa.table([image, *(rows[name] for name in COLUMNS)], schema=schema)
