"""Describe every photo by a vector, so that photos that look alike lie close together.

Reads: the photos, kept and removed; ``selection.parquet`` where there is one, for the photo ids.
Writes: ``embeddings.parquet``. Resumes: rows of photos that have not changed are taken over; while a run lasts,
finished blocks lie in ``.embeddings/`` and a killed run's successor takes them over too.

The network is MobileNetV3-Small with ImageNet weights, converted once per machine for LiteRT, which starts in a
tenth of a second where TensorFlow needs many. ``--embedder classic`` needs no weights.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.backbone import FEATURES, INPUT_PIXELS, build_backbone, find_weights, load_keras, silent_stderr
from shroomcurate.dataset import (
    Column,
    Dataset,
    Receipt,
    file_hash,
    printable,
    read_receipt,
    read_table,
    write_bytes,
    write_table,
)
from shroomcurate.descriptors import CLASSIC_LENGTH, CLASSIC_VERSION, classic_vector, perceptual_hash
from shroomcurate.errors import BadOption, DamagedFile
from shroomcurate.home import home
from shroomcurate.photos import NotAPhoto, read_photo
from shroomcurate.progress import Progress, silent
from shroomcurate.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from PIL.Image import Image

TABLE = "embeddings.parquet"

SCHEMA = (
    Column("path", "string", "the photo: images/<Class>/<file>, wherever it lies now"),
    Column("photo_id", "int64", "iNaturalist photo id; null in a tree that no selection describes"),
    Column("bytes", "int64", "size of the file; a photo whose size is as here is not computed again"),
    Column("sha256", "string", "of the file's bytes, in hexadecimal"),
    Column("perceptual_hash", "uint64", "64 bits that survive scaling and compression (pHash)"),
    Column("vector", f"list<float>[{FEATURES}]", f"the embedding; {CLASSIC_LENGTH} long from the classic embedder"),
)

EMBEDDERS = ("mobilenet_v3_small", "classic")

#: Shorter side to which a photo is scaled before the centre is cut out, as in the usual ImageNet evaluation.
#: Measured against no margin (224) and against squeezing the whole photo: all three find noise equally well.
SHORTER_SIDE = 256

_PREPROCESSING = {
    "mobilenet_v3_small": f"shorter side {SHORTER_SIDE}, bilinear, centre {INPUT_PIXELS}",
    "classic": CLASSIC_VERSION,
}
_LENGTHS = {"mobilenet_v3_small": FEATURES, "classic": CLASSIC_LENGTH}

#: Photos between two writes to the journal: what a kill can cost, a few seconds of work.
_BLOCK = 512


@dataclass(frozen=True)
class EmbedOptions:
    """How photos are described.

    Parameters
    ----------
    embedder
        ``mobilenet_v3_small``, which knows what things are, or ``classic``, which knows colour, edges, texture and
        layout. The default finds more noise with fewer mistakes; the other needs no weights.
    weights
        A file or folder of MobileNetV3-Small weights; None looks in the usual places, see
        :func:`shroomcurate.backbone.find_weights`.
    """

    embedder: str = "mobilenet_v3_small"
    weights: Path | None = None

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
    undecodable: dict[str, str] = field(default_factory=dict)
    """Path -> why it has no row."""


class _Row(NamedTuple):
    path: str
    bytes: int
    sha256: str
    perceptual_hash: int
    vector: NDArray[np.float32]


Embedder = Callable[["Image"], "NDArray[np.float32]"]


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
    """
    dataset.refuse_other_tree()
    dataset.require_photos()
    with dataset.lock("clean"):
        weights = find_weights(options.weights) if options.embedder == "mobilenet_v3_small" else None
        receipt = Receipt(
            "embed",
            {
                "embedder": options.embedder,
                "weights": file_hash(weights) if weights else None,
                "preprocessing": _PREPROCESSING[options.embedder],
            },
        )
        photos = dataset.photos()
        sizes = {path: file.stat().st_size for path, file in photos.items()}
        rows = _Rows(list(photos), _LENGTHS[options.embedder])
        target = target or dataset.path(TABLE)
        journal = target.with_name(".embeddings")
        before = rows.take(dataset.path(TABLE), receipt, sizes)
        for part in sorted(journal.glob("*.parquet")) if journal.is_dir() else []:
            rows.take(part, receipt, sizes)
        missing = rows.missing()
        undecodable: dict[str, str] = {}
        if missing:
            with _embedder(options.embedder, weights) as run:
                undecodable = _compute(rows, missing, photos, run, journal, receipt, progress)
        photo_ids = _photo_ids(dataset, photos)
        kept = [path for path in photos if path not in undecodable]
        changed = len(missing) > len(undecodable) or not target.exists()
        if changed or before != [(path, photo_ids.get(path)) for path in kept]:
            write_table(target, rows.table(kept, photo_ids), receipt)
        shutil.rmtree(journal, ignore_errors=True)
        computed = len(missing) - len(undecodable)
        return EmbedSummary(options.embedder, len(kept), computed, len(kept) - computed, _named(undecodable))


