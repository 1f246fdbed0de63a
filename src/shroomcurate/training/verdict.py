"""The verdict on the dataset: did cleaning help, would more photos help, and which classes drag.

Pure functions over a recipe, the one thing that knows a model: the linear probe and a network are asked the same. They
return plain JSON-able figures, each with the number of test photos behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from shroomcurate.progress import Progress, silent
from shroomcurate.training.data import REMOVED, REMOVED_TEST, REMOVED_VAL
from shroomcurate.training.evaluation import (
    MEASURES,
    bootstrap_difference,
    confusion_matrix,
    macro_f1,
    most_confused,
    precision_recall_f1,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.data import Examples

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

    #: Training rows and a seed -> the trained model: a function from rows to logits, ``(rows, classes)``.
    Recipe = Callable[[Ints, int], Callable[[Ints], Floats]]

#: A class has few training photos below this share of the median class's, and many removed ones above this multiple of
#: the median class's share, and above a tenth.
FEW, MANY, TENTH = 0.5, 2.0, 0.1


# -- raw against cleaned -----------------------------------------------------------------------------------------


def raw_against_clean(
    examples: Examples,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    resamples: int,
    seed: int,
    model_name: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train one recipe on the clean and on the raw training photos, and test both on the same photos.

    Tested on the clean test photos and on the raw test, which is these and the removed photos that stand on their side
    of the split, labelled as iNaturalist labels them. The first says what cleaning does for photos as they should be;
    the second what it does for photos as they come, where no model can know a forest floor's species.

    Parameters
    ----------
    seeds
        Each trains twice. Raw and clean of one seed are a pair.
    resamples
        Bootstrap samples of the intervals.
    seed
        Of the bootstrap.
    model_name
        What to call the recipe.

    Returns
    -------
    dict
        ``model``, ``seeds``, ``train_photos`` and ``added`` (removed photos by reason) say what was trained. Then
        those of :func:`_compared` for the clean test, and under ``on_raw_test`` for the raw one; None where cleaning
        removed nothing on the test's side.
    """
    import numpy as np

    trained_on = {"raw": examples.rows("train", REMOVED), "clean": examples.rows("train")}
    clean_test, whole_test = examples.rows("test"), examples.rows("test", REMOVED_TEST)
    called: dict[str, Ints] = {}
    steps = len(seeds) * len(trained_on)
    for turn, (name, rows) in enumerate(trained_on.items()):
        each = []
        for i, number in enumerate(seeds):
            progress(turn * len(seeds) + i, steps, "raw against cleaned")
            each.append(recipe(rows, number)(whole_test).argmax(axis=1))
        called[name] = np.stack(each)
    progress(steps, steps, "raw against cleaned")

    return {
        "model": model_name,
        "seeds": list(seeds),
        "train_photos": {name: len(rows) for name, rows in trained_on.items()},
        "added": _reasons(examples, REMOVED),
        **_compared(examples, clean_test, whole_test, called, resamples, seed),
    }


def raw_against_clean_by_fold(
    examples: Examples, recipe: Recipe, *, resamples: int, seed: int, model_name: str, progress: Progress = silent
) -> dict[str, Any]:
    """Ask the same of all photos: each fold is tested by models that were trained on the others.

    Several times as many test photos as one split has, so an interval about half as wide; but no two folds' training
    sets are independent, which the interval does not know.

    Parameters
    ----------
    recipe
        One that does not choose by val, whose photos are among those trained on here. It is given seed 0.

    Returns
    -------
    dict
        ``model``, ``folds``, and as of :func:`raw_against_clean`, of all photos in the place of the test's.
    """
    import numpy as np

    clean = examples.rows("train", "val", "test")
    whole = examples.rows("train", "val", "test", REMOVED, REMOVED_VAL, REMOVED_TEST)
    folds = np.unique(examples.fold[clean])
    called: dict[str, Ints] = {name: np.zeros((1, len(whole)), np.int64) for name in ("raw", "clean")}
    for turn, fold in enumerate(folds):
        progress(turn, len(folds), "raw against cleaned by fold")
        inside = examples.fold[whole] == fold
        for name, rows in (("raw", whole), ("clean", clean)):
            model = recipe(rows[examples.fold[rows] != fold], 0)
            called[name][0, inside] = model(whole[inside]).argmax(axis=1)
    progress(len(folds), len(folds), "raw against cleaned by fold")
    return {
        "model": model_name,
        "folds": len(folds),
        **_compared(examples, clean, whole, called, resamples, seed),
    }


def _compared(
    examples: Examples, clean: Ints, whole: Ints, called: dict[str, Ints], resamples: int, seed: int
) -> dict[str, Any]:
    """Return what :func:`_tested` says of the clean ones of these photos, and of all under ``on_raw_test``."""
    import numpy as np

    inside = np.isin(whole, clean)
    added = Counter(str(examples.reasons[row]) for row in whole[~inside])
    raw = _tested(examples, whole, called, resamples, seed) | {"added": dict(sorted(added.items()))} if added else None
    clean_called = {name: each[:, inside] for name, each in called.items()}
    return {**_tested(examples, clean, clean_called, resamples, seed), "resamples": resamples, "on_raw_test": raw}


def _tested(examples: Examples, rows: Ints, called: dict[str, Ints], resamples: int, seed: int) -> dict[str, Any]:
    """Return how the two do on these rows.

    Returns
    -------
    dict
        ``raw`` and ``clean``: ``top1`` and ``macro_f1``, means over the seeds; ``each``: the same of each seed;
        ``difference``: clean less raw with its interval; ``test_photos``, ``test_groups``.
    """
    truth, groups = examples.truth[rows], [examples.groups[row] for row in rows]
    classes = len(examples.labels)
    each = {name: [scores(truth, one, classes) for one in predicted] for name, predicted in called.items()}
    return {
        **{
            name: {measure: sum(one[measure] for one in found) / len(found) for measure in MEASURES}
            for name, found in each.items()
        },
        "each": each,
        "difference": bootstrap_difference(
            truth, called["raw"], called["clean"], groups, classes=classes, resamples=resamples, seed=seed
        ),
        "test_photos": len(rows),
        "test_groups": len(set(groups)),
    }


