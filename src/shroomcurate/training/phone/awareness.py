"""Fine-tuning a network under the rounding of int8, so that its weights get used to it.

Every forward step computes with weights and inputs of layers rounded as int8 would round them, and the gradient passes
through as if they were not (straight-through; Jacob et al. 2018, Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference, https://arxiv.org/abs/1712.05877). What is learned is to say what the
network said before: its own probabilities are the target (distillation), so that its certainty stays what it was.
Batch normalisation stays in inference mode; then rounding a kernel for each output channel and rounding it after
normalisation was folded into it are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, Any

from shroomcurate.backbone import load_keras
from shroomcurate.progress import Progress
from shroomcurate.training.phone.network import (
    copied,
    copy_weights,
    in_inference,
    is_augmentation,
    is_hard_swish,
    plain_network,
)

if TYPE_CHECKING:
    import keras

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def fine_tuned(
    model: keras.Model,
    training: Iterable[tuple[Any, Any]],
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
    progress: Progress,
) -> keras.Model:
    """Return a copy of a classifier, from :func:`plain_network`, whose weights are used to int8.

    Parameters
    ----------
    training
        Batches of float32 photos 0..255 and class numbers; iterated once an epoch. The class numbers are not used.
    epochs
        How often.
    learning_rate
        Of Adam, at the start; it falls to nothing along a cosine.
    """
    import tensorflow as tf

    keras = load_keras()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    teacher, student = plain_network(model), copied(model, _in_int8)
    student.trainable = True
    augment = _augmentations(model)
    learned = [variable.value for variable in student.trainable_variables]
    steps = epochs * _length(training)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, max(steps, 1)))
    optimizer.build(student.trainable_variables)

    def step(photos: Any) -> None:
        target = tf.nn.softmax(teacher(photos, training=False))
        with tf.GradientTape() as tape:
            rounded = [_rounded_weights(variable) for variable in student.trainable_variables]
            fixed = [_rounded_weights(variable) for variable in student.non_trainable_variables]
            logits, _ = student.stateless_call(rounded, fixed, photos, training=False)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        optimizer.apply(tape.gradient(loss, learned), student.trainable_variables)

    compiled = tf.function(step)
    done = 0
    for _ in range(epochs):
        for photos, _ in training:
            compiled(augment(photos))
            done += 1
            progress(done, steps, "train for int8")
    tuned = plain_network(model)
    copy_weights(student, tuned)
    return tuned


def _length(training: Iterable[Any]) -> int:
    return len(training) if isinstance(training, Sized) else sum(1 for _ in training)


def _augmentations(model: keras.Model) -> Any:
    """Return the classifier's augmentations alone, from their seeds on."""
    keras = load_keras()
    layers = [type(layer).from_config(layer.get_config()) for layer in model.layers if is_augmentation(layer)]

    def augment(photos: Any) -> Any:
        for layer in layers:
            photos = layer(photos, training=True)
        return keras.ops.cast(photos, "float32")

    return augment


def _in_int8(layer: Any, *inputs: Any, **options: Any) -> Any:
    """Return what a layer gives for inputs rounded to int8, where it has an int8 kernel."""
    keras = load_keras()
    layers = keras.layers
    multiplies = isinstance(
        layer,
        layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D | layers.Dense | layers.Multiply | layers.Add
        | layers.GlobalAveragePooling2D,
    )  # fmt: skip
    if multiplies or is_hard_swish(layer):
        inputs = (layers.Lambda(_rounded, name=f"{layer.name}_in_int8")(inputs[0]), *inputs[1:])
    return in_inference(layer, *inputs, **options)


def _rounded(inputs: Any) -> Any:
    """Return a tensor, or each of a list, rounded to 256 steps between its batch's extremes."""
    import tensorflow as tf

    if isinstance(inputs, list | tuple):
        return [_rounded(each) for each in inputs]
    low, high = tf.minimum(tf.reduce_min(inputs), 0.0), tf.maximum(tf.reduce_max(inputs), 1e-6)
    rounded = tf.quantization.fake_quant_with_min_max_vars(
        tf.stop_gradient(inputs), tf.stop_gradient(low), tf.stop_gradient(high)
    )
    return _straight_through(inputs, rounded)


def _straight_through(values: Any, rounded: Any) -> Any:
    """Return the rounded values; the gradient is that of the others.

    Not the gradient of TensorFlow's own rounding, which has no deterministic kernel on a GPU: there it is refused.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def pick(values: Any) -> Any:  # noqa: ARG001  # only its gradient counts
        return tf.identity(rounded), lambda upstream: upstream

    return pick(values)


def _rounded_weights(variable: Any) -> Any:
    """Return a kernel rounded as int8 with a scale for each output channel; other variables as they are."""
    import tensorflow as tf

    values = variable.value
    if variable.name not in _KERNELS:
        return tf.convert_to_tensor(values)
    depthwise = variable.name == "depthwise_kernel" or (values.shape.rank == 4 and values.shape[-1] == 1)
    flat = tf.reshape(values, (-1, values.shape[-2] * values.shape[-1] if depthwise else values.shape[-1]))
    largest = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(flat), axis=0), 1e-9))
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        tf.stop_gradient(flat), -largest, largest, narrow_range=True
    )
    return tf.reshape(_straight_through(flat, rounded), values.shape)
