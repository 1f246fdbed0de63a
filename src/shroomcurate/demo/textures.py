"""Texture tiles of the rendered photos: noise, and the grounds on which mushrooms stand.

Each is made once a process from a fixed seed, so that a photo does not depend on which worker renders it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from shroomcurate.demo.species import Colour

    Floats = NDArray[np.floating[Any]]
    Points = list[tuple[float, float]]

NOISE_SIDE = 512
GROUND_SIDE = 1024
GROUNDS = ("moss", "leaves", "wood", "grass", "needles")


@lru_cache(maxsize=8)
def noise_tile(slope: float = 1.0) -> Floats:
    """Return tileable 1/f noise of mean 0 and deviation 1, 512 x 512.

    Parameters
    ----------
    slope
        Spectral exponent of the amplitude: 0 is white noise (grain), 1 is rough, 2 is clouds.
    """
    return _fourier_noise(NOISE_SIDE, slope, 1.0)


def _fourier_noise(side: int, slope: float, stretch: float) -> Floats:
    """Return noise shaped in the frequency domain, so that it tiles; stretched along x for the grain of wood."""
    import numpy as np

    white = np.random.default_rng(1).standard_normal((side, side))
    ys, xs = np.meshgrid(np.fft.fftfreq(side), stretch * np.fft.fftfreq(side), indexing="ij")
    spectrum = np.fft.fft2(white) / np.maximum(np.hypot(xs, ys), 1 / side) ** slope
    spectrum[0, 0] = 0
    tile = np.fft.ifft2(spectrum).real
    return np.asarray(tile / tile.std(), dtype=np.float32)


def noise_at(x: Floats, y: Floats, slope: float = 1.0) -> Floats:
    """Look the noise up at any coordinates, in pixels of the tile; arrays of equal shape."""
    import numpy as np

    tile = noise_tile(slope)
    found: Floats = tile[y.astype(np.int32) & (NOISE_SIDE - 1), x.astype(np.int32) & (NOISE_SIDE - 1)]
    return found


def noise_patch(rng: np.random.Generator, height: int, width: int, slope: float) -> Floats:
    """Return a window of the noise at a random place, of any size."""
    import numpy as np

    tile = noise_tile(slope)
    top, left = rng.integers(0, NOISE_SIDE, 2)
    rows = (np.arange(height) + top) & (NOISE_SIDE - 1)
    columns = (np.arange(width) + left) & (NOISE_SIDE - 1)
    window: Floats = tile[rows[:, None], columns[None, :]]
    return window


@lru_cache(maxsize=len(GROUNDS))
def ground_tile(kind: str) -> Image:
    """Return 1024 x 1024 pixels of ground seen from above: moss, leaves, wood, grass or needles."""
    import numpy as np
    from PIL import Image, ImageDraw

    if kind == "wood":
        return _bark()
    rng = np.random.default_rng(GROUNDS.index(kind) + 10)
    base = {
        "moss": (22, 34, 10),
        "leaves": (38, 26, 16),
        "grass": (26, 40, 12),
        "needles": (48, 32, 20),
    }[kind]
    image = Image.new("RGB", (2 * GROUND_SIDE, 2 * GROUND_SIDE), base)
    draw = ImageDraw.Draw(image)
    painter = {"moss": _moss, "leaves": _leaves, "grass": _grass, "needles": _needles}[kind]
    painter(_Torus(draw), rng)
    small = image.reduce(2)
    # Large soft patches of light and dark keep the ground from looking like wallpaper.
    patches = noise_patch(rng, GROUND_SIDE, GROUND_SIDE, 1.6)[..., None]
    lit = np.asarray(small, dtype=np.float32) * (1 + 0.16 * patches.clip(-2, 2))
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator, palette: list[Colour], light: float) -> Colour:
    pick = palette[int(rng.integers(len(palette)))]
    shift = rng.normal(0, 8, 3)
    red, green, blue = (int(min(255, max(0, (c + s) * light))) for c, s in zip(pick, shift, strict=True))
    return red, green, blue


def _strokes(draw: _Torus, rng: Any, palette: list[Colour], count: int, length: float, width: int, lean: float) -> None:
    """Draw blades or needles, dark ones first: what lies on top is lit."""
    side = 2 * GROUND_SIDE
    for index in range(count):
        light = 0.35 + 0.8 * index / count
        x, y = rng.uniform(0, side, 2)
        angle = rng.uniform(0, 2 * math.pi) if lean == 0 else -math.pi / 2 + rng.normal(0, lean)
        reach = length * rng.uniform(0.5, 1.3)
        bend = rng.normal(0, 0.35)
        middle = (x + math.cos(angle) * reach / 2, y + math.sin(angle) * reach / 2)
        end = (middle[0] + math.cos(angle + bend) * reach / 2, middle[1] + math.sin(angle + bend) * reach / 2)
        draw.line([(x, y), middle, end], fill=_colour(rng, palette, light), width=width)


def _moss(draw: _Torus, rng: Any) -> None:
    greens = [(86, 118, 34), (110, 140, 44), (70, 102, 30), (132, 150, 60), (96, 112, 48)]
    _strokes(draw, rng, greens, 15_000, 34, 5, 0)
    _strokes(draw, rng, [(150, 172, 74), (120, 154, 56)], 3_000, 24, 5, 0)
    _scatter_leaves(draw, rng, 26, 60)


def _grass(draw: _Torus, rng: Any) -> None:
    greens = [(84, 124, 40), (104, 146, 52), (128, 160, 70), (72, 104, 34), (150, 152, 84)]
    _strokes(draw, rng, greens, 8_000, 124, 7, 0.5)
    _strokes(draw, rng, [(176, 164, 104), (136, 170, 78)], 1_200, 130, 5, 0.7)
    _scatter_leaves(draw, rng, 16, 60)


def _needles(draw: _Torus, rng: Any) -> None:
    browns = [(126, 86, 52), (150, 108, 66), (98, 66, 40), (168, 130, 88), (84, 62, 42)]
    _strokes(draw, rng, browns, 9_500, 96, 5, 0)
    _strokes(draw, rng, [(96, 116, 50), (120, 132, 66)], 1_500, 50, 4, 0)
    _scatter_leaves(draw, rng, 24, 50)


def _leaves(draw: _Torus, rng: Any) -> None:
    _scatter_leaves(draw, rng, 2_300, 84)
    _strokes(draw, rng, [(88, 68, 48), (120, 96, 68)], 160, 120, 5, 0)


def _scatter_leaves(draw: _Torus, rng: Any, count: int, length: float) -> None:
    browns = [
        (142, 92, 50),
        (168, 116, 66),
        (120, 76, 44),
        (186, 140, 84),
        (104, 72, 50),
        (176, 98, 40),
        (150, 122, 90),
    ]
    outline = [(t / 10, math.sin(math.pi * (t / 10) ** 0.8)) for t in range(11)]
    for index in range(count):
        light = 0.6 + 0.45 * index / count
        x, y = rng.uniform(0, 2 * GROUND_SIDE, 2)
        angle, size, slim = rng.uniform(0, 2 * math.pi), length * rng.uniform(0.6, 1.4), rng.uniform(0.2, 0.36)
        cosine, sine = math.cos(angle), math.sin(angle)
        edge = [(t, w * slim) for t, w in outline]
        ring, half, vein = (
            [(x + size * (t * cosine - w * sine), y + size * (t * sine + w * cosine)) for t, w in part]
            for part in (edge + [(t, -w) for t, w in reversed(edge)], [*edge, (1, 0)], [(0, 0), (1, 0)])
        )
        colour = _colour(rng, browns, light)
        draw.polygon([(px + 6, py + 8) for px, py in ring], fill=(20, 14, 10))
        draw.polygon(ring, fill=colour)
        draw.polygon(half, fill=(int(colour[0] * 0.86), int(colour[1] * 0.85), int(colour[2] * 0.85)))
        draw.line(vein, fill=(int(colour[0] * 0.7), int(colour[1] * 0.66), 30), width=3)


def _bark() -> Image:
    """Weathered wood: noise stretched along the grain, cracks where it is low, moss where a second noise is high."""
    import numpy as np
    from PIL import Image

    grain = _fourier_noise(GROUND_SIDE, 1.0, 14.0)
    side = np.arange(GROUND_SIDE, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    height = 0.6 + 0.15 * grain + 0.04 * noise_at(x, 2 * y, 0.5)
    cracks = np.clip((-grain - 1.0) * 1.4, 0, 1)
    moss = np.clip((noise_at(x / 2 + 90, y / 2 + 40, 1.5) - 0.75) * 2.2 + 0.35 * noise_at(x, y, 0.4), 0, 1)
    wood = height[..., None] * np.array([176, 148, 116], dtype=np.float32)
    wood *= 1 - 0.75 * cracks[..., None]
    green = (0.62 + 0.2 * noise_at(x * 1.5, y * 1.5, 0.5))[..., None] * np.array([108, 122, 58], dtype=np.float32)
    mixed = wood * (1 - moss[..., None]) + green * moss[..., None]
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


class _Torus:
    """Draws on a square that continues at its opposite edge, so that the tile repeats without a seam."""

    def __init__(self, draw: ImageDraw) -> None:
        self.draw = draw

    def _places(self, points: Points) -> list[Points]:
        side = 2 * GROUND_SIDE
        xs, ys = [x for x, _ in points], [y for _, y in points]
        right = [shift for shift in (-side, 0, side) if max(xs) + shift >= 0 and min(xs) + shift < side]
        down = [shift for shift in (-side, 0, side) if max(ys) + shift >= 0 and min(ys) + shift < side]
        return [[(x + dx, y + dy) for x, y in points] for dx in right for dy in down]

    def polygon(self, points: Points, fill: Colour) -> None:
        for placed in self._places(points):
            self.draw.polygon(placed, fill=fill)

    def line(self, points: Points, fill: Colour, width: int) -> None:
        for placed in self._places(points):
            self.draw.line(placed, fill=fill, width=width)
