"""Select N photos per class from the catalogue.

Reads: the catalogue. Writes: ``selection.parquet``, ``selection.csv``. Resumes: it is one query; run it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue.pace import paced
from shroomcurate.catalogue.server import CATALOGUE, connect, sql_file
from shroomcurate.dataset import Dataset, Receipt, atomic_path, write_table
from shroomcurate.errors import BadOption, NothingMatches
from shroomcurate.licences import LICENSE_PROFILES, LICENSES, accepted_licenses
from shroomcurate.progress import Progress, silent
from shroomcurate.select.asked import asked
from shroomcurate.select.excluded import excluded_photos
from shroomcurate.select.licenses import LicensesNow, licenses_now
from shroomcurate.select.names import branches, listed_classes
from shroomcurate.select.options import PARAMETERS_OF, QueryOptions, box, day
from shroomcurate.select.rows import (
    SCHEMA,
    class_folders,
    execute,
    per_class_rows,
    selected_rows,
    with_classes,
)
from shroomcurate.select.scope import Scope, read_scope
from shroomcurate.select.templates import (
    Parameter,
    Template,
    bundled,
    chosen_template,
    psql_variables,
    read_template,
)
from shroomcurate.summary import Summary

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from sqlalchemy import Connection

__all__ = [
    "LICENSES",
    "LICENSE_PROFILES",
    "REASONS",
    "SCHEMA",
    "ClassCount",
    "LicensesNow",
    "Parameter",
    "QueryOptions",
    "QuerySummary",
    "Template",
    "accepted_licenses",
    "asked",
    "class_folders",
    "licenses_now",
    "list_templates",
    "query",
    "show_sql",
    "write_selection",
]

#: Why a photo is not in the selection, in the order in which the reasons are asked, and what changes it. Each photo
#: counts once, for the first reason that holds; ``sql/select/parts/judged.sql`` and ``sql/check/left_out.sql`` say so.
REASONS = {
    "other_quality_grade": "give another --quality",
    "no_class_at_this_rank": "give a higher --rank",
    "on_two_classes": "give a higher --rank",
    "also_in_an_observation_outside_the_catalogue": "load more: shroomcurate load-csvs --quality any",
    "outside_the_taxon": "give another --taxon",
    "other_license": "loosen --licenses",
    "without_a_file_extension": "load a newer dump",
    "without_coordinates": "leave --region away",
    "outside_the_region": "widen --region",
    "without_a_date": "leave --since and --until away",
    "outside_the_dates": "widen --since and --until",
    "excluded": "leave --exclude away",
    "of_an_excluded_observation": "leave --exclude away",
    "over_max_per_observation": "raise --max-per-observation",
    "over_max_per_observer": "raise --max-per-observer",
    "class_not_in_the_list": "add to the --names file",
    "class_too_small": "lower --min-per-class",
    "class_not_among_the_best": "raise --species",
    "more_than_needed": "raise --per-class",
    "not_selected_by_the_template": "change the template",
}

#: Dates and degrees come as they were read, whatever the server's settings. Sorts stay in memory (three of them at
#: most); compiling a plan costs more than it saves; and how many rows are left of a CASE is beyond the planner, which
#: would take nested loops over hundreds of thousands of rows. Claims lie in the system's memory, or the system reads
#: them ahead; PostgreSQL 18's own readers, asked for each piece, cost more.
_SETTINGS = (
    "SET LOCAL work_mem = '256MB'; SET LOCAL jit = off; SET LOCAL datestyle = 'ISO'; SET LOCAL extra_float_digits = 1; "
    "SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL effective_io_concurrency = 0;"
)


@dataclass(frozen=True)
class ClassCount:
    """A class of the selection: its name and folder, photos wanted, photos in reserve."""

    name: str
    folder: str
    wanted: int
    reserve: int


@dataclass(frozen=True)
class QuerySummary(Summary):
    """What was selected. ``left_out`` counts the other photos of the catalogue, each once, by :data:`REASONS`."""

    classes: list[ClassCount]
    wanted: int
    reserve: int
    short: dict[str, int]
    """Folder -> photos missing to N, for classes that have fewer in all."""
    without_photos: list[str]
    """Classes of the list that have no available photo, or fewer than ``min_per_class``."""
    licenses: dict[str, int]
    photos_in_catalogue: int
    left_out: dict[str, int] = field(default_factory=dict)
    excluded_ids: int = 0
    excluded_found: int = 0
    """How many ids ``exclude`` names, and how many of them the catalogue holds, selected otherwise or not."""


@dataclass(frozen=True)
class _Request:
    """A query's options with their files read and their taxa found."""

    template: Template
    values: dict[str, Any]
    listed: dict[int, str]


