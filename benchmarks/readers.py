"""Ways to read a dump, to unpack gzip and to hash, each run alone in a process of its own.

Run: ``python -m benchmarks.readers KIND NAME FOLDER`` prints the seconds behind the imports and what was read as
JSON. ``benchmarks/load.py`` runs all of them. Those whose package or program is missing print that and end with 3.

A reader of kind ``filter`` does what a load must do before it can write: of the fungi's research-grade observations
and of their photos every column in memory, and every row of the four tables parsed. One of kind ``count`` only counts
all rows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

TABLES = ("taxa", "observations", "photos", "observers")
ROOTS = ("47169", "48250")
MISSING = 3
_PIECE = 1 << 20

#: What each column is to a reader with types.
TYPES = {
    "taxa": {
        "taxon_id": "BIGINT",
        "ancestry": "VARCHAR",
        "rank_level": "DOUBLE",
        "rank": "VARCHAR",
        "name": "VARCHAR",
        "active": "VARCHAR",
    },
    "observations": {
        "observation_uuid": "VARCHAR",
        "observer_id": "BIGINT",
        "latitude": "DOUBLE",
        "longitude": "DOUBLE",
        "positional_accuracy": "BIGINT",
        "taxon_id": "BIGINT",
        "quality_grade": "VARCHAR",
        "observed_on": "VARCHAR",
        "anomaly_score": "DOUBLE",
    },
    "photos": {
        "photo_uuid": "VARCHAR",
        "photo_id": "BIGINT",
        "observation_uuid": "VARCHAR",
        "observer_id": "BIGINT",
        "extension": "VARCHAR",
        "license": "VARCHAR",
        "width": "BIGINT",
        "height": "BIGINT",
        "position": "BIGINT",
    },
    "observers": {"observer_id": "BIGINT", "login": "VARCHAR", "name": "VARCHAR"},
}

Rows = dict[str, int]


def table_path(folder: Path, table: str) -> Path:
    """Return the table's file, plain or packed."""
    packed = folder / f"{table}.csv.gz"
    return packed if packed.exists() else folder / f"{table}.csv"


# -- readers -------------------------------------------------------------------------------------------------------


def ours(folder: Path) -> Callable[[], Rows]:
    """Prepare what `load-csvs` reads with: every row split into fields and checked, every file hashed."""
    from shroomcurate.catalogue.dumps import read_blocks
    from shroomcurate.catalogue.sources import find_dump, open_tables

    def read() -> Rows:
        tables = open_tables(find_dump([folder]))
        return {table.table: sum(read_blocks(table, lambda block: block.rows)) for table in tables}

    return read


def _duckdb_source(folder: Path, table: str) -> str:
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES[table].items())
    return (
        f"read_csv('{table_path(folder, table)}', delim='\t', quote='', escape='', header=true, auto_detect=false, "
        f"new_line='\\n', columns={{{columns}}})"
    )


def duckdb_count(folder: Path) -> Callable[[], Rows]:
    """Prepare to count every table's rows with DuckDB."""
    import duckdb

    def read() -> Rows:
        with duckdb.connect() as database:
            return {
                table: database.execute(f"SELECT count(*) FROM {_duckdb_source(folder, table)}").fetchall()[0][0]
                for table in TABLES
            }

    return read


def duckdb_filter(folder: Path) -> Callable[[], Rows]:
    """Prepare to filter with DuckDB, the conditions pushed into its scan."""
    import duckdb

    def read() -> Rows:
        with duckdb.connect() as database:
            database.execute("SET preserve_insertion_order = false")  # a third of its time
            source = {table: _duckdb_source(folder, table) for table in TABLES}
            database.execute(f"CREATE TEMP TABLE taxa AS FROM {source['taxa']}")
            database.execute(
                f"CREATE TEMP TABLE observations AS SELECT * FROM {source['observations']} "
                "WHERE quality_grade = 'research' AND taxon_id IN (SELECT taxon_id FROM taxa "
                f"WHERE regexp_matches('/' || ancestry || '/' || taxon_id || '/', '/({'|'.join(ROOTS)})/'))"
            )
            database.execute(
                f"CREATE TEMP TABLE photos AS SELECT * FROM {source['photos']} "
                "WHERE observation_uuid IN (SELECT observation_uuid FROM observations)"
            )
            database.execute(f"CREATE TEMP TABLE observers AS FROM {source['observers']}")
            return {table: database.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in TABLES}

    return read


