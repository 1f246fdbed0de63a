"""The layouts of a dataset, kept with it: the places of its photos on the map.

Reads: ``embeddings.parquet``. Writes: ``.review/map/pca.parquet`` and ``umap.parquet``. Resumes: places are kept as
long as the embeddings have the same bytes; those of other embeddings are replaced.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.dataset import (
    Column,
    Dataset,
    Receipt,
    arrow_schema,
    file_hash,
    read_receipt,
    read_table,
    write_table,
)
from shroomcurate.errors import BadOption, DamagedFile, ShroomError
from shroomcurate.processes import own_command, own_environment
from shroomcurate.review.layout import METHODS, on_grid, pca, refuse_umap, umap
from shroomcurate.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = (
    Column("path", "string", "the photo, in the order of embeddings.parquet"),
    Column("x", "uint16", "0..65535 from left to right; x and y have the same scale"),
    Column("y", "uint16", "0..65535 from top to bottom"),
    Column("share", "float32", "of the variance that the two axes hold, 0..1; null for umap. The same in each row"),
)

#: Photos of which PCA takes about as long as it takes to start a process.
AT_ONCE = 30_000

_PATIENCE = 0.5  # seconds that the end waits for who is reading the embeddings

#: Another way of computing makes another version; places of an old one are computed again.
_VERSION = 1


@dataclass(frozen=True)
class Layout:
    """Where each photo lies on the map."""

    method: str
    paths: list[str]
    x: NDArray[np.uint16]
    """Shape (photos,)."""
    y: NDArray[np.uint16]
    """Shape (photos,)."""
    share: float | None
    """Of the variance that the two axes hold, 0..1; None for UMAP, whose axes mean nothing."""

    @property
    def note(self) -> str:
        """What the places tell and what they do not."""
        if self.share is None:
            return (
                "Photos that look alike lie together. How far apart clumps lie, and how large or dense they are, means "
                "nothing."
            )
        return f"These two axes hold {self.share:.0%} of the variance: photos that look unlike may lie together."


class Layouts:
    """The layouts of one dataset, computed when first asked for. Any thread may ask.

    PCA of up to :data:`AT_ONCE` photos is computed in the caller's thread; of more, and UMAP, in a process of its own,
    so that the caller goes on meanwhile, ^C ends it, and its memory is free again afterwards.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._lock = threading.Lock()
        self._hashed: tuple[tuple[int, int, int], str] | None = None
        self._workers: dict[str, _Worker] = {}

    def get(self, method: str) -> Layout | None:
        """Return the layout by ``pca`` or ``umap``; None while it is being computed: ask again in a second.

        Raises
        ------
        BadOption
            There is no such method.
        StageMissing
            There are no embeddings, or umap-learn is not installed.
        TooLittleData
            There are too few photos for UMAP.
        DamagedFile, DiskFull
            The embeddings cannot be read, or the places not written.
        """
        if method not in METHODS:
            raise BadOption(f"There is no map by {method!r}.", f"Choose one of: {', '.join(METHODS)}")
        with self._lock:
            receipt = _receipt(method, self._hash())
            found = _kept(self.dataset, receipt)
            if found is not None:
                self._end(method)
                return found
            return self._see_to(receipt)

    def close(self) -> None:
        """End what is being computed."""
        if self._lock.acquire(timeout=_PATIENCE):  # else a disk does not answer; processes of ours end with this one
            for method in METHODS:
                self._end(method)
            self._lock.release()

    def _end(self, method: str) -> None:
        if worker := self._workers.pop(method, None):
            worker.end()

    def _see_to(self, receipt: Receipt) -> Layout | None:
        """Compute a layout; or start a process that does and return None; or say why it failed."""
        method = str(receipt.options["method"])
        worker = self._workers.get(method)
        if worker is not None and worker.receipt == receipt and worker.running():
            return None
        self._workers.pop(method, None)
        if worker is not None and worker.receipt == receipt:
            worker.raise_failure()  # returns where it succeeded, and somebody has deleted what it wrote
        elif worker is not None:
            worker.end()  # the embeddings are others now
        photos = len(read_table(self.dataset.require("embeddings.parquet"), ["path"]))
        if method == "pca" and photos <= AT_ONCE:
            return _compute(self.dataset, receipt)
        if method == "umap":
            refuse_umap(photos)
        self._workers[method] = _Worker(self.dataset, receipt)
        return None

    def _hash(self) -> str:
        """Return the hash of the embeddings' bytes; it takes a while for 600 MB, so it is remembered."""
        file = self.dataset.require("embeddings.parquet")
        stat = file.stat()
        facts = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self._hashed is None or self._hashed[0] != facts:
            self._hashed = (facts, file_hash(file))
        return self._hashed[1]


