"""Datasets for tests of cleaning: photos that are nothing but a path, an embedding and what else a test is about."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.clean.judge import Judged, Photo, judge
from shroomcurate.clean.tables import Photographs
from shroomcurate.dataset import Dataset, Receipt, read_table, write_table
from shroomcurate.embed import TABLE as EMBEDDINGS
from shroomcurate.evidence import EVIDENCE
from shroomcurate.progress import silent
from shroomcurate.verdicts import Verdict

LENGTH = 16
CLASSES = ("Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius")
KEEP, REMOVE = Verdict(True, None), Verdict(False, "outlier")
NOISE = 5  # the axis of the noise that stands in every class


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def blob(axis: int, count: int, seed: int = 0, spread: float = 0.1) -> np.ndarray[Any, Any]:
    """Photos that look alike: directions close to one axis. Blobs on two axes are a cosine distance of 1 apart."""
    noise = np.random.default_rng([seed, axis]).normal(0, spread, (count, LENGTH))
    return unit(np.eye(LENGTH)[axis] + noise)


def photos(tmp_path: Path, classes: Mapping[str, np.ndarray[Any, Any]], **facts: Mapping[str, Any]) -> Dataset:
    """A dataset with an embedding for each photo; a photo's content is its own path unless `same` says otherwise.

    `evidence` is path -> number -> value; numbers that it does not name are null, and without it there are no columns.
    """
    dataset = Dataset(tmp_path / "dataset")
    random_hash = random.Random(1)
    rows = []
    for name, vectors in classes.items():
        for number, vector in enumerate(vectors):
            path = f"images/{name}/{number:04}.jpg"
            file = dataset.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            content = facts.get("same", {}).get(path, path)
            file.write_text(content)
            rows.append(
                {
                    "path": path,
                    "photo_id": facts.get("photo_id", {}).get(path),
                    "sha256": content,
                    "perceptual_hash": facts.get("hash", {}).get(path, random_hash.getrandbits(64)),
                    **facts.get("evidence", {}).get(path, {}),
                    "vector": vector.tolist(),
                }
            )
    schema = pa.schema(
        {
            "path": pa.string(),
            "photo_id": pa.int64(),
            "sha256": pa.string(),
            "perceptual_hash": pa.uint64(),
            **({column.name: pa.float32() for column in EVIDENCE} if "evidence" in facts else {}),
            "vector": pa.list_(pa.float32(), LENGTH),
        }
    )
    rows.sort(key=lambda row: str(row["path"]))
    write_table(dataset.path(EMBEDDINGS), pa.Table.from_pylist(rows, schema=schema), Receipt("embed", {}))
    return dataset


def noisy(tmp_path: Path, good: int = 60, bad: int = 8) -> Dataset:
    """Two classes; the last photos of each are a tight cluster of something else."""
    return photos(
        tmp_path,
        {
            "Amanita_muscaria": np.concatenate([blob(0, good), blob(5, bad, spread=0.01)]),
            "Boletus_edulis": np.concatenate([blob(1, good), blob(5, bad, seed=1, spread=0.01)]),
        },
    )


def rows(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in read_table(dataset.path("clean.parquet")).to_pylist()}


def listing(dataset: Dataset) -> dict[str, str]:
    """Every photo on disk and what is in it."""
    return {
        str(file.relative_to(dataset.root)): file.read_text()
        for tree in ("images", "removed")
        for file in sorted((dataset.root / tree).rglob("*"))
        if file.is_file()
    }


def say(dataset: Dataset, *lines: str) -> None:
    dataset.path("verdicts.csv").write_text("\n".join(["path,verdict,reason,note,when", *lines, ""]))


def cleaned(dataset: Dataset, **options: Any) -> dict[str, dict[str, Any]]:
    clean(dataset, CleanOptions(**options))
    return rows(dataset)


def known(
    classes: Mapping[str, np.ndarray[Any, Any]],
    evidence: Mapping[str, Mapping[str, float]] | None = None,
    observations: Mapping[str, str] | None = None,
    observers: Mapping[str, int] | None = None,
) -> Photographs:
    """Photographs as they are read from a dataset; what is known of single ones by path."""
    paths = [f"images/{name}/{number:04}.jpg" for name, vectors in classes.items() for number in range(len(vectors))]
    chance = np.random.default_rng(0)
    return Photographs(
        paths=paths,
        photo_ids=[None] * len(paths),
        ranks=[1] * len(paths),
        observations=[(observations or {}).get(path) for path in paths],
        observers=[(observers or {}).get(path) for path in paths],
        sha256=list(paths),
        perceptual_hashes=chance.integers(0, 2**63, len(paths), np.uint64),
        vectors=np.concatenate(list(classes.values())),
        evidence={
            column.name: np.array([(evidence or {}).get(path, {}).get(column.name, np.nan) for path in paths], "f4")
            for column in EVIDENCE
        },
    )


def decide(
    photographs: Photographs, verdicts: Mapping[str, Verdict] | None = None, **options: Any
) -> tuple[dict[str, Photo], Judged]:
    judged = judge(photographs, verdicts or {}, CleanOptions(**options), silent)
    return {photo.path: photo for photo in judged.photos}, judged


def noisy_classes(good: int = 60, bad: int = 8) -> dict[str, np.ndarray[Any, Any]]:
    """Three classes; the last photos of each show the same other thing."""
    return {
        name: np.concatenate([blob(axis, good), blob(NOISE, bad, seed=axis, spread=0.05)])
        for axis, name in enumerate(CLASSES)
    }


def paths_of(name: str, numbers: Sequence[int] | range) -> list[str]:
    return [f"images/{name}/{number:04}.jpg" for number in numbers]


def with_clump(axis: int, count: int = 6) -> tuple[dict[str, np.ndarray[Any, Any]], list[str]]:
    """Photos in a tight clump outside the first class, along an axis."""
    classes = noisy_classes()
    first = CLASSES[0]
    classes[first] = np.concatenate([blob(0, 60), blob(axis, count, seed=77, spread=0.02)])
    return classes, paths_of(first, range(60, 60 + count))
