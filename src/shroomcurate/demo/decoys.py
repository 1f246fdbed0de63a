"""Renders the photos that do not belong: what people really upload beside their mushrooms.

Spores and threads under a microscope, landscapes without a mushroom, a finger over the lens, a mushroom so far away
that nothing of it can be learnt.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shroomcurate.demo.paint import paint_mushroom
from shroomcurate.demo.scene import (
    LONG_SIDE,
    View,
    blend_depth,
    develop,
    make_light,
    paint_background,
    paint_ground,
    pick_size,
)
from shroomcurate.demo.textures import noise_patch

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from shroomcurate.demo.species import Appearance, Colour

#: What a cleaner should take out, and the words for it in truth.csv.
DECOYS = ("microscopy", "scenery", "obstructed", "too_far")


def paint_decoy(kind: str, look: Appearance, seed: int) -> Image:
    """Render one photo of a kind in :data:`DECOYS`, 500 pixels on its long side.

    Parameters
    ----------
    look
        The species under whose name it was uploaded.
    """
    import numpy as np

    rng = np.random.default_rng([3, DECOYS.index(kind), seed])
    if kind == "obstructed":
        return _finger(paint_mushroom(look, seed), rng)
    paint = {"microscopy": _microscopy, "scenery": _scenery, "too_far": _too_far}[kind]
    return develop(paint(look, rng), rng)


# -- a finger over the lens ------------------------------------------------------------------------------------


def _finger(photo: Image, rng: Any) -> Image:
    """Cover much of a photo with skin, so near to the lens that it is a blur; the rest is blurred a little too."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter

    width, height = photo.size
    angle, tip = rng.uniform(0, 2 * math.pi), rng.uniform(-0.12, 0.2) * LONG_SIDE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    along = (x - width / 2) * math.cos(angle) + (y - height / 2) * math.sin(angle)
    across = -(x - width / 2) * math.sin(angle) + (y - height / 2) * math.cos(angle) + rng.normal(0, 40)
    thick = rng.uniform(0.24, 0.4) * LONG_SIDE
    # Signed distance to a capsule that enters from one side and ends at its tip.
    inside = thick - np.hypot(np.maximum(tip - along, 0) if rng.random() < 0.5 else np.maximum(along + tip, 0), across)
    alpha = np.clip(inside / (0.5 * thick) + 0.5, 0, 1)
    skin = np.array(((222, 160, 130), (188, 124, 94), (146, 92, 66), (92, 58, 44))[int(rng.integers(4))], np.float32)
    light = 0.72 + 0.3 * np.clip(inside / thick, 0, 1) + 0.05 * noise_patch(rng, height, width, 2.0)
    glow = np.clip(1 - np.abs(inside) / (0.3 * thick), 0, 1)[..., None] * np.array([34, 4, 0], np.float32)
    flesh = Image.fromarray((skin * light[..., None] + glow).clip(0, 255).astype(np.uint8))
    mask = Image.fromarray((255 * alpha).astype(np.uint8))
    if rng.random() < 0.3:  # a second finger
        draw = ImageDraw.Draw(mask)
        draw.ellipse((-0.3 * width, 0.55 * height, 0.42 * width, 1.5 * height), fill=255)
    soft = photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.8, 3))))
    return Image.composite(flesh, soft, mask.filter(ImageFilter.GaussianBlur(14)))


# -- under the microscope --------------------------------------------------------------------------------------

#: Field colour, and the colour of walls: water, Congo red, cotton blue, Melzer's reagent.
_STAINS: tuple[tuple[Colour, Colour], ...] = (
    ((214, 218, 208), (112, 108, 84)),
    ((234, 206, 206), (176, 52, 66)),
    ((200, 216, 236), (44, 76, 150)),
    ((232, 220, 172), (120, 74, 40)),
)


