"""The one small copy of a photo on which all its numbers are measured, so that they depend on no camera's size.

All numbers together must cost less than the embedding beside them: so arrays are few and small, photos of one size are
measured together, sums over areas are products of matrices, and quantiles come from counts of levels. Whole numbers in
single precision are exact up to 2^24, which no sum here reaches: the order of adding changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Number by number, what was measured on each of some photos.
Measured = dict[str, "NDArray[np.floating]"]

#: Pixels on the longer side, or up to a sixteenth more. The blur of a bad photo still shows.
SIDE = 160
_LEAST = 16  # pixels on the shorter side, so that strips and specks have the same code as photos
_CALM = 12  # levels that a pixel changes at the mean in an area without detail


@dataclass(frozen=True)
class Thumbnails:
    """Some photos in small, all of one size: light at height x width, both even, colours and areas at half of both."""

    light: NDArray[np.float32]
    """Shape (photos, height, width): luma by ITU-R BT.601, whole numbers 0..255."""
    across: NDArray[np.float32]
    """Shape (photos, height, width - 1): step of the light to the right neighbour, 0..255."""
    down: NDArray[np.float32]
    """Shape (photos, height - 1, width): step to the lower neighbour, likewise."""
    steps: NDArray[np.float32]
    """Shape (photos, height - 1, width - 1): the larger of both."""
    colours: list[Image]
    """Width / 2 x height / 2 pixels each: RGB, each of four pixels."""
    rgb: NDArray[np.int16]
    """Shape (3, photos, height / 2, width / 2): the same; a plane a colour is quicker."""
    grey: NDArray[np.uint8]
    """Shape (photos, height / 2, width / 2): luma of `rgb`."""
    below: NDArray[np.int64]
    """Shape (photos, 257): how many pixels of `grey` are darker than each level."""
    calm: NDArray[np.bool_]
    """Shape (photos, height / 2, width / 2): where no detail is: in 6 x 6 pixels the steps are small at the mean."""

    def quantile(self, share: float) -> NDArray[np.int64]:
        """Return for each photo the level of `grey` below or at which this share of it is, 0..255."""
        found: NDArray[np.int64] = (self.below[:, 1:] < share * self.grey[0].size).sum(axis=1)
        return found


def make_thumbnails(smalls: Sequence[Image]) -> Thumbnails:
    """Make the arrays of photos that :func:`shrink` has shrunk to one size."""
    import numpy as np

    light = np.stack([np.asarray(small.convert("L")) for small in smalls]).astype(np.float32)
    across, down = np.abs(light[:, :, 1:] - light[:, :, :-1]), np.abs(light[:, 1:] - light[:, :-1])
    steps = np.maximum(across[:, :-1], down[:, :, :-1])
    halves = [small.reduce(2) for small in smalls]
    grey = np.stack([np.asarray(half.convert("L")) for half in halves])
    below = np.zeros((len(smalls), 257), np.int64)
    levels = (256 * np.arange(len(smalls))[:, None, None] + grey).ravel()
    np.cumsum(np.bincount(levels, minlength=256 * len(smalls)).reshape(-1, 256), axis=1, out=below[:, 1:])
    rgb = np.stack([np.asarray(half) for half in halves]).transpose(3, 0, 1, 2).astype(np.int16, order="C")
    return Thumbnails(light, across, down, steps, halves, rgb, grey, below, _calm(steps))


def shrink(photo: Image) -> Image:
    """Shrink an RGB photo of any size; a smaller one than the thumbnail keeps its size, for blur must not be added.

    By a whole factor where that comes near to the side, as for photos of 500 pixels: half the time.
    """
    from PIL.Image import Resampling

    longest = max(photo.size)
    factor = longest // SIDE
    if factor and longest // factor <= SIDE * 17 // 16:
        # Even sides, so that the half has no pixels of its own.
        width, height = (side // (2 * factor) * 2 for side in photo.size)
        if min(width, height) >= _LEAST:
            left, top = (photo.width - factor * width) // 2, (photo.height - factor * height) // 2
            return photo.reduce(factor, (left, top, left + factor * width, top + factor * height))
    scale = min(1.0, SIDE / longest)
    width, height = (max(_LEAST, 2 * round(side * scale / 2)) for side in photo.size)
    return photo.resize((width, height), Resampling.BOX, reducing_gap=1.0)


def _calm(steps: NDArray[np.float32]) -> NDArray[np.bool_]:
    import numpy as np

    # Blocks of 2 x 2 steps; the last row and column, which have one step less, repeat it.
    photos, height, width = steps.shape[0], steps.shape[1] // 2 + 1, steps.shape[2] // 2 + 1
    rows = np.empty((photos, height, steps.shape[2]), np.float32)
    np.add(steps[:, :-1:2], steps[:, 1::2], out=rows[:, :-1])
    np.multiply(steps[:, -1], 2, out=rows[:, -1])
    blocks = np.empty((photos, height + 2, width + 2), np.float32)
    np.add(rows[:, :, :-1:2], rows[:, :, 1::2], out=blocks[:, 1:-1, 1:-2])
    np.multiply(rows[:, :, -1], 2, out=blocks[:, 1:-1, -2])
    blocks[:, 0], blocks[:, -1] = blocks[:, 1], blocks[:, -2]
    blocks[:, :, 0], blocks[:, :, -1] = blocks[:, :, 1], blocks[:, :, -2]
    three = blocks[:, :-2] + blocks[:, 1:-1] + blocks[:, 2:]
    calm: NDArray[np.bool_] = three[:, :, :-2] + three[:, :, 1:-1] + three[:, :, 2:] <= 9 * 4 * _CALM
    return calm


def tile_means(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the mean of each tile of `side` pixels; the last of a row or column takes a rest of up to half a tile."""
    import numpy as np

    rows, columns, pixels = _tiles(*values.shape[1:], side)
    return np.divide(rows @ values @ columns, pixels, dtype=np.float32)


