"""What cleaning reads, as columns, and the table it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.dataset import Column, Dataset, arrow_schema, read_table
from shroomcurate.evidence import EVIDENCE, IMAGENET_COLUMNS
from shroomcurate.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from shroomcurate.clean.judge import Photo
    from shroomcurate.vectors import Vectors

TABLE = "clean.parquet"

SCHEMA = (
    Column("path", "string", "the photo: images/<Class>/<file>, wherever it lies now"),
    Column("photo_id", "int64", "iNaturalist photo id; null in a tree that no selection describes"),
    Column("class", "string", "the class folder"),
    Column("cluster", "int32", "DBSCAN cluster within the class, 0 the largest; -1 is noise, or was not clustered"),
    Column("kept", "bool", "whether the photo stays in its class folder"),
    Column("reason", "string", "why it was removed; null while it is kept"),
    Column(
        "score",
        "float",
        "0..1, higher is more likely noise; above 0.5 it goes, unless its class is left alone or a verdict keeps it",
    ),
    Column(
        "decided_by",
        "string",
        "rule (DBSCAN; also for a duplicate), model (the noise model, against DBSCAN), or person (a verdict)",
    ),
    Column("duplicate_of", "string", "path of the photo that this one nearly equals; null if it is the one kept"),
    Column("distance", "float", "cosine distance to the mean of the photos that are the class"),
    *EVIDENCE,
)


@dataclass(frozen=True)
class Photographs:
    """What is known of the photos on disk, a column each, in the order of their paths."""

    paths: list[str]
    photo_ids: list[int | None]
    ranks: list[int]
    """Rank within the class; of a photo that the selection does not know, one after the last."""
    observations: list[str | None]
    observers: list[int | None]
    sha256: list[str]
    perceptual_hashes: NDArray[np.uint64]
    vectors: Vectors
    """Shape (photos, length)."""
    evidence: dict[str, NDArray[np.float32]]
    """Number of :data:`EVIDENCE` -> its value for each photo; NaN where it was not measured."""

    def numbers(self) -> NDArray[np.float32]:
        """Return the evidence as a matrix, shape (photos, numbers), probabilities as logarithms; NaN where unknown.

        A probability of 0.001 and one of 0.01 differ as much as one of 0.1 and 1.
        """
        import numpy as np

        logarithms = {column.name for column in IMAGENET_COLUMNS}
        return np.column_stack(
            [
                np.log(values + np.float32(1e-3)) if name in logarithms else values
                for name, values in self.evidence.items()
            ]
        )


def read_photographs(dataset: Dataset, embeddings: Path, on_disk: AbstractSet[str]) -> Photographs:
    """Read the embeddings of the photos on disk, and what the selection says of them."""
    import numpy as np

    facts = read_table(embeddings, ["path", "photo_id", "sha256", "perceptual_hash"])
    evidence = _read_evidence(embeddings)
    vectors = read_vectors(embeddings)
    here = np.array([path in on_disk for path in facts["path"].to_pylist()], bool)
    if not here.all():
        facts, vectors = facts.filter(here), vectors[here]
        evidence = {name: values[here] for name, values in evidence.items()}
    photo_ids = facts["photo_id"].to_pylist()
    selected = _selected(dataset)
    unknown = (len(selected) + 1, None, None)
    chosen = [selected.get(photo_id, unknown) for photo_id in photo_ids]
    return Photographs(
        paths=facts["path"].to_pylist(),
        photo_ids=photo_ids,
        ranks=[rank for rank, _, _ in chosen],
        observations=[observation for _, observation, _ in chosen],
        observers=[observer for _, _, observer in chosen],
        sha256=facts["sha256"].to_pylist(),
        perceptual_hashes=facts["perceptual_hash"].to_numpy().astype(np.uint64),
        vectors=vectors,
        evidence=evidence,
    )


def _read_evidence(embeddings: Path) -> dict[str, NDArray[np.float32]]:
    import numpy as np
    import pyarrow.parquet as pq

    there = pq.read_schema(embeddings).names
    table = read_table(embeddings, [column.name for column in EVIDENCE if column.name in there])
    nothing = np.full(len(table), np.nan, np.float32)
    return {
        column.name: table[column.name].to_numpy().astype(np.float32) if column.name in there else nothing
        for column in EVIDENCE
    }


def _selected(dataset: Dataset) -> dict[int | None, tuple[int, str | None, int | None]]:
    """Return photo id -> rank within its class, observation and observer."""
    selection = dataset.path("selection.parquet")
    if not selection.exists():
        return {}
    table = read_table(selection, ["photo_id", "rank_in_class", "observation_uuid", "observer_id"])
    photo_ids, *rest = (column.to_pylist() for column in table.columns)
    return dict(zip(photo_ids, zip(*rest, strict=True), strict=True))


def make_judgements(photos: Sequence[Photo], evidence: Mapping[str, NDArray[np.float32]]) -> pa.Table:
    """Return ``clean.parquet``'s rows. By columns: as rows, 222,500 photos with their evidence would take 0.5 GB."""
    import pyarrow as pa

    columns: dict[str, Sequence[object] | NDArray[np.float32]] = {
        "path": [photo.path for photo in photos],
        "photo_id": [photo.photo_id for photo in photos],
        "class": [photo.class_name for photo in photos],
        "cluster": [photo.cluster for photo in photos],
        "kept": [photo.reason is None for photo in photos],
        "reason": [photo.reason for photo in photos],
        "score": [photo.score for photo in photos],
        "decided_by": [photo.decided_by for photo in photos],
        "duplicate_of": [photo.duplicate_of for photo in photos],
        "distance": [photo.distance for photo in photos],
        **evidence,
    }
    schema = arrow_schema(SCHEMA)
    return pa.table(
        [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema],  # NaN is null
        schema=schema,
    )
