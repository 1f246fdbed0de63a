"""Small pictures of the photos, each made once and kept in one file, ``.review/thumbnails``, in the dataset.

One SQLite file, for a quarter of a million small files would take minutes to copy or delete. It can be deleted at any
time: it is filled again. What it holds is believed as long as the photo has the size and time it had.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import threading
from pathlib import Path

from shroomcurate.photos import decode_photo, photo_bytes

FILE = ".review/thumbnails"

#: Longer side of a thumbnail: that of the largest cell of the page; some 10 kB each.
PIXELS = 224
#: Changes with what a thumbnail looks like.
_VERSION = f"jpeg {PIXELS} 1"

_CREATE = "CREATE TABLE IF NOT EXISTS thumbnail (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, picture BLOB NOT NULL)"
_WAIT = 0.05  # seconds for another process that is writing: making a thumbnail again takes no longer


class Thumbnails:
    """The thumbnails of one dataset. Every method may be called from any thread.

    Parameters
    ----------
    file
        Where they are kept. Where that cannot be written, or is no such file, they are made anew each time.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self._guard = threading.Lock()
        self._store: sqlite3.Connection | None = None
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(file, timeout=_WAIT, check_same_thread=False, isolation_level=None)
            # A thumbnail lost in a power failure is made again: no need to wait for the disk.
            self._store.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; {_CREATE}")
        except (sqlite3.Error, OSError):
            self._store = None

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._store is not None:
                self._store.close()
                self._store = None

    def get(self, path: str, place: Path) -> bytes:
        """Return the thumbnail of a photo as JPEG.

        Parameters
        ----------
        path
            The photo's identity.
        place
            Where it lies.

        Raises
        ------
        NotAPhoto
            It does not decode.
        OSError
            It cannot be read.
        """
        stamp = stamp_of(place)
        if known := self._look(path, stamp):
            return known
        made = thumbnail(photo_bytes(place))
        self._keep(path, stamp, made)
        return made

    def _look(self, path: str, stamp: str) -> bytes | None:
        with self._guard, contextlib.suppress(sqlite3.Error):
            if self._store is not None:
                question = "SELECT picture FROM thumbnail WHERE path = ? AND stamp = ?"
                found = self._store.execute(question, (os.fsencode(path), stamp)).fetchone()
                return found[0] if found else None
        return None

    def _keep(self, path: str, stamp: str, made: bytes) -> None:
        with self._guard, contextlib.suppress(sqlite3.Error):  # a full disk costs time, not the picture
            if self._store is not None:
                self._store.execute(
                    "INSERT OR REPLACE INTO thumbnail VALUES (?, ?, ?)", (os.fsencode(path), stamp, made)
                )


def stamp_of(place: Path) -> str:
    """Return what changes with a thumbnail: size and time of the photo, and how thumbnails are made. Raises OSError."""
    facts = place.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {_VERSION}"


def thumbnail(content: bytes) -> bytes:
    """Return a photo as a JPEG of at most :data:`PIXELS` on its longer side, without its metadata.

    Raises
    ------
    NotAPhoto
        The bytes are not one whole photo.
    """
    image = decode_photo(content, at_least=PIXELS)
    image.thumbnail((PIXELS, PIXELS), reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)  # WebP is a fifth smaller and takes twice as long
    return buffer.getvalue()