@lru_cache(64)
def _tiles(height: int, width: int, side: int) -> tuple[NDArray[np.float32], ...]:
    """Return which tile has which row, which column is in which tile, and how many pixels are in each tile."""
    import numpy as np

    tiles = []
    for length in (height, width):
        count = max(1, (length + (side - 1) // 2) // side)
        tiles.append(np.eye(count, dtype=np.float32)[:, np.minimum(np.arange(length) // side, count - 1)])
    rows, columns = tiles
    return rows, np.ascontiguousarray(columns.T), rows.sum(axis=1)[:, None] * columns.sum(axis=1)


def share(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each photo the share of its mask that is set, 0..1; `masks` has shape (photos, …)."""
    import numpy as np

    shares: NDArray[np.float64] = np.array([np.count_nonzero(mask) for mask in masks]) / masks[0].size
    return shares


def largest_patch(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each photo the share of the frame that the largest patch of its mask holds; pixels share edges."""
    import numpy as np

    labels, last = _patches(masks)
    sizes = np.bincount(labels.ravel())
    first = [1, *(last[:-1] + 1)]
    most = [sizes[start : end + 1].max(initial=0) for start, end in zip(first, last, strict=True)]
    shares: NDArray[np.float64] = np.array(most) / masks[0].size
    return shares


def patches_at_edge(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each photo the share of the frame in patches that reach its edge."""
    import numpy as np

    labels, last = _patches(masks)
    taken = np.zeros(last[-1] + 1, bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        taken[edge] = True
    taken[0] = False
    return share(taken[labels])


def patches_that_hang(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each photo the share of the frame in patches that reach its top and not its bottom."""
    import numpy as np

    labels, last = _patches(masks)
    taken = np.zeros(last[-1] + 1, bool)
    taken[labels[:, 0]] = True
    taken[labels[:, -1]] = False
    taken[0] = False
    return share(taken[labels])


def _patches(masks: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the number of each pixel's patch, 0 outside of all, and the last number up to each photo.

    They are numbered row by row, so each photo's come after those of the photos before it.
    """
    import numpy as np
    from scipy.ndimage import label

    labels, _ = label(masks, _cross())
    return labels, np.maximum.accumulate(labels.reshape(len(labels), -1).max(axis=1))


@lru_cache(1)
def _cross() -> NDArray[np.bool_]:
    """Return which pixels around one are its neighbours: four of its own photo."""
    import numpy as np

    cross = np.zeros((3, 3, 3), bool)
    cross[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    return cross
