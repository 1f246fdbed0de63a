"""The load from the API: what is asked, how politely, what is taken, and that a run can be killed and typed again."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from shroomcurate import __version__
from shroomcurate.catalogue import api
from shroomcurate.catalogue.api import ApiOptions, ApiReport, expected_requests, load_api
from shroomcurate.catalogue.api_client import Api, BrokenPage, Manners
from shroomcurate.catalogue.api_folder import MARKER, write_dump
from shroomcurate.catalogue.api_pages import keep_observations, keep_taxa
from shroomcurate.catalogue.api_rows import (
    bucket_extension,
    observation_row,
    observer_row,
    photo_rows,
    photo_uuid,
    taxon_row,
)
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, Busy, NetworkDown, NothingMatches, NotWritable, Refused
from shroomcurate.select import QueryOptions, query
from tests.api_server import BUCKET, STATIC, ApiServer, World, photo, serving
from tests.dumps import (
    AMANITA,
    EDULIS,
    GUESSOWII,
    INACTIVE,
    MUSCARIA,
    VAGINATA,
    Dump,
    observation_uuid,
    read_independently,
)

Rows = Callable[..., list[dict[str, Any]]]


class Sleep:
    """Waits that are noted instead of waited."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


#: Waits for nothing but answers.
HASTY = Manners(between=0.0, backoff=0.0)


@pytest.fixture
def world() -> World:
    made = World()
    made.observe_many(MUSCARIA, 7, first=1)
    made.observe_many(GUESSOWII, 2, first=11)
    made.observe_many(EDULIS, 6, first=21)
    return made


@pytest.fixture
def server(world: World) -> Iterator[ApiServer]:
    with serving(world) as running:
        yield running


@pytest.fixture
def fetch(server: ApiServer, tmp_path: Path, database_url: str) -> Callable[..., ApiReport]:
    """Run the load: `fetch("Amanita muscaria", per_species=4)`."""

    def run(*taxa: str, manners: Manners = HASTY, **options: Any) -> ApiReport:
        options = {"folder": tmp_path / "api", "api_url": server.url, "per_species": 4, **options}
        return load_api(ApiOptions(taxa=taxa, **options), database_url, manners=manners)

    return run


def photo_ids(rows_of: Rows) -> list[int]:
    return [row["photo_id"] for row in rows_of("SELECT photo_id FROM photos ORDER BY 1")]


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def asked_for(server: ApiServer, part: str) -> list[str]:
    return [each for each in server.requests if part in each]


# -- from the API to a selection -----------------------------------------------------------------------------------


