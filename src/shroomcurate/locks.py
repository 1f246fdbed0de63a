"""Which command writes to a folder: one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shroomcurate.errors import Busy, disk_full_named

_TRIES, _PAUSE = 3, 0.02  # seconds: to ask who has a lock, one takes it for a millionth of that


@contextmanager
def folder_lock(folder: Path, stage: str) -> Iterator[None]:
    """Keep other commands from writing to a folder meanwhile. The lock ends with the process, however it ends.

    Raises
    ------
    Busy
        Another command holds it; the message says which and its process id.
    """
    with disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a+b", buffering=0)  # a buffer would be written again when it is closed
    with handle:
        try:
            _take(handle)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().decode().strip() or "another command"
            raise Busy(
                f"{folder} is in use by {holder}.", "Wait for it to end, then type the same command again."
            ) from None
        with disk_full_named(folder):
            handle.truncate(0)
            handle.write(f"'shroomcurate {stage}' (process {os.getpid()})".encode())
        yield


def _take(handle: IO[bytes]) -> None:
    """Take the lock, also where somebody asks who has it at this very moment."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_holder(folder: Path) -> str | None:
    """Return which other command writes to a folder now, as :func:`folder_lock` calls it; None when none does.

    The lock of one that was killed is no lock, though its name may still stand there.
    """
    with contextlib.suppress(OSError), (folder / ".lock").open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = handle.read().decode(errors="replace").strip() or "another command"
            return None if f"(process {os.getpid()})" in holder else holder
    return None
