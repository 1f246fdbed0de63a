"""Fetch the iNaturalist open-data dumps: resumable, in parts, verified, and never two months in one folder.

Reads: the bucket, or a mirror of it.
Writes: the files of one snapshot and ``dump.lock`` in a folder.
Resumes: after ^C, kill -9 or a full disk only those bytes are fetched that are not recorded as being on the disk. Files
that are here and current are not fetched again. A newer snapshot takes the place of the old one when all of it is
there, so that the old can be used until then.

A fetched file is read through once before it takes its place, closely behind the parts as they come: to unpack it is
the only proof there is that they fit together (gzip carries a checksum, S3's ETag is none), and the sha256 for
``dump.lock`` comes from the same reading.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue import dump_lock
from shroomcurate.catalogue.dump_lock import LockedFile
from shroomcurate.catalogue.parts import Fetching, PartialFile
from shroomcurate.catalogue.remote import ATTEMPTS_TO_REACH, Patience, Remote, describe, open_client
from shroomcurate.catalogue.stream import in_background
from shroomcurate.errors import BadDump, BadOption, DiskFull, NotWritable
from shroomcurate.locks import folder_lock
from shroomcurate.progress import Bytes, Progress, silent
from shroomcurate.transport import is_web_address

if TYPE_CHECKING:
    import httpx

#: Names are ours; a server's are not asked for. The first four are the tables, in the bucket's root.
TABLE_FILES = ("taxa.csv.gz", "observers.csv.gz", "observations.csv.gz", "photos.csv.gz")
BUNDLE = "inaturalist-open-data-latest.tar.gz"
BUNDLE_FOLDER = "metadata"

#: A snapshot is uploaded within a day or two; the next comes after a month.
_ONE_SNAPSHOT = timedelta(days=7)
_MOST_CONNECTIONS = 16
_BLOCK = 1 << 20
_NO_SUCH = (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG)
_SMALLEST_GZIP = 18  # bytes: its header and its end (RFC 1952)


@dataclass(frozen=True)
class FetchOptions:
    """What to fetch, from where and how."""

    folder: Path = Path("inaturalist-open-data")
    """The same default as ``load-csvs``."""
    base_url: str = "https://inaturalist-open-data.s3.amazonaws.com"
    """The bucket; a mirror must have the same layout."""
    bundle: bool = False
    """The tables apart are smaller, all that ``load-csvs`` needs, and can be read in the order that suits it."""
    connections: int = 4
    """One connection to S3 is often slower than the line; more than a few gain nothing and are not polite."""
    verify: bool = False
    """To hash 32 GB takes minutes; size and time tell nearly as much."""
    force: bool = False
    """Take files of different months."""
    part_bytes: int = 64 << 20
    """Large enough that a round trip between two parts does not show, small enough that all end together."""
    patience: Patience = field(default_factory=Patience)

    def check(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        BadOption
            An option has a value it cannot have.
        """
        if "@" in self.base_url.partition("://")[2].partition("/")[0]:
            raise BadOption(
                "--base-url holds a user name or a password; addresses are written to dump.lock and into messages.",
                "Name a mirror that asks for none, or bring the files with: curl --netrc -O ADDRESS",
            )
        if not is_web_address(self.base_url):
            raise BadOption(
                f"--base-url {self.base_url} is no web address.",
                "Give the address of the folder that holds taxa.csv.gz: http(s)://HOST/FOLDER",
            )
        if not 1 <= self.connections <= _MOST_CONNECTIONS:
            raise BadOption(
                f"--connections {self.connections} is not between 1 and {_MOST_CONNECTIONS}.",
                "Four fill most lines.",
            )

    @property
    def addresses(self) -> dict[str, str]:
        """Where each file lies: name -> address."""
        base = self.base_url.rstrip("/")
        if self.bundle:
            return {BUNDLE: f"{base}/{BUNDLE_FOLDER}/{BUNDLE}"}
        return {name: f"{base}/{name}" for name in TABLE_FILES}


@dataclass(frozen=True)
class FetchReport:
    """What lies in the folder now, and what it took."""

    folder: str
    files: Mapping[str, LockedFile]
    fetched: tuple[str, ...]
    """Names of the files that were not here, or not current."""
    bytes_fetched: int
    bytes_resumed: int
    """Of these files, what an earlier run had brought and did not come once more."""
    cannot_resume: bool
    """The server sends files only from their beginning: what is broken off is moved once more."""

    @property
    def source(self) -> str:
        """What to give ``load-csvs``."""
        return str(Path(self.folder) / BUNDLE) if BUNDLE in self.files else self.folder


