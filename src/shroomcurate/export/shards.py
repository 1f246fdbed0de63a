"""Cutting photos into shards, for formats that are read from front to back."""

from __future__ import annotations

from dataclasses import replace

from shroomcurate.export.records import Records

#: What a photo takes in a shard besides its bytes: its metadata, headers, filling up. A tar needs the most.
_BESIDES = 4_000


def shards(records: Records, megabytes: int) -> list[tuple[str, list[Records]]]:
    """Return the shards of each split, all of about one size, and that about `megabytes` or less.

    Within a split the classes are mixed: see :meth:`Records.shuffled`.

    Returns
    -------
    list
        Split, or ``all`` where there is none, and its shards: at least one.
    """
    found = []
    for split, part in records.parts():
        mixed = part.shuffled()
        sizes = [size + _BESIDES for size in mixed.table["bytes"].to_pylist()]
        found.append((split or "all", [_slice(mixed, *ends) for ends in _ends(sizes, megabytes * 1_000_000)]))
    return found


def _ends(sizes: list[int], most: int) -> list[tuple[int, int]]:
    """Return the first row of each shard and the row behind its last."""
    number = max(1, -(-sum(sizes) // most))
    share = sum(sizes) / number
    cuts, filled = [0], 0
    for row, size in enumerate(sizes):
        if filled + size / 2 > share * len(cuts) and row > cuts[-1] and len(cuts) < number:
            cuts.append(row)
        filled += size
    return list(zip(cuts, [*cuts[1:], len(sizes)], strict=True))


def _slice(records: Records, first: int, end: int) -> Records:
    return replace(records, table=records.table.slice(first, end - first))