def polars_filter(folder: Path) -> Callable[[], Rows]:
    """Prepare to filter with Polars' streaming engine."""
    import polars as pl

    kinds = {"BIGINT": pl.Int64, "DOUBLE": pl.Float64, "VARCHAR": pl.String}

    def scan(table: str) -> Any:
        schema = {name: kinds[kind] for name, kind in TYPES[table].items()}
        return pl.scan_csv(table_path(folder, table), separator="\t", quote_char=None, schema=schema)

    def read() -> Rows:
        taxa = scan("taxa").collect(engine="streaming")
        line = pl.concat_str([pl.lit("/"), pl.col("ancestry"), pl.lit("/"), pl.col("taxon_id"), pl.lit("/")])
        kept = taxa.filter(line.str.contains(f"/({'|'.join(ROOTS)})/")).select("taxon_id").lazy()
        wanted = scan("observations").filter(pl.col("quality_grade") == "research")
        observations = wanted.join(kept, on="taxon_id", how="semi").collect(engine="streaming")
        uuids = observations.select("observation_uuid").lazy()
        photos = scan("photos").join(uuids, on="observation_uuid", how="semi").collect(engine="streaming")
        observers = scan("observers").collect(engine="streaming")
        return dict(zip(TABLES, (taxa.height, observations.height, photos.height, observers.height), strict=True))

    return read


def _arrow_stream(path: Path, columns: dict[str, str], unpack: Callable[[Path], IO[bytes]] | None) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    types = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "VARCHAR": pa.string()}
    return pa_csv.open_csv(
        pa.PythonFile(unpack(path), "r") if unpack and path.suffix == ".gz" else pa.input_stream(str(path)),
        read_options=pa_csv.ReadOptions(block_size=8 << 20),
        parse_options=pa_csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: types[kind] for name, kind in columns.items()}, include_columns=list(columns)
        ),
    )


def arrow_count(folder: Path) -> Callable[[], Rows]:
    """Prepare to read every table with Arrow's streaming reader."""
    import pyarrow.csv  # noqa: F401

    def read() -> Rows:
        return {
            table: sum(batch.num_rows for batch in _arrow_stream(table_path(folder, table), TYPES[table], None))
            for table in TABLES
        }

    return read


