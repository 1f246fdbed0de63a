"""From a Keras model to a LiteRT file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shroomcurate.backbone import load_keras, silent_stderr


def converted(call: Callable[[Any], Any], shape: Sequence[int], dtype: str = "float32", *, half: bool = False) -> bytes:
    """Return what a function of one tensor does, such as a Keras model, as a LiteRT file.

    Parameters
    ----------
    shape, dtype
        Of the tensor, which is called ``photo`` in the file.
    half
        Whether weights are stored as float16; they are computed with as float32 on processors.
    """
    load_keras()
    with silent_stderr():
        import tensorflow as tf

        traced = tf.function(call, [tf.TensorSpec(shape, dtype, "photo")], autograph=False).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
        # Otherwise all is written as a SavedModel and read again, which takes five times as long as the rest.
        converter.experimental_lower_to_saved_model = False
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())
