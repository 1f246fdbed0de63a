"""The official recipe, `load-csvs`, and only reading the files, on one generated dump and one PostgreSQL.

Run: ``python -m benchmarks.load`` generates the dump (3 million observations, 0.9 GB), prints a table for each part
and ends with the ratios. ``--dump FOLDER`` takes one that ``benchmarks.dump`` wrote; ``--only recipe,load`` runs
parts. Readers and inflaters that the project does not need (duckdb, polars, rapidgzip, zlib-ng, xxhash) take part
when they are installed. Everything is read once before, so that nothing waits for the disk; the times are medians,
taken in turns, since a neighbour's work on the machine would else fall on one candidate only.
The memory of a process is the largest it had; what lies below this script's own (about 50 MiB) is not seen.

The recipe is that of inaturalist/inaturalist-open-data, Metadata/Import/PostgreSQL: four tables, COPY of each, six
indexes, statement by statement as psql runs them. (Its last index is written on `taxa`, a slip; here it is where it
belongs.) Packed files are unpacked by `gzip -dc` into COPY, which is kinder to it than unpacking them to disk first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy

from benchmarks.readers import KINDS, MISSING, TABLES, table_path
from shroomcurate.catalogue.server import CATALOGUE, INCOMING, connect

#: The official column types.
RECIPE_TABLES = """
CREATE TABLE taxa (taxon_id integer NOT NULL, ancestry varchar(255), rank_level double precision, rank varchar(255),
    name varchar(255), active boolean);
CREATE TABLE observations (observation_uuid uuid NOT NULL, observer_id integer, latitude numeric(15,10),
    longitude numeric(15,10), positional_accuracy integer, taxon_id integer, quality_grade varchar(255),
    observed_on date, anomaly_score double precision);
CREATE TABLE photos (photo_uuid uuid NOT NULL, photo_id integer NOT NULL, observation_uuid uuid NOT NULL,
    observer_id integer, extension varchar(5), license varchar(255), width smallint, height smallint,
    "position" smallint);
CREATE TABLE observers (observer_id integer NOT NULL, login varchar(255), name varchar(255));
"""
RECIPE_INDEXES = (
    "photos (photo_uuid)",
    "photos (observation_uuid)",
    "taxa (taxon_id)",
    "observers (observer_id)",
    "observations (observer_id)",
    "observations (taxon_id)",
)

RECIPE = "official recipe"
#: Nobody is told to, but where the server's wal_level is minimal its rows then go to disk once.
ONE_TRANSACTION = "official recipe, in one transaction"
LOAD = "load-csvs"
LOAD_ALL = "load-csvs --all-taxa --quality any"
ALL = ("--all-taxa", "--quality", "any")
PARTS = ("recipe", "transaction", "load", "all", "read", "inflate", "hash", "memory")
FORMATS = ("plain", "gz")


@dataclass
class Measured:
    """What runs of one candidate on one format took."""

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    """Largest memory of the process that was run, in bytes; its children's are not in it."""
    server_peak: int = 0
    """Largest memory of all processes of the server together, in bytes, what they share counted once."""
    note: str = ""

    @property
    def median(self) -> float:
        """Seconds; not a number when there was no run."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


Results = dict[tuple[str, str, str], Measured]
"""(part, candidate, format) -> what it took."""


# -- the server ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One PostgreSQL for the recipe and for `load-csvs`."""

    engine: sqlalchemy.Engine
    words: tuple[str, ...]
    """What `load-csvs` is told, to find the same one."""
    environment: dict[str, str]
    process: psutil.Process | None
    """The server's first process; None when it runs on another machine."""

    def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def empty(self) -> None:
        """Forget every load, also that there was one, and let server and system finish writing."""
        schemas = ", ".join((CATALOGUE, INCOMING, "shroomcurate", "recipe"))
        self.run(f"DROP SCHEMA IF EXISTS {schemas} CASCADE", "CHECKPOINT")
        os.sync()


