"""From a decoded photo to its vector: LiteRT on CPUs, TensorFlow on a GPU.

LiteRT starts in a tenth of a second where TensorFlow needs many, and needs a fraction of its processor time a photo.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.architectures import INPUT_PIXELS
from shroomcurate.backbone import build_backbone, build_head, load_keras, silent_stderr
from shroomcurate.dataset import file_hash, write_bytes
from shroomcurate.home import home
from shroomcurate.litert import converted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from shroomcurate.ray_cluster import Cluster

#: Shorter side to which a photo is scaled before the centre is cut out, as in the usual ImageNet evaluation.
#: Measured against no margin (224) and against squeezing the whole photo: all three find noise equally well.
SHORTER_SIDE = 256

#: Photos that a GPU takes at a time.
BATCH = 64

#: Photos that are looked at together: with 64 a photo costs 2 % less, and a run ends less evenly.
_BLOCK = 32

#: The same of a large network, for each of its copies: they take a second, and somebody watches.
_LARGE_BLOCK = 8

#: Photos below which a GPU is not worth TensorFlow's start: the default network needs seconds for so many on two cores.
_WORTH_A_GPU = 1000

#: Bytes of weights that all interpreters together may hold. Each packs its own copy, beside that of the file.
_PACKED_BYTES = 200_000_000

#: Processes at most: each takes some 60 MB of its own.
_MOST_WORKERS = 16

#: Where drivers of NVIDIA, of AMD and of Windows' Linux put their cards.
_GPU_DEVICES = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")


class Engine(NamedTuple):
    """How vectors come about: each process that looks at photos has the network, or `together` has it for all."""

    name: str
    """A key of :data:`shroomcurate.backbone.BACKBONES`, or ``classic``."""
    model: Path | None = None
    """The LiteRT file of which every process makes vectors by itself."""
    together: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None
    """What the network wants of a block, shape (photos, 224, 224, 3) -> the vectors, shape (photos, features)."""
    head: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    """Vectors, shape (photos, features) -> the probabilities of ImageNet's classes, shape (photos, classes); None
    where its weights are not there."""
    workers: int = 1
    """Processes that keep all cores busy."""
    block: int = 1
    """Photos that are looked at together."""
    cluster: Cluster | None = None
    """Whose nodes look, instead of this machine."""
    threads: int = 1
    """Cores that a node takes for a block."""


@contextmanager
def open_engine(name: str, weights: Path | None, head: Path | None, photos: int) -> Iterator[Engine]:
    """Give the engine for so many photos.

    Parameters
    ----------
    name
        A key of :data:`shroomcurate.architectures.BACKBONES`, or ``classic``.
    weights
        From :func:`shroomcurate.backbone.find_weights`; None for ``classic``.
    head
        From :func:`shroomcurate.backbone.find_head`; None where there is none.
    """
    workers = min(cores(), _MOST_WORKERS)
    block = min(_BLOCK, max(1, photos // (4 * workers)))  # of a few photos no process shall get more than the others
    if weights is None:
        yield Engine(name, workers=workers, block=block)
        return
    classify = litert_head(head_model(name, head)) if head else None
    if photos >= _WORTH_A_GPU and has_gpu_device() and (on_gpu := _gpu(name, weights)) is not None:
        yield Engine(name, None, on_gpu, classify, workers, BATCH)
        return
    model = litert_model(name, weights)
    interpreters, threads = share_cores(model.stat().st_size, cores())
    if threads == 1:
        yield Engine(name, model, None, classify, workers, block)
        return
    infer = litert(model, interpreters, threads)
    with ThreadPoolExecutor(interpreters) as pool:
        block = min(block, interpreters * _LARGE_BLOCK)
        yield Engine(name, None, lambda inputs: _stacked(pool.map(infer, inputs)), classify, workers, block)


def network_block(threads: int) -> int:
    """Return how many photos are looked at together by a network that takes so many cores."""
    return _BLOCK if threads == 1 else _LARGE_BLOCK


def _stacked(vectors: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    import numpy as np

    return np.stack(list(vectors))


def network_input(photo: Image) -> NDArray[np.uint8]:
    """Return the centre of a photo as the network wants it: shape (224, 224, 3), RGB, 0..255.

    The shorter side becomes 256 pixels, then the middle 224 x 224 are cut out; done in one resampling. The
    filter is Pillow's bilinear one, to within two levels, in less than half of the time.
    """
    import numpy as np
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
    from PIL import Image

    side = min(photo.size) * INPUT_PIXELS / SHORTER_SIDE
    middle = CropBox((photo.width - side) / 2, (photo.height - side) / 2, side, side)
    square = Image.new("RGB", (INPUT_PIXELS, INPUT_PIXELS))
    how = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear), crop_box=middle, use_alpha=False)
    Resizer().resize_pil(photo, square, how)
    return np.asarray(square)


def cores() -> int:
    """Return the processor cores that this process may use."""
    # An older Python and other systems than Linux do not tell which are ours.
    mine = getattr(os, "sched_getaffinity", None)
    return len(mine(0)) if mine else os.cpu_count() or 1


# -- LiteRT ----------------------------------------------------------------------------------------------------


def litert_model(name: str, weights: Path) -> Path:
    """Return a backbone with these weights as a LiteRT file, converting it the first time on this machine."""
    return _converted(f"{name}-{file_hash(weights)}", lambda: build_backbone(name, weights))


def head_model(name: str, weights: Path) -> Path:
    """Return a backbone's head, from vector to probabilities, as a LiteRT file, likewise."""
    return _converted(f"{name}-head-{file_hash(weights)}", lambda: build_head(name, weights))


