"""A file on a server as a stream, for readers that know nothing of servers."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from shroomcurate.catalogue.remote import ATTEMPTS_TO_REACH, Patience, Remote, describe, open_client, read_range

T = TypeVar("T")

#: A thread reads ahead as far as this, so that the line is busy while a reader unpacks: 16 blocks of a mebibyte.
_BLOCK, _BLOCKS_AHEAD = 1 << 20, 16


def open_remote(where: str | Remote, patience: Patience = Patience()) -> RemoteStream:
    """Open a file on a server for reading from its beginning to its end.

    Parameters
    ----------
    where
        Its address, or what :func:`describe` said of it: then it must still be that file.

    Raises
    ------
    SourceMissing, NetworkDown
        As :func:`describe`. What happens later is raised by the reads.

    Examples
    --------
    >>> from isal import igzip
    >>> with open_remote("https://example.org/taxa.csv.gz") as raw:  # doctest: +SKIP
    ...     header = igzip.GzipFile(fileobj=io.BufferedReader(raw, 1 << 20)).readline()
    """
    return RemoteStream(where if isinstance(where, Remote) else describe_url(where, patience), patience)


def describe_url(url: str, patience: Patience = Patience()) -> Remote:
    """Ask what lies at an address, before any byte of it came. See :func:`describe`."""
    patience = replace(patience, attempts=min(patience.attempts, ATTEMPTS_TO_REACH))
    with open_client(url, 1, patience) as client:
        return in_background(lambda: describe(client, url, patience))


class RemoteStream(io.RawIOBase):
    """The raw bytes of a file on a server, as a stream without seek. See :func:`open_remote`.

    A thread reads ahead, so that neither waits for the other; a dropped connection costs a reader nothing while the
    16 MiB in hand last. A read raises what :func:`read_range` does, and returns ``b""`` only after the last byte.
    """

    def __init__(self, remote: Remote, patience: Patience = Patience()) -> None:
        self.remote = remote
        self._rest = memoryview(b"")
        self._halt = threading.Event()
        self._blocks: queue.Queue[bytes | BaseException] = queue.Queue(_BLOCKS_AHEAD)
        # The thread knows nothing of this object, so that one which is dropped without close() ends its thread too.
        work = (remote, patience, self._blocks, self._halt)
        threading.Thread(target=_read_ahead, args=work, name="read ahead", daemon=True).start()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the present block goes; 0 at the end."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if not self._rest:
            self._rest = memoryview(self._next_block())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next_block(self) -> bytes:
        while not self._halt.is_set():  # by close(), while another thread reads
            with suppress(queue.Empty):
                item = self._blocks.get(timeout=0.2)  # ^C is not heard in an endless wait
                if isinstance(item, BaseException) or not item:
                    self._blocks.put(item)  # so that the next read ends the same way
                if isinstance(item, BaseException):
                    raise item
                return item
        raise ValueError("I/O operation on closed file.")

    def close(self) -> None:
        """Break off; the thread ends by itself, at the latest with its time-out."""
        if hasattr(self, "_halt"):
            self._halt.set()
        super().close()


def _read_ahead(
    remote: Remote, patience: Patience, blocks: queue.Queue[bytes | BaseException], halt: threading.Event
) -> None:
    def hand_over(item: bytes | BaseException) -> None:
        while not halt.is_set():
            with suppress(queue.Full):
                blocks.put(item, timeout=0.2)
                return

    try:
        with open_client(remote.url, 1, patience) as client:
            chunks: list[bytes] = []
            length = 0
            for chunk in read_range(client, remote, 0, remote.size, patience, halt):
                chunks.append(chunk)
                length += len(chunk)
                if length >= _BLOCK:
                    hand_over(b"".join(chunks))
                    chunks, length = [], 0
            if chunks:
                hand_over(b"".join(chunks))
        hand_over(b"")
    except BaseException as error:  # noqa: BLE001  # raised again by the read that comes upon it
        hand_over(error)


def in_background(work: Callable[[], T]) -> T:
    """Return what ``work()`` returns, from a thread that ^C does not wait for: a silent name server is not cut off."""
    done = threading.Event()
    outcome: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again where the work was asked for
            raised.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="request", daemon=True).start()
    while not done.wait(0.2):  # a signal that comes just before an endless wait is not seen until its end
        pass
    if raised:
        raise raised[0]
    return outcome[0]
