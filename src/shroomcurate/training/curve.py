"""The learning curve, which tells whether more photos of each class would help.

Trains the same recipe on ever fewer photos, and lays a power law through what the test says. What the curve cannot
carry is not answered: too few points, a target too far beyond the photos that are there, or an interval that holds
both answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.progress import Progress, silent
from shroomcurate.training.evaluation import MEASURES, Resampled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.data import Examples
    from shroomcurate.training.verdict import Recipe

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

#: The least number of training photos of a class: below, chance decides.
LEAST = 4
#: The share of classes that must have as many training photos as the curve's last point asks for.
MOST = 0.75
#: Points that a curve of three parameters needs to be more than a drawing.
POINTS = 4
#: How far beyond the last point the curve is believed, as a multiple of its photos.
REACH = 4.0
#: A rise that is worth the work: one point, of top-1 or of macro F1.
WORTH = 0.01
#: Photos of a class, for the question 'would 1,000 photos help?'.
MANY = 1000


def learning_curve(
    examples: Examples,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    resamples: int,
    seed: int,
    factor: float = 2.0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on ever fewer photos of each class, test on the same test photos, and say whether more would help.

    The points go down from what most classes have by `factor`. Whole groups are drawn, of each class by itself; of one
    seed the smaller set lies within the larger one. A class that has fewer photos gives all.

    Parameters
    ----------
    recipe
        Whose fits on the same rows differ by the seed or not at all; not by a resampling of its own.
    seeds
        Each draws other groups.
    resamples
        Bootstrap samples of the answers: of seeds, and of groups of the test photos.
    seed
        Of the bootstrap.
    factor
        From one point to the next.

    Returns
    -------
    dict
        ``points``: of each number ``wanted`` of training photos a class: ``per_class`` (the mean that whole groups
        gave), ``train_photos``, and of top-1 and macro F1 ``mean`` and ``sd`` over the seeds, with ``each``;
        ``test_photos``, ``test_groups``, ``seeds``; ``now``: what the classes have in the mean, ``photos`` in the
        dataset and ``train`` of them for training; and ``more``: for each measure what :func:`extrapolate` says.
    """
    import numpy as np

    test = examples.rows("test")
    per_class = np.bincount(examples.truth[examples.rows("train")], minlength=len(examples.labels))
    wanted = sizes(per_class.tolist(), factor)
    drawn = {each: _nested(examples, wanted, each) for each in seeds}
    called: list[Ints] = []
    for number, each in ((n, each) for n in range(len(wanted)) for each in seeds):
        progress(len(called), len(wanted) * len(seeds), "learning curve")
        called.append(recipe(drawn[each][number], each)(test).argmax(axis=1))
    progress(len(called), len(called), "learning curve")
    groups = [examples.groups[row] for row in test]
    tested = Resampled(examples.truth[test], np.stack(called), groups, len(examples.labels))
    shape = (len(wanted), len(seeds), len(MEASURES))
    found = tested.observed().reshape(shape)
    draws = tested.drawn(resamples, np.random.default_rng(seed)).reshape(len(wanted), len(seeds), resamples, -1)
    used = np.array([[len(drawn[each][n]) for each in seeds] for n in range(len(wanted))])
    means = (used / len(examples.labels)).mean(axis=1)
    photos = len(examples.rows("train", "val", "test")) / len(examples.labels)
    now = {"photos": photos, "train": float(per_class.mean())}
    picks = np.random.default_rng(seed + 1).integers(0, len(seeds), (len(seeds), resamples))
    return {
        "points": [
            {
                "wanted": n,
                "per_class": float(means[i]),
                "train_photos": float(used[i].mean()),
                **{measure: _spread(found[i, :, m]) for m, measure in enumerate(MEASURES)},
            }
            for i, n in enumerate(wanted)
        ],
        "seeds": list(seeds),
        "test_photos": len(test),
        "test_groups": tested.groups,
        "resamples": resamples,
        "now": now,
        "more": {
            measure: extrapolate(
                means,
                1 - found[:, :, m].mean(axis=1),
                1 - draws[:, picks, np.arange(resamples), m].mean(axis=1).T,
                now=now,
            )
            for m, measure in enumerate(MEASURES)
        },
    }


def sizes(per_class: Sequence[int], factor: float) -> list[int]:
    """Return the numbers of training photos of a class to try, fewest first.

    Parameters
    ----------
    per_class
        Training photos of each class. The last number is what most of them have (:data:`MOST`).
    """
    top = sorted(per_class, reverse=True)[max(0, round(MOST * len(per_class)) - 1)]
    found, n = [top], top / factor
    while round(n) >= LEAST:
        found.append(round(n))
        n /= factor
    return sorted(set(found))


def _nested(examples: Examples, wanted: Sequence[int], seed: int) -> list[Ints]:
    """Return the training rows for each number of photos a class: whole groups, the fewer within the more."""
    import numpy as np

    rng = np.random.default_rng(seed)
    chosen: list[list[int]] = [[] for _ in wanted]
    of_class: list[dict[str, list[int]]] = [defaultdict(list) for _ in examples.labels]
    for row in examples.rows("train").tolist():
        of_class[examples.truth[row]][examples.groups[row]].append(row)
    for groups in of_class:
        names = list(groups)
        order = [groups[names[i]] for i in rng.permutation(len(names))]
        reached = np.cumsum([len(rows) for rows in order])
        for i, n in enumerate(wanted):
            stop = int(np.abs(reached - n).argmin()) + 1  # the whole groups that come nearest
            chosen[i] += [row for rows in order[:stop] for row in rows]
    return [np.array(sorted(rows)) for rows in chosen]