def fetch_dumps(options: FetchOptions = FetchOptions(), progress: Progress = silent) -> FetchReport:
    """Fetch one snapshot of the dumps, or what is missing of it.

    Raises
    ------
    BadOption, NotWritable, Busy
        Before anything is asked for.
    SourceMissing, NetworkDown
        The server has no such file, or cannot be reached; what came is kept.
    BadDump
        The server has files of two months, or replaced one meanwhile, or a file is no whole gzip.
    DiskFull
        There is no room: known before the first byte, or because something else filled the disk.
    """
    options.check()
    with (
        _named_refusal(options.folder),
        folder_lock(options.folder, "fetch-dumps"),
        open_client(options.base_url, options.connections, options.patience) as client,
    ):
        remotes = _describe_all(client, options, replace(options.patience, attempts=ATTEMPTS_TO_REACH))
        if not options.force:
            refuse_two_snapshots(remotes)
        locked = dump_lock.read(options.folder)
        here = {name: locked[name] for name in remotes if _is_here(options, name, locked, remotes[name], progress)}
        files = {name: PartialFile(options.folder / name, remote) for name, remote in remotes.items()}
        for name in here:
            files.pop(name).discard()  # what a kill may have left
        fetched, resumed = _fetch(client, options, files, progress)
        if fetched:
            _refuse_replaced(remotes, _describe_all(client, options, options.patience))
            _put_in_place(options.folder, files, {**locked, **fetched})
    return FetchReport(
        str(options.folder),
        {name: {**here, **fetched}[name] for name in remotes},
        tuple(fetched),
        sum(file.came if file.remote.ranges else file.remote.size for file in files.values()),
        resumed,
        any(not file.remote.ranges for file in files.values()),
    )


# -- decisions -------------------------------------------------------------------------------------------------


def refuse_two_snapshots(remotes: Mapping[str, Remote]) -> None:
    """Refuse files that were put on the server so far apart that they cannot be of one snapshot.

    Raises
    ------
    BadDump
        The message says which file is the oldest and which the newest.
    """
    dates = {name: remote.modified for name, remote in remotes.items()}
    known = sorted((date, name) for name, date in dates.items() if date)
    if known and known[-1][0] - known[0][0] > _ONE_SNAPSHOT:
        (oldest, old), (newest, new) = known[0], known[-1]
        raise BadDump(
            f"The server has files of two snapshots: {old} of {oldest:%Y-%m-%d} and {new} of {newest:%Y-%m-%d}.",
            "A new snapshot is probably being uploaded: type the same command again in some hours. "
            "If the dates of a mirror mean nothing, add --force.",
        )


def _is_here(
    options: FetchOptions, name: str, locked: Mapping[str, LockedFile], remote: Remote, progress: Progress
) -> bool:
    """Tell whether a file need not be fetched."""
    known, path = locked.get(name), options.folder / name
    if known is None or not known.is_still(remote) or not path.is_file():
        return False
    if known.looks_like(path) and not options.verify:
        return True
    if path.stat().st_size != known.size:
        return False
    if _hash(path, progress) != known.sha256:
        return False
    dump_lock.set_time(path, known.last_modified)
    return True


def _refuse_full_disk(options: FetchOptions, files: Mapping[str, PartialFile]) -> None:
    needed = sum(file.remote.size for file in files.values())
    needed += needed // 100  # a disk filled to the last byte stops everything else on the machine
    there = sum(_allocated(file.path) for file in files.values())
    free = shutil.disk_usage(options.folder).free
    if needed - there <= free:
        return
    old = [name for name in files if (options.folder / name).exists()]
    hint = "Make room, or name a folder on another disk: shroomcurate fetch-dumps FOLDER"
    if old:
        hint += (
            f". The files of the snapshot before stay until the new ones are there; {', '.join(old)} can be deleted."
        )
    raise DiskFull(
        f"{options.folder} needs {Bytes(needed - there)} more, and its disk has {Bytes(free)} free. "
        "Nothing was fetched.",
        hint,
    )


def _allocated(path: Path) -> int:
    """Return the bytes that a file takes on the disk, its holes not counted."""
    return path.stat().st_blocks * 512 if path.exists() else 0


# -- acts ------------------------------------------------------------------------------------------------------


def _describe_all(client: httpx.Client, options: FetchOptions, patience: Patience) -> dict[str, Remote]:
    return in_background(lambda: {name: describe(client, url, patience) for name, url in options.addresses.items()})


