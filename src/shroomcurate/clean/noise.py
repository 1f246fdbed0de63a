"""What noise looks like, learned across the classes: a photo of a mountain is as strange in one class as in another.

DBSCAN marks, class by class, the photos that lie outside their class. Each class alone knows little of them; all
classes together show what they have in common. A linear model of embedding and evidence is taught by these marks and
by a person's verdicts, and each photo is judged by the model that did *not* see its own mark: where mark and model
disagree, the many outvote the one.

The model is ridge regression on the marks, because leaving each photo out in turn then costs one matrix product
instead of one fit per photo (Allen 1974, https://doi.org/10.1080/00401706.1974.10489157), and Platt's logistic curve
(1999) turns its values into probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shroomcurate.vectors import unit_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.vectors import Vectors

#: How strongly the model is held back, against vectors of length one and weights of one on average. From 0.1 to 1 the
#: result hardly changes.
RIDGE = 0.3

#: Standard deviation that each number of the evidence gets beside a vector of length one.
EVIDENCE_SCALE = 0.1

#: Photos that one verdict of a person outweighs: it was looked at, a mark was only computed. From 3 to 30 the result
#: hardly changes.
VERDICT_WEIGHT = 10.0

#: Marks of noise below which the model stays silent: so few have nothing in common.
LEAST_MARKS = 5

_BLOCK = 4096


@dataclass(frozen=True)
class Judgement:
    """What the noise model says of each photo."""

    values: NDArray[np.float64]
    """Shape (photos,): above 0 is noise. Clumps are judged together."""
    alone: NDArray[np.float64]
    """The same of each photo alone: of a marked one, or one with a verdict, as if that had not been seen."""
    scores: NDArray[np.float64]
    """Shape (photos,): the probability of noise, 0..1, above 0.5 where the value is above 0."""


def judge_noise(
    vectors: Vectors,
    evidence: NDArray[np.float32],
    marks: NDArray[np.int8],
    verdicts: NDArray[np.int8],
    clumps: NDArray[np.int64],
) -> Judgement | None:
    """Judge every photo by what the marks of the others say.

    Parameters
    ----------
    vectors
        Shape (photos, length): the embeddings, of any length but zero.
    evidence
        Shape (photos, numbers); NaN where a number is not known.
    marks
        Shape (photos,): 1 outside its class, -1 inside, 0 where the rule has no opinion.
    verdicts
        Shape (photos,): 1 where a person removed, -1 where one kept, 0 without a verdict. They count instead of the
        mark, and :data:`VERDICT_WEIGHT` times as much.
    clumps
        Shape (photos,): photos of one number, 0 or above, lie in one tight clump and are judged together: half by
        themselves, half by the clump's mean. -1: alone.

    Returns
    -------
    Judgement or None
        None when there is nothing to learn: no photo that belongs, or fewer than :data:`LEAST_MARKS` that do not and
        no verdicts of both kinds; or marks that have nothing in common.
    """
    import numpy as np

    said = np.where(verdicts != 0, verdicts, marks).astype(np.float64)
    noise, belongs = said > 0, said < 0
    if not belongs.any() or (noise.sum() < LEAST_MARKS and not {-1, 1} <= set(verdicts.tolist())):
        return None
    # Halfway (by the square root) between each photo counting the same and both sides counting the same: the one is
    # blind to noise where there is little, the other sees it everywhere.
    weights = np.zeros(len(said))
    for side in (noise, belongs):
        weights[side] = (1 / side.sum()) ** 0.5
    weights /= weights[said != 0].mean()
    weights[verdicts != 0] = np.maximum(weights[verdicts != 0], 1) * VERDICT_WEIGHT
    alone = _leave_one_out(vectors, _standardised(evidence), said, weights)
    values = alone.copy()
    clumped = clumps >= 0
    if clumped.any():
        _, clump, sizes = np.unique(clumps[clumped], return_inverse=True, return_counts=True)
        values[clumped] = (alone[clumped] + (np.bincount(clump, alone[clumped]) / sizes)[clump]) / 2
    scores = _probabilities(values, said, weights)
    return None if scores is None else Judgement(values, alone, scores)


def _standardised(evidence: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each number with mean 0 and deviation :data:`EVIDENCE_SCALE`; the mean where it is not known."""
    import numpy as np

    known = np.isfinite(evidence)
    values = np.where(known, evidence, 0).astype(np.float64)
    count = np.maximum(known.sum(axis=0), 1)
    mean = values.sum(axis=0) / count
    values = np.where(known, values - mean, 0)
    deviation = np.sqrt((values**2).sum(axis=0) / count)
    return values * (EVIDENCE_SCALE / np.where(deviation > 0, deviation, np.inf))


def _leave_one_out(
    vectors: Vectors, evidence: NDArray[np.float64], said: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ridge regression's value for each photo, that of a taught one as if it had been left out."""
    import numpy as np

    width = vectors.shape[1] + evidence.shape[1] + 1

    def block(start: int) -> tuple[slice, NDArray[np.float64]]:
        rows = slice(start, start + _BLOCK)
        inputs = np.empty((len(vectors[rows]), width))
        inputs[:, : vectors.shape[1]] = unit_length(vectors[rows])
        inputs[:, vectors.shape[1] : -1] = evidence[rows]
        inputs[:, -1] = 1
        return rows, inputs

    gram, target = np.zeros((width, width)), np.zeros(width)
    for start in range(0, len(vectors), _BLOCK):
        rows, inputs = block(start)
        weighted = inputs * weights[rows, None]
        gram += weighted.T @ inputs
        target += weighted.T @ said[rows]
    penalty = np.full(width, RIDGE)
    penalty[-1] = 1e-9  # the constant is free
    inverse = np.linalg.inv(gram + np.diag(penalty))
    model = inverse @ target
    values = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        rows, inputs = block(start)
        fitted = inputs @ model
        leverage = weights[rows] * np.einsum("ij,ij->i", inputs @ inverse, inputs)
        values[rows] = fitted + (fitted - said[rows]) * leverage / np.maximum(1 - leverage, 1e-9)
    # Beyond five decimals the order of summation shows, and with it the machine.
    return values.round(5)


def _probabilities(
    values: NDArray[np.float64], said: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return Platt's probabilities; the curve passes through 0.5 at the value 0, so that both tell the same.

    None where a higher value does not foretell a mark: then the marks have nothing in common.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    taught = said != 0
    curve = LogisticRegression(C=1e6, fit_intercept=False)
    curve.fit(values[taught, None], said[taught] > 0, sample_weight=weights[taught])
    slope = float(curve.coef_[0, 0])
    if slope <= 0:
        return None
    probabilities = (1 / (1 + np.exp(-slope * values))).round(5)
    return np.asarray(np.where(values > 0, np.maximum(probabilities, 0.50001), np.minimum(probabilities, 0.5)))
