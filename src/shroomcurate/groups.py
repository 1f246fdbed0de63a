"""Which photos belong together, so that no split or fold ever parts them.

Two photos are tied when they show one observation, are one iNaturalist photo, or are near-duplicates. Groups are the
connected parts of these ties over *all* judged photos: two kept photos that a removed one links are one group too.

:func:`certify` checks an assignment against the ties themselves, not against the groups that were made from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shroomcurate.dataset import Dataset, file_hash, read_table

#: The kinds of ties, and what :func:`certify` calls them in its counts.
KINDS = {
    "group": "groups",
    "observation": "observations",
    "photo": "photo_ids",
    "duplicate": "near_duplicates",
}


class Tie(NamedTuple):
    """Photos that hold an equal tie belong together: a kind of :data:`KINDS`, and what they share."""

    kind: str
    key: str


class Leak(ValueError):
    """Photos that belong together lie in different parts."""


def photo_groups(dataset: Dataset) -> dict[str, str]:
    """Return the group of every judged photo, or of every photo on disk while nothing has been judged.

    Returns
    -------
    dict
        Photo path -> group; the group's name is the smallest path in it. Sorted by path.
    """
    return connect(photo_ties(dataset))


def photo_ties(dataset: Dataset) -> dict[str, list[Tie]]:
    """Return what ties each photo to others: path -> ties, sorted by path.

    Near-duplicates are those that cleaning found, in whatever class; before cleaning, files with equal bytes.
    """
    observations = _observations(dataset)
    ties: dict[str, list[Tie]] = {}
    for path, photo_id, duplicate_of in _photos(dataset, known=observations):
        ties[path] = mine = []
        if photo_id is not None:
            mine.append(Tie("photo", str(photo_id)))
            mine += [Tie("observation", observation) for observation in observations.get(photo_id, ())]
        if duplicate_of is not None:
            mine.append(Tie("duplicate", duplicate_of))
    for original in {tie.key for mine in ties.values() for tie in mine if tie.kind == "duplicate"} & ties.keys():
        if Tie("duplicate", original) not in ties[original]:
            ties[original].append(Tie("duplicate", original))
    return dict(sorted(ties.items()))


def connect(ties: Mapping[str, Iterable[Tie]]) -> dict[str, str]:
    """Return the group of each path: the connected parts of 'holds an equal tie', named by their smallest path."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    paths = sorted(ties)
    keys: dict[Tie, int] = {}
    edges = [(i, len(paths) + keys.setdefault(tie, len(keys))) for i, path in enumerate(paths) for tie in ties[path]]
    if not edges:
        return {path: path for path in paths}
    ends = np.array(edges)
    size = len(paths) + len(keys)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, part = connected_components(graph, directed=False)
    smallest: dict[int, str] = {}
    return {path: smallest.setdefault(int(part[i]), path) for i, path in enumerate(paths)}


def certify(
    parts: Mapping[str, Hashable], ties: Mapping[str, Iterable[Tie]], groups: Mapping[str, str]
) -> dict[str, int]:
    """Check that no group, observation, photo or near-duplicate lies in two parts.

    Parameters
    ----------
    parts
        Path -> its part: a split, a fold, or both as a tuple.
    ties, groups
        As from :func:`photo_ties` and :func:`photo_groups`; paths without a part are not looked at.

    Returns
    -------
    dict
        How many different things were checked: ``photos``, ``groups``, ``observations``, ``photo_ids``,
        ``near_duplicates``; and ``crossings``, which is 0.

    Raises
    ------
    Leak
        Something crosses; the message names it, its photos and their parts.
    """
    seen: dict[Tie, str] = {}
    counts: dict[str, int] = dict.fromkeys(KINDS.values(), 0)
    for path, part in parts.items():
        for tie in {*ties[path], Tie("group", groups[path])}:
            first = seen.setdefault(tie, path)
            if parts[first] != part:
                raise Leak(f"{tie.kind} {tie.key}: {first} is in {parts[first]}, {path} in {part}")
    for tie in seen:
        counts[KINDS[tie.kind]] += 1
    return {"photos": len(parts), **counts, "crossings": 0}


def _observations(dataset: Dataset) -> dict[int, list[str]]:
    """Return the observations that each photo of the selection shows; one photo can stand in several."""
    selection = dataset.path("selection.parquet")
    if not selection.exists():
        return {}
    table = read_table(selection)
    lists: list[list[Any]] = [table[name].to_pylist() for name in ("photo_id", "observation_uuid")]
    # A selection of an earlier version does not know the others.
    more = (
        table["other_observations"].to_pylist() if "other_observations" in table.column_names else [None] * len(table)
    )
    return {
        photo_id: list(dict.fromkeys([*([own] if own else []), *(others or "").split()]))
        for photo_id, own, others in zip(*lists, more, strict=True)
    }


def _photos(dataset: Dataset, known: Mapping[int, Any]) -> Iterable[tuple[str, int | None, str | None]]:
    """Yield path, photo id and the path it is a near-duplicate of."""
    judged = dataset.path("clean.parquet")
    if judged.exists():
        table = read_table(judged, ["path", "photo_id", "duplicate_of"])
        yield from zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        return
    places = dataset.photos()
    originals = _equal_bytes(places)
    for path in places:
        stem = Path(path).stem
        photo_id = int(stem) if stem.isdecimal() and int(stem) in known else None
        yield path, photo_id, originals.get(path)


def _equal_bytes(places: Mapping[str, Path]) -> dict[str, str]:
    """Return path -> the smallest path whose file has the same bytes. Only files of one size are hashed."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for path, place in sorted(places.items()):
        by_size[place.stat().st_size].append(path)
    originals: dict[str, str] = {}
    for paths in by_size.values():
        first: dict[str, str] = {}
        for path in paths if len(paths) > 1 else ():
            original = first.setdefault(file_hash(places[path]), path)
            if original != path:
                originals[path] = original
    return originals
