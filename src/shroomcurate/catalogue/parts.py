"""Files that come in parts, over several connections at once, and survive kill -9.

``NAME.partial`` has the full size from the start, with holes. ``NAME.parts`` says which bytes of it are on the disk
for good: its first line is what the server said of the file, each further one ``FIRST STOP``. A line is written
after the bytes it speaks of were synced. Bytes that no line names are fetched again, whatever they look like.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from shroomcurate.catalogue.remote import Halted, Patience, Remote, read_range
from shroomcurate.dataset import sync_folder, write_bytes
from shroomcurate.errors import disk_full_named
from shroomcurate.progress import Bytes, Progress
from shroomcurate.tree import PARTIAL

if TYPE_CHECKING:
    import httpx

Span = tuple[int, int]
"""A first byte, counted from 0, and the one after the last."""

#: Bytes between two lines of the journal: what a kill costs each connection, and what ^C may have to wait for.
_RECORD_EVERY = 16 << 20


# -- spans -----------------------------------------------------------------------------------------------------


def gaps(spans: Iterable[Span], size: int) -> list[Span]:
    """Return what of ``0..size`` no span covers, in order. Spans may overlap and reach beyond."""
    found = []
    covered = 0
    for first, stop in sorted(spans):
        if min(first, size) > covered:
            found.append((covered, min(first, size)))
        covered = max(covered, stop)
    if covered < size:
        found.append((covered, size))
    return found


def split(spans: Iterable[Span], part_bytes: int) -> Iterator[Span]:
    """Yield the same bytes in spans of ``part_bytes`` at most."""
    for first, stop in spans:
        for start in range(first, stop, part_bytes):
            yield start, min(start + part_bytes, stop)


# -- one file --------------------------------------------------------------------------------------------------


class PartialFile:
    """A file on its way: ``target`` does not exist, or is an older one, until somebody renames ``path`` to it.

    Raises
    ------
    DiskFull
        From every method that writes.
    """

    def __init__(self, target: Path, remote: Remote) -> None:
        self.target, self.remote = target, remote
        self.path, self.journal = partial_of(target), target.with_name(target.name + ".parts")
        self.came = 0
        """Bytes that came by now, in this run."""
        self._lock = threading.Lock()
        self._spans = self._recorded()
        self._data = self._log = -1

    @property
    def missing(self) -> list[Span]:
        """What is not recorded as being on the disk."""
        with self._lock:
            return gaps(self._spans, self.remote.size)

    def open(self) -> None:
        """Make the file ready to be written to; what belongs to another file is thrown away."""
        with disk_full_named(self.path):
            if not self._spans:
                self.discard()
            self._data = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._data, self.remote.size)
            os.fsync(self._data)
            sync_folder(self.path.parent)
            lines = [json.dumps(self.remote.identity), *(f"{first} {stop}" for first, stop in self._spans)]
            write_bytes(self.journal, "".join(f"{line}\n" for line in lines).encode())
            self._log = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def receive(self, first: int, chunks: Iterable[bytes]) -> None:
        """Write chunks from byte ``first`` on. When they break off, what came is recorded all the same."""
        safe = position = first
        try:
            for chunk in chunks:
                self._write(position, chunk)
                position += len(chunk)
                if position - safe >= _RECORD_EVERY:
                    self._record(safe, position)
                    safe = position
        finally:
            if position > safe:
                self._record(safe, position)

    def close(self) -> None:
        """Close both files; they stay on the disk."""
        for handle in (self._data, self._log):
            if handle >= 0:
                os.close(handle)
        self._data = self._log = -1

    def discard(self) -> None:
        """Delete both files, the journal first: it must never speak of bytes that are not there."""
        self._spans = []
        self.journal.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the file in its place, where an older one may stand."""
        self.path.replace(self.target)
        sync_folder(self.target.parent)
        self.journal.unlink(missing_ok=True)

    def _recorded(self) -> list[Span]:
        """Return the spans that the journal names, none when it speaks of another file or the data are not there."""
        try:
            if self.path.stat().st_size != self.remote.size or self.remote.validator is None:
                return []
            header, *lines = self.journal.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            if json.loads(header) != self.remote.identity:
                return []
        except (OSError, ValueError):
            return []
        whole = (re.fullmatch(r"([0-9]{1,18}) ([0-9]{1,18})\n", line) for line in lines)
        return _joined((int(match[1]), int(match[2])) for match in whole if match)

    def _write(self, position: int, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with disk_full_named(self.path):
            while rest:  # less is written than asked for when the disk is nearly full
                count = os.pwrite(self._data, rest, position)
                rest, position = rest[count:], position + count
        with self._lock:
            self.came += len(chunk)

    def _record(self, first: int, stop: int) -> None:
        with disk_full_named(self.path):
            os.fdatasync(self._data)
            with self._lock:
                # The line break in front ends what a full disk may have left of the line before; the first digits
                # of a STOP name fewer bytes than all of them, so that even half a line tells the truth.
                os.write(self._log, f"\n{first} {stop}\n".encode())
                os.fdatasync(self._log)
                self._spans.append((first, stop))


def partial_of(target: Path) -> Path:
    """Return where a file grows until it is whole."""
    return target.with_name(target.name + PARTIAL)


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for first, stop in sorted(span for span in spans if span[0] < span[1]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((first, stop))
    return joined


# -- all of them -----------------------------------------------------------------------------------------------


class Fetching:
    """Threads that take part after part of several files while the block lasts; :meth:`ready` follows them.

    Leaving the block ends them; what came is recorded. ^C is heard at once.

    Parameters
    ----------
    connections
        Requests at a time, over all files.
    part_bytes
        Bytes asked for at a time. From a server without Range a file comes in one.
    progress
        Told how many bytes came.
    """

    def __init__(
        self,
        client: httpx.Client,
        files: Sequence[PartialFile],
        connections: int,
        part_bytes: int,
        patience: Patience,
        progress: Progress,
    ) -> None:
        self.client, self.files, self.patience, self.progress = client, files, patience, progress
        self._halt, self._all_came = threading.Event(), False
        self._raised: list[BaseException] = []
        self._tasks: deque[tuple[PartialFile, Span]] = deque()
        for file in files:
            spans = list(split(file.missing, part_bytes))
            if spans and not file.remote.ranges:  # each answer begins at the file's beginning, so there is but one
                spans = [(spans[0][0], file.remote.size)]
            self._tasks.extend((file, span) for span in spans)
        self.total = Bytes(sum(file.remote.size for file in files))
        self.resumed = self.total - sum(stop - first for file in files for first, stop in file.missing)
        count = min(connections, len(self._tasks))
        # No thread that ^C would have to wait for.
        self._threads = [threading.Thread(target=self._work, name=f"fetch {n}", daemon=True) for n in range(count)]

    def __enter__(self) -> Self:
        try:
            for file in self.files:
                file.open()
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def tell(self) -> bool:
        """Report how far it is, and return whether everything came.

        Raises
        ------
        BadDump, SourceMissing, NetworkDown
            As :func:`read_range`.
        DiskFull
            No room.
        """
        if self._raised:
            raise self._raised[0]
        if not self._all_came:
            done = self.resumed + sum(file.came for file in self.files)
            self.progress(done, self.total, "Fetching")
            self._all_came = done >= self.total
        return self._all_came

    def ready(self, file: PartialFile, position: int) -> int:
        """Wait until a file's byte number ``position`` is on the disk, and return how many are without a gap.

        Raises
        ------
        BadDump, SourceMissing, NetworkDown, DiskFull
            As :meth:`tell`.
        """
        while True:
            missing = file.missing
            there = missing[0][0] if missing else file.remote.size
            if there > position or not missing:
                return there
            self.tell()
            time.sleep(0.02)

    def _end(self) -> None:
        self._halt.set()
        patience_ends = time.monotonic() + 0.5
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, patience_ends - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return  # it waits for a silent server, and may write once more: its files stay open, else it hits others
        for file in self.files:
            file.close()

    def _work(self) -> None:
        try:
            while not self._halt.is_set() and self._tasks:
                file, (first, stop) = self._tasks.popleft()
                file.receive(first, read_range(self.client, file.remote, first, stop, self.patience, self._halt))
        except (Halted, IndexError):  # the last task went to another thread
            pass
        except BaseException as error:  # noqa: BLE001  # raised again by tell()
            self._raised.append(error)
            self._halt.set()
