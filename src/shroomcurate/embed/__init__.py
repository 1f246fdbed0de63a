"""Describe every photo by a vector, so that photos that look alike lie close together.

Reads: the photos, kept and removed; ``selection.parquet`` where there is one, for the photo ids.
Writes: ``embeddings.parquet``. Resumes: rows of photos that have not changed are taken over; while a run lasts,
finished blocks lie in ``.embeddings/`` and a killed run's successor takes them over too.

The network is one of a short list, MobileNetV3-Small by default, with ImageNet weights, converted once per machine for
LiteRT; a GPU that TensorFlow sees is used instead where there is much to do. ``--embedder classic`` needs no weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shroomcurate.architectures import BACKBONES, DEFAULT_BACKBONE, EMBEDDERS, INPUT_PIXELS
from shroomcurate.backbone import find_head, find_weights
from shroomcurate.dataset import Dataset, Receipt, file_hash, printable, read_table, write_table
from shroomcurate.descriptors import CLASSIC_LENGTH, CLASSIC_VERSION, HASH_VERSION
from shroomcurate.embed.engine import SHORTER_SIDE, Engine, litert_model, network_input, open_engine
from shroomcurate.embed.far import far_engine
from shroomcurate.embed.rows import SCHEMA, Rows
from shroomcurate.embed.work import describe
from shroomcurate.errors import BadOption
from shroomcurate.evidence import EVIDENCE_VERSION
from shroomcurate.progress import Progress, silent
from shroomcurate.ray_cluster import open_cluster
from shroomcurate.tree import count_outside

__all__ = [
    "EMBEDDERS",
    "SCHEMA",
    "TABLE",
    "EmbedOptions",
    "EmbedSummary",
    "embed",
    "litert_model",
    "network_input",
]

TABLE = "embeddings.parquet"

_LENGTHS = {name: backbone.features for name, backbone in BACKBONES.items()} | {"classic": CLASSIC_LENGTH}
_PREPROCESSING = dict.fromkeys(
    BACKBONES, f"shorter side {SHORTER_SIDE}, bilinear by fast_image_resize, centre {INPUT_PIXELS}"
) | {"classic": CLASSIC_VERSION}


@dataclass(frozen=True)
class EmbedOptions:
    """How photos are described.

    Parameters
    ----------
    embedder
        One of :data:`shroomcurate.architectures.EMBEDDERS`: networks, which know what things are, or ``classic``,
        which knows colour, edges, texture and layout. Networks find more noise with fewer mistakes; `classic` needs no
        weights.
    weights
        A file or folder of the network's weights; None looks in the usual places, see
        :func:`shroomcurate.backbone.find_weights`.
    ray
        A Ray cluster that looks at the photos, see :func:`shroomcurate.ray_cluster.open_cluster`; None: this machine.
    """

    embedder: str = DEFAULT_BACKBONE
    weights: Path | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.embedder not in EMBEDDERS:
            raise BadOption(f"--embedder {self.embedder} is not known.", f"Choose one of: {', '.join(EMBEDDERS)}")


@dataclass(frozen=True)
class EmbedSummary:
    """What :func:`embed` did: photos in the table, how many of them were computed now, and what did not decode."""

    embedder: str
    photos: int
    computed: int
    reused: int
    head: bool = False
    """Whether ImageNet's head told what it sees; without it the evidence is of the pixels alone."""
    undecodable: dict[str, str] = field(default_factory=dict)
    """Path -> why it has no row."""
    outside: int = 0
    """Files of somebody else's tree that lie in no class folder, or deeper than in one: they are not looked at."""


def embed(
    dataset: Dataset,
    options: EmbedOptions = EmbedOptions(),
    progress: Progress = silent,
    target: Path | None = None,
) -> EmbedSummary:
    """Write ``embeddings.parquet``: one row for each photo on disk that decodes, kept or removed.

    Only new photos are computed. The vector of a photo does not depend on the others, nor on threads.

    Parameters
    ----------
    target
        Where the table goes instead, for a dry run; the dataset's own is only read then.

    Raises
    ------
    StageMissing, SourceMissing
        There is no photo.
    BadOption
        The dataset's tables are those of another tree.
    WeightsMissing
        The network's weights are neither here nor to be had.
    NetworkDown, Refused
        The cluster does not answer, or has other versions. What is finished is kept.
    """
    dataset.require_photos()
    dataset.refuse_other_tree()
    with dataset.lock("clean"):
        weights = find_weights(options.embedder, options.weights) if options.embedder in BACKBONES else None
        head = find_head(options.embedder, weights) if weights else None
        receipt = Receipt(
            "embed",
            {
                "embedder": options.embedder,
                "weights": file_hash(weights) if weights else None,
                "head": file_hash(head) if head else None,
                "preprocessing": _PREPROCESSING[options.embedder],
                "perceptual_hash": HASH_VERSION,
                "evidence": EVIDENCE_VERSION,
            },
        )
        photos = dataset.photos()
        sizes = {path: file.stat().st_size for path, file in photos.items()}
        rows = Rows(list(photos), _LENGTHS[options.embedder])
        target = target or dataset.path(TABLE)
        journal = target.with_name(".embeddings")
        before = rows.take(dataset.path(TABLE), receipt, sizes)
        for part in sorted(journal.glob("*.parquet")) if journal.is_dir() else []:
            rows.take(part, receipt, sizes)
        missing = rows.missing()
        undecodable: dict[str, str] = {}
        if missing:
            with _engine(options, weights, head, len(missing)) as engine:
                undecodable = describe(rows, missing, photos, engine, journal, receipt, progress)
        photo_ids = _photo_ids(dataset, photos)
        kept = [path for path in photos if path not in undecodable]
        changed = len(missing) > len(undecodable) or not target.exists()
        if changed or before != [(path, photo_ids.get(path)) for path in kept]:
            write_table(target, rows.table(kept, photo_ids), receipt)
        shutil.rmtree(journal, ignore_errors=True)
        computed = len(missing) - len(undecodable)
        return EmbedSummary(
            options.embedder,
            len(kept),
            computed,
            len(kept) - computed,
            head is not None,
            _named(undecodable),
            count_outside(dataset.images) if dataset.foreign else 0,
        )


@contextmanager
def _engine(options: EmbedOptions, weights: Path | None, head: Path | None, photos: int) -> Iterator[Engine]:
    if options.ray is None:
        with open_engine(options.embedder, weights, head, photos) as engine:
            yield engine
        return
    with open_cluster(options.ray) as cluster:
        yield far_engine(options.embedder, weights, head, cluster)


def _named(undecodable: dict[str, str]) -> dict[str, str]:
    return {printable(path): why for path, why in undecodable.items()}


def _photo_ids(dataset: Dataset, paths: Iterable[str]) -> dict[str, int]:
    selection = dataset.path("selection.parquet")
    if not selection.exists():
        return {}
    table = read_table(selection, ["class", "photo_id"])
    wanted = {(str(row["class"]), int(row["photo_id"])) for row in table.to_pylist()}
    found = {}
    for path in paths:
        file = Path(path)
        if file.stem.isdecimal() and (file.parent.name, int(file.stem)) in wanted:
            found[path] = int(file.stem)
    return found
