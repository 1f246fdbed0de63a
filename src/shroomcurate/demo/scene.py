"""The surroundings of a rendered mushroom: light, blurred background, ground in perspective, and the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shroomcurate.demo.relief import Light
from shroomcurate.demo.textures import ground_tile, noise_patch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.floating[Any]]

LONG_SIDE = 500  # the bucket's `medium`
_SIZES = ((500, 375), (500, 375), (500, 375), (375, 500), (375, 500), (500, 333), (500, 500))

#: Colours of the blurred background, far ones first, by season.
_BACKGROUNDS = {
    "spring": ((168, 186, 128), (112, 148, 66), (86, 120, 50), (140, 160, 96), (78, 74, 50)),
    "summer": ((120, 150, 84), (72, 108, 46), (54, 84, 38), (98, 130, 62), (60, 56, 38)),
    "autumn": ((158, 140, 92), (134, 98, 50), (92, 84, 46), (164, 116, 48), (58, 46, 32)),
    "winter": ((164, 166, 160), (110, 106, 92), (84, 78, 66), (128, 122, 104), (58, 52, 46)),
}
_SUN = {
    "spring": (1.0, 0.97, 0.88),
    "summer": (1.05, 0.99, 0.86),
    "autumn": (1.05, 0.94, 0.78),
    "winter": (0.92, 0.95, 1.0),
}


@dataclass(frozen=True)
class View:
    """One camera position.

    Parameters
    ----------
    width, height
        Of the photo, in pixels.
    pitch
        Radians that the camera looks down.
    horizon
        The row, perhaps outside the photo, towards which the ground recedes.
    focus
        The row of the ground that is sharp.
    """

    width: int
    height: int
    pitch: float
    horizon: float
    focus: float

    def nearness(self, row: float) -> float:
        """Return how large things at this row appear, compared with the row in focus."""
        return max(0.25, (row - self.horizon) / (self.focus - self.horizon))


def pick_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return width and height of a photo as cameras and phones make them."""
    return _SIZES[int(rng.integers(len(_SIZES)))]


def horizon_of(height: int, pitch: float) -> float:
    """Return the horizon's row; it leaves the photo at its top when the camera looks down far enough."""
    return height * (0.46 - 1.35 * math.tan(min(pitch, 1.2)))


def make_light(rng: np.random.Generator, season: str) -> Light:
    """Return the day's light: low sun or an overcast sky."""
    side = rng.choice((-1, 1)) * rng.uniform(0.25, 0.75)
    direction = (side, -rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.95))
    norm = math.sqrt(sum(part**2 for part in direction))
    strength = rng.uniform(0.35, 0.85)
    red, green, blue = _SUN[season]
    sky = 0.95 - 0.62 * strength
    return Light(
        (direction[0] / norm, direction[1] / norm, direction[2] / norm),
        (red * strength, green * strength, blue * strength),
        (0.98 * sky, sky, 1.05 * sky),
    )


def paint_background(rng: np.random.Generator, width: int, height: int, season: str, trees: bool) -> Image:
    """Return what lies far behind: blurred foliage, trunks and discs of light."""
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    palette = _BACKGROUNDS[season]
    image = Image.new("RGB", (width // 4, height // 4), palette[1])
    draw = ImageDraw.Draw(image)
    wide, high = image.size

    def blob(colour: Any, x: float, y: float, rx: float, ry: float) -> None:
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)

    draw.rectangle((0, 0, wide, int(high * 0.3)), fill=palette[0])
    for _ in range(70):
        shade = palette[int(rng.integers(len(palette)))]
        gain = rng.uniform(0.6, 1.15)
        colour = tuple(int(c * gain) for c in shade)
        blob(colour, rng.uniform(0, wide), rng.uniform(0, high), *rng.uniform(3, 15, 2))
    for _ in range(int(rng.integers(2, 6)) if trees else 0):
        x, thick = rng.uniform(0, wide), rng.uniform(1.5, 7)
        dark = rng.uniform(0.5, 1.1)
        bark = tuple(int(c * dark) for c in (62, 52, 42))
        draw.polygon([(x - thick, high), (x - 0.8 * thick, 0), (x + 0.8 * thick, 0), (x + thick, high)], fill=bark)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.8, 4.0))))
    lights = Image.new("RGB", image.size)
    draw = ImageDraw.Draw(lights)
    for _ in range(int(rng.integers(0, 14))):
        gain, reach = rng.uniform(20, 90), rng.uniform(1.5, 5)
        blob(
            (int(gain), int(gain * 0.95), int(gain * 0.7)),
            rng.uniform(0, wide),
            rng.uniform(0, high * 0.7),
            reach,
            reach,
        )
    image = ImageChops.add(image, lights.filter(ImageFilter.GaussianBlur(0.7)))
    return image.resize((width, height), Image.Resampling.BICUBIC)


