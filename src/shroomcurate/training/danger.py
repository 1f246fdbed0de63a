"""What a mistake would mean to somebody who eats by it: pure functions of probabilities and words on edibility.

A species' word is one of :data:`WORDS`. 'Dangerous' is poisonous or deadly. A photo is *called edible* when the class
that the model finds likeliest is an edible one, and the model is surer of it than a threshold; below that it says that
it does not know, which is never dangerous here.

These figures speak of the classes in the dataset only. A deadly species that is none of them is not in the test, and
the model can only take it for something else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Words = NDArray[np.str_]
    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

EDIBLE, INEDIBLE, POISONOUS, DEADLY, UNKNOWN = WORDS = ("edible", "inedible", "poisonous", "deadly", "unknown")
#: What must not be eaten.
DANGEROUS = (POISONOUS, DEADLY)


def danger(
    probabilities: Floats,
    truth: Ints,
    labels: Sequence[str],
    words: Mapping[str, str],
    cost: float = 100.0,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return every figure about edibility on the test photos, as plain JSON-able values; None where there is none.

    Parameters
    ----------
    probabilities
        Calibrated, ``(photos, classes)``.
    truth
        Class numbers, ``(photos,)``.
    labels
        Class number -> class.
    words
        Class -> its word; a class that is not in it is ``unknown``.
    cost
        What eating a dangerous one costs, where leaving an edible one costs 1.
    groups
        What each photo hangs together with, such as its observation or its group in the split: the bound on what
        remains then also counts these, for photos of one mushroom are not independent.

    Returns
    -------
    dict
        ``classes`` and ``test_photos``: how many there are of each word. ``recall_poisonous``: the share of the photos
        of dangerous species whose likeliest class is a dangerous one, with its ``photos``.
        ``poisonous_taken_for_edible``, ``deadly_taken_for_edible`` (part of it) and ``unknown_taken_for_edible`` (which
        may be anything): see :func:`_taken_for_edible`. ``expected_cost``: the mean over all photos, see
        :func:`expected_cost`. ``abstention``: for ``deadly`` and for ``poisonous`` (deadly ones included) see
        :func:`_abstention`. ``notes``: in words, which figure is missing and why.
    """
    import numpy as np

    word = np.array([words.get(label, UNKNOWN) for label in labels])
    if not set(word.tolist()) <= set(WORDS):
        raise ValueError(f"not a word on edibility: {sorted(set(word.tolist()) - set(WORDS))}")
    called, certainty = probabilities.argmax(axis=1), np.minimum(probabilities.max(axis=1), 1)
    true, said = word[truth], word[called]
    dangerous, edible = np.isin(true, DANGEROUS), said == EDIBLE
    number = {each: int((word == each).sum()) for each in WORDS}
    some_dangerous, some_edible = bool(dangerous.any()), EDIBLE in word
    photos = Photos(true, said, called == truth, certainty, groups)

    def taken(which: Bools) -> dict[str, Any] | None:
        return _taken_for_edible(which, edible, truth, called, labels) if some_edible and which.any() else None

    return {
        "classes": number,
        "test_photos": {each: int((true == each).sum()) for each in WORDS},
        "recall_poisonous": {
            "share": float(np.isin(said[dangerous], DANGEROUS).mean()),
            "photos": int(dangerous.sum()),
        }
        if some_dangerous
        else None,
        "poisonous_taken_for_edible": taken(dangerous),
        "deadly_taken_for_edible": taken(true == DEADLY),
        "unknown_taken_for_edible": taken(true == UNKNOWN),
        "cost": cost,
        "expected_cost": expected_cost(photos, 0.0, cost) if some_dangerous and some_edible else None,
        "abstention": {
            "deadly": _abstention(photos, (DEADLY,), cost) if some_edible else None,
            "poisonous": _abstention(photos, DANGEROUS, cost) if some_edible else None,
        },
        "notes": _notes(number),
    }


@dataclass(frozen=True)
class Photos:
    """The test photos as edibility sees them, ``(photos,)`` each."""

    true: Words
    """The word of the true class."""
    said: Words
    """The word of the likeliest class."""
    right: Bools
    """Whether the two classes are one."""
    certainty: Floats
    """The probability of the likeliest class, calibrated."""
    groups: Sequence[str] | None = None

    def called_edible(self, threshold: float) -> Bools:
        """Return which photos are called edible by a model that is silent where it is no surer than this."""
        found: Bools = (self.said == EDIBLE) & (self.certainty > threshold)
        return found


