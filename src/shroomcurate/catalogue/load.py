"""Load the dump into the catalogue.

Reads: the dump's four tables, filtered while they are read. Writes: the catalogue, by one transaction that fills a
fresh schema and swaps it in, and a row of ``shroomcurate.load_ledger``. Resumes: a killed load leaves the old
catalogue as it was; run it again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate import __version__
from shroomcurate.catalogue.columns import column, integers, postgres_text, uuid_keys
from shroomcurate.catalogue.dumps import TABLES, Block, Reading, TableFile, find_tables, read_blocks
from shroomcurate.catalogue.roots import ancestors, refuse_repeated, root_id
from shroomcurate.catalogue.server import CATALOGUE, INCOMING, connect, run_file
from shroomcurate.errors import BadDump, BadOption, Busy, NothingMatches
from shroomcurate.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from sqlalchemy import Connection

QUALITIES = ("research", "needs_id", "casual", "any")

#: One load at a time in a database. Any fixed number; this one spells 'shroom' in ASCII.
_LOCK = 0x7368726F6F6D

#: A bit for each photo id modulo this many remembers where a photo was seen: 256 MiB. Ids are below half of it today,
#: and two photos sharing a bit would only leave one of them out.
_PHOTO_BITS = 1 << 31


@dataclass(frozen=True)
class LoadOptions:
    """What to load and what to keep of it."""

    source: Path
    taxa: tuple[str, ...] = ("Basidiomycota", "Ascomycota")
    """Names or ids; everything below them is kept. The two phyla that hold the fungi people photograph."""
    quality: str = "research"
    """Observations of another grade are no training examples, so they do not earn their disk space."""
    all_taxa: bool = False
    force: bool = False
    """Accept a dump with less than half of the rows of the load before."""

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise BadOption(
                f"--quality {self.quality!r} is not a quality grade.", f"Use one of: {', '.join(QUALITIES)}"
            )
        if not self.taxa and not self.all_taxa:
            raise BadOption("There is no --taxon to keep.", "Name one, or use --all-taxa.")


@dataclass
class TableReport:
    """What became of one table's rows."""

    read: int = 0
    kept: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> rows."""
    not_utf8: int = 0
    """Values whose bytes are not UTF-8, and carriage returns inside a row; U+FFFD stands in their place."""
    not_utf8_example: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class LoadReport:
    """What a load did. ``facts`` are the numbers of ``sql/check/facts.sql``."""

    source: str
    fingerprint: str
    taxa: list[int] | None
    quality: str
    tables: dict[str, TableReport]
    facts: dict[str, int]


def load_csvs(options: LoadOptions, database_url: str | None = None, progress: Progress = silent) -> LoadReport:
    """Fill a fresh catalogue from a dump and swap it in.

    Raises
    ------
    SourceMissing, BadDump
        The dump is not there, or not to be believed; the old catalogue stays in use.
    Busy
        Another load runs in the same database.
    NothingMatches
        A taxon is unknown, or nothing is left after filtering.
    DatabaseUnreachable, DiskFull
        The server's side of it.
    """
    files = find_tables(options.source)
    with connect(database_url, "load-csvs") as engine:
        with engine.begin() as connection:
            run_file(connection, "schema/ledger.sql")
        with engine.begin() as connection:
            _take_lock(connection)
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {INCOMING} CASCADE; CREATE SCHEMA {INCOMING}")
            connection.exec_driver_sql(f"SET LOCAL search_path = {INCOMING}")
            run_file(connection, "schema/tables.sql")
            report = _fill(connection, files, options, progress)
            _refuse_half_a_dump(connection, report, options)
            _swap(connection, report)
    return report


def _take_lock(connection: Connection) -> None:
    if connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_LOCK})").scalar_one():
        return
    holder = connection.exec_driver_sql(
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
        f"WHERE locktype = 'advisory' AND (classid::bigint << 32 | objid::bigint) = {_LOCK} AND granted"
    ).scalar()
    raise Busy(
        f"Another load is under way: {holder or 'it has just ended'}.",
        "Wait for it to end, then type the same command again.",
    )


def _fill(connection: Connection, files: dict[str, TableFile], options: LoadOptions, progress: Progress) -> LoadReport:
    reports = {table: TableReport() for table in TABLES}
    copier = _Copier(connection, files, reports, progress)
    taxa = _load_taxa(copier, options)
    observations = _load_observations(copier, options, taxa)
    observers = _load_photos(copier, observations)
    _load_observers(copier, options, observers)
    if not reports["photos"].kept:
        raise NothingMatches(
            f"Nothing is left of {options.source}: no photo below {', '.join(options.taxa)} "
            f"of quality {options.quality}.",
            "Try --quality any, another --taxon, or --all-taxa.",
        )
    run_file(connection, "schema/finish.sql")
    facts = _check(connection)
    roots = None if options.all_taxa else taxa.roots
    scope = json.dumps([{table: report.sha256 for table, report in reports.items()}, roots, options.quality])
    return LoadReport(
        str(options.source), hashlib.sha256(scope.encode()).hexdigest(), roots, options.quality, reports, facts
    )


def _check(connection: Connection) -> dict[str, int]:
    from shroomcurate.catalogue.server import sql_file

    row = connection.exec_driver_sql(sql_file("check/facts.sql").read_text(encoding="utf-8")).mappings().one()
    return {name: int(value) for name, value in row.items()}


class _Copier:
    """Streams one table after the other from its file into the incoming schema, keeping the books."""

    def __init__(
        self,
        connection: Connection,
        files: dict[str, TableFile],
        reports: dict[str, TableReport],
        progress: Progress,
    ) -> None:
        self.driver: Any = connection.connection.driver_connection
        self.files = files
        self.reports = reports
        self.progress = progress

    def blocks(self, table: str) -> Iterator[Block]:
        """Yield the table's blocks; the report is complete at the end."""
        file, reading = self.files[table], Reading()
        total = 0 if file.member else file.path.stat().st_size
        for block in read_blocks(file, reading):
            if block.stray_returns:
                report = self.reports[table]
                report.not_utf8 += block.stray_returns
                where = f"{file.label}, line {block.stray_return_line}: a carriage return inside the row"
                report.not_utf8_example = report.not_utf8_example or where
            yield block
            self.progress(reading.bytes_read, total, f"read {table}")
        self.progress(total, total, f"read {table}")
        self.reports[table].read = reading.rows
        self.reports[table].sha256 = reading.sha256

    @contextmanager
    def copy(self, table: str) -> Iterator[Any]:
        """Give a COPY into the table."""
        import psycopg

        columns = ", ".join(f'"{name}"' for name in TABLES[table])
        try:
            with self.driver.cursor().copy(f"COPY {INCOMING}.{table} ({columns}) FROM STDIN") as copy:
                yield copy
        except psycopg.DataError as error:
            raise BadDump(
                f"{self.files[table].label}: PostgreSQL refuses a value: {error.diag.message_primary} "
                f"({error.diag.context})",
                "The file is damaged. Fetch it again, then type the same command.",
            ) from error

    def keep(self, copy: Any, table: str, block: Block, mask: pa.Array) -> None:
        """Write the rows of a block where the mask is true."""
        content, kept = postgres_text(self.files[table], block, mask, self.reports[table])
        self.reports[table].kept += kept
        copy.write(content)

    def leave_out(self, table: str, reason: str, rows: int) -> None:
        """Count rows that are not kept."""
        if rows:
            left_out = self.reports[table].left_out
            left_out[reason] = left_out.get(reason, 0) + rows


