"""The linear probe: logistic regression on the stored embeddings. Seconds on a laptop.

The vectors have length 1 (:func:`shroomcurate.training.data.read_vectors`) and are standardised on the training
photos; the scaling is folded into the weights, so that the saved head is one matrix and one offset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.training.evaluation import confusion_matrix, log_loss, macro_f1

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.data import Examples
    from shroomcurate.training.verdict import Recipe

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

#: Inverse strengths of regularisation to choose from, strongest first. With 125 training photos of each of four species
#: 0.1 had the least log loss on val (0.18 nats; 0.03 and 1.0 had 0.20 and 0.21); fewer photos want more of it.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
#: Numbers times classes up to which a fit has one thread: several only wait for each other, on two busy cores twenty
#: times as long as the one needs.
SMALL = 1e8


@dataclass(frozen=True)
class Head:
    """A linear classifier: ``logits = vectors @ weights + offset``.

    Attributes
    ----------
    weights
        ``(features, classes)``.
    offset
        ``(classes,)``.
    strength
        The inverse strength of regularisation it was fitted with.
    """

    weights: Floats
    offset: Floats
    strength: float

    def logits(self, vectors: Floats) -> Floats:
        """Return the logits of vectors of length 1, ``(photos, classes)``."""
        found: Floats = vectors @ self.weights + self.offset
        return found


def fit_head(vectors: Floats, truth: Ints, classes: int, strength: float, counts: Floats | None = None) -> Head:
    """Fit a multinomial logistic regression.

    A class without photos gets an offset of minus infinity: it is never predicted.

    Parameters
    ----------
    vectors
        ``(photos, features)``, length 1 each.
    strength
        scikit-learn's C: larger is less regularised.
    counts
        How much each photo counts, ``(photos,)``; None: 1 each.
    """
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    mean = vectors.mean(axis=0, dtype=np.float64)
    spread = vectors.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0)
    standardised = ((vectors - mean) * scale).astype(np.float32)
    small = vectors.size * classes < SMALL
    with threadpool_limits(1 if small else None, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is regularisation too, not a failure
        fitted = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(standardised, truth, counts)
    slopes, offsets = fitted.coef_.astype(np.float64), fitted.intercept_.astype(np.float64)
    if len(fitted.classes_) == 2:  # scikit-learn gives one row: the log-odds of the second class
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    weights, offset = np.zeros((vectors.shape[1], classes)), np.full(classes, -np.inf)
    weights[:, fitted.classes_] = (slopes * scale).T
    offset[fitted.classes_] = offsets - slopes @ (mean * scale)
    return Head(weights, offset, strength)


def choose_head(vectors: Floats, examples: Examples, *splits: str) -> Head:
    """Fit a head on these splits for each strength, and return the one with the least log loss on val.

    Parameters
    ----------
    vectors
        Of all examples, length 1 each.
    """
    return fit_best(vectors, examples, examples.rows(*splits))


def fit_best(vectors: Floats, examples: Examples, rows: Ints, counts: Floats | None = None) -> Head:
    """Fit a head on these rows for each strength, and return the one with the least log loss on val.

    Parameters
    ----------
    vectors
        Of all examples, length 1 each.
    counts
        How much each of the rows counts; None: 1 each.
    """
    val, classes = examples.rows("val"), len(examples.labels)
    fitted = (fit_head(vectors[rows], examples.truth[rows], classes, strength, counts) for strength in STRENGTHS)
    best = next(fitted)
    least = log_loss(best.logits(vectors[val]), examples.truth[val])
    for head in fitted:
        loss = log_loss(head.logits(vectors[val]), examples.truth[val])
        if loss >= least:
            break  # over the strength the loss has one valley: past it there are only slower fits
        best, least = head, loss
    return best


def probe_recipe(
    vectors: Floats, examples: Examples, *, strength: float | None = None, resampled: bool = False
) -> Recipe:
    """Return the probe as a recipe: training rows and a seed -> a function from rows to logits.

    Parameters
    ----------
    vectors
        Of all examples, length 1 each.
    strength
        Of the regularisation; None: chosen anew for each training, on val.
    resampled
        A fit has no randomness, so several seeds would tell nothing. With this, seed 0 uses the rows as they are, and
        every other one counts each group of photos by a draw of the exponential distribution: the Bayesian bootstrap
        (Rubin 1981), which shows how much hangs on which groups were there, and loses no class as drawing with
        replacement can. One seed counts a group the same in whatever rows it stands.
    """

    def train(rows: Ints, seed: int) -> Callable[[Ints], Floats]:
        counts = _group_counts(examples, seed)[rows] if resampled and seed else None
        if strength is None:
            head = fit_best(vectors, examples, rows, counts)
        else:
            head = fit_head(vectors[rows], examples.truth[rows], len(examples.labels), strength, counts)
        return lambda wanted: head.logits(vectors[wanted])

    return train


def _group_counts(examples: Examples, seed: int) -> Floats:
    """Return how much each photo counts, by its group; 1 in the mean."""
    import numpy as np

    names, number = np.unique(np.asarray(examples.groups), return_inverse=True)
    drawn: Floats = np.random.default_rng(seed).exponential(size=len(names))[number]
    return drawn


def cross_validate(vectors: Floats, examples: Examples, strength: float) -> dict[str, Any]:
    """Return the macro F1 of each fold of the clean photos, its mean and its standard deviation.

    The folds never part a group. The strength is the one that was chosen on the validation photos.
    """
    import numpy as np

    clean = examples.rows("train", "val", "test")
    folds = examples.fold[clean]
    scores = []
    for fold in np.unique(folds):
        inside, outside = clean[folds == fold], clean[folds != fold]
        if len(np.unique(examples.truth[outside])) < 2:
            continue
        head = fit_head(vectors[outside], examples.truth[outside], len(examples.labels), strength)
        predicted = head.logits(vectors[inside]).argmax(axis=1)
        scores.append(macro_f1(confusion_matrix(examples.truth[inside], predicted, len(examples.labels))))
    if not scores:
        return {"folds": 0, "macro_f1": None, "macro_f1_sd": None, "each": [], "strength": strength}
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return {
        "folds": len(scores),
        "macro_f1": float(np.mean(scores)),
        "macro_f1_sd": sd,
        "each": scores,
        "strength": strength,
    }


def save_head(head: Head, folder: Path) -> None:
    """Write ``probe.npz`` with ``weights`` and ``offset``; equal heads give equal bytes."""
    import numpy as np

    np.savez(folder / "probe.npz", weights=head.weights, offset=head.offset)