def _fetch(
    client: httpx.Client, options: FetchOptions, files: Mapping[str, PartialFile], progress: Progress
) -> tuple[dict[str, LockedFile], int]:
    """Fetch what is missing; return what the lock shall say of each file, and how many bytes were here."""
    if not files:
        return {}, 0
    _refuse_full_disk(options, files)
    every = list(files.values())
    here = {file: file.remote.size - sum(stop - first for first, stop in file.missing) for file in every}
    with Fetching(client, every, options.connections, options.part_bytes, options.patience, progress) as fetching:
        done = itertools.accumulate((file.remote.size for file in every), initial=0)
        checked = {
            name: _checked(file, fetching, before, progress)
            for (name, file), before in zip(files.items(), done, strict=False)
        }
    return checked, sum(count for file, count in here.items() if file.remote.ranges)


class _Hashing(io.RawIOBase):
    """Passes a file's bytes on, hashing them.

    Parameters
    ----------
    ready
        Told a position, returns how many bytes of the file may be read, more than that or all.
    tell
        Called with the number of bytes read by now.
    """

    def __init__(self, source: io.RawIOBase, ready: Callable[[int], int], tell: Callable[[int], object]) -> None:
        self._source, self._ready, self._tell = source, ready, tell
        self._position = self._limit = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._position == self._limit:
            self._limit = self._ready(self._position)
        view = memoryview(buffer)[: self._limit - self._position]
        count = self._source.readinto(view) or 0
        self.digest.update(view[:count])
        self._position += count
        self._tell(self._position)
        return count


def _hash(path: Path, progress: Progress) -> str:
    """Return the sha256 of a file."""
    size = Bytes(path.stat().st_size)
    with path.open("rb", buffering=0) as raw:
        content = _Hashing(
            raw, lambda _: size, lambda count: progress(count, size, f"Hashing {path.name.removesuffix('.csv.gz')}")
        )
        while content.read(_BLOCK):
            pass
    return content.digest.hexdigest()


def _checked(file: PartialFile, fetching: Fetching, before: int, progress: Progress) -> LockedFile:
    """Read a file through while it comes; return what the lock shall say of it.

    Parameters
    ----------
    before
        Bytes of the files that were checked before it, for the progress.

    Raises
    ------
    BadDump
        It is no gzip that ends properly. It is deleted, so that the next run fetches it again.
    """
    from isal import igzip, isal_zlib

    def tell(count: int) -> None:
        if fetching.tell():
            progress(before + count, fetching.total, "Checking")

    remote = file.remote
    broken: tuple[type[Exception], ...] = (EOFError, igzip.BadGzipFile, isal_zlib.error)  # type: ignore[assignment]
    with file.path.open("rb", buffering=0) as raw:
        hashing = _Hashing(raw, lambda position: fetching.ready(file, position), tell)
        content = io.BufferedReader(hashing, _BLOCK)
        try:
            if remote.size < _SMALLEST_GZIP:
                raise EOFError("there is nothing in it")
            unpacked, scratch = igzip.GzipFile(fileobj=content), bytearray(_BLOCK)
            while unpacked.readinto(scratch):
                pass
        except broken as error:
            file.discard()
            raise BadDump(
                f"{remote.url} cannot be unpacked: {error}. What came of it was deleted.",
                "Type the same command again. If that ends the same way, the file on the server is damaged: "
                "wait for the next snapshot.",
            ) from error
        while content.read(_BLOCK):  # zeros may follow a gzip
            pass
    digest = hashing.digest.hexdigest()
    return LockedFile(remote.url, remote.size, remote.etag, dump_lock.stamp(remote.modified), digest)


def _refuse_replaced(before: Mapping[str, Remote], after: Mapping[str, Remote]) -> None:
    for name, remote in before.items():
        if after[name].identity != remote.identity:
            raise BadDump(
                f"A new snapshot was put on the server meanwhile: {remote.url} is another file now.",
                "Type the same command again: it fetches the new snapshot. What is in the folder was not touched.",
            )


def _put_in_place(folder: Path, files: Mapping[str, PartialFile], locked: Mapping[str, LockedFile]) -> None:
    """Let the new files take the place of the old. Lock first: after a kill in between it tells that they are mixed."""
    for name, file in files.items():
        dump_lock.set_time(file.path, locked[name].last_modified)
    kept = {name: file for name, file in locked.items() if name in files or (folder / name).is_file()}
    dump_lock.write(folder, kept)
    for file in files.values():
        file.finish()


@contextmanager
def _named_refusal(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EEXIST,
            errno.ENOTDIR,
            errno.EISDIR,
            *_NO_SUCH,
        }:
            raise
        raise NotWritable(
            f"{error.filename or folder}: {os.strerror(error.errno)}.",
            f"Name a folder that you may write to: shroomcurate fetch-dumps FOLDER (not {shlex.quote(str(folder))}), "
            "or change its permissions.",
        ) from error