def test_a_list_of_species_becomes_n_photos_per_class(
    server: ApiServer, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHROOMCURATE_DATABASE_URL", database_url)
    monkeypatch.setattr(api, "load_api", partial(load_api, manners=HASTY))
    species = tmp_path / "species.txt"
    species.write_text("# my list\nAmanita_muscaria\n\nBoletus edulis   # the king\n")
    words = ["load-api", "--species-file", str(species), "--per-species", "4", "--api-url", server.url]
    result = CliRunner().invoke(app, [*words, "--contact", "ann@example.org"])
    assert result.exit_code == 0, result.output
    assert "shroomcurate query --species 2 --per-class 4" in " ".join(result.output.split())
    assert "seconds or more" in " ".join(result.output.split())
    assert server.agents == {f"shroomcurate/{__version__} (ann@example.org)"}
    summary = query(Dataset(tmp_path / "dataset"), QueryOptions(species=2, per_class=4), database_url)
    assert [(each.name, each.wanted) for each in summary.classes] == [("Amanita muscaria", 4), ("Boletus edulis", 4)]
    shown = " ".join(CliRunner().invoke(app, words).output.split())
    assert "seconds or more" not in shown
    assert re.search(r"Up to about .* pages are there already", shown)
    again = CliRunner().invoke(app, [*words, "--json"])
    facts = json.loads(again.stdout)
    assert facts["requests"] == 0
    assert facts["pages_there"] > 0
    assert facts["load"]["tables"]["photos"]["kept"] == 12


def test_a_variety_rolls_up_to_its_species(fetch: Callable[..., ApiReport], rows_of: Rows) -> None:
    report = fetch("Amanita muscaria", per_species=10)
    assert [(each.name, each.photos, each.ended) for each in report.species] == [
        ("Amanita muscaria", 9, "all there are")
    ]
    classes = rows_of("SELECT DISTINCT class_name FROM photos JOIN observations USING (observation_uuid) "
                      "JOIN taxon_class USING (taxon_id) WHERE rank = 'species'")  # fmt: skip
    assert classes == [{"class_name": "Amanita muscaria"}]
    assert {row["taxon_id"] for row in rows_of("SELECT taxon_id FROM taxa")} >= {48460, 47170, 47169, AMANITA}


def test_paging_goes_on_by_id_until_there_are_photos_enough(
    fetch: Callable[..., ApiReport], world: World, server: ApiServer
) -> None:
    world.observe_many(VAGINATA, 1000, first=1000)
    world.observations[-1]["id"] = 5000  # ids have gaps
    report = fetch(str(VAGINATA), per_species=267)  # and 133 in reserve: two full pages
    pages = asked_for(server, "/v1/observations?")
    assert ["id_above=0" in pages[0], "id_above=1199" in pages[1], len(pages)] == [True, True, 2]
    assert (report.species[0].photos, report.species[0].ended) == (400, "enough")
    assert not any("&page=" in each for each in server.requests)


def test_a_genus_stands_for_its_best_covered_species(
    fetch: Callable[..., ApiReport], world: World, server: ApiServer, rows_of: Rows
) -> None:
    world.observe_many(VAGINATA, 8, first=100)
    world.observe_many(AMANITA, 9, first=200)  # known to the genus only
    report = fetch("Amanita", species=1)
    assert [each.name for each in report.species] == ['Amanita "vaginata"']
    report = fetch("Amanita", species=9)
    assert [each.name for each in report.species] == ['Amanita "vaginata"', "Amanita muscaria"]
    assert max(photo_ids(rows_of)) < 200


def test_a_taxon_without_species_or_photos_is_named_and_the_catalogue_stays(
    fetch: Callable[..., ApiReport], rows_of: Rows
) -> None:
    fetch("Boletus edulis")
    before = photo_ids(rows_of)
    with pytest.raises(NothingMatches, match="Ascomycota"):
        fetch("Ascomycota")
    with pytest.raises(NothingMatches, match=r"Quercus robur; the catalogue stays"):
        fetch("Quercus robur")
    assert photo_ids(rows_of) == before


def test_a_species_without_photos_does_not_keep_the_others_from_being_loaded(
    fetch: Callable[..., ApiReport], rows_of: Rows
) -> None:
    report = fetch("Boletus edulis", "Quercus robur")
    assert [each.photos for each in report.species] == [6, 0]
    assert photo_ids(rows_of) == [21, 22, 23, 24, 25, 26]


def test_a_species_whose_photos_are_not_usable_is_not_paged_for_ever(
    fetch: Callable[..., ApiReport], world: World, server: ApiServer
) -> None:
    for number in range(1000, 1100):
        world.observe(number, VAGINATA, photo(number, url=f"{STATIC}/{number}/square.jpg"))
    report = fetch("Boletus edulis", str(VAGINATA))
    assert report.species[1].ended == "too few of them usable"
    assert len(asked_for(server, f"taxon_id={VAGINATA}")) == 4
    assert report.left_out == {"not in the open-data bucket": 24}


# -- names ---------------------------------------------------------------------------------------------------------


def test_unknown_names_are_all_named_with_file_line_and_the_nearest(
    fetch: Callable[..., ApiReport], tmp_path: Path, server: ApiServer
) -> None:
    file = tmp_path / "species.txt"
    file.write_text(f"Amanita muscarya\nBoletus edulis\nXylaria\n999999\n{INACTIVE}\nAmanita\nFly agaric\n")
    with pytest.raises(NothingMatches) as error:
        fetch(species_file=file)
    lines = error.value.what.splitlines()
    assert (
        f"{file}, line 1: iNaturalist knows no taxon 'Amanita muscarya'. Nearest: Amanita muscaria ({MUSCARIA})"
        in lines[0]
    )
    assert lines[1] == f"{file}, line 3: iNaturalist knows no taxon 'Xylaria'."
    assert lines[2] == f"{file}, line 4: iNaturalist knows no taxon '999999'."
    assert "line 5" in lines[3]
    assert "replaced it: 102" in lines[3]
    assert f"line 6: 'Amanita' is a genus, not a species. For its best-covered species: --taxon {AMANITA}" in lines[4]
    with pytest.raises(NothingMatches, match=r"'Amanita gone' .* no longer in use .* replaced it: 102"):
        fetch("Amanita gone")
    assert "no taxon 'Fly agaric'. Nearest: Amanita muscaria (" in lines[5]
    assert not asked_for(server, "/observations")


def test_a_name_that_means_several_taxa_is_refused_unless_one_is_the_species(
    fetch: Callable[..., ApiReport], world: World
) -> None:
    world.taxon(900, "48460/47126", 20, "genus", "Amanita", iconic_taxon_name="Plantae")
    with pytest.raises(NothingMatches, match=rf"give the id .*: {AMANITA} \(Fungi\), 900 \(Plantae\)"):
        fetch("Amanita")
    del world.taxa[900]
    world.taxon(900, "48460/47126", 20, "genus", "Amanita", is_active=False)
    # A section of the genus and a complex of the species, named like them.
    world.taxon(901, f"48460/47170/47169/{AMANITA}", 13, "section", "Amanita")
    world.taxon(902, f"48460/47170/47169/{AMANITA}", 11, "complex", "Amanita muscaria")
    report = fetch("Amanita", "Amanita muscaria", fresh=True)
    assert [each.taxon_id for each in report.species] == [MUSCARIA]


def test_the_species_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    file = tmp_path / "species.txt"
    file.write_bytes("\ufeffAmanita_muscaria\r\n  Boletus   edulis\t# king\n#all comment\n48715\n".encode())
    wishes = ApiOptions(species_file=file).wishes()
    assert [(wish.text, wish.taxon_id, wish.where) for wish in wishes] == [
        ("Amanita muscaria", None, f"{file}, line 1"),
        ("Boletus edulis", None, f"{file}, line 2"),
        ("48715", 48715, f"{file}, line 4"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# nothing\n", "holds no name"),
        (b"Boletus edulis\n\xff\xfe\n", "line 2 is not UTF-8"),
        (b"Boletus\0edulis\n", "line 1 holds control characters"),
        (None, "there is no file"),
    ],
)
def test_a_species_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "species.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadOption, match=f"--species-file.* {words}"):
        ApiOptions(species_file=file).wishes()


def test_wrong_options_are_refused() -> None:
    for options in ({}, {"taxa": ("x",), "per_species": 0}, {"taxa": ("x",), "species": 501}):
        with pytest.raises(BadOption):
            ApiOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match=r"2,6\d\d requests; load-api makes 2,000 at most"):
        load_api(ApiOptions(taxa=("Amanita",), species=500, per_species=600))
    with pytest.raises(BadOption, match="no web address"):
        Api("ftp://example.org", None)
    for contact in ("", "ann\r\nX: y", "ann (x)", " ann", "ä@example.org"):
        with pytest.raises(BadOption, match="--contact"):
            Api("http://127.0.0.1/v1", contact)


