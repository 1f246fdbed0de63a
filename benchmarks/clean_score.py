"""Figures of a cleaning against the truth: see :mod:`benchmarks.clean` for what they mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.planted import OK, Judged
from shroomcurate.demo.score import Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

Figures = dict[str, float]
"""Name -> figure, not a number where it is undefined; ``recall of hand`` and ``AP of hand`` for each kind."""


def tally(noise: Bools, out: Bools) -> Tally:
    """Count noise that is out, noise that is in, and good photos that are out."""
    return Tally(found=int((noise & out).sum()), missed=int((noise & ~out).sum()), wrong=int((~noise & out).sum()))


def average_precision(noise: Bools, scores: Floats) -> float:
    """Return the average precision of scores, higher for noise; not a number where all photos are of one sort."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(noise, scores)) if noise.any() and not noise.all() else math.nan


def best_f1(noise: Bools, scores: Floats) -> float:
    """Return the F1 of the threshold that suits these photos best, which nobody knows who does not know the truth."""
    import numpy as np
    from sklearn.metrics import precision_recall_curve

    if not noise.any():
        return math.nan
    precision, recall, _ = precision_recall_curve(noise, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def calibration_error(noise: Bools, scores: Floats) -> float:
    """Return the expected calibration error of scores as probabilities, in ten equal bins (Guo et al. 2017)."""
    import numpy as np

    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs(scores[bins == one].mean() - noise[bins == one].mean()) * (bins == one).mean() for one in set(bins)]
    return float(sum(gaps))


def known_f1(judged: Judged, scores: Floats) -> float:
    """Return the F1 of taking out of each class as many photos as are noise in it, those of the highest scores."""
    import numpy as np

    known = np.zeros(len(judged.paths), bool)
    for own in by_class(judged.classes):
        rows = np.flatnonzero(own & judged.counted)
        known[rows[np.argsort(-scores[rows], kind="stable")][: int(judged.noise[own].sum())]] = True
    return tally(judged.noise, known).f1 if judged.noise.any() else math.nan


def rank_figures(noise: Bools, kinds: NDArray[np.str_], out: Bools, scores: Floats | None) -> Figures:
    """Return the figures of any way that takes photos out and, perhaps, gives each a score.

    Parameters
    ----------
    out
        Which photos it takes out.
    scores
        Higher is more likely noise.
    """
    counts = tally(noise, out)
    figures = {
        "precision": counts.precision if counts.found + counts.wrong else math.nan,
        "recall": counts.recall if noise.any() else math.nan,
        "F1": counts.f1 if noise.any() else math.nan,
        "AP": math.nan if scores is None else average_precision(noise, scores),
        "best F1": math.nan if scores is None else best_f1(noise, scores),
        "lost": counts.wrong / max(1, int((~noise).sum())),
    }
    for kind in sorted({str(kind) for kind in kinds} - {OK}):
        own = kinds == kind
        figures[f"recall of {kind}"] = float(out[own].mean())
        if scores is not None:
            among = own | ~noise
            figures[f"AP of {kind}"] = average_precision(own[among], scores[among])
    return figures


def figures(judged: Judged) -> Figures:
    """Return the figures of cleaning: those of :func:`rank_figures`, means over classes, and counts."""
    import numpy as np

    counted = judged.counted
    noise, out, scores = judged.noise[counted], judged.removed[counted], judged.scores[counted]
    classes = judged.classes[counted]
    each = [rank_figures(noise[own], judged.kinds[counted][own], out[own], scores[own]) for own in by_class(classes)]
    noisy = [one for one in each if not math.isnan(one["F1"])]
    return rank_figures(noise, judged.kinds[counted], out, scores) | {
        "ECE": calibration_error(noise, scores),
        "known F1": known_f1(judged, judged.scores),
        "class F1": float(np.mean([one["F1"] for one in noisy])) if noisy else math.nan,
        "class AP": mean([one["AP"] for one in noisy]),
        "good": float((~judged.noise).sum()),
        "noise": float(judged.noise.sum()),
        "duplicates": float((~counted).sum()),
        "noise as duplicate": float((judged.noise & (judged.reasons == "duplicate")).sum()),
        "left alone": float(len(judged.summary.left_alone)),
    }


def by_class(classes: NDArray[np.str_]) -> list[Bools]:
    """Return for each class which photos are of it."""
    import numpy as np

    return [classes == name for name in np.unique(classes)]


def reasons(judged: Judged) -> dict[str, Counter[str]]:
    """Return kind -> reason -> photos; the reason of those that stay is ``kept``."""
    found: dict[str, Counter[str]] = {}
    for kind, reason in zip(judged.kinds.tolist(), judged.reasons.tolist(), strict=True):
        found.setdefault(kind, Counter())[reason or "kept"] += 1
    return dict(sorted(found.items(), key=lambda item: (item[0] != OK, item[0])))


# -- several runs --------------------------------------------------------------------------------------------------


def mean(values: Sequence[float]) -> float:
    """Return the mean of what is a number; not a number where nothing is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def means(runs: Sequence[Figures]) -> Figures:
    """Return the mean of each figure over runs that have it."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    return {name: mean([run.get(name, math.nan) for run in runs]) for name in names}


def span(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean as text and, where runs differ, their range."""
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return "–"
    middle, low, high = (f"{value:.{digits}f}" for value in (mean(numbers), min(numbers), max(numbers)))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
