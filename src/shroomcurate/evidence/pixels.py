"""Numbers from the pixels of a photo that a person can check by looking at it.

Each says one thing that can be seen: sharp, dark, flat, green. None is fitted to examples; where a rule is published
the source stands beside it. All are measured on one thumbnail, so that they hardly depend on the photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from shroomcurate.dataset import Column
from shroomcurate.evidence.field import circular_field, light_from_behind
from shroomcurate.evidence.focus import focus
from shroomcurate.evidence.graphics import graphics
from shroomcurate.evidence.thumbnail import (
    Measured,
    Thumbnails,
    largest_patch,
    make_thumbnails,
    patches_at_edge,
    patches_that_hang,
    share,
    shrink,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

#: Mahalanobis distance. With cut-outs pasted on forest ground it told those of less than 3 % of the frame from those of
#: more than 8 % best: area under the curve 0.92, against 0.90 at 2 and 0.91 at 3.
_UNLIKE = 2.5

#: The numbers in their order, with what each means. All but `colourfulness` and `field_radius` lie in 0..1.
PIXEL_COLUMNS = (
    Column("sharpness", "float", "of the sharpest part: share of its detail that blur would take; below 0.68 blurred"),
    Column("in_focus", "float", "share of the frame that is that sharp; a close view has a blurred background"),
    Column("lightness", "float", "mean lightness"),
    Column("contrast", "float", "lightness between the darkest and the lightest twentieth"),
    Column("dark", "float", "share nearly black"),
    Column("bright", "float", "share nearly white"),
    Column("colourfulness", "float", "Hasler and Süsstrunk's: 0 grey, 15 slightly, 45 quite, 80 highly colourful"),
    Column("flat", "float", "share of neighbouring pixels that are equal; much in drawings and screenshots"),
    Column("smooth", "float", "share without detail"),
    Column("even_lines", "float", "share of rows and columns mostly of one lightness; many in a screenshot"),
    Column("strokes", "float", "share of tiles with hard edges on an even ground: text, icons, outlines"),
    Column("field_radius", "float", "radius of a microscope's round field; 1 touches the frame; 0 none"),
    Column("field_edge", "float", "share of that circle seen as an edge"),
    Column("ground_lightness", "float", "lightness of the ground"),
    Column("brighter_than_ground", "float", "share brighter than the ground; none where light comes from behind"),
    Column("skin", "float", "share of the colour of skin; wood, leaves and caps can have it too"),
    Column("skin_at_edge", "float", "share of smooth patches of that colour that reach the frame's edge"),
    Column("lens_cover", "float", "share of dark or red patches without detail that reach the frame's edge"),
    Column("subject", "float", "share of the largest patch unlike the frame's edges; little: far, or filling it"),
    Column("sky", "float", "share of smooth blue, grey or white that reaches the top of the frame and not its bottom"),
    Column("horizon", "float", "share of the colour's variation that one level cut explains"),
    Column("vegetation", "float", "share of green by the excess-green index"),
    Column("upright", "float", "share of the detail that is upright, such as trunks; 0.5 is neither"),
)  # fmt: skip


def pixel_evidence(photo: Image) -> dict[str, float]:
    """Measure what a person can see in a photo.

    Parameters
    ----------
    photo
        RGB, any size, upright. It may have been decoded at a reduced scale, with 160 pixels or more on its longer
        side; below that detail is lost.

    Returns
    -------
    dict
        The numbers named in :data:`PIXEL_COLUMNS`, in their order, all finite, to three decimals. Most are counts,
        the others sums in double precision, so machines agree as far as their JPEG decoders do.
    """
    [numbers] = measure(make_thumbnails([shrink(photo)])).tolist()
    return dict(zip((column.name for column in PIXEL_COLUMNS), numbers, strict=True))


def measure(thumbnails: Thumbnails) -> NDArray[np.float64]:
    """Measure what :func:`pixel_evidence` does, photos of one size together; shape (photos, numbers)."""
    import numpy as np

    found = (
        focus(thumbnails)
        | _exposure(thumbnails)
        | _colours(thumbnails)
        | graphics(thumbnails)
        | circular_field(thumbnails)
        | light_from_behind(thumbnails)
        | _areas(thumbnails)
        | {"subject": _subject(thumbnails), "upright": _upright(thumbnails)}
    )
    return np.stack([found[column.name] for column in PIXEL_COLUMNS], axis=1, dtype=np.float64).round(3) + 0.0


def _exposure(thumbnails: Thumbnails) -> Measured:
    below, pixels = thumbnails.below, thumbnails.grey[0].size
    # The mean level is the sum over all levels of the share that is above.
    return {
        "lightness": (255 - below[:, :256].sum(axis=1) / pixels) / 255,
        "contrast": (thumbnails.quantile(0.95) - thumbnails.quantile(0.05)) / 255,
        "dark": below[:, 24] / pixels,
        "bright": 1 - below[:, 240] / pixels,
    }


def _colours(thumbnails: Thumbnails) -> Measured:
    """Measure the spread of colours, and how much of it one level cut explains.

    Colourfulness: Hasler and Süsstrunk 2003, Measuring colourfulness in natural images, equation for M3,
    https://doi.org/10.1117/12.477378.
    """
    import numpy as np

    planes = thumbnails.rgb.astype(np.float64)
    _, photos, height, width = planes.shape
    rows = (planes @ np.ones(width) / width).transpose(1, 0, 2)
    mean, covariance = _moments(planes.reshape(3, photos, -1))
    opponent = np.array([[1, -1, 0], [0.5, 0.5, -1]])  # red against green, yellow against blue
    # Rounding can leave less than nothing.
    spread = np.sqrt(np.maximum((opponent @ covariance * opponent).sum(axis=(1, 2)), 0))
    offset = np.sqrt(((mean @ opponent.T) ** 2).sum(axis=1))
    # The variance of colour that lies between what is above a row and below it, at the best row.
    above = np.arange(1, height) / height
    excess = np.cumsum(rows - mean[:, :, None], axis=2)[:, :, :-1] / height
    between = ((excess**2).sum(axis=1) / (above * (1 - above))).max(axis=1)
    return {
        "colourfulness": spread + 0.3 * offset,
        # One level of variance is noise: an even picture has no horizon.
        "horizon": between / (np.trace(covariance, axis1=1, axis2=2) + 1),
    }


def _moments(planes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean, shape (photos, 3), and covariance, shape (photos, 3, 3), of colours of shape (3, photos, pixels)."""
    import numpy as np

    pixels = planes.shape[2]
    mean = (planes.sum(axis=2) / pixels).T
    covariance = np.empty((len(mean), 3, 3))
    for one, other in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
        product = np.einsum("np,np->n", planes[one], planes[other]) / pixels - mean[:, one] * mean[:, other]
        covariance[:, one, other] = covariance[:, other, one] = product
    return mean, covariance


