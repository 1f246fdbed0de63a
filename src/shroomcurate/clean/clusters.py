"""Which photos of a class are the class: DBSCAN on the cosine distance of the embeddings.

Ester et al. 1996, https://doi.org/10.5555/3001460.3001507. Memory stays flat however large the class: above
:data:`SAMPLE` photos DBSCAN sees a sample, and the others join the cluster of the nearest core photo within eps
(DBSCAN++, Jang and Jiang 2019, https://arxiv.org/abs/1810.13105).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.clean.options import CleanOptions
    from shroomcurate.vectors import Vectors

#: Photos of a class that DBSCAN sees at once.
SAMPLE = 3000

#: Photos that make a clump outside the class.
CLUMP = 4

#: Where ``--auto-eps`` may lie. Outside it the curve has no knee worth the name.
AUTO_EPS = (0.15, 0.45)


@dataclass(frozen=True)
class ClassShape:
    """How the photos of one class lie to each other."""

    clusters: NDArray[np.int32]
    """Shape (photos,): 0 .. for the clusters that are the class, the largest first; -1 outside. All -1 when the class
    is left alone."""
    distances: NDArray[np.float64]
    """Shape (photos,): cosine distance to the mean of the photos that are the class (of all, when left alone)."""
    clumps: NDArray[np.int64]
    """Shape (photos,): tight clumps of photos outside the class, 0 ..; -1 for all others."""
    left_alone: str | None
    """Why the class was not judged; None when it was."""
    eps: float
    """The radius that was used."""


def shape_of(vectors: Vectors, options: CleanOptions, order: Sequence[int] | None = None) -> ClassShape:
    """Cluster the photos of one class and say which clusters are the class.

    Parameters
    ----------
    vectors
        Shape (photos, length), each of length one.
    order
        The order in which photos are drawn for the sample when the class is larger than :data:`SAMPLE`.
    """
    import numpy as np

    order = order if order is not None else range(len(vectors))
    eps = knee(vectors, options, order) if options.auto_eps else options.eps
    clusters, left_alone = _clusters(vectors, eps, options, order)
    clumps = np.full(len(vectors), -1, np.int64)
    outside = np.flatnonzero(clusters < 0)
    if left_alone is None and len(outside) >= CLUMP:
        sample = np.argsort(_places(order)[outside])[:SAMPLE]
        clumps[outside] = _dbscan(vectors[outside], np.sort(sample), eps, CLUMP)
    members = vectors if left_alone is not None else vectors[clusters >= 0]
    return ClassShape(clusters, _distances(vectors, members), clumps, left_alone, eps)


def _places(order: Sequence[int]) -> NDArray[np.int64]:
    """Return the place of each photo in the order."""
    import numpy as np

    places = np.empty(len(order), np.int64)
    places[np.asarray(order)] = np.arange(len(order))
    return places


def _clusters(
    vectors: Vectors, eps: float, options: CleanOptions, order: Sequence[int]
) -> tuple[NDArray[np.int32], str | None]:
    """Return the clusters that are the class, and why it is left alone or None."""
    import numpy as np

    count = len(vectors)
    nothing = np.full(count, -1, np.int32)
    if count < 3 * options.min_samples:
        return nothing, f"too few to tell: {count} of the {3 * options.min_samples} photos that are needed"
    sample = np.sort(np.asarray(order)[:SAMPLE])
    labels = _dbscan(vectors, sample, eps, _neighbours(options, len(sample)))
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    # The largest first; of equal ones that with the first photo, which is DBSCAN's own order.
    large = [label for size, label in sorted(zip(-sizes, found, strict=True)) if -size >= options.min_share * count]
    if not large:
        return nothing, f"no cluster holds {options.min_share:.0%} of its {count} photos"
    result = nothing.copy()
    for number, label in enumerate(large):
        result[labels == label] = number
    outside = int((result < 0).sum())
    if outside > options.max_share * count:
        return nothing, f"{outside} of {count} photos lie outside its clusters, more than {options.max_share:.0%}"
    return result, None


def _neighbours(options: CleanOptions, photos: int) -> int:
    """Return how many neighbours, itself included, make one of so many photos the core of a cluster."""
    return max(options.min_samples, round(options.min_density * photos))


def _dbscan(vectors: Vectors, sample: NDArray[np.int64], eps: float, min_samples: int) -> NDArray[np.int64]:
    """Return the DBSCAN cluster of each photo; photos outside the sample join the nearest core within eps."""
    import numpy as np
    from sklearn.cluster import DBSCAN

    seen = vectors[sample]
    # With the distances made here, by one matrix product, DBSCAN takes half the time.
    distances = np.clip(1 - seen @ seen.T, 0, None)
    model = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distances)
    labels = np.full(len(vectors), -1, np.int64)
    labels[sample] = model.labels_
    cores = sample[model.core_sample_indices_]
    others = np.setdiff1d(np.arange(len(vectors)), sample)
    if len(cores):
        for start in range(0, len(others), SAMPLE):
            block = others[start : start + SAMPLE]
            likeness = vectors[block] @ vectors[cores].T
            nearest = likeness.argmax(axis=1)
            near = likeness[np.arange(len(block)), nearest] >= 1 - eps
            labels[block[near]] = labels[cores[nearest[near]]]
    return labels


def _distances(vectors: Vectors, members: Vectors) -> NDArray[np.float64]:
    import numpy as np

    centre = members.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(centre))
    centre = centre / length if length > 0 else centre
    # Five decimals: beyond them the order of summation shows, and with it the machine.
    return np.asarray(np.clip(1 - vectors @ centre, 0, 2).round(5), np.float64)


def knee(vectors: Vectors, options: CleanOptions, order: Sequence[int]) -> float:
    """Return the eps at the knee of the k-distance curve, within :data:`AUTO_EPS`.

    The curve is each photo's distance to its k-th neighbour, k the neighbours that make a core, in rising order; its
    knee is the point furthest below the straight line between its ends (Satopää et al. 2011, Finding a "Kneedle" in a
    Haystack, https://doi.org/10.1109/ICDCSW.2011.20). Left of it lie the photos with company, right of it the others.
    """
    import numpy as np

    sample = vectors[np.sort(np.asarray(order)[:SAMPLE])]
    k = _neighbours(options, len(sample)) - 1
    if len(sample) <= k + 2:
        return options.eps
    likeness = sample @ sample.T
    curve = np.sort(1 - np.partition(likeness, len(sample) - 1 - k, axis=1)[:, len(sample) - 1 - k])
    span = float(curve[-1] - curve[0])
    if span <= 0:
        return options.eps
    below = np.linspace(0, 1, len(curve)) - (curve - curve[0]) / span
    return round(float(np.clip(curve[int(below.argmax())], *AUTO_EPS)), 3)
