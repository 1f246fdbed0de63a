"""The plots of a run: SVG files that open anywhere."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Up to so many classes the confusion matrix names them.
_NAMED = 30


def write_plots(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``plots/*.svg``: reliability, confusion, and where they are known epochs and the learning curve.

    Equal figures give equal bytes.
    """
    drawn: dict[str, Callable[[Axes], None]] = {
        "reliability": lambda axes: _reliability(axes, metrics),
        "confusion": lambda axes: _confusion(axes, metrics),
    }
    history = folder / "history.csv"
    if history.exists():
        with history.open(encoding="utf-8", newline="") as handle:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)]
        drawn["epochs"] = lambda axes: _epochs(axes, rows)
    if metrics.get("learning_curve"):
        drawn["learning_curve"] = lambda axes: _learning_curve(axes, metrics["learning_curve"])
    (folder / "plots").mkdir(exist_ok=True)
    for name, draw in drawn.items():
        _save(folder / "plots" / f"{name}.svg", draw)


def _save(target: Path, draw: Callable[[Axes], None]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "shroomcurate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 5), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(target, metadata={"Date": None, "Creator": "shroomcurate"})


def _reliability(axes: Axes, metrics: dict[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as sure as right")
    for key, word, marker in (("", "as trained", "o"), ("_calibrated", "calibrated", "s")):
        bins = [each for each in metrics[f"reliability{key}"] if each["photos"]]
        label = f"{word}, ECE {metrics[f'ece{key}']:.3f}"
        axes.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], marker=marker, label=label)
    axes.set(xlabel="how sure the model says it is", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False)


def _confusion(axes: Axes, metrics: dict[str, Any]) -> None:
    import numpy as np

    matrix = np.array(metrics["confusion"], float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, vmin=0, vmax=1, cmap="Greens")
    names = [name.replace("_", " ") for name in metrics["classes"]]
    axes.set(xlabel="called", ylabel="is")
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8, style="italic")
        axes.set_yticks(range(len(names)), names, fontsize=8, style="italic")
    axes.figure.colorbar(picture, ax=axes, label="share of the class's photos")


def _epochs(axes: Axes, rows: list[dict[str, float]]) -> None:
    epochs = range(1, len(rows) + 1)
    for key, word in (("accuracy", "training photos"), ("val_accuracy", "validation photos")):
        axes.plot(epochs, [row[key] for row in rows], label=word)
    for i in range(1, len(rows)):
        if rows[i]["stage"] != rows[i - 1]["stage"]:
            axes.axvline(i + 0.5, color="0.6", linewidth=1)
    axes.set(xlabel="epoch; a line where more of the network begins to learn", ylabel="accuracy")
    axes.legend(frameon=False)


def _learning_curve(axes: Axes, curve: dict[str, Any]) -> None:
    points = curve["points"]
    for key, word in (("top1", "top-1"), ("macro_f1", "macro F1")):
        means, spreads = [p[key]["mean"] for p in points], [p[key]["sd"] or 0 for p in points]
        axes.errorbar([p["per_class"] for p in points], means, yerr=spreads, marker="o", capsize=3, label=word)
    axes.set(xlabel="training photos of each class", ylabel=f"on the test photos ({curve['model']})", xscale="log")
    axes.legend(frameon=False)