def test_the_time_it_takes_is_known_before(fetch: Callable[..., ApiReport], server: ApiServer) -> None:
    report = fetch("Amanita muscaria", str(EDULIS))
    expected = expected_requests(ApiOptions(taxa=("Amanita muscaria", str(EDULIS)), per_species=4))
    assert report.requests == len(server.requests)
    assert report.requests <= expected <= 2 * report.requests
    # A name, its best-covered species, a page of 150 for each of them, and what stands above.
    assert expected_requests(ApiOptions(taxa=("Amanita",), species=50)) in range(55, 70)
    assert expected_requests(ApiOptions(taxa=("Amanita",), species=50, per_species=250)) in range(105, 120)


# -- manners -------------------------------------------------------------------------------------------------------


def test_no_second_sees_two_requests(fetch: Callable[..., ApiReport]) -> None:
    sleep, now = Sleep(), [100.0]
    asked = []

    def clock() -> float:
        asked.append(now[0] + sum(sleep.waits))
        return asked[-1]

    report = fetch("Boletus edulis", manners=Manners(sleep=sleep, clock=clock))
    starts = asked[1::2]  # each request looks twice: before it waits, and when it starts
    assert report.requests == len(starts) > 2
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(starts))


SILENT = ["stall", "drip"]
LOUD = ["500", "503", "429", "408", "drop", "short", "half", "html", "empty", "list", "bomb", "gzip"]


