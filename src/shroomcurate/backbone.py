"""Building networks, and where their ImageNet weights come from.

Shared by embedding and training. The only place that loads Keras, so that TensorFlow is silent everywhere.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.architectures import BACKBONES, INPUT_PIXELS, Backbone
from shroomcurate.errors import WeightsMissing

if TYPE_CHECKING:
    import keras

WEIGHTS_VARIABLE = "SHROOMCURATE_WEIGHTS"

#: Seconds without a byte after which Keras' download is given up. Keras itself would wait for ever.
DOWNLOAD_TIMEOUT = 20.0

_HINT = (
    f"Name a file or a folder of weights with --weights PATH (or {WEIGHTS_VARIABLE}), "
    "or do without them: --embedder classic"
)


def find_weights(name: str, explicit: Path | None = None) -> Path:
    """Return the file of a backbone's weights without a head.

    The first of: `explicit`, the environment variable ``SHROOMCURATE_WEIGHTS``, Keras' cache, Keras' download. One
    that is named must be right: a wrong name does not fall through to the next.

    Parameters
    ----------
    name
        A key of :data:`shroomcurate.architectures.BACKBONES`.
    explicit
        A file, or a folder that holds one of the backbone's known file names.

    Raises
    ------
    WeightsMissing
        What was tried, and both ways out.
    """
    return weights_here(name, explicit) or _kerass_own(BACKBONES[name], BACKBONES[name].keras_file)


def weights_here(name: str, explicit: Path | None = None) -> Path | None:
    """Return the file that :func:`find_weights` would return without a download; None where it would download.

    Raises
    ------
    WeightsMissing
        A file or folder that is named is not right.
    """
    backbone = BACKBONES[name]
    if explicit is not None:
        return _named(backbone, explicit, "--weights")
    from_environment = os.environ.get(WEIGHTS_VARIABLE)
    if from_environment:
        return _named(backbone, Path(from_environment), WEIGHTS_VARIABLE)
    cached = _cached(backbone.keras_file)
    return cached if cached.is_file() and _is_whole_hdf5(cached) else None


def find_head(name: str, weights: Path) -> Path | None:
    """Return the file of the same network with ImageNet's head, or None where there is none.

    It lies beside the weights; only to weights that Keras downloaded, its download of the head is added.

    Parameters
    ----------
    name
        A key of :data:`shroomcurate.architectures.BACKBONES`.
    weights
        From :func:`find_weights`.
    """
    backbone = BACKBONES[name]
    if (here := head_here(name, weights)) or backbone.keras_head_file is None:
        return here
    if weights != _cached(backbone.keras_file):
        return None
    with suppress(WeightsMissing):  # the photos can be described without it
        return _kerass_own(backbone, backbone.keras_head_file)
    return None


def head_here(name: str, weights: Path) -> Path | None:
    """Return the file with ImageNet's head that lies beside the weights; None where there is none.

    Raises
    ------
    WeightsMissing
        There is one, and it is broken.
    """
    for known in BACKBONES[name].known_head_files:
        file = weights.with_name(known)
        if _is_whole_hdf5(file):
            return file
        if file.exists() and file != _cached(known):  # there it is a killed download, which begins again
            raise WeightsMissing(f"{file} is not a whole HDF5 file of weights.", "Delete it, or put a whole one there.")
    return None


def _cached(file: str) -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models" / file


def _kerass_own(backbone: Backbone, file: str) -> Path:
    """Return a file of Keras' own, from its cache or its download."""
    cached = _cached(file)
    if cached.is_file() and _is_whole_hdf5(cached):  # a killed download leaves a truncated file
        return cached
    return _download(backbone, cached)


def build_backbone(name: str, weights: Path) -> keras.Model:
    """Return a network without its head, with these weights.

    Parameters
    ----------
    name
        A key of :data:`shroomcurate.architectures.BACKBONES`.
    weights
        A file from :func:`find_weights`.

    Returns
    -------
    keras.Model
        Input ``(batch, 224, 224, 3)``, RGB values 0..255 as float (the scaling is inside); output
        ``(batch, features)``.

    Raises
    ------
    WeightsMissing
        The file does not hold this network's weights.
    """
    model = empty_backbone(name)
    _load(model, weights, f"{BACKBONES[name].title} weights without a head")
    return model


