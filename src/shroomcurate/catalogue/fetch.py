"""Fetch the iNaturalist open-data dumps: resumable, in parts, verified, and never two months in one folder.

Reads: the bucket, or a mirror of it.
Writes: the files of one snapshot and ``dump.lock`` in a folder.
Resumes: after ^C, kill -9 or a full disk only those bytes are fetched that are not recorded as being on the disk. Files
that are here and current are not fetched again. A newer snapshot takes the place of the old one when all of it is
there, so that the old can be used until then.

A fetched file is read through once before it takes its place: to unpack it is the only proof there is that the parts
fit together (gzip carries a checksum, S3's ETag is none), and the sha256 for ``dump.lock`` comes from the same reading.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue import dump_lock
from shroomcurate.catalogue.dump_lock import LockedFile
from shroomcurate.catalogue.parts import Fetching, PartialFile
from shroomcurate.catalogue.remote import Patience, Remote, describe, open_client
from shroomcurate.catalogue.stream import in_background
from shroomcurate.dataset import folder_lock
from shroomcurate.errors import BadDump, BadOption, DiskFull, NotWritable
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
    """Of these files, what an earlier run had brought."""

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
        # Who cannot reach the server at all shall not wait two minutes to hear of it.
        remotes = _describe_all(client, options, replace(options.patience, attempts=3))
        if not options.force:
            refuse_two_snapshots(remotes)
        locked = dump_lock.read(options.folder)
        here = {name: locked[name] for name in remotes if _is_here(options, name, locked, remotes[name], progress)}
        files = {name: PartialFile(options.folder / name, remote) for name, remote in remotes.items()}
        for name in here:
            files.pop(name).discard()  # what a kill may have left
        resumed = _fetch(client, options, files, progress) if files else 0
        fetched = {name: _checked(file, progress) for name, file in files.items()}
        if fetched:
            _refuse_replaced(remotes, _describe_all(client, options, options.patience))
            _put_in_place(options.folder, files, {**locked, **fetched})
    return FetchReport(
        str(options.folder),
        {name: {**here, **fetched}[name] for name in remotes},
        tuple(fetched),
        sum(file.came for file in files.values()),
        resumed,
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
    with _hashing(path, f"Hashing {name}", progress) as (content, digest):
        while content.read(_BLOCK):
            pass
        if digest.hexdigest() != known.sha256:
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


def _fetch(client: httpx.Client, options: FetchOptions, files: Mapping[str, PartialFile], progress: Progress) -> int:
    """Fetch what is missing; return how many bytes were not."""
    _refuse_full_disk(options, files)
    missing = sum(stop - first for file in files.values() for first, stop in file.missing)
    fetching = Fetching(client, list(files.values()), options.connections, options.part_bytes, options.patience)
    fetching.run(progress, "Fetching")
    return sum(file.remote.size for file in files.values()) - missing


class _Hashing(io.RawIOBase):
    """Passes a file's bytes on, hashing and counting them."""

    def __init__(self, source: io.RawIOBase, size: int, label: str, progress: Progress) -> None:
        self._source, self._size, self._label, self._progress = source, size, label, progress
        self._count = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._source.readinto(buffer) or 0
        self.digest.update(buffer[:count])
        self._count += count
        self._progress(self._count, Bytes(self._size), self._label)
        return count


@contextmanager
def _hashing(path: Path, label: str, progress: Progress) -> Iterator[tuple[io.BufferedReader, hashlib._Hash]]:
    """Open a file so that whatever is read of it is hashed."""
    with path.open("rb", buffering=0) as raw:
        hashing = _Hashing(raw, path.stat().st_size, label, progress)
        yield io.BufferedReader(hashing, _BLOCK), hashing.digest


def _checked(file: PartialFile, progress: Progress) -> LockedFile:
    """Read a fetched file through; return what the lock shall say of it.

    Raises
    ------
    BadDump
        It is no gzip that ends properly. It is deleted, so that the next run fetches it again.
    """
    from isal import igzip, isal_zlib

    remote = file.remote
    broken: tuple[type[Exception], ...] = (EOFError, igzip.BadGzipFile, isal_zlib.error)  # type: ignore[assignment]
    with _hashing(file.path, f"Checking {file.target.name}", progress) as (content, digest):
        try:
            if remote.size < _SMALLEST_GZIP:
                raise EOFError("there is nothing in it")
            unpacked, scratch = igzip.GzipFile(fileobj=content), bytearray(_BLOCK)
            while unpacked.readinto(scratch):
                pass
        except broken as error:
            file.discard()
            raise BadDump(
                f"{remote.url} came whole ({remote.size:,} bytes) and cannot be unpacked: {error}. It was deleted.",
                "Type the same command again. If that ends the same way, the file on the server is damaged: "
                "wait for the next snapshot.",
            ) from error
        while content.read(_BLOCK):  # zeros may follow a gzip
            pass
    return LockedFile(remote.url, remote.size, remote.etag, dump_lock.stamp(remote.modified), digest.hexdigest())


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
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
            raise
        raise NotWritable(
            f"{error.filename or folder}: {os.strerror(error.errno)}.",
            f"Name a folder that you may write to: shroomcurate fetch-dumps FOLDER (not {shlex.quote(str(folder))}), "
            "or change its permissions.",
        ) from error