@pytest.mark.parametrize("faults", [*([fault] for fault in SILENT), LOUD[::3], LOUD[1::3], LOUD[2::3]])
def test_what_may_pass_is_asked_again_and_the_result_is_the_same(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path, faults: list[str]
) -> None:
    fetch("Boletus edulis", folder=tmp_path / "calm")
    pages = len(files_below(tmp_path / "calm" / "pages"))
    for fault in faults:
        for part in ("/v1/taxa?", "/v1/observations?", "/v1/taxa/"):
            server.faults.append((part, fault))
        # On a busy machine a short time-out may end a good answer, too; it does no harm but is counted.
        manners = replace(HASTY, read_timeout=1.0, whole_timeout=1.5, attempts=20) if fault in SILENT else HASTY
        report = fetch("Boletus edulis", folder=tmp_path / fault, force=True, manners=manners)
        assert not server.faults, fault
        assert report.requests == pages + 3 or (fault in SILENT and report.requests > pages + 3), fault
        assert files_below(tmp_path / fault) == files_below(tmp_path / "calm"), fault


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(fetch: Callable[..., ApiReport], server: ApiServer) -> None:
    sleep = Sleep()
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=200), usegmt=True)
    server.faults.extend([("/v1/taxa?", "429:77"), ("/v1/observations?", f"503:{later}")])
    fetch("Boletus edulis", manners=Manners(between=0, backoff=0, sleep=sleep))
    assert sleep.waits.count(77.0) == 1
    assert any(100 < wait <= 200 for wait in sleep.waits)


def test_an_api_that_asks_for_hours_is_left_alone_and_what_came_is_kept(
    fetch: Callable[..., ApiReport], server: ApiServer
) -> None:
    sleep = Sleep()
    server.faults.append(("/v1/observations?", "429:7200"))
    with pytest.raises(NetworkDown, match="asks to wait 7,200 seconds") as error:
        fetch("Boletus edulis", manners=Manners(between=0, sleep=sleep))
    assert "kept" in error.value.hint
    assert max(sleep.waits, default=0) < 100
    assert fetch("Boletus edulis").pages_there == 1


def test_trouble_without_end_ends(fetch: Callable[..., ApiReport], server: ApiServer) -> None:
    server.faults.append(("/v1/observations?", "500!"))
    sleep = Sleep()
    with pytest.raises(NetworkDown, match="no whole answer in 6 attempts; the last: it answered 500"):
        fetch("Boletus edulis", manners=Manners(between=0, sleep=sleep))
    assert len(asked_for(server, "/v1/observations?")) == 6
    assert all(2.0**k <= 2 * wait <= 2.0 ** (k + 1) for k, wait in enumerate(sleep.waits, 1))


def test_a_refusal_is_final_and_in_the_apis_own_words(fetch: Callable[..., ApiReport], server: ApiServer) -> None:
    server.faults.append(("/v1/observations?", "422"))
    with pytest.raises(Refused, match="answered 422: Unprocessable: bad taxon_id"):
        fetch("Boletus edulis")
    assert len(asked_for(server, "/v1/observations?")) == 1
    server.faults.append(("/v1/observations?", "302"))
    with pytest.raises(Refused, match="302"):
        fetch("Boletus edulis")


def test_where_nothing_answers_it_is_said_soon(tmp_path: Path, database_url: str) -> None:
    options = ApiOptions(taxa=("Amanita",), folder=tmp_path, api_url="http://127.0.0.1:1/v1")
    with pytest.raises(NetworkDown, match="in 3 attempts"):
        load_api(options, database_url, manners=HASTY)


def test_a_page_that_comes_again_and_again_ends_too(
    fetch: Callable[..., ApiReport], server: ApiServer, world: World, rows_of: Rows
) -> None:
    world.observe_many(VAGINATA, 12, first=100)
    for number in range(100, 106):
        world.observations[number - 100 + 15]["photos"] = [photo(number, url=f"{STATIC}/{number}/square.jpg")]
    server.faults.append(("id_above=105", "again"))
    fetch(str(VAGINATA))
    assert photo_ids(rows_of) == list(range(106, 112))
    server.faults.append(("id_above=105", "again!"))
    with pytest.raises(NetworkDown, match="the page before once more"):
        fetch(str(VAGINATA), fresh=True)


# -- what is taken -------------------------------------------------------------------------------------------------


def test_only_open_photos_in_the_bucket_are_taken_and_the_rest_is_counted(
    fetch: Callable[..., ApiReport], world: World, rows_of: Rows
) -> None:
    flag = {"id": 1, "flag": "spam", "resolved": False}
    world.observe(
        31,
        EDULIS,
        photo(310, license_code=None),
        photo(311, license_code="CC0", url=f"{BUCKET}/311/square.JPG?159"),
        photo(312, url=f"{STATIC}/312/square.jpg"),
        photo(313, license_code="gfdl"),
        photo(314, hidden=True),
        photo(315, flags=[flag]),
        photo(316, flags=[{**flag, "resolved": True}], license_code="pd", original_dimensions=None),
    )
    world.observe(32, EDULIS, user={"id": 4, "login": "x", "suspended": True})
    world.observe(33, EDULIS, flags=[flag])
    world.observe(34, EDULIS, uuid="?")
    report = fetch("Boletus edulis", per_species=20)
    assert report.left_out == {
        "hidden or flagged": 4,
        "no open licence": 2,
        "not in the open-data bucket": 1,
        "observation without observer, taxon or uuid": 1,
    }
    found = rows_of("SELECT photo_id, extension, license, width, position FROM photos WHERE photo_id > 300 ORDER BY 1")
    assert [tuple(row.values()) for row in found] == [(311, "JPG", "CC0", 2048, 0), (316, "jpg", "PD", None, 4)]


