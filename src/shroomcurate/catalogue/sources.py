"""Where a dump lies: a folder, a tar bundle or single files, on disk or behind a URL. Its tables come out as streams.

Nothing is unpacked to disk. A later table is filtered by an earlier one (observations by taxa, photos by observations,
observers by photos), so tables come in that order. A bundle is read as a stream: a small table that comes too early
is held in memory, packed; when a large one does, the bundle is read once more from its start.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from shroomcurate.catalogue.dump_lock import refuse_mixed
from shroomcurate.errors import BadDump, BadOption, SourceMissing

if TYPE_CHECKING:
    from shroomcurate.catalogue.remote import Remote

#: The tables a load needs, each with the one that decides which of its rows are kept.
NEEDS = {"taxa": None, "observations": "taxa", "photos": "observations", "observers": "photos"}

#: Tables of a bundle that are held in memory when they come too early: 40 and 17 MB packed, of 34 GB.
_SMALL = {"taxa", "observers"}

_URL = ("http://", "https://")
_FETCH_AGAIN = "The file is damaged or was cut short. Fetch it again, then type the same command."
_FOUR = "A dump is four files: taxa, observations, photos and observers, each .csv or .csv.gz; or the .tar.gz bundle."


@dataclass
class PackedFile:
    """A file of the dump as it lies, and what became known of it while it was read."""

    place: str
    """Path or URL."""
    bytes: int
    stamp: str
    """Changes whenever the file does: its times and its place on the disk, or its ETag."""
    sha256: str = ""
    """Empty until the file has been read to its end."""
    taken: int = field(default=0, repr=False)
    """Bytes read so far."""
    remote: Remote | None = None
    """What the server said of it, so that it is still that file when it is opened."""

    @property
    def is_remote(self) -> bool:
        """Whether it lies behind a URL."""
        return self.place.startswith(_URL)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.place.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Dump:
    """Where the tables lie: each in a file of its own, or all in one bundle."""

    tables: dict[str, PackedFile]
    bundle: PackedFile | None = None

    @property
    def files(self) -> list[PackedFile]:
        """The files of the dump, in the order of ``NEEDS``."""
        return [self.bundle] if self.bundle else [self.tables[table] for table in NEEDS]


@dataclass(frozen=True)
class TableStream:
    """One table, ready to be read: its unpacked bytes, the file they come from, and how to name it to a person."""

    table: str
    label: str
    stream: IO[bytes]
    packed: PackedFile
    bytes: int
    """Unpacked; where only the packed size is known, three times that, as gzip makes of these tables."""


# -- finding -----------------------------------------------------------------------------------------------------


def find_dump(sources: Sequence[str | Path], *, force: bool = False) -> Dump:
    """Find the four tables.

    Parameters
    ----------
    sources
        A folder, a ``.tar`` or ``.tar.gz`` bundle, or table files, as paths or http(s) URLs. A folder is also looked
        into one level down, since the bundle keeps its files under ``inaturalist-open-data-YYYYMMDD/``.
    force
        Accept files whose dates on the server lie too far apart for one snapshot.

    Raises
    ------
    SourceMissing
        There is no such path, or a table is not in it.
    BadDump
        The files are of two snapshots.
    BadOption
        A table is named twice, or a bundle and further files.
    """
    tables: dict[str, PackedFile] = {}
    for source in map(str, sources):
        name = source.rstrip("/").rsplit("/", 1)[-1]
        if _table_of(name):
            found = {_table_of(name): source}
        elif source.startswith(_URL) and not name.endswith((".tar", ".tar.gz", ".tgz")):
            found = {table: f"{source.rstrip('/')}/{table}.csv.gz" for table in NEEDS}
        elif source.startswith(_URL) or not Path(source).is_dir():
            if len(sources) > 1:
                raise BadOption(f"{source} is a bundle, and holds all tables.", "Give nothing beside it.")
            return Dump({}, _described(source))
        else:
            found = _tables_in_folder(Path(source))
        for table, place in found.items():
            if table in tables:
                raise BadOption(f"{table} is given twice: {tables[table].place} and {place}.", "Give each table once.")
            tables[table] = _described(place)
    missing = [f"{table}.csv.gz" for table in NEEDS if table not in tables]
    if missing:
        raise SourceMissing(f"{', '.join(map(str, sources))}: no {', '.join(missing)} there.", _FOUR)
    remotes = {file.name: file.remote for file in tables.values() if file.remote}
    if remotes and not force:
        from shroomcurate.catalogue.fetch import refuse_two_snapshots

        refuse_two_snapshots(remotes)
    return Dump(tables)


def _table_of(name: str) -> str:
    """Return the table that a file is named for, or nothing."""
    stem = name.removesuffix(".gz").removesuffix(".csv")
    return stem if stem in NEEDS and name in (f"{stem}.csv", f"{stem}.csv.gz") else ""


def _described(place: str) -> PackedFile:
    if place.startswith(_URL):
        from shroomcurate.catalogue.stream import describe_url

        remote = describe_url(place)
        return PackedFile(place, remote.size, remote.etag or remote.last_modified or "", remote=remote)
    if not Path(place).exists():
        raise SourceMissing(
            f"There is no {place}.",
            "Name the folder that holds taxa.csv.gz, observations.csv.gz, photos.csv.gz and observers.csv.gz, "
            "or the .tar.gz bundle: shroomcurate load-csvs FOLDER. To fetch them: shroomcurate fetch-dumps FOLDER",
        )
    state = Path(place).stat()
    # A copy keeps the time of change, but neither of the others.
    stamp = f"{state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}"
    return PackedFile(str(Path(place).resolve()), state.st_size, stamp)


def _tables_in_folder(folder: Path) -> dict[str, str]:
    refuse_mixed(folder)
    places = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
    for place in places:
        found: dict[str, str] = {}
        for table in NEEDS:
            for name in (f"{table}.csv.gz", f"{table}.csv"):
                if (place / name).is_file():
                    found.setdefault(table, str(place / name))
        if found:
            return found
    bundles = [*sorted(folder.glob("*.tar.gz")), *sorted(folder.glob("*.tar"))]
    if bundles:
        raise SourceMissing(f"{folder} holds no table of its own.", f"Name the bundle in it: {bundles[0]}")
    return {}


# -- opening -----------------------------------------------------------------------------------------------------


class _Hashed(io.RawIOBase):
    """Passes a file's bytes through, hashing and counting them."""

    def __init__(self, source: Any, file: PackedFile) -> None:
        self._source = source
        self._file = file
        self._digest = hashlib.sha256()
        file.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._source.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        self._file.taken += count
        if not count:
            self._file.sha256 = self._digest.hexdigest()
        return count


