"""Select N photos per class from the catalogue.

Reads: the catalogue. Writes: ``selection.parquet``, ``selection.csv``. Resumes: it is one query; run it again.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue.server import CATALOGUE, connect, sql_file
from shroomcurate.dataset import Column, Dataset, Receipt, atomic_path, make_table, write_table
from shroomcurate.errors import BadOption, NothingMatches, StageMissing

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection

SCHEMA = (
    Column("photo_id", "int64", "iNaturalist photo id"),
    Column("photo_uuid", "string", "iNaturalist photo UUID"),
    Column("observation_uuid", "string", "the observation the photo belongs to (the smallest UUID if several)"),
    Column(
        "other_observations",
        "string",
        "further observations the photo stands in, UUIDs joined by a space; null for nearly all",
    ),
    Column("observer_id", "int64", "iNaturalist user id of the photographer"),
    Column("taxon_id", "int64", "the taxon the observation was identified as"),
    Column("taxon_name", "string", "its scientific name"),
    Column("class", "string", "the class: its folder name, such as Amanita_muscaria"),
    Column("class_name", "string", "the class as a name, such as Amanita muscaria"),
    Column("class_taxon_id", "int64", "the taxon that is the class"),
    Column("rank_in_class", "int32", "1 is the first; ranks above N are the reserve"),
    Column("role", "string", "wanted or reserve"),
    Column("extension", "string", "file end in the bucket, letter case as there"),
    Column("license", "string", "CC0, PD, CC-BY, CC-BY-SA, CC-BY-ND, CC-BY-NC, CC-BY-NC-SA or CC-BY-NC-ND"),
    Column("attribution", "string", "the line that must stand beside the photo"),
    Column("latitude", "double", "degrees north, may be obscured; null when unknown"),
    Column("longitude", "double", "degrees east, may be obscured; null when unknown"),
    Column("observed_on", "date32", "date of the observation; null when unknown"),
)

LICENSES = ("CC0", "PD", "CC-BY", "CC-BY-SA", "CC-BY-ND", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-NC-ND")

#: What a dataset under each profile may be used for; any photo still needs its attribution, CC0 and PD apart.
LICENSE_PROFILES = {
    "any": LICENSES,
    "commercial": ("CC0", "PD", "CC-BY", "CC-BY-SA"),
    "share": ("CC0", "PD", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-NC-SA"),
}
RANKS = ("species", "genus", "family")

#: More than any catalogue holds, and a sum of two is still a number for PostgreSQL.
_MOST = 1_000_000_000


@dataclass(frozen=True)
class QueryOptions:
    """What to select."""

    species: int = 445
    """Classes. The dataset this tool grew out of had 445 species."""
    per_class: int = 500
    reserve: int | None = None
    """Further photos of each class to fill holes with; None: half of per_class. Some 3 % of photos are gone or broken
    and cleaning takes 10 %, up to 40 % in a bad class."""
    rank: str = "species"
    licenses: str = "any"
    """A profile (any, commercial, share) or licences joined by commas."""
    min_per_class: int = 1
    max_per_observation: int | None = None
    max_per_observer: int | None = None
    seed: int = 0
    template: Path | None = None
    """A SELECT of the user's own, with the same parameters and columns as ``sql/select/balanced.sql``."""

    def __post_init__(self) -> None:
        for name, least in (("species", 1), ("per_class", 1), ("min_per_class", 1)):
            _within(name, getattr(self, name), least)
        for name, least in (("reserve", 0), ("max_per_observation", 1), ("max_per_observer", 1)):
            if getattr(self, name) is not None:
                _within(name, getattr(self, name), least)
        if self.rank not in RANKS:
            raise BadOption(f"--rank {self.rank!r} is not a rank to select by.", f"Use one of: {', '.join(RANKS)}")
        accepted_licenses(self.licenses)

    def parameters(self) -> dict[str, Any]:
        """Return the values of the SQL templates' parameters."""
        return {
            "rank": self.rank,
            "species": self.species,
            "per_class": self.per_class,
            "reserve": (self.per_class + 1) // 2 if self.reserve is None else self.reserve,
            "min_per_class": self.min_per_class,
            "max_per_observation": self.max_per_observation,
            "max_per_observer": self.max_per_observer,
            "licenses": accepted_licenses(self.licenses),
            "seed": str(self.seed),
        }