def test_an_observation_that_is_identified_anew_between_two_pages_counts_once_as_what_it_is_now(
    fetch: Callable[..., ApiReport], world: World, server: ApiServer, rows_of: Rows
) -> None:
    fetch("Amanita muscaria", per_species=10)
    changed = next(each for each in world.observations if each["id"] == 3)
    changed.update(taxon=world.taxa[EDULIS], updated_at="2024-10-01T09:30:00+00:00")
    fetch("Amanita muscaria", "Boletus edulis", per_species=10)
    (row,) = rows_of("SELECT taxon_id FROM observations WHERE observation_uuid = :it", it=observation_uuid(3))
    assert row["taxon_id"] == EDULIS
    assert len(rows_of("SELECT FROM photos WHERE photo_id = 3")) == 1


def test_a_photo_on_two_species_stands_in_both_observations_and_in_no_selection(
    fetch: Callable[..., ApiReport], world: World, database_url: str, tmp_path: Path
) -> None:
    world.observe(40, EDULIS, photo(1))
    report = fetch("Amanita muscaria", "Boletus edulis", per_species=10)
    assert report.load.facts["photos_on_several_observations"] == 1
    summary = query(Dataset(tmp_path / "dataset"), QueryOptions(species=2, per_class=20), database_url)
    assert summary.wanted == 8 + 6


def test_coordinates_dates_and_names_are_what_the_api_says(
    fetch: Callable[..., ApiReport], world: World, rows_of: Rows
) -> None:
    user = {"id": 9, "login": "tab\tber", "name": "Zoë\nO'Mal\\ley\r \0"}
    world.observe(41, EDULIS, location=None, geojson=None, public_positional_accuracy=28000, user=user)
    world.observe(42, EDULIS, location=None, geojson={"coordinates": ["4.360086", "50.646894"]}, observed_on=None)
    world.observe(43, EDULIS, location="91,0", observed_on="1492-10-12")
    fetch("Boletus edulis", per_species=20)
    found = rows_of(
        "SELECT * FROM observations JOIN photos USING (observation_uuid) WHERE photo_id > 40 ORDER BY photo_id"
    )
    assert [(row["latitude"], row["longitude"], row["observed_on"] is None) for row in found] == [
        (None, None, False),
        (50.646894, 4.360086, True),
        (None, None, True),
    ]
    assert found[0]["positional_accuracy"] == 28000
    assert str(found[0]["photo_uuid"]) == photo_uuid(41)
    (observer,) = rows_of("SELECT login, name FROM observers WHERE observer_id = 9")
    assert observer == {"login": "tab ber", "name": "Zoë O'Mal\\ley"}


@pytest.mark.parametrize(
    ("url", "extension"),
    [
        (f"{BUCKET}/7/square.jpg", "jpg"),
        (f"{BUCKET}/7/square.JPEG?1598551272", "JPEG"),
        ("https://s3.amazonaws.com/inaturalist-open-data/photos/7/medium.png", "png"),
        (f"{STATIC}/7/square.jpg", None),
        (f"{BUCKET}/8/square.jpg", None),
        (f"{BUCKET}/7/square", None),
        (f"{BUCKET}/7/square.heic", None),
        ("https://farm4.staticflickr.com/3614/7_s.jpg", None),
        ("http://[", None),
        (None, None),
    ],
)
def test_the_address_says_whether_a_photo_lies_in_the_bucket(url: str | None, extension: str | None) -> None:
    assert bucket_extension(url, 7) == extension


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = "uuid quality_grade observed_on location geojson public_positional_accuracy spam flags taxon user photos"
FIELDS = st.dictionaries(st.sampled_from(NAMES.split(" ")), JSON)
PHOTO_FIELDS = st.dictionaries(
    st.sampled_from(["id", "license_code", "url", "original_dimensions", "hidden", "flags"]), JSON
)


