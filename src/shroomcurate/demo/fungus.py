"""Draws one fruiting body as a small shaded picture with transparent surroundings.

Caps, cups and brackets are height fields; the same projection, mirrored, draws their outsides. A stem is a surface
of revolution, shaded like a cylinder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shroomcurate.demo.relief import Canvas, Light, Profile, Surface, project, shade
from shroomcurate.demo.textures import NOISE_SIDE, noise_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from shroomcurate.demo.species import Appearance, Colour

    Floats = NDArray[np.floating[Any]]

#: Radius at which a cap is drawn, in pixels: at most this, else twice its radius in the photo, for smooth edges.
LARGEST = 104


@dataclass(frozen=True)
class Sprite:
    """A picture with alpha, and the pixel in it that touches the ground; `spread` is half the width in pixels."""

    image: Image
    foot: tuple[float, float]
    spread: float


def draw_body(look: Appearance, rng: np.random.Generator, radius: float, pitch: float, light: Light) -> Sprite:
    """Draw one fruiting body.

    Parameters
    ----------
    radius
        Of the cap, in pixels of the photo.
    pitch
        How far the camera looks down, in radians; negative is from below, so that the gills show.
    """
    import numpy as np
    from PIL import Image

    big = min(max(2 * radius, 48.0), float(LARGEST))
    height = max(look.height, 0.3) + 0.6
    half = int(big * 1.4) + 8
    above = int(big * height) + 8
    canvas = Canvas(np.zeros((above + int(big * (height + 1.3 * look.length)), 2 * half, 4), np.float32), (half, above))
    foot_x, foot_y = _draw_parts(look, rng, canvas, big, pitch, light)
    left, top, right, bottom = canvas.used
    pixels = canvas.pixels[top:bottom, left:right]
    flat = np.minimum(pixels, 255 * np.minimum(pixels[..., 3:], 1), out=pixels)
    flat[..., 3] *= 255
    # Premultiplied while it shrinks, or the black of empty pixels bleeds into the edges.
    image = Image.frombytes("RGBa", (right - left, bottom - top), flat.astype(np.uint8).tobytes())
    scale = radius / big
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BOX if scale <= 0.5 else Image.Resampling.BILINEAR).convert("RGBA")
    foot = ((half + foot_x - left) * scale, (above + foot_y - top) * scale)
    wide = look.thickness if look.length else 0.45
    return Sprite(image, foot, radius * max(wide, 0.2))


def _draw_parts(
    look: Appearance, rng: np.random.Generator, canvas: Canvas, radius: float, pitch: float, light: Light
) -> tuple[float, float]:
    """Draw back to front; return where the body meets the ground, relative to the origin."""
    profile = make_profile(look, rng)
    if look.shape in {"ball", "morel"}:
        pitch = max(pitch, 0.08)  # they have no gills to show
    if look.shape == "club":
        return _draw_stem(look, rng, canvas, radius, pitch, light)
    if look.shape in {"cup", "bracket"}:
        _draw_outside(look, canvas, radius, pitch, light, profile)
        _draw_top(look, rng, canvas, radius, pitch, light, profile)
        return 0.0, radius * (look.height if look.shape == "cup" else 0.1)
    if pitch < 0:
        _draw_gills(look, rng, canvas, radius, pitch, light)
    foot = _draw_stem(look, rng, canvas, radius, pitch, light)
    if look.shape == "funnel":
        _draw_outside(look, canvas, radius, pitch, light, profile)
    _draw_top(look, rng, canvas, radius, pitch, light, profile)
    return foot


def make_profile(look: Appearance, rng: np.random.Generator) -> Profile:
    """Return the shape of one cap: its species' form, a little out of round, its edge a little wavy."""
    import numpy as np

    height = look.height * rng.uniform(0.8, 1.2)
    wave, lobes, phase = rng.uniform(0.01, 0.05), int(rng.integers(2, 5)), rng.uniform(0, 6.28)
    if look.shape in {"funnel", "bracket", "cup"}:
        wave *= 2
    power = rng.uniform(1.8, 2.6)
    umbo = rng.uniform(0.1, 0.22)

    def profile(r: Floats, theta: Floats) -> Floats:
        inside = np.clip(1 - r**power, 0, 1)
        if look.shape == "conical":
            z = height * np.clip(1 - r**1.25, 0, 1) ** 0.8
        elif look.shape == "flat":
            z = height * (0.55 * inside**0.6 + umbo * 2 * np.exp(-((r / 0.22) ** 2)))
        elif look.shape == "funnel":
            z = -0.75 * height * np.clip(1 - r, 0, 1) ** 1.6
        elif look.shape == "cup":
            z = -height * inside
        elif look.shape == "bracket":
            z = height * (0.4 + 0.6 * inside**0.5)
        else:  # convex, ball, morel
            z = height * np.sqrt(inside)
        wavy: Floats = z + wave * r**3 * np.sin(lobes * theta + phase)
        return wavy

    return profile