def _microscopy(look: Appearance, rng: Any) -> Image:  # noqa: ARG001 (all painters have one signature)
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter

    width, height = pick_size(rng)
    field, wall = _STAINS[int(rng.integers(len(_STAINS)))]
    shade = 1 + 0.03 * noise_patch(rng, height, width, 2.0)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] - rng.normal(0, 0.2)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] - rng.normal(0, 0.2)
    shade = shade * (1.04 - 0.12 * (x * x + y * y))
    image = Image.fromarray((np.array(field, np.float32) * shade[..., None]).clip(0, 255).astype(np.uint8))
    subject = ("spores", "hyphae", "asci")[int(rng.integers(3))]
    size = math.exp(rng.uniform(math.log(9), math.log(38)))
    painter = {"spores": _spores, "hyphae": _hyphae, "asci": _asci}[subject]
    for blur, share in ((4.0, 0.3), (1.6, 0.3), (0.0, 0.7)):  # layers out of focus first
        sheet = Image.new("RGBA", (2 * width, 2 * height), (*wall, 0))
        painter(ImageDraw.Draw(sheet), rng, wall, 2 * size, share)
        layer = sheet.convert("RGBa").reduce(2).convert("RGBA")
        image.paste(layer, (0, 0), layer)
        image = image.filter(ImageFilter.GaussianBlur(blur)) if blur else image
    if rng.random() < 0.45:
        image = _eyepiece(image, rng)
    return image


def _clear(colour: Colour, gain: float, alpha: int) -> tuple[int, int, int, int]:
    red, green, blue = (int(min(255, c * gain)) for c in colour)
    return red, green, blue, alpha


def _spores(draw: ImageDraw, rng: Any, wall: Colour, size: float, share: float) -> None:
    wide, high = draw.im.size
    slim = rng.uniform(0.5, 1.0)
    for _ in range(int(share * 26_000 * rng.uniform(0.4, 2.2) / size**1.25)):
        _spore(draw, rng, wall, rng.uniform(0, wide), rng.uniform(0, high), size * rng.uniform(0.8, 1.2), slim, None)


def _spore(
    draw: ImageDraw, rng: Any, wall: Colour, x: float, y: float, size: float, slim: float, angle: float | None
) -> None:
    """Draw one spore: a wall, a paler inside, a droplet of oil."""
    turn = rng.uniform(0, math.pi) if angle is None else angle

    def oval(grow: float) -> list[tuple[float, float]]:
        points = []
        for step in range(24):
            a = step * math.pi / 12
            u, v = grow * size * math.cos(a), grow * size * slim * math.sin(a)
            points.append((x + u * math.cos(turn) - v * math.sin(turn), y + u * math.sin(turn) + v * math.cos(turn)))
        return points

    draw.polygon(oval(1.1), fill=_clear(wall, 1.9, 110))  # the bright halo of refraction
    draw.polygon(oval(1.0), fill=_clear(wall, 0.8, 215))
    draw.polygon(oval(0.84), fill=_clear(wall, 1.7, 190))
    drop = size * slim * rng.uniform(0.25, 0.5)
    draw.ellipse((x - drop, y - drop, x + drop, y + drop), fill=_clear(wall, 2.1, 220), outline=_clear(wall, 1.1, 200))


def _hyphae(draw: ImageDraw, rng: Any, wall: Colour, size: float, share: float) -> None:
    """Draw threads with cross walls."""
    wide, high = draw.im.size
    width = max(6, int(size * 0.55))
    for _ in range(int(share * 900 * rng.uniform(0.6, 1.6) / size) + 2):
        x, y, angle = rng.uniform(0, wide), rng.uniform(0, high), rng.uniform(0, 2 * math.pi)
        points = [(x, y)]
        for _ in range(26):
            angle += rng.normal(0, 0.22)
            x, y = x + 1.6 * width * math.cos(angle), y + 1.6 * width * math.sin(angle)
            points.append((x, y))
        draw.line(points, fill=_clear(wall, 0.8, 220), width=width, joint="curve")
        draw.line(points, fill=_clear(wall, 1.65, 225), width=max(2, int(width * 0.66)), joint="curve")
        for x, y in points[3 :: int(rng.integers(4, 8))]:
            reach = width / 2
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=_clear(wall, 0.8, 200), width=3)


