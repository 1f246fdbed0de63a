"""What a classifier's outputs are worth: pure functions of numbers, no files, no networks.

Shapes: ``logits`` and ``probabilities`` are ``(photos, classes)``; ``truth`` and ``predicted`` are ``(photos,)`` class
numbers; a confusion matrix is ``(classes, classes)`` with the truth in rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

BINS = 15  # as in Guo et al. 2017
TOP = 5


def evaluate(
    logits: Floats,
    truth: Ints,
    groups: Sequence[str],
    labels: Sequence[str],
    temperature: float,
    observations: Sequence[str | None] = (),
) -> dict[str, Any]:
    """Return every figure about one set of photos, as plain JSON-able values.

    Parameters
    ----------
    groups
        The group of each photo: what the split keeps together. It can hold several observations.
    temperature
        From :func:`fit_temperature`, fitted on other photos.
    observations
        The observation of each photo, None where it is not known. Without them nothing is said by observation.
    """
    probabilities, calibrated = softmax(logits), softmax(logits, temperature)
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(labels))
    precision, recall, f1 = precision_recall_f1(matrix)
    ece, reliability = calibration(probabilities, truth)
    ece_calibrated, reliability_calibrated = calibration(calibrated, truth)
    support = matrix.sum(axis=1)
    return {
        "test_photos": len(truth),
        "top1": top_k_accuracy(probabilities, truth, 1),
        "top5": top_k_accuracy(probabilities, truth, min(TOP, len(labels))),
        "macro_precision": float(precision[support > 0].mean()),
        "macro_recall": float(recall[support > 0].mean()),
        "macro_f1": macro_f1(matrix),
        "per_class": {
            label: {"precision": float(p), "recall": float(r), "f1": float(f), "photos": int(n)}
            for label, p, r, f, n in zip(labels, precision, recall, f1, support, strict=True)
        },
        "confusion": matrix.tolist(),
        "most_confused": most_confused(matrix, labels),
        "temperature": temperature,
        "ece": ece,
        "ece_calibrated": ece_calibrated,
        "reliability": reliability,
        "reliability_calibrated": reliability_calibrated,
        "brier": brier(probabilities, truth),
        "brier_calibrated": brier(calibrated, truth),
        "by_observation": votes(probabilities, truth, observations, "observations"),
        "by_group": votes(probabilities, truth, groups, "groups"),
    }


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return the probabilities of logits divided by a temperature; rows add up to 1."""
    import numpy as np

    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def likeliest(probabilities: Floats, k: int) -> Ints:
    """Return the k likeliest classes of each photo, best first, ``(photos, k)``; of equals the lower number first."""
    import numpy as np

    return np.argsort(-probabilities, axis=1, kind="stable")[:, :k]


def top_k_accuracy(probabilities: Floats, truth: Ints, k: int) -> float:
    """Return the share of photos whose true class is among the k likeliest."""
    return float((likeliest(probabilities, k) == truth[:, None]).any(axis=1).mean())