def build_head(name: str, weights: Path) -> keras.Model:
    """Return the head of a network: from its vector to the probabilities of ImageNet's classes.

    Parameters
    ----------
    name
        A key of :data:`shroomcurate.architectures.BACKBONES`.
    weights
        A file from :func:`find_head`.

    Returns
    -------
    keras.Model
        Input ``(batch, features)``, output ``(batch, 1000)``, or 1001 with the background first.

    Raises
    ------
    WeightsMissing
        The file does not hold this network's weights.
    """
    keras = load_keras()
    title = f"{BACKBONES[name].title} weights with ImageNet's head"
    whole = _build(name, classes=1000)
    try:
        _load(whole, weights, title)
    except WeightsMissing:
        whole = _build(name, classes=1001)
        _load(whole, weights, title)
    pooled = max(i for i, layer in enumerate(whole.layers) if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    inputs = keras.Input((BACKBONES[name].features,))
    outputs = keras.layers.Reshape(whole.layers[pooled].output.shape[1:])(inputs)
    for layer in whole.layers[pooled + 1 :]:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def _load(model: keras.Model, weights: Path, title: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", module=r"keras\.src\.saving")  # 'layers retain their fresh weights'
            model.load_weights(weights)
    except (OSError, ValueError, KeyError, UserWarning) as error:  # what Keras and h5py raise on other files
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise WeightsMissing(f"{weights} does not hold {title}: {why}", _HINT) from error


def empty_backbone(name: str) -> keras.Model:
    """Return a network without its head, its weights at random."""
    return _build(name, include_top=False, pooling="avg")


def _build(name: str, **options: Any) -> keras.Model:
    keras = load_keras()
    builder = getattr(keras.applications, BACKBONES[name].builder)
    shape = (INPUT_PIXELS, INPUT_PIXELS, 3)
    if not BACKBONES[name].scales:
        options["input_tensor"] = keras.layers.Rescaling(1 / 127.5, offset=-1)(keras.Input(shape))
    return builder(input_shape=shape, weights=None, **options)


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


def load_tensorflow() -> Any:
    """Import TensorFlow without Keras and return it; it prints nothing, see :func:`load_keras`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_stderr():
        import tensorflow
    return tensorflow


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


def _named(backbone: Backbone, path: Path, by: str) -> Path:
    if path.is_dir():
        for name in backbone.known_files:
            if (path / name).is_file():
                return _named(backbone, path / name, by)
        names = " nor ".join(backbone.known_files)
        raise WeightsMissing(f"The folder {path}, named by {by}, holds neither {names}.", _HINT)
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


def _download(backbone: Backbone, cached: Path) -> Path:
    """Let Keras fetch and verify its own weights, as ``weights="imagenet"`` does."""
    keras = load_keras()
    theirs = importlib.import_module(f"keras.src.applications.{backbone.keras_module}")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    with suppress(OSError):  # where it cannot be made, Keras itself turns to the temporary folder
        cached.parent.mkdir(parents=True, exist_ok=True)
    try:
        address = getattr(theirs, backbone.keras_address)
        hashes = getattr(theirs, "WEIGHTS_HASHES", {}).get(backbone.keras_hash, (None, backbone.keras_hash))
        return Path(
            keras.utils.get_file(
                cached.name,
                address if address.endswith(cached.name) else address + cached.name,
                cache_dir=str(cached.parent.parent),
                cache_subdir="models",
                file_hash=hashes[cached.name == backbone.keras_file],
            )
        )
    except Exception as error:  # Keras itself raises a bare Exception here
        raise WeightsMissing(
            f"No {backbone.title} weights: no --weights, no {WEIGHTS_VARIABLE}, no {cached}, "
            f"and the download failed: {error}",
            _HINT,
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
