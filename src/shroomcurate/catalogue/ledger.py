"""The books of the catalogue: what was loaded, when, from where; who loads now; and the swap of the new for the old."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate import __version__
from shroomcurate.catalogue.server import CATALOGUE, INCOMING, run_file, sql_file
from shroomcurate.catalogue.sources import NEEDS
from shroomcurate.errors import BadDump, BadOption, Busy
from shroomcurate.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from shroomcurate.catalogue.sources import PackedFile

#: What a load makes in the schema of the catalogue.
MADE = {
    *("taxa", "observations", "photos", "observers", "photos_elsewhere", "photos_repeated"),
    *("taxon_class", "taxon_place", "several", "claim", "claim_count", "changes"),
}

_RELATIONS_IN = """
SELECT relname AS name
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S')
"""
_VIEWS_ON = """
SELECT DISTINCT CAST(CAST(standing.oid AS regclass) AS text) AS name
FROM pg_depend
JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = CAST('pg_rewrite' AS regclass)
JOIN pg_class AS standing ON standing.oid = pg_rewrite.ev_class
JOIN pg_class AS under ON under.oid = pg_depend.refobjid
JOIN pg_namespace ON pg_namespace.oid = under.relnamespace
WHERE nspname = %s AND standing.relnamespace <> under.relnamespace
"""

#: The files of ``sql/schema`` that make a catalogue.
SCHEMA = ("tables", "after_taxa", "after_observations", "finish", "claim_table", "claim_view")

#: One load at a time in a database. Any fixed number; this one spells 'shroom' in ASCII.
_LOCK = 0x7368726F6F6D


@dataclass
class TableReport:
    """What became of one table's rows."""

    read: int = 0
    kept: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> rows."""
    not_utf8: int = 0
    """Values whose bytes are not UTF-8, or hold a NUL or a carriage return; U+FFFD stands in their place."""
    not_utf8_example: str = ""


@dataclass(frozen=True)
class FileReport:
    """A file of the dump as it was: size in bytes, time of change or ETag, hash."""

    place: str
    bytes: int
    stamp: str
    sha256: str


@dataclass
class LoadReport(Summary):
    """What a load did. ``facts`` are the numbers of ``sql/check/facts.sql``."""

    source: str
    """As a shell reads it."""
    fingerprint: str
    """Equal when files, scope and schema are."""
    taxa: list[int] | None
    """Ids of the taxa whose branches were kept; None: all."""
    quality: str
    asked: list[str] | None
    """The same taxa as they were typed."""
    schema: str
    """Hash of the SQL that made the tables."""
    files: list[FileReport]
    tables: dict[str, TableReport]
    facts: dict[str, int]
    changes: dict[str, int] | None = None
    """Against the load before: kind of change -> rows; None when that was not asked."""
    already_loaded: bool = False
    """The same dump was in the catalogue, and nothing was done."""

    @property
    def scope(self) -> tuple[list[int] | None, str, str]:
        """What was kept of the dump, and in which tables: catalogues of one scope can be compared."""
        return self.taxa, self.quality, self.schema


def schema_hash() -> str:
    """Return a hash of the SQL files that make a catalogue, so that another version's is not taken for ours."""
    text = "".join(sql_file(f"schema/{name}.sql").read_text(encoding="utf-8") for name in SCHEMA)
    return hashlib.sha256(text.encode()).hexdigest()


def new_report(
    *,
    source: str,
    taxa: list[int] | None,
    quality: str,
    asked: list[str] | None,
    files: list[FileReport],
    tables: dict[str, TableReport],
    facts: dict[str, int],
) -> LoadReport:
    """Return the report of a load, with the fingerprint of the catalogue it made."""
    schema = schema_hash()
    identity = json.dumps([[file.sha256 for file in files], taxa, quality, schema])
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    return LoadReport(source, fingerprint, taxa, quality, asked, schema, files, tables, facts)


def is_the_same(last: LoadReport, files: Sequence[PackedFile], asked: list[str] | None, quality: str) -> bool:
    """Return whether a load would make the catalogue that is there.

    Files that kept their size and time of change (or ETag) are taken for the same; those that kept only their size
    are hashed.
    """
    if [last.asked, last.quality, last.schema] != [asked, quality, schema_hash()]:
        return False
    then = {file.place.rsplit("/", 1)[-1]: file for file in last.files}
    if sorted((file.name, file.bytes) for file in files) != sorted((name, file.bytes) for name, file in then.items()):
        return False
    for file in files:
        before = then[file.name]
        if file.stamp != before.stamp or not file.stamp or (file.place != before.place and not file.is_remote):
            if file.is_remote:
                return False
            with Path(file.place).open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != before.sha256:
                    return False
    return True


