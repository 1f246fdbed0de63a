"""How sharp a photo is, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroomcurate.evidence.thumbnail import Measured, share, tile_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.evidence.thumbnail import Thumbnails

_TILE = 20  # pixels of the thumbnail: 8 x 6 tiles in most photos
_REACH = 7  # pixels of the second blur: 4 % of the longer side
_DETAIL = 1.5  # levels a pixel changes at the mean; a calmer tile has nothing that could be sharp
_SHARP = 0.68  # of 250 real photos all have a sharper tile; 243 have none once blurred by 0.8 % of their longer side


def focus(thumbnails: Thumbnails) -> Measured:
    """Measure blur in tiles, after Crété-Roffet et al. 2007, The blur effect, https://doi.org/10.1117/12.702790.

    A sharp picture changes much when it is blurred, a blurred one hardly: of all steps between neighbours, the share
    that a blur over 7 pixels takes away. Independent of contrast. The worse of both directions counts, for motion
    blurs one only. Of the tiles the sharpest counts: a sharp mushroom before a blurred forest is a good photo.
    """
    import numpy as np

    light, before, after = thumbnails.light, _REACH // 2, _REACH // 2 + 1
    # A step of the running mean is the pixel that comes less the pixel that goes, over their number.
    down = np.abs(light[:, _REACH:, before:-after] - light[:, :-_REACH, before:-after])
    across = np.abs(light[:, before:-after, _REACH:] - light[:, before:-after, :-_REACH])
    upright = _steps_lost(thumbnails.down[:, before : 1 - after, before:-after], down)
    level = _steps_lost(thumbnails.across[:, before:-after, before : 1 - after], across)
    scores = np.minimum(upright, level)
    return {"sharpness": scores.max(axis=(1, 2)), "in_focus": share(scores >= _SHARP)}


def _steps_lost(steps: NDArray[np.float32], blurred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each tile the share of the steps that the blur takes, 0 where there are none.

    `blurred` is the steps after the blur, each times the pixels of the blur: whole numbers.
    """
    import numpy as np

    there = _REACH * tile_means(steps, _TILE)
    lost = _REACH * steps
    lost -= blurred
    np.maximum(lost, 0, out=lost)
    enough = there >= _REACH * _DETAIL
    result: NDArray[np.float32] = np.where(enough, tile_means(lost, _TILE) / np.where(enough, there, 1), 0)
    return result
