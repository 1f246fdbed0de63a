"""MobileNetV3-Small with ImageNet weights: where the weights come from, and the network they go into.

Shared by embedding and training. The only place that imports Keras, so that TensorFlow is silent everywhere.
Architecture: Howard et al. 2019, Searching for MobileNetV3, https://arxiv.org/abs/1905.02244.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.errors import WeightsMissing

if TYPE_CHECKING:
    import keras

INPUT_PIXELS = 224
"""Width and height of the network's input."""

FEATURES = 576
"""Length of the vector the network gives for a photo."""

WEIGHTS_VARIABLE = "SHROOMCURATE_WEIGHTS"

#: Keras' name for its own download, then the name of a file that Keras 3 saves.
KERAS_FILE = "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
KNOWN_FILES = ("mobilenet_v3_small_imagenet_notop.weights.h5", KERAS_FILE)

#: Seconds without a byte after which Keras' download is given up. Keras itself would wait for ever.
DOWNLOAD_TIMEOUT = 20.0

_HINT = (
    f"Name a file or a folder of weights with --weights PATH (or {WEIGHTS_VARIABLE}), "
    "or do without them: --embedder classic"
)


def find_weights(explicit: Path | None = None) -> Path:
    """Return the file of MobileNetV3-Small weights without a head.

    The first of: `explicit`, the environment variable ``SHROOMCURATE_WEIGHTS``, Keras' cache, Keras' download. One
    that is named must be right: a wrong name does not fall through to the next.

    Parameters
    ----------
    explicit
        A file, or a folder that holds one of the known file names.

    Raises
    ------
    WeightsMissing
        What was tried, and both ways out.
    """
    if explicit is not None:
        return _named(explicit, "--weights")
    from_environment = os.environ.get(WEIGHTS_VARIABLE)
    if from_environment:
        return _named(Path(from_environment), WEIGHTS_VARIABLE)
    home = os.environ.get("KERAS_HOME")
    cached = (Path(home) if home else Path.home() / ".keras") / "models" / KERAS_FILE
    if cached.is_file() and _is_whole_hdf5(cached):  # a killed download leaves a truncated file
        return cached
    return _download(cached)


def build_backbone(weights: Path) -> keras.Model:
    """Return MobileNetV3-Small without its head.

    Parameters
    ----------
    weights
        A file from :func:`find_weights`.

    Returns
    -------
    keras.Model
        Input ``(batch, 224, 224, 3)``, RGB values 0..255 as float (the scaling is inside); output ``(batch, 576)``,
        the average over places of the last feature map.

    Raises
    ------
    WeightsMissing
        The file does not hold this network's weights.
    """
    keras = load_keras()
    model = keras.applications.MobileNetV3Small(
        input_shape=(INPUT_PIXELS, INPUT_PIXELS, 3), include_top=False, pooling="avg", weights=None
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", module=r"keras\.src\.saving")  # 'layers retain their fresh weights'
            model.load_weights(weights)
    except (OSError, ValueError, KeyError, UserWarning) as error:  # what Keras and h5py raise on other files
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise WeightsMissing(
            f"{weights} does not hold MobileNetV3-Small weights without a head: {why}", _HINT
        ) from error
    return model


def load_keras() -> Any:
    """Import Keras on its TensorFlow backend and return it; neither prints anything.

    TensorFlow's native code writes to the process's standard error before its log level counts, so that is turned
    away during the import, and shown after all when the import fails.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_stderr():
        import keras

    keras.utils.disable_interactive_logging()  # Keras prints to standard output by default
    return keras


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Turn away what native code writes to standard error inside the block; show it when the block fails."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            os.write(before, sink.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


def _named(path: Path, by: str) -> Path:
    if path.is_dir():
        for name in KNOWN_FILES:
            if (path / name).is_file():
                return _named(path / name, by)
        raise WeightsMissing(f"The folder {path}, named by {by}, holds neither {' nor '.join(KNOWN_FILES)}.", _HINT)
    if not path.is_file():
        raise WeightsMissing(f"There is no {path}, named by {by}.", _HINT)
    if not _is_whole_hdf5(path):
        raise WeightsMissing(f"{path}, named by {by}, is not a whole HDF5 file of weights.", _HINT)
    return path


def _is_whole_hdf5(path: Path) -> bool:
    """Tell whether a file opens as HDF5, which knows its own length. Much cheaper than importing Keras."""
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r"):
            return True
    except OSError:
        return False


def _download(cached: Path) -> Path:
    """Let Keras fetch and verify its own weights, as ``weights="imagenet"`` does."""
    keras = load_keras()
    from keras.src.applications import mobilenet_v3  # where Keras keeps the address and the hash it verifies

    address = mobilenet_v3.BASE_WEIGHT_PATH + KERAS_FILE
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    with suppress(OSError):  # where it cannot be made, Keras itself turns to the temporary folder
        cached.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Path(
            keras.utils.get_file(
                KERAS_FILE,
                address,
                cache_dir=str(cached.parent.parent),
                cache_subdir="models",
                file_hash=mobilenet_v3.WEIGHTS_HASHES["small_224_1.0_float"][1],
            )
        )
    except Exception as error:  # Keras itself raises a bare Exception here
        raise WeightsMissing(
            f"No MobileNetV3-Small weights: no --weights, no {WEIGHTS_VARIABLE}, no {cached}, "
            f"and the download failed: {error}",
            _HINT,
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
