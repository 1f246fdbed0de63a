"""Whether the split leaks, checked for the page: not against what its stage says of itself.

It asks what :func:`shroomcurate.groups.certify` asks, but of whole columns, for a quarter of a million photos take that
function seconds; a test holds the two together. Before a cleaning, when files are compared, it is asked itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.groups import BY_OPTION, KINDS, Leak, certify, photo_ties, split_by_day
from shroomcurate.report.known import Known

if TYPE_CHECKING:
    import pyarrow as pa


class Certificate(NamedTuple):
    """What was checked."""

    checked: dict[str, int]
    """Kind of thing -> how many of it there are; empty when something leaks."""
    leak: str | None
    """The first thing that lies in two parts, in words; None when nothing does."""
    unknown: int
    """Photos of the split that are no longer in the dataset, and so were not checked."""


class _Ties(NamedTuple):
    """What ties photos: ``row[i]``, a row of the split, holds ``key[i]``; who holds an equal key belongs together."""

    row: pa.Array
    key: pa.Array


def certificate(known: Known, splits: pa.Table) -> Certificate:
    """Check that no group, photo, observation or near-duplicate lies in two splits or folds; nor an observer's day.

    Days are looked at where the split was asked to keep them whole.
    """
    if known.clean is None:
        return _by_files(known, splits)
    import pyarrow.compute as pc

    judged = pc.index_in(splits["path"], value_set=known.clean["path"])
    there, unknown = splits.filter(judged.is_valid()), judged.null_count
    clean = known.clean.take(judged.drop_null())
    ties = {
        "group": _held(there["group"]),
        "photo": _held(clean["photo_id"]),
        "observation": _observations(known, clean["photo_id"]),
        "duplicate": _duplicates(known.clean["duplicate_of"], there["path"], clean["duplicate_of"]),
    }
    if split_by_day(known.dataset):
        ties[BY_OPTION] = _observer_days(known, clean["photo_id"])
    checked = {}
    for kind, those in ties.items():
        count, leak = _crossing(kind, those, there)
        if leak:
            return Certificate({}, leak, unknown)
        if count or kind != BY_OPTION:
            checked[KINDS[kind]] = count
    return Certificate(checked, None, unknown)


def _crossing(kind: str, ties: _Ties, splits: pa.Table) -> tuple[int, str | None]:
    """Return how many different keys there are, and the first of them that lies in two parts, in words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    part = pc.binary_join_element_wise(splits["split"], splits["fold"].cast(pa.string()), ", fold ")
    held = pa.table({"key": ties.key, "part": part.take(ties.row), "path": splits["path"].take(ties.row)})
    found = held.group_by("key").aggregate([("part", "min"), ("part", "max")])
    crossing = found.filter(pc.not_equal(found["part_min"], found["part_max"]))
    if not len(crossing):
        return len(found), None
    key = pc.min(crossing["key"])
    those = held.filter(pc.equal(held["key"], key)).sort_by("path").to_pylist()
    other = next(row for row in those if row["part"] != those[0]["part"])
    first, second = (f"{row['path']} is in {row['part']}" for row in (those[0], other))
    return len(found), f"{kind} {key}: {first}; {second}"


def _held(keys: pa.ChunkedArray) -> _Ties:
    """Return the ties of a column in which each row holds one key, or none."""
    import pyarrow as pa

    keys = _whole(keys)
    return _Ties(pa.array(range(len(keys)), pa.int64()).filter(keys.is_valid()), keys.drop_null())


def _observations(known: Known, ids: pa.ChunkedArray) -> _Ties:
    """Return the observations that photos with these ids stand in; one photo can stand in several."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if known.selection is None:
        return _held(pa.chunked_array([pa.nulls(len(ids), pa.string())]))
    index = pc.index_in(ids, value_set=known.selection["photo_id"])
    own = _held(known.selection["observation_uuid"].take(index))
    more = _whole(pc.utf8_split_whitespace(known.other_observations.take(index)))
    return _Ties(
        pa.concat_arrays([own.row, pc.list_parent_indices(more).cast(pa.int64())]),
        pa.concat_arrays([own.key, pc.list_flatten(more)]),
    )


def _observer_days(known: Known, ids: pa.ChunkedArray) -> _Ties:
    """Return observer and day of the photos with these ids, where both are known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if known.selection is None:
        return _held(pa.chunked_array([pa.nulls(len(ids), pa.string())]))
    selected = known.selection.take(pc.index_in(ids, value_set=known.selection["photo_id"]))
    days = (selected[name].cast(pa.string()) for name in ("observer_id", "observed_on"))
    return _held(pc.binary_join_element_wise(*days, " "))


def _duplicates(originals: pa.ChunkedArray, paths: pa.ChunkedArray, duplicate_of: pa.ChunkedArray) -> _Ties:
    """Return what each photo equals; the photo that others equal holds its own path, for they hold that too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    copies = _held(duplicate_of)
    is_original = _whole(pc.is_in(paths, value_set=originals.drop_null()))
    own = _held(pc.if_else(is_original, _whole(paths), None))
    return _Ties(pa.concat_arrays([copies.row, own.row]), pa.concat_arrays([copies.key, own.key]))


def _whole(column: Any) -> pa.Array:
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _by_files(known: Known, splits: pa.Table) -> Certificate:
    ties = photo_ties(known.dataset, split_by_day(known.dataset))
    rows = list(zip(*(splits[name].to_pylist() for name in ("path", "split", "fold", "group")), strict=True))
    there = [row for row in rows if row[0] in ties]
    try:
        parts = {path: (split, fold) for path, split, fold, _ in there}
        checked = certify(parts, ties, {path: group for path, *_, group in there})
    except Leak as found:
        return Certificate({}, str(found), len(rows) - len(there))
    return Certificate(
        {name: checked[name] for name in KINDS.values() if name in checked}, None, len(rows) - len(there)
    )
