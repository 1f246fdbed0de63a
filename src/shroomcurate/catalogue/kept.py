"""The rows that are kept: cut out, converted, checked and written as COPY reads them.

Only what is kept is checked, so that a stray value in a row that nobody wants costs nothing.
"""

from __future__ import annotations

import binascii
import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shroomcurate.catalogue.columns import bad_value, pieces
from shroomcurate.catalogue.dumps import TABLES, Block
from shroomcurate.catalogue.scan import library

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: What a value of each kind looks like. Blank is null, except in a table's keys.
_SHAPE = {
    "integer": rb"-?[0-9]{1,19}",
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
#: Where a UUID has digits.
_DIGITS = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))

#: What stands before and behind the rows in COPY's binary format: https://www.postgresql.org/docs/current/sql-copy.html
COPY_HEAD, COPY_TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"

#: The first day that Python and PostgreSQL know, in days from 1970-01-01.
_FIRST_DAY = (datetime.date.min - datetime.date(1970, 1, 1)).days

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()


@dataclass
class KeptRows:
    """The rows of a block that are kept."""

    copy_rows: bytes
    """In COPY's binary format, between ``COPY_HEAD`` and ``COPY_TAIL``; the columns are those of ``TABLES``."""
    rows: int
    replaced: int = 0
    """Values whose bytes are not UTF-8, NUL, or a carriage return, which U+FFFD replaces."""
    replaced_example: str = field(default="")


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
    return KeptRows(_encoded(_typed(block, rows, text)) if len(rows) else b"", len(rows), replaced, example)


def cut(block: Block, rows: np.ndarray) -> bytes:
    """Return some rows as they stand in the file; in order, none twice."""
    import numpy as np

    text = np.empty(int((block.ends[rows, -1] + 1 - block.row_starts[rows]).sum()), np.uint8)
    content = np.frombuffer(block.content, np.uint8)
    library().copy_rows(content, block.ends, len(rows), len(block.header), rows, text)
    return text.tobytes()


def _readable(block: Block, rows: np.ndarray, text: bytes) -> tuple[bytes, int, str]:
    """Replace what is not UTF-8 and what PostgreSQL's text cannot hold or would end a row; count the values."""
    try:
        text.decode()
        if b"\r" not in text and b"\0" not in text:
            return text, 0, ""
    except UnicodeDecodeError:
        pass
    used = {block.header.index(name) for name in TABLES[block.table]}  # a header may name a column twice
    lines, replaced, example = [], 0, ""
    for row, line in zip(rows.tolist(), text.split(b"\n"), strict=False):
        values = line.split(b"\t")
        for place, value in enumerate(values):
            decoded = value.decode("utf-8", "replace").encode()
            values[place] = decoded.replace(b"\r", _REPLACEMENT).replace(b"\0", _REPLACEMENT)
            if values[place] != value and place in used:
                replaced += 1
                where = f"{block.label}, line {block.first_line + row}, column {block.header[place]}: {value!r}"
                example = example or where
        lines.append(b"\t".join(values))
    return b"\n".join([*lines, b""]), replaced, example


def _typed(block: Block, rows: np.ndarray, text: bytes) -> pa.RecordBatch:
    """Return the columns of a table's rows, of the types of its columns in PostgreSQL.

    Where a conversion fails or takes what is not quite a value of the kind, each value is looked at and the first bad
    one is named.
    """
    import pyarrow as pa

    kinds = TABLES[block.table]
    types = {
        "integer": pa.int64(), "small integer": pa.int32(), "number": pa.float64(), "text": pa.string(),
        "boolean": pa.bool_(), "date": pa.date32(), "ancestry": pa.string(),
    }  # fmt: skip
    try:
        uuids = {name: _uuids(block, name, rows) for name, kind in kinds.items() if kind == "uuid"}
        typed = parsed(block.header, text, {name: types[kind] for name, kind in kinds.items() if name not in uuids})
    except (pa.ArrowInvalid, binascii.Error) as error:
        _name_the_first(block, rows)
        raise AssertionError("every value is of its kind after all") from error
    if _is_odd(block, rows, typed, text):
        _name_the_first(block, rows)
    columns = {name: uuids.get(name) or typed[name].combine_chunks() for name in kinds}
    return pa.RecordBatch.from_pydict(columns)


