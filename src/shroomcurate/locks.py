"""Which command writes to a folder: one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shroomcurate.errors import Busy, disk_full_named


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
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().decode().strip() or "another command"
            raise Busy(
                f"{folder} is in use by {holder}.", "Wait for it to end, then type the same command again."
            ) from None
        with disk_full_named(folder):
            handle.truncate(0)
            handle.write(f"'shroomcurate {stage}' (process {os.getpid()})".encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                handle.truncate(0)


def lock_holder(folder: Path) -> str | None:
    """Return which other command writes to a folder now, as :func:`folder_lock` calls it; None when none does.

    Without touching the lock: who asks must not be in the way of a command that begins.
    """
    try:
        holder = (folder / ".lock").read_text(errors="replace")
    except OSError:
        return None
    process = re.search(r"\(process (\d+)\)", holder)
    if process is None or int(process[1]) == os.getpid():
        return None
    try:
        os.kill(int(process[1]), 0)  # a killed one has left its name
    except PermissionError:
        return holder  # of another user
    except OSError:
        return None
    return holder