# -- the parts -------------------------------------------------------------------------------------------------


def _draw_top(
    look: Appearance, rng: Any, canvas: Canvas, radius: float, pitch: float, light: Light, profile: Profile
) -> None:
    import numpy as np

    upright = abs(pitch) if look.shape in {"cup", "funnel", "bracket"} else pitch
    seen = project(profile, radius, upright, front_only=look.shape == "bracket")
    albedo, bump = _skin(look, rng, seen, radius)
    down, right = np.gradient(bump)
    normal = (seen.normal[0] - right, seen.normal[1] - 0.4 * down, seen.normal[2] + down)
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    normal = (normal[0] / length, normal[1] / length, normal[2] / length)
    # A hollow is darker inside: less of the sky is seen from there.
    hollow = {"cup": 0.8, "funnel": 0.75}.get(look.shape, 0.0)
    ambient = 1 - hollow * np.clip(1 - seen.r, 0, 1) ** 1.2
    canvas.put(seen.left, seen.top, shade(albedo, normal, light, look.gloss, ambient), seen.alpha)


def _skin(look: Appearance, rng: Any, seen: Surface, radius: float) -> tuple[Floats, Floats]:
    """Return colour and relief (in pixels) of the upper side."""
    import numpy as np

    shift = rng.integers(0, NOISE_SIDE, 2)
    scale = 110.0
    wide = noise_at(seen.x * scale + shift[0], seen.y * scale + shift[1], 1.6)
    fine = noise_at(seen.x * 230 + shift[1], seen.y * 230 + shift[0], 0.8)
    blend = np.clip(seen.r**1.6 + 0.12 * wide, 0, 1)[..., None]
    albedo = _rgb(look.centre) * (1 - blend) + _rgb(look.margin) * blend
    albedo = albedo * (1 + 0.05 * wide + 0.04 * fine)[..., None]
    relief = 0.02 * radius * 0.1 * fine
    detail = _rgb(look.detail)
    if look.shape in {"cup", "funnel"}:
        rim = np.clip((seen.r - 0.92) * 14, 0, 1)[..., None]
        albedo = albedo + (0.5 * (_rgb(look.gills) + _rgb(look.margin)) * 1.1 - albedo) * rim
    if look.surface == "warts":
        mask = _spots(rng, seen, 34 if look.shape != "ball" else 150, 0.075 if look.shape != "ball" else 0.035)
        albedo = albedo + (detail - albedo) * np.clip(mask * 1.6, 0, 1)[..., None]
        relief = relief + 0.02 * radius * mask
    elif look.surface == "scales":
        grain = noise_at(seen.theta * 70 + shift[0], seen.r * 190 + shift[1], 0.9) + 0.4 * fine
        mask = np.clip((grain - 0.35) * 1.8, 0, 1) * np.clip(seen.r * 3.0, 0.2, 1)
        mask = np.maximum(mask, np.clip(1.4 - seen.r * 6, 0, 1))
        albedo = albedo + (detail - albedo) * (0.85 * mask)[..., None]
        relief = relief + 0.02 * radius * mask
    elif look.surface == "fibres":
        grain = noise_at(seen.theta * 160 + shift[0], seen.r * 14 + shift[1], 0.7)
        mask = np.clip(0.3 + 0.35 * grain, 0, 0.8) * np.clip(seen.r * 2, 0, 1)
        albedo = albedo + (detail - albedo) * (0.7 * mask)[..., None]
    elif look.surface == "zones":
        bands = 0.5 + 0.5 * np.sin(seen.r * rng.uniform(24, 34) + 0.9 * wide + rng.uniform(0, 6))
        albedo = albedo + (detail - albedo) * (0.75 * bands * np.clip(1.4 - seen.r**5, 0, 1))[..., None]
        albedo = np.where((seen.r > 0.93)[..., None], _rgb(look.margin), albedo)
        relief = relief + 0.012 * radius * bands
    elif look.surface == "pits":
        cells = _cells(rng, seen, look.height)
        albedo = albedo + (detail - albedo) * cells[..., None]
        relief = relief - 0.05 * radius * cells
    return albedo, relief


