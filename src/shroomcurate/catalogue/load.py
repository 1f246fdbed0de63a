"""Load the dump into the catalogue.

Reads: the dump's four tables, filtered while they are read. Writes: the catalogue, by one transaction that fills a
fresh schema and swaps it in, and a row of ``shroomcurate.load_ledger``. Resumes: a killed load leaves the old
catalogue as it was; run it again.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue import ledger
from shroomcurate.catalogue.dumps import TABLES, keep_freed_memory
from shroomcurate.catalogue.kept import COPY_HEAD, COPY_TAIL
from shroomcurate.catalogue.keys import Bits
from shroomcurate.catalogue.ledger import FileReport, LoadReport, TableReport
from shroomcurate.catalogue.note import write_note
from shroomcurate.catalogue.pace import paced
from shroomcurate.catalogue.request import request_of
from shroomcurate.catalogue.server import INCOMING, connect, run_file, sql_file
from shroomcurate.catalogue.sieve import Part, Sieve, running_ahead
from shroomcurate.catalogue.sift import Sifted
from shroomcurate.catalogue.sources import Dump, TableStream, find_dump
from shroomcurate.catalogue.space import refuse_without_room
from shroomcurate.errors import BadOption, NothingMatches
from shroomcurate.home import home
from shroomcurate.progress import Bytes, Progress, silent

if TYPE_CHECKING:
    import numpy as np
    from sqlalchemy import Connection

#: For this transaction alone: sorts stay in memory; joins and sorts use two cores also where a table is small, for a
#: row that a worker hands over costs little beside one that is written; and what is written goes to disk before the
#: end.
_IN_BULK = """
SET LOCAL maintenance_work_mem = '256MB';
SET LOCAL max_parallel_maintenance_workers = 2;
SET LOCAL work_mem = '64MB';
SET LOCAL hash_mem_multiplier = 4;
SET LOCAL jit = off;
SET LOCAL parallel_tuple_cost = 0.001;
SET LOCAL parallel_setup_cost = 100;
SET LOCAL min_parallel_table_scan_size = '1MB';
SET LOCAL backend_flush_after = '1MB';
"""

QUALITIES = ("research", "needs_id", "casual", "any")


@dataclass(frozen=True)
class LoadOptions:
    """What to load and what to keep of it."""

    source: str | Path | Sequence[str | Path]
    """A folder, a bundle, or the table files; paths or URLs."""
    taxa: tuple[str, ...] = ("Basidiomycota", "Ascomycota")
    """Names or ids; everything below them is kept. The two phyla that hold the fungi people photograph."""
    quality: str = "research"
    """Observations of another grade are no training examples, so they do not earn their disk space."""
    all_taxa: bool = False
    force: bool = False
    """Accept a dump with less than half of the rows of the load before, and load the same one again."""
    diff: bool = False
    """Compare with the catalogue before, which takes a while."""

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise BadOption(
                f"--quality {self.quality!r} is not a quality grade.", f"Use one of: {', '.join(QUALITIES)}"
            )
        if self.all_taxa and self.taxa not in ((), LoadOptions.taxa):
            raise BadOption("--all-taxa and --taxon contradict each other.", "Give one of them.")
        if not self.taxa and not self.all_taxa:
            raise BadOption("There is no --taxon to keep.", "Name one, or use --all-taxa.")

    @property
    def sources(self) -> list[str]:
        """The sources, one or several."""
        one = isinstance(self.source, str | Path)
        return [str(self.source)] if one else [str(source) for source in self.source]  # type: ignore[union-attr]

    @property
    def asked(self) -> list[str] | None:
        """The taxa as they were typed; None: all."""
        return None if self.all_taxa else sorted(set(self.taxa))


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
    keep_freed_memory()
    dump = find_dump(options.sources, force=options.force)
    sieve = Sieve(options.asked, options.quality)
    # The server is reached while the first rows are sifted.
    with running_ahead(sieve, dump) as parts, connect(database_url, "load-csvs") as engine:
        with engine.begin() as connection:
            ledger.make(connection)
        with engine.connect() as connection:
            ledger.take_lock(connection)
            ledger.refuse_what_is_not_ours(connection)
            last = ledger.last_load(connection)
            if last and not options.force and ledger.is_the_same(last, dump.files, options.asked, options.quality):
                found = replace(last, already_loaded=True)
                write_note(database_url, found, request_of(options))
                return found
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {INCOMING} CASCADE; CREATE SCHEMA {INCOMING}")
            connection.exec_driver_sql(f"SET LOCAL search_path = {INCOMING};" + _IN_BULK)
            run_file(connection, "schema/tables.sql")
            filling = _Filling(connection, options, progress, database_url)
            filling.fill(sieve, parts)
            report = filling.report(dump, sieve.taxa.roots)
            if not options.force:
                ledger.refuse_half_a_dump(connection, report)
            if options.diff and last and last.scope == report.scope:
                report.changes = filling.changes(sieve.other_photos)
            ledger.swap(connection, report)
            with filling.paced("write to disk", "photos"):
                connection.commit()
    write_note(database_url, report, request_of(options))
    return report


class _Filling:
    """Writes the kept rows into the incoming schema and keeps the books."""

    def __init__(
        self, connection: Connection, options: LoadOptions, progress: Progress, database_url: str | None
    ) -> None:
        self._reports = {table: TableReport() for table in TABLES}
        self._connection = connection
        self._driver: Any = connection.connection.driver_connection
        self._options = options
        self._progress = progress
        self._database_url = database_url

    def fill(self, sieve: Sieve, parts: Iterator[Part]) -> None:
        """Write the rows of all tables as they come; the server works on a table while the next one is read."""
        for name, of_table in groupby(parts, key=lambda part: part[0].table):
            with self._copy(name) as keep:
                for table, sifted, taken in of_table:
                    if sifted is None:
                        # A bundle goes on behind the table.
                        self._progress(table.packed.bytes, Bytes(table.packed.bytes), f"read {name}")
                        continue
                    if name == "observations" and not self._reports[name].read:
                        self._refuse_without_room(table, sifted)
                    keep(sifted)
                    self._progress(taken, Bytes(table.packed.bytes), f"read {name}")
            if name in ("taxa", "observations"):
                with self.paced(f"sort {name}", name):
                    run_file(self._connection, f"schema/after_{name}.sql")
            if name == "photos":
                self._copy_ids("photos_repeated", sieve.repeated)
                self._copy_ids("photos_elsewhere", sieve.elsewhere)

    def _refuse_without_room(self, table: TableStream, first: Sifted) -> None:
        if not self._database_url:
            refuse_without_room(home(), max(first.kept.rows, first.kept.rows * table.bytes / first.bytes))

    def report(self, dump: Dump, roots: list[int] | None) -> LoadReport:
        """Return the report, after the indexes have been made.

        Raises
        ------
        NothingMatches
            No photo was kept.
        """
        options = self._options
        if not self._reports["photos"].kept:
            below = ", ".join(options.asked or ["Life"])
            raise NothingMatches(
                f"Nothing is left of {' '.join(options.sources)}: no photo below {below} of quality {options.quality}.",
                "Try --quality any, another --taxon, or --all-taxa.",
            )
        with self.paced("make the indexes" if options.all_taxa else "make the catalogue", "photos"):
            run_file(self._connection, "schema/finish.sql")
            run_file(self._connection, f"schema/claim_{'view' if options.all_taxa else 'table'}.sql")
            query = sql_file("check/facts.sql").read_text(encoding="utf-8")
            facts = self._connection.exec_driver_sql(query).mappings().one()
        return ledger.new_report(
            source=shlex.join(options.sources),
            taxa=roots,
            quality=options.quality,
            asked=options.asked,
            files=[FileReport(file.place, file.bytes, file.stamp, file.sha256) for file in dump.files],
            tables=self._reports,
            facts={name: int(value) for name, value in facts.items()},
        )

    def changes(self, other_photos: Bits) -> dict[str, int]:
        """Fill the table of changes against the catalogue in use; return kind of change -> rows."""
        with self.paced("compare with the load before", "photos"):
            run_file(self._connection, "check/changes.sql")
        run = self._connection.exec_driver_sql
        gone = [row.photo_id for row in run("SELECT photo_id FROM changes WHERE change = 'photo_gone'")]
        still = other_photos.has(gone)
        run("UPDATE changes SET change = 'photo_not_kept' WHERE change = 'photo_gone' AND photo_id = ANY(%s)", (still,))
        return {
            row.change: row.rows for row in run("SELECT change, count(*) AS rows FROM changes GROUP BY 1 ORDER BY 1")
        }

    def paced(self, label: str, table: str) -> AbstractContextManager[None]:
        """Tell how far the server should be with work on the kept rows of a table."""
        return paced(self._progress, label, self._database_url, self._reports[table].kept)

    def _copy_ids(self, table: str, ids: np.ndarray) -> None:
        with self._driver.cursor().copy(f"COPY {INCOMING}.{table} FROM STDIN WITH (FREEZE)") as copy:
            for photo_id in ids.tolist():
                copy.write_row((photo_id,))

    @contextmanager
    def _copy(self, table: str) -> Iterator[Callable[[Sifted], None]]:
        """Give a function that writes the kept rows of a block and keeps the books."""
        report = self._reports[table]
        columns = ", ".join(f'"{name}"' for name in TABLES[table])
        command = f"COPY {INCOMING}.{table} ({columns}) FROM STDIN WITH (FORMAT binary, FREEZE)"

        def keep(sifted: Sifted) -> None:
            copy.write(sifted.kept.copy_rows)
            report.read += sifted.read
            report.kept += sifted.kept.rows
            report.not_utf8 += sifted.kept.replaced
            report.not_utf8_example = report.not_utf8_example or sifted.kept.replaced_example
            for reason, rows in sifted.left_out.items():
                report.left_out[reason] = report.left_out.get(reason, 0) + rows

        with self._driver.cursor().copy(command) as copy:
            copy.write(COPY_HEAD)
            yield keep
            copy.write(COPY_TAIL)