def _is_odd(block: Block, rows: np.ndarray, typed: pa.Table, text: bytes) -> bool:
    """Return whether Arrow may have taken for a value what is none."""
    kinds = TABLES[block.table]
    no_key = any(typed[name].null_count for name in _KEYS[block.table] if name in typed.column_names)
    # What no row holds need not be looked for in each column. Names hold it, and may.
    padded = b" " in text and (text.startswith(b" ") or any(pair in text for pair in (b"\t ", b" \t", b"\n ", b" \n")))
    hexadecimal = any(sign in text and b"0" + sign in text for sign in (b"x", b"X"))
    return (
        no_key
        or ((padded or hexadecimal) and _is_disguised(block, rows))
        or any(_is_odd_column(kinds[name], typed[name]) for name in typed.column_names)
    )


def _is_disguised(block: Block, rows: np.ndarray) -> bool:
    """Return whether a value has a blank around it, which Arrow passes over, or is hexadecimal, which it reads."""
    import numpy as np

    characters = np.frombuffer(block.content, np.uint8)
    for name in (name for name, kind in TABLES[block.table].items() if kind != "text"):
        starts, ends = block.field(name, rows)
        first, second, last = characters[starts], characters[starts + 1] | 0x20, characters[ends - 1]
        disguised = (first == ord(" ")) | (last == ord(" ")) | (second == ord("x"))
        if (disguised & (ends > starts)).any():
            return True
    return False


def _is_odd_column(kind: str, values: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "ancestry":
        return not _all(pc.match_substring_regex(values, f"^({_SHAPE[kind].decode()})$"))
    if kind == "number":
        return not _all(pc.is_finite(values))
    # Arrow takes the year 0, which neither Python nor PostgreSQL knows.
    return kind == "date" and (pc.min(values.cast(pa.int32())).as_py() or 0) < _FIRST_DAY


def _uuids(block: Block, name: str, rows: np.ndarray) -> pa.Array:
    """Return a column of UUIDs, 16 bytes each.

    Raises
    ------
    binascii.Error
        A value is none.
    """
    import numpy as np
    import pyarrow as pa

    starts, ends = block.field(name, rows)
    characters = pieces(block, starts, "V36").view(np.uint8).reshape(-1, 36)
    if (ends - starts != 36).any() or (characters[:, [8, 13, 18, 23]] != ord("-")).any():
        raise binascii.Error
    digits = np.concatenate([characters[:, start:end] for start, end in _DIGITS], axis=1)
    return pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(binascii.unhexlify(digits.data))])


def _encoded(typed: pa.RecordBatch) -> bytes:
    """Return rows in COPY's binary format: 16 bytes go for a UUID as they go for a bytea."""
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder = ArrowToPostgresBinaryEncoder(typed.schema)
    whole = encoder.write_header() + encoder.write_batch(typed) + encoder.finish()
    return whole.removeprefix(COPY_HEAD).removesuffix(COPY_TAIL)


def parsed(header: Sequence[str], text: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    """Return columns of tab-separated rows, null where blank.

    Parameters
    ----------
    header
        Names of the columns of the text.
    types
        Columns to return, in that order.

    Raises
    ------
    pyarrow.ArrowInvalid
        A value is not of its kind.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    if text.startswith(_BYTE_ORDER_MARK):  # Arrow passes over one, which here is of the first value
        text = _BYTE_ORDER_MARK + text
    # By their places: a header may name a column twice.
    places = {str(header.index(name)): kind for name, kind in types.items()}
    table = pa_csv.read_csv(
        pa.BufferReader(text),
        read_options=pa_csv.ReadOptions(
            column_names=list(map(str, range(len(header)))), use_threads=False, block_size=len(text) + 1
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter="\t",
            quote_char=False,
            double_quote=False,
            escape_char=False,
            newlines_in_values=False,
            ignore_empty_lines=False,
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(places),
            column_types=places,
            null_values=[""],
            strings_can_be_null=True,
            true_values=["true", "t"],
            false_values=["false", "f"],
            check_utf8=False,
        ),
    )
    return table.rename_columns(list(types))


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
    if kind.endswith("integer"):
        largest = 1 << (31 if kind == "small integer" else 63)  # as iNaturalist and PostgreSQL keep them
        return -largest <= int(value) < largest
    try:
        return kind != "date" or bool(datetime.date.fromisoformat(value.decode()))
    except ValueError:
        return False