def scores(truth: Ints, predicted: Ints, classes: int) -> dict[str, float]:
    """Return ``top1`` and ``macro_f1``."""
    return {
        "top1": float((predicted == truth).mean()),
        "macro_f1": macro_f1(confusion_matrix(truth, predicted, classes)),
    }


def _reasons(examples: Examples, split: str) -> dict[str, int]:
    counts = Counter(str(examples.reasons[row]) for row in examples.rows(split))
    return dict(sorted(counts.items()))


# -- what is confused --------------------------------------------------------------------------------------------


def dragging(examples: Examples, logits: Floats, at_most: int = 20) -> list[dict[str, Any]]:
    """Return the classes that pull macro F1 down, worst first, and what may explain it.

    Parameters
    ----------
    logits
        Of the test photos, in the order of their rows.

    Returns
    -------
    list of dict
        ``class``, ``precision``, ``recall``, ``f1``, ``test_photos``, ``train_photos``, ``removed`` (photos that
        cleaning took out, duplicates aside); ``taken_for``: other classes that its photos were called, and
        ``mistaken_for_it``: classes whose photos were called it, most often first; ``gain``: by how much macro F1 would
        rise without all these mistakes; ``why``: words, empty where neither the number of its photos nor cleaning sets
        it apart. Gains of two classes that are taken for each other count the same mistakes.
    """
    import numpy as np

    test, classes = examples.rows("test"), len(examples.labels)
    matrix = confusion_matrix(examples.truth[test], logits.argmax(axis=1), classes)
    precision, recall, f1 = precision_recall_f1(matrix)
    train = np.bincount(examples.truth[examples.rows("train")], minlength=classes)
    noise = [reason not in {None, "duplicate"} for reason in examples.reasons]
    removed = np.bincount(examples.truth[noise], minlength=classes)
    kept = np.bincount(examples.truth[examples.rows("train", "val", "test")], minlength=classes)
    share = removed / np.maximum(kept + removed, 1)
    before = macro_f1(matrix)
    found: list[dict[str, Any]] = []
    for number, label in enumerate(examples.labels):
        gain = macro_f1(_without_mistakes(matrix, number)) - before
        if gain > 0:
            found.append(
                {
                    "class": label,
                    "precision": float(precision[number]),
                    "recall": float(recall[number]),
                    "f1": float(f1[number]),
                    "test_photos": int(matrix[number].sum()),
                    "train_photos": int(train[number]),
                    "removed": int(removed[number]),
                    "taken_for": _others(matrix[number], number, examples.labels),
                    "mistaken_for_it": _others(matrix[:, number], number, examples.labels),
                    "gain": gain,
                    "why": _why(number, train.tolist(), share.tolist()),
                }
            )
    return sorted(found, key=lambda row: (-row["gain"], row["class"]))[:at_most]


def _without_mistakes(matrix: Ints, number: int) -> Ints:
    """Return the confusion matrix had nobody mistaken this class for another, nor another for it."""
    mended = matrix.copy()
    for other in range(len(matrix)):
        if other != number:
            mended[other, other] += mended[other, number]
            mended[number, number] += mended[number, other]
            mended[other, number] = mended[number, other] = 0
    return mended


def _others(counts: Ints, number: int, labels: Sequence[str]) -> list[dict[str, Any]]:
    pairs = [(-int(count), labels[i]) for i, count in enumerate(counts) if count and i != number]
    return [{"class": label, "photos": -count} for count, label in sorted(pairs)]


def _why(number: int, train: Sequence[int], share: Sequence[float]) -> list[str]:
    words = []
    if train[number] < FEW * median(train):
        words.append(f"{train[number]} training photos, where the median class has {median(train):g}")
    if share[number] > max(MANY * median(share), TENTH):
        words.append(f"cleaning took out {share[number]:.0%} of it, of the median class {median(share):.0%}")
    return words


def confused_photos(
    examples: Examples, probabilities: Floats, pairs: int = 10, photos_each: int = 3
) -> list[dict[str, Any]]:
    """Return the pairs of classes most often mistaken for each other, with the photos where the model was surest.

    Parameters
    ----------
    probabilities
        Calibrated ones of the test photos, in the order of their rows.
    photos_each
        Photos at most of each direction.

    Returns
    -------
    list of dict
        As :func:`shroomcurate.training.evaluation.most_confused`, and ``photos``: ``path``, ``class``, ``taken_for``
        and ``certainty`` (0..1), the surest first.
    """
    test = examples.rows("test")
    called, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for i, row in enumerate(test):
        true, taken_for = examples.labels[examples.truth[row]], examples.labels[called[i]]
        photo = {"path": examples.paths[row], "class": true, "taken_for": taken_for, "certainty": float(certainty[i])}
        wrong.setdefault((true, taken_for), []).append(photo)
    found = most_confused(confusion_matrix(examples.truth[test], called, len(examples.labels)), examples.labels, pairs)
    for pair in found:
        one, other = pair["classes"]
        both = ((one, other), (other, one))
        ordered = [sorted(wrong.get(way, ()), key=lambda photo: (-photo["certainty"], photo["path"])) for way in both]
        pair["photos"] = [photo for way in ordered for photo in way[:photos_each]]
    return found
