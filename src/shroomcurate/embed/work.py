"""Describing many photos at once: threads read, decode, scale and infer, while finished rows are kept safe."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shroomcurate.dataset import Receipt, printable, write_table
from shroomcurate.descriptors import perceptual_hash
from shroomcurate.embed.engine import BATCH, SHORTER_SIDE, Engine
from shroomcurate.embed.rows import Facts, Rows
from shroomcurate.evidence import EVIDENCE, imagenet_evidence, pixel_evidence
from shroomcurate.photos import NotAPhoto, decode_photo
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Described = tuple[Facts, dict[str, float], NDArray[Any]] | str

#: Photos, and seconds, between two writes to the journal: what a kill can cost.
_BLOCK = 512
_BLOCK_SECONDS = 10.0

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
    """
    undecodable: dict[str, str] = {}
    fresh: list[str] = []
    written = told = time.monotonic()
    done = 0
    with _pool(engine.threads) as pool:
        for some in _described(missing, photos, engine, pool):
            for path, outcome in some:
                if isinstance(outcome, str):
                    undecodable[path] = outcome
                else:
                    facts, pixels, vector = outcome
                    rows.put(path, facts, _evidence(pixels, vector, engine), vector)
                    fresh.append(path)
            done += len(some)
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
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads; when the block ends, for whatever reason, what they have not begun is not done."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _described(
    missing: Sequence[str], photos: dict[str, Path], engine: Engine, pool: ThreadPoolExecutor
) -> Iterator[list[tuple[str, Described]]]:
    """Give the photos' outcomes in order, one by one, or as many as the engine takes together."""

    def work(path: str) -> Described:
        return _describe(path, photos[path], engine)

    results = zip(missing, _ahead(work, missing, pool), strict=True)
    if engine.together is None:
        for result in results:
            yield [result]
        return
    while some := list(islice(results, BATCH)):
        whole = [outcome for _, outcome in some if not isinstance(outcome, str)]
        vectors = iter(engine.together([inputs for _, _, inputs in whole]))
        yield [(path, out if isinstance(out, str) else (*out[:2], next(vectors))) for path, out in some]


def _evidence(pixels: dict[str, float], vector: NDArray[np.float32], engine: Engine) -> list[float]:
    found = pixels if engine.head is None else imagenet_evidence(engine.head(vector)) | pixels
    return [found.get(column.name, math.nan) for column in EVIDENCE]


def _ahead(work: Callable[[_Item], _Result], items: Iterable[_Item], pool: ThreadPoolExecutor) -> Iterator[_Result]:
    """Give the results in order; threads work ahead of what is taken, yet only so far that memory stays small."""
    waiting: deque[Future[_Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > 2 * BATCH:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _describe(path: str, file: Path, engine: Engine) -> Described:
    if printable(path) != path:
        return "its name is not UTF-8"
    try:
        content = file.read_bytes()
        photo = decode_photo(content, at_least=SHORTER_SIDE)
        facts = Facts(len(content), hashlib.sha256(content).hexdigest(), perceptual_hash(photo))
        return facts, pixel_evidence(photo), engine.each(photo)
    except (NotAPhoto, OSError) as error:  # one photo's trouble is that photo's alone
        return str(error) or type(error).__name__
