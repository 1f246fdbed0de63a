"""What a photo looks like, in numbers made by hand: the classic vector and the perceptual hash.

Only numpy and Pillow, no learned weights, the same result on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

CLASSIC_LENGTH = 448
"""Length of :func:`classic_vector`."""

CLASSIC_VERSION = "colour-edges-texture-layout-1"
"""Changes whenever the vector of the same photo does."""

HASH_VERSION = "pHash-3"
"""Changes whenever :func:`perceptual_hash` of the same photo does."""

_SIDE = 128  # pixels; finer detail is noise of the camera

# Shares of the squared length that each description gets, chosen on two species of real photographs so that
# cleaning's eps of 0.3 suits this vector too.
_WEIGHTS = {"colour": 0.7, "edges": 0.05, "texture": 0.1, "layout": 0.15}


def classic_vector(photo: Image) -> NDArray[np.float32]:
    """Describe a photo by colour, edges, texture and layout.

    Four descriptions, each of length one before it is weighted, behind each other:

    - colour: histogram of 12 hues x 4 saturations x 4 values (192), the square root of each share, so that the
      cosine is the Bhattacharyya coefficient;
    - edges: 8 orientations in 4 x 4 cells, weighted by gradient (128), after Dalal and Triggs 2005;
    - texture: local binary patterns of the 8 neighbours at two distances, by number and place of brighter ones
      (2 x 32 = 64), after Ojala, Pietikäinen and Mäenpää 2002;
    - layout: lightness of an 8 x 8 thumbnail against its mean (64).

    Parameters
    ----------
    photo
        RGB, any size; the whole of it is squeezed into a square.

    Returns
    -------
    ndarray of float32, shape (448,)
        Length one, so that the cosine distance of two photos is half their squared distance.
    """
    import numpy as np
    from PIL import Image

    small = photo.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), np.float64) / 255
    parts = {
        "colour": np.sqrt(_colours(np.asarray(small.convert("HSV")))),
        "edges": np.sqrt(_edges(grey)),
        "texture": np.sqrt(_texture(grey)),
        "layout": _layout(grey),
    }
    vector = np.concatenate([np.sqrt(_WEIGHTS[name]) * _unit(part) for name, part in parts.items()])
    return _unit(vector).astype(np.float32)


def perceptual_hash(light: NDArray[Any]) -> int:
    """Return 64 bits that hardly change when a photo is scaled or compressed again.

    The signs of the 8 x 8 lowest frequencies of the cosine transform against their median: pHash, Zauner 2010,
    Implementation and benchmarking of perceptual image hash functions.

    Parameters
    ----------
    light
        Shape (height, width), 16 or more each: the lightness of the photo in small.
    """
    import numpy as np

    height, width = light.shape
    frequencies = (_cosines(height, 8) @ light @ _cosines(width, 8).T).ravel()
    # The first is the mean lightness, not a pattern; of the other 63 this is the median.
    bits = frequencies > np.partition(frequencies[1:], 31)[31]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(64)
def _cosines(side: int, kept: int) -> NDArray[np.float64]:
    """Return the lowest `kept` rows of the cosine transform of `side` values."""
    import numpy as np

    places = np.arange(side)
    rows: NDArray[np.float64] = np.cos(np.pi * (2 * places[None, :] + 1) * np.arange(kept)[:, None] / (2 * side))
    return rows


def _colours(hsv: NDArray[np.uint8]) -> NDArray[np.float64]:
    import numpy as np

    hue, saturation, value = (hsv[..., channel].ravel().astype(np.int64) for channel in range(3))
    bins = (hue * 12 // 256 * 4 + saturation // 64) * 4 + value // 64
    return np.bincount(bins, minlength=192).astype(np.float64)


def _edges(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    down, right = np.gradient(grey)
    strength = np.hypot(down, right).ravel()
    # An edge and its mirror image are one orientation, so half a turn in 8 bins.
    orientation = (np.floor((np.arctan2(down, right) % np.pi) / np.pi * 8).astype(np.int64) % 8).ravel()
    cell = np.arange(_SIDE) * 4 // _SIDE
    cells = (cell[:, None] * 4 + cell[None, :]).ravel()
    return np.bincount(cells * 8 + orientation, weights=strength, minlength=128).astype(np.float64)


def _texture(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    histograms = []
    for distance in (1, 3):
        centre = grey[distance:-distance, distance:-distance]
        steps = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
        brighter = np.stack(
            [
                grey[
                    distance + down * distance : distance + down * distance + centre.shape[0],
                    distance + right * distance : distance + right * distance + centre.shape[1],
                ]
                > centre + 1 / 255  # a flat sky has no texture
                for down, right in steps
            ]
        )
        count = brighter.sum(axis=0)
        changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0) // 2  # 0..4 runs of brighter neighbours
        bins = np.minimum(changes, 3) * 8 + np.minimum(count, 7)
        histograms.append(np.bincount(bins.ravel(), minlength=32))
    return np.concatenate(histograms).astype(np.float64)


def _layout(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    cells = grey.reshape(8, _SIDE // 8, 8, _SIDE // 8).mean(axis=(1, 3)).ravel()
    difference: NDArray[np.float64] = cells - cells.mean()
    return difference


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
