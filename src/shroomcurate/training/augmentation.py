"""What changes no species: photos turned, shifted, zoomed and lit, anew in each epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

#: At strength 1: half a turn times this either way, and shares of the photo's width and height.
TURN, SHIFT, NEARER, FARTHER = 0.16 * math.pi, 0.1, 0.25, 0.05
#: At strength 1: change of contrast as a factor, of brightness as a share of 255.
CONTRAST, BRIGHTNESS = 0.2, 0.15


def augmentation(strength: float, seed: int) -> keras.Sequential:
    """Return layers that change photos in training and leave them alone otherwise.

    Float32 photos 0..255, ``(batch, height, width, 3)``, to the same. A mushroom is photographed from any side, near
    or far, in any light.

    Parameters
    ----------
    strength
        Multiple of the usual changes.
    """
    import keras

    layers = keras.layers
    lit = {"value_range": (0, 255), "dtype": "float32"}
    return keras.Sequential(
        [
            _warp()(strength, seed),
            layers.RandomContrast(min(1.0, CONTRAST * strength), seed=seed + 1, name="contrast", **lit),
            layers.RandomBrightness(min(1.0, BRIGHTNESS * strength), seed=seed + 2, name="brightness", **lit),
        ],
        name="augmentation",
    )


def _warp() -> Any:
    """Return the layer's class; Keras is loaded where it is used."""
    import keras

    class Warp(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """Mirror, turn, shift and zoom in one resampling.

        Keras' own four layers resample one after the other, each time with some loss of sharpness: 6.7 ms of processor
        a photo of 224 pixels, this one 2.
        """

        def __init__(self, strength: float, seed: int) -> None:
            super().__init__(name="warp", dtype="float32", trainable=False)
            self.strength = strength
            self.seed_generator = keras.random.SeedGenerator(seed)

        def call(self, photos: Any, training: bool = False) -> Any:
            if not training:
                return photos
            transform = self._transform(keras.ops.shape(photos)[0], photos.shape[1], photos.shape[2])
            return keras.ops.image.affine_transform(photos, transform, interpolation="bilinear", fill_mode="reflect")

        def _transform(self, batch: Any, height: int, width: int) -> Any:
            """Return the eight numbers by which each photo's pixels find their source, ``(batch, 8)``."""
            ops = keras.ops

            def draw(low: float, high: float) -> Any:
                return keras.random.uniform(
                    (batch,), low * self.strength, high * self.strength, seed=self.seed_generator
                )

            angle, zoom = draw(-TURN, TURN), 1 + draw(-NEARER, FARTHER)
            mirror = ops.sign(keras.random.uniform((batch,), -1, 1, seed=self.seed_generator))
            down, right = draw(-SHIFT, SHIFT) * height, draw(-SHIFT, SHIFT) * width
            cos, sin = ops.cos(angle) * zoom, ops.sin(angle) * zoom
            x, y = (width - 1) / 2, (height - 1) / 2  # the middle stays where it is, but for the shift
            a, b, c, d = cos * mirror, -sin, sin * mirror, cos
            none = ops.zeros_like(angle)
            rows = [a, b, x - a * x - b * y + right, c, d, y - c * x - d * y + down, none, none]
            return ops.stack(rows, axis=1)

    return Warp