def make(connection: Connection) -> None:
    """Make the ledger where there is none."""
    # IF NOT EXISTS does not wait for another transaction that makes the same.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK + 1})")
    if connection.exec_driver_sql("SELECT to_regclass('shroomcurate.load_ledger')").scalar() is None:
        run_file(connection, "schema/ledger.sql")


def refuse_what_is_not_ours(connection: Connection) -> None:
    """Refuse to replace a schema that somebody else made, or to take somebody's views along with it.

    Raises
    ------
    BadOption
        Names what is in the way.
    """
    run = connection.exec_driver_sql
    for schema in (CATALOGUE, INCOMING):
        found = {row.name for row in run(_RELATIONS_IN, (schema,))}
        if strange := sorted(found if not _has_loaded(connection) else found - MADE):
            raise BadOption(
                f"The database has a schema '{schema}' that load-csvs did not make, or not alone: it holds "
                f"{', '.join(strange[:5])}. A load would drop it.",
                f"Rename it (ALTER SCHEMA {schema} RENAME TO …) or move these out of it, or use another database.",
            )
    if users := [row.name for row in run(_VIEWS_ON, (CATALOGUE,))]:
        raise BadOption(
            f"Views stand on the catalogue that a load replaces: {', '.join(users[:5])}.",
            "Drop them, load, and make them anew; or make tables of them.",
        )


def _has_loaded(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("SELECT EXISTS (SELECT FROM shroomcurate.load_ledger)").scalar())


def take_lock(connection: Connection) -> None:
    """Be the one load of this database until the transaction ends.

    Raises
    ------
    Busy
        Another one is under way; names its process.
    """
    # A server may be set to give up what takes long, and a load does.
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
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


def last_load(connection: Connection) -> LoadReport | None:
    """Return the report of the load that made the catalogue in use; None where there is none that we can read."""
    if connection.exec_driver_sql("SELECT to_regclass(%s)", (f"{CATALOGUE}.photos",)).scalar() is None:
        return None
    row: Any = connection.exec_driver_sql(
        "SELECT report FROM shroomcurate.load_ledger ORDER BY load_id DESC LIMIT 1"
    ).scalar()
    try:
        tables = {name: TableReport(**row["tables"][name]) for name in NEEDS}  # jsonb keeps no order
        return LoadReport(**{**row, "tables": tables, "files": [FileReport(**file) for file in row["files"]]})
    except (TypeError, KeyError):
        return None


def refuse_half_a_dump(connection: Connection, now: LoadReport) -> None:
    """Refuse a dump that was probably cut short upstream.

    Raises
    ------
    BadDump
        A table has less than half of the rows it had in the load before.
    """
    # Of any version that has this figure.
    read = "SELECT report -> 'tables' -> %s ->> 'read' FROM shroomcurate.load_ledger ORDER BY load_id DESC LIMIT 1"
    for name, table in now.tables.items():
        then = int(connection.exec_driver_sql(read, (name,)).scalar() or 0)
        if table.read * 2 < then:
            raise BadDump(
                f"{name} has {table.read:,} rows, less than half of the {then:,} of the load before: "
                "the dump was probably cut short.",
                "Fetch the dump again. If this is what you want, add --force. The old catalogue stays in use.",
            )


def swap(connection: Connection, report: LoadReport) -> None:
    """Put the incoming schema in the catalogue's place and write the report into the ledger."""
    # First of all, so that a reader who holds the ledger keeps the whole catalogue, and one who waits for it sees
    # the new one.
    connection.exec_driver_sql("LOCK TABLE shroomcurate.load_ledger IN ACCESS EXCLUSIVE MODE")
    values: tuple[Any, ...] = (
        __version__,
        report.source,
        report.fingerprint,
        report.taxa,
        report.quality,
        json.dumps(asdict(report), sort_keys=True),
    )
    connection.exec_driver_sql(
        "INSERT INTO shroomcurate.load_ledger (version, source, fingerprint, taxa, quality, report) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        values,
    )
    connection.exec_driver_sql(
        f"DROP SCHEMA IF EXISTS {CATALOGUE} CASCADE; ALTER SCHEMA {INCOMING} RENAME TO {CATALOGUE}"
    )
