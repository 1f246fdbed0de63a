"""The taxa that a person names, in a file or by option: found in the catalogue, or refused with the nearest name."""

from __future__ import annotations

import difflib
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.errors import NothingMatches
from shroomcurate.names_file import read_names
from shroomcurate.select.scope import Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: So many unknown names are listed with their nearest one; further ones are counted.
_LISTED = 10


class Taxon(NamedTuple):
    """A row of ``taxa``."""

    taxon_id: int
    name: str
    rank: str
    active: bool
    ancestry: str | None


def listed_classes(connection: Connection, scope: Scope, file: Path, rank: str) -> dict[int, str]:
    """Return the classes that a names file names, taxon id -> name. Names that stand there twice are one class.

    Raises
    ------
    NothingMatches
        Names that are unknown, of another rank, inactive or of several taxa, each with its line.
    StageMissing
        A taxon lies outside of what was loaded.
    BadOption
        The file is none.
    """
    entries = read_names(file, "--names")
    taxa = _taxa(connection, "rank = %s", rank)
    by_name: dict[str, list[Taxon]] = {}
    for taxon in taxa:
        by_name.setdefault(_key(taxon.name), []).append(taxon)
    by_id = {str(taxon.taxon_id): taxon for taxon in taxa}
    classes: dict[int, str] = {}
    refused: list[str] = []
    for entry in entries:
        own = [by_id[entry.text]] if entry.text in by_id else by_name.get(_key(entry.text), [])
        active = [taxon for taxon in own if taxon.active]
        if len(active) == 1:
            scope.require_branch(
                f"--names {file}, line {entry.line}", active[0].taxon_id, active[0].name, active[0].ancestry
            )
            classes[active[0].taxon_id] = active[0].name
        elif len(refused) <= _LISTED:
            refused.append(f"line {entry.line}: {entry.text!r} {_why(connection, entry.text, own, by_name, rank)}")
        else:
            refused.append("")
    if refused:
        more = f"\n  and {len(refused) - _LISTED:,} more" if len(refused) > _LISTED else ""
        raise NothingMatches(
            f"--names {file}: not in the catalogue:\n  " + "\n  ".join(refused[:_LISTED]) + more,
            f"Correct the file. What is spelt right may not be loaded: the catalogue holds {scope.loaded} only. "
            f"More of it: {scope.load_command(['NAME'])}"
            if scope.taxa is not None
            else "Correct the file.",
        )
    return classes


def _why(connection: Connection, text: str, own: list[Taxon], names: dict[str, list[Taxon]], rank: str) -> str:
    """Return what is wrong with an entry, as the end of a sentence that begins with it."""
    active = [str(taxon.taxon_id) for taxon in own if taxon.active]
    if active:
        return f"names {len(active)} taxa; write the id of the one you mean: {' or '.join(active)}"
    if own:
        return f"is inactive ({own[0].taxon_id}): iNaturalist has replaced it, by what the dump does not say"
    elsewhere = _named(connection, text)
    if elsewhere:
        return f"is not of rank {rank} but {elsewhere[0].rank}"
    known = {key: taxa[0].name for key, taxa in names.items() if any(taxon.active for taxon in taxa)}
    near = difflib.get_close_matches(_key(text), known, n=1)
    return f"is unknown; the nearest is {known[near[0]]}" if near else "is unknown, and nothing is near it"


def branches(connection: Connection, scope: Scope, wanted: tuple[str, ...]) -> list[int] | None:
    """Return the ids of the taxa that ``--taxon`` names; None: no restriction.

    Raises
    ------
    NothingMatches
        A taxon is unknown, or several have the name.
    StageMissing
        A taxon lies outside of what was loaded.
    """
    found = []
    for text in wanted:
        taxa = _named(connection, unicodedata.normalize("NFC", " ".join(text.split())))
        taxa = [taxon for taxon in taxa if taxon.active] or taxa
        if not taxa:
            raise NothingMatches(
                f"--taxon {text!r} is not among the catalogue's taxa"
                + (f", which holds {scope.loaded} only." if scope.taxa is not None else "."),
                "Check the spelling"
                + (f", or load it: {scope.load_command([text])}" if scope.taxa is not None else "."),
            )
        if len(taxa) > 1:
            ids = ", ".join(str(taxon.taxon_id) for taxon in taxa)
            raise NothingMatches(
                f"--taxon {text!r} names {len(taxa)} taxa: {ids}.",
                f"Give the id of the one you mean: --taxon {taxa[0].taxon_id}",
            )
        scope.require_branch(f"--taxon {text}", taxa[0].taxon_id, taxa[0].name, taxa[0].ancestry)
        found.append(taxa[0].taxon_id)
    return sorted(set(found)) or None


def _named(connection: Connection, text: str) -> list[Taxon]:
    if re.fullmatch(r"[0-9]{1,18}", text):
        return _taxa(connection, "taxon_id = %s", int(text))
    return _taxa(connection, "name = ANY (%s)", [text, text.replace("_", " ")])


def _taxa(connection: Connection, condition: str, value: object) -> list[Taxon]:
    columns = "taxon_id, coalesce(name, ''), coalesce(rank, ''), coalesce(active, false), ancestry"
    rows = connection.exec_driver_sql(f"SELECT {columns} FROM taxa WHERE {condition} ORDER BY taxon_id", (value,))
    return [Taxon(*row) for row in rows]


def _key(name: str) -> str:
    """Return what a name and its folder form, such as Amanita_muscaria, have in common."""
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-")