def _spread(values: Floats) -> dict[str, Any]:
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "sd": sd, "each": values.tolist()}


# -- beyond the last point ---------------------------------------------------------------------------------------


class Curve(NamedTuple):
    """``error = a + b n^-c``."""

    a: float
    """What no number of photos would take away."""
    b: float
    c: float

    def error(self, n: Floats) -> Floats:
        """Return the error for these numbers of training photos of a class."""
        found: Floats = self.a + self.b * n**-self.c
        return found


def fit_curve(n: Floats, error: Floats, sd: Floats, start: Curve | None = None) -> Curve:
    """Return a, b and c of ``error = a + b n^-c``, by weighted least squares.

    The power law with a floor of Hestness et al. 2017, 'Deep Learning Scaling is Predictable, Empirically',
    https://arxiv.org/abs/1712.00409. The floor a lies between 0 and the least error; b is not negative, so more photos
    never harm; c lies between 0.05, hardly falling, and 2, steeper than any that was reported.

    Parameters
    ----------
    n
        Training photos of a class.
    error
        1 less the measure.
    sd
        How well each error is known.
    start
        A curve nearby; None: both a low and a high floor are tried, for the valley between them is long.
    """
    import numpy as np
    from scipy.optimize import least_squares

    low, high, first = float(error.min()), float(error.max()), float(n.min())
    ratio, weight = n / first, 1 / np.maximum(sd, 1e-3)  # in units of the first point, or b would span decades

    def miss(parameters: Floats) -> Floats:
        a, b, c = parameters
        found: Floats = weight * (a + b * ratio**-c - error)
        return found

    def slopes(parameters: Floats) -> Floats:
        _, b, c = parameters
        power = ratio**-c
        found: Floats = weight[:, None] * np.stack([np.ones_like(power), power, -b * power * np.log(ratio)], axis=1)
        return found

    top = max(low, 1e-9)
    if start is None:
        starts = [(low * part, max(high - low * part, 1e-6), c) for part, c in ((0.1, 0.5), (0.9, 1.0))]
    else:
        starts = [(min(start.a, top), start.b * first**-start.c, start.c)]
    bounds = ([0, 0, 0.05], [top, 10, 2])
    fits = [least_squares(miss, each, slopes, bounds=bounds) for each in starts]
    a, b, c = min(fits, key=lambda fit: float(fit.cost)).x
    return Curve(float(a), float(b * first**c), float(c))


def extrapolate(n: Floats, error: Floats, draws: Floats, *, now: dict[str, float]) -> dict[str, Any]:
    """Say whether twice as many photos, and a thousand, would help.

    Parameters
    ----------
    n
        Training photos of a class at each point, ``(points,)``.
    error
        1 less the measure at each point, ``(points,)``.
    draws
        The same of each bootstrap sample, ``(resamples, points)``.
    now
        Photos of a class in the dataset, ``photos``, and of these for training, ``train``.

    Returns
    -------
    dict
        ``curve``: ``a``, ``b``, ``c`` of :class:`Curve`, or None; ``off``: how far the points lie from it, root of
        the mean square; ``twice`` and ``thousand``, each with ``photos`` (of a class in the dataset), ``answer``
        (``yes``, ``no`` or ``cannot be said``), ``because`` in words, and where there is an answer, or an interval
        that holds both, ``gain`` with ``low`` and ``high``: by how much the measure would rise.
    """
    import numpy as np

    targets = {"twice": 2 * now["photos"], "thousand": float(MANY)}
    if len(n) < POINTS:
        why = f"{len(n)} points are too few for a curve; {POINTS} are the least"
        return {"curve": None, "off": None, **{name: _unsaid(photos, why) for name, photos in targets.items()}}
    sd = draws.std(axis=0)
    curve = fit_curve(n, error, sd)
    fits = np.array([fit_curve(n, each, sd, curve) for each in draws])
    off = float(np.sqrt(np.mean((curve.error(n) - error) ** 2)))
    # What all points share, the luck of the test photos, does not move them off the curve.
    noise = float((draws - draws.mean(axis=1, keepdims=True)).std(axis=0).mean())
    share = now["train"] / now["photos"]

    def gain(curves: Floats, photos: float) -> Floats:
        _, b, c = np.moveaxis(curves, -1, 0)
        found: Floats = b * (now["train"] ** -c - (photos * share) ** -c)
        return found

    def answer(photos: float) -> dict[str, Any]:
        if photos <= now["photos"]:
            return _unsaid(photos, f"the classes have {now['photos']:.0f} photos in the mean already")
        if photos * share > REACH * n.max():
            beyond = f"more than {REACH:g} times the {n.max():.0f} that were seen"
            return _unsaid(photos, f"that is {photos * share:.0f} training photos, {beyond}")
        if off > max(WORTH, 2 * noise):
            return _unsaid(photos, f"the points lie {100 * off:.1f} points off any such curve")
        low, high = np.percentile(gain(fits, photos), [2.5, 97.5])
        found = {"gain": float(gain(np.array(curve), photos)), "low": float(low), "high": float(high)}
        if low > WORTH:
            return {"photos": photos, "answer": "yes", "because": "the whole interval is above one point", **found}
        if high < WORTH:
            return {"photos": photos, "answer": "no", "because": "the whole interval is below one point", **found}
        return _unsaid(photos, "the interval holds less than one point and more") | found

    return {"curve": curve._asdict(), "off": off, **{name: answer(photos) for name, photos in targets.items()}}


def _unsaid(photos: float, because: str) -> dict[str, Any]:
    return {"photos": photos, "answer": "cannot be said", "because": because, "gain": None, "low": None, "high": None}
