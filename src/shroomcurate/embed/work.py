"""Describing many photos at once: others look at them in blocks, while finished rows are kept safe."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from shroomcurate.dataset import Receipt, write_table
from shroomcurate.embed.engine import Engine
from shroomcurate.embed.far import look_far
from shroomcurate.embed.look import Looked, lookers
from shroomcurate.embed.rows import Rows
from shroomcurate.errors import WeightsMissing
from shroomcurate.evidence import EVIDENCE, IMAGENET_COLUMNS, imagenet_evidence
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Photos, and seconds, between two writes to the journal: what a kill can cost.
_BLOCK = 512
_BLOCK_SECONDS = 10.0

#: Blocks that lie ready, or wait for a thread, while others are looked at.
_AHEAD = 2

#: Seconds between two reports of progress.
_REPORT_SECONDS = 0.1

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def describe(
    rows: Rows,
    missing: Sequence[str],
    photos: dict[str, Path],
    engine: Engine,
    journal: Path,
    receipt: Receipt,
    progress: Progress,
) -> dict[str, str]:
    """Fill the rows of the missing photos; return those that do not decode, and why.

    Blocks of finished rows go into the journal, by this thread while the others compute.

    Raises
    ------
    WeightsMissing
        The weights give vectors that are no numbers.
    """
    undecodable: dict[str, str] = {}
    fresh: list[str] = []
    written = told = time.monotonic()
    done = 0
    with _looking(engine, [(path, photos[path]) for path in missing]) as blocks:
        for looked in blocks:
            undecodable |= looked.failed
            if looked.paths:
                vectors = looked.values if engine.together is None else engine.together(looked.values)
                _refuse_no_numbers(vectors, looked.paths)
                evidence = _with_imagenet(looked.evidence, vectors, engine)
                for row in zip(looked.paths, looked.facts, evidence, vectors, strict=True):
                    rows.put(*row)
            fresh += looked.paths
            done += len(looked.paths) + len(looked.failed)
            now = time.monotonic()
            full = len(fresh) >= _BLOCK or now - written >= _BLOCK_SECONDS
            if full and fresh and done < len(missing):  # the last block goes straight into the table
                name = hashlib.sha256(os.fsencode("\n".join(fresh))).hexdigest()[:16]
                write_table(journal / f"{name}.parquet", rows.table(fresh, {}), receipt)
                fresh, written = [], now
            if now - told >= _REPORT_SECONDS or done == len(missing):
                progress(done, len(missing), "embed")
                told = now
    return undecodable


@contextmanager
def _looking(engine: Engine, files: Sequence[tuple[str, Path]]) -> Iterator[Iterator[Looked]]:
    """Give what is seen of the photos, block by block, in their order."""
    if engine.cluster is not None:
        yield look_far(engine, engine.cluster, files)
        return
    blocks = [files[start : start + engine.block] for start in range(0, len(files), engine.block)]
    with lookers(engine, len(files)) as (look, threads), _pool(threads) as pool:
        yield _in_order(look, blocks, pool, threads + _AHEAD)


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads; when the block ends, for whatever reason, what they have not begun is not done."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[_Result]:
    """Give the results in order; threads work ahead of what is taken, yet only so far that memory stays small."""
    waiting: deque[Future[_Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _refuse_no_numbers(vectors: NDArray[np.float32], paths: Sequence[str]) -> None:
    import numpy as np

    whole = np.isfinite(vectors).all(axis=1)
    if not whole.all():
        raise WeightsMissing(
            f"The network's vector of {paths[int(whole.argmin())]} holds what is no number: its weights are damaged.",
            "Give other weights with --weights, or delete these so that they are downloaded again.",
        )


def _with_imagenet(pixels: NDArray[np.float32], vectors: NDArray[np.float32], engine: Engine) -> NDArray[np.float32]:
    """Return the evidence of a block, in the order of :data:`EVIDENCE`; NaN is what the missing head would say."""
    import numpy as np

    evidence = np.full((len(pixels), len(EVIDENCE)), np.nan, np.float32)
    evidence[:, len(IMAGENET_COLUMNS) :] = pixels
    if engine.head is not None:
        evidence[:, : len(IMAGENET_COLUMNS)] = imagenet_evidence(engine.head(vectors))
    return evidence