def _areas(thumbnails: Thumbnails) -> Measured:
    """Find the colours of skin, of sky and of plants, and what may be a finger over the lens.

    Skin must pass two published rules: Kovač, Peer and Solina 2003, Human skin colour clustering for face detection
    (daylight), https://doi.org/10.1109/EURCON.2003.1248169; Chai and Ngan 1999, Face segmentation using skin-colour
    map, https://doi.org/10.1109/76.767122. Both together still take many a brown cap for skin.

    Greenery: excess green, 2 g - r - b, Woebbecke et al. 1995, Color indices for weed identification,
    https://doi.org/10.13031/2013.27838, above 20 levels; not where red is stronger, which is yellow.
    """
    import numpy as np

    red, green, blue = thumbnails.rgb
    grey, calm = thumbnails.grey, thumbnails.calm
    least = np.minimum(np.minimum(red, green), blue)
    spread = np.maximum(np.maximum(red, green), blue) - least
    red_green, red_blue = red - green, red - blue
    daylight = (red > 95) & (green > 40) & (blue > 20) & (spread > 15) & (red_green > 15) & (red_blue > 0)
    skin = daylight & _skin_chroma(thumbnails.colours)
    # Light that passes through a finger is red; what blocks all light is dark.
    cover = calm & ((grey < 60) | ((red_green > 40) & (red_blue > 40)))
    sky = ((least > 170) & (spread < 40)) | ((red_blue <= 0) & (blue >= green - 8) & (grey > 70))
    return {
        "skin": share(skin),
        "skin_at_edge": patches_at_edge(skin & calm),
        "lens_cover": patches_at_edge(_without_threads(cover)),
        # Paper and tables reach the bottom too.
        "sky": patches_that_hang(calm & sky),
        "vegetation": share((green - blue - red_green > 20) & (red_green <= 0)),
    }


