"""Columns of dump rows: checked, converted, and written out as PostgreSQL's COPY reads them.

Values stay the bytes they are in the file; only what is kept is checked, so that a stray value in a row that nobody
wants costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue.dumps import TABLES, Block, TableFile
from shroomcurate.errors import BadDump

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from shroomcurate.catalogue.load import TableReport

#: What a value of each kind looks like (RE2). Blank is null, except in a table's keys.
_SHAPE = {
    "integer": r"^-?[0-9]{1,18}$",
    "number": r"^-?[0-9]{1,99}(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$",
    "boolean": r"^(true|false|t|f)$",
    "date": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    "ancestry": r"^[0-9]{0,18}(/[0-9]{0,18})*$",
    "uuid": r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
}
_KEYS = {
    "taxa": {"taxon_id"},
    "observations": {"observation_uuid"},
    "photos": {"photo_uuid", "photo_id", "observation_uuid"},
    "observers": {"observer_id"},
}


def column(block: Block, name: str) -> pa.Array:
    """Return one column of a block as an Arrow array of bytes."""
    import pyarrow as pa

    found = block.rows[name]
    return found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks or [pa.array([], pa.binary())])


def integers(file: TableFile, block: Block, name: str, *, required: bool = False) -> pa.Array:
    """Return a column as int64, null where blank.

    Raises
    ------
    BadDump
        A value is no integer, or blank though required; names line, column and value.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column(block, name)
    filled = pc.if_else(pc.equal(values, b""), pa.scalar(None, pa.binary()), values)
    if required and filled.null_count:
        raise _bad_value(file, block, name, pc.index(filled.is_null(), True).as_py())
    try:
        return pc.cast(pc.cast(filled, pa.string()), pa.int64())
    except pa.ArrowInvalid:
        well = pc.fill_null(pc.match_substring_regex(filled, _SHAPE["integer"]), True)
        raise _bad_value(file, block, name, pc.index(well, False).as_py()) from None


def uuid_keys(file: TableFile, block: Block, name: str) -> np.ndarray:
    """Return a 64-bit key for each UUID of a column: equal for equal text, and mixed from all its random bits.

    A row whose key is found by chance (one in 10^12 at a million kept) joins with nothing in the database.

    Raises
    ------
    BadDump
        A value has not the 36 characters of a UUID.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column(block, name)
    rows = len(values)
    well = pc.equal(pc.binary_length(values), 36)
    if not pc.all(well, min_count=0).as_py():
        raise _bad_value(file, block, name, pc.index(well, False).as_py())
    start = np.frombuffer(values.buffers()[1], np.int32)[values.offset] if rows else 0
    text = np.frombuffer(values.buffers()[2] or pa.py_buffer(b""), np.uint8)[start : start + 36 * rows].reshape(
        rows, 36
    )
    parts = [np.ascontiguousarray(text[:, first : first + 8]).view(np.uint64)[:, 0] for first in (0, 9, 19, 28)]
    key = np.zeros(rows, np.uint64)
    for part in parts:
        # The finaliser of MurmurHash3: https://github.com/aappleby/smhasher/wiki/MurmurHash3
        key ^= part
        key ^= key >> np.uint64(33)
        key *= np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(29)
    return key


def postgres_text(file: TableFile, block: Block, mask: pa.Array, report: TableReport) -> tuple[Any, int]:
    """Return the rows that a mask keeps, checked, as COPY's text format, and how many they are.

    Raises
    ------
    BadDump
        A kept value is not of its column's kind.
    """
    import pyarrow.compute as pc

    kinds = TABLES[file.table]
    written = []
    for name, kind in kinds.items():
        values = pc.filter(column(block, name), mask)
        if kind == "text":
            values = _valid_text(file, block, name, mask, values, report)
            values = pc.replace_substring(values, b"\\", b"\\\\")
        else:
            _check(file, block, name, mask, values)
        written.append(pc.if_else(pc.equal(values, b""), b"\\N", values))
    lines = pc.binary_join_element_wise(*written, b"\t")
    ended = pc.binary_join_element_wise(lines, b"", b"\n")
    if not len(ended):
        return b"", 0
    import numpy as np

    offsets = np.frombuffer(ended.buffers()[1], np.int32)
    first, last = offsets[ended.offset], offsets[ended.offset + len(ended)]
    return memoryview(ended.buffers()[2])[first:last], len(ended)


def _check(file: TableFile, block: Block, name: str, mask: pa.Array, values: pa.Array) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = TABLES[file.table][name]
    well = pc.match_substring_regex(values, _SHAPE[kind])
    if name not in _KEYS[file.table]:
        well = pc.or_(well, pc.equal(values, b""))
    if not pc.all(well, min_count=0).as_py():
        kept = pc.indices_nonzero(mask)
        raise _bad_value(file, block, name, kept[pc.index(well, False).as_py()].as_py())
    if kind == "date":
        filled = pc.cast(pc.if_else(pc.equal(values, b""), pa.scalar(None, pa.binary()), values), pa.string())
        try:
            days = pc.cast(filled, pa.date32())
        except pa.ArrowInvalid:
            days = None
        # Arrow takes the year 0, which neither Python nor PostgreSQL knows.
        if days is None or pc.any(pc.starts_with(filled, "0000"), min_count=0).as_py():
            kept = pc.indices_nonzero(mask).to_pylist()
            raise _bad_value(file, block, name, kept[_first_bad_date(filled)])


def _first_bad_date(values: pa.Array) -> int:
    import datetime

    for row, value in enumerate(values.to_pylist()):
        try:
            datetime.date.fromisoformat(value or "2000-01-01")
        except ValueError:
            return row
    raise AssertionError("Arrow refused a date that Python takes")


def _valid_text(
    file: TableFile, block: Block, name: str, mask: pa.Array, values: pa.Array, report: TableReport
) -> pa.Array:
    """Return text as valid UTF-8 without NUL, which PostgreSQL cannot hold; what had to be replaced is counted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.cast(values, pa.string())
        if not pc.any(pc.match_substring(values, b"\0"), min_count=0).as_py():
            return values
    except pa.ArrowInvalid:
        pass
    mended = []
    rows = pc.indices_nonzero(mask).to_pylist()
    for row, value in zip(rows, values.to_pylist(), strict=True):
        text = value.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}").encode()
        if text != value:
            report.not_utf8 += 1
            report.not_utf8_example = report.not_utf8_example or (
                f"{file.label}, line {block.first_line + row}, column {name}: {value!r}"
            )
        mended.append(text)
    return pa.array(mended, pa.binary())


def _bad_value(file: TableFile, block: Block, name: str, row: int) -> BadDump:
    value = column(block, name)[row].as_py().decode("utf-8", "replace")
    kind = TABLES[file.table][name]
    what = "is blank" if not value else f"holds {value!r}, which is no {kind}"
    return BadDump(
        f"{file.label}, line {block.first_line + row}: column '{name}' {what}.",
        "The file is damaged. Fetch it again, then type the same command.",
    )