@contextmanager
def _opened(file: PackedFile) -> Iterator[IO[bytes]]:
    """Give the bytes of a file as it lies."""
    with ExitStack() as stack:
        if file.is_remote:
            from shroomcurate.catalogue.stream import open_remote

            raw: Any = stack.enter_context(open_remote(file.remote or file.place))
        else:
            raw = stack.enter_context(Path(file.place).open("rb", buffering=0))
        yield io.BufferedReader(_Hashed(raw, file), 1 << 20)


def _unpacked(stream: IO[bytes], name: str) -> IO[bytes]:
    from isal import igzip

    return igzip.GzipFile(fileobj=stream) if name.endswith(("gz", "tgz")) else stream


@contextmanager
def named_damage(label: str) -> Iterator[None]:
    """Turn what the unpackers raise inside the block into a :class:`BadDump` that names the file."""
    from isal import isal_zlib

    inflate_error: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub calls it an instance
    try:
        yield
    except EOFError as error:
        raise BadDump(f"{label} ends in the middle of its gzip stream.", _FETCH_AGAIN) from error
    except (inflate_error, tarfile.TarError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadDump(f"{label} cannot be unpacked: {error}", _FETCH_AGAIN) from error


def open_tables(dump: Dump) -> Iterator[TableStream]:
    """Yield the four tables, each after the one it needs; take each to its end before the next.

    Raises
    ------
    BadDump
        A file is damaged or cut.
    SourceMissing
        The bundle lacks a table.
    """
    if dump.bundle:
        yield from _tables_in_bundle(dump.bundle)
        return
    for table in NEEDS:
        file = dump.tables[table]
        with named_damage(file.place), _opened(file) as stream:
            yield _table_stream(table, file.place, stream, file.name, file, file.bytes)
            # A gzip file may end before the file does.
            while stream.read(1 << 20):
                pass


def _tables_in_bundle(file: PackedFile) -> Iterator[TableStream]:
    done: set[str | None] = {None}
    held: dict[str, bytes] = {}
    while not done.issuperset(NEEDS):
        before, seen = len(done), set()
        with named_damage(file.place), _opened(file) as raw:
            stream = _unpacked(raw, file.name)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in filter(tarfile.TarInfo.isreg, archive):
                    name = member.name.rsplit("/", 1)[-1]
                    table, label = _table_of(name), f"{file.place}:{member.name}"
                    content = archive.extractfile(member) if table and table not in done | held.keys() else None
                    seen.add(table)
                    if content is None:
                        continue
                    if NEEDS[table] in done:
                        yield _table_stream(table, label, content, name, file, member.size)
                        done.add(table)
                    elif table in _SMALL:
                        held[table] = _packed(_unpacked(content, name))
                    for ready in [name for name in held if NEEDS[name] in done]:
                        yield _held(file, ready, held.pop(ready))
                        done.add(ready)
            # tarfile stops where the archive ends; whether the gzip stream is whole shows behind it.
            while stream.read(1 << 20) or raw.read(1 << 20):
                pass
        missing = [f"{table}.csv" for table in NEEDS if table not in seen]
        if missing or len(done) == before:
            raise SourceMissing(f"{file.place} holds no {', '.join(missing)}.", _FOUR)


def _packed(stream: IO[bytes]) -> bytes:
    from isal import igzip

    packed = io.BytesIO()
    with igzip.GzipFile(fileobj=packed, mode="wb", compresslevel=0) as target:
        while content := stream.read(1 << 20):
            target.write(content)
    return packed.getvalue()


def _held(file: PackedFile, table: str, content: bytes) -> TableStream:
    return _table_stream(table, f"{file.place}:{table}.csv", io.BytesIO(content), ".gz", file, len(content))


def _table_stream(table: str, label: str, content: IO[bytes], name: str, file: PackedFile, size: int) -> TableStream:
    unpacked = _unpacked(content, name)
    return TableStream(table, label, unpacked, file, size if unpacked is content else 3 * size)