def _asci(draw: ImageDraw, rng: Any, wall: Colour, size: float, share: float) -> None:
    """Draw sacs side by side, eight spores in each."""
    wide, high = draw.im.size
    lean = rng.uniform(0, 2 * math.pi)
    for _ in range(int(share * 700 * rng.uniform(0.6, 1.5) / size) + 2):
        angle = lean + rng.normal(0, 0.3)
        x, y = rng.uniform(0, wide), rng.uniform(0, high)
        step = (1.5 * size * math.cos(angle), 1.5 * size * math.sin(angle))
        points = [(x + step[0] * k, y + step[1] * k) for k in range(-1, 9)]
        for gain, alpha, width in ((0.9, 170, 1.9 * size), (1.85, 160, 1.65 * size)):
            draw.line(points, fill=_clear(wall, gain, alpha), width=int(width))
            for px, py in (points[0], points[-1]):
                end = (px - width / 2, py - width / 2, px + width / 2, py + width / 2)
                draw.ellipse(end, fill=_clear(wall, gain, alpha))
        for px, py in points[1:-1]:
            _spore(draw, rng, wall, px, py, 0.75 * size, 0.62, angle + 0.5)


def _eyepiece(image: Image, rng: Any) -> Image:
    """Keep the round field that a phone sees through the eyepiece."""
    from PIL import Image, ImageDraw, ImageFilter

    mask = Image.new("L", image.size)
    radius = min(image.size) * rng.uniform(0.42, 0.56)
    x, y = image.width * rng.uniform(0.45, 0.55), image.height * rng.uniform(0.45, 0.55)
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return Image.composite(image, Image.new("RGB", image.size, (9, 8, 8)), mask.filter(ImageFilter.GaussianBlur(3)))


# -- landscapes ------------------------------------------------------------------------------------------------


def _scenery(look: Appearance, rng: Any) -> Image:
    """Paint hills under a sky, or the inside of a wood; no mushroom anywhere."""
    width, height = pick_size(rng)
    return _hills(width, height, rng) if rng.random() < 0.5 else _wood(width, height, look.season, rng)


def _hills(width: int, height: int, rng: Any) -> Image:
    import numpy as np
    from PIL import Image

    y = np.arange(height, dtype=np.float32)[:, None]
    horizon = height * rng.uniform(0.35, 0.6)
    top, low = ((96, 146, 206), (206, 222, 234)) if rng.random() < 0.6 else ((152, 158, 166), (214, 216, 214))
    blend = np.clip(y / horizon, 0, 1)[..., None]  # one column; the clouds spread it over all
    pixels = np.array(top, np.float32) * (1 - blend) + np.array(low, np.float32) * blend
    clouds = np.clip(noise_patch(rng, height, width, 1.7) * 0.7 + rng.uniform(-0.5, 0.5), 0, 1)[..., None]
    pixels = pixels + (np.array((244, 244, 242), np.float32) - pixels) * 0.8 * clouds
    layers = int(rng.integers(3, 6))
    for layer in range(layers):
        near = (layer + 1) / layers
        ridge = horizon + (near - 0.9) * 0.3 * height
        line = ridge - noise_patch(rng, 1, width, 1.8)[0] * height * (0.1 - 0.05 * near)
        line = line - np.abs(noise_patch(rng, 1, width, 0.6)[0]) * 6 * near  # tree tops
        colour = np.array((150, 168, 186), np.float32) * (1 - near) + np.array((56, 82, 38), np.float32) * near
        leaf = 1 + (0.04 + 0.2 * near) * noise_patch(rng, height, width, 0.7)[..., None]
        alpha = np.clip(y - line[None, :], 0, 1)[..., None]
        pixels = pixels * (1 - alpha) + colour * leaf * alpha
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    start = horizon + rng.uniform(0.02, 0.2) * height
    view = View(width, height, 0.1, start, height * 0.97)
    kind = ("grass", "grass", "moss", "leaves")[int(rng.integers(4))]
    meadow = paint_ground(rng, view, kind, scale=1.1)
    return blend_depth(meadow, photo, view, softness=2.0)