def query(
    dataset: Dataset,
    options: QueryOptions = QueryOptions(),
    database_url: str | None = None,
    progress: Progress = silent,
) -> QuerySummary:
    """Select the photos and write ``selection.parquet`` and ``selection.csv``.

    Raises
    ------
    StageMissing
        Nothing has been loaded yet, or not what is asked for; the hint is the command that loads it.
    NothingMatches
        No photo fulfils the options, or a taxon is unknown.
    BadOption
        A file is not what it should be, the template does not heed an option, or PostgreSQL refuses it.
    """
    template = _template(options)
    Thread(target=_read_libraries, daemon=True).start()
    with dataset.lock("query"), connect(database_url, "query") as engine, engine.connect() as connection:
        scope = read_scope(connection)
        request = _request(connection, scope, options, template)
        driver: Any = connection.connection.driver_connection
        connection.exec_driver_sql(_SETTINGS)
        with paced(progress, "select photos", database_url, scope.photos):
            execute(driver, _tally(), request.values)
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")  # a template of the user's own changes nothing
            available = _available(driver)
            rows = selected_rows(driver, template, request.values, available)
            left_out, photos = _left_out(driver, request, rows)
            excluded = _held(connection, request.values["exclude"])
    if not rows.num_rows:
        raise _nothing(photos, left_out)
    table = with_classes(rows, options.per_class)
    found = {"photos_in_catalogue": photos, "left_out": left_out}
    told = {
        "asked": asked(options),
        "available": {row["class"]: available.get(row["class_taxon_id"], 0) for row, _ in per_class_rows(table)},
        "catalogue": scope.fingerprint,
        "dump": dict(scope.files),
        "sql": template.text,
    }
    receipt = Receipt("query", {**_recorded(request), **found, **told})
    with dataset.lock("query"):
        write_selection(dataset, table, receipt)
    return replace(
        _summary(table, options, request, found),
        excluded_ids=len(request.values["exclude"] or ()),
        excluded_found=excluded,
    )


def _read_libraries() -> None:
    """Have what reads and writes rows at hand when the server has them."""
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401


def show_sql(options: QueryOptions, database_url: str | None = None) -> str:
    """Return what psql would run: the parameters as psql variables, the tally, then the template.

    Names and taxa are looked up in the catalogue; without them no database is needed.
    """
    template = _template(options)
    if options.names or options.taxa:
        with connect(database_url, "query") as engine, engine.connect() as connection:
            values = _request(connection, read_scope(connection), options, template).values
    else:
        values = _values(options)
    tally, template = _tally().asked(values), template.asked(values)
    variables = dict.fromkeys([*psql_variables(tally, values), *psql_variables(template, values)])
    return "\n".join(
        [
            "BEGIN ISOLATION LEVEL REPEATABLE READ;",
            f"SET LOCAL search_path = {CATALOGUE};",
            _SETTINGS,
            *sorted(variables),
            "",
            tally.text.rstrip(),
            "",
            f"{template.statement}\n;",
            "COMMIT;",
        ]
    )


def list_templates() -> list[Template]:
    """Return the bundled templates, by name, with their descriptions and typed parameters."""
    return bundled()


def _template(options: QueryOptions) -> Template:
    """Return the template of the options. It must heed them all: who asks for a licence gets no other one."""
    template = chosen_template(options.template, names=options.names is not None)
    used = template.used()
    for name, parameters in PARAMETERS_OF.items():
        missing = [f":{parameter}" for parameter in parameters if parameter not in used]
        if missing and getattr(options, name) != getattr(QueryOptions, name):
            option = "--taxon" if name == "taxa" else f"--{name.replace('_', '-')}"
            raise BadOption(
                f"{option} would be ignored: {template.path} does not use {', '.join(missing)}.",
                f"Leave {option} away, or use {', '.join(missing)} in the template.",
            )
    return template


def _tally() -> Template:
    return read_template(sql_file("select/parts/tally.sql"))


def _request(connection: Connection, scope: Scope, options: QueryOptions, template: Template) -> _Request:
    scope.require_quality(options.quality)
    listed = listed_classes(connection, scope, options.names, options.rank) if options.names else {}
    values = _values(options)
    values["taxa"] = branches(connection, scope, options.taxa)
    values["classes"] = sorted(listed) or None
    return _Request(template, values, listed)


def _values(options: QueryOptions) -> dict[str, Any]:
    """Return the value of each parameter that needs no catalogue."""
    west, south, east, north = box(options.region) or (None, None, None, None)
    return {
        "rank": options.rank,
        "species": options.species,
        "classes": None,
        "per_class": options.per_class,
        "reserve": (options.per_class + 1) // 2 if options.reserve is None else options.reserve,
        "min_per_class": options.min_per_class,
        "max_per_observation": options.max_per_observation,
        "max_per_observer": options.max_per_observer,
        "taxa": None,
        "quality": options.quality,
        "licenses": accepted_licenses(options.licenses),
        "exclude": excluded_photos(options.exclude),
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "since": day("--since", options.since),
        "until": day("--until", options.until, last=True),
        "seed": str(options.seed),
    }