@given(fields=FIELDS, photo_fields=PHOTO_FIELDS)
def test_whatever_stands_in_an_answer_it_is_refused_or_makes_rows(
    fields: dict[str, Any], photo_fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World()
    world.observe(1, MUSCARIA, photo(1, **photo_fields), photo(2))
    raw = json.loads(json.dumps({**world.observations[0], **fields}))
    try:
        (kept,) = keep_observations({"total_results": 1, "results": [raw]}, 0)["observations"]
    except BrokenPage:
        return
    rows, left_out = photo_rows(json.loads(json.dumps(kept)))
    assert len(rows) + left_out.total() == len(kept["photos"])
    if rows:
        lines = observation_row(kept), observer_row(kept), taxon_row(kept["taxon"])
        tables = {"photos": rows, "observations": lines[:1], "observers": lines[1:2], "taxa": lines[2:]}
        folder = tmp_path_factory.mktemp("any") / "dump"
        write_dump(folder, tables)
        for table, written in tables.items():
            assert len(read_independently(folder / f"{table}.csv.gz")) == len(written)


# -- killed, repeated, changed -------------------------------------------------------------------------------------

RUN = """
import sys
from pathlib import Path
from shroomcurate.catalogue.api import ApiOptions, load_api
from shroomcurate.catalogue.api_client import Manners
url, folder, database, *taxa = sys.argv[1:]
options = ApiOptions(taxa=tuple(taxa), per_species=4, folder=Path(folder), api_url=url, force=True)
load_api(options, database, manners=Manners(between=0))
"""


@pytest.mark.parametrize("part", ["/v1/taxa?", f"taxon_id={MUSCARIA}", f"taxon_id={EDULIS}", "/v1/taxa/"])
def test_a_run_killed_at_any_page_goes_on_there_and_ends_with_the_same_bytes(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path, database_url: str, part: str
) -> None:
    taxa = ["Amanita muscaria", "Boletus edulis"]
    fetch(*taxa, folder=tmp_path / "whole")
    calm = list(server.requests)
    server.requests.clear()
    server.faults.append((part, "stall"))
    process = subprocess.Popen([sys.executable, "-c", RUN, server.url, tmp_path / "cut", database_url, *taxa])
    assert server.stalled.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fetch(*taxa, folder=tmp_path / "cut", force=True)
    assert files_below(tmp_path / "cut") == files_below(tmp_path / "whole")
    # The request that was under way is made once more, no other.
    assert sorted(set(server.requests)) == sorted(calm)
    assert len(server.requests) == len(calm) + 1


@pytest.mark.parametrize(
    "odd",
    [
        {"user": {"id": True, "login": "ann"}},
        {"user": {"id": -1, "login": "ann"}},
        {"user": {"id": 10**16, "login": "ann"}},
        {"user": {"id": "7", "login": "ann"}},
        {"taxon": {"id": True, "name": "Boletus"}},
        {"taxon": {"id": -1, "name": "Boletus"}},
        {"taxon": {"id": 10**16, "name": "Boletus"}},
        {"taxon": {"id": 1, "name": "Boletus", "ancestor_ids": [10**17, 1]}},
        {"photos": [photo(28, id=True, url=f"{BUCKET}/True/square.jpg")]},
        {"photos": [photo(28, id=10**16, url=f"{BUCKET}/{10**16}/square.jpg")]},
        {"photos": [photo(28, id="28")]},
    ],
)
def test_one_odd_observation_is_left_out_and_counted(
    fetch: Callable[..., ApiReport], world: World, rows_of: Rows, odd: dict[str, Any]
) -> None:
    world.observe(28, EDULIS)
    world.odd[28] = odd
    report = fetch("Boletus edulis", per_species=10)
    assert photo_ids(rows_of) == [21, 22, 23, 24, 25, 26]
    assert sum(report.left_out.values()) == 1


@pytest.mark.parametrize("value", [2**31, 10**15, 10**400, -1, "many"])
def test_sizes_and_accuracies_that_cannot_be_are_blank(
    fetch: Callable[..., ApiReport], world: World, rows_of: Rows, value: object
) -> None:
    size = {"width": value, "height": value}
    world.observe(28, EDULIS, photo(28, original_dimensions=size), public_positional_accuracy=value)
    fetch("Boletus edulis", per_species=10)
    (row,) = rows_of(
        "SELECT width, height, positional_accuracy FROM photos JOIN observations USING (observation_uuid) "
        "WHERE photo_id = 28"
    )
    assert set(row.values()) == {None}


@pytest.mark.parametrize("coordinates", [{"a": 1}, 3, "ab", [1], [None, None]])
def test_coordinates_that_are_none_are_blank(coordinates: object) -> None:
    world = World()
    world.observe(1, MUSCARIA, location=None, geojson={"type": "Point", "coordinates": coordinates})
    (kept,) = keep_observations({"total_results": 1, "results": world.observations}, 0)["observations"]
    row = observation_row(kept)
    assert (row["latitude"], row["longitude"]) == (None, None)


def test_a_taxon_out_of_use_whose_followers_are_no_list_is_named(fetch: Callable[..., ApiReport], world: World) -> None:
    world.taxa[INACTIVE]["current_synonymous_taxon_ids"] = 102
    with pytest.raises(NothingMatches, match="what replaced it: unknown"):
        fetch("Amanita gone")


@pytest.mark.parametrize("name", [chr(0xDCFF), f"Amanita{chr(0xD800)}", "Amanita" + chr(0)])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(BadOption, match="holds what is no text"):
        ApiOptions(taxa=(name,))


@pytest.mark.parametrize("name", ["dump", "dump.partial"])
def test_a_dump_of_the_users_own_is_never_replaced(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path, name: str
) -> None:
    Dump().write(tmp_path / "api" / name)
    before = files_below(tmp_path / "api")
    with pytest.raises(BadOption, match=f"{name} was not made by load-api") as raised:
        fetch("Boletus edulis", force=True)
    assert "--folder" in raised.value.hint
    assert (files_below(tmp_path / "api"), server.requests) == (before, [])


def test_what_a_user_puts_into_the_small_dump_is_not_deleted_with_it(
    fetch: Callable[..., ApiReport], tmp_path: Path
) -> None:
    fetch("Boletus edulis")
    (tmp_path / "api" / "dump" / "notes.txt").write_text("mine")
    with pytest.raises(BadOption, match=r"notes\.txt"):
        fetch("Boletus edulis")
    assert (tmp_path / "api" / "dump" / "notes.txt").read_text() == "mine"


def test_fresh_deletes_pages_and_nothing_else(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path
) -> None:
    book = tmp_path / "api" / "pages" / "chapter 1" / "text.md"
    book.parent.mkdir(parents=True)
    book.write_text("mine")
    with pytest.raises(BadOption, match=r"--fresh would delete .*text\.md"):
        fetch("Boletus edulis", fresh=True)
    assert (book.read_text(), server.requests) == ("mine", [])


def test_a_dump_whose_replacing_was_killed_is_still_known_as_ours(
    fetch: Callable[..., ApiReport], tmp_path: Path
) -> None:
    fetch("Boletus edulis")
    before = files_below(tmp_path / "api")
    (tmp_path / "api" / "dump" / "taxa.csv.gz").unlink()
    (tmp_path / "api" / "dump.partial").mkdir()
    (tmp_path / "api" / "dump.partial" / f"{MARKER}.partial").write_text("")
    fetch("Boletus edulis")
    assert files_below(tmp_path / "api") == before


@pytest.mark.parametrize("name", ["", "pages", "dump", "link"])
def test_a_file_or_a_link_in_place_of_a_folder_is_named_before_anything_is_asked(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = tmp_path / "api" / name.replace("link", "dump")
    place.parent.mkdir(exist_ok=True)
    if name == "link":
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.write_text("")
    with pytest.raises((BadOption, NotWritable), match=f"{place.name} is no folder") as raised:
        fetch("Boletus edulis")
    assert "--folder" in raised.value.hint
    assert server.requests == []


OTHER = b'{"request": ["another"], "page": {"observations": [], "more": false}}'


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x1f\x8b", b"not gzip", gzip.compress(b"[1]"), gzip.compress(b"{}"), gzip.compress(OTHER), None],
    ids=["empty", "begun", "foreign", "list", "bare", "of another request", "cut"],
)
def test_a_damaged_page_on_disk_is_asked_for_again(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path, damage: bytes | None
) -> None:
    fetch("Boletus edulis")
    before = files_below(tmp_path / "api")
    server.requests.clear()
    (page,) = (tmp_path / "api" / "pages").glob(f"observations-{EDULIS}-*/*")
    page.write_bytes(page.read_bytes()[:-9] if damage is None else damage)
    fetch("Boletus edulis")
    assert len(server.requests) == 1
    assert files_below(tmp_path / "api") == before


def test_another_n_has_pages_of_its_own_and_further_species_cost_only_theirs(
    fetch: Callable[..., ApiReport], server: ApiServer
) -> None:
    fetch("Boletus edulis")
    server.requests.clear()
    fetch("Boletus edulis", "Amanita muscaria")
    assert not asked_for(server, f"taxon_id={EDULIS}&")
    fetch("Boletus edulis", per_species=5)
    assert len(asked_for(server, "taxon_id=" + str(EDULIS))) == 1
    server.requests.clear()
    assert fetch("Boletus edulis", per_species=5, fresh=True).pages_there == 0
    assert server.requests


def test_fewer_species_than_before_are_no_damaged_dump(fetch: Callable[..., ApiReport], rows_of: Rows) -> None:
    fetch("Amanita muscaria", "Boletus edulis", per_species=20)
    fetch("Boletus edulis", per_species=2)
    assert photo_ids(rows_of) == [21, 22, 23]


def test_a_catalogue_from_the_dump_is_not_replaced_unless_forced(
    fetch: Callable[..., ApiReport], server: ApiServer, tmp_path: Path, database_url: str, rows_of: Rows
) -> None:
    dump = Dump()
    dump.photographed(MUSCARIA, 3, first=501)
    folder = dump.write(tmp_path / "dump")
    load_csvs(LoadOptions(folder), database_url)
    with pytest.raises(BadOption, match=f"loaded from {folder}") as error:
        fetch("Boletus edulis")
    assert "--database-url" in error.value.hint
    assert "--force" in error.value.hint
    assert not server.requests
    assert photo_ids(rows_of) == [501, 502, 503]
    fetch("Boletus edulis", force=True)
    assert photo_ids(rows_of) == [21, 22, 23, 24, 25, 26]


def test_two_runs_in_one_folder_do_not_mix(fetch: Callable[..., ApiReport], tmp_path: Path) -> None:
    with Dataset(tmp_path / "api").lock("load-api"), pytest.raises(Busy, match="load-api"):
        fetch("Boletus edulis")


def test_an_interrupt_ends_a_run_that_waits_for_an_answer(server: ApiServer, tmp_path: Path, database_url: str) -> None:
    server.faults.append(("/v1/taxa?", "stall"))
    command = ["load-api", "--taxon", "Boletus edulis", "--folder", tmp_path, "--api-url", server.url]
    process = subprocess.Popen([sys.executable, "-m", "shroomcurate", *command, "--database-url", database_url, "-q"])
    assert server.stalled.wait(60)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130  # the answer would be waited for a minute


# -- the API's own answers -----------------------------------------------------------------------------------------


@pytest.mark.shared
def test_real_answers_are_read_to_the_last_observation(shared: Path) -> None:
    samples = shared / "api-samples"
    pages = [json.loads((samples / f"get_observations_page{number}.json").read_bytes()) for number in (1, 2)]
    pages.append(json.loads((samples / "get_observation.json").read_bytes()))
    for page in pages:
        (raw,) = page["results"]
        kept = keep_observations(page, 0)
        (observation,) = kept["observations"]
        assert kept["more"] == (page["total_results"] > 1)
        row = observation_row(observation)
        assert row["observation_uuid"] == raw["uuid"]
        assert (row["latitude"], row["longitude"]) == tuple(map(float, raw["location"].split(",")))
        assert row["observed_on"] == raw["observed_on"]
        assert taxon_row(observation["taxon"])["ancestry"] == raw["taxon"]["ancestry"]
        assert observer_row(observation)["login"] == raw["user"]["login"]
        # These answers are older than the bucket; with today's addresses the open ones are taken.
        rows, left_out = photo_rows(observation)
        closed = [each for each in raw["photos"] if each["license_code"] is None]
        assert not rows
        assert left_out.get("no open licence", 0) == len(closed)
        for each in observation["photos"]:
            each["url"] = each["url"].replace(STATIC, BUCKET)
        rows, _ = photo_rows(observation)
        assert [each["photo_id"] for each in rows] == [each["id"] for each in raw["photos"] if each["license_code"]]
        assert [each["position"] for each in rows] == list(range(len(rows)))


@pytest.mark.shared
def test_real_taxa_are_read_from_a_search_and_from_a_look_up(shared: Path) -> None:
    searched, looked_up = (
        json.loads((shared / "api-samples" / name).read_bytes()) for name in ("get_taxa.json", "get_taxa_by_id.json")
    )
    for page in (searched, looked_up):
        for raw, taxon in zip(page["results"], keep_taxa(page), strict=True):
            row = taxon_row(taxon)
            assert (row["taxon_id"], row["ancestry"], row["name"]) == (raw["id"], raw["ancestry"], raw["name"])
            assert row["rank_level"] == raw["rank_level"]
    for each in looked_up["results"][0]["taxon_photos"]:
        one = each["photo"]
        in_bucket = "inaturalist-open-data" in one["url"]
        assert (bucket_extension(one["url"], one["id"]) is not None) == in_bucket == (one["license_code"] is not None)
