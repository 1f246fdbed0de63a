"""What the catalogue holds, as the load wrote it down: a query for more than that must not come back empty."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.catalogue.server import CATALOGUE
from shroomcurate.errors import StageMissing

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Scope:
    """The last row of ``shroomcurate.load_ledger``, and the names of its roots."""

    fingerprint: str
    source: str
    """As a shell reads it."""
    taxa: tuple[int, ...] | None
    """Roots; None: every taxon."""
    names: tuple[str, ...]
    quality: str
    files: Mapping[str, str]
    """File of the dump -> sha256."""
    photos: int
    """How many it holds."""

    def load_command(self, taxa: Sequence[str] = (), quality: str | None = None) -> str:
        """Return the command that loads the same source with further taxa or another quality."""
        words = []
        if self.taxa is None:
            words.append("--all-taxa")
        else:
            for taxon in [*(self.names if len(self.names) == len(self.taxa) else map(str, self.taxa)), *taxa]:
                words += ["--taxon", taxon]
        if (quality or self.quality) != "research":
            words += ["--quality", quality or self.quality]
        return f"shroomcurate load-csvs {self.source} {shlex.join(words)}".rstrip()

    def how_to_load(self, taxa: Sequence[str] = (), quality: str | None = None) -> str:
        """Return what to type for further taxa or another quality.

        What ``load-api`` fetched is loaded already: loading its folder for more would only claim more.
        """
        if not self.from_api:
            return f"Type this first: {self.load_command(taxa, quality)}"
        asked = shlex.quote(taxa[-1]) if taxa else "NAME"
        return (
            "The API load holds research grade of the species asked for only. Type this first: "
            f"shroomcurate load-api --taxon {asked} --species N, or load the dump: "
            "shroomcurate load-csvs FOLDER_WITH_THE_DUMP" + (f" --quality {quality}" if quality else "")
        )

    @property
    def from_api(self) -> bool:
        """Whether ``load-api`` made what was loaded: its dump lies beside the pages that it came from."""
        folder = Path(shlex.split(self.source)[0]) if self.source else Path()
        return folder.name == "dump" and (folder.parent / "pages").is_dir()

    @property
    def loaded(self) -> str:
        """The scope in words, such as 'Basidiomycota and Ascomycota'."""
        return " and ".join(self.names) or "all taxa"

    def holds(self, taxon_id: int, ancestry: str | None) -> bool:
        """Return whether the whole branch of a taxon was loaded."""
        line = {str(taxon_id), *(ancestry or "").split("/")}
        return self.taxa is None or any(str(root) in line for root in self.taxa)

    def require_quality(self, wanted: str) -> None:
        """Refuse a quality grade that was not loaded.

        Raises
        ------
        StageMissing
            The hint is the command that loads it.
        """
        if self.quality not in ("any", wanted):
            raise StageMissing(
                f"--quality {wanted}: the catalogue holds observations of quality {self.quality} only.",
                self.how_to_load(quality="any"),
            )

    def require_branch(self, what: str, taxon_id: int, name: str, ancestry: str | None) -> None:
        """Refuse a taxon of which only a part was loaded, or nothing but its name.

        Raises
        ------
        StageMissing
            The hint is the command that loads it.
        """
        if not self.holds(taxon_id, ancestry):
            raise StageMissing(
                f"{what}: {name} ({taxon_id}) was not loaded as a whole: the catalogue holds {self.loaded} only.",
                self.how_to_load([name]),
            )


def read_scope(connection: Connection) -> Scope:
    """Make the catalogue the schema of this transaction and return what it holds.

    Raises
    ------
    StageMissing
        Nothing has been loaded, or an earlier version loaded it.
    """
    made = "SELECT to_regclass(%s), to_regclass(%s)"
    tables = connection.exec_driver_sql(made, (f"{CATALOGUE}.taxa", f"{CATALOGUE}.claim_count")).one()
    if None in tables:
        why = "no dump has been loaded into this database" if tables[0] is None else "another version loaded it"
        raise StageMissing(
            f"The catalogue is empty: {why}." if tables[0] is None else f"The catalogue lacks a table: {why}.",
            "Type this first: shroomcurate load-csvs FOLDER_WITH_THE_DUMP",
        )
    # One snapshot for all statements, taken while load-csvs cannot swap: it locks the ledger first of all, too.
    # LOCK and SET take no snapshot yet.
    connection.rollback()
    connection.execution_options(isolation_level="REPEATABLE READ")
    connection.exec_driver_sql("LOCK TABLE shroomcurate.load_ledger IN ACCESS SHARE MODE")
    connection.exec_driver_sql(f"SET LOCAL search_path = {CATALOGUE}")
    latest = (
        "SELECT fingerprint, source, taxa, quality, report -> 'files', report -> 'tables' -> 'photos' -> 'kept' "
        "FROM shroomcurate.load_ledger ORDER BY load_id DESC LIMIT 1"
    )
    fingerprint, source, taxa, quality, files, photos = connection.exec_driver_sql(latest).one()
    named = "SELECT name FROM taxa WHERE taxon_id = ANY (%s) AND active ORDER BY taxon_id"
    names = connection.exec_driver_sql(named, (taxa,)).scalars().all() if taxa else []
    roots = None if taxa is None else tuple(sorted(taxa))
    hashes = {Path(file["place"]).name: file["sha256"] for file in files or []}
    return Scope(fingerprint, source, roots, tuple(names), quality, dict(sorted(hashes.items())), photos)