def _skin_chroma(colours: Sequence[Image]) -> NDArray[np.bool_]:
    """Return where both chroma of JPEG lie in Chai and Ngan's range, 77..127 for blue and 133..173 for red."""
    import numpy as np

    ycbcr = np.stack([np.asarray(each.convert("YCbCr")) for each in colours])
    # Below its range a difference of bytes wraps round to above it.
    found: NDArray[np.bool_] = (ycbcr[..., 1] - np.uint8(77) <= 50) & (ycbcr[..., 2] - np.uint8(133) <= 40)
    return found


def _without_threads(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take away specks and threads: only pixels remain whose neighbours are all in the mask."""
    rows = masks.copy()
    rows[:, 1:] &= masks[:, :-1]
    rows[:, :-1] &= masks[:, 1:]
    found = rows.copy()
    found[:, :, 1:] &= rows[:, :, :-1]
    found[:, :, :-1] &= rows[:, :, 1:]
    return found


def _subject(thumbnails: Thumbnails) -> NDArray[np.float64]:
    """Return the share of the largest patch whose colour is unlike those at the frame's edges.

    The distance is Mahalanobis' to the colours of a border of a twelfth of the shorter side;
    beyond 2.5 a block is unlike.
    Photographers put what they mean off the border: Wei et al. 2012, Geodesic saliency using background priors,
    https://doi.org/10.1007/978-3-642-33712-3_3.
    """
    import numpy as np

    # Blocks of 2 x 2: detail within the subject must not break it up.
    blocks = np.stack([np.asarray(each.reduce(2)) for each in thumbnails.colours])
    photos, height, width, _ = blocks.shape
    planes = blocks.reshape(photos, -1, 3).transpose(2, 0, 1).astype(np.float64, order="C")
    mean, covariance = _moments(planes[:, :, _border(height, width)])
    # Five levels in each direction are noise, also where the border is all of one colour.
    inverse = np.linalg.inv(covariance + 25 * np.eye(3))
    difference = planes.transpose(1, 0, 2) - mean[:, :, None]
    distance = (inverse @ difference * difference).sum(axis=1)
    return largest_patch((distance > _UNLIKE**2).reshape(photos, height, width))


@lru_cache(64)
def _border(height: int, width: int) -> NDArray[np.intp]:
    """Return which pixels, counted row by row, are in the border."""
    import numpy as np

    strip = max(1, min(height, width) // 12)
    border = np.ones((height, width), bool)
    border[strip:-strip, strip:-strip] = False
    return np.flatnonzero(border)


def _upright(thumbnails: Thumbnails) -> NDArray[np.float64]:
    import numpy as np

    across, down = thumbnails.across.sum(axis=(1, 2)), thumbnails.down.sum(axis=(1, 2))
    both = across + down
    return np.where(both > 0, across / np.where(both > 0, both, 1), 0.5)