def arrow_filter(folder: Path, unpack: Callable[[Path], IO[bytes]] | None = None) -> Callable[[], Rows]:
    """Prepare to filter with Arrow's streaming reader, block by block."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def read() -> Rows:
        def rows(table: str) -> Any:
            return _arrow_stream(table_path(folder, table), TYPES[table], unpack)

        taxa = rows("taxa").read_all()
        line = pc.binary_join_element_wise("", taxa["ancestry"], taxa["taxon_id"].cast(pa.string()), "", "/")
        kept = taxa.filter(pc.match_substring_regex(line, f"/({'|'.join(ROOTS)})/"))["taxon_id"].combine_chunks()
        batches = [
            batch.filter(
                pc.and_(pc.equal(batch["quality_grade"], "research"), pc.is_in(batch["taxon_id"], value_set=kept))
            )
            for batch in rows("observations")
        ]
        observations = pa.Table.from_batches(batches)
        known = observations["observation_uuid"].combine_chunks()
        photos = pa.Table.from_batches(
            [batch.filter(pc.is_in(batch["observation_uuid"], value_set=known)) for batch in rows("photos")]
        )
        counts = (taxa.num_rows, observations.num_rows, photos.num_rows, rows("observers").read_all().num_rows)
        return dict(zip(TABLES, counts, strict=True))

    return read


# -- gzip ----------------------------------------------------------------------------------------------------------


def _program(*words: str) -> Callable[[Path], IO[bytes]]:
    def unpack(path: Path) -> IO[bytes]:
        if not shutil.which(words[0]):
            raise ImportError(f"the program {words[0]} is not installed")
        running = subprocess.Popen([*words, str(path)], stdout=subprocess.PIPE)
        assert running.stdout  # noqa: S101  # it is a pipe
        return running.stdout

    return unpack


def _zlib(path: Path) -> IO[bytes]:
    import gzip

    return gzip.open(path, "rb")


def _isal(path: Path) -> IO[bytes]:
    from isal import igzip

    return igzip.open(path, "rb")


def _isal_threaded(path: Path) -> IO[bytes]:
    from isal import igzip_threaded

    return igzip_threaded.open(path, "rb", threads=1)


def _zlib_ng(path: Path) -> IO[bytes]:
    from zlib_ng import gzip_ng

    return gzip_ng.open(path, "rb")


def _zlib_ng_threaded(path: Path) -> IO[bytes]:
    from zlib_ng import gzip_ng_threaded

    return gzip_ng_threaded.open(path, "rb", threads=1)


def _rapidgzip(path: Path) -> IO[bytes]:
    import rapidgzip

    return rapidgzip.open(str(path), parallelization=0)


def _rapidgzip_one(path: Path) -> IO[bytes]:
    import rapidgzip

    return rapidgzip.open(str(path), parallelization=1)


INFLATERS: dict[str, Callable[[Path], IO[bytes]]] = {
    "zlib (Python's gzip)": _zlib,
    "isal igzip": _isal,
    "isal igzip_threaded": _isal_threaded,
    "zlib-ng": _zlib_ng,
    "zlib-ng threaded": _zlib_ng_threaded,
    "rapidgzip, all cores": _rapidgzip,
    "rapidgzip, one thread": _rapidgzip_one,
    "gzip -dc": _program("gzip", "-dc"),
    "pigz -dc": _program("pigz", "-dc"),
}


def _inflating(unpack: Callable[[Path], IO[bytes]]) -> Callable[[Path], Callable[[], Rows]]:
    def prepared(folder: Path) -> Callable[[], Rows]:
        unpack(table_path(folder, "observers")).read()  # imports

        def read() -> Rows:
            sizes = {}
            for table in TABLES:
                with unpack(table_path(folder, table)) as stream:
                    sizes[table] = sum(map(len, _pieces(stream)))
            return sizes

        return read

    return prepared


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


# -- hashes --------------------------------------------------------------------------------------------------------


def _hashing(make: Callable[[], Any]) -> Callable[[Path], Callable[[], Rows]]:
    def prepared(folder: Path) -> Callable[[], Rows]:
        make()

        def read() -> Rows:
            sizes = dict.fromkeys(TABLES, 0)
            for table in TABLES:
                digest = make()
                with table_path(folder, table).open("rb") as file:
                    for piece in _pieces(file):
                        digest.update(piece)
                        sizes[table] += len(piece)
            return sizes

        return read

    return prepared


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, content: bytes) -> None:
        self._value = zlib.crc32(content, self._value)


class _Nothing:
    """What reading the bytes costs by itself."""

    def update(self, content: bytes) -> None:
        pass


def _xxhash() -> Any:
    import xxhash

    return xxhash.xxh3_128()


KINDS: dict[str, dict[str, Callable[[Path], Callable[[], Rows]]]] = {
    "filter": {
        "DuckDB": duckdb_filter,
        "Polars": polars_filter,
        "Arrow": arrow_filter,
        "Arrow over isal igzip_threaded": lambda folder: arrow_filter(folder, _isal_threaded),
        "Arrow over rapidgzip": lambda folder: arrow_filter(folder, _rapidgzip),
    },
    "count": {"ours": ours, "DuckDB": duckdb_count, "Arrow": arrow_count},
    "inflate": {name: _inflating(unpack) for name, unpack in INFLATERS.items()},
    "hash": {
        "nothing": _hashing(_Nothing),
        "sha256": _hashing(hashlib.sha256),
        "blake2b": _hashing(hashlib.blake2b),
        "crc32": _hashing(_Crc32),
        "xxh3_128": _hashing(_xxhash),
    },
}


def main() -> None:
    """Run one reader."""
    kind, name, folder = sys.argv[1:]
    try:
        read = KINDS[kind][name](Path(folder))
        started = time.perf_counter()
        rows = read()
    except ImportError as error:
        print(error, file=sys.stderr)
        raise SystemExit(MISSING) from error
    print(json.dumps({"seconds": time.perf_counter() - started, "rows": rows}))


if __name__ == "__main__":
    main()
