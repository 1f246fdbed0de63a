"""Training a network in stages: the head, then the last blocks, then deeper.

Follows Keras' guide to transfer learning (https://keras.io/guides/transfer_learning/): a new head on the frozen
network first, then more of it at a lower learning rate, recompiled for each stage.

The frozen network gives a photo the same features in every epoch, so the first stage computes them once and trains the
head on these, without augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shroomcurate.progress import Progress
from shroomcurate.training.epochs import (
    Record,
    Row,
    class_weights,
    load_optimizer,
    load_state,
    order,
    reseed,
    save_state,
)
from shroomcurate.training.network import Network, first_learning, let_learn
from shroomcurate.training.pixels import batches

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.options import TrainOptions

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]
    Photos = NDArray[np.uint8]

#: Called after each epoch with its figures, and with None at the end.
Tracker = Callable[[Row | None], None]

HEAD = "head"


@dataclass(frozen=True)
class Stage:
    """One call of ``fit``: which layers learn, for how many epochs at most, how fast."""

    name: str
    unfreeze_from: str | None
    """The first layer of the network that learns; None: all of it. Of the stage :data:`HEAD`: none of it."""
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Lesson:
    """What a network learns from."""

    photos: Photos
    truth: Ints
    """The class of each photo."""
    train: Ints
    """Rows to learn from."""
    val: Ints
    """Rows that tell when to stop."""
    classes: int


def stages(options: TrainOptions) -> list[Stage]:
    """Return the stages that the options ask for."""
    if options.mode == "scratch":
        return [Stage("network", None, options.scratch_epochs, options.scratch_learning_rate)]
    last_blocks, deeper = first_learning(options.architecture)
    wanted = [
        Stage(HEAD, "", options.head_epochs, options.head_learning_rate),
        Stage("last blocks", last_blocks, options.block_epochs, options.block_learning_rate),
        Stage("deeper", deeper, options.deep_epochs, options.deep_learning_rate),
    ]
    return [stage for stage in wanted if stage.epochs]


@dataclass(frozen=True)
class Course:
    """All that the stages of one training share."""

    network: Network
    lesson: Lesson
    options: TrainOptions
    seed: int
    record: Record
    progress: Progress
    trackers: Sequence[Tracker]

    def order(self, epoch: int) -> Ints:
        """Return the rows that an epoch shows."""
        return order(self.lesson.train, self.lesson.truth, self.options.balance, self.seed, epoch)

    @property
    def weight(self) -> Floats | None:
        """How much each class counts; None: all photos count alike."""
        if self.options.balance != "weights":
            return None
        return class_weights(self.lesson.truth[self.lesson.train], self.lesson.classes)


def fit(course: Course) -> None:
    """Train a network; the weights it ends with are those of the epoch with the least validation loss of all stages.

    Goes on after the last epoch in the record.
    """
    record, classifier = course.record, course.network.classifier
    for number, stage in enumerate(stages(course.options), start=1):
        if number <= record.stages_over:
            continue
        if record.best and not record.rows_of(number):
            load_state(classifier, record.best)
        (_fit_head if stage.name == HEAD else _fit_blocks)(course, stage, number)
    for tracker in course.trackers:
        tracker(None)
    if record.best:
        load_state(classifier, record.best)


def compiled(model: keras.Model, learning_rate: float) -> keras.Model:
    """Return the model, ready to learn classes from its logits at this rate."""
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )
    # A step that makes a variable while it is traced, as "accuracy" and Adam do, is traced again.
    model.optimizer.build(model.trainable_variables)
    return model


def _sooner_or_slower() -> list[keras.callbacks.Callback]:
    import keras

    return [
        keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.3),
        keras.callbacks.EarlyStopping(patience=4),
    ]


def _fit_head(course: Course, stage: Stage, number: int) -> None:
    """Train the head on features that are computed once, a row of them in memory a photo. A kill begins it anew."""
    import keras
    import numpy as np

    lesson, network, weight = course.lesson, course.network, course.weight
    features = _features(course, np.concatenate([lesson.train, lesson.val]))
    place = np.zeros(len(lesson.truth), np.int64)
    place[lesson.train], place[lesson.val] = (
        np.arange(len(lesson.train)),
        np.arange(len(lesson.val)) + len(lesson.train),
    )
    # Of the same layers, so that what is saved in the end holds no optimizer.
    head = compiled(keras.Model(network.head.inputs, network.head.outputs), stage.learning_rate)
    reseed(head, course.seed, 0)
    shown = course.order(0)
    history = head.fit(
        features[place[shown]],
        lesson.truth[shown],
        sample_weight=None if weight is None else weight[lesson.truth[shown]],
        validation_data=(features[place[lesson.val]], lesson.truth[lesson.val]),
        epochs=stage.epochs,
        batch_size=course.options.batch_size,
        callbacks=[_best_at_the_end(), *_sooner_or_slower()],
        verbose=0,
    ).history
    rows = [_row(number, i, {name: each[i] for name, each in history.items()}) for i in range(len(history["loss"]))]
    weights = course.record.weights_of(len(rows))
    save_state(network.classifier, weights)
    course.record.add(rows, over=True, weights=weights)
    for tracker in course.trackers:
        for row in rows:
            tracker(row)
    course.progress(stage.epochs, stage.epochs, f"train {stage.name}")


def _features(course: Course, rows: Ints) -> Floats:
    """Return what the head sees of photos, float32 ``(rows, features)``."""
    import numpy as np

    lesson, network = course.lesson, course.network
    found = np.empty((len(rows), network.features.output_shape[-1]), np.float32)
    done = 0
    for photos, _ in batches(lesson.photos, lesson.truth, rows, course.options.batch_size):
        found[done : done + len(photos)] = network.features.predict_on_batch(photos)
        done += len(photos)
        course.progress(done, len(rows), "features")
    return found


def _best_at_the_end() -> keras.callbacks.Callback:
    import keras

    class Best(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        """Keep the weights of the epoch with the least validation loss; they are few."""

        least = float("inf")
        kept: Any = None

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  # Keras' names
            if logs["val_loss"] < self.least:
                self.least, self.kept = logs["val_loss"], self.model.get_weights()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            if self.kept is not None:
                self.model.set_weights(self.kept)

    return Best()


def _fit_blocks(course: Course, stage: Stage, number: int) -> None:
    import tensorflow as tf

    lesson, options, record = course.lesson, course.options, course.record
    let_learn(course.network.features, stage.unfreeze_from)
    learner = compiled(course.network.learner, stage.learning_rate)
    done = len(record.rows_of(number))
    if record.last:
        load_optimizer(learner.optimizer, record.last)
        load_state(course.network.classifier, record.last)
    with tf.device("CPU"):  # where the photos are gathered
        rows = tf.Variable(course.order(len(record.rows)), trainable=False)
    learning = batches(lesson.photos, lesson.truth, rows, options.batch_size, course.weight)
    learner.fit(
        learning,
        validation_data=batches(lesson.photos, lesson.truth, lesson.val, options.batch_size),
        initial_epoch=done,
        epochs=stage.epochs,
        callbacks=[*(deciding := _sooner_or_slower()), _recording(course, stage, number, rows, deciding)],
        shuffle=False,  # the rows come in an order of their own
        verbose=0,
    )


def _row(stage: int, epoch: int, logs: Any) -> Row:
    return {"stage": float(stage), "epoch": float(epoch + 1)} | {name: float(logs[name]) for name in sorted(logs)}


def _recording(course: Course, stage: Stage, number: int, rows: Any, deciding: list[Any]) -> keras.callbacks.Callback:
    """Return what begins an epoch by its number alone, and notes what came of it; to be called last."""
    import keras

    record, total = course.record, len(course.order(0)) // course.options.batch_size + 1

    class Recording(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.model.optimizer.learning_rate = stage.learning_rate
            for row in record.rows_of(number):  # what the epochs before a kill taught those who decide
                for each in deciding:
                    each.on_epoch_end(int(row["epoch"]) - 1, dict(row))

        def on_epoch_begin(self, epoch: int, *_: Any, **__: Any) -> None:
            self.epoch = epoch
            rows.assign(course.order(len(record.rows)))
            reseed(self.model, course.seed, len(record.rows))

        def on_train_batch_end(self, batch: int, *_: Any, **__: Any) -> None:
            course.progress(self.epoch * total + batch + 1, stage.epochs * total, f"train {stage.name}")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            row = _row(number, epoch, logs)
            weights = record.weights_of(len(record.rows) + 1)
            save_state(course.network.classifier, weights, self.model.optimizer)
            record.add([row], over=self.model.stop_training or epoch + 1 == stage.epochs, weights=weights)
            for tracker in course.trackers:
                tracker(row)

        def on_train_end(self, *_: Any, **__: Any) -> None:  # early stopping jumps to the end
            course.progress(stage.epochs * total, stage.epochs * total, f"train {stage.name}")

    return Recording()
