"""The table of embeddings while it fills, and what it takes over from earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.architectures import BACKBONES, DEFAULT_BACKBONE
from shroomcurate.dataset import Column, Receipt, read_receipt, read_table
from shroomcurate.errors import DamagedFile
from shroomcurate.evidence import EVIDENCE
from shroomcurate.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

SCHEMA = (
    Column("path", "string", "the photo: images/<Class>/<file>, wherever it lies now"),
    Column("photo_id", "int64", "iNaturalist photo id; null in a tree that no selection describes"),
    Column("bytes", "int64", "size of the file; a photo whose size is as here is not computed again"),
    Column("sha256", "string", "of the file's bytes, in hexadecimal"),
    Column("perceptual_hash", "uint64", "64 bits that survive scaling and compression (pHash)"),
    *EVIDENCE,
    Column(
        "vector", f"list<float>[{BACKBONES[DEFAULT_BACKBONE].features}]", "the embedding; as long as the embedder's are"
    ),
)

#: What is known of each file, in the order of :class:`Facts`.
_FACTS = SCHEMA[2:5]


class Facts(NamedTuple):
    """What is known of a photo's file and picture besides evidence and vector, column by column."""

    bytes: int
    sha256: str
    perceptual_hash: int


class Rows:
    """The table while it fills: 222,500 vectors take 0.5 GB, so there is one block of them and no copies."""

    def __init__(self, paths: Sequence[str], length: int) -> None:
        import numpy as np

        self.paths = paths
        self.place = {path: place for place, path in enumerate(paths)}
        self.vectors = np.zeros((len(paths), length), np.float32)
        self.evidence = np.full((len(paths), len(EVIDENCE)), np.nan, np.float32)
        self.facts: list[Facts | None] = [None] * len(paths)

    def put(self, path: str, facts: Facts, evidence: Sequence[float], vector: NDArray[np.float32]) -> None:
        """Fill a photo's row; `evidence` in the order of :data:`EVIDENCE`, NaN where it is not known."""
        place = self.place[path]
        self.facts[place] = facts
        self.evidence[place] = evidence
        self.vectors[place] = vector

    def take(self, table: Path, receipt: Receipt, sizes: dict[str, int]) -> list[tuple[str, int | None]] | None:
        """Take over the rows of unchanged photos from an earlier table; return its paths and ids if it is usable."""
        import numpy as np

        if not table.exists():
            return None
        try:
            if read_receipt(table) != receipt:
                return None
            found = read_table(table, [column.name for column in SCHEMA if column.name != "vector"])
            vectors = read_vectors(table)
        except DamagedFile:  # nothing in it but what can be computed again
            return None
        facts = map(Facts._make, zip(*(found[column.name].to_pylist() for column in _FACTS), strict=True))
        evidence = np.column_stack([found[column.name].to_numpy() for column in EVIDENCE])
        for path, fact, numbers, vector in zip(found["path"].to_pylist(), facts, evidence, vectors, strict=True):
            if sizes.get(path) == fact.bytes:
                self.put(path, fact, numbers, vector)
        return list(zip(found["path"].to_pylist(), found["photo_id"].to_pylist(), strict=True))

    def missing(self) -> list[str]:
        """Return the photos whose row is empty."""
        return [path for path, facts in zip(self.paths, self.facts, strict=True) if facts is None]

    def table(self, paths: Sequence[str], photo_ids: dict[str, int]) -> pa.Table:
        """Return the rows of these paths."""
        import numpy as np
        import pyarrow as pa

        places = np.array([self.place[path] for path in paths], np.int64)
        facts = [fact for place in places if (fact := self.facts[place]) is not None]
        whole = len(places) == len(self.paths)
        vectors = self.vectors if whole else self.vectors[places]
        columns = {
            "path": pa.array(paths, pa.string()),
            "photo_id": pa.array([photo_ids.get(path) for path in paths], pa.int64()),
        }
        for number, column in enumerate(_FACTS):
            columns[column.name] = pa.array([fact[number] for fact in facts], pa.type_for_alias(column.type))
        for number, column in enumerate(EVIDENCE):  # NaN is null
            columns[column.name] = pa.array(self.evidence[places, number], pa.float32(), from_pandas=True)
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        return pa.table(columns)
