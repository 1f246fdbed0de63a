"""445 classes of 500 photos from a catalogue of 2 million: `query` against the plain row_number() query.

Run: ``python -m benchmarks.query``. Makes the catalogue in an embedded PostgreSQL of its own (ten minutes), the
official tables with their six indexes beside it, runs both in turns and ends with the ratios of the least and the
median times. The plain query checks the quality grade and the rank only: it rolls up no varieties, knows no photo on
two classes or outside the catalogue, no licence, no attribution, no reserve beyond its LIMIT, and counts nothing that
it leaves out.

It runs twice: over tables that hold nothing but the fungi, which nobody has who follows the recipe, and over tables
with sixteen times as many photos of other kingdoms beside them, as in the true dump (``--others``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from shroomcurate.catalogue.server import connect, run_file

#: Species s of 20,000 has a share of about (s + 51) ** -1.2 of the observations, drawn by the inverse of that sum;
#: each observation has two photos, one photo in a thousand stands in a second observation.
ROWS = """
SELECT setseed(0.5);
INSERT INTO taxa VALUES
    (48460, '', 100, 'stateofmatter', 'Life', true),
    (47170, '48460', 70, 'kingdom', 'Fungi', true),
    (47169, '48460/47170', 60, 'phylum', 'Basidiomycota', true);
INSERT INTO taxa SELECT 100000 + f, '48460/47170/47169', 30, 'family', 'Family' || f, true
    FROM generate_series(0, 399) f;
INSERT INTO taxa SELECT 200000 + g, '48460/47170/47169/' || 100000 + g % 400, 20, 'genus', 'Genus' || g, true
    FROM generate_series(0, 2999) g;
INSERT INTO taxa
    SELECT 300000 + s, '48460/47170/47169/' || 100000 + s % 3000 % 400 || '/' || 200000 + s % 3000, 10, 'species',
           'Genus' || s % 3000 || ' species' || s, true
    FROM generate_series(0, 19999) s;
INSERT INTO taxa
    SELECT taxon_id + 100000, ancestry || '/' || taxon_id, 5, 'variety', name || ' variety', true
    FROM taxa WHERE taxon_id BETWEEN 300000 AND 301999;
INSERT INTO observers
    SELECT o, 'login' || o, CASE WHEN o % 3 > 0 THEN 'Observer ' || o END FROM generate_series(1, 30000) o;
INSERT INTO observations
        (observation_uuid, observer_id, latitude, longitude, positional_accuracy, taxon_id, quality_grade, observed_on)
    SELECT md5('observation' || o)::uuid, 1 + floor(30000 * random() ^ 2.5),
           CASE WHEN o % 50 > 0 THEN 25 + 40 * random() END, CASE WHEN o % 50 > 0 THEN -125 + 150 * random() END, 28,
           CASE WHEN o % 33 = 0 AND s < 2000 THEN 400000 + s WHEN o % 40 = 0 THEN 200000 + s % 3000 ELSE 300000 + s END,
           'research', CASE WHEN o % 100 > 0 THEN date '2010-01-01' + floor(5600 * random())::integer END
    FROM (SELECT o, floor((51 ^ -0.2 - random() * (51 ^ -0.2 - 20051 ^ -0.2)) ^ -5 - 51)::integer AS s
          FROM generate_series(1, {photos} / 2) o) AS drawn;
INSERT INTO photos
        (photo_uuid, photo_id, observation_uuid, observer_id, extension, license, width, height, position)
    SELECT md5('photo' || p)::uuid, 1000 + 7 * p, observation_uuid, observer_id, 'jpg',
           CASE p % 10 WHEN 0 THEN 'CC-BY' WHEN 1 THEN 'CC0' WHEN 2 THEN 'CC-BY-NC-SA' ELSE 'CC-BY-NC' END,
           2048, 1536, p % 2
    FROM generate_series(0, {photos} - 1) p
    JOIN observations ON observation_uuid = md5('observation' || 1 + p / 2)::uuid
    ORDER BY p;
INSERT INTO photos
    SELECT photo_uuid, photo_id, md5('observation' || 1 + photo_id * 7919 % ({photos} / 2))::uuid, observer_id,
           extension, license, width, height, position
    FROM photos WHERE photo_id % 1000 = 7;
INSERT INTO photos_repeated SELECT photo_id FROM photos WHERE photo_id % 1000 = 7 GROUP BY photo_id;
"""

#: Beside the fungi, what else the recipe loads.
OTHERS = """
INSERT INTO official.taxa VALUES (1, '48460', 70, 'kingdom', 'Animalia', true);
INSERT INTO official.taxa
    SELECT 1000000 + s, '48460/1', 10, 'species', 'Animal species' || s, true FROM generate_series(0, 59999) s;
INSERT INTO official.observations
        (observation_uuid, observer_id, latitude, longitude, positional_accuracy, taxon_id, quality_grade, observed_on)
    SELECT md5('animal' || o)::uuid, 1 + o % 30000, 45, 5, 28, 1000000 + o % 60000, 'research', '2020-05-01'
    FROM generate_series(1, {others} / 2) o;
INSERT INTO official.photos
        (photo_uuid, photo_id, observation_uuid, observer_id, extension, license, width, height, position)
    SELECT md5('animal photo' || p)::uuid, 3 + 7 * p, md5('animal' || 1 + p / 2)::uuid, 1 + p / 2 % 30000, 'jpg',
           'CC-BY-NC', 2048, 1536, p % 2
    FROM generate_series(0, {others} - 1) p;
