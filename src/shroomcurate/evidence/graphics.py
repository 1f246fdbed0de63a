"""What is drawn and not photographed: even areas, even lines, strokes on an even ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroomcurate.evidence.thumbnail import Measured, share, tile_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.evidence.thumbnail import Thumbnails

_EQUAL = 1  # levels; JPEG and shrinking leave no more between neighbours that were equal
_STROKE = 40  # levels of the step at a letter's or an outline's edge
_TILE = 10  # pixels of the thumbnail


def graphics(thumbnails: Thumbnails) -> Measured:
    """Measure what pens, screens and page layouts leave. Lenses blur and sensors hiss: a photo is never quite even."""
    import numpy as np

    grey = thumbnails.grey
    rows, columns = _even_lines(grey), _even_lines(np.ascontiguousarray(grey.transpose(0, 2, 1)))
    return {
        "flat": (share(thumbnails.across <= _EQUAL) + share(thumbnails.down <= _EQUAL)) / 2,
        "smooth": share(thumbnails.steps <= 8),
        "even_lines": (share(rows > 0.6) + share(columns > 0.6)) / 2,
        "strokes": _strokes(thumbnails.steps),
    }


def _even_lines(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return for each row the share of its pixels that are of its median lightness."""
    import numpy as np

    width = grey.shape[2]
    levels = grey.astype(np.int16)
    levels -= np.partition(levels, width // 2, axis=2)[:, :, width // 2, None]
    result: NDArray[np.float64] = (np.abs(levels) <= 3).sum(axis=2) / width
    return result


def _strokes(steps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return for each photo the share of the tiles that are an even ground and hard edges and little between."""
    import numpy as np

    even = tile_means((steps <= _EQUAL).astype(np.float32), _TILE)
    hard = tile_means((steps >= _STROKE).astype(np.float32), _TILE)
    return share((even >= 0.3) & (hard >= 0.08))
