"""The one small copy of a photo on which all its numbers are measured, so that they depend on no camera's size.

All numbers together must cost less than the embedding beside them, in threads too: so arrays are few and small, sums
over areas are products of matrices, and quantiles come from counts of levels. Whole numbers in single precision are
exact up to 2^24, which no sum here reaches: the order of adding changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Pixels on the longer side, or up to a sixteenth more. The blur of a bad photo still shows.
SIDE = 160
_LEAST = 16  # pixels on the shorter side, so that strips and specks have the same code as photos
_CALM = 12  # levels that a pixel changes at the mean in an area without detail


@dataclass(frozen=True)
class Thumbnail:
    """A photo in small: light at height x width, both even, colours and areas at half of both."""

    light: NDArray[np.float32]
    """Shape (height, width): luma by ITU-R BT.601, whole numbers 0..255."""
    across: NDArray[np.float32]
    """Shape (height, width - 1): step of the light to the right neighbour, 0..255."""
    down: NDArray[np.float32]
    """Shape (height - 1, width): step to the lower neighbour, likewise."""
    steps: NDArray[np.float32]
    """Shape (height - 1, width - 1): the larger of both."""
    colours: Image
    """Width / 2 x height / 2 pixels: RGB, each of four pixels."""
    rgb: NDArray[np.int16]
    """Shape (3, height / 2, width / 2): the same; a plane a colour is quicker."""
    grey: NDArray[np.uint8]
    """Shape (height / 2, width / 2): luma of `rgb`."""
    below: NDArray[np.int64]
    """Shape (257,): how many pixels of `grey` are darker than each level."""
    calm: NDArray[np.bool_]
    """Shape (height / 2, width / 2): where no detail is: in 6 x 6 pixels the steps are small at the mean."""

    def quantile(self, share: float) -> int:
        """Return the level of `grey` below or at which this share of it is, 0..255."""
        return int(self.below[1:].searchsorted(share * self.grey.size))


def make_thumbnail(small: Image) -> Thumbnail:
    """Make the arrays of a photo that :func:`shrink` has shrunk."""
    import numpy as np

    light = np.asarray(small.convert("L")).astype(np.float32)
    across, down = np.abs(light[:, 1:] - light[:, :-1]), np.abs(light[1:] - light[:-1])
    steps = np.maximum(across[:-1], down[:, :-1])
    half = small.reduce(2)
    grey = np.asarray(half.convert("L"))
    below = np.zeros(257, np.int64)
    np.cumsum(np.bincount(grey.ravel(), minlength=256), out=below[1:])
    rgb = np.asarray(half).transpose(2, 0, 1).astype(np.int16, order="C")
    return Thumbnail(light, across, down, steps, half, rgb, grey, below, _calm(steps))


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
    height, width = steps.shape[0] // 2 + 1, steps.shape[1] // 2 + 1
    rows = np.empty((height, steps.shape[1]), np.float32)
    np.add(steps[:-1:2], steps[1::2], out=rows[:-1])
    np.multiply(steps[-1], 2, out=rows[-1])
    blocks = np.empty((height + 2, width + 2), np.float32)
    np.add(rows[:, :-1:2], rows[:, 1::2], out=blocks[1:-1, 1:-2])
    np.multiply(rows[:, -1], 2, out=blocks[1:-1, -2])
    blocks[0], blocks[-1] = blocks[1], blocks[-2]
    blocks[:, 0], blocks[:, -1] = blocks[:, 1], blocks[:, -2]
    three = blocks[:-2] + blocks[1:-1] + blocks[2:]
    calm: NDArray[np.bool_] = three[:, :-2] + three[:, 1:-1] + three[:, 2:] <= 9 * 4 * _CALM
    return calm


def tile_means(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the mean of each tile of `side` pixels; the last of a row or column takes a rest of up to half a tile."""
    rows, columns, pixels = _tiles(*values.shape, side)
    means: NDArray[np.float32] = rows.dot(values).dot(columns) / pixels
    return means


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


def share(mask: NDArray[np.bool_]) -> float:
    """Return the share of a mask that is set, 0..1."""
    import numpy as np

    return int(np.count_nonzero(mask)) / mask.size


def largest_patch(mask: NDArray[np.bool_]) -> float:
    """Return the share of the frame that the largest patch of a mask holds, 0..1; its pixels share edges."""
    _, sizes = _patches(mask)
    return int(sizes[1:].max(initial=0)) / mask.size


def patches_at_edge(mask: NDArray[np.bool_]) -> float:
    """Return the share of the frame in patches that reach its edge."""
    if not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()):
        return 0.0
    labels, sizes = _patches(mask)
    return _share_of(
        {*labels[0].tolist(), *labels[-1].tolist(), *labels[:, 0].tolist(), *labels[:, -1].tolist()}, sizes
    )


def patches_that_hang(mask: NDArray[np.bool_]) -> float:
    """Return the share of the frame in patches that reach its top and not its bottom."""
    if not mask[0].any():
        return 0.0
    labels, sizes = _patches(mask)
    return _share_of(set(labels[0].tolist()) - set(labels[-1].tolist()), sizes)


def _share_of(patches: set[int], sizes: NDArray[np.int64]) -> float:
    return int(sizes[list(patches - {0})].sum()) / int(sizes.sum()) if patches - {0} else 0.0


def _patches(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the number of each pixel's patch, 0 outside of all, and how many pixels each number has."""
    import numpy as np
    from scipy.ndimage import label

    labels, _ = label(mask, _cross())
    return labels, np.bincount(labels.ravel())


@lru_cache(1)
def _cross() -> NDArray[np.bool_]:
    """Return which of nine pixels are neighbours; left to itself `label` makes it anew each time."""
    import numpy as np

    return np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