def _rgb(colour: Colour) -> Floats:
    import numpy as np

    return np.array(colour, dtype=np.float32)


def _spots(rng: Any, seen: Surface, count: int, size: float) -> Floats:
    """Return 0..1: round spots of varying size, evenly strewn over the disc, fewer at its edge."""
    import numpy as np

    mask = np.zeros_like(seen.r)
    turn = rng.uniform(0, 6.28)
    for index in range(count):
        # The sunflower's spiral spreads points evenly; the jitter hides it.
        r = math.sqrt((index + 0.5) / count) * 0.97 + rng.normal(0, 0.03)
        angle = index * 2.39996 + turn + rng.normal(0, 0.25)
        x, y = r * math.cos(angle), r * math.sin(angle)
        reach = size * rng.uniform(0.5, 1.25)
        near = (np.abs(seen.y - y) < 2 * reach) & (np.abs(seen.x - x) < 2 * reach)
        rows, columns = np.nonzero(near)
        if rows.size:
            distance = (seen.x[rows, columns] - x) ** 2 + (seen.y[rows, columns] - y) ** 2
            drop = np.clip(1.5 * np.exp(-distance / (reach * 0.62) ** 2) - 0.35, 0, 1)
            mask[rows, columns] = np.maximum(mask[rows, columns], drop)
    return mask


def _cells(rng: Any, seen: Surface, height: float) -> Floats:
    """Return 0..1, high inside the pits of a honeycomb wound around the cap."""
    import numpy as np

    z = np.sqrt(np.clip(1 - seen.r**2, 0, 1)) * height
    around = seen.theta * 2.2 + 0.25 * noise_at(seen.theta * 40, z * 60, 1.4) + rng.uniform(0, 6)
    along = z * 4.4 + 0.25 * noise_at(seen.theta * 50 + 99, z * 50, 1.4)
    waves = np.sin(2 * around + along) * np.sin(2 * around - along) + 0.35 * np.cos(2 * along)
    return np.asarray(np.clip(0.5 + 1.3 * np.abs(waves) - 0.55, 0, 1), dtype=np.float32)


def _draw_outside(
    look: Appearance, canvas: Canvas, radius: float, pitch: float, light: Light, profile: Profile
) -> None:
    """Draw the outer wall of a cup, a funnel, or a bracket's edge: a dome that hangs, so the projection is mirrored."""
    import numpy as np

    deep = look.height if look.shape != "bracket" else 0.16
    wall_power = 1.0 if look.shape == "funnel" else 2.2

    def hanging(r: Floats, theta: Floats) -> Floats:
        wall = deep * np.clip(1 - r**wall_power, 0, 1) ** (1.4 if look.shape == "funnel" else 0.8)
        rim = np.ones_like(r)
        lowered: Floats = wall - (profile(rim, theta) - profile(rim, 0 * theta)) * r**3
        return lowered

    seen = project(hanging, radius, -abs(pitch), front_only=look.shape == "bracket")
    ribs = noise_at(seen.theta * (46 if look.underside == "ridges" else 20) + 7, seen.r * 8, 0.8)
    albedo = _rgb(look.gills) * (1 + (0.16 if look.underside == "ridges" else 0.04) * ribs)[..., None]
    normal = (seen.normal[0], seen.normal[1], -0.3 * seen.normal[2])
    lit = shade(albedo, normal, light, 0, 1.5 - 0.6 * (1 - seen.r))
    canvas.put(seen.left, -(seen.top + seen.alpha.shape[0]), lit[::-1], seen.alpha[::-1])


def _draw_gills(look: Appearance, rng: Any, canvas: Canvas, radius: float, pitch: float, light: Light) -> None:
    """Draw the cap's lower side as the ellipse that a camera near the ground sees."""
    import numpy as np

    flat = max(abs(math.sin(pitch)), 0.02)
    half = int(radius * flat) + 1
    v, u = np.mgrid[-half : half + 1, -int(radius) : int(radius) + 1].astype(np.float32) / radius
    y = v / flat
    r, theta = np.sqrt(u**2 + y**2), np.arctan2(y, u)
    if look.underside == "pores":
        lines = 0.5 * noise_at(u * 330, y * 330, 0.2)
    else:
        lines = np.sin(theta * int(rng.integers(60, 90)) + 0.8 * noise_at(theta * 30, r * 20, 1.0))
    albedo = _rgb(look.gills) * (0.82 + 0.14 * lines * np.clip(r * 1.6, 0, 1) - 0.25 * (1 - r).clip(0, 1))[..., None]
    down = (np.zeros_like(r), np.full_like(r, -0.5), np.full_like(r, -0.6))
    canvas.put(-int(radius), -half, shade(albedo, down, light, 0, 3.2), (r <= 1).astype(np.float32))