@contextmanager
def server(scratch: Path, database_url: str | None) -> Iterator[Server]:
    """Start the embedded server in a home of its own, or make a database on the one at the URL, dropped at the end."""
    environment = {**os.environ, "SHROOMCURATE_HOME": str(scratch / "home")}
    environment.pop("SHROOMCURATE_DATABASE_URL", None)
    os.environ["SHROOMCURATE_HOME"] = environment["SHROOMCURATE_HOME"]
    if not database_url:
        with connect(None, "benchmark") as engine:
            yield Server(engine, (), environment, _first_process(engine))
        return
    name = f"benchmark_{os.getpid()}"
    with connect(database_url, "benchmark") as admin:
        outside = admin.execution_options(isolation_level="AUTOCOMMIT")
        with outside.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            url = sqlalchemy.make_url(database_url).set(database=name).render_as_string(hide_password=False)
            with connect(url, "benchmark") as engine:
                yield Server(engine, ("--database-url", url), environment, _first_process(engine))
        finally:
            with outside.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def _first_process(engine: sqlalchemy.Engine) -> psutil.Process | None:
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    try:
        process = psutil.Process(backend)
        return process.parent() if "postgres" in process.name() else None
    except psutil.Error:
        return None


@contextmanager
def _server_watched(server: Server, measured: Measured) -> Iterator[None]:
    """Look at the server's memory a few times a second: proportional set sizes, so that shared pages count once."""
    ended = threading.Event()

    def watch() -> None:
        while server.process and not ended.wait(0.3):
            total = 0
            for process in [server.process, *server.process.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            measured.server_peak = max(measured.server_peak, total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def make_dump(folder: Path, observations: int) -> None:
    """Generate a dump; in a process of its own, since this one's memory would be counted as that of its children."""
    words = ["-m", "benchmarks.dump", str(folder), "--observations", str(observations)]
    _run([sys.executable, *words], dict(os.environ))


# -- candidates ----------------------------------------------------------------------------------------------------


def run_recipe(server: Server, folder: Path, measured: Measured, isolation: str = "AUTOCOMMIT") -> None:
    """Run the official recipe in the schema `recipe`."""
    server.empty()
    server.run("CREATE SCHEMA recipe")
    with (
        _server_watched(server, measured),
        server.engine.connect().execution_options(isolation_level=isolation) as psql,
    ):
        psql.exec_driver_sql("SET search_path = recipe")
        started = time.monotonic()
        psql.exec_driver_sql(RECIPE_TABLES)
        for table in TABLES:
            path = table_path(folder, table)
            source = f"PROGRAM 'gzip -dc {path}'" if path.suffix == ".gz" else f"'{path}'"
            psql.exec_driver_sql(f"COPY {table} FROM {source} DELIMITER E'\\t' QUOTE E'\\b' CSV HEADER")
        copied = time.monotonic() - started
        for index in RECIPE_INDEXES:
            psql.exec_driver_sql(f"CREATE INDEX ON {index}")
        psql.commit()
        measured.seconds.append(time.monotonic() - started)
    measured.note = f"COPY {copied:.1f} s"


def run_load(server: Server, folder: Path, measured: Measured, *words: str) -> None:
    """Run `load-csvs` as a user does, in an empty database."""
    server.empty()
    command = [sys.executable, "-m", "shroomcurate", "load-csvs", str(folder), *words, *server.words, "--json"]
    with _server_watched(server, measured):
        seconds, peak, printed = _run(command, server.environment)
    measured.seconds.append(seconds)
    measured.peak = max(measured.peak, peak)
    photos = json.loads(printed)["tables"]["photos"]
    measured.note = f"{photos['kept']:,} of {photos['read']:,} photos kept"


def run_reader(kind: str, name: str, folder: Path, measured: Measured) -> None:
    """Run a reader in a process of its own; what filters or counts is timed as a whole command, as `load-csvs` is."""
    command = [sys.executable, "-m", "benchmarks.readers", kind, name, str(folder)]
    try:
        seconds, peak, printed = _run(command, dict(os.environ))
    except _Missing as missing:
        measured.note = f"skipped: {missing}"
        return
    result = json.loads(printed)
    rate = kind in {"inflate", "hash"}
    measured.seconds.append(result["seconds"] if rate else seconds)
    measured.peak = max(measured.peak, peak)
    size = sum(result["rows"].values())
    measured.note = f"{result['rows']['photos']:,} photos; behind its imports {result['seconds']:.2f} s"
    if rate:
        measured.note = f"{size / 1e6 / measured.median:,.0f} MB/s"


class _Missing(Exception):
    """A reader's package is not installed."""


def _run(command: list[str], environment: dict[str, str], output: int | None = None) -> tuple[float, int, str]:
    """Return the seconds, the process's largest resident set in bytes, and what it printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output or out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode == MISSING and "benchmarks.readers" in command:
            raise _Missing(err.read().strip())
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {err.read()}")
        return seconds, usage.ru_maxrss * 1024, out.read()


# -- parts ---------------------------------------------------------------------------------------------------------


def measure(chosen: argparse.Namespace, scratch: Path) -> Results:
    """Run the chosen parts, in turns."""
    results: Results = defaultdict(Measured)
    folders = {form: chosen.dump / form for form in chosen.formats}
    for folder in folders.values():
        for table in TABLES:
            _run(["cat", str(table_path(folder, table))], {}, subprocess.DEVNULL)  # so that nobody waits for the disk
    with ExitStack() as stack:
        loads = {"recipe", "transaction", "load", "all"} & chosen.only
        postgres = stack.enter_context(server(scratch, chosen.database_url)) if loads else None
        for turn in range(max(chosen.repeat, chosen.recipe_repeat if loads else 0)):
            for form, folder in folders.items():
                if postgres:
                    _one_turn(postgres, folder, form, turn, chosen, results)
                if turn < chosen.repeat:
                    _read(folder, form, chosen, results)
    return results


def _read(folder: Path, form: str, chosen: argparse.Namespace, results: Results) -> None:
    """Run every reader once."""
    for kind in [kind for kind in KINDS if {"filter": "read", "count": "read"}.get(kind, kind) in chosen.only]:
        for name in chosen.readers or KINDS[kind]:
            only = {"inflate": "gz", "hash": "plain"}.get(kind, "gz" if " over " in name else form)
            measured = results[kind, name, form] if only == form and name in KINDS[kind] else None
            if measured and not measured.note.startswith("skipped"):
                run_reader(kind, name, folder, measured)


def _one_turn(
    postgres: Server, folder: Path, form: str, turn: int, chosen: argparse.Namespace, results: Results
) -> None:
    recipe, load = (chosen.only if turn < times else set() for times in (chosen.recipe_repeat, chosen.repeat))
    if "recipe" in recipe:
        run_recipe(postgres, folder, results["recipe", RECIPE, form])
    if "transaction" in recipe:
        run_recipe(postgres, folder, results["recipe", ONE_TRANSACTION, form], "READ COMMITTED")
    if "load" in load:
        run_load(postgres, folder, results["load", LOAD, form])
    if "all" in load:
        run_load(postgres, folder, results["load", LOAD_ALL, form], *ALL)


def measure_memory(chosen: argparse.Namespace, scratch: Path) -> Results:
    """Load packed dumps of several scales."""
    results: Results = defaultdict(Measured)
    folder = scratch / "scales"
    for scale in chosen.scales:
        make_dump(folder, int(scale * 1_000_000))
        with server(scratch, chosen.database_url) as postgres:
            for name, words in ((LOAD, ()), (LOAD_ALL, ALL)):
                run_load(postgres, folder / "gz", results["memory", name, f"gz, {scale:g} million"], *words)
    return results


# -- the tables ----------------------------------------------------------------------------------------------------


def table(results: Results, part: str) -> str:
    """Return a part's candidates, the fastest first within each format."""
    rows = [(form, measured.median, name, measured) for (kind, name, form), measured in results.items() if kind == part]
    rows = sorted(rows, key=lambda row: (FORMATS.index(row[0]) if row[0] in FORMATS else 0, not row[3].seconds, row[1]))
    lines = ["| candidate | files | median | slowest | memory | server's memory | |", "|---|---|---|---|---|---|---|"]
    for form, median, name, measured in rows:
        if not measured.seconds:
            lines.append(f"| {name} | {form} | – | – | – | – | {measured.note} |")
            continue
        times = f"{median:.2f} s | {max(measured.seconds):.2f} s"
        lines.append(
            f"| {name} | {form} | {times} | {_mib(measured.peak)} | {_mib(measured.server_peak)} | {measured.note} |"
        )
    return "\n".join(lines)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size else "–"


def ratios(results: Results) -> list[str]:
    """Return the claims as sentences, as far as their parts ran."""
    lines = []
    for form in FORMATS:
        recipe = results["recipe", RECIPE, form].median
        load = results["load", LOAD, form].median
        everything = results["load", LOAD_ALL, form].median
        readers = {
            name: measured.median
            for (kind, name, files), measured in results.items()
            if kind == "filter" and files == form and measured.seconds
        }
        lines.append(f"{form}: the recipe takes {recipe / load:.2f} times as long as load-csvs")
        lines.append(f"{form}: load-csvs --all-taxa takes {everything / recipe:.2f} times as long as the recipe")
        if readers:
            fastest = min(readers, key=lambda name: readers[name])
            ratio = load / readers[fastest]
            lines.append(f"{form}: load-csvs takes {ratio:.2f} times as long as only reading, by {fastest}")
    return [line for line in lines if "nan" not in line]


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", type=Path, help="folder with plain/ and gz/ that benchmarks.dump wrote")
    parser.add_argument("--observations", type=int, default=3_000_000, help="of a dump made now")
    parser.add_argument("--only", type=_listed(PARTS), default=set(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--readers", type=lambda text: text.split(","), help="of the readers only these: Polars,DuckDB")
    parser.add_argument("--formats", type=_listed(FORMATS), default=set(FORMATS), help="plain, gz or both")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each load and each reader")
    parser.add_argument("--recipe-repeat", type=int, default=1)
    parser.add_argument("--scales", type=lambda text: [float(part) for part in text.split(",")], default=[3.0, 12.0])
    parser.add_argument("--database-url", help="a PostgreSQL on this machine; left away: the embedded one")
    return parser.parse_args(words)


def _listed(known: tuple[str, ...]) -> Any:
    def parse(text: str) -> set[str]:
        parts = set(text.split(","))
        if parts - set(known):
            raise argparse.ArgumentTypeError(f"{text!r}: use any of {','.join(known)}")
        return parts

    return parse


def main() -> None:
    """Run what the command line asks for and print the tables."""
    chosen = options()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # the embedded PostgreSQL runs as another user when root runs this
        if not chosen.dump and chosen.only != {"memory"}:
            chosen.dump = scratch / "dump"
            make_dump(chosen.dump, chosen.observations)
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, {load:.1f} of them busy with something else at the start; Python", end=" ")
        print(".".join(map(str, sys.version_info[:3])))
        results = measure(chosen, scratch) if chosen.dump else {}
        if "memory" in chosen.only:
            results.update(measure_memory(chosen, scratch))
        for part in dict.fromkeys(kind for kind, _, _ in results):
            print(f"\n{part}\n\n{table(results, part)}")
        print("\n" + "\n".join(ratios(defaultdict(Measured, results))))


if __name__ == "__main__":
    main()
