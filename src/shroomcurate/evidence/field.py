"""What a microscope leaves on a photo: the round field of its eyepiece, and light that comes from behind."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from shroomcurate.evidence.thumbnail import Measured

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.evidence.thumbnail import Thumbnails

_RAYS = 72  # one for every five degrees
_QUARTER = _RAYS // 4  # less of an edge is no circle that one could be sure of
_CORNERS = [0, 1, 2, -3, -2, -1]  # rows, and columns
_WHITE = 235  # luma, 0..255, of paper or of a page around the field


def circular_field(thumbnails: Thumbnails) -> Measured:
    """Look for one disc before a dark or a white surround, as an eyepiece shows it.

    From the middle of the disc rays go out; where the surround begins on each is a point of the edge. Through the
    points goes the circle of least squares (Kåsa 1976, https://doi.org/10.1109/TIM.1976.6312298). The field counts
    when four fifths of what the frame shows of that circle is edge, within a twenty-fifth of the radius.
    """
    import numpy as np

    grey = thumbnails.grey
    # A circle is seen only where at least two corners of the frame are surround; in most photos none is.
    corners = grey[:, _CORNERS][:, :, _CORNERS].reshape(-1, 2, 3, 2, 3)
    dark = np.maximum(24, 0.3 * thumbnails.quantile(0.9))
    before_dark = (corners.max(axis=(2, 4)) <= dark[:, None, None]).sum(axis=(1, 2)) >= 2
    before_white = (corners.min(axis=(2, 4)) >= _WHITE).sum(axis=(1, 2)) >= 2
    found = np.zeros((2, len(grey)))
    for photo in np.flatnonzero(before_dark | before_white):
        discs = [_disc(grey[photo] > dark[photo])] if before_dark[photo] else []
        discs += [_disc(grey[photo] < _WHITE)] if before_white[photo] else []
        found[:, photo] = max(discs, key=lambda disc: disc[1])
    return {"field_radius": found[0], "field_edge": found[1]}


def light_from_behind(thumbnails: Thumbnails) -> Measured:
    """Describe the ground, the most common lightness: where light comes from behind nothing is brighter."""
    import numpy as np

    below, levels = thumbnails.below, np.arange(256)
    # The level with most pixels within twelve of it.
    mode = (below[:, np.minimum(levels + 13, 256)] - below[:, np.maximum(levels - 12, 0)]).argmax(axis=1)
    darker = np.take_along_axis(below, np.minimum(mode + 21, 256)[:, None], axis=1)[:, 0]
    return {"ground_lightness": mode / 255, "brighter_than_ground": 1 - darker / below[:, -1]}


def _disc(inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Return radius (1 touches the longer edges of the frame) and the share of the circle that is edge, or zeros."""
    import numpy as np

    height, width = inside.shape
    rows, columns = np.nonzero(inside)
    if not len(rows):
        return 0.0, 0.0
    centre = (float(columns.mean()), float(rows.mean()))
    radius = 0.0
    for _ in range(3):  # the middle of what is seen is not the middle of a circle that the frame cuts
        lengths = _edge_on_rays(inside, centre)
        if np.count_nonzero(lengths > 0) < _QUARTER:
            return 0.0, 0.0
        circle = _fit(lengths, centre)
        if circle is None:
            return 0.0, 0.0
        centre, radius = (circle[0], circle[1]), circle[2]
        if not (0 <= centre[0] < width and 0 <= centre[1] < height and radius <= max(height, width)):
            return 0.0, 0.0
    lengths = _edge_on_rays(inside, centre)
    cosines, sines = _directions()
    across, down = centre[0] + radius * cosines, centre[1] + radius * sines
    shown = (across >= 2) & (across < width - 2) & (down >= 2) & (down < height - 2)
    edge = shown & (np.abs(lengths - radius) <= max(1.5, radius / 25))
    if edge.sum() < max(_QUARTER, 0.8 * shown.sum()):
        return 0.0, 0.0
    return 2 * radius / min(height, width), float(edge.mean())


@lru_cache(1)
def _directions() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    angles = 2 * np.pi * np.arange(_RAYS) / _RAYS
    return np.cos(angles), np.sin(angles)


def _edge_on_rays(inside: NDArray[np.bool_], centre: tuple[float, float]) -> NDArray[np.float64]:
    """Return for each ray how far out the disc ends, in pixels; 0 where the frame cuts it."""
    import numpy as np

    height, width = inside.shape
    steps = np.arange(int(np.hypot(height, width)) + 1)
    cosines, sines = _directions()
    across = np.rint(centre[0] + cosines[:, None] * steps).astype(np.int64)
    down = np.rint(centre[1] + sines[:, None] * steps).astype(np.int64)
    shown = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    disc = shown & inside[down.clip(0, height - 1), across.clip(0, width - 1)]
    last_shown = shown.sum(axis=1) - 1
    last_disc = np.where(disc.any(axis=1), len(steps) - 1 - disc[:, ::-1].argmax(axis=1), -1)
    return np.where((last_disc >= 0) & (last_shown - last_disc >= 2), last_disc + 0.5, 0.0)


def _fit(lengths: NDArray[np.float64], centre: tuple[float, float]) -> tuple[float, float, float] | None:
    """Return the circle (x, y, radius) through the ends of the rays, once more without those far from it."""
    import numpy as np

    cosines, sines = _directions()
    on = lengths > 0
    across, down = centre[0] + lengths * cosines, centre[1] + lengths * sines
    for _ in range(2):
        if on.sum() < _QUARTER:
            return None
        matrix = np.stack([across[on], down[on], np.ones(on.sum())], axis=1)
        a, b, c = np.linalg.lstsq(matrix, across[on] ** 2 + down[on] ** 2, rcond=None)[0]
        square = c + a * a / 4 + b * b / 4
        if not square > 0:
            return None
        radius = float(np.sqrt(square))
        on &= np.abs(np.hypot(across - a / 2, down - b / 2) - radius) <= 0.06 * radius + 1
    return float(a / 2), float(b / 2), radius
