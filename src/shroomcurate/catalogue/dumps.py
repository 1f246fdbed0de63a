"""Read the tables of the open-data dump in blocks of whole rows.

The files are tab-separated with a header line, no quoting and no escaping (a quote or a backslash is data), so a field
ends at the next tab or line feed and nowhere else: finding those is all the parsing there is, and rows that nobody
wants are never converted. Columns are mapped by the header; unknown columns and tables are passed over. A file is
believed only when its gzip stream ends properly, its last line is whole and every row has as many fields as the header.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from shroomcurate.catalogue.scan import library
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

#: Bytes parsed at a time: enough that calling into NumPy and Arrow costs little.
BLOCK_BYTES = 8 << 20
_WORKERS = 2

#: Blocks that are worked on while the caller does something else.
_AHEAD = 4

#: Bytes behind the rows, whatever they hold, so that a few can be taken from wherever a field starts.
_SPARE = 40

#: Bytes of the largest block: places in it are 32-bit integers.
_LONGEST = (1 << 31) - 1
_FETCH_AGAIN = "The file is damaged or was cut short. Fetch it again, then type the same command."

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Block:
    """Whole rows of a table.

    ``content`` begins with their bytes; ``ends`` says where each field ends, shape (rows, fields).
    """

    table: str
    label: str
    header: tuple[str, ...]
    content: bytearray
    ends: np.ndarray
    first_line: int
    """Line number in the file of the first row, counted from 1, the header being line 1."""

    @property
    def size(self) -> int:
        """Of all rows, in bytes."""
        return int(self.ends[-1, -1]) + 1 if self.rows else 0

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.ends)

    def field(self, name: str, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return where a column's fields start and end in ``content``, one of each a row, or of some rows."""
        place = self.header.index(name)
        starts = self.ends[rows, place - 1] + 1 if place else self.row_starts[rows]
        return starts, self.ends[rows, place]

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray, int, int, int]:
        """Return what the functions of ``scan.c`` want of a column: bytes, ends, rows, fields, place in the header."""
        import numpy as np

        content = np.frombuffer(self.content, np.uint8)
        return content, self.ends, self.rows, len(self.header), self.header.index(name)

    @cached_property
    def row_starts(self) -> np.ndarray:
        """Where each row starts in ``content``."""
        import numpy as np

        return np.concatenate([[0], self.ends[:-1, -1] + 1])[: self.rows]

    def value(self, name: str, row: int) -> bytes:
        """Return one field."""
        start, end = self.field(name, row)
        return bytes(self.content[start:end])


def read_blocks(
    table: TableStream, work: Callable[[Block], _Result], left: threading.Event | None = None
) -> Generator[_Result, None, None]:
    """Split a table into blocks and yield what ``work`` makes of each, in file order.

    One thread reads and a few work, ahead of the caller; memory does not grow with the file. Who breaks off closes the
    generator, or the threads wait for ever.

    Parameters
    ----------
    table
        Read to its end.
    work
        Keeps nothing of a block's ``content``, which is written over by later rows.
    left
        Set by another thread when nobody wants more.

    Raises
    ------
    CancelledError
        ``left`` is set.
    BadDump
        A needed column is missing, a row has another number of fields than the header, the last line is not whole,
        or the gzip stream is damaged or cut. The message names file, line, column and value.
    """
    import numpy as np

    with named_damage(table.label):
        header, returns = _read_header(table)
        # What is read into memory used before needs no new pages of the system, which take longer than the reading.
        free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(2 + _WORKERS):
            free.put(bytearray(BLOCK_BYTES + _SPARE))
        ahead: queue.SimpleQueue[Future[_Result] | None] = queue.SimpleQueue()
        room, over = threading.Semaphore(_AHEAD), threading.Event()
        pool = ThreadPoolExecutor(1 + _WORKERS, "read")

        def parse(content: bytearray, size: int, line: int) -> _Result:
            try:
                return work(_split(table, header, *_plain(content, size, returns), line))
            finally:
                free.put(content)

        def read() -> None:
            line = 2
            try:
                for content, size in _whole_lines(table, free):
                    room.acquire()
                    if over.is_set():
                        return
                    lines = library().count_lines(np.frombuffer(content, np.uint8), size)
                    ahead.put(pool.submit(parse, content, size, line))
                    line += lines
            finally:
                ahead.put(None)

        try:
            reading = pool.submit(read)
            while (result := _taken(ahead, left)) is not None:
                room.release()
                yield result.result()
            reading.result()
        finally:
            # Whoever leaves before the end, by ^C say, does not wait for a line that stalls.
            over.set()
            room.release()
            free.put(bytearray(_SPARE))
            pool.shutdown(wait=False, cancel_futures=True)


