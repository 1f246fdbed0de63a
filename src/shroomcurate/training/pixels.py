"""Photos as the networks see them: decoded once, kept in a file that is mapped into memory, handed out in batches."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.errors import DiskFull
from shroomcurate.photos import NotAPhoto, read_photo
from shroomcurate.progress import Bytes, Progress
from shroomcurate.runs import CACHE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]
    Photos = NDArray[np.uint8]

_READABLE, _PIXELS = CACHE
#: Photos that are decoded before the first of them is written, at most: 150 MB of 224 pixels.
_AHEAD = 1024


class Decoded(NamedTuple):
    """The photos of a run."""

    photos: Photos
    """``(photos, pixels, pixels, 3)``, see :func:`input_pixels`; black where one could not be decoded."""
    readable: NDArray[np.bool_]
    """Which of them could be decoded, ``(photos,)``."""


def decode(places: Sequence[Path], folder: Path, pixels: int, resize: str, progress: Progress) -> Decoded:
    """Decode every photo once into a file in the folder; a run that goes on finds it there.

    It takes 147 KiB a photo of 224 pixels (800 photos: 115 MiB); the operating system keeps as much of it in memory as
    fits, so the same code serves 800 photos and 200,000. :func:`forget` deletes it.
    """
    import numpy as np

    target, shape = folder / _PIXELS, (len(places), pixels, pixels, 3)
    if not ((folder / _READABLE).exists() and target.stat().st_size == math.prod(shape)):
        readable = np.zeros(len(places), bool)
        black = np.zeros(shape[1:], np.uint8)
        one = partial(_pixels_or_none, pixels=pixels, resize=resize)
        _refuse_full(target, math.prod(shape))
        with target.open("wb") as handle, _pool() as pool:
            for start in range(0, len(places), _AHEAD):  # all at once would fill the memory while a slow disk writes
                for row, photo in enumerate(pool.map(one, places[start : start + _AHEAD]), start):
                    readable[row] = photo is not None
                    handle.write((black if photo is None else photo).tobytes())
                    progress(row + 1, len(places), "decode photos")
            handle.flush()
            os.fsync(handle.fileno())
        np.save(folder / f"half-{_READABLE}", readable)
        (folder / f"half-{_READABLE}").replace(folder / _READABLE)  # its presence says that both are whole
    return Decoded(np.memmap(target, np.uint8, "r", shape=shape), np.load(folder / _READABLE))


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Give a thread a core; what goes wrong, such as ^C, waits for the photos in hand and not for those to come."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _refuse_full(target: Path, needed: int) -> None:
    before = target.stat().st_size if target.exists() else 0  # of an attempt that was killed; it is overwritten
    free = shutil.disk_usage(target.parent).free + before
    if free < needed:
        raise DiskFull(
            f"The decoded photos need {Bytes(needed)} in {target.parent.parent}, where {Bytes(free)} are free.",
            "Make room, then type the same command again. They are deleted when the training is done.",
        )


def forget(folder: Path) -> None:
    """Delete what :func:`decode` wrote."""
    for name in CACHE:
        (folder / name).unlink(missing_ok=True)


def input_pixels(place: Path, pixels: int, resize: str) -> Photos:
    """Return a photo as a network wants it: uint8 ``(pixels, pixels, 3)``, RGB.

    Parameters
    ----------
    resize
        ``crop``: the shorter side is scaled and the middle cut out. ``pad``: the longer side is scaled, and black fills
        the rest.

    Raises
    ------
    NotAPhoto
        It does not decode.
    """
    return fitted(read_photo(place, at_least=pixels), pixels, resize)


def fitted(photo: Image, pixels: int, resize: str) -> Photos:
    """Return a photo that has been read as :func:`input_pixels` does."""
    import numpy as np
    from PIL.Image import Resampling
    from PIL.ImageOps import fit, pad

    return np.asarray((fit if resize == "crop" else pad)(photo, (pixels, pixels), Resampling.BILINEAR))


def _pixels_or_none(place: Path, pixels: int, resize: str) -> Photos | None:
    try:
        return input_pixels(place, pixels, resize)
    except (NotAPhoto, OSError):  # one photo's trouble is that photo's alone
        return None


def batches(photos: Photos, truth: Ints, rows: Any, size: int, weight: Floats | None = None) -> Any:
    """Return a ``tf.data.Dataset`` of float32 photos 0..255 and class numbers, in the order of the rows.

    Parameters
    ----------
    rows
        Row numbers; or a ``tf.Variable`` of them, which is read anew in each epoch.
    size
        Photos in a batch; the last may have fewer.
    weight
        How much each class counts, ``(classes,)``; then batches have a third part, a weight a photo.
    """
    import tensorflow as tf

    shape = (None, *photos.shape[1:])

    def look_up(batch: Ints) -> Photos:
        return photos[batch]

    def load(start: Any) -> tuple[Any, ...]:
        batch = rows[start : start + size]
        pixels = tf.ensure_shape(tf.numpy_function(look_up, [batch], tf.uint8), shape)
        label = tf.gather(truth, batch)
        parts = (tf.cast(pixels, tf.float32), label)
        return parts if weight is None else (*parts, tf.gather(tf.constant(weight, tf.float32), label))

    if not isinstance(rows, tf.Variable):
        rows = tf.constant(rows)
    return tf.data.Dataset.range(0, rows.shape[0], size).map(load).prefetch(2)
