"""Which photos are the same, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
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


def duplicate_groups(hashes: NDArray[np.uint64], sha256: Sequence[str], vectors: Vectors) -> list[list[int]]:
    """Return groups of photos that are the same or nearly so, as sorted row numbers; groups of one are left out.

    Equal bytes, or alike in perceptual hash (:data:`DUPLICATE_BITS`) *and* embedding (:data:`DUPLICATE_DISTANCE`).
    Groups are the connected parts. The work grows with the number of photos, not with its square: two hashes that
    differ in at most k bits agree in one of k + 1 bands, so only photos that share a band are compared.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(hashes)
    pairs = list(_equal(sha256))
    edges = np.linspace(0, 64, DUPLICATE_BITS + 2).astype(int)
    for low, high in pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.lexsort((hashes, band))
        for step in range(1, min(_WINDOW, count)):
            left, right = order[:-step], order[step:]
            same = band[left] == band[right]
            if not same.any():
                break
            left, right = left[same], right[same]
            alike = np.bitwise_count(hashes[left] ^ hashes[right]) <= DUPLICATE_BITS
            left, right = left[alike], right[alike]
            one, other = unit_length(vectors[left]), unit_length(vectors[right])
            near = np.einsum("ij,ij->i", one, other) >= 1 - DUPLICATE_DISTANCE
            pairs.extend(zip(left[near].tolist(), right[near].tolist(), strict=True))
    if not pairs:
        return []
    ends = np.array(pairs)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = defaultdict(list)
    for number in np.unique(ends).tolist():
        groups[int(part[number])].append(number)
    return sorted(groups.values())


def _equal(sha256: Sequence[str]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for number, value in enumerate(sha256):
        if first.setdefault(value, number) != number:
            yield first[value], number