def _recorded(request: _Request) -> dict[str, Any]:
    """Return the values used, for the receipt; of a quarter of a million excluded ids, their number and hash."""
    import hashlib

    values = {name: request.values[name] for name in request.values if name in ("per_class", *request.template.used())}
    if (ids := values.get("exclude")) is not None:
        digest = hashlib.sha256("\n".join(map(str, ids)).encode()).hexdigest()
        values["exclude"] = {"photos": len(ids), "sha256": digest}
    return values


def _left_out(driver: Any, request: _Request, rows: pa.Table) -> tuple[dict[str, int], int]:
    """Return how many photos are not in the selection by reason, and how many there are."""
    import pyarrow.compute as pc

    template = read_template(sql_file("check/left_out.sql"))
    chosen = pc.unique(rows["class_taxon_id"]).to_pylist()
    counts = {row[0]: int(row[1]) for row in execute(driver, template, {**request.values, "chosen": chosen})}
    photos = sum(counts.values())
    if request.template.path.parent != sql_file("select/balanced.sql").parent:
        # What a template of the user's own asks for is not ours to tell.
        counts = {"not_selected_by_the_template": photos - rows.num_rows}
    elif None in counts:
        counts["more_than_needed"] = counts.pop(None) - rows.num_rows
    return {reason: counts.get(reason, 0) for reason in REASONS if reason in counts}, photos


def _available(driver: Any) -> dict[int, int]:
    """Return how many photos each class has that are available: taxon id -> photos."""
    return dict(driver.execute("SELECT class_taxon_id, photos FROM tally WHERE reason IS NULL").fetchall())


def _held(connection: Connection, ids: list[int] | None) -> int:
    """Return how many of the photo ids the catalogue holds."""
    # Of photo_id's own type, for which PostgreSQL hashes the list instead of going through it for each photo.
    held = "SELECT count(DISTINCT photo_id) FROM photos WHERE photo_id = ANY (CAST(%s AS bigint[]))"
    return int(connection.exec_driver_sql(held, (ids,)).scalar_one()) if ids else 0


def _nothing(photos: int, left_out: Mapping[str, int]) -> NothingMatches:
    """Return the error of an empty selection: the filter behind which nothing was left."""
    reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items() if count)
    last = [reason for reason, count in left_out.items() if count][-1:]
    what = f"No class fulfils the options. The catalogue has {photos:,} photos; left out: {reasons or 'none'}."
    if not last:
        return NothingMatches(what, "Load a dump first: shroomcurate load-csvs FOLDER_WITH_THE_DUMP")
    return NothingMatches(f"{what} The last ones: {last[0].replace('_', ' ')}.", f"To have those, {REASONS[last[0]]}.")


def write_selection(dataset: Dataset, table: pa.Table, receipt: Receipt) -> None:
    """Write both files at once, and wait for the disk at once. Hold the dataset's lock."""
    with ThreadPoolExecutor(1) as thread:
        text = thread.submit(_write_csv, dataset.path("selection.csv"), table)
        write_table(dataset.path("selection.parquet"), table, receipt)
        text.result()


def _write_csv(target: Path, table: pa.Table) -> None:
    import pyarrow.csv as pa_csv

    with atomic_path(target) as partial:
        pa_csv.write_csv(table, partial, pa_csv.WriteOptions(quoting_style="needed"))


def _summary(table: pa.Table, options: QueryOptions, request: _Request, found: Mapping[str, Any]) -> QuerySummary:
    per_class = options.per_class
    classes = per_class_rows(table)
    counts = [
        ClassCount(row["class_name"], row["class"], min(photos, per_class), max(photos - per_class, 0))
        for row, photos in classes
    ]
    licenses = {row["values"]: row["counts"] for row in table["license"].value_counts().to_pylist()}
    chosen = {row["class_taxon_id"] for row, _ in classes}
    return QuerySummary(
        classes=counts,
        wanted=sum(count.wanted for count in counts),
        reserve=sum(count.reserve for count in counts),
        short={count.folder: per_class - count.wanted for count in counts if count.wanted < per_class},
        without_photos=sorted(name for taxon_id, name in request.listed.items() if taxon_id not in chosen),
        licenses=dict(sorted(licenses.items())),
        photos_in_catalogue=found["photos_in_catalogue"],
        left_out=found["left_out"],
    )
