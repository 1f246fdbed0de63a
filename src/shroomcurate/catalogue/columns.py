"""Columns of all rows of a block, found by their bytes: what decides which rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroomcurate.catalogue.dumps import TABLES, Block
from shroomcurate.catalogue.scan import library
from shroomcurate.errors import BadDump

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


def pieces(block: Block, places: np.ndarray, kind: str) -> np.ndarray:
    """Return what stands in the block's content from each place on, of a NumPy type of at most ``_SPARE`` bytes."""
    import numpy as np

    size = np.dtype(kind).itemsize
    at_any_byte = np.ndarray((len(block.content) - size + 1,), kind, block.content, 0, (1,))
    taken: np.ndarray = at_any_byte[places]
    return taken


def equals(block: Block, name: str, value: bytes) -> np.ndarray:
    """Return which rows hold a value."""
    import numpy as np

    same = np.empty(block.rows, bool)
    library().same_text(*block.column(name), value, len(value), same)
    return same


def integers(block: Block, name: str, rows: np.ndarray | None = None, *, required: bool = False) -> np.ndarray:
    """Return a column of ids, or some rows of it, as int64; -1 where blank.

    Raises
    ------
    BadDump
        A value is no id, or blank though required; names line, column and value.
    """
    import numpy as np

    rows = np.arange(block.rows) if rows is None else rows
    content, ends, _, fields, place = block.column(name)
    values = np.empty(len(rows), np.int64)
    wrong = library().integers(content, ends, len(rows), fields, place, rows, required, values)
    if wrong >= 0:
        raise bad_value(block, name, int(rows[wrong]))
    return values


def uuid_keys(block: Block, name: str) -> np.ndarray:
    """Return a 64-bit key for each UUID of a column: of all its digits, and the same in capitals.

    A row whose key is found by chance (one in 10^12 at a million kept) joins with nothing in the database.

    Raises
    ------
    BadDump
        A value has not the 36 characters of a UUID.
    """
    import numpy as np

    keys = np.empty(block.rows, np.uint64)
    wrong = library().uuid_keys(*block.column(name), keys)
    if wrong >= 0:
        raise bad_value(block, name, wrong)
    return keys


def below(block: Block, name: str, roots: Sequence[int]) -> np.ndarray:
    """Return which rows have one of the ids on their path, in a column of ids from the root, joined with ``/``.

    Raises
    ------
    BadDump
        A path is none; names line, column and value.
    """
    import numpy as np

    found = np.empty(block.rows, bool)
    wrong = library().paths_through(*block.column(name), np.array(roots, np.int64), len(roots), found)
    if wrong >= 0:
        raise bad_value(block, name, wrong)
    return found


def bad_value(block: Block, name: str, row: int) -> BadDump:
    """Return the error that names a value which its column cannot hold."""
    value = block.value(name, row).decode("utf-8", "replace")
    kind = TABLES[block.table][name]
    what = "is blank" if not value else f"holds {value!r}, which is no {kind}"
    return BadDump(
        f"{block.label}, line {block.first_line + row}: column '{name}' {what}.",
        "The file is damaged. Fetch it again, then type the same command.",
    )
