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
    logits: Floats, truth: Ints, groups: Sequence[str], labels: Sequence[str], temperature: float
) -> dict[str, Any]:
    """Return every figure about one set of photos, as plain JSON-able values.

    Parameters
    ----------
    groups
        The group of each photo, for the accuracy by observation.
    temperature
        From :func:`fit_temperature`, fitted on other photos.
    """
    probabilities = softmax(logits)
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(labels))
    precision, recall, f1 = precision_recall_f1(matrix)
    ece, reliability = calibration(probabilities, truth)
    ece_calibrated, reliability_calibrated = calibration(softmax(logits, temperature), truth)
    support = matrix.sum(axis=1)
    voted, votes = accuracy_by_vote(probabilities, truth, groups)
    return {
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
        "by_observation": {"observations": votes, "top1": voted},
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


def confusion_matrix(truth: Ints, predicted: Ints, classes: int, weights: Ints | None = None) -> Ints:
    """Return how many photos of each class (row) were called each class (column)."""
    import numpy as np

    counts = np.bincount(truth * classes + predicted, weights=weights, minlength=classes * classes)
    return counts.astype(np.int64).reshape(classes, classes)


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


def accuracy_by_vote(probabilities: Floats, truth: Ints, groups: Sequence[str]) -> tuple[float, int]:
    """Return the accuracy when the photos of one group vote by their mean probabilities, and the number of votes.

    A group that has photos of several classes votes once for each of them.
    """
    import numpy as np

    _, group_number = np.unique(np.asarray(groups), return_inverse=True)
    ballots, ballot = np.unique(np.stack([group_number, truth]), axis=1, return_inverse=True)
    sums = np.zeros((ballots.shape[1], probabilities.shape[1]))
    np.add.at(sums, ballot.reshape(-1), probabilities)
    return float((sums.argmax(axis=1) == ballots[1]).mean()), int(ballots.shape[1])


def bootstrap_difference(
    truth: Ints, first: Ints, second: Ints, groups: Sequence[str], *, classes: int, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return how much better `second` predicts than `first` on the same photos, with 95 % intervals.

    Groups are drawn, not photos: the photos of one observation are not independent. Percentile bootstrap, Efron and
    Tibshirani 1993, chapter 13.

    Parameters
    ----------
    first, second
        Predicted classes of two models.
    groups
        The group of each photo.
    resamples
        Number of bootstrap samples.

    Returns
    -------
    dict
        ``top1`` and ``macro_f1``, each with ``difference``, ``low`` and ``high``.
    """
    import numpy as np

    _, group_number = np.unique(np.asarray(groups), return_inverse=True)
    number = int(group_number.max()) + 1
    rng = np.random.default_rng(seed)

    def gains(weights: Ints) -> tuple[float, float]:
        before, after = (confusion_matrix(truth, called, classes, weights) for called in (first, second))
        accuracy = float(np.trace(after) - np.trace(before)) / float(weights.sum())
        return accuracy, macro_f1(after) - macro_f1(before)

    observed = gains(np.ones(len(truth), np.int64))
    draws = (np.bincount(rng.integers(0, number, number), minlength=number) for _ in range(resamples))
    low, high = np.percentile([gains(draw[group_number]) for draw in draws], [2.5, 97.5], axis=0)
    return {
        name: {"difference": observed[i], "low": float(low[i]), "high": float(high[i])}
        for i, name in enumerate(("top1", "macro_f1"))
    }