def _taken(ahead: queue.SimpleQueue[_Item], left: threading.Event | None) -> _Item:
    while not (left and left.is_set()):
        with suppress(queue.Empty):
            return ahead.get(timeout=0.5)  # ^C is not heard in an endless wait
    raise CancelledError


def read_whole(table: TableStream) -> Block:
    """Return a small table as one block.

    Raises
    ------
    BadDump
        As by :func:`read_blocks`; or the table has no rows.
    """
    with named_damage(table.label):
        header, returns = _read_header(table)
        content = bytearray()
        # Whole blocks: the stream's own read() goes by 8 kB, and waits for its turn among the threads at each.
        while chunk := table.stream.read(BLOCK_BYTES):
            content += chunk
        if not content:
            raise BadDump(f"{table.label} has no rows.", "Fetch it again, then type the same command.")
        _refuse_half_a_line(table, content[content.rfind(b"\n") + 1 :])
        size = len(content)
        content += bytes(_SPARE)
        return _split(table, header, *_plain(content, size, returns), 2)


def keep_freed_memory() -> None:
    """Let the C library keep what one block frees for the next, instead of asking the system anew for each array.

    A fifth of the time of a load is such asking. Does nothing where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mmap_threshold, trim_threshold, arena_max = -3, -1, -8  # malloc.h
        mallopt(arena_max, 1)  # what a thread frees is for all of them
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


def _whole_lines(table: TableStream, free: queue.SimpleQueue[bytearray]) -> Iterator[tuple[bytearray, int]]:
    """Yield buffers that were free, each filled with whole lines, and how many bytes these have."""
    rest = bytearray()
    while True:
        content = free.get()
        if len(content) - _SPARE < 2 * len(rest):  # a line longer than a block
            content = bytearray(4 * len(rest) + _SPARE)
        content[: len(rest)] = rest
        with memoryview(content)[len(rest) : -_SPARE] as room:
            size = len(rest) + table.stream.readinto(room)  # type: ignore[attr-defined]  # every stream here has it
        if size == len(rest):
            return _refuse_half_a_line(table, rest)
        cut = content.rfind(b"\n", 0, size) + 1
        rest = content[cut:size]
        if cut:
            yield content, cut
        else:
            free.put(content)


def _refuse_half_a_line(table: TableStream, rest: bytearray) -> None:
    if rest:
        raise BadDump(f"{table.label} ends in the middle of a line: {_shown(rest)}", _FETCH_AGAIN)


def _plain(content: bytearray, size: int, returns: bool) -> tuple[bytearray, int]:
    """Return lines that end with a line feed alone."""
    if not returns:
        return content, size
    plain = content[:size].replace(b"\r\n", b"\n")
    return plain + bytes(_SPARE), len(plain)


def _split(table: TableStream, header: tuple[str, ...], content: bytearray, size: int, first_line: int) -> Block:
    import numpy as np

    if size > _LONGEST:
        raise BadDump(f"{table.label} has a line of more than {_LONGEST:,} bytes.", _FETCH_AGAIN)
    characters = np.frombuffer(content, np.uint8)
    lines = library().count_lines(characters, size)
    ends = np.empty((lines, len(header)), np.int32)
    if library().find_ends(characters, size, lines, len(header), ends):
        return Block(table.table, table.label, header, content, ends, first_line)
    for number, row in enumerate(content[:size].split(b"\n")):
        found = row.count(b"\t") + 1
        if found != len(header):
            raise BadDump(
                f"{table.label}, line {first_line + number}: {found} fields where the header has {len(header)}: "
                f"{_shown(row)}",
                _FETCH_AGAIN,
            )
    raise AssertionError("the rows are whole after all")


def _shown(content: bytes | bytearray) -> str:
    text = content.decode("utf-8", "replace").rstrip("\r\n")
    return repr(text if len(text) <= 80 else text[:80] + "…")
