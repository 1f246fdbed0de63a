"""Columns of all rows of a block, found by their bytes: what decides which rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroomcurate.catalogue.dumps import TABLES, Block
from shroomcurate.errors import BadDump

if TYPE_CHECKING:
    import numpy as np


def pieces(block: Block, places: np.ndarray, kind: str) -> np.ndarray:
    """Return what stands in the block's content from each place on, of a NumPy type of at most ``_SPARE`` bytes."""
    import numpy as np

    size = np.dtype(kind).itemsize
    at_any_byte = np.ndarray((len(block.content) - size + 1,), kind, block.content, 0, (1,))
    taken: np.ndarray = at_any_byte[places]
    return taken


def _words(block: Block, places: np.ndarray) -> np.ndarray:
    """Return the eight bytes from each place on as a little-endian integer."""
    return pieces(block, places, "<u8")


def equals(block: Block, name: str, value: bytes) -> np.ndarray:
    """Return which rows hold a value of at most eight bytes."""
    import numpy as np

    starts, ends = block.field(name)
    mask = np.uint64((1 << 8 * len(value)) - 1)
    same: np.ndarray = (_words(block, starts) & mask) == np.uint64(int.from_bytes(value, "little"))
    same &= (ends - starts) == len(value)
    return same


def integers(block: Block, name: str, rows: np.ndarray | None = None, *, required: bool = False) -> np.ndarray:
    """Return a column of ids, or some rows of it, as int64; -1 where blank.

    Raises
    ------
    BadDump
        A value is no id, or blank though required; names line, column and value.
    """
    import numpy as np

    values, wrong = _digits(block, *block.field(name, slice(None) if rows is None else rows))
    wrong |= required & (values < 0)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise bad_value(block, name, first if rows is None else int(rows[first]))
    return values


def _digits(block: Block, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers that fields spell, -1 where blank, and which fields are no numbers of at most 16 digits."""
    import numpy as np

    length = ends - starts
    # Digits become numbers from 0 to 9; those behind the field are shifted out, and zeros come in before it.
    zeros = np.uint64(0x3030303030303030)
    first = _words(block, starts) ^ zeros
    first <<= np.clip(8 - length, 0, 7).astype(np.uint64) << np.uint64(3)
    wrong = _not_digits(first)
    values = _number(first)
    if (length > 8).any():
        rest = _words(block, starts + 8) ^ zeros
        rest <<= np.clip(16 - length, 0, 7).astype(np.uint64) << np.uint64(3)
        long = length > 8
        wrong |= long & _not_digits(rest)
        values = np.where(long, values * 10 ** np.clip(length - 8, 0, 8) + _number(rest), values)
    blank = length == 0
    values[blank] = -1
    wrong[blank] = False
    wrong |= length > 16
    return values, wrong


def _not_digits(words: np.ndarray) -> np.ndarray:
    import numpy as np

    found: np.ndarray = ((words + np.uint64(0x7676767676767676)) | words) & np.uint64(0x8080808080808080) != 0
    return found


def _number(digits: np.ndarray) -> np.ndarray:
    """Return the number that eight digits spell, the first in the lowest byte.

    By pairs, then fours, then eight: https://kholdstare.github.io/technical/2020/05/26/faster-integer-parsing.html
    """
    import numpy as np

    pairs = (digits * np.uint64(10) + (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs * np.uint64(100) + (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    number: np.ndarray = (fours * np.uint64(10000) + (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return number.astype(np.int64)


def uuid_keys(block: Block, name: str) -> np.ndarray:
    """Return a 64-bit key for each UUID of a column: of all its digits, and the same in capitals.

    A row whose key is found by chance (one in 10^12 at a million kept) joins with nothing in the database.

    Raises
    ------
    BadDump
        A value has not the 36 characters of a UUID.
    """
    import numpy as np

    starts, ends = block.field(name)
    if (wrong := ends - starts != 36).any():
        raise bad_value(block, name, int(np.argmax(wrong)))
    # Words that cover every digit; with this bit set, capitals are small letters, and digits and hyphens themselves.
    small = np.uint64(0x2020202020202020)
    key = _words(block, starts) | small
    for place in (9, 17, 20, 28):
        key *= np.uint64(0x9E3779B97F4A7C15)
        key += _words(block, starts + place) | small
    # The finaliser of MurmurHash3: https://github.com/aappleby/smhasher/wiki/MurmurHash3
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        key ^= key >> np.uint64(33)
        key *= np.uint64(factor)
    key ^= key >> np.uint64(33)
    return key


def bad_value(block: Block, name: str, row: int) -> BadDump:
    """Return the error that names a value which its column cannot hold."""
    value = block.value(name, row).decode("utf-8", "replace")
    kind = TABLES[block.table][name]
    what = "is blank" if not value else f"holds {value!r}, which is no {kind}"
    return BadDump(
        f"{block.label}, line {block.first_line + row}: column '{name}' {what}.",
        "The file is damaged. Fetch it again, then type the same command.",
    )
