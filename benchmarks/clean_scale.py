"""Time and memory of `clean` after embedding: 445 classes of 500 photos, and one class of 100,000.

``measure`` makes the folder and runs `clean` in a process of its own. The photos are links to a hundred small ones,
embedded as any others; their rows are repeated with vectors of their own. So what else the embedder writes is there.
The vectors have classes: all share a direction, each class has its own beside it, each photo some of its own; every
tenth photo is noise of one of twenty kinds, which stand in all classes; every hundredth is a copy of the one before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.dataset import Dataset, read_receipt, read_table, write_table
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.vectors import unit_length

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FILES = 100
NOISE_EVERY, COPY_EVERY = 10, 100
NOISE_KINDS = 20
#: Lengths of what all photos share, a class's own and a photo's own; then photos of one class lie about 0.2 apart,
#: those of two classes about 0.45, as real ones do in the mean.
COMMON, OWN, EACH = 0.74, 0.5, 0.45


class Took(NamedTuple):
    """What a run took: seconds of `clean` alone; processor time and memory, in MiB, of its whole process."""

    photos: int
    seconds: float
    cpu: float
    peak: float
    removed: dict[str, int]


def vectors_of(classes: int, each: int, length: int, seed: int = 0) -> NDArray[np.float32]:
    """Return vectors of length one, ``(classes * each, length)``, class by class."""
    import numpy as np

    chance = np.random.default_rng(seed)

    def directions(count: int) -> NDArray[np.float32]:
        return unit_length(chance.standard_normal((count, length), np.float32))

    common = directions(1)
    centres = COMMON * common + OWN * directions(classes)
    strange = 0.4 * common + 0.8 * directions(NOISE_KINDS)
    found = np.empty((classes * each, length), np.float32)
    for number in range(classes):
        middle = np.repeat(centres[number : number + 1], each, axis=0)
        noise = np.arange(0, each, NOISE_EVERY)
        middle[noise] = strange[chance.integers(0, NOISE_KINDS, len(noise))]
        own = middle + EACH * directions(each)
        own[COPY_EVERY::COPY_EVERY] = own[COPY_EVERY - 1 : each - 1 : COPY_EVERY][: len(own[COPY_EVERY::COPY_EVERY])]
        found[number * each : (number + 1) * each] = unit_length(own)
    return found


def make(folder: Path, classes: int, each: int, options: EmbedOptions) -> Dataset:
    """Make the class folders and their embeddings."""
    import numpy as np
    from PIL import Image

    few = Dataset(images=folder / "few" / "images")
    (few.images / "Few").mkdir(parents=True)
    chance = np.random.default_rng(0)
    for number in range(FILES):
        pixels = chance.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(few.images / "Few" / f"{number:03}.jpg", quality=75)
    embed(few, options)
    dataset = Dataset(images=folder / f"{classes}x{each}" / "images")
    shutil.rmtree(dataset.root, ignore_errors=True)
    paths = []
    sources = sorted((few.images / "Few").iterdir())
    for name in range(classes):
        (dataset.images / f"Class_{name:03}").mkdir(parents=True)
        for photo in range(each):
            paths.append(f"images/Class_{name:03}/{photo:06}.jpg")
            try:
                os.link(sources[len(paths) % FILES], dataset.root / paths[-1])
            except OSError:  # as many links as this file system allows a file
                shutil.copyfile(sources[len(paths) % FILES], dataset.root / paths[-1])
    table = few.path("embeddings.parquet")
    receipt = read_receipt(table)
    if receipt is None:
        raise SystemExit(f"{table} has no receipt.")
    write_table(dataset.path("embeddings.parquet"), _rows(read_table(table), paths, classes, each), receipt)
    shutil.rmtree(few.root)
    return dataset


def _rows(few: pa.Table, paths: Sequence[str], classes: int, each: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    count = len(paths)
    length = few.schema.field("vector").type.list_size
    hashes = np.random.default_rng(1).integers(0, 2**63, count, np.uint64)
    hashes[COPY_EVERY::COPY_EVERY] = hashes[COPY_EVERY - 1 : count - 1 : COPY_EVERY]
    flat = pa.array(vectors_of(classes, each, length).ravel())
    own = {
        "path": pa.array(paths, pa.string()),
        "sha256": pa.array([f"{number:064x}" for number in range(count)], pa.string()),
        "perceptual_hash": pa.array(hashes, pa.uint64()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, length),
    }
    # Row i is the photo that its file is a link to, so that sizes and evidence are those of the file.
    place = pa.array((np.arange(1, count + 1) % FILES).tolist())
    columns = {name: own[name] if name in own else few[name].take(place) for name in few.column_names}
    return pa.table(columns)


def measure(folder: Path, classes: int, each: int, options: EmbedOptions) -> Took:
    """Make the photos, clean them in a process of its own and return what it took."""
    # They are made in another process, since the memory of this one is counted as that of its children.
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        dataset = other.submit(make, folder, classes, each, options).result()
    command = [sys.executable, "-m", "benchmarks.clean_scale", str(dataset.images)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    shutil.rmtree(dataset.root)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    told = json.loads(printed)
    cpu = usage.ru_utime + usage.ru_stime
    return Took(classes * each, told["seconds"], cpu, usage.ru_maxrss / 1024, told["reasons"])


def main() -> None:
    """Clean the given class folders and print what it took, for :func:`measure`."""
    dataset = Dataset(images=sys.argv[1])
    started = time.monotonic()
    summary = clean(dataset, CleanOptions())
    print(json.dumps({"seconds": time.monotonic() - started, "reasons": summary.reasons}))


if __name__ == "__main__":
    main()
