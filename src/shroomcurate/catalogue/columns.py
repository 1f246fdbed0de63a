"""Columns of dump rows: found by their bytes; the kept rows are checked and written as COPY reads them.

Only what is kept is checked, so that a stray value in a row that nobody wants costs nothing.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from shroomcurate.catalogue.dumps import TABLES, Block
from shroomcurate.errors import BadDump

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: What a value of each kind looks like. Blank is null, except in a table's keys.
_SHAPE = {
    "integer": rb"-?[0-9]{1,18}",
    "small integer": rb"-?[0-9]{1,10}",
    "number": rb"-?[0-9]{1,99}(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?",
    "boolean": rb"true|false|t|f",
    "date": rb"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "ancestry": rb"[0-9]{0,18}(/[0-9]{0,18})*",
    "uuid": rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
_KEYS = {
    "taxa": {"taxon_id"},
    "observations": {"observation_uuid"},
    "photos": {"photo_uuid", "photo_id", "observation_uuid"},
    "observers": {"observer_id"},
}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


@dataclass
class KeptRows:
    """The rows of a block that are kept."""

    copy_text: bytes
    """As COPY's text format, blank for null; the columns are those of ``TABLES``, in that order."""
    rows: int
    replaced: int = 0
    """Values whose bytes are not UTF-8, NUL, or a carriage return, which U+FFFD replaces."""
    replaced_example: str = field(default="")


# -- in all rows -------------------------------------------------------------------------------------------------


def _words(block: Block, places: np.ndarray) -> np.ndarray:
    """Return the eight bytes from each place on as a little-endian integer."""
    import numpy as np

    at_any_byte = np.ndarray((len(block.content) - 7,), "<u8", block.content, 0, (1,))
    words: np.ndarray = at_any_byte[places]
    return words


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


# -- in the rows that are kept -----------------------------------------------------------------------------------


def kept_rows(block: Block, mask: np.ndarray) -> KeptRows:
    """Return the rows where the mask is true, checked.

    Raises
    ------
    BadDump
        A kept value is not of its column's kind.
    """
    import numpy as np

    rows = np.flatnonzero(mask)
    text = cut(block, rows)
    replaced, example = 0, ""
    if not text.isascii() or b"\r" in text or b"\0" in text:
        text, replaced, example = _readable(block, rows, text)
    if len(rows):
        _check(block, rows, text)
    # In COPY's text format a backslash escapes, and nothing else does.
    return KeptRows(text.replace(b"\\", b"\\\\"), len(rows), replaced, example)


def cut(block: Block, rows: np.ndarray) -> bytes:
    """Return some rows with the columns of ``TABLES`` alone, in that order."""
    # Columns that lie side by side in the file are cut out as one piece.
    runs: list[list[int]] = []
    for place in map(block.header.index, TABLES[block.table]):
        if runs and runs[-1][1] == place:
            runs[-1][1] = place + 1
        else:
            runs.append([place, place + 1])
    if runs == [[0, len(block.header)]] and len(rows) == block.rows:
        return block.content[: block.ends[-1, -1] + 1] if len(rows) else b""
    pieces = []
    for first, behind in runs:
        starts = block.field(block.header[first], rows)[0].tolist()
        ends = block.ends[rows, behind - 1].tolist()
        pieces.append([block.content[start:end] for start, end in zip(starts, ends, strict=True)])
    lines = pieces[0] if len(pieces) == 1 else [b"\t".join(parts) for parts in zip(*pieces, strict=True)]
    lines.append(b"")
    return b"\n".join(lines)


def _readable(block: Block, rows: np.ndarray, text: bytes) -> tuple[bytes, int, str]:
    """Replace what is not UTF-8 and what PostgreSQL's text cannot hold or would end a row; count the values."""
    try:
        text.decode()
        if b"\r" not in text and b"\0" not in text:
            return text, 0, ""
    except UnicodeDecodeError:
        pass
    names = list(TABLES[block.table])
    lines, replaced, example = [], 0, ""
    for row, line in zip(rows.tolist(), text.split(b"\n"), strict=False):
        values = line.split(b"\t")
        for place, value in enumerate(values):
            decoded = value.decode("utf-8", "replace").encode()
            values[place] = decoded.replace(b"\r", _REPLACEMENT).replace(b"\0", _REPLACEMENT)
            if values[place] != value:
                replaced += 1
                where = f"{block.label}, line {block.first_line + row}, column {names[place]}: {value!r}"
                example = example or where
        lines.append(b"\t".join(values))
    return b"\n".join([*lines, b""]), replaced, example


