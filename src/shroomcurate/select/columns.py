"""The rows of a SELECT, column by column: PostgreSQL joins a column's values, numpy and Arrow take them as they are.

A row sent by itself costs server and client more than what is in it. Numbers, days and UUIDs come in PostgreSQL's
binary form, which has a fixed width, one behind the other; texts come joined, and their lengths beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Rows of a piece of a table: many, so that pieces are few; few, so that each lies in memory that another has used.
_PIECE = 50_000

#: Days from Arrow's first day to PostgreSQL's.
_DAYS = 10_957


class _Sent(NamedTuple):
    """How values of a fixed width are sent: as which type of PostgreSQL, from which ids of types, by which function."""

    type: str
    ids: tuple[int, ...]
    function: str
    null: bytes
    """Stands for NULL; no value of a catalogue."""
    numpy: str


#: By the type of the column: Arrow's, or uuid for a string that PostgreSQL has as such.
_SENT = {
    "int64": _Sent("bigint", (20, 21, 23), "int8send", b"\x80" + bytes(7), ">i8"),
    "int32": _Sent("integer", (21, 23), "int4send", b"\x80" + bytes(3), ">i4"),
    "double": _Sent("double precision", (700, 701), "float8send", b"\x7f\xf8" + bytes(5) + b"\x01", ">f8"),
    "date32": _Sent("date", (1082,), "date_send", b"\x7f" + 3 * b"\xff", ">i4"),
    "uuid": _Sent("uuid", (2950,), "uuid_send", 16 * b"\xff", "V16"),
}


def prepared(driver: Any, select: bytes) -> dict[str, int]:
    """Have PostgreSQL parse a SELECT alone, as one statement, before it is put in brackets: column -> id of its type.

    A text such as ``SELECT 1) TO STDOUT; COMMIT; DROP …; COPY (SELECT 1`` is sound only in COPY's brackets, where it
    would end the transaction that keeps a template from changing anything. What is sound, but no SELECT, is refused in
    brackets.
    """
    columns = _parsed(driver, select)
    _parsed(driver, b"SELECT FROM (\n%b\n) AS selected" % select)
    return columns


def _parsed(driver: Any, select: bytes) -> dict[str, int]:
    import psycopg

    result = driver.pgconn.prepare(b"", select)
    if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
        result = driver.pgconn.describe_prepared(b"")
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result, driver.info.encoding)
    return {result.fname(place).decode(driver.info.encoding): result.ftype(place) for place in range(result.nfields)}


def fetched(
    driver: Any,
    select: bytes,
    ids: Mapping[str, int],
    types: Mapping[str, str],
    by: str,
    first: Mapping[int, int] | None = None,
) -> pa.Table:
    """Run a SELECT and return its rows.

    Parameters
    ----------
    select, ids
        The statement, and what :func:`prepared` says of it.
    types
        The columns wanted -> their types: int64, int32, double, date32 or string.
    by
        A column of int64. Rows of one value come together, in the order in which the SELECT gives them.
    first
        Value of `by` -> weight. The heaviest come first; those of one weight by value.

    Raises
    ------
    psycopg.Error
        PostgreSQL refuses the statement, or a value is not of its column's type.
    """
    import pyarrow as pa

    kinds = {name: types[name] for name in sorted(types, key=lambda name: name != by)}
    kinds |= {name: "uuid" for name in kinds if kinds[name] == "string" and ids[name] in _SENT["uuid"].ids}
    joined = ", ".join(_joined(name, kind, ids[name]) for name, kind in kinds.items())
    whole = f"SELECT {joined} FROM (\n".encode() + select + f'\n) AS selected GROUP BY "{by}"'.encode()
    fields = sum(2 if kind == "string" else 1 for kind in kinds.values())
    groups = [(int.from_bytes(row[0][:8], "big", signed=True), row) for row in _rows(driver, whole, fields)]
    groups.sort(key=lambda group: (-(first or {}).get(group[0], 0), group[0]))
    return pa.concat_tables([_table(piece, kinds) for piece in _pieces([row for _, row in groups])])


def _joined(name: str, kind: str, type_id: int) -> str:
    """Return the aggregates that send a column: one of a fixed width; of texts their lengths, -1 for NULL, and they."""
    if kind == "string":
        text = f'CAST("{name}" AS text)'
        return f"string_agg(int4send(coalesce(octet_length({text}), -1)), ''), string_agg({text}, '')"
    sent = _SENT[kind]
    # Of another type, such as numeric: what reads as one of this type, and nothing that would have to be rounded.
    value = f'"{name}"' if type_id in sent.ids else f'CAST("{name}" AS text)'
    return (
        f"string_agg(coalesce({sent.function}(CAST({value} AS {sent.type})), '\\x{sent.null.hex()}'::bytea), ''::bytea)"
    )


def _rows(driver: Any, select: bytes, fields: int) -> Iterator[tuple[bytes, ...]]:
    """Yield the rows of a SELECT in binary form; NULL is empty."""
    with driver.cursor().copy(b"COPY (\n%b\n) TO STDOUT (FORMAT binary)" % select) as copy:
        copy.set_types(["bytea"] * fields)
        for row in copy.rows():
            yield tuple(value or b"" for value in row)


def _pieces(groups: list[tuple[bytes, ...]]) -> Iterator[list[bytes]]:
    """Join groups to pieces of a table: the bytes of each column, in order; at least one piece."""
    piece: list[tuple[bytes, ...]] = []
    for place, group in enumerate(groups, 1):
        piece.append(group)
        if place == len(groups) or sum(len(each[0]) for each in piece) >= 8 * _PIECE:
            yield [b"".join(column) for column in zip(*piece, strict=True)]
            piece = []
    if not groups:
        yield []


def _table(columns: list[bytes], kinds: Mapping[str, str]) -> pa.Table:
    """Return the columns of a piece as Arrow's arrays."""
    import pyarrow as pa

    each = iter(columns)
    arrays = {
        name: _strings(next(each, b""), next(each, b"")) if kind == "string" else _fixed(next(each, b""), kind)
        for name, kind in kinds.items()
    }
    return pa.table(arrays)


def _fixed(raw: bytes, kind: str) -> pa.Array:
    """Return a column of a fixed width; UUIDs as the text that they are elsewhere."""
    import numpy as np
    import pyarrow as pa

    sent = _SENT[kind]
    parts = np.dtype(">i4" if len(sent.null) == 4 else ">i8")
    null = (
        np.frombuffer(raw, parts).reshape(-1, len(sent.null) // parts.itemsize) == np.frombuffer(sent.null, parts)
    ).all(axis=1)
    if kind == "uuid":
        return pa.Array.from_buffers(pa.string(), len(null), [_valid(null), *_uuid_texts(raw)])
    values = np.frombuffer(raw, sent.numpy).astype(sent.numpy.replace(">", "="))
    if kind == "date32":
        values += _DAYS
    return pa.Array.from_buffers(pa.type_for_alias(kind), len(null), [_valid(null), pa.py_buffer(values)])


def _uuid_texts(raw: bytes) -> list[pa.Buffer]:
    """Return where each text begins, and the texts: 8, 4, 4, 4 and 12 digits with hyphens between them."""
    import binascii

    import numpy as np
    import pyarrow as pa

    digits = np.frombuffer(binascii.hexlify(raw), np.uint8).reshape(-1, 32)
    texts = np.full((len(digits), 36), ord("-"), np.uint8)
    for hyphens, (start, end) in enumerate(((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))):
        texts[:, start + hyphens : end + hyphens] = digits[:, start:end]
    return [pa.py_buffer(np.arange(0, texts.size + 1, 36, dtype=np.int32)), pa.py_buffer(texts)]


def _strings(lengths: bytes, joined: bytes) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    each = np.frombuffer(lengths, ">i4")
    starts = np.zeros(len(each) + 1, np.int32)
    np.cumsum(np.maximum(each, 0), out=starts[1:])
    return pa.Array.from_buffers(pa.string(), len(each), [_valid(each < 0), pa.py_buffer(starts), pa.py_buffer(joined)])


def _valid(null: np.ndarray) -> pa.Buffer | None:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None


# Between numpy, Python and Arrow without pa.array, pa.scalar and to_numpy, which load pandas: a quarter of a second.


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers without nulls."""
    import numpy as np

    return np.from_dlpack(column.combine_chunks())


def integers(values: np.ndarray) -> pa.Array:
    """Return whole numbers, as indices for Arrow's take."""
    import numpy as np
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Return texts; None is null."""
    import numpy as np

    each = [None if value is None else value.encode() for value in values]
    lengths = np.fromiter((-1 if value is None else len(value) for value in each), ">i4", len(each))
    return _strings(lengths.tobytes(), b"".join(value or b"" for value in each))
