"""Whether the files that something was made from still have the bytes that its receipt names.

That needs no times, so a dataset that was copied, unpacked or checked out is judged like the original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

#: Files without which nothing that was made from them is wrong: they are made again from the photos.
HARMLESS_WHEN_GONE = frozenset({"embeddings.parquet"})


class Change(NamedTuple):
    """An input that is not what it was: its name relative to the dataset, and whether it is gone."""

    name: str
    gone: bool


def changed_inputs(
    inputs: Mapping[str, str], hash_now: Callable[[str], str | None], *, also: tuple[str, ...] = ()
) -> list[Change]:
    """Return the inputs that are not what they were, sorted by name.

    Parameters
    ----------
    inputs
        File name, relative to the dataset -> sha256 when it was read; an empty one: it was not there then.
    hash_now
        Returns the sha256 of a file of the dataset, or None when it is not there.
    also
        Files that count even if the receipt does not name them: they were not there then.
    """
    found = []
    for name in sorted({*inputs, *also}):
        then, now = inputs.get(name) or None, hash_now(name)
        if now != then and not (now is None and name in HARMLESS_WHEN_GONE):
            found.append(Change(name, gone=now is None))
    return found