def _named(undecodable: dict[str, str]) -> dict[str, str]:
    return {printable(path): why for path, why in undecodable.items()}


class _Rows:
    """The table while it fills: 222,500 vectors take 0.5 GB, so there is one block of them and no copies."""

    def __init__(self, paths: Sequence[str], length: int) -> None:
        import numpy as np

        self.paths = paths
        self.place = {path: place for place, path in enumerate(paths)}
        self.vectors = np.zeros((len(paths), length), np.float32)
        self.facts: list[tuple[int, str, int] | None] = [None] * len(paths)

    def put(self, row: _Row) -> None:
        place = self.place[row.path]
        self.facts[place] = (row.bytes, row.sha256, row.perceptual_hash)
        self.vectors[place] = row.vector

    def take(self, table: Path, receipt: Receipt, sizes: dict[str, int]) -> list[tuple[str, int | None]] | None:
        """Take over the rows of unchanged photos from an earlier table; return its paths and ids if it is usable."""
        if not table.exists():
            return None
        try:
            if read_receipt(table) != receipt:
                return None
            found = read_table(table, [column.name for column in SCHEMA if column.name != "vector"])
            vectors = read_vectors(table)
        except DamagedFile:  # nothing in it but what can be computed again
            return None
        columns = (found[name].to_pylist() for name in ("path", "bytes", "sha256", "perceptual_hash"))
        for number, (path, size, sha256, phash) in enumerate(zip(*columns, strict=True)):
            if sizes.get(path) == size:
                self.put(_Row(path, size, sha256, phash, vectors[number]))
        return list(zip(found["path"].to_pylist(), found["photo_id"].to_pylist(), strict=True))

    def missing(self) -> list[str]:
        return [path for path, facts in zip(self.paths, self.facts, strict=True) if facts is None]

    def table(self, paths: Sequence[str], photo_ids: dict[str, int]) -> pa.Table:
        """Return the rows of these paths."""
        import numpy as np
        import pyarrow as pa

        places = [self.place[path] for path in paths]
        facts = [fact for place in places if (fact := self.facts[place]) is not None]
        whole = len(places) == len(self.paths)
        vectors = self.vectors if whole else self.vectors[np.array(places, np.int64)]
        return pa.table(
            {
                "path": pa.array(paths, pa.string()),
                "photo_id": pa.array([photo_ids.get(path) for path in paths], pa.int64()),
                "bytes": pa.array([fact[0] for fact in facts], pa.int64()),
                "sha256": pa.array([fact[1] for fact in facts], pa.string()),
                "perceptual_hash": pa.array([fact[2] for fact in facts], pa.uint64()),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
            }
        )


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


# -- computing -------------------------------------------------------------------------------------------------


