"""The plots of a run: SVG files that open anywhere."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Up to so many classes the confusion matrix has figures in its cells, and names its classes.
_COUNTED, _NAMED = 12, 30
#: Points of the smallest letters; they stand on a page as wide as a hand.
_SMALL = 9


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
        many = name == "confusion" and len(metrics["classes"]) > _COUNTED
        _save(folder / "plots" / f"{name}.svg", draw, (11, 10) if many else (7.5, 5.5))


def _save(target: Path, draw: Callable[[Axes], None], size: tuple[float, float]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": "shroomcurate", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(target, metadata={"Date": None, "Creator": "shroomcurate"})


def _reliability(axes: Axes, metrics: dict[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as sure as right")
    for key, word, marker in (("", "as trained", "o"), ("_calibrated", "calibrated", "s")):
        bins = [each for each in metrics[f"reliability{key}"] if each["photos"]]
        label = f"{word}, ECE {metrics[f'ece{key}']:.3f}"
        sure, right = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
        most = max(b["photos"] for b in bins)
        (line,) = axes.plot(sure, right, linewidth=1)
        sizes = [15 + 105 * b["photos"] / most for b in bins]
        axes.scatter(sure, right, sizes, marker=marker, color=line.get_color(), label=label, clip_on=False, zorder=3)
    axes.set(
        title="How far the model's certainty can be believed",
        xlabel="how sure the model says it is; larger points hold more photos",
        ylabel="share that is right",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    axes.legend(frameon=False)


def _confusion(axes: Axes, metrics: dict[str, Any]) -> None:
    import numpy as np

    matrix = np.array(metrics["confusion"], float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, vmin=0, vmax=1, cmap="Greens")
    names = [name.replace("_", " ") for name in metrics["classes"]]
    photos = int(matrix.sum())
    axes.set(
        title=f"What {photos:,} test photos are taken for", xlabel="what the model says", ylabel="what the photo shows"
    )
    if len(names) <= _NAMED:
        axes.set_xticks(
            range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=_SMALL, style="italic"
        )
        axes.set_yticks(range(len(names)), names, fontsize=_SMALL, style="italic")
    else:
        axes.set(xticks=[], yticks=[], ylabel="what the photo shows, classes in alphabetical order")
    if len(names) <= _COUNTED:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=_SMALL)
    axes.figure.colorbar(picture, ax=axes, label="share of the class's photos")
    axes.figure.supxlabel(textwrap.fill(metrics["safety"], 105), fontsize=_SMALL)  # it says what passes for what


def _epochs(axes: Axes, rows: list[dict[str, float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(rows) + 1)
    for key, word in (("accuracy", "training photos"), ("val_accuracy", "validation photos")):
        axes.plot(epochs, [row[key] for row in rows], label=word)
    for i in range(1, len(rows)):
        if rows[i]["stage"] != rows[i - 1]["stage"]:
            axes.axvline(i + 0.5, color="0.6", linewidth=1)
    axes.set(
        title="How it learned", xlabel="epoch; a line where more of the network begins to learn", ylabel="accuracy"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def _learning_curve(axes: Axes, curve: dict[str, Any]) -> None:
    from matplotlib.ticker import NullLocator

    points = curve["points"]
    for key, word in (("top1", "top-1"), ("macro_f1", "macro F1")):
        means, spreads = [p[key]["mean"] for p in points], [p[key]["sd"] or 0 for p in points]
        axes.errorbar([p["per_class"] for p in points], means, yerr=spreads, marker="o", capsize=3, label=word)
    axes.set(
        title="Would more photos help?",
        xlabel="training photos of each class",
        ylabel=f"on the test photos ({curve['model']})",
        xscale="log",
    )
    shown = [point["per_class"] for point in points]
    axes.set_xticks(shown, [f"{photos:,.0f}" for photos in shown])  # 10^1 and 10^2 alone say little
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False)
