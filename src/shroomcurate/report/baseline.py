"""What the newest run found, laid out for the page: figures, curves, and photos that were taken for something else."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shroomcurate.errors import DamagedFile
from shroomcurate.report.known import Known, Row
from shroomcurate.report.pictures import Pictures

#: Up to so many classes the confusion matrix is a table of figures, above a picture.
CONFUSION_AS_TABLE = 12
#: Pairs of classes shown with photos, and photos of each of the two.
PAIRS, PHOTOS_EACH = 5, 3
#: Shades of the confusion matrix.
SHADES = 5


class Curve(NamedTuple):
    """One line of a plot."""

    name: str
    points: list[tuple[float, float]]
    """x 0..1 from left to right, y 0..1 from below."""
    last: float


class Plot(NamedTuple):
    """Curves over the epochs of training."""

    measure: str
    curves: list[Curve]
    ticks: list[tuple[float, str]]
    """y 0..1 and what it stands for."""
    epochs: list[tuple[float, int]]
    """x 0..1 and the number of the epoch, from 1."""
    best: float | None
    """x of the epoch whose weights were kept."""
    unfrozen: list[float]
    """x between the last epoch of a stage and the first of the next, in which more of the network learns."""


def baseline(known: Known, pictures: Pictures) -> dict[str, Any] | None:
    """Return the newest run's figures; what a run does not hold is left out."""
    metrics = known.metrics
    if metrics is None or known.run is None:
        return None
    labels, matrix = list(metrics.get("classes", ())), metrics.get("confusion") or []
    per_class = metrics.get("per_class", {})
    measures = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "macro_f1": "macro F1"}
    if len(labels) <= 5:
        del measures["top5"]  # it could not be wrong
    names = {label: label.replace("_", " ") for label in labels}
    most_confused = metrics.get("most_confused", [])
    return {
        "run": known.run.name,
        "mode": metrics.get("mode"),
        "headline": [(word, metrics[key]) for key, word in measures.items() if metrics.get(key) is not None],
        "photos": sum(map(sum, matrix)),
        "names": names,
        "labels": labels,
        "per_class": sorted(
            ((label, per_class[label]) for label in per_class),
            key=lambda each: (not each[1]["photos"], each[1]["f1"], each[0]),
        ),
        "confusion": _shares(matrix) if len(matrix) <= CONFUSION_AS_TABLE else None,
        "picture": _shaded(matrix, [names[label] for label in labels]) if len(matrix) > CONFUSION_AS_TABLE else None,
        "most_confused": most_confused,
        "mistaken": _mistaken(known, pictures, most_confused[:PAIRS]),
        "reliability": [
            (name, [row for row in metrics.get(key) or () if row["photos"]])
            for key, name in (("reliability", "as trained"), ("reliability_calibrated", "calibrated"))
            if metrics.get(key)
        ],
        **{name: metrics.get(name) for name in ("ece", "ece_calibrated", "temperature", "raw_vs_clean")},
        **{name: metrics.get(name) for name in ("by_observation", "cross_validation", "threshold")},
        "verdicts": _verdicts(metrics.get("raw_vs_clean")),
        "curve": metrics.get("learning_curve"),
        "dragging": metrics.get("dragging") or [],
        "danger": _danger(metrics),
        "phone": _phone(known.run),
        "learning": learning_curves(known.run),
        "left_out": metrics.get("left_out") or {},
        "notes": metrics.get("notes") or [],
    }


# -- what the dataset is worth -----------------------------------------------------------------------------------


