"""Cross-validation: how far a figure hangs on which photos happened to be the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shroomcurate.training.evaluation import MEASURES, confusion_matrix, macro_f1

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.data import Examples

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

    #: Training rows and test rows -> logits of the latter.
    Fitted = Callable[[Ints, Ints], Floats]


def cross_validate(examples: Examples, fitted: Fitted, model: str) -> dict[str, Any]:
    """Train on all folds but one, test on that one, for each fold of the clean photos. Folds never part a group.

    Returns
    -------
    dict
        ``model``, ``folds`` (those whose training had two classes), ``photos``; ``top1`` and ``macro_f1``, means, with
        the standard deviation between the folds (``…_sd``; None for fewer than two); ``each`` fold's macro F1.
    """
    import numpy as np

    clean = examples.rows("train", "val", "test")
    folds = examples.fold[clean]
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    photos = 0
    for fold in np.unique(folds):
        inside, outside = clean[folds == fold], clean[folds != fold]
        if len(np.unique(examples.truth[outside])) < 2:
            continue
        truth, called = examples.truth[inside], fitted(outside, inside).argmax(axis=1)
        found["top1"].append(float((truth == called).mean()))
        found["macro_f1"].append(macro_f1(confusion_matrix(truth, called, len(examples.labels))))
        photos += len(inside)
    summary: dict[str, Any] = {"model": model, "folds": len(found["top1"]), "photos": photos, "each": found["macro_f1"]}
    for measure, each in found.items():
        summary[measure] = float(np.mean(each)) if each else None
        summary[f"{measure}_sd"] = float(np.std(each, ddof=1)) if len(each) > 1 else None
    return summary
