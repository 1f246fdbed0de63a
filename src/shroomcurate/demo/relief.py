"""Height fields, projected and lit: what the rendered fungi are made of.

A cap is a height field over a disc, seen by a parallel projection at some pitch: for each column of pixels the
height is followed from the near edge to the far one, and what rises above all before it is what one sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

Profile = Callable[["Floats", "Floats"], "Floats"]
"""Height, in cap radii, at distance r from the axis (0..1) and angle theta; arrays of one shape."""


@dataclass(frozen=True)
class Light:
    """Where the sun stands (unit vector: right, away, up), and the colours of sun and sky (1 is white)."""

    direction: tuple[float, float, float]
    sun: tuple[float, float, float]
    sky: tuple[float, float, float]


@dataclass
class Canvas:
    """Premultiplied colour and alpha; the origin is where cap and stem meet, y grows downwards."""

    pixels: Floats
    origin: tuple[int, int]
    used: tuple[int, int, int, int] = (1 << 30, 1 << 30, 0, 0)

    def put(self, left: int, top: int, colour: Floats, alpha: Floats) -> None:
        """Lay a piece over what is there; `left`, `top` are relative to the origin."""
        x, y = self.origin[0] + left, self.origin[1] + top
        height, width = alpha.shape
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + width, self.pixels.shape[1]), min(y + height, self.pixels.shape[0])
        if x1 <= x0 or y1 <= y0:
            return
        used = self.used
        self.used = (min(used[0], x0), min(used[1], y0), max(used[2], x1), max(used[3], y1))
        part = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        cover = alpha[part][..., None]
        target = self.pixels[y0:y1, x0:x1]
        target *= 1 - cover
        target[..., :3] += colour[part] * cover
        target[..., 3:] += cover


@dataclass(frozen=True)
class Surface:
    """The visible surface on a grid of pixels: where on the disc each lies, its normal, its alpha."""

    left: int
    top: int
    x: Floats
    y: Floats
    r: Floats
    theta: Floats
    normal: tuple[Floats, Floats, Floats]
    alpha: Floats


def project(profile: Profile, radius: float, pitch: float, front_only: bool = False) -> Surface:
    """Project a height field; see the module's first paragraph.

    Parameters
    ----------
    front_only
        Leave the far half of the disc away (a bracket grows out of its trunk).
    """
    import numpy as np

    columns = np.arange(-int(radius) + 1, int(radius), dtype=np.float32)
    across = columns / radius
    edge = np.sqrt(1 - across**2)
    steps = np.sin(np.linspace(-np.pi / 2, 0 if front_only else np.pi / 2, 72, dtype=np.float32))
    depth = edge[:, None] * steps[None, :]
    u = np.broadcast_to(across[:, None], depth.shape)
    z = profile(np.sqrt(u**2 + depth**2), np.arctan2(depth, u))
    screen = (z * math.cos(pitch) + depth * math.sin(pitch)) * radius
    ridge = np.maximum.accumulate(screen, axis=1)
    top, bottom = math.ceil(float(ridge.max())), math.floor(float(ridge[:, 0].min()))
    rows = np.arange(top, bottom - 1, -1, dtype=np.float32)
    y = np.empty((rows.size, columns.size), dtype=np.float32)
    for column in range(0, columns.size, 2):  # neighbours look alike, and this loop is what costs
        y[:, column : column + 2] = np.interp(rows, ridge[column], depth[column])[:, None]
    alpha = (rows[:, None] <= ridge[None, :, -1]) & (rows[:, None] >= ridge[None, :, 0])
    x = np.broadcast_to(across, y.shape)
    r, theta = np.sqrt(x**2 + y**2), np.arctan2(y, x)
    # The slope is looked up along one radius: the waves of the edge are too low to change the light.
    radii = np.linspace(0, 0.995, 200, dtype=np.float32)
    slope = np.gradient(profile(radii, np.zeros_like(radii)), radii)[(r * 199).astype(np.int32).clip(0, 199)]
    norm = 1 / np.sqrt(1 + slope**2)
    outward = -slope * norm / np.maximum(r, 1e-3)
    normal = (outward * x, outward * y, norm)
    return Surface(int(columns[0]), -top, x, y, r, theta, normal, alpha.astype(np.float32))


def shade(albedo: Floats, normal: tuple[Floats, Floats, Floats], light: Light, gloss: float, ambient: Any) -> Floats:
    """Return lit colours: a wrapped diffuse term, light from the sky, and a highlight on slimy skin."""
    import numpy as np

    sun_x, sun_y, sun_z = light.direction
    facing = normal[0] * sun_x + normal[1] * sun_y + normal[2] * sun_z
    diffuse = np.clip((facing + 0.25) / 1.25, 0, 1)[..., None]
    open_sky = ((0.55 + 0.45 * normal[2]) * ambient)[..., None]
    lit = albedo * (diffuse * np.array(light.sun, np.float32) + open_sky * np.array(light.sky, np.float32))
    if gloss > 0.05:
        # Half-way vector between the sun and a viewer in front and a little above.
        half = np.array([sun_x, sun_y - 0.9, sun_z + 0.4], np.float32)
        half /= np.linalg.norm(half)
        shine = np.clip(normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2], 0, 1)
        lit += (gloss * (150 * shine**60 + 40 * shine**12))[..., None]
    clipped: Floats = np.clip(lit, 0, 255, out=lit)
    return clipped