def _within(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadOption(f"--{name.replace('_', '-')} {value} is too small.", f"Give {least} or more.")
    if value > _MOST:
        raise BadOption(f"--{name.replace('_', '-')} {value} is too large.", f"Give {_MOST:,} at most.")


def accepted_licenses(text: str) -> list[str]:
    """Return the licences that a profile or a comma-separated list stands for, in the order of ``LICENSES``.

    Raises
    ------
    BadOption
        A name is neither a profile nor one of the eight licences.
    """
    if text in LICENSE_PROFILES:
        return list(LICENSE_PROFILES[text])
    names = {name.strip().upper() for name in text.split(",")}
    for name in sorted(names):
        if name not in LICENSES:
            raise BadOption(
                f"--licenses: {name!r} is not a licence of iNaturalist's open data.",
                f"Use a profile ({', '.join(LICENSE_PROFILES)}) or some of {', '.join(LICENSES)}, joined by commas.",
            )
    return [name for name in LICENSES if name in names]


@dataclass(frozen=True)
class ClassCount:
    """A class of the selection: its name and folder, photos wanted, photos in reserve."""

    name: str
    folder: str
    wanted: int
    reserve: int


@dataclass(frozen=True)
class QuerySummary:
    """What was selected. ``left_out`` counts photos of the whole catalogue by the reason they were not available."""

    classes: list[ClassCount]
    wanted: int
    reserve: int
    short: dict[str, int]
    """Folder -> photos missing to N, for classes that have fewer in all."""
    licenses: dict[str, int]
    photos_in_catalogue: int
    left_out: dict[str, int] = field(default_factory=dict)


def query(dataset: Dataset, options: QueryOptions = QueryOptions(), database_url: str | None = None) -> QuerySummary:
    """Select the photos and write ``selection.parquet`` and ``selection.csv``.

    Raises
    ------
    StageMissing
        Nothing has been loaded yet.
    NothingMatches
        No class fulfils the options.
    BadOption
        The template lacks a column, names an unknown parameter or is refused by PostgreSQL.
    """
    with dataset.lock("query"), connect(database_url, "query") as engine, engine.connect() as connection:
        fingerprint = _use_catalogue(connection)
        rows = _run(connection, _template(options), options.parameters())
        left_out = _run(connection, sql_file("check/left_out.sql"), options.parameters())[0]
        photos_in_catalogue = left_out.pop("photos")
        if not rows:
            raise _nothing(photos_in_catalogue, left_out)
        _check_columns(options, rows[0])
        folders = class_folders({row["class_taxon_id"]: row["class_name"] for row in rows})
        wanted = options.per_class
        for row in rows:
            row["class"] = folders[row["class_taxon_id"]]
            row["role"] = "wanted" if row["rank_in_class"] <= wanted else "reserve"
            row["photo_uuid"], row["observation_uuid"] = str(row["photo_uuid"]), str(row["observation_uuid"])
        sql = _text_of(_template(options))
        found = {"photos_in_catalogue": photos_in_catalogue, "left_out": left_out}
        receipt = Receipt("query", {**options.parameters(), **found, "catalogue": fingerprint, "sql": sql})
        _write(dataset, make_table(SCHEMA, rows), receipt)
    return _summary(rows, wanted, photos_in_catalogue, left_out)


def show_sql(options: QueryOptions) -> str:
    """Return what psql would run: the parameters as psql variables, then the template."""
    names = _parameters_of(_template(options))
    values = {name: options.parameters()[name] for name in names}
    lines = [f"SET search_path = {CATALOGUE};", *(f"\\set {name} {_psql(value)}" for name, value in values.items())]
    return "\n".join([*lines, "", _text_of(_template(options))])


def _psql(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        value = "{" + ",".join(value) + "}"
    if isinstance(value, int):
        return str(value)
    literal = "'" + str(value).replace("'", "''") + "'"
    return "'" + literal.replace("\\", "\\\\").replace("'", "''") + "'"


def _use_catalogue(connection: Connection) -> str:
    """Make the catalogue the schema of this transaction and return its fingerprint."""
    if connection.exec_driver_sql("SELECT to_regclass(%s)", (f"{CATALOGUE}.taxon_class",)).scalar() is None:
        raise StageMissing(
            "The catalogue is empty: no dump has been loaded into this database.",
            "Type this first: shroomcurate load-csvs FOLDER_WITH_THE_DUMP",
        )
    # One snapshot for all statements, taken while load-csvs cannot swap: it locks the ledger first of all, too.
    # LOCK and SET take no snapshot yet.
    connection.rollback()
    connection.execution_options(isolation_level="REPEATABLE READ")
    connection.exec_driver_sql("LOCK TABLE shroomcurate.load_ledger IN ACCESS SHARE MODE")
    connection.exec_driver_sql(f"SET LOCAL search_path = {CATALOGUE}")
    latest = "SELECT fingerprint FROM shroomcurate.load_ledger ORDER BY load_id DESC LIMIT 1"
    return str(connection.exec_driver_sql(latest).scalar_one())


def _template(options: QueryOptions) -> Path:
    if options.template is None:
        return sql_file("select/balanced.sql")
    if not options.template.is_file():
        raise BadOption(f"--template: there is no file {options.template}.", "Name a file with one SELECT in it.")
    return options.template


def _parameters_of(template: Path) -> list[str]:
    """Return the names of the parameters that a template's statement uses."""
    names = re.findall(r"(?<![:\w]):(\w+)", _statement(template))
    known = QueryOptions().parameters()
    for name in names:
        if name not in known:
            raise BadOption(f"{template}: there is no parameter :{name}.", f"Use some of: {', '.join(known)}")
    return sorted(set(names))


def _statement(template: Path) -> str:
    # Comments name the parameters too, and must not count as uses of them.
    return re.sub(r"--.*", "", _text_of(template)).strip().rstrip(";")


def _text_of(template: Path) -> str:
    try:
        return template.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadOption(f"{template} is not UTF-8 text: {error}", "Name a file with one SELECT in it.") from error


def _run(connection: Connection, template: Path, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    import psycopg
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError, OperationalError, ResourceClosedError

    values = {name: parameters[name] for name in _parameters_of(template)}
    try:
        return [dict(row) for row in connection.execute(text(_statement(template)), values).mappings()]
    except ResourceClosedError as error:
        raise BadOption(
            f"{template} is not a SELECT: it gives no rows.", "Name a file with one SELECT in it."
        ) from error
    except DBAPIError as error:
        # The server's troubles are not the template's.
        if isinstance(error, OperationalError) or isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        raise BadOption(
            f"{template}: PostgreSQL refuses it: {str(error.orig).splitlines()[0]}",
            "Try it by hand: shroomcurate query --show-sql, with psql.",
        ) from error


def _check_columns(options: QueryOptions, row: dict[str, Any]) -> None:
    needed = [column.name for column in SCHEMA if column.name not in ("class", "role", "other_observations")]
    missing = [name for name in needed if name not in row]
    if missing:
        raise BadOption(
            f"{options.template}: the SELECT gives no column {', '.join(missing)}.",
            f"It must give: {', '.join(needed)}.",
        )


def class_folders(names: dict[int, str]) -> dict[int, str]:
    """Return a folder name for each class: taxon id -> name.

    Letters of any script, digits, dots and hyphens stay; anything else becomes ``_``. Names that come out equal, also
    on a file system that ignores case, get their taxon id behind them, so that two classes never share a folder.
    """
    plain = {taxon_id: re.sub(r"[^\w.-]+", "_", name or "").strip("._-") or "class" for taxon_id, name in names.items()}
    while True:  # a name with an id behind it may be another class's plain name; ids differ, so this ends
        counts = Counter(folder.casefold() for folder in plain.values())
        if max(counts.values(), default=1) == 1:
            return plain
        plain = {
            taxon_id: folder if counts[folder.casefold()] == 1 else f"{folder}_{taxon_id}"
            for taxon_id, folder in plain.items()
        }


def _nothing(photos: int, left_out: dict[str, int]) -> NothingMatches:
    reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items() if count)
    return NothingMatches(
        f"No class fulfils the options. The catalogue has {photos:,} photos; left out: {reasons or 'none'}.",
        "Loosen --licenses, --min-per-class or --rank, or load more: shroomcurate load-csvs --taxon … --quality any",
    )


def _write(dataset: Dataset, table: pa.Table, receipt: Receipt) -> None:
    import pyarrow.csv as pa_csv

    with atomic_path(dataset.path("selection.csv")) as partial:
        pa_csv.write_csv(table, partial, pa_csv.WriteOptions(quoting_style="needed"))
    write_table(dataset.path("selection.parquet"), table, receipt)


def _summary(
    rows: list[dict[str, Any]], per_class: int, photos_in_catalogue: int, left_out: dict[str, int]
) -> QuerySummary:
    classes: dict[str, list[dict[str, Any]]] = {}
    licenses: dict[str, int] = {}
    for row in rows:
        classes.setdefault(row["class"], []).append(row)
        licenses[row["license"]] = licenses.get(row["license"], 0) + 1
    counts = [
        ClassCount(members[0]["class_name"], folder, min(len(members), per_class), max(len(members) - per_class, 0))
        for folder, members in classes.items()
    ]
    return QuerySummary(
        classes=counts,
        wanted=sum(count.wanted for count in counts),
        reserve=sum(count.reserve for count in counts),
        short={count.folder: per_class - count.wanted for count in counts if count.wanted < per_class},
        licenses=dict(sorted(licenses.items())),
        photos_in_catalogue=photos_in_catalogue,
        left_out=left_out,
    )