def _compute(dataset: Dataset, receipt: Receipt) -> Layout:
    """Compute a layout and keep it."""
    import pyarrow as pa

    method = str(receipt.options["method"])
    file = dataset.require("embeddings.parquet")
    paths = read_table(file, ["path"])["path"].to_pylist()
    points, share = pca(read_vectors(file)) if method == "pca" else (umap(read_vectors(file)), None)
    x, y = on_grid(points).T.copy()
    table = pa.table([paths, x, y, pa.array([share] * len(paths), pa.float32())], schema=arrow_schema(SCHEMA))
    # By way of a name of our own: two servers may look at one dataset.
    ours = _file(dataset, method).with_name(f"{method}.{os.getpid()}.parquet")
    write_table(ours, table, receipt)
    ours.replace(_file(dataset, method))
    return Layout(method, paths, x, y, share)


def _kept(dataset: Dataset, receipt: Receipt) -> Layout | None:
    """Return the layout that is kept, if it is of these embeddings and of this version."""
    method = str(receipt.options["method"])
    file = _file(dataset, method)
    try:
        if not file.exists() or read_receipt(file) != receipt:
            return None
        table = read_table(file, [column.name for column in SCHEMA])
    except DamagedFile:  # nothing in it but what can be computed again
        return None
    share = table["share"][0].as_py() if len(table) else None
    return Layout(method, table["path"].to_pylist(), table["x"].to_numpy(), table["y"].to_numpy(), share)


def _file(dataset: Dataset, method: str) -> Path:
    return dataset.path(".review") / "map" / f"{method}.parquet"


def _receipt(method: str, embeddings: str) -> Receipt:
    return Receipt("review", {"method": method, "layout": _VERSION}, {"embeddings.parquet": embeddings})


# -- the process that computes -------------------------------------------------------------------------------


class _Worker:
    """The process, seen from the one that started it."""

    def __init__(self, dataset: Dataset, receipt: Receipt) -> None:
        self.receipt = receipt
        self.method = str(receipt.options["method"])
        self.process = subprocess.Popen(  # noqa: S603 (our own module)
            own_command(__name__, self.method, str(dataset.root), receipt.inputs["embeddings.parquet"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # numba and umap-learn warn of what is of no concern to a user
            # On a machine that has other work, the threads of OpenBLAS wait for each other: 5 s instead of 0.5.
            env={**own_environment(), "OPENBLAS_NUM_THREADS": "1"},
        )

    def running(self) -> bool:
        return self.process.poll() is None

    def raise_failure(self) -> None:
        """Raise what went wrong in the process, which has ended."""
        answer = self.process.communicate()[0]
        if not answer:
            raise ShroomError(
                f"The process that computed {self.method.upper()} ended with {self.process.returncode}.",
                "Most likely it was short of memory. Close other programs and ask again.",
            )
        failure = pickle.loads(answer)  # noqa: S301 (from our own process)
        if isinstance(failure, str):
            raise RuntimeError(f"The process that computed {self.method.upper()} failed:\n{failure}")
        if failure is not None:
            kind, what, hint = failure
            raise kind(what, hint)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def main() -> None:
    """Compute a layout for the process that holds the other end of standard input; end with it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ^C ends it at once, also inside compiled code
    threading.Thread(target=_end_with_input, daemon=True).start()
    # umap-learn loads it for a method that we do not use: six seconds and half a gigabyte.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    method, root, embeddings = sys.argv[1:]
    failure: object = None
    try:
        _compute(Dataset(root), _receipt(method, embeddings))
    except ShroomError as error:
        failure = type(error), error.what, error.hint
    except Exception:  # noqa: BLE001 (a bug: its traceback is shown by the other process)
        failure = traceback.format_exc()
    sys.stdout.buffer.write(pickle.dumps(failure))


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
