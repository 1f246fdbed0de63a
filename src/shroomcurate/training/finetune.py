"""A network of its own: trained on some of the photos, asked about others, written to a file.

Reads downwards: the photos (:mod:`.pixels`), the network (:mod:`.network`), the stages (:mod:`.fitting`).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.progress import Progress
from shroomcurate.training.epochs import Record
from shroomcurate.training.fitting import Course, Lesson, Tracker, fit
from shroomcurate.training.network import Network, build_network, repeatable_keras
from shroomcurate.training.pixels import batches

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.data import Examples
    from shroomcurate.training.options import TrainOptions

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]
    Photos = NDArray[np.uint8]

#: Where the trainings beside the main one lie while a run is made.
TRIALS = "trials"


@dataclass(frozen=True)
class Trainer:
    """Trains networks on the photos of one run. Each training has a folder, by which it goes on after a kill."""

    photos: Photos
    """``(photos, pixels, pixels, 3)``."""
    examples: Examples
    options: TrainOptions
    weights: Path | None
    folder: Path
    progress: Progress

    def train(
        self,
        rows: Ints,
        seed: int,
        folder: Path,
        val: Ints | None = None,
        options: TrainOptions | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> Network:
        """Train on these rows; `val` tells when to stop, the split's own unless given.

        Leaves ``history.csv`` and the record in the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        options = options or self.options
        examples = self.examples
        lesson = Lesson(
            self.photos, examples.truth, rows, examples.rows("val") if val is None else val, len(examples.labels)
        )
        with repeatable_keras(seed):
            network = build_network(options, len(examples.labels), self.weights, seed)
            fit(Course(network, lesson, options, seed, Record(folder), self.progress, trackers))
        return network

    def predict(self, network: Network, rows: Ints) -> Floats:
        """Return the logits of these rows, float32 ``(rows, classes)``."""
        found: Floats = network.classifier.predict(
            batches(self.photos, self.examples.truth, rows, self.options.batch_size), verbose=0
        )
        return found

    def recipe(self, rows: Ints, seed: int, val: Ints | None = None) -> Callable[[Ints], Floats]:
        """Train on these rows beside the main training; return what gives the logits of others."""
        named = hashlib.sha256(rows.tobytes() + b"|" + (b"" if val is None else val.tobytes())).hexdigest()[:10]
        network = self.train(rows, seed, self.folder / TRIALS / f"{named}-{seed}", val)
        return lambda asked: self.predict(network, asked)

    def forget(self) -> None:
        """Delete what was needed to go on after a kill; the main training's history stays."""
        shutil.rmtree(self.folder / TRIALS, ignore_errors=True)
        Record(self.folder).forget()


def save_model(model: keras.Model, folder: Path) -> None:
    """Write ``model.keras``; equal weights give equal bytes.

    Keras writes something of the moment, which is left out: the date, and the memory addresses by which it numbers
    shared objects.
    """
    dated = folder / "dated.keras"
    model.save(dated)
    numbers: dict[str, int] = {}

    def renumber(match: re.Match[str]) -> str:
        return f'"shared_object_id": {numbers.setdefault(match[1], len(numbers) + 1)}'

    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(folder / "model.keras", "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                facts = json.loads(content)
                facts.pop("date_saved", None)
                content = json.dumps(facts, sort_keys=True).encode()
            elif name == "config.json":
                content = re.sub(r'"shared_object_id": (\d+)', renumber, content.decode()).encode()
            target.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's own date is 1980-01-01
    dated.unlink()
