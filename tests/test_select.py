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
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate import show
from shroomcurate.catalogue import ledger
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.catalogue.server import CATALOGUE, sql_file
from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.errors import BadOption, NothingMatches, StageMissing
from shroomcurate.select import (
    REASONS,
    SCHEMA,
    QueryOptions,
    QuerySummary,
    accepted_licenses,
    class_folders,
    list_templates,
    query,
    show_sql,
)
from shroomcurate.select.names import Names
from shroomcurate.select.templates import PARAMETERS, read_template
from shroomcurate.terminal import Terminal
from tests.dumps import (
    AMANITA,
    BOLETUS,
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


def draw(seed: int, photo_id: int) -> int:
    digest = hashlib.md5(str(seed).encode(), usedforsecurity=False).hexdigest()
    value = 0
    for place in (0, 7, 14, 21):
        value = (value * photo_id + int(digest[place : place + 7], 16)) % (2**31 - 1)
    return value


def test_draws_are_spread_evenly_whatever_the_seed_and_however_the_ids_follow_each_other() -> None:
    for seed in range(20):
        draws = [draw(seed, photo_id) for photo_id in range(300_000_000, 300_004_000)]
        assert len(set(draws)) == 4000
        shares = Counter(value * 10 // (2**31 - 1) for value in draws)
        assert max(abs(count - 400) for count in shares.values()) < 100  # five standard deviations
        # Of a photo and the next one, as many rise as fall: neighbours are not drawn together.
        together = sum(abs(first - second) < (2**31 - 1) // 20 for first, second in pairwise(draws))
        assert 250 < together < 530  # 390 by chance


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


@pytest.mark.parametrize("photos", ["photos", "1000000 * photos AS photos", "0 AS photos"])
def test_of_a_large_class_the_first_draws_are_taken_also_when_fewer_than_expected_come_early(
    select: Any, tmp_path: Path, photos: str
) -> None:
    dump = Dump()
    dump.photographed(MUSCARIA, 300, first=1000)
    dump.photographed(EDULIS, 2, first=100)
    template = tmp_path / "own.sql"
    text = sql_file("select/balanced.sql").read_text()
    template.write_text(text.replace("SELECT class_taxon_id, photos", f"SELECT class_taxon_id, {photos}"))
    for seed in range(3):
        _, rows = select(dump if not seed else None, template=str(template), per_class=3, reserve=1, seed=seed)
        chosen = [row["photo_id"] for row in rows]
        assert chosen[:4] == sorted(range(1000, 1300), key=lambda photo: draw(seed, photo))[:4]
        assert set(chosen[4:]) == {100, 101}


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


def test_what_contradicts_at_a_rank_contradicts_below_it_and_an_unknown_taxon_everywhere(
    dump: Dump, select: Any
) -> None:
    for number, taxon in enumerate((BOLETUS, AMANITA, HYBRID, INACTIVE)):
        dump.observation(900 + number, taxon)
        dump.photo(100 + number, 900 + number)  # muscaria's photos
    dump.observation(910, INACTIVE)
    dump.observation(911, INACTIVE)
    dump.photo(910, 910)
    dump.photo(910, 911)
    for rank in ("species", "genus"):
        summary, rows = select(dump, per_class=100, rank=rank)
        assert {row["photo_id"] for row in rows} & {100, 101, 102, 103} == {101}
        assert (summary.left_out["on_two_classes"], summary.left_out["no_class_at_this_rank"]) == (3, 1)


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
    swapped, swap = threading.Event(), ledger.swap

    def slow_swap(*arguments: Any) -> None:
        swap(*arguments)
        swapped.set()
        for _ in range(100):
            if rows_of("SELECT FROM pg_locks WHERE NOT granted"):
                break
            time.sleep(0.05)

    monkeypatch.setattr(ledger, "swap", slow_swap)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load_csvs, LoadOptions(folder), database_url)
        assert swapped.wait(30)
        summary, _ = select(None)
        report = loading.result()
    assert summary.photos_in_catalogue == 19
    receipt = read_receipt(tmp_path / "dataset" / "selection.parquet")
    assert receipt is not None
    assert receipt.options["catalogue"] == report.fingerprint


def test_a_catalogue_of_all_taxa_gives_the_same_rows_for_the_same_branch(
    dump: Dump, select: Any, tmp_path: Path, database_url: str
) -> None:
    dump.photo(101, 102)  # one photo, two observations of a species
    dump.photo(103, 200)  # and of two species
    dump.observation(900, OAK)
    dump.photo(104, 900)
    dump.photo(900, 900)
    _, rows = select(dump, per_class=100)
    load_csvs(LoadOptions(tmp_path / "dump", all_taxa=True), database_url)
    summary, all_rows = select(None, per_class=100, taxa=("Basidiomycota",))
    assert all_rows == rows
    assert summary.left_out["on_two_classes"] == 2
    assert {row["other_observations"] for row in rows if row["photo_id"] == 101} == {observation_uuid(102)}


OWN = """-- :per_class bigint photos wanted
WITH best AS (SELECT species_id FROM claim GROUP BY species_id ORDER BY count(*) DESC, species_id LIMIT 1)
SELECT photo_id, photo_uuid, observation_uuid, observer_id, claim.taxon_id, taxa.name AS taxon_name,
       taxa.name AS class_name, species_id AS class_taxon_id,
       row_number() OVER (ORDER BY photo_id) AS rank_in_class, extension, license, 'me' AS attribution,
       latitude, longitude, observed_on
FROM claim JOIN best USING (species_id) JOIN taxa ON taxa.taxon_id = species_id
ORDER BY photo_id LIMIT :per_class
"""


def test_an_option_that_a_template_of_ones_own_does_not_heed_is_refused(
    dump: Dump, select: Any, tmp_path: Path
) -> None:
    own = tmp_path / "own.sql"
    own.write_text(OWN)
    summary, _ = select(dump, template=str(own), per_class=3)
    assert summary.wanted == 3
    receipt = read_receipt(tmp_path / "dataset" / "selection.parquet")
    assert receipt is not None
    assert not {"licenses", "since", "reserve"} & set(receipt.options)
    for option, value in {
        "licenses": "commercial",
        "region": "conus",
        "since": "2020",
        "seed": 1,
        "reserve": 2,
    }.items():
        with pytest.raises(BadOption, match=f"--{option} would be ignored: .*own.sql does not use"):
            select(None, template=str(own), per_class=3, **{option: value})


def test_photos_whose_observations_contradict_each_other_at_another_rank_are_left_out(dump: Dump, select: Any) -> None:
    dump.observation(900, BOLETUS)
    dump.photo(101, 900)  # a species here, another genus there
    dump.observation(901, INACTIVE)
    dump.photo(102, 901)  # a species here, a taxon of which nobody knows what became of it there
    dump.observation(902, AMANITA)
    dump.photo(103, 902)  # a species here, its genus there: no contradiction
    summary, rows = select(dump, per_class=100)
    assert {101, 102, 103} & {row["photo_id"] for row in rows} == {103}
    assert summary.left_out["on_two_classes"] == 2


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


def test_a_list_takes_names_ids_and_folder_forms_each_class_once(dump: Dump, select: Any, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes(
        "\ufeff# wanted\r\n\r\nAmanita muscaria\r\n  Amanita   muscaria # again\r\nAmanita_vaginata\n".encode()
        + b"106\n"
    )
    assert EDULIS == 106 or names.write_text(names.read_text().replace("106", str(EDULIS)))
    summary, rows = select(dump, names=names, per_class=4, min_per_class=4)
    assert {row["class"] for row in rows} == {"Amanita_muscaria", "Amanita_vaginata"}
    assert summary.without_photos == ["Boletus edulis"]
    assert summary.left_out["class_too_small"] == 3
    names.write_text("Boletus")
    summary, rows = select(None, names=names, rank="genus")
    assert {row["class_taxon_id"] for row in rows} == {BOLETUS}
    assert summary.left_out["class_not_in_the_list"] == 13
    assert summary.photos_in_catalogue == len(rows) + sum(summary.left_out.values())


def test_what_is_wrong_in_a_list_is_named_with_its_line_and_what_to_do(dump: Dump, select: Any, tmp_path: Path) -> None:
    dump.taxon(901, f"48460/47170/47169/{AMANITA}", "10", "species", "Amanita twice")
    dump.taxon(902, "48460/47170/47169/103", "10", "species", "Amanita twice")
    select(dump)
    names = tmp_path / "names.txt"
    for content, reason in (
        (
            "Amanita muscaria\nAmanita muscariae",
            "line 2: 'Amanita muscariae' is unknown; the nearest is Amanita muscaria",
        ),
        ("Qqqq wwww", "line 1: 'Qqqq wwww' is unknown, and nothing is near it"),
        ("Amanita gone", f"inactive .{INACTIVE}."),
        (str(INACTIVE), "inactive"),
        ("Amanita", "not of rank species but genus: give --rank genus, or --taxon Amanita instead of a list"),
        ("basidiomycota", "not of rank species but phylum: give --taxon Basidiomycota instead of a list"),
        ("Amanita twice", "names 2 taxa; write the id of the one you mean: 901 or 902"),
        ("123456789", "'123456789' is unknown"),
        ("\n".join(f"Nothing {number}" for number in range(15)), "and 5 more"),
    ):
        names.write_text(content)
        with pytest.raises(NothingMatches, match=reason) as error:
            select(None, names=names)
        assert "load-csvs" in error.value.hint
        assert "Basidiomycota" in error.value.hint
    for raw, reason in ((b"# nothing", "no name"), (b"ok\n\xff\xfeA", "line 2 is not UTF-8"), (b"A\0b", "control")):
        names.write_bytes(raw)
        with pytest.raises(BadOption, match=reason):
            select(None, names=names)
    with pytest.raises(BadOption, match="no file"):
        select(None, names=tmp_path / "nowhere")
    names.write_text("902")
    with pytest.raises(NothingMatches, match="class not in the list"):
        select(None, names=names)


def test_names_are_found_exactly_before_loosely(dump: Dump, select: Any, tmp_path: Path) -> None:
    dump.taxon(901, f"48460/47170/47169/{BOLETUS}", "10", "species", "Boletus × edulis")
    dump.photographed(901, 2, first=900)
    select(dump)
    names = tmp_path / "names"
    for text, wanted in (
        ("Boletus edulis", {EDULIS}),
        ("Boletus_edulis", {EDULIS}),
        ("Boletus × edulis", {901}),
        ("amanita MUSCARIA", {MUSCARIA}),
        ("amanita_muscaria", {MUSCARIA}),
    ):
        names.write_text(text)
        _, rows = select(None, names=names)
        assert {row["class_taxon_id"] for row in rows} == wanted
    assert {row["class_taxon_id"] for row in select(None, taxa=("amanita MUSCARIA",))[1]} == {MUSCARIA}


def test_a_branch_that_is_spelt_wrongly_gets_the_nearest_name(dump: Dump, select: Any) -> None:
    select(dump)
    with pytest.raises(NothingMatches, match=r"'Amanitta' is not among .*; the nearest is Amanita"):
        select(None, taxa=("Amanitta",))
    for text in ("Amanita\udcff", "Amanita\0"):
        with pytest.raises(BadOption, match="--taxon"):
            select(None, taxa=(text,))


def test_the_nearest_of_many_names_is_looked_for_among_those_that_begin_alike() -> None:
    many = [f"Genus{number} species{number}" for number in range(30_000)]
    names = Names([*many, "Amanita muscaria", "Boletus edulis"])
    assert names.nearest("Amanita muscarria") == "Amanita muscaria"
    assert names.nearest("amanitta_muscaria") == "Amanita muscaria"
    assert names.nearest("Xmanita muscaria") is None
    assert Names(["Amanita muscaria"]).nearest("Xmanita muscaria") == "Amanita muscaria"
    assert Names([]).nearest("") is None


def test_what_was_not_loaded_is_said_with_the_command_that_loads_it(
    dump: Dump, select: Any, tmp_path: Path, database_url: str
) -> None:
    dump.observation(900, EDULIS, quality_grade="casual")
    dump.photo(900, 900)
    folder = dump.write(tmp_path / "my dump")
    load_csvs(LoadOptions(folder, taxa=("Amanita",)), database_url)
    load = f"Type this first: shroomcurate load-csvs '{folder}' --taxon Amanita"
    names = tmp_path / "names"
    names.write_text("Amanita")
    for options, hint in (
        ({"quality": "any"}, f"{load} --quality any"),
        ({"quality": "needs_id"}, f"{load} --quality any"),
        ({"taxa": ("Fungi",)}, f"{load} --taxon Fungi"),
        ({"taxa": ("47169",)}, f"{load} --taxon Basidiomycota"),
    ):
        with pytest.raises(StageMissing) as missing:
            select(None, **options)
        assert missing.value.hint == hint
    with pytest.raises(NothingMatches) as unknown:
        select(None, taxa=("Boletus",))
    assert "holds Amanita only" in unknown.value.what
    assert "--taxon Amanita --taxon Boletus" in unknown.value.hint
    summary, _ = select(None, names=names, rank="genus", taxa=("Amanita muscaria",))
    assert (summary.wanted, summary.left_out["outside_the_taxon"]) == (8, 5)
    load_csvs(LoadOptions(folder, all_taxa=True, quality="casual", force=True), database_url)
    with pytest.raises(StageMissing) as missing:
        select(None)
    assert missing.value.hint.endswith("--all-taxa --quality any")


def test_an_excluded_photo_takes_its_observation_with_it(dump: Dump, select: Any, tmp_path: Path) -> None:
    dump.photo(700, 100)
    dump.photo(701, 100)
    few, many = tmp_path / "few.txt", tmp_path / "many.txt"
    few.write_text("# earlier\n700\n\n101 # and this\n")
    # More than a statement takes of parameters.
    many.write_text("".join(f"{number}\n" for number in range(10**6, 10**6 + 70_000)))
    summary, rows = select(dump, exclude=(few, many), per_class=100)
    assert not {100, 101, 700, 701} & {row["photo_id"] for row in rows}
    assert (summary.left_out["excluded"], summary.left_out["of_an_excluded_observation"]) == (2, 2)
    assert summary.photos_in_catalogue == len(rows) + sum(summary.left_out.values())
    _, first = select(None, per_class=2, reserve=0, seed=1)
    for earlier in ("selection.csv", "selection.parquet", ""):
        held = {row["photo_id"] for row in first}
        copied = tmp_path / "earlier"
        shutil.copytree(tmp_path / "dataset", copied, dirs_exist_ok=True)
        _, second = select(None, per_class=100, exclude=(copied / earlier, few))
        assert not held & {row["photo_id"] for row in second}
        _, first = select(None, per_class=2, reserve=0, seed=2)


def test_an_earlier_dataset_of_which_nothing_is_here_is_said(
    dump: Dump, select: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n2\n3\n")
    options = QueryOptions(exclude=(ids,), per_class=6)
    summary, _ = select(dump, exclude=options.exclude, per_class=6)
    assert (summary.excluded_ids, summary.excluded_found) == (3, 0)
    show.query(Terminal(as_json=False, quiet=False), summary, options)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "0 of 3 ids are in the catalogue" in said
    assert "2 classes have fewer than 6 photos" in said
    ids.write_text("1\n100\n")
    assert select(None, exclude=(ids,))[0].excluded_found == 1


def test_what_the_api_gave_is_not_loaded_again_for_more(
    dump: Dump, select: Any, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "api" / "pages").mkdir(parents=True)
    load_csvs(LoadOptions(dump.write(tmp_path / "api" / "dump"), taxa=("Amanita muscaria",)), database_url)
    for options in ({"quality": "any"}, {"taxa": ("Amanita",)}, {"taxa": ("Nothing",)}):
        with pytest.raises((StageMissing, NothingMatches)) as error:
            select(None, **options)
        assert "shroomcurate load-api --taxon" in error.value.hint
        assert str(tmp_path) not in error.value.hint


def test_a_photo_that_also_stands_in_an_excluded_observation_is_left_out(
    dump: Dump, select: Any, tmp_path: Path
) -> None:
    dump.observation(110, MUSCARIA)
    for observation in (100, 110, 101):
        dump.photo(700, observation)
    ids = tmp_path / "ids.txt"
    ids.write_text("100\n")
    summary, rows = select(dump, exclude=(ids,), per_class=100)
    assert not {100, 700} & {row["photo_id"] for row in rows}
    assert 101 in {row["photo_id"] for row in rows}
    assert (summary.left_out["excluded"], summary.left_out["of_an_excluded_observation"]) == (1, 1)


def test_bad_files_to_exclude_are_named(dump: Dump, select: Any, tmp_path: Path) -> None:
    select(dump)
    for number, (name, content, reason) in enumerate(
        (
            ("ids.txt", b"12\n12a\n", "line 2: '12a'"),
            ("ids.txt", b"\xff\n", "not UTF-8"),
            ("ids.csv", b"photo_id,x\n1,2\n,3\n", "line 3"),
            ("ids.csv", b'photo_id,x\n1,"2\n3,4\n', "after line 1: unexpected end"),
            ("ids.csv", b"photo_id,x\n", "no photo id"),
            ("ids.txt", b"# none\n", "no photo id"),
            ("ids.parquet", b"PAR1", "photo_id"),
            (".", b"", "no file"),
        )
    ):
        file = tmp_path / f"bad {number}" / name
        (tmp_path / f"bad {number}").mkdir()
        if content:
            file.write_bytes(content)
        with pytest.raises(BadOption, match=reason):
            select(None, exclude=(file,))


def test_an_empty_selection_names_the_filter_behind_which_nothing_was_left(dump: Dump, select: Any) -> None:
    select(dump)
    for options, option in (
        ({"region": "0,0,1,1"}, "--region"),
        ({"since": "2025"}, "--since"),
        ({"licenses": "CC0"}, "--licenses"),
        ({"min_per_class": 9}, "--min-per-class"),
    ):
        with pytest.raises(NothingMatches) as error:
            select(None, **options)
        assert option in error.value.hint


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@st.composite
def catalogues(draw: Any) -> Dump:
    """Observations of any grade, place and day, and photos in one or several of them."""
    made = Dump()
    observations = draw(st.integers(1, 14))
    for number in range(observations):
        made.observation(
            number,
            draw(st.sampled_from([MUSCARIA, MUSCARIA, GUESSOWII, VAGINATA, EDULIS, HYBRID, AMANITA, INACTIVE, OAK])),
            quality_grade=draw(st.sampled_from(["research", "research", "research", "needs_id"])),
            latitude=draw(st.sampled_from(["47.5", "-33", "0", ""])),
            longitude=draw(st.sampled_from(["-179", "8", "179.5"])),
            observed_on=draw(st.sampled_from(["2019-12-31", "2020-01-01", "2020-12-31", "2021-01-01", ""])),
        )
    for photo in range(draw(st.integers(1, 30))):
        facts = {
            "license": draw(st.sampled_from(["CC-BY", "CC0", "CC-BY-NC", ""])),
            "observer_id": draw(st.integers(1, 3)),
            "extension": draw(st.sampled_from(["jpg", "jpg", "JPEG", ""])),
        }
        for observation in draw(st.lists(st.integers(0, observations - 1), min_size=1, max_size=2)):
            made.photo(1000 + photo, observation, **facts)
    return made


@st.composite
def wishes(draw: Any) -> dict[str, Any]:
    return {
        "species": draw(st.integers(1, 3)),
        "per_class": draw(st.integers(1, 4)),
        "reserve": draw(st.integers(0, 2)),
        "rank": draw(st.sampled_from(["species", "genus"])),
        "licenses": draw(st.sampled_from(["any", "commercial"])),
        "min_per_class": draw(st.integers(1, 3)),
        "max_per_observation": draw(st.none() | st.integers(1, 2)),
        "max_per_observer": draw(st.none() | st.integers(1, 3)),
        "seed": draw(st.integers(0, 3)),
        "quality": draw(st.sampled_from(["research", "any"])),
        "region": draw(st.sampled_from([None, "0,40,10,50", "170,-90,-170,90"])),
        "since": draw(st.sampled_from([None, "2020"])),
        "until": draw(st.sampled_from([None, "2020", "2020-12-31"])),
    }


def over_cap(members: list[dict[str, Any]], key: str, most: int) -> list[dict[str, Any]]:
    """Take the photos over a cap out of a class, and return them."""
    turns: Counter[Any] = Counter()
    over = []
    for row in list(members):
        owner = row["observation_uuid" if key == "observation" else "observer_id"]
        turns[owner] += 1
        if turns[owner] > most:
            members.remove(row)
            over.append(row)
    return over


def modelled(dump: Dump, wish: dict[str, Any], excluded: set[int]) -> tuple[list[tuple[int, int, int]], Counter[str]]:
    """What a query of a catalogue with all grades below the two phyla must give, counted without SQL."""
    observations = {row["observation_uuid"]: row for row in dump.rows["observations"]}
    taxa = {row["taxon_id"]: row for row in dump.rows["taxa"]}
    rows_of_photo: dict[int, list[dict[str, Any]]] = {}
    for row in dump.rows["photos"]:
        rows_of_photo.setdefault(row["photo_id"], []).append({**observations[row["observation_uuid"]], **row})

    def class_of(taxon_id: int, rank: str = wish["rank"]) -> int | None:
        line = [*map(int, taxa[taxon_id]["ancestry"].split("/")), taxon_id]
        active = taxa[taxon_id]["active"] == "true"
        return next((each for each in line if active and taxa[each]["rank"] == rank), None)

    def contradict(found: set[int]) -> bool:
        ranks = ["species", "genus", "family"]
        unknown = [taxon for taxon in found if not any(class_of(taxon, rank) for rank in ranks)]
        at_or_above = ranks[ranks.index(wish["rank"]) :]
        two = any(len({class_of(taxon, rank) for taxon in found} - {None}) > 1 for rank in at_or_above)
        return len(found) > 1 and (bool(unknown) or two)

    spoilt = {row["observation_uuid"] for photo in excluded for row in rows_of_photo.get(photo, [])}
    box = [float(edge) for edge in wish["region"].split(",")] if wish["region"] else None
    since, until = wish["since"] and "2020-01-01", wish["until"] and "2020-12-31"

    leaking = {photo for photo, rows in rows_of_photo.items() if spoilt & {row["observation_uuid"] for row in rows}}

    def reason(row: dict[str, Any], conflict: bool, elsewhere: bool) -> tuple[int, str]:
        here = row["latitude"] and box and box[1] <= float(row["latitude"]) <= box[3]
        east = float(row["longitude"])
        here = here and (box[0] <= east <= box[2] if box[0] <= box[2] else east >= box[0] or east <= box[2])
        day = row["observed_on"]
        asked = [
            (wish["quality"] != "any" and row["quality_grade"] != wish["quality"], "other_quality_grade"),
            (class_of(row["taxon_id"]) is None, "no_class_at_this_rank"),
            (conflict, "on_two_classes"),
            (elsewhere, "also_in_an_observation_outside_the_catalogue"),
            (row["license"] not in accepted_licenses(wish["licenses"]), "other_license"),
            (not row["extension"], "without_a_file_extension"),
            (box and not row["latitude"], "without_coordinates"),
            (box and not here, "outside_the_region"),
            ((since or until) and not day, "without_a_date"),
            ((since and day < since) or (until and day > until), "outside_the_dates"),
            (row["photo_id"] in excluded, "excluded"),
            (row["photo_id"] in leaking, "of_an_excluded_observation"),
        ]
        return next(((step, name) for step, (holds, name) in enumerate(asked) if holds), (len(asked), ""))

    left_out: Counter[str] = Counter()
    available: dict[int, list[dict[str, Any]]] = {}
    for photo_id, rows in rows_of_photo.items():
        inside = [row for row in rows if row["taxon_id"] != OAK]
        if not inside:
            continue
        conflict, elsewhere = contradict({row["taxon_id"] for row in inside}), len(inside) < len(rows)
        best = min(inside, key=lambda row: (-reason(row, conflict, elsewhere)[0], row["observation_uuid"]))
        if why := reason(best, conflict, elsewhere)[1]:
            left_out[why] += 1
        else:
            available.setdefault(class_of(best["taxon_id"]) or 0, []).append({**best, "photo_id": photo_id})
    for members in available.values():
        members.sort(key=lambda row: draw(wish["seed"], row["photo_id"]))
        for key in ("observation", "observer"):
            left_out[f"over_max_per_{key}"] += len(over_cap(members, key, wish[f"max_per_{key}"] or 10**9))
    chosen = []
    for class_id, members in sorted(available.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(members) < wish["min_per_class"]:
            left_out["class_too_small"] += len(members)
        elif len(chosen) == wish["species"]:
            left_out["class_not_among_the_best"] += len(members)
        else:
            chosen.append((class_id, members))
    most = wish["per_class"] + wish["reserve"]
    left_out["more_than_needed"] = sum(max(len(members) - most, 0) for _, members in chosen)
    return [
        (class_id, rank, row["photo_id"]) for class_id, members in chosen for rank, row in enumerate(members[:most], 1)
    ], +left_out


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=catalogues(), wish=wishes(), excluded=st.sets(st.integers(1000, 1010), max_size=3), shuffled=st.randoms())
def test_any_selection_of_any_catalogue_is_the_model_s(
    tmp_path: Path, database_url: str, made: Dump, wish: dict[str, Any], excluded: set[int], shuffled: Any
) -> None:
    expected, left_out = modelled(made, wish, excluded)
    for table in made.rows.values():
        shuffled.shuffle(table)
    (tmp_path / "ids").write_text("\n".join(map(str, excluded)))
    try:
        load_csvs(LoadOptions(made.write(tmp_path / "dump"), quality="any", force=True), database_url)
    except NothingMatches:  # oaks only
        return
    dataset = Dataset(tmp_path / "dataset")
    options = QueryOptions(**wish, exclude=(tmp_path / "ids",) if excluded else ())
    if not expected:
        with pytest.raises(NothingMatches):
            query(dataset, options, database_url)
        return
    summary = query(dataset, options, database_url)
    rows = read_table(dataset.path("selection.parquet")).to_pylist()
    assert [(row["class_taxon_id"], row["rank_in_class"], row["photo_id"]) for row in rows] == expected
    assert {reason: count for reason, count in summary.left_out.items() if count} == left_out
    assert summary.photos_in_catalogue == len(rows) + left_out.total()


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


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("CC BY-NC", "CC-BY-NC"),
        ("cc_by_nc_nd", "CC-BY-NC-ND"),
        ("CCBYSA", "CC-BY-SA"),
        ("by-nc-sa", "CC-BY-NC-SA"),
        ("CC-BY-4.0", "CC-BY"),
        ("CC BY-ND 4.0 International", "CC-BY-ND"),
        ("CC0,CC-BY-NC-4", "CC-BY-NC"),
        ("CC-0", "CC0"),
        ("CC0 1.0", "CC0"),
        ("Commercial", "commercial"),
    ],
)
def test_a_licence_that_is_written_otherwise_is_named(written: str, meant: str) -> None:
    with pytest.raises(BadOption) as error:
        accepted_licenses(written)
    assert error.value.hint.startswith(f"Did you mean {meant}? Use a profile (")


@pytest.mark.parametrize("written", ["", "CC", "CC-BY-N", "CC-BY-3.0-NC", "CC-BY-NX", "CC0,comercial", "CC0,any"])
def test_a_licence_that_is_none_is_not_guessed_for_another_may_permit_more(written: str) -> None:
    with pytest.raises(BadOption) as error:
        accepted_licenses(written)
    assert error.value.hint.startswith("Use a profile (")


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
        ("-- include: ../../schema/tables.sql\nSELECT 1", "none of the shared parts"),
        ("SELECT 1 /* :x */, ':y', \":z\", 2::text", "column"),
        ("-- include: nowhere.sql\nSELECT 1", "none of the shared parts"),
        ("SELECT nonsense", "nonsense"),
        ("SELECT 'x'::integer", "invalid input"),
        ("SET lock_timeout = 0", "refuses"),
        ("DELETE FROM photos RETURNING *", "refuses"),
        ("WITH gone AS (DELETE FROM photos RETURNING *) SELECT * FROM gone", "refuses"),
        ("SELECT '\udcff'", "not UTF-8"),
    ):
        template.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(BadOption, match=reason) as error:
            select(None, template=str(template))
        assert error.value.hint
    assert select(None)[0].photos_in_catalogue == 16


ONCE = """SELECT photo_id, photo_uuid, observation_uuid, observer_id, taxon_id, 'x' AS taxon_name, 'x' AS class_name,
                 species_id AS class_taxon_id, 1 AS rank_in_class, extension, license, 'x%' AS attribution,
                 latitude, longitude, observed_on FROM claim"""


def test_an_option_that_a_template_would_ignore_is_refused_and_the_receipt_names_what_was_used(
    dump: Dump, select: Any, tmp_path: Path
) -> None:
    select(dump)
    template, other = tmp_path / "mine.sql", tmp_path / "other"
    other.write_text("100\n")
    template.write_text(
        f"-- :since date the first day\n-- :seed text declared, and not used\n{ONCE} WHERE :since IS NOT NULL"
    )
    for options, parameter in (
        ({"licenses": "commercial"}, ":licenses"),
        ({"seed": 1}, ":seed"),
        ({"reserve": 0}, ":reserve"),
        ({"region": "conus"}, ":west, :south, :east, :north"),
        ({"taxa": ("Amanita",)}, ":taxa"),
        ({"exclude": (other,)}, ":exclude"),
        ({"names": other}, ":classes"),
    ):
        option = next(iter(options)).replace("taxa", "taxon")
        for ask in (
            lambda o=options: select(None, template=str(template), **o),
            lambda o=options: show_sql(QueryOptions(template=str(template), **o)),
        ):
            with pytest.raises(BadOption, match=f"--{option} would be ignored: {template} .*{parameter}"):
                ask()
    select(None, template=str(template), since="2020", per_class=3)
    receipt = read_receipt(tmp_path / "dataset" / "selection.parquet")
    assert receipt is not None
    told = {"photos_in_catalogue", "left_out", "catalogue", "sql", "asked", "available", "dump"}
    used = set(receipt.options) - told
    assert used == {"since", "per_class"}


@pytest.mark.parametrize(
    "where",
    ["TO STDOUT; COMMIT; DROP SCHEMA {schema} CASCADE; COPY (SELECT 1", "TO PROGRAM 'cat > {file}'; COPY (SELECT 1"],
)
def test_a_template_does_not_break_out_of_its_transaction(dump: Dump, select: Any, tmp_path: Path, where: str) -> None:
    select(dump)
    template, file = tmp_path / "mine.sql", tmp_path / "made"
    template.write_text("SELECT 1) " + where.format(schema=CATALOGUE, file=file))
    with pytest.raises(BadOption, match="PostgreSQL refuses it"):
        select(None, template=str(template))
    assert select(None)[0].photos_in_catalogue == 16
    assert not file.exists()


def test_comments_are_taken_as_psql_takes_them(dump: Dump, select: Any, tmp_path: Path) -> None:
    select(dump)
    template = tmp_path / "mine.sql"
    template.write_text(f"/* a /* b */ :foo */ {ONCE} WHERE 'a;--b' <> ''; -- the end; of it\n/* and ; more */\n")
    assert len(select(None, template=str(template))[1]) == 16
    for content in ("SELECT 1 /* a", "SELECT 1 /* a /* b */", "SELECT 1; SELECT 2", "-- nothing", "SELECT :chosen"):
        template.write_text(content)
        with pytest.raises(BadOption):
            select(None, template=str(template))


def test_a_template_of_the_users_own_may_use_the_shared_parts(dump: Dump, select: Any, tmp_path: Path) -> None:
    for photo in dump.rows["photos"][:3]:
        photo["width"] = 100
    template = tmp_path / "wide.sql"
    text = sql_file("select/balanced.sql").read_text()
    template.write_text(text.replace("-- include: chosen.sql", WIDE))
    summary, rows = select(dump, template=str(template), per_class=100)
    assert {row["photo_id"] for row in rows} == {*range(103, 108), *range(200, 205), *range(300, 303)}
    assert summary.left_out == {"not_selected_by_the_template": 3}


def test_names_and_attribution_are_looked_up_for_a_template_that_does_not_give_them(
    dump: Dump, select: Any, tmp_path: Path
) -> None:
    _, bundled = select(dump, per_class=100)
    template = tmp_path / "without.sql"
    template.write_text(ONCE.replace("'x' AS taxon_name, 'x' AS class_name,", "").replace("'x%' AS attribution,", ""))
    _, rows = select(None, template=str(template))
    looked_up = ("class", "class_name", "taxon_name", "attribution")
    assert {row["photo_id"]: [row[name] for name in looked_up] for row in rows} == {
        row["photo_id"]: [row[name] for name in looked_up] for row in bundled
    }


def test_lines_that_a_value_does_not_need_change_nothing(dump: Dump, select: Any, database_url: str) -> None:
    """A template runs by hand as it stands; without those lines PostgreSQL only plans it better."""
    _, rows = select(dump, per_class=3, seed=2)
    values: dict[str, Any] = {**dict.fromkeys(PARAMETERS), "rank": "species", "quality": "research", "seed": "2"}
    values |= {"licenses": list(accepted_licenses("any")), "species": 445, "per_class": 3, "reserve": 2}
    values["min_per_class"] = 1
    tally, template = (read_template(sql_file(f"select/{name}.sql")) for name in ("parts/tally", "balanced"))
    assert len(template.asked(values).text) < len(template.text)
    assert template.asked({**values, "max_per_observer": 1, "max_per_observation": 1}).used() == template.used()
    with psycopg.ClientCursor(psycopg.connect(database_url), row_factory=psycopg.rows.dict_row) as cursor:
        cursor.execute(f"SET search_path = {CATALOGUE}")
        for whole in (tally, template):
            cursor.execute(whole.bound(), {name: values[name] for name in whole.used()})
        by_hand = {row["photo_id"]: row["rank_in_class"] for row in cursor}
        cursor.connection.close()
    assert by_hand == {row["photo_id"]: row["rank_in_class"] for row in rows}


def test_a_catalogue_of_an_earlier_build_is_to_be_loaded_again(dump: Dump, select: Any, rows_of: Any) -> None:
    select(dump)
    rows_of("DROP TABLE claim_count")
    with pytest.raises(StageMissing, match="another version loaded it") as error:
        select(None)
    assert "shroomcurate load-csvs" in error.value.hint


def test_a_photo_that_a_template_gives_twice_is_refused(dump: Dump, select: Any, tmp_path: Path) -> None:
    select(dump)
    template = tmp_path / "twice.sql"
    once = ONCE
    template.write_text(once)
    assert {row["attribution"] for row in select(None, template=str(template))[1]} == {"x%"}
    for content, reason in (
        (f"{once} UNION ALL {once}", "twice"),
        (once.replace("extension,", "NULL AS extension,"), "without extension"),
        (once.replace("observed_on FROM", "'soon' AS observed_on FROM"), '"soon"'),
    ):
        template.write_text(content)
        with pytest.raises(BadOption, match=reason):
            select(None, template=str(template))


def test_the_template_of_the_readme_works_when_typed(dump: Dump, select: Any, tmp_path: Path) -> None:
    for photo in dump.rows["photos"]:
        photo["width"] = 1000 + photo["photo_id"] % 2 * 48
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (text,) = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    assert len(text.splitlines()) <= 12
    template = tmp_path / "mine.sql"
    template.write_text(text)
    options = {"per_class": 2, "reserve": 1, "species": 2, "licenses": "commercial", "seed": 3, "rank": "genus"}
    summary, rows = select(dump, template=str(template), **options)
    assert [(count.name, count.wanted, count.reserve) for count in summary.classes] == [
        ("Amanita", 2, 1),
        ("Boletus", 1, 0),
    ]
    assert all(row["photo_id"] % 2 for row in rows)


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
    given = {int(row["photo_id"]): int(row["rank_in_class"]) for row in csv.DictReader(printed.splitlines())}
    assert given == {row["photo_id"]: row["rank_in_class"] for row in rows}


def test_the_reasons_are_asked_in_one_order_everywhere() -> None:
    text = "".join(sql_file(f"select/parts/{name}.sql").read_text() for name in ("reason", "judged"))
    asked = [name for name in re.findall(r"THEN '(\w+)'", text) if name in REASONS]
    (ordered,) = re.findall(r"ARRAY\[(.*?)\]", text, re.DOTALL)
    assert asked == list(REASONS)[: len(asked)]
    assert re.findall(r"\w+", ordered) == asked[:-2]  # without the two caps, which come later
    left_out = re.findall(r"'(\w+)'", re.sub("--.*", "", sql_file("check/left_out.sql").read_text()))
    assert [*asked, *left_out] == list(REASONS)[:-2]


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
