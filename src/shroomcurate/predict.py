"""Ask a trained baseline about photos: the likeliest classes, how sure that is, and the word on their edibility.

Reads a run's LiteRT file, so that an answer needs no TensorFlow. Writes nothing. Every answer carries the safety
notice: what the model says of a photograph is never a reason to eat a mushroom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shroomcurate import edibility
from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, DamagedFile, StageMissing
from shroomcurate.photos import NotAPhoto, read_photo
from shroomcurate.runs import finished, latest_run, run_folders
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.summary import Summary
from shroomcurate.training.evaluation import likeliest, softmax
from shroomcurate.training.phone import run_file
from shroomcurate.training.pixels import fitted

MODEL = "phone/model.json"
TOP = 5


@dataclass(frozen=True)
class Guess:
    """A class that a photo may show."""

    name: str
    certainty: float
    """0..1, calibrated: of the answers given with 0.8, eight in ten are right, on photos like the test's."""
    edibility: str
    """What published sources say of the species, see :mod:`shroomcurate.edibility`; no food advice."""
    note: str


@dataclass(frozen=True)
class Prediction:
    """The answer about one photo."""

    photo: str
    guesses: tuple[Guess, ...]
    """The likeliest first; empty where the photo cannot be read."""
    knows: bool
    """Whether the first is surer than the threshold; otherwise the model does not know."""
    problem: str | None
    """Why the photo cannot be read."""
    remark: str | None = None
    """What makes the answer doubtful, whatever its certainty."""


@dataclass(frozen=True)
class Predictions(Summary):
    """The answers of one run."""

    run: str
    threshold: float
    """At and below this certainty the model does not know."""
    classes: int
    photos: tuple[Prediction, ...]
    safety: str = SAFETY_NOTICE


def predict(dataset: Dataset, photos: Sequence[Path], run: str | None = None) -> Predictions:
    """Return what a run's model says of photos.

    Parameters
    ----------
    run
        Name of the run, or the beginning of it; None: the latest that has a network.

    Raises
    ------
    StageMissing
        No run has a network.
    BadOption
        There is no such run.
    """
    folder = _run(dataset, run)
    facts = _facts(folder)
    infer = run_file(folder / "phone" / facts["files"][0]["file"])
    return Predictions(
        run=f"runs/{folder.name}",
        threshold=facts["threshold"],
        classes=len(facts["labels"]),
        photos=tuple(_about(photo, facts, infer) for photo in photos),
    )


def _run(dataset: Dataset, name: str | None) -> Path:
    folders = [folder for folder in run_folders(dataset) if (folder / MODEL).is_file()]
    if not folders:
        raise StageMissing(
            f"No run in {dataset.path('runs')} has a network to ask.",
            f"Type this first: shroomcurate train-baseline {dataset.option}",
        )
    if name is None:
        latest = latest_run(dataset)
        return latest if latest in folders else max(folders, key=finished)
    name = name.removeprefix("runs/").rstrip("/")
    fitting = [folder for folder in folders if folder.name == name] or [
        folder for folder in folders if folder.name.startswith(name)
    ]
    if len(fitting) != 1:
        there = ", ".join(folder.name for folder in fitting or folders)
        raise BadOption(f"{len(fitting)} runs with a network begin with {name!r}.", f"Give one of: {there}.")
    return fitting[0]


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / MODEL).read_bytes())
        facts["resize"] = json.loads((folder / "config.json").read_bytes())["options"]["resize"]
        facts["pixels"] = facts["input"]["shape"][1]
        _ = facts["labels"], facts["temperature"], facts["files"][0]["file"]
        facts["threshold"] = facts["files"][0]["figures"].get("threshold", facts["threshold"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedFile(
            f"{folder / MODEL} cannot be read: {error}", f"Delete the folder {folder} and train again."
        ) from error
    return dict(facts)


def _about(photo: Path, facts: dict[str, Any], infer: Callable[[Any], Any]) -> Prediction:
    try:
        read = read_photo(photo, at_least=facts["pixels"])
    except NotAPhoto as error:
        return Prediction(str(photo), (), knows=False, problem=str(error))
    except OSError as error:
        return Prediction(str(photo), (), knows=False, problem=error.strerror or str(error))
    certainty = softmax(infer(fitted(read, facts["pixels"], facts["resize"])[None]), facts["temperature"])
    guesses = tuple(
        _guess(facts["labels"][number], float(certainty[0, number])) for number in likeliest(certainty, TOP)[0]
    )
    knows = guesses[0].certainty > facts["threshold"]
    return Prediction(str(photo), guesses, knows, problem=None, remark=_too_small(*read.size, facts))


def _too_small(width: int, height: int, facts: dict[str, Any]) -> str | None:
    """Return what is to be said of a photo that had to be enlarged."""
    seen = facts["pixels"]
    if (min if facts["resize"] == "crop" else max)(width, height) >= seen:
        return None
    return (
        f"The photo has {width} x {height} pixels and the network looks at {seen} x {seen}: it was enlarged, and the "
        "certainty is that of larger photos."
    )


def _guess(label: str, certainty: float) -> Guess:
    known = edibility.of(label)
    return Guess(label.replace("_", " "), certainty, known.edibility, known.note)
