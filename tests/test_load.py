"""The load: what is kept, what is counted, and that the catalogue is the old one or the new one, never half of one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate.catalogue import dumps, ledger, space
from shroomcurate.catalogue.ledger import LoadReport
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadDump, BadOption, Busy, DatabaseUnreachable, DiskFull, NothingMatches, SourceMissing
from shroomcurate.select import QueryOptions, query
from tests.dump_server import AUGUST, DumpServer, Served
from tests.dumps import (
    AMANITA,
    BASIDIOMYCOTA,
    BOLETUS,
    EDULIS,
    GUESSOWII,
    HEADERS,
    HYBRID,
    INACTIVE,
    MUSCARIA,
    OAK,
    VAGINATA,
    Dump,
    observation_uuid,
    read_independently,
)
from tests.fault_server import running

Rows = Callable[..., list[dict[str, Any]]]


def load(dump: Dump, folder: Path, database_url: str, **options: Any) -> LoadReport:
    return load_csvs(LoadOptions(dump.write(folder / "dump"), **options), database_url)


@pytest.fixture
def dump() -> Dump:
    made = Dump()
    made.photographed(MUSCARIA, 3, first=1)
    return made


def photo_ids(rows_of: Rows) -> list[int]:
    return [row["photo_id"] for row in rows_of("SELECT photo_id FROM photos ORDER BY 1")]


def test_only_what_lies_below_the_taxa_is_kept_and_the_rest_is_counted(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.observation(11, OAK)
    dump.observation(12, MUSCARIA, quality_grade="needs_id")
    dump.observation(13, "")
    dump.observation(14, 999_999)
    dump.observation(15, GUESSOWII)
    dump.observation(16, HYBRID)
    dump.observation(17, INACTIVE)
    for number in range(11, 18):
        dump.photo(number, number)
    dump.photo(30, 30)  # an observation that the dump does not have
    dump.observer(2, "nobody")
    report = load(dump, tmp_path, database_url)
    assert photo_ids(rows_of) == [1, 2, 3, 15, 16, 17]
    assert report.tables["observations"].left_out == {
        "other quality grade": 1,
        "no taxon": 1,
        "unknown taxon": 1,
        "not below the wanted taxa": 1,
    }
    assert report.tables["photos"].left_out == {"observation not kept": 4, "observation not in the dump (at least)": 1}
    assert report.tables["observers"].left_out == {"no photo kept": 1}
    assert report.facts["observations_of_inactive_taxa"] == 1
    for table in report.tables.values():
        assert table.read == table.kept + sum(table.left_out.values())
    # 471690 lies beside 47169, not below it.
    assert not rows_of("SELECT FROM taxa WHERE taxon_id IN (471690, :oak)", oak=OAK)


def test_a_subspecies_rolls_up_and_a_hybrid_or_inactive_taxon_does_not(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    load(dump, tmp_path, database_url)
    found = rows_of("SELECT taxon_id, rank, class_name FROM taxon_class")
    classes = {(row["taxon_id"], row["rank"]): row["class_name"] for row in found}
    assert classes[GUESSOWII, "species"] == "Amanita muscaria"
    assert classes[VAGINATA, "species"] == 'Amanita "vaginata"'
    assert classes[HYBRID, "genus"] == "Boletus"
    assert (HYBRID, "species") not in classes
    assert (AMANITA, "species") not in classes
    assert not any(taxon == INACTIVE for taxon, _ in classes)


def test_quality_and_taxon_options_widen_and_narrow(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.observation(12, EDULIS, quality_grade="needs_id")
    dump.photo(12, 12)
    dump.observation(13, OAK, quality_grade="casual")
    dump.photo(13, 13)
    load(dump, tmp_path, database_url, quality="any")
    assert photo_ids(rows_of) == [1, 2, 3, 12]
    load(dump, tmp_path, database_url, quality="needs_id", force=True)
    assert photo_ids(rows_of) == [12]
    load(dump, tmp_path, database_url, taxa=("Amanita",))
    assert photo_ids(rows_of) == [1, 2, 3]
    load(dump, tmp_path, database_url, all_taxa=True, quality="any")
    assert photo_ids(rows_of) == [1, 2, 3, 12, 13]
    assert len(rows_of("SELECT FROM taxa")) == len(dump.rows["taxa"])


def test_an_unknown_taxon_is_named(dump: Dump, tmp_path: Path, database_url: str) -> None:
    with pytest.raises(NothingMatches, match="'Amonita'"):
        load(dump, tmp_path, database_url, taxa=("Amonita",))
    with pytest.raises(NothingMatches, match="9" * 30):
        load(dump, tmp_path, database_url, taxa=("9" * 30,))


def test_blank_names_no_taxon(dump: Dump, tmp_path: Path, database_url: str) -> None:
    dump.taxon(7003, "48460", "10", "species", "")
    with pytest.raises(NothingMatches, match="'' is not in this dump's taxa"):
        load(dump, tmp_path, database_url, taxa=("",))


def test_a_taxon_without_photos_does_not_replace_the_catalogue(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    load(dump, tmp_path, database_url)
    with pytest.raises(NothingMatches, match="no photo below Boletus"):
        load(dump, tmp_path, database_url, taxa=("Boletus",))
    assert photo_ids(rows_of) == [1, 2, 3]


def test_a_photo_of_an_observation_that_is_not_kept_as_well_is_remembered(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.observation(50, OAK)
    dump.photo(2, 50)
    dump.photo(3, 3)  # the same row twice: one photo
    report = load(dump, tmp_path, database_url)
    assert [row["photo_id"] for row in rows_of("SELECT photo_id FROM photos_elsewhere")] == [2]
    assert report.facts["photos_in_several_rows"] == 1
    assert report.facts["photos_on_several_observations"] == 0


TEXT = st.text(st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), max_size=15)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=40), block=st.integers(60, 400))
def test_any_text_survives_the_way_into_the_database(
    tmp_path: Path, database_url: str, rows_of: Rows, names: list[tuple[str, str]], block: int
) -> None:
    dump = Dump()
    dump.photographed(MUSCARIA, 1, first=1)
    for number, (login, name) in enumerate(names):
        dump.observer(10 + number, login, name)
        dump.photo(100 + number, 1, observer_id=10 + number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumps, "BLOCK_BYTES", block)
        load(dump, tmp_path, database_url, force=True)
    found = rows_of("SELECT login, name FROM observers WHERE observer_id >= 10 ORDER BY observer_id")
    assert [(row["login"] or "", row["name"] or "") for row in found] == names


def test_blank_is_null_and_numbers_and_dates_are_what_they_were(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.observation(20, MUSCARIA, latitude="", longitude="-0.1234567891", observed_on="", positional_accuracy="28000")
    dump.photo(20, 20, width="", extension="JPG")
    load(dump, tmp_path, database_url)
    (row,) = rows_of("SELECT * FROM observations JOIN photos USING (observation_uuid) WHERE photo_id = 20")
    assert row["latitude"] is None
    assert row["observed_on"] is None
    assert row["width"] is None
    assert row["longitude"] == -0.1234567891
    assert row["positional_accuracy"] == 28000
    assert row["extension"] == "JPG"
    assert rows_of("SELECT rank_level FROM taxa WHERE taxon_id = :id", id=MUSCARIA) == [{"rank_level": 10.0}]


def test_bytes_that_are_not_utf8_are_replaced_counted_and_named(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    folder = dump.write(tmp_path / "dump", packed=False)
    content = (folder / "observers.csv").read_bytes().replace(b"Ann Observer", b"Ann \xff\x00Observer")
    (folder / "observers.csv").write_bytes(content)
    table = load_csvs(LoadOptions(folder), database_url).tables["observers"]
    assert rows_of("SELECT name FROM observers") == [{"name": "Ann \ufffd\ufffdObserver"}]
    assert table.not_utf8 == 1
    assert "line 2, column name: b'Ann \\xff\\x00Observer'" in table.not_utf8_example


def test_a_value_of_another_kind_is_named_by_line_and_column_and_nothing_is_lost(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    load(dump, tmp_path, database_url)
    for table, column, value in (
        ("taxa", "taxon_id", "47169x"),
        ("taxa", "taxon_id", ""),
        ("taxa", "active", "perhaps"),
        ("observations", "taxon_id", "1e9"),
        ("observations", "observation_uuid", "0b5e"),
        ("observations", "latitude", "north"),
        ("observations", "observed_on", "2023-02-30"),
        ("observations", "observed_on", "30.9.2024"),
        ("observations", "observed_on", "0000-01-01"),
        ("observations", "latitude", "1e999"),
        ("taxa", "ancestry", "48460/47169/x"),
        ("photos", "photo_id", "12.5"),
        ("photos", "photo_id", ""),
        ("photos", "observation_uuid", "z" * 36),
        ("photos", "width", "wide"),
        ("photos", "width", "3000000000"),
        ("taxa", "ancestry", "48460|47169"),
        ("observers", "observer_id", "9" * 25),
    ):
        wrong = deepcopy(dump)
        row = next(number for number, row in enumerate(dump.rows[table]) if row.get("taxon_id") in (None, MUSCARIA))
        wrong.rows[table][row][column] = value
        named = table
        if (table, column) == ("photos", "observation_uuid"):
            wrong.rows["observations"][row]["observation_uuid"] = value
            named = "observations"
        with pytest.raises(BadDump) as error:
            load(wrong, tmp_path, database_url)
        assert f"{named}.csv.gz, line {row + 2}: column '{column}'" in error.value.what
        assert value in error.value.what
    assert photo_ids(rows_of) == [1, 2, 3]


def test_an_empty_step_in_an_ancestry_is_passed_over(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.rows["taxa"][8]["ancestry"] = f"48460//47170/47169/{AMANITA}"
    load(dump, tmp_path, database_url)
    assert rows_of("SELECT class_taxon_id FROM taxon_class WHERE taxon_id = :id AND rank = 'genus'", id=MUSCARIA) == [
        {"class_taxon_id": AMANITA}
    ]


def test_a_repeated_taxon_is_refused_by_its_second_line(dump: Dump, tmp_path: Path, database_url: str) -> None:
    dump.rows["taxa"].append(dict(dump.rows["taxa"][3]))
    line = len(dump.rows["taxa"]) + 1
    with pytest.raises(BadDump, match=f"taxa.csv.gz, line {line}: taxon_id {BASIDIOMYCOTA} stands there a second"):
        load(dump, tmp_path, database_url)


def test_of_several_taxa_of_one_name_the_active_one_is_meant(dump: Dump, tmp_path: Path, database_url: str) -> None:
    dump.taxon(7001, "48460", "60", "phylum", "Basidiomycota", active="false")
    assert load(dump, tmp_path, database_url, taxa=("Basidiomycota",)).taxa == [BASIDIOMYCOTA]
    dump.taxon(7002, "48460", "60", "phylum", "Basidiomycota")
    with pytest.raises(NothingMatches, match="names 2 taxa: 7002, 47169"):
        load(dump, tmp_path, database_url, taxa=("Basidiomycota",))


def test_observations_of_the_taxa_above_the_roots_are_not_kept(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.observation(60, 47170)
    dump.photo(60, 60)
    dump.observation(61, BASIDIOMYCOTA)
    dump.photo(61, 61)
    report = load(dump, tmp_path, database_url, taxa=("Basidiomycota",))
    assert photo_ids(rows_of) == [1, 2, 3, 61]
    assert report.tables["observations"].left_out == {"not below the wanted taxa": 1}
    assert rows_of("SELECT name FROM taxa WHERE taxon_id = 47170") == [{"name": "Fungi"}]


def test_a_carriage_return_inside_a_row_is_replaced_and_counted(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.rows["observers"][0]["name"] = "Ann\rObserver"
    table = load(dump, tmp_path, database_url).tables["observers"]
    assert rows_of("SELECT name FROM observers") == [{"name": "Ann\ufffdObserver"}]
    assert table.not_utf8 == 1
    assert "line 2, column name: b'Ann\\rObserver'" in table.not_utf8_example


def test_rows_that_end_with_a_carriage_return_as_well_are_whole_rows(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    folder = dump.write(tmp_path / "dump", packed=False)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    report = load_csvs(LoadOptions(folder), database_url)
    assert not any(table.not_utf8 for table in report.tables.values())
    assert rows_of("SELECT name FROM observers") == [{"name": "Ann Observer"}]


def test_a_blank_line_is_named(dump: Dump, tmp_path: Path, database_url: str) -> None:
    folder = dump.write(tmp_path / "dump", packed=False)
    with (folder / "observers.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(BadDump, match="line 3: 1 fields where the header has 3: ''"):
        load_csvs(LoadOptions(folder), database_url)


def test_a_dump_of_less_than_half_is_refused_unless_forced(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.photographed(EDULIS, 10, first=100)
    load(dump, tmp_path, database_url)
    small = Dump()
    small.photographed(MUSCARIA, 2, first=1)
    with pytest.raises(BadDump, match=r"observations has 2 rows, less than half of the 13"):
        load(small, tmp_path, database_url)
    assert len(photo_ids(rows_of)) == 13
    load(small, tmp_path, database_url, force=True)
    assert photo_ids(rows_of) == [1, 2]


def test_the_ledger_has_a_row_for_each_load_and_the_fingerprint_follows_content_and_scope(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    first = load(dump, tmp_path, database_url)
    assert load(dump, tmp_path, database_url, force=True).fingerprint == first.fingerprint
    assert load(dump, tmp_path, database_url, quality="any").fingerprint != first.fingerprint
    dump.photo(50, 1)
    assert load(dump, tmp_path, database_url).fingerprint != first.fingerprint
    ledger = rows_of("SELECT fingerprint, taxa, quality FROM shroomcurate.load_ledger ORDER BY load_id")
    assert len(ledger) == 4
    assert ledger[0] == {"fingerprint": first.fingerprint, "taxa": [BASIDIOMYCOTA, 48250], "quality": "research"}


def test_the_same_dump_again_is_recognised_and_nothing_is_done(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    first = load(dump, tmp_path, database_url)
    assert not first.already_loaded
    again = load_csvs(LoadOptions(tmp_path / "dump"), database_url)
    assert again == replace(first, already_loaded=True)
    # Another place and another time of change, the same bytes: the hash tells.
    shutil.copytree(tmp_path / "dump", tmp_path / "moved", copy_function=shutil.copyfile)
    assert load_csvs(LoadOptions(tmp_path / "moved"), database_url).already_loaded
    assert len(rows_of("SELECT FROM shroomcurate.load_ledger")) == 1
    # What was asked otherwise is another catalogue; so is a dump of the same size with other bytes.
    assert not load_csvs(LoadOptions(tmp_path / "dump", quality="any"), database_url).already_loaded
    assert not load_csvs(LoadOptions(tmp_path / "dump", quality="any", force=True), database_url).already_loaded
    folder = dump.write(tmp_path / "plain", packed=False)
    load_csvs(LoadOptions(folder), database_url)
    (folder / "photos.csv").write_bytes((folder / "photos.csv").read_bytes().replace(b"CC-BY", b"CC-NC"))
    assert not load_csvs(LoadOptions(folder), database_url).already_loaded
    assert {row["license"] for row in rows_of("SELECT license FROM photos")} == {"CC-NC"}


def test_a_catalogue_of_another_versions_schema_is_not_taken_for_the_same(
    dump: Dump, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(dump, tmp_path, database_url)
    monkeypatch.setattr(ledger, "schema_hash", lambda: "another")
    assert not load_csvs(LoadOptions(tmp_path / "dump"), database_url).already_loaded


def changes(rows_of: Rows) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows_of("SELECT * FROM changes ORDER BY photo_id, observation_uuid, taxon_id"):
        about = row["photo_id"] or row["taxon_id"] or str(row["observation_uuid"])
        found.setdefault(row["change"], []).append((about, row["before"], row["after"]))
    return found


def test_a_diff_tells_what_changed_since_the_load_before(tmp_path: Path, database_url: str, rows_of: Rows) -> None:
    before = Dump()
    before.photographed(MUSCARIA, 8, first=1)
    before.photographed(VAGINATA, 2, first=20)
    load(before, tmp_path, database_url)
    after = Dump()
    after.taxon(7000, f"48460/47170/47169/{AMANITA}", "10", "species", "Amanita nova")
    for row in after.rows["taxa"]:
        if row["taxon_id"] == VAGINATA:
            row["active"] = "false"
        if row["taxon_id"] == EDULIS:
            row["name"] = "Boletus edulis s.str."
        if row["taxon_id"] == HYBRID:
            row["ancestry"] = "48460/47170/47169"
    after.observation(1)  # its photo is gone
    after.observation(2, quality_grade="needs_id")
    after.photo(2, 2)  # in the dump, but not kept
    after.observation(3, OAK)
    after.photo(3, 3)
    after.observation(4)
    after.photo(4, 4, license="CC0")
    after.observation(5, EDULIS)
    after.photo(5, 5)
    after.photographed(MUSCARIA, 3, first=6)
    after.photographed(MUSCARIA, 1, first=30)
    after.observation(20, 7000)
    after.photo(20, 20)
    after.observation(21, 7000)
    after.photo(21, 21)
    report = load(after, tmp_path, database_url, diff=True)
    assert changes(rows_of) == {
        "photo_gone": [(1, "CC-BY", None)],
        "photo_not_kept": [(2, "CC-BY", None), (3, "CC-BY", None)],
        "photo_added": [(30, None, "CC-BY")],
        "photo_relicensed": [(4, "CC-BY", "CC0")],
        "observation_reidentified": [(EDULIS, "Amanita muscaria", "Boletus edulis s.str.")],
        "taxon_swapped": [(VAGINATA, 'Amanita "vaginata"', "Amanita nova")],
        "taxon_renamed": [(EDULIS, "Boletus edulis", "Boletus edulis s.str.")],
        "taxon_moved": [(HYBRID, f"48460/47170/47169/{BOLETUS}", "48460/47170/47169")],
    }
    assert report.changes == {kind: len(rows) for kind, rows in changes(rows_of).items()}
    # The same dump again: what it changed is still known.
    again = load_csvs(LoadOptions(tmp_path / "dump", diff=True), database_url)
    assert again.already_loaded
    assert again.changes == report.changes


def test_a_diff_has_nothing_to_say_about_another_scope_or_a_first_load(
    dump: Dump, tmp_path: Path, database_url: str
) -> None:
    assert load(dump, tmp_path, database_url, diff=True).changes is None
    assert load(dump, tmp_path, database_url, diff=True, quality="any").changes is None
    assert load(dump, tmp_path, database_url, diff=True, quality="any", force=True).changes == {}


def test_a_catalogue_without_room_is_refused_before_its_rows_are_written(
    dump: Dump, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    dump.photographed(EDULIS, 1000, first=100)
    folder = dump.write(tmp_path / "dump")
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: disk._replace(free=400_000))
    with pytest.raises(DiskFull, match=r"needs about 0\.001 GB in .*home, and 0\.000 GB are free"):
        load_csvs(LoadOptions(folder))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: disk._replace(free=50_000_000))
    assert load_csvs(LoadOptions(folder)).tables["photos"].kept == 1003


@pytest.mark.parametrize("order", ["taxa observations photos observers", "photos observers observations taxa"])
def test_a_bundle_makes_the_catalogue_of_its_folder(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows, order: str
) -> None:
    from_folder = load(dump, tmp_path, database_url)
    with tarfile.open(tmp_path / "dump.tar.gz", "w:gz") as archive:
        for table in order.split():
            archive.add(tmp_path / "dump" / f"{table}.csv.gz")
    report = load_csvs(LoadOptions(tmp_path / "dump.tar.gz"), database_url)
    assert report.tables == from_folder.tables
    assert photo_ids(rows_of) == [1, 2, 3]
    again = load_csvs(LoadOptions(tmp_path / "dump.tar.gz"), database_url)
    assert again.already_loaded


def test_a_dump_on_a_server_makes_the_same_catalogue_though_the_line_breaks(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shroomcurate.catalogue.remote.pause_before", lambda *_: 0.01)
    from_folder = load(dump, tmp_path, database_url)
    with tarfile.open(tmp_path / "dump.tar.gz", "w:gz") as archive:
        for table in ("photos", "observations", "taxa", "observers"):
            archive.add(tmp_path / "dump" / f"{table}.csv.gz")
    files = {f"/metadata/{file.name}": Served(file.read_bytes()) for file in (tmp_path / "dump").iterdir()}
    server = DumpServer(
        {**files, "/dump.tar.gz": Served((tmp_path / "dump.tar.gz").read_bytes())},
        fault=lambda asked: "drop" if asked.first == 0 else "ok",
    )
    with running(server):
        url = server.url
        for source in (f"{url}/metadata/", f"{url}/dump.tar.gz"):
            report = load_csvs(LoadOptions(source, force=True), database_url)
            assert report.tables == from_folder.tables
            assert load_csvs(LoadOptions(source), database_url).already_loaded
        august = server.files["/metadata/photos.csv.gz"]._replace(put=AUGUST)
        server.files["/metadata/photos.csv.gz"] = august
        with pytest.raises(BadDump, match=r"two snapshots: .* of 2026-07-27 and photos\.csv\.gz of 2026-08-27"):
            load_csvs(LoadOptions(f"{url}/metadata"), database_url)
        with pytest.raises(SourceMissing, match=f"{url}/nothing/taxa.csv.gz"):
            load_csvs(LoadOptions(f"{url}/nothing"), database_url)
    assert photo_ids(rows_of) == [1, 2, 3]


def test_a_schema_that_somebody_else_made_is_not_dropped(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    folder = dump.write(tmp_path / "dump")
    for schema in ("inaturalist", "inaturalist_incoming"):
        rows_of(f"CREATE SCHEMA {schema}")
        rows_of(f"CREATE TABLE {schema}.photos (mine text)")
        with pytest.raises(BadOption, match=f"schema '{schema}' that load-csvs did not make, .* it holds photos"):
            load_csvs(LoadOptions(folder), database_url)
        rows_of(f"DROP SCHEMA {schema} CASCADE")
    load_csvs(LoadOptions(folder), database_url)
    rows_of("CREATE TABLE inaturalist.my_notes (note text)")
    with pytest.raises(BadOption, match="it holds my_notes"):
        load_csvs(LoadOptions(folder, force=True), database_url)
    rows_of("ALTER TABLE inaturalist.my_notes SET SCHEMA public")
    rows_of("CREATE VIEW public.my_photos AS SELECT photo_id FROM inaturalist.photos")
    with pytest.raises(BadOption, match=r"Views stand on the catalogue .* my_photos"):
        load_csvs(LoadOptions(folder, force=True), database_url)
    assert len(rows_of("SELECT FROM public.my_photos")) == 3


def test_names_are_stored_as_they_are_whatever_encoding_the_environment_asks_for(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    dump.rows["observers"][0]["name"] = "Zoë Ünï 日本"
    load(dump, tmp_path, database_url)
    monkeypatch.delenv("PGCLIENTENCODING")
    assert rows_of("SELECT name FROM observers") == [{"name": "Zoë Ünï 日本"}]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused(
    dump: Dump, tmp_path: Path, postgres: str, encoding: str
) -> None:
    name = f"test_{encoding.lower()}_{os.getpid()}"
    admin = sqlalchemy.create_engine(
        sqlalchemy.make_url(postgres).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            url = sqlalchemy.make_url(postgres).set(database=name).render_as_string(hide_password=False)
            with pytest.raises(DatabaseUnreachable, match=f"keeps text as {encoding}"):
                load_csvs(LoadOptions(dump.write(tmp_path / "dump")), url)
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def test_a_uuid_in_capitals_is_the_same_observation(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    for row in dump.rows["photos"][:2]:
        row["observation_uuid"] = row["observation_uuid"].upper()
    load(dump, tmp_path, database_url)
    assert photo_ids(rows_of) == [1, 2, 3]


def test_a_server_that_gives_up_what_takes_long_does_not_give_up_a_load(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    load(dump, tmp_path, database_url)
    rows_of(f"ALTER DATABASE {sqlalchemy.make_url(database_url).database} SET statement_timeout = 1000")
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(database_url).set(drivername="postgresql+psycopg"))
    with ThreadPoolExecutor(1) as pool, engine.connect() as reader:
        reader.exec_driver_sql("LOCK TABLE shroomcurate.load_ledger IN ACCESS SHARE MODE")
        loading = pool.submit(load, dump, tmp_path, database_url, force=True)
        while not rows_of("SELECT FROM pg_locks WHERE NOT granted"):
            time.sleep(0.05)
        time.sleep(1.5)
        assert not loading.done()
        reader.rollback()
        assert loading.result().tables["photos"].kept == 3
    engine.dispose()


def test_a_diff_of_rows_that_are_repeated_finds_no_change(dump: Dump, tmp_path: Path, database_url: str) -> None:
    dump.photo(1, 1, license="CC0")
    dump.observation(2, VAGINATA)
    load(dump, tmp_path, database_url)
    assert load(dump, tmp_path, database_url, diff=True, force=True).changes == {}


def test_half_a_dump_is_refused_also_after_a_load_of_another_version(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.photographed(EDULIS, 10, first=100)
    load(dump, tmp_path, database_url)
    rows_of("UPDATE shroomcurate.load_ledger SET report = report - 'schema' || '{\"new\": 1}'")
    small = Dump()
    small.photographed(MUSCARIA, 2, first=1)
    with pytest.raises(BadDump, match="less than half"):
        load(small, tmp_path, database_url)


def test_all_taxa_keeps_photos_of_no_observation_and_counts_them(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump.photo(30, 30)
    report = load(dump, tmp_path, database_url, all_taxa=True, quality="any")
    assert photo_ids(rows_of) == [1, 2, 3, 30]
    assert report.facts["photos_of_no_observation"] == 1


def test_two_first_loads_at_once_do_not_trip_over_each_other(dump: Dump, tmp_path: Path, postgres: str) -> None:
    folder = dump.write(tmp_path / "dump")
    admin = sqlalchemy.create_engine(
        sqlalchemy.make_url(postgres).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection, ThreadPoolExecutor(3) as pool:
        name = f"test_first_{os.getpid()}"
        url = sqlalchemy.make_url(postgres).set(database=name).render_as_string(hide_password=False)
        for _ in range(3):
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
            try:
                for done in [pool.submit(load_csvs, LoadOptions(folder), url) for _ in range(3)]:
                    assert not done.exception() or isinstance(done.exception(), Busy)
            finally:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def test_a_second_load_says_who_holds_the_lock(dump: Dump, tmp_path: Path, database_url: str) -> None:
    held: list[str] = []

    def second_load(done: int, total: int, label: str) -> None:
        if not held:
            with pytest.raises(Busy) as error:
                load_csvs(LoadOptions(tmp_path / "dump"), database_url)
            held.append(error.value.what)

    folder = dump.write(tmp_path / "dump")
    load_csvs(LoadOptions(folder), database_url, second_load)
    assert f"shroomcurate load-csvs (process {os.getpid()})" in held[0]


def test_readers_see_the_old_catalogue_until_the_new_one_is_complete(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    load(dump, tmp_path, database_url)
    dump.photographed(EDULIS, 2, first=200)
    seen: dict[str, int] = {}

    def look(_done: int, _total: int, label: str) -> None:
        seen[label] = len(photo_ids(rows_of))

    load_csvs(LoadOptions(dump.write(tmp_path / "dump")), database_url, look)
    assert seen.pop("write to disk") == 5
    assert set(seen.values()) == {3}
    assert len(photo_ids(rows_of)) == 5


@pytest.mark.parametrize("seed", range(3))
def test_a_load_killed_at_any_moment_leaves_the_old_catalogue_and_nothing_else(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows, seed: int
) -> None:
    load(dump, tmp_path, database_url)
    dump.photographed(EDULIS, 3000, first=1000)
    folder = dump.write(tmp_path / "dump")
    command = [sys.executable, "-m", "shroomcurate", "load-csvs", str(folder), "--database-url", database_url]
    process = subprocess.Popen([*command, "--quiet"])
    time.sleep(random.Random(seed).uniform(0.3, 2.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    assert len(photo_ids(rows_of)) in (3, 3003)
    for _ in range(50):  # the server notices a dead client at its next write
        schemas = {row["nspname"] for row in rows_of("SELECT nspname FROM pg_namespace")}
        busy = rows_of("SELECT FROM pg_stat_activity WHERE application_name LIKE 'shroomcurate load%'")
        if not busy:
            break
        time.sleep(0.1)
    assert "inaturalist_incoming" not in schemas
    report = load_csvs(LoadOptions(folder), database_url)
    assert report.tables["photos"].kept == 3003
    assert len(photo_ids(rows_of)) == 3003


def test_an_error_that_somebody_keeps_keeps_no_thread(
    dump: Dump, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(dumps, "BLOCK_BYTES", 1000)
    dump.photographed(EDULIS, 3000, first=1000)
    with pytest.raises(ZeroDivisionError) as kept:
        load_csvs(LoadOptions(dump.write(tmp_path / "dump")), database_url, failing)
    give_up = time.monotonic() + 10
    while any(thread.name.startswith("read_") for thread in threading.enumerate()):
        assert time.monotonic() < give_up, "Python would wait for them at its end"
        time.sleep(0.02)
    assert kept.tb


def test_a_server_that_is_not_there_is_named(dump: Dump, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1:1") as error:
        load_csvs(LoadOptions(dump.write(tmp_path / "dump")), "postgresql://nobody@127.0.0.1:1/nothing")
    assert error.value.exit_code == 5


def test_wrong_options_are_refused(tmp_path: Path, dump: Dump) -> None:
    with pytest.raises(BadOption, match="'resaerch'"):
        LoadOptions(tmp_path, quality="resaerch")
    for url in (
        "mysql://localhost/x",
        "not a url",
        "postgresql://nobody@127.0.0.1:port/x",
        "postgresql://nobody@127.0.0.1:1/x?foo=bar",
        "postgresql://nobody@127.0.0.1/x?port=abc",
    ):
        with pytest.raises(BadOption):
            load_csvs(LoadOptions(dump.write(tmp_path / "dump")), url)


def test_a_user_without_the_rights_is_told_what_to_grant(
    dump: Dump, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    load(dump, tmp_path, database_url)
    role = f"reader_{os.getpid()}"
    rows_of(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        theirs = sqlalchemy.make_url(database_url).set(username=role, password=role)
        for command in (
            lambda url: load_csvs(LoadOptions(tmp_path / "dump"), url),
            lambda url: query(Dataset(tmp_path / "dataset"), QueryOptions(), url),
        ):
            with pytest.raises(DatabaseUnreachable, match="permission denied") as error:
                command(theirs.render_as_string(hide_password=False))
            assert "GRANT" in error.value.hint
    finally:
        rows_of(f"DROP ROLE {role}")


@pytest.mark.shared
def test_the_report_on_the_real_dump_is_what_independent_counting_gives(
    shared: Path, database_url: str, rows_of: Rows
) -> None:
    folder = shared / "inat-mini" / "metadata"
    tables = {table: read_independently(folder / f"{table}.csv.gz") for table in HEADERS}
    below = {
        row["taxon_id"] for row in tables["taxa"] if {"47169", "48250"} & {*row["ancestry"].split("/"), row["taxon_id"]}
    }
    kept = {
        row["observation_uuid"]
        for row in tables["observations"]
        if row["quality_grade"] == "research" and row["taxon_id"] in below
    }
    photos = [row for row in tables["photos"] if row["observation_uuid"] in kept]
    ids = [row["photo_id"] for row in photos]
    observations_of: dict[str, set[str]] = {}
    for row in photos:
        observations_of.setdefault(row["photo_id"], set()).add(row["observation_uuid"])
    elsewhere = {row["photo_id"] for row in tables["photos"] if row["observation_uuid"] not in kept}

    report = load_csvs(LoadOptions(shared / "inat-mini"), database_url)

    assert {name: table.read for name, table in report.tables.items()} == {
        name: len(rows) for name, rows in tables.items()
    }
    there = {row["observation_uuid"] for row in tables["observations"]}
    known = {row["taxon_id"]: row for row in tables["taxa"]}
    active = {taxon for taxon, row in known.items() if row["active"] == "true"}
    graded = [row for row in tables["observations"] if row["quality_grade"] == "research"]
    left_out = {
        "observations": {
            "other quality grade": len(tables["observations"]) - len(graded),
            "no taxon": sum(not row["taxon_id"] for row in graded),
            "unknown taxon": sum(bool(row["taxon_id"]) and row["taxon_id"] not in known for row in graded),
            "not below the wanted taxa": sum(row["taxon_id"] in known.keys() - below for row in graded),
        },
        "photos": {
            "observation not kept": sum(row["observation_uuid"] in there - kept for row in tables["photos"]),
            "observation not in the dump (at least)": sum(
                row["observation_uuid"] not in there for row in tables["photos"]
            ),
        },
    }
    for table, reasons in left_out.items():
        assert report.tables[table].left_out == {reason: rows for reason, rows in reasons.items() if rows}
    assert report.tables["observations"].kept == len(kept)
    assert report.tables["photos"].kept == len(photos)
    assert report.tables["observers"].kept == len({row["observer_id"] for row in photos})
    assert report.facts == {
        "photos_in_several_rows": sum(ids.count(photo_id) > 1 for photo_id in set(ids)),
        "photos_on_several_observations": sum(len(them) > 1 for them in observations_of.values()),
        "photos_of_no_observation": 0,
        "photos_also_outside_the_catalogue": len(elsewhere & set(ids)),
        "observations_of_inactive_taxa": sum(
            known[row["taxon_id"]]["active"] == "false" for row in graded if row["observation_uuid"] in kept
        ),
        "observations_without_a_known_taxon": 0,
        "species": len([taxon for taxon in active & below if known[taxon]["rank"] == "species"]),
        "photos_without_a_known_observer": sum(
            row["observer_id"] not in {observer["observer_id"] for observer in tables["observers"]} for row in photos
        ),
    }
    names = {row["name"] for row in rows_of("SELECT name FROM taxa")}
    assert {'Boletus edulis × "aereus"', 'Boletus "betulicola" var.'} <= names
    assert observation_uuid(1) not in kept
