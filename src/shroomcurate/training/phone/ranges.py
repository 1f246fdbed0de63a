"""From a float32 LiteRT file to an int8 one, with ranges that rare values do not stretch.

An int8 value is one of 256 steps between two ends. The usual calibration puts the ends at the smallest and the largest
value that any photo gave, so that one photo's glare makes all steps coarse. Here one value in ten thousand is left
outside at either end and rounded to it (percentile calibration; Wu et al. 2020, Integer Quantization for Deep Learning
Inference, https://arxiv.org/abs/2004.09602).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shroomcurate.backbone import load_keras, silent_stderr
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Photos = NDArray[np.uint8]

#: Share of a tensor's values, over all photos, that may lie beyond either end.
OUTSIDE = 1e-4


def to_int8(floating: bytes, calibration: Photos, progress: Progress) -> bytes:
    """Return a LiteRT file with int8 weights and activations, which takes uint8 and gives float32.

    Weights have a scale for each output channel, activations one for each tensor. An operation without an int8 kernel
    stays float32.

    Parameters
    ----------
    floating
        A LiteRT file that takes a float32 photo, ``(1, height, width, 3)``, 0..255.
    calibration
        Photos like those that it will see, ``(photos, height, width, 3)``.
    """
    import numpy as np

    load_keras()
    with silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tensors which are kept need memory
        import tensorflow as tf
        from ai_edge_litert.tools import flatbuffer_utils
        from tensorflow.lite.python.convert import mlir_quantize

        model = flatbuffer_utils.read_model_from_bytearray(bytearray(floating))
        graph = model.subgraphs[0]
        computed = [index for operator in graph.operators for index in operator.outputs]
        ends = {graph.inputs[0]: (0.0, 255.0), **_ends(floating, calibration, computed, progress)}
        for index, (low, high) in ends.items():
            quantization = flatbuffer_utils.schema_fb.QuantizationParametersT()
            quantization.min, quantization.max = np.array([low], np.float32), np.array([high], np.float32)
            graph.tensors[index].quantization = quantization
        ranged = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
        return bytes(mlir_quantize(ranged, input_data_type=tf.uint8, output_data_type=tf.float32))


def _ends(
    floating: bytes, calibration: Photos, tensors: Iterable[int], progress: Progress
) -> dict[int, tuple[float, float]]:
    """Return the ends of each of these tensors that holds floats."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=floating,
        experimental_preserve_all_tensors=True,
        # XNNPACK would compute several operations at once and keep what is between them to itself.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    photo = interpreter.get_input_details()[0]["index"]
    sizes = {each["index"]: each["shape"].prod() for each in interpreter.get_tensor_details() if _is_float(each)}
    counts = {index: 1 + int(OUTSIDE * sizes[index] * len(calibration)) for index in tensors if index in sizes}
    highest = {index: np.empty(0, np.float32) for index in counts}
    lowest = dict(highest)
    for number, pixels in enumerate(calibration):
        interpreter.set_tensor(photo, pixels[None].astype(np.float32))
        interpreter.invoke()
        for index, count in counts.items():
            values = interpreter.get_tensor(index).ravel()
            highest[index] = largest(highest[index], values, count)
            lowest[index] = largest(lowest[index], -values, count)
        progress(number + 1, len(calibration), "calibrate")
    # Zero must be among the steps: borders are padded with it. A tensor of nothing but zeros needs a width, too.
    return {i: (min(-lowest[i].min(), 0.0), max(highest[i].min(), 1e-6)) for i in counts}


def _is_float(tensor: dict[str, Any]) -> bool:
    import numpy as np

    return bool(tensor["dtype"] == np.float32)


def largest(before: Floats, values: Floats, count: int) -> Floats:
    """Return the largest values of two arrays, so many at most; `before` holds no more than that."""
    import numpy as np

    if len(before) == count:
        values = values[values > before.min()]  # after the first photos, that is hardly any
    both = np.concatenate([before, values])
    return both if len(both) <= count else np.partition(both, -count)[-count:]