def _check(block: Block, rows: np.ndarray, text: bytes) -> None:
    """Refuse values that are not of their column's kind.

    What takes most of the time is checked for all rows at once: UUIDs and integers by their characters, the rest by
    Arrow's conversion. Where that finds anything odd, each value is looked at and the first bad one is named.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = TABLES[block.table]
    arrow = {"number": pa.float64(), "boolean": pa.bool_(), "date": pa.date32(), "ancestry": pa.binary()}
    converted = {name: arrow[kind] for name, kind in kinds.items() if kind in arrow}
    odd = any(
        _odd_uuids(block, name, rows) if kind == "uuid" else _odd_integers(block, name, rows)
        for name, kind in kinds.items()
        if kind in ("uuid", "integer", "small integer")
    )
    try:
        typed = parsed(text, list(kinds), converted) if converted and not odd else {}
    except pa.ArrowInvalid:
        odd, typed = True, {}
    for name in typed and converted:
        if kinds[name] == "ancestry":
            odd |= not _all(pc.match_substring_regex(typed[name], f"^({_SHAPE['ancestry'].decode()})$"))
        if kinds[name] == "number":
            odd |= not _all(pc.is_finite(typed[name]))
        if kinds[name] == "date":
            # Arrow takes the year 0, which neither Python nor PostgreSQL knows.
            odd |= not _all(pc.greater_equal(typed[name], pa.scalar(datetime.date.min)))
    if odd:
        _name_the_first(block, rows)


def _odd_integers(block: Block, name: str, rows: np.ndarray) -> bool:
    values, wrong = _digits(block, *block.field(name, rows))
    too_large = TABLES[block.table][name] == "small integer" and (values >= 1 << 31).any()
    return bool(wrong.any() or too_large or (name in _KEYS[block.table] and (values < 0).any()))


def _odd_uuids(block: Block, name: str, rows: np.ndarray) -> bool:
    import numpy as np

    starts, ends = block.field(name, rows)
    if (ends - starts != 36).any():
        return True
    characters = np.frombuffer(block.content, np.uint8)[starts[:, None] + np.arange(36)]
    return bool((_character_kinds()[characters] != _uuid_pattern()).any())


@cache
def _character_kinds() -> np.ndarray:
    """Return 1 for a hexadecimal digit, 2 for a hyphen, 0 for any other byte."""
    import numpy as np

    kinds = np.zeros(256, np.uint8)
    kinds[list(b"0123456789abcdefABCDEF")] = 1
    kinds[ord("-")] = 2
    return kinds


@cache
def _uuid_pattern() -> np.ndarray:
    return _character_kinds()[list(b"00000000-0000-0000-0000-000000000000")]


def parsed(text: bytes, names: list[str], kinds: dict[str, pa.DataType]) -> pa.Table:
    """Return columns of tab-separated rows, null where blank.

    Raises
    ------
    pyarrow.ArrowInvalid
        A value is not of its kind.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    return pa_csv.read_csv(
        pa.BufferReader(text),
        read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
        parse_options=pa_csv.ParseOptions(
            delimiter="\t",
            quote_char=False,
            double_quote=False,
            escape_char=False,
            newlines_in_values=False,
            ignore_empty_lines=False,
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(kinds),
            column_types=kinds,
            null_values=[""],
            strings_can_be_null=True,
            true_values=["true", "t"],
            false_values=["false", "f"],
            check_utf8=False,
        ),
    )


def _all(values: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(values, min_count=0).as_py())


def _name_the_first(block: Block, rows: np.ndarray) -> None:
    """Raise the error that names the first value which is not of its column's kind, if there is one."""
    for row in rows.tolist():
        for name, kind in TABLES[block.table].items():
            value = block.value(name, row)
            if kind != "text" and not _is(kind, value) and (value or name in _KEYS[block.table]):
                raise bad_value(block, name, row)


def _is(kind: str, value: bytes) -> bool:
    if not re.fullmatch(_SHAPE[kind], value):
        return False
    if kind == "number":
        return math.isfinite(float(value))
    if kind == "small integer":
        return -(1 << 31) <= int(value) < 1 << 31  # as iNaturalist and PostgreSQL keep it
    try:
        return kind != "date" or bool(datetime.date.fromisoformat(value.decode()))
    except ValueError:
        return False


def refuse_odd_ancestry(block: Block, ancestry: pa.ChunkedArray) -> None:
    """Refuse a path of ids that is none, also in rows that are not kept: it decides which are.

    Raises
    ------
    BadDump
        Names the first.
    """
    import pyarrow.compute as pc

    well = pc.match_substring_regex(ancestry, f"^({_SHAPE['ancestry'].decode()})$")
    if not _all(well):
        raise bad_value(block, "ancestry", pc.index(well, False).as_py())


def bad_value(block: Block, name: str, row: int) -> BadDump:
    """Return the error that names a value which its column cannot hold."""
    value = block.value(name, row).decode("utf-8", "replace")
    kind = TABLES[block.table][name]
    what = "is blank" if not value else f"holds {value!r}, which is no {kind}"
    return BadDump(
        f"{block.label}, line {block.first_line + row}: column '{name}' {what}.",
        "The file is damaged. Fetch it again, then type the same command.",
    )