def confusion_matrix(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Return how many photos of each class (row) were called each class (column)."""
    import numpy as np

    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def precision_recall_f1(matrix: Ints) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 of each class, ``(classes,)`` each; what divides by nothing is 0."""
    import numpy as np

    hits = np.diag(matrix).astype(np.float64)
    called, true = matrix.sum(axis=0), matrix.sum(axis=1)
    return hits / np.maximum(called, 1), hits / np.maximum(true, 1), 2 * hits / np.maximum(called + true, 1)


def macro_f1(matrix: Ints) -> float:
    """Return the mean F1 of the classes that have photos in the matrix."""
    return float(precision_recall_f1(matrix)[2][matrix.sum(axis=1) > 0].mean())


def most_confused(matrix: Ints, labels: Sequence[str], at_most: int = 10) -> list[dict[str, Any]]:
    """Return the pairs of classes that are mistaken for each other most often, either way, worst first.

    ``share`` is the part of both classes' photos that was taken for the other one.
    """
    pairs: list[dict[str, Any]] = []
    for i, first in enumerate(labels):
        for j in range(i + 1, len(labels)):
            mistakes = int(matrix[i, j] + matrix[j, i])
            if mistakes:
                share = mistakes / int(matrix[i].sum() + matrix[j].sum())
                pairs.append({"classes": [first, labels[j]], "mistakes": mistakes, "share": share})
    return sorted(pairs, key=lambda pair: (-pair["mistakes"], -pair["share"], pair["classes"]))[:at_most]


def calibration(probabilities: Floats, truth: Ints, bins: int = BINS) -> tuple[float, list[dict[str, Any]]]:
    """Return the expected calibration error and the reliability diagram's bins.

    Bins of equal width over the confidence (the largest probability), each open below and closed above. The ECE is
    the mean of |accuracy - confidence| over the bins, weighted by their photos: Guo et al. 2017, 'On Calibration of
    Modern Neural Networks', equation 3, https://arxiv.org/abs/1706.04599.

    Returns
    -------
    float
        ECE, 0..1.
    list of dict
        ``above``, ``up_to``, ``photos``, ``confidence``, ``accuracy`` of each bin; the last two are None where it is
        empty.
    """
    import numpy as np

    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    error, rows = 0.0, []
    for number in range(bins):
        inside = bin_of == number
        photos = int(inside.sum())
        sure, right = (float(confidence[inside].mean()), float(hit[inside].mean())) if photos else (None, None)
        if sure is not None and right is not None:
            error += photos / len(truth) * abs(right - sure)
        rows.append(
            {
                "above": float(edges[number]),
                "up_to": float(edges[number + 1]),
                "photos": photos,
                "confidence": sure,
                "accuracy": right,
            }
        )
    return error, rows


def fit_temperature(logits: Floats, truth: Ints) -> float:
    """Return the temperature that makes the probabilities of these photos most likely (Guo et al. 2017, section 4.2).

    Searched between 0.05 and 20. It changes no prediction, only how sure the model says it is.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return log_loss(logits, truth, float(np.exp(log_temperature)))

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


def log_loss(logits: Floats, truth: Ints, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of the true classes, in nats."""
    import numpy as np

    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    likelihood = scaled[np.arange(len(truth)), truth] - np.log(np.exp(scaled).sum(axis=1))
    return float(-likelihood.mean())


def brier(probabilities: Floats, truth: Ints) -> float:
    """Return the mean squared distance of the probabilities from the truth, 0 to 2; less is better.

    It rewards being right as well as being honest about it, and needs no bins: Brier 1950, 'Verification of forecasts
    expressed in terms of probability', equation 2.
    """
    import numpy as np

    right = probabilities[np.arange(len(truth)), truth]
    return float(((probabilities**2).sum(axis=1) - 2 * right + 1).mean())


def votes(probabilities: Floats, truth: Ints, boxes: Sequence[str | None], what: str) -> dict[str, Any] | None:
    """Return the accuracy when photos of one box vote by their mean probabilities.

    A box that has photos of several classes votes once for each of them.

    Parameters
    ----------
    boxes
        The observation, or the group, of each photo; photos without one do not vote.
    what
        What the boxes are called.

    Returns
    -------
    dict or None
        Their number under the name that was given, ``photos`` that voted, and ``top1``; None without a voter.
    """
    import numpy as np

    voters = np.array([row for row, box in enumerate(boxes) if box is not None], dtype=np.int64)
    if not len(voters):
        return None
    _, number = np.unique([boxes[row] for row in voters], return_inverse=True)
    ballots, ballot = np.unique(np.stack([number, truth[voters]]), axis=1, return_inverse=True)
    sums = np.zeros((ballots.shape[1], probabilities.shape[1]))
    np.add.at(sums, ballot.reshape(-1), probabilities[voters])
    right = sums.argmax(axis=1) == ballots[1]
    return {what: len(right), "photos": len(voters), "top1": float(right.mean())}


class Resampled:
    """The scores of several models on the same photos, for all photos and for draws of their groups.

    Groups are drawn, not photos: the photos of one observation are not independent.

    Parameters
    ----------
    truth
        ``(photos,)``.
    predicted
        The class that each model calls, ``(models, photos)``.
    groups
        The group of each photo.
    classes
        Number of classes.
    """

    def __init__(self, truth: Ints, predicted: Ints, groups: Sequence[str], classes: int) -> None:
        import numpy as np

        _, number = np.unique(np.asarray(groups), return_inverse=True)
        self.groups = int(number.max()) + 1

        def table(chosen: NDArray[np.bool_], called: Ints) -> Any:
            from scipy.sparse import csr_array

            where = (called[chosen], number[chosen])
            return csr_array((np.ones(int(chosen.sum())), where), shape=(classes, self.groups))

        everything = np.ones(len(truth), bool)
        self._true = table(everything, truth)
        self._hits = [table(called == truth, called) for called in predicted]
        self._called = [table(everything, called) for called in predicted]

    def scores(self, draws: Ints) -> Floats:
        """Return top-1 and macro F1, ``(models, draws, 2)``.

        Parameters
        ----------
        draws
            How often each group counts, ``(draws, groups)``. Macro F1 is over the classes that a draw has photos of.
        """
        import numpy as np

        weights = np.asarray(draws, np.float64).T
        true = self._true @ weights
        there = true > 0
        found = np.empty((len(self._hits), len(draws), 2))
        for model, (hits, called) in enumerate(zip(self._hits, self._called, strict=True)):
            right = hits @ weights
            f1 = 2 * right / np.maximum(called @ weights + true, 1)
            found[model, :, 0] = right.sum(axis=0) / true.sum(axis=0)
            found[model, :, 1] = (f1 * there).sum(axis=0) / there.sum(axis=0)
        return found

    def observed(self) -> Floats:
        """Return top-1 and macro F1 of all photos, ``(models, 2)``."""
        import numpy as np

        return self.scores(np.ones((1, self.groups), np.int64))[:, 0]

    def drawn(self, resamples: int, rng: np.random.Generator) -> Floats:
        """Return top-1 and macro F1 of this many draws with replacement, ``(models, resamples, 2)``."""
        import numpy as np

        blocks = []
        for start in range(0, resamples, 100):  # so that memory does not grow with the resamples
            size = (min(100, resamples - start), self.groups)
            picks = rng.integers(0, self.groups, size)
            blocks.append(self.scores(np.stack([np.bincount(each, minlength=self.groups) for each in picks])))
        return np.concatenate(blocks, axis=1)


MEASURES = ("top1", "macro_f1")


def bootstrap_difference(
    truth: Ints, first: Ints, second: Ints, groups: Sequence[str], *, classes: int, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return how much better `second` predicts than `first` on the same photos, with 95 % intervals.

    Each draw takes groups of photos and, where there are several, seeds of training, the same for both models.
    Percentile bootstrap, Efron and Tibshirani 1993, chapter 13.

    Parameters
    ----------
    first, second
        Predicted classes of two models: ``(photos,)``, or ``(seeds, photos)`` of as many trainings of each.
    groups
        The group of each photo.
    resamples
        Number of bootstrap samples.

    Returns
    -------
    dict
        ``top1`` and ``macro_f1``, each with ``difference`` (the mean over the seeds), ``low`` and ``high``.
    """
    import numpy as np

    first, second = np.atleast_2d(first), np.atleast_2d(second)
    seeds = len(first)
    scored = Resampled(truth, np.concatenate([first, second]), groups, classes)
    rng = np.random.default_rng(seed)
    observed = scored.observed()
    gain = (observed[seeds:] - observed[:seeds]).mean(axis=0)
    draws = scored.drawn(resamples, rng)
    gains = draws[seeds:] - draws[:seeds]
    chosen = rng.integers(0, seeds, (seeds, resamples))
    low, high = np.percentile(gains[chosen, np.arange(resamples)].mean(axis=0), [2.5, 97.5], axis=0)
    return {
        name: {"difference": float(gain[i]), "low": float(low[i]), "high": float(high[i])}
        for i, name in enumerate(MEASURES)
    }
