"""A note of the last load, beside the embedded server: what can be told of a catalogue without starting one.

It is a hint: nothing is decided by it alone, and a load does not fail when it cannot be written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.home import home, read_hint, write_hint

if TYPE_CHECKING:
    from shroomcurate.catalogue.ledger import LoadReport

FILE = "catalogue.json"

#: Databases of which a note is kept, the newest ones.
_MOST = 20

#: PostgreSQL numbers its own relations below this; the file of a table that somebody made has a higher number.
#: ``FirstNormalObjectId``, https://www.postgresql.org/docs/18/system-catalog-initial-data.html
_FIRST_OF_USERS = 16384


@dataclass(frozen=True)
class LoadNote:
    """The last load into one database from this machine."""

    fingerprint: str
    """As in the receipt of a selection that came from it."""
    source: str
    photos: int
    from_api: bool
    """Whether it holds only what `load-api` asked for."""
    loaded_at: str
    """UTC, ISO 8601."""
    request: Mapping[str, str] = field(default_factory=dict)
    """What asked for it, see :func:`shroomcurate.catalogue.request.request_of`."""


def write_note(database_url: str | None, report: LoadReport, request: Mapping[str, str] | None = None) -> None:
    """Note a load that has just ended, or one that was found done before, whose time stays."""
    before = read_note(database_url)
    folder = Path(shlex.split(report.source)[0]) if report.source else Path()
    note = LoadNote(
        report.fingerprint,
        report.source,
        report.tables["photos"].kept,
        folder.name == "dump" and (folder.parent / "pages").is_dir(),
        datetime.now(UTC).isoformat(timespec="seconds"),
        dict(request or {}),
    )
    if report.already_loaded and before is not None and before.fingerprint == note.fingerprint:
        note = replace(note, loaded_at=before.loaded_at)
    others = [(key, other) for key, other in read_hint(FILE).items() if key != database_key(database_url)]
    write_hint(FILE, dict([*others, (database_key(database_url), asdict(note))][-_MOST:]))


def read_note(database_url: str | None) -> LoadNote | None:
    """Return the note of the last load into a database, the embedded one by default; None when there is none."""
    with suppress(TypeError):  # of another version
        note = read_hint(FILE).get(database_key(database_url))
        return LoadNote(**note) if note else None
    return None


def embedded_holds_tables() -> bool:
    """Tell, without starting the embedded server, whether anybody has ever put a table with rows into it."""
    with suppress(OSError):
        for file in (home() / "postgres" / "base").glob("*/*"):
            if file.name.isdecimal() and int(file.name) >= _FIRST_OF_USERS and file.stat().st_size:
                return True
    return False


def database_key(database_url: str | None) -> str:
    """Return what names a database; a password is nobody's business."""
    # Before the query is cut off: a question mark can stand in a password.
    return re.sub(r"//([^:@/]*)(:.*)?@", r"//\1@", database_url).partition("?")[0] if database_url else "embedded"
