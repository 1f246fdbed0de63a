"""Read the open-data dump: find its tables, and stream their rows in blocks without unpacking anything to disk.

The files are tab-separated with a header line, no quoting and no escaping (a quote or a backslash is data).
Columns are mapped by the header; unknown columns and tables are passed over. A file is believed only when its
gzip stream ends properly, its last line is whole and every row has as many fields as the header.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from shroomcurate.errors import BadDump, SourceMissing

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns each table must have, with the kind of value each holds.
TABLES: dict[str, dict[str, str]] = {
    "taxa": {
        "taxon_id": "integer",
        "ancestry": "ancestry",
        "rank_level": "number",
        "rank": "text",
        "name": "text",
        "active": "boolean",
    },
    "observations": {
        "observation_uuid": "uuid",
        "observer_id": "integer",
        "latitude": "number",
        "longitude": "number",
        "positional_accuracy": "integer",
        "taxon_id": "integer",
        "quality_grade": "text",
        "observed_on": "date",
    },
    "photos": {
        "photo_uuid": "uuid",
        "photo_id": "integer",
        "observation_uuid": "uuid",
        "observer_id": "integer",
        "extension": "text",
        "license": "text",
        "width": "integer",
        "height": "integer",
        "position": "integer",
    },
    "observers": {"observer_id": "integer", "login": "text", "name": "text"},
}

#: Bytes parsed at a time: large enough that a thread is busy for milliseconds, small enough that memory stays flat.
BLOCK_BYTES = 8 << 20
_PARSERS = 2
_STRAY_RETURN = re.compile(rb"\r(?!\n)")
_FETCH_AGAIN = "The file is damaged or was cut short. Fetch it again, then type the same command."


@dataclass(frozen=True)
class TableFile:
    """One table of a dump, still packed: where it lies, its size in bytes, and how to name it to a person."""

    table: str
    path: Path
    member: str | None = None
    """Its name inside the tar bundle, when it lies in one."""

    @property
    def label(self) -> str:
        """The file as a person would find it."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)


@dataclass
class Reading:
    """What became known while a table was read; complete when the last block has been taken."""

    rows: int = 0
    sha256: str = ""
    """Of the file as it lies on disk (inside a bundle: of the member)."""
    bytes_read: int = field(default=0, repr=False)


@dataclass(frozen=True)
class Block:
    """Rows of a table as an Arrow table of raw bytes, one column for each of ``TABLES``, blank for null."""

    rows: pa.Table
    first_line: int
    """Line number in the file of the first row, counted from 1, the header being line 1."""
    stray_returns: int = 0
    """Carriage returns in the middle of a row, replaced by U+FFFD."""
    stray_return_line: int = 0
    """Line number of the first of them."""


# -- finding -----------------------------------------------------------------------------------------------------


def find_tables(source: Path) -> dict[str, TableFile]:
    """Find the four tables in a folder of ``.csv`` or ``.csv.gz``, or in a ``.tar``/``.tar.gz`` bundle.

    A folder is also looked into one level down, since the bucket keeps the files under ``metadata/`` and the bundle
    under ``inaturalist-open-data-YYYYMMDD/``.

    Raises
    ------
    SourceMissing
        There is no such path, or a table is not in it.
    BadDump
        The bundle cannot be opened.
    """
    if not source.exists():
        raise SourceMissing(
            f"There is no {source}.",
            "Name the folder that holds taxa.csv.gz, observations.csv.gz, photos.csv.gz and observers.csv.gz, "
            "or the .tar.gz bundle: shroomcurate load-csvs FOLDER",
        )
    if source.name.endswith((".csv", ".csv.gz")):
        raise SourceMissing(
            f"{source} is one table; a load needs all four.",
            f"Name their folder: shroomcurate load-csvs {source.parent}",
        )
    found = _tables_in_folder(source) if source.is_dir() else _tables_in_bundle(source)
    missing = [table for table in TABLES if table not in found]
    if missing:
        names = ", ".join(f"{table}.csv.gz" for table in missing)
        raise SourceMissing(
            f"{source} holds no {names}.",
            "A dump is four files: taxa, observations, photos and observers, each .csv or .csv.gz.",
        )
    return found


def _tables_in_folder(folder: Path) -> dict[str, TableFile]:
    places = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
    for place in places:
        found: dict[str, TableFile] = {}
        for table in TABLES:
            for name in (f"{table}.csv.gz", f"{table}.csv"):
                if (place / name).is_file():
                    found.setdefault(table, TableFile(table, place / name))
        if found:
            return found
    return {}


def _tables_in_bundle(bundle: Path) -> dict[str, TableFile]:
    found: dict[str, TableFile] = {}
    with _named_damage(str(bundle)), _open_bundle(bundle) as archive:
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            table = name.removesuffix(".gz").removesuffix(".csv")
            if table in TABLES and name in (f"{table}.csv", f"{table}.csv.gz"):
                found[table] = TableFile(table, bundle, member.name)
            if len(found) == len(TABLES):
                break
    return found


# -- opening -----------------------------------------------------------------------------------------------------


