"""From the server to the selection's table: rows, in order, with names, attribution, folders and roles."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Column, arrow_schema
from shroomcurate.errors import BadOption
from shroomcurate.select.columns import fetched, integers, numbers, prepared, texts
from shroomcurate.select.credit import with_names
from shroomcurate.select.templates import Template, statement

if TYPE_CHECKING:
    import pyarrow as pa

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

#: Made here, not by the template; and what a template may leave away.
_MADE_HERE = ("class", "role")
_OPTIONAL = ("other_observations", "taxon_name", "class_name", "attribution")
#: Without these a photo cannot be fetched into its class.
_NEVER_NULL = ("photo_id", "class_name", "class_taxon_id", "rank_in_class", "extension")

_NO_SELECT = "Name a file with one SELECT in it. Try it by hand: shroomcurate query --show-sql, with psql."


def execute(driver: Any, template: Template, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a bundled file with its values; return its rows, if it gives any."""
    cursor = driver.execute(statement(driver, template, values))
    return cursor.fetchall() if cursor.description else []


def selected_rows(driver: Any, template: Template, values: Mapping[str, Any], available: Mapping[int, int]) -> pa.Table:
    """Run a template and return its rows, in order, a column each of :data:`SCHEMA` but class and role.

    The class with most available photos comes first; in a class the ranks decide.

    Parameters
    ----------
    available
        Id of a class -> photos that it has, in the selection or not.

    Raises
    ------
    BadOption
        PostgreSQL refuses the template, or it lacks a column or gives what cannot be one.
    """
    import psycopg

    types = {column.name: column.type for column in SCHEMA if column.name not in _MADE_HERE}
    try:
        select = statement(driver, template, values)
        ids = prepared(driver, select)
        _require_columns(template, ids)
        given = {name: types[name] for name in types if name in ids}
        table = fetched(driver, select, ids, given, "class_taxon_id", available)
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
        raise  # the server's troubles are not the template's
    except psycopg.Error as error:
        raise BadOption(f"{template.path}: PostgreSQL refuses it: {str(error).splitlines()[0]}", _NO_SELECT) from error
    table = with_names(driver, table)
    _check(template, table)
    return in_order(table)


def _require_columns(template: Template, names: Iterable[str]) -> None:
    wanted = [column.name for column in SCHEMA if column.name not in (*_MADE_HERE, *_OPTIONAL)]
    if missing := [name for name in wanted if name not in names]:
        raise BadOption(
            f"{template.path}: the SELECT gives no column {', '.join(missing)}.",
            f"It must give: {', '.join(wanted)}.",
        )


def _check(template: Template, table: pa.Table) -> None:
    import numpy as np

    for name in _NEVER_NULL:
        if table[name].null_count:
            raise BadOption(f"{template.path}: the SELECT gives rows without {name}.", "Leave such rows out.")
    photos = np.sort(numbers(table["photo_id"]))
    if (photos[1:] == photos[:-1]).any():
        raise BadOption(
            f"{template.path}: the SELECT gives a photo twice.",
            "A photo of several observations has several rows in claim: write SELECT DISTINCT ON (photo_id), or "
            "select from judged (-- include: judged.sql), which holds each photo once.",
        )


def in_order(table: pa.Table) -> pa.Table:
    """Return the rows of each class by rank, should a template not give them so. Rows of a class stand together."""
    import numpy as np

    classes, ranks = numbers(table["class_taxon_id"]), numbers(table["rank_in_class"])
    starts = np.append(True, classes[1:] != classes[:-1])
    if (starts[1:] | (ranks[1:] > ranks[:-1])).all():
        return table
    order = np.lexsort((numbers(table["photo_id"]), ranks, np.cumsum(starts)))
    return table.take(integers(order))


def with_classes(table: pa.Table, per_class: int) -> pa.Table:
    """Return the whole of :data:`SCHEMA`: the rows, in order, with their class folders and roles."""
    import numpy as np
    import pyarrow as pa

    classes = per_class_rows(table)
    folders = class_folders({row["class_taxon_id"]: row["class_name"] for row, _ in classes})
    place = np.repeat(np.arange(len(classes)), [photos for _, photos in classes])
    made = {
        "class": texts(list(folders.values())).take(integers(place)),
        "role": texts(["wanted", "reserve"]).take(integers(numbers(table["rank_in_class"]) > per_class)),
    }
    made["other_observations"] = (
        table["other_observations"] if "other_observations" in table.schema.names else pa.nulls(len(place), pa.string())
    )
    columns = {column.name: made[column.name] if column.name in made else table[column.name] for column in SCHEMA}
    return pa.table(columns, schema=arrow_schema(SCHEMA))


def per_class_rows(table: pa.Table) -> list[tuple[dict[str, Any], int]]:
    """Return a row of each class and how many it has; the rows are in order."""
    import numpy as np

    classes = numbers(table["class_taxon_id"])
    ends = np.flatnonzero(np.append(classes[1:] != classes[:-1], True))
    return list(zip(table.take(integers(ends)).to_pylist(), np.diff(ends, prepend=-1).tolist(), strict=True))


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