def _converted(stem: str, build: Callable[[], Any]) -> Path:
    """Return a model's LiteRT file in the user's data folder (``SHROOMCURATE_HOME``), named after its weights."""
    target = home() / "models" / f"{stem}.tflite"
    if not target.exists():
        model = build()
        own = target.with_name(f"{target.name}.{os.getpid()}")  # two processes may convert at the same time
        write_bytes(own, converted(lambda photo: model(photo, training=False), model.input_shape))
        own.replace(target)
    return target


def litert(
    model: Path | bytes, interpreters: int = 1, threads: int = 1
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Return a function from a model's input to its output, which as many threads as interpreters may call.

    Each interpreter takes one photo at a time: batches gained nothing in processor time, and so no vector depends on
    its batch.
    """
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(interpreters):
        interpreter = _interpreter(model, threads)
        idle.put(interpreter)
    to, result = _ends(interpreter)

    def infer(values: NDArray[Any]) -> NDArray[np.float32]:
        interpreter = idle.get()
        try:
            interpreter.tensor(to)()[0] = values  # converted to float32 where it goes
            interpreter.invoke()
            output: NDArray[np.float32] = interpreter.get_tensor(result)[0]
            return output
        finally:
            idle.put(interpreter)

    return infer


def litert_head(model: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from vectors to the probabilities of ImageNet's classes, for one thread.

    A block of photos at a time: its weights, which are more than the network's, are read once for all.
    """
    interpreter = _interpreter(model, 1)
    to, result = _ends(interpreter)

    def classify(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if interpreter.get_input_details()[0]["shape"][0] != len(vectors):
            interpreter.resize_tensor_input(to, vectors.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(to, vectors)
        interpreter.invoke()
        probabilities: NDArray[np.float32] = interpreter.get_tensor(result)
        return probabilities

    return classify


def _interpreter(model: Path | bytes, threads: int) -> Any:
    with silent_stderr():
        from ai_edge_litert.interpreter import Interpreter

        given = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        interpreter = Interpreter(**given, num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter


def _ends(interpreter: Any) -> tuple[int, int]:
    """Return which tensors are a model's input and its output."""
    return interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]


def share_cores(weights_bytes: int, number: int) -> tuple[int, int]:
    """Return how many interpreters share the cores, and how many threads each has.

    An interpreter a core is fastest, since a small network's layers are too short for several threads. Of a large
    network a copy for each core would not fit into memory, and its layers are long enough.
    """
    interpreters = min(number, max(1, _PACKED_BYTES // max(weights_bytes, 1)))
    return interpreters, -(-number // interpreters)


# -- GPU -------------------------------------------------------------------------------------------------------


def has_gpu_device() -> bool:
    """Tell whether the system has a card, without TensorFlow, whose import takes many times as long as LiteRT's."""
    return any(Path(device).exists() for device in _GPU_DEVICES) or shutil.which("nvidia-smi") is not None


def _gpu(name: str, weights: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None:
    """Return what makes vectors on the GPU, or None where TensorFlow sees none or it has no room."""
    load_keras()
    with silent_stderr():
        import numpy as np
        import tensorflow as tf

        cards = tf.config.list_physical_devices("GPU")
        if not cards:
            return None
        try:
            for card in cards:  # others compute there too
                tf.config.experimental.set_memory_growth(card, enable=True)
            # Its ten bits of mantissa would move vectors by more than the 1e-3 that they may differ from LiteRT's.
            tf.config.experimental.enable_tensor_float_32_execution(False)
            model = build_backbone(name, weights)
            embed_in_batches(model, np.zeros((1, INPUT_PIXELS, INPUT_PIXELS, 3), np.uint8))
        except (tf.errors.OpError, RuntimeError):  # no memory left, or a driver that does not fit: there are CPUs
            return None
    return lambda pixels: embed_in_batches(model, pixels)


def embed_in_batches(model: Any, pixels: NDArray[np.uint8], batch: int = BATCH) -> NDArray[np.float32]:
    """Return the vectors of photos, computed by Keras wherever TensorFlow computes.

    Parameters
    ----------
    model
        A ``keras.Model`` from :func:`shroomcurate.backbone.build_backbone`.
    pixels
        Photos from :func:`network_input`, shape (photos, 224, 224, 3).
    batch
        Photos at a time. The last batch is filled up with black, so that only one shape is ever compiled.

    Returns
    -------
    ndarray of float32, shape (photos, features)
        Within 1e-3 of what LiteRT gives.
    """
    import numpy as np

    vectors = np.empty((len(pixels), model.output_shape[-1]), np.float32)
    inputs = np.zeros((batch, INPUT_PIXELS, INPUT_PIXELS, 3), np.float32)
    for start in range(0, len(pixels), batch):
        some = pixels[start : start + batch]
        inputs[: len(some)] = some
        vectors[start : start + batch] = model.predict_on_batch(inputs)[: len(some)]
    return vectors
