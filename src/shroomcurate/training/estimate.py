"""How long a training will take, measured before it starts: a few real steps on this machine, times their number.

What else it takes (reading, converting, the answers of the probe) is added as it was on two cores.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset
from shroomcurate.progress import Progress
from shroomcurate.tree import PARTIAL

if TYPE_CHECKING:
    from shroomcurate.training.data import Examples
    from shroomcurate.training.options import TrainOptions

#: Seconds from which on a person may want to know of the quicker way.
LONG = 600.0
#: Seconds a photo to decode it, a core; to prepare a training and to keep its network; to answer by the probe.
_DECODING, _STARTING, _ANSWERING = 0.005, 15.0, 10.0
#: Seconds for the LiteRT files, and epochs of training that they add, each half as long again as an ordinary one.
_FILES = {"float32": (10.0, 0.0), "quick": (25.0, 0.0), "full": (40.0, 4.5)}
#: Trainings that the learning curve adds for each seed, in units of one on all photos: 1 + 1/2 + 1/4 + …
_CURVE = 2.0


@dataclass(frozen=True)
class Estimate:
    """What a training will take at most: early stopping makes it shorter."""

    seconds: float
    train_photos: int
    epochs: int
    trainings: float
    """Trainings of this size, those that answer questions about the dataset counted in."""
    long: bool
    """Whether ``--mode probe`` may serve as well."""


def estimate(dataset: Dataset, options: TrainOptions, progress: Progress) -> Estimate | None:
    """Return how long training will take; None for the probe, and where a run is done or goes on.

    Times the costliest stage's step, on photos of noise.
    """
    from shroomcurate.training import planned_run
    from shroomcurate.training.data import read_examples
    from shroomcurate.training.fitting import HEAD, stages

    if options.mode == "probe":
        return None
    place = dataset.path("runs") / planned_run(dataset, options)
    if place.exists() or place.with_name(place.name + PARTIAL).exists():
        return None
    examples = read_examples(dataset)
    train = len(examples.rows("train"))
    epochs = sum(stage.epochs for stage in stages(options) if stage.name != HEAD)
    number = _trainings(examples, options)
    progress(0, 1, "estimate the time")
    step, forward = _seconds_a_batch(examples, options)
    progress(1, 1, "estimate the time")
    files, more = _FILES[options.phone]
    batches = -(-train // options.batch_size)
    one = _STARTING + batches * epochs * step + (batches + len(examples.rows("val")) / options.batch_size) * forward
    seconds = number * one + files + more * batches * step + _ANSWERING
    seconds += len(examples.places) * _DECODING / (os.cpu_count() or 1)
    return Estimate(seconds, train, epochs, number, seconds > LONG)


def epochs_done(dataset: Dataset, options: TrainOptions) -> int:
    """Return how many epochs of this training are on the disk, from which it goes on."""
    from shroomcurate.training import planned_run
    from shroomcurate.training.epochs import Record

    name = planned_run(dataset, options)
    return len(Record(dataset.path("runs") / (name + PARTIAL)).rows)


def _trainings(examples: Examples, options: TrainOptions) -> float:
    """Return how many trainings on all photos the options come to."""
    return (
        (1 + options.search)  # the settings that were found are trained with once more
        + 2 * options.seeds * (options.raw_vs_clean == "same")
        + _CURVE * options.seeds * (options.learning_curve == "same")
        + len({*examples.fold.tolist()} - {-1}) * (options.cross_validate == "same")
    )


def _seconds_a_batch(examples: Examples, options: TrainOptions) -> tuple[float, float]:
    """Return how long a batch takes to learn from, and to only look at."""
    import numpy as np

    from shroomcurate.backbone import find_weights
    from shroomcurate.training.fitting import compiled, stages
    from shroomcurate.training.network import build_network, let_learn, pixels_of, repeatable_keras

    weights = find_weights(options.architecture, options.weights) if options.mode == "finetune" else None
    pixels = pixels_of(options.mode)
    rng = np.random.default_rng(0)
    batch: Any = rng.uniform(0, 255, (options.batch_size, pixels, pixels, 3)).astype(np.float32)
    labels = rng.integers(0, len(examples.labels), options.batch_size)
    took = []
    with repeatable_keras(options.seed):
        network = build_network(options, len(examples.labels), weights, options.seed)
        last = stages(options)[-1]
        let_learn(network.features, last.unfreeze_from)
        learner = compiled(network.learner, last.learning_rate)
        for _ in range(4):  # the first one is prepared for, the second one still finds cold caches
            begun = time.perf_counter()
            learner.train_on_batch(batch, labels)
            took.append(time.perf_counter() - begun)
        looked = []
        for _ in range(3):
            begun = time.perf_counter()
            network.features.predict_on_batch(batch)
            looked.append(time.perf_counter() - begun)
    return min(took[1:]), min(looked[1:])