@dataclass(frozen=True)
class _Taxa:
    """The ids of the roots, and sorted id arrays of all taxa of the dump and of those at or below the roots."""

    roots: list[int]
    known: np.ndarray
    kept: np.ndarray


def _load_taxa(copier: _Copier, options: LoadOptions) -> _Taxa:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    blocks = list(copier.blocks("taxa"))
    file = copier.files["taxa"]
    if not blocks:
        raise BadDump(f"{file.label} has no rows.", "Fetch it again, then type the same command.")
    whole = Block(pa.concat_tables([block.rows for block in blocks]).combine_chunks(), blocks[0].first_line)
    ids = integers(file, whole, "taxon_id", required=True)
    refuse_repeated(file, whole, ids)
    known = np.sort(ids.to_numpy(zero_copy_only=False))
    roots = [] if options.all_taxa else sorted(root_id(whole, ids, name) for name in options.taxa)
    if options.all_taxa:
        mask = below = pa.repeat(True, len(ids))
    else:
        path = pc.binary_join_element_wise(column(whole, "ancestry"), pc.cast(pc.cast(ids, "string"), "binary"), b"/")
        below = pc.match_substring_regex(path, f"(^|/)({'|'.join(map(str, roots))})(/|$)")
        above = {taxon_id for root in roots for taxon_id in ancestors(whole, ids, root)}
        mask = pc.or_(below, pc.is_in(ids, pa.array(sorted(above), "int64")))
    with copier.copy("taxa") as copy:
        copier.keep(copy, "taxa", whole, mask)
    copier.leave_out("taxa", "not below the wanted taxa", len(ids) - copier.reports["taxa"].kept)
    return _Taxa(roots, known, np.sort(ids.filter(below).to_numpy(zero_copy_only=False)))


