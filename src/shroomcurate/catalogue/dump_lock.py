"""``dump.lock``: which files of the iNaturalist open data a folder holds, and how to know them again.

JSON with sorted keys: ``files`` (name -> ``url``, ``size`` in bytes, ``etag``, ``last_modified``, ``sha256``),
``fetched_at`` and the ``version`` that fetched them. A file's modification time on the disk is its ``last_modified``,
as curl and wget can set it, so that a file with that size and that time need not be hashed to be known again.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from shroomcurate import __version__
from shroomcurate.catalogue.remote import Remote
from shroomcurate.dataset import write_bytes
from shroomcurate.errors import BadDump, DamagedFile

NAME = "dump.lock"

_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True)
class LockedFile:
    """A file as it was fetched."""

    url: str
    size: int
    etag: str | None
    last_modified: str | None
    """When it was put on the server, in UTC, such as ``2026-07-27T03:11:22Z``."""
    sha256: str
    """Of the file as stored. An ETag is no such thing: S3 makes it up from the parts of an upload."""

    def is_still(self, remote: Remote) -> bool:
        """Return whether the server has this very file."""
        known = (self.etag, self.last_modified)
        return self.size == remote.size and any(known) and known == (remote.etag, stamp(remote.modified))

    def looks_like(self, path: Path) -> bool:
        """Return whether the file on the disk has the size and time of this one."""
        try:
            found = path.stat()
        except OSError:
            return False
        return found.st_size == self.size and stamp(datetime.fromtimestamp(found.st_mtime, UTC)) == self.last_modified


def stamp(moment: datetime | None) -> str | None:
    """Return a moment as the lock writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def set_time(path: Path, last_modified: str | None) -> None:
    """Give a file the time that it has on the server, when that is known."""
    if last_modified:
        seconds = datetime.fromisoformat(last_modified).timestamp()
        os.utime(path, (seconds, seconds))


def read(folder: Path) -> dict[str, LockedFile]:
    """Return what the folder's lock holds, nothing when there is none.

    Raises
    ------
    DamagedFile
        It is not what :func:`write` wrote.
    """
    path = folder / NAME
    try:
        files = json.loads(path.read_bytes())["files"]
        return {str(name): _believed(LockedFile(**facts)) for name, facts in files.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedFile(
            f"{path} cannot be read: {error}",
            f"Delete it and type the same command again: rm {shlex.quote(str(path))}. "
            "fetch-dumps then fetches the files anew.",
        ) from error


def _believed(file: LockedFile) -> LockedFile:
    """Return the entry.

    Raises
    ------
    ValueError
        It says what :func:`write` never says.
    """
    for name, value in (("url", file.url), ("sha256", file.sha256)):
        if not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}")
    for name, text in (("etag", file.etag), ("last_modified", file.last_modified)):
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{name} is {text!r}")
    if not isinstance(file.size, int) or isinstance(file.size, bool) or file.size < 0:
        raise ValueError(f"size is {file.size!r}")
    if file.last_modified is not None and not _STAMP.fullmatch(file.last_modified):
        raise ValueError(f"last_modified is {file.last_modified!r}")
    datetime.fromisoformat(file.last_modified or "1970-01-01")
    return file


def write(folder: Path, files: Mapping[str, LockedFile]) -> None:
    """Write the lock atomically."""
    facts = {
        "files": {name: asdict(file) for name, file in files.items()},
        "fetched_at": stamp(datetime.now(UTC)),
        "version": __version__,
    }
    write_bytes(folder / NAME, (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode())


def refuse_mixed(folder: Path) -> None:
    """Refuse a folder in which a file is not the one that its ``dump.lock`` names; without a lock nothing is refused.

    That is what is left when a fetch is killed in the moment in which the new files take the place of the old.

    Raises
    ------
    BadDump
        A file has another size. The hint is to type ``fetch-dumps`` again, which puts it right.
    """
    for name, locked in read(folder).items():
        path = folder / Path(name).name
        if path.is_file() and path.stat().st_size != locked.size:
            raise BadDump(
                f"{path} has {path.stat().st_size:,} bytes; {NAME} beside it says {locked.size:,}.",
                f"Type this first: shroomcurate fetch-dumps {folder}, or delete {NAME} when the file is yours.",
            )