"""

OFFICIAL = """
DROP SCHEMA IF EXISTS official CASCADE;
CREATE SCHEMA official;
SET search_path = official;
CREATE TABLE taxa AS TABLE inaturalist.taxa;
CREATE TABLE observations AS TABLE inaturalist.observations;
CREATE TABLE photos AS TABLE inaturalist.photos;
CREATE TABLE observers AS TABLE inaturalist.observers;
"""
INDEXES = """
CREATE INDEX ON photos (photo_uuid);
CREATE INDEX ON photos (observation_uuid);
CREATE INDEX ON taxa (taxon_id);
CREATE INDEX ON observers (observer_id);
CREATE INDEX ON observations (observer_id);
CREATE INDEX ON observations (taxon_id);
ANALYZE taxa, observations, photos, observers;
"""

#: As a competent user writes it; of two ways tried the faster one. 750 photos a class, as `query` with its reserve.
PLAIN = """
WITH ranked AS (
    SELECT photo_id, photo_uuid, observation_uuid, photos.observer_id, taxon_id, taxa.name, extension, license,
           latitude, longitude, observed_on,
           row_number() OVER (PARTITION BY taxon_id ORDER BY md5('0:' || photo_id)) AS rank_in_class,
           count(*) OVER (PARTITION BY taxon_id) AS photos
    FROM official.photos
    JOIN official.observations USING (observation_uuid)
    JOIN official.taxa USING (taxon_id)
    WHERE quality_grade = 'research' AND rank = 'species' AND active AND ancestry LIKE '48460/47170/%'
),
best AS (SELECT taxon_id FROM ranked WHERE rank_in_class = 1 ORDER BY photos DESC, taxon_id LIMIT 445)
SELECT ranked.*, observers.login, observers.name AS observer
FROM ranked
JOIN best USING (taxon_id)
JOIN official.observers USING (observer_id)
WHERE rank_in_class <= 750
"""


#: What a load runs after the rows; two of them while rows are still read.
AFTER = ("after_taxa", "after_observations", "finish", "claim_table")


def turns(times: int, *works: Callable[[], Any]) -> list[list[float]]:
    """Return the seconds of each work, least first, done in turns so that a busy machine slows all alike."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for own, work in zip(seconds, works, strict=True):
            start = time.perf_counter()
            work()
            own.append(time.perf_counter() - start)
    return [sorted(own) for own in seconds]


def row(what: str, seconds: list[float]) -> str:
    """Return a line of the table: the least and the median of the turns."""
    return f"| {what} | {seconds[0]:.2f} | {median(seconds):.2f} |"


def main(photos: int, others: int) -> None:
    """Make the catalogue, run both, print the table and the ratio."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # the embedded PostgreSQL runs as another user when root runs this
        os.environ["SHROOMCURATE_HOME"] = f"{scratch}/home"
        with connect(None, "benchmark") as engine:
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE SCHEMA inaturalist; SET search_path = inaturalist")
                run_file(connection, "schema/ledger.sql")
                run_file(connection, "schema/tables.sql")
                driver: Any = connection.connection.driver_connection
                driver.execute(ROWS.format(photos=photos))
                (finish,) = turns(1, lambda: [run_file(connection, f"schema/{name}.sql") for name in AFTER])
                connection.exec_driver_sql(
                    "INSERT INTO shroomcurate.load_ledger (version, source, fingerprint, taxa, quality, report) "
                    "VALUES ('0', 'generated', '0', '{47169}', 'research', '{}')"
                )
            with engine.begin() as connection:
                connection.exec_driver_sql(OFFICIAL + INDEXES)
            command = [sys.executable, "-m", "shroomcurate", "query", "--quiet", "--dataset", f"{scratch}/dataset"]

            def plain() -> None:
                with engine.connect() as connection:
                    fetching: Any = connection.connection.driver_connection
                    with fetching.cursor().copy(f"COPY ({PLAIN}) TO STDOUT (FORMAT csv)") as copy:
                        b"".join(copy)

            ours, theirs = turns(5, lambda: subprocess.run(command, check=True), plain)
            with engine.begin() as connection:
                driver = connection.connection.driver_connection
                driver.execute(OFFICIAL + OTHERS.format(others=others) + INDEXES)
            ours_again, among_others = turns(3, lambda: subprocess.run(command, check=True), plain)
    print(f"| {photos:,} photos, 445 classes of 500 and 250 in reserve | least s | median s |\n|---|---|---|")
    print(row(f"after a load's rows: {', '.join(AFTER)}, once a load", finish))
    print(row("the plain `row_number()` query, its rows fetched, where there are only fungi", theirs))
    print(row("`shroomcurate query`, from its start to its written files, in turns with it", ours))
    print(row(f"the plain query with {others:,} photos of animals in the official tables", among_others))
    print(row("`shroomcurate query`, in turns with that", ours_again))
    print(
        f"\n{theirs[0] / ours[0]:.1f} times faster than the plain query by the least, files included (medians", end=" "
    )
    print(f"{median(theirs) / median(ours):.1f}); {among_others[0] / ours_again[0]:.1f} (medians", end=" ")
    print(f"{median(among_others) / median(ours_again):.1f}) where the plain one reads other kingdoms as well.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=int, nargs="?", default=2_000_000, help="of fungi")
    parser.add_argument("--others", type=int, default=16, help="photos of other kingdoms for each of fungi")
    chosen = parser.parse_args()
    main(chosen.photos, chosen.others * chosen.photos)
