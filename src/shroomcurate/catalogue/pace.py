"""How long the server works where a statement tells nothing of itself: by what the last one of its kind took.

A hint like the note beside it: nothing is decided by it, and nothing fails where it cannot be written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shroomcurate.catalogue.note import database_key
from shroomcurate.home import read_hint, write_hint
from shroomcurate.progress import Progress, Seconds, silent

FILE = "pace.json"

#: Work -> seconds for a million rows before any was timed here: on two slow cores, ``benchmarks/load.py`` and
#: ``benchmarks/query.py``.
_AT_FIRST = {
    "sort taxa": 5.0,
    "sort observations": 2.0,
    "make the catalogue": 4.5,
    "make the indexes": 4.5,
    "compare with the load before": 5.0,
    "write to disk": 1.5,
    "select photos": 2.0,
}

#: Work on fewer rows teaches nothing: most of its time is not theirs.
_TOO_FEW = 50_000

#: Seconds between two tellings.
_EVERY = 0.25


@contextmanager
def paced(progress: Progress, label: str, database_url: str | None, rows: int) -> Iterator[None]:
    """Tell, from a thread, how far the server should be with the block's work, and learn from how long it took.

    Behind the time that was expected nobody knows how much is left, and the bar says so.

    Parameters
    ----------
    label
        Shown, and the kind of the work; one of ``_AT_FIRST``.
    rows
        To which its time is in proportion.
    """
    key = f"{label}, {database_key(database_url)}"
    paces = _paces()
    expected = max(1, round(paces.get(key, _AT_FIRST[label]) * rows / 1e6))
    began, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(_EVERY):
            spent = int(time.monotonic() - began)
            progress(Seconds(spent), Seconds(expected if spent < expected else 0), label)

    teller = threading.Thread(target=tell, name="pace", daemon=True)
    if progress is not silent:
        teller.start()
    try:
        yield
    finally:
        over.set()
        if teller.ident:
            teller.join()
            progress(Seconds(expected), Seconds(expected), label)
    spent = time.monotonic() - began
    if rows >= _TOO_FEW:
        write_hint(FILE, {**paces, key: 1e6 * spent / rows})


def _paces() -> dict[str, float]:
    """Return what was learned: kind of work and database -> seconds for a million rows."""
    known = read_hint(FILE).items()
    return {key: float(pace) for key, pace in known if isinstance(pace, int | float) and 0 < pace < 1e6}
