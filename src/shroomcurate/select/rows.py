"""From the server to the selection's table: rows by COPY, folders, roles."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Column
from shroomcurate.errors import BadOption
from shroomcurate.select.templates import Template

if TYPE_CHECKING:
    import numpy as np
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
_OPTIONAL = ("other_observations",)
#: Without these a photo cannot be fetched into its class.
_NEVER_NULL = ("photo_id", "class_name", "class_taxon_id", "rank_in_class", "extension")

_NO_SELECT = "Name a file with one SELECT in it. Try it by hand: shroomcurate query --show-sql, with psql."


def execute(driver: Any, template: Template, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a bundled file with its values; return its rows, if it gives any."""
    import psycopg

    cursor = psycopg.ClientCursor(driver)
    cursor.execute(template.bound(), {name: values[name] for name in template.used()})
    return cursor.fetchall() if cursor.description else []


def selected_rows(driver: Any, template: Template, values: Mapping[str, Any]) -> pa.Table:
    """Run a template and return its rows, a column each of :data:`SCHEMA`, without class and role.

    COPY and Arrow's reader take a third of the time of fetching rows one by one. A thread reads one piece while the
    next one comes.

    Raises
    ------
    BadOption
        PostgreSQL refuses the template, or it lacks a column or gives what cannot be one.
    """
    import psycopg
    import pyarrow as pa

    cursor = psycopg.ClientCursor(driver)
    try:
        statement = cursor.mogrify(template.bound(), {name: values[name] for name in template.used()} or None)
        select = statement.encode(driver.info.encoding)
        names = _prepare(driver, select)
        with ThreadPoolExecutor(1) as reader, cursor.copy(b"COPY (\n%b\n) TO STDOUT (FORMAT csv)" % select) as copy:
            parts = [reader.submit(_read, piece, names) for piece in _pieces(copy)]
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
        raise  # the server's troubles are not the template's
    except psycopg.Error as error:
        raise BadOption(f"{template.path}: PostgreSQL refuses it: {str(error).splitlines()[0]}", _NO_SELECT) from error
    _require_columns(template, names)
    try:
        table = pa.concat_tables([part.result() for part in parts]) if parts else _schema(made_here=False).empty_table()
    except pa.ArrowInvalid as error:
        raise BadOption(f"{template.path}: the SELECT gives a value that is not one: {error}", _NO_SELECT) from error
    _check(template, table)
    return table


def _prepare(driver: Any, select: bytes) -> list[str]:
    """Have PostgreSQL parse a template alone, as one statement, before it is put in brackets; return its columns.

    A text such as ``SELECT 1) TO STDOUT; COMMIT; DROP …; COPY (SELECT 1`` is sound only in COPY's brackets, where it
    would end the transaction that keeps a template from changing anything.
    """
    import psycopg

    result = driver.pgconn.prepare(b"", select)
    if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
        result = driver.pgconn.describe_prepared(b"")
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result, driver.info.encoding)
    return [result.fname(place).decode(driver.info.encoding) for place in range(result.nfields)]


def _require_columns(template: Template, names: Sequence[str]) -> None:
    wanted = [column.name for column in SCHEMA if column.name not in (*_MADE_HERE, *_OPTIONAL)]
    if missing := [name for name in wanted if name not in names]:
        raise BadOption(
            f"{template.path}: the SELECT gives no column {', '.join(missing)}.",
            f"It must give: {', '.join(wanted)}.",
        )


def _pieces(rows: Iterable[Any]) -> Iterator[bytes]:
    """Join rows to pieces of some 2 MB: small enough that each lies in memory that an earlier one has used.

    The system takes longer to give new memory than the rows take to be read.
    """
    each = iter(rows)
    while piece := b"".join(islice(each, 8000)):
        yield piece


def _schema(*, made_here: bool) -> pa.Schema:
    """Return Arrow's schema of the selection, with or without the columns that no template gives."""
    import pyarrow as pa

    columns = [column for column in SCHEMA if made_here or column.name not in _MADE_HERE]
    return pa.schema([(column.name, pa.type_for_alias(column.type)) for column in columns])


def _read(piece: bytes, names: list[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    schema = _schema(made_here=False)
    return pa_csv.read_csv(
        pa.BufferReader(piece),
        read_options=pa_csv.ReadOptions(column_names=names, block_size=len(piece) + 1, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=schema,
            include_columns=schema.names,
            include_missing_columns=True,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _check(template: Template, table: pa.Table) -> None:
    import numpy as np

    for name in _NEVER_NULL:
        if table[name].null_count:
            raise BadOption(f"{template.path}: the SELECT gives rows without {name}.", "Leave such rows out.")
    photos = np.sort(_numbers(table["photo_id"]))
    if (photos[1:] == photos[:-1]).any():
        raise BadOption(
            f"{template.path}: the SELECT gives a photo twice.",
            "A photo of several observations has several rows in claim: write SELECT DISTINCT ON (photo_id), or "
            "select from judged (-- include: judged.sql), which holds each photo once.",
        )


def in_order(table: pa.Table, available: Mapping[int, int]) -> pa.Table:
    """Return the rows by class, the one with most available photos first, and by rank: sooner done here than by SQL.

    Parameters
    ----------
    table
        As :func:`selected_rows` gives it, in any order.
    available
        Id of a class -> photos that it has, in the selection or not.
    """
    import numpy as np
    import pyarrow.compute as pc

    classes = sorted(pc.unique(table["class_taxon_id"]).to_pylist())
    best_first = sorted(classes, key=lambda class_id: -available.get(class_id, 0))
    place = np.argsort(np.searchsorted(classes, best_first))
    of_row = place[np.searchsorted(classes, _numbers(table["class_taxon_id"]))]
    order = np.lexsort((_numbers(table["photo_id"]), _numbers(table["rank_in_class"]), of_row))
    return table.take(_integers(order))


def with_classes(table: pa.Table, per_class: int) -> pa.Table:
    """Return the whole of :data:`SCHEMA`: the rows, in order, with their class folders and roles."""
    import numpy as np
    import pyarrow as pa

    classes = per_class_rows(table)
    folders = class_folders({row["class_taxon_id"]: row["class_name"] for row, _ in classes})
    place = np.repeat(np.arange(len(classes)), [photos for _, photos in classes])
    made = {
        "class": _texts(list(folders.values())).take(_integers(place)),
        "role": _texts(["wanted", "reserve"]).take(_integers(_numbers(table["rank_in_class"]) > per_class)),
    }
    schema = _schema(made_here=True)
    return pa.table([made[name] if name in made else table[name] for name in schema.names], schema=schema)


# Between numpy, Python and Arrow without pa.array, pa.scalar and to_numpy, which load pandas: a quarter of a second.


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers without nulls."""
    import numpy as np

    return np.from_dlpack(column.combine_chunks())


def _integers(values: np.ndarray) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])


def _texts(values: list[str]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    each = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, each)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(each), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(each))])


def per_class_rows(table: pa.Table) -> list[tuple[dict[str, Any], int]]:
    """Return a row of each class and how many it has; the rows are in order."""
    import numpy as np

    classes = _numbers(table["class_taxon_id"])
    ends = np.flatnonzero(np.append(classes[1:] != classes[:-1], True))
    return list(zip(table.take(_integers(ends)).to_pylist(), np.diff(ends, prepend=-1).tolist(), strict=True))


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
