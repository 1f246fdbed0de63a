"""Read the tables of the open-data dump in blocks of whole rows.

The files are tab-separated with a header line, no quoting and no escaping (a quote or a backslash is data), so a field
ends at the next tab or line feed and nowhere else: finding those is all the parsing there is, and rows that nobody
wants are never converted. Columns are mapped by the header; unknown columns and tables are passed over. A file is
believed only when its gzip stream ends properly, its last line is whole and every row has as many fields as the header.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from shroomcurate.catalogue.sources import TableStream, named_damage
from shroomcurate.errors import BadDump

if TYPE_CHECKING:
    import numpy as np

#: The columns each table must have, with the kind of value each holds.
TABLES: dict[str, dict[str, str]] = {
    "taxa": {
        "taxon_id": "integer",
        "ancestry": "ancestry",
        "rank_level": "number",
        "rank": "text",
        "name": "text",
        "active": "boolean",
    },
    "observations": {
        "observation_uuid": "uuid",
        "observer_id": "integer",
        "latitude": "number",
        "longitude": "number",
        "positional_accuracy": "small integer",
        "taxon_id": "integer",
        "quality_grade": "text",
        "observed_on": "date",
    },
    "photos": {
        "photo_uuid": "uuid",
        "photo_id": "integer",
        "observation_uuid": "uuid",
        "observer_id": "integer",
        "extension": "text",
        "license": "text",
        "width": "small integer",
        "height": "small integer",
        "position": "small integer",
    },
    "observers": {"observer_id": "integer", "login": "text", "name": "text"},
}

#: Bytes parsed at a time: few enough for a cache, enough that calling into Arrow costs little.
BLOCK_BYTES = 4 << 20
_PARSERS = 2

#: Zero bytes behind the rows, so that eight bytes can be taken from wherever a field starts.
_PADDING = bytes(40)
_FETCH_AGAIN = "The file is damaged or was cut short. Fetch it again, then type the same command."

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Block:
    """Whole rows of a table.

    ``content`` is their bytes with padding behind; ``ends`` says where each field ends, shape (rows, fields).
    """

    table: str
    label: str
    header: tuple[str, ...]
    content: bytes
    ends: np.ndarray
    first_line: int
    """Line number in the file of the first row, counted from 1, the header being line 1."""

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.ends)

    def field(self, name: str, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return where a column's fields start and end in ``content``, one of each a row, or of some rows."""
        place = self.header.index(name)
        # A row's first field starts behind the row before it.
        before = self.ends[:, place - 1] if place else self._row_starts
        return before[rows] + 1, self.ends[rows, place]

    @cached_property
    def _row_starts(self) -> np.ndarray:
        import numpy as np

        return np.concatenate([[-1], self.ends[:-1, -1]])[: self.rows]

    def value(self, name: str, row: int) -> bytes:
        """Return one field."""
        start, end = self.field(name, row)
        return self.content[start:end]


def read_blocks(table: TableStream, work: Callable[[Block], _Result]) -> Iterator[_Result]:
    """Split a table into blocks and yield what ``work`` makes of each, in file order.

    A few threads work ahead; memory does not grow with the file.

    Raises
    ------
    BadDump
        A needed column is missing, a row has another number of fields than the header, the last line is not whole,
        or the gzip stream is damaged or cut. The message names file, line, column and value.
    """
    import numpy as np

    with named_damage(table.label), ThreadPoolExecutor(_PARSERS, "parse") as pool:
        header, returns = _read_header(table)

        def parse(content: bytes, line: int) -> _Result:
            return work(_split(table, header, content.replace(b"\r\n", b"\n") if returns else content, line))

        line = 2
        ahead: deque[Future[_Result]] = deque()
        for content in _whole_lines(table):
            ahead.append(pool.submit(parse, content, line))
            line += int(np.count_nonzero(np.frombuffer(content, np.uint8) == ord("\n")))
            if len(ahead) > 2 * _PARSERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def keep_freed_memory() -> None:
    """Let the C library keep what one block frees for the next, instead of asking the system anew for each array.

    A fifth of the time of a load is such asking. Does nothing where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mmap_threshold, trim_threshold = -3, -1  # malloc.h
        mallopt(mmap_threshold, 32 << 20)  # the most it takes
        mallopt(trim_threshold, 1 << 30)


def _read_header(table: TableStream) -> tuple[tuple[str, ...], bool]:
    """Return the header, and whether lines end with a carriage return as well."""
    line = table.stream.readline().removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}".encode())
    header = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
    for column in TABLES[table.table]:
        if column not in header:
            raise BadDump(
                f"{table.label}, line 1: there is no column '{column}'; the header has: {', '.join(header)}.",
                "This is not the iNaturalist open-data layout (tab-separated, with a header line). "
                "Fetch the file again from the open-data bucket.",
            )
    return tuple(header), line.endswith(b"\r\n")


def _whole_lines(table: TableStream) -> Iterator[bytes]:
    rest = b""
    while content := table.stream.read(BLOCK_BYTES):
        cut = content.rfind(b"\n") + 1
        if cut:
            yield b"".join((rest, memoryview(content)[:cut], _PADDING))
            rest = content[cut:]
        else:
            rest += content
    if rest:
        raise BadDump(f"{table.label} ends in the middle of a line: {_shown(rest)}", _FETCH_AGAIN)


def _split(table: TableStream, header: tuple[str, ...], content: bytes, first_line: int) -> Block:
    import numpy as np

    characters = np.frombuffer(content, np.uint8)[: -len(_PADDING)]
    # One comparison finds tabs, line feeds and the control characters before them, which hardly any field holds.
    ends = np.flatnonzero(characters <= ord("\n"))
    breaks = characters[ends]
    if (breaks < ord("\t")).any():
        ends, breaks = ends[breaks >= ord("\t")], breaks[breaks >= ord("\t")]
    lines = int(np.count_nonzero(breaks == ord("\n")))
    if len(ends) == lines * len(header) and (breaks[len(header) - 1 :: len(header)] == ord("\n")).all():
        return Block(table.table, table.label, header, content, ends.reshape(lines, len(header)), first_line)
    for number, row in enumerate(content[: -len(_PADDING)].split(b"\n")):
        found = row.count(b"\t") + 1
        if found != len(header):
            raise BadDump(
                f"{table.label}, line {first_line + number}: {found} fields where the header has {len(header)}: "
                f"{_shown(row)}",
                _FETCH_AGAIN,
            )
    raise AssertionError("the rows are whole after all")


def join(blocks: Sequence[Block]) -> Block:
    """Return the rows of several blocks, one after the other as they were read, as one block."""
    import numpy as np

    contents = [block.content[: -len(_PADDING)] for block in blocks]
    before = np.cumsum([0, *map(len, contents)])
    ends = [block.ends + offset for block, offset in zip(blocks, before.tolist(), strict=False)]
    return replace(blocks[0], content=b"".join([*contents, _PADDING]), ends=np.concatenate(ends))


def _shown(content: bytes) -> str:
    text = content.decode("utf-8", "replace").rstrip("\r\n")
    return repr(text if len(text) <= 80 else text[:80] + "…")
