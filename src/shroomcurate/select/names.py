"""The taxa that a person names, in a file or by option: found in the catalogue, or refused with the nearest name."""

from __future__ import annotations

import difflib
import re
import shlex
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.errors import BadOption, NothingMatches
from shroomcurate.names_file import Entry, read_names
from shroomcurate.select.options import RANKS
from shroomcurate.select.scope import Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: So many unknown names are listed with their nearest one; further ones are counted.
_LISTED = 10

#: Below so many names, all are compared with a misspelt one that begins like none near it: a tenth of a second.
_FEW = 20_000


class Taxon(NamedTuple):
    """A row of ``taxa``."""

    taxon_id: int
    name: str
    rank: str
    active: bool
    ancestry: str | None


class Names:
    """Names to find the nearest one of: in a large catalogue only of those that begin alike."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: dict[str, str] = {}
        """As :func:`_key` and small letters make it -> the name."""
        self.alike: dict[str, list[str]] = {}
        for name in names:
            folded = _key(name).casefold()
            if folded not in self.names:
                self.names[folded] = name
                for beginning in {folded[:3], folded.split("_")[0]}:
                    self.alike.setdefault(beginning, []).append(folded)

    def nearest(self, text: str) -> str | None:
        """Return the name nearest to a text, if any is near."""
        folded = _key(text).casefold()
        alike = [*self.alike.get(folded.split("_")[0], []), *self.alike.get(folded[:3], [])]
        near = difflib.get_close_matches(folded, alike, n=1)
        if not near and len(self.names) < _FEW:
            near = difflib.get_close_matches(folded, self.names, n=1)
        return self.names[near[0]] if near else None


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
    known = _Known(taxa)
    classes: dict[int, str] = {}
    refused: list[tuple[Entry, list[Taxon]]] = []
    for entry in entries:
        own = known.find(entry.text)
        active = [taxon for taxon in own if taxon.active]
        if len(active) == 1:
            scope.require_branch(
                f"--names {file}, line {entry.line}", active[0].taxon_id, active[0].name, active[0].ancestry
            )
            classes[active[0].taxon_id] = active[0].name
        else:
            refused.append((entry, own))
    if refused:
        near = Names(taxon.name for taxon in taxa if taxon.active)
        lines = [
            f"line {entry.line}: {entry.text!r} {_why(connection, entry.text, own, near, rank)}"
            for entry, own in refused[:_LISTED]
        ]
        if len(refused) > _LISTED:
            lines.append(f"and {len(refused) - _LISTED:,} more")
        raise NothingMatches(
            f"--names {file}: not in the catalogue:\n  " + "\n  ".join(lines),
            f"Correct the file. What is spelt right may not be loaded: the catalogue holds {scope.loaded} only. "
            f"{scope.how_to_load(['NAME'])}"
            if scope.taxa is not None
            else "Correct the file.",
        )
    return classes


class _Known:
    """The taxa of a rank by what a person may write for them."""

    def __init__(self, taxa: Iterable[Taxon]) -> None:
        self.forms: list[dict[str, list[Taxon]]] = [{}, {}, {}]
        """By name, by folder form, and by that in small letters."""
        self.by_id: dict[str, Taxon] = {}
        for taxon in taxa:
            self.by_id[str(taxon.taxon_id)] = taxon
            key = _key(taxon.name)
            for form, name in zip(self.forms, (taxon.name, key, key.casefold()), strict=True):
                form.setdefault(name, []).append(taxon)

    def find(self, text: str) -> list[Taxon]:
        """Return the taxa that a text names: the closest form that any has."""
        if text in self.by_id:
            return [self.by_id[text]]
        key = _key(text)
        names, keys, folded = self.forms
        return names.get(text) or names.get(text.replace("_", " ")) or keys.get(key) or folded.get(key.casefold()) or []


def _why(connection: Connection, text: str, own: list[Taxon], near: Names, rank: str) -> str:
    """Return what is wrong with an entry, as the end of a sentence that begins with it."""
    active = [str(taxon.taxon_id) for taxon in own if taxon.active]
    if active:
        return f"names {len(active)} taxa; write the id of the one you mean: {' or '.join(active)}"
    if own:
        return f"is inactive ({own[0].taxon_id}): iNaturalist has replaced it, by what the dump does not say"
    if elsewhere := _named(connection, text):
        other = elsewhere[0]
        instead = f"give --rank {other.rank}, or " if other.rank in RANKS else "give "
        return f"is not of rank {rank} but {other.rank}: {instead}--taxon {shlex.quote(other.name)} instead of a list"
    nearest = near.nearest(text)
    return f"is unknown; the nearest is {nearest}" if nearest else "is unknown, and nothing is near it"


def branches(connection: Connection, scope: Scope, wanted: tuple[str, ...]) -> list[int] | None:
    """Return the ids of the taxa that ``--taxon`` names; None: no restriction.

    Raises
    ------
    NothingMatches
        A taxon is unknown, or several have the name.
    StageMissing
        A taxon lies outside of what was loaded.
    BadOption
        A name holds control characters, or bytes that are not UTF-8.
    """
    found = []
    for text in wanted:
        if not text.isprintable():
            raise BadOption(f"--taxon {text!r} holds what is no letter.", "Give a scientific name or a taxon id.")
        taxa = _named(connection, unicodedata.normalize("NFC", " ".join(text.split())))
        taxa = [taxon for taxon in taxa if taxon.active] or taxa
        if not taxa:
            nearest = Names(taxon.name for taxon in _taxa(connection, "active = %s", True)).nearest(text)
            raise NothingMatches(
                f"--taxon {text!r} is not among the catalogue's taxa"
                + (f", which holds {scope.loaded} only" if scope.taxa is not None else "")
                + (f"; the nearest is {nearest}." if nearest else "."),
                "Check the spelling."
                + (f" If it was not loaded: {scope.how_to_load([text])}" if scope.taxa is not None else ""),
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
    forms = [text, text.replace("_", " ")]
    return _taxa(connection, "name = ANY (%s)", forms) or _taxa(
        connection, "lower(name) = ANY (%s)", [form.lower() for form in forms]
    )


def _taxa(connection: Connection, condition: str, value: object) -> list[Taxon]:
    columns = "taxon_id, coalesce(name, ''), coalesce(rank, ''), coalesce(active, false), ancestry"
    rows = connection.exec_driver_sql(f"SELECT {columns} FROM taxa WHERE {condition} ORDER BY taxon_id", (value,))
    return [Taxon(*row) for row in rows]


def _key(name: str) -> str:
    """Return what a name and its folder form, such as Amanita_muscaria, have in common."""
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-")