class _Hashed(io.RawIOBase):
    """Passes bytes through, hashing and counting them."""

    def __init__(self, source: IO[bytes], reading: Reading) -> None:
        self._source = source
        self._reading = reading
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._digest.update(data)
        self._reading.bytes_read += len(data)
        self._reading.sha256 = self._digest.hexdigest() if not data else self._reading.sha256
        return len(data)


def _open_bundle(bundle: Path) -> tarfile.TarFile:
    from isal import igzip_threaded

    if bundle.name.endswith(("gz", "tgz")):
        return tarfile.open(fileobj=igzip_threaded.open(bundle, "rb"), mode="r|", ignore_zeros=False)
    return tarfile.open(bundle, mode="r|")


@contextmanager
def _open_table(file: TableFile, reading: Reading) -> Iterator[IO[bytes]]:
    """Give the unpacked bytes of a table as a stream."""
    from isal import igzip

    if file.member is None:
        with file.path.open("rb") as raw:
            hashed = io.BufferedReader(_Hashed(raw, reading), 1 << 20)
            yield igzip.GzipFile(fileobj=hashed) if file.path.suffix == ".gz" else hashed
        return
    with _open_bundle(file.path) as archive:
        for member in archive:
            if member.name == file.member:
                content = archive.extractfile(member) or io.BytesIO()
                hashed = io.BufferedReader(_Hashed(content, reading), 1 << 20)
                yield igzip.GzipFile(fileobj=hashed) if file.member.endswith(".gz") else hashed
                return


@contextmanager
def _named_damage(label: str) -> Iterator[None]:
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


# -- reading -----------------------------------------------------------------------------------------------------


def read_blocks(file: TableFile, reading: Reading) -> Iterator[Block]:
    """Yield a table's rows in file order, parsed ahead by a few threads; memory does not grow with the file.

    Parameters
    ----------
    reading
        Filled while blocks are taken.

    Raises
    ------
    BadDump
        A needed column is missing, a row has another number of fields than the header, the last line is not whole,
        or the gzip stream is damaged or cut. The message names file, line, column and value.
    """
    with (
        _named_damage(file.label),
        _open_table(file, reading) as stream,
        ThreadPoolExecutor(_PARSERS, "parse") as pool,
    ):
        header = _read_header(file, stream)
        line = 2
        ahead: deque[Future[Block]] = deque()
        for content in _whole_lines(file, stream):
            ahead.append(pool.submit(_parse, file, header, content, line))
            line += content.count(b"\n")
            if len(ahead) > _PARSERS + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
        reading.rows = line - 2


def _read_header(file: TableFile, stream: IO[bytes]) -> list[str]:
    line = stream.readline().removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}".encode())
    header = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
    for column in TABLES[file.table]:
        if column not in header:
            raise BadDump(
                f"{file.label}, line 1: there is no column '{column}'; the header has: {', '.join(header)}.",
                "This is not the iNaturalist open-data layout (tab-separated, with a header line). "
                "Fetch the file again from the open-data bucket.",
            )
    return header


def _whole_lines(file: TableFile, stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while content := stream.read(BLOCK_BYTES):
        cut = content.rfind(b"\n") + 1
        if cut:
            yield rest + content[:cut]
            rest = content[cut:]
        else:
            rest += content
    if rest:
        raise BadDump(f"{file.label} ends in the middle of a line: {_shown(rest)}", _FETCH_AGAIN)


def _parse(file: TableFile, header: list[str], content: bytes, first_line: int) -> Block:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    # Arrow would end the row there.
    stray, stray_line = 0, 0
    if content.count(b"\r") != content.count(b"\r\n"):
        first = _STRAY_RETURN.search(content)
        stray_line = first_line + content.count(b"\n", 0, first.start() if first else 0)
        content, stray = _STRAY_RETURN.subn("\N{REPLACEMENT CHARACTER}".encode(), content)
    wrong: list[Any] = []

    def keep_first(row: Any) -> str:
        wrong.append(row)
        return "error"

    # An extra column gets a name of its own, so that two unknown columns of one name cannot collide.
    names = [name if name in TABLES[file.table] else f"#{number}" for number, name in enumerate(header)]
    try:
        rows = pa_csv.read_csv(
            pa.BufferReader(content),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(content) + 1),
            parse_options=pa_csv.ParseOptions(
                delimiter="\t",
                quote_char=False,
                double_quote=False,
                escape_char=False,
                newlines_in_values=False,
                ignore_empty_lines=False,
                invalid_row_handler=keep_first,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(TABLES[file.table]),
                column_types={name: pa.binary() for name in TABLES[file.table]},
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if not wrong:
            raise BadDump(f"{file.label}, from line {first_line}: {error}", _FETCH_AGAIN) from error
        row = wrong[0]
        line = first_line + row.number - 1
        raise BadDump(
            f"{file.label}, line {line}: {row.actual_columns} fields where the header has {row.expected_columns}: "
            f"{_shown(row.text.encode())}",
            _FETCH_AGAIN,
        ) from error
    return Block(rows, first_line, stray, stray_line)


def _shown(content: bytes) -> str:
    text = content.decode("utf-8", "replace").rstrip("\r\n")
    return repr(text if len(text) <= 80 else text[:80] + "…")