def _verdicts(compared: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return raw against cleaned on each set of photos, and what these are."""
    found = compared or {}
    every = found.get("by_fold") or {}
    sets = (
        ("On the clean test photos", found),
        ("On the raw test: with the removed photos on its side of the split", found.get("on_raw_test")),
        ("On every clean photo, by models of the other folds", every),
        ("On every photo, removed ones included, by models of the other folds", every.get("on_raw_test")),
    )
    return [(title, figures) for title, figures in sets if figures and "difference" in figures]


def _danger(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """Return what mistakes would mean to somebody who eats by them, and the word on each class."""
    if not metrics.get("danger"):
        return None
    words: dict[str, list[str]] = {}
    for label, word in (metrics.get("edibility") or {}).items():
        words.setdefault(word, []).append(label)
    order = ("deadly", "poisonous", "inedible", "edible", "unknown")
    return {**metrics["danger"], "words": [(word, sorted(words[word])) for word in order if word in words]}


def _phone(run: Path) -> list[dict[str, Any]]:
    """Return what is said of each LiteRT file of the run, passed or refused; nothing for a run without.

    Raises
    ------
    DamagedFile
        ``model.json`` does not hold that.
    """
    file = run / "phone" / "model.json"
    if not file.exists():
        return []
    try:
        found = []
        for each in json.loads(file.read_bytes())["files"]:
            speed = each["speed"]
            found.append(
                {
                    "name": Path(each["file"]).name,
                    "megabytes": f"{speed['size_mb']:.1f}" if speed else "–",
                    "milliseconds": f"{speed['one_thread']['median_ms']:.1f}" if speed else "–",
                    "top1": each["figures"]["top1"],
                    "recall": each["figures"].get("poisonous_recall"),
                    "refused_because": each["refused_because"],
                }
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(
            f"{file} cannot be read: {error}.", f"Delete the folder {run} and type: shroomcurate train-baseline."
        ) from error
    return found


# -- confusion -------------------------------------------------------------------------------------------------


def _shares(matrix: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Each cell's photos, and its share of its row: of the photos that truly are of that class."""
    return [[(count, count / (sum(row) or 1)) for count in row] for row in matrix]


def _shaded(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> list[tuple[str, list[tuple[str, int, str]]]]:
    """Return the matrix as a picture, row by row: what it says in words, and its squares by kind and shade.

    A row is a few paths, whatever it holds: 445 classes with a rectangle for each cell would be a megabyte.

    Returns
    -------
    list
        Of each class a sentence, and tuples of kind (``right`` or ``wrong``), shade (1 to :data:`SHADES`) and path.
    """
    rows = []
    for y, row in enumerate(matrix):
        total = sum(row) or 1
        squares: dict[tuple[str, int], list[str]] = {}
        for x, count in enumerate(row):
            if count:
                shade = max(1, math.ceil(SHADES * count / total))
                squares.setdefault(("right" if x == y else "wrong", shade), []).append(f"M{x} {y}h1v1h-1z")
        others = sorted((-count, x) for x, count in enumerate(row) if count and x != y)
        taken = ", ".join(f"{names[x]} {-count}" for count, x in others[:3])
        said = f"{names[y]}: {row[y]} of {sum(row)} right" + (f"; taken for {taken}" if taken else "")
        rows.append((said, [(*key, "".join(found)) for key, found in sorted(squares.items())]))
    return rows


def _mistaken(known: Known, pictures: Pictures, pairs: Iterable[Row]) -> list[dict[str, Any]]:
    """Return photos of each pair that the model took for the other class, those first of which it was surest."""
    import pyarrow.compute as pc

    table = known.predictions
    if table is None:
        return []
    found = []
    for pair in pairs:
        rows: list[Row] = []
        for one, other in (pair["classes"], pair["classes"][::-1]):
            those = table.filter(pc.and_(pc.equal(table["class"], one), pc.equal(table["predicted"], other)))
            those = those.sort_by([("calibrated", "descending"), ("path", "ascending")])
            rows += those.slice(0, PHOTOS_EACH).to_pylist()
        if rows:
            found.append({**pair, "photos": pictures.ask(rows)})
    return found


# -- learning --------------------------------------------------------------------------------------------------


def learning_curves(run: Path) -> list[Plot]:
    """Return accuracy and loss over the epochs of a fine-tuned run; nothing for a run without epochs.

    Raises
    ------
    DamagedFile
        ``history.csv`` does not hold numbers.
    """
    file = run / "history.csv"
    if not file.exists():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)]
    except (TypeError, ValueError) as error:
        raise DamagedFile(
            f"{file} cannot be read: {error}.", f"Delete the folder {run} and type: shroomcurate train-baseline."
        ) from error
    return [plot for plot in (_plot(history, measure) for measure in ("accuracy", "loss")) if plot]


def _plot(history: Sequence[Mapping[str, float]], measure: str) -> Plot | None:
    series = {"training photos": measure, "validation photos": f"val_{measure}"}
    found = {name: [row[key] for row in history] for name, key in series.items() if history and key in history[0]}
    values = [value for each in found.values() for value in each if math.isfinite(value)]
    if len(history) < 2 or not values:
        return None
    low, high, step = _ticks(min(values), max(values))
    across = len(history) - 1
    losses = [loss if math.isfinite(loss := row.get("val_loss", math.inf)) else math.inf for row in history]
    begins = [i for i in range(1, len(history)) if history[i].get("stage") != history[i - 1].get("stage")]
    every = max(1, math.ceil(len(history) / 10))
    return Plot(
        measure=measure,
        curves=[
            Curve(
                name, [(i / across, (y - low) / (high - low)) for i, y in enumerate(each) if math.isfinite(y)], each[-1]
            )
            for name, each in found.items()
        ],
        ticks=[
            ((value - low) / (high - low), f"{100 * value:.0f}" if measure == "accuracy" else f"{value:.3g}")
            for value in (low + step * i for i in range(round((high - low) / step) + 1))
        ],
        epochs=[(i / across, i + 1) for i in range(0, len(history), every)],
        best=losses.index(min(losses)) / across if math.isfinite(min(losses)) else None,
        unfrozen=[(i - 0.5) / across for i in begins],
    )


def _ticks(low: float, high: float) -> tuple[float, float, float]:
    """Return the ends and the step of an axis that holds these values, in 1, 2 or 5 times a power of ten."""
    reach = max(high - low, 1e-3)
    power = 10 ** math.floor(math.log10(reach))
    step = next(step * power for step in (0.2, 0.5, 1, 2, 5) if reach / (step * power) <= 6)
    first = math.floor(low / step)
    return first * step, max(math.ceil(high / step), first + 1) * step, step