@lru_cache(maxsize=8)
def _endless(kind: str) -> Image:
    """Return 2 x 2 tiles of the ground, so that a wide view finds no edge."""
    from PIL import Image

    tile = ground_tile(kind)
    side = tile.width
    large = Image.new("RGB", (2 * side, 2 * side))
    for place in ((0, 0), (side, 0), (0, side), (side, side)):
        large.paste(tile, place)
    return large


def paint_ground(rng: np.random.Generator, view: View, kind: str, scale: float) -> Image:
    """Return the ground in perspective, of the photo's size, sharp everywhere; rows above the horizon are undefined.

    Parameters
    ----------
    scale
        Pixels of the tile per pixel of the photo, in the row in focus.
    """
    from PIL import Image

    tile = _endless(kind)
    near = view.height - view.horizon
    reach = scale * (view.focus - view.horizon)
    # The farthest row shown in true perspective; beyond it everything is blurred and faded anyway.
    far = max(near / 8, reach * view.width / (0.95 * tile.width), -view.horizon)
    half = reach * view.width / (2 * far)
    middle = rng.uniform(min(half, 0.49 * tile.width), max(tile.width - half, 0.51 * tile.width))
    squash = max(0.35, math.sin(max(view.pitch, 0.2)))
    drop = reach * (view.focus - view.horizon) / squash * 0.6
    drop = min(drop, 0.95 * tile.height / (1 / far - 1 / near))
    bottom = tile.height * 0.98 - rng.uniform(0, 1) * max(0.0, tile.height * 0.95 - drop * (1 / far - 1 / near))
    base = bottom + drop / near
    top = view.horizon if abs(view.horizon) > 1 else 1.0
    # Source x = middle + reach (x - width/2) / (y - horizon); source y = base - drop / (y - horizon).
    coefficients = (
        reach / -top, middle / -top, (-middle * top - reach * view.width / 2) / -top,
        0.0, base / -top, (-base * top - drop) / -top,
        0.0, 1 / -top,
    )  # fmt: skip
    return tile.transform(
        (view.width, view.height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )


def blend_depth(ground: Image, background: Image, view: View, softness: float) -> Image:
    """Blur the ground with its distance from the row in focus, and let it fade into the background."""
    import numpy as np
    from PIL import Image, ImageFilter

    size = ground.size
    small = ground.reduce(2)
    soft = small.filter(ImageFilter.GaussianBlur(softness)).resize(size, Image.Resampling.BILINEAR)
    rows = np.arange(view.height, dtype=np.float32)
    depth = np.log(np.maximum(rows - view.horizon, 1) / (view.focus - view.horizon))
    blurred = np.clip(np.abs(depth) * 1.7 - 0.18, 0, 1)
    mixed = Image.composite(soft, ground, _by_row(blurred, size))
    edge = view.horizon + 0.1 * (view.focus - view.horizon)
    fade = np.clip((rows - edge) / (0.28 * (view.focus - view.horizon)), 0, 1)
    return Image.composite(mixed, background, _by_row(fade, size))


def _by_row(values: Floats, size: tuple[int, int]) -> Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray((255 * values).astype(np.uint8)[:, None]).resize(size, Image.Resampling.NEAREST)


def develop(image: Image, rng: np.random.Generator) -> Image:
    """Do what a camera does: saturation, exposure, white balance, contrast, vignette, grain."""
    import numpy as np
    from PIL import Image, ImageEnhance

    image = ImageEnhance.Color(image).enhance(float(rng.uniform(0.72, 0.98)))
    warmth, exposure, contrast = rng.normal(0, 0.035), math.exp(rng.normal(0.16, 0.12)), rng.uniform(0.0, 0.35)
    levels = np.arange(256, dtype=np.float32) / 255
    curves = []
    for channel in (1 + warmth, 1.0, 1 - warmth):
        lit = np.clip(levels * exposure * channel + 0.01, 0, 1)
        curves.append(lit * (1 - contrast) + contrast * lit * lit * (3 - 2 * lit))
    toned = image.point((255 * np.concatenate(curves)).astype(np.uint8).tolist())
    y = np.linspace(-1, 1, image.height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, image.width, dtype=np.float32)[None, :]
    vignette = 1 - rng.uniform(0.04, 0.2) * (x * x + y * y)
    grain = noise_patch(rng, image.height, image.width, 0.25) * rng.uniform(1.5, 5.5)
    pixels = np.asarray(toned, dtype=np.float32) * vignette[..., None]
    pixels += grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))
