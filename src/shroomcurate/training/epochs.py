"""Which photos an epoch shows, in which order, and what it takes to go on after a kill.

All that is random in an epoch depends on the seed and the epoch's number alone, not on the epochs before it: so an
epoch that is done again after a kill gives the same weights.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import write_bytes
from shroomcurate.runs import RECORD

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

Row = dict[str, float]  # stage, epoch, accuracy, loss, val_accuracy, val_loss, learning_rate
HISTORY = "history.csv"
_WEIGHTS = ".weights.npz"


def order(rows: Ints, truth: Ints, balance: str, seed: int, epoch: int) -> Ints:
    """Return the rows that an epoch shows, in its order.

    With ``oversample`` photos of smaller classes stand in it several times, drawn by the epoch's number, so that every
    class has as many as the largest.
    """
    import numpy as np

    rng = np.random.default_rng((seed, epoch))
    if balance != "oversample":
        return rng.permutation(rows)
    of_class = [rows[truth[rows] == number] for number in np.unique(truth[rows])]
    most = max(map(len, of_class))
    shown = [np.concatenate([mine, rng.choice(mine, most - len(mine))]) for mine in of_class]
    return rng.permutation(np.concatenate(shown))


def class_weights(truth: Ints, classes: int) -> Floats:
    """Return how much each class counts so that all together count alike, ``(classes,)``; 1 on average over photos."""
    import numpy as np

    counts = np.bincount(truth, minlength=classes)
    return np.asarray(len(truth) / np.maximum(counts * np.count_nonzero(counts), 1), np.float32)


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set every random layer of a model to where the epoch begins."""
    for number, layer in enumerate(_layers(model)):
        for generator in (getattr(layer, "seed_generator", None), getattr(layer, "generator", None)):
            if generator is not None:
                generator.state.assign([(seed * 1_000_003 + number * 10_007 + epoch * 2_654_435_761) % 2**32, 0])


def _layers(model: keras.Model) -> Iterable[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def optimizer_beside(weights: Path) -> Path:
    """Return where the optimizer's state after the same epoch belongs."""
    return weights.with_name(weights.name.removesuffix(_WEIGHTS) + ".optimizer.npz")


def save_state(model: keras.Model, weights: Path, optimizer: Any = None) -> None:
    """Write a model's variables, and the optimizer's beside them, down to the disk.

    Not by Keras' ``save_weights``: on a full disk HDF5 tears the process down instead of raising an error.
    """
    if optimizer is not None:
        _write(optimizer_beside(weights), optimizer.variables)
    _write(weights, model.variables)


def _write(file: Path, variables: Iterable[Any]) -> None:
    import numpy as np

    with file.open("wb") as handle:
        np.savez(handle, *[variable.numpy() for variable in variables])
        handle.flush()
        os.fsync(handle.fileno())  # before the record names it


def load_state(model: keras.Model, weights: Path) -> None:
    """Give a model of the same layers the variables that :func:`save_state` wrote."""
    _assign(model.variables, weights)


def load_optimizer(optimizer: Any, weights: Path) -> None:
    """Give an optimizer, built for the same variables, the state that :func:`save_state` wrote."""
    _assign(optimizer.variables, optimizer_beside(weights))


def _assign(variables: Iterable[Any], file: Path) -> None:
    import numpy as np

    with np.load(file) as stored:
        for variable, value in zip(variables, stored.values(), strict=True):
            variable.assign(value)


class Record:
    """What is done of a training: the epochs' figures, and the weights of the last and the best of them.

    ``record.json`` names the files of weights and is replaced by one rename after they are whole, so a kill finds the
    epoch before or the epoch after.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / RECORD
        known = json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}
        self.rows: list[Row] = known.get("rows", [])
        self.stages_over: int = known.get("stages_over", 0)
        self._last: str | None = known.get("last")
        self._best: str | None = known.get("best")

    def rows_of(self, stage: int) -> list[Row]:
        """Return the figures of the stage's epochs, the stages counted from 1."""
        return [row for row in self.rows if row["stage"] == stage]

    @property
    def last(self) -> Path | None:
        """The weights after the last epoch; None at the start of a stage."""
        return self.folder / self._last if self._last else None

    @property
    def best(self) -> Path | None:
        """The weights of the epoch with the least validation loss."""
        return self.folder / self._best if self._best else None

    @property
    def least_loss(self) -> float:
        """The least validation loss so far; infinite while none was a number."""
        return min((row["val_loss"] for row in self.rows if math.isfinite(row["val_loss"])), default=math.inf)

    def weights_of(self, epoch: int) -> Path:
        """Return where the weights after an epoch belong, the epochs counted from 1 over all stages."""
        return self.folder / f"epoch-{epoch:03d}{_WEIGHTS}"

    def add(self, rows: Iterable[Row], *, over: bool, weights: Path) -> None:
        """Note epochs of a stage, of which the last has these weights; `over`: the stage ends with it."""
        least = self.least_loss
        self.rows += rows
        if self.least_loss < least or self._best is None:
            self._best = weights.name
        self._last = None if over else weights.name
        self.stages_over += over
        known = {"rows": self.rows, "stages_over": self.stages_over, "last": self._last, "best": self._best}
        write_bytes(self.folder / HISTORY, _as_csv(self.rows))  # first: what the record holds is not written again
        write_bytes(self._file, json.dumps(known).encode())
        needed = {self._last, self._best, optimizer_beside(self.last).name if self.last else None}
        for file in self.folder.glob("epoch-*"):
            if file.name not in needed:
                file.unlink()

    def forget(self) -> None:
        """Delete everything but the history; the record first, for it must not name weights that are gone."""
        for file in (self._file, *self.folder.glob("epoch-*")):
            file.unlink(missing_ok=True)


def _as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: round(value, 6) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()
