"""How long a training will take, measured before it starts: a few real steps on this machine, times their number."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    from shroomcurate.training.data import Examples
    from shroomcurate.training.options import TrainOptions

#: Seconds from which on a person may want to know of the quicker way.
LONG = 600.0
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
    if place.exists() or place.with_name(place.name + ".partial").exists():
        return None
    examples = read_examples(dataset)
    train = len(examples.rows("train"))
    epochs = sum(stage.epochs for stage in stages(options) if stage.name != HEAD)
    number = _trainings(examples, options)
    steps = -(-train // options.batch_size) * epochs * number
    progress(0, 1, "estimate the time")
    seconds = steps * _seconds_a_step(examples, options)
    progress(1, 1, "estimate the time")
    return Estimate(seconds, train, epochs, number, seconds > LONG)


def _trainings(examples: Examples, options: TrainOptions) -> float:
    """Return how many trainings on all photos the options come to."""
    return (
        (1 + options.search)  # the settings that were found are trained with once more
        + 2 * options.seeds * (options.raw_vs_clean == "same")
        + _CURVE * options.seeds * (options.learning_curve == "same")
        + len({*examples.fold.tolist()} - {-1}) * (options.cross_validate == "same")
    )


def _seconds_a_step(examples: Examples, options: TrainOptions) -> float:
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
    return min(took[1:])
