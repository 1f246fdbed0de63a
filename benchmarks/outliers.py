"""What others use to find outliers among the photos of a class, on the same embeddings.

Each gives every photo a score, higher for what is less like the class, and a default by which it takes photos out:

- DBSCAN, eps 0.3, min_samples 5, cosine: noise goes. Its score is the smallest eps at which a photo is no noise.
- Distance to the class's mean direction, and mean distance to the ten nearest neighbours: what lies above Tukey's
  fence, the upper quartile and 1.5 times the distance of the quartiles (Exploratory Data Analysis, 1977).
- scikit-learn's IsolationForest and LocalOutlierFactor as they come (``contamination="auto"``).
- cleanlab's OutOfDistribution by features, as it comes, with the default of its Datalab: a fence at 1.7 times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.clean_score import Figures, by_class, known_f1, rank_figures
from benchmarks.planted import Judged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

EPS, MIN_SAMPLES = 0.3, 5
NEIGHBOURS = 10
FENCE, DATALAB_FENCE = 1.5, 1.7

Found = tuple["Floats", "Bools"]
"""Scores, and which photos go by default."""


@dataclass(frozen=True)
class Rival:
    """A way to find outliers.

    Parameters
    ----------
    find
        Embeddings of length one -> scores and what goes by default.
    together
        Whether it sees all classes at once, as its documentation has it; else each class alone.
    needs
        The package without which it cannot run.
    """

    find: Callable[[Vectors], Found]
    together: bool = False
    needs: str | None = None

    @property
    def missing(self) -> bool:
        """Whether its package is not installed."""
        return self.needs is not None and find_spec(self.needs) is None


def distances(vectors: Vectors) -> Floats:
    """Return the cosine distances of all pairs, ``(photos, photos)``, at least 0 and 0 of a photo to itself."""
    import numpy as np

    found = np.clip(1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64), 0, 2)
    np.fill_diagonal(found, 0)
    return found


def dbscan(vectors: Vectors) -> Found:
    """Return the smallest eps at which each photo is no noise, and what is noise at :data:`EPS`.

    A photo is no noise when a core lies within eps of it, and a photo is a core when eps reaches the
    :data:`MIN_SAMPLES`-th nearest, itself included; so it is the least, over all photos, of the larger of the two.
    """
    import numpy as np

    apart = distances(vectors)
    core = np.sort(apart, axis=1)[:, min(MIN_SAMPLES, len(apart)) - 1]
    if len(apart) < MIN_SAMPLES:
        core = np.full(len(apart), 2.0)
    scores = np.maximum(apart, core[None, :]).min(axis=1)
    return scores, scores > EPS


def centre(vectors: Vectors) -> Found:
    """Return the distance to the mean direction of the class."""
    import numpy as np

    mean = vectors.mean(axis=0, dtype=np.float64)
    scores = 1 - vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    return scores, beyond_fence(scores, FENCE)


def neighbours(vectors: Vectors) -> Found:
    """Return the mean distance to the :data:`NEIGHBOURS` nearest others."""
    import numpy as np

    nearest = np.sort(distances(vectors), axis=1)[:, 1 : NEIGHBOURS + 1]
    scores = nearest.mean(axis=1) if nearest.size else np.zeros(len(vectors))
    return scores, beyond_fence(scores, FENCE)


def isolation_forest(vectors: Vectors) -> Found:
    """Return scikit-learn's anomaly score (Liu, Ting and Zhou 2008)."""
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(random_state=0).fit(vectors)
    return -model.score_samples(vectors), model.predict(vectors) < 0


def local_outlier_factor(vectors: Vectors) -> Found:
    """Return scikit-learn's local outlier factor (Breunig et al. 2000), 20 neighbours."""
    import numpy as np
    from sklearn.neighbors import LocalOutlierFactor

    if len(vectors) < 3:
        return np.zeros(len(vectors)), np.zeros(len(vectors), bool)
    model = LocalOutlierFactor(n_neighbors=min(20, len(vectors) - 1))
    out = model.fit_predict(vectors) < 0
    return -model.negative_outlier_factor_, out


def cleanlab(vectors: Vectors) -> Found:
    """Return cleanlab's score turned round: 1 is the least like the others (Kuan and Mueller 2022)."""
    import numpy as np
    from cleanlab.outlier import OutOfDistribution

    if len(vectors) <= NEIGHBOURS:
        return np.zeros(len(vectors)), np.zeros(len(vectors), bool)
    likeness: Any = OutOfDistribution().fit_score(features=vectors, verbose=False)
    # Its score is exp(-distance / scale); Datalab's fence is one of distances.
    return 1 - likeness, beyond_fence(-np.log(np.maximum(likeness, 1e-300)), DATALAB_FENCE)


def beyond_fence(scores: Floats, times: float) -> Bools:
    """Tell which scores lie above the upper quartile by more than so many times the distance of the quartiles."""
    import numpy as np

    low, high = np.percentile(scores, [25, 75])
    return np.asarray(scores > high + times * (high - low))


RIVALS = {
    f"DBSCAN, eps {EPS}, min_samples {MIN_SAMPLES}": Rival(dbscan),
    "distance to class centre": Rival(centre),
    "ten nearest neighbours": Rival(neighbours),
    "IsolationForest": Rival(isolation_forest),
    "LocalOutlierFactor": Rival(local_outlier_factor),
    "cleanlab, each class": Rival(cleanlab, needs="cleanlab"),
    "cleanlab, all classes": Rival(cleanlab, together=True, needs="cleanlab"),
}


def rival_figures(rival: Rival, judged: Judged) -> Figures:
    """Return a rival's figures on the photos that count for cleaning, so that both are judged on the same ones."""
    import numpy as np

    scores, out = np.zeros(len(judged.paths)), np.zeros(len(judged.paths), bool)
    for own in [np.ones(len(out), bool)] if rival.together else by_class(judged.classes):
        scores[own], out[own] = rival.find(judged.vectors[own])
    counted = judged.counted
    found = rank_figures(judged.noise[counted], judged.kinds[counted], out[counted], scores[counted])
    return found | {"known F1": known_f1(judged, scores)}


def all_rivals(judged: Judged) -> dict[str, Figures | None]:
    """Return the figures of each rival; None where its package is not installed."""
    return {name: None if rival.missing else rival_figures(rival, judged) for name, rival in RIVALS.items()}