def _notes(number: Mapping[str, int]) -> list[str]:
    notes = []
    if not number[EDIBLE]:
        notes.append("no class of the dataset is known to be edible, so no photo can be called so")
    if not number[DEADLY]:
        notes.append("no class of the dataset is known to be deadly: nothing is said of deadly species")
    if not number[DEADLY] + number[POISONOUS]:
        notes.append("no class of the dataset is known to be poisonous: nothing is said of poisonous species")
    if number[UNKNOWN]:
        one = number[UNKNOWN] == 1
        notes.append(
            f"of {number[UNKNOWN]} class{'' if one else 'es'} it is not known whether {'it is' if one else 'they are'} "
            "edible; photos of them count as neither"
        )
    return notes


def _taken_for_edible(which: Bools, edible: Bools, truth: Ints, called: Ints, labels: Sequence[str]) -> dict[str, Any]:
    """Return how many of these photos are called edible, without any threshold.

    Returns
    -------
    dict
        ``count``, ``photos`` (of how many), ``share``, and ``pairs``: ``class``, ``taken_for``, ``photos``, most first.
    """
    chosen = which & edible
    pairs = Counter(zip(truth[chosen].tolist(), called[chosen].tolist(), strict=True))
    count, photos = int(chosen.sum()), int(which.sum())
    return {
        "count": count,
        "photos": photos,
        "share": count / photos,
        "pairs": [
            {"class": labels[true], "taken_for": labels[other], "photos": n}
            for (true, other), n in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
    }


def expected_cost(photos: Photos, threshold: float, cost: float) -> float:
    """Return the mean cost of a photo: `cost` for a dangerous one called edible, 1 for an edible one that is not.

    An edible one is lost when it is taken for anything else and when the model says that it does not know. All the rest
    is free; so are photos of unknown species, which count among the photos all the same.
    """
    import numpy as np

    edible = photos.called_edible(threshold)
    poisoned = np.isin(photos.true, DANGEROUS) & edible
    lost = (photos.true == EDIBLE) & ~edible
    return float((cost * poisoned + lost).mean())


def _abstention(photos: Photos, kinds: Sequence[str], cost: float) -> dict[str, Any] | None:
    """Return the smallest threshold at which no test photo of these kinds is called edible, and what it costs.

    The model answers when its calibrated certainty is *above* the threshold. It is 0 where the model never called such
    a photo edible, and rounded up to six decimals, so that it lets none through once it is stored either.

    Returns
    -------
    dict or None
        ``threshold``; ``photos`` of these kinds in the test; ``answered``: the share of all test photos that still get
        an answer, with ``top1`` of these (None where there is none); ``edible_called_edible``: of the photos of edible
        species the share that is still called edible, with its ``edible_photos``; ``expected_cost``; ``bound``: with
        95 % certainty no more than this share of further photos of these kinds is called edible, see :func:`bound`, and
        ``bound_by_group`` for groups in the place of photos, the one to believe. None where the test has no such photo.
    """
    import numpy as np

    which = np.isin(photos.true, kinds)
    if not which.any():
        return None
    threshold = _rounded_up(float(photos.certainty[which & photos.called_edible(0)].max(initial=0)))
    answered, edible = photos.certainty > threshold, photos.true == EDIBLE
    inside = None if photos.groups is None else len({photos.groups[i] for i in np.flatnonzero(which).tolist()})
    return {
        "threshold": threshold,
        "photos": int(which.sum()),
        "answered": float(answered.mean()),
        "top1": float(photos.right[answered].mean()) if answered.any() else None,
        "edible_called_edible": float(photos.called_edible(threshold)[edible].mean()) if edible.any() else None,
        "edible_photos": int(edible.sum()),
        "expected_cost": expected_cost(photos, threshold, cost),
        "test_photos": len(photos.true),
        "bound": bound(int(which.sum())),
        "groups": inside,
        "bound_by_group": None if inside is None else bound(inside),
    }


def _rounded_up(certainty: float) -> float:
    # predictions.parquet holds single precision, which lies up to 6e-8 above.
    return min(1.0, math.ceil((certainty + 1e-7) * 1e6) / 1e6) if certainty else 0.0


def bound(number: int) -> float:
    """Return the rate that a test of this many photos without one failure excludes, one-sided, at 95 %.

    That is ``1 - 0.05 ** (1 / number)`` (Clopper and Pearson 1934): 3 of 100 where 100 photos passed, the 'rule of
    three'. It holds although the threshold was found on the same photos: how many new ones exceed the greatest of n
    follows the same distribution (Wilks 1941, 'Determination of sample sizes for setting tolerance limits').
    """
    found: float = 1 - 0.05 ** (1 / number)
    return found
