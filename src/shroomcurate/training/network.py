"""The networks that are trained: one that knows ImageNet with a new head, or a small one that knows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.architectures import BACKBONES, INPUT_PIXELS
from shroomcurate.backbone import build_backbone, load_keras
from shroomcurate.training.augmentation import augmentation

if TYPE_CHECKING:
    import keras

    from shroomcurate.training.options import TrainOptions

#: Width and height of the photos that the network from scratch sees: large enough for gills, and half the work of 224.
SCRATCH_PIXELS = 150


class Network(NamedTuple):
    """A classifier and its parts. Layers are shared: what one learns the others know."""

    classifier: keras.Model
    """RGB photos 0..255, ``(batch, pixels, pixels, 3)``, to logits, ``(batch, classes)``."""
    learner: keras.Model
    """The same behind the augmentation, which acts in training only."""
    features: keras.Model
    """The same photos to what the head sees, ``(batch, features)``."""
    head: keras.Model
    """From there to logits."""


def pixels_of(mode: str) -> int:
    """Return the width and height of the photos that a mode's network takes."""
    return SCRATCH_PIXELS if mode == "scratch" else INPUT_PIXELS


def build_network(options: TrainOptions, classes: int, weights: Path | None, seed: int) -> Network:
    """Return a network that has not seen these classes.

    Parameters
    ----------
    weights
        Of mode ``finetune``: a file from :func:`shroomcurate.backbone.find_weights`.
    """
    import keras

    if options.mode == "scratch" or weights is None:
        features = scratch_network()
    else:
        features = build_backbone(options.architecture, weights)
    seen = keras.Input(features.output_shape[1:], name="features")
    flow = keras.layers.Dropout(options.dropout, name="dropout")(seen)
    head = keras.Model(seen, keras.layers.Dense(classes, name="logits", dtype="float32")(flow), name="head")
    photos = keras.Input(features.input_shape[1:], name="photo")
    classifier = keras.Model(photos, head(features(photos)), name="shroomcurate_baseline")
    changed = augmentation(options.augmentation, seed)(photos) if options.augmentation else photos
    learner = keras.Model(photos, head(features(changed)), name="learner")
    return Network(classifier, learner, features, head)


def scratch_network() -> keras.Model:
    """Return a small residual network with dilated convolutions, its weights at random.

    Takes ``(batch, 150, 150, 3)``, gives ``(batch, 192)``; 0.9 million weights. Residual blocks as in He et al. 2016,
    https://arxiv.org/abs/1603.05027; dilation sees far without losing place, Yu and Koltun 2016,
    https://arxiv.org/abs/1511.07122.
    """
    import keras

    layers = keras.layers
    photos = keras.Input((SCRATCH_PIXELS, SCRATCH_PIXELS, 3))
    flow = layers.Rescaling(1 / 127.5, offset=-1)(photos)
    flow = layers.Conv2D(32, 5, strides=2, padding="same", use_bias=False)(flow)
    for width, stride, dilation in ((48, 2, 1), (96, 2, 1), (96, 1, 2), (192, 2, 1), (192, 1, 2)):
        flow = _residual(flow, width, stride, dilation)
        flow = layers.SpatialDropout2D(0.1)(flow)
    flow = layers.Activation("relu")(layers.BatchNormalization()(flow))
    return keras.Model(photos, layers.GlobalAveragePooling2D()(flow), name="scratch")


def _residual(flow: Any, width: int, stride: int, dilation: int) -> Any:
    import keras

    layers = keras.layers
    seen = layers.Activation("relu")(layers.BatchNormalization()(flow))
    other = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(seen)
    other = layers.Activation("relu")(layers.BatchNormalization()(other))
    other = layers.Conv2D(width, 3, dilation_rate=dilation, padding="same", use_bias=False)(other)
    if stride != 1 or flow.shape[-1] != width:
        flow = layers.Conv2D(width, 1, strides=stride, use_bias=False)(seen)
    return layers.Add()([flow, other])


def let_learn(network: keras.Model, unfreeze_from: str | None) -> None:
    """Let the layers from this one on learn, all but batch normalisation; None: all layers, that too.

    Batch normalisation keeps ImageNet's statistics, as Keras' guide to transfer learning says. Only one that is not
    trainable stays in inference mode: Keras 3 lets the mode of the outer model overrule a ``training=False`` given to
    an inner one.
    """
    import keras

    learns = unfreeze_from is None
    network.trainable = True
    for layer in network.layers:
        learns = learns or layer.name == unfreeze_from
        layer.trainable = learns and (unfreeze_from is None or not isinstance(layer, keras.layers.BatchNormalization))


def first_learning(architecture: str) -> tuple[str, str]:
    """Return the first layer of an architecture's last blocks, and of what is trained after them."""
    backbone = BACKBONES[architecture]
    return backbone.last_blocks, backbone.deeper


@contextmanager
def repeatable_keras(seed: int) -> Iterator[Any]:
    """Give Keras with seeds set and deterministic operations, and with mixed precision where there is a GPU.

    Deterministic operations cannot be switched off again in the same process; the rest is as before afterwards.
    """
    keras = load_keras()
    import tensorflow as tf

    keras.backend.clear_session()  # names of layers start afresh, so that a second model is saved as the first was
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with suppress(RuntimeError):  # this process uses the GPU already: it keeps its way
            tf.config.experimental.set_memory_growth(gpu, True)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if gpus else "float32")
    try:
        yield keras
    finally:
        keras.config.set_dtype_policy(before)
