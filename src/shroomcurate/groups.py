"""Which photos belong together, so that no split or fold ever parts them.

Two photos are tied when they show one observation, are one iNaturalist photo, or are near-duplicates; by option also
when one observer took them on one day, for two observations of one walk may show one mycelium. Groups are the connected
parts of these ties over *all* judged photos: two kept photos that a removed one links are one group too.

:func:`certify` checks an assignment against the ties themselves, not against the groups that were made from them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shroomcurate.dataset import Dataset, file_hash, read_receipt, read_table

#: The kind of tie that ties only where it is asked for, and is counted only there.
BY_OPTION = "observer-day"
#: The kinds of ties, and what :func:`certify` calls them in its counts.
KINDS = {
    "group": "groups",
    "observation": "observations",
    "photo": "photo_ids",
    "duplicate": "near_duplicates",
    BY_OPTION: "observer_days",
}


class Tie(NamedTuple):
    """Photos that hold an equal tie belong together: a kind of :data:`KINDS`, and what they share."""

    kind: str
    key: str


class Leak(ValueError):
    """Photos that belong together lie in different parts."""


def photo_groups(dataset: Dataset, same_day: bool = False) -> dict[str, str]:
    """Return the group of every judged photo, or of every photo on disk while nothing has been judged.

    Parameters
    ----------
    same_day
        As for :func:`photo_ties`.

    Returns
    -------
    dict
        Photo path -> group; the group's name is the smallest path in it. Sorted by path.
    """
    return connect(photo_ties(dataset, same_day))


def split_by_day(dataset: Dataset) -> bool:
    """Return whether ``splits.parquet`` also keeps together what one observer took on one day; False without it."""
    splits = dataset.path("splits.parquet")
    receipt = read_receipt(splits) if splits.exists() else None
    return bool(receipt and receipt.options.get("same_day"))


def photo_ties(dataset: Dataset, same_day: bool = False) -> dict[str, list[Tie]]:
    """Return what ties each photo to others: path -> ties, sorted by path.

    Near-duplicates are those that cleaning found, in whatever class; before cleaning, files with equal bytes.

    Parameters
    ----------
    same_day
        Tie the photos of one observer on one day as well, of whatever class; not those without observer or date.
    """
    known = _known_ties(dataset, same_day)
    ties: dict[str, list[Tie]] = {}
    for path, photo_id, duplicate_of in _photos(dataset, known):
        ties[path] = mine = []
        if photo_id is not None:
            mine += [Tie("photo", str(photo_id)), *known.get(photo_id, ())]
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
        ``near_duplicates``, ``observer_days`` where these tie; and ``crossings``, which is 0.

    Raises
    ------
    Leak
        Something crosses; the message names it, its photos and their parts.
    """
    seen: dict[Tie, str] = {}
    for path, part in parts.items():
        for tie in {*ties[path], Tie("group", groups[path])}:
            first = seen.setdefault(tie, path)
            if parts[first] != part:
                raise Leak(f"{tie.kind} {tie.key}: {first} is in {parts[first]}, {path} in {part}")
    number = Counter(tie.kind for tie in seen)
    counts = {name: number[kind] for kind, name in KINDS.items() if kind != BY_OPTION or number[kind]}
    return {"photos": len(parts), **counts, "crossings": 0}


def _known_ties(dataset: Dataset, same_day: bool) -> dict[int, list[Tie]]:
    """Return the observations that each photo of the selection shows, its own first, and its observer's day.

    One photo can stand in several observations; its day is that of its own.
    """
    selection = dataset.path("selection.parquet")
    if not selection.exists():
        return {}
    table = read_table(selection)
    # A selection of an earlier version does not know the others.
    columns = ("photo_id", "observation_uuid", "other_observations", "observer_id", "observed_on")
    lists = [table[name].to_pylist() if name in table.column_names else [None] * len(table) for name in columns]
    ties: dict[int, list[Tie]] = {}
    for photo_id, own, others, observer, day in zip(*lists, strict=True):
        observations = dict.fromkeys([*([own] if own else []), *(others or "").split()])
        ties[photo_id] = [Tie("observation", observation) for observation in observations]
        if same_day and observer is not None and day is not None:
            ties[photo_id].append(Tie(BY_OPTION, f"{observer} {day}"))
    return ties


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
