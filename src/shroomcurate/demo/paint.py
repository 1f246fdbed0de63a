"""Renders photos of mushrooms: a species' look, a place, a camera. The same numbers give the same photo.

``seed`` is the observation: the place, its light and how many fruiting bodies stand there. ``view`` is one of its
photos: the same again from elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shroomcurate.demo.fungus import Sprite, draw_body
from shroomcurate.demo.scene import (
    LONG_SIDE,
    View,
    blend_depth,
    develop,
    horizon_of,
    make_light,
    paint_background,
    paint_ground,
    pick_size,
)
from shroomcurate.demo.textures import GROUNDS, noise_patch

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from shroomcurate.demo.relief import Light
    from shroomcurate.demo.species import Appearance, Colour


def paint_mushroom(look: Appearance, seed: int, view: int = 0) -> Image:
    """Render one photo, 500 pixels on its long side.

    Parameters
    ----------
    seed
        The observation.
    view
        Which of its photos.
    """
    import numpy as np

    place, camera = np.random.default_rng([1, seed]), np.random.default_rng([2, seed, view])
    look = _individual(look, place)
    light = make_light(place, look.season)
    count = int(place.integers(look.cluster[0], look.cluster[1] + 1))
    paint = _paint_trunk if look.shape == "bracket" else _paint_floor
    return develop(paint(look, count, light, place, camera), camera)


def _individual(look: Appearance, rng: np.random.Generator) -> Appearance:
    """Vary the colours and proportions as a species does; now and then it grows elsewhere than it usually does."""
    ground = look.ground
    if look.shape != "bracket" and rng.random() < 0.25:
        ground = GROUNDS[int(rng.integers(len(GROUNDS)))]
    gain, tint = math.exp(rng.normal(0, 0.1)), rng.normal(0, 7, 3)

    def vary(colour: Colour) -> Colour:
        red, green, blue = (int(min(255, max(0, c * gain + t))) for c, t in zip(colour, tint, strict=True))
        return red, green, blue

    return replace(
        look,
        centre=vary(look.centre),
        margin=vary(look.margin),
        height=look.height * math.exp(rng.normal(0, 0.12)),
        length=look.length * math.exp(rng.normal(0, 0.14)),
        ground=ground,
    )


def pick_pitch(look: Appearance, rng: np.random.Generator) -> float:
    """Return how far the camera looks down: often level, at times from below the cap or from high above."""
    if look.shape in {"cup", "funnel"}:
        return float(rng.uniform(0.2, 0.95))
    kind = rng.random()
    if kind < 0.25:
        return float(rng.uniform(-0.22, 0.0))
    return float(rng.uniform(0.02, 0.4) if kind < 0.75 else rng.uniform(0.5, 1.0))


def _paint_floor(look: Appearance, count: int, light: Light, place: Any, camera: Any) -> Image:
    width, height = pick_size(camera)
    pitch = pick_pitch(look, camera)
    radius = look.size * LONG_SIDE * math.exp(camera.normal(0.1, 0.25))
    tall = (look.height + look.length) * radius * max(math.cos(pitch), 0.3)
    shrink = min(1.0, 0.8 * height / tall, 0.42 * width / radius)
    radius, tall = radius * shrink, tall * shrink
    horizon = horizon_of(height, pitch)
    focus = 0.5 * height + 0.45 * tall + camera.normal(0, 0.04) * height
    focus = max(min(focus, 0.92 * height), horizon + 0.25 * height)
    view = View(width, height, pitch, horizon, focus)
    ground = paint_ground(camera, view, look.ground, scale=float(place.uniform(0.75, 1.3)))
    backdrop = paint_background(place, width, height, look.season, trees=look.ground != "grass")
    photo = blend_depth(ground, backdrop, view, softness=float(camera.uniform(2.5, 5)))
    feet = _feet(look, count, radius, view, place, camera)
    photo = _cast_shadows(photo, [(x, y, size * max(look.thickness, 0.3)) for x, y, size in feet], look, light)
    for x, y, size in feet:
        sprite = draw_body(look, place, size, pitch + float(place.normal(0, 0.05)), light)
        sprite = _defocus(sprite, abs(y - focus) / height)
        _plant(photo, sprite, x, y, ground, camera)
    return photo


def _feet(
    look: Appearance, count: int, radius: float, view: View, place: Any, camera: Any
) -> list[tuple[float, float, float]]:
    """Return x, y and cap radius of each fruiting body, the farthest first."""
    feet = []
    middle = view.width * camera.uniform(0.38, 0.62)
    # Clubs and stems stand as close as their own width lets them.
    spread = radius * (1.35 + 0.28 * count) * (0.45 if look.shape == "club" else 1)
    for index in range(count):
        angle, out = 2.4 * index + place.uniform(0, 1), math.sqrt(index / max(count, 1))
        x = middle + spread * out * math.cos(angle) * 1.2
        y = view.focus + spread * out * math.sin(angle) * max(0.22, math.sin(abs(view.pitch)))
        size = radius * view.nearness(y) * (1 if index == 0 else place.uniform(0.55, 1.0))
        feet.append((x, y, max(size, 6.0)))
    return sorted(feet, key=lambda foot: foot[1])


def _cast_shadows(photo: Image, feet: list[tuple[float, float, float]], look: Appearance, light: Light) -> Image:
    """Darken the ground where each body stands, and beside it where its cap keeps the sun away."""
    from PIL import Image, ImageDraw, ImageFilter

    mask = Image.new("L", (photo.width // 4, photo.height // 4))
    draw = ImageDraw.Draw(mask)
    for x, y, size in feet:
        cap = size / max(look.thickness, 0.3)
        away = -light.direction[0] * cap * 0.9
        for shift, reach, flat, depth in ((away, 1.0 * cap, 0.3, 105), (0.3 * away, 1.3 * size, 0.4, 190)):
            box = (x + shift - reach, y - flat * reach, x + shift + reach, y + flat * reach)
            draw.ellipse(tuple(side / 4 for side in box), fill=depth)
    soft = mask.filter(ImageFilter.GaussianBlur(2.2)).resize(photo.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", photo.size, (10, 9, 8)), photo, soft)


def _defocus(sprite: Sprite, distance: float) -> Sprite:
    from PIL import Image, ImageFilter, ImageOps

    if distance < 0.06:
        return sprite
    edge = 8
    room = ImageOps.expand(sprite.image, border=edge, fill=(0, 0, 0, 0)).convert("RGBa")
    # Pillow blurs RGBA only, channel by channel: the bytes are premultiplied, the mode's name alone changes.
    blurred = Image.frombytes("RGBA", room.size, room.tobytes()).filter(ImageFilter.GaussianBlur(12 * distance))
    image = Image.frombytes("RGBa", room.size, blurred.tobytes()).convert("RGBA")
    return replace(sprite, image=image, foot=(sprite.foot[0] + edge, sprite.foot[1] + edge))


def _plant(photo: Image, sprite: Sprite, x: float, y: float, ground: Image, rng: Any) -> None:
    """Paste a body with its foot at x, y, and let a ragged edge of the ground cover the foot."""
    import numpy as np
    from PIL import Image

    photo.paste(sprite.image, (round(x - sprite.foot[0]), round(y - sprite.foot[1])), sprite.image)
    reach = int(1.7 * sprite.spread) + 4
    left, top = max(0, round(x) - reach), max(0, round(y) - int(0.5 * reach) - 4)
    right, bottom = min(photo.width, round(x) + reach), min(photo.height, round(y) + int(0.8 * reach) + 4)
    if right <= left or bottom <= top:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] - y
    columns = np.arange(left, right, dtype=np.float32)[None, :] - x
    rough = noise_patch(rng, bottom - top, right - left, 0.9) * (0.1 * reach + 2)
    rim = rows + 0.12 * reach - 0.3 * (columns / reach) ** 2 * reach + rough
    # Only the sprite is to be covered: away from it the ground in front keeps its shadows and its blur.
    cover = (
        np.clip(rim / 2, 0, 1)
        * np.clip(2 - 2 * np.abs(columns) / reach, 0, 1)
        * np.clip(2 - rows / (0.4 * reach + 2), 0, 1)
    )
    front = ground.crop((left, top, right, bottom))
    dark = Image.fromarray((np.asarray(front, dtype=np.float32) * 0.72).astype(np.uint8))
    photo.paste(dark, (left, top), Image.fromarray((230 * cover).astype(np.uint8)))


def _paint_trunk(look: Appearance, count: int, light: Light, place: Any, camera: Any) -> Image:
    """Brackets grow in tiers on a trunk; the camera stands before it and looks down a little."""
    import numpy as np
    from PIL import Image, ImageFilter

    width, height = pick_size(camera)
    pitch = float(camera.uniform(0.25, 0.75))
    flat = View(width, height, 1.2, -9.0 * height, 0.5 * height)
    # Bark is wood with its grain upright.
    bark = paint_ground(camera, replace(flat, width=height, height=width), "wood", 0.9).transpose(
        Image.Transpose.ROTATE_90
    )
    backdrop = paint_background(place, width, height, look.season, trees=True)
    half = width * camera.uniform(0.34, 0.75)
    middle = width * camera.uniform(0.4, 0.6)
    across = (np.arange(width, dtype=np.float32) - middle) / half
    turn = np.clip(across, -1, 1)
    bright = 0.45 + 0.75 * np.clip(np.sqrt(1 - turn**2) * 0.7 + turn * light.direction[0], 0, 1)
    trunk = Image.fromarray((np.asarray(bark, np.float32) * bright[None, :, None]).clip(0, 255).astype(np.uint8))
    edge = np.clip((1 - np.abs(across)) * half / 3, 0, 1)
    alpha = Image.fromarray(np.broadcast_to((255 * edge).astype(np.uint8), (height, width)).copy())
    photo = Image.composite(trunk, backdrop, alpha)
    radius = look.size * LONG_SIDE * math.exp(camera.normal(0.1, 0.25))
    tiers = []
    for index in range(count):
        spread = min(half * 0.7, radius * 1.3)
        x = middle + place.uniform(-1, 1) * spread
        y = height * 0.5 + (index - (count - 1) / 2) * radius * place.uniform(0.34, 0.52)
        tiers.append((float(x), float(y), float(radius * place.uniform(0.5, 1.1))))
    for x, y, size in sorted(tiers, key=lambda tier: -tier[1]):
        shadow = Image.new("L", (width // 4, height // 4))
        low = y + size * (0.4 + 0.6 * math.sin(pitch))
        box = (int((x - size) / 4), int(y / 4), int((x + size) / 4), int(low / 4))
        shadow.paste(150, box)
        soft = shadow.filter(ImageFilter.GaussianBlur(0.05 * size)).resize(photo.size, Image.Resampling.BILINEAR)
        photo = Image.composite(Image.new("RGB", photo.size, (12, 10, 8)), photo, soft)
        sprite = draw_body(look, place, size, pitch, light)
        photo.paste(sprite.image, (round(x - sprite.foot[0]), round(y - sprite.foot[1])), sprite.image)
    return photo
