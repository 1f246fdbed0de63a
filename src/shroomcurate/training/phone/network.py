"""From the trained classifier to the network that runs on a phone: the same numbers, without what only trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shroomcurate.backbone import load_keras
from shroomcurate.litert import converted

if TYPE_CHECKING:
    import keras

Call = Callable[..., Any]
"""``call(layer, *inputs, **options)``: what stands for a layer's output in a copy."""


def plain_network(model: keras.Model) -> keras.Model:
    """Return a copy of a classifier for inference, in float32.

    Augmentations and dropout are left out. Hard-swish is written as what it is, ``relu6(x + 3) * x / 6``: LiteRT's
    operation of that name has no int8 kernel in XNNPACK, and each of MobileNetV3's 18 would break the network in two.

    Parameters
    ----------
    model
        Input ``(batch, height, width, 3)``, RGB 0..255; output ``(batch, classes)``, logits. Models inside it are
        copied as well.
    """
    return copied(model, in_inference)


def in_inference(layer: Any, *inputs: Any, **options: Any) -> Any:
    """Return what a layer gives outside of training; see :func:`plain_network`."""
    if only_trains(layer):
        return inputs[0]
    if is_hard_swish(layer):
        return load_keras().layers.Lambda(_hard_swish, name=layer.name)(inputs[0])
    return layer(*inputs, **options)


def _hard_swish(values: Any) -> Any:
    return load_keras().ops.relu6(values + 3.0) * (values * (1 / 6))


def only_trains(layer: Any) -> bool:
    """Tell whether a layer does nothing outside of training."""
    layers = load_keras().layers
    return is_augmentation(layer) or isinstance(layer, layers.Dropout | layers.GaussianNoise)


def is_augmentation(layer: Any) -> bool:
    """Tell whether a layer is one of Keras' random changes of photos, which are all named so."""
    return type(layer).__name__.startswith("Random")


def is_hard_swish(layer: Any) -> bool:
    """Tell whether a layer is the activation of MobileNetV3."""
    keras = load_keras()
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.hard_swish


def copied(model: keras.Model, call: Call) -> keras.Model:
    """Return a copy of a model and of the models inside it, with the same weights, in float32, its layers called so."""
    copy = _without_weights(model, call)
    copy_weights(model, copy)
    return copy


def _without_weights(model: keras.Model, call: Call) -> keras.Model:
    keras = load_keras()

    def make(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return _without_weights(layer, call)
        if not isinstance(layer, keras.layers.Layer):  # an operation such as +, which has no weights
            return layer
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})  # trained in float16 on a GPU

    functional = keras.Model(model.inputs, model.outputs, name=model.name)  # of a Sequential model, too
    return keras.models.clone_model(functional, clone_function=make, call_function=call)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of layers that have the same name; the order of layers may differ."""
    keras = load_keras()
    theirs = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if isinstance(layer, keras.Model):
            copy_weights(theirs[layer.name], layer)
        elif layer.weights:
            layer.set_weights(theirs[layer.name].get_weights())


def to_litert(network: keras.Model, *, uint8: bool = True, half: bool = False) -> bytes:
    """Return a network as a LiteRT file for one photo at a time.

    Parameters
    ----------
    network
        From :func:`plain_network`.
    uint8
        Whether the file takes uint8; else it takes float32.
    half
        Whether weights are stored as float16; they are computed with as float32 on processors.
    """
    keras = load_keras()
    shape = (1, *network.input_shape[1:])
    return converted(
        lambda photo: network(keras.ops.cast(photo, "float32"), training=False),
        shape,
        "uint8" if uint8 else "float32",
        half=half,
    )