def _draw_stem(
    look: Appearance, rng: Any, canvas: Canvas, radius: float, pitch: float, light: Light
) -> tuple[float, float]:
    """Draw stem and ring; return the foot, relative to the origin."""
    import numpy as np

    bare = look.shape in {"club", "ball"}  # no cap throws a shadow on it
    upright = max(math.cos(pitch), 0.25)
    length = look.length * rng.uniform(0.55 if look.shape == "club" else 0.8, 1.2) * radius * upright
    start = -0.12 * radius if look.shape != "club" else 0.0
    rows = np.arange(int(start), int(length), dtype=np.float32)
    t = ((rows - rows[0]) / max(length - start, 1))[:, None]
    bend = rng.normal(0, 0.12) * radius
    middle = bend * t**2 * (2.5 if look.shape == "club" else 1) + 0.02 * radius * noise_at(
        t * 90 + rng.integers(99), t * 0, 1.6
    )
    half = look.thickness * radius * rng.uniform(0.85, 1.15) * (1 + 0.12 * (t - 0.5) + 0.03 * noise_at(t * 60, t, 1.6))
    if look.bulb:
        half = half * (1 + rng.uniform(0.4, 0.8) * np.exp(-(((t - 0.95) / 0.16) ** 2)))
    if look.shape == "funnel":
        half = half * (1 + 1.1 * np.clip(1 - t * 1.8, 0, 1) ** 2)
    if look.shape == "club":
        half = half * np.sqrt(np.clip(t * 7, 0.002, 1)) * (1 - 0.35 * t) * (1 + 0.12 * noise_at(t * 80 + 3, t, 1.6))
    elif look.shape == "ball":
        half = half * (1 - 0.5 * t**1.5)
    wide = int(float(half.max()) + float(np.abs(middle).max())) + 3
    u = np.arange(-wide, wide + 1, dtype=np.float32)[None, :]
    across = (u - middle) / half
    inside = np.clip((1 - np.abs(across)) * half, 0, 1)
    nx = np.clip(across, -1, 1)
    normal = (nx, -np.sqrt(1 - nx**2), np.full_like(nx, 0.15))
    grain = noise_at(np.arcsin(nx) * 26 + rng.integers(99), t * 55 + np.zeros_like(nx), 0.9)
    albedo = _rgb(look.stem) * (1 + 0.07 * grain)[..., None]
    if look.surface in {"scales", "pits"} and look.shape != "morel":
        marks = np.clip(noise_at(np.arcsin(nx) * 40 + 5, t * 160 + np.zeros_like(nx), 0.8) - 0.4, 0, 1)
        albedo = albedo + (_rgb(look.detail) - albedo) * (0.55 * marks)[..., None]
    albedo = albedo + (_rgb((96, 78, 54)) - albedo) * (0.5 * np.clip((t - 0.82) * 5, 0, 1))[..., None]  # earth
    ambient = 1 - (0 if bare else 0.6) * np.exp(-t * 5) - 0.35 * np.clip((t - 0.8) * 4, 0, 1)
    shaded = (
        shade(albedo, normal, light, 0.3 * look.gloss, ambient)
        * (1 - (0 if bare else 0.35) * np.exp(-t * 6))[..., None]
    )
    canvas.put(-wide, int(rows[0]), shaded, inside.astype(np.float32))
    if look.ring:
        _draw_ring(look, rng, canvas, radius, pitch, light, int(0.28 * length), float(middle[len(middle) // 4, 0]))
    return float(middle[-1, 0]), length


def _draw_ring(
    look: Appearance, rng: Any, canvas: Canvas, radius: float, pitch: float, light: Light, at: int, shift: float
) -> None:
    import numpy as np

    size = radius * look.thickness * rng.uniform(1.35, 1.65)

    def skirt(r: Floats, theta: Floats) -> Floats:
        pleated: Floats = 0.75 * (1 - r**1.3) + 0.05 * np.sin(9 * theta + at) * r**2
        return pleated

    seen = project(skirt, size, max(pitch, 0.12))
    pleats = noise_at(seen.theta * 70, seen.r * 6, 0.8)
    albedo = (0.6 * _rgb(look.stem) + 0.4 * _rgb((250, 246, 232))) * (1 + 0.08 * pleats)[..., None]
    lit = shade(albedo, seen.normal, light, 0, 0.75)
    canvas.put(seen.left + int(shift), seen.top + at, lit, seen.alpha)
