"""The query: N means N, the same N everywhere, with a licence and a credit, and everything left out is counted."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate.catalogue import load
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.catalogue.server import sql_file
from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.errors import BadOption, NothingMatches, StageMissing
from shroomcurate.select import (
    SCHEMA,
    QueryOptions,
    QuerySummary,
    accepted_licenses,
    class_folders,
    list_templates,
    query,
    show_sql,
)
from tests.dumps import (
    EDULIS,
    GUESSOWII,
    HYBRID,
    INACTIVE,
    MUSCARIA,
    OAK,
    VAGINATA,
    Dump,
    observation_uuid,
    read_independently,
)


@pytest.fixture
def select(tmp_path: Path, database_url: str) -> Callable[..., tuple[QuerySummary, list[dict[str, Any]]]]:
    """Load a dump and query it: `select(dump, per_class=2)` gives the summary and the rows."""

    def run(dump: Dump | None, **options: Any) -> tuple[QuerySummary, list[dict[str, Any]]]:
        if dump is not None:
            load_csvs(LoadOptions(dump.write(tmp_path / "dump"), force=True), database_url)
        dataset = Dataset(tmp_path / "dataset")
        summary = query(dataset, QueryOptions(**options), database_url)
        return summary, read_table(dataset.path("selection.parquet")).to_pylist()

    return run


@pytest.fixture
def dump() -> Dump:
    made = Dump()
    made.photographed(MUSCARIA, 8, first=100)
    made.photographed(VAGINATA, 5, first=200)
    made.photographed(EDULIS, 3, first=300)
    return made


#: In a template: photos that are 500 pixels wide at least.
WIDE = """candidate AS (
    SELECT claim.* FROM claim JOIN photos USING (photo_id, observation_uuid) WHERE width >= 500
),"""


def draw(seed: int, photo_id: int) -> str:
    return hashlib.md5(f"{seed}:{photo_id}".encode(), usedforsecurity=False).hexdigest()


def test_the_best_covered_classes_come_first_each_with_its_seeded_sample(dump: Dump, select: Any) -> None:
    summary, rows = select(dump, species=2, per_class=3, reserve=1, seed=7)
    assert summary.left_out == {
        **dict.fromkeys(summary.left_out, 0),
        "class_not_among_the_best": 3,
        "more_than_needed": 5,
    }
    assert [(count.name, count.wanted, count.reserve) for count in summary.classes] == [
        ("Amanita muscaria", 3, 1),
        ('Amanita "vaginata"', 3, 1),
    ]
    muscaria = [row for row in rows if row["class"] == "Amanita_muscaria"]
    assert [row["photo_id"] for row in muscaria] == sorted(range(100, 108), key=lambda photo: draw(7, photo))[:4]
    assert [row["rank_in_class"] for row in muscaria] == [1, 2, 3, 4]
    assert [row["role"] for row in muscaria] == ["wanted", "wanted", "wanted", "reserve"]


def test_the_same_catalogue_and_options_give_the_same_bytes_and_another_seed_another_sample(
    dump: Dump, select: Any, tmp_path: Path
) -> None:
    files = [tmp_path / "dataset" / name for name in ("selection.parquet", "selection.csv")]
    select(dump, per_class=3)
    before = [file.read_bytes() for file in files]
    for table in dump.rows.values():
        table.reverse()
    _, rows = select(dump, per_class=3)
    ids = [row["photo_id"] for row in rows]
    assert ids == [int(row["photo_id"]) for row in csv.DictReader(before[1].decode().splitlines())]
    first = [file.read_bytes() for file in files]
    select(None, per_class=3)
    assert [file.read_bytes() for file in files] == first
    _, other = select(None, per_class=3, seed=1)
    assert [row["photo_id"] for row in other] != ids


def test_a_photo_on_two_classes_is_left_out_and_counted_and_a_repeated_row_is_one_photo(
    dump: Dump, select: Any
) -> None:
    dump.photo(100, 300)  # muscaria's photo in an observation of edulis
    dump.photo(101, 102)  # the same species twice
    dump.photo(102, 102)  # the same row twice
    dump.observation(900, OAK)
    dump.photo(103, 900)  # outside the catalogue as well
    summary, rows = select(dump, per_class=100)
    ids = [row["photo_id"] for row in rows]
    assert not {100, 103} & set(ids)
    assert Counter(ids)[101] == Counter(ids)[102] == 1
    assert summary.left_out["on_two_classes"] == 1
    assert summary.left_out["also_in_an_observation_outside_the_catalogue"] == 1
    assert summary.photos_in_catalogue == len(ids) + sum(summary.left_out.values())


def test_a_conflict_counts_whatever_the_grade_of_the_observation(
    dump: Dump, select: Any, tmp_path: Path, database_url: str
) -> None:
    dump.observation(900, EDULIS, quality_grade="needs_id")
    dump.photo(100, 900)
    dump.observation(901, MUSCARIA, quality_grade="casual")
    dump.photo(101, 901)  # no conflict
    dump.photo(902, 901)
    dump.observation(903, MUSCARIA, quality_grade="")
    dump.photo(903, 903)
    dump.photo(904, 104, license="")
    dump.photo(905, 105, extension="")
    load_csvs(LoadOptions(dump.write(tmp_path / "dump"), quality="any"), database_url)
    summary, rows = select(None, per_class=100)
    ids = {row["photo_id"] for row in rows}
    assert not {100, 902, 903, 904, 905} & ids
    assert 101 in ids
    assert {reason: count for reason, count in summary.left_out.items() if count} == {
        "other_quality_grade": 2,
        "on_two_classes": 1,
        "other_license": 1,
        "without_a_file_extension": 1,
    }
    assert summary.photos_in_catalogue == len(ids) + sum(summary.left_out.values())


def test_every_observation_of_a_photo_is_named(dump: Dump, select: Any) -> None:
    for observation in (104, 102, 102, 101):
        dump.photo(101, observation)
    _, rows = select(dump, per_class=100)
    others = {row["photo_id"]: row["other_observations"] for row in rows}
    assert others.pop(101) == f"{observation_uuid(102)} {observation_uuid(104)}"
    assert set(others.values()) == {None}


def test_a_query_during_the_swap_of_a_load_has_the_new_catalogue(
    dump: Dump, select: Any, tmp_path: Path, database_url: str, rows_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(dump)
    dump.photographed(HYBRID, 3, first=900)
    folder = dump.write(tmp_path / "dump")
    swapped, swap = threading.Event(), load._swap

    def slow_swap(*arguments: Any) -> None:
        swap(*arguments)
        swapped.set()
        for _ in range(100):
            if rows_of("SELECT FROM pg_locks WHERE NOT granted"):
                break
            time.sleep(0.05)

    monkeypatch.setattr(load, "_swap", slow_swap)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load_csvs, LoadOptions(folder), database_url)
        assert swapped.wait(30)
        summary, _ = select(None)
        report = loading.result()
    assert summary.photos_in_catalogue == 19
    receipt = read_receipt(tmp_path / "dataset" / "selection.parquet")
    assert receipt is not None
    assert receipt.options["catalogue"] == report.fingerprint


def test_the_largest_numbers_are_taken(dump: Dump, select: Any) -> None:
    most = 1_000_000_000
    options = dict.fromkeys(("species", "per_class", "reserve", "max_per_observation", "max_per_observer"), most)
    assert select(dump, **options)[0].wanted == 16


def test_two_species_of_one_genus_are_one_class_at_genus_rank(dump: Dump, select: Any) -> None:
    dump.photo(100, 200)
    _, rows = select(dump, rank="genus", per_class=100)
    assert {row["class"] for row in rows} == {"Amanita", "Boletus"}
    assert 100 in {row["photo_id"] for row in rows}


def test_subspecies_roll_up_hybrids_and_inactive_taxa_do_not(dump: Dump, select: Any) -> None:
    for number, taxon in enumerate((GUESSOWII, HYBRID, INACTIVE)):
        dump.photographed(taxon, 1, first=500 + number)
    summary, rows = select(dump, per_class=100)
    found = {row["photo_id"]: row for row in rows}
    assert found[500]["class"] == "Amanita_muscaria"
    assert found[500]["taxon_name"] == "Amanita muscaria guessowii"
    assert not {501, 502} & set(found)
    assert summary.left_out["no_class_at_this_rank"] == 2


def test_licences_are_filtered_and_every_photo_carries_its_credit(dump: Dump, select: Any) -> None:
    dump.observer(2, "bob", " ")
    dump.observer(3, "", "")
    for photo, (license_name, observer) in enumerate(
        [("CC0", 1), ("PD", 1), ("CC-BY-NC", 2), ("CC-BY-ND", 3), ("CC-BY-SA", 4), ("CC-BY-NC-SA", 1)], start=600
    ):
        dump.observation(photo, MUSCARIA)
        dump.photo(photo, photo, license=license_name, observer_id=observer)
    credit = {row["photo_id"]: row["attribution"] for row in select(dump, per_class=100)[1]}
    assert credit[600] == "Ann Observer, no rights reserved (CC0)"
    assert credit[601] == "Ann Observer, no known copyright restrictions (PD)"
    assert credit[602] == "© bob, some rights reserved (CC-BY-NC)"
    assert credit[603] == "© iNaturalist user 3, some rights reserved (CC-BY-ND)"
    assert credit[604] == "© iNaturalist user 4, some rights reserved (CC-BY-SA)"
    summary, rows = select(None, per_class=100, licenses="commercial")
    assert set(summary.licenses) == {"CC0", "PD", "CC-BY", "CC-BY-SA"}
    assert summary.left_out["other_license"] == 3
    _, rows = select(None, per_class=100, licenses="cc0, cc-by-nc")
    assert {row["license"] for row in rows} == {"CC0", "CC-BY-NC"}


def test_caps_hold_for_observations_and_observers(dump: Dump, select: Any) -> None:
    for photo in range(700, 720):
        dump.photo(photo, 100, position=photo - 699)
    _, rows = select(dump, per_class=100, max_per_observation=2)
    assert max(Counter(row["observation_uuid"] for row in rows).values()) == 2
    _, rows = select(None, per_class=100, max_per_observer=3)
    assert set(Counter((row["class"], row["observer_id"]) for row in rows).values()) == {3}


def test_classes_below_the_minimum_are_left_out_and_short_ones_are_named(dump: Dump, select: Any) -> None:
    summary, _ = select(dump, per_class=6, min_per_class=4)
    assert [count.folder for count in summary.classes] == ["Amanita_muscaria", "Amanita_vaginata"]
    assert summary.short == {"Amanita_vaginata": 1}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    species=st.integers(1, 4),
    per_class=st.integers(1, 10),
    reserve=st.none() | st.integers(0, 5),
    seed=st.integers(0, 5),
    cap=st.none() | st.integers(1, 3),
)
def test_the_manifest_holds_for_any_options(
    tmp_path: Path, database_url: str, species: int, per_class: int, reserve: int | None, seed: int, cap: int | None
) -> None:
    made = Dump()
    for number, taxon in enumerate((MUSCARIA, VAGINATA, EDULIS)):
        for observation in range(4 - number):
            made.observation(10 * number + observation, taxon)
            for photo in range(3):
                made.photo(100 * number + 10 * observation + photo, 10 * number + observation)
    if not (tmp_path / "dump").exists():
        load_csvs(LoadOptions(made.write(tmp_path / "dump")), database_url)
    options = QueryOptions(species=species, per_class=per_class, reserve=reserve, seed=seed, max_per_observation=cap)
    dataset = Dataset(tmp_path / "dataset")
    summary = query(dataset, options, database_url)
    rows = read_table(dataset.path("selection.parquet")).to_pylist()
    assert len({row["photo_id"] for row in rows}) == len(rows)
    assert len(summary.classes) == min(species, 3)
    assert [row["photo_id"] for row in rows] == [
        int(row["photo_id"]) for row in csv.DictReader(dataset.path("selection.csv").open(encoding="utf-8"))
    ]
    for count in summary.classes:
        own = [row for row in rows if row["class"] == count.folder]
        assert [row["rank_in_class"] for row in own] == list(range(1, len(own) + 1))
        assert [row["role"] for row in own] == ["wanted"] * count.wanted + ["reserve"] * count.reserve
        assert count.wanted + summary.short.get(count.folder, 0) == per_class
        assert all(re.search(r"reserved|restrictions", row["attribution"]) for row in own)
        if cap:
            assert max(Counter(row["observation_uuid"] for row in own).values()) <= cap


def test_the_receipt_names_the_catalogue_the_statement_and_every_parameter(
    dump: Dump, select: Any, tmp_path: Path
) -> None:
    select(dump, per_class=3)
    receipt = read_receipt(tmp_path / "dataset" / "selection.parquet")
    assert receipt is not None
    assert receipt.stage == "query"
    assert receipt.options["per_class"] == 3
    assert len(receipt.options["catalogue"]) == 64
    assert "WITH class AS" in receipt.options["sql"]


def test_query_before_load_says_what_to_type(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(StageMissing) as error:
        query(Dataset(tmp_path), QueryOptions(), database_url)
    assert "shroomcurate load-csvs" in error.value.hint


def test_nothing_that_matches_is_said_with_the_reasons(dump: Dump, select: Any, tmp_path: Path) -> None:
    with pytest.raises(NothingMatches, match="16 other license"):
        select(dump, licenses="CC0")
    assert not (tmp_path / "dataset" / "selection.parquet").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"species": 0},
        {"per_class": -1},
        {"reserve": -1},
        {"rank": "kingdom"},
        {"licenses": "CC-BY-4.0"},
        {"licenses": ""},
        {"max_per_observer": 0},
        {"per_class": 1_000_000_001},
        {"reserve": 2**31},
        {"max_per_observation": 2**63},
        {"quality": "good"},
        {"region": "texas"},
        {"region": "1,2,3"},
        {"region": "nan,2,3,4"},
        {"region": "-181,0,0,1"},
        {"region": "0,-91,0,1"},
        {"region": "0,2,1,1"},
        {"since": "2024-02-30"},
        {"until": "31.12.2024"},
        {"until": "20240131"},
        {"since": "0000"},
        {"since": "2024", "until": "2023"},
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(options: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as error:
        QueryOptions(**options)
    assert error.value.hint


def test_profiles_are_what_they_say() -> None:
    assert len(accepted_licenses("any")) == 8
    assert not [name for name in accepted_licenses("commercial") if "NC" in name or "ND" in name]
    assert not [name for name in accepted_licenses("share") if "ND" in name]


@given(names=st.dictionaries(st.integers(1, 10**7), st.text(max_size=20), max_size=30))
def test_class_folders_are_one_each_and_safe_on_any_file_system(names: dict[int, str]) -> None:
    folders = class_folders(names)
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    for folder in folders.values():
        assert folder
        assert not set(folder) & set('/\\:*?"<>|\0')
        assert not folder.startswith(".")


def test_a_name_that_ends_like_an_id_does_not_clash() -> None:
    folders = class_folders({1: "A b", 2: "A_b", 3: "A b 1"})
    assert len({folder.casefold() for folder in folders.values()}) == 3


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Amanita muscaria", "Amanita_muscaria"),
        ('Boletus "betulicola" var.', "Boletus_betulicola_var"),
        ("Cortinarius × x/../y", "Cortinarius_x_.._y"),
    ],
)
def test_class_folders_stay_readable(name: str, folder: str) -> None:
    assert class_folders({1: name}) == {1: folder}


def test_a_template_of_the_users_own_is_used_and_checked(dump: Dump, select: Any, tmp_path: Path) -> None:
    select(dump)
    template = tmp_path / "mine.sql"
    for content, reason in (
        ("-- :per_class bigint n\nSELECT 1 AS photo_id -- :seed\nWHERE :per_class > 0;", "gives no column photo_uuid"),
        ("SELECT :unheard_of", ":unheard_of"),
        ("SELECT :seed", "header does not declare"),
        ("-- :seed bigint a number\nSELECT :seed", "its type is text"),
        ("-- :sead text a number\nSELECT 1", "no parameter"),
        ("-- include: ../../schema/tables.sql\nSELECT 1 /* :x */, ':y', \":z\", 2::text", "column"),
        ("-- include: nowhere.sql\nSELECT 1", "none of the shared parts"),
        ("SELECT nonsense", "nonsense"),
        ("SELECT 'x'::integer", "invalid input"),
        ("SET lock_timeout = 0", "refuses"),
        ("DELETE FROM photos RETURNING *", "read-only"),
        ("SELECT '\udcff'", "not UTF-8"),
    ):
        template.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(BadOption, match=reason) as error:
            select(None, template=str(template))
        assert error.value.hint
    assert select(None)[0].photos_in_catalogue == 16


def test_a_template_of_the_users_own_may_use_the_shared_parts(dump: Dump, select: Any, tmp_path: Path) -> None:
    for photo in dump.rows["photos"][:3]:
        photo["width"] = 100
    template = tmp_path / "wide.sql"
    text = sql_file("select/balanced.sql").read_text().replace("-- include: judged.sql\n,", "-- include: judged.sql\n,")
    template.write_text(text.replace("-- include: chosen.sql", WIDE))
    summary, rows = select(dump, template=str(template), per_class=100)
    assert {row["photo_id"] for row in rows} == {*range(103, 108), *range(200, 205), *range(300, 303)}
    assert summary.left_out == {"not_selected_by_the_template": 3}


def test_a_photo_that_a_template_gives_twice_is_refused(dump: Dump, select: Any, tmp_path: Path) -> None:
    select(dump)
    template = tmp_path / "twice.sql"
    once = """SELECT photo_id, photo_uuid, observation_uuid, observer_id, taxon_id, 'x' AS taxon_name, 'x' AS class_name,
              species_id AS class_taxon_id, 1 AS rank_in_class, extension, license, 'x%' AS attribution,
              latitude, longitude, observed_on FROM claim"""
    template.write_text(once)
    assert {row["attribution"] for row in select(None, template=str(template))[1]} == {"x%"}
    for content, reason in (
        (f"{once} UNION ALL {once}", "twice"),
        (once.replace("extension,", "NULL AS extension,"), "without extension"),
        (once.replace("observed_on FROM", "'soon' AS observed_on FROM"), "'soon'"),
    ):
        template.write_text(content)
        with pytest.raises(BadOption, match=reason):
            select(None, template=str(template))


def test_bundled_templates_are_named_and_listed(dump: Dump, select: Any, tmp_path: Path) -> None:
    assert [template.name for template in list_templates()] == ["balanced", "species_list"]
    assert select(dump, template="balanced", per_class=2) == select(None, per_class=2)
    with pytest.raises(BadOption, match="neither a template nor a file") as error:
        select(None, template="balenced")
    assert "balanced, species_list" in error.value.hint
    names = tmp_path / "names"
    names.write_text("Amanita muscaria")
    for options in ({"template": "species_list"}, {"template": "balanced", "names": names}):
        with pytest.raises(BadOption, match="list"):
            QueryOptions(**options)


PSQL = shutil.which("psql")


@pytest.mark.skipif(PSQL is None, reason="needs psql")
@pytest.mark.parametrize("listed", [False, True])
def test_show_sql_is_what_psql_runs_with_the_same_rows(
    dump: Dump, select: Any, tmp_path: Path, database_url: str, listed: bool
) -> None:
    names, exclude = tmp_path / "names", tmp_path / "ids"
    names.write_text("Amanita muscaria\n")
    exclude.write_text("100\n")
    options: dict[str, Any] = {"per_class": 2, "reserve": 1, "seed": 5, "licenses": "share", "max_per_observer": 3}
    options |= {"since": "2020", "region": "-10,40,10,50", "exclude": (exclude,), "taxa": ("Fungi's",)[:0]}
    if listed:
        options |= {"names": names, "taxa": ("Amanita",)}
    _, rows = select(dump, **options)
    assert rows
    printed = subprocess.run(
        [str(PSQL), database_url, "--quiet", "--csv", "--set", "ON_ERROR_STOP=1"],
        input=show_sql(QueryOptions(**options), database_url),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [int(row["photo_id"]) for row in csv.DictReader(printed.splitlines())] == [row["photo_id"] for row in rows]


def test_every_column_has_a_meaning() -> None:
    assert all(column.meaning for column in SCHEMA)


@pytest.mark.shared
def test_the_real_selection_is_what_independent_counting_gives(shared: Path, tmp_path: Path, database_url: str) -> None:
    load_csvs(LoadOptions(shared / "inat-mini"), database_url)
    dataset = Dataset(tmp_path / "dataset")
    summary = query(dataset, QueryOptions(species=4, per_class=200), database_url)
    rows = read_table(dataset.path("selection.parquet")).to_pylist()
    assert [count.wanted for count in summary.classes] == [200] * 4
    folder = shared / "inat-mini" / "metadata"
    photos, observations, taxa = (
        read_independently(folder / f"{table}.csv.gz") for table in ("photos", "observations", "taxa")
    )
    name_of = {
        row["taxon_id"]: " ".join(row["name"].split()[:2]) for row in taxa if row["rank"] in ("species", "variety")
    }
    taxon_of = {row["observation_uuid"]: row["taxon_id"] for row in observations}
    species_of: dict[int, set[str]] = {}
    for row in photos:
        species_of.setdefault(int(row["photo_id"]), set()).add(
            name_of.get(taxon_of.get(row["observation_uuid"], ""), "?")
        )
    for row in rows:
        assert species_of[row["photo_id"]] == {row["class_name"]}
    assert summary.left_out["on_two_classes"] == 6
    extensions = {int(row["photo_id"]): row["extension"] for row in photos}
    assert all(row["extension"] == extensions[row["photo_id"]] for row in rows)