def _compute(
    rows: _Rows,
    missing: Sequence[str],
    photos: dict[str, Path],
    run: Embedder,
    journal: Path,
    receipt: Receipt,
    progress: Progress,
) -> dict[str, str]:
    """Describe the missing photos block by block, a thread a core; return those that do not decode."""
    undecodable: dict[str, str] = {}
    pool = ThreadPoolExecutor(_cores())
    try:
        for start in range(0, len(missing), _BLOCK):
            block = missing[start : start + _BLOCK]
            done = []
            for path, row in zip(block, pool.map(lambda path: _describe(path, photos[path], run), block), strict=True):
                if isinstance(row, str):
                    undecodable[path] = row
                else:
                    rows.put(row)
                    done.append(path)
            if start + _BLOCK < len(missing):  # the last block goes straight into the table
                name = hashlib.sha256(os.fsencode("\n".join(block))).hexdigest()[:16]
                write_table(journal / f"{name}.parquet", rows.table(done, {}), receipt)
            progress(start + len(block), len(missing), "embed")
    finally:
        pool.shutdown(cancel_futures=True)
    return undecodable


def _describe(path: str, file: Path, run: Embedder) -> _Row | str:
    if printable(path) != path:
        return "its name is not UTF-8"
    try:
        content = file.read_bytes()
        photo = read_photo(file, at_least=SHORTER_SIDE)
        return _Row(path, len(content), hashlib.sha256(content).hexdigest(), perceptual_hash(photo), run(photo))
    except (NotAPhoto, OSError) as error:  # one photo's trouble is that photo's alone
        return str(error) or type(error).__name__


@contextmanager
def _embedder(name: str, weights: Path | None) -> Iterator[Embedder]:
    if name == "classic" or weights is None:
        yield classic_vector
        return
    # One single-threaded interpreter a core and one photo at a time: batches and more threads inside an interpreter
    # gained nothing beyond noise on two cores, and so no result depends on its batch.
    idle: SimpleQueue[Any] = SimpleQueue()
    model = str(litert_model(weights))
    with silent_stderr():
        from ai_edge_litert.interpreter import Interpreter

        for _ in range(_cores()):
            interpreter = Interpreter(model, num_threads=1)
            interpreter.allocate_tensors()
            idle.put(interpreter)

    def run(photo: Image) -> NDArray[np.float32]:
        pixels = network_input(photo)
        interpreter = idle.get()
        try:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
            interpreter.invoke()
            vector: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
            return vector
        finally:
            idle.put(interpreter)

    yield run


def network_input(photo: Image) -> NDArray[np.float32]:
    """Return the centre of a photo as the network wants it: shape (224, 224, 3), RGB, 0..255.

    The shorter side becomes 256 pixels, then the middle 224 x 224 are cut out; done in one resampling.
    """
    import numpy as np
    from PIL import Image

    side = min(photo.size) * INPUT_PIXELS / SHORTER_SIDE
    left, top = (photo.width - side) / 2, (photo.height - side) / 2
    square = (INPUT_PIXELS, INPUT_PIXELS)
    return np.asarray(
        photo.resize(square, Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)), np.float32
    )


def litert_model(weights: Path) -> Path:
    """Return the network with these weights as a LiteRT file, converting it the first time on this machine.

    It lies in the user's data folder (``SHROOMCURATE_HOME``), named after the weights' sha256.
    """
    target = home() / "models" / f"mobilenet_v3_small-{file_hash(weights)}.tflite"
    if not target.exists():
        load_keras()
        with silent_stderr():
            import tensorflow as tf

            converted = tf.lite.TFLiteConverter.from_keras_model(build_backbone(weights)).convert()
        own = target.with_name(f"{target.name}.{os.getpid()}")  # two processes may convert at the same time
        write_bytes(own, converted)
        own.replace(target)
    return target


def _cores() -> int:
    return os.cpu_count() or 1