def _wood(width: int, height: int, season: str, rng: Any) -> Image:
    """Paint trunks, the nearer the darker and wider, on a floor that recedes."""
    import numpy as np
    from PIL import Image

    horizon = height * rng.uniform(0.35, 0.55)
    view = View(width, height, 0.15, horizon, height * 0.95)
    photo = paint_background(rng, width, height, season, trees=True)
    kind = ("leaves", "needles", "moss")[int(rng.integers(3))]
    photo = blend_depth(paint_ground(rng, view, kind, 1.1), photo, view, softness=2.0)
    pixels = np.asarray(photo, np.float32).copy()
    fog = np.array((176, 178, 160), np.float32)
    for near in np.sort(rng.uniform(0.12, 1.0, int(rng.integers(10, 26)))):
        thick = max(2, int(near**1.6 * width * rng.uniform(0.04, 0.1)))
        left = int(rng.uniform(-thick, width))
        foot = int(min(height, horizon + (height - horizon) * near**2.2 * 0.8))
        x0, x1 = max(0, left), min(width, left + thick)
        if x1 - x0 < 2:
            continue
        turn = np.linspace(-1, 1, thick, dtype=np.float32)[x0 - left : x1 - left]
        bark = (1 + 0.25 * noise_patch(rng, foot, thick, 0.9)[:, x0 - left : x1 - left]) * (0.8 - 0.35 * turn)
        colour = np.array((84, 70, 56), np.float32) * bark[..., None]
        pixels[:foot, x0:x1] = colour * (0.25 + 0.75 * near) + fog * (0.75 - 0.75 * near)
    crowns = np.clip(noise_patch(rng, height, width, 1.1) * 0.9 - 0.2, 0, 1)
    crowns = crowns * np.clip(1 - np.arange(height, dtype=np.float32)[:, None] / (0.8 * horizon), 0, 1)
    green = {"autumn": (176, 120, 44), "winter": (120, 116, 104)}.get(season, (86, 126, 50))
    leaf = np.array(green, np.float32) * (1 + 0.3 * noise_patch(rng, height, width, 0.4)[..., None])
    pixels += (leaf - pixels) * (0.9 * crowns)[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _too_far(look: Appearance, rng: Any) -> Image:
    """Paint a wide view whose mushroom is a few pixels high."""
    from shroomcurate.demo.fungus import draw_body

    photo = _scenery(look, rng) if rng.random() < 0.5 else _wide_floor(look, rng)
    light = make_light(rng, look.season)
    small = replace(look, length=max(look.length, 0.5))
    for _ in range(int(rng.integers(1, 4))):
        sprite = draw_body(small, rng, float(rng.uniform(4, 8)), 0.3, light)
        x, y = photo.width * rng.uniform(0.25, 0.75), photo.height * rng.uniform(0.66, 0.88)
        photo.paste(sprite.image, (round(x - sprite.foot[0]), round(y - sprite.foot[1])), sprite.image)
    return photo


def _wide_floor(look: Appearance, rng: Any) -> Image:
    """Paint the ground as one sees it standing: all of it sharp, its pattern small."""
    width, height = pick_size(rng)
    view = View(width, height, 0.6, -height * rng.uniform(0.3, 0.9), 0.7 * height)
    ground = paint_ground(rng, view, look.ground, scale=1.9)
    return blend_depth(ground, paint_background(rng, width, height, look.season, trees=True), view, softness=1.0)
