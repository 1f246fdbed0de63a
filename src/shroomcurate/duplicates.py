"""Which photos are the same, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from shroomcurate.vectors import unit_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.vectors import Vectors

#: Two photos are near-duplicates when their perceptual hashes differ in at most this many of 64 bits ...
DUPLICATE_BITS = 5
#: ... and their embeddings lie at most this cosine distance apart. Of 1,862 real photos 248 pairs do both; the 40
#: least alike of them were looked at, and each was one photo, scaled, stretched or compressed again. No pair had such
#: hashes and lay further apart: the distance is a second lock, for flat pictures, whose hashes say little.
DUPLICATE_DISTANCE = 0.15
# Photos with alike hashes that one is compared with; bounds the work when thousands are, say, one grey.
_WINDOW = 500
# Pairs whose vectors are compared at once.
_BLOCK = 16_384


def duplicate_groups(hashes: NDArray[np.uint64], sha256: Sequence[str], vectors: Vectors) -> list[list[int]]:
    """Return groups of photos that are the same or nearly so, as sorted row numbers; groups of one are left out.

    Equal bytes, or alike in perceptual hash (:data:`DUPLICATE_BITS`) *and* embedding (:data:`DUPLICATE_DISTANCE`).
    Groups are the connected parts. Only photos that may be alike are compared: two hashes that differ in at most k bits
    agree in two of k + 2 bands (Manku et al. 2007, Detecting near-duplicates for web crawling), and of a quarter of a
    million photos some ten share two bands.
    """
    import numpy as np

    count = len(hashes)
    first: dict[str, int] = {}
    original = np.array([first.setdefault(value, number) for number, value in enumerate(sha256)], np.int64)
    part = _connected(count, original, np.arange(count))
    rows = np.flatnonzero(original == np.arange(count))  # of equal bytes one stands for all
    edges = np.linspace(0, 64, DUPLICATE_BITS + 3).astype(int).tolist()
    masks = [((1 << high) - 1) ^ ((1 << low) - 1) for low, high in pairwise(edges)]
    for one, other in combinations(masks, 2):
        band = hashes[rows] & np.uint64(one | other)
        order = np.lexsort((hashes[rows], band))
        left, right = _alike(hashes, vectors, part, rows[order], band[order])
        part = _connected(count, np.concatenate([part, left]), np.concatenate([np.arange(count), right]))
    _, group, sizes = np.unique(part, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = defaultdict(list)
    for number in np.flatnonzero(sizes[group] > 1).tolist():
        groups[int(group[number])].append(number)
    return sorted(groups.values())


def _alike(
    hashes: NDArray[np.uint64],
    vectors: Vectors,
    part: NDArray[np.int64],
    rows: NDArray[np.int64],
    band: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of alike photos that are not in one group yet, among those that share a band; `rows` by band."""
    import numpy as np

    pairs = [(rows[:0], rows[:0])]
    for step in range(1, min(_WINDOW, len(rows))):
        same = band[:-step] == band[step:]
        if not same.any():
            break
        left, right = rows[:-step][same], rows[step:][same]
        fresh = (np.bitwise_count(hashes[left] ^ hashes[right]) <= DUPLICATE_BITS) & (part[left] != part[right])
        left, right = left[fresh], right[fresh]
        for start in range(0, len(left), _BLOCK):
            here = slice(start, start + _BLOCK)
            likeness = np.einsum("ij,ij->i", unit_length(vectors[left[here]]), unit_length(vectors[right[here]]))
            near = likeness >= 1 - DUPLICATE_DISTANCE
            pairs.append((left[here][near], right[here][near]))
    return np.concatenate([left for left, _ in pairs]), np.concatenate([right for _, right in pairs])


def _connected(count: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each photo the smallest number of its group: the connected parts of these pairs."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    _, smallest = np.unique(part, return_index=True)
    return np.asarray(smallest[part], np.int64)
