"""The dump as a stream of kept rows: one table after the other, since what one says decides about the next.

Nothing here needs a server, so it runs ahead of it, in threads of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from shroomcurate.catalogue.dumps import Block, read_blocks, read_whole
from shroomcurate.catalogue.keys import Bits, KeySet, Marks, distinct
from shroomcurate.catalogue.roots import Taxa, choose_taxa
from shroomcurate.catalogue.sift import Sifted, sift_observations, sift_observers, sift_photos, sift_taxa
from shroomcurate.catalogue.sources import Dump, TableStream, open_tables

if TYPE_CHECKING:
    import numpy as np

#: Bytes of kept rows that wait for the server, at most: of a usual load all that it keeps of the tables while the
#: server is reached and makes its indexes.
_WAITING = 64 << 20

Part = tuple[TableStream, Sifted | None, int]
"""What became of a block of a table, None behind its last; and the bytes of the packed file that were read by then."""


class Sieve:
    """Which rows of a dump are kept, and what is known of it afterwards.

    Parameters
    ----------
    asked
        Names or ids of the taxa whose branches are kept; None for all.
    quality
        The quality grade that is kept, or any.
    """

    taxa: Taxa
    """Known when the table of taxa has passed, as the rest is when that of photos has."""
    repeated: np.ndarray
    """Ids of photos that stand in several kept rows."""
    elsewhere: np.ndarray
    """Ids of photos that stand in kept rows and in others."""

    def __init__(self, asked: Sequence[str] | None, quality: str) -> None:
        self._asked = asked
        self._quality = quality
        self._everything = asked is None and quality == "any"
        self.kept_photos, self.other_photos = Bits(), Bits()
        self._seen: Marks | None = None
        self._observations: KeySet | None = None
        self._observers: KeySet | None = None

    def parts(self, dump: Dump, left: threading.Event) -> Generator[Part, None, None]:
        """Read and sift the tables, in the order of ``NEEDS``.

        Parameters
        ----------
        left
            Set by another thread when nobody wants more.

        Raises
        ------
        BadDump, SourceMissing
            As by :func:`open_tables` and :func:`read_blocks`.
        NothingMatches
            A taxon is unknown.
        """
        sift = {
            "taxa": self._taxa_of,
            "observations": self._observations_of,
            "photos": self._photos_of,
            "observers": self._observers_of,
        }
        for table in open_tables(dump):
            for sifted in sift[table.table](table, left):
                yield table, sifted, table.packed.taken
            yield table, None, table.packed.taken

    def _taxa_of(self, table: TableStream, left: threading.Event) -> Iterator[Sifted]:  # noqa: ARG002  # small
        whole = read_whole(table)
        self.taxa = choose_taxa(whole, self._asked)
        yield sift_taxa(whole, self.taxa)

    def _observations_of(self, table: TableStream, left: threading.Event) -> Iterator[Sifted]:
        import numpy as np

        self._seen = None if self._everything else Marks()
        keys = [np.empty(0, np.uint64)]
        work = partial(sift_observations, taxa=self.taxa, quality=self._quality, seen=self._seen)
        for sifted in _each(table, work, left):
            if sifted.keys is not None:
                keys.append(sifted.keys)
            yield sifted
        self._observations = None if self._everything else KeySet(np.concatenate(keys))

    def _photos_of(self, table: TableStream, left: threading.Event) -> Iterator[Sifted]:
        import numpy as np

        observers, repeated = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for sifted in _each(table, partial(sift_photos, observations=self._observations, seen=self._seen), left):
            repeated.append(self.kept_photos.add(sifted.photos))
            self.other_photos.add(sifted.other_photos)
            if not self._everything:
                observers.append(sifted.observers)
            yield sifted
        self.repeated = distinct(np.concatenate(repeated))
        self.elsewhere = self.kept_photos.common(self.other_photos)
        self._observers = None if self._everything else KeySet(np.concatenate(observers))

    def _observers_of(self, table: TableStream, left: threading.Event) -> Iterator[Sifted]:
        yield from _each(table, partial(sift_observers, wanted=self._observers), left)


def _each(table: TableStream, work: Callable[[Block], Sifted], left: threading.Event) -> Iterator[Sifted]:
    with closing(read_blocks(table, work, left)) as blocks:
        yield from blocks


@contextmanager
def running_ahead(sieve: Sieve, dump: Dump) -> Iterator[Iterator[Part]]:
    """Start to read and sift at once; give what comes of it, ahead of whoever takes it.

    Leaving before the end, by ^C say, waits for nothing: not for a line that stalls either.
    """
    waiting: deque[Part | BaseException | None] = deque()
    changed, left = threading.Condition(), threading.Event()
    held = 0

    def hand_over(item: Part | BaseException | None, size: int = 0) -> None:
        nonlocal held
        with changed:
            changed.wait_for(lambda: held <= _WAITING or left.is_set())
            held += size
            waiting.append(item)
            changed.notify_all()

    def run() -> None:
        try:
            with closing(sieve.parts(dump, left)) as parts:
                for part in parts:
                    sifted = part[1]
                    hand_over(part, len(sifted.kept.copy_rows) if sifted else 0)
                    if left.is_set():
                        return
            hand_over(None)
        except BaseException as error:  # noqa: BLE001  # raised again where the parts are taken
            hand_over(error)

    def taken() -> Iterator[Part]:
        nonlocal held
        while True:
            with changed:
                while not waiting:
                    changed.wait(0.5)  # ^C is not heard in an endless wait
                item = waiting.popleft()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                held -= len(item[1].kept.copy_rows) if item[1] else 0
                changed.notify_all()
            yield item

    threading.Thread(target=run, name="sift", daemon=True).start()
    try:
        yield taken()
    finally:
        with changed:
            left.set()
            changed.notify_all()