def _load_observations(copier: _Copier, options: LoadOptions, taxa: _Taxa) -> np.ndarray:
    """Copy the observations wanted; return their sorted :func:`uuid_keys`."""
    import numpy as np
    import pyarrow.compute as pc

    file = copier.files["observations"]
    keys = [np.empty(0, np.uint64)]
    with copier.copy("observations") as copy:
        for block in copier.blocks("observations"):
            mask = _true(block)
            if options.quality != "any":
                mask = pc.equal(column(block, "quality_grade"), options.quality.encode())
                graded_out = block.rows.num_rows - pc.sum(mask, min_count=0).as_py()
                copier.leave_out("observations", "other quality grade", graded_out)
            if not options.all_taxa:
                taxon = integers(file, block, "taxon_id")
                ids = pc.fill_null(taxon, -1).to_numpy(zero_copy_only=False)
                graded = mask.to_numpy(zero_copy_only=False)
                wanted = graded & _among(ids, taxa.kept)
                unwanted = Counter(
                    no_taxon=int(np.sum(graded & (ids == -1))),
                    unknown=int(np.sum(graded & (ids != -1) & ~_among(ids, taxa.known))),
                )
                copier.leave_out("observations", "no taxon", unwanted["no_taxon"])
                copier.leave_out("observations", "unknown taxon", unwanted["unknown"])
                rest = int(graded.sum() - wanted.sum()) - unwanted.total()
                copier.leave_out("observations", "not below the wanted taxa", rest)
                mask = _arrow(wanted)
            copier.keep(copy, "observations", block, mask)
            keys.append(uuid_keys(file, block, "observation_uuid")[mask.to_numpy(zero_copy_only=False)])
    return np.unique(np.concatenate(keys))


def _load_photos(copier: _Copier, observations: np.ndarray) -> np.ndarray:
    """Copy the photos of kept observations; return the sorted ids of their observers."""
    import numpy as np

    file = copier.files["photos"]
    outside = np.zeros(_PHOTO_BITS // 8, np.uint8)
    kept_ids, observers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with copier.copy("photos") as copy:
        for block in copier.blocks("photos"):
            wanted = _among(uuid_keys(file, block, "observation_uuid"), observations)
            mask = _arrow(wanted)
            copier.keep(copy, "photos", block, mask)
            copier.leave_out("photos", "observation not kept", int(np.sum(~wanted)))
            ids = integers(file, block, "photo_id", required=True).to_numpy(zero_copy_only=False)
            byte, bit = _bit(ids[~wanted])
            np.bitwise_or.at(outside, byte, bit)
            kept_ids.append(ids[wanted])
            owners = integers(file, block, "observer_id").filter(mask).drop_null()
            observers.append(np.unique(owners.to_numpy(zero_copy_only=False)))
    photos = np.unique(np.concatenate(kept_ids))
    byte, bit = _bit(photos)
    with copier.driver.cursor().copy(f"COPY {INCOMING}.photos_elsewhere FROM STDIN") as copy:
        for photo_id in photos[(outside[byte] & bit) > 0].tolist():
            copy.write_row((photo_id,))
    return np.unique(np.concatenate(observers))


def _load_observers(copier: _Copier, options: LoadOptions, wanted: np.ndarray) -> None:
    import pyarrow.compute as pc

    file = copier.files["observers"]
    with copier.copy("observers") as copy:
        for block in copier.blocks("observers"):
            ids = integers(file, block, "observer_id", required=True)
            mask = _true(block) if options.all_taxa else _arrow(_among(ids.to_numpy(zero_copy_only=False), wanted))
            copier.keep(copy, "observers", block, mask)
            copier.leave_out("observers", "no photo kept", block.rows.num_rows - pc.sum(mask, min_count=0).as_py())


def _among(values: np.ndarray, sorted_set: np.ndarray) -> np.ndarray:
    """Return which values are in a sorted array."""
    import numpy as np

    if not len(sorted_set):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(sorted_set, values), len(sorted_set) - 1)
    found: np.ndarray = sorted_set[place] == values
    return found


def _bit(photo_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    place = photo_ids % _PHOTO_BITS
    return place >> 3, (1 << (place & 7)).astype(np.uint8)


def _true(block: Block) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(True, block.rows.num_rows)


def _arrow(mask: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(mask)


def _refuse_half_a_dump(connection: Connection, report: LoadReport, options: LoadOptions) -> None:
    before = connection.exec_driver_sql(
        "SELECT report FROM shroomcurate.load_ledger ORDER BY load_id DESC LIMIT 1"
    ).scalar()
    if before is None or options.force:
        return
    for table, now in report.tables.items():
        then = before["tables"].get(table, {}).get("read", 0)
        if now.read * 2 < then:
            raise BadDump(
                f"{table} has {now.read:,} rows, less than half of the {then:,} of the load before: "
                "the dump was probably cut short.",
                "Fetch the dump again. If this is what you want, add --force. The old catalogue stays in use.",
            )


def _swap(connection: Connection, report: LoadReport) -> None:
    # First of all, so that a reader who holds the ledger keeps the whole catalogue, and one who waits for it sees
    # the new one.
    connection.exec_driver_sql("LOCK TABLE shroomcurate.load_ledger IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql(
        "INSERT INTO shroomcurate.load_ledger (version, source, fingerprint, taxa, quality, report) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (
            __version__,
            report.source,
            report.fingerprint,
            report.taxa,
            report.quality,
            json.dumps(asdict(report), sort_keys=True),
        ),
    )
    connection.exec_driver_sql(
        f"DROP SCHEMA IF EXISTS {CATALOGUE} CASCADE; ALTER SCHEMA {INCOMING} RENAME TO {CATALOGUE}"
    )
