"""Writes the demo's dump and renders its photos, in the layout of the real bucket, beside the truth about each photo.

Reads: nothing. Writes: a folder with ``metadata/{taxa,observations,photos,observers}.csv.gz``,
``photos/<photo_id>/medium.<ext>``, ``truth.csv`` and ``demo.json``. Resumes: the folder appears whole, by one rename;
a killed run starts anew, and a finished one is used again as long as its options and this code are the same.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate import __version__
from shroomcurate.demo.decoys import DECOYS, paint_decoy
from shroomcurate.demo.paint import paint_mushroom
from shroomcurate.demo.plan import DemoOptions, Observation, Observer, Photo, Plan, make_plan
from shroomcurate.demo.species import SPECIES, Taxon
from shroomcurate.errors import BadOption, disk_full_named
from shroomcurate.progress import Progress, silent
from shroomcurate.tree import PARTIAL

if TYPE_CHECKING:
    from PIL.Image import Image

PHOTO_COLUMNS = (
    "photo_uuid", "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height", "position"
)  # fmt: skip
TRUTH_COLUMNS = ("photo_id", "species", "kind", "state", "duplicate_of")
_RECIPE = "demo.json"
_LOOKS = {one.name: one.look for one in SPECIES}


@dataclass(frozen=True)
class DemoTruth:
    """What was planted. Counts are of distinct photos.

    Parameters
    ----------
    folder
        The dump: give it to ``load-csvs`` as ``<folder>/metadata``, and serve it to ``download``.
    truth_csv
        One row a photo: photo_id, species, kind, state, duplicate_of.
    kinds, states
        Kind or state -> photos.
    """

    folder: str
    truth_csv: str
    species: int
    observations: int
    photos: int
    kinds: dict[str, int]
    states: dict[str, int]


def make_demo(
    folder: Path, options: DemoOptions = DemoOptions(), progress: Progress = silent, workers: int | None = None
) -> DemoTruth:
    """Generate the demo's dump.

    Parameters
    ----------
    folder
        Appears when all is finished; replaced if it holds another demo.
    workers
        Processes that render; by default as many as there are processors. The bytes do not depend on it.

    Raises
    ------
    BadOption
        `folder` holds something that is no demo.
    DiskFull
        No room.
    """
    folder = folder.absolute()
    plan = make_plan(options)
    recipe = _recipe(options)
    facts = _facts(folder, options, plan)
    if folder.exists():
        found = folder / _RECIPE
        if not found.is_file() and any(folder.iterdir()):
            raise BadOption(f"{folder} is there, and is no demo.", "Give a new folder, or delete that one.")
        if found.is_file() and found.read_text() == recipe:
            return facts
    partial = folder.with_name(folder.name + PARTIAL)
    with disk_full_named(folder):
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "metadata").mkdir(parents=True)
        photos = _unique(plan.photos)
        sizes = dict(_render_all(photos, partial / "photos", workers, progress))
        _write_tables(partial / "metadata", plan, sizes)
        _write_truth(partial / "truth.csv", photos)
        (partial / _RECIPE).write_text(recipe)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return facts


def _recipe(options: DemoOptions) -> str:
    """Return what the demo was made by: its options and a hash of the code that renders it."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
    return json.dumps({"version": __version__, "code": code.hexdigest(), "options": asdict(options)}, sort_keys=True)


def _unique(photos: Sequence[Photo]) -> list[Photo]:
    """Return each photo once, whatever observations it stands in, ordered by its id."""
    return sorted({photo.photo_id: photo for photo in photos}.values(), key=lambda photo: photo.photo_id)


def _facts(folder: Path, options: DemoOptions, plan: Plan) -> DemoTruth:
    photos = _unique(plan.photos)
    return DemoTruth(
        folder=str(folder),
        truth_csv=str(folder / "truth.csv"),
        species=options.species,
        observations=len(plan.observations),
        photos=len(photos),
        kinds=dict(sorted(Counter(photo.kind for photo in photos).items())),
        states=dict(sorted(Counter(photo.state for photo in photos).items())),
    )


# -- rendering -------------------------------------------------------------------------------------------------


def _render_all(
    photos: list[Photo], folder: Path, workers: int | None, progress: Progress
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Render all photos, in as many processes as asked for; yield photo_id and its original's width and height."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial

    count = workers or os.cpu_count() or 1
    render = partial(render_photo, folder=folder)
    label = "rendering photos"
    if count == 1:
        for done, photo in enumerate(photos, 1):
            yield render(photo)
            progress(done, len(photos), label)
        return
    # 'spawn': forking a process that runs threads (TensorFlow, the server) can hang its children.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent) as pool:
        for done, result in enumerate(pool.map(render, photos, chunksize=8), 1):
            yield result
            progress(done, len(photos), label)


def _end_with_parent() -> None:
    """End this worker when its parent is killed: it would otherwise wait for work for ever."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def render_photo(photo: Photo, folder: Path) -> tuple[int, tuple[int, int]]:
    """Write one photo as the bucket would serve it; return its id and the size of its original, in pixels."""
    if photo.state == "gone":
        return photo.photo_id, (2048, 1536)
    look = _LOOKS[photo.species]
    image = (
        paint_decoy(photo.kind, look, photo.seed)
        if photo.kind in DECOYS
        else paint_mushroom(look, photo.seed, photo.view)
    )
    content = _damage(encode(image, photo.extension, 78 if photo.kind == "duplicate" else 88), photo.state)
    target = folder / str(photo.photo_id) / f"medium.{photo.extension}"
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    larger = 2048 / max(image.size)
    return photo.photo_id, (round(image.width * larger), round(image.height * larger))


def encode(image: Image, extension: str, quality: int) -> bytes:
    """Return the file's bytes; the extension, in any letter case, decides the format."""
    buffer = io.BytesIO()
    kind = extension.lower()
    if kind == "png":
        image.save(buffer, "PNG", compress_level=4)
    elif kind == "gif":
        image.quantize(128).save(buffer, "GIF")
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _damage(content: bytes, state: str) -> bytes:
    if state == "truncated":
        return content[: len(content) * 3 // 5]
    if state == "empty":
        return b""
    if state == "html":
        return b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>\n"
    return content


# -- tables ----------------------------------------------------------------------------------------------------


def _write_tables(folder: Path, plan: Plan, sizes: dict[int, tuple[int, int]]) -> None:
    def photo_row(photo: Photo) -> tuple[object, ...]:
        width, height = sizes[photo.photo_id]
        return (*photo[:6], width, height, photo.position)

    def taxon_row(taxon: Taxon) -> tuple[object, ...]:
        return (*taxon[:5], str(taxon.active).lower())

    _write_dump(folder / "taxa.csv.gz", Taxon._fields, map(taxon_row, plan.taxa))
    _write_dump(folder / "observers.csv.gz", Observer._fields, plan.observers)
    _write_dump(folder / "observations.csv.gz", Observation._fields, plan.observations)
    _write_dump(folder / "photos.csv.gz", PHOTO_COLUMNS, map(photo_row, plan.photos))


def _write_dump(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write as the exporter does: tabs, a header, no quoting and no escaping. No time in the gzip header."""
    lines: list[str] = ["\t".join(header)]
    lines.extend("\t".join(str(value) for value in row) for row in rows)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write(("\n".join(lines) + "\n").encode())


def _write_truth(path: Path, photos: list[Photo]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(TRUTH_COLUMNS)
        for photo in photos:
            writer.writerow((photo.photo_id, photo.species, photo.kind, photo.state, photo.duplicate_of or ""))
