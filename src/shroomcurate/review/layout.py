"""Where each photo lies on the map of the dataset: its embedding in two dimensions.

Two methods. PCA (Pearson 1901, https://doi.org/10.1080/14786440109462720) needs seconds, and its axes mean the same
everywhere; but two axes hold little of what 576 numbers say. UMAP (McInnes et al. 2018,
https://arxiv.org/abs/1802.03426) keeps neighbours together, so that clumps come apart; it needs minutes, and the
package umap-learn.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from shroomcurate.errors import StageMissing, TooLittleData
from shroomcurate.vectors import unit_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.vectors import Vectors

    Points = NDArray[np.float32]

METHODS = ("pca", "umap")

#: The largest coordinate; the smallest is 0. Finer than any screen, and two bytes a number.
LARGEST = 65_535

#: Photos that the axes of PCA are found from. A covariance of 576 x 576 is settled long before.
_SAMPLE = 10_000

#: Photos at a time, so that a copy of their vectors stays small.
_BLOCK = 8192

#: UMAP looks at so many of PCA's axes: neighbours are found several times faster, and are the same but for few.
_AXES = 50

#: Neighbours that UMAP keeps together, its own default; with fewer photos than that there is nothing to tell.
_NEIGHBOURS = 15


def pca(vectors: Vectors) -> tuple[Points, float]:
    """Return the photos on the two axes along which they differ most, and the share of the variance on these.

    Vectors count by their direction, as in cleaning. One without direction (zeros, NaN) lies in the middle. The same
    vectors give the same points, signs included: each axis' largest component is positive.

    Parameters
    ----------
    vectors
        Shape (photos, length).

    Returns
    -------
    points, share
        Shape (photos, 2); 0..1.
    """
    return _project(vectors, 2)


def umap(vectors: Vectors, seed: int = 0) -> Points:
    """Return the photos in two dimensions such that those near each other in cosine distance stay so.

    Parameters
    ----------
    vectors
        Shape (photos, length).
    seed
        The same seed gives the same points on the same machine, at the price of one thread.

    Returns
    -------
    points
        Shape (photos, 2).

    Raises
    ------
    StageMissing
        The package umap-learn is not installed.
    TooLittleData
        There are no more photos than neighbours to keep together.
    """
    refuse_umap(len(vectors))
    import numpy as np
    from umap import UMAP

    # Of vectors of length one, half the squared distance is the cosine distance: Euclid finds the same neighbours.
    axes, _ = _project(vectors, _AXES)
    reducer = UMAP(n_neighbors=_NEIGHBOURS, metric="euclidean", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(axes), np.float32)


def umap_installed() -> bool:
    """Return whether the package umap-learn is there."""
    return find_spec("umap") is not None


def refuse_umap(photos: int) -> None:
    """Say why there can be no UMAP of so many photos.

    Raises
    ------
    StageMissing
        The package umap-learn is not installed.
    TooLittleData
        There are no more photos than neighbours to keep together.
    """
    if not umap_installed():
        raise StageMissing(
            "UMAP needs the package umap-learn, which is not installed.",
            "Type: pip install umap-learn, then start shroomcurate review again. Meanwhile there is PCA.",
        )
    if photos <= _NEIGHBOURS:
        raise TooLittleData(
            f"UMAP needs more than {_NEIGHBOURS} photos; there are {photos}.", "Look at them by PCA instead."
        )


def _project(vectors: Vectors, count: int) -> tuple[Points, float]:
    """Return the photos on their first principal axes, and the share of the variance on these."""
    import numpy as np

    chosen = np.arange(len(vectors))
    if len(vectors) > _SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(len(vectors), _SAMPLE, replace=False))
    sample = _directions(vectors[chosen]).astype(np.float64)
    sample = sample[sample.any(axis=1)]
    points = np.zeros((len(vectors), count), np.float32)
    if not len(sample):
        return points, 0.0
    mean = sample.mean(axis=0)
    sample -= mean
    variances, axes = np.linalg.eigh(sample.T @ sample)
    axes = axes[:, ::-1][:, :count]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    for start in range(0, len(vectors), _BLOCK):
        block = _directions(vectors[start : start + _BLOCK])
        places = (block - mean.astype(np.float32)) @ axes.astype(np.float32)
        points[start : start + _BLOCK, : axes.shape[1]] = places * block.any(axis=1, keepdims=True)
    total = float(variances.sum())
    return points, float(variances[::-1][:count].sum()) / total if total > 0 else 0.0


def _directions(vectors: Vectors) -> Vectors:
    """Return vectors of length one; zeros for those without direction."""
    import numpy as np

    return unit_length(np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, np.float32(0)))


def on_grid(points: Points) -> NDArray[np.uint16]:
    """Return points as numbers 0..65535, shape (photos, 2): one scale for both axes, the shorter one in the middle."""
    import numpy as np

    if not len(points):
        return np.zeros((0, 2), np.uint16)
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    span = float((high - low).max())
    if span <= 0:
        return np.full(points.shape, LARGEST // 2 + 1, np.uint16)
    shift = (span - (high - low)) / 2
    return np.asarray(np.rint((points - low + shift) / span * LARGEST), np.uint16)
